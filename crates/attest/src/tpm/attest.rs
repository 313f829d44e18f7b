//! `TPMS_ATTEST` (TPM 2.0 Part 2, 10.12.8) of `TPM2_Certify`.

use super::read::Reader;
use crate::{Reason, Refusal};

/// `TPM_GENERATED_VALUE`: only a TPM signs structures that begin so with a restricted key.
const TPM_GENERATED: u32 = 0xFF54_4347;
/// `TPM_ST_ATTEST_CERTIFY`.
const ATTEST_CERTIFY: u16 = 0x8017;
/// Largest `TPM2B_NAME`: a nameAlg and a SHA-512 digest.
const MAX_NAME: usize = 66;
/// Largest `TPM2B_DATA`: the size of a `TPMT_HA`.
const MAX_DATA: usize = 66;

/// `TPMS_CLOCK_INFO` (Part 2, 10.11.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TpmsClockInfo {
    /// Milliseconds the TPM has been powered.
    pub clock: u64,
    /// TPM resets since the last clear; obfuscated outside the endorsement and platform hierarchies.
    pub reset_count: u32,
    /// Restarts or resumes since the last reset; obfuscated like `reset_count`.
    pub restart_count: u32,
    /// Whether no larger value of `clock` was ever reported.
    pub safe: bool,
}

/// `TPMS_CERTIFY_INFO` (Part 2, 10.12.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TpmsCertifyInfo<'a> {
    /// Name of the certified object.
    pub name: &'a [u8],
    /// Its Qualified Name.
    pub qualified_name: &'a [u8],
}

/// `TPMS_ATTEST` of type `TPM_ST_ATTEST_CERTIFY`, read in place. Signed by nobody until its signature was verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TpmsAttest<'a> {
    /// The bytes it was parsed from: what the signature covers.
    pub raw: &'a [u8],
    /// Qualified Name of the signing key.
    pub qualified_signer: &'a [u8],
    /// Qualifying data of the caller.
    pub extra_data: &'a [u8],
    /// Clock, resets and restarts.
    pub clock_info: TpmsClockInfo,
    /// Firmware version; obfuscated like `reset_count`.
    pub firmware_version: u64,
    /// What is attested.
    pub attested: TpmsCertifyInfo<'a>,
}

impl<'a> TpmsAttest<'a> {
    /// Parse a `TPMS_ATTEST` (without the TPM2B size). Every byte must belong to it.
    ///
    /// # Errors
    /// [`Reason::CertMagic`] and [`Reason::CertType`] for structures of another kind, [`Reason::Malformed`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Refusal> {
        let mut reader = Reader::new(bytes, "TPMS_ATTEST");
        let magic = reader.u32("magic")?;
        if magic != TPM_GENERATED {
            return Err(Refusal::new(
                Reason::CertMagic,
                format!("TPMS_ATTEST: magic is {magic:#010x}"),
            ));
        }
        let kind = reader.u16("type")?;
        if kind != ATTEST_CERTIFY {
            return Err(other_kind(kind));
        }
        let qualified_signer = reader.sized(MAX_NAME, "qualifiedSigner")?;
        let extra_data = reader.sized(MAX_DATA, "extraData")?;
        let clock_info = TpmsClockInfo {
            clock: reader.u64("clock")?,
            reset_count: reader.u32("resetCount")?,
            restart_count: reader.u32("restartCount")?,
            safe: match reader.u8("safe")? {
                0 => false,
                1 => true,
                other => return Err(reader.malformed(format_args!("safe is {other}, neither NO nor YES"))),
            },
        };
        let firmware_version = reader.u64("firmwareVersion")?;
        let attested = TpmsCertifyInfo {
            name: reader.sized(MAX_NAME, "certify.name")?,
            qualified_name: reader.sized(MAX_NAME, "certify.qualifiedName")?,
        };
        reader.finish()?;
        Ok(Self {
            raw: bytes,
            qualified_signer,
            extra_data,
            clock_info,
            firmware_version,
            attested,
        })
    }
}

fn other_kind(kind: u16) -> Refusal {
    let word = match kind {
        0x8014 => "NV",
        0x8015 => "COMMAND_AUDIT",
        0x8016 => "SESSION_AUDIT",
        0x8018 => "QUOTE",
        0x8019 => "TIME",
        0x801A => "CREATION",
        0x801C => "NV_DIGEST",
        _ => return Refusal::new(Reason::CertType, format!("TPMS_ATTEST: type is {kind:#06x}")),
    };
    Refusal::new(Reason::CertType, format!("TPMS_ATTEST: type is ATTEST_{word}"))
}
