//! Tickets: the bytes as they come, and the fields inside, which only someone with the key can write. No panic.
#![no_main]

use attest::{Pending, SealKey, UnixTime};
use libfuzzer_sys::fuzz_target;
use openssl::symm::{Cipher, encrypt_aead};

const KEY: [u8; 32] = [1; 32];
const ID: [u8; 16] = [7; 16];

/// A ticket as `Pending::seal` writes it, with these fields inside.
fn seal(fields: &[u8]) -> Vec<u8> {
    let key_id = &openssl::sha::sha256(&[b"holdfast-ticket-key-id\0", &KEY[..]].concat())[..4];
    let aad = [b"holdfast-ticket-v1\0", key_id, &ID].concat();
    let (nonce, mut tag) = ([2; 12], [0; 16]);
    let sealed = encrypt_aead(Cipher::aes_256_gcm(), &KEY, Some(&nonce), &aad, fields, &mut tag).expect("AES-GCM");
    [&[1], key_id, &nonce, &sealed, &tag].concat()
}

fuzz_target!(|bytes: &[u8]| {
    let key = SealKey::new(&KEY, &[]);
    let now = UnixTime(10);
    assert!(
        Pending::open(&key, &ID, bytes, now).is_err(),
        "opened what nobody sealed"
    );
    if let Ok(pending) = Pending::open(&key, &ID, &seal(bytes), now) {
        assert_eq!(pending.context().id, ID);
        assert!(pending.context().expires_at >= now);
    }
});
