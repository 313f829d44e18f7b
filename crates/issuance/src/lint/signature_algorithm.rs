//! The algorithm inside the signed part is the issuer's, byte for byte, parameters included.

use super::{Case, Lint};

pub(super) const LINT: Lint = Lint {
    name: "signature_algorithm",
    citation: "RFC 5280 §4.1.1.2, RFC 5758 §3.2, RFC 4055 §3.1, §5",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    if case.tbs.algorithm == case.issuer.algorithm.identifier() {
        Ok(())
    } else {
        Err(format!(
            "{} is not {:?}",
            hex::encode(case.tbs.algorithm),
            case.issuer.algorithm
        ))
    }
}

#[cfg(test)]
mod tests {
    use policies::ProfileKind;

    use crate::SignatureAlgorithm;
    use crate::encode::{SEQUENCE, tlv};
    use crate::lint::example::Example;

    #[test]
    fn good() {
        for algorithm in SignatureAlgorithm::ALL {
            let mut example = Example::new(ProfileKind::Service);
            example.issuer.algorithm = algorithm;
            example.algorithm = algorithm.identifier().to_vec();
            assert!(example.refused_by().is_empty());
        }
    }

    #[test]
    fn bad() {
        let mut example = Example::new(ProfileKind::Service);
        example.algorithm = SignatureAlgorithm::EcdsaP384Sha384.identifier().to_vec();
        assert_eq!(example.refused_by(), ["signature_algorithm"]);
        // ecdsa-with-SHA256 with NULL parameters
        let oid = &SignatureAlgorithm::EcdsaP256Sha256.identifier()[2..];
        example.algorithm = tlv(SEQUENCE, &[oid, &[5, 0]]);
        assert_eq!(example.refused_by(), ["signature_algorithm"]);
    }
}
