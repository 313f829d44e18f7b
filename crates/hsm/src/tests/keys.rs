//! Signing, and which key is taken.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass};
use issuance::{CaKey, KeyError, SignatureAlgorithm as A};

use super::kit::{self, P256, generate, open, refusal, verifies};
use crate::{HsmKey, attributes, public, scheme};

#[test]
fn every_algorithm_signs_what_openssl_accepts() {
    kit::stages(&[|home| {
        let token = open(home.token("ca"));
        let uses: [(u8, A, &[A]); 4] = [
            (1, A::EcdsaP256Sha256, &[A::EcdsaP256Sha256]),
            (2, A::EcdsaP384Sha384, &[A::EcdsaP384Sha384]),
            (3, A::Rsa3072PssSha256, &[A::Rsa3072Pkcs1Sha256, A::Rsa3072PssSha256]),
            (4, A::Rsa4096Pkcs1Sha256, &[A::Rsa4096Pkcs1Sha256, A::Rsa4096PssSha256]),
        ];
        for (id, made_for, algorithms) in uses {
            let made = generate(&token, id, made_for);
            for algorithm in algorithms {
                let key = token.ca_key(&[id], &made.spki, *algorithm).unwrap();
                assert_eq!((key.algorithm(), key.spki()), (*algorithm, &made.spki[..]));
                for message in [&b""[..], b"to be signed", &[0xa5; 100_000]] {
                    let signature = key.sign_bytes(message).unwrap();
                    assert!(verifies(&made.spki, *algorithm, message, &signature), "{algorithm:?}");
                    assert!(
                        !verifies(&made.spki, *algorithm, b"another text", &signature),
                        "{algorithm:?}"
                    );
                }
                issuance::probe(&key).unwrap();
            }
        }
    }]);
}

#[test]
fn a_key_is_taken_only_if_it_is_the_certificates() {
    kit::stages(&[|home| {
        let token = open(home.token("ca"));
        let (one, two) = (generate(&token, 1, P256), generate(&token, 2, P256));
        let p384 = generate(&token, 3, A::EcdsaP384Sha384);
        token.ca_key(&[1], &one.spki, P256).unwrap();
        let refused = |id: u8, spki: &[u8], algorithm| refusal(token.ca_key(&[id], spki, algorithm));
        assert!(refused(1, &two.spki, P256).contains("is not the certificate's"));
        assert!(refused(9, &one.spki, P256).contains("no private key with CKA_ID 09"));
        assert!(refused(1, &one.spki, A::EcdsaP384Sha384).contains("is not one for ECDSA P-384"));
        assert!(refused(3, &p384.spki, P256).contains("is not one for ECDSA P-256"));
        assert!(refused(1, &one.spki, A::Rsa3072PssSha256).contains("is not one for RSA-3072"));
    }]);
}

#[test]
fn a_key_that_no_certificate_names_is_taken_as_the_token_has_it() {
    kit::stages(&[|home| {
        let token = open(home.token("ca"));
        for (id, algorithm) in [(1, P256), (2, A::EcdsaP384Sha384), (3, A::Rsa3072PssSha256)] {
            let made = generate(&token, id, algorithm);
            let key = token.own_key(&[id], algorithm).unwrap();
            assert_eq!((key.algorithm(), key.spki()), (algorithm, &made.spki[..]));
            issuance::probe(&key).unwrap();
        }
        let refused = |id: u8, algorithm| refusal(token.own_key(&[id], algorithm));
        assert!(refused(9, P256).contains("no private key with CKA_ID 09"));
        assert!(refused(2, P256).contains("is not one for ECDSA P-256"));
        assert!(refused(3, A::Rsa4096PssSha256).contains("is not one for RSA-4096"));
        raw_pair(&token, 1, "twin");
        assert!(refused(1, P256).contains("2 private keys"), "{}", refused(1, P256));
    }]);
}

#[test]
fn an_rsa_key_of_another_size_is_refused() {
    kit::stages(&[|home| {
        let token = open(home.token("ca"));
        let made = generate(&token, 1, A::Rsa3072PssSha256);
        let error = refusal(token.ca_key(&[1], &made.spki, A::Rsa4096PssSha256));
        assert!(error.contains("is not one for RSA-4096"), "{error}");
    }]);
}

/// A key pair made past our own refusals.
fn raw_pair(token: &crate::Token, id: u8, label: &str) {
    let held = token.pool().read_write().unwrap();
    let names = [Attribute::Id(vec![id]), Attribute::Label(label.as_bytes().to_vec())];
    let mut public = vec![
        Attribute::Token(true),
        Attribute::EcParams(public::curve_oid(openssl::nid::Nid::X9_62_PRIME256V1).to_vec()),
    ];
    public.extend(names.clone());
    let mut private = attributes::private_template();
    private.extend(names);
    held.enter()
        .unwrap()
        .generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private)
        .unwrap();
}

#[test]
fn two_keys_of_one_id_are_refused_and_two_of_one_label_have_no_id() {
    kit::stages(&[|home| {
        let token = open(home.token("ca"));
        let made = generate(&token, 1, P256);
        assert_eq!(token.id_of("key-1").unwrap(), [1]);
        assert!(refusal(token.id_of("key-9")).contains("0 private keys"));
        raw_pair(&token, 2, "key-1");
        token.ca_key(&[1], &made.spki, P256).unwrap();
        assert!(refusal(token.id_of("key-1")).contains("2 private keys"));
        raw_pair(&token, 1, "other");
        assert!(refusal(token.ca_key(&[1], &made.spki, P256)).contains("2 private keys with CKA_ID 01"));
    }]);
}

#[test]
fn a_private_key_without_its_public_half_is_refused() {
    kit::stages(&[|home| {
        let token = open(home.token("ca"));
        let made = generate(&token, 1, P256);
        let held = token.pool().read_write().unwrap();
        let session = held.enter().unwrap();
        let public = public::one(&session, ObjectClass::PUBLIC_KEY, &[1]).unwrap();
        session.destroy_object(public).unwrap();
        assert!(refusal(token.ca_key(&[1], &made.spki, P256)).contains("no public key with CKA_ID 01"));
    }]);
}

#[test]
fn an_rsa_public_half_of_another_pair_is_refused() {
    kit::stages(&[|home| {
        let token = open(home.token("ca"));
        let algorithm = A::Rsa3072PssSha256;
        let made = generate(&token, 1, algorithm);
        token.ca_key(&[1], &made.spki, algorithm).unwrap();
        let held = token.pool().read_write().unwrap();
        let session = held.enter().unwrap();
        let old = public::one(&session, ObjectClass::PUBLIC_KEY, &[1]).unwrap();
        session.destroy_object(old).unwrap();
        let other = openssl::rsa::Rsa::generate(3072).unwrap();
        session
            .create_object(&[
                Attribute::Class(ObjectClass::PUBLIC_KEY),
                Attribute::KeyType(cryptoki::object::KeyType::RSA),
                Attribute::Token(true),
                Attribute::Id(vec![1]),
                Attribute::Modulus(other.n().to_vec()),
                Attribute::PublicExponent(other.e().to_vec()),
            ])
            .unwrap();
        // Even for a certificate of that very public half.
        let spki = openssl::pkey::PKey::from_rsa(other)
            .unwrap()
            .public_key_to_der()
            .unwrap();
        assert!(refusal(token.ca_key(&[1], &spki, algorithm)).contains("are not a pair"));
    }]);
}

fn message_of(error: &KeyError) -> (&'static str, String) {
    match error {
        KeyError::Unavailable(text) => ("unavailable", text.clone()),
        KeyError::Unknown(text) => ("unknown", text.clone()),
    }
}

#[test]
fn a_digest_of_another_length_never_reaches_the_token() {
    kit::stages(&[|home| {
        let (_token, key) = kit::token_with_key(home, |config| config);
        for length in [0, 31, 33, 100] {
            let (fate, text) = message_of(&key.sign_input_of_length(length).unwrap_err());
            assert_eq!(
                (fate, text),
                ("unavailable", format!("{length} bytes are no input for this key"))
            );
        }
        // What the check is for: the token itself takes a text that is too long, and cuts it.
        assert!(key.sign_unchecked(&[7; 100]).is_ok());
        assert!(key.sign_input_of_length(32).is_ok());
    }]);
}

#[test]
fn an_error_after_the_key_was_asked_is_unknown_and_costs_one_session() {
    kit::stages(&[|home| {
        let token = open(home.token("ca"));
        let made = generate(&token, 1, A::Rsa3072Pkcs1Sha256);
        let key = token.ca_key(&[1], &made.spki, A::Rsa3072Pkcs1Sha256).unwrap();
        assert_eq!(token.pool().counts(), (4, 0));
        // Longer than the modulus: C_SignInit is content, C_Sign is not.
        let (fate, text) = message_of(&key.sign_unchecked(&[7; 500]).unwrap_err());
        assert_eq!((fate, text.as_str()), ("unknown", "C_Sign: CKR_GENERAL_ERROR"));
        assert_eq!(token.pool().counts(), (3, 0), "the session is dropped, the link stays");
        assert_eq!(token.login_attempts(), 1);
        let signature = key.sign_bytes(b"after").unwrap();
        assert!(verifies(&made.spki, A::Rsa3072Pkcs1Sha256, b"after", &signature));
    }]);
}

#[test]
fn a_refusal_before_the_key_was_asked_is_unavailable_and_keeps_the_session() {
    kit::stages(&[|home| {
        let (token, key) = kit::token_with_key(home, |config| config);
        // The right to sign is taken away under us: a handle that may not sign, as if it had been proven.
        let held = token.pool().read_write().unwrap();
        let session = held.enter().unwrap();
        let (_, unable) = session
            .generate_key_pair(
                &Mechanism::EccKeyPairGen,
                &[Attribute::EcParams(
                    public::curve_oid(openssl::nid::Nid::X9_62_PRIME256V1).to_vec(),
                )],
                &[Attribute::Sign(false), Attribute::Token(false)],
            )
            .unwrap();
        key.believe(unable);
        let (fate, text) = message_of(&key.sign_bytes(b"text").unwrap_err());
        assert_eq!(
            (fate, text.as_str()),
            ("unavailable", "C_SignInit: CKR_KEY_FUNCTION_NOT_PERMITTED")
        );
        assert_eq!(token.pool().counts(), (4, 0));
    }]);
}

#[test]
fn the_key_on_the_token_is_not_readable() {
    kit::stages(&[|home| {
        let (token, _key) = kit::token_with_key(home, |config| config);
        let lease = token.pool().lease().unwrap();
        let session = lease.enter().unwrap();
        let private = public::one(&session, ObjectClass::PRIVATE_KEY, &[1]).unwrap();
        assert_eq!(session.get_attributes(private, &[AttributeType::Value]).unwrap(), []);
    }]);
}

#[test]
fn nothing_secret_shows_in_debug() {
    kit::stages(&[|home| {
        let (token, key) = kit::token_with_key(home, |config| config);
        let shown = format!("{token:?} {key:?} {:?}", home.config("ca"));
        assert!(!shown.contains(kit::PIN), "{shown}");
        assert!(shown.contains(token.serial()));
        assert!(scheme::ALL.contains(&CaKey::algorithm(&key)));
        fn shared<T: Send + Sync>(_: &T) {}
        shared::<HsmKey>(&key);
    }]);
}
