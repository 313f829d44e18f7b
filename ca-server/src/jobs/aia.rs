//! Intermediates from where certificates say that they are: one wish after the other, in a thread of its own, never in a
//! request ([`crate::house::Aia`]).

use std::collections::BTreeMap;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use attest::trust::{CaFacts, ca_issuers, issuer_name};

use super::wait;
use crate::house::{Aia, House, Wish};

/// CAs above one another; real chains have three.
const LEVELS: usize = 6;
/// Connections for one wish.
const KNOCKS: usize = 8;
/// A URL that was asked is not asked again for so long, whatever it said.
const REST: Duration = Duration::from_secs(600);
/// URLs that are remembered so.
const REMEMBERED: usize = 1024;

pub(super) fn run(house: &House, stop: &Receiver<()>) {
    let Some(aia) = &house.aia else { return };
    let mut asked = Asked::default();
    while wait(stop, aia.terms.every) {
        if let Some(wish) = aia.next() {
            climb(aia, &|name| house.anchors.has_issuer(name), wish, &mut asked);
        }
    }
}

/// URLs that were asked, and when.
#[derive(Default)]
struct Asked(BTreeMap<String, Instant>);

impl Asked {
    /// Whether this URL may be asked now; it is remembered.
    fn may(&mut self, url: &str, now: Instant) -> bool {
        self.0.retain(|_, at| now.saturating_duration_since(*at) < REST);
        if self.0.contains_key(url) || self.0.len() >= REMEMBERED {
            return false;
        }
        self.0.insert(url.to_owned(), now);
        true
    }
}

/// Go up from a certificate: over what its device brought and what was fetched before; what is missing is fetched.
fn climb(aia: &Aia, known: &dyn Fn(&[u8]) -> bool, wish: Wish, asked: &mut Asked) {
    let mut below = wish.certificate;
    let mut knocks = 0;
    for _ in 0..LEVELS {
        let Some(name) = issuer_name(&below) else { return };
        if known(&name) {
            return;
        }
        let called = |der: &[u8]| CaFacts::read(der).is_ok_and(|facts| facts.subject == name);
        let above = match aia.named(&name).first() {
            Some(held) => Some(held.to_vec()),
            None => wish.offered.iter().find(|der| called(der)).cloned(),
        };
        let above = above.or_else(|| {
            ca_issuers(&below).into_iter().find_map(|url| {
                if knocks >= KNOCKS || !aia.fetcher.would_ask(&url) || !asked.may(&url, Instant::now()) {
                    return None;
                }
                knocks += 1;
                match fetch(aia, &url, &called) {
                    Ok(der) => {
                        tracing::info!(
                            url,
                            sha256 = hex::encode(attest::sha256(&der)),
                            "an intermediate was fetched"
                        );
                        Some(der)
                    }
                    Err(why) => {
                        tracing::warn!(url, why, "no intermediate was fetched");
                        None
                    }
                }
            })
        });
        match above {
            Some(above) if above != below => below = above,
            _ => return,
        }
    }
}

/// The CA at a URL that has the name that is looked for, kept.
fn fetch(aia: &Aia, url: &str, called: &dyn Fn(&[u8]) -> bool) -> Result<Vec<u8>, String> {
    let bytes = aia.fetcher.fetch(url)?;
    let all = match openssl::x509::X509::stack_from_pem(&bytes) {
        Ok(found) if !found.is_empty() => found.iter().filter_map(|one| one.to_der().ok()).collect(),
        _ => vec![bytes],
    };
    let found = all.into_iter().find(|der| called(der));
    let der = found.ok_or("no CA with the issuer's name is there")?;
    aia.keep(&der).map_err(|e| e.to_string())?;
    Ok(der)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d01_a_url_is_asked_once_in_a_while_and_memory_is_bounded() {
        let (mut asked, now) = (Asked::default(), Instant::now());
        assert!(asked.may("http://a/", now));
        assert!(!asked.may("http://a/", now + REST / 2));
        assert!(asked.may("http://a/", now + REST));
        for n in 0..REMEMBERED {
            let _ = asked.may(&format!("http://b/{n}"), now + REST);
        }
        assert_eq!(asked.0.len(), REMEMBERED);
        assert!(!asked.may("http://c/", now + REST), "no room");
        assert!(asked.may("http://c/", now + REST * 2));
    }
}
