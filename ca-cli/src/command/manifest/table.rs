//! A lot as a table: lines of values between commas, the first line names the columns.

use std::path::Path;

use anyhow::Context as _;
use manifest::{Entry, Hash, Identity, Kind};

use crate::endorsement::EkKey;
use crate::exit::{Exit, Failure, read};
use crate::pem;

/// The columns there are.
const COLUMNS: [&str; 5] = ["serial", "model", "ek", "was", "certificates"];

/// The devices of a table; with `model` for lines that have none. Every bad line is named in the refusal.
pub(super) fn devices(path: &Path, kind: Kind, model: Option<&str>) -> Result<Vec<Entry>, Failure> {
    let text = String::from_utf8(read(path)?)
        .map_err(|_| Failure::new(Exit::Usage, format!("{}: not UTF-8", path.display())))?;
    let mut lines = text.lines().zip(1_u64..).filter(|(line, _)| !line.trim().is_empty());
    let wrong = |what: String| Failure::new(Exit::Usage, format!("{}: {what}", path.display()));
    let (first, _) = lines.next().ok_or_else(|| wrong("it is empty".to_owned()))?;
    let columns: Vec<&str> = first.split(',').map(str::trim).collect();
    if let Some(unknown) = columns.iter().find(|column| !COLUMNS.contains(column)) {
        let what = format!("line 1: no column `{unknown}`: there are {}", COLUMNS.join(", "));
        return Err(wrong(what));
    }
    if let Some(missing) = ["serial", "ek"].iter().find(|column| !columns.contains(column)) {
        return Err(wrong(format!("line 1: the column `{missing}` is missing")));
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let (mut entries, mut bad) = (Vec::new(), Vec::new());
    for (line, number) in lines {
        match device(line, &columns, folder, kind, model) {
            Ok(entry) => entries.push(entry),
            Err(why) => bad.push(format!("line {number}: {why}")),
        }
    }
    if bad.is_empty() {
        Ok(entries)
    } else {
        Err(wrong(format!(
            "{} bad lines; nothing is written\n{}",
            bad.len(),
            bad.join("\n")
        )))
    }
}

fn device(line: &str, columns: &[&str], folder: &Path, kind: Kind, model: Option<&str>) -> Result<Entry, String> {
    if line.contains('"') {
        return Err("no quotes: values have no commas".to_owned());
    }
    let values: Vec<&str> = line.split(',').map(str::trim).collect();
    if values.len() != columns.len() {
        return Err(format!("{} values for {} columns", values.len(), columns.len()));
    }
    let of = |name: &str| {
        let found = columns.iter().zip(&values).find(|(column, _)| **column == name);
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
