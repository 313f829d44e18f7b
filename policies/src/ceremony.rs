//! The other birth of a [`Grant`]: a ceremony plan, approved by its quorum.

use attest::UnixTime;

use crate::{Grant, Profiles, SanEntry};

/// What a ceremony makes, before approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CeremonyPlan {
    /// Organization in all subjects.
    pub organization: String,
    /// Root CA.
    pub root: CaPlan,
    /// Issuing CA.
    pub issuing: CaPlan,
    /// The server's own TLS certificate.
    pub server_tls: ServerTlsPlan,
}

/// One CA certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaPlan {
    /// Common name; a rehearsal puts `REHEARSAL ` before it.
    pub common_name: String,
    /// Key, SubjectPublicKeyInfo DER, as read from the token.
    pub spki: Vec<u8>,
}

/// The server's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTlsPlan {
    /// Names it answers to; DNS and IP only.
    pub names: Vec<SanEntry>,
    /// Key, SubjectPublicKeyInfo DER.
    pub spki: Vec<u8>,
}

/// Who approved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quorum {
    /// Nobody: a rehearsal. Outputs are marked and refused by our verifier elsewhere.
    Rehearsal,
}

/// A plan that cannot be approved.
#[derive(Debug, Clone, thiserror::Error)]
#[error("ceremony plan: {0}")]
pub struct CeremonyError(pub String);

impl CeremonyPlan {
    /// Approve the plan: grants for root, issuing CA and server TLS, in this order.
    ///
    /// # Errors
    /// [`CeremonyError`].
    pub fn approve(&self, _profiles: &Profiles, _quorum: Quorum, _now: UnixTime) -> Result<[Grant; 3], CeremonyError> {
        todo!()
    }
}
