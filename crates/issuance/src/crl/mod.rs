//! Certificate revocation lists (RFC 5280 §5): [`CrlDraft`] -> [`LintedCrl`] -> [`Crl`] -> [`PublishableCrl`].
//!
//! Each arrow consumes its left side. Two ways lead to a [`Crl`]: signing a linted draft, and reading bytes from
//! anywhere ([`RawCrl`]) and verifying them under the issuer. One way leads to a [`PublishableCrl`]: comparison with what
//! was published before. A delta CRL goes the same way, and ends as a [`PublishableDelta`].
//!
//! Pure: numbers, times, entries and keys are arguments.

mod compare;
mod compare_delta;
mod draft;
mod entry;
pub mod lint;
mod read;
mod scope;
mod statement;
#[cfg(test)]
mod tests;
mod view;

pub use compare::{CrlDoubt, EntryDoubt, Known, PublishableCrl, compare, first};
pub use compare_delta::{PublishableDelta, compare_delta};
pub use draft::{CrlDraft, CrlDraftError, CrlSpec, DeltaSpec, LintedCrl, MAX_CRL_ENTRIES};
pub use entry::{CrlEntry, Mark, Released, Revoked};
pub use read::{Crl, CrlError, MAX_CRL_BYTES, RawCrl};
pub use scope::{CrlScope, PointError, crl_point, delta_url};
pub use statement::CrlNumber;

// The word below this room that every neighbour above it needs.
pub use wire::revocation::RevocationReason;
