//! Where things are served: C2SP tlog-tiles, byte for byte one path for one thing.

use core::fmt;

/// A thing that is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Resource {
    /// `checkpoint`.
    Checkpoint,
    /// `tile/<L>/<N>[.p/<W>]`.
    Tile {
        /// 0 to 63.
        level: u8,
        /// Place within the level.
        index: u64,
        /// How many hashes: 1 to 256.
        width: u16,
    },
    /// `tile/entries/<N>[.p/<W>]`.
    Entries {
        /// Which bundle.
        index: u64,
        /// How many entries: 1 to 256.
        width: u16,
    },
}

/// Not a path of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the path of a checkpoint, a tile or a bundle of entries")]
pub struct PathError;

/// A whole tile has no width in its path.
const WHOLE: u16 = 256;

/// How wide the tile `index` of a level is in a tree of `size`; none: it is not there.
#[must_use]
pub fn width_at(size: u64, level: u8, index: u64) -> Option<u16> {
    let hashes = size.checked_shr(8 * u32::from(level)).unwrap_or(0);
    let behind = hashes.checked_sub(index.checked_mul(256)?)?;
    u16::try_from(behind.min(256)).ok().filter(|width| *width > 0)
}

impl Resource {
    /// The tile `index` of a level, as wide as it is in a tree of `size`.
    #[must_use]
    pub fn tile_at(size: u64, level: u8, index: u64) -> Option<Self> {
        let width = width_at(size, level, index)?;
        Some(Self::Tile { level, index, width })
    }

    /// The bundle `index`, as wide as it is in a tree of `size`.
    #[must_use]
    pub fn entries_at(size: u64, index: u64) -> Option<Self> {
        let width = width_at(size, 0, index)?;
        Some(Self::Entries { index, width })
    }

    /// Parse a path without a leading slash.
    ///
    /// # Errors
    /// [`PathError`].
    pub fn parse(path: &str) -> Result<Self, PathError> {
        if path == "checkpoint" {
            return Ok(Self::Checkpoint);
        }
        let (kind, rest) = path
            .strip_prefix("tile/")
            .and_then(|rest| rest.split_once('/'))
            .ok_or(PathError)?;
        let (index, width) = match rest.split_once(".p/") {
            None => (rest, WHOLE),
            Some((index, width)) => (index, decimal(width, 255).filter(|w| *w > 0).ok_or(PathError)?),
        };
        let index = number(index).ok_or(PathError)?;
        if kind == "entries" {
            return Ok(Self::Entries { index, width });
        }
        let level = decimal(kind, 63).and_then(|l| u8::try_from(l).ok()).ok_or(PathError)?;
        Ok(Self::Tile { level, index, width })
    }
}

/// Decimal digits without leading zeros, not above `most`.
fn decimal(text: &str, most: u16) -> Option<u16> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if !plain {
        return None;
    }
    text.parse().ok().filter(|n| *n <= most)
}

/// `x001/x234/067`, in one way only.
fn number(text: &str) -> Option<u64> {
    let mut parts: Vec<&str> = text.split('/').collect();
    let last = parts.pop()?;
    if parts.first() == Some(&"x000") {
        return None;
    }
    let mut number = 0_u64;
    let three = |part: &str| -> Option<u64> {
        let digits = part.len() == 3 && part.bytes().all(|b| b.is_ascii_digit());
        if digits { part.parse().ok() } else { None }
    };
    for part in parts {
        let group = three(part.strip_prefix('x')?)?;
        number = number.checked_mul(1000)?.checked_add(group)?;
    }
    number.checked_mul(1000)?.checked_add(three(last)?)
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (index, width) = match *self {
            Self::Checkpoint => return f.write_str("checkpoint"),
            Self::Tile { level, index, width } => {
                write!(f, "tile/{level}/")?;
                (index, width)
            }
            Self::Entries { index, width } => {
                f.write_str("tile/entries/")?;
                (index, width)
            }
        };
        let mut groups = vec![index % 1000];
        let mut rest = index / 1000;
        while rest > 0 {
            groups.push(rest % 1000);
            rest /= 1000;
        }
        for (place, group) in groups.iter().enumerate().rev() {
            if place > 0 {
                write!(f, "x{group:03}/")?;
            } else {
                write!(f, "{group:03}")?;
            }
        }
        if width < WHOLE { write!(f, ".p/{width}") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_examples_of_c2sp() {
        let tile = |level, index, width| Resource::Tile { level, index, width };
        for (resource, path) in [
            (Resource::Checkpoint, "checkpoint"),
            (tile(0, 1_234_067, 256), "tile/0/x001/x234/067"),
            (tile(63, 0, 1), "tile/63/000.p/1"),
            (tile(1, 999, 255), "tile/1/999.p/255"),
            (tile(1, 1000, 256), "tile/1/x001/000"),
            (Resource::Entries { index: 273, width: 112 }, "tile/entries/273.p/112"),
        ] {
            assert_eq!(resource.to_string(), path);
            assert_eq!(Resource::parse(path), Ok(resource));
        }
    }

    #[test]
    fn no_second_way_to_write_one() {
        for path in [
            "",
            "/checkpoint",
            "checkpoint/",
            "tile",
            "tile/0",
            "tile/0/",
            "tile/00/000",
            "tile/01/000",
            "tile/64/000",
            "tile/-1/000",
            "tile/+1/000",
            "tile/0/0",
            "tile/0/0000",
            "tile/0/x000/000",
            "tile/0/000/000",
            "tile/0/x001/x000",
            "tile/0/x01/000",
            "tile/0/x001//000",
            "tile/0/000.p/",
            "tile/0/000.p/0",
            "tile/0/000.p/01",
            "tile/0/000.p/256",
            "tile/0/000.p/999",
            "tile/0/000.p/1/",
            "tile/0/000.p/1.p/1",
            "tile/0/000/",
            "tile/entries/",
            "tile/Entries/000",
            "tile/0/٠٠٠",
            "tile/0/x999/x999/x999/x999/x999/x999/999",
            "tile/0/../../checkpoint",
        ] {
            assert_eq!(Resource::parse(path), Err(PathError), "{path}");
        }
    }

    #[test]
    fn widths() {
        assert_eq!(width_at(70_000, 0, 272), Some(256));
        assert_eq!(width_at(70_000, 0, 273), Some(112));
        assert_eq!(width_at(70_000, 0, 274), None);
        assert_eq!(width_at(70_000, 1, 1), Some(17));
        assert_eq!(width_at(70_000, 2, 0), Some(1));
        assert_eq!(width_at(70_000, 3, 0), None);
        assert_eq!(width_at(256, 0, 0), Some(256));
        assert_eq!(width_at(256, 1, 0), Some(1));
        assert_eq!(width_at(256, 0, 1), None);
        assert_eq!(width_at(0, 0, 0), None);
        assert_eq!(width_at(u64::MAX, 63, 0), None);
        assert_eq!(width_at(u64::MAX, 0, u64::MAX), None);
    }

    proptest! {
        #[test]
        fn there_and_back(level in 0_u8..64, index: u64, width in 1_u16..=256, entries: bool) {
            let resource = if entries {
                Resource::Entries { index, width }
            } else {
                Resource::Tile { level, index, width }
            };
            prop_assert_eq!(Resource::parse(&resource.to_string()), Ok(resource));
        }

        #[test]
        fn what_is_read_is_written_the_same(path in "(tile/)?(entries/|[0-9]{1,2}/)?(x?[0-9]{3}/){0,7}[0-9]{0,4}(\\.p/[0-9]{0,3})?") {
            if let Ok(resource) = Resource::parse(&path) {
                prop_assert_eq!(resource.to_string(), path);
            }
        }
    }
}
