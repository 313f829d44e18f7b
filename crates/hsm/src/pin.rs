//! Where a PIN comes from: never argv, never a value in configuration.

use std::path::PathBuf;

use secrecy::SecretString;

/// A source of a PIN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PinSource {
    /// A file of mode 0600 or stricter, one line.
    File(PathBuf),
    /// An inherited file descriptor.
    Fd(i32),
    /// A systemd credential: a file under `$CREDENTIALS_DIRECTORY` (the directory is an argument of [`PinSource::read`]),
    /// else `/run/secrets/NAME`.
    Credential(String),
    /// The terminal; refused without one.
    Prompt,
}

/// No PIN.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PinError(pub String);

impl PinSource {
    /// Read the PIN.
    ///
    /// # Errors
    /// [`PinError`] with what to do.
    pub fn read(&self, _credentials: Option<&std::path::Path>) -> Result<SecretString, PinError> {
        todo!()
    }
}
