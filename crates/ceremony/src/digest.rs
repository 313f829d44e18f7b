//! A SHA-256 digest as plans and transcripts write it.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// SHA-256; 64 lower-case hex digits in files.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256(pub [u8; 32]);

impl Sha256 {
    /// Of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(attest::sha256(bytes))
    }

    /// From 64 lower-case hex digits; nothing else.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut out = [0; 32];
        hex::decode_to_slice(text, &mut out).ok()?;
        (hex::encode(out) == text).then_some(Self(out))
    }
}

impl core::fmt::Display for Sha256 {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        out.write_str(&hex::encode(self.0))
    }
}

impl core::fmt::Debug for Sha256 {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Display::fmt(self, out)
    }
}

impl Serialize for Sha256 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Sha256 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_hex(&text).ok_or_else(|| serde::de::Error::custom("not a SHA-256: 64 lower-case hex digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_digest_has_one_spelling() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Sha256::of(b"").to_string(), empty);
        assert_eq!(Sha256::from_hex(empty), Some(Sha256::of(b"")));
        for bad in [
            &empty.to_uppercase(),
            &empty[1..],
            &format!("{empty}0"),
            &empty.replace('e', "g"),
        ] {
            assert_eq!(Sha256::from_hex(bad), None, "{bad}");
        }
    }
}
