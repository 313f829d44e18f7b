//! H01, H04: a CA key that could leave its token, or do more than sign, and a server that must not start with it.
//!
//! SoftHSM keeps booleans in the clear in its object files: one of them is turned, and turned back.

use std::path::{Path, PathBuf};

use device_kit::rig::{Rig, Wanted};

use crate::serves;

/// What must be as it is, by its CKA_ number.
const ATTRIBUTES: [(&str, u64); 12] = [
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
];

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// Where a boolean attribute stands in an object file: generation, then (type, kind, value) in 8-byte big-endian words;
/// kind 1 is a boolean of one byte, 2 a word, the others have a length.
fn boolean(bytes: &[u8], attribute: u64) -> Option<usize> {
    let word = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
    let mut at = 8;
    while at < bytes.len() {
        let (which, kind) = (word(at), word(at + 8));
        at += 16;
        at += match kind {
            1 if which == attribute => return Some(at),
            1 => 1,
            2 => 8,
            3 => 8 + usize::try_from(word(at)).unwrap(),
            _ => return None,
        };
    }
    None
}

/// The object file of the issuing CA's private key: of those of its token that say whether they are sensitive the older
/// one. (The key of the OCSP responder is made after it; names and ids are encrypted.)
fn issuing_key(rig: &Rig) -> PathBuf {
    let named = |token: &PathBuf| {
        let own = std::fs::read(token.join("token.object")).unwrap();
        own.windows(7).any(|w| w == b"issuing")
    };
    let token = files(&rig.path("tokens")).into_iter().find(named).expect("the token");
    let mut private: Vec<PathBuf> = files(&token)
        .into_iter()
        .filter(|file| file.extension().is_some_and(|e| e == "object") && !file.ends_with("token.object"))
        .filter(|file| boolean(&std::fs::read(file).unwrap(), 0x103).is_some())
        .collect();
    assert_eq!(private.len(), 2, "the CA's key and the responder's: {private:?}");
    private.sort_by_key(|file| std::fs::metadata(file).unwrap().modified().unwrap());
    private[0].clone()
}

#[test]
fn h01_no_attribute_of_the_ca_key_may_be_wrong() {
    let mut rig = Rig::initialised(&Wanted::default());
    let file = issuing_key(&rig);
    let sound = std::fs::read(&file).unwrap();
    for (name, attribute) in ATTRIBUTES {
        let mut turned = sound.clone();
        let at = boolean(&sound, attribute).unwrap_or_else(|| panic!("{name} is not stored"));
        turned[at] = !turned[at];
        std::fs::write(&file, &turned).unwrap();
        let output = rig.refuses_to_start();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{name}: {said}");
        assert!(said.contains(&format!("{name} is")), "{name}: {said}");
    }
    std::fs::write(&file, &sound).unwrap();
    rig.start();
    serves(&rig);
}
