//! The sealed record, and what anybody can prove of it: plan = script = transcript = outputs = certificates.
//!
//! One `.tar` ([`crate::tar`]): `plan.toml`, `script.txt`, `transcript.jsonl`, `approvals/*`, `inputs/*`, `outputs/*`,
//! `SHA256SUMS` over all of these, and `seals/*`: the participants' signatures over `SHA256SUMS`. In a rehearsal of a plan
//! for a real CA `standins/issuer.cer`, too: the CA that stood in for it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use attest::UnixTime;
use issuance::crl::RawCrl;
use issuance::{Issuer, IssuerUrls};
use policies::Profiles;

use crate::backup::KeyBackup;
use crate::inputs::{InputError, Inputs};
use crate::making::{self, MakingError, PublicOnly};
use crate::quorum::{Approval, ApprovalError, Approved, Mode, QuorumError, RawApproval, Subject};
use crate::step::{self, Action, Step, steps};
use crate::{Backup, Event, Plan, PlanError, Record, Sha256, Transcript, TranscriptError, Work, calendar, script};
use wire::tar::{self, Files, TarError};

/// Names of the files every archive has.
pub const PLAN: &str = "plan.toml";
/// The printed script.
pub const SCRIPT: &str = "script.txt";
/// What was done.
pub const TRANSCRIPT: &str = "transcript.jsonl";
/// SHA-256 of every file but itself and the seals, as `sha256sum` writes them.
pub const SUMS: &str = "SHA256SUMS";

/// The certificate of the CA that stands in for the plan's issuer; in rehearsals only.
pub const STAND_IN: &str = "standins/issuer.cer";

/// Why an archive is refused. The first word of each is what does not agree.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ArchiveError {
    /// Not an archive of ours.
    #[error("archive: {0}")]
    Tar(#[from] TarError),
    /// A file that must be there is not.
    #[error("archive: `{0}` is missing")]
    Missing(String),
    /// A file that has no business there.
    #[error("archive: `{0}` does not belong in it")]
    Extra(String),
    /// The list of hashes is not that of the files.
    #[error("sums: SHA256SUMS is not the list of the files")]
    Sums,
    /// The plan does not parse.
    #[error("plan: {0}")]
    Plan(PlanError),
    /// The script is not the plan's.
    #[error("script: it is not the one that this plan makes")]
    Script,
    /// The chain is broken.
    #[error(transparent)]
    Transcript(#[from] TranscriptError),
    /// The transcript does not tell this ceremony.
    #[error("transcript: {0}")]
    Told(String),
    /// An input is not the plan's.
    #[error(transparent)]
    Input(#[from] InputError),
    /// An output is not what the transcript says, or not what the plan makes.
    #[error("outputs: {0}")]
    Output(String),
    /// The plan does not make this.
    #[error("outputs: {0}")]
    Making(#[from] MakingError),
    /// An approval does not hold.
    #[error("{file}: {error}")]
    Approval {
        /// Its file.
        file: String,
        /// Why.
        error: ApprovalError,
    },
    /// The approvals do not make the quorum.
    #[error("approvals: {0}")]
    Quorum(QuorumError),
    /// The seals do not.
    #[error("seals: {0}")]
    Seals(QuorumError),
    /// A rehearsal, and nobody said that one will do.
    #[error("this is a REHEARSAL: nothing in it is to be believed")]
    Rehearsal,
}

/// An archive that agrees with itself. Made only by [`verify`].
#[derive(Debug)]
pub struct Verified {
    plan: Plan,
    mode: Mode,
    transcript: Transcript,
    files: Files,
    sums: Sha256,
}

impl Verified {
    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }
    /// The real one, or a rehearsal.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }
    /// The transcript.
    #[must_use]
    pub fn transcript(&self) -> &Transcript {
        &self.transcript
    }
    /// SHA-256 of `SHA256SUMS`: what the participants sealed and wrote down by hand.
    #[must_use]
    pub fn sums(&self) -> Sha256 {
        self.sums
    }
    /// A file of it: `outputs/certificate.cer`.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&[u8]> {
        self.files.get(name).map(Vec::as_slice)
    }
    /// Deviations and void steps, for whoever must judge them.
    pub fn deviations(&self) -> impl Iterator<Item = &Record> {
        let records = self.transcript.records().iter();
        records.filter(|r| matches!(r.event, Event::Deviation | Event::Void))
    }
}

/// `SHA256SUMS` of these files, itself and the seals left out.
#[must_use]
pub fn sums(files: &Files) -> String {
    let listed = files
        .iter()
        .filter(|(name, _)| *name != SUMS && !name.starts_with("seals/"));
    listed
        .map(|(name, bytes)| format!("{}  {name}\n", Sha256::of(bytes)))
        .collect()
}

/// What a seal is a signature over: the same statement as an approval, of another name and over `SHA256SUMS`, so that
/// neither stands for the other.
#[must_use]
pub fn seal_subject(approved: &Subject, sums: Sha256) -> Subject {
    Subject {
        ceremony: format!("{} sealed", approved.ceremony),
        medium: Some(sums),
        ..approved.clone()
    }
}

/// What officers approve: plan, script and program; the inputs are in the plan.
#[must_use]
pub fn approval_subject(plan: &Plan, mode: Mode, program: Sha256) -> Subject {
    let script = script::text(plan, mode == Mode::Rehearsal);
    Subject {
        ceremony: plan.name().to_owned(),
        mode,
        plan: plan.sha256(),
        script: Sha256::of(script.as_bytes()),
        program,
        medium: None,
    }
}

/// Read the approvals (or seals) among `files`, those whose names begin with `folder`.
///
/// # Errors
/// [`ArchiveError::Approval`].
pub fn approvals(files: &Files, folder: &str) -> Result<Vec<Approval>, ArchiveError> {
    let found = files.iter().filter(|(name, _)| name.starts_with(folder));
    let read = found.map(|(name, bytes)| {
        let approval = RawApproval::parse(bytes).and_then(RawApproval::verify);
        approval.map_err(|error| ArchiveError::Approval {
            file: name.clone(),
            error,
        })
    });
    read.collect()
}

/// Verify an archive by itself: no clock, no network, nothing but the bytes.
///
/// # Errors
/// [`ArchiveError`]: the first thing that does not agree.
pub fn verify(bytes: &[u8], rehearsal_will_do: bool) -> Result<Verified, ArchiveError> {
    let files = tar::read(bytes)?;
    let get = |name: &str| files.get(name).ok_or_else(|| ArchiveError::Missing(name.to_owned()));
    if get(SUMS)? != sums(&files).as_bytes() {
        return Err(ArchiveError::Sums);
    }
    let plan = Plan::parse(Path::new(PLAN), get(PLAN)?).map_err(ArchiveError::Plan)?;
    let transcript = Transcript::parse(plan.sha256(), get(TRANSCRIPT)?)?;
    let begun = begun(&transcript)?;
    let mode = match begun.facts.get("mode").map(String::as_str) {
        Some("ceremony") => Mode::Ceremony,
        Some("rehearsal") => Mode::Rehearsal,
        _ => return Err(told("its first record does not say whether it is a rehearsal")),
    };
    if mode == Mode::Rehearsal && !rehearsal_will_do {
        return Err(ArchiveError::Rehearsal);
    }
    if get(SCRIPT)? != script::text(&plan, mode == Mode::Rehearsal).as_bytes() {
        return Err(ArchiveError::Script);
    }
    let program = *begun.inputs.get("program").ok_or_else(|| told("no program is named"))?;
    if mode == Mode::Ceremony && plan.binary() != Some(program) {
        return Err(told("another program performed it than the plan names"));
    }
    let subject = approval_subject(&plan, mode, program);
    if begun.inputs.get("script") != Some(&subject.script) {
        return Err(told("another script was on the table"));
    }
    belong(&files, &plan, mode)?;
    let told = told_steps(&plan, &transcript)?;
    outputs(&files, &told)?;
    let mut inputs = read_inputs(&files, &plan)?;
    if let Some(der) = files.get(STAND_IN) {
        inputs.stand_in(&plan, der)?;
    }
    made(&files, &plan, &inputs, mode)?;
    quorum(&files, &plan, &transcript, subject, Sha256::of(get(SUMS)?))?;
    Ok(Verified {
        sums: Sha256::of(get(SUMS)?),
        plan,
        mode,
        transcript,
        files,
    })
}

fn told(message: impl Into<String>) -> ArchiveError {
    ArchiveError::Told(message.into())
}

fn begun(transcript: &Transcript) -> Result<&Record, ArchiveError> {
    let records = transcript.records();
    if records.last().is_none_or(|r| r.event != Event::Sealed) {
        return Err(told("it is not sealed"));
    }
    match records.first() {
        Some(first) if first.event == Event::Begun => Ok(first),
        _ => Err(told("it does not begin at the beginning")),
    }
}

/// Only files that have a meaning.
fn belong(files: &Files, plan: &Plan, mode: Mode) -> Result<(), ArchiveError> {
    for name in files.keys() {
        let fits = match name.split_once('/') {
            None => [PLAN, SCRIPT, TRANSCRIPT, SUMS].contains(&name.as_str()),
            Some(("inputs", file)) => plan.inputs().iter().any(|input| input.file == file),
            Some(("approvals" | "seals" | "outputs", _)) => true,
            Some(("standins", _)) => name == STAND_IN && mode == Mode::Rehearsal,
            Some(_) => false,
        };
        if !fits {
            return Err(ArchiveError::Extra(name.clone()));
        }
    }
    Ok(())
}

/// Every step of the plan is done, once, in its order; void is what a deviation says. Gives the record of each.
fn told_steps<'a>(plan: &Plan, transcript: &'a Transcript) -> Result<Vec<(Step, &'a Record)>, ArchiveError> {
    let mut done: BTreeMap<u32, &Record> = BTreeMap::new();
    let mut last = 0;
    for record in transcript.records() {
        match record.event {
            Event::Done => {
                if done.insert(record.step, record).is_some() {
                    return Err(told(format!("step {} is done twice", record.step)));
                }
                if record.step <= last {
                    return Err(told(format!("step {} comes after step {last}", record.step)));
                }
                last = record.step;
            }
            Event::Void => {
                if done.remove(&record.step).is_none() {
                    return Err(told(format!("step {} is void and was not done", record.step)));
                }
                if !record.facts.contains_key("why") {
                    return Err(told(format!("step {} is void, and nobody says why", record.step)));
                }
                last = record.step.saturating_sub(1);
            }
            Event::Begun | Event::Resumed | Event::Intent | Event::Deviation | Event::Sealed => {}
        }
    }
    let mut all = Vec::new();
    for step in steps(plan) {
        let Some(record) = done.remove(&step.number) else {
            return Err(told(format!("step {} was not done", step.number)));
        };
        if record.role != step.who {
            return Err(told(format!("step {} was not done by {}", step.number, step.who)));
        }
        all.push((step, record));
    }
    match done.keys().next() {
        Some(extra) => Err(told(format!("step {extra} is not in the script"))),
        None => Ok(all),
    }
}

/// What steps made is there, as they made it, and nothing else is.
fn outputs(files: &Files, told_steps: &[(Step, &Record)]) -> Result<(), ArchiveError> {
    let mut expected: BTreeMap<&str, Sha256> = BTreeMap::new();
    for (step, record) in told_steps {
        if let Some(name) = step.action.output()
            && !record.outputs.contains_key(name)
        {
            return Err(ArchiveError::Output(format!(
                "step {} does not name {name}",
                step.number
            )));
        }
        expected.extend(record.outputs.iter().map(|(name, sha256)| (name.as_str(), *sha256)));
    }
    let there: BTreeSet<&str> = files.keys().filter_map(|name| name.strip_prefix("outputs/")).collect();
    for name in &there {
        let sha256 = files.get(&format!("outputs/{name}")).map(|bytes| Sha256::of(bytes));
        match expected.get(name) {
            None => return Err(ArchiveError::Output(format!("{name} was made by no step"))),
            Some(recorded) if Some(*recorded) != sha256 => {
                return Err(ArchiveError::Output(format!("{name} is not the one that was made")));
            }
            Some(_) => {}
        }
    }
    match expected.keys().find(|name| !there.contains(*name)) {
        Some(missing) => Err(ArchiveError::Output(format!("{missing} is missing"))),
        None => Ok(()),
    }
}

fn read_inputs(files: &Files, plan: &Plan) -> Result<Inputs, ArchiveError> {
    let mut by_name = BTreeMap::new();
    for input in plan.inputs() {
        if let Some(bytes) = files.get(&format!("inputs/{}", input.file)) {
            by_name.insert(input.name.clone(), bytes.clone());
        }
    }
    Ok(Inputs::read(plan, &by_name)?)
}

/// Certificate and CRL carry, byte for byte, what the plan makes of the inputs, under a signature that holds.
fn made(files: &Files, plan: &Plan, inputs: &Inputs, mode: Mode) -> Result<(), ArchiveError> {
    let output = |name: &str| {
        let bytes = files.get(&format!("outputs/{name}"));
        bytes.ok_or_else(|| ArchiveError::Output(format!("{name} is missing")))
    };
    let wrong = |message: &str| ArchiveError::Output(message.to_owned());
    let (issuer, key) = match plan.work() {
        Work::Root { .. } => {
            let spki = output(step::KEY)?.clone();
            let chain = [output(step::CERTIFICATE)?.clone()];
            let issuer = Issuer::from_chain(&chain, plan.key().algorithm, IssuerUrls::default());
            let issuer = issuer.map_err(|e| ArchiveError::Output(e.to_string()))?;
            if issuer.spki() != spki {
                return Err(wrong("the certificate is for another key than was made"));
            }
            (issuer, spki)
        }
        Work::Issuing { .. } | Work::Cross { .. } | Work::Crl { .. } => {
            let issuer = inputs.issuer.clone().ok_or(MakingError::Input("issuer"))?;
            let spki = issuer.spki().to_vec();
            (issuer, spki)
        }
        Work::Restore | Work::Destroy => return Ok(()),
    };
    if issuer.is_rehearsal() != (mode == Mode::Rehearsal) {
        return Err(wrong("a rehearsal's CA and a ceremony's do not go together"));
    }
    if plan.work().kind() == "root" && plan.key().backup == Backup::Wrapped {
        let backup = KeyBackup::parse(output(step::BACKUP)?);
        let fits =
            backup.is_some_and(|b| b.spki == key && b.ceremony == plan.name() && b.algorithm == plan.key().algorithm);
        if !fits {
            return Err(wrong("the backup is not one of the key that was made"));
        }
    }
    if plan.work().certificate().is_some() {
        let key = PublicOnly {
            algorithm: plan.key().algorithm,
            spki: key,
        };
        let profiles = Profiles::builtin().map_err(|e| ArchiveError::Output(e.to_string()))?;
        let quorum = match mode {
            Mode::Rehearsal => policies::Quorum::Rehearsal,
            Mode::Ceremony => policies::Quorum::Officers {
                plan_sha256: plan.sha256().0,
                roles: Vec::new(),
            },
        };
        let linted = making::certificate(plan, inputs, &key, &profiles, &quorum)?;
        let certificate = output(step::CERTIFICATE)?;
        if !linted.signed_by_issuer(certificate) {
            return Err(wrong("the certificate is not the one that this plan makes"));
        }
    }
    if plan.work().crl().is_some() {
        let linted = making::crl(plan, &issuer)?;
        let crl = RawCrl::decode(output(step::CRL)?.clone()).and_then(|raw| raw.verify(&issuer));
        let crl = crl.map_err(|e| ArchiveError::Output(e.to_string()))?;
        if !linted.is_of(&crl) {
            return Err(wrong("the CRL is not the one that this plan makes"));
        }
    }
    Ok(())
}

/// The officers approved before the token was asked, and sealed at the end.
fn quorum(
    files: &Files,
    plan: &Plan,
    transcript: &Transcript,
    subject: Subject,
    sums: Sha256,
) -> Result<(), ArchiveError> {
    let number = steps(plan)
        .into_iter()
        .find(|s| s.action == Action::Approvals)
        .map(|s| s.number);
    let record = transcript
        .records()
        .iter()
        .rfind(|r| r.event == Event::Done && Some(r.step) == number);
    let record = record.ok_or_else(|| told("nobody counted the approvals"))?;
    let counted = calendar::parse(&record.time).ok_or_else(|| told("the approvals were counted at no time"))?;
    let quorum = plan.quorum();
    let given = approvals(files, "approvals/")?;
    let approved = Approved::by(subject.clone(), quorum.required, &quorum.officers, given, counted);
    let approved = approved.map_err(ArchiveError::Quorum)?;
    let said = approved.approvals().iter().map(|a| {
        let statement = a.statement();
        (format!("approved by {}", statement.role), statement.person.clone())
    });
    let facts = record.facts.iter().filter(|(name, _)| name.starts_with("approved by "));
    let recorded: BTreeMap<String, String> = facts.map(|(name, person)| (name.clone(), person.clone())).collect();
    if recorded != said.collect() {
        return Err(told("those who approved are not those who were counted"));
    }
    let given = approvals(files, "seals/")?;
    // Seals are of after the end; nothing here knows the time by now.
    let ever = UnixTime(i64::MAX);
    let sealed = seal_subject(&subject, sums);
    Approved::by(sealed, quorum.required, &quorum.officers, given, ever).map_err(ArchiveError::Seals)?;
    Ok(())
}
