//! Certificates from wherever a vendor put them: a folder, a zip archive, a cabinet, PEM, DER. What it is, is seen from the
//! bytes.

use std::io::{Read, Seek};
use std::path::Path;

use super::archive::{self, ARCHIVE, ArchiveError};
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
    let cabinet = start.starts_with(b"MSCF");
    if cabinet || start.starts_with(b"PK\x03\x04") || start.starts_with(b"PK\x05\x06") {
        let mut bytes = Vec::new();
        (&file)
            .take(ARCHIVE.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        gathered.archive(from, &bytes, cabinet)?;
        return Ok(gathered);
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

    /// The files of an archive.
    fn archive(&mut self, from: &Path, bytes: &[u8], cabinet: bool) -> Result<(), Failure> {
        self.form = if cabinet { "a cabinet" } else { "a zip archive" };
        let wrong = |what: &str| Failure::new(Exit::Usage, format!("{}: {what}", from.display()));
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > ARCHIVE {
            return Err(wrong("larger than 64 MiB"));
        }
        let mut each = |name: &str, content: &mut dyn Read| {
            if archive::stays_inside(name) {
                return self.one(name, content).map(drop);
            }
            let shown: String = name.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
            self.passed_over
                .push((shown, "a name that leads out of the archive".to_owned()));
            Ok(())
        };
        let read = if cabinet {
            archive::cabinet(bytes, FILES, TOTAL, &mut each)
        } else {
            archive::zip(bytes, FILES, &mut each)
        };
        read.map_err(|error| match error {
            ArchiveError::Broken(what) => wrong(&what),
            ArchiveError::Stop(failure) => failure,
        })
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

#[cfg(feature = "online")]
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

    fn zipped(entries: &[(&str, &[u8])]) -> Vec<u8> {
        use std::io::Write as _;
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (name, content) in entries {
            zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(content).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    fn cabbed(entries: &[(&str, &[u8])], compression: cab::CompressionType) -> Vec<u8> {
        use std::io::Write as _;
        let mut builder = cab::CabinetBuilder::new();
        let folder = builder.add_folder(compression);
        for (name, _) in entries {
            folder.add_file(*name);
        }
        let mut cabinet = builder.build(std::io::Cursor::new(Vec::new())).unwrap();
        for (_, content) in entries {
            cabinet.next_file().unwrap().unwrap().write_all(content).unwrap();
        }
        cabinet.finish().unwrap().into_inner()
    }

    fn gathered(bytes: &[u8]) -> Result<Gathered, Failure> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        gather(file.path())
    }

    #[test]
    fn archives_give_what_is_in_them() {
        let two = PEM.repeat(2);
        let entries: [(&str, &[u8]); 3] = [
            ("Vendor/RootCA/a.der", b"\x30\x00"),
            ("Vendor/b.pem", two.as_bytes()),
            ("version.txt", b"November 2024"),
        ];
        for (bytes, form) in [
            (zipped(&entries), "a zip archive"),
            (cabbed(&entries, cab::CompressionType::MsZip), "a cabinet"),
            (cabbed(&entries, cab::CompressionType::None), "a cabinet"),
        ] {
            let found = gathered(&bytes).unwrap();
            assert_eq!(found.form, form);
            let origins: Vec<&str> = found.certificates.iter().map(|(origin, _)| origin.as_str()).collect();
            assert_eq!(
                origins,
                [
                    "Vendor/RootCA/a.der",
                    "Vendor/b.pem, certificate 1",
                    "Vendor/b.pem, certificate 2"
                ]
            );
            assert_eq!(found.passed_over.len(), 1, "{:?}", found.passed_over);
        }
    }

    #[test]
    fn a_name_that_leads_out_of_an_archive_is_passed_over() {
        let names = [
            "../a.der",
            "/etc/a.der",
            "x/../../a.der",
            "C:\\a.der",
            "..\\a.der",
            "a\u{1b}[2J.der",
        ];
        for name in names {
            let found = gathered(&zipped(&[(name, b"\x30\x00"), ("good..der", b"\x30\x00")])).unwrap();
            assert_eq!(found.certificates.len(), 1, "{name}");
            assert_eq!(found.passed_over[0].1, "a name that leads out of the archive");
        }
        let found = gathered(&cabbed(&[("..\\..\\a.der", b"\x30\x00")], cab::CompressionType::None)).unwrap();
        assert_eq!(found.passed_over[0].1, "a name that leads out of the archive");
    }

    #[test]
    fn d03_a_bomb_ends_at_the_budget() {
        // 9 MiB of zeros to a file, twenty times: a few kilobytes, and more than is ever read.
        let zeros = vec![0; 9 << 20];
        let names: Vec<String> = (0..20).map(|n| format!("{n}.der")).collect();
        let entries: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), zeros.as_slice())).collect();
        let zip = zipped(&entries);
        assert!(zip.len() < 1 << 20);
        assert!(gathered(&zip).unwrap_err().message.contains("too much"));
        let cabinet = cabbed(&entries, cab::CompressionType::MsZip);
        assert!(cabinet.len() < 4 << 20);
        let failure = gathered(&cabinet).unwrap_err();
        assert!(failure.message.contains("too much"), "{}", failure.message);
    }

    #[test]
    fn d04_broken_archives_are_refused_and_end() {
        let entries: [(&str, &[u8]); 2] = [("a.der", b"\x30\x00"), ("b.der", &[0x30; 700])];
        for good in [zipped(&entries), cabbed(&entries, cab::CompressionType::MsZip)] {
            assert!(gathered(&good).is_ok());
            for end in 4..good.len() {
                assert!(gathered(&good[..end]).is_err(), "cut at {end}");
            }
            for at in 4..good.len() {
                for value in [0x00, 0x7f, 0xff] {
                    let mut other = good.clone();
                    other[at] = value;
                    // Whatever it makes of it, it ends, without panic.
                    drop(gathered(&other));
                }
            }
        }
    }

    #[test]
    fn the_bundle_that_microsoft_publishes_is_read_whole() {
        let cab = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/ek/TrustedTpm.cab");
        if !cab.exists() {
            assert!(
                std::env::var_os("CI").is_none(),
                "the corpus of EK certificates is missing"
            );
            eprintln!("skipped: no corpus of EK certificates beside the checkout");
            return;
        }
        let found = gather(&cab).unwrap();
        assert_eq!(found.certificates.len(), 2_189, "{:?}", found.passed_over);
    }
}
