//! One step after the other: shown, answered, done, written down. What is written down is never done again.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use attest::UnixTime;
use ceremony::archive::{SCRIPT, STAND_IN, approval_subject, approvals};
use ceremony::inputs::Inputs;
use ceremony::quorum::{Approved, Mode, Subject};
use ceremony::step::{Action, Step, Typed, steps};
use ceremony::transcript::Entry;
use ceremony::{Event, Plan, Sha256, Work, display, script};
use hsm::{Found, HsmKey, KeyCustody, KeySpec, Token, TokenConfig};
use policies::Profiles;

use super::access::{Access, token_failure};
use super::digest_lines;
use super::failpoint::power_cut;
use super::journal::Journal;
use super::people::{Answer, People};
use super::room::Room;
use super::stand_in;
use crate::custody::guard;
use crate::exit::{Exit, Failure};
use crate::medium::Medium;
use crate::words;

/// A ceremony under way.
pub(crate) struct Run<'a> {
    pub(super) room: &'a Room,
    pub(super) plan: Plan,
    pub(super) mode: Mode,
    pub(super) journal: Journal,
    pub(super) profiles: Profiles,
    pub(super) medium: Medium,
    pub(super) inputs: Inputs,
    pub(super) people: &'a mut dyn People,
    pub(super) access: Access,
    token: Option<Token>,
    program: Sha256,
    approved: Option<Approved>,
}

impl<'a> Run<'a> {
    /// Begin, or go on where it was interrupted.
    pub(crate) fn open(
        room: &'a Room,
        mode: Mode,
        access: Access,
        people: &'a mut dyn People,
        resume: bool,
    ) -> Result<Self, Failure> {
        guard::harden()?;
        let plan = room.plan()?;
        let program = program()?;
        let subject = approval_subject(&plan, mode, program);
        check_subject(room, &plan, &subject)?;
        let mut journal = Journal::open(room, &plan)?;
        if journal.sealed() {
            return Err(Failure::new(
                Exit::Conflict,
                "this ceremony is over: its record is sealed",
            ));
        }
        match (journal.records().first(), resume) {
            (None, _) => {
                let begun = Entry::new(Event::Begun, 0, "administrator")
                    .fact("mode", mode.as_str())
                    .fact("version", env!("CARGO_PKG_VERSION"))
                    .fact("sha256-of-plan", display::groups(&plan.sha256()).replace('\n', " "))
                    .input("plan", plan.sha256())
                    .input("script", subject.script)
                    .input("program", program);
                journal.append(begun)?;
            }
            (Some(_), false) => {
                return Err(Failure::new(Exit::Conflict, "this ceremony was begun already")
                    .fix("--resume goes on after the last step that is done"));
            }
            (Some(first), true) => {
                let same = first.inputs.get("script") == Some(&subject.script)
                    && first.inputs.get("program") == Some(&program)
                    && first.facts.get("mode").map(String::as_str) == Some(mode.as_str());
                if !same {
                    return Err(
                        Failure::new(Exit::No, "it was begun with another program, script or mode")
                            .fix("go on with the program it was begun with"),
                    );
                }
                journal.append(Entry::new(Event::Resumed, 0, "administrator"))?;
            }
        }
        let no = |e: ceremony::inputs::InputError| Failure::new(Exit::No, e.to_string());
        let mut inputs = Inputs::read(&plan, &room.inputs(&plan)?).map_err(no)?;
        let stand_in = room.get(STAND_IN)?.filter(|_| mode == Mode::Rehearsal);
        if let Some(der) = &stand_in {
            inputs.stand_in(&plan, der).map_err(no)?;
        }
        let medium = Medium::resume(&room.path("intents")).context("intents")?;
        Ok(Self {
            room,
            mode,
            journal,
            profiles: Profiles::builtin().context("built-in profiles")?,
            medium,
            inputs,
            people,
            access,
            token: None,
            program,
            approved: None,
            plan,
        })
    }

    /// Every step that is left.
    pub(crate) fn finish(&mut self) -> Result<(), Failure> {
        let steps = steps(&self.plan);
        loop {
            let next = self.journal.last_done().saturating_add(1);
            let Some(step) = steps.iter().find(|s| s.number == next) else {
                return Ok(());
            };
            power_cut("before", step.number);
            self.alone(step, &steps)?;
            self.people.show(&format!("\n{}", script::step_text(step, steps.len())));
            self.step(step, &steps)?;
            power_cut("done", step.number);
        }
    }

    /// What the token said of the key that was made, for a report: (attribute, value).
    pub(crate) fn attributes(&self) -> Vec<(String, String)> {
        let made = self
            .journal
            .records()
            .iter()
            .rfind(|r| r.outputs.contains_key(ceremony::step::KEY));
        let facts = made.into_iter().flat_map(|r| &r.facts);
        facts
            .filter(|(name, _)| name.starts_with("CKA_"))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    fn step(&mut self, step: &Step, steps: &[Step]) -> Result<(), Failure> {
        let mut done = Entry::new(Event::Done, step.number, &step.who);
        let expected = self.prepare(step, &mut done)?;
        loop {
            if matches!(step.typed, Typed::Secret(_)) {
                // The token asks for it itself.
                break;
            }
            match self.people.answer(step, expected.as_deref())? {
                Answer::Line(line) => match accepted(step, expected.as_deref(), &line) {
                    Ok(fact) => {
                        if let Some((name, value)) = fact {
                            done = done.fact(name, value);
                        }
                        break;
                    }
                    Err(why) => self.people.show(why),
                },
                Answer::Deviation(what) => {
                    let entry = Entry::new(Event::Deviation, step.number, &step.who).fact("what", what);
                    self.journal.append(entry)?;
                    self.people.show("written down. The step goes on.");
                }
                Answer::Void(why) => return self.void(step, steps, &why),
            }
        }
        let done = self.act(step, done)?;
        power_cut("written", step.number);
        self.journal.append(done)
    }

    /// The step before does not count: it is done again.
    fn void(&mut self, step: &Step, steps: &[Step], why: &str) -> Result<(), Failure> {
        let before = steps.iter().find(|s| s.number.saturating_add(1) == step.number);
        let Some(before) = before else {
            self.people.show("there is no step before this one.");
            return Ok(());
        };
        let for_good = matches!(
            before.action,
            Action::MakeKey | Action::WrappedBackup | Action::Restore | Action::Destroy
        );
        if for_good {
            self.people.show(
                "what a token has made or destroyed is not undone by a word: note a deviation, or stop and plan another ceremony.",
            );
            return Ok(());
        }
        self.journal
            .append(Entry::new(Event::Void, before.number, &step.who).fact("why", why))?;
        self.people.show("written down. The step before is done again.");
        Ok(())
    }

    /// What must be there before anybody answers, and what will be accepted.
    fn prepare(&mut self, step: &Step, done: &mut Entry) -> Result<Option<String>, Failure> {
        match step.action {
            Action::Machine => {
                done.facts.insert("program".into(), self.program.to_string());
                self.show_digest("this program", self.program);
                self.guard(done)?;
            }
            Action::Inputs => {
                for input in self.plan.inputs() {
                    done.inputs.insert(input.name.clone(), input.sha256);
                }
            }
            Action::Approvals => self.count(done)?,
            Action::ReviewCertificate => self.review_certificate(done)?,
            Action::ReviewCrl => self.review_crl(done)?,
            Action::CompareCertificate => return self.compare(ceremony::step::CERTIFICATE, done).map(Some),
            Action::CompareCrl => return self.compare(ceremony::step::CRL, done).map(Some),
            _ => {}
        }
        Ok(match &step.typed {
            Typed::Word(word) => Some(word.clone()),
            Typed::Digits(Some(digits)) => Some(digits.clone()),
            Typed::Enter => Some(String::new()),
            Typed::Digits(None) | Typed::Note(_) | Typed::Secret(_) => None,
        })
    }

    fn act(&mut self, step: &Step, done: Entry) -> Result<Entry, Failure> {
        if step.action.touches_token() && !self.journal.intended(step.number) {
            self.before_the_token(step)?;
            self.journal.append(Entry::new(Event::Intent, step.number, &step.who))?;
        }
        power_cut("intent", step.number);
        match step.action {
            Action::Token => self.put_in(done),
            Action::MakeKey => self.make_key(step, done),
            Action::SignCertificate => self.sign_certificate(step, done),
            Action::SignCrl => self.sign_crl(step, done),
            Action::WrappedBackup | Action::Restore | Action::Destroy | Action::SplitPin => self.custody(step, done),
            _ => Ok(done),
        }
    }

    /// What must hold when a token is about to be changed for the first time in this step.
    fn before_the_token(&mut self, step: &Step) -> Result<(), Failure> {
        if step.action != Action::MakeKey {
            return Ok(());
        }
        let spec = self.spec();
        match self.token()?.found(&spec).map_err(token_failure)? {
            Found::Nothing => Ok(()),
            Found::PublicOnly | Found::Key => Err(Failure::new(
                Exit::Conflict,
                format!(
                    "the token has a key `{}` or {} already",
                    spec.label,
                    hex::encode(&spec.id)
                ),
            )
            .fix("take the token that the plan means, or write a plan with another label and id")),
        }
    }

    fn show_digest(&mut self, what: &str, digest: Sha256) {
        let text = format!("{what}:\n{}", digest_lines(&digest));
        self.people.show(&text);
    }

    pub(super) fn show(&mut self, text: &str) {
        self.people.show(text);
    }

    /// From the step on that looked at the machine it stays as it was found, also after an interruption.
    fn alone(&self, step: &Step, steps: &[Step]) -> Result<(), Failure> {
        let looked = steps.iter().find(|s| s.action == Action::Machine).map(|s| s.number);
        if looked.is_some_and(|looked| looked < step.number) {
            guard::network(&guard::system(), self.mode == Mode::Rehearsal)?;
        }
        Ok(())
    }

    /// The machine is alone: outside of rehearsals no network interface is up.
    fn guard(&mut self, done: &mut Entry) -> Result<(), Failure> {
        let up = guard::network(&guard::system(), self.mode == Mode::Rehearsal)?;
        let told = if up.is_empty() {
            "no interface is up".to_owned()
        } else {
            format!("up: {}", up.join(", "))
        };
        let memory = guard::memory(&guard::system(), self.mode == Mode::Rehearsal)?;
        self.people.show(&format!("network: {told}\nmemory: {memory}"));
        done.facts.insert("network".into(), told);
        done.facts.insert("memory".into(), memory.to_owned());
        Ok(())
    }

    /// Enough distinct officers approved exactly this.
    fn count(&mut self, done: &mut Entry) -> Result<(), Failure> {
        let approved = self.quorum()?;
        let mut text = String::new();
        for approval in approved.approvals() {
            let said = approval.statement();
            text.push_str(&format!(
                "{}: {} at {}\n",
                said.role,
                said.person,
                ceremony::calendar::show(said.time)
            ));
            done.facts
                .insert(format!("approved by {}", said.role), said.person.clone());
        }
        self.people.show(&text);
        Ok(())
    }

    fn quorum(&mut self) -> Result<Approved, Failure> {
        if let Some(approved) = &self.approved {
            return Ok(approved.clone());
        }
        let no = |e: String| Failure::new(Exit::No, e).fix("bring the approvals of this plan: ca-cli ceremony approve");
        let given = approvals(&self.room.files()?, "approvals/").map_err(|e| no(e.to_string()))?;
        let quorum = self.plan.quorum();
        let subject = approval_subject(&self.plan, self.mode, self.program);
        let now = UnixTime(words::now());
        let approved = Approved::by(subject, quorum.required, &quorum.officers, given, now);
        let approved = approved.map_err(|e| no(e.to_string()))?;
        self.approved = Some(approved.clone());
        Ok(approved)
    }

    /// The approval in the policy's words. Asked again before every signature, not once at the door.
    pub(super) fn permission(&mut self) -> Result<policies::Quorum, Failure> {
        let approved = self.quorum()?;
        Ok(match self.mode {
            Mode::Rehearsal => policies::Quorum::Rehearsal,
            Mode::Ceremony => policies::Quorum::Officers {
                plan_sha256: self.plan.sha256().0,
                roles: approved
                    .approvals()
                    .iter()
                    .map(|a| a.statement().role.clone())
                    .collect(),
            },
        })
    }

    pub(super) fn spec(&self) -> KeySpec {
        KeySpec {
            label: self.plan.key().label.clone(),
            id: self.plan.key().id.clone(),
            algorithm: self.plan.key().algorithm,
        }
    }

    /// The token, logged in; after an interruption its PIN is asked again.
    pub(super) fn token(&mut self) -> Result<Token, Failure> {
        if let Some(token) = &self.token {
            return Ok(token.clone());
        }
        let pin = self.pin()?;
        let config = self.token_config();
        // People are here to judge a warning: only the last try before a lock is not theirs to give away.
        let token = Token::open_despite(config, pin, hsm::PinWarning::CountLow).map_err(token_failure)?;
        let (found, planned) = (token.serial().to_owned(), self.plan.token().serial.clone());
        if self.mode == Mode::Ceremony && found != planned {
            return Err(Failure::new(
                Exit::No,
                format!("this is token {found}, the plan names {planned}"),
            ));
        }
        self.token = Some(token.clone());
        Ok(token)
    }

    pub(super) fn token_config(&self) -> TokenConfig {
        TokenConfig {
            uri: self.access.uri.clone(),
            sessions: 1,
            queue_deadline: Duration::from_secs(30),
            login_backoff: Duration::from_secs(1),
        }
    }

    pub(super) fn rehearsal(&self) -> bool {
        self.mode == Mode::Rehearsal
    }

    fn put_in(&mut self, mut done: Entry) -> Result<Entry, Failure> {
        let token = self.token()?;
        let serial = token.serial().to_owned();
        if serial != self.plan.token().serial {
            let what = format!("token {serial} stands in for {}", self.plan.token().serial);
            self.journal
                .append(Entry::new(Event::Deviation, done.step, &done.role).fact("what", what))?;
        }
        done = done.fact("token", serial);
        match self.plan.work() {
            Work::Root { .. } | Work::Restore => {
                let spec = self.spec();
                let making = steps(&self.plan).into_iter().find(|s| s.action.touches_token());
                let under_way = making.is_some_and(|s| self.journal.intended(s.number));
                if !under_way && token.found(&spec).map_err(token_failure)? != Found::Nothing {
                    return Err(Failure::new(
                        Exit::Conflict,
                        format!(
                            "the token has a key `{}` or {} already",
                            spec.label,
                            hex::encode(&spec.id)
                        ),
                    ));
                }
                Ok(done)
            }
            _ => {
                let key = self.key()?;
                let found = Sha256::of(issuance::CaKey::spki(&key));
                if let Some(planned) = self.plan.key().spki.filter(|planned| *planned != found) {
                    let what = stand_in::told(&found, &planned);
                    self.journal
                        .append(Entry::new(Event::Deviation, done.step, &done.role).fact("what", what))?;
                }
                Ok(done.fact("key", found.to_string()))
            }
        }
    }

    /// The key of the plan, proven, and no other: its public half is the one the plan, or the step that made it, names.
    pub(super) fn key(&mut self) -> Result<HsmKey, Failure> {
        let token = self.token()?;
        let spec = self.spec();
        let spki = token.public_key(&spec.id, spec.algorithm).map_err(token_failure)?;
        let key = token.kept_key(&spec.id, &spki, spec.algorithm, self.kept());
        let key = key.map_err(token_failure)?;
        if token.id_of(&spec.label).map_err(token_failure)? != spec.id {
            return Err(Failure::new(
                Exit::No,
                format!(
                    "the key `{}` of the token has another id than the plan names",
                    spec.label
                ),
            ));
        }
        let found = Sha256::of(issuance::CaKey::spki(&key));
        let made = self
            .room
            .get(&format!("outputs/{}", ceremony::step::KEY))?
            .map(|spki| Sha256::of(&spki));
        // In a rehearsal of a plan for a real CA: the key of the one that stands in for it.
        let stands_in = self.inputs.issuer.as_ref().filter(|issuer| issuer.is_rehearsal());
        let stands_in = stands_in.map(|issuer| Sha256::of(issuer.spki()));
        match stands_in.or(self.plan.key().spki).or(made) {
            Some(planned) if planned != found => Err(Failure::new(
                Exit::No,
                format!("the token holds another key: {found}, wanted is {planned}"),
            )),
            _ => Ok(key),
        }
    }

    fn make_key(&mut self, step: &Step, mut done: Entry) -> Result<Entry, Failure> {
        let token = self.token()?;
        let spec = self.spec();
        let found = token.found(&spec).map_err(token_failure)?;
        if found == Found::PublicOnly {
            // Cut off in the middle of the token's own work.
            token.discard_public(&spec).map_err(token_failure)?;
        }
        let attributes: Vec<(String, String)> = if found == Found::Key {
            // Before the intent was written the token had no such key: this one was made by the interrupted step.
            done = done.fact("found", "made before the interruption");
            let verdicts = token.attributes(&spec.id).map_err(token_failure)?;
            verdicts
                .into_iter()
                .map(|v| (v.attribute.to_owned(), v.found.to_string()))
                .collect()
        } else {
            let made = match self.kept() {
                KeyCustody::NeverLeaves => token.generate(&spec),
                KeyCustody::WrappedBackup => token.generate_for_backup(&spec),
            };
            made.map_err(token_failure)?.attributes
        };
        power_cut("acted", step.number);
        let spki = match self.kept() {
            KeyCustody::NeverLeaves => issuance::CaKey::spki(&self.key()?).to_vec(),
            // Proven by the next step, which closes it.
            KeyCustody::WrappedBackup => token.public_key(&spec.id, spec.algorithm).map_err(token_failure)?,
        };
        self.room.put(&format!("outputs/{}", ceremony::step::KEY), &spki)?;
        for (name, value) in attributes {
            done = done.fact(&name, value);
        }
        self.show_digest("public key (SHA-256)", Sha256::of(&spki));
        Ok(done.output(ceremony::step::KEY, Sha256::of(&spki)))
    }

    /// The fingerprint of an output, and the digits somebody must read from another device.
    fn compare(&mut self, output: &str, done: &mut Entry) -> Result<String, Failure> {
        let bytes = self.room.get(&format!("outputs/{output}"))?;
        let bytes = bytes.ok_or_else(|| Failure::new(Exit::NotFound, format!("outputs/{output} is missing")))?;
        let digest = Sha256::of(&bytes);
        self.show_digest(&format!("SHA-256 of outputs/{output}"), digest);
        if let Some(picture) = crate::fingerprint::qr(&digest.0) {
            self.people.show(&picture);
        }
        done.facts.insert("sha256".into(), digest.to_string());
        Ok(digest.to_string().chars().take(8).collect())
    }
}

/// What plan, script and program are approved together; the medium must hold the same.
fn check_subject(room: &Room, plan: &Plan, subject: &Subject) -> Result<(), Failure> {
    let there = room.get(SCRIPT)?.map(|bytes| Sha256::of(&bytes));
    if there != Some(subject.script) {
        return Err(Failure::new(
            Exit::No,
            format!("{SCRIPT} on the medium is not the script of this plan"),
        )
        .fix("make the medium anew: ca-cli ceremony kit PLAN --dir DIR"));
    }
    if subject.mode == Mode::Ceremony && plan.binary() != Some(subject.program) {
        let named = plan.binary().map_or_else(|| "none".to_owned(), |b| b.to_string());
        return Err(Failure::new(
            Exit::No,
            format!(
                "this program has the SHA-256 {}, the plan names {named}",
                subject.program
            ),
        )
        .fix("run the program of the kit; a ceremony's plan names it with binary_sha256"));
    }
    Ok(())
}

/// SHA-256 of the running program.
pub(crate) fn program() -> Result<Sha256, Failure> {
    guard::program(Path::new("/"))
}

/// What was typed, if it is what must be typed: a fact for the transcript, or the words to say no with. The right answer
/// is never shown.
fn accepted(step: &Step, expected: Option<&str>, line: &str) -> Result<Option<(&'static str, String)>, &'static str> {
    match (&step.typed, expected) {
        (Typed::Note(_), _) if line.is_empty() => Err("something must stand here."),
        (Typed::Note(what), _) => Ok(Some((what, line.to_owned()))),
        (Typed::Enter, _) if line.is_empty() => Ok(None),
        (Typed::Enter, _) => Err("only the Enter key, or !deviation, or !void."),
        (Typed::Digits(_), Some(expected)) if line == expected => Ok(Some(("typed", line.to_owned()))),
        (Typed::Word(_), Some(expected)) if line == expected => Ok(Some(("typed", line.to_owned()))),
        (Typed::Digits(_), _) => Err("that is another hash. Look again, at both; if they differ, stop."),
        (Typed::Word(_), _) => Err("that is not what the script says."),
        (Typed::Secret(_), _) => Err("nothing is typed here."),
    }
}
