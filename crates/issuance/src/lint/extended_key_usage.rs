//! extendedKeyUsage is the profile's list, in its order; absent when the profile has none.

use const_oid::db::rfc5280::ID_CE_EXT_KEY_USAGE;

use super::{Case, Lint};
use crate::encode::SEQUENCE;
use crate::view::{Reader, oid, only};

pub(super) const LINT: Lint = Lint {
    name: "extended_key_usage",
    citation: "RFC 5280 §4.2.1.12",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    let promised = &case.promise.extended_key_usage;
    let Some(extension) = case.tbs.extension(&ID_CE_EXT_KEY_USAGE) else {
        return if promised.is_empty() {
            Ok(())
        } else {
            Err("missing".into())
        };
    };
    let found = only(extension.value, SEQUENCE, "extendedKeyUsage")
        .and_then(|list| Reader(list.value).all())
        .and_then(|list| list.into_iter().map(oid).collect::<Result<Vec<_>, _>>())
        .map_err(|e| e.to_string())?;
    if found.is_empty() || found != *promised {
        Err(format!("{found:?}, the profile says {promised:?}"))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use const_oid::ObjectIdentifier;
    use const_oid::db::rfc5280::{
        ANY_EXTENDED_KEY_USAGE, ID_CE_EXT_KEY_USAGE, ID_KP_CLIENT_AUTH, ID_KP_OCSP_SIGNING, ID_KP_SERVER_AUTH,
    };
    use policies::ProfileKind;

    use crate::encode::{SEQUENCE, oid, tlv};
    use crate::lint::example::Example;

    fn list(purposes: &[ObjectIdentifier]) -> Vec<u8> {
        tlv(SEQUENCE, &[&purposes.iter().flat_map(oid).collect::<Vec<_>>()])
    }

    #[test]
    fn good() {
        let both = list(&[ID_KP_SERVER_AUTH, ID_KP_CLIENT_AUTH]);
        assert_eq!(
            Example::new(ProfileKind::Service).extension(ID_CE_EXT_KEY_USAGE).value,
            both
        );
        assert!(Example::new(ProfileKind::Service).refused_by().is_empty());
        // 802.1AR: no usage limit on an IDevID.
        assert!(
            Example::new(ProfileKind::DeviceIdevid)
                .extensions
                .iter()
                .all(|e| e.oid != ID_CE_EXT_KEY_USAGE)
        );
    }

    #[test]
    fn bad() {
        let lint = ["extended_key_usage"];
        let lists = [
            list(&[ID_KP_SERVER_AUTH]),
            list(&[ID_KP_CLIENT_AUTH, ID_KP_SERVER_AUTH]),
            list(&[ID_KP_SERVER_AUTH, ID_KP_CLIENT_AUTH, ID_KP_OCSP_SIGNING]),
            list(&[ANY_EXTENDED_KEY_USAGE]),
            list(&[]),
        ];
        for value in lists {
            assert_eq!(
                Example::new(ProfileKind::Service)
                    .holding(ID_CE_EXT_KEY_USAGE, &value)
                    .refused_by(),
                lint
            );
        }
        assert_eq!(
            Example::new(ProfileKind::Service)
                .without(ID_CE_EXT_KEY_USAGE)
                .refused_by(),
            lint
        );
        let idevid = Example::new(ProfileKind::DeviceIdevid).and(ID_CE_EXT_KEY_USAGE, &list(&[ID_KP_CLIENT_AUTH]));
        assert_eq!(idevid.refused_by(), lint);
    }
}
