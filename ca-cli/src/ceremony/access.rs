//! The way to the token of a ceremony.

use hsm::{HsmError, PinSource, Pkcs11Uri};

use crate::exit::{Exit, Failure};

/// How the token is reached.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    /// Module and token.
    pub(crate) uri: Pkcs11Uri,
    /// Where its PIN comes from.
    pub(crate) pin: PinSource,
}

/// What to say when the token fails.
pub(super) fn token_failure(error: HsmError) -> Failure {
    Failure::new(Exit::Failed, error.to_string()).fix("nothing is lost: --resume goes on with this step")
}
