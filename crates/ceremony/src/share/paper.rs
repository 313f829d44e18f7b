//! Shares on paper: sixteen letters that no one mistakes for another, and a checksum on each line.

use zeroize::Zeroizing;

use super::{BLIND, Commitment, HEADER, LONGEST, MOST, SecretKind, Share, Threshold, VERSION, WHOLE, digest};

/// The letters, worth 0 to 15, as hexadecimal digits are. No digit, and none of B G I L O Q S U V Z: nothing that looks
/// like another letter or a digit.
pub const ALPHABET: &[u8; 16] = b"ACDEFHJKMNPRTWXY";

/// Bytes on one line, before its checksum.
const LINE: usize = 8;
/// Bytes of a line's checksum.
const CHECK: usize = 2;

/// What is wrong with what was typed. Says which line, never which letter would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// A number was typed before the line, and it is another line's.
    #[error("this is line {found}, wanted is line {line}")]
    Order {
        /// Wanted.
        line: u8,
        /// Typed.
        found: u32,
    },
    /// A character that is on no share.
    #[error("line {line} has a character that is on no share: only the letters A C D E F H J K M N P R T W X Y are")]
    Letter {
        /// From one.
        line: u8,
    },
    /// Too short or too long.
    #[error("line {line} has {found} letters, it must have {wanted}")]
    Length {
        /// From one.
        line: u8,
        /// Letters typed.
        found: usize,
        /// Letters of this line.
        wanted: usize,
    },
    /// The checksum of the line does not fit.
    #[error("line {line} is wrong: read it again")]
    Check {
        /// From one.
        line: u8,
    },
    /// Each line fits, all together do not.
    #[error("each line is right by itself but they do not belong together: begin this share again")]
    Whole,
    /// Lines after the last.
    #[error("there are more than the {lines} lines of this share")]
    Long {
        /// Lines of the share.
        lines: u8,
    },
    /// Lines are missing.
    #[error("line {line} is missing")]
    Short {
        /// From one.
        line: u8,
    },
    /// A version or kind this program does not know.
    #[error("this share was made by another version")]
    Version,
    /// Number zero would be the secret itself.
    #[error("share number 0 does not exist: this paper was not made by a ceremony")]
    ZeroIndex,
    /// The numbers on the first line contradict each other.
    #[error("the numbers on this share contradict each other: it was not made by a ceremony")]
    Numbers,
}

impl Share {
    /// The printed lines, five groups of four letters each (the last line may be shorter), the last group of a line its
    /// checksum.
    #[must_use]
    pub fn lines(&self) -> Vec<Zeroizing<String>> {
        let bytes = self.bytes();
        let mut lines = Vec::new();
        for (data, line) in bytes.chunks(LINE).zip(1..) {
            let mut text = Zeroizing::new(String::with_capacity(64));
            let check: [u8; CHECK] = check(line, data);
            for (place, byte) in data.iter().chain(&check).enumerate() {
                if place > 0 && place % 2 == 0 {
                    text.push(' ');
                }
                for nibble in [byte >> 4, byte & 15] {
                    text.push(ALPHABET.get(usize::from(nibble)).copied().map_or('?', char::from));
                }
            }
            lines.push(text);
        }
        lines
    }

    /// Read a whole share: its lines, in order, empty ones left out.
    ///
    /// # Errors
    /// [`LineError`].
    pub fn read(text: &str) -> Result<Self, LineError> {
        let mut reader = ShareReader::default();
        let mut done = None;
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            if done.is_some() {
                return Err(LineError::Long { lines: reader.next - 1 });
            }
            match reader.line(line)? {
                Reading::More { .. } => {}
                Reading::Done(share) => done = Some(share),
            }
        }
        done.ok_or(LineError::Short { line: reader.next })
    }

    pub(super) fn bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(HEADER + self.point.len() + WHOLE));
        let length = u8::try_from(self.point.len().saturating_sub(BLIND)).unwrap_or(u8::MAX);
        bytes.extend_from_slice(&[
            VERSION,
            self.kind.number(),
            self.index,
            self.threshold.needed,
            self.threshold.of,
            length,
        ]);
        bytes.extend_from_slice(&self.ceremony);
        bytes.extend_from_slice(&self.commitment.0);
        bytes.extend_from_slice(&self.point);
        let whole: [u8; WHOLE] = whole(&bytes);
        bytes.extend_from_slice(&whole);
        bytes
    }
}

/// `SHA-256("holdfast share line v1" 00 || number || bytes)`, the first two bytes.
fn check(line: u8, data: &[u8]) -> [u8; CHECK] {
    digest(b"holdfast share line v1\0", &[&[line], data])
}

/// `SHA-256("holdfast share v1" 00 || bytes)`, the first eight bytes.
fn whole(bytes: &[u8]) -> [u8; WHOLE] {
    digest(b"holdfast share v1\0", &[bytes])
}

/// After a line was taken.
#[derive(Debug)]
pub enum Reading {
    /// The next line is wanted.
    More {
        /// Its number, from one.
        next: u8,
        /// How many the share has.
        of: u8,
    },
    /// The share is complete.
    Done(Share),
}

/// Takes a share line by line, as it is typed. A refused line is not taken: the same one is wanted again.
pub struct ShareReader {
    bytes: Zeroizing<Vec<u8>>,
    /// Number of the line wanted next.
    next: u8,
    /// Length of the whole share in bytes, known after the first line.
    length: Option<usize>,
}

impl Default for ShareReader {
    fn default() -> Self {
        Self {
            // Never grows, so no copy is left behind.
            bytes: Zeroizing::new(Vec::with_capacity(HEADER + LONGEST + BLIND + WHOLE + LINE)),
            next: 1,
            length: None,
        }
    }
}

impl core::fmt::Debug for ShareReader {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        out.debug_struct("ShareReader")
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

impl ShareReader {
    /// The line that is wanted, from one.
    #[must_use]
    pub fn next(&self) -> u8 {
        self.next
    }

    /// Take a line: upper or lower case, spaces and hyphens as one likes, its printed number before it or not.
    ///
    /// # Errors
    /// [`LineError`]; the reader stays as it was, but for [`LineError::Whole`], after which it begins anew.
    pub fn line(&mut self, typed: &str) -> Result<Reading, LineError> {
        let line = self.next;
        let data = self.decode(typed)?;
        if line == 1 {
            self.length = Some(header_length(&data)?);
        }
        let Some(length) = self.length else {
            return Err(LineError::Short { line: 1 });
        };
        self.bytes.extend_from_slice(&data);
        self.next = line.saturating_add(1);
        if self.bytes.len() < length {
            let of = u8::try_from(length.div_ceil(LINE)).unwrap_or(u8::MAX);
            return Ok(Reading::More { next: self.next, of });
        }
        let done = core::mem::take(self);
        let share = parse(&done.bytes);
        // So that what is said of further lines names the right number.
        self.next = done.next;
        if share.is_err() {
            *self = Self::default();
        }
        share.map(Reading::Done)
    }

    /// The bytes of the line, its checksum proven.
    fn decode(&self, typed: &str) -> Result<Zeroizing<Vec<u8>>, LineError> {
        let line = self.next;
        let typed = typed.trim();
        let rest = typed.trim_start_matches(|c: char| c.is_ascii_digit());
        let number = typed.get(..typed.len() - rest.len()).unwrap_or_default();
        if !number.is_empty() {
            let found = number.parse().unwrap_or(u32::MAX);
            if found != u32::from(line) {
                return Err(LineError::Order { line, found });
            }
        }
        let letters = rest.trim_start_matches([':', '.', ')', '|', ' ']);
        // The longest line and room for what is typed too much; never grows.
        let mut nibbles = Zeroizing::new(Vec::with_capacity(2 * (LINE + CHECK) + 1));
        let mut found = 0_usize;
        for letter in letters.chars().filter(|c| !matches!(c, ' ' | '\t' | '-')) {
            let value = u8::try_from(letter.to_ascii_uppercase())
                .ok()
                .and_then(|letter| ALPHABET.iter().position(|known| *known == letter))
                .and_then(|value| u8::try_from(value).ok())
                .ok_or(LineError::Letter { line })?;
            found = found.saturating_add(1);
            if nibbles.len() < nibbles.capacity() {
                nibbles.push(value);
            }
        }
        let wanted = 2 * (self.wanted() + CHECK);
        if found != wanted {
            return Err(LineError::Length { line, found, wanted });
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(LINE + CHECK));
        for pair in nibbles.chunks_exact(2) {
            if let [high, low] = pair {
                bytes.push(high << 4 | low);
            }
        }
        let sum = bytes.split_off(self.wanted());
        if sum != check(line, &bytes) {
            return Err(LineError::Check { line });
        }
        Ok(bytes)
    }

    /// Bytes of the line that is wanted.
    fn wanted(&self) -> usize {
        self.length
            .map_or(LINE, |length| length.saturating_sub(self.bytes.len()).min(LINE))
    }
}

/// The length of a share by its first line. What makes no share is refused here, before the rest is typed.
fn header_length(first: &[u8]) -> Result<usize, LineError> {
    let [version, kind, index, needed, of, length, ..] = *first else {
        return Err(LineError::Numbers);
    };
    numbers(version, kind, index, needed, of, length)?;
    Ok(HEADER + usize::from(length) + BLIND + WHOLE)
}

fn numbers(
    version: u8,
    kind: u8,
    index: u8,
    needed: u8,
    of: u8,
    length: u8,
) -> Result<(SecretKind, Threshold), LineError> {
    if version != VERSION {
        return Err(LineError::Version);
    }
    let kind = SecretKind::of(kind).ok_or(LineError::Version)?;
    if index == 0 {
        return Err(LineError::ZeroIndex);
    }
    let threshold = Threshold::new(needed, of).ok_or(LineError::Numbers)?;
    if index > of || of > MOST || length == 0 || usize::from(length) > LONGEST {
        return Err(LineError::Numbers);
    }
    Ok((kind, threshold))
}

fn parse(bytes: &[u8]) -> Result<Share, LineError> {
    let (body, sum) = bytes
        .len()
        .checked_sub(WHOLE)
        .and_then(|at| bytes.split_at_checked(at))
        .ok_or(LineError::Whole)?;
    if sum != whole(body) {
        return Err(LineError::Whole);
    }
    let (header, point) = body.split_at_checked(HEADER).ok_or(LineError::Whole)?;
    let (first, names) = header.split_at_checked(6).ok_or(LineError::Whole)?;
    let &[version, kind, index, needed, of, length] = first else {
        return Err(LineError::Whole);
    };
    let (kind, threshold) = numbers(version, kind, index, needed, of, length)?;
    let (ceremony, commitment) = names.split_at_checked(8).ok_or(LineError::Whole)?;
    let point_length = usize::from(length) + BLIND;
    match (ceremony.try_into(), commitment.try_into()) {
        (Ok(ceremony), Ok(commitment)) if point.len() == point_length => Ok(Share {
            kind,
            index,
            threshold,
            ceremony,
            commitment: Commitment(commitment),
            point: Zeroizing::new(point.to_vec()),
        }),
        _ => Err(LineError::Whole),
    }
}
