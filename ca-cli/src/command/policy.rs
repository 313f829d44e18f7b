//! `ca-cli policy test`.

use std::io::IsTerminal as _;
use std::path::Path;

use wire::policy::{Outcome, PolicyFile, PolicyReplay, PolicyRules, ReplayPolicy, Replayed};

use crate::admin::Client;
use crate::cli::policy::{PolicyCommand, PolicyTest};
use crate::exit::{Exit, Failure, read};
use crate::output::{Report, clean};

/// How many are asked for at once.
const PAGE: u64 = 50;

pub(super) fn run(command: &PolicyCommand) -> Result<Report, Failure> {
    let PolicyCommand::Test(arguments) = command;
    test(arguments)
}

fn text(file: &Path) -> Result<PolicyFile, Failure> {
    let wrong = || Failure::new(Exit::Usage, format!("{}: not UTF-8", file.display()));
    Ok(PolicyFile {
        file: file.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        text: String::from_utf8(read(file)?).map_err(|_| wrong())?,
    })
}

/// The files of a folder with this ending, by name; none where there is no such folder.
fn files(folder: &Path, ending: &str) -> Result<Option<Vec<PolicyFile>>, Failure> {
    if !folder.is_dir() {
        return Ok(None);
    }
    let failed = |e: std::io::Error| Failure::new(Exit::Failed, format!("{}: {e}", folder.display()));
    let mut paths = Vec::new();
    for one in std::fs::read_dir(folder).map_err(failed)? {
        let path = one.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == ending) {
            paths.push(path);
        }
    }
    paths.sort();
    paths.iter().map(|path| text(path)).collect::<Result<_, _>>().map(Some)
}

fn policy(folder: Option<&Path>) -> Result<ReplayPolicy, Failure> {
    let Some(folder) = folder else {
        return Ok(ReplayPolicy::default());
    };
    let rules = folder.join("rules");
    let rules = match (files(&rules, "cedar")?, files(&rules, "cedarschema")?) {
        (Some(files), Some(schemas)) => match schemas.as_slice() {
            [schema] => Some(PolicyRules {
                schema: schema.text.clone(),
                files,
            }),
            _ => {
                let why = format!("{}: exactly one *.cedarschema belongs to the rules", rules.display());
                return Err(Failure::new(Exit::Usage, why));
            }
        },
        _ => None,
    };
    let profiles = files(&folder.join("profiles"), "toml")?;
    let advisories = folder.join("advisories.toml");
    let advisories = advisories.exists().then(|| text(&advisories)).transpose()?;
    if rules.is_none() && profiles.is_none() && advisories.is_none() {
        let why = format!("{}: no rules/, no profiles/, no advisories.toml", folder.display());
        return Err(Failure::new(Exit::Usage, why));
    }
    Ok(ReplayPolicy {
        rules,
        profiles,
        advisories,
        ..ReplayPolicy::default()
    })
}

fn test(arguments: &PolicyTest) -> Result<Report, Failure> {
    let client = Client::new(&arguments.admin);
    let mut body = policy(arguments.policy.as_deref())?;
    let mut items: Vec<Replayed> = Vec::new();
    let told = std::io::stderr().is_terminal();
    let (tried, in_force) = loop {
        let left = arguments.against.saturating_sub(items.len() as u64);
        body.limit = u32::try_from(left.min(PAGE)).unwrap_or(1);
        let page: PolicyReplay = client.post("/v1/policy-replays", &body)?;
        items.extend(page.items);
        if told {
            eprint!("\r{} of at most {}", items.len(), arguments.against);
        }
        match page.next {
            Some(next) if (items.len() as u64) < arguments.against => body.before = Some(next),
            _ => break (page.policy_sha256, page.in_force_sha256),
        }
    };
    if told {
        eprintln!();
    }
    let count = |wanted: fn(&Replayed) -> bool| items.iter().filter(|item| wanted(item)).count();
    let (changed, skipped) = (count(|item| item.changes), count(|item| item.skipped.is_some()));
    let all = items.len();
    let json = serde_json::json!({
        "schema": "holdfast.policy-test.v1",
        "policy_sha256": tried,
        "in_force_sha256": in_force,
        "decided": all - skipped,
        "changed": changed,
        "skipped": skipped,
        "items": items,
    });
    let report = Report::new(json, move |style| {
        let mut lines = Vec::new();
        for item in &items {
            if let Some(why) = &item.skipped {
                lines.push(format!("- {} {}: {}", item.enrollment, clean(&item.device), clean(why)));
            }
            if item.changes {
                lines.push(format!(
                    "{} {} {}",
                    style.tick(false),
                    item.enrollment,
                    clean(&item.device)
                ));
                lines.push(format!("    now  {}", word(item.in_force.as_ref())));
                lines.push(format!("    then {}", word(item.tried.as_ref())));
            }
        }
        lines.push(format!(
            "{} decided again, {changed} would change, {skipped} could not be decided",
            all - skipped
        ));
        lines.join("\n")
    });
    let no = changed > 0 && arguments.fail_on_change;
    Ok(report.exit(if no { Exit::No } else { Exit::Done }))
}

fn word(outcome: Option<&Outcome>) -> String {
    match outcome {
        None => "-".to_owned(),
        Some(Outcome::Denied { rules, reason }) if rules.is_empty() => format!("denied: {}", clean(reason)),
        Some(Outcome::Denied { rules, reason }) => {
            format!("denied: {} ({})", clean(reason), clean(&rules.join(", ")))
        }
        Some(Outcome::Granted(grants)) => {
            let one = |grant: &wire::policy::WouldGrant| {
                let life = match grant.lifetime {
                    None => "without end".to_owned(),
                    Some(seconds) => format!("{} days", seconds / 86_400),
                };
                format!(
                    "{} for {life} ({})",
                    clean(&grant.profile),
                    clean(&grant.rules.join(", "))
                )
            };
            grants.iter().map(one).collect::<Vec<_>>().join("; ")
        }
    }
}
