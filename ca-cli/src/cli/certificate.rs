//! Arguments of `cert`, `verify` and `evidence`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[cfg(feature = "online")]
use super::Admin;
use crate::words;

/// `ca-cli cert …`.
#[derive(Subcommand)]
pub(crate) enum CertCommand {
    /// Show a certificate in words.
    #[command(after_help = "\
Examples:
  ca-cli cert inspect device.pem
  ca-cli cert inspect device.der -o json
  openssl s_client -connect host:8443 </dev/null | ca-cli cert inspect -")]
    Inspect {
        /// PEM or DER file; `-` is standard input.
        file: PathBuf,
        /// Also show the SHA-256 fingerprint as a QR code.
        #[arg(long)]
        qr: bool,
    },
    /// Where a certificate of ours stands, and every step it took there.
    #[cfg(feature = "online")]
    #[command(after_help = "Examples:\n  ca-cli cert status 5a0102030405060708090a0b0c0d0e0f")]
    Status {
        /// Serial number (hex).
        serial: String,
        #[command(flatten)]
        admin: Admin,
    },
    /// Take out what a certificate stands on, as one archive that outlives the server.
    #[cfg(feature = "online")]
    #[command(after_help = "\
Examples:
  ca-cli cert bundle 5a0102030405060708090a0b0c0d0e0f --out device.bundle.tar
  ca-cli verify device.pem --bundle device.bundle.tar --trust trust
It holds the EK certificate: keep it as you keep serial numbers of people.")]
    Bundle {
        /// Serial number (hex).
        serial: String,
        /// Write it here; a file that is there stays.
        #[arg(long)]
        out: PathBuf,
        #[command(flatten)]
        admin: Admin,
    },
}

/// `ca-cli evidence …`.
#[cfg(feature = "online")]
#[derive(Subcommand)]
pub(crate) enum EvidenceCommand {
    /// Erase the evidence of certificates none of which is good any more.
    #[command(after_help = "\
Examples:
  ca-cli evidence erase 5a0102030405060708090a0b0c0d0e0f \\
    --reason 'owner asked, ticket 12'
Its digests stay, in the certificate and in the ledger, which stays provable.
There is no way back. Exit 5: a certificate that is good stands on it.")]
    Erase {
        /// Serial number (hex) of a certificate that stood on it.
        serial: String,
        /// Why, for the record.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        admin: Admin,
    },
}

/// `ca-cli verify`.
#[derive(Args)]
pub(crate) struct Verify {
    /// Certificate to verify, PEM or DER; `-` is standard input. Further certificates in it are path material.
    pub(crate) file: PathBuf,
    /// Whom to trust: root certificates, PEM or DER; or a folder or zip with `ca/`, `tpm/` (TPM vendors' roots), `ledger/` (keys).
    #[arg(long, required = true)]
    pub(crate) trust: Vec<PathBuf>,
    /// Evidence bundle of the certificate: every check of its enrollment is made again.
    #[arg(long)]
    pub(crate) bundle: Option<PathBuf>,
    /// Issuing CA certificates, PEM or DER.
    #[arg(long)]
    pub(crate) untrusted: Vec<PathBuf>,
    /// Lowest assurance level to accept.
    #[arg(long, value_enum, default_value = "hardware-verified")]
    pub(crate) level: Level,
    /// EK certificate of the device's TPM: must be the one the certificate names.
    #[arg(long)]
    pub(crate) ek_certificate: Option<PathBuf>,
    /// CRL of the issuing CA, PEM or DER; may be repeated: one of them must speak for the certificate, now.
    #[arg(long)]
    pub(crate) crl: Vec<PathBuf>,
    /// Verify as of this time, for example `2027-02-20` or `2027-02-20T10:00:00Z`.
    #[arg(long, value_parser = words::time)]
    pub(crate) at: Option<i64>,
    /// Accept outputs of a rehearsal. Never in production.
    #[arg(long)]
    pub(crate) rehearsal: bool,
    /// Print the clause behind each check.
    #[arg(long)]
    pub(crate) explain: bool,
}

/// Assurance levels, lowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Level {
    /// No binding needed: a service or server certificate will do.
    None,
    /// A software TPM: demonstrations.
    Software,
    /// A virtual TPM.
    Virtual,
    /// Hardware by the word of the device's manufacturer: his IAK certified the key.
    ManufacturerVerified,
    /// Hardware by an administrator's word.
    HardwareAllowlisted,
    /// Hardware by its vendor's certificate.
    HardwareVerified,
}
