//! A pure function from proof to permission: [`attest::VerifiedBinding`] -> [`Grant`] | [`Denial`].

mod ceremony;
mod decide;
mod grant;
pub mod name;
mod profile;
pub mod trust;

pub use ceremony::{CaPlan, CeremonyError, CeremonyPlan, Quorum, ServerTlsPlan};
pub use decide::{Denial, DenialCode, InventoryEntry, Permit, PolicyError, PolicySet, decide};
pub use grant::{Decision, Grant, GrantKind, KeyRole, Rdn, RdnKind, SanEntry, Subject, Validity};
pub use profile::{Profile, ProfileError, ProfileKind, Profiles};
