//! Arguments of `audit`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Admin;
use super::ledger::Place;

/// `ca-cli audit …`.
#[derive(Subcommand)]
pub(crate) enum AuditCommand {
    /// Show why: the records of an incident (`inc_...`), an enrollment (`enr_...`) or a device, newest first.
    #[command(after_help = "\
Examples:
  ca-cli audit show
  ca-cli audit show inc_0123456789abcdef0123456789abcdef
  ca-cli audit show GW-7F3K-00412 -o json")]
    Show {
        /// Incident, enrollment or device; without it the latest records.
        id: Option<String>,
        #[command(flatten)]
        admin: Admin,
    },
    /// Begin an audit: hold a signed tree fast, before a seed is chosen.
    #[command(after_help = "\
Examples:
  ca-cli audit open --from http://pki.example.net/ledger --key ledger.vkey \\
    --out 2027.audit
  ca-cli audit open --from /srv/pki/ledger --key ledger.vkey \\
    --after 2026.audit --out 2027.audit
Choose the seed afterwards, and where the CA cannot know it: dice, or the
closing figures of a stock exchange of the day after. Exit 3: the tree does
not continue the one of the audit before.")]
    Open {
        #[command(flatten)]
        place: Place,
        /// The audit before: this one begins where that one ended.
        #[arg(long, value_name = "FILE")]
        after: Option<PathBuf>,
        /// Write the audit here.
        #[arg(long)]
        out: PathBuf,
    },
    /// Draw entries of the ledger, and fetch what the CA has behind them.
    #[command(after_help = "\
Examples:
  ca-cli audit sample 2027.audit --seed 'dice: 3 1 4 1 5' --count 50 \\
    --from http://pki.example.net/ledger --key ledger.vkey \\
    --out 2027.drawn
It is drawn from the pinned tree alone; the CA's tables have no say. Exit 3:
the ledger was cut or forked since.")]
    Sample {
        /// The audit, as `audit open` wrote it.
        audit: PathBuf,
        /// What the draw is made of: chosen by the auditor, after the pin.
        #[arg(long)]
        seed: String,
        /// How many are drawn.
        #[arg(long, default_value_t = 50)]
        count: u64,
        #[command(flatten)]
        place: Place,
        /// Write the audit with what was drawn here.
        #[arg(long)]
        out: PathBuf,
        #[command(flatten)]
        admin: Admin,
    },
    /// Check an audit again: the draw, each entry, and what was shown of it.
    #[command(after_help = "\
Examples:
  ca-cli audit verify 2027.drawn --trust trust
  ca-cli audit verify 2027.export --trust trust.zip -o json
Exit 3: something is wrong; each fault is named.")]
    Verify(Checked),
    /// Check an audit and write it with what was found, for others to check.
    #[command(after_help = "\
Examples:
  ca-cli audit export 2027.drawn --trust trust --out 2027.export
  python3 docs/verify/audit.py 2027.export --trust trust
Exit 3: written, and something is wrong.")]
    Export {
        #[command(flatten)]
        checked: Checked,
        /// Write it here.
        #[arg(long)]
        out: PathBuf,
    },
}

/// Which audit, and whose word counts.
#[derive(Args)]
pub(crate) struct Checked {
    /// The audit, as `audit sample` or `audit export` wrote it.
    pub(crate) audit: PathBuf,
    /// Whom to trust: a folder or zip with `ca/`, `tpm/` and `ledger/`.
    #[arg(long, required = true)]
    pub(crate) trust: Vec<PathBuf>,
    /// Accept outputs of a rehearsal. Never in production.
    #[arg(long)]
    pub(crate) rehearsal: bool,
}
