//! The TPM's part of an enrollment or a renewal: the endorsement it shows, and its answer to a challenge.

use attest::tpm::Certifies;
use wire::Bytes;
use wire::enrollment::{ActivationRequest, EnrollmentChallenge, KeyCertify};
use wire::third_party::{CertificationRequest, CertifiedKey, IakChallenge};

use crate::csr;
use crate::tpm::{Chip, EkChoice, Endorsement, LoadedEk, StoredKey, TpmError};

/// What the vendor left in the TPM.
pub(crate) struct Vendored {
    pub(crate) endorsement: Endorsement,
    /// `TPMT_PUBLIC` of the EK.
    pub(crate) ek_public: Vec<u8>,
    /// The vendor's CA certificates in NV, DER.
    pub(crate) chain: Vec<Vec<u8>>,
}

impl Vendored {
    pub(crate) fn read(chip: &mut Chip, choice: EkChoice) -> Result<Self, TpmError> {
        let endorsement = match chip.choose_endorsement(choice) {
            Err(TpmError::NoEkCertificate { .. }) if chip.endorsements()?.is_empty() => {
                let first = chip.uncertified(choice)?.into_iter().next();
                let (endorsement, ek) = first.ok_or(TpmError::NoEkCertificate { wanted: None })?;
                return Ok(Self {
                    endorsement,
                    ek_public: ek.public.raw().to_vec(),
                    chain: Vec::new(),
                });
            }
            other => other?,
        };
        let ek = chip.load_ek(&endorsement)?;
        chip.unload_ek(&ek);
        let chain = chip.endorsement_chain()?;
        Ok(Self {
            endorsement,
            ek_public: ek.public.raw().to_vec(),
            chain,
        })
    }

    /// Those of the other EKs of this TPM than the one with this public area.
    pub(crate) fn others(chip: &mut Chip, ek_public: &[u8]) -> Result<Vec<Self>, TpmError> {
        let mut others = Vec::new();
        for endorsement in chip.endorsements()? {
            let ek = match chip.load_ek(&endorsement) {
                Ok(ek) => ek,
                // A certificate of no key of this TPM shows nothing.
                Err(TpmError::EkMismatch { .. }) => continue,
                Err(other) => return Err(other),
            };
            chip.unload_ek(&ek);
            if ek.public.raw() != ek_public {
                others.push(Self {
                    endorsement,
                    ek_public: ek.public.raw().to_vec(),
                    chain: chip.endorsement_chain()?,
                });
            }
        }
        Ok(others)
    }

    /// The one whose EK has this SHA-256 of its SubjectPublicKeyInfo, when it is in this TPM.
    pub(crate) fn with_ek(chip: &mut Chip, spki_sha256: &[u8; 32]) -> Result<Option<Self>, TpmError> {
        for endorsement in chip.endorsements()? {
            let ek = chip.load_ek(&endorsement)?;
            chip.unload_ek(&ek);
            if ek
                .public
                .spki()
                .is_ok_and(|spki| openssl::sha::sha256(&spki) == *spki_sha256)
            {
                let chain = chip.endorsement_chain()?;
                return Ok(Some(Self {
                    endorsement,
                    ek_public: ek.public.raw().to_vec(),
                    chain,
                }));
            }
        }
        // One that was vouched for.
        if chip.endorsements()?.is_empty() {
            let made = chip.uncertified(EkChoice::Auto)?;
            let is = |ek: &LoadedEk| {
                let spki = ek.public.spki();
                spki.is_ok_and(|spki| openssl::sha::sha256(&spki) == *spki_sha256)
            };
            let found = made.into_iter().find(|(_, ek)| is(ek));
            return Ok(found.map(|(endorsement, ek)| Self {
                endorsement,
                ek_public: ek.public.raw().to_vec(),
                chain: Vec::new(),
            }));
        }
        Ok(None)
    }
}

/// Everything the TPM has to do for one activation. The ticket is added by the caller. `renewed`: SHA-256 of the
/// certificate that is to be replaced, in a renewal.
pub(crate) fn answer(
    chip: &mut Chip,
    endorsement: &Endorsement,
    ak: &StoredKey,
    key: &StoredKey,
    challenge: &EnrollmentChallenge,
    renewed: Option<&[u8; 32]>,
) -> Result<ActivationRequest, TpmError> {
    let question = &challenge.challenge;
    let nonce = <[u8; 32]>::try_from(question.nonce.0.as_slice()).map_err(|_| TpmError::Malformed {
        what: "the nonce of the challenge",
    })?;
    let secret = chip.activate(endorsement, ak, &question.credential_blob.0, &question.secret.0)?;
    let csr = csr::make(chip, key)?;
    let qualifying = match renewed {
        None => attest::tpm::qualifying_data(&challenge.id.0, &nonce, &csr),
        Some(certificate) => attest::tpm::renewal_qualifying_data(&challenge.id.0, &nonce, &csr, certificate),
    };
    let certified = chip.certify(key, ak, &qualifying)?;
    Ok(ActivationRequest {
        ticket: Bytes::default(),
        secret: secret.to_vec().into(),
        key_public: key.public()?.raw().to_vec().into(),
        key_certify: KeyCertify {
            attest: certified.attest.into(),
            signature: certified.signature.into(),
        },
        csr: csr.into(),
    })
}

/// Everything the TPM has to do for one certification by its IAK. The ticket is added by the caller. `lak`: a new
/// attestation key, if a certificate is wanted for one. `renewed`: as in [`answer`].
pub(crate) fn certify(
    chip: &mut Chip,
    iak: &StoredKey,
    lak: Option<&StoredKey>,
    key: &StoredKey,
    challenge: &IakChallenge,
    renewed: Option<&[u8; 32]>,
) -> Result<CertificationRequest, TpmError> {
    let nonce = <[u8; 32]>::try_from(challenge.nonce.0.as_slice()).map_err(|_| TpmError::Malformed {
        what: "the nonce of the challenge",
    })?;
    let csr = csr::make(chip, key)?;
    let mut statement = |of: &StoredKey, what: Certifies| -> Result<CertifiedKey, TpmError> {
        let qualifying = attest::tpm::iak_qualifying_data(&challenge.id.0, &nonce, &csr, what, renewed);
        let certified = chip.certify(of, iak, &qualifying)?;
        Ok(CertifiedKey {
            public: of.public()?.raw().to_vec().into(),
            attest: certified.attest.into(),
            signature: certified.signature.into(),
        })
    };
    let key = statement(key, Certifies::Identity)?;
    let attestation_key = lak.map(|lak| statement(lak, Certifies::Attestation)).transpose()?;
    Ok(CertificationRequest {
        ticket: Bytes::default(),
        key,
        attestation_key,
        csr: csr.into(),
    })
}
