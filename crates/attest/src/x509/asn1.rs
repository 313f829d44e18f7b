//! A reader of DER (X.690 §10) over borrowed bytes: no recursion, no allocation, exact lengths.

/// Bytes that are not the DER expected; says what, never repeats the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BadDer(pub(crate) &'static str);

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const NULL: u8 = 0x05;
pub(crate) const OID: u8 = 0x06;
pub(crate) const ENUMERATED: u8 = 0x0A;
pub(crate) const UTF8_STRING: u8 = 0x0C;
pub(crate) const PRINTABLE_STRING: u8 = 0x13;
pub(crate) const UTC_TIME: u8 = 0x17;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

/// Context-specific tag `[n]`, constructed.
pub(crate) const fn constructed(n: u8) -> u8 {
    0xA0 | n
}

/// Context-specific tag `[n]`, primitive.
pub(crate) const fn primitive(n: u8) -> u8 {
    0x80 | n
}

/// One element: tag, content octets, and the whole encoding.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tlv<'a> {
    pub(crate) tag: u8,
    pub(crate) content: &'a [u8],
    pub(crate) whole: &'a [u8],
}

/// Reads elements one after another.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Next element of any tag. Indefinite and non-minimal lengths and tags above 30 are refused.
    pub(crate) fn any(&mut self) -> Result<Tlv<'a>, BadDer> {
        let (&tag, after_tag) = self.rest.split_first().ok_or(BadDer("element is missing"))?;
        if tag & 0x1F == 0x1F {
            return Err(BadDer("tag number above 30"));
        }
        let (&first, mut after_length) = after_tag.split_first().ok_or(BadDer("length is missing"))?;
        let length = if first < 0x80 {
            usize::from(first)
        } else {
            let octets = usize::from(first & 0x7F);
            // Four octets are far above every limit on what is received.
            if octets == 0 || octets > 4 {
                return Err(BadDer("length is indefinite or beyond four octets"));
            }
            let (length_octets, after) = after_length
                .split_at_checked(octets)
                .ok_or(BadDer("length is cut off"))?;
            after_length = after;
            let length = length_octets
                .iter()
                .fold(0_u32, |sum, octet| sum << 8 | u32::from(*octet));
            if length < 0x80 || length_octets.first() == Some(&0) {
                return Err(BadDer("length is not minimal"));
            }
            usize::try_from(length).map_err(|_| BadDer("length is beyond memory"))?
        };
        let (content, after) = after_length
            .split_at_checked(length)
            .ok_or(BadDer("content is cut off"))?;
        let (whole, _) = self
            .rest
            .split_at_checked(self.rest.len().saturating_sub(after.len()))
            .ok_or(BadDer("content is cut off"))?;
        self.rest = after;
        Ok(Tlv { tag, content, whole })
    }

    /// Next element, which must have `tag`; `otherwise` says what was expected.
    pub(crate) fn element(&mut self, tag: u8, otherwise: &'static str) -> Result<Tlv<'a>, BadDer> {
        if self.rest.first() != Some(&tag) {
            return Err(BadDer(otherwise));
        }
        self.any()
    }

    /// Content of the next element, which must have `tag`.
    pub(crate) fn content(&mut self, tag: u8, otherwise: &'static str) -> Result<&'a [u8], BadDer> {
        self.element(tag, otherwise).map(|tlv| tlv.content)
    }

    /// Reader over the content of the next element, which must have `tag`.
    pub(crate) fn nested(&mut self, tag: u8, otherwise: &'static str) -> Result<Reader<'a>, BadDer> {
        self.content(tag, otherwise).map(Reader::new)
    }

    /// Whether an element of one of these tags is next.
    pub(crate) fn next_is(&self, tags: &[u8]) -> bool {
        self.rest.first().is_some_and(|tag| tags.contains(tag))
    }

    /// The next element if it has `tag`.
    pub(crate) fn optional(&mut self, tag: u8) -> Result<Option<Tlv<'a>>, BadDer> {
        (self.rest.first() == Some(&tag)).then(|| self.any()).transpose()
    }

    /// The end: `otherwise` says what has too many bytes.
    pub(crate) fn finish(self, otherwise: &'static str) -> Result<(), BadDer> {
        self.rest.is_empty().then_some(()).ok_or(BadDer(otherwise))
    }
}

/// The one element that `bytes` are, with `tag`; nothing may follow.
pub(crate) fn only<'a>(bytes: &'a [u8], tag: u8, otherwise: &'static str) -> Result<Tlv<'a>, BadDer> {
    let mut reader = Reader::new(bytes);
    let tlv = reader.element(tag, otherwise)?;
    reader.finish("bytes follow the end")?;
    Ok(tlv)
}

/// BOOLEAN content: 00 or FF (X.690 §11.1).
pub(crate) fn boolean(content: &[u8]) -> Result<bool, BadDer> {
    match content {
        [0x00] => Ok(false),
        [0xFF] => Ok(true),
        _ => Err(BadDer("BOOLEAN is neither 00 nor FF")),
    }
}

/// Whether INTEGER content has the fewest octets possible (X.690 §8.3.2).
pub(crate) fn integer_is_minimal(content: &[u8]) -> bool {
    match content {
        [] => false,
        [0x00, second, ..] => second & 0x80 != 0,
        [0xFF, second, ..] => second & 0x80 == 0,
        _ => true,
    }
}

/// Magnitude of a minimal INTEGER that is not negative: big-endian without leading zeros; empty for zero.
pub(crate) fn unsigned(content: &[u8]) -> Result<&[u8], BadDer> {
    if !integer_is_minimal(content) {
        return Err(BadDer("INTEGER is not minimal"));
    }
    match content {
        [first, ..] if first & 0x80 != 0 => Err(BadDer("INTEGER is negative")),
        [0x00, rest @ ..] => Ok(rest),
        all => Ok(all),
    }
}

/// A small INTEGER that is not negative.
pub(crate) fn small(content: &[u8]) -> Result<u32, BadDer> {
    let magnitude = unsigned(content)?;
    if magnitude.len() > 4 {
        return Err(BadDer("INTEGER is beyond 32 bits"));
    }
    Ok(magnitude.iter().fold(0, |sum, octet| sum << 8 | u32::from(*octet)))
}

/// BIT STRING content that is whole octets.
pub(crate) fn octets(content: &[u8]) -> Result<&[u8], BadDer> {
    match content {
        [0, octets @ ..] => Ok(octets),
        _ => Err(BadDer("BIT STRING is not whole octets")),
    }
}

/// Whether OID content is well-formed: arcs in minimal base 128, none cut off (X.690 §8.19).
pub(crate) fn oid_is_sound(content: &[u8]) -> bool {
    let mut at_start = true;
    for octet in content {
        if at_start && *octet == 0x80 {
            return false;
        }
        at_start = octet & 0x80 == 0;
    }
    !content.is_empty() && at_start
}

/// Dotted form of OID content; `None` when it is not well-formed or an arc is beyond 128 bits.
pub(crate) fn dotted(content: &[u8]) -> Option<String> {
    use core::fmt::Write as _;

    if !oid_is_sound(content) {
        return None;
    }
    let mut out = String::new();
    let mut arc = 0_u128;
    for octet in content {
        if arc >> 121 != 0 {
            return None;
        }
        arc = arc << 7 | u128::from(octet & 0x7F);
        if octet & 0x80 == 0 {
            if out.is_empty() {
                let root = (arc / 40).min(2);
                write!(out, "{root}.{}", arc.checked_sub(root * 40)?).ok()?;
            } else {
                write!(out, ".{arc}").ok()?;
            }
            arc = 0;
        }
    }
    Some(out)
}

/// Encodes one element; the only thing ever written here is a key in its canonical form.
pub(crate) fn encode(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = Vec::with_capacity(length.saturating_add(6));
    out.push(tag);
    let octets = length.to_be_bytes();
    let skip = octets.iter().take_while(|octet| **octet == 0).count();
    let significant = octets.get(skip..).unwrap_or_default();
    match significant {
        [] => out.push(0),
        [short] if *short < 0x80 => out.push(*short),
        long => {
            out.push(0x80 | u8::try_from(long.len()).unwrap_or(8));
            out.extend_from_slice(long);
        }
    }
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lengths_are_minimal_and_definite() {
        for (bytes, what) in [
            (&[][..], "element is missing"),
            (&[0x30], "length is missing"),
            (&[0x30, 0x80, 0, 0], "length is indefinite or beyond four octets"),
            (
                &[0x30, 0x85, 0, 0, 0, 0, 0],
                "length is indefinite or beyond four octets",
            ),
            (&[0x30, 0x82, 1], "length is cut off"),
            (&[0x30, 0x81, 0x01, 0], "length is not minimal"),
            (&[0x30, 0x82, 0x00, 0x80], "length is not minimal"),
            (&[0x30, 0x84, 0xFF, 0xFF, 0xFF, 0xFF], "content is cut off"),
            (&[0x30, 0x01], "content is cut off"),
            (&[0x3F, 0x01, 0x00], "tag number above 30"),
        ] {
            assert_eq!(Reader::new(bytes).any().unwrap_err(), BadDer(what), "{bytes:02x?}");
        }
        assert_eq!(
            only(&[0x30, 0, 0], SEQUENCE, "x").unwrap_err(),
            BadDer("bytes follow the end")
        );
    }

    #[test]
    fn integers_are_minimal_and_not_negative() {
        assert_eq!(unsigned(&[0]), Ok(&[][..]));
        assert_eq!(unsigned(&[0, 0x80]), Ok(&[0x80][..]));
        assert_eq!(unsigned(&[0, 0x7F]), Err(BadDer("INTEGER is not minimal")));
        assert_eq!(unsigned(&[]), Err(BadDer("INTEGER is not minimal")));
        assert_eq!(unsigned(&[0x80]), Err(BadDer("INTEGER is negative")));
        assert_eq!(small(&[0, 0xFF, 0xFF, 0xFF, 0xFF]), Ok(u32::MAX));
        assert_eq!(small(&[1, 0, 0, 0, 0]), Err(BadDer("INTEGER is beyond 32 bits")));
    }

    #[test]
    fn booleans_have_two_values() {
        assert_eq!(boolean(&[0xFF]), Ok(true));
        assert_eq!(boolean(&[0x00]), Ok(false));
        for bad in [&[][..], &[1], &[0xFF, 0xFF]] {
            assert!(boolean(bad).is_err());
        }
    }

    #[test]
    fn oids_in_dotted_form() {
        assert_eq!(dotted(&[0x67, 0x81, 0x05, 0x08, 0x01]).as_deref(), Some("2.23.133.8.1"));
        assert_eq!(dotted(&[0x2A, 0x86, 0x48]).as_deref(), Some("1.2.840"));
        assert_eq!(dotted(&[0x88, 0x37, 0x03]).as_deref(), Some("2.999.3"));
        assert_eq!(dotted(&[]), None);
        assert_eq!(dotted(&[0x2A, 0x80, 0x01]), None);
        assert_eq!(dotted(&[0x2A, 0x81]), None);
        assert_eq!(dotted(&[[0x2A].as_slice(), &[0xFF; 19], &[0x7F]].concat()), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic_and_within_bounds(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut reader = Reader::new(&bytes);
            let mut seen = 0;
            while let Ok(tlv) = reader.any() {
                seen += tlv.whole.len();
                prop_assert!(tlv.whole.ends_with(tlv.content));
            }
            prop_assert!(seen <= bytes.len());
            let _ = dotted(&bytes);
        }

        #[test]
        fn what_is_encoded_is_read_back(tag in 1_u8..0x1F, length in 0_usize..70_000) {
            let content = vec![7; length];
            let encoded = encode(tag, &[&content]);
            let tlv = only(&encoded, tag, "x").unwrap();
            prop_assert_eq!(tlv.content, &content[..]);
        }
    }
}
