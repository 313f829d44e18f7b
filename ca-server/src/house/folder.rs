//! CRLs as files, for a web server or a content network: a copy of what the record says is published.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use failpoint::{Point, reach};
use issuance::crl::MAX_CRL_BYTES;
use issuance::{CrlNumber, Issuer, RawCrl};

use super::crl::{Shelved, path_of};

/// Why the folder does not hold what was published.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The system.
    #[error("{0}: {1}")]
    Io(String, io::Error),
    /// It took the file, and gives back another one.
    #[error("{0}: what was written is not what is read")]
    NotKept(String),
    /// It holds a newer CRL than the record.
    #[error("{path}: number {there} is published, the record knows {here}")]
    Newer {
        /// File.
        path: String,
        /// In the file.
        there: CrlNumber,
        /// In the record.
        here: CrlNumber,
    },
}

/// The file for a URL: its path, below the folder. `None` when the path is no name of a file.
#[must_use]
pub fn file_of(folder: &Path, url: &str) -> Option<PathBuf> {
    let path = path_of(url).split('?').next().unwrap_or_default();
    let mut file = folder.to_owned();
    let mut parts = 0;
    for part in path.split('/').filter(|part| !part.is_empty()) {
        if part.starts_with('.') {
            return None;
        }
        file.push(part);
        parts += 1;
    }
    (parts > 0 && !path.ends_with('/')).then_some(file)
}

/// The number of the CRL in a file, if it is one of this issuer, signature and all. Anything else says nothing.
#[must_use]
pub fn number_in(file: &Path, issuer: &Issuer) -> Option<CrlNumber> {
    let crl = RawCrl::decode(read(file).ok()?).ok()?.verify(issuer).ok()?;
    Some(crl.number())
}

/// Make a file hold a published CRL: never an older one than it holds, whole or not at all, and read back.
///
/// # Errors
/// [`FolderError`].
pub fn keep(file: &Path, shelved: &Shelved, issuer: &Issuer) -> Result<(), FolderError> {
    let shown = file.display().to_string();
    let failed = |e: io::Error| FolderError::Io(shown.clone(), e);
    if read(file).is_ok_and(|there| there == shelved.der) {
        return Ok(());
    }
    if let Some(there) = number_in(file, issuer)
        && there > shelved.number
    {
        return Err(FolderError::Newer {
            path: shown,
            there,
            here: shelved.number,
        });
    }
    replace(file, &shelved.der).map_err(failed)?;
    match read(file) {
        Ok(there) if there == shelved.der => Ok(()),
        Ok(_) => Err(FolderError::NotKept(shown)),
        Err(error) => Err(failed(error)),
    }
}

/// Put bytes into a file, and its folder if there is none: whole or not at all, durable on return. Public ones: whoever
/// serves the folder is another user.
pub(super) fn replace(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let parent = file.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(parent)?;
    let mut new = tempfile_in(parent)?;
    let written = new.1.write_all(bytes).and_then(|()| new.1.sync_all()).and_then(|()| {
        reach(Point::FileWritten);
        std::fs::rename(&new.0, file)?;
        reach(Point::FileReplaced);
        File::open(parent)?.sync_all()
    });
    written.inspect_err(|_| {
        let _ = std::fs::remove_file(&new.0);
    })
}

/// A file of a name that nobody serves, readable by all. Several servers may share the folder.
fn tempfile_in(parent: &Path) -> io::Result<(PathBuf, File)> {
    use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
    let mut drawn = [0; 8];
    openssl::rand::rand_bytes(&mut drawn)?;
    let path = parent.join(format!(".{}.new", hex::encode(drawn)));
    let file = File::options().write(true).create_new(true).mode(0o644).open(&path)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))?;
    Ok((path, file))
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)?
        .take(MAX_CRL_BYTES as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_stay_below_the_folder() {
        let of = |url| file_of(Path::new("/srv"), url).map(|file| file.display().to_string());
        assert_eq!(of("http://a/crl/7.crl"), Some("/srv/crl/7.crl".into()));
        assert_eq!(of("http://a//7.crl?x=/../y"), Some("/srv/7.crl".into()));
        for url in [
            "http://a",
            "http://a/",
            "http://a/crl/",
            "http://a/../x",
            "http://a/.htaccess",
        ] {
            assert_eq!(of(url), None, "{url}");
        }
    }
}
