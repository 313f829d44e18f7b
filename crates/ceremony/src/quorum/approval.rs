//! One approval: a few lines of text and a signature over them.

use attest::UnixTime;
use issuance::SignatureAlgorithm;
use openssl::base64;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Public};
use openssl::rsa::Padding;
use openssl::sign::{RsaPssSaltlen, Verifier};

use super::{Mode, Subject};
use crate::{Sha256, calendar};

/// The first line; separates these signatures from all others.
const FORMAT: &str = "holdfast-ceremony-approval-1";
/// The longest approval that is read, in bytes.
pub(crate) const MAX_APPROVAL_BYTES: usize = 8 << 10;

/// Where an officer's key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyStore {
    /// In the smart card or token of this serial number.
    Token(String),
    /// In a file.
    File,
}

/// What an officer signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// What is approved.
    pub subject: Subject,
    /// The officer's role in the plan.
    pub role: String,
    /// The officer's name.
    pub person: String,
    /// When.
    pub time: UnixTime,
    /// Where the key is.
    pub store: KeyStore,
    /// How it signs.
    pub algorithm: SignatureAlgorithm,
    /// Its SubjectPublicKeyInfo, DER.
    pub spki: Vec<u8>,
}

/// An approval that does not stand by itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApprovalError {
    /// Not UTF-8, or too long.
    #[error("not an approval: not text, or longer than {MAX_APPROVAL_BYTES} bytes")]
    Text,
    /// A line is not as it must be.
    #[error("approval, line {line}: wanted is `{wanted}`")]
    Line {
        /// From one.
        line: usize,
        /// What must stand there.
        wanted: &'static str,
    },
    /// Not byte for byte as this program writes it.
    #[error("approval: not as this program writes it")]
    Spelling,
    /// A field that cannot be signed: it has another line in it, or is empty.
    #[error("`{0}` must be one line of printable text")]
    Field(&'static str),
    /// The key is not one for its algorithm.
    #[error("the officer's key is not one for {0}")]
    Key(&'static str),
    /// The signature does not hold.
    #[error("the signature does not hold")]
    Signature,
}

impl Statement {
    /// The bytes that are signed.
    ///
    /// # Errors
    /// [`ApprovalError::Field`] when a text is no single line.
    pub fn bytes(&self) -> Result<Vec<u8>, ApprovalError> {
        for (name, text) in [
            ("ceremony", &self.subject.ceremony),
            ("role", &self.role),
            ("person", &self.person),
        ] {
            policies::name::directory_string(text).map_err(|_| ApprovalError::Field(name))?;
        }
        let store = match &self.store {
            KeyStore::Token(serial) => {
                policies::name::directory_string(serial).map_err(|_| ApprovalError::Field("key-store"))?;
                format!("token {serial}")
            }
            KeyStore::File => "file".to_owned(),
        };
        let medium = self
            .subject
            .medium
            .map_or_else(|| "none".to_owned(), |medium| medium.to_string());
        Ok(format!(
            "{FORMAT}\nceremony: {}\nmode: {}\nplan-sha256: {}\nscript-sha256: {}\nprogram-sha256: {}\n\
             medium-sha256: {medium}\nrole: {}\nperson: {}\ntime: {}\nkey-store: {store}\nalgorithm: {}\nkey: {}\n",
            self.subject.ceremony,
            self.subject.mode.as_str(),
            self.subject.plan,
            self.subject.script,
            self.subject.program,
            self.role,
            self.person,
            calendar::show(self.time),
            self.algorithm.as_str(),
            base64::encode_block(&self.spki),
        )
        .into_bytes())
    }

    /// With its signature, as the file of an approval.
    ///
    /// # Errors
    /// [`ApprovalError`]; also when the signature does not hold.
    pub fn signed(self, signature: Vec<u8>) -> Result<Approval, ApprovalError> {
        RawApproval {
            statement: self,
            signature,
        }
        .verify()
    }
}

/// An approval as read; nothing of it is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawApproval {
    statement: Statement,
    signature: Vec<u8>,
}

/// An approval whose signature holds. Whether its key is an officer's is another question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    statement: Statement,
    signature: Vec<u8>,
}

/// Lines of `name: value`, in their order.
struct Lines<'a> {
    lines: core::str::Split<'a, char>,
    line: usize,
}

impl<'a> Lines<'a> {
    fn value(&mut self, name: &'static str) -> Result<&'a str, ApprovalError> {
        self.line += 1;
        self.lines
            .next()
            .and_then(|text| text.strip_prefix(name)?.strip_prefix(": "))
            .ok_or_else(|| self.wanted(name))
    }

    fn wanted(&self, wanted: &'static str) -> ApprovalError {
        ApprovalError::Line {
            line: self.line,
            wanted,
        }
    }

    fn sha256(&mut self, name: &'static str) -> Result<Sha256, ApprovalError> {
        let value = self.value(name)?;
        Sha256::from_hex(value).ok_or_else(|| self.wanted(name))
    }

    fn base64(&mut self, name: &'static str) -> Result<Vec<u8>, ApprovalError> {
        let value = self.value(name)?;
        base64::decode_block(value).map_err(|_| self.wanted(name))
    }
}

impl RawApproval {
    /// Read an approval: exactly the lines that this program writes.
    ///
    /// # Errors
    /// [`ApprovalError`] names the line.
    pub fn parse(bytes: &[u8]) -> Result<Self, ApprovalError> {
        if bytes.len() > MAX_APPROVAL_BYTES {
            return Err(ApprovalError::Text);
        }
        let text = core::str::from_utf8(bytes).map_err(|_| ApprovalError::Text)?;
        let mut lines = Lines {
            lines: text.split('\n'),
            line: 1,
        };
        if lines.lines.next() != Some(FORMAT) {
            return Err(lines.wanted(FORMAT));
        }
        let ceremony = lines.value("ceremony")?.to_owned();
        let mode = lines.value("mode")?;
        let mode = Mode::of(mode).ok_or_else(|| lines.wanted("mode"))?;
        let plan = lines.sha256("plan-sha256")?;
        let script = lines.sha256("script-sha256")?;
        let program = lines.sha256("program-sha256")?;
        let medium = match lines.value("medium-sha256")? {
            "none" => None,
            value => Some(Sha256::from_hex(value).ok_or_else(|| lines.wanted("medium-sha256"))?),
        };
        let role = lines.value("role")?.to_owned();
        let person = lines.value("person")?.to_owned();
        let time = calendar::parse(lines.value("time")?).ok_or_else(|| lines.wanted("time"))?;
        let store = match lines.value("key-store")? {
            "file" => KeyStore::File,
            other => KeyStore::Token(
                other
                    .strip_prefix("token ")
                    .ok_or_else(|| lines.wanted("key-store"))?
                    .to_owned(),
            ),
        };
        let algorithm =
            SignatureAlgorithm::from_text(lines.value("algorithm")?).ok_or_else(|| lines.wanted("algorithm"))?;
        let spki = lines.base64("key")?;
        let signature = lines.base64("signature")?;
        let raw = Self {
            statement: Statement {
                subject: Subject {
                    ceremony,
                    mode,
                    plan,
                    script,
                    program,
                    medium,
                },
                role,
                person,
                time,
                store,
                algorithm,
                spki,
            },
            signature,
        };
        // What a lenient decoder would let pass (blanks in base64, lines below the last) changes the spelling.
        if written(&raw.statement, &raw.signature)? != bytes {
            return Err(ApprovalError::Spelling);
        }
        Ok(raw)
    }

    /// The signature holds over the statement, with the key in the statement.
    ///
    /// # Errors
    /// [`ApprovalError`].
    pub fn verify(self) -> Result<Approval, ApprovalError> {
        let signed = self.statement.bytes()?;
        verify(&self.statement.spki, self.statement.algorithm, &signed, &self.signature)?;
        Ok(Approval {
            statement: self.statement,
            signature: self.signature,
        })
    }
}

impl Approval {
    /// What was signed.
    #[must_use]
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// SHA-256 of the key's SubjectPublicKeyInfo, by which a plan names it.
    #[must_use]
    pub fn key_sha256(&self) -> Sha256 {
        Sha256::of(&self.statement.spki)
    }

    /// The file.
    ///
    /// # Errors
    /// [`ApprovalError::Field`]; never for one that was parsed or signed.
    pub fn text(&self) -> Result<Vec<u8>, ApprovalError> {
        written(&self.statement, &self.signature)
    }
}

fn written(statement: &Statement, signature: &[u8]) -> Result<Vec<u8>, ApprovalError> {
    let mut bytes = statement.bytes()?;
    bytes.extend_from_slice(b"signature: ");
    bytes.extend_from_slice(base64::encode_block(signature).as_bytes());
    bytes.push(b'\n');
    Ok(bytes)
}

fn verify(spki: &[u8], algorithm: SignatureAlgorithm, message: &[u8], signature: &[u8]) -> Result<(), ApprovalError> {
    use SignatureAlgorithm as A;
    let key = PKey::public_key_from_der(spki).map_err(|_| ApprovalError::Key(algorithm.as_str()))?;
    // One key, one digest: another spelling of the same key is refused.
    if !fits(&key, algorithm) || canonical(&key).is_none_or(|der| der != spki) {
        return Err(ApprovalError::Key(algorithm.as_str()));
    }
    let digest = match algorithm {
        A::EcdsaP384Sha384 => MessageDigest::sha384(),
        _ => MessageDigest::sha256(),
    };
    let verified = Verifier::new(digest, &key).and_then(|mut verifier| {
        if matches!(algorithm, A::Rsa3072PssSha256 | A::Rsa4096PssSha256) {
            verifier.set_rsa_padding(Padding::PKCS1_PSS)?;
            verifier.set_rsa_mgf1_md(MessageDigest::sha256())?;
            verifier.set_rsa_pss_saltlen(RsaPssSaltlen::custom(32))?;
        }
        verifier.verify_oneshot(signature, message)
    });
    match verified {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => Err(ApprovalError::Signature),
    }
}

/// The usual spelling of a key; OpenSSL by itself writes a point as it was read, compressed or not.
fn canonical(key: &PKey<Public>) -> Option<Vec<u8>> {
    let Ok(ec) = key.ec_key() else {
        return key.public_key_to_der().ok();
    };
    let group = EcGroup::from_curve_name(ec.group().curve_name()?).ok()?;
    let point = EcKey::from_public_key(&group, ec.public_key()).ok()?;
    PKey::from_ec_key(point).ok()?.public_key_to_der().ok()
}

fn fits(key: &PKey<Public>, algorithm: SignatureAlgorithm) -> bool {
    use SignatureAlgorithm as A;
    let curve = |wanted| key.ec_key().is_ok_and(|key| key.group().curve_name() == Some(wanted));
    match algorithm {
        A::EcdsaP256Sha256 => curve(Nid::X9_62_PRIME256V1),
        A::EcdsaP384Sha384 => curve(Nid::SECP384R1),
        A::Rsa3072Pkcs1Sha256 | A::Rsa3072PssSha256 => key.id() == Id::RSA && key.bits() == 3072,
        A::Rsa4096Pkcs1Sha256 | A::Rsa4096PssSha256 => key.id() == Id::RSA && key.bits() == 4096,
    }
}
