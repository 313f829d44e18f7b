//! The one reader of TPM bytes: big-endian, exact length, no panic, no allocation beyond the input.

use crate::{Reason, Refusal};

/// Bytes of one structure that are not yet read.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// Read `bytes` as the structure `what` (its TCG name, for the refusal).
    pub(super) fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { rest: bytes, what }
    }

    /// A MALFORMED refusal that names the structure.
    pub(super) fn malformed(&self, detail: impl core::fmt::Display) -> Refusal {
        Refusal::new(Reason::Malformed, format!("{}: {detail}", self.what))
    }

    /// The next `len` bytes.
    pub(super) fn take(&mut self, len: usize, field: &'static str) -> Result<&'a [u8], Refusal> {
        match self.rest.split_at_checked(len) {
            Some((head, rest)) => {
                self.rest = rest;
                Ok(head)
            }
            None => Err(self.malformed(format_args!("{field} needs {len} bytes, {} are left", self.rest.len()))),
        }
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Refusal> {
        match self.rest.split_first_chunk::<N>() {
            Some((head, rest)) => {
                self.rest = rest;
                Ok(*head)
            }
            None => Err(self.malformed(format_args!("{field} needs {N} bytes, {} are left", self.rest.len()))),
        }
    }

    pub(super) fn u8(&mut self, field: &'static str) -> Result<u8, Refusal> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self, field: &'static str) -> Result<u16, Refusal> {
        self.array(field).map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self, field: &'static str) -> Result<u32, Refusal> {
        self.array(field).map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self, field: &'static str) -> Result<u64, Refusal> {
        self.array(field).map(u64::from_be_bytes)
    }

    /// A `TPM2B`: `u16` size, then that many bytes, at most `max`.
    pub(super) fn sized(&mut self, max: usize, field: &'static str) -> Result<&'a [u8], Refusal> {
        let size = usize::from(self.u16(field)?);
        if size > max {
            return Err(self.malformed(format_args!("{field} has {size} bytes, more than {max}")));
        }
        self.take(size, field)
    }

    /// Nothing may be left.
    pub(super) fn finish(self) -> Result<(), Refusal> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(self.malformed(format_args!("{left} bytes after the end"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_big_endian_and_exact() {
        let mut reader = Reader::new(&[1, 2, 3, 4, 5, 6, 7], "TEST");
        assert_eq!(reader.u8("a"), Ok(1));
        assert_eq!(reader.u16("b"), Ok(0x0203));
        assert_eq!(reader.u32("c"), Ok(0x0405_0607));
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn a_size_beyond_the_input_or_the_limit_is_refused_before_any_copy() {
        let mut beyond = Reader::new(&[0xFF, 0xFF, 0], "TEST");
        assert_eq!(
            beyond.sized(usize::MAX, "field").map_err(|r| r.detail),
            Err("TEST: field needs 65535 bytes, 1 are left".to_owned())
        );
        let mut limit = Reader::new(&[0, 3, 1, 2, 3], "TEST");
        assert_eq!(
            limit.sized(2, "field").map_err(|r| r.detail),
            Err("TEST: field has 3 bytes, more than 2".to_owned())
        );
    }

    #[test]
    fn one_byte_too_many_is_refused() {
        assert_eq!(
            Reader::new(&[0], "TEST").finish().map_err(|r| r.detail),
            Err("TEST: 1 bytes after the end".to_owned())
        );
    }
}
