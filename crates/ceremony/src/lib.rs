//! Root key ceremonies as data: [`Plan`] -> script -> [`Transcript`] -> archive, each checked against the one before.
//!
//! The same plan is rehearsed, performed and afterwards verified. Pure: no clock, file, environment or thread; what the
//! room does (tokens, media, people) is `ca-cli ceremony`.

pub mod archive;
pub mod backup;
pub mod calendar;
mod digest;
pub mod display;
pub mod inputs;
pub mod lint;
pub mod making;
pub mod plan;
pub mod quorum;
pub mod script;
pub mod share;
pub mod step;
pub mod transcript;

pub use digest::Sha256;
pub use plan::{
    Backup, CertificatePlan, CrlPlan, Input, KeyPlan, Officer, Plan, PlanError, Quorum, Revocation, TokenPlan, Work,
};
pub use transcript::{Event, Record, Transcript, TranscriptError};
pub use wire::tar;

/// The sixteen groups of a digest on one line.
fn display_groups(digest: &Sha256) -> String {
    display::groups(digest).replace('\n', " ")
}
