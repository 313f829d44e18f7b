//! Which of many hashes come twice, in memory that does not grow with their number: they wait in files, sorted by their
//! first octet, and one file is looked at after the other.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Read as _, Seek as _, Write as _};

use manifest::Entry;

use super::nameless::nameless;
use crate::exit::{Exit, Failure};

/// Files: one for each value of the first octet.
const FILES: usize = 256;
/// Octets of a hash and of its line number.
const RECORD: usize = 32 + 8;
/// Octets kept in memory for each file before they are written.
const BUFFER: usize = 4096;

/// This bit of a line number says that the hash is a certificate's.
const CERTIFICATE: u64 = 1 << 63;

/// Hashes and where they stand.
pub(crate) struct Distinct {
    files: Vec<BufWriter<File>>,
}

fn failed(error: &std::io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("temporary files: {error}"))
        .fix("set TMPDIR to a folder with room: 40 octets for each EK")
}

impl Distinct {
    pub(crate) fn new() -> Result<Self, Failure> {
        let folder = std::env::temp_dir();
        let files = (0..FILES).map(|_| nameless(&folder).map(|file| BufWriter::with_capacity(BUFFER, file)));
        Ok(Self {
            files: files.collect::<Result<_, _>>().map_err(|e| failed(&e))?,
        })
    }

    /// Every EK and certificate of a device, and the line they stand in.
    pub(crate) fn push_all(&mut self, entry: &Entry, line: u64) -> Result<(), Failure> {
        for ek in entry.ek().iter().chain(entry.was()) {
            self.push(ek, line)?;
        }
        for identity in entry.identities() {
            let mut hash = [0; 32];
            if hex::decode_to_slice(&identity.sha256, &mut hash).is_ok() {
                self.push(&hash, line | CERTIFICATE)?;
            }
        }
        Ok(())
    }

    /// One more hash, and the line it stands in.
    fn push(&mut self, hash: &[u8; 32], line: u64) -> Result<(), Failure> {
        let [first, ..] = *hash;
        let Some(file) = self.files.get_mut(usize::from(first)) else {
            return Ok(());
        };
        file.write_all(hash)
            .and_then(|()| file.write_all(&line.to_be_bytes()))
            .map_err(|e| failed(&e))
    }

    /// Tell each that comes again: what it is, its first line, the line it comes again in.
    pub(crate) fn finish(self, mut twice: impl FnMut(&str, u64, u64)) -> Result<(), Failure> {
        for file in self.files {
            let mut file = file.into_inner().map_err(|e| failed(e.error()))?;
            let mut bytes = Vec::new();
            file.rewind()
                .and_then(|()| file.read_to_end(&mut bytes))
                .map_err(|e| failed(&e))?;
            let mut seen: HashMap<[u8; 32], u64> = HashMap::with_capacity(bytes.len() / RECORD);
            for record in bytes.as_chunks::<RECORD>().0 {
                let (Some((hash, _)), Some((_, line))) =
                    (record.split_first_chunk::<32>(), record.split_last_chunk::<8>())
                else {
                    continue;
                };
                let line = u64::from_be_bytes(*line);
                match seen.get(hash) {
                    Some(first) => {
                        let what = if line & CERTIFICATE == 0 { "EK" } else { "certificate" };
                        let what = format!("{what} {}", hex::encode(hash));
                        twice(&what, *first & !CERTIFICATE, line & !CERTIFICATE);
                    }
                    None => {
                        seen.insert(*hash, line);
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_twice_is_told_with_both_lines() {
        let mut distinct = Distinct::new().unwrap();
        for line in 0..2000 {
            distinct
                .push(&openssl::sha::sha256(&u64::to_be_bytes(line)), line)
                .unwrap();
        }
        for (of, again) in [(3u64, 2000), (1500, 2001 | CERTIFICATE), (3, 2002)] {
            distinct.push(&openssl::sha::sha256(&of.to_be_bytes()), again).unwrap();
        }
        let mut told = Vec::new();
        distinct
            .finish(|what, first, again| told.push((what[..2].to_owned(), first, again)))
            .unwrap();
        told.sort_unstable();
        let ek = |first, again| ("EK".to_owned(), first, again);
        assert_eq!(told, [ek(3, 2000), ek(3, 2002), ("ce".to_owned(), 1500, 2001)]);
    }
}
