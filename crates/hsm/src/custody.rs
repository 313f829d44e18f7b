//! What becomes of a key after it was made: backup under a wrap-only key, restoring, destruction; and the signature of
//! an officer, whose key is no CA's.

use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use der::Encode as _;
use der::asn1::OctetStringRef;
use issuance::SignatureAlgorithm;
use openssl::bn::BigNumContext;
use openssl::ec::PointConversionForm;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::rsa::Padding;
use openssl::sign::{RsaPssSaltlen, Verifier};
use secrecy::SecretString;
use zeroize::{Zeroize as _, Zeroizing};

use crate::provision::{discard, free};
use crate::scheme::{self, Material};
use crate::{GeneratedKey, HsmError, KeyCustody, KeySpec, Token, attributes, key, provision, public};

/// Proof that a key is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destruction {
    /// Objects that were destroyed: private and public half; fewer when an earlier attempt was cut off.
    pub destroyed: u32,
    /// What the token said to a signature with the destroyed key's handle; `None` when the private half was gone before.
    pub refusal: Option<String>,
}

/// A signature that an officer's smart card made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfficerSignature {
    /// The key, SubjectPublicKeyInfo DER.
    pub spki: Vec<u8>,
    /// How it signs.
    pub algorithm: SignatureAlgorithm,
    /// As certificates carry it.
    pub signature: Vec<u8>,
}

/// An AES key of the session that wraps, or unwraps, and does nothing else: never both, and never encrypts or decrypts.
fn wrapping_key(session: &Session, key: &[u8; 32], wraps: bool) -> Result<ObjectHandle, HsmError> {
    let mut template = vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Wrap(wraps),
        Attribute::Unwrap(!wraps),
        Attribute::Encrypt(false),
        Attribute::Decrypt(false),
        Attribute::Sign(false),
        Attribute::Verify(false),
        Attribute::Derive(false),
        Attribute::Value(key.to_vec()),
    ];
    let made = session.create_object(&template);
    for attribute in &mut template {
        if let Attribute::Value(bytes) = attribute {
            bytes.zeroize();
        }
    }
    let handle = made?;
    // What the token made of the template, not what was asked for.
    let asked = [
        (AttributeType::Wrap, wraps),
        (AttributeType::Unwrap, !wraps),
        (AttributeType::Encrypt, false),
        (AttributeType::Decrypt, false),
        (AttributeType::Extractable, false),
        (AttributeType::Sensitive, true),
        (AttributeType::Token, false),
    ];
    let found = session.get_attributes(handle, &asked.map(|(attribute, _)| attribute))?;
    let fits = asked.iter().all(|(attribute, wanted)| {
        found
            .iter()
            .find(|a| a.attribute_type() == *attribute)
            .and_then(attributes::boolean)
            == Some(*wanted)
    });
    if !fits {
        discard(session, &[handle]);
        return Err(HsmError::Key(
            "the token does not keep the backup key to wrapping alone; a backup under it would prove nothing".into(),
        ));
    }
    Ok(handle)
}

fn able(token: &Token, wrap: bool) -> Result<(), HsmError> {
    let can = scheme::able(
        token.pool.module().pkcs11(),
        token.pool.slot()?,
        MechanismType::AES_KEY_WRAP_PAD,
        |info| if wrap { info.wrap() } else { info.unwrap() },
    );
    if can {
        Ok(())
    } else {
        Err(HsmError::Key(
            "the token has no CKM_AES_KEY_WRAP_PAD: use its vendor's backup".into(),
        ))
    }
}

impl Token {
    /// As [`Token::generate`], a key that is to be backed up: extractable, in wrapped form only, until [`Token::close`].
    ///
    /// # Errors
    /// [`HsmError`].
    pub fn generate_for_backup(&self, spec: &KeySpec) -> Result<GeneratedKey, HsmError> {
        self.pool
            .checked(|| provision::generate(&self.pool, spec, KeyCustody::WrappedBackup))
    }

    /// Wrap the private key with this CKA_ID under a 256-bit key (RFC 5649, CKM_AES_KEY_WRAP_PAD) that can wrap and
    /// nothing else. The answer is the wrapped PKCS#8; once it is safe, [`Token::close`] the key.
    ///
    /// # Errors
    /// [`HsmError::Key`] when the key never leaves its token, is not the one of `spki`, or the token holds a key that
    /// could unwrap in the clear.
    pub fn back_up(
        &self,
        id: &[u8],
        spki: &[u8],
        algorithm: SignatureAlgorithm,
        wrapping: &Zeroizing<[u8; 32]>,
    ) -> Result<Vec<u8>, HsmError> {
        able(self, true)?;
        self.pool.checked(|| {
            let held = self.pool.read_write()?;
            let session = held.enter()?;
            let private = public::one(&session, ObjectClass::PRIVATE_KEY, id)?;
            if public::spki(&session, id, private, algorithm)? != spki {
                return Err(not_the_key(id));
            }
            if !is(&session, private, AttributeType::Extractable)? {
                return Err(HsmError::Key(format!(
                    "the key with CKA_ID {} never leaves its token: CKA_EXTRACTABLE is false",
                    hex::encode(id)
                )));
            }
            attributes::prove_open(&session, private)?;
            key::no_conflict(&session)?;
            let wrapper = wrapping_key(&session, wrapping, true)?;
            let wrapped = session.wrap_key(&Mechanism::AesKeyWrapPad, wrapper, private);
            session.destroy_object(wrapper)?;
            Ok(wrapped?)
        })
    }

    /// Close a key after its backup, for ever: CKA_EXTRACTABLE false. One that is closed stays so. The answer is what was
    /// read back.
    ///
    /// # Errors
    /// [`HsmError::Key`] when it is not the key of `spki`.
    pub fn close(
        &self,
        id: &[u8],
        spki: &[u8],
        algorithm: SignatureAlgorithm,
    ) -> Result<Vec<(String, String)>, HsmError> {
        self.pool.checked(|| {
            let held = self.pool.read_write()?;
            let session = held.enter()?;
            let private = public::one(&session, ObjectClass::PRIVATE_KEY, id)?;
            if public::spki(&session, id, private, algorithm)? != spki {
                return Err(not_the_key(id));
            }
            if is(&session, private, AttributeType::Extractable)? {
                session.update_attributes(private, &[Attribute::Extractable(false)])?;
            }
            attributes::prove(&session, private, KeyCustody::WrappedBackup)
        })
    }

    /// SubjectPublicKeyInfo (DER) of the key with this CKA_ID, of which nothing else is proven.
    ///
    /// # Errors
    /// [`HsmError::Key`].
    pub fn public_key(&self, id: &[u8], algorithm: SignatureAlgorithm) -> Result<Vec<u8>, HsmError> {
        self.pool.checked(|| {
            let lease = self.pool.lease()?;
            let session = lease.enter()?;
            let public = public::one(&session, ObjectClass::PUBLIC_KEY, id)?;
            public::of_public(&session, id, public, algorithm)
        })
    }

    /// Whether no half of any key has this CKA_ID.
    ///
    /// # Errors
    /// [`HsmError`].
    pub fn is_free(&self, id: &[u8]) -> Result<bool, HsmError> {
        self.pool.checked(|| {
            let lease = self.pool.lease()?;
            let session = lease.enter()?;
            for class in [ObjectClass::PRIVATE_KEY, ObjectClass::PUBLIC_KEY] {
                if !named(&session, class, id)?.is_empty() {
                    return Ok(false);
                }
            }
            Ok(true)
        })
    }

    /// Bring a backed-up key into this token, closed from its first moment, and prove it: it signs, and its signature
    /// holds under the public key of the original. Whatever does not fit is destroyed again.
    ///
    /// # Errors
    /// [`HsmError::Key`] also when id or label exist already, when the wrapping key is another one, and when the
    /// restored key is not the original.
    pub fn restore(
        &self,
        spec: &KeySpec,
        spki: &[u8],
        wrapped: &[u8],
        wrapping: &Zeroizing<[u8; 32]>,
    ) -> Result<GeneratedKey, HsmError> {
        able(self, false)?;
        self.pool.checked(|| {
            let held = self.pool.read_write()?;
            let session = held.enter()?;
            free(&session, spec)?;
            let before = private_keys(&session)?;
            let wrapper = wrapping_key(&session, wrapping, false)?;
            let unwrapped = unwrap(&session, wrapper, wrapped, spec);
            session.destroy_object(wrapper)?;
            let proven = unwrapped.and_then(|private| {
                let public = session.create_object(&public_template(spec, spki)?)?;
                let proven = prove_restored(&session, private, spec, spki);
                if proven.is_err() {
                    discard(&session, &[public]);
                }
                proven
            });
            proven.inspect_err(|_| {
                // SoftHSM leaves an object without a name behind when an unwrapping fails late.
                let after = private_keys(&session).unwrap_or_default();
                let new: Vec<_> = after.into_iter().filter(|key| !before.contains(key)).collect();
                discard(&session, &new);
            })
        })
    }

    /// Destroy the key with this CKA_ID, both halves, and prove it: nothing with its id is found, and its handle signs
    /// no more. Goes on where an earlier attempt was cut off.
    ///
    /// # Errors
    /// [`HsmError::Key`] when the token has no such key, or another one, under this id.
    pub fn destroy(&self, id: &[u8], spki: &[u8], algorithm: SignatureAlgorithm) -> Result<Destruction, HsmError> {
        self.pool.checked(|| {
            let held = self.pool.read_write()?;
            let session = held.enter()?;
            let public = public::one(&session, ObjectClass::PUBLIC_KEY, id)?;
            if public::of_public(&session, id, public, algorithm)? != spki {
                return Err(not_the_key(id));
            }
            let mut destroyed = 0;
            let mut refusal = None;
            if !named(&session, ObjectClass::PRIVATE_KEY, id)?.is_empty() {
                let private = public::one(&session, ObjectClass::PRIVATE_KEY, id)?;
                // A token keeps no bond between the halves: only a signature tells that this is the key.
                signs_as(&session, private, algorithm, spki)?;
                session.destroy_object(private)?;
                destroyed += 1;
                let (mechanism, _) = scheme::mechanism(algorithm);
                match session.sign(&mechanism, private, &scheme::input(algorithm, b"destroyed")) {
                    Ok(_) => {
                        return Err(HsmError::Key(
                            "the token still signs with the key it says it destroyed".into(),
                        ));
                    }
                    Err(error) => refusal = Some(HsmError::from(error).to_string()),
                }
            }
            // Last, so that an attempt that was cut off is recognised by what is left.
            session.destroy_object(public)?;
            destroyed += 1;
            for class in [ObjectClass::PRIVATE_KEY, ObjectClass::PUBLIC_KEY] {
                if !named(&session, class, id)?.is_empty() {
                    return Err(HsmError::Key(format!(
                        "the token still has an object with CKA_ID {}",
                        hex::encode(id)
                    )));
                }
            }
            Ok(Destruction { destroyed, refusal })
        })
    }

    /// Sign `message` once with the private key of this CKA_ID, which must be sensitive and not extractable: an
    /// officer's smart card, of which no more is asked. The algorithm is the key's; RSA signs PKCS#1 v1.5.
    ///
    /// # Errors
    /// [`HsmError`]; also when the signature does not hold under the card's public key.
    pub fn sign_as_officer(
        &self,
        id: &[u8],
        message: impl FnOnce(&[u8], SignatureAlgorithm) -> Option<Vec<u8>>,
    ) -> Result<OfficerSignature, HsmError> {
        self.pool.checked(|| {
            let lease = self.pool.lease()?;
            let session = lease.enter()?;
            let private = public::one(&session, ObjectClass::PRIVATE_KEY, id)?;
            for (attribute, name, wanted) in [
                (AttributeType::Sensitive, "CKA_SENSITIVE", true),
                (AttributeType::Extractable, "CKA_EXTRACTABLE", false),
            ] {
                if is(&session, private, attribute)? != wanted {
                    return Err(HsmError::Attribute {
                        attribute: name,
                        found: (!wanted).to_string(),
                        wanted: if wanted { "true" } else { "false" },
                    });
                }
            }
            let usable = [
                SignatureAlgorithm::EcdsaP256Sha256,
                SignatureAlgorithm::EcdsaP384Sha384,
                SignatureAlgorithm::Rsa3072Pkcs1Sha256,
                SignatureAlgorithm::Rsa4096Pkcs1Sha256,
            ];
            let found = usable
                .into_iter()
                .find_map(|algorithm| Some((algorithm, public::spki(&session, id, private, algorithm).ok()?)));
            let Some((algorithm, spki)) = found else {
                return Err(HsmError::Key(
                    "an officer's key is one of P-256, P-384, RSA-3072 or RSA-4096, its public half beside it".into(),
                ));
            };
            let Some(message) = message(&spki, algorithm) else {
                return Err(HsmError::Key("there is nothing to sign".into()));
            };
            let signature = signature(&session, private, algorithm, &message)?;
            if !verifies(&spki, algorithm, &message, &signature) {
                return Err(HsmError::Key("the card's signature does not hold".into()));
            }
            Ok(OfficerSignature {
                spki,
                algorithm,
                signature,
            })
        })
    }

    /// Give the token another user PIN. This login stays good; the next needs the new one.
    ///
    /// # Errors
    /// [`HsmError`].
    pub fn change_pin(&self, old: &SecretString, new: &SecretString) -> Result<(), HsmError> {
        self.pool.checked(|| {
            let held = self.pool.read_write()?;
            Ok(held.enter()?.set_pin(old, new)?)
        })
    }

    /// Everything the token tells of both halves of the key with this CKA_ID, for a transcript: (`private` or `public`
    /// and CKA_ name, value), bytes in hex. Sensitive values are never among them.
    ///
    /// # Errors
    /// [`HsmError::Key`] when none or several have the id.
    pub fn describe(&self, id: &[u8]) -> Result<Vec<(String, String)>, HsmError> {
        self.pool.checked(|| {
            let lease = self.pool.lease()?;
            let session = lease.enter()?;
            let mut told = Vec::new();
            for (half, class) in [
                ("private", ObjectClass::PRIVATE_KEY),
                ("public", ObjectClass::PUBLIC_KEY),
            ] {
                let handle = public::one(&session, class, id)?;
                for (name, attribute) in DESCRIBED {
                    for value in session.get_attributes(handle, &[attribute])? {
                        if let Some(value) = shown(&value) {
                            told.push((format!("{half} {name}"), value));
                        }
                    }
                }
            }
            Ok(told)
        })
    }
}

/// What [`Token::describe`] asks for: nothing that is, or contains, a private value.
const DESCRIBED: [(&str, AttributeType); 31] = [
    ("CKA_LABEL", AttributeType::Label),
    ("CKA_ID", AttributeType::Id),
    ("CKA_KEY_TYPE", AttributeType::KeyType),
    ("CKA_TOKEN", AttributeType::Token),
    ("CKA_PRIVATE", AttributeType::Private),
    ("CKA_SENSITIVE", AttributeType::Sensitive),
    ("CKA_ALWAYS_SENSITIVE", AttributeType::AlwaysSensitive),
    ("CKA_EXTRACTABLE", AttributeType::Extractable),
    ("CKA_NEVER_EXTRACTABLE", AttributeType::NeverExtractable),
    ("CKA_LOCAL", AttributeType::Local),
    ("CKA_KEY_GEN_MECHANISM", AttributeType::KeyGenMechanism),
    ("CKA_SIGN", AttributeType::Sign),
    ("CKA_SIGN_RECOVER", AttributeType::SignRecover),
    ("CKA_VERIFY", AttributeType::Verify),
    ("CKA_VERIFY_RECOVER", AttributeType::VerifyRecover),
    ("CKA_ENCRYPT", AttributeType::Encrypt),
    ("CKA_DECRYPT", AttributeType::Decrypt),
    ("CKA_WRAP", AttributeType::Wrap),
    ("CKA_UNWRAP", AttributeType::Unwrap),
    ("CKA_DERIVE", AttributeType::Derive),
    ("CKA_WRAP_WITH_TRUSTED", AttributeType::WrapWithTrusted),
    ("CKA_MODIFIABLE", AttributeType::Modifiable),
    ("CKA_COPYABLE", AttributeType::Copyable),
    ("CKA_DESTROYABLE", AttributeType::Destroyable),
    ("CKA_ALWAYS_AUTHENTICATE", AttributeType::AlwaysAuthenticate),
    ("CKA_TRUSTED", AttributeType::Trusted),
    ("CKA_EC_PARAMS", AttributeType::EcParams),
    ("CKA_EC_POINT", AttributeType::EcPoint),
    ("CKA_MODULUS_BITS", AttributeType::ModulusBits),
    ("CKA_MODULUS", AttributeType::Modulus),
    ("CKA_PUBLIC_EXPONENT", AttributeType::PublicExponent),
];

fn shown(value: &Attribute) -> Option<String> {
    use Attribute as A;
    Some(match value {
        A::Label(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        A::Id(bytes) | A::EcParams(bytes) | A::EcPoint(bytes) | A::Modulus(bytes) | A::PublicExponent(bytes) => {
            hex::encode(bytes)
        }
        A::KeyType(kind) => kind.to_string(),
        A::ModulusBits(bits) => bits.to_string(),
        A::KeyGenMechanism(kind) => kind.to_string(),
        A::Verify(value) | A::VerifyRecover(value) | A::WrapWithTrusted(value) => value.to_string(),
        A::Destroyable(value) | A::Trusted(value) => value.to_string(),
        other => attributes::boolean(other)?.to_string(),
    })
}

fn not_the_key(id: &[u8]) -> HsmError {
    HsmError::Key(format!(
        "the key with CKA_ID {} on the token is not the one that is meant",
        hex::encode(id)
    ))
}

/// A boolean attribute; a token that does not tell is refused.
fn is(session: &Session, object: ObjectHandle, attribute: AttributeType) -> Result<bool, HsmError> {
    session
        .get_attributes(object, &[attribute])?
        .iter()
        .find_map(attributes::boolean)
        .ok_or_else(|| HsmError::Key(format!("the token does not tell {attribute}")))
}

fn named(session: &Session, class: ObjectClass, id: &[u8]) -> Result<Vec<ObjectHandle>, HsmError> {
    Ok(session.find_objects(&[Attribute::Class(class), Attribute::Id(id.to_vec())])?)
}

fn private_keys(session: &Session) -> Result<Vec<ObjectHandle>, HsmError> {
    Ok(session.find_objects(&[Attribute::Class(ObjectClass::PRIVATE_KEY)])?)
}

fn unwrap(session: &Session, wrapper: ObjectHandle, wrapped: &[u8], spec: &KeySpec) -> Result<ObjectHandle, HsmError> {
    let mut template = vec![
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::KeyType(scheme::material(spec.algorithm).key_type()),
    ];
    // The token fills the object after it was made, so one that nobody may modify cannot be unwrapped (SoftHSM:
    // CKR_ATTRIBUTE_READ_ONLY).
    template.extend(
        attributes::private_template()
            .into_iter()
            .filter(|a| !matches!(a, Attribute::Modifiable(_))),
    );
    template.extend([
        Attribute::Label(spec.label.as_bytes().to_vec()),
        Attribute::Id(spec.id.clone()),
    ]);
    session
        .unwrap_key(&Mechanism::AesKeyWrapPad, wrapper, wrapped, &template)
        .map_err(|error| {
            HsmError::Key(format!(
                "the backup does not open under this wrapping key: {}",
                HsmError::from(error)
            ))
        })
}

/// The public half, which a backup does not carry, made from the SubjectPublicKeyInfo.
fn public_template(spec: &KeySpec, spki: &[u8]) -> Result<Vec<Attribute>, HsmError> {
    let broken = || HsmError::Key("the public key of the backup is not one for its algorithm".into());
    let key = PKey::public_key_from_der(spki).map_err(|_| broken())?;
    let material = scheme::material(spec.algorithm);
    let mut template = vec![
        Attribute::Class(ObjectClass::PUBLIC_KEY),
        Attribute::KeyType(material.key_type()),
        Attribute::Token(true),
        Attribute::Private(false),
        Attribute::Verify(true),
        Attribute::VerifyRecover(false),
        Attribute::Encrypt(false),
        Attribute::Wrap(false),
        Attribute::Derive(false),
        Attribute::Modifiable(false),
        Attribute::Label(spec.label.as_bytes().to_vec()),
        Attribute::Id(spec.id.clone()),
    ];
    match material {
        Material::Ec { curve, .. } => {
            let ec = key.ec_key().map_err(|_| broken())?;
            if ec.group().curve_name() != Some(curve) {
                return Err(broken());
            }
            let point = BigNumContext::new()
                .and_then(|mut context| {
                    ec.public_key()
                        .to_bytes(ec.group(), PointConversionForm::UNCOMPRESSED, &mut context)
                })
                .map_err(|_| broken())?;
            let point = OctetStringRef::new(&point)
                .and_then(|point| point.to_der())
                .map_err(|_| broken())?;
            template.push(Attribute::EcParams(public::curve_oid(curve).to_vec()));
            template.push(Attribute::EcPoint(point));
        }
        Material::Rsa { .. } => {
            let rsa = key.rsa().map_err(|_| broken())?;
            template.push(Attribute::Modulus(rsa.n().to_vec()));
            template.push(Attribute::PublicExponent(rsa.e().to_vec()));
        }
    }
    Ok(template)
}

/// It is closed, and it is the original: a signature over fresh random bytes holds under the original's public key.
fn prove_restored(
    session: &Session,
    private: ObjectHandle,
    spec: &KeySpec,
    spki: &[u8],
) -> Result<GeneratedKey, HsmError> {
    let attributes = attributes::prove(session, private, KeyCustody::WrappedBackup)?;
    if public::spki(session, &spec.id, private, spec.algorithm)? != spki {
        return Err(not_the_key(&spec.id));
    }
    signs_as(session, private, spec.algorithm, spki)?;
    Ok(GeneratedKey {
        id: spec.id.clone(),
        spki: spki.to_vec(),
        attributes,
    })
}

/// A signature of this private key over fresh random bytes holds under this public key.
fn signs_as(
    session: &Session,
    private: ObjectHandle,
    algorithm: SignatureAlgorithm,
    spki: &[u8],
) -> Result<(), HsmError> {
    let mut challenge = [0; 32];
    openssl::rand::rand_bytes(&mut challenge).map_err(|_| HsmError::Key("no random bytes for the test".into()))?;
    let message = [b"holdfast test of a key\0".as_slice(), &challenge].concat();
    let signature = signature(session, private, algorithm, &message)?;
    if verifies(spki, algorithm, &message, &signature) {
        Ok(())
    } else {
        Err(HsmError::Key(
            "the private key is another one: its signature does not hold under the public key".into(),
        ))
    }
}

fn signature(
    session: &Session,
    private: ObjectHandle,
    algorithm: SignatureAlgorithm,
    message: &[u8],
) -> Result<Vec<u8>, HsmError> {
    let (mechanism, _) = scheme::mechanism(algorithm);
    let raw = session.sign(&mechanism, private, &scheme::input(algorithm, message))?;
    scheme::encode(algorithm, raw).ok_or_else(|| HsmError::Key("the token's signature has a wrong length".into()))
}

/// Outside of the token.
fn verifies(spki: &[u8], algorithm: SignatureAlgorithm, message: &[u8], signature: &[u8]) -> bool {
    use SignatureAlgorithm as A;
    let digest = match algorithm {
        A::EcdsaP384Sha384 => MessageDigest::sha384(),
        _ => MessageDigest::sha256(),
    };
    let verified = PKey::public_key_from_der(spki).and_then(|key| {
        let mut verifier = Verifier::new(digest, &key)?;
        if matches!(algorithm, A::Rsa3072PssSha256 | A::Rsa4096PssSha256) {
            verifier.set_rsa_padding(Padding::PKCS1_PSS)?;
            verifier.set_rsa_mgf1_md(MessageDigest::sha256())?;
            verifier.set_rsa_pss_saltlen(RsaPssSaltlen::custom(32))?;
        }
        verifier.verify_oneshot(signature, message)
    });
    matches!(verified, Ok(true))
}
