//! The ceremony flavour unpacks nothing: a decoder of strangers' bytes has no place beside a root's PIN.

use std::io::Read;

/// Bytes of an archive as it lies there.
pub(crate) const ARCHIVE: u64 = 64 << 20;

/// One file of an archive: its name in it, and its content, which is read as far as the reader goes.
pub(crate) type Each<'a, E> = dyn FnMut(&str, &mut dyn Read) -> Result<(), E> + 'a;

/// Why an archive, or a file of it, is not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveError<E> {
    /// It is one.
    #[error("{0}")]
    Broken(String),
    /// The caller has had enough.
    #[error("enough")]
    #[expect(dead_code, reason = "no file of an archive is ever shown to a caller")]
    Stop(E),
}

/// No name leads anywhere.
pub(crate) fn stays_inside(_: &str) -> bool {
    false
}

/// Refused.
pub(crate) fn zip<E>(_: &[u8], _: usize, _: &mut Each<'_, E>) -> Result<(), ArchiveError<E>> {
    refused()
}

/// Refused.
pub(crate) fn cabinet<E>(_: &[u8], _: usize, _: u64, _: &mut Each<'_, E>) -> Result<(), ArchiveError<E>> {
    refused()
}

fn refused<E>() -> Result<(), ArchiveError<E>> {
    Err(ArchiveError::Broken(
        "the ceremony flavour of ca-cli reads no archives: unpack it, and name the folder".into(),
    ))
}
