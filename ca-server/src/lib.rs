//! The online CA of Holdfast: `ca-server`.
//!
//! [`flow`] is the house read aloud, synchronous; [`http`] is its door; [`jobs`] keeps it in order; [`house`] is what
//! it stands on; [`config`] says where everything is.

pub mod cli;
pub mod config;
pub mod flow;
pub mod house;
pub mod http;
pub mod jobs;
mod process;
