//! A lot as a table: lines of values between commas, the first line names the columns.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::Path;

use anyhow::Context as _;
use manifest::{Entry, Hash, Identity, Kind};

use crate::endorsement::EkKey;
use crate::exit::{Exit, Failure, read};
use crate::manifest::bad::Bad;
use crate::manifest::progress::Progress;
use crate::pem;

/// The columns there are.
const COLUMNS: [&str; 5] = ["serial", "model", "ek", "was", "certificates"];

/// Longest line of a table, in octets.
const LONGEST: u64 = 1 << 16;

/// The devices of a table, one after the other; with `model` for lines that have none. Bad lines are told, and passed over.
pub(super) fn devices(
    path: &Path,
    kind: Kind,
    model: Option<&str>,
    bad: &mut Bad,
    mut device_of: impl FnMut(&Entry) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let failed = |e: std::io::Error| {
        let exit = match e.kind() {
            std::io::ErrorKind::NotFound => Exit::NotFound,
            std::io::ErrorKind::PermissionDenied => Exit::NotAllowed,
            std::io::ErrorKind::InvalidData => Exit::Usage,
            _ => Exit::Failed,
        };
        Failure::new(exit, format!("{}: {e}", path.display()))
    };
    let mut source: Box<dyn BufRead> = if path == Path::new("-") {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(BufReader::with_capacity(1 << 16, File::open(path).map_err(failed)?))
    };
    let wrong = |what: String| Failure::new(Exit::Usage, format!("{}: {what}", path.display()));
    let mut progress = Progress::new("devices read", 0, None);
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut columns: Vec<String> = Vec::new();
    let (mut number, mut count) = (0_u64, 0_u64);
    while let Some(line) = next(&mut source).map_err(failed)? {
        number = number.saturating_add(1);
        if line.trim().is_empty() {
            continue;
        }
        if columns.is_empty() {
            columns = line.split(',').map(|column| column.trim().to_owned()).collect();
            check(&columns).map_err(|what| wrong(format!("line {number}: {what}")))?;
            continue;
        }
        match device(&line, &columns, folder, kind, model) {
            Ok(entry) => device_of(&entry)?,
            Err(why) => bad.push(number, why),
        }
        count = count.saturating_add(1);
        progress.at(count);
    }
    if columns.is_empty() {
        return Err(wrong("it is empty".to_owned()));
    }
    Ok(())
}

/// One line without its end; none at the end of the table.
fn next(source: &mut impl BufRead) -> std::io::Result<Option<String>> {
    let mut line = Vec::new();
    source.take(LONGEST).read_until(b'\n', &mut line)?;
    let ends = line.last() == Some(&b'\n');
    if line.is_empty() {
        return Ok(None);
    }
    let bad = |why: &str| std::io::Error::new(std::io::ErrorKind::InvalidData, why);
    if !ends && u64::try_from(line.len()).is_ok_and(|length| length >= LONGEST) {
        return Err(bad("a line is longer than 64 KiB"));
    }
    let mut text = String::from_utf8(line).map_err(|_| bad("not UTF-8"))?;
    if text.ends_with('\n') {
        text.pop();
    }
    if text.ends_with('\r') {
        text.pop();
    }
    Ok(Some(text))
}

/// The columns that the first line names.
fn check(columns: &[String]) -> Result<(), String> {
    if let Some(unknown) = columns.iter().find(|column| !COLUMNS.contains(&column.as_str())) {
        return Err(format!("no column `{unknown}`: there are {}", COLUMNS.join(", ")));
    }
    match ["serial", "ek"]
        .iter()
        .find(|name| !columns.iter().any(|column| column == *name))
    {
        Some(missing) => Err(format!("the column `{missing}` is missing")),
        None => Ok(()),
    }
}

fn device(line: &str, columns: &[String], folder: &Path, kind: Kind, model: Option<&str>) -> Result<Entry, String> {
    if line.contains('"') {
        return Err("no quotes: values have no commas".to_owned());
    }
    let values: Vec<&str> = line.split(',').map(str::trim).collect();
    if values.len() != columns.len() {
        return Err(format!("{} values for {} columns", values.len(), columns.len()));
    }
    let of = |name: &str| {
        let found = columns.iter().zip(&values).find(|(column, _)| *column == name);
        found.map(|(_, value)| *value).filter(|value| !value.is_empty())
    };
    let each = |name| {
        of(name)
            .into_iter()
            .flat_map(|value: &str| value.split(';'))
            .map(str::trim)
    };
    let eks = |name| each(name).map(|text| ek(folder, text)).collect::<Result<Vec<_>, _>>();
    let identities = each("certificates").map(|text| identity(folder, text));
    let entry = Entry::new(
        kind,
        of("serial").unwrap_or_default(),
        of("model").or(model).unwrap_or_default(),
        &eks("ek")?,
        &eks("was")?,
        identities.collect::<Result<_, _>>()?,
    );
    entry.map_err(|e| e.to_string())
}

fn ek(folder: &Path, text: &str) -> Result<Hash, String> {
    let is_hash = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let named = if is_hash {
        text.to_owned()
    } else {
        folder.join(text).display().to_string()
    };
    let found = EkKey::detect(&named).map_err(|e| e.message)?;
    let mut out = [0; 32];
    hex::decode_to_slice(found.sha256, &mut out).map_err(|e| e.to_string())?;
    Ok(out)
}

fn identity(folder: &Path, text: &str) -> Result<Identity, String> {
    let (profile, file) = text.split_once('=').ok_or("certificates: PROFILE=FILE")?;
    let bytes = read(&folder.join(file)).map_err(|e| e.message)?;
    let der = pem::blocks(&bytes, "CERTIFICATE")?.into_iter().next().unwrap_or(bytes);
    of_certificate(profile, &der).map_err(|e| format!("{file}: {e:#}"))
}

/// What a manifest says about a certificate.
pub(super) fn of_certificate(profile: &str, der: &[u8]) -> anyhow::Result<Identity> {
    let x509 = openssl::x509::X509::from_der(der).context("no certificate")?;
    let serial = x509.serial_number().to_bn().context("serial number")?.to_vec();
    let epoch = openssl::asn1::Asn1Time::from_unix(0).context("time")?;
    let since = epoch.diff(x509.not_after()).context("notAfter")?;
    let not_after = i64::from(since.days)
        .saturating_mul(86_400)
        .saturating_add(i64::from(since.secs));
    Ok(Identity {
        profile: profile.to_owned(),
        serial: hex::encode(serial),
        sha256: hex::encode(openssl::sha::sha256(der)),
        not_after,
    })
}
