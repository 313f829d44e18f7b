//! A CA key in a token.

use std::sync::{Arc, PoisonError, RwLock};

use cryptoki::context::Function;
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::MechanismInfo;
use cryptoki::object::{Attribute, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use issuance::{CaKey, KeyError, SignatureAlgorithm, ToSign};

use crate::pool::{Lease, Pool};
use crate::{HsmError, KeyCustody, attributes, public, scheme};

/// A private key in a token whose attributes were proven. `Send + Sync`; each signature leases a session.
pub struct HsmKey {
    pool: Arc<Pool>,
    id: Vec<u8>,
    spki: Vec<u8>,
    algorithm: SignatureAlgorithm,
    custody: KeyCustody,
    /// The object's handle and the connection it was proven on. Looked up and proven once for each connection: after
    /// the token was away it may hold other things.
    handle: RwLock<Option<(u64, ObjectHandle)>>,
}

impl core::fmt::Debug for HsmKey {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        out.debug_struct("HsmKey")
            .field("token", &self.pool.serial())
            .field("id", &hex::encode(&self.id))
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

impl CaKey for HsmKey {
    fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }
    fn spki(&self) -> &[u8] {
        &self.spki
    }
    fn sign(&self, what: ToSign<'_>) -> Result<Vec<u8>, KeyError> {
        self.sign_bytes(what.bytes())
    }
}

/// What a call for a signature came to.
enum Fault {
    /// The key was not asked. A new session may be tried.
    Stale(HsmError),
    /// The token refused the request itself; another session would hear the same.
    Refused(HsmError),
    /// The key was asked.
    Unknown(HsmError),
}

impl HsmKey {
    /// Find the key, prove what [`crate::Token::ca_key`] promises.
    pub(crate) fn find(
        pool: Arc<Pool>,
        id: &[u8],
        spki: &[u8],
        algorithm: SignatureAlgorithm,
        custody: KeyCustody,
    ) -> Result<Self, HsmError> {
        let key = Self {
            pool,
            id: id.to_vec(),
            spki: spki.to_vec(),
            algorithm,
            custody,
            handle: RwLock::new(None),
        };
        let mut lease = key.pool.lease()?;
        key.proven(&mut lease)?;
        drop(lease);
        Ok(key)
    }

    /// Hash in software, sign on the token. At most one signature is ever asked for.
    pub(crate) fn sign_bytes(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.sign_input(&scheme::input(self.algorithm, message))
    }

    /// As [`HsmKey::sign_bytes`], of what is hashed already.
    pub(crate) fn sign_input(&self, input: &[u8]) -> Result<Vec<u8>, KeyError> {
        if input.len() != scheme::input_length(self.algorithm) {
            return Err(KeyError::Unavailable(format!(
                "{} bytes are no input for this key",
                input.len()
            )));
        }
        let unavailable = |error: HsmError| KeyError::Unavailable(error.to_string());
        let raw = match self.attempt(input) {
            // Nothing was asked of the key, so asking once more signs nothing twice.
            Err(Fault::Stale(_)) => self.attempt(input),
            other => other,
        };
        match raw {
            Ok(raw) => {
                let length = raw.len();
                scheme::encode(self.algorithm, raw)
                    .ok_or_else(|| KeyError::Unknown(format!("the token answered with {length} bytes")))
            }
            Err(Fault::Stale(error) | Fault::Refused(error)) => Err(unavailable(error)),
            Err(Fault::Unknown(error)) => Err(KeyError::Unknown(error.to_string())),
        }
    }

    fn attempt(&self, input: &[u8]) -> Result<Vec<u8>, Fault> {
        // A call that went wrong on the way was about the connection; a new one may fare better.
        let fault = |error| match error {
            HsmError::Call { .. } | HsmError::Restarted => Fault::Stale(error),
            _ => Fault::Refused(error),
        };
        let mut lease = self.pool.lease().map_err(fault)?;
        let handle = self.proven(&mut lease).map_err(fault)?;
        let (mechanism, _) = scheme::mechanism(self.algorithm);
        let outcome = lease.enter().map(|session| session.sign(&mechanism, handle, input));
        match outcome {
            Ok(Ok(raw)) => Ok(raw),
            Ok(Err(Error::Pkcs11(code, Function::SignInit))) if clean(&code) => {
                Err(Fault::Refused(Error::Pkcs11(code, Function::SignInit).into()))
            }
            Err(error) => {
                lease.fail();
                Err(Fault::Stale(error))
            }
            Ok(Err(error)) => {
                let asked = !matches!(error, Error::Pkcs11(_, Function::SignInit));
                self.forget();
                lease.fail();
                Err(if asked {
                    Fault::Unknown(error.into())
                } else {
                    Fault::Stale(error.into())
                })
            }
        }
    }

    /// The handle of the proven key on this lease's connection.
    fn proven(&self, lease: &mut Lease<'_>) -> Result<ObjectHandle, HsmError> {
        let epoch = lease.epoch();
        let current = |cached: &Option<(u64, ObjectHandle)>| {
            cached.and_then(|(proven_on, handle)| (proven_on == epoch).then_some(handle))
        };
        if let Some(handle) = current(&self.handle.read().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(handle);
        }
        // One caller proves, the others wait for it here.
        let mut cached = self.handle.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = current(&cached) {
            return Ok(handle);
        }
        let outcome = lease.enter().and_then(|session| {
            let (mechanism, name) = scheme::mechanism(self.algorithm);
            let pkcs11 = self.pool.module().pkcs11();
            if !scheme::able(
                pkcs11,
                self.pool.slot()?,
                mechanism.mechanism_type(),
                MechanismInfo::sign,
            ) {
                return Err(HsmError::Key(format!("the token does not sign with {name}")));
            }
            prove(&session, &self.id, &self.spki, self.algorithm, self.custody)
        });
        match outcome {
            Ok(handle) => {
                *cached = Some((epoch, handle));
                Ok(handle)
            }
            Err(error) => {
                drop(cached);
                if matches!(error, HsmError::Call { .. } | HsmError::Restarted) {
                    lease.fail();
                }
                Err(error)
            }
        }
    }

    fn forget(&self) {
        *self.handle.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// A C_SignInit that failed for a reason of the request: the session is as it was.
fn clean(code: &RvError) -> bool {
    matches!(
        code,
        RvError::MechanismInvalid
            | RvError::MechanismParamInvalid
            | RvError::KeyFunctionNotPermitted
            | RvError::KeyTypeInconsistent
            | RvError::KeySizeRange
    )
}

/// The private key with this CKA_ID, its attributes proven, its public half the one wanted, and nothing on the token
/// that could carry keys out of it.
pub(crate) fn prove(
    session: &Session,
    id: &[u8],
    spki: &[u8],
    algorithm: SignatureAlgorithm,
    custody: KeyCustody,
) -> Result<ObjectHandle, HsmError> {
    let handle = public::one(session, ObjectClass::PRIVATE_KEY, id)?;
    attributes::prove(session, handle, custody)?;
    if public::spki(session, id, handle, algorithm)? != spki {
        return Err(HsmError::Key(format!(
            "the key with CKA_ID {} on the token is not the certificate's",
            hex::encode(id)
        )));
    }
    no_conflict(session)?;
    Ok(handle)
}

/// No key on the token can carry others out in the clear (Clulow 2003; Tookan 2010).
pub(crate) fn no_conflict(session: &Session) -> Result<(), HsmError> {
    let conflict = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::Wrap(true),
        Attribute::Decrypt(true),
    ];
    if !session.find_objects(&conflict)?.is_empty() {
        return Err(HsmError::Key(
            "the token holds a secret key with both CKA_WRAP and CKA_DECRYPT: it can carry keys out in the clear; \
             destroy it or use a token of its own for the CA key"
                .into(),
        ));
    }
    Ok(())
}

#[cfg(test)]
impl HsmKey {
    /// Sign with whatever input, past the length check.
    pub(crate) fn sign_unchecked(&self, input: &[u8]) -> Result<Vec<u8>, KeyError> {
        match self.attempt(input) {
            Ok(raw) => Ok(raw),
            Err(Fault::Stale(error) | Fault::Refused(error)) => Err(KeyError::Unavailable(error.to_string())),
            Err(Fault::Unknown(error)) => Err(KeyError::Unknown(error.to_string())),
        }
    }

    /// Take this handle for the proven one.
    pub(crate) fn believe(&self, handle: ObjectHandle) {
        let mut cached = self.handle.write().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, proven)) = &mut *cached {
            *proven = handle;
        }
    }

    pub(crate) fn sign_input_of_length(&self, length: usize) -> Result<Vec<u8>, KeyError> {
        self.sign_input(&vec![7; length])
    }
}
