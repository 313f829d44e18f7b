//! `ca-cli revoke`, `hold` and `release`: one certificate, a device, or a list. What is done already is a success, so
//! the same command again goes on where it stopped.

mod plan;

use std::io::IsTerminal as _;

use serde::Serialize;
use serde_json::{Value, json};
use wire::revocation::{CertificateStatus, Release, RevocationReason, RevocationStep, Revoke};

use crate::admin::Client;
use crate::cli::{Which, revocation};
use crate::exit::{Exit, Failure};
use crate::output::{Report, clean, table};
use crate::words;

use plan::{Item, Left, Plan, Wish};
pub(super) use plan::{serial, status_path, targets};

/// From here on a person has to say the number.
const MANY: usize = 100;

pub(super) fn revoke(arguments: &revocation::Revoke, no_input: bool) -> Result<Report, Failure> {
    run(Wish::Revoke(arguments.reason), &arguments.which, no_input)
}

pub(super) fn hold(which: &Which, no_input: bool) -> Result<Report, Failure> {
    run(Wish::Hold, which, no_input)
}

pub(super) fn release(which: &Which, no_input: bool) -> Result<Report, Failure> {
    run(Wish::Release, which, no_input)
}

/// What became of one certificate.
enum Outcome {
    /// It stood so before.
    Already,
    /// It would be done.
    Wanted,
    Done(Option<RevocationStep>),
    /// Why not.
    Failed(Failure),
    /// The run stopped before it.
    Left,
}

fn run(wish: Wish, which: &Which, no_input: bool) -> Result<Report, Failure> {
    let client = Client::new(&which.admin);
    let targets = match (&which.from, &which.target) {
        (Some(file), _) => plan::targets(file)?,
        (None, target) => target.iter().cloned().collect(),
    };
    let plan = plan::plan(&client, &targets, which.lineage, words::now())?;
    let count = plan
        .items
        .iter()
        .filter(|i| wish.left(i.revocation.as_ref()) == Left::Step)
        .count();
    if !which.dry_run {
        agreed(count, "certificates", which.yes_count, no_input)?;
    }
    let outcomes = work(&client, wish, which, &plan, count)?;
    Ok(report(wish, which.dry_run, plan, outcomes))
}

/// A number above [`MANY`] has to be said; one that is said has to be right.
pub(super) fn agreed(count: usize, of: &str, said: Option<usize>, no_input: bool) -> Result<(), Failure> {
    let stop = |what: String| {
        Failure::new(Exit::Stopped, what).fix("--dry-run shows them and counts them; --yes-count N says the number")
    };
    let said = match said {
        Some(said) => said,
        None if count <= MANY => return Ok(()),
        // Standard input may be the list.
        None if no_input || !std::io::stdin().is_terminal() => {
            return Err(stop(format!(
                "this is about {count} {of}, and nobody is there to agree"
            )));
        }
        None => inquire::Text::new(&format!("This is about {count} {of}. Type the number to go on:"))
            .prompt()
            .map_err(|e| Failure::new(Exit::Stopped, e.to_string()))?
            .trim()
            .parse()
            .map_err(|_| stop("that is no number".to_owned()))?,
    };
    if said == count {
        Ok(())
    } else {
        Err(stop(format!("this is about {count} {of}, not {said}")))
    }
}

/// One after the other; a server that is away ends the run.
fn work(client: &Client, wish: Wish, which: &Which, plan: &Plan, count: usize) -> Result<Vec<Outcome>, Failure> {
    let progress = if count > 1 && !which.dry_run {
        indicatif::ProgressBar::new(u64::try_from(count).unwrap_or(u64::MAX))
    } else {
        indicatif::ProgressBar::hidden()
    };
    let mut outcomes = Vec::with_capacity(plan.items.len());
    let (mut steps, mut away) = (0_usize, false);
    for item in &plan.items {
        let left = wish.left(item.revocation.as_ref());
        outcomes.push(match left {
            Left::Nothing => Outcome::Already,
            Left::Never(reason) => {
                let what = format!("{}: revoked ({reason}), and that is final", item.serial);
                Outcome::Failed(Failure::new(Exit::Conflict, what))
            }
            Left::Step if which.dry_run => Outcome::Wanted,
            Left::Step if away => Outcome::Left,
            Left::Step => {
                if let (Some(pause), true) = (which.rate, steps > 0) {
                    std::thread::sleep(pause);
                }
                steps = steps.saturating_add(1);
                let outcome = step(client, wish, item, which.comment.as_deref());
                progress.inc(1);
                if progress.is_hidden() && steps.is_multiple_of(MANY) {
                    eprintln!("  {steps} of {count}");
                }
                match outcome {
                    Ok(status) => Outcome::Done(status.revocation),
                    Err(failure) => {
                        away = failure.exit == Exit::TryAgain;
                        Outcome::Failed(failure)
                    }
                }
            }
        });
    }
    progress.finish_and_clear();
    Ok(outcomes)
}

fn step(client: &Client, wish: Wish, item: &Item, comment: Option<&str>) -> Result<CertificateStatus, Failure> {
    let comment = comment.map(ToOwned::to_owned);
    let reason = match wish {
        Wish::Revoke(reason) => reason,
        Wish::Hold => RevocationReason::CertificateHold,
        Wish::Release => {
            return client.post(
                &format!("/v1/certificates/{}/release", item.serial),
                &Release { comment },
            );
        }
    };
    client.post(&status_path(&item.serial), &Revoke { reason, comment })
}

fn report(wish: Wish, dry_run: bool, mut plan: Plan, outcomes: Vec<Outcome>) -> Report {
    for (item, outcome) in plan.items.iter_mut().zip(&outcomes) {
        if let Outcome::Done(now) = outcome {
            item.revocation.clone_from(now);
        }
    }
    let count = |wanted: fn(&Outcome) -> bool| outcomes.iter().filter(|o| wanted(o)).count();
    let (already, would) = (
        count(|o| matches!(o, Outcome::Already)),
        count(|o| matches!(o, Outcome::Wanted)),
    );
    let (done, left) = (
        count(|o| matches!(o, Outcome::Done(_))),
        count(|o| matches!(o, Outcome::Left)),
    );
    let failed = count(|o| matches!(o, Outcome::Failed(_)));
    let first = outcomes
        .iter()
        .find_map(|o| if let Outcome::Failed(f) = o { Some(f.exit) } else { None });
    let away = outcomes
        .iter()
        .any(|o| matches!(o, Outcome::Failed(f) if f.exit == Exit::TryAgain));
    let exit = match first {
        None => Exit::Done,
        Some(_) if away => Exit::TryAgain,
        Some(exit) if done + already + would == 0 => exit,
        Some(_) => Exit::Partly,
    };
    for failure in outcomes
        .iter()
        .filter_map(|o| if let Outcome::Failed(f) = o { Some(f) } else { None })
    {
        failure.print();
    }
    let (verb, past) = match wish {
        Wish::Revoke(_) => ("revoke", "revoked"),
        Wish::Hold => ("hold", "put on hold"),
        Wish::Release => ("release", "released"),
    };
    let rows: Vec<Value> = plan
        .items
        .iter()
        .zip(&outcomes)
        .map(|(item, outcome)| row(item, outcome))
        .collect();
    let lots = plan::by_batch(
        plan.items
            .iter()
            .zip(&outcomes)
            .filter(|(_, o)| matches!(o, Outcome::Wanted))
            .map(|(item, _)| item),
    );
    let json = json!({
        "schema": "holdfast.revocation.v1",
        "verb": verb,
        "reason": if let Wish::Revoke(reason) = wish { Some(reason) } else { None },
        "dry_run": dry_run,
        "counts": { "done": done, "already": already, "would": would, "failed": failed, "left": left },
        "would_by_batch": lots,
        "items": rows,
        "others": plan.others,
    });
    let lines = plan
        .items
        .iter()
        .zip(&outcomes)
        .map(|(item, outcome)| line(item, outcome, past))
        .collect();
    let others = plan.others;
    let text = move || {
        let header = [
            "DEVICE", "PROFILE", "TPM", "LEVEL", "EXPIRES", "SEEN", "STATE", "SERIAL",
        ];
        let mut text = table(&header, lines);
        if dry_run {
            text.push_str(&format!("{would} would be {past}, {already} stand so already.\n"));
            for (lot, count) in lots {
                text.push_str(&format!("  {count} of {}\n", clean(&lot)));
            }
            text.push_str("Nothing was done: --dry-run.\n");
        } else {
            text.push_str(&format!("{done} {past}, {already} stood so already.\n"));
        }
        if failed + left > 0 {
            text.push_str(&format!(
                "{failed} failed, {left} not tried. The same command again goes on.\n"
            ));
        }
        if !others.is_empty() && wish != Wish::Release {
            text.push_str(&format!("Of the same devices, still good ({}):\n", others.len()));
            others
                .iter()
                .for_each(|serial| text.push_str(&format!("  {}\n", clean(serial))));
        }
        text
    };
    Report::new(json, move |_| text()).exit(exit)
}

fn row(item: &Item, outcome: &Outcome) -> Value {
    let (word, error) = match outcome {
        Outcome::Already => ("already", None),
        Outcome::Wanted => ("would", None),
        Outcome::Done(_) => ("done", None),
        Outcome::Failed(failure) => ("failed", Some(&failure.message)),
        Outcome::Left => ("left", None),
    };
    json!(Row {
        item,
        outcome: word,
        error
    })
}

/// A certificate of the plan, and what became of it.
#[derive(Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    item: &'a Item,
    outcome: &'static str,
    error: Option<&'a String>,
}

fn line(item: &Item, outcome: &Outcome, past: &str) -> Vec<String> {
    let now = words::now();
    let stands = words::standing("good", item.revocation.as_ref());
    let or_none = |text: Option<&String>| text.map_or_else(|| "-".to_owned(), |t| clean(t));
    vec![
        or_none(item.device.as_ref()),
        clean(&item.profile),
        or_none(item.tpm.as_ref()),
        or_none(item.level.as_ref()),
        words::date(item.not_after, now),
        item.last_seen_at
            .map_or_else(|| "-".to_owned(), |t| words::date(t, now)),
        match outcome {
            Outcome::Already | Outcome::Done(_) => stands,
            Outcome::Wanted => format!("{stands}, to be {past}"),
            Outcome::Failed(_) | Outcome::Left => format!("{stands}, not {past}"),
        },
        clean(&item.serial),
    ]
}
