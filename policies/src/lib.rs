//! A pure function from proof to permission: [`attest::VerifiedBinding`] -> [`Grant`] | [`Denial`].

mod advisory;
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
pub use ceremony::{CaCertificatePlan, CaPlan, CeremonyError, CeremonyPlan, Quorum, REHEARSAL_PREFIX, ServerTlsPlan};
pub use decide::{Denial, DenialCode, InventoryEntry, Mode, Permit, PolicyError, PolicySet, decide, decide_renewal};
pub use delegate::{DelegateError, RESPONDER_NAME, delegate};
pub use grant::{Decision, Grant, GrantKind, KeyRole, Rdn, RdnKind, SanEntry, Subject, Validity};
pub use key::ProfileKey;
pub use profile::{ClockRule, Profile, ProfileError, ProfileKind, Profiles, Renewal};
