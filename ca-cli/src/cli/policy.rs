//! Arguments of `policy`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Admin;

/// `ca-cli policy …`.
#[derive(Subcommand)]
pub(crate) enum PolicyCommand {
    /// Decide stored evidence again under another policy, and show what would change. Nothing is written.
    #[command(after_help = "\
Examples:
  ca-cli policy test --against last:200 --policy new-policy
  ca-cli policy test --against last:5000 --policy new-policy -o json \\
    --fail-on-change
The folder has rules/ (*.cedar and one *.cedarschema), profiles/ (*.toml) and
advisories.toml; what is missing is as the server has it. Exit 3: something
would change, and --fail-on-change was given.")]
    Test(PolicyTest),
}

/// What is decided again, and by what.
#[derive(Args)]
pub(crate) struct PolicyTest {
    /// Which evidence: last:N, the newest N enrollments.
    #[arg(long, value_parser = last)]
    pub(crate) against: u64,
    /// Folder of the policy to try; without it the server's own.
    #[arg(long)]
    pub(crate) policy: Option<PathBuf>,
    /// End with 3 if a decision would change.
    #[arg(long)]
    pub(crate) fail_on_change: bool,
    #[command(flatten)]
    pub(crate) admin: Admin,
}

fn last(text: &str) -> Result<u64, String> {
    let number = text.strip_prefix("last:").and_then(|digits| digits.parse().ok());
    number
        .filter(|number| *number > 0)
        .ok_or_else(|| "last:N, for example last:200".to_owned())
}
