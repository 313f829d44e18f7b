//! `ca-cli issuer …`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use issuance::SignatureAlgorithm;

use super::hsm::algorithm;

/// The issuing CA of this machine, and the ceremony that certifies it.
#[derive(Subcommand)]
pub(crate) enum IssuerCommand {
    /// Make the key of a new issuing CA in its token, unless it is there, and a request for its certificate: signed by
    /// the key, with a nonce, good for 14 days.
    #[command(after_help = "\
Examples:
  ca-cli issuer request --module M --token holdfast-issuing \\
    --id 01 --label issuing-1 --pin-file issuing.pin \\
    --organization Example --common-name 'Example Issuing 1A' --out issuing.csr")]
    Request {
        #[command(flatten)]
        key: IssuerKey,
        /// Organization.
        #[arg(long)]
        organization: String,
        /// Common name.
        #[arg(long)]
        common_name: String,
        /// The request to write, DER.
        #[arg(long)]
        out: PathBuf,
    },
    /// Take the answer of a ceremony: refused unless it answers exactly this request, for exactly this key.
    #[command(after_help = "\
Examples:
  ca-cli issuer import cer-2026-12.tar --request issuing.csr \\
    --module M --token holdfast-issuing --id 01 \\
    --label issuing-1 --pin-file issuing.pin --to /etc/holdfast/ca")]
    Import {
        /// The archive of the ceremony.
        archive: PathBuf,
        /// The request it answers, DER.
        #[arg(long)]
        request: PathBuf,
        #[command(flatten)]
        key: IssuerKey,
        /// Folder for issuing.pem, root.pem and chain.pem; none of them is overwritten.
        #[arg(long)]
        to: PathBuf,
        /// Accept a rehearsal. Never in production.
        #[arg(long)]
        rehearsal: bool,
    },
}

/// The key of an issuing CA.
#[derive(Args)]
pub(crate) struct IssuerKey {
    /// PKCS#11 module.
    #[arg(long)]
    pub(crate) module: PathBuf,
    /// Label of the token.
    #[arg(long, value_name = "LABEL")]
    pub(crate) token: String,
    /// CKA_LABEL of the key.
    #[arg(long)]
    pub(crate) label: String,
    /// CKA_ID of the key, hex.
    #[arg(long)]
    pub(crate) id: String,
    /// Algorithm of the key.
    #[arg(long, default_value = "ecdsa-p256-sha256", value_parser = algorithm)]
    pub(crate) algorithm: SignatureAlgorithm,
    /// File with the PIN, mode 0600. Without it the PIN is asked on the terminal.
    #[arg(long)]
    pub(crate) pin_file: Option<PathBuf>,
}
