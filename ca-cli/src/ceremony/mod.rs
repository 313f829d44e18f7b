//! Ceremonies as they are held: a medium, people, a token, and a journal that survives a power cut.

mod access;
mod custody;
pub(crate) mod exchange;
mod failpoint;
mod journal;
mod people;
pub(crate) mod rehearse;
pub(crate) mod room;
mod run;
pub(crate) mod seal;
mod sign;
pub(crate) mod softtoken;
pub(crate) mod stand_in;
pub(crate) mod throwaway;

pub(crate) use access::Access;
pub(crate) use people::Terminal;
pub(crate) use room::Room;
pub(crate) use run::{Run, program};

use anyhow::Context as _;
use attest::{Entropy, EntropyError};

/// Random bytes of the operating system, by way of OpenSSL.
pub(crate) struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        openssl::rand::rand_bytes(out).map_err(|_| EntropyError)
    }
}

/// A digest as people compare it: groups, and six words on a line.
pub(crate) fn digest_lines(digest: &ceremony::Sha256) -> String {
    let words = ceremony::display::words(digest);
    let words: Vec<String> = words.chunks(6).map(|line| line.join(" ")).collect();
    format!("{}\n{}", ceremony::display::groups(digest), words.join("\n"))
}

/// A new serial number.
pub(crate) fn draw_serial() -> anyhow::Result<issuance::Serial> {
    issuance::Serial::draw(&mut OsEntropy).context("randomness")
}
