//! Backup, restoring and destruction, on two real tokens.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, KeyType, ObjectClass};
use issuance::{CaKey as _, SignatureAlgorithm as A};
use zeroize::Zeroizing;

use super::kit::{self, Home, P256, generate, open, refusal, secret, verifies};
use crate::{GeneratedKey, HsmError, KeyCustody, KeySpec, PinWarning, Token};

fn spec(id: u8, algorithm: A) -> KeySpec {
    KeySpec {
        label: format!("key-{id}"),
        id: vec![id],
        algorithm,
    }
}

fn wrapping() -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    openssl::rand::rand_bytes(&mut *key).unwrap();
    key
}

/// A backed-up, closed key on token `one`, its backup, and the empty token `two`.
struct Pair {
    one: Token,
    two: Token,
    made: GeneratedKey,
    key: Zeroizing<[u8; 32]>,
    backup: Vec<u8>,
}

fn pair(home: &Home, algorithm: A) -> Pair {
    let (one, two) = (open(home.token("one")), open(home.token("two")));
    let made = one.generate_for_backup(&spec(1, algorithm)).unwrap();
    let key = wrapping();
    let backup = one.back_up(&made.id, &made.spki, algorithm, &key).unwrap();
    one.close(&made.id, &made.spki, algorithm).unwrap();
    Pair {
        one,
        two,
        made,
        key,
        backup,
    }
}

fn objects(token: &Token) -> usize {
    let held = token.pool().read_write().unwrap();
    held.enter().unwrap().find_objects(&[]).unwrap().len()
}

fn told<'a>(attributes: &'a [(String, String)], name: &str) -> Option<&'a str> {
    attributes
        .iter()
        .find(|(n, _)| n == name)
        .map(|(_, value)| value.as_str())
}

#[test]
fn a_backup_is_restored_to_a_second_token_and_signs() {
    kit::stages(&[|home| {
        for (n, algorithm) in [P256, A::EcdsaP384Sha384, A::Rsa3072PssSha256].into_iter().enumerate() {
            let (one, two) = (
                open(home.token(&format!("one{n}"))),
                open(home.token(&format!("two{n}"))),
            );
            let made = one.generate_for_backup(&spec(1, algorithm)).unwrap();
            assert_eq!(told(&made.attributes, "CKA_EXTRACTABLE"), Some("true"));
            let key = wrapping();
            let backup = one.back_up(&made.id, &made.spki, algorithm, &key).unwrap();
            assert_eq!(backup.len() % 8, 0, "RFC 5649");
            let closed = one.close(&made.id, &made.spki, algorithm).unwrap();
            assert_eq!(told(&closed, "CKA_EXTRACTABLE"), Some("false"));
            let restored = two.restore(&spec(1, algorithm), &made.spki, &backup, &key).unwrap();
            assert_eq!(restored.spki, made.spki);
            // As closed as the original, and honest about its past.
            for name in [
                "CKA_EXTRACTABLE",
                "CKA_DECRYPT",
                "CKA_UNWRAP",
                "CKA_DERIVE",
                "CKA_LOCAL",
            ] {
                assert_eq!(told(&restored.attributes, name), Some("false"), "{name}");
            }
            for name in ["CKA_SENSITIVE", "CKA_SIGN", "CKA_TOKEN", "CKA_PRIVATE"] {
                assert_eq!(told(&restored.attributes, name), Some("true"), "{name}");
            }
            let signer = two
                .kept_key(&[1], &made.spki, algorithm, KeyCustody::WrappedBackup)
                .unwrap();
            let signature = signer.sign_bytes(b"message").unwrap();
            assert!(verifies(&made.spki, algorithm, b"message", &signature));
            assert_eq!(signer.spki(), made.spki);
            // Neither the original nor the copy passes as a key that never left.
            for token in [&one, &two] {
                let error = token.ca_key(&[1], &made.spki, algorithm).unwrap_err();
                assert!(matches!(error, HsmError::Attribute { .. }), "{error}");
            }
            // No wrapping key stays behind on either: one pair of objects each.
            assert_eq!((objects(&one), objects(&two)), (2, 2));
        }
    }]);
}

#[test]
fn h01_a_key_that_never_leaves_is_not_backed_up() {
    kit::stages(&[|home| {
        let token = open(home.token("ca"));
        let made = generate(&token, 1, P256);
        let error = refusal(token.back_up(&[1], &made.spki, P256, &wrapping()));
        assert!(error.contains("never leaves its token"), "{error}");
        // The token itself refuses, too.
        let held = token.pool().read_write().unwrap();
        let session = held.enter().unwrap();
        let wrapper = aes(&session, &[Attribute::Wrap(true)]);
        let private = session
            .find_objects(&[Attribute::Class(ObjectClass::PRIVATE_KEY)])
            .unwrap()[0];
        assert!(session.wrap_key(&Mechanism::AesKeyWrapPad, wrapper, private).is_err());
    }]);
}

#[test]
fn h01_a_closed_key_is_not_backed_up_again_and_not_opened() {
    kit::stages(&[|home| {
        let pair = pair(home, P256);
        let error = refusal(pair.one.back_up(&[1], &pair.made.spki, P256, &wrapping()));
        assert!(error.contains("never leaves its token"), "{error}");
        let held = pair.one.pool().read_write().unwrap();
        let session = held.enter().unwrap();
        let private = session
            .find_objects(&[Attribute::Class(ObjectClass::PRIVATE_KEY)])
            .unwrap()[0];
        assert!(
            session
                .update_attributes(private, &[Attribute::Extractable(true)])
                .is_err()
        );
        // Closing twice is closing once.
        pair.one.close(&[1], &pair.made.spki, P256).unwrap();
        // Nor does the copy leave the second token.
        pair.two
            .restore(&spec(1, P256), &pair.made.spki, &pair.backup, &pair.key)
            .unwrap();
        let error = refusal(pair.two.back_up(&[1], &pair.made.spki, P256, &wrapping()));
        assert!(error.contains("never leaves its token"), "{error}");
    }]);
}

fn aes(session: &cryptoki::session::Session, more: &[Attribute]) -> cryptoki::object::ObjectHandle {
    let mut template = vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Token(false),
        Attribute::Value(vec![7; 32]),
    ];
    template.extend_from_slice(more);
    session.create_object(&template).unwrap()
}

#[test]
fn h01_no_backup_beside_a_key_that_wraps_and_decrypts() {
    kit::stages(&[|home| {
        let token = open(home.token("ca"));
        let made = token.generate_for_backup(&spec(1, P256)).unwrap();
        let held = token.pool().read_write().unwrap();
        let bad = {
            let session = held.enter().unwrap();
            aes(
                &session,
                &[Attribute::Token(true), Attribute::Wrap(true), Attribute::Decrypt(true)][1..],
            )
        };
        let error = refusal(token.back_up(&[1], &made.spki, P256, &wrapping()));
        assert!(error.contains("CKA_WRAP and CKA_DECRYPT"), "{error}");
        held.enter().unwrap().destroy_object(bad).unwrap();
        token.back_up(&[1], &made.spki, P256, &wrapping()).unwrap();
    }]);
}

#[test]
fn only_the_named_key_is_backed_up_or_closed() {
    kit::stages(&[|home| {
        let token = open(home.token("ca"));
        let one = token.generate_for_backup(&spec(1, P256)).unwrap();
        let two = token.generate_for_backup(&spec(2, P256)).unwrap();
        let error = refusal(token.back_up(&[1], &two.spki, P256, &wrapping()));
        assert!(error.contains("not the one that is meant"), "{error}");
        let error = refusal(token.close(&[1], &two.spki, P256));
        assert!(error.contains("not the one that is meant"), "{error}");
        token.back_up(&[1], &one.spki, P256, &wrapping()).unwrap();
        assert!(refusal(token.generate_for_backup(&spec(1, P256))).contains("already"));
    }]);
}

#[test]
fn a_wrong_wrapping_key_or_a_changed_backup_restores_nothing() {
    kit::stages(&[|home| {
        let pair = pair(home, P256);
        let restore =
            |key: &Zeroizing<[u8; 32]>, backup: &[u8]| pair.two.restore(&spec(1, P256), &pair.made.spki, backup, key);
        let error = refusal(restore(&wrapping(), &pair.backup));
        assert!(error.contains("does not open under this wrapping key"), "{error}");
        for at in [0, 7, 8, pair.backup.len() / 2, pair.backup.len() - 1] {
            let mut spoilt = pair.backup.clone();
            spoilt[at] ^= 1;
            assert!(restore(&pair.key, &spoilt).is_err(), "{at}");
        }
        for length in [0, 8, 16, pair.backup.len() - 8, pair.backup.len() - 1] {
            assert!(restore(&pair.key, &pair.backup[..length]).is_err(), "{length}");
        }
        assert_eq!(objects(&pair.two), 0, "nothing stays behind");
        restore(&pair.key, &pair.backup).unwrap();
        let error = refusal(restore(&pair.key, &pair.backup));
        assert!(error.contains("CKA_ID 01 already"), "{error}");
        assert_eq!(objects(&pair.two), 2);
    }]);
}

#[test]
fn a_backup_of_another_key_is_found_by_its_signature_and_destroyed() {
    kit::stages(&[|home| {
        let pair = pair(home, P256);
        let other = pair.one.generate_for_backup(&spec(2, P256)).unwrap();
        let backup = pair.one.back_up(&[2], &other.spki, P256, &pair.key).unwrap();
        // Well wrapped, the right kind, the wrong key.
        let error = refusal(pair.two.restore(&spec(1, P256), &pair.made.spki, &backup, &pair.key));
        assert!(error.contains("the private key is another one"), "{error}");
        assert_eq!(objects(&pair.two), 0);
        // A key of another kind.
        let large = pair.one.generate_for_backup(&spec(3, A::Rsa3072PssSha256)).unwrap();
        let backup = pair
            .one
            .back_up(&[3], &large.spki, A::Rsa3072PssSha256, &pair.key)
            .unwrap();
        assert!(
            pair.two
                .restore(&spec(1, P256), &pair.made.spki, &backup, &pair.key)
                .is_err()
        );
        assert!(
            pair.two
                .restore(&spec(1, P256), &large.spki, &backup, &pair.key)
                .is_err()
        );
        assert_eq!(objects(&pair.two), 0);
    }]);
}

#[test]
fn a_destroyed_key_is_gone_and_signs_no_more() {
    kit::stages(&[
        |home| {
            let token = open(home.token("ca"));
            let (made, stays) = (generate(&token, 1, P256), generate(&token, 2, P256));
            let signer = token.ca_key(&[1], &made.spki, P256).unwrap();
            signer.sign_bytes(b"before").unwrap();
            // Another key's name does not destroy this one.
            let error = refusal(token.destroy(&[1], &stays.spki, P256));
            assert!(error.contains("not the one that is meant"), "{error}");
            signer.sign_bytes(b"still").unwrap();
            assert!(!token.is_free(&[1]).unwrap());
            let gone = token.destroy(&[1], &made.spki, P256).unwrap();
            assert_eq!(gone.destroyed, 2);
            assert!(gone.refusal.unwrap().starts_with("C_SignInit: CKR_"));
            assert!(token.is_free(&[1]).unwrap());
            assert!(signer.sign_bytes(b"after").is_err());
            assert!(refusal(token.destroy(&[1], &made.spki, P256)).contains("no public key with CKA_ID 01"));
            token
                .ca_key(&[2], &stays.spki, P256)
                .unwrap()
                .sign_bytes(b"other")
                .unwrap();
        },
        |home| {
            // Gone after a restart as well.
            let token = open(home.config("ca"));
            assert!(token.is_free(&[1]).unwrap() && !token.is_free(&[2]).unwrap());
        },
    ]);
}

#[test]
fn a_destruction_that_was_cut_off_goes_on() {
    kit::stages(&[|home| {
        let token = open(home.token("ca"));
        let made = generate(&token, 1, P256);
        let held = token.pool().read_write().unwrap();
        {
            let session = held.enter().unwrap();
            let private = session
                .find_objects(&[Attribute::Class(ObjectClass::PRIVATE_KEY)])
                .unwrap()[0];
            session.destroy_object(private).unwrap();
        }
        let gone = token.destroy(&[1], &made.spki, P256).unwrap();
        assert_eq!((gone.destroyed, gone.refusal), (1, None));
        assert!(token.is_free(&[1]).unwrap());
    }]);
}

#[test]
fn a_private_key_under_anothers_public_key_is_not_destroyed() {
    kit::stages(&[|home| {
        let token = open(home.token("ca"));
        let (one, two) = (
            generate(&token, 1, P256),
            token.generate_for_backup(&spec(2, P256)).unwrap(),
        );
        // Key 1's public half beside key 2's private one: the halves of key 1 and 2 change places.
        let held = token.pool().read_write().unwrap();
        {
            let session = held.enter().unwrap();
            let find = |class, id: u8| {
                session
                    .find_objects(&[Attribute::Class(class), Attribute::Id(vec![id])])
                    .unwrap()[0]
            };
            session.destroy_object(find(ObjectClass::PRIVATE_KEY, 1)).unwrap();
            let private = find(ObjectClass::PRIVATE_KEY, 2);
            session.update_attributes(private, &[Attribute::Id(vec![1])]).unwrap();
        }
        let error = refusal(token.destroy(&[1], &one.spki, P256));
        assert!(error.contains("the private key is another one"), "{error}");
        assert_ne!(one.spki, two.spki);
        assert_eq!(objects(&token), 3);
    }]);
}

#[test]
fn an_officer_signs_with_a_card_key() {
    kit::stages(&[|home| {
        let token = open(home.token("card"));
        for (id, algorithm) in [(1, P256), (2, A::EcdsaP384Sha384), (3, A::Rsa3072Pkcs1Sha256)] {
            let made = generate(&token, id, algorithm);
            let signed = token
                .sign_as_officer(&[id], |spki, found| {
                    assert_eq!((spki, found), (&made.spki[..], algorithm));
                    Some(b"statement".to_vec())
                })
                .unwrap();
            assert!(verifies(&signed.spki, algorithm, b"statement", &signed.signature));
        }
        // A key that could leave the card is no officer's.
        token.generate_for_backup(&spec(4, P256)).unwrap();
        let error = token.sign_as_officer(&[4], |_, _| Some(vec![])).unwrap_err();
        assert!(matches!(
            error,
            HsmError::Attribute {
                attribute: "CKA_EXTRACTABLE",
                ..
            }
        ));
        assert!(refusal(token.sign_as_officer(&[9], |_, _| Some(vec![]))).contains("no private key"));
        assert!(refusal(token.sign_as_officer(&[1], |_, _| None)).contains("nothing to sign"));
    }]);
}

#[test]
fn the_pin_is_changed_and_the_old_one_opens_no_more() {
    kit::stages(&[
        |home| {
            let token = open(home.token("ca"));
            generate(&token, 1, P256);
            assert!(token.change_pin(&secret("wrong"), &secret("another-pin")).is_err());
            token.change_pin(&secret(kit::PIN), &secret("ACDEFHJKMNPR")).unwrap();
        },
        |home| {
            let token = Token::open_despite(home.config("ca"), secret("ACDEFHJKMNPR"), PinWarning::CountLow).unwrap();
            assert!(!token.is_free(&[1]).unwrap());
        },
        |home| assert!(Token::open(home.config("ca"), secret(kit::PIN)).is_err()),
    ]);
}

#[test]
fn everything_but_the_secret_is_told() {
    kit::stages(&[|home| {
        let token = open(home.token("ca"));
        let made = generate(&token, 1, P256);
        let told_of_it = token.describe(&[1]).unwrap();
        for (name, value) in [
            ("private CKA_LABEL", "key-1"),
            ("private CKA_ID", "01"),
            ("private CKA_SENSITIVE", "true"),
            ("private CKA_EXTRACTABLE", "false"),
            ("private CKA_KEY_GEN_MECHANISM", "CKM_EC_KEY_PAIR_GEN"),
            ("public CKA_VERIFY", "true"),
            ("public CKA_EC_PARAMS", "06082a8648ce3d030107"),
        ] {
            assert_eq!(told(&told_of_it, name), Some(value), "{name}: {told_of_it:#?}");
        }
        let point = told(&told_of_it, "public CKA_EC_POINT").unwrap();
        assert!(hex::encode(&made.spki).ends_with(&point[6..]));
        assert!(token.describe(&[9]).is_err());
    }]);
}
