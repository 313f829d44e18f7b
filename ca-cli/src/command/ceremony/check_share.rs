//! `ca-cli ceremony check-share`: an officer proves, alone, that the paper can still be read. Nothing of it is kept.

use ceremony::share::SecretKind;

use crate::cli::custody::CheckShare;
use crate::custody::{guard, shares};
use crate::exit::{Exit, Failure};
use crate::output::Report;

pub(super) fn run(arguments: &CheckShare, no_input: bool) -> Result<Report, Failure> {
    if no_input {
        return Err(Failure::new(Exit::Stopped, "the share would have to be typed"));
    }
    guard::harden()?;
    let share = shares::type_share(&mut shares::Tty, "share")?;
    let (index, kind, threshold) = (share.index(), share.kind(), share.threshold());
    if let Some(name) = &arguments.ceremony {
        shares::belongs(name, kind, share)?;
    }
    let json = serde_json::json!({
        "schema": "holdfast.ceremony-share.v1",
        "share": index,
        "kind": match kind {
            SecretKind::TokenPin => "token-pin",
            SecretKind::SoPin => "so-pin",
            SecretKind::BackupKey => "backup-key",
        },
        "needed": threshold.needed(),
        "of": threshold.of(),
        "ceremony": arguments.ceremony,
    });
    Ok(Report::new(json, move |style| {
        format!(
            "{} share {index} of {} of a {kind}, {} are needed: every line is right\n",
            style.tick(true),
            threshold.of(),
            threshold.needed()
        )
    }))
}
