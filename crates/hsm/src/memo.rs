//! A few bytes that the token remembers (CKO_DATA, PKCS#11 v3.1 §4.5): what no restored disk can take back.

use cryptoki::error::{Error, RvError};
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

use crate::{HsmError, Token};

/// CKA_APPLICATION of all of them.
const APPLICATION: &[u8] = b"holdfast";

/// No memo is longer.
const MAX_MEMO: usize = 4096;

fn wanted(label: &str) -> [Attribute; 3] {
    [
        Attribute::Class(ObjectClass::DATA),
        Attribute::Application(APPLICATION.to_vec()),
        Attribute::Label(label.as_bytes().to_vec()),
    ]
}

/// How often the token is looked through anew while others write and forget.
const LOOKS: usize = 32;

/// What an object remembers; nothing when it is gone: another server forgot it.
fn value(session: &Session, object: ObjectHandle) -> Result<Option<Vec<u8>>, HsmError> {
    match session
        .get_attributes(object, &[AttributeType::Value])
        .map(|mut found| found.pop())
    {
        Ok(Some(Attribute::Value(value))) => Ok(Some(value)),
        Ok(_) => Err(HsmError::Memo("the token does not say what it remembers".to_owned())),
        Err(Error::Pkcs11(RvError::ObjectHandleInvalid, _)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// All of them at one moment. What is gone when it is read was forgotten for a later one, which may have come after the
/// search: it is made anew. So is one that found nothing, since a search is no moment either.
fn all(session: &Session, label: &str) -> Result<Vec<(ObjectHandle, Vec<u8>)>, HsmError> {
    let mut nothing = false;
    for _ in 0..LOOKS {
        let found = session.find_objects(&wanted(label))?;
        if found.is_empty() && nothing {
            return Ok(Vec::new());
        }
        nothing = found.is_empty();
        let mut memos = Vec::with_capacity(found.len());
        for object in &found {
            memos.extend(value(session, *object)?.map(|value| (*object, value)));
        }
        if !nothing && memos.len() == found.len() {
            return Ok(memos);
        }
    }
    Err(HsmError::Memo(
        "others write and forget all the while; try again".to_owned(),
    ))
}

impl Token {
    /// All memos under this label, in no order: whoever died while writing one left two, and so do two who write at once.
    ///
    /// # Errors
    /// [`HsmError::Memo`] when one cannot be read; [`HsmError`].
    pub fn memos(&self, label: &str) -> Result<Vec<Vec<u8>>, HsmError> {
        self.pool.checked(|| {
            let lease = self.pool.lease()?;
            let session = lease.enter()?;
            Ok(all(&session, label)?.into_iter().map(|(_, value)| value).collect())
        })
    }

    /// Remember this under the label, and forget those for which `outlived` says so, once this is kept. On the token, for
    /// whoever logs in. Several may do so at once: what none of them outlived stays.
    ///
    /// # Errors
    /// [`HsmError::Memo`] when it is too long, or not read back as it was written; [`HsmError`].
    pub fn remember(&self, label: &str, memo: &[u8], outlived: impl Fn(&[u8]) -> bool) -> Result<(), HsmError> {
        if memo.len() > MAX_MEMO {
            return Err(HsmError::Memo(format!("{} bytes are too many", memo.len())));
        }
        self.pool.checked(|| {
            let held = self.pool.read_write()?;
            let session = held.enter()?;
            let before = all(&session, label)?;
            let mut template = wanted(label).to_vec();
            template.extend([
                Attribute::Token(true),
                Attribute::Private(true),
                Attribute::Modifiable(false),
                Attribute::Value(memo.to_vec()),
            ]);
            let new = session.create_object(&template)?;
            let kept = match value(&session, new)? {
                Some(kept) => kept == memo,
                // Somebody who remembers more forgot it already.
                None => all(&session, label)?.iter().any(|(_, other)| !outlived(other)),
            };
            if !kept {
                return Err(HsmError::Memo(
                    "the token does not give back what it was given".to_owned(),
                ));
            }
            for (object, _) in before.iter().filter(|(_, old)| outlived(old)) {
                match session.destroy_object(*object) {
                    // Another one was faster.
                    Ok(()) | Err(Error::Pkcs11(RvError::ObjectHandleInvalid, _)) => {}
                    Err(error) => {
                        tracing::warn!(%error, "what the token no longer needs to remember could not be destroyed")
                    }
                }
            }
            Ok(())
        })
    }
}
