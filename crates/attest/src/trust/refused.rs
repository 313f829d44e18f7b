//! CAs that nothing may be believed through.

use super::issuer::Issuer;
use super::{CaSource, HashOf, RefusedHash, Standing};
use crate::ek::certificate_spki;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Refused CAs, by certificate and by key. A key is looked up in its canonical form, so that another encoding, a renewal
/// or a cross-certificate of it is refused too.
#[derive(Debug, Default)]
pub(super) struct Refused {
    certificates: BTreeMap<[u8; 32], Arc<str>>,
    keys: BTreeMap<[u8; 32], Arc<str>>,
}

impl Refused {
    pub(super) fn new(others: &[CaSource], hashes: &[RefusedHash]) -> Self {
        let mut refused = Self::default();
        for ca in others.iter().filter(|ca| ca.standing == Standing::Refused) {
            let name: Arc<str> = ca.name.as_str().into();
            refused
                .certificates
                .insert(crate::digest::sha256(&ca.certificate), name.clone());
            // A key that is not read here is none that could sign anything here.
            if let Ok(spki) = certificate_spki(&ca.certificate) {
                refused.keys.insert(crate::digest::sha256(&spki), name);
            }
        }
        for hash in hashes {
            let (map, sha256) = match hash.of {
                HashOf::Certificate(sha256) => (&mut refused.certificates, sha256),
                HashOf::Key(sha256) => (&mut refused.keys, sha256),
            };
            map.insert(sha256, hash.name.as_str().into());
        }
        refused
    }

    /// Each, in a line.
    pub(super) fn lines(&self) -> impl Iterator<Item = String> {
        let of = |what: &'static str, map: &BTreeMap<[u8; 32], Arc<str>>| {
            let lines: Vec<String> = map
                .iter()
                .map(|(sha256, name)| format!("refused {what} {} {name}", hex::encode(sha256)))
                .collect();
            lines
        };
        let certificates = of("certificate", &self.certificates);
        certificates.into_iter().chain(of("key", &self.keys))
    }

    /// Name under which this CA is refused.
    pub(super) fn name_of(&self, issuer: &Issuer) -> Option<Arc<str>> {
        self.by_hash(&issuer.sha256, &issuer.spki_sha256)
    }

    /// The same of any certificate and key.
    pub(super) fn by_hash(&self, certificate: &[u8; 32], key: &[u8; 32]) -> Option<Arc<str>> {
        self.certificates
            .get(certificate)
            .or_else(|| self.keys.get(key))
            .cloned()
    }
}
