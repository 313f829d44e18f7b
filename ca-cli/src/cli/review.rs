//! `ca-cli enrollment …`.

use clap::{Args, Subcommand, ValueEnum};
use wire::review::TpmKind;

use super::Admin;

/// TPMs that wait for people: of an unknown vendor, or quarantined.
#[derive(Subcommand)]
pub(crate) enum EnrollmentCommand {
    /// Who waits, by reason and vendor, and what each decision would admit.
    #[command(after_help = "\
Examples:
  ca-cli enrollment review
  ca-cli enrollment review --state approved")]
    Review {
        /// Those that stand so.
        #[arg(long, default_value = "pending")]
        state: StateArg,
        #[command(flatten)]
        admin: Admin,
    },
    /// Vouch for the TPM of a device: this EK, and no other.
    #[command(after_help = "\
Examples:
  ca-cli enrollment approve 7 --reason 'EK read on the bench, ticket 12'
  ca-cli enrollment approve 7 --alike --yes-count 14 --reason 'lot 47'")]
    Approve {
        /// Its number.
        id: u32,
        /// What kind of TPM it is in, where its vendor is unknown.
        #[arg(long, value_enum, default_value = "hardware")]
        kind: KindArg,
        #[command(flatten)]
        how: How,
    },
    /// Say no to the TPM of a device, or take an approval back.
    #[command(after_help = "Examples:\n  ca-cli enrollment reject 7 --reason 'not ours'")]
    Reject {
        /// Its number.
        id: u32,
        #[command(flatten)]
        how: How,
    },
}

/// What both decisions want.
#[derive(Args)]
pub(crate) struct How {
    /// Why, for the record.
    #[arg(long)]
    pub(crate) reason: String,
    /// This one, and all that wait for the same reason, of the same CA and maker.
    #[arg(long)]
    pub(crate) alike: bool,
    /// How many that is.
    #[arg(long, requires = "alike")]
    pub(crate) yes_count: Option<usize>,
    #[command(flatten)]
    pub(crate) admin: Admin,
}

/// Where a review stands.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum StateArg {
    /// People have to decide.
    Pending,
    /// People vouched.
    Approved,
    /// People said no.
    Rejected,
    /// Nobody decided in time.
    Expired,
}

impl StateArg {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
        }
    }
}

/// What kind of TPM an EK is in.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum KindArg {
    /// A chip, or firmware: `hardware-allowlisted`.
    Hardware,
    /// A hypervisor's: `virtual`.
    Virtual,
    /// A program's: `software`; only a rehearsal issues for it.
    Software,
}

impl From<KindArg> for TpmKind {
    fn from(kind: KindArg) -> Self {
        match kind {
            KindArg::Hardware => Self::Hardware,
            KindArg::Virtual => Self::Virtual,
            KindArg::Software => Self::Software,
        }
    }
}
