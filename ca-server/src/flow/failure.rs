//! How a flow fails: by who must act.

use attest::Entropy as _;
use issuance::AuditRecord;
use schema::StoreError;

use crate::house::House;

/// Who must act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The client.
    Refuse,
    /// Nobody: later.
    Retry,
    /// A developer.
    Bug,
    /// A person, before anything more is issued.
    Halt,
}

/// What can befall every flow and is nobody's request's fault.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Trouble {
    /// The database is away; nothing is half done.
    #[error("storage: {0}")]
    Storage(String),
    /// The audit record cannot be written, so nothing is answered.
    #[error("the audit record cannot be written: {0}")]
    Audit(String),
    /// The HSM is away. An intent that was recorded stays for recovery; its serial is burnt.
    #[error("signer: {0}")]
    Signer(String),
    /// Three serials in a row existed.
    #[error("three serials in a row existed")]
    SerialsTaken,
    /// An earlier enrollment of the device is not finished.
    #[error("an earlier enrollment of `{0}` is not finished")]
    Unfinished(String),
    /// The clock stands before the newest record; issuing goes on when it is put right.
    #[error("the clock stands before the newest record")]
    Clock,
    /// Issuing stopped.
    #[error("halted: {0}")]
    Halted(String),
    /// A defect of ours.
    #[error("{0}")]
    Bug(String),
}

impl Trouble {
    /// Who must act.
    #[must_use]
    pub fn fate(&self) -> Fate {
        match self {
            Self::Storage(_)
            | Self::Audit(_)
            | Self::Signer(_)
            | Self::SerialsTaken
            | Self::Unfinished(_)
            | Self::Clock => Fate::Retry,
            Self::Halted(_) => Fate::Halt,
            Self::Bug(_) => Fate::Bug,
        }
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Storage(error.to_string())
    }
}

impl From<attest::EntropyError> for Trouble {
    fn from(error: attest::EntropyError) -> Self {
        Self::Halted(error.to_string())
    }
}

impl From<attest::ChallengeError> for Trouble {
    fn from(error: attest::ChallengeError) -> Self {
        match error {
            attest::ChallengeError::Entropy(e) => e.into(),
            attest::ChallengeError::Crypto(what) => Self::Bug(what),
        }
    }
}

/// Id under which an operator finds why a request failed; written `inc_` and 32 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incident([u8; 16]);

impl Incident {
    /// A new one.
    #[must_use]
    pub fn new(house: &House) -> Self {
        let mut id = [0; 16];
        // Without randomness the house halts, and the log's time finds the incident.
        let _ = house.entropy.lease().fill(&mut id);
        Self(id)
    }
}

impl core::fmt::Display for Incident {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "inc_{}", hex::encode(self.0))
    }
}

/// A flow that failed, and the id its reason is found under.
#[derive(Debug)]
pub struct Failure<E> {
    /// Where the reason is.
    pub incident: Incident,
    /// What failed.
    pub error: E,
}

/// What an error tells the record.
pub(super) trait Reasoned: From<Trouble> + core::fmt::Display {
    /// Who must act.
    fn fate(&self) -> Fate;
    /// Reason code in capitals, of a fixed set.
    fn reason(&self) -> &'static str;
}

/// How many tries a refusal costs: written to the database, or to the file only.
pub(super) enum Costs<'a> {
    /// Nothing durable is written for a stranger.
    Nothing,
    /// One try of this enrollment.
    OneTry(&'a [u8; 16]),
}

/// Write down why `error` happened. When a refusal cannot be written down, that is the failure.
pub(super) fn fail<E: Reasoned>(
    house: &House,
    action: &str,
    caller: &str,
    context: &str,
    costs: &Costs<'_>,
    error: E,
) -> Failure<E> {
    let incident = Incident::new(house);
    let reason = error.reason();
    match error.fate() {
        Fate::Refuse => {
            let record = AuditRecord {
                at: house.clock.read().now,
                action: action.to_owned(),
                actor: caller.to_owned(),
                subject: incident.to_string(),
                reason: reason.to_owned(),
                detail: format!("{context}{error}"),
            };
            if let Costs::OneTry(id) = costs
                && let Err(away) = house.store.record_failed_attempt(id, &record)
            {
                tracing::error!(%incident, error = %away, "a refusal could not be recorded");
                let error = E::from(away.into());
                return Failure { incident, error };
            }
            if let Err(away) = house.audit.append(&record) {
                tracing::error!(%incident, error = %away, "the audit file does not take records");
                let error = E::from(Trouble::Audit(away.to_string()));
                return Failure { incident, error };
            }
            house.metrics.refused(reason);
            tracing::info!(%incident, action, reason, "refused");
        }
        Fate::Retry => tracing::warn!(%incident, action, reason, detail = %error, "try later"),
        Fate::Halt => {
            house.halt.set(&error.to_string());
            tracing::error!(%incident, action, reason, detail = %error, "halted");
        }
        Fate::Bug => tracing::error!(%incident, action, reason, detail = %error, "defect"),
    }
    Failure { incident, error }
}

/// Nothing is issued while the house is halted, the clock is wrong or the signer is away.
pub(super) fn open_for_business(house: &House, moment: crate::house::Moment) -> Result<(), Trouble> {
    if let Some(reason) = house.halt.reason() {
        return Err(Trouble::Halted(reason.to_owned()));
    }
    if moment.ran_back {
        return Err(Trouble::Clock);
    }
    if let Some(why) = house.signer.away() {
        return Err(Trouble::Signer(why));
    }
    Ok(())
}

/// SHA-256.
pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    attest::sha256(bytes)
}
