//! Sessions that know which start of the module they belong to.

use std::ops::Deref;
use std::sync::{Arc, RwLockReadGuard};

use cryptoki::session::Session;
use cryptoki::slot::Slot;

use crate::HsmError;
use crate::module::Module;

/// Read-only sessions sign; read-write ones make objects.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    ReadOnly,
    ReadWrite,
}

/// An open session. Closed on drop, unless the module was started anew since: then its number may be another's.
pub(crate) struct Held {
    module: Arc<Module>,
    generation: u64,
    session: Option<Session>,
}

/// The right to call into the module with this session.
pub(crate) struct Entered<'a> {
    session: &'a Session,
    _gate: RwLockReadGuard<'a, u64>,
}

impl Deref for Entered<'_> {
    type Target = Session;
    fn deref(&self) -> &Session {
        self.session
    }
}

impl Held {
    /// Open a session on `slot` of this generation of the module.
    pub(crate) fn open(module: &Arc<Module>, generation: u64, slot: Slot, mode: Mode) -> Result<Self, HsmError> {
        let gate = module.enter();
        if *gate != generation {
            return Err(HsmError::Restarted);
        }
        let pkcs11 = module.pkcs11();
        // Not closed by cryptoki itself: it cannot know about generations.
        let session = match mode {
            Mode::ReadOnly => pkcs11.open_ro_session_no_drop(slot)?,
            Mode::ReadWrite => pkcs11.open_rw_session_no_drop(slot)?,
        };
        Ok(Self {
            module: Arc::clone(module),
            generation,
            session: Some(session),
        })
    }

    /// # Errors
    /// [`HsmError::Restarted`]: nothing was called.
    pub(crate) fn enter(&self) -> Result<Entered<'_>, HsmError> {
        let gate = self.module.enter();
        match &self.session {
            Some(session) if *gate == self.generation => Ok(Entered { session, _gate: gate }),
            _ => Err(HsmError::Restarted),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let gate = self.module.enter();
        if *gate == self.generation
            && let Some(session) = self.session.take()
        {
            // A session that is gone already needs no closing.
            let _ = session.close();
        }
    }
}
