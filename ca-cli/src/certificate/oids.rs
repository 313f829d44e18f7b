//! OIDs in words: those that our certificates and TPM vendors' carry.

use attest::rot;
use der::asn1::ObjectIdentifier;

const fn oid(dotted: &str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(dotted)
}

const WORDS: [(ObjectIdentifier, &str); 32] = [
    // Policies.
    (rot::ID_HARDWARE_VERIFIED, "hardware-verified"),
    (rot::ID_HARDWARE_ALLOWLISTED, "hardware-allowlisted"),
    (rot::ID_MANUFACTURER_VERIFIED, "manufacturer-verified"),
    (rot::ID_VIRTUAL, "virtual"),
    (rot::ID_SOFTWARE, "software (demonstrations only)"),
    (rot::TCG_VERIFIED_TPM_RESIDENCY, "tcg-cap-verifiedTPMResidency"),
    (rot::TCG_VERIFIED_TPM_FIXED, "tcg-cap-verifiedTPMFixed"),
    (rot::TCG_VERIFIED_TPM_RESTRICTED, "tcg-cap-verifiedTPMRestricted"),
    (oid("2.5.29.32.0"), "anyPolicy"),
    // Key purposes.
    (oid("1.3.6.1.5.5.7.3.1"), "serverAuth"),
    (oid("1.3.6.1.5.5.7.3.2"), "clientAuth"),
    (oid("1.3.6.1.5.5.7.3.9"), "OCSPSigning"),
    (oid("2.23.133.8.1"), "tcg-kp-EKCertificate"),
    (oid("2.23.133.8.3"), "tcg-kp-AIKCertificate"),
    // Signature algorithms.
    (oid("1.2.840.10045.4.3.2"), "ECDSA with SHA-256"),
    (oid("1.2.840.10045.4.3.3"), "ECDSA with SHA-384"),
    (oid("1.2.840.10045.4.3.4"), "ECDSA with SHA-512"),
    (oid("1.2.840.113549.1.1.10"), "RSA PSS"),
    (oid("1.2.840.113549.1.1.11"), "RSA PKCS#1 v1.5 with SHA-256"),
    (oid("1.2.840.113549.1.1.12"), "RSA PKCS#1 v1.5 with SHA-384"),
    (oid("1.2.840.113549.1.1.13"), "RSA PKCS#1 v1.5 with SHA-512"),
    // Attributes of names.
    (oid("2.5.4.3"), "CN"),
    (oid("2.5.4.5"), "serialNumber"),
    (oid("2.5.4.6"), "C"),
    (oid("2.5.4.7"), "L"),
    (oid("2.5.4.8"), "ST"),
    (oid("2.5.4.10"), "O"),
    (oid("2.5.4.11"), "OU"),
    (oid("2.5.4.12"), "title"),
    (oid("2.23.133.2.1"), "tpmManufacturer"),
    (oid("2.23.133.2.2"), "tpmModel"),
    (oid("2.23.133.2.3"), "tpmVersion"),
];

/// An OID in words, or dotted.
pub(super) fn word(oid: &ObjectIdentifier) -> String {
    let found = WORDS.iter().find(|(known, _)| known == oid);
    found.map_or_else(|| oid.to_string(), |(_, word)| (*word).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_word_for_one_oid() {
        for (i, (oid, word)) in WORDS.iter().enumerate() {
            let alike = |(o, w): &(ObjectIdentifier, &str)| o == oid || w == word;
            assert_eq!(WORDS.iter().position(alike), Some(i), "{word}");
        }
        assert_eq!(word(&oid("2.5.29.32.0")), "anyPolicy");
        assert_eq!(word(&oid("1.2.3")), "1.2.3");
    }
}
