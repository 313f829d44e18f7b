//! Arguments of `hsm`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use issuance::SignatureAlgorithm;

/// `ca-cli hsm …`.
#[derive(Subcommand)]
pub(crate) enum HsmCommand {
    /// Show slots, tokens, PIN warnings and a verdict per CA key type; with a key, sign and verify a probe.
    #[command(after_help = "\
Examples:
  ca-cli hsm probe --module /usr/lib/softhsm/libsofthsm2.so
  ca-cli hsm probe --module M --uri 'pkcs11:token=issuing;id=%01' \\
    --certificate issuing.pem --pin-file issuing.pin
  ca-cli hsm probe --module M --uri 'pkcs11:token=issuing;id=%01' \\
    --certificate issuing.pem --algorithm rsa3072-pss-sha256
A key that may not be a CA's is refused with the list of its attributes.")]
    Probe(HsmProbe),
}

/// `ca-cli hsm probe`.
#[derive(Args)]
pub(crate) struct HsmProbe {
    /// PKCS#11 module.
    #[arg(long)]
    pub(crate) module: PathBuf,
    /// RFC 7512 URI of a key to sign a probe with.
    #[arg(long, requires = "certificate")]
    pub(crate) uri: Option<String>,
    /// CA certificate of that key.
    #[arg(long, requires = "uri")]
    pub(crate) certificate: Option<PathBuf>,
    /// Signature algorithm, as server.toml names it. Without it: the one the certificate is signed with when it is
    /// self-signed, else the server's own default for the key (RSA: PKCS#1 v1.5).
    #[arg(long, requires = "uri", value_parser = algorithm)]
    pub(crate) algorithm: Option<SignatureAlgorithm>,
    /// File with the PIN, mode 0600. Without it the PIN is asked on the terminal.
    #[arg(long, requires = "uri")]
    pub(crate) pin_file: Option<PathBuf>,
    /// Try the PIN although the token warns that wrong ones were tried. Only when you are sure of it.
    #[arg(long, requires = "uri", value_enum, value_name = "WARNING")]
    pub(crate) despite_warning: Option<PinWarning>,
}

/// Warnings of a token that a person may overrule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum PinWarning {
    /// A wrong PIN was tried since the last good one.
    CountLow,
    /// One more wrong PIN locks the token.
    FinalTry,
}

/// A signature algorithm by its name in server.toml.
pub(super) fn algorithm(name: &str) -> Result<SignatureAlgorithm, String> {
    let names = SignatureAlgorithm::ALL.map(SignatureAlgorithm::as_str);
    SignatureAlgorithm::from_text(name).ok_or_else(|| format!("one of {}", names.join(", ")))
}
