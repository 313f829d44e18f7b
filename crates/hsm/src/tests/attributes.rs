//! Each attribute made wrong in turn, on a real token.
//!
//! No honest token makes a key that is, say, SENSITIVE but was not always so and is right in all else. SoftHSM keeps
//! booleans in the clear in its object files: one bit there is what these tests turn.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType};
use openssl::nid::Nid;

use super::kit::{self, Home, P256, generate, open, refusal};
use crate::{HsmError, Token, attributes, public};

/// CKA_ numbers of the attributes that SoftHSM stores for a private key and whose change leaves the object readable.
const STORED: [(&str, u64); 14] = [
    ("CKA_SENSITIVE", 0x103),
    ("CKA_ALWAYS_SENSITIVE", 0x165),
    ("CKA_EXTRACTABLE", 0x162),
    ("CKA_NEVER_EXTRACTABLE", 0x164),
    ("CKA_LOCAL", 0x163),
    ("CKA_SIGN", 0x108),
    ("CKA_DECRYPT", 0x105),
    ("CKA_UNWRAP", 0x107),
    ("CKA_DERIVE", 0x10c),
    ("CKA_SIGN_RECOVER", 0x109),
    ("CKA_MODIFIABLE", 0x170),
    ("CKA_COPYABLE", 0x171),
    ("CKA_ALWAYS_AUTHENTICATE", 0x202),
    // Listed twice, as control: turned and turned back.
    ("control", 0x103),
];

/// Object files of all tokens in this home.
fn objects(home: &Home) -> BTreeSet<PathBuf> {
    let entries = |dir: &Path| {
        std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect::<Vec<_>>()
    };
    let files = entries(&home.tokens()).into_iter().flat_map(|dir| entries(&dir));
    files
        .filter(|file| file.extension().is_some_and(|extension| extension == "object"))
        .collect()
}

/// Turn one boolean in an object file: generation, then (type, kind, value) in 8-byte big-endian words; kind 1 is a
/// boolean of one byte, 2 a word, the others have a length.
fn turn(file: &Path, attribute: u64) {
    let mut bytes = std::fs::read(file).unwrap();
    let word = |bytes: &[u8], at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
    let mut at = 8;
    while at < bytes.len() {
        let (kind, which) = (word(&bytes, at + 8), word(&bytes, at));
        at += 16;
        match kind {
            1 if which == attribute => {
                bytes[at] = !bytes[at];
                std::fs::write(file, bytes).unwrap();
                return;
            }
            1 => at += 1,
            2 => at += 8,
            3 => at += 8 + usize::try_from(word(&bytes, at)).unwrap(),
            5 => at += 8 + 8 * usize::try_from(word(&bytes, at)).unwrap(),
            _ => panic!("kind {kind} in {}", file.display()),
        }
    }
    panic!("attribute {attribute:x} is not in {}", file.display());
}

#[test]
fn each_attribute_made_wrong_alone_refuses() {
    kit::stages(&[
        |home| {
            let token = open(home.token("ca"));
            for (index, (name, _)) in STORED.iter().enumerate() {
                let before = objects(home);
                let id = u8::try_from(index).unwrap() + 1;
                let made = generate(&token, id, P256);
                token
                    .ca_key(&[id], &made.spki, P256)
                    .unwrap_or_else(|error| panic!("{name}: {error}"));
                let new: Vec<_> = objects(home).difference(&before).cloned().collect();
                // The private half is the one that has CKA_SENSITIVE.
                let private = new.iter().find(|file| {
                    let bytes = std::fs::read(file).unwrap();
                    bytes
                        .windows(16)
                        .any(|w| w == [0, 0, 0, 0, 0, 0, 1, 3, 0, 0, 0, 0, 0, 0, 0, 1])
                });
                let note = format!("{}\n{}", private.unwrap().display(), hex::encode(made.spki));
                std::fs::write(home.dir.join(format!("key-{id}")), note).unwrap();
            }
        },
        |home| {
            let notes: Vec<_> = (1..=u8::try_from(STORED.len()).unwrap())
                .map(|id| {
                    let note = std::fs::read_to_string(home.dir.join(format!("key-{id}"))).unwrap();
                    let (file, spki) = note.split_once('\n').unwrap();
                    (id, PathBuf::from(file), hex::decode(spki).unwrap())
                })
                .collect();
            for ((_, file, _), (name, number)) in notes.iter().zip(STORED) {
                turn(file, number);
                if name == "control" {
                    turn(file, number);
                }
            }
            let token = open(home.config("ca"));
            for ((id, _, spki), (name, _)) in notes.iter().zip(STORED) {
                match token.ca_key(&[*id], spki, P256) {
                    Ok(_) => assert_eq!(name, "control"),
                    Err(HsmError::Attribute { attribute, .. }) => assert_eq!(attribute, name),
                    Err(error) => panic!("{name}: {error}"),
                }
            }
        },
    ]);
}

/// A pair made with our template but for one attribute; the answer is its SPKI.
fn pair(token: &Token, id: u8, change: Attribute) -> (crate::link::Held, Vec<u8>) {
    let held = token.pool().read_write().unwrap();
    let spki = {
        let session = held.enter().unwrap();
        let mut private = attributes::private_template();
        private.retain(|attribute| attribute.attribute_type() != change.attribute_type());
        private.push(Attribute::Id(vec![id]));
        let fixed = private.len();
        private.push(change);
        assert_eq!(fixed, private.len() - 1);
        let public = [
            Attribute::Token(true),
            Attribute::Id(vec![id]),
            Attribute::EcParams(public::curve_oid(Nid::X9_62_PRIME256V1).to_vec()),
        ];
        let (_, private) = session
            .generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private)
            .unwrap();
        public::spki(&session, &[id], private, P256).unwrap()
    };
    (held, spki)
}

#[test]
fn a_key_that_is_no_token_object_or_not_private_is_refused() {
    kit::stages(&[|home| {
        let token = open(home.token("ca"));
        let cases = [
            (1, Attribute::Token(false), Some("CKA_TOKEN")),
            (2, Attribute::Private(false), Some("CKA_PRIVATE")),
            (3, Attribute::Token(true), None),
        ];
        for (id, change, name) in cases {
            // A session object lives as long as its session.
            let (_held, spki) = pair(&token, id, change);
            match (token.ca_key(&[id], &spki, P256), name) {
                (Ok(_), None) => {}
                (Err(HsmError::Attribute { attribute, .. }), Some(name)) => assert_eq!(attribute, name),
                (other, _) => panic!("{name:?}: {other:?}"),
            }
        }
    }]);
}

#[test]
fn a_key_made_with_softhsms_defaults_is_refused() {
    kit::stages(&[|home| {
        let token = open(home.token("ca"));
        let held = token.pool().read_write().unwrap();
        let session = held.enter().unwrap();
        // What SoftHSM makes when asked for nothing, and what is left when only the key's secrecy is asked for.
        let bare = vec![Attribute::Token(true)];
        let mut secret = bare.clone();
        secret.extend([
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
        ]);
        for (id, mut private, expected) in [(1, bare, "CKA_SENSITIVE"), (2, secret, "CKA_DECRYPT")] {
            private.push(Attribute::Id(vec![id]));
            let public = [
                Attribute::Token(true),
                Attribute::Id(vec![id]),
                Attribute::EcParams(public::curve_oid(Nid::X9_62_PRIME256V1).to_vec()),
            ];
            let (_, private) = session
                .generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private)
                .unwrap();
            let spki = public::spki(&session, &[id], private, P256).unwrap();
            // The refusal names the first; a person may see them all.
            let all = token.attributes(&[id]).unwrap();
            assert_eq!(all.len(), attributes::RULES.len());
            let wrong: Vec<&str> = all.iter().filter(|v| !v.fits).map(|v| v.attribute).collect();
            assert_eq!(wrong.first(), Some(&expected));
            assert!(
                wrong.contains(&"CKA_UNWRAP") && !wrong.contains(&"CKA_TOKEN"),
                "{wrong:?}"
            );
            match token.ca_key(&[id], &spki, P256) {
                Err(HsmError::Attribute { attribute, .. }) => assert_eq!(attribute, expected),
                other => panic!("{other:?}"),
            }
        }
    }]);
}

#[test]
fn a_secret_key_that_wraps_and_decrypts_is_refused_beside_the_ca_key() {
    kit::stages(&[|home| {
        let (token, _) = kit::token_with_key(home, |config| config);
        let made = generate(&token, 2, P256);
        let aes = |wrap: bool, decrypt: bool| {
            let held = token.pool().read_write().unwrap();
            let session = held.enter().unwrap();
            let template = [
                Attribute::Token(true),
                Attribute::ValueLen(32.into()),
                Attribute::Wrap(wrap),
                Attribute::Decrypt(decrypt),
            ];
            session.generate_key(&Mechanism::AesKeyGen, &template).unwrap();
        };
        aes(true, false);
        aes(false, true);
        token.ca_key(&[2], &made.spki, P256).unwrap();
        aes(true, true);
        assert!(refusal(token.ca_key(&[2], &made.spki, P256)).contains("both CKA_WRAP and CKA_DECRYPT"));
    }]);
}

#[test]
fn the_rules_here_and_there_are_the_same() {
    let mut ours: BTreeSet<_> = STORED
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| *name != "control")
        .collect();
    ours.extend(["CKA_TOKEN", "CKA_PRIVATE", "CKA_WRAP", "CKA_ENCRYPT", "CKA_DECAPSULATE"]);
    assert_eq!(ours, attributes::RULES.iter().map(|rule| rule.name).collect());
    let types: BTreeSet<AttributeType> = attributes::RULES.iter().map(|rule| rule.attribute).collect();
    assert_eq!(types.len(), attributes::RULES.len());
}
