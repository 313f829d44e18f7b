//! `ca-cli device replace-tpm` and `ca-cli replacement …`.

use clap::{Args, Subcommand};
use wire::revocation::RevocationReason;

use super::Admin;
use crate::words;

/// `ca-cli device replace-tpm`.
#[derive(Args)]
pub(crate) struct ReplaceTpm {
    /// Name of the device.
    pub(crate) name: String,
    /// EK of the new TPM: a file or a hash, as `ca-cli device allow` takes it.
    #[arg(long, required_unless_present_any = ["first_contact", "iak"], conflicts_with_all = ["first_contact", "iak"])]
    pub(crate) ek: Option<String>,
    /// IAK of the new TPM, where its manufacturer vouches: a certificate file or a hash.
    #[arg(long, conflicts_with = "first_contact")]
    pub(crate) iak: Option<String>,
    /// Bind the first genuine TPM that claims the name within this time from the approval on, for example `2h`.
    #[arg(long, value_parser = words::duration)]
    pub(crate) first_contact: Option<i64>,
    /// Why, for the record and for who approves.
    #[arg(long)]
    pub(crate) reason: String,
    /// Why the certificates of the old TPM are revoked: superseded, cessationOfOperation, keyCompromise (blocks their
    /// keys), affiliationChanged, privilegeWithdrawn or unspecified.
    #[arg(long, default_value = "superseded", value_parser = reason)]
    pub(crate) revocation: RevocationReason,
    /// How long it can be approved, at most 30 days.
    #[arg(long, default_value = "3d", value_parser = words::duration)]
    pub(crate) valid: i64,
    #[command(flatten)]
    pub(crate) admin: Admin,
}

fn reason(text: &str) -> Result<RevocationReason, String> {
    use RevocationReason as Reason;
    let reasons = [
        Reason::Superseded,
        Reason::CessationOfOperation,
        Reason::KeyCompromise,
        Reason::AffiliationChanged,
        Reason::PrivilegeWithdrawn,
        Reason::Unspecified,
    ];
    let found = reasons.into_iter().find(|reason| reason.as_str() == text);
    found.ok_or_else(|| format!("one of {}", reasons.map(Reason::as_str).join(", ")))
}

/// `ca-cli replacement …`.
#[derive(Subcommand)]
pub(crate) enum ReplacementCommand {
    /// List replacements, newest first.
    #[command(after_help = "Examples:\n  ca-cli replacement list\n  ca-cli replacement list --device GW-7F3K-00412")]
    List {
        /// Of this device only.
        #[arg(long)]
        device: Option<String>,
        /// Cursor of the next page, as the page before printed it.
        #[arg(long)]
        cursor: Option<String>,
        #[command(flatten)]
        admin: Admin,
    },
    /// Show one: which device, which TPMs, who and why.
    #[command(after_help = "Examples:\n  ca-cli replacement show 7")]
    Show {
        /// Its number.
        id: u32,
        #[command(flatten)]
        admin: Admin,
    },
    /// Approve what another person asked for: at once the old identity is revoked and the new TPM may come.
    #[command(
        after_help = "Examples:\n  ca-cli replacement show 7\n  ca-cli replacement approve 7 --comment 'seen on the bench'"
    )]
    Approve(Decision),
    /// Reject what another person asked for, or take back your own.
    #[command(after_help = "Examples:\n  ca-cli replacement reject 7 --comment 'wrong device'")]
    Reject(Decision),
}

/// `ca-cli replacement approve` and `reject`.
#[derive(Args)]
pub(crate) struct Decision {
    /// Its number.
    pub(crate) id: u32,
    /// For the record.
    #[arg(long)]
    pub(crate) comment: Option<String>,
    #[command(flatten)]
    pub(crate) admin: Admin,
}
