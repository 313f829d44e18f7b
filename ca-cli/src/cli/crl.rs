//! Arguments of `crl`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Admin;

/// `ca-cli crl …`.
#[derive(Subcommand)]
pub(crate) enum CrlCommand {
    /// List the CRLs of the CA: number, entries, age, what is wrong.
    #[command(after_help = "Examples:\n  ca-cli crl list\n  ca-cli crl list -o json")]
    List(Admin),
    /// Show a CRL: a file, or what the record says is published under a URL.
    #[command(after_help = "\
Examples:
  ca-cli crl show issuing.crl --issuer chain.pem
  ca-cli crl show http://pki.example.net/crl/7.crl
  ca-cli crl show http://pki.example.net/crl/7.crl \\
    --serial 5a0102030405060708090a0b0c0d0e0f")]
    Show {
        /// File (PEM or DER), `-` for standard input, or URL.
        what: String,
        /// Only what it says of this certificate (hex).
        #[arg(long)]
        serial: Option<String>,
        #[command(flatten)]
        issuer: IssuerArguments,
    },
    /// Publish new CRLs now, rather than when they are due.
    #[command(after_help = "\
Examples:
  ca-cli crl publish
  ca-cli crl publish http://pki.example.net/crl/7.crl")]
    Publish {
        /// Only the one of this URL.
        url: Option<String>,
        #[command(flatten)]
        admin: Admin,
    },
    /// Fetch a CRL as a relying party does, over plain HTTP, and judge it.
    #[command(after_help = "\
Examples:
  ca-cli crl fetch http://pki.example.net/crl/7.crl
  ca-cli crl fetch http://pki.example.net/crl/7.crl --out 7.crl
A CRL that has ended, or is not the issuer's, is refused (3) and not written.
Where its delta CRLs are, it says itself; they are fetched the same way.")]
    Fetch {
        /// URL, as it stands in certificates.
        url: String,
        /// Write it here, DER.
        #[arg(long)]
        out: Option<PathBuf>,
        #[command(flatten)]
        issuer: IssuerArguments,
    },
}

/// Whose CRL it must be.
#[derive(Args)]
pub(crate) struct IssuerArguments {
    /// Chain of the issuer, its own certificate first, the root last; without it the server is asked.
    #[arg(long)]
    pub(crate) issuer: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) admin: Admin,
}
