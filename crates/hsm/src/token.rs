//! One token: module loaded once, logged in once, a bounded pool of sessions that heals itself.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cryptoki::object::{Attribute, AttributeType, ObjectClass};
use issuance::SignatureAlgorithm;
use secrecy::SecretString;

use crate::pin::{KeptPin, PinSource};
use crate::pool::Pool;
use crate::{
    GeneratedKey, HsmError, HsmKey, KeyCustody, KeySpec, PinWarning, Pkcs11Uri, attributes, provision, public,
};

/// How to reach a token.
#[derive(Clone, Debug)]
pub struct TokenConfig {
    /// Which module and token.
    pub uri: Pkcs11Uri,
    /// Sessions kept open for signing.
    pub sessions: usize,
    /// How long a signature may wait for a free session.
    pub queue_deadline: Duration,
    /// Shortest time between two login attempts.
    pub login_backoff: Duration,
}

impl TokenConfig {
    /// The usual: 8 sessions, two seconds in the queue, a login attempt every 30 seconds at most.
    #[must_use]
    pub fn new(uri: Pkcs11Uri) -> Self {
        Self {
            uri,
            sessions: 8,
            queue_deadline: Duration::from_secs(2),
            login_backoff: Duration::from_secs(30),
        }
    }
}

/// A token, logged in. Clones share the login and the sessions.
#[derive(Clone)]
pub struct Token {
    pub(crate) pool: Arc<Pool>,
}

impl core::fmt::Debug for Token {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        out.debug_struct("Token")
            .field("serial", &self.pool.serial())
            .finish_non_exhaustive()
    }
}

impl Token {
    /// Load the module, find the token, log in, open the pool.
    ///
    /// The token's own warnings about its PIN are read first: when a wrong PIN was tried before, none is tried now, so
    /// that a service that is restarted again and again does not lock its token.
    ///
    /// # Errors
    /// [`HsmError`].
    pub fn open(config: TokenConfig, pin: SecretString) -> Result<Self, HsmError> {
        Ok(Self {
            pool: Arc::new(Pool::open(config, KeptPin::Given(pin), None)?),
        })
    }

    /// As [`Token::open`], with the PIN read from `source` for this login and for each later one (see
    /// [`PinSource::read`] for `credentials`): between two logins it is in no memory of this process. A descriptor and
    /// a terminal give it only once; then it is kept.
    ///
    /// # Errors
    /// [`HsmError`]; [`HsmError::Pin`] also when there is no PIN.
    pub fn open_from(config: TokenConfig, source: PinSource, credentials: Option<&Path>) -> Result<Self, HsmError> {
        Ok(Self {
            pool: Arc::new(Pool::open(config, KeptPin::of(source, credentials)?, None)?),
        })
    }

    /// As [`Token::open`], by a person who was told of the warning and wants to try the PIN all the same. Warnings
    /// graver than `accepted` still refuse, and [`PinWarning::Locked`] always does. Covers this login only, not those
    /// of the pool when it heals itself.
    ///
    /// # Errors
    /// [`HsmError`].
    pub fn open_despite(config: TokenConfig, pin: SecretString, accepted: PinWarning) -> Result<Self, HsmError> {
        Ok(Self {
            pool: Arc::new(Pool::open(config, KeptPin::Given(pin), Some(accepted))?),
        })
    }

    /// The private key with this CKA_ID, proven to be the one of `spki`, sign-only, never extractable and made here.
    ///
    /// `spki` is the certificate's SubjectPublicKeyInfo in DER: named curve and uncompressed point, or rsaEncryption.
    ///
    /// # Errors
    /// [`HsmError::Key`] or [`HsmError::Attribute`].
    pub fn ca_key(&self, id: &[u8], spki: &[u8], algorithm: SignatureAlgorithm) -> Result<HsmKey, HsmError> {
        self.kept_key(id, spki, algorithm, KeyCustody::NeverLeaves)
    }

    /// As [`Token::ca_key`], for a key that is kept so: a backed-up one is not asked about its past.
    ///
    /// # Errors
    /// [`HsmError::Key`] or [`HsmError::Attribute`].
    pub fn kept_key(
        &self,
        id: &[u8],
        spki: &[u8],
        algorithm: SignatureAlgorithm,
        custody: KeyCustody,
    ) -> Result<HsmKey, HsmError> {
        HsmKey::find(Arc::clone(&self.pool), id, spki, algorithm, custody)
    }

    /// The private key with this CKA_ID, whose public half is read from the token: for a key that no certificate names
    /// yet. Proven as [`Token::ca_key`] proves it.
    ///
    /// # Errors
    /// [`HsmError::Key`] or [`HsmError::Attribute`].
    pub fn own_key(&self, id: &[u8], algorithm: SignatureAlgorithm) -> Result<HsmKey, HsmError> {
        let spki = self.pool.checked(|| {
            let lease = self.pool.lease()?;
            let session = lease.enter()?;
            let private = public::one(&session, ObjectClass::PRIVATE_KEY, id)?;
            public::spki(&session, id, private, algorithm)
        })?;
        self.ca_key(id, &spki, algorithm)
    }

    /// Every attribute of the private key with this CKA_ID, as it is and as [`Token::ca_key`] wants it; so that a person
    /// sees all that is wrong with a key that is refused.
    ///
    /// # Errors
    /// [`HsmError::Key`] when none or several have the id.
    pub fn attributes(&self, id: &[u8]) -> Result<Vec<attributes::AttributeVerdict>, HsmError> {
        self.pool.checked(|| {
            let lease = self.pool.lease()?;
            let session = lease.enter()?;
            let key = public::one(&session, ObjectClass::PRIVATE_KEY, id)?;
            attributes::verdicts(&session, key)
        })
    }

    /// CKA_ID of the only private key with this CKA_LABEL, for a URI that names its key by `object`.
    ///
    /// # Errors
    /// [`HsmError::Key`] when none or several have the label.
    pub fn id_of(&self, label: &str) -> Result<Vec<u8>, HsmError> {
        self.pool.checked(|| self.find_id(label))
    }

    fn find_id(&self, label: &str) -> Result<Vec<u8>, HsmError> {
        let lease = self.pool.lease()?;
        let session = lease.enter()?;
        let wanted = [
            Attribute::Class(ObjectClass::PRIVATE_KEY),
            Attribute::Label(label.as_bytes().to_vec()),
        ];
        let found = session.find_objects(&wanted)?;
        let [handle] = found.as_slice() else {
            return Err(HsmError::Key(format!(
                "{} private keys on the token have the label `{label}`",
                found.len()
            )));
        };
        match session.get_attributes(*handle, &[AttributeType::Id])?.pop() {
            Some(Attribute::Id(id)) if !id.is_empty() => Ok(id),
            _ => Err(HsmError::Key(format!(
                "the private key with the label `{label}` has no CKA_ID"
            ))),
        }
    }

    /// Generate a CA key pair with a sign-only template and read its attributes back.
    ///
    /// # Errors
    /// [`HsmError`]; a key with this CKA_ID or label exists already.
    pub fn generate(&self, spec: &KeySpec) -> Result<GeneratedKey, HsmError> {
        self.pool
            .checked(|| provision::generate(&self.pool, spec, KeyCustody::NeverLeaves))
    }

    /// Serial number of the token.
    #[must_use]
    pub fn serial(&self) -> &str {
        self.pool.serial()
    }

    /// How often this process asked this token to log in, since it started.
    #[must_use]
    pub fn login_attempts(&self) -> u64 {
        self.pool.login_attempts()
    }
}

#[cfg(test)]
impl Token {
    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }
}
