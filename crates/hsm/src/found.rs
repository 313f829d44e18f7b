//! What a token has under a name, asked before a key is made: after an interruption the token is asked first.

use cryptoki::object::{Attribute, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

use crate::pool::Pool;
use crate::{HsmError, KeySpec, Token};

/// What a token has under a label or a CKA_ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// A public half alone: what is left of a generation that was cut off.
    PublicOnly,
    /// A private key.
    Key,
}

fn objects(session: &Session, class: ObjectClass, spec: &KeySpec) -> Result<Vec<ObjectHandle>, HsmError> {
    let by = |attribute| session.find_objects(&[Attribute::Class(class), attribute]);
    let mut found = by(Attribute::Id(spec.id.clone()))?;
    for handle in by(Attribute::Label(spec.label.as_bytes().to_vec()))? {
        if !found.contains(&handle) {
            found.push(handle);
        }
    }
    Ok(found)
}

fn found(pool: &Pool, spec: &KeySpec) -> Result<Found, HsmError> {
    let lease = pool.lease()?;
    let session = lease.enter()?;
    if !objects(&session, ObjectClass::PRIVATE_KEY, spec)?.is_empty() {
        return Ok(Found::Key);
    }
    Ok(match objects(&session, ObjectClass::PUBLIC_KEY, spec)?.is_empty() {
        true => Found::Nothing,
        false => Found::PublicOnly,
    })
}

fn discard_public(pool: &Pool, spec: &KeySpec) -> Result<(), HsmError> {
    let held = pool.read_write()?;
    let session = held.enter()?;
    if !objects(&session, ObjectClass::PRIVATE_KEY, spec)?.is_empty() {
        return Err(HsmError::Key("a private key goes with it".into()));
    }
    for handle in objects(&session, ObjectClass::PUBLIC_KEY, spec)? {
        session.destroy_object(handle)?;
    }
    Ok(())
}

impl Token {
    /// What the token has under this label or CKA_ID.
    ///
    /// # Errors
    /// [`HsmError`].
    pub fn found(&self, spec: &KeySpec) -> Result<Found, HsmError> {
        self.pool.checked(|| found(&self.pool, spec))
    }

    /// Destroy public halves of this label or CKA_ID that no private key goes with.
    ///
    /// # Errors
    /// [`HsmError::Key`] when a private key has the label or the CKA_ID.
    pub fn discard_public(&self, spec: &KeySpec) -> Result<(), HsmError> {
        self.pool.checked(|| discard_public(&self.pool, spec))
    }
}
