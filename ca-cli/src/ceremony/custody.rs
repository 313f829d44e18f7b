//! What becomes of keys and PINs: shares handed out and typed, backup, restoring, destruction.

use ceremony::backup::KeyBackup;
use ceremony::share::{Commitment, SecretKind, Share, Threshold};
use ceremony::step::{Action, BACKUP, Step};
use ceremony::transcript::Entry;
use ceremony::{Backup, Event, Sha256, Work};
use hsm::{Found, HsmError, KeyCustody, PinWarning, Token};
use secrecy::{ExposeSecret as _, SecretString};

use super::OsEntropy;
use super::access::token_failure;
use super::failpoint::power_cut;
use super::run::Run;
use crate::custody::shares;
use crate::exit::{Exit, Failure};

/// The fact that names a split: its commitment, which the shares carry.
const SHARES: &str = "shares";

impl Run<'_> {
    /// How the plan's key is kept: a backed-up one has a past that its token cannot vouch for.
    pub(super) fn kept(&self) -> KeyCustody {
        match self.plan.key().backup {
            Backup::Wrapped => KeyCustody::WrappedBackup,
            Backup::None | Backup::Vendor => KeyCustody::NeverLeaves,
        }
    }

    /// The steps that are neither looking nor signing.
    pub(super) fn custody(&mut self, step: &Step, done: Entry) -> Result<Entry, Failure> {
        match step.action {
            Action::WrappedBackup => self.back_up(step, done),
            Action::Restore => self.restore(step, done),
            Action::Destroy => self.destroy(step, done),
            Action::SplitPin => self.split_pin(step, done),
            _ => Ok(done),
        }
    }

    /// The PIN of the token: out of shares, where the plan says that an earlier ceremony split it.
    pub(super) fn pin(&mut self) -> Result<SecretString, Failure> {
        let by_shares = self.plan.quorum().split_pin && !matches!(self.plan.work(), Work::Root { .. } | Work::Restore);
        if !by_shares {
            return self.present_pin();
        }
        let secret = shares::gather(&self.shares_of()?, SecretKind::TokenPin, None, self.people)?;
        shares::pin_of(&secret)
    }

    fn present_pin(&self) -> Result<SecretString, Failure> {
        let pin = self.access.pin.read(None);
        pin.map_err(|e| Failure::new(Exit::Usage, e.to_string()))
    }

    fn shares_of(&self) -> Result<String, Failure> {
        let name = self.plan.quorum().shares_of.clone();
        name.ok_or_else(|| Failure::new(Exit::Usage, "the plan does not say of which ceremony the shares are"))
    }

    fn threshold(&self) -> Result<Threshold, Failure> {
        let quorum = self.plan.quorum();
        let of = |count: usize| u8::try_from(count).unwrap_or(u8::MAX);
        Threshold::new(of(quorum.required), of(quorum.officers.len()))
            .ok_or_else(|| Failure::new(Exit::Usage, "a secret is split among two to sixteen officers"))
    }

    /// Each officer gets a sheet; then as many as are needed type theirs, so that it is known that paper can be read. The
    /// answer is what came out of the papers.
    fn hand_out(&mut self, all: &[Share], what: SecretKind) -> Result<(ceremony::share::Secret, Commitment), Failure> {
        let (name, rehearsal) = (self.plan.name().to_owned(), self.rehearsal());
        let roles: Vec<String> = self.plan.quorum().officers.iter().map(|o| o.role.clone()).collect();
        let mut commitment = None;
        for (share, role) in all.iter().zip(&roles) {
            commitment = Some(share.commitment());
            let sheet = shares::sheet(&name, role, share, rehearsal);
            self.people.hand_out(role, what, share.index(), &sheet)?;
        }
        let commitment = commitment.ok_or_else(|| Failure::new(Exit::Failed, "there are no shares"))?;
        let secret = shares::gather(&name, what, Some(commitment), self.people)?;
        Ok((secret, commitment))
    }

    fn back_up(&mut self, step: &Step, mut done: Entry) -> Result<Entry, Failure> {
        let token = self.token()?;
        let spec = self.spec();
        let spki = token.public_key(&spec.id, spec.algorithm).map_err(token_failure)?;
        let path = format!("outputs/{BACKUP}");
        // Written only after its shares were typed: what is there is good, and the key may be closed already.
        let text = match self.room.get(&path)? {
            Some(there) => there,
            None => {
                let (key, all) = shares::new_backup_key(self.plan.name(), self.threshold()?, &mut OsEntropy)?;
                let (typed, commitment) = self.hand_out(&all, SecretKind::BackupKey)?;
                if !openssl::memcmp::eq(&*shares::key_of(&typed)?, &*key) {
                    return Err(Failure::new(
                        Exit::Failed,
                        "the papers do not make the key that was split",
                    ));
                }
                let wrapped = token
                    .back_up(&spec.id, &spki, spec.algorithm, &key)
                    .map_err(token_failure)?;
                let backup = KeyBackup {
                    ceremony: self.plan.name().to_owned(),
                    algorithm: spec.algorithm,
                    spki: spki.clone(),
                    shares: commitment,
                    wrapped,
                };
                let text = backup.text().into_bytes();
                self.room.put(&path, &text)?;
                text
            }
        };
        power_cut("acted", step.number);
        let backup = KeyBackup::parse(&text).filter(|backup| backup.spki == spki);
        let backup = backup.ok_or_else(|| Failure::new(Exit::No, format!("{path} is not the backup of this key")))?;
        let closed = token.close(&spec.id, &spki, spec.algorithm).map_err(token_failure)?;
        done.facts.extend(closed);
        done = done
            .fact(SHARES, hex::encode(backup.shares.0))
            .fact("threshold", self.threshold()?.to_string());
        Ok(done.output(BACKUP, Sha256::of(&text)))
    }

    fn restore(&mut self, step: &Step, mut done: Entry) -> Result<Entry, Failure> {
        let token = self.token()?;
        let spec = self.spec();
        let backup = self.inputs.backup.clone();
        let backup = backup.ok_or_else(|| Failure::new(Exit::NotFound, "the backup is not among the inputs"))?;
        let attributes = if token.found(&spec).map_err(token_failure)? == Found::Nothing {
            let typed = shares::gather(
                &backup.ceremony,
                SecretKind::BackupKey,
                Some(backup.shares),
                self.people,
            )?;
            let restored = token.restore(&spec, &backup.spki, &backup.wrapped, &shares::key_of(&typed)?);
            restored.map_err(token_failure)?.attributes
        } else {
            done = done.fact("found", "restored before the interruption");
            let verdicts = token.attributes(&spec.id).map_err(token_failure)?;
            verdicts
                .into_iter()
                .map(|v| (v.attribute.to_owned(), v.found.to_owned()))
                .collect()
        };
        power_cut("acted", step.number);
        let key = token.kept_key(&spec.id, &backup.spki, spec.algorithm, KeyCustody::WrappedBackup);
        let key = key.map_err(token_failure)?;
        issuance::probe(&key).map_err(|e| Failure::new(Exit::No, format!("the restored key: {e}")))?;
        self.people
            .show("a test signature of the restored key holds under the original's public key");
        done.facts.extend(attributes);
        Ok(done
            .fact("key", Sha256::of(&backup.spki).to_string())
            .fact("test signature", "verified"))
    }

    fn destroy(&mut self, step: &Step, mut done: Entry) -> Result<Entry, Failure> {
        let token = self.token()?;
        let spec = self.spec();
        if token.is_free(&spec.id).map_err(token_failure)? {
            // The token held it when the step before was done.
            done = done.fact("found", "destroyed before the interruption");
        } else {
            let spki = token.public_key(&spec.id, spec.algorithm).map_err(token_failure)?;
            if self.plan.key().spki != Some(Sha256::of(&spki)) {
                return Err(Failure::new(
                    Exit::No,
                    "the token holds another key than the plan names",
                ));
            }
            let gone = token.destroy(&spec.id, &spki, spec.algorithm).map_err(token_failure)?;
            done = done.fact("objects destroyed", gone.destroyed.to_string());
            if let Some(refusal) = gone.refusal {
                done = done.fact("signature afterwards", refusal);
            }
        }
        power_cut("acted", step.number);
        if token.found(&spec).map_err(token_failure)? != Found::Nothing {
            return Err(Failure::new(
                Exit::Failed,
                "the token still has a key of this label or id",
            ));
        }
        self.people.show("the token finds no key of this label or id any more");
        Ok(done.fact("search afterwards", "nothing found"))
    }

    fn split_pin(&mut self, step: &Step, done: Entry) -> Result<Entry, Failure> {
        let name = self.plan.name().to_owned();
        let commitment = match self.proven_papers(step.number) {
            // The papers were typed and good before the intent was written; the token has its old PIN or the new one.
            Some(commitment) => {
                let typed = shares::gather(&name, SecretKind::TokenPin, Some(commitment), self.people)?;
                let new = shares::pin_of(&typed)?;
                match Token::open_despite(self.token_config(), new.clone(), PinWarning::CountLow) {
                    Ok(_) => {}
                    Err(HsmError::Pin(_)) => {
                        let old = self.present_pin()?;
                        let token = Token::open_despite(self.token_config(), old.clone(), PinWarning::CountLow);
                        token.and_then(|t| t.change_pin(&old, &new)).map_err(token_failure)?;
                    }
                    Err(error) => return Err(token_failure(error)),
                }
                commitment
            }
            None => {
                let token = self.token()?;
                let (new, all) = shares::new_pin(&name, SecretKind::TokenPin, self.threshold()?, &mut OsEntropy)?;
                let (typed, commitment) = self.hand_out(&all, SecretKind::TokenPin)?;
                let same = shares::pin_of(&typed)?;
                if !openssl::memcmp::eq(typed.expose(), new.expose_secret().as_bytes()) {
                    return Err(Failure::new(
                        Exit::Failed,
                        "the papers do not make the PIN that was split",
                    ));
                }
                let old = self.present_pin()?;
                let intent = Entry::new(Event::Intent, step.number, &step.who);
                self.journal.append(intent.fact(SHARES, hex::encode(commitment.0)))?;
                power_cut("intent", step.number);
                token.change_pin(&old, &same).map_err(token_failure)?;
                commitment
            }
        };
        power_cut("acted", step.number);
        self.people.show("the token has its new PIN");
        Ok(done
            .fact("threshold", self.threshold()?.to_string())
            .fact(SHARES, hex::encode(commitment.0)))
    }

    /// The split whose papers were typed before this step was interrupted.
    fn proven_papers(&self, step: u32) -> Option<Commitment> {
        let mut records = self.journal.records().iter();
        let intent = records.rfind(|r| r.event == Event::Intent && r.step == step)?;
        let mut commitment = [0; 16];
        hex::decode_to_slice(intent.facts.get(SHARES)?, &mut commitment).ok()?;
        Some(Commitment(commitment))
    }
}
