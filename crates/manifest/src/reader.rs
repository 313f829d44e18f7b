//! Reading a manifest from its first line to its last, one line in memory.

use std::io::BufRead;

use crate::{BadLine, Closing, Entry, Header, LONGEST_LINE, Seal, Tree};

/// Why a manifest cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The source failed.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// A line is not what its place wants.
    #[error("line {number}: {why}")]
    Line {
        /// Which, from 1 on.
        number: u64,
        /// Why not.
        why: BadLine,
    },
    /// What the end says is not what was read.
    #[error("{0}")]
    Untrue(&'static str),
}

/// What stands in the next place.
#[derive(Debug)]
pub enum Read {
    /// A line of the middle, not judged yet: [`Entry::parse`] does. It is in the tree.
    Device {
        /// Which device, from 0 on.
        position: u64,
        /// The line, without its end.
        line: Vec<u8>,
    },
    /// The end: the closing is true of all that was read. Behind it stood nothing but the seal, if there is one.
    End {
        /// What the lines come to.
        closing: Closing,
        /// Signature, not checked.
        seal: Option<Seal>,
    },
}

/// A manifest that is being read. Lines of devices are handed out as they are, so that a bad one does not hide the next.
#[derive(Debug)]
pub struct Reader<R> {
    source: R,
    header: Header,
    header_line: Vec<u8>,
    tree: Tree,
    number: u64,
}

/// A closing begins so, and no device does.
const CLOSES: &[u8] = b"{\"entries\":";

impl<R: BufRead> Reader<R> {
    /// Read the first line.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn open(mut source: R) -> Result<Self, ReadError> {
        let line = next(&mut source, 1)?.ok_or(ReadError::Untrue("it is empty"))?;
        let header = Header::parse(&line).map_err(|why| ReadError::Line { number: 1, why })?;
        let mut tree = Tree::new();
        tree.push(&line);
        Ok(Self {
            source,
            header,
            header_line: line,
            tree,
            number: 1,
        })
    }

    /// The first line, judged.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The first line as it stands.
    #[must_use]
    pub fn header_line(&self) -> &[u8] {
        &self.header_line
    }

    /// What stands in the next place. After [`Read::End`] there is nothing more to ask.
    ///
    /// # Errors
    /// [`ReadError`]: a line too long, an end that is missing or untrue, or anything behind it.
    pub fn advance(&mut self) -> Result<Read, ReadError> {
        self.number = self.number.saturating_add(1);
        let line = next(&mut self.source, self.number)?;
        let line = line.ok_or(ReadError::Untrue("it is cut short: the closing line is missing"))?;
        if !line.starts_with(CLOSES) {
            // The header is leaf 0.
            let position = self.tree.size().saturating_sub(1);
            self.tree.push(&line);
            return Ok(Read::Device { position, line });
        }
        let bad = |number| move |why| ReadError::Line { number, why };
        let closing = Closing::parse(&line).map_err(bad(self.number))?;
        if closing.entries != self.tree.size().saturating_sub(1) {
            return Err(ReadError::Untrue("the closing line tells another number of devices"));
        }
        if closing.root() != hex::encode(self.tree.root()) {
            return Err(ReadError::Untrue(
                "the root is not that of the lines: something was changed",
            ));
        }
        let number = self.number.saturating_add(1);
        let seal = match next(&mut self.source, number)? {
            None => None,
            Some(line) => Some(Seal::parse(&line).map_err(bad(number))?),
        };
        if seal.is_some() && next(&mut self.source, number.saturating_add(1))?.is_some() {
            return Err(ReadError::Untrue("something stands behind the signature"));
        }
        Ok(Read::End { closing, seal })
    }
}

/// Serials ascend: a device is named once. `last` is the serial before, or empty.
pub(crate) fn ascends(last: &str, entry: &Entry) -> Result<(), BadLine> {
    if entry.serial() > last {
        Ok(())
    } else if entry.serial() == last {
        Err(BadLine(format!("serial {last} is named twice")))
    } else {
        Err(BadLine(format!("serial {} stands behind {last}", entry.serial())))
    }
}

impl Entry {
    /// Read a line that stands behind a device with serial `last` (empty: the first).
    ///
    /// # Errors
    /// [`BadLine`], also when serials do not ascend.
    pub fn parse_behind(kind: crate::Kind, line: &[u8], last: &str) -> Result<Self, BadLine> {
        let entry = Self::parse(kind, line)?;
        ascends(last, &entry)?;
        Ok(entry)
    }
}

/// One line, its end taken off; none at the end of the source.
pub(crate) fn next(source: &mut impl BufRead, number: u64) -> Result<Option<Vec<u8>>, ReadError> {
    let bad = |why: &str| ReadError::Line {
        number,
        why: BadLine(why.to_owned()),
    };
    let mut line = Vec::new();
    loop {
        let had = source.fill_buf()?;
        if had.is_empty() {
            return match line.is_empty() {
                true => Ok(None),
                false => Err(bad("it has no end")),
            };
        }
        let end = had.iter().position(|b| *b == b'\n');
        let part = had.get(..end.unwrap_or(had.len())).unwrap_or_default();
        let (taken, over) = (part.len(), line.len().saturating_add(part.len()) > LONGEST_LINE);
        if over {
            return Err(bad("longer than 16 KiB"));
        }
        line.extend_from_slice(part);
        source.consume(taken.saturating_add(usize::from(end.is_some())));
        if end.is_some() {
            return Ok(Some(line));
        }
    }
}
