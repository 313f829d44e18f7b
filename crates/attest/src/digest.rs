//! SHA-2 in software that looks nothing up: OpenSSL 3 fetches an algorithm anew for every one-shot digest, which costs
//! more than hashing a certificate.
//!
//! For what is public. A hash in Rust leaves copies of what it was given on the stack; secrets go through OpenSSL, which
//! wipes its own.

use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// SHA-256.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// SHA-384.
#[must_use]
pub fn sha384(bytes: &[u8]) -> [u8; 48] {
    Sha384::digest(bytes).into()
}

/// SHA-512.
#[must_use]
pub fn sha512(bytes: &[u8]) -> [u8; 64] {
    Sha512::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digests_are_those_of_openssl() {
        for length in [0, 1, 55, 56, 64, 111, 112, 128, 1000] {
            let bytes = vec![0xa5; length];
            assert_eq!(sha256(&bytes), openssl::sha::sha256(&bytes), "{length}");
            assert_eq!(sha384(&bytes), openssl::sha::sha384(&bytes), "{length}");
            assert_eq!(sha512(&bytes), openssl::sha::sha512(&bytes), "{length}");
        }
    }
}
