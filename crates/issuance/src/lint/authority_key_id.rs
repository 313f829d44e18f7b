//! authorityKeyIdentifier is the issuer's subjectKeyIdentifier and nothing else; only a root has none.

use const_oid::db::rfc5280::ID_CE_AUTHORITY_KEY_IDENTIFIER;
use policies::ProfileKind;

use super::{Case, Lint};
use crate::encode::{SEQUENCE, context};
use crate::view::only;

pub(super) const LINT: Lint = Lint {
    name: "authority_key_id",
    citation: "RFC 5280 §4.2.1.1",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    let root = case.promise.kind == ProfileKind::Root;
    let Some(extension) = case.tbs.extension(&ID_CE_AUTHORITY_KEY_IDENTIFIER) else {
        return if root { Ok(()) } else { Err("missing".into()) };
    };
    if root {
        return Err("on a root".into());
    }
    let key_id = only(extension.value, SEQUENCE, "authorityKeyIdentifier")
        .and_then(|sequence| only(sequence.value, context(0), "keyIdentifier alone"))
        .map_err(|e| e.to_string())?;
    if key_id.value == case.issuer.key_id {
        Ok(())
    } else {
        Err(format!(
            "{} is not the issuer's {}",
            hex::encode(key_id.value),
            hex::encode(&case.issuer.key_id)
        ))
    }
}

#[cfg(test)]
mod tests {
    use const_oid::db::rfc5280::ID_CE_AUTHORITY_KEY_IDENTIFIER;
    use policies::ProfileKind;

    use crate::encode::{SEQUENCE, context, tlv};
    use crate::lint::example::Example;

    #[test]
    fn good() {
        // The issuer's identifier is copied, however it was made: here eight octets.
        let mut example = Example::new(ProfileKind::Service);
        example.issuer.key_id = vec![7; 8];
        let example = example.holding(
            ID_CE_AUTHORITY_KEY_IDENTIFIER,
            &tlv(SEQUENCE, &[&tlv(context(0), &[&[7; 8]])]),
        );
        assert!(example.refused_by().is_empty());
        assert!(
            Example::new(ProfileKind::Root)
                .extensions
                .iter()
                .all(|e| e.oid != ID_CE_AUTHORITY_KEY_IDENTIFIER)
        );
    }

    #[test]
    fn bad() {
        let lint = ["authority_key_id"];
        for kind in [ProfileKind::Issuing, ProfileKind::DeviceIdevid, ProfileKind::Service] {
            assert_eq!(
                Example::new(kind).without(ID_CE_AUTHORITY_KEY_IDENTIFIER).refused_by(),
                lint
            );
        }
        let example = Example::new(ProfileKind::Service);
        let key_id = tlv(context(0), &[&example.issuer.key_id]);
        let serial = tlv(context(2), &[&[1]]);
        let with_serial = example.holding(ID_CE_AUTHORITY_KEY_IDENTIFIER, &tlv(SEQUENCE, &[&key_id, &serial]));
        assert_eq!(with_serial.refused_by(), lint);
        // A wrong issuer: its identifier does not match.
        let mut other = Example::new(ProfileKind::Service);
        other.issuer.key_id = Example::new(ProfileKind::Service).issuer.key_id;
        assert_eq!(other.refused_by(), lint);
        let root = Example::new(ProfileKind::Root).and(ID_CE_AUTHORITY_KEY_IDENTIFIER, b"\x30\x00");
        assert_eq!(root.refused_by(), lint);
    }
}
