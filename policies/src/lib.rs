//! A pure function from proof to permission: [`attest::VerifiedBinding`] -> [`Grant`] | [`Denial`].

mod advisory;
mod archived;
mod ceremony;
mod decide;
mod delegate;
mod encode;
mod grant;
mod key;
pub mod name;
pub mod place;
mod profile;
pub mod trust;

pub use advisory::{Advisories, Advisory, AdvisoryError, Verdict};
pub use archived::{ArchivedError, ArchivedFile, ArchivedPolicy, MAX_POLICY_BYTES, POLICY_V1};
pub use ceremony::{CaCertificatePlan, CaPlan, CeremonyError, CeremonyPlan, Quorum, REHEARSAL_PREFIX, ServerTlsPlan};
pub use decide::{
    Denial, DenialCode, InventoryEntry, Mode, Permit, PolicyError, PolicySet, Shown, WouldGrant, decide,
    decide_renewal, reconsider,
};
pub use delegate::{DelegateError, RESPONDER_NAME, delegate};
pub use grant::{Decision, Grant, GrantKind, KeyRole, Rdn, RdnKind, SanEntry, Subject, Validity};
pub use key::ProfileKey;
pub use profile::{ClockRule, Profile, ProfileError, ProfileKind, Profiles, Renewal};
