//! Which of many hashes come twice, in memory that does not grow with their number: they wait in files, sorted by their
//! first octet, and one file is looked at after the other.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Read as _, Seek as _, Write as _};

use crate::exit::{Exit, Failure};

/// Files: one for each value of the first octet.
const FILES: usize = 256;
/// Octets of a hash and of its line number.
const RECORD: usize = 32 + 8;
/// Octets kept in memory for each file before they are written.
const BUFFER: usize = 4096;

/// Hashes and where they stand.
pub(crate) struct Distinct {
    files: Vec<BufWriter<File>>,
}

fn failed(error: &std::io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("temporary files: {error}"))
        .fix("set TMPDIR to a folder with room: 40 octets for each EK")
}

/// A file without a name: it goes with the process.
fn nameless() -> std::io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let folder = std::env::temp_dir();
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::open(&folder, flags, Mode::RUSR | Mode::WUSR) {
        Ok(descriptor) => Ok(File::from(descriptor)),
        // Not every file system knows files without a name.
        Err(_) => {
            let mut random = [0; 16];
            openssl::rand::rand_bytes(&mut random)?;
            let path = folder.join(format!("holdfast-{}", hex::encode(random)));
            let file = File::options().read(true).write(true).create_new(true).open(&path)?;
            std::fs::remove_file(&path)?;
            Ok(file)
        }
    }
}

impl Distinct {
    pub(crate) fn new() -> Result<Self, Failure> {
        let files = (0..FILES).map(|_| nameless().map(|file| BufWriter::with_capacity(BUFFER, file)));
        Ok(Self {
            files: files.collect::<Result<_, _>>().map_err(|e| failed(&e))?,
        })
    }

    /// One more hash, and the line it stands in.
    pub(crate) fn push(&mut self, hash: &[u8; 32], line: u64) -> Result<(), Failure> {
        let [first, ..] = *hash;
        let Some(file) = self.files.get_mut(usize::from(first)) else {
            return Ok(());
        };
        file.write_all(hash)
            .and_then(|()| file.write_all(&line.to_be_bytes()))
            .map_err(|e| failed(&e))
    }

    /// Tell each that comes again: the hash, its first line, the line it comes again in.
    pub(crate) fn finish(self, mut twice: impl FnMut(&[u8; 32], u64, u64)) -> Result<(), Failure> {
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
                    Some(first) => twice(hash, *first, line),
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
        for (of, again) in [(3u64, 2000), (1500, 2001), (3, 2002)] {
            distinct.push(&openssl::sha::sha256(&of.to_be_bytes()), again).unwrap();
        }
        let mut told = Vec::new();
        distinct.finish(|_, first, again| told.push((first, again))).unwrap();
        told.sort_unstable();
        assert_eq!(told, [(3, 2000), (3, 2002), (1500, 2001)]);
    }
}
