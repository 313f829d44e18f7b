//! PKCS#11 modules: loaded and initialised once per process, shared by all tokens, started anew only when nobody is in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use secrecy::{ExposeSecret, SecretString};

use crate::{HsmError, Pkcs11Uri};

/// A warning of the token about its user PIN, by severity. A token tells no number, only these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PinWarning {
    /// A wrong PIN was tried since the last good one (CKF_USER_PIN_COUNT_LOW).
    CountLow,
    /// One more wrong PIN locks the token (CKF_USER_PIN_FINAL_TRY).
    FinalTry,
    /// The PIN is locked; only the security officer can help (CKF_USER_PIN_LOCKED).
    Locked,
}

impl PinWarning {
    pub(crate) fn of(info: &TokenInfo) -> Option<Self> {
        let flags = [
            (info.user_pin_locked(), Self::Locked),
            (info.user_pin_final_try(), Self::FinalTry),
            (info.user_pin_count_low(), Self::CountLow),
        ];
        flags.into_iter().find_map(|(set, warning)| set.then_some(warning))
    }
}

impl core::fmt::Display for PinWarning {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        out.write_str(match self {
            Self::CountLow => "a wrong PIN was tried since the last good one",
            Self::FinalTry => "one more wrong PIN locks the token",
            Self::Locked => "the PIN is locked",
        })
    }
}

/// What this process did with the PIN of one token, and who works with it.
#[derive(Default)]
struct TokenMemory {
    attempts: u64,
    last: Option<Instant>,
    /// Whether the last attempt was refused or its outcome is not known.
    failed: bool,
    /// A PIN the token refused. Tried again only when a person gives another one.
    refused: Option<SecretString>,
    /// Pools that are up, and the slot the latest of them found.
    users: usize,
    slot: Option<Slot>,
}

/// How a login is meant.
pub(crate) struct LoginPlan<'a> {
    pub(crate) pin: &'a SecretString,
    pub(crate) backoff: Duration,
    /// Asked for by the caller, not by the pool healing itself.
    pub(crate) explicit: bool,
    pub(crate) accepted: Option<PinWarning>,
}

/// A loaded and initialised module.
pub(crate) struct Module {
    path: PathBuf,
    pkcs11: Pkcs11,
    /// Counts C_Initialize. Read-locked around every call that uses a session, so that C_Finalize finds nobody inside:
    /// a session of an earlier generation is dead, and its number may already belong to another session.
    /// Written with `try_write` only, so a reader that comes twice never waits for a waiting writer.
    gate: RwLock<u64>,
    tokens: Mutex<BTreeMap<String, TokenMemory>>,
}

static LOADED: OnceLock<Mutex<BTreeMap<PathBuf, Arc<Module>>>> = OnceLock::new();

/// Longest time C_Finalize waits for calls under way.
const DRAIN: Duration = Duration::from_secs(2);

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every critical section leaves its data whole, so a poisoned lock is as good as any.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Module {
    /// The module at `path`, loaded by the first caller and shared by all later ones.
    pub(crate) fn load(path: &Path) -> Result<Arc<Self>, HsmError> {
        let fault = |detail: String| HsmError::Module {
            path: path.display().to_string(),
            detail,
        };
        // One library under two names would be initialised twice.
        let real = path.canonicalize().map_err(|error| fault(error.to_string()))?;
        let mut loaded = lock(LOADED.get_or_init(Mutex::default));
        if let Some(module) = loaded.get(&real) {
            return Ok(Arc::clone(module));
        }
        let pkcs11 = Pkcs11::new(&real).map_err(|error| fault(error.to_string()))?;
        initialize(&pkcs11).map_err(|error| fault(HsmError::from(error).to_string()))?;
        let module = Arc::new(Self {
            path: real.clone(),
            pkcs11,
            gate: RwLock::new(1),
            tokens: Mutex::default(),
        });
        loaded.insert(real, Arc::clone(&module));
        Ok(module)
    }

    pub(crate) fn pkcs11(&self) -> &Pkcs11 {
        &self.pkcs11
    }

    /// Keep the module from being finalised while the guard lives; its value is the generation.
    pub(crate) fn enter(&self) -> RwLockReadGuard<'_, u64> {
        self.gate.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one slot whose token fits. Slot ids change between starts: found anew each time, never kept.
    /// `Ok(Err(...))` is "no token": starting the module anew may bring it back.
    pub(crate) fn find(
        &self,
        uri: &Pkcs11Uri,
        serial: Option<&str>,
    ) -> Result<Result<(Slot, TokenInfo), HsmError>, HsmError> {
        let slots = match self.pkcs11.get_slots_with_token() {
            Ok(slots) => slots,
            Err(error) => return Ok(Err(error.into())),
        };
        let mut found = Vec::new();
        let mut others = Vec::new();
        for slot in slots {
            // A slot that does not answer holds no token we could use.
            let Ok(info) = self.pkcs11.get_token_info(slot) else {
                continue;
            };
            if !info.token_initialized() {
                continue;
            }
            let fits = |wanted: &Option<String>, has: &str| wanted.as_deref().is_none_or(|wanted| wanted == has);
            if fits(&uri.token, info.label())
                && fits(&uri.serial, info.serial_number())
                && fits(&uri.manufacturer, info.manufacturer_id())
                && fits(&uri.model, info.model())
                && serial.is_none_or(|serial| serial == info.serial_number())
            {
                found.push((slot, info));
            } else {
                others.push(format!("`{}` (serial {})", info.label(), info.serial_number()));
            }
        }
        let several = found.len() > 1;
        match (found.pop(), several) {
            (Some((_, info)), true) => Err(HsmError::Token(format!(
                "more than one token fits `{uri}`, `{}` among them: add `serial=...` to the URI",
                info.serial_number()
            ))),
            (Some(one), false) => Ok(Ok(one)),
            (None, _) => Ok(Err(HsmError::Token(match serial {
                Some(serial) => format!("the token with serial {serial} is gone"),
                None if others.is_empty() => format!("no token fits `{uri}`: the module shows no token at all"),
                None => format!("no token fits `{uri}`; the module shows {}", others.join(", ")),
            }))),
        }
    }

    /// C_Finalize and C_Initialize, when that harms nobody: no call under way and no other token of this module that
    /// still answers. Some modules (SoftHSM) never see a token again that went away under them.
    ///
    /// Answers whether the module is of another generation than `seen`.
    pub(crate) fn restart(&self, seen: u64, serial: Option<&str>) -> Result<bool, HsmError> {
        let start = Instant::now();
        let mut generation = loop {
            match self.gate.try_write() {
                Ok(guard) => break guard,
                Err(std::sync::TryLockError::Poisoned(guard)) => break guard.into_inner(),
                Err(std::sync::TryLockError::WouldBlock) if start.elapsed() > DRAIN => return Ok(false),
                Err(std::sync::TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(2)),
            }
        };
        if *generation != seen {
            return Ok(true);
        }
        let others: Vec<(String, Slot)> = lock(&self.tokens)
            .iter()
            .filter(|(other, memory)| memory.users > 0 && Some(other.as_str()) != serial)
            .filter_map(|(other, memory)| Some((other.clone(), memory.slot?)))
            .collect();
        let answers = |(other, slot): &(String, Slot)| {
            self.pkcs11
                .get_token_info(*slot)
                .is_ok_and(|info| info.serial_number() == other)
        };
        if others.iter().any(answers) {
            return Ok(false);
        }
        tracing::warn!(module = %self.path.display(), "starting the PKCS#11 module anew");
        // Whatever C_Finalize says, no session is trusted after it.
        *generation += 1;
        match self.pkcs11.clone().finalize() {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiNotInitialized, _)) => {}
            Err(error) => return Err(error.into()),
        }
        initialize(&self.pkcs11)?;
        Ok(true)
    }

    /// Log in unless somebody of this process did already: the login belongs to the application.
    pub(crate) fn login(&self, session: &Session, info: &TokenInfo, plan: &LoginPlan<'_>) -> Result<(), HsmError> {
        let state = session.get_session_info()?.session_state();
        if matches!(state, SessionState::RoUser | SessionState::RwUser) {
            return Ok(());
        }
        let name = format!("token `{}` (serial {})", info.label(), info.serial_number());
        if let Some(warning) = PinWarning::of(info)
            && (warning == PinWarning::Locked || plan.accepted.is_none_or(|accepted| accepted < warning))
        {
            let fix = match warning {
                PinWarning::Locked => "the security officer must set a new one",
                _ => "make sure of the PIN and log in once by hand (`pkcs11-tool --login --list-objects`)",
            };
            return Err(HsmError::Pin(format!("{name}: {warning}; no PIN was tried; {fix}")));
        }
        {
            let mut tokens = lock(&self.tokens);
            let memory = tokens.entry(info.serial_number().to_owned()).or_default();
            memory.may_try(&name, plan)?;
            memory.attempts += 1;
            memory.last = Some(Instant::now());
            memory.failed = true;
        }
        // Not under the lock: a token may take its time.
        let outcome = session.login(UserType::User, Some(plan.pin));
        let mut tokens = lock(&self.tokens);
        let memory = tokens.entry(info.serial_number().to_owned()).or_default();
        match outcome {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {
                memory.failed = false;
                memory.refused = None;
                Ok(())
            }
            Err(Error::Pkcs11(RvError::PinIncorrect, _)) => {
                memory.refused = Some(plan.pin.clone());
                Err(HsmError::Pin(format!("{name} refused the PIN; it is not tried again")))
            }
            Err(Error::Pkcs11(RvError::PinLocked, _)) => Err(HsmError::Pin(format!(
                "{name}: the PIN is locked; the security officer must set a new one"
            ))),
            Err(Error::Pkcs11(RvError::UserPinNotInitialized, _)) => Err(HsmError::Pin(format!(
                "{name} has no user PIN yet; the security officer must set one"
            ))),
            Err(Error::Pkcs11(RvError::PinExpired, _)) => {
                Err(HsmError::Pin(format!("{name}: the PIN has expired; set a new one")))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// How often C_Login was called for this token by this process.
    pub(crate) fn login_attempts(&self, serial: &str) -> u64 {
        lock(&self.tokens).get(serial).map_or(0, |memory| memory.attempts)
    }

    /// A pool works with this token from now on.
    pub(crate) fn arrive(&self, serial: &str, slot: Slot) {
        let mut tokens = lock(&self.tokens);
        let memory = tokens.entry(serial.to_owned()).or_default();
        memory.users += 1;
        memory.slot = Some(slot);
    }

    /// A pool works with it no longer.
    pub(crate) fn leave(&self, serial: &str) {
        if let Some(memory) = lock(&self.tokens).get_mut(serial) {
            memory.users = memory.users.saturating_sub(1);
        }
    }
}

impl TokenMemory {
    fn may_try(&self, name: &str, plan: &LoginPlan<'_>) -> Result<(), HsmError> {
        if self.refused.as_ref().is_some_and(|refused| same(refused, plan.pin)) {
            return Err(HsmError::Pin(format!(
                "{name} refused this PIN before; it is not tried again"
            )));
        }
        let Some(last) = self.last else { return Ok(()) };
        let wait = plan.backoff.saturating_sub(last.elapsed());
        // A person who opens the token again after a good login is not the loop the back-off is there for.
        if wait.is_zero() || (plan.explicit && !self.failed) {
            return Ok(());
        }
        Err(HsmError::Token(format!(
            "{name}: a login was tried a moment ago; the next one is in {wait:.1?}"
        )))
    }
}

fn same(one: &SecretString, other: &SecretString) -> bool {
    let (one, other) = (one.expose_secret().as_bytes(), other.expose_secret().as_bytes());
    one.len() == other.len() && openssl::memcmp::eq(one, other)
}

fn initialize(pkcs11: &Pkcs11) -> Result<(), Error> {
    match pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        // Somebody else in this process did it; the context is shared.
        Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(()),
        other => other,
    }
}
