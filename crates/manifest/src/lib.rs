//! The manifest of a lot: the devices that a factory made, their EKs and identities, under one signature.
//!
//! A manifest is a text of lines, each one JSON object in the one spelling this crate writes:
//!
//! ```text
//! {"holdfast_manifest":1,"kind":"lot","lot":"2026-47-B","maker":"Example GmbH","made_at":1795305600}
//! {"serial":"GW-00412","model":"GW-7","ek":["9f..."],"identities":[]}      one line a device, serials ascending
//! {"entries":1,"root":"41..."}                                            RFC 6962 root over all lines above
//! {"algorithm":"ecdsa-p256-sha256","key":"...","signature":"..."}
//! ```
//!
//! Lines are read one by one: memory does not grow with the lot. What the signature covers, and by which key it is made,
//! is the caller's affair ([`Closing::digest`] is what it stands on); this crate knows no key and no file. Pure.

mod close;
mod entry;
mod header;
mod proof;
mod reader;
mod tree;
mod writer;

pub use close::{Closing, Seal};
pub use entry::{Entry, Identity};
pub use header::{Header, Kind};
pub use proof::{Proof, Proven};
pub use reader::{Read, ReadError, Reader};
pub use tree::{Hash, Tree, root_of};
pub use writer::{WriteError, Writer};

/// Longest line, in octets, without its end.
pub const LONGEST_LINE: usize = 16 * 1024;

/// A line that is not what its place in a manifest wants.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadLine(pub(crate) String);

/// A line of one shape, in the one spelling there is: what is written back is what was read.
pub(crate) fn exactly<T>(line: &[u8]) -> Result<T, BadLine>
where
    T: serde::de::DeserializeOwned + serde::Serialize,
{
    let value: T = wire::parse(line).map_err(|e| BadLine(e.detail))?;
    if spelled(&value)? == line {
        Ok(value)
    } else {
        Err(BadLine(
            "not the one spelling: order of members, spaces, escapes, letter case".to_owned(),
        ))
    }
}

/// The one spelling of a line.
pub(crate) fn spelled<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, BadLine> {
    serde_json::to_vec(value).map_err(|e| BadLine(e.to_string()))
}

/// Text of people in a manifest: 1 to `longest` characters, none of which a terminal would obey.
pub(crate) fn text(what: &str, value: &str, longest: usize) -> Result<(), BadLine> {
    let length = value.chars().count();
    if (1..=longest).contains(&length) && !value.contains(char::is_control) && value.trim() == value {
        Ok(())
    } else {
        Err(BadLine(format!(
            "{what}: 1 to {longest} characters, no control characters, no space at its ends"
        )))
    }
}

/// SHA-256 in lower-case hex.
pub(crate) fn digest(what: &str, value: &str) -> Result<Hash, BadLine> {
    let lower = value.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let mut out = [0; 32];
    if lower && hex::decode_to_slice(value, &mut out).is_ok() {
        Ok(out)
    } else {
        Err(BadLine(format!("{what}: 64 lower-case hex digits")))
    }
}
