//! An officer's signature, by smart card or, in a rehearsal, by a key in a file.

use std::path::Path;
use std::time::Duration;

use attest::UnixTime;
use ceremony::Sha256;
use ceremony::quorum::{Approval, ApprovalError, KeyStore, Mode, Statement, Subject};
use hsm::{HsmError, Pkcs11Uri, Token, TokenConfig};
use issuance::SignatureAlgorithm;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;
use secrecy::SecretString;

use crate::exit::{Exit, Failure, read};

/// What is signed, but for what the key adds.
pub(crate) struct Wish {
    pub(crate) subject: Subject,
    pub(crate) role: String,
    pub(crate) person: String,
    pub(crate) time: UnixTime,
}

impl Wish {
    fn statement(self, store: KeyStore, algorithm: SignatureAlgorithm, spki: Vec<u8>) -> Statement {
        Statement {
            subject: self.subject,
            role: self.role,
            person: self.person,
            time: self.time,
            store,
            algorithm,
            spki,
        }
    }
}

fn unsaid(error: &ApprovalError) -> Failure {
    Failure::new(Exit::Usage, error.to_string())
}

/// With the key that this URI names; `pin` is asked for once the URI is understood.
pub(crate) fn by_card(
    wish: Wish,
    uri: &str,
    pin: impl FnOnce() -> Result<SecretString, Failure>,
) -> Result<Approval, Failure> {
    let uri: Pkcs11Uri = uri
        .parse()
        .map_err(|e: hsm::UriError| Failure::new(Exit::Usage, e.to_string()))?;
    let (id, label) = (uri.id.clone(), uri.object.clone());
    if id.is_none() && label.is_none() {
        return Err(Failure::new(Exit::Usage, "the URI names no key").fix("add `id=%..` or `object=..` to it"));
    }
    let config = TokenConfig {
        sessions: 1,
        queue_deadline: Duration::from_secs(10),
        ..TokenConfig::new(uri)
    };
    let failed = |e: HsmError| {
        let exit = match &e {
            HsmError::Pin(_) => Exit::NotAllowed,
            HsmError::Key(_) | HsmError::Attribute { .. } => Exit::No,
            HsmError::Token(_) | HsmError::Module { .. } => Exit::NotFound,
            _ => Exit::TryAgain,
        };
        Failure::new(exit, e.to_string())
    };
    let token = Token::open(config, pin()?).map_err(failed)?;
    let id = match (id, label) {
        (Some(id), _) => id,
        (None, label) => token.id_of(&label.unwrap_or_default()).map_err(failed)?,
    };
    let store = KeyStore::Token(token.serial().to_owned());
    let mut signed = None;
    let mut wrong = None;
    let signature = token.sign_as_officer(&id, |spki, algorithm| {
        let statement = wish.statement(store, algorithm, spki.to_vec());
        let bytes = statement.bytes();
        signed = Some(statement);
        bytes.map_err(|error| wrong = Some(unsaid(&error))).ok()
    });
    if let Some(wrong) = wrong {
        return Err(wrong);
    }
    let signature = signature.map_err(failed)?;
    let statement = signed.ok_or_else(|| Failure::new(Exit::Failed, "nothing was signed"))?;
    statement
        .signed(signature.signature)
        .map_err(|e| Failure::new(Exit::Failed, e.to_string()))
}

/// With a private key in a PEM file: P-256 or P-384. For rehearsals alone.
pub(crate) fn by_file(wish: Wish, path: &Path) -> Result<Approval, Failure> {
    if wish.subject.mode != Mode::Rehearsal {
        return Err(
            Failure::new(Exit::NotAllowed, "a key in a file approves rehearsals alone")
                .fix("--key 'pkcs11:...' with the officer's smart card"),
        );
    }
    let pem = zeroize::Zeroizing::new(read(path)?);
    let key = PKey::private_key_from_pem(&pem)
        .map_err(|_| Failure::new(Exit::Usage, format!("{}: no private key in PEM", path.display())))?;
    let algorithm = match key.ec_key().ok().and_then(|key| key.group().curve_name()) {
        Some(Nid::X9_62_PRIME256V1) => SignatureAlgorithm::EcdsaP256Sha256,
        Some(Nid::SECP384R1) => SignatureAlgorithm::EcdsaP384Sha384,
        _ => {
            return Err(Failure::new(
                Exit::Usage,
                format!("{}: a P-256 or P-384 key is wanted", path.display()),
            ));
        }
    };
    let failed = |e: openssl::error::ErrorStack| Failure::new(Exit::Failed, e.to_string());
    let spki = key.public_key_to_der().map_err(failed)?;
    let statement = wish.statement(KeyStore::File, algorithm, spki);
    let bytes = statement.bytes().map_err(|error| unsaid(&error))?;
    let signature = sign(&key, algorithm, &bytes).map_err(failed)?;
    statement
        .signed(signature)
        .map_err(|e| Failure::new(Exit::Failed, e.to_string()))
}

fn sign(
    key: &PKey<Private>,
    algorithm: SignatureAlgorithm,
    bytes: &[u8],
) -> Result<Vec<u8>, openssl::error::ErrorStack> {
    let digest = match algorithm {
        SignatureAlgorithm::EcdsaP384Sha384 => MessageDigest::sha384(),
        _ => MessageDigest::sha256(),
    };
    Signer::new(digest, key)?.sign_oneshot_to_vec(bytes)
}

/// What an officer typed from paper is this digest: its first eight digits at least, groups and case as one likes.
pub(crate) fn typed_digits(typed: &str, digest: &Sha256) -> bool {
    let digits: String = typed.chars().filter(|c| !c.is_whitespace()).collect();
    digits.len() >= 8 && digest.to_string().starts_with(&digits.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_digits_at_least_and_all_of_them_right() {
        let digest = Sha256::of(b"plan");
        let text = digest.to_string();
        assert!(typed_digits(&text, &digest));
        assert!(typed_digits(&text[..8].to_uppercase(), &digest));
        assert!(typed_digits(&format!("{} {}", &text[..4], &text[4..12]), &digest));
        for wrong in ["", &text[..7], &format!("{text}0"), &text[1..], "00000000"] {
            assert!(!typed_digits(wrong, &digest), "{wrong}");
        }
    }
}
