//! A CA key in a token.

use issuance::{CaKey, KeyError, SignatureAlgorithm, ToSign};

/// A private key in a token whose attributes were proven. `Send + Sync`; each signature leases a session.
pub struct HsmKey {
    _todo: (),
}

impl CaKey for HsmKey {
    fn algorithm(&self) -> SignatureAlgorithm {
        todo!()
    }
    fn spki(&self) -> &[u8] {
        todo!()
    }
    fn sign(&self, _what: ToSign<'_>) -> Result<Vec<u8>, KeyError> {
        todo!()
    }
}
