//! Writing a manifest, line by line.

use std::io::Write;

use crate::reader::ascends;
use crate::{BadLine, Closing, Entry, Header, LONGEST_LINE, Tree};

/// Why a manifest was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The place to write to failed.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// This device does not fit here.
    #[error("{0}")]
    Entry(#[from] BadLine),
}

/// A manifest that is being written. Without [`Writer::close`] it is not one.
#[derive(Debug)]
pub struct Writer<W> {
    sink: W,
    tree: Tree,
    last: String,
}

impl<W: Write> Writer<W> {
    /// Write the first line.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn open(mut sink: W, header: &Header) -> Result<Self, WriteError> {
        let mut tree = Tree::new();
        put(&mut sink, &mut tree, header.line()?)?;
        Ok(Self {
            sink,
            tree,
            last: String::new(),
        })
    }

    /// Write one device; serials must ascend.
    ///
    /// # Errors
    /// [`WriteError`]; nothing of this device is written.
    pub fn push(&mut self, entry: &Entry) -> Result<(), WriteError> {
        ascends(&self.last, entry)?;
        put(&mut self.sink, &mut self.tree, entry.line()?)?;
        entry.serial().clone_into(&mut self.last);
        Ok(())
    }

    /// Write the closing line. What is left is a signature.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn close(mut self) -> Result<(W, Closing), WriteError> {
        let closing = Closing::new(self.tree.size().saturating_sub(1), &self.tree.root());
        let mut line = closing.line()?;
        line.push(b'\n');
        self.sink.write_all(&line)?;
        Ok((self.sink, closing))
    }
}

fn put(sink: &mut impl Write, tree: &mut Tree, mut line: Vec<u8>) -> Result<(), WriteError> {
    if line.len() > LONGEST_LINE {
        return Err(BadLine("longer than 16 KiB".to_owned()).into());
    }
    tree.push(&line);
    line.push(b'\n');
    sink.write_all(&line)?;
    Ok(())
}
