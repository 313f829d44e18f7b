//! subjectKeyIdentifier on every CA, made from its key; on no end entity (IEEE 802.1AR advises against it there).

use const_oid::db::rfc5280::ID_CE_SUBJECT_KEY_IDENTIFIER;

use super::{Case, Lint};
use crate::encode::OCTET_STRING;
use crate::tbs::key_id;
use crate::view::only;

pub(super) const LINT: Lint = Lint {
    name: "subject_key_id",
    citation: "RFC 5280 §4.2.1.2, RFC 7093 §2 method 1, IEEE 802.1AR-2018 §8.10.2",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    match (
        case.promise.kind.is_ca(),
        case.tbs.extension(&ID_CE_SUBJECT_KEY_IDENTIFIER),
    ) {
        (true, None) => Err("missing on a CA".into()),
        (false, Some(_)) => Err("on an end entity".into()),
        (false, None) => Ok(()),
        (true, Some(extension)) => {
            let found = only(extension.value, OCTET_STRING, "subjectKeyIdentifier").map_err(|e| e.to_string())?;
            let made = key_id(case.tbs.spki).map_err(|e| e.to_string())?;
            if found.value == made {
                Ok(())
            } else {
                Err(format!("{} is not the key's", hex::encode(found.value)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use const_oid::db::rfc5280::ID_CE_SUBJECT_KEY_IDENTIFIER;
    use policies::ProfileKind;

    use crate::lint::example::Example;

    #[test]
    fn good() {
        let mut example = Example::new(ProfileKind::Issuing);
        // Computed apart from our parser: SHA-256 over what follows the 26 octets before a P-256 point.
        let digest = openssl::sha::sha256(&example.spki[26..]);
        assert_eq!(
            example.extension(ID_CE_SUBJECT_KEY_IDENTIFIER).value,
            [&[4, 20], &digest[..20]].concat()
        );
        assert!(example.refused_by().is_empty());
    }

    #[test]
    fn bad() {
        let lint = ["subject_key_id"];
        for kind in [ProfileKind::Root, ProfileKind::Issuing] {
            assert_eq!(
                Example::new(kind).without(ID_CE_SUBJECT_KEY_IDENTIFIER).refused_by(),
                lint
            );
            let other = [&[4, 20][..], &[7; 20]].concat();
            assert_eq!(
                Example::new(kind)
                    .holding(ID_CE_SUBJECT_KEY_IDENTIFIER, &other)
                    .refused_by(),
                lint
            );
        }
        let leaf = Example::new(ProfileKind::DeviceIdevid);
        let own = [&[4, 20][..], &super::key_id(&leaf.spki).unwrap()].concat();
        assert_eq!(leaf.and(ID_CE_SUBJECT_KEY_IDENTIFIER, &own).refused_by(), lint);
    }
}
