//! Intermediates that were fetched from where certificates say that they are, and wishes for others. Nothing here fetches:
//! a request leaves a wish, a job of its own works on it ([`crate::jobs`]), and a later request finds what came.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use aia::Fetcher;
use attest::trust::{CaFacts, ca_issuers, issuer_name};

use super::folder;
use crate::config::AiaTerms;

/// Wishes that wait.
const WISHES: usize = 64;
/// CAs that are held, and of one name.
const HELD: usize = 512;
const OF_ONE_NAME: usize = 4;
/// Longest certificate.
const BYTES: usize = 16 << 10;
/// What a request may have of certificates, its own and those that are added (the path validator's bounds).
const CHAIN: usize = 16;
const CHAIN_BYTES: usize = 64 << 10;
/// CAs that are added to one request.
const ADDED: usize = 8;

/// A certificate whose issuer was not found, and the CAs that came with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The EK certificate, DER.
    pub certificate: Vec<u8>,
    /// What the device brought, DER.
    pub offered: Vec<Vec<u8>>,
}

/// CAs (DER) by their names.
type Named = BTreeMap<Vec<u8>, Vec<Arc<[u8]>>>;

/// What was fetched, and what is wished for.
#[derive(Debug)]
pub struct Aia {
    /// Terms.
    pub terms: AiaTerms,
    /// Whom to ask.
    pub fetcher: Fetcher,
    held: RwLock<Named>,
    wishes: Mutex<VecDeque<Wish>>,
}

impl Aia {
    /// Open the folder, or make it. A file that is not the CA of its name is passed over.
    ///
    /// # Errors
    /// The system's.
    pub fn open(terms: AiaTerms) -> io::Result<Self> {
        std::fs::create_dir_all(&terms.folder)?;
        let fetcher = Fetcher {
            hosts: terms.hosts.clone(),
            pinned: terms.resolve.clone(),
            ..Fetcher::default()
        };
        let aia = Self {
            fetcher,
            held: RwLock::default(),
            wishes: Mutex::default(),
            terms,
        };
        for entry in std::fs::read_dir(&aia.terms.folder)? {
            let path = entry?.path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            if name.as_ref().is_none_or(|name| name.starts_with('.')) {
                continue;
            }
            let der = std::fs::read(&path)?;
            let own = format!("{}.der", hex::encode(attest::sha256(&der)));
            if Some(own) != name || !aia.take(&der) {
                tracing::warn!(file = %path.display(), "not a CA that was kept here: passed over");
            }
        }
        Ok(aia)
    }

    /// Hold a CA: false if it is none, or there is no room.
    fn take(&self, der: &[u8]) -> bool {
        let Ok(facts) = CaFacts::read(der) else { return false };
        if der.len() > BYTES {
            return false;
        }
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        let all: usize = held.values().map(Vec::len).sum();
        let of_name = held.entry(facts.subject).or_default();
        if of_name.iter().any(|there| there.as_ref() == der) {
            return true;
        }
        if all >= HELD || of_name.len() >= OF_ONE_NAME {
            return false;
        }
        of_name.push(der.into());
        true
    }

    /// Keep a CA that was fetched, on disk and here.
    ///
    /// # Errors
    /// The system's; it is no CA; there is no room.
    pub fn keep(&self, der: &[u8]) -> io::Result<()> {
        if !self.take(der) {
            return Err(io::Error::other("no CA, or no room for it"));
        }
        let file = format!("{}.der", hex::encode(attest::sha256(der)));
        folder::replace(&self.terms.folder.join(file), der)
    }

    /// CAs of this name (DER) that were fetched.
    #[must_use]
    pub fn named(&self, name: &[u8]) -> Vec<Arc<[u8]>> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        held.get(name).cloned().unwrap_or_default()
    }

    /// Add what was fetched to what a device brings, where a name fits: links only, judged like its own.
    pub fn complete(&self, certificate: &[u8], chain: &mut Vec<Vec<u8>>) {
        if self.held.read().unwrap_or_else(PoisonError::into_inner).is_empty() || chain.len() > CHAIN {
            return;
        }
        let mut bytes: usize = chain.iter().map(Vec::len).sum();
        let below = core::iter::once(certificate).chain(chain.iter().map(Vec::as_slice));
        let mut wanted: Vec<Vec<u8>> = below.filter_map(issuer_name).collect();
        let (mut at, mut added) = (0, 0);
        while let Some(name) = wanted.get(at).cloned() {
            at = at.saturating_add(1);
            for ca in self.named(&name) {
                let room = added < ADDED && chain.len() < CHAIN && bytes.saturating_add(ca.len()) <= CHAIN_BYTES;
                if !room {
                    return;
                }
                if chain.iter().any(|there| there.as_slice() == ca.as_ref()) {
                    continue;
                }
                bytes = bytes.saturating_add(ca.len());
                added += 1;
                wanted.extend(issuer_name(&ca).filter(|above| !wanted.contains(above)));
                chain.push(ca.to_vec());
            }
        }
    }

    /// Leave a wish for what is above a certificate, if a host of the list is said to have it. Nothing is looked up.
    pub fn wish(&self, wish: Wish) {
        let said = core::iter::once(&wish.certificate).chain(&wish.offered);
        let somewhere = said
            .flat_map(|der| ca_issuers(der))
            .any(|url| self.fetcher.would_ask(&url));
        if !somewhere {
            return;
        }
        let mut wishes = self.wishes.lock().unwrap_or_else(PoisonError::into_inner);
        if wishes.len() < WISHES && !wishes.contains(&wish) {
            wishes.push_back(wish);
        }
    }

    /// The oldest wish.
    pub fn next(&self) -> Option<Wish> {
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}
