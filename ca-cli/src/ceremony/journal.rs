//! The transcript as it grows: every line durable before anything goes on.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use attest::UnixTime;
use ceremony::archive::TRANSCRIPT;
use ceremony::transcript::Entry;
use ceremony::{Event, Plan, Record, Transcript};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::room::Room;
use crate::exit::{Exit, Failure};
use crate::words;

/// The open transcript of a ceremony.
pub(crate) struct Journal {
    transcript: Transcript,
    file: File,
    path: PathBuf,
}

impl Journal {
    /// Open it, and keep everybody else out until it is dropped: of one medium there is one ceremony under way. A line that a
    /// power cut left unfinished is taken away: nothing was done on the strength of it.
    pub(crate) fn open(room: &Room, plan: &Plan) -> Result<Self, Failure> {
        let path = room.path(TRANSCRIPT);
        let failed = |e: std::io::Error| Failure::new(Exit::Failed, format!("{}: {e}", path.display()));
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|e| match e {
            Errno::WOULDBLOCK => Failure::new(Exit::Conflict, "this ceremony is under way in another process")
                .fix("nothing was changed; go on where it is under way, or end that process first"),
            e => failed(e.into()),
        })?;
        let bytes = room.get(TRANSCRIPT)?.unwrap_or_default();
        let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let (kept, cut) = bytes.split_at(whole);
        let transcript = Transcript::parse(plan.sha256(), kept).map_err(|e| {
            Failure::new(Exit::No, e.to_string()).fix("the record was changed: stop, and keep the medium as it is")
        })?;
        if !cut.is_empty() {
            let length = u64::try_from(kept.len()).unwrap_or_default();
            file.set_len(length).and_then(|()| file.sync_all()).map_err(failed)?;
        }
        let folder = room.path("");
        File::open(&folder).and_then(|f| f.sync_all()).map_err(failed)?;
        Ok(Self { transcript, file, path })
    }

    /// Write a record; durable on return.
    pub(crate) fn append(&mut self, entry: Entry) -> Result<(), Failure> {
        let failed = |e: std::io::Error| Failure::new(Exit::Failed, format!("{}: {e}", self.path.display()));
        let Some(line) = self.transcript.append(UnixTime(words::now()), entry) else {
            return Err(Failure::new(
                Exit::Failed,
                "the clock of this machine ran back, or the record is sealed: nothing more is written",
            )
            .fix("set the clock by hand, to not before the last line of the transcript"));
        };
        self.file
            .write_all(line.as_bytes())
            .and_then(|()| self.file.sync_all())
            .map_err(failed)
    }

    /// What is written so far.
    pub(crate) fn records(&self) -> &[Record] {
        self.transcript.records()
    }

    /// The last step that is done and not void; 0 before the first.
    pub(crate) fn last_done(&self) -> u32 {
        let mut last = 0;
        for record in self.records() {
            match record.event {
                Event::Done => last = record.step,
                Event::Void => last = record.step.saturating_sub(1),
                _ => {}
            }
        }
        last
    }

    /// Whether a token was about to be asked in this step.
    pub(crate) fn intended(&self, step: u32) -> bool {
        self.records()
            .iter()
            .any(|r| r.event == Event::Intent && r.step == step)
    }

    /// Whether it is closed.
    pub(crate) fn sealed(&self) -> bool {
        self.records().last().is_some_and(|r| r.event == Event::Sealed)
    }
}
