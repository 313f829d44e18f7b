//! A bounded pool of sessions on one token that heals itself.
//!
//! One *keeper* session stays open beside the pool: the login belongs to the application, and closing its last session
//! would log everybody out.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cryptoki::session::SessionState;
use cryptoki::slot::Slot;

use crate::link::{Held, Mode};
use crate::module::{LoginPlan, Module, PinWarning, lock};
use crate::pin::KeptPin;
use crate::{HsmError, TokenConfig};

pub(crate) struct Pool {
    module: Arc<Module>,
    config: TokenConfig,
    pin: KeptPin,
    /// Serial number of the token found first: a token that comes back under the same label is another one.
    serial: String,
    state: Mutex<State>,
    /// A session came back, or the link changed.
    changed: Condvar,
}

struct State {
    link: Link,
    /// Counts connections; a lease or a key handle of an earlier one is stale.
    epoch: u64,
    idle: Vec<Held>,
    /// Leases out, of whatever epoch: a call that hangs still holds its place.
    leased: usize,
    connecting: bool,
    /// Callers in the queue. Waking nobody costs a system call, too.
    waiting: usize,
}

enum Link {
    Up(Up),
    Down { why: HsmError, not_before: Instant },
}

#[derive(Clone)]
struct Up {
    slot: Slot,
    generation: u64,
    keeper: Arc<Mutex<Held>>,
}

struct Connected {
    up: Up,
    serial: String,
    idle: Vec<Held>,
}

/// Why no connection was made.
enum Broken {
    /// The token is not there: starting the module anew may bring it back.
    Gone(HsmError),
    Other(HsmError),
}

/// Longest pause between two looks for a token that is away. Logins have their own, usually longer one.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Pauses between looks when a token is opened. Processes that start SoftHSM at once read each other's half-written
/// files, and one that found a token unreadable does not see it until the module is started anew.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(20),
    Duration::from_millis(40),
    Duration::from_millis(80),
    Duration::from_millis(160),
    Duration::from_millis(320),
];

impl Pool {
    pub(crate) fn open(config: TokenConfig, pin: KeptPin, accepted: Option<PinWarning>) -> Result<Self, HsmError> {
        let path = config.uri.module_path.as_deref().ok_or_else(|| HsmError::Module {
            path: String::new(),
            detail: format!(
                "`{}` names none: add `?module-path=/usr/lib/...` to the URI",
                config.uri
            ),
        })?;
        if config.sessions == 0 {
            return Err(HsmError::Token("a token needs at least one session".into()));
        }
        let module = Module::load(path)?;
        let plan = LoginPlan {
            pin: &pin.read()?,
            backoff: config.login_backoff,
            explicit: true,
            accepted,
        };
        let connected = connect(&module, &config, None, &plan)?;
        module.arrive(&connected.serial, connected.up.slot);
        let state = State {
            link: Link::Up(connected.up),
            epoch: 1,
            idle: connected.idle,
            leased: 0,
            connecting: false,
            waiting: 0,
        };
        let serial = connected.serial;
        Ok(Self {
            module,
            config,
            pin,
            serial,
            state: Mutex::new(state),
            changed: Condvar::new(),
        })
    }

    pub(crate) fn serial(&self) -> &str {
        &self.serial
    }

    pub(crate) fn login_attempts(&self) -> u64 {
        self.module.login_attempts(&self.serial)
    }

    pub(crate) fn module(&self) -> &Module {
        &self.module
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// A session, within the queue deadline. Connects again first when the token was away; one caller at a time does
    /// that, and while the token is known to be away everybody else is told so at once.
    pub(crate) fn lease(&self) -> Result<Lease<'_>, HsmError> {
        let start = Instant::now();
        let mut state = self.lock();
        loop {
            match &state.link {
                Link::Down { why, not_before } if !state.connecting => {
                    if Instant::now() < *not_before {
                        return Err(why.clone());
                    }
                    state = self.reconnect(state)?;
                    continue;
                }
                Link::Down { .. } => {}
                Link::Up(up) => {
                    if state.leased < self.config.sessions {
                        let (slot, generation) = (up.slot, up.generation);
                        let held = state.idle.pop();
                        state.leased += 1;
                        // The lease is made first: it gives the place back if the session does not open.
                        let mut lease = Lease {
                            pool: self,
                            epoch: state.epoch,
                            held,
                        };
                        drop(state);
                        if lease.held.is_some() {
                            return Ok(lease);
                        }
                        match Held::open(&self.module, generation, slot, Mode::ReadOnly) {
                            Ok(held) => lease.held = Some(held),
                            Err(error) => {
                                lease.fail();
                                return Err(error);
                            }
                        }
                        return Ok(lease);
                    }
                }
            }
            let left = self.config.queue_deadline.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Err(match &state.link {
                    Link::Down { why, .. } => why.clone(),
                    Link::Up(_) => HsmError::Busy {
                        sessions: self.config.sessions,
                        waited: start.elapsed(),
                    },
                });
            }
            state.waiting += 1;
            state = self
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            state.waiting -= 1;
        }
    }

    /// A read-write session beside the pool, for making objects.
    pub(crate) fn read_write(&self) -> Result<Held, HsmError> {
        // Through a lease, so that a token that was away is connected first.
        drop(self.lease()?);
        let (slot, generation) = match &self.lock().link {
            Link::Up(up) => (up.slot, up.generation),
            Link::Down { why, .. } => return Err(why.clone()),
        };
        Held::open(&self.module, generation, slot, Mode::ReadWrite)
    }

    /// The slot of the current connection.
    pub(crate) fn slot(&self) -> Result<Slot, HsmError> {
        match &self.lock().link {
            Link::Up(up) => Ok(up.slot),
            Link::Down { why, .. } => Err(why.clone()),
        }
    }

    fn reconnect<'a>(&'a self, mut state: MutexGuard<'a, State>) -> Result<MutexGuard<'a, State>, HsmError> {
        state.connecting = true;
        drop(state);
        let outcome = self.connect_again();
        let mut state = self.lock();
        state.connecting = false;
        let result = match outcome {
            Ok(connected) => {
                tracing::info!(serial = %self.serial, "HSM token connected again");
                self.module.arrive(&self.serial, connected.up.slot);
                state.epoch += 1;
                state.link = Link::Up(connected.up);
                state.idle = connected.idle;
                Ok(())
            }
            Err(why) => {
                tracing::warn!(serial = %self.serial, %why, "HSM token not connected");
                let pause = self.config.login_backoff.min(LOOK_AGAIN);
                state.link = Link::Down {
                    why: why.clone(),
                    not_before: Instant::now() + pause,
                };
                Err(why)
            }
        };
        self.changed.notify_all();
        result.map(|()| state)
    }

    fn connect_again(&self) -> Result<Connected, HsmError> {
        let plan = LoginPlan {
            pin: &self.pin.read()?,
            backoff: self.config.login_backoff,
            explicit: false,
            accepted: None,
        };
        connect(&self.module, &self.config, Some(&self.serial), &plan)
    }

    /// Do a piece of work other than signing; when a call went wrong, look at the token.
    pub(crate) fn checked<T>(&self, work: impl FnOnce() -> Result<T, HsmError>) -> Result<T, HsmError> {
        let outcome = work();
        if let Err(HsmError::Call { .. } | HsmError::Restarted) = outcome {
            let epoch = self.lock().epoch;
            self.examine(epoch);
        }
        outcome
    }

    /// After a call went wrong: is the token still there and are we logged in? If not, the link is down.
    fn examine(&self, epoch: u64) {
        let up = match &*self.lock() {
            State {
                link: Link::Up(up),
                epoch: current,
                ..
            } if *current == epoch => up.clone(),
            _ => return,
        };
        let Err(why) = self.alive(&up) else { return };
        let mut state = self.lock();
        if state.epoch != epoch || matches!(state.link, Link::Down { .. }) {
            return;
        }
        tracing::warn!(serial = %self.serial, %why, "HSM token lost");
        state.link = Link::Down {
            why,
            not_before: Instant::now(),
        };
        let stale = core::mem::take(&mut state.idle);
        drop(state);
        self.module.leave(&self.serial);
        self.changed.notify_all();
        drop(stale);
    }

    fn alive(&self, up: &Up) -> Result<(), HsmError> {
        let keeper = lock(&up.keeper);
        let session = keeper.enter()?;
        let info = self.module.pkcs11().get_token_info(up.slot)?;
        if info.serial_number() != self.serial {
            return Err(HsmError::Token(format!(
                "another token is in the slot of serial {}",
                self.serial
            )));
        }
        match session.get_session_info()?.session_state() {
            SessionState::RoUser | SessionState::RwUser => Ok(()),
            _ => Err(HsmError::Token(format!(
                "the token with serial {} has logged us out",
                self.serial
            ))),
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if matches!(self.lock().link, Link::Up(_)) {
            self.module.leave(&self.serial);
        }
    }
}

/// Find the token, log in, open the sessions; start the module anew when the token is not there.
fn connect(
    module: &Arc<Module>,
    config: &TokenConfig,
    serial: Option<&str>,
    plan: &LoginPlan<'_>,
) -> Result<Connected, HsmError> {
    let later = if plan.explicit { &PAUSES[..] } else { &[] };
    let mut pauses = core::iter::once(&Duration::ZERO).chain(later);
    loop {
        let seen = *module.enter();
        let error = match attempt(module, config, serial, plan) {
            Ok(connected) => return Ok(connected),
            Err(Broken::Other(error)) => return Err(error),
            Err(Broken::Gone(error)) => error,
        };
        let Some(pause) = pauses.next() else {
            return Err(error);
        };
        std::thread::sleep(*pause);
        if !module.restart(seen, serial)? {
            return Err(error);
        }
    }
}

fn attempt(
    module: &Arc<Module>,
    config: &TokenConfig,
    serial: Option<&str>,
    plan: &LoginPlan<'_>,
) -> Result<Connected, Broken> {
    let gate = module.enter();
    let generation = *gate;
    let (slot, info) = module
        .find(&config.uri, serial)
        .map_err(Broken::Other)?
        .map_err(Broken::Gone)?;
    let keeper = Held::open(module, generation, slot, Mode::ReadOnly).map_err(Broken::Gone)?;
    {
        let session = keeper.enter().map_err(Broken::Other)?;
        module.login(&session, &info, plan).map_err(Broken::Other)?;
    }
    let idle = (0..config.sessions)
        .map(|_| Held::open(module, generation, slot, Mode::ReadOnly).map_err(Broken::Other))
        .collect::<Result<Vec<_>, _>>()?;
    drop(gate);
    let up = Up {
        slot,
        generation,
        keeper: Arc::new(Mutex::new(keeper)),
    };
    Ok(Connected {
        up,
        serial: info.serial_number().to_owned(),
        idle,
    })
}

/// A session taken out of the pool. Goes back on drop, unless [`Lease::fail`] was called.
pub(crate) struct Lease<'a> {
    pool: &'a Pool,
    epoch: u64,
    held: Option<Held>,
}

impl Lease<'_> {
    /// Which connection it belongs to.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// # Errors
    /// [`HsmError::Restarted`]: nothing was called.
    pub(crate) fn enter(&self) -> Result<crate::link::Entered<'_>, HsmError> {
        self.held.as_ref().ok_or(HsmError::Restarted)?.enter()
    }

    /// The session is not to be trusted any more: drop it instead of giving it back, and look at the token.
    pub(crate) fn fail(&mut self) {
        drop(self.held.take());
        self.pool.examine(self.epoch);
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let mut stale = self.held.take();
        let mut state = self.pool.lock();
        state.leased = state.leased.saturating_sub(1);
        // A session of an earlier connection has no place in this one.
        if state.epoch == self.epoch
            && matches!(state.link, Link::Up(_))
            && let Some(held) = stale.take()
        {
            state.idle.push(held);
        }
        let queue = state.waiting > 0;
        drop(state);
        if queue {
            self.pool.changed.notify_one();
        }
        drop(stale);
    }
}

#[cfg(test)]
impl Pool {
    /// (sessions idle, leases out)
    pub(crate) fn counts(&self) -> (usize, usize) {
        let state = self.lock();
        (state.idle.len(), state.leased)
    }
}
