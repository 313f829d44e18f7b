//! Devices in the order of their serials, in memory that does not grow with their number: parts are sorted in memory and
//! wait in one file without a name, then they are merged.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use manifest::Entry;

use super::nameless::nameless;
use crate::exit::{Exit, Failure};

/// Octets of a part; and, shared between all parts, of what is read of them while they are merged.
const PART: usize = 4 << 20;
/// What a line costs in memory beside its octets.
const COST: usize = 96;
/// Octets read of a part at once, when there are few parts and when there are many.
const READ: (usize, usize) = (4096, 1 << 16);

/// A line and the serial by which it is sorted; equal serials keep the order they came in.
type Line = (Vec<u8>, Vec<u8>);
/// The next line of a part: its serial, the part's number, the line.
type Head = (Vec<u8>, usize, Vec<u8>);

/// Devices that come in any order.
pub(crate) struct Unsorted {
    folder: PathBuf,
    largest: usize,
    part: Vec<Line>,
    size: usize,
    file: Option<BufWriter<File>>,
    at: u64,
    parts: Vec<(u64, u64)>,
}

fn failed(error: &std::io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("temporary file: {error}"))
        .fix("the folder of --out needs room for the manifest twice")
}

impl Unsorted {
    /// What does not fit into memory waits in this folder.
    pub(crate) fn new(folder: &Path) -> Self {
        Self::with(folder, PART)
    }

    fn with(folder: &Path, largest: usize) -> Self {
        Self {
            folder: folder.to_owned(),
            largest,
            part: Vec::new(),
            size: 0,
            file: None,
            at: 0,
            parts: Vec::new(),
        }
    }

    /// One more.
    pub(crate) fn push(&mut self, entry: &Entry) -> Result<(), Failure> {
        let line = entry.line().map_err(|e| Failure::new(Exit::Failed, e.to_string()))?;
        let serial = entry.serial().as_bytes().to_vec();
        self.size = self.size.saturating_add(line.len()).saturating_add(COST);
        self.part.push((serial, line));
        if self.size >= self.largest {
            self.put_aside().map_err(|e| failed(&e))?;
        }
        Ok(())
    }

    /// Sort the part that is in memory and write it behind the others.
    fn put_aside(&mut self) -> std::io::Result<()> {
        self.part.sort_by(|a, b| a.0.cmp(&b.0));
        self.size = 0;
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(BufWriter::new(nameless(&self.folder)?)),
        };
        let start = self.at;
        for (serial, line) in self.part.drain(..) {
            // A serial has 64 octets at most, a line 16 KiB: `Entry` saw to it, and `Writer` will.
            let lengths = [u32::try_from(serial.len()), u32::try_from(line.len())];
            for (length, bytes) in lengths.into_iter().zip([&serial, &line]) {
                let length = length.map_err(std::io::Error::other)?;
                file.write_all(&length.to_be_bytes())?;
                file.write_all(bytes)?;
                self.at = self.at.saturating_add(4).saturating_add(u64::from(length));
            }
        }
        self.parts.push((start, self.at));
        Ok(())
    }

    /// All of them, in order.
    pub(crate) fn sorted(mut self) -> Result<Sorted, Failure> {
        if self.parts.is_empty() {
            self.part.sort_by(|a, b| a.0.cmp(&b.0));
            return Ok(Sorted {
                rest: self.part.into_iter(),
                file: None,
                parts: Vec::new(),
                next: BinaryHeap::new(),
            });
        }
        self.put_aside().map_err(|e| failed(&e))?;
        let file = self.file.map(BufWriter::into_inner).transpose();
        let file = file.map_err(|e| failed(e.error()))?;
        let share = PART.checked_div(self.parts.len()).unwrap_or(PART);
        let read = share.clamp(READ.0, READ.1);
        let part = |(at, end)| Part {
            at,
            end,
            buffer: Vec::new(),
            taken: 0,
            read,
        };
        let mut sorted = Sorted {
            rest: Vec::new().into_iter(),
            file,
            parts: self.parts.into_iter().map(part).collect(),
            next: BinaryHeap::new(),
        };
        for number in 0..sorted.parts.len() {
            sorted.refill(number).map_err(|e| failed(&e))?;
        }
        Ok(sorted)
    }
}

/// Lines of devices in the order of their serials.
pub(crate) struct Sorted {
    rest: std::vec::IntoIter<Line>,
    file: Option<File>,
    parts: Vec<Part>,
    next: BinaryHeap<Reverse<Head>>,
}

/// A part in the file, and what of it is in memory.
struct Part {
    at: u64,
    end: u64,
    buffer: Vec<u8>,
    taken: usize,
    read: usize,
}

impl Part {
    /// So many octets more.
    fn take(&mut self, file: &File, length: usize) -> std::io::Result<Vec<u8>> {
        let had = self.buffer.len().saturating_sub(self.taken);
        if had < length {
            self.buffer.drain(..self.taken);
            self.taken = 0;
            let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
            let more = length.saturating_sub(had).max(self.read).min(left);
            self.buffer.resize(had.saturating_add(more), 0);
            let fresh = self.buffer.get_mut(had..).unwrap_or_default();
            file.read_exact_at(fresh, self.at)?;
            self.at = self.at.saturating_add(u64::try_from(more).unwrap_or(u64::MAX));
        }
        let end = self.taken.saturating_add(length);
        let taken = self.buffer.get(self.taken..end).map(<[u8]>::to_vec);
        self.taken = end;
        taken.ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
    }

    fn sized(&mut self, file: &File) -> std::io::Result<Vec<u8>> {
        let length = self.take(file, 4)?;
        let length = length.first_chunk::<4>().map_or(0, |four| u32::from_be_bytes(*four));
        self.take(file, usize::try_from(length).unwrap_or(usize::MAX))
    }
}

impl Sorted {
    fn refill(&mut self, number: usize) -> std::io::Result<()> {
        let (Some(file), Some(part)) = (&self.file, self.parts.get_mut(number)) else {
            return Ok(());
        };
        if part.at < part.end || part.taken < part.buffer.len() {
            let (serial, line) = (part.sized(file)?, part.sized(file)?);
            self.next.push(Reverse((serial, number, line)));
        }
        Ok(())
    }

    /// The next line, if there is one more.
    pub(crate) fn advance(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        if let Some((_, line)) = self.rest.next() {
            return Ok(Some(line));
        }
        let Some(Reverse((_, number, line))) = self.next.pop() else {
            return Ok(None);
        };
        self.refill(number).map_err(|e| failed(&e))?;
        Ok(Some(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use manifest::Kind;

    /// In whatever parts it waited, what comes out is what a sort in memory makes; equal serials in the order they came.
    #[test]
    fn parts_are_merged_in_order() {
        let folder = std::env::temp_dir();
        let mut entries = Vec::new();
        for n in 0..500_u64 {
            // Every serial twice: the second time with another EK.
            let serial = format!("D-{}", (n * 7919) % 250);
            let ek = openssl::sha::sha256(&n.to_be_bytes());
            entries.push(Entry::new(Kind::Lot, &serial, "M", &[ek], &[], Vec::new()).unwrap());
        }
        let mut wanted: Vec<&Entry> = entries.iter().collect();
        wanted.sort_by_key(|entry| entry.serial());
        let wanted: Vec<Vec<u8>> = wanted.iter().map(|entry| entry.line().unwrap()).collect();
        for (largest, parts) in [(usize::MAX, 0), (1, 500), (1000, 100), (20_000, 5)] {
            let mut unsorted = Unsorted::with(&folder, largest);
            entries.iter().for_each(|entry| unsorted.push(entry).unwrap());
            assert!(unsorted.parts.len() >= parts, "{largest}: {}", unsorted.parts.len());
            let mut sorted = unsorted.sorted().unwrap();
            let mut lines = Vec::new();
            while let Some(line) = sorted.advance().unwrap() {
                lines.push(line);
            }
            assert!(lines == wanted, "parts of {largest}");
        }
        assert!(Unsorted::new(&folder).sorted().unwrap().advance().unwrap().is_none());
    }

    #[test]
    fn a_folder_that_cannot_be_written_to_is_said() {
        let mut unsorted = Unsorted::with(Path::new("/proc"), 1);
        let entry = Entry::new(Kind::Lot, "D", "M", &[[1; 32]], &[], Vec::new()).unwrap();
        assert!(unsorted.push(&entry).unwrap_err().message.contains("temporary file"));
    }
}
