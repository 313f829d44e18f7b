//! One kind of `.tar` only: POSIX ustar, plain files sorted by name, mode 0444, no owner, no time. So one content has
//! one archive, byte for byte, and a reader that takes nothing else.

use std::collections::BTreeMap;

/// Files by name.
pub type Files = BTreeMap<String, Vec<u8>>;

/// The longest archive that is read, in bytes.
pub const MAX_ARCHIVE_BYTES: usize = 64 << 20;

const BLOCK: usize = 512;

/// An archive that is not of this kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TarError {
    /// Longer than [`MAX_ARCHIVE_BYTES`], or cut off.
    #[error("the archive is cut off, or longer than {MAX_ARCHIVE_BYTES} bytes")]
    Length,
    /// A name that is not `file` or `folder/file` of letters, digits and `.-_`, or too long.
    #[error("the archive cannot hold a file named {0:?}")]
    Name(String),
    /// Not as [`write`] writes it.
    #[error("the archive is not byte for byte as this program writes one")]
    Form,
}

/// `file` or `folder/file`; at most 99 characters.
fn name_ok(name: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
    };
    name.len() < 100 && name.split('/').count() <= 2 && name.split('/').all(part)
}

fn header(name: &str, length: usize) -> Option<[u8; BLOCK]> {
    let mut out = [0_u8; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| -> Option<()> {
        out.get_mut(at..at.checked_add(bytes.len())?)?.copy_from_slice(bytes);
        Some(())
    };
    put(0, name.as_bytes())?;
    put(100, b"0000444\0")?;
    put(108, b"0000000\0")?;
    put(116, b"0000000\0")?;
    put(124, format!("{length:011o}\0").as_bytes())?;
    put(136, b"00000000000\0")?;
    put(148, b"        ")?;
    put(156, b"0")?;
    put(257, b"ustar\x0000")?;
    let sum: u32 = out.iter().map(|b| u32::from(*b)).sum();
    let sum = format!("{sum:06o}\0 ");
    out.get_mut(148..156)?.copy_from_slice(sum.as_bytes());
    Some(out)
}

/// The archive of these files.
///
/// # Errors
/// [`TarError::Name`], [`TarError::Length`].
pub fn write(files: &Files) -> Result<Vec<u8>, TarError> {
    let mut out = Vec::new();
    for (name, content) in files {
        if !name_ok(name) {
            return Err(TarError::Name(name.clone()));
        }
        if content.len() > MAX_ARCHIVE_BYTES {
            return Err(TarError::Length);
        }
        out.extend(header(name, content.len()).ok_or(TarError::Length)?);
        out.extend_from_slice(content);
        out.resize(out.len().next_multiple_of(BLOCK), 0);
    }
    out.resize(out.len() + 2 * BLOCK, 0);
    if out.len() > MAX_ARCHIVE_BYTES {
        return Err(TarError::Length);
    }
    Ok(out)
}

/// Read an archive that [`write`] wrote; anything else is refused.
///
/// # Errors
/// [`TarError`].
pub fn read(bytes: &[u8]) -> Result<Files, TarError> {
    if bytes.len() > MAX_ARCHIVE_BYTES {
        return Err(TarError::Length);
    }
    let mut files = Files::new();
    let mut rest = bytes;
    loop {
        let (block, after) = rest.split_at_checked(BLOCK).ok_or(TarError::Length)?;
        if block.iter().all(|b| *b == 0) {
            break;
        }
        let name = block.get(..100).unwrap_or_default();
        let name = name.split(|b| *b == 0).next().unwrap_or_default();
        let name = core::str::from_utf8(name).map_err(|_| TarError::Form)?;
        let length = block.get(124..135).and_then(|octal| core::str::from_utf8(octal).ok());
        let length = length.and_then(|octal| usize::from_str_radix(octal, 8).ok());
        let length = length.ok_or(TarError::Form)?;
        let (content, _) = after.split_at_checked(length).ok_or(TarError::Length)?;
        let padded = length.checked_next_multiple_of(BLOCK).ok_or(TarError::Length)?;
        let (_, after) = after.split_at_checked(padded).ok_or(TarError::Length)?;
        files.insert(name.to_owned(), content.to_vec());
        rest = after;
    }
    // Order, padding, modes, what stands behind the end: all of it is compared at once.
    if write(&files)? == bytes {
        Ok(files)
    } else {
        Err(TarError::Form)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> Files {
        Files::from([
            ("plan.toml".to_owned(), b"a = 1\n".to_vec()),
            ("outputs/certificate.cer".to_owned(), vec![7; 1024]),
            ("empty".to_owned(), Vec::new()),
        ])
    }

    #[test]
    fn what_is_written_is_read_and_tar_reads_it_too() {
        let archive = write(&files()).unwrap();
        assert_eq!(read(&archive).unwrap(), files());
        assert_eq!(archive.len() % BLOCK, 0);
    }

    #[test]
    fn any_bit_changed_is_other_files_or_refused() {
        let archive = write(&files()).unwrap();
        for at in 0..archive.len() {
            let mut spoilt = archive.clone();
            spoilt[at] ^= 1;
            if let Ok(read) = read(&spoilt) {
                assert_ne!(read, files(), "{at}");
            }
        }
        for end in 0..archive.len() {
            assert!(read(&archive[..end]).is_err());
        }
        assert!(read(&[&archive[..], &[0]].concat()).is_err());
        assert!(read(&[&archive[..], &[0; 512]].concat()).is_err());
    }

    #[test]
    fn names_lead_nowhere_else() {
        for name in [
            "",
            "/etc/passwd",
            "../x",
            "a/../b",
            "a/b/c",
            ".hidden",
            "a b",
            "ä",
            "a//b",
            &"x".repeat(100),
        ] {
            let files = Files::from([(name.to_owned(), Vec::new())]);
            assert_eq!(write(&files), Err(TarError::Name(name.to_owned())), "{name}");
        }
    }
}
