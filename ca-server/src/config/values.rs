//! Values with a meaning of their own.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

/// A length of time: "500ms", "30s", "2m", "1h".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let span: jiff::SignedDuration = text
            .parse()
            .map_err(|_| de::Error::custom("a duration is written like \"500ms\", \"30s\", \"2m\" or \"1h\""))?;
        match Duration::try_from(span) {
            Ok(span) if !span.is_zero() => Ok(Self(span)),
            _ => Err(de::Error::custom("this duration must be longer than zero")),
        }
    }
}

/// A rate: "600/min", "5/s", "1000/h", or "off".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// No limit.
    Off,
    /// So many in so long; that many at once, too.
    Per(NonZeroU32, Duration),
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "off" {
            return Ok(Self::Off);
        }
        let parsed = text.split_once('/').and_then(|(number, unit)| {
            let unit = match unit {
                "s" => Duration::from_secs(1),
                "min" => Duration::from_secs(60),
                "h" => Duration::from_secs(3600),
                _ => return None,
            };
            Some(Self::Per(number.parse().ok()?, unit))
        });
        parsed.ok_or_else(|| de::Error::custom("a rate is written like \"600/min\", \"5/s\", \"1000/h\" or \"off\""))
    }
}

/// Where a secret is; never the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// File of mode 0600 or stricter.
    File(PathBuf),
    /// systemd credential, or `/run/secrets/NAME`.
    Credential(String),
    /// Inherited file descriptor.
    Fd(i32),
    /// The terminal.
    Prompt,
}

impl<'de> Deserialize<'de> for SecretSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Table;
        const FIX: &str = "a secret has no place in configuration: name a file of mode 0600, { file = \"…\" }, or a \
                           credential, { credential = \"…\" }";
        const SHAPE: &str = "one of { file = \"…\" }, { credential = \"…\" }, { fd = 3 } or { prompt = true }";
        impl<'de> Visitor<'de> for Table {
            type Value = SecretSource;
            fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(SHAPE)
            }
            // None of these messages repeats the value: it may be the secret.
            fn visit_str<E: de::Error>(self, _: &str) -> Result<SecretSource, E> {
                Err(E::custom(FIX))
            }
            fn visit_i64<E: de::Error>(self, _: i64) -> Result<SecretSource, E> {
                Err(E::custom(FIX))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SecretSource, A::Error> {
                let Some(key) = map.next_key::<String>()? else {
                    return Err(de::Error::custom(SHAPE));
                };
                let source = match key.as_str() {
                    "file" => SecretSource::File(map.next_value()?),
                    "credential" => SecretSource::Credential(map.next_value()?),
                    "fd" => SecretSource::Fd(map.next_value()?),
                    "prompt" => {
                        if !map.next_value::<bool>()? {
                            return Err(de::Error::custom(SHAPE));
                        }
                        SecretSource::Prompt
                    }
                    other => {
                        return Err(de::Error::unknown_field(other, &["file", "credential", "fd", "prompt"]));
                    }
                };
                if map.next_key::<String>()?.is_some() {
                    return Err(de::Error::custom(SHAPE));
                }
                Ok(source)
            }
        }
        deserializer.deserialize_any(Table)
    }
}
