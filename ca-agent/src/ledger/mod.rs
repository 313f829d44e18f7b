//! The CA's ledger, as a device looks after it: each certificate came with a promise that its entry will be in the signed
//! tree, and the tree may only grow. What was promised is held until it was kept; what was seen is held for good.

mod source;
#[cfg(test)]
mod tests;

use ledger::{
    Entry, Event, Head, Note, Promise, ProofFile, Resource, SignedCheckpoint, TileNodes, VerifierKey, consistency,
    entries, inclusion, leaf_hash,
};
use std::time::Duration;

use wire::enrollment::EnrollmentResult;

use crate::state::{State, StateError};
use crate::watch::{Alarm, Breach, Held, Standing, Watch};
use crate::words::clean;
use source::{Missing, Source};

/// Clocks differ: so much later than promised is not late, seconds.
const GRACE: i64 = 300;
/// What came without a promise is expected in the tree after so long, seconds.
const UNPROMISED: i64 = 86_400;
/// Bundles of 256 entries that are looked through where a server has no proofs.
const BUNDLES: u64 = 1024;
/// Certificates that are remembered; of more, those whose promise was kept go first.
const MOST: usize = 64;

/// Which ledger, and whose word it must be: `[ledger]` of `agent.toml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// `http://HOST/PATH`, or a folder.
    pub from: String,
    /// Its verifier key.
    pub key: VerifierKey,
}

/// What ends a look.
enum Stop {
    Away(String),
    Breach(Breach, String),
}

impl From<Missing> for Stop {
    fn from(missing: Missing) -> Self {
        Self::Away(missing.to_string())
    }
}

/// Hold what came with new certificates.
///
/// # Errors
/// [`StateError`].
pub fn remember(state: &State, result: &EnrollmentResult, now: i64) -> Result<(), StateError> {
    let mut watch = state.ledger()?.unwrap_or_default();
    for issued in &result.certificates {
        let certificate = hex::encode(openssl::sha::sha256(&issued.certificate.0));
        if watch.promises.iter().any(|held| held.certificate == certificate) {
            continue;
        }
        watch.promises.push(Held {
            serial: issued.serial.clone(),
            certificate,
            entry: issued.ledger.as_ref().map(|receipt| receipt.entry.clone()),
            promise: issued.ledger.as_ref().map(|receipt| receipt.promise.clone()),
            since: now,
            standing: Standing::Open,
        });
    }
    while watch.promises.len() > MOST
        && let Some(kept) = watch
            .promises
            .iter()
            .position(|held| matches!(held.standing, Standing::Kept { .. }))
    {
        watch.promises.remove(kept);
    }
    state.set_ledger(&watch)
}

/// Look at the ledger, and remember what was found: an alarm that was raised stays.
///
/// # Errors
/// [`StateError`]. That the ledger is away is no error: it is said in what is given back.
pub fn look(of: &Named, state: &State, now: i64) -> Result<Watch, StateError> {
    let mut watch = state.ledger()?.unwrap_or_default();
    let mut shown = None;
    let outcome = Look {
        key: &of.key,
        source: &Source::of(&of.from),
        now,
    }
    .all(&mut watch, &mut shown);
    match outcome {
        Ok(()) => (watch.looked_at, watch.away) = (Some(now), None),
        Err(Stop::Away(why)) => watch.away = Some(why),
        Err(Stop::Breach(what, why)) => {
            (watch.looked_at, watch.away) = (Some(now), None);
            // The first one is what explains the others.
            if watch.alarm.is_none() {
                watch.alarm = Some(Alarm {
                    at: now,
                    what,
                    why,
                    seen: watch.seen.clone(),
                    shown,
                });
            }
        }
    }
    state.set_ledger(&watch)?;
    Ok(watch)
}

/// How soon it is looked again, while promises are open, and else.
const SOON: Duration = Duration::from_secs(60);
const LATER: Duration = Duration::from_secs(3600);

/// Look, if a ledger is named, and say what is wrong, loudly; when to look again. An identity does not depend on it.
pub fn tend(of: Option<&Named>, state: &State, tell: &dyn Fn(&str)) -> Duration {
    let Some(of) = of else { return LATER };
    let now = jiff::Timestamp::now().as_second();
    let watch = match look(of, state, now) {
        Ok(watch) => watch,
        Err(error) => {
            tracing::error!(%error, "what is remembered of the CA's ledger cannot be read or written");
            tell(&format!("E-STATE {error}"));
            return SOON;
        }
    };
    if let Some(alarm) = &watch.alarm {
        let (code, why) = (alarm.what.code(), clean(&alarm.why));
        tracing::error!(code, "{why}");
        tell(&format!(
            "{code} {why}; keep {}: it is the proof",
            state.path("ledger.json").display()
        ));
    }
    if let Some(why) = &watch.away {
        let late = |held: &&Held| held.standing == Standing::Open && held.since.saturating_add(UNPROMISED) < now;
        if watch.promises.iter().any(|held| late(&held)) {
            let why = clean(why);
            tracing::error!("promises of the CA's ledger are open, and it cannot be read: {why}");
            tell(&format!(
                "E-LEDGER-AWAY promises are open, and the ledger cannot be read: {why}"
            ));
        } else {
            tracing::warn!("the CA's ledger cannot be read: {}", clean(why));
        }
    }
    if watch.open() > 0 { SOON } else { LATER }
}

struct Look<'a> {
    key: &'a VerifierKey,
    source: &'a Source,
    now: i64,
}

impl Look<'_> {
    fn all(&self, watch: &mut Watch, shown: &mut Option<String>) -> Result<(), Stop> {
        let note = self.source.get("checkpoint")?;
        // What is not signed says nothing about who signs: a portal before the network, or another ledger's address.
        let signed = SignedCheckpoint::parse(&note, self.key).map_err(|e| Stop::Away(format!("checkpoint: {e}")))?;
        self.seen(watch, shown, signed)?;
        let mut breach = None;
        for place in 0..watch.promises.len() {
            let Some(held) = watch.promises.get(place) else { break };
            if held.standing != Standing::Open {
                continue;
            }
            let held = held.clone();
            let standing = match self.promise(&held, watch, shown) {
                Ok(standing) => standing,
                Err(Stop::Breach(what @ (Breach::Broken | Breach::Forged), why)) => {
                    let standing = Standing::Broken {
                        at: self.now,
                        why: why.clone(),
                    };
                    breach = breach.or(Some(Stop::Breach(what, why)));
                    standing
                }
                Err(other) => return Err(other),
            };
            if let Some(held) = watch.promises.get_mut(place) {
                held.standing = standing;
            }
        }
        breach.map_or(Ok(()), Err)
    }

    /// A checkpoint is shown: it and what was seen are of one tree. The later of the two is what was seen from here on.
    fn seen(&self, watch: &mut Watch, shown: &mut Option<String>, signed: SignedCheckpoint) -> Result<(), Stop> {
        *shown = Some(signed.note().to_string());
        let before = watch
            .seen
            .as_ref()
            .map(|note| SignedCheckpoint::parse(note.as_bytes(), self.key));
        let before = match before {
            None => Head::empty(),
            Some(Ok(before)) => *before.head(),
            Some(Err(error)) => {
                return Err(Stop::Away(format!(
                    "what was seen is of another ledger, or damaged: {error}"
                )));
            }
        };
        let head = *signed.head();
        self.one_tree(&before, &head)?;
        if head.size >= before.size {
            watch.seen.clone_from(shown);
        }
        Ok(())
    }

    /// Of two trees the longer continues the shorter. A shorter one is shown by a cache of a minute ago, too: then what was
    /// seen is still there.
    fn one_tree(&self, seen: &Head, head: &Head) -> Result<(), Stop> {
        let (old, new) = if head.size < seen.size {
            (head, seen)
        } else {
            (seen, head)
        };
        let proof = match consistency(&TileNodes::new(self.source, new.size), old.size, new.size) {
            Ok(Some(proof)) => proof,
            Ok(None) => return Err(Stop::Away("no proof can be made of these tiles".to_owned())),
            Err(_) if !self.source.was_away() && head.size < seen.size => {
                let why = format!(
                    "the ledger was cut: it has {} entries, and had {}",
                    head.size, seen.size
                );
                return Err(Stop::Breach(Breach::Cut, why));
            }
            Err(error) => return Err(Stop::Away(error.to_string())),
        };
        proof.verify(old, new).map_err(|error| {
            let why = format!(
                "the ledger forked: its first {} entries are not those that were seen ({error})",
                old.size
            );
            Stop::Breach(Breach::Forked, why)
        })
    }

    /// What became of one promise.
    fn promise(&self, held: &Held, watch: &mut Watch, shown: &mut Option<String>) -> Result<Standing, Stop> {
        let by = self.promised(held).map_err(|why| {
            let why = format!("certificate {}: {why}", held.serial);
            Stop::Breach(Breach::Forged, why)
        })?;
        let found = match self.proven(held, watch, shown)? {
            Some(index) => Some(index),
            None => self.searched(held, watch)?,
        };
        match found {
            Some(index) => Ok(Standing::Kept { at: self.now, index }),
            None if self.now <= by.saturating_add(GRACE) => Ok(Standing::Open),
            None => {
                let what = if held.promise.is_some() {
                    "was promised"
                } else {
                    "came without a promise"
                };
                let why = format!(
                    "the promise is broken: the entry of certificate {} {what}, its time is over, and it is not in the ledger",
                    held.serial
                );
                Err(Stop::Breach(Breach::Broken, why))
            }
        }
    }

    /// By when the entry must be there: the promise is the ledger's, about this entry, which is of this certificate.
    fn promised(&self, held: &Held) -> Result<i64, String> {
        let Some(entry) = &held.entry else {
            return Ok(held.since.saturating_add(UNPROMISED));
        };
        if !is_of(&entry.0, held) {
            return Err("the entry that came with it is of something else".to_owned());
        }
        let note = held.promise.as_deref().unwrap_or_default();
        let note = Note::parse(note.as_bytes()).map_err(|e| format!("its promise: {e}"))?;
        let promise = Promise::open(&note, self.key).map_err(|e| format!("its promise: {e}"))?;
        if promise.leaf == leaf_hash(&entry.0) {
            Ok(promise.by)
        } else {
            Err("its promise is about another entry".to_owned())
        }
    }

    /// The server's proof, which may be of a later tree than the checkpoint of before. A server of files alone has none.
    fn proven(&self, held: &Held, watch: &mut Watch, shown: &mut Option<String>) -> Result<Option<u64>, Stop> {
        let bytes = match self.source.get(&format!("proof/{}", held.serial)) {
            Ok(bytes) => bytes,
            Err(Missing::Absent(_)) => return Ok(None),
            Err(away) => return Err(away.into()),
        };
        let Some(entry) = &held.entry else { return Ok(None) };
        // A proof that does not hold is none: what the tree has is looked for in the tree.
        let Ok(proof) = ProofFile::parse(&bytes) else {
            return Ok(None);
        };
        let Ok(signed) = proof.verify(&entry.0, self.key) else {
            return Ok(None);
        };
        self.seen(watch, shown, signed)?;
        Ok(Some(proof.inclusion.index))
    }

    /// Look through the entries, the newest first.
    fn searched(&self, held: &Held, watch: &Watch) -> Result<Option<u64>, Stop> {
        let seen = watch.seen.as_deref().unwrap_or_default();
        let seen = SignedCheckpoint::parse(seen.as_bytes(), self.key).map_err(|e| Stop::Away(e.to_string()))?;
        let head = *seen.head();
        let all = head.size.div_ceil(256);
        for bundle in (all.saturating_sub(BUNDLES)..all).rev() {
            let Some(resource @ Resource::Entries { width, .. }) = Resource::entries_at(head.size, bundle) else {
                continue;
            };
            let bytes = self.source.get(&resource.to_string())?;
            let found = entries(&bytes, width).map_err(|e| Stop::Away(format!("{resource}: {e}")))?;
            let Some(at) = found.iter().position(|entry| is_of(entry, held)) else {
                continue;
            };
            let index = bundle.saturating_mul(256).saturating_add(at as u64);
            let path = inclusion(&TileNodes::new(self.source, head.size), index, head.size);
            let path = path.map_err(|e| Stop::Away(e.to_string()))?;
            let leaf = found.get(at).map(|entry| leaf_hash(entry)).unwrap_or_default();
            if path.is_some_and(|path| path.verify(&leaf, &head).is_ok()) {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }
}

/// Whether the entry says that this certificate was issued; and is the one that was promised, if one was.
fn is_of(entry: &[u8], held: &Held) -> bool {
    held.entry.as_ref().is_none_or(|promised| promised.0 == entry)
        && Entry::parse(entry).is_ok_and(|entry| {
            matches!(&entry.event, Event::Issued(issuance) if hex::encode(issuance.certificate) == held.certificate)
        })
}
