//! The request for a certificate: empty subject, no attributes; the CA knows who this is.

use attest::tpm::{HashAlgorithm, TpmtPublic};
use der::asn1::{Any, BitString, Null, ObjectIdentifier};
use der::{Decode as _, Encode as _, Sequence};
use x509_cert::name::Name;
use x509_cert::request::{CertReq, CertReqInfo, Version};
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

use crate::tpm::{Chip, StoredKey, TpmError, digest_for};

/// RSASSA-PSS-params (RFC 4055 §3.1).
#[derive(Sequence)]
struct PssParams {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    hash: AlgorithmIdentifierOwned,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT")]
    mask: AlgorithmIdentifierOwned,
    #[asn1(context_specific = "2", tag_mode = "EXPLICIT")]
    salt: u8,
}

/// A PKCS#10 request (RFC 2986) for this key, signed by it inside the TPM. DER.
///
/// # Errors
/// [`TpmError`].
pub fn make(chip: &mut Chip, key: &StoredKey) -> Result<Vec<u8>, TpmError> {
    let public = key.public()?;
    let malformed = |_| TpmError::Malformed { what: "the request" };
    let spki = public.spki().map_err(|_| TpmError::Malformed {
        what: "the key's public area",
    })?;
    let info = CertReqInfo {
        version: Version::V1,
        subject: Name::default(),
        public_key: SubjectPublicKeyInfoOwned::from_der(&spki).map_err(malformed)?,
        attributes: Default::default(),
    };
    let algorithm = algorithm(&public)?.ok_or(TpmError::Unsupported {
        what: "this signature scheme".into(),
    })?;
    let signature = chip.sign(key, &info.to_der().map_err(malformed)?)?;
    let request = CertReq {
        info,
        algorithm,
        signature: BitString::from_bytes(&signature).map_err(malformed)?,
    };
    request.to_der().map_err(malformed)
}

/// AlgorithmIdentifier of what [`Chip::sign`] does with this key (RFC 5758 §3.2, RFC 4055 §5 and §3.1).
fn algorithm(public: &TpmtPublic) -> Result<Option<AlgorithmIdentifierOwned>, TpmError> {
    let (hash, pss) = digest_for(public)?;
    let plain = |oid: &str, parameters| {
        ObjectIdentifier::new(oid)
            .ok()
            .map(|oid| AlgorithmIdentifierOwned { oid, parameters })
    };
    let is_rsa = public.algorithm() == attest::tpm::TpmAlgId::RSA;
    Ok(match (is_rsa, pss, hash) {
        (false, _, HashAlgorithm::Sha256) => plain("1.2.840.10045.4.3.2", None),
        (false, _, HashAlgorithm::Sha384) => plain("1.2.840.10045.4.3.3", None),
        (false, _, HashAlgorithm::Sha512) => plain("1.2.840.10045.4.3.4", None),
        (true, false, HashAlgorithm::Sha256) => plain("1.2.840.113549.1.1.11", null()),
        (true, false, HashAlgorithm::Sha384) => plain("1.2.840.113549.1.1.12", null()),
        (true, false, HashAlgorithm::Sha512) => plain("1.2.840.113549.1.1.13", null()),
        (true, true, hash) => pss_identifier(hash),
    })
}

fn null() -> Option<Any> {
    Any::encode_from(&Null).ok()
}

/// id-RSASSA-PSS with hash = MGF1 hash and salt of the hash's length, as TPMs sign (Part 1, B.7).
fn pss_identifier(hash: HashAlgorithm) -> Option<AlgorithmIdentifierOwned> {
    let (oid, salt) = match hash {
        HashAlgorithm::Sha256 => ("2.16.840.1.101.3.4.2.1", 32),
        HashAlgorithm::Sha384 => ("2.16.840.1.101.3.4.2.2", 48),
        HashAlgorithm::Sha512 => ("2.16.840.1.101.3.4.2.3", 64),
    };
    let hash = AlgorithmIdentifierOwned {
        oid: ObjectIdentifier::new(oid).ok()?,
        parameters: null(),
    };
    let mask = AlgorithmIdentifierOwned {
        oid: ObjectIdentifier::new("1.2.840.113549.1.1.8").ok()?,
        parameters: Some(Any::encode_from(&hash).ok()?),
    };
    let parameters = Any::encode_from(&PssParams { hash, mask, salt }).ok()?;
    Some(AlgorithmIdentifierOwned {
        oid: ObjectIdentifier::new("1.2.840.113549.1.1.10").ok()?,
        parameters: Some(parameters),
    })
}
