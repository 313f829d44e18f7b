//! Plans, scripts, kits and archives: what needs no token.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use ceremony::archive::{self, SUMS};
use ceremony::inputs::Inputs;
use ceremony::quorum::Mode;
use ceremony::step::{CERTIFICATE, CRL};
use ceremony::{Plan, Sha256, Work, making, script};
use policies::Profiles;

use crate::ceremony::room::plan as read_plan;
use crate::ceremony::throwaway::Throwaway;
use crate::ceremony::{Room, digest_lines, program};
use crate::certificate::CertificateView;
use crate::exit::{Exit, Failure, read};
use crate::output::{Report, field};
use crate::words;

/// Files for the inputs of a plan, from a folder.
pub(super) fn inputs(plan: &Plan, folder: &Path) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
    let mut found = BTreeMap::new();
    for input in plan.inputs() {
        let path = folder.join(&input.file);
        if path.exists() {
            found.insert(input.name.clone(), read(&path)?);
        }
    }
    Ok(found)
}

/// Findings of the plan, and the certificate in words with the bytes to be signed.
pub(super) struct Judged {
    pub(super) findings: Vec<ceremony::lint::Finding>,
    pub(super) words: String,
    pub(super) tbs: Vec<u8>,
}

/// Judge a plan with what goes in, by a key of no worth where the root's is yet to be made.
pub(super) fn judge(plan: &Plan, files: &BTreeMap<String, Vec<u8>>) -> Result<Judged, Failure> {
    let inputs = Inputs::read(plan, files).map_err(|e| Failure::new(Exit::No, e.to_string()))?;
    let profiles = Profiles::builtin().context("built-in profiles")?;
    let findings = ceremony::lint::lint(plan, &inputs, &profiles);
    let mut judged = Judged {
        findings,
        words: String::new(),
        tbs: Vec::new(),
    };
    if judged.findings.iter().any(|f| f.refuses) {
        return Ok(judged);
    }
    let no = |e: making::MakingError| Failure::new(Exit::No, e.to_string());
    let throwaway = Throwaway::draw(plan.key().algorithm)?;
    if plan.work().certificate().is_some() {
        let rehearsal = inputs.issuer.as_ref().is_some_and(issuance::Issuer::is_rehearsal);
        let quorum = if rehearsal {
            policies::Quorum::Rehearsal
        } else {
            policies::Quorum::Officers {
                plan_sha256: plan.sha256().0,
                roles: Vec::new(),
            }
        };
        let linted = making::certificate(plan, &inputs, &throwaway, &profiles, &quorum).map_err(no)?;
        // A key of no worth is no issuer's: another one signs the twin of a root.
        let other = Throwaway::draw(plan.key().algorithm)?;
        let twin = linted
            .twin(&other)
            .map_err(|e| Failure::new(Exit::Failed, e.to_string()))?;
        let view = CertificateView::read(&twin)?;
        let text: Vec<String> = view.words(words::now()).lines().map(str::to_owned).collect();
        let fixed = !matches!(plan.work(), Work::Root { .. });
        let shown = text.iter().take_while(|l| !l.starts_with("sha256"));
        let shown = shown.filter(|l| fixed || !l.starts_with("key sha256"));
        judged.words = shown.cloned().collect::<Vec<_>>().join("\n");
        judged.tbs = linted.tbs().to_vec();
    } else if let (Some(crl), Some(issuer)) = (plan.work().crl(), &inputs.issuer) {
        let linted = making::crl(plan, issuer).map_err(no)?;
        judged.words = format!("CRL number  {}\nrevoked     {}", crl.number, crl.revoked.len());
        judged.tbs = linted.tbs().to_vec();
    }
    Ok(judged)
}

pub(super) fn lint(path: &Path, folder: &Path, bytes: bool) -> Result<Report, Failure> {
    let plan = read_plan(path)?;
    let judged = judge(&plan, &inputs(&plan, folder)?)?;
    let refused = judged.findings.iter().any(|f| f.refuses);
    let json = serde_json::json!({
        "schema": "holdfast.ceremony-lint.v1",
        "plan_sha256": plan.sha256(),
        "refused": refused,
        "findings": judged.findings.iter().map(|f| serde_json::json!({
            "rule": f.rule, "refuses": f.refuses, "message": f.message })).collect::<Vec<_>>(),
        "tbs": hex::encode(&judged.tbs),
    });
    let sha256 = plan.sha256();
    let report = Report::new(json, move |style| {
        let mut text = format!("plan sha256\n{}\n\n", digest_lines(&sha256));
        for finding in &judged.findings {
            let word = if finding.refuses { "refused" } else { "think  " };
            let label = format!("{} {word} ", style.tick(!finding.refuses));
            text.push_str(&field(&label, 13, &format!("{}: {}", finding.rule, finding.message)));
        }
        if judged.findings.is_empty() {
            text.push_str(&format!("{} no finding\n", style.tick(true)));
        }
        text.push_str(&format!("\n{}\n", judged.words));
        if bytes {
            text.push_str(&format!("\nto be signed:\n{}\n", hex::encode(&judged.tbs)));
        }
        text
    });
    Ok(report.exit(if refused { Exit::No } else { Exit::Done }))
}

pub(super) fn script(path: &Path, html: bool, rehearsal: bool) -> Result<Report, Failure> {
    let plan = read_plan(path)?;
    let text = if html {
        script::html(&plan, rehearsal)
    } else {
        script::text(&plan, rehearsal)
    };
    let json = serde_json::json!({ "schema": "holdfast.ceremony-script.v1", "sha256": Sha256::of(text.as_bytes()), "text": text });
    Ok(Report::new(json, move |_| text))
}

pub(super) fn kit(path: &Path, folder: &Path, dir: &Path) -> Result<Report, Failure> {
    let plan = read_plan(path)?;
    let files = inputs(&plan, folder)?;
    let judged = judge(&plan, &files)?;
    if let Some(finding) = judged.findings.iter().find(|f| f.refuses) {
        return Err(Failure::new(Exit::No, format!("{}: {}", finding.rule, finding.message))
            .fix("ca-cli ceremony lint PLAN shows everything"));
    }
    let ours = program()?;
    if plan.binary() != Some(ours) {
        return Err(Failure::new(
            Exit::No,
            format!("the plan does not name this program: binary_sha256 = \"{ours}\""),
        ));
    }
    let room = Room::create(dir, &plan, &files, false)?;
    let bytes = std::fs::read("/proc/self/exe").context("this program")?;
    room.put("ca-cli", &bytes)?;
    let subject = archive::approval_subject(&plan, Mode::Ceremony, ours);
    let mut list: Vec<(String, Sha256)> = vec![
        ("ca-cli".into(), ours),
        ("plan.toml".into(), plan.sha256()),
        ("script.html".into(), Sha256::of(script::html(&plan, false).as_bytes())),
        ("script.txt".into(), subject.script),
    ];
    list.extend(plan.inputs().iter().map(|i| (format!("inputs/{}", i.file), i.sha256)));
    list.sort();
    let text: String = list
        .iter()
        .map(|(name, sha256)| format!("{sha256}  {name}\n"))
        .collect();
    room.put("KIT-SHA256SUMS", text.as_bytes())?;
    room.put("labels.txt", labels(&plan).as_bytes())?;
    room.put("checklist.txt", checklist(&plan).as_bytes())?;
    let digest = Sha256::of(text.as_bytes());
    let json = serde_json::json!({ "schema": "holdfast.ceremony-kit.v1", "dir": dir, "sha256": digest });
    Ok(Report::new(json, move |_| {
        format!(
            "{text}\nall of it (sha256 of KIT-SHA256SUMS)\n{}\n",
            digest_lines(&digest)
        )
    }))
}

fn labels(plan: &Plan) -> String {
    let mut text = String::new();
    for what in ["token", "medium", "copy of the medium"] {
        text.push_str(&format!(
            "+----------------------------------------+\n| {:<38} |\n| {:<38} |\n| {:<38} |\n| bag ____________  date ____________     |\n+----------------------------------------+\n\n",
            plan.name(),
            what,
            plan.sha256().to_string().get(..32).unwrap_or_default()
        ));
    }
    text
}

fn checklist(plan: &Plan) -> String {
    let roles = plan
        .roles()
        .iter()
        .chain(plan.quorum().officers.iter().map(|o| &o.role));
    let mut text = format!("CHECKLIST {}\n\n", plan.name());
    for item in [
        "the room is booked, the camera runs, the clock of the machine was set by hand",
        "the script is printed, one copy for everybody",
        "the token is in its bag; its number is that of the last record",
        "the machine has no network: cable out, radio out",
        "the medium's KIT-SHA256SUMS were compared by two people on two machines",
    ] {
        text.push_str(&format!("[ ] {item}\n"));
    }
    for role in roles {
        text.push_str(&format!("[ ] {role} is here: ______________________________\n"));
    }
    text
}

fn open(path: &Path, rehearsal: bool) -> Result<archive::Verified, Failure> {
    archive::verify(&read(path)?, rehearsal).map_err(|e| {
        let failure = Failure::new(Exit::No, format!("{}: {e}", path.display()));
        match e {
            archive::ArchiveError::Rehearsal => failure.fix("--rehearsal accepts it; never in production"),
            _ => failure,
        }
    })
}

pub(super) fn verify(path: &Path, rehearsal: bool) -> Result<Report, Failure> {
    let verified = open(path, rehearsal)?;
    let plan = verified.plan();
    let deviations: Vec<String> = verified
        .deviations()
        .map(|r| {
            let said = r.facts.values().cloned().collect::<Vec<_>>().join("; ");
            format!("{} step {}: {said}", r.time, r.step)
        })
        .collect();
    let officers: Vec<String> = verified
        .transcript()
        .records()
        .iter()
        .flat_map(|r| &r.facts)
        .filter_map(|(name, person)| Some(format!("{} ({person})", name.strip_prefix("approved by ")?)))
        .collect();
    let (name, kind, sums, mode) = (
        plan.name().to_owned(),
        plan.work().kind(),
        verified.sums(),
        verified.mode(),
    );
    let records = verified.transcript().records().len();
    let json = serde_json::json!({
        "schema": "holdfast.ceremony-verified.v1", "name": name, "kind": kind, "mode": mode.as_str(),
        "plan_sha256": plan.sha256(), "sums_sha256": sums, "records": records,
        "officers": officers, "deviations": deviations,
    });
    Ok(Report::new(json, move |style| {
        let mut text = format!(
            "{} {name} ({kind}, {})\nplan = script = transcript = outputs = certificates\n\n",
            style.tick(true),
            mode.as_str()
        );
        text.push_str(&field("records", 12, &records.to_string()));
        for officer in &officers {
            text.push_str(&field("approved by", 12, officer));
        }
        for deviation in &deviations {
            text.push_str(&field("deviation", 12, deviation));
        }
        text.push_str(&format!("\nsealed (sha256 of {SUMS})\n{}\n", digest_lines(&sums)));
        text
    }))
}

pub(super) fn import(path: &Path, to: &Path, rehearsal: bool) -> Result<Report, Failure> {
    let verified = open(path, rehearsal)?;
    let plan = verified.plan();
    let mut put: Vec<(String, Vec<u8>)> = vec![(format!("{}.tar", plan.name()), read(path)?)];
    let file = |name: &str| verified.file(name).map(<[u8]>::to_vec);
    if let (Work::Root { .. }, Some(root)) = (plan.work(), file(&format!("outputs/{CERTIFICATE}"))) {
        put.push(("root.cer".into(), root));
    }
    if let (Work::Cross { .. }, Some(cross)) = (plan.work(), file(&format!("outputs/{CERTIFICATE}"))) {
        put.push((format!("{}.cer", plan.name()), cross));
    }
    if let Some(crl) = file(&format!("outputs/{CRL}")) {
        put.push(("root.crl".into(), crl));
    }
    std::fs::create_dir_all(to).with_context(|| to.display().to_string())?;
    for (name, bytes) in &put {
        publish(to, name, bytes)?;
    }
    let names: Vec<String> = put.into_iter().map(|(name, _)| name).collect();
    let json = serde_json::json!({ "schema": "holdfast.ceremony-import.v1", "dir": to, "files": names });
    let to = to.display().to_string();
    Ok(Report::new(json, move |_| {
        names.iter().map(|n| format!("{to}/{n}\n")).collect()
    }))
}

/// A root certificate and a record are there once; a CRL only gives way to a later one of the same CA.
fn publish(to: &Path, name: &str, bytes: &[u8]) -> Result<(), Failure> {
    let path = to.join(name);
    let conflict = |why: &str| Failure::new(Exit::Conflict, format!("{}: {why}", path.display()));
    match std::fs::read(&path) {
        Ok(there) if there == bytes => return Ok(()),
        Ok(there) if name.ends_with(".crl") => {
            let number = |der: Vec<u8>| {
                issuance::RawCrl::decode(der).map(|raw| (raw.claimed_number(), raw.claimed_issuer().to_vec()))
            };
            match (number(there), number(bytes.to_vec())) {
                (Ok((old, by)), Ok((new, also))) if by == also && new > old => {}
                (Ok((_, by)), Ok((_, also))) if by != also => return Err(conflict("is of another CA")),
                _ => return Err(conflict("is a later CRL, or the same number with other content")),
            }
        }
        Ok(_) => return Err(conflict("is there already, and is another one")),
        Err(_) => {}
    }
    let part = to.join(format!(".{name}.part"));
    std::fs::write(&part, bytes)
        .and_then(|()| std::fs::File::open(&part)?.sync_all())
        .and_then(|()| std::fs::rename(&part, &path))
        .with_context(|| path.display().to_string())?;
    Ok(())
}
