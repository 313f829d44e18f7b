//! `ca-cli manifest import`, `list`, `show`, `withdraw`.

use std::path::Path;

use manifest::Read;
use wire::manifest::{
    Manifest, ManifestLines, ManifestPage, OpenManifest, RefusedLine, RefusedLines, WithdrawManifest,
};

use super::{next, open, verify};
use crate::admin::Client;
use crate::cli::Admin;
use crate::cli::manifest::Import;
use crate::exit::{Exit, Failure};
use crate::manifest::bad::Bad;
use crate::manifest::progress::Progress;
use crate::output::{Report, clean, fields, table};
use crate::words;

/// Longest body that every server takes, with room for what is around the lines.
const BODY: usize = 60_000;
/// Most lines of one request.
const MOST_LINES: usize = 1000;
/// Refused lines that are in the report; those behind them are told as they come.
const TOLD: usize = 1000;

pub(super) fn run(arguments: &Import) -> Result<Report, Failure> {
    let file = arguments.file.as_path();
    let no = |why: String| Failure::new(Exit::No, format!("{}: {why}", file.display()));
    // The whole file first: nothing is sent of one that is cut short, changed, or not signed. Bad lines are the server's to
    // judge: it records them.
    let whole = verify::pass(file, "devices verified", |_| Ok(()), &mut Bad::silent())?;
    let seal = whole.seal.ok_or_else(|| no("it is not signed".to_owned()))?;
    verify::signed(&whole.closing, &seal, None).map_err(no)?;
    let line = |line: Result<Vec<u8>, manifest::BadLine>| {
        let text = line
            .map_err(|e| e.to_string())
            .and_then(|l| text(l).map_err(ToOwned::to_owned));
        text.map_err(no)
    };
    let body = OpenManifest {
        header: text(whole.header_line).map_err(|e| no(e.to_owned()))?,
        closing: line(whole.closing.line())?,
        seal: line(seal.line())?,
        all_or_nothing: arguments.all_or_nothing,
    };
    let client = Client::new(&arguments.admin);
    let mut now: Manifest = client.post("/v1/manifests", &body)?;
    if now.state == "open" {
        send(&client, file, &mut now)?;
    }
    let refused = told(&client, now.id, TOLD)?;
    Ok(report(now, refused))
}

/// Send what the server has not read yet.
fn send(client: &Client, file: &Path, now: &mut Manifest) -> Result<(), Failure> {
    let mut progress = Progress::new("devices imported", now.lines_read, Some(now.entries));
    if now.lines_read > 0 {
        eprintln!("going on behind {} of {} devices", now.lines_read, now.entries);
    }
    let path = format!("/v1/manifests/{}/lines", now.id);
    let mut reader = open(file)?;
    let (mut lines, mut size) = (Vec::new(), 0_usize);
    let mut flush = |lines: &mut Vec<String>, now: &mut Manifest| -> Result<(), Failure> {
        let body = ManifestLines {
            from: now.lines_read,
            lines: std::mem::take(lines),
        };
        *now = client.post(&path, &body)?;
        progress.at(now.lines_read);
        Ok(())
    };
    loop {
        match next(&mut reader, file)? {
            Read::Device { position, .. } if position < now.lines_read && lines.is_empty() => {}
            Read::Device { line, .. } => {
                let line = text(line).map_err(|e| Failure::new(Exit::No, format!("{}: {e}", file.display())))?;
                // Its quotes are written as two octets.
                let length = line.len().saturating_add(line.matches('"').count()).saturating_add(3);
                if !lines.is_empty() && (size.saturating_add(length) > BODY || lines.len() >= MOST_LINES) {
                    flush(&mut lines, now)?;
                    size = 0;
                }
                size = size.saturating_add(length);
                lines.push(line);
            }
            Read::End { .. } => {
                if !lines.is_empty() {
                    flush(&mut lines, now)?;
                }
                return Ok(());
            }
        }
    }
}

fn text(line: Vec<u8>) -> Result<String, &'static str> {
    String::from_utf8(line).map_err(|_| "a line is not UTF-8: this is not a manifest to be imported")
}

/// Refused lines, in their order: so many to be kept, the others are told here.
fn told(client: &Client, id: i64, most: usize) -> Result<Vec<RefusedLine>, Failure> {
    let (mut lines, mut cursor) = (Vec::new(), None);
    loop {
        let mut query = vec![("limit", "1000".to_owned())];
        query.extend(cursor.take().map(|c| ("cursor", c)));
        let page: RefusedLines = client.get(&format!("/v1/manifests/{id}/refusals"), &query)?;
        for line in page.items {
            if lines.len() < most {
                lines.push(line);
            } else {
                eprintln!("line {}: {}", line.position.saturating_add(2), clean(&line.reason));
            }
        }
        match page.next {
            Some(next) => cursor = Some(next),
            None => return Ok(lines),
        }
    }
}

fn report(now: Manifest, refused: Vec<RefusedLine>) -> Report {
    let exit = match now.state.as_str() {
        "complete" if now.lines_refused == 0 => Exit::Done,
        "complete" => Exit::Partly,
        "open" => Exit::TryAgain,
        _ => Exit::Conflict,
    };
    details(now, refused).exit(exit)
}

fn details(now: Manifest, refused: Vec<RefusedLine>) -> Report {
    // The file's own numbers: header first, and people count from one.
    let items: Vec<_> = refused
        .iter()
        .map(|line| serde_json::json!({ "line": line.position.saturating_add(2), "reason": line.reason }))
        .collect();
    let json = serde_json::json!({ "schema": "holdfast.manifest-import.v1", "manifest": now, "refused": items });
    Report::new(json, move |style| {
        let good = now.lines_read.saturating_sub(now.lines_refused);
        let head = match now.state.as_str() {
            "complete" => format!(
                "{} {good} devices of lot {} are expected\n",
                style.tick(true),
                clean(&now.lot)
            ),
            state => format!(
                "{} manifest {} is {}: none of its devices is expected\n",
                style.tick(false),
                now.id,
                clean(state)
            ),
        };
        let mut lines = vec![
            ("manifest", now.id.to_string()),
            ("state", clean(&now.state)),
            ("kind", clean(&now.kind)),
            ("lot", clean(&now.lot)),
            ("maker", clean(&now.maker)),
            ("made", words::rfc3339(now.made_at)),
            ("root", clean(&now.root)),
            ("signer", clean(&now.signer_sha256)),
            (
                "lines",
                format!("{} of {}, {} refused", now.lines_read, now.entries, now.lines_refused),
            ),
            (
                "imported by",
                format!("{}, {}", clean(&now.imported_by), words::rfc3339(now.imported_at)),
            ),
        ];
        lines.extend(now.to.iter().map(|to| ("to", clean(to))));
        let mut text = head + &fields(&lines);
        for line in &refused {
            text.push_str(&format!(
                "  line {}: {}\n",
                line.position.saturating_add(2),
                clean(&line.reason)
            ));
        }
        let more = now
            .lines_refused
            .saturating_sub(u64::try_from(refused.len()).unwrap_or(u64::MAX));
        if more > 0 {
            text.push_str(&format!("  and {more} more, told above\n"));
        }
        text
    })
}

pub(super) fn list(admin: &Admin) -> Result<Report, Failure> {
    let page: ManifestPage = Client::new(admin).get("/v1/manifests", &[("limit", "1000".to_owned())])?;
    let json = serde_json::json!({ "schema": "holdfast.manifests.v1", "items": page.items, "next": page.next });
    Ok(Report::new(json, move |_| {
        let now = words::now();
        let rows = page.items.iter().map(|one| {
            vec![
                one.id.to_string(),
                clean(&one.lot),
                clean(&one.kind),
                clean(&one.state),
                format!("{} of {}", one.lines_read, one.entries),
                one.lines_refused.to_string(),
                clean(&one.maker),
                words::date(one.imported_at, now),
            ]
        });
        let header = ["NUMBER", "LOT", "KIND", "STATE", "READ", "REFUSED", "MAKER", "IMPORTED"];
        table(&header, rows.collect()) + &format!("{} shown.", page.items.len())
    }))
}

pub(super) fn show(id: u32, admin: &Admin) -> Result<Report, Failure> {
    let client = Client::new(admin);
    let now: Manifest = client.get(&format!("/v1/manifests/{id}"), &[])?;
    let refused = told(&client, now.id, TOLD)?;
    Ok(details(now, refused))
}

pub(super) fn withdraw(id: u32, reason: &str, admin: &Admin) -> Result<Report, Failure> {
    let body = WithdrawManifest {
        reason: reason.to_owned(),
    };
    let now: Manifest = Client::new(admin).post(&format!("/v1/manifests/{id}/withdrawal"), &body)?;
    Ok(details(now, Vec::new()))
}
