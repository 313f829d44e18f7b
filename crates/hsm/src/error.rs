//! Why the HSM does not serve.

use std::time::Duration;

use cryptoki::error::{Error, RvError};

/// Why the HSM does not serve. Names what failed and in which call.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum HsmError {
    /// The module does not load.
    #[error("PKCS#11 module `{path}`: {detail}")]
    Module {
        /// Path.
        path: String,
        /// Loader's words.
        detail: String,
    },
    /// No token, or more than one, fits the URI.
    #[error("{0}")]
    Token(String),
    /// There is no PIN, or it was refused, or the token warns that few tries are left.
    #[error("{0}")]
    Pin(String),
    /// No key, or more than one, fits; or it is not the certificate's.
    #[error("{0}")]
    Key(String),
    /// What the token was to remember.
    #[error("memo: {0}")]
    Memo(String),
    /// An attribute of the key is not as it must be.
    #[error("key attribute {attribute} is {found}, must be {wanted}")]
    Attribute {
        /// CKA_ name.
        attribute: &'static str,
        /// What the token says.
        found: String,
        /// What is needed.
        wanted: &'static str,
    },
    /// A PKCS#11 call failed.
    #[error("{function}: {detail}")]
    Call {
        /// C_ function.
        function: String,
        /// CKR_ name.
        detail: String,
    },
    /// Every session was busy for as long as a signature may wait.
    #[error("all {sessions} HSM sessions were busy for {waited:?}")]
    Busy {
        /// Sessions in the pool.
        sessions: usize,
        /// How long the caller waited.
        waited: Duration,
    },
    /// The module was started anew by another thread while this one worked with it.
    #[error("the PKCS#11 module was started anew meanwhile; try again")]
    Restarted,
}

impl From<crate::pin::PinError> for HsmError {
    fn from(error: crate::pin::PinError) -> Self {
        Self::Pin(error.0)
    }
}

impl From<Error> for HsmError {
    fn from(error: Error) -> Self {
        match error {
            Error::Pkcs11(code, function) => Self::Call {
                function: format!("C_{function:?}"),
                detail: ckr(&code),
            },
            other => Self::Call {
                function: "PKCS#11".into(),
                detail: other.to_string(),
            },
        }
    }
}

/// The name of a return value as the standard writes it: cryptoki's own words run to a paragraph each.
fn ckr(code: &RvError) -> String {
    let mut name = String::from("CKR");
    for letter in format!("{code:?}").chars() {
        if letter.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use cryptoki::context::Function;

    use super::*;

    #[test]
    fn calls_are_named_as_in_the_standard() {
        let error = HsmError::from(Error::Pkcs11(RvError::SessionReadWriteSoExists, Function::OpenSession));
        assert_eq!(error.to_string(), "C_OpenSession: CKR_SESSION_READ_WRITE_SO_EXISTS");
        let error = HsmError::from(Error::Pkcs11(RvError::PinIncorrect, Function::Login));
        assert_eq!(error.to_string(), "C_Login: CKR_PIN_INCORRECT");
    }
}
