//! `ca-cli ceremony approve` and `check-share`.

use std::path::PathBuf;

use clap::Args;

/// `ca-cli ceremony approve`.
#[derive(Args)]
pub(crate) struct Approve {
    /// The plan; with --seal, the medium.
    pub(crate) plan: PathBuf,
    /// Seal the record of a ceremony that is over, instead of approving a plan.
    #[arg(long)]
    pub(crate) seal: bool,
    /// The role you approve in, as the plan names it.
    #[arg(long, value_name = "ROLE")]
    pub(crate) officer: String,
    /// Your name.
    #[arg(long, value_name = "NAME")]
    pub(crate) person: String,
    /// RFC 7512 URI of your key in your smart card or token; its PIN is asked for, unless the URI names a file.
    #[arg(
        long,
        value_name = "URI",
        required_unless_present = "key_file",
        conflicts_with = "key_file"
    )]
    pub(crate) key: Option<String>,
    /// A private key in a PEM file instead. For rehearsals alone.
    #[arg(long, value_name = "FILE", requires = "rehearsal")]
    pub(crate) key_file: Option<PathBuf>,
    /// File with the PIN of the card, mode 0600.
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) pin_file: Option<PathBuf>,
    /// Approve the rehearsal of the plan, which is not the plan itself.
    #[arg(long)]
    pub(crate) rehearsal: bool,
    /// SHA-256 of the plan (with --seal: of SHA256SUMS) as paper or another device shows it. Without it its first eight
    /// digits are asked for.
    #[arg(long, value_name = "HEX")]
    pub(crate) sha256: Option<String>,
    /// Where the approval goes; a file that exists is not overwritten.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

/// `ca-cli ceremony check-share`.
#[derive(Args)]
pub(crate) struct CheckShare {
    /// Name of the ceremony that made the share.
    #[arg(long, value_name = "NAME")]
    pub(crate) ceremony: Option<String>,
}
