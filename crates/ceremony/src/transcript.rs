//! What was done, record by record: each line carries the hash of the line before it.
//!
//! One JSON object a line, members in a fixed order, no blank in it; the first line carries the hash of the plan. Strict:
//! a line that is not byte for byte what this module writes is refused, so a transcript has one spelling.

use std::collections::BTreeMap;

use attest::UnixTime;
use serde::{Deserialize, Serialize};

use crate::{Sha256, calendar};

/// The longest transcript that is read, in bytes.
pub const MAX_TRANSCRIPT_BYTES: usize = 16 << 20;

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// The ceremony began.
    Begun,
    /// It went on after an interruption.
    Resumed,
    /// A step is about to touch a token: what it does may have happened, whatever follows.
    Intent,
    /// A step is done.
    Done,
    /// A step is declared void: what it did does not count; why is in the facts.
    Void,
    /// Something was other than the script says; what, and why it was accepted, is in the facts.
    Deviation,
    /// The record is closed.
    Sealed,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// From 1, without gaps.
    pub seq: u64,
    /// When, as [`calendar::show`] writes it; never before the record above.
    pub time: String,
    /// What it is about.
    pub event: Event,
    /// The step of the script: its number, as printed; 0 where it is of none.
    pub step: u32,
    /// Who acted: a role.
    pub role: String,
    /// What was read, typed or seen, by name. Never a secret.
    pub facts: BTreeMap<String, String>,
    /// What went in, by name.
    pub inputs: BTreeMap<String, Sha256>,
    /// What came out, by name.
    pub outputs: BTreeMap<String, Sha256>,
    /// Hash of the line before this one with its newline; of the plan in the first.
    pub previous: Sha256,
}

/// What is said about a moment, before it has its place in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is about.
    pub event: Event,
    /// The step, or 0.
    pub step: u32,
    /// Who acted.
    pub role: String,
    /// What was read, typed or seen.
    pub facts: BTreeMap<String, String>,
    /// What went in.
    pub inputs: BTreeMap<String, Sha256>,
    /// What came out.
    pub outputs: BTreeMap<String, Sha256>,
}

impl Entry {
    /// With no facts, inputs or outputs yet.
    #[must_use]
    pub fn new(event: Event, step: u32, role: &str) -> Self {
        Self {
            event,
            step,
            role: role.to_owned(),
            facts: BTreeMap::new(),
            inputs: BTreeMap::new(),
            outputs: BTreeMap::new(),
        }
    }
    /// With a fact.
    #[must_use]
    pub fn fact(mut self, name: &str, value: impl Into<String>) -> Self {
        self.facts.insert(name.to_owned(), value.into());
        self
    }
    /// With a file that went in.
    #[must_use]
    pub fn input(mut self, name: &str, sha256: Sha256) -> Self {
        self.inputs.insert(name.to_owned(), sha256);
        self
    }
    /// With a file that came out.
    #[must_use]
    pub fn output(mut self, name: &str, sha256: Sha256) -> Self {
        self.outputs.insert(name.to_owned(), sha256);
        self
    }
}

/// A chain of records. Private fields: only appending makes it longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcript {
    records: Vec<Record>,
    head: Sha256,
}

/// A transcript that is not one, with the line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TranscriptError {
    /// Not UTF-8, too long, or its last line does not end.
    #[error("the transcript is cut off, not UTF-8, or longer than {MAX_TRANSCRIPT_BYTES} bytes")]
    Text,
    /// Not a record.
    #[error("transcript, line {line}: {message}")]
    Line {
        /// From 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
}

impl Transcript {
    /// The empty one of this plan.
    #[must_use]
    pub fn new(plan: Sha256) -> Self {
        Self {
            records: Vec::new(),
            head: plan,
        }
    }

    /// Append; returns the line to write, newline included. `None` when time ran backwards, or after
    /// [`Event::Sealed`]: then nothing is appended.
    pub fn append(&mut self, time: UnixTime, entry: Entry) -> Option<String> {
        let last = self.records.last();
        if last.is_some_and(|r| r.event == Event::Sealed) {
            return None;
        }
        if last
            .and_then(|r| calendar::parse(&r.time))
            .is_some_and(|last| time < last)
        {
            return None;
        }
        let record = Record {
            seq: u64::try_from(self.records.len()).ok()?.checked_add(1)?,
            time: calendar::show(time),
            event: entry.event,
            step: entry.step,
            role: entry.role,
            facts: entry.facts,
            inputs: entry.inputs,
            outputs: entry.outputs,
            previous: self.head,
        };
        let line = written(&record)?;
        self.head = Sha256::of(line.as_bytes());
        self.records.push(record);
        Some(line)
    }

    /// Read a whole transcript of the plan with this hash.
    ///
    /// # Errors
    /// [`TranscriptError`] names the first line that is not as it was written.
    pub fn parse(plan: Sha256, bytes: &[u8]) -> Result<Self, TranscriptError> {
        let text = core::str::from_utf8(bytes).map_err(|_| TranscriptError::Text)?;
        if text.len() > MAX_TRANSCRIPT_BYTES || !(text.is_empty() || text.ends_with('\n')) {
            return Err(TranscriptError::Text);
        }
        let mut transcript = Self::new(plan);
        for (index, line) in text.split_inclusive('\n').enumerate() {
            let error = |message: &str| TranscriptError::Line {
                line: index.saturating_add(1),
                message: message.to_owned(),
            };
            let record: Record = serde_json::from_str(line).map_err(|e| error(&e.to_string()))?;
            let Some(time) = calendar::parse(&record.time) else {
                return Err(error("its time is not one"));
            };
            if record.previous != transcript.head {
                return Err(error("it does not carry the hash of what stands before it"));
            }
            let entry = Entry {
                event: record.event,
                step: record.step,
                role: record.role,
                facts: record.facts,
                inputs: record.inputs,
                outputs: record.outputs,
            };
            let again = transcript.append(time, entry);
            match again {
                None => {
                    return Err(error(
                        "its time is before the line above, or the record was sealed above",
                    ));
                }
                Some(again) if again != line => return Err(error("not as this program writes it")),
                Some(_) => {}
            }
        }
        Ok(transcript)
    }

    /// The records.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Hash of the last line, newline included; of the plan when there is none: what is read aloud at the end.
    #[must_use]
    pub fn head(&self) -> Sha256 {
        self.head
    }

    /// All lines.
    #[must_use]
    pub fn text(&self) -> String {
        self.records.iter().filter_map(written).collect()
    }
}

fn written(record: &Record) -> Option<String> {
    serde_json::to_string(record).ok().map(|line| line + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: UnixTime = UnixTime(1_795_305_600);

    fn three() -> (Sha256, String) {
        let plan = Sha256::of(b"plan");
        let mut transcript = Transcript::new(plan);
        let mut text = String::new();
        text += &transcript
            .append(T, Entry::new(Event::Begun, 0, "administrator"))
            .unwrap();
        let done = Entry::new(Event::Done, 1, "witness")
            .fact("seen", "ä \"quoted\"\n")
            .output("root.cer", plan);
        text += &transcript.append(UnixTime(T.0 + 1), done).unwrap();
        text += &transcript
            .append(UnixTime(T.0 + 1), Entry::new(Event::Sealed, 9, "administrator"))
            .unwrap();
        assert_eq!(transcript.text(), text);
        assert_eq!(
            transcript.head(),
            Sha256::of(text.split_inclusive('\n').next_back().unwrap().as_bytes())
        );
        (plan, text)
    }

    #[test]
    fn what_was_written_is_read() {
        let (plan, text) = three();
        let read = Transcript::parse(plan, text.as_bytes()).unwrap();
        assert_eq!(read.text(), text);
        assert_eq!(read.records().len(), 3);
        assert_eq!(Transcript::parse(plan, b"").unwrap().head(), plan);
    }

    #[test]
    fn any_bit_changed_is_found_with_its_line() {
        let (plan, text) = three();
        let bytes = text.as_bytes();
        let last = text.split_inclusive('\n').next_back().unwrap().len();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut spoilt = bytes.to_vec();
                spoilt[at] ^= 1 << bit;
                // A change of the last line has no line below it that tells, unless it breaks the form: its hash,
                // which people wrote down, is another one.
                if let Ok(read) = Transcript::parse(plan, &spoilt) {
                    assert!(at >= bytes.len() - last, "{at}");
                    assert_ne!(read.head(), Transcript::parse(plan, bytes).unwrap().head());
                }
            }
        }
    }

    #[test]
    fn lines_are_neither_dropped_nor_swapped_nor_added() {
        let (plan, text) = three();
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let refused = |order: &[usize]| {
            let text: String = order.iter().map(|i| lines[*i]).collect();
            Transcript::parse(plan, text.as_bytes()).is_err()
        };
        assert!(refused(&[1, 2]) && refused(&[0, 2]) && refused(&[1, 0, 2]) && refused(&[0, 1, 1, 2]));
        assert!(refused(&[0, 1, 2, 2]), "nothing stands below the seal");
        assert!(!refused(&[0, 1, 2]));
        assert!(Transcript::parse(Sha256::of(b"another plan"), text.as_bytes()).is_err());
        assert_eq!(
            Transcript::parse(plan, text.trim_end().as_bytes()),
            Err(TranscriptError::Text)
        );
    }

    #[test]
    fn time_does_not_run_backwards() {
        let mut transcript = Transcript::new(Sha256::of(b""));
        transcript.append(T, Entry::new(Event::Begun, 0, "a")).unwrap();
        assert_eq!(
            transcript.append(UnixTime(T.0 - 1), Entry::new(Event::Done, 1, "a")),
            None
        );
        assert_eq!(transcript.records().len(), 1);
    }
}
