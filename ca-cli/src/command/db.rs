//! `ca-cli db …`: the record as a whole, beside its servers.

use std::io::{BufReader, BufWriter, IsTerminal as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use issuance::crl::RawCrl;
use ledger::{Checkpoint, Note};
use schema::StoreError;
use schema::vault::{BackupManifest, Despite, Known, Mark, Purpose, Vault, VaultError};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::cli::db::{Database, DbCommand, Known as KnownArguments};
use crate::crl::der;
use crate::exit::{Exit, Failure, read};
use crate::output::{Report, clean, fields, table};
use crate::words;

pub(super) fn run(command: &DbCommand) -> Result<Report, Failure> {
    match command {
        DbCommand::Backup { database, out } => backup(database, out),
        DbCommand::Restore {
            backup,
            database,
            known,
            accept_older,
        } => restore(backup, database, known, accept_older.as_deref()),
        DbCommand::Verify { database, known } => verify(database, known),
        DbCommand::Move {
            database,
            to,
            to_password_file,
        } => carry(database, to, to_password_file.as_deref()),
        DbCommand::Migrate { database } => migrate(database),
        DbCommand::Rollback { database, to, reason } => rollback(database, *to, reason),
        DbCommand::Accept {
            database,
            known,
            reason,
        } => accept(database, known, reason),
    }
}

fn failed(error: VaultError) -> Failure {
    let exit = match &error {
        VaultError::NotFound(_) => Exit::NotFound,
        VaultError::Store(StoreError::Unavailable(_) | StoreError::Unknown(_)) | VaultError::InUse(_) => Exit::TryAgain,
        VaultError::NotEmpty(_) | VaultError::WouldLose(_) => Exit::Conflict,
        VaultError::Older(_) | VaultError::Unsound(_) | VaultError::Broken(_) => Exit::No,
        _ => Exit::Failed,
    };
    let fix = match &error {
        VaultError::Older(_) => Some("take a newer backup; or say --accept-older and why (docs/how-to/backup.md)"),
        VaultError::NotEmpty(_) => Some("name a database that is empty"),
        VaultError::WouldLose(_) => {
            Some("leave the tables as they are: the version before works on them (docs/how-to/upgrade.md)")
        }
        _ => None,
    };
    let failure = Failure::new(exit, error.to_string());
    match fix {
        Some(fix) => failure.fix(fix),
        None => failure,
    }
}

/// The URL with the password of the file in it.
fn url(url: &str, password_file: Option<&Path>) -> Result<Zeroizing<String>, Failure> {
    let usage = |why: &str| Failure::new(Exit::Usage, why.to_owned());
    let postgres = ["postgres://", "postgresql://"]
        .iter()
        .find_map(|s| url.strip_prefix(s));
    let Some(rest) = postgres else {
        if password_file.is_some() {
            return Err(usage("SQLite takes no password"));
        }
        return Ok(Zeroizing::new(url.to_owned()));
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    if user.contains(':') || url.contains("password=") {
        return Err(usage(
            "a password on the command line can be read by everyone: give --password-file",
        ));
    }
    let Some(file) = password_file else {
        return Ok(Zeroizing::new(url.to_owned()));
    };
    if user.is_empty() {
        return Err(usage("a password needs a user: postgres://user@host/name"));
    }
    let mode = std::fs::metadata(file).map_or(0, |facts| facts.permissions().mode());
    if mode & 0o077 != 0 {
        return Err(Failure::new(
            Exit::NotAllowed,
            format!("{} can be read by others: chmod 600 it", file.display()),
        ));
    }
    let secret = Zeroizing::new(read(file)?);
    let mut encoded = Zeroizing::new(String::with_capacity(secret.len() * 3));
    for byte in secret.trim_ascii_end() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            encoded.push(char::from(*byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    let tail = rest.get(authority.len()..).unwrap_or_default();
    Ok(Zeroizing::new(format!(
        "postgres://{user}:{}@{host}{tail}",
        encoded.as_str()
    )))
}

fn open(database: &Database, purpose: Purpose) -> Result<Vault, Failure> {
    let url = url(&database.database, database.password_file.as_deref())?;
    Vault::open(&url, purpose).map_err(failed)
}

/// Anchors, out of their files.
fn known(arguments: &KnownArguments) -> Result<Known, Failure> {
    let wrong = |file: &Path, why: String| Failure::new(Exit::Usage, format!("{}: {why}", file.display()));
    let mut known = Known::default();
    for file in &arguments.anchor {
        let mark = Mark::parse(&read(file)?).map_err(|why| wrong(file, why))?;
        known.marks.push(mark);
    }
    for file in &arguments.ledger_head {
        let note = Note::parse(&read(file)?).map_err(|e| wrong(file, e.to_string()))?;
        let said = Checkpoint::parse(note.text()).map_err(|e| wrong(file, e.to_string()))?;
        known.ledger.push(said.head);
    }
    let mut files: Vec<PathBuf> = Vec::new();
    for path in &arguments.crl {
        if path.is_dir() {
            below(path, &mut files).map_err(|e| wrong(path, e.to_string()))?;
        } else {
            files.push(path.clone());
        }
    }
    for file in files {
        let crl = der(read(&file)?)
            .and_then(|der| RawCrl::decode(der).map_err(|e| e.to_string()))
            .map_err(|why| wrong(&file, why))?;
        known
            .crls
            .push((crl.claimed_key_id().to_vec(), crl.claimed_number().get()));
    }
    Ok(known)
}

/// The CRLs of a folder, as it is published: `.crl`, in whatever folders of it.
fn below(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            below(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "crl") {
            files.push(path);
        }
    }
    Ok(())
}

/// Says how far it is, on a terminal.
fn told() -> indicatif::ProgressBar {
    if std::io::stderr().is_terminal() {
        indicatif::ProgressBar::new_spinner()
    } else {
        indicatif::ProgressBar::hidden()
    }
}

fn say(bar: &indicatif::ProgressBar) -> impl FnMut(&str, u64) {
    let bar = bar.clone();
    move |what, done| bar.set_message(format!("{what} {done}"))
}

/// Who runs this.
fn actor() -> String {
    format!("uid:{}", rustix::process::getuid().as_raw())
}

fn of_manifest(manifest: &BackupManifest) -> Value {
    json!(manifest)
}

fn rows_of(manifest: &BackupManifest) -> String {
    let mut rows = Vec::new();
    for one in manifest.tables.iter().filter(|one| one.rows > 0) {
        rows.push(vec![one.name.clone(), one.rows.to_string()]);
    }
    let crls: Vec<String> = manifest.crls.iter().map(|crl| crl.number.to_string()).collect();
    let mut text = table(&["TABLE", "ROWS"], rows);
    text.push_str(&fields(&[
        (
            "ledger",
            format!(
                "{} of {} entries in the tree, {} signed, root {}",
                manifest.ledger.size,
                manifest.ledger.entries,
                manifest
                    .ledger
                    .signed
                    .map_or("none".to_owned(), |signed| signed.to_string()),
                manifest.ledger.root
            ),
        ),
        (
            "CRL numbers",
            if crls.is_empty() {
                "none".to_owned()
            } else {
                crls.join(", ")
            },
        ),
        ("made", words::rfc3339(manifest.made_at)),
        ("sha256", manifest.sha256.clone()),
    ]));
    text
}

fn backup(database: &Database, out: &Path) -> Result<Report, Failure> {
    let mut vault = open(database, Purpose::Read)?;
    let bar = told();
    let now = words::now();
    let manifest = into_file(out, |file| {
        let mut to = BufWriter::with_capacity(1 << 20, file);
        let manifest = vault.backup(&mut to, now, &mut say(&bar)).map_err(failed)?;
        let flushed = to
            .into_inner()
            .map_err(|e| e.into_error())
            .and_then(|file| file.sync_all());
        flushed.map_err(|e| Failure::new(Exit::Failed, format!("{}: {e}", out.display())))?;
        Ok(manifest)
    })?;
    bar.finish_and_clear();
    let json = json!({ "schema": "holdfast.backup.v1", "file": out.display().to_string(), "manifest": of_manifest(&manifest) });
    Ok(Report::new(json, move |_| rows_of(&manifest)))
}

/// A new file of our own that is whole, or not there.
fn into_file<T>(out: &Path, fill: impl FnOnce(std::fs::File) -> Result<T, Failure>) -> Result<T, Failure> {
    let failed = |e: std::io::Error| Failure::new(Exit::Failed, format!("{}: {e}", out.display()));
    if out.exists() {
        return Err(Failure::new(
            Exit::Conflict,
            format!("{} is there already", out.display()),
        ));
    }
    let mut part = out.as_os_str().to_owned();
    part.push(format!(".{}.part", std::process::id()));
    let part = PathBuf::from(part);
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&part)
        .map_err(failed)?;
    let outcome = fill(file).and_then(|done| {
        // A link takes no name that is there already.
        std::fs::hard_link(&part, out).map_err(failed)?;
        let folder = out
            .parent()
            .filter(|p| !p.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        std::fs::File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(failed)?;
        Ok(done)
    });
    let _gone = std::fs::remove_file(&part);
    outcome
}

fn restore(
    backup: &Path,
    database: &Database,
    arguments: &KnownArguments,
    accept_older: Option<&str>,
) -> Result<Report, Failure> {
    let known = known(arguments)?;
    let actor = actor();
    let despite = accept_older.map(|reason| Despite { reason, actor: &actor });
    let from: Box<dyn std::io::Read> = if backup == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(backup).map_err(|e| {
            let exit = if e.kind() == std::io::ErrorKind::NotFound {
                Exit::NotFound
            } else {
                Exit::Failed
            };
            Failure::new(exit, format!("{}: {e}", backup.display()))
        })?)
    };
    let mut vault = open(database, Purpose::Fill)?;
    let bar = told();
    let manifest = vault
        .restore(
            &mut BufReader::with_capacity(1 << 20, from),
            &known,
            despite.as_ref(),
            words::now(),
            &mut say(&bar),
        )
        .map_err(failed)?;
    bar.finish_and_clear();
    let json = json!({ "schema": "holdfast.restore.v1", "manifest": of_manifest(&manifest) });
    Ok(Report::new(json, move |_| rows_of(&manifest)))
}

fn verify(database: &Database, arguments: &KnownArguments) -> Result<Report, Failure> {
    let known = known(arguments)?;
    let mut vault = open(database, Purpose::Read)?;
    let bar = told();
    let findings = vault.verify(&known, &mut say(&bar)).map_err(failed)?;
    bar.finish_and_clear();
    let wrong: Vec<Value> = findings
        .wrong
        .iter()
        .map(|finding| json!({ "check": finding.check, "what": finding.what }))
        .collect();
    let sound = wrong.is_empty();
    let json = json!({
        "schema": "holdfast.database.v1", "sound": sound, "checked": findings.checked, "findings": wrong,
    });
    let report = Report::new(json, move |style| {
        let rows = findings.checked.iter().map(|(check, count)| {
            let bad = findings.wrong.iter().filter(|finding| finding.check == *check).count();
            vec![style.tick(bad == 0).to_owned(), (*check).to_owned(), count.to_string()]
        });
        let mut text = table(&["", "CHECK", "LOOKED AT"], rows.collect());
        for finding in &findings.wrong {
            text.push_str(&format!("{}\n", clean(&finding.to_string())));
        }
        text.push_str(if sound {
            "It holds together."
        } else {
            "It does not hold together."
        });
        text
    });
    Ok(report.exit(if sound { Exit::Done } else { Exit::No }))
}

fn carry(database: &Database, to: &str, to_password_file: Option<&Path>) -> Result<Report, Failure> {
    let target = url(to, to_password_file)?;
    let mut source = open(database, Purpose::Move)?;
    let mut filled = Vault::open(&target, Purpose::Fill).map_err(failed)?;
    source.hold().map_err(failed)?;
    let now = words::now();
    let bar = told();
    let (from, mut into) = std::io::pipe().map_err(|e| Failure::new(Exit::Failed, format!("a pipe: {e}")))?;
    let manifest = std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let mut out = BufWriter::with_capacity(1 << 16, &mut into);
            let outcome = source.backup(&mut out, now, &mut |_, _| ());
            drop(out);
            // The end of the pipe tells the reader that nothing follows.
            drop(into);
            outcome
        });
        let mut input = BufReader::with_capacity(1 << 16, from);
        let filled = filled.restore(&mut input, &Known::default(), None, now, &mut say(&bar));
        // A writer that nobody reads must not wait for ever.
        drop(input);
        let written = writing.join();
        match (filled, written) {
            (Ok(filled), _) => Ok(filled),
            // What went wrong at the source is why the other end saw no whole backup.
            (Err(VaultError::Broken(_)), Ok(Err(error))) => Err(error),
            (Err(error), _) => Err(error),
        }
    })
    .map_err(failed)?;
    bar.finish_and_clear();
    let actor = actor();
    let reason: String = format!("moved to {to}").chars().take(500).collect();
    let despite = Despite {
        reason: &reason,
        actor: &actor,
    };
    source.close(&despite, now).map_err(failed)?;
    let json = json!({ "schema": "holdfast.move.v1", "manifest": of_manifest(&manifest) });
    let to = to.to_owned();
    Ok(Report::new(json, move |_| {
        let url = clean(&to);
        format!(
            "{}Say `url = \"{url}\"` in server.toml and start the servers.",
            rows_of(&manifest)
        )
    }))
}

fn migrate(database: &Database) -> Result<Report, Failure> {
    let mut vault = open(database, Purpose::Tables)?;
    let done = vault.migrate().map_err(failed)?;
    let json = json!({ "schema": "holdfast.migrated.v1", "run": done });
    Ok(Report::new(json, move |_| match listed(&done) {
        None => "The tables are up to date.".to_owned(),
        Some(list) => format!("Done: migrations {list}."),
    }))
}

fn rollback(database: &Database, to: u32, reason: &str) -> Result<Report, Failure> {
    let mut vault = open(database, Purpose::Tables)?;
    let actor = actor();
    let despite = Despite { reason, actor: &actor };
    let done = vault.roll_back(to.into(), &despite, words::now()).map_err(failed)?;
    let json = json!({ "schema": "holdfast.rolled-back.v1", "taken_back": done });
    Ok(Report::new(json, move |_| match listed(&done) {
        None => format!("No migration after {to} is there."),
        Some(list) => format!("Taken back: migrations {list}."),
    }))
}

fn listed(numbers: &[i64]) -> Option<String> {
    let texts: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    (!texts.is_empty()).then(|| texts.join(", "))
}

fn accept(database: &Database, arguments: &KnownArguments, reason: &str) -> Result<Report, Failure> {
    let known = known(arguments)?;
    let mut vault = open(database, Purpose::Write)?;
    let actor = actor();
    let despite = Despite { reason, actor: &actor };
    let accepted = vault.accept(&known, &despite, words::now()).map_err(failed)?;
    let behind: Vec<String> = accepted.shortfalls.iter().map(ToString::to_string).collect();
    let json = json!({ "schema": "holdfast.accepted.v1", "epoch": accepted.epoch, "behind": behind });
    Ok(Report::new(json, move |_| {
        let mut lines = vec![("epoch", accepted.epoch.to_string())];
        lines.extend(behind.into_iter().map(|why| ("behind", why)));
        fields(&lines)
    }))
}
