//! `TPMT_SIGNATURE` (TPM 2.0 Part 2, 11.3.4).

use super::TpmAlgId;
use super::read::Reader;
use crate::{Reason, Refusal};

/// Largest RSA signature: 4096 bits.
const MAX_RSA: usize = 512;
/// Largest ECC parameter: P-521.
const MAX_ECC: usize = 66;

/// `TPMT_SIGNATURE` of the kinds an attestation key makes, read in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TpmtSignature<'a> {
    /// RSASSA or RSAPSS.
    Rsa {
        /// [`TpmAlgId::RSASSA`] or [`TpmAlgId::RSAPSS`].
        scheme: TpmAlgId,
        /// Hash of the message.
        hash: TpmAlgId,
        /// Signature, as long as the modulus.
        sig: &'a [u8],
    },
    /// ECDSA.
    Ecdsa {
        /// Hash of the message.
        hash: TpmAlgId,
        /// r, big-endian; leading zeros may be missing.
        r: &'a [u8],
        /// s, big-endian; leading zeros may be missing.
        s: &'a [u8],
    },
}

impl<'a> TpmtSignature<'a> {
    /// Parse a `TPMT_SIGNATURE`. Every byte must belong to it.
    ///
    /// # Errors
    /// [`Reason::AkAlg`] for ECDAA, SM2, ECSCHNORR, HMAC and NULL, which no accepted attestation key uses;
    /// [`Reason::Malformed`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Refusal> {
        let mut reader = Reader::new(bytes, "TPMT_SIGNATURE");
        let signature = match TpmAlgId(reader.u16("sigAlg")?) {
            scheme @ (TpmAlgId::RSASSA | TpmAlgId::RSAPSS) => Self::Rsa {
                scheme,
                hash: TpmAlgId(reader.u16("hash")?),
                sig: reader.sized(MAX_RSA, "sig")?,
            },
            TpmAlgId::ECDSA => Self::Ecdsa {
                hash: TpmAlgId(reader.u16("hash")?),
                r: reader.sized(MAX_ECC, "signatureR")?,
                s: reader.sized(MAX_ECC, "signatureS")?,
            },
            other @ (TpmAlgId::ECDAA | TpmAlgId::SM2 | TpmAlgId::ECSCHNORR | TpmAlgId::HMAC | TpmAlgId::NULL) => {
                return Err(Refusal::new(
                    Reason::AkAlg,
                    format!("TPMT_SIGNATURE: sigAlg is {other}"),
                ));
            }
            other => return Err(reader.malformed(format_args!("sigAlg {other} is not a signature scheme"))),
        };
        reader.finish()?;
        Ok(signature)
    }

    /// Scheme.
    #[must_use]
    pub fn scheme(&self) -> TpmAlgId {
        match self {
            Self::Rsa { scheme, .. } => *scheme,
            Self::Ecdsa { .. } => TpmAlgId::ECDSA,
        }
    }

    /// Hash of the message.
    #[must_use]
    pub fn hash(&self) -> TpmAlgId {
        match self {
            Self::Rsa { hash, .. } | Self::Ecdsa { hash, .. } => *hash,
        }
    }
}
