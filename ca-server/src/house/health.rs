//! Whether issuing goes on.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{OnceLock, PoisonError, RwLock};

/// Once set, issuing stops until a person restarts the server.
#[derive(Debug, Default)]
pub struct Halt(OnceLock<String>);

impl Halt {
    /// Stop issuing. The first reason stays.
    pub fn set(&self, reason: &str) {
        if self.0.set(reason.to_owned()).is_ok() {
            tracing::error!(reason, "issuing is halted until a person looks and restarts the server");
        }
    }

    /// Why issuing stopped, if it did.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }
}

/// What is known of the signer.
#[derive(Debug)]
pub struct SignerHealth {
    down: AtomicBool,
    last_signed: AtomicI64,
    why: RwLock<String>,
}

impl Default for SignerHealth {
    fn default() -> Self {
        Self {
            down: AtomicBool::new(false),
            last_signed: AtomicI64::new(i64::MIN),
            why: RwLock::new(String::new()),
        }
    }
}

impl SignerHealth {
    /// It signed, at this time.
    pub fn signed(&self, at: i64) {
        self.last_signed.fetch_max(at, Ordering::Relaxed);
        if self.down.swap(false, Ordering::Relaxed) {
            tracing::info!("the signer is back");
        }
    }

    /// It did not answer.
    pub fn failed(&self, why: &str) {
        why.clone_into(&mut self.why.write().unwrap_or_else(PoisonError::into_inner));
        if !self.down.swap(true, Ordering::Relaxed) {
            tracing::error!(why, "the signer is away");
        }
    }

    /// Why it is away, if it is: no intent is recorded then, so no serial is burnt in vain.
    #[must_use]
    pub fn away(&self) -> Option<String> {
        self.down
            .load(Ordering::Relaxed)
            .then(|| self.why.read().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// When it last signed.
    #[must_use]
    pub fn last_signed(&self) -> Option<i64> {
        Some(self.last_signed.load(Ordering::Relaxed)).filter(|at| *at != i64::MIN)
    }
}
