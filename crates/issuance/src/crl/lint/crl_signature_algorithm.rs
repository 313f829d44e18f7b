//! The algorithm inside the signed part is the issuer's, byte for byte, parameters included.

use super::{Case, Lint};

pub(super) const LINT: Lint = Lint {
    name: "crl_signature_algorithm",
    citation: "RFC 5280 §5.1.1.2, §5.1.2.2",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    if case.tbs.algorithm == case.issuer.algorithm.identifier() {
        Ok(())
    } else {
        Err(format!(
            "{} is not that of {:?}",
            hex::encode(case.tbs.algorithm),
            case.issuer.algorithm
        ))
    }
}

#[cfg(test)]
mod tests {
    use crate::SignatureAlgorithm;
    use crate::crl::lint::example::Example;

    #[test]
    fn good() {
        assert_eq!(
            Example::complete().algorithm,
            SignatureAlgorithm::EcdsaP256Sha256.identifier()
        );
    }

    #[test]
    fn bad() {
        let mut example = Example::complete();
        example.algorithm = SignatureAlgorithm::EcdsaP384Sha384.identifier().to_vec();
        assert_eq!(example.refused_by(), ["crl_signature_algorithm"]);
        // NULL where ECDSA has no parameters
        example.algorithm = b"\x30\x0c\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02\x05\x00".to_vec();
        assert_eq!(example.refused_by(), ["crl_signature_algorithm"]);
    }
}
