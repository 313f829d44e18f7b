//! authorityKeyIdentifier is the issuer's subjectKeyIdentifier and nothing else.

use super::{Case, Lint};

pub(super) const LINT: Lint = Lint {
    name: "crl_authority_key_id",
    citation: "RFC 5280 §5.2.1, §4.2.1.1",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    let found = case.tbs.key_id().map_err(|e| e.to_string())?;
    if found == case.issuer.key_id {
        Ok(())
    } else {
        Err(format!(
            "{} is not the issuer's {}",
            hex::encode(found),
            hex::encode(&case.issuer.key_id)
        ))
    }
}

#[cfg(test)]
mod tests {
    use const_oid::db::rfc5280::ID_CE_AUTHORITY_KEY_IDENTIFIER;

    use crate::crl::lint::example::Example;
    use crate::encode::{SEQUENCE, context, tlv};

    const LINT: [&str; 1] = ["crl_authority_key_id"];

    #[test]
    fn good() {
        // Copied, however it was made: here eight octets.
        let mut example = Example::complete();
        example.issuer.key_id = vec![7; 8];
        let key_id = tlv(SEQUENCE, &[&tlv(context(0), &[&[7; 8]])]);
        assert!(
            example
                .holding(ID_CE_AUTHORITY_KEY_IDENTIFIER, &key_id)
                .refused_by()
                .is_empty()
        );
    }

    #[test]
    fn bad() {
        assert_eq!(
            Example::complete().without(ID_CE_AUTHORITY_KEY_IDENTIFIER).refused_by(),
            LINT
        );
        let mut example = Example::complete();
        example.issuer.key_id[0] ^= 1;
        assert_eq!(example.refused_by(), LINT);
        let example = Example::complete();
        let key_id = tlv(context(0), &[&example.issuer.key_id]);
        let serial = tlv(SEQUENCE, &[&key_id, &tlv(context(2), &[&[1]])]);
        assert_eq!(
            example.holding(ID_CE_AUTHORITY_KEY_IDENTIFIER, &serial).refused_by(),
            LINT
        );
    }
}
