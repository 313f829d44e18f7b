//! The crate `tpm2-protocol` as a second opinion: both take the bytes or both refuse them, and the Name is the same.
//!
//! Where the two differ by intention, the reason stands in [`public_divergence`] and its neighbours. Anything else fails.

use crate::kit::Attest;
use crate::parse::{altered, publics, run};
use attest::tpm::{PublicParms, TpmAlgId, TpmsAttest, TpmtPublic, TpmtScheme, TpmtSignature};
use proptest::prelude::*;
use tpm2_protocol::{TpmMarshal, TpmUnmarshal, TpmWriter, data};

/// Exact-length read by the oracle.
fn oracle<T: TpmUnmarshal>(bytes: &[u8]) -> Option<T> {
    T::unmarshal(bytes)
        .ok()
        .filter(|(_, rest)| rest.is_empty())
        .map(|(value, _)| value)
}

/// Why we may refuse what the oracle takes, said by our own refusal.
const STRICTER: [&str; 6] = [
    // TPMA_OBJECT: the oracle keeps bits it does not know; the TPM reference code refuses them (TPM_RC_RESERVED_BITS).
    "has reserved bits",
    // nameAlg: the oracle takes any algorithm it knows, AES too; SM3 and SHA-3 Names cannot be computed here.
    "is not a hash that is known here",
    // KEYEDHASH and SYMCIPHER objects hold no public key.
    "is not an asymmetric key",
    // TPMT_SYM_DEF_OBJECT: XOR is no block cipher and has no place in an object.
    "is not a block cipher",
    // TPMT_RSA_SCHEME and TPMT_ECC_SCHEME: the oracle has one union for both, so RSAPSS passes for an ECC key.
    "is not one of ECC",
    "is not one of RSA",
];

/// Why we may take what the oracle refuses: selectors that have no union behind them stay numbers until the key rules
/// judge them, which name them in the audit record.
fn public_divergence(public: &TpmtPublic) -> bool {
    let known_hash = |alg: TpmAlgId| (0x0004..=0x0029).contains(&alg.0);
    let (scheme, size) = match public.parms() {
        PublicParms::Rsa(rsa) => (rsa.scheme, rsa.modulus.len() > 512),
        PublicParms::Ecc(ecc) => (ecc.scheme, ecc.x.len() > 128 || ecc.y.len() > 128),
    };
    let hash = match scheme {
        TpmtScheme::Hashed { hash, .. } | TpmtScheme::Ecdaa { hash, .. } => Some(hash),
        TpmtScheme::Null | TpmtScheme::Rsaes => None,
    };
    let kdf = match public.parms() {
        PublicParms::Ecc(ecc) => ecc.kdf,
        PublicParms::Rsa(_) => None,
    };
    let curve = matches!(public.parms(), PublicParms::Ecc(ecc) if !(1..=5).contains(&ecc.curve.0));
    let symmetric = public
        .parms()
        .symmetric()
        .is_some_and(|symmetric| !(0x0040..=0x0044).contains(&symmetric.mode.0));
    size || curve
        || symmetric
        || hash.is_some_and(|hash| !known_hash(hash))
        || kdf.is_some_and(|(_, hash)| !known_hash(hash))
}

#[test]
fn public_areas() {
    let (mut both, mut neither) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    run(20_000, &altered(publics()), |bytes| {
        let theirs: Option<data::TpmtPublic> = oracle(&bytes);
        match (TpmtPublic::parse(&bytes), theirs) {
            (Ok(ours), Some(theirs)) => {
                both.set(both.get() + 1);
                let mut buffer = vec![0; 4096];
                let mut writer = TpmWriter::new(&mut buffer);
                theirs
                    .marshal(&mut writer)
                    .map_err(|error| TestCaseError::fail(error.to_string()))?;
                prop_assert_eq!(writer.as_bytes(), ours.raw(), "it reads what we read");
                prop_assert_eq!(crate::kit::name(ours.name_alg(), writer.as_bytes()), ours.name());
                prop_assert_eq!(theirs.object_attributes.bits(), ours.attributes().0);
            }
            (Err(_), None) => neither.set(neither.get() + 1),
            (Err(refusal), Some(_)) => {
                prop_assert!(
                    STRICTER.iter().any(|reason| refusal.detail.contains(reason)),
                    "{}",
                    refusal
                );
            }
            (Ok(ours), None) => prop_assert!(public_divergence(&ours), "{:?}", ours),
        }
        Ok(())
    });
    // The comparison is worth something only when both verdicts occur.
    assert!(
        *both.get_mut() > 1000 && *neither.get_mut() > 1000,
        "{both:?} {neither:?}"
    );
}

#[test]
fn attestations() {
    let seeds = vec![Attest::certify(&[&[0, 0x0B][..], &[3; 32]].concat(), &[4; 32]).bytes()];
    run(10_000, &altered(seeds), |bytes| {
        let theirs: Option<data::TpmsAttest> = oracle(&bytes);
        match (TpmsAttest::parse(&bytes), theirs) {
            (Ok(ours), Some(theirs)) => {
                let mut buffer = vec![0; 4096];
                let mut writer = TpmWriter::new(&mut buffer);
                theirs
                    .marshal(&mut writer)
                    .map_err(|error| TestCaseError::fail(error.to_string()))?;
                prop_assert_eq!(writer.as_bytes(), ours.raw);
            }
            (Err(_), None) => {}
            // Other attestation types are read by the oracle and refused by us.
            (Err(refusal), Some(_)) => prop_assert_eq!(refusal.reason, attest::Reason::CertType, "{}", refusal),
            (Ok(ours), None) => prop_assert!(false, "only we take {:?}", ours),
        }
        Ok(())
    });
}

#[test]
fn signatures() {
    run(10_000, &altered(crate::parse::signatures()), |bytes| {
        let theirs: Option<data::TpmtSignature> = oracle(&bytes);
        match (TpmtSignature::parse(&bytes), theirs) {
            (Ok(_), Some(_)) | (Err(_), None) => {}
            // ECDAA, SM2, ECSCHNORR, HMAC and NULL are signatures, but none that an accepted key makes.
            (Err(refusal), Some(_)) => prop_assert_eq!(refusal.reason, attest::Reason::AkAlg, "{}", refusal),
            // The hash stays a number until it is compared with the key's own.
            (Ok(ours), None) => prop_assert!(attest::tpm::HashAlgorithm::from_id(ours.hash()).is_none(), "{:?}", ours),
        }
        Ok(())
    });
}
