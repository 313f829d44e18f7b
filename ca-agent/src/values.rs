//! Values that are written in words: handles and waits. The same on the command line and in `agent.toml`.

use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, Visitor};

/// A persistent handle (TPM 2.0 Part 2, 7.5: 81000000 to 81FFFFFF), `0x81000100`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle(pub u32);

impl Handle {
    fn of(value: u64) -> Option<Self> {
        let value = u32::try_from(value).ok()?;
        (value >> 24 == 0x81).then_some(Self(value))
    }
}

impl core::str::FromStr for Handle {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        u32::from_str_radix(digits, 16)
            .ok()
            .and_then(|value| Self::of(value.into()))
            .ok_or_else(|| format!("`{text}` is not a persistent handle (0x81......)"))
    }
}

/// How long to go on trying: `20` (seconds), `90s`, `10m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait(pub Duration);

impl core::str::FromStr for Wait {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(seconds) = text.parse() {
            return Ok(Self(Duration::from_secs(seconds)));
        }
        text.parse::<jiff::SignedDuration>()
            .ok()
            .and_then(|wait| Duration::try_from(wait).ok())
            .map(Self)
            .ok_or_else(|| format!("`{text}` is no time: write `20` (seconds), `90s` or `10m`"))
    }
}

/// From a text or a number, by these two.
struct Either<T> {
    expecting: &'static str,
    number: fn(u64) -> Option<T>,
}

impl<T: core::str::FromStr<Err = String>> Visitor<'_> for Either<T> {
    type Value = T;

    fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.expecting)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        let wrong = || E::custom(format!("{} is wanted here", self.expecting));
        u64::try_from(number).ok().and_then(self.number).ok_or_else(wrong)
    }
}

impl<'de> Deserialize<'de> for Handle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Either {
            expecting: "a persistent handle, 0x81......,",
            number: Self::of,
        })
    }
}

impl<'de> Deserialize<'de> for Wait {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Either {
            expecting: "a time, \"90s\" or a number of seconds,",
            number: |seconds| Some(Self(Duration::from_secs(seconds))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_are_persistent_ones() {
        assert_eq!("0x81020000".parse(), Ok(Handle(0x8102_0000)));
        for bad in [
            "0x80000000",
            "81",
            "0x8102000g",
            "",
            "0x1810200000",
            "0x0x81020000",
            "-1",
        ] {
            assert!(bad.parse::<Handle>().is_err(), "{bad}");
        }
    }

    #[test]
    fn waits_are_seconds_or_words() {
        for (text, seconds) in [("0", 0), ("20", 20), ("90s", 90), ("10m", 600), ("1h", 3600)] {
            assert_eq!(text.parse(), Ok(Wait(Duration::from_secs(seconds))), "{text}");
        }
        for bad in ["", "-1", "-10m", "soon", "1 000"] {
            assert!(bad.parse::<Wait>().is_err(), "{bad}");
        }
    }
}
