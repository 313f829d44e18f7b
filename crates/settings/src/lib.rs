//! What a person wrote in a TOML file, and what is wrong with it: file, line, column, caret, and what was meant.
//!
//! One way for `server.toml`, `agent.toml` and the answers of `ca-cli init`. Files are read by the callers: nothing here
//! opens one.

mod error;

pub use error::{ConfigError, Source};
