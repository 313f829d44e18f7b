//! What answers OCSP requests stand on: the delegate and its key, the reading of the record, signed answers that were
//! given before.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use attest::UnixTime;
use issuance::ocsp::{CertId, IssuerHashes, OcspResponse, Responder};
use issuance::{CaKey, Issuer};
use schema::{StatusRow, Store};

use super::statuses::Statuses;
use crate::config::OcspTerms;

/// The OCSP side of the house.
pub struct Ocsp {
    /// The responder's key.
    pub key: Arc<dyn CaKey>,
    /// Terms.
    pub terms: OcspTerms,
    /// How questions name the issuer.
    pub issuer: IssuerHashes,
    /// What the record says.
    pub statuses: Statuses,
    /// Answers that were given.
    pub answers: Answers,
    responder: RwLock<Option<Responder>>,
}

impl Ocsp {
    /// Without a delegate yet: nothing is answered.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn new(key: Arc<dyn CaKey>, terms: OcspTerms, issuer: &Issuer, store: &Store) -> std::io::Result<Self> {
        Ok(Self {
            key,
            terms,
            issuer: IssuerHashes::of(issuer),
            statuses: Statuses::start(store.clone(), issuer.key_id().to_vec())?,
            answers: Answers::new(terms.cache),
            responder: RwLock::new(None),
        })
    }
    /// The delegate that answers now.
    #[must_use]
    pub fn responder(&self) -> Option<Responder> {
        self.responder.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
    /// This one answers from now on; what another signed stays good to its end.
    pub fn appoint(&self, responder: Responder) {
        *self.responder.write().unwrap_or_else(PoisonError::into_inner) = Some(responder);
    }
    /// Nobody answers from now on, and nothing that was signed is used any more.
    pub fn dismiss(&self) {
        *self.responder.write().unwrap_or_else(PoisonError::into_inner) = None;
        self.answers.forget();
    }
}

/// A signed answer, and what the record said when it was given.
#[derive(Debug)]
pub struct Answer {
    /// OCSPResponse, DER.
    pub der: Vec<u8>,
    /// What the record said.
    pub row: StatusRow,
    /// thisUpdate.
    pub this_update: UnixTime,
    /// nextUpdate.
    pub next_update: UnixTime,
}

impl Answer {
    /// A signed answer about a certificate of which the record said `row`.
    #[must_use]
    pub fn new(response: &OcspResponse, row: StatusRow) -> Self {
        Self {
            der: response.der().to_vec(),
            row,
            this_update: response.this_update(),
            next_update: response.next_update(),
        }
    }
    /// Whether it says what the record says now and may be relied upon now.
    #[must_use]
    pub fn holds(&self, row: &StatusRow, now: UnixTime) -> bool {
        self.row == *row && self.this_update <= now && now < self.next_update
    }
    /// Whether more than half of its time is left: afterwards a new one is signed, if it can be.
    #[must_use]
    pub fn is_fresh(&self, now: UnixTime) -> bool {
        now.0 < self.refresh_at()
    }
    /// When half of its time has passed, unix seconds.
    #[must_use]
    pub fn refresh_at(&self) -> i64 {
        let life = self.next_update.0.saturating_sub(self.this_update.0);
        self.this_update.0.saturating_add(life / 2)
    }
}

/// Locks; a question takes one of them.
const SHARDS: usize = 16;

/// Signed answers by question. Bounded: when the young are as many as may be kept, they become the old, and the old go.
pub struct Answers {
    shards: Vec<Mutex<Generations>>,
    most: usize,
}

#[derive(Default)]
struct Generations {
    young: HashMap<CertId, Arc<Answer>>,
    old: HashMap<CertId, Arc<Answer>>,
}

impl Answers {
    fn new(most: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            most: most.div_ceil(2 * SHARDS),
        }
    }

    fn with<T>(&self, id: &CertId, work: impl FnOnce(&mut Generations) -> T) -> Option<T> {
        // The last octets of a serial are random.
        let at = id.serial.octets().last().copied().map_or(0, usize::from) % SHARDS;
        let mut shard = self.shards.get(at)?.lock().unwrap_or_else(PoisonError::into_inner);
        Some(work(&mut shard))
    }

    /// The last answer to a question, if it is still kept.
    #[must_use]
    pub fn find(&self, id: &CertId) -> Option<Arc<Answer>> {
        self.with(id, |shard| {
            if let Some(answer) = shard.young.get(id) {
                return Some(Arc::clone(answer));
            }
            let answer = shard.old.remove(id)?;
            self.put(shard, *id, Arc::clone(&answer));
            Some(answer)
        })
        .flatten()
    }

    /// Keep an answer in the place of an earlier one.
    pub fn keep(&self, id: CertId, answer: Arc<Answer>) {
        self.with(&id, |shard| {
            shard.old.remove(&id);
            self.put(shard, id, answer);
        });
    }

    fn put(&self, shard: &mut Generations, id: CertId, answer: Arc<Answer>) {
        if shard.young.len() >= self.most && !shard.young.contains_key(&id) {
            shard.old = std::mem::take(&mut shard.young);
        }
        if self.most > 0 {
            shard.young.insert(id, answer);
        }
    }

    /// Keep none of them.
    pub fn forget(&self) {
        for shard in &self.shards {
            *shard.lock().unwrap_or_else(PoisonError::into_inner) = Generations::default();
        }
    }

    /// How many are kept.
    #[must_use]
    pub fn count(&self) -> usize {
        let of = |shard: &Mutex<Generations>| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.young.len() + shard.old.len()
        };
        self.shards.iter().map(of).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use issuance::Serial;
    use issuance::ocsp::CertIdForm;
    use schema::CertificateState;

    fn id(n: u32) -> CertId {
        let mut octets = [0x40; 16];
        octets[12..].copy_from_slice(&n.to_be_bytes());
        CertId {
            form: CertIdForm::Sha1,
            serial: Serial::from_octets(octets).unwrap(),
        }
    }

    fn answer(this: i64, next: i64) -> Arc<Answer> {
        Arc::new(Answer {
            der: Vec::new(),
            row: row(None),
            this_update: UnixTime(this),
            next_update: UnixTime(next),
        })
    }

    fn row(last: Option<schema::LastStep>) -> StatusRow {
        StatusRow {
            state: CertificateState::Issued,
            not_after: 1000,
            created_at: 0,
            last,
        }
    }

    #[test]
    fn never_more_than_may_be_kept() {
        for most in [0, 1, 100, 1000] {
            let answers = Answers::new(most);
            for n in 0..20_000 {
                answers.keep(id(n), answer(0, 10));
            }
            let bound = 2 * SHARDS * most.div_ceil(2 * SHARDS);
            assert!(answers.count() <= bound, "{} of {most}", answers.count());
            assert_eq!(answers.find(&id(19_999)).is_some(), most > 0);
            assert!(answers.find(&id(0)).is_none());
            answers.forget();
            assert_eq!(answers.count(), 0);
        }
    }

    #[test]
    fn what_is_asked_for_again_stays() {
        let answers = Answers::new(320);
        answers.keep(id(0), answer(0, 10));
        for n in 1..5000 {
            answers.keep(id(n), answer(0, 10));
            assert!(answers.find(&id(0)).is_some(), "{n}");
        }
    }

    #[test]
    fn an_answer_holds_while_the_record_says_the_same_and_its_time_runs() {
        let answer = answer(100, 200);
        let now = |at| answer.holds(&row(None), UnixTime(at));
        assert!(!now(99) && now(100) && now(199) && !now(200));
        let step = schema::LastStep {
            step: 1,
            state: wire::revocation::RevocationState::Revoked,
            reason: wire::revocation::RevocationReason::Superseded,
            since: 1,
        };
        assert!(!answer.holds(&row(Some(step)), UnixTime(150)));
        let fresh = |at| answer.is_fresh(UnixTime(at));
        assert!(fresh(149) && !fresh(150));
    }
}
