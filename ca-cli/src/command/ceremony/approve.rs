//! `ca-cli ceremony approve`.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use attest::UnixTime;
use ceremony::archive::{SUMS, approval_subject, seal_subject};
use ceremony::quorum::{Approved, Mode};
use ceremony::{Plan, Sha256, display};
use hsm::PinSource;

use crate::ceremony::room::{self, Room};
use crate::cli::custody::Approve;
use crate::custody::{guard, officer};
use crate::exit::{Exit, Failure};
use crate::output::Report;
use crate::words;

pub(super) fn run(arguments: &Approve, no_input: bool) -> Result<Report, Failure> {
    guard::harden()?;
    let mode = if arguments.rehearsal {
        Mode::Rehearsal
    } else {
        Mode::Ceremony
    };
    let (plan, sums) = read(arguments)?;
    let program = match (mode, plan.binary()) {
        (Mode::Rehearsal, _) => guard::program(Path::new("/"))?,
        (Mode::Ceremony, Some(program)) => program,
        (Mode::Ceremony, None) => {
            return Err(
                Failure::new(Exit::No, "the plan does not name the program that performs it")
                    .fix("put `binary_sha256` into the plan; then print and approve it anew"),
            );
        }
    };
    if !plan.quorum().officers.iter().any(|o| o.role == arguments.officer) {
        let roles: Vec<&str> = plan.quorum().officers.iter().map(|o| o.role.as_str()).collect();
        return Err(
            Failure::new(Exit::No, format!("`{}` is no officer of this plan", arguments.officer))
                .fix(format!("one of: {}", roles.join(", "))),
        );
    }
    let approval = approval_subject(&plan, mode, program);
    let (what, digest, subject) = match sums {
        None => ("plan", plan.sha256(), approval),
        Some(sums) => ("SHA256SUMS", sums, seal_subject(&approval, sums)),
    };
    compare(arguments, what, &digest, no_input)?;
    let now = UnixTime(words::now());
    let wish = officer::Wish {
        subject: subject.clone(),
        role: arguments.officer.clone(),
        person: arguments.person.clone(),
        time: now,
    };
    let approval = match (&arguments.key, &arguments.key_file) {
        (Some(uri), _) => officer::by_card(wish, uri, || pin(arguments, no_input))?,
        (None, Some(file)) => officer::by_file(wish, file)?,
        (None, None) => return Err(Failure::new(Exit::Usage, "no key is named")),
    };
    // What the ceremony would say to it is said here already.
    let counted = Approved::by(subject, 1, &plan.quorum().officers, vec![approval.clone()], now);
    counted.map_err(|e| Failure::new(Exit::No, e.to_string()))?;
    let text = approval.text().map_err(|e| Failure::new(Exit::Failed, e.to_string()))?;
    let opened = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(&arguments.out);
    let written = opened.and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()));
    written.map_err(|e| {
        let exit = match e.kind() {
            std::io::ErrorKind::AlreadyExists => Exit::Conflict,
            _ => Exit::Failed,
        };
        Failure::new(exit, format!("{}: {e}", arguments.out.display()))
    })?;
    let json = serde_json::json!({
        "schema": "holdfast.ceremony-approval.v1",
        "ceremony": plan.name(),
        "mode": mode.as_str(),
        "what": what,
        "sha256": digest.to_string(),
        "officer": arguments.officer,
        "person": arguments.person,
        "key_sha256": approval.key_sha256().to_string(),
        "file": arguments.out,
    });
    let said = format!(
        "{} {} the {} {} as {}\n{what}\n{}\nput {} into {}/ on the medium\n",
        arguments.person,
        if arguments.seal { "seals" } else { "approves" },
        mode.as_str(),
        plan.name(),
        arguments.officer,
        display::groups(&digest),
        arguments.out.display(),
        if arguments.seal { "seals" } else { "approvals" },
    );
    Ok(Report::new(json, move |_| said))
}

/// The plan, and the hash of SHA256SUMS when the record is sealed.
fn read(arguments: &Approve) -> Result<(Plan, Option<Sha256>), Failure> {
    if !arguments.seal {
        return Ok((room::plan(&arguments.plan)?, None));
    }
    let room = Room::open(&arguments.plan)?;
    let sums = room.get(SUMS)?.ok_or_else(|| {
        Failure::new(
            Exit::NotFound,
            format!("no {SUMS} on the medium: the record is not closed"),
        )
        .fix("ca-cli ceremony seal DIR")
    })?;
    Ok((room.plan()?, Some(Sha256::of(&sums))))
}

/// The officer compares with paper: with the whole hash as an argument, or by typing its beginning.
fn compare(arguments: &Approve, what: &str, digest: &Sha256, no_input: bool) -> Result<(), Failure> {
    let typed = match &arguments.sha256 {
        Some(whole) => {
            if Sha256::from_hex(&whole.to_ascii_lowercase()).is_none() {
                return Err(Failure::new(Exit::Usage, "--sha256 has 64 hex digits"));
            }
            whole.clone()
        }
        None if no_input => {
            return Err(Failure::new(Exit::Stopped, "the hash of the plan would have to be typed").fix("--sha256 HEX"));
        }
        // Not shown before it is typed: it comes from the paper, not from this screen.
        None => inquire::Text::new(&format!(
            "First eight digits of the SHA-256 of the {what}, from your paper:"
        ))
        .prompt()
        .map_err(|e| Failure::new(Exit::Stopped, e.to_string()))?,
    };
    if officer::typed_digits(&typed, digest) {
        return Ok(());
    }
    Err(Failure::new(
        Exit::No,
        format!("this is another {what} than the one on your paper: nothing was signed"),
    )
    .fix("compare both with the administrator; the hash of a file is shown by: sha256sum FILE"))
}

fn pin(arguments: &Approve, no_input: bool) -> Result<secrecy::SecretString, Failure> {
    let (source, without) = match &arguments.pin_file {
        Some(path) => (PinSource::File(path.clone()), Exit::Usage),
        None if no_input => {
            return Err(
                Failure::new(Exit::Stopped, "the PIN of the card would have to be asked")
                    .fix("--pin-file FILE, mode 0600"),
            );
        }
        None => (PinSource::Prompt, Exit::Stopped),
    };
    source.read(None).map_err(|e| Failure::new(without, e.to_string()))
}
