//! Signed notes (C2SP signed-note): a text, and lines that sign it.

use core::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use openssl::pkey::{Id, PKey, Private, Public};

/// The longest note that is read, in bytes.
pub const MAX_NOTE_BYTES: usize = 1 << 20;
/// How many signatures are read; C2SP asks for 16 at least.
pub const MAX_SIGNATURES: usize = 64;

/// The name of a key: not empty, without Unicode space, control character or plus.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyName(String);

impl KeyName {
    /// Check a name.
    ///
    /// # Errors
    /// [`KeyError::Name`].
    pub fn new(text: &str) -> Result<Self, KeyError> {
        let fits = |c: char| !c.is_whitespace() && !c.is_control() && c != '+';
        if !text.is_empty() && text.len() <= 255 && text.chars().all(fits) {
            Ok(Self(text.to_owned()))
        } else {
            Err(KeyError::Name(text.to_owned()))
        }
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureKind {
    /// `0x01`: Ed25519 over the text.
    Ed25519,
    /// `0x04`: a witness's Ed25519 over time and text (`cosignature/v1`).
    Cosignature,
}

impl SignatureKind {
    const fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 1,
            Self::Cosignature => 4,
        }
    }
}

/// Why a key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The name does not fit.
    #[error("`{0}` cannot name a key: 1 to 255 bytes without spaces, control characters or `+`")]
    Name(String),
    /// Not `name+id+key` of a kind that is known, or its id is another key's.
    #[error("not a verifier key: {0}")]
    Verifier(&'static str),
    /// The private key does not parse, or is not Ed25519.
    #[error("not an Ed25519 private key in PKCS#8: {0}")]
    Private(String),
}

/// A key that signatures are checked with.
#[derive(Clone)]
pub struct VerifierKey {
    name: KeyName,
    kind: SignatureKind,
    raw: [u8; 32],
    key: PKey<Public>,
}

impl PartialEq for VerifierKey {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.kind == other.kind && self.raw == other.raw
    }
}
impl Eq for VerifierKey {}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifierKey({self})")
    }
}

/// `name+id+base64(kind || key)`.
impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![self.kind.byte()];
        key.extend_from_slice(&self.raw);
        write!(f, "{}+{}+{}", self.name, hex::encode(self.id()), BASE64.encode(key))
    }
}

impl VerifierKey {
    /// Of its 32 octets.
    ///
    /// # Errors
    /// [`KeyError::Verifier`].
    pub fn new(name: KeyName, kind: SignatureKind, raw: [u8; 32]) -> Result<Self, KeyError> {
        let key = PKey::public_key_from_raw_bytes(&raw, Id::ED25519);
        let key = key.map_err(|_| KeyError::Verifier("OpenSSL does not take it as an Ed25519 key"))?;
        Ok(Self { name, kind, raw, key })
    }

    /// Parse the text form.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let wrong = KeyError::Verifier;
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(wrong("it is `name+id+key`"));
        };
        let bytes = BASE64.decode(key).map_err(|_| wrong("the key is not base64"))?;
        let (kind, raw) = bytes.split_first().ok_or(wrong("the key is empty"))?;
        let kind = match kind {
            1 => SignatureKind::Ed25519,
            4 => SignatureKind::Cosignature,
            _ => return Err(wrong("its kind is neither 1 nor 4")),
        };
        let raw = <[u8; 32]>::try_from(raw).map_err(|_| wrong("an Ed25519 key has 32 octets"))?;
        let key = Self::new(KeyName::new(name)?, kind, raw)?;
        if id == hex::encode(key.id()) {
            Ok(key)
        } else {
            Err(wrong("the id is not this key's"))
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// What it signs.
    #[must_use]
    pub fn kind(&self) -> SignatureKind {
        self.kind
    }

    /// The first four octets of SHA-256 over name, newline, kind and key.
    #[must_use]
    pub fn id(&self) -> [u8; 4] {
        key_id(&self.name, &[&[self.kind.byte()], &self.raw])
    }

    /// Whether a line is of this key, by name and id.
    #[must_use]
    pub fn made(&self, line: &NoteSignature) -> bool {
        line.name == self.name && line.id == self.id()
    }

    pub(crate) fn verify_raw(&self, message: &[u8], signature: &[u8]) -> bool {
        let verified = openssl::sign::Verifier::new_without_digest(&self.key)
            .and_then(|mut verifier| verifier.verify_oneshot(signature, message));
        // OpenSSL reports a malformed signature as an error: both are no.
        matches!(verified, Ok(true))
    }
}

/// `SHA-256(name || 0x0A || …)[:4]`.
pub(crate) fn key_id(name: &KeyName, parts: &[&[u8]]) -> [u8; 4] {
    let mut hash = openssl::sha::Sha256::new();
    hash.update(name.as_str().as_bytes());
    hash.update(b"\n");
    for part in parts {
        hash.update(part);
    }
    let [a, b, c, d, ..] = hash.finish();
    [a, b, c, d]
}

/// What a CA's own key says to a note before it signs it: no certificate, CRL or answer begins so.
pub const CA_KEY: &str = "holdfast-ca-key/v1\n";

/// The line of a CA's own key under a note: its signature type is `0xff` and [`CA_KEY`], over which the id goes as over the
/// key (SubjectPublicKeyInfo, DER); the signature is over [`CA_KEY`] and the text, by the CA's algorithm.
#[must_use]
pub fn ca_key_line(name: &KeyName, spki: &[u8], signature: Vec<u8>) -> NoteSignature {
    NoteSignature {
        name: name.clone(),
        id: key_id(name, &[&[0xff], CA_KEY.as_bytes(), spki]),
        signature,
    }
}

/// An Ed25519 key that signs notes.
pub struct SigningKey {
    verifier: VerifierKey,
    key: PKey<Private>,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.verifier)
    }
}

impl SigningKey {
    /// From PKCS#8, PEM, without a passphrase.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_pem(name: KeyName, kind: SignatureKind, pem: &[u8]) -> Result<Self, KeyError> {
        // With a passphrase callback of our own: OpenSSL would ask on the terminal.
        let key = PKey::private_key_from_pem_callback(pem, |_| Ok(0));
        let key = key.map_err(|_| KeyError::Private("it does not parse".to_owned()))?;
        Self::new(name, kind, key)
    }

    /// From its 32 secret octets (RFC 8032 §5.1.5).
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_seed(name: KeyName, kind: SignatureKind, seed: &[u8; 32]) -> Result<Self, KeyError> {
        let key = PKey::private_key_from_raw_bytes(seed, Id::ED25519);
        Self::new(name, kind, key.map_err(|e| KeyError::Private(e.to_string()))?)
    }

    fn new(name: KeyName, kind: SignatureKind, key: PKey<Private>) -> Result<Self, KeyError> {
        if key.id() != Id::ED25519 {
            return Err(KeyError::Private("it is of another algorithm".to_owned()));
        }
        let raw = key.raw_public_key().map_err(|e| KeyError::Private(e.to_string()))?;
        let raw = <[u8; 32]>::try_from(raw).map_err(|_| KeyError::Private("its public half is odd".to_owned()))?;
        let verifier = VerifierKey::new(name, kind, raw)?;
        Ok(Self { verifier, key })
    }

    /// The key that checks it.
    #[must_use]
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    pub(crate) fn sign_raw(&self, message: &[u8]) -> Result<[u8; 64], NoteError> {
        let signature = openssl::sign::Signer::new_without_digest(&self.key)
            .and_then(|mut signer| signer.sign_oneshot_to_vec(message))
            .map_err(|e| NoteError::Signer(e.to_string()))?;
        <[u8; 64]>::try_from(signature).map_err(|_| NoteError::Signer("no Ed25519 signature".to_owned()))
    }

    /// Sign a text (kind 1).
    ///
    /// # Errors
    /// [`NoteError::Signer`], also for a key of another kind.
    pub fn sign(&self, text: &str) -> Result<NoteSignature, NoteError> {
        if self.verifier.kind != SignatureKind::Ed25519 {
            return Err(NoteError::Signer("the key is a witness's".to_owned()));
        }
        Ok(NoteSignature {
            name: self.verifier.name.clone(),
            id: self.verifier.id(),
            signature: self.sign_raw(text.as_bytes())?.to_vec(),
        })
    }
}

/// Why a note is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Too long, not UTF-8, a control character, no blank line, no or a malformed signature line.
    #[error("not a signed note: {0}")]
    Form(&'static str),
    /// Nobody known signed it.
    #[error("no key that is known has signed it")]
    Unknown,
    /// A known key's signature does not verify.
    #[error("the signature of {0} is wrong")]
    Wrong(KeyName),
    /// The signer failed.
    #[error("the text could not be signed: {0}")]
    Signer(String),
}

/// A line that signs a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    /// Name of the key.
    pub name: KeyName,
    /// Id of the key.
    pub id: [u8; 4],
    /// Whatever its kind says.
    pub signature: Vec<u8>,
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.id.to_vec();
        bytes.extend_from_slice(&self.signature);
        writeln!(f, "\u{2014} {} {}", self.name, BASE64.encode(bytes))
    }
}

impl NoteSignature {
    /// Parse a line, without its newline.
    ///
    /// # Errors
    /// [`NoteError::Form`].
    pub fn parse(line: &str) -> Result<Self, NoteError> {
        let wrong = NoteError::Form("a signature line is not `— name base64`");
        let (name, encoded) = line
            .strip_prefix("\u{2014} ")
            .and_then(|rest| rest.split_once(' '))
            .ok_or_else(|| wrong.clone())?;
        let name = KeyName::new(name).map_err(|_| wrong.clone())?;
        let bytes = BASE64.decode(encoded).map_err(|_| wrong.clone())?;
        match bytes.split_first_chunk::<4>() {
            Some((id, signature)) if !signature.is_empty() => Ok(Self {
                name,
                id: *id,
                signature: signature.to_vec(),
            }),
            _ => Err(wrong),
        }
    }
}

/// A text and its signatures; nothing is believed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

impl Note {
    /// A text that is to be signed: it ends in a newline, and has no other control character.
    ///
    /// # Errors
    /// [`NoteError::Form`].
    pub fn new(text: &str) -> Result<Self, NoteError> {
        if !text.ends_with('\n') || text.chars().any(|c| c.is_ascii_control() && c != '\n') {
            return Err(NoteError::Form("the text has a control character, or no end"));
        }
        Ok(Self {
            text: text.to_owned(),
            signatures: Vec::new(),
        })
    }

    /// Parse a note.
    ///
    /// # Errors
    /// [`NoteError::Form`].
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > MAX_NOTE_BYTES {
            return Err(NoteError::Form("it is too long"));
        }
        let whole = str::from_utf8(bytes).map_err(|_| NoteError::Form("it is not UTF-8"))?;
        let split = whole.rfind("\n\n").ok_or(NoteError::Form("it has no blank line"))?;
        let (text, lines) = (whole.get(..=split), whole.get(split + 2..));
        let (Some(text), Some(lines)) = (text, lines) else {
            return Err(NoteError::Form("it has no blank line"));
        };
        let mut note = Self::new(text)?;
        let lines = lines
            .strip_suffix('\n')
            .ok_or(NoteError::Form("the last line has no end"))?;
        for line in lines.split('\n') {
            if note.signatures.len() == MAX_SIGNATURES {
                return Err(NoteError::Form("it has too many signatures"));
            }
            note.signatures.push(NoteSignature::parse(line)?);
        }
        Ok(note)
    }

    /// The text, with its last newline.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its signatures, of known and unknown keys.
    #[must_use]
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Add a signature, if the same key has not signed yet and there is room.
    pub fn add(&mut self, signature: NoteSignature) {
        let there = |s: &NoteSignature| s.name == signature.name && s.id == signature.id;
        if !self.signatures.iter().any(there) && self.signatures.len() < MAX_SIGNATURES {
            self.signatures.push(signature);
        }
    }

    /// Check that a key has signed the text (kind 1). Every line of that key must be right.
    ///
    /// # Errors
    /// [`NoteError::Unknown`], [`NoteError::Wrong`].
    pub fn signed_by(&self, key: &VerifierKey) -> Result<(), NoteError> {
        let mut lines = self.signatures.iter().filter(|line| key.made(line)).peekable();
        if key.kind != SignatureKind::Ed25519 || lines.peek().is_none() {
            return Err(NoteError::Unknown);
        }
        if lines.all(|line| key.verify_raw(self.text.as_bytes(), &line.signature)) {
            Ok(())
        } else {
            Err(NoteError::Wrong(key.name.clone()))
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|line| write!(f, "{line}"))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    const SIGNED: &str = "This is an example message.\n\n\u{2014} example.com/foo \
        Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

    pub(crate) fn key(name: &str, kind: SignatureKind, seed: u8) -> SigningKey {
        SigningKey::from_seed(KeyName::new(name).unwrap(), kind, &[seed; 32]).unwrap()
    }

    #[test]
    fn the_example_of_go_and_c2sp() {
        let key = VerifierKey::parse(VKEY).unwrap();
        assert_eq!(key.to_string(), VKEY);
        assert_eq!(key.kind(), SignatureKind::Ed25519);
        let note = Note::parse(SIGNED.as_bytes()).unwrap();
        assert_eq!(note.text(), "This is an example message.\n");
        assert_eq!(note.signed_by(&key), Ok(()));
        assert_eq!(note.to_string(), SIGNED);
    }

    #[test]
    fn what_is_signed_verifies_and_nothing_else() {
        let log = key("log.example", SignatureKind::Ed25519, 1);
        let mut note = Note::new("a\n\nb\n").unwrap();
        note.add(log.sign(note.text()).unwrap());
        let read = Note::parse(note.to_string().as_bytes()).unwrap();
        assert_eq!(read, note);
        assert_eq!(read.signed_by(log.verifier()), Ok(()));
        // Another key, name, or kind: not known.
        for other in [
            key("log.example", SignatureKind::Ed25519, 2),
            key("log2.example", SignatureKind::Ed25519, 1),
            key("log.example", SignatureKind::Cosignature, 1),
        ] {
            assert_eq!(read.signed_by(other.verifier()), Err(NoteError::Unknown));
        }
        // The right name and id over another text.
        let mut forged = Note::new("a\n\nc\n").unwrap();
        forged.add(read.signatures()[0].clone());
        let wrong = NoteError::Wrong(log.verifier().name().clone());
        assert_eq!(forged.signed_by(log.verifier()), Err(wrong.clone()));
        // One right and one wrong line of the same key.
        let twice = format!("{}{}", read, forged.signatures()[0]).replace("a\n", "a\n");
        let mut bad = forged.signatures()[0].clone();
        bad.signature[5] ^= 1;
        let both = Note::parse(format!("{twice}{bad}").as_bytes()).unwrap();
        assert_eq!(both.signed_by(log.verifier()), Err(wrong));
    }

    #[test]
    fn a_witness_s_key_signs_no_text() {
        let witness = key("w.example", SignatureKind::Cosignature, 1);
        assert!(matches!(witness.sign("a\n"), Err(NoteError::Signer(_))));
    }

    #[test]
    fn keys_from_pem() {
        let made = PKey::generate_ed25519().unwrap();
        let pem = made.private_key_to_pem_pkcs8().unwrap();
        let name = || KeyName::new("x").unwrap();
        assert!(SigningKey::from_pem(name(), SignatureKind::Ed25519, &pem).is_ok());
        let x25519 = PKey::generate_x25519().unwrap().private_key_to_pem_pkcs8().unwrap();
        let locked = made
            .private_key_to_pem_pkcs8_passphrase(openssl::symm::Cipher::aes_256_cbc(), b"secret")
            .unwrap();
        for bad in [&x25519[..], &locked, b"", &pem[..40]] {
            let made = SigningKey::from_pem(name(), SignatureKind::Ed25519, bad);
            assert!(matches!(made, Err(KeyError::Private(_))));
        }
    }

    #[test]
    fn names_and_verifier_keys_that_are_none() {
        for name in ["", "a b", "a+b", "a\u{a0}b", "a\nb", "a\u{2003}", "\u{7f}"] {
            assert!(KeyName::new(name).is_err(), "{name:?}");
        }
        assert!(KeyName::new(&"n".repeat(256)).is_err());
        for text in [
            "",
            "example.com/foo",
            "example.com/foo+530d903a",
            "example.com/foo+530d903b+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            "example.com/foo+530D903A+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            "example.com/fop+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            "+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            "example.com/foo+530d903a+AukyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U0=",
            "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2",
            "example.com/foo+530d903a+",
        ] {
            assert!(VerifierKey::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn notes_that_are_none() {
        let line = SIGNED.split_once("\n\n").unwrap().1;
        for note in [
            String::new(),
            "a\n".to_owned(),
            "a\n\n".to_owned(),
            format!("a\n{line}"),
            format!("a\r\n\n{line}"),
            format!("a\tb\n\n{line}"),
            format!("a\n\n{}", line.trim_end()),
            format!("a\n\n{line}\n"),
            format!("a\n\n{}", line.replace('\u{2014}', "-")),
            format!("a\n\n{}", line.replace(" Uw2Q", "  Uw2Q")),
            format!("a\n\n{}", line.replace(" Uw2Q", " !Uw2")),
            format!("a\n\n{}", line.replace("aQM=", "aQM")),
            format!("a\n\n{}", line.replace("aQM=", "aQN=")),
            "a\n\n\u{2014} name AAAAAA==\n".to_owned(),
            format!("a\n\n{}", line.repeat(MAX_SIGNATURES + 1)),
            format!("{}\n\n{line}", "a".repeat(MAX_NOTE_BYTES)),
        ] {
            let read = Note::parse(note.as_bytes());
            assert!(
                matches!(read, Err(NoteError::Form(_))),
                "{}",
                &note[..note.len().min(99)]
            );
        }
        assert!(Note::parse(format!("a\n\n{}", line.repeat(MAX_SIGNATURES)).as_bytes()).is_ok());
        assert!(Note::parse(b"\xff\n\n").is_err());
    }

    proptest! {
        /// What parses is written again byte for byte: there is one note of one content.
        #[test]
        fn no_two_readings(at in 0_usize..130, byte: u8) {
            let mut bytes = SIGNED.as_bytes().to_vec();
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Ok(note) = Note::parse(&bytes) {
                prop_assert_eq!(note.to_string().into_bytes(), bytes.clone());
                let key = VerifierKey::parse(VKEY).unwrap();
                prop_assert_eq!(note.signed_by(&key).is_ok(), bytes == SIGNED.as_bytes());
            }
        }
    }
}
