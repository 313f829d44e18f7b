//! Making tokens and keys: rehearsals and ceremonies.

use std::path::Path;

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::TokenInfo;
use issuance::SignatureAlgorithm;
use secrecy::{ExposeSecret, SecretString};

use crate::link::{Held, Mode};
use crate::module::Module;
use crate::pool::Pool;
use crate::scheme::{self, Material};
use crate::{HsmError, KeyCustody, Pkcs11Uri, attributes, public};

/// A CA key to generate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// CKA_LABEL of both halves.
    pub label: String,
    /// CKA_ID of both halves.
    pub id: Vec<u8>,
    /// Algorithm.
    pub algorithm: SignatureAlgorithm,
}

/// A key that was generated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeneratedKey {
    /// CKA_ID.
    pub id: Vec<u8>,
    /// SubjectPublicKeyInfo, DER.
    pub spki: Vec<u8>,
    /// Attributes as read back, for the transcript: (CKA_ name, value).
    pub attributes: Vec<(String, String)>,
}

/// Longest token label, CK_TOKEN_INFO.
const LABEL: usize = 32;

pub(crate) fn generate(pool: &Pool, spec: &KeySpec, custody: KeyCustody) -> Result<GeneratedKey, HsmError> {
    let held = pool.read_write()?;
    let session = held.enter()?;
    free(&session, spec)?;
    let (mechanism, public, mut private) = templates(spec);
    if custody == KeyCustody::WrappedBackup {
        // Closed again by [`crate::Token::back_up`], which needs it modifiable.
        private.retain(|a| !matches!(a, Attribute::Extractable(_) | Attribute::Modifiable(_)));
        private.extend([Attribute::Extractable(true), Attribute::Modifiable(true)]);
    }
    let (public, private) = session.generate_key_pair(&mechanism, &public, &private)?;
    let read = match custody {
        KeyCustody::NeverLeaves => attributes::prove(&session, private, custody),
        KeyCustody::WrappedBackup => attributes::prove_open(&session, private),
    };
    let read = read.and_then(|read| Ok((read, public::spki(&session, &spec.id, private, spec.algorithm)?)));
    match read {
        Ok((attributes, spki)) => Ok(GeneratedKey {
            id: spec.id.clone(),
            spki,
            attributes,
        }),
        Err(error) => {
            // A key we would refuse to use must not stay behind under this name.
            discard(&session, &[private, public]);
            Err(error)
        }
    }
}

/// Destroy what must not stay behind.
pub(crate) fn discard(session: &Session, objects: &[ObjectHandle]) {
    for object in objects {
        if let Err(error) = session.destroy_object(*object) {
            tracing::warn!(%error, "an object that was refused could not be destroyed");
        }
    }
}

/// Neither half of a key has this CKA_ID or label yet.
pub(crate) fn free(session: &Session, spec: &KeySpec) -> Result<(), HsmError> {
    if spec.label.is_empty() || spec.id.is_empty() {
        return Err(HsmError::Key("a CA key needs a label and a CKA_ID".into()));
    }
    for class in [ObjectClass::PRIVATE_KEY, ObjectClass::PUBLIC_KEY] {
        let taken = |attribute| {
            session
                .find_objects(&[Attribute::Class(class), attribute])
                .map(|found| !found.is_empty())
        };
        if taken(Attribute::Id(spec.id.clone()))? {
            return Err(HsmError::Key(format!(
                "the token has a key with CKA_ID {} already",
                hex::encode(&spec.id)
            )));
        }
        if taken(Attribute::Label(spec.label.as_bytes().to_vec()))? {
            return Err(HsmError::Key(format!(
                "the token has a key with the label `{}` already",
                spec.label
            )));
        }
    }
    Ok(())
}

fn templates(spec: &KeySpec) -> (Mechanism<'static>, Vec<Attribute>, Vec<Attribute>) {
    let names = [
        Attribute::Label(spec.label.as_bytes().to_vec()),
        Attribute::Id(spec.id.clone()),
    ];
    let mut public = vec![
        Attribute::Token(true),
        Attribute::Private(false),
        Attribute::Verify(true),
        Attribute::VerifyRecover(false),
        Attribute::Encrypt(false),
        Attribute::Wrap(false),
        Attribute::Derive(false),
        Attribute::Modifiable(false),
    ];
    public.extend(names.clone());
    let mut private = attributes::private_template();
    private.extend(names);
    let mechanism = match scheme::material(spec.algorithm) {
        Material::Ec { curve, .. } => {
            public.push(Attribute::EcParams(public::curve_oid(curve).to_vec()));
            Mechanism::EccKeyPairGen
        }
        Material::Rsa { bits } => {
            public.push(Attribute::ModulusBits(u64::from(bits).into()));
            public.push(Attribute::PublicExponent(vec![1, 0, 1]));
            Mechanism::RsaPkcsKeyPairGen
        }
    };
    (mechanism, public, private)
}

/// Initialise a free slot of a software module (rehearsal): label, SO PIN, user PIN. Refuses when a token of this label
/// exists. Returns the token's serial number.
///
/// # Errors
/// [`HsmError`].
pub fn init_token(module: &Path, label: &str, so_pin: &SecretString, pin: &SecretString) -> Result<String, HsmError> {
    if label.is_empty() || label.len() > LABEL || label.trim_end() != label || label.contains('\0') {
        return Err(HsmError::Token(format!(
            "a token label has 1 to {LABEL} bytes and does not end with a space: `{label}`"
        )));
    }
    let module = Module::load(module)?;
    let generation = *module.enter();
    let gate = module.enter();
    let pkcs11 = module.pkcs11();
    let mut free = None;
    for slot in pkcs11.get_slots_with_token()? {
        let Ok(info) = pkcs11.get_token_info(slot) else {
            continue;
        };
        if !info.token_initialized() {
            free = free.or(Some((slot, info)));
        } else if info.label() == label {
            return Err(HsmError::Token(format!(
                "a token with the label `{label}` exists already (serial {})",
                info.serial_number()
            )));
        }
    }
    let (slot, info) = free.ok_or_else(|| HsmError::Token("the module has no slot with a free token".into()))?;
    fits(&info, so_pin, "the security officer's PIN")?;
    fits(&info, pin, "the PIN")?;
    pkcs11.init_token(slot, so_pin, label)?;
    // The module may renumber its slots now.
    let uri = Pkcs11Uri {
        token: Some(label.to_owned()),
        ..Pkcs11Uri::default()
    };
    let (slot, info) = module.find(&uri, None)??;
    let held = Held::open(&module, generation, slot, Mode::ReadWrite)?;
    set_user_pin(&*held.enter()?, so_pin, pin)?;
    drop(gate);
    Ok(info.serial_number().to_owned())
}

fn set_user_pin(session: &Session, so_pin: &SecretString, pin: &SecretString) -> Result<(), HsmError> {
    session.login(UserType::So, Some(so_pin))?;
    let outcome = session.init_pin(pin);
    // Read-only sessions cannot be opened while the security officer is logged in.
    session.logout()?;
    Ok(outcome?)
}

/// The token would say CKR_PIN_LEN_RANGE after the old content is gone.
fn fits(info: &TokenInfo, pin: &SecretString, what: &str) -> Result<(), HsmError> {
    let (least, most) = (info.min_pin_length(), info.max_pin_length());
    if (least..=most).contains(&pin.expose_secret().len()) {
        return Ok(());
    }
    Err(HsmError::Pin(format!(
        "{what} must have {least} to {most} bytes for this token"
    )))
}
