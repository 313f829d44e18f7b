//! The responder is named by its key: SHA-1 of the key's octets, whatever hash the question used.

use super::{Case, Lint};

pub(super) const LINT: Lint = Lint {
    name: "ocsp_responder_id",
    citation: "RFC 6960 §4.2.1, RFC 9919 §3.2.1",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    let hash = case.tbs.key_hash().map_err(|e| e.to_string())?;
    if hash == case.responder.key_hash {
        Ok(())
    } else {
        Err(format!("{} is not the responder's key", hex::encode(hash)))
    }
}

#[cfg(test)]
mod tests {
    use crate::encode::{OCTET_STRING, SEQUENCE, context_constructed, tlv};
    use crate::ocsp::lint::example::Example;

    #[test]
    fn good() {
        assert!(Example::good().refused_by().is_empty());
    }

    #[test]
    fn bad() {
        let by_key = |hash: &[u8]| tlv(context_constructed(2), &[&tlv(OCTET_STRING, &[hash])]);
        let by_name = tlv(context_constructed(1), &[&tlv(SEQUENCE, &[])]);
        for id in [by_key(&[7; 20]), by_key(&[7; 32]), by_key(&[]), by_name] {
            let mut example = Example::good();
            example.responder_id = id;
            assert_eq!(example.refused_by(), ["ocsp_responder_id"]);
        }
    }
}
