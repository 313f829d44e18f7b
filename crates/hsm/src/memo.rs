//! A few bytes that the token remembers (CKO_DATA, PKCS#11 v3.1 §4.5): what no restored disk can take back.

use cryptoki::object::{Attribute, AttributeType, ObjectClass};

use crate::provision::discard;
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

impl Token {
    /// All memos under this label, in no order: whoever died while writing one left two.
    ///
    /// # Errors
    /// [`HsmError`].
    pub fn memos(&self, label: &str) -> Result<Vec<Vec<u8>>, HsmError> {
        self.pool.checked(|| {
            let lease = self.pool.lease()?;
            let session = lease.enter()?;
            let mut memos = Vec::new();
            for object in session.find_objects(&wanted(label))? {
                if let Some(Attribute::Value(value)) = session.get_attributes(object, &[AttributeType::Value])?.pop() {
                    memos.push(value);
                }
            }
            Ok(memos)
        })
    }

    /// Remember this under the label, and forget those for which `outlived` says so, once this is kept. On the token, for
    /// whoever logs in.
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
            let before = session.find_objects(&wanted(label))?;
            let mut template = wanted(label).to_vec();
            template.extend([
                Attribute::Token(true),
                Attribute::Private(true),
                Attribute::Modifiable(false),
                Attribute::Value(memo.to_vec()),
            ]);
            let new = session.create_object(&template)?;
            match session.get_attributes(new, &[AttributeType::Value])?.pop() {
                Some(Attribute::Value(kept)) if kept == memo => {}
                _ => {
                    return Err(HsmError::Memo(
                        "the token does not give back what it was given".to_owned(),
                    ));
                }
            }
            for object in before {
                if let Some(Attribute::Value(value)) = session.get_attributes(object, &[AttributeType::Value])?.pop()
                    && outlived(&value)
                {
                    discard(&session, &[object]);
                }
            }
            Ok(())
        })
    }
}
