//! A key cannot keep what it was cleared to sign, to sign it later.
use std::sync::Mutex;

use issuance::{CaKey, KeyError, SignatureAlgorithm, ToSign};

struct Hoarder(Mutex<Vec<ToSign<'static>>>);

impl CaKey for Hoarder {
    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::EcdsaP256Sha256
    }
    fn spki(&self) -> &[u8] {
        &[]
    }
    fn sign(&self, what: ToSign<'_>) -> Result<Vec<u8>, KeyError> {
        self.0.lock().unwrap().push(what);
        Ok(Vec::new())
    }
}

fn main() {}
