//! A rehearsal: the corridor of the real thing on a software token, everything it makes marked as such.

mod answers;
mod configuration;
mod hierarchy;
mod judge;
mod layout;

pub(crate) use answers::Answers;
pub(crate) use hierarchy::perform;
pub(crate) use judge::judge;
pub(crate) use layout::Layout;
