//! [`Linted`] -> [`Recorded`] -> [`Signed`] -> [`Issued`].

use policies::KeyRole;

use super::draft::Content;
use crate::encode::{BIT_STRING, SEQUENCE, tlv};
use crate::issuer::IssuerFacts;
use crate::view::Certificate;
use crate::{CaKey, IssuedRecord, KeyError, Linted, Order, RecordError, Recorder, Serial, ToSign};

/// A certificate whose intent is durable.
#[derive(Debug)]
pub struct Recorded(Content);

/// Signed and verified, not yet recorded as issued.
#[derive(Debug)]
pub struct Signed(Finished);

/// Signed and recorded: the only state a client may see.
#[derive(Debug)]
pub struct Issued(Finished);

#[derive(Debug)]
struct Finished {
    certificate: Vec<u8>,
    serial: Serial,
    issuer_key_id: Vec<u8>,
    profile: String,
    key_role: KeyRole,
}

/// Why a recorded certificate, or a CRL, was not signed. The serial, or the CRL number, is burnt in every case.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SignFailure {
    /// The key did not answer.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The key answered with a signature that does not verify. Halt.
    #[error("the signer returned a signature that does not verify")]
    Corrupt,
    /// Bytes to sign and bytes signed differ. Halt.
    #[error("the signed whole does not carry the recorded bytes")]
    BytesDiffer,
    /// The key is not the issuer's, or not one for its algorithm; nothing was asked of it. Halt.
    #[error("the signer holds another key: {0}")]
    WrongKey(String),
}

/// Record an order and what is about to be signed. Durable on return; nothing is recorded on an error other than
/// [`RecordError::Unknown`].
///
/// # Errors
/// [`RecordError`].
pub fn record(linted: Vec<Linted>, order: &Order, recorder: &dyn Recorder) -> Result<Vec<Recorded>, RecordError> {
    let intents: Vec<_> = linted.iter().map(Linted::intent).collect();
    recorder.intend(order, &intents)?;
    Ok(linted.into_iter().map(|l| Recorded(l.into_content())).collect())
}

impl Recorded {
    /// Sign, once; verify the signature in software; compare the bytes.
    ///
    /// # Errors
    /// [`SignFailure`].
    pub fn sign(self, key: &dyn CaKey) -> Result<Signed, SignFailure> {
        let Content {
            tbs,
            serial,
            spec,
            issuer,
        } = self.0;
        let certificate = sign_bytes(&tbs, &issuer, key)?;
        Ok(Signed(Finished {
            certificate,
            serial,
            issuer_key_id: issuer.key_id.clone(),
            profile: spec.profile,
            key_role: spec.key_role,
        }))
    }
}

/// `TBSCertificate` or `TBSCertList` -> the whole, signed by a key of no worth.
pub(crate) fn twin(tbs: &[u8], issuer: &IssuerFacts, key: &dyn CaKey) -> Result<Vec<u8>, SignFailure> {
    if key.spki() == issuer.spki || key.algorithm() != issuer.algorithm {
        return Err(SignFailure::WrongKey("not a key of no worth for this".into()));
    }
    let signature = key.sign(ToSign(tbs))?;
    let bits = tlv(BIT_STRING, &[&[0], &signature]);
    Ok(tlv(SEQUENCE, &[tbs, issuer.algorithm.identifier(), &bits]))
}

/// `TBSCertificate` or `TBSCertList` -> the signed whole. The key is asked once.
pub(crate) fn sign_bytes(tbs: &[u8], issuer: &IssuerFacts, key: &dyn CaKey) -> Result<Vec<u8>, SignFailure> {
    if key.spki() != issuer.spki {
        return Err(SignFailure::WrongKey("not the issuer's".into()));
    }
    if key.algorithm() != issuer.algorithm {
        return Err(SignFailure::WrongKey(format!(
            "{:?}, not {:?}",
            key.algorithm(),
            issuer.algorithm
        )));
    }
    let signature = key.sign(ToSign(tbs))?;
    let bits = tlv(BIT_STRING, &[&[0], &signature]);
    let signed = tlv(SEQUENCE, &[tbs, issuer.algorithm.identifier(), &bits]);
    check(&signed, tbs, issuer)?;
    Ok(signed)
}

/// What leaves is read back as a stranger would: it must carry the recorded bytes and verify under the issuer.
pub(super) fn check(certificate: &[u8], recorded: &[u8], issuer: &IssuerFacts) -> Result<(), SignFailure> {
    let read = Certificate::parse(certificate).map_err(|_| SignFailure::BytesDiffer)?;
    if read.tbs != recorded || read.algorithm != issuer.algorithm.identifier() {
        return Err(SignFailure::BytesDiffer);
    }
    issuer
        .verifier
        .verify(read.tbs, read.signature)
        .map_err(|_| SignFailure::Corrupt)
}

/// Record the signatures. Only now may anything be answered.
///
/// # Errors
/// [`RecordError`].
pub fn issue(
    signed: Vec<Signed>,
    enrollment_id: &[u8; 16],
    recorder: &dyn Recorder,
) -> Result<Vec<Issued>, RecordError> {
    let records: Vec<_> = signed
        .iter()
        .map(|Signed(s)| IssuedRecord {
            serial: s.serial,
            issuer_key_id: s.issuer_key_id.clone(),
            certificate: s.certificate.clone(),
        })
        .collect();
    recorder.issued(enrollment_id, &records)?;
    Ok(signed.into_iter().map(|Signed(s)| Issued(s)).collect())
}

impl Issued {
    /// The certificate, DER.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        &self.0.certificate
    }
    /// Serial.
    #[must_use]
    pub fn serial(&self) -> Serial {
        self.0.serial
    }
    /// Profile name.
    #[must_use]
    pub fn profile(&self) -> &str {
        &self.0.profile
    }
    /// Which key it certifies; for a CA certificate [`KeyRole::Identity`].
    #[must_use]
    pub fn key_role(&self) -> KeyRole {
        self.0.key_role
    }
}
