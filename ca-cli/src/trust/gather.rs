//! Certificates from wherever a vendor put them: a folder, PEM, DER. What it is, is seen from the bytes.

use std::io::{Read, Seek};
use std::path::Path;

use crate::exit::{Exit, Failure};
use crate::pem;

/// Folders below folders that are looked into.
const DEPTH: usize = 8;
/// Files that are looked at; the largest vendor collection has some two thousand.
const FILES: usize = 20_000;
/// Bytes of one file.
const FILE: u64 = 8 << 20;
/// Bytes of all files together, unpacked.
const TOTAL: u64 = 128 << 20;

/// What was found.
#[derive(Debug)]
pub(crate) struct Gathered {
    /// What it is, in words.
    pub(crate) form: &'static str,
    /// Origin inside it, and certificate (DER, not yet looked at).
    pub(crate) certificates: Vec<(String, Vec<u8>)>,
    /// What holds no certificate, and why.
    pub(crate) passed_over: Vec<(String, String)>,
    files: usize,
    bytes: u64,
}

/// All certificates of a folder or file.
pub(crate) fn gather(from: &Path) -> Result<Gathered, Failure> {
    let mut gathered = Gathered {
        form: "a folder",
        certificates: Vec::new(),
        passed_over: Vec::new(),
        files: 0,
        bytes: 0,
    };
    if from.is_dir() {
        gathered.folder(from, from, 0)?;
        return Ok(gathered);
    }
    let file = std::fs::File::open(from).map_err(|e| {
        let exit = match e.kind() {
            std::io::ErrorKind::NotFound => Exit::NotFound,
            std::io::ErrorKind::PermissionDenied => Exit::NotAllowed,
            _ => Exit::Failed,
        };
        Failure::new(exit, format!("{}: {e}", from.display()))
    })?;
    let mut start = Vec::new();
    let failed = |e: std::io::Error| Failure::new(Exit::Failed, format!("{}: {e}", from.display()));
    (&file).take(4).read_to_end(&mut start).map_err(failed)?;
    (&file).rewind().map_err(failed)?;
    if start.starts_with(b"MSCF") {
        return Err(Failure::new(
            Exit::Usage,
            format!("{}: a cabinet, which is not read here", from.display()),
        )
        .fix("cabextract -d FOLDER FILE.cab (or 7z x, or expand on Windows), then import FOLDER"));
    }
    if start.starts_with(b"PK\x03\x04") {
        return Err(Failure::new(
            Exit::Usage,
            format!("{}: a zip archive, which is not read here", from.display()),
        )
        .fix("unzip -d FOLDER FILE.zip, then import FOLDER"));
    }
    let origin = from.file_name().unwrap_or_default().to_string_lossy().into_owned();
    gathered.form = gathered.one(&origin, file)?;
    Ok(gathered)
}

impl Gathered {
    /// Files of a folder in the order of their names. Links are not followed.
    fn folder(&mut self, root: &Path, folder: &Path, depth: usize) -> Result<(), Failure> {
        let failed = |e: std::io::Error| Failure::new(Exit::Failed, format!("{}: {e}", folder.display()));
        let mut entries = std::fs::read_dir(folder)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(failed)?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            let origin = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            let kind = entry.file_type().map_err(failed)?;
            if kind.is_dir() && depth < DEPTH {
                self.folder(root, &path, depth.saturating_add(1))?;
            } else if kind.is_file() {
                self.one(&origin, std::fs::File::open(&path).map_err(failed)?)?;
            } else {
                self.passed_over
                    .push((origin, "a link, or a folder too deep".to_owned()));
            }
        }
        Ok(())
    }

    /// One file; what it is in words.
    fn one(&mut self, origin: &str, file: impl Read) -> Result<&'static str, Failure> {
        let mut bytes = Vec::new();
        file.take(FILE.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|e| Failure::new(Exit::Failed, format!("{origin}: {e}")))?;
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.files = self.files.saturating_add(1);
        self.bytes = self.bytes.saturating_add(length);
        if self.files > FILES || self.bytes > TOTAL {
            return Err(Failure::new(
                Exit::Usage,
                format!("{origin}: too much: at most {FILES} files and {} MiB", TOTAL >> 20),
            ));
        }
        let mut no = |why: &str| self.passed_over.push((origin.to_owned(), why.to_owned()));
        if length > FILE {
            no("larger than 8 MiB");
            return Ok("a large file");
        }
        if bytes.first() == Some(&0x30) {
            self.certificates.push((origin.to_owned(), bytes));
            return Ok("one certificate (DER)");
        }
        match pem::blocks(&bytes, "CERTIFICATE") {
            Ok(blocks) if blocks.is_empty() => no("no certificate in it (PEM or DER)"),
            Ok(blocks) => {
                let several = blocks.len() > 1;
                for (i, der) in blocks.into_iter().enumerate() {
                    let origin = if several {
                        format!("{origin}, certificate {}", i.saturating_add(1))
                    } else {
                        origin.to_owned()
                    };
                    self.certificates.push((origin, der));
                }
            }
            Err(why) => no(&why),
        }
        Ok("PEM")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEM: &str = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";

    #[test]
    fn a_folder_is_read_in_the_order_of_names_and_what_is_no_certificate_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).unwrap();
        std::fs::create_dir(dir.path().join("c")).unwrap();
        put("b.der", b"\x30\x00");
        put("a.pem", PEM.repeat(2).as_bytes());
        put("c/d.cer", PEM.as_bytes());
        put("README", b"roots of the vendor");
        put("cut.pem", &PEM.as_bytes()[..40]);
        std::os::unix::fs::symlink(dir.path(), dir.path().join("loop")).unwrap();
        let found = gather(dir.path()).unwrap();
        let origins: Vec<&str> = found.certificates.iter().map(|(origin, _)| origin.as_str()).collect();
        assert_eq!(
            origins,
            ["a.pem, certificate 1", "a.pem, certificate 2", "b.der", "c/d.cer"]
        );
        assert!(found.certificates.iter().all(|(_, der)| der == b"\x30\x00"));
        let over: Vec<&str> = found.passed_over.iter().map(|(origin, _)| origin.as_str()).collect();
        assert_eq!(over, ["README", "cut.pem", "loop"]);
    }

    #[test]
    fn what_it_is_is_seen_from_the_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("roots.bin");
        for (bytes, form) in [(PEM.as_bytes(), "PEM"), (b"\x30\x00", "one certificate (DER)")] {
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(gather(&path).unwrap().form, form);
        }
        std::fs::write(&path, b"MSCF\0\0\0\0").unwrap();
        let failure = gather(&path).unwrap_err();
        assert!(failure.message.contains("a cabinet") && failure.fix.unwrap().contains("cabextract"));
        assert_eq!(gather(&dir.path().join("none")).unwrap_err().exit, Exit::NotFound);
    }

    #[test]
    fn a_file_without_end_is_not_read_to_its_end() {
        let mut gathered = gather(tempfile::tempdir().unwrap().path()).unwrap();
        assert_eq!(gathered.one("zeros", std::io::repeat(0)).unwrap(), "a large file");
        let count = usize::try_from(TOTAL / FILE).unwrap();
        let failed = (0..count)
            .find_map(|_| gathered.one("zeros", std::io::repeat(0)).err())
            .unwrap();
        assert!(failed.message.contains("too much"), "{}", failed.message);
    }
}
