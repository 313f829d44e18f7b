//! `ca-agent run`: enroll and renew by itself.
//!
//! Nothing is kept in memory that the state directory does not have: the process may be killed and started at any time.
//! The directory is held while something is done, and free between, so that a person's commands work beside it.

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;
use wire::Exit;
use wire::problem::ProblemCode;

use super::enroll::remember;
use super::{Said, open};
use crate::cli;
use crate::config::{Config, RenewWish};
use crate::enroll::{self, Enrollment};
use crate::error::AgentError;
use crate::hooks;
use crate::ledger;
use crate::renew::{self, Renewal};
use crate::server::ServerError;
use crate::state::State;
use crate::stored;
use crate::words::{clean, date, span};

/// Longest time between two looks: clocks are put right, and people enroll by hand.
const LOOK: Duration = Duration::from_secs(3600);
/// First and longest pause after something went wrong.
const PAUSE: Duration = Duration::from_secs(15);
const LONGEST: Duration = Duration::from_secs(3600);

/// What woke us up.
enum Woken {
    /// Time passed.
    Time,
    /// Somebody wants us to look now.
    Look,
    /// Somebody wants us to end.
    End,
}

pub(super) fn run(config: &Config, hooks: Option<&std::path::PathBuf>) -> Result<Said, AgentError> {
    let wish = config.renewal(&cli::Renew {
        hooks: hooks.cloned(),
        ..cli::Renew::default()
    });
    let signals = listen()?;
    let every = sd_notify::watchdog_enabled().map(|limit| limit / 2);
    notify(&[NotifyState::Ready]);
    let mut pause = PAUSE;
    let mut ask = Ask::default();
    loop {
        let wait = match tick(config, &wish, &mut ask) {
            Ok(next) => {
                pause = PAUSE;
                next
            }
            // Nobody but a person changes what was written down wrong.
            Err(error) if error.report().exit == Exit::Usage => return Err(error),
            Err(error) => {
                let report = error.report();
                tracing::warn!(code = %report.code, "{}", report.message);
                let after = pause.mul_f64(fraction(0.8, 1.2));
                tell(&format!(
                    "{} {}; trying again in {}",
                    report.code,
                    report.message,
                    span(after)
                ));
                pause = (pause * 2).min(LONGEST);
                after
            }
        };
        match sleep(&signals, wait, every) {
            Woken::Time | Woken::Look => {}
            Woken::End => break,
        }
    }
    notify(&[NotifyState::Stopping]);
    Ok(Said::new(
        serde_json::json!({ "schema": "holdfast.ended.v1", "ended": true }),
        "",
        "",
    ))
}

/// Do what is due; how long to sleep then.
fn tick(config: &Config, wish: &RenewWish, ask: &mut Ask) -> Result<Duration, AgentError> {
    let say = |step: &str| {
        tracing::info!("{step}");
        notify(&[NotifyState::Status(step), NotifyState::Watchdog]);
    };
    let state = State::open(&config.state_dir)?;
    let called = ask.called(&state);
    if called {
        say("the CA asks for a renewal before its time");
    }
    let result = identity(config, wish, &state, called, &say);
    remember(&state, result.as_ref().err());
    result?;
    hooks::settle(&state, &wish.hooks, &say)?;
    let look = ledger::tend(config.ledger.as_ref(), &state, &tell);
    let (due, ends) = renew::due(&state)?;
    let device = state.enrolled()?.map(|enrolled| enrolled.device).unwrap_or_default();
    tell(&format!(
        "{} is enrolled until {}; renews at {}",
        clean(&device),
        date(ends),
        date(due)
    ));
    let now = jiff::Timestamp::now().as_second();
    // What is never renewed has no date; what is due is done, or it would have failed.
    let left = u64::try_from(due.saturating_sub(now)).unwrap_or(0).max(1);
    Ok(Duration::from_secs(left).min(LOOK).min(look).min(ask.left()))
}

/// Enroll, renew, or enroll again once the certificate has ended, or was replaced by one that got lost here.
fn identity(
    config: &Config,
    wish: &RenewWish,
    state: &State,
    called: bool,
    say: &dyn Fn(&str),
) -> Result<(), AgentError> {
    let known = state.enrolled()?;
    let unfinished = state.journal()?.is_some();
    if known.is_none() || unfinished || stored::ended(state)? {
        return enroll(config, state, say, enroll::Again::WhenEnded);
    }
    let renewal = Renewal {
        state,
        rekey: wish.rekey,
        force: called,
        wait: wish.wait,
        say,
    };
    let error = match renewal.run(|| open(config)) {
        Ok(_) => return Ok(()),
        Err(error) => error,
    };
    match &error {
        // The CA knows better than this clock, or than this state directory.
        AgentError::Server(ServerError::Refused { problem, .. })
            if matches!(
                problem.code,
                ProblemCode::CertificateEnded | ProblemCode::CertificateReplaced
            ) =>
        {
            say("the CA does not renew this certificate any more: enrolling again");
            enroll(config, state, say, enroll::Again::Now)
        }
        AgentError::Ended => enroll(config, state, say, enroll::Again::Now),
        _ => Err(error),
    }
}

fn enroll(config: &Config, state: &State, say: &dyn Fn(&str), again: enroll::Again) -> Result<(), AgentError> {
    let journal = state.journal()?.map(|journal| journal.server);
    let known = journal.or(state.enrolled()?.map(|enrolled| enrolled.server));
    let wish = config.wish(&cli::Enroll::default(), known.as_deref())?;
    Enrollment {
        wish: &wish,
        state,
        again,
        say,
    }
    .run(|| open(config))
    .map(drop)
}

/// When the CA is asked again whether to renew early. Forgotten with the process: then it is asked at once.
#[derive(Debug, Default)]
struct Ask {
    next: Option<Instant>,
}

impl Ask {
    /// Whether this device is called to renew now. A CA that cannot be asked is asked later: nothing depends on it.
    fn called(&mut self, state: &State) -> bool {
        if self.next.is_some_and(|next| Instant::now() < next) || !matches!(state.enrolled(), Ok(Some(_))) {
            return false;
        }
        let (called, again) = match renew::advice(state) {
            // What it renews now is another certificate: that one is asked about soon.
            Ok(advice) => (
                advice.now,
                if advice.now {
                    Duration::from_secs(1)
                } else {
                    advice.again
                },
            ),
            Err(error) => {
                tracing::debug!(%error, "no word about when to renew");
                (false, LOOK)
            }
        };
        self.next = Instant::now().checked_add(again);
        called
    }

    fn left(&self) -> Duration {
        let now = Instant::now();
        self.next.map_or(LOOK, |next| next.saturating_duration_since(now))
    }
}

/// Signals, as they come.
fn listen() -> Result<Receiver<i32>, AgentError> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGUSR1])?;
    let (told, heard) = channel();
    std::thread::spawn(move || {
        for signal in signals.forever() {
            if told.send(signal).is_err() {
                break;
            }
        }
    });
    Ok(heard)
}

/// Sleep, and pet the watchdog meanwhile.
fn sleep(signals: &Receiver<i32>, wait: Duration, every: Option<Duration>) -> Woken {
    let mut left = wait;
    loop {
        notify(&[NotifyState::Watchdog]);
        let nap = every.map_or(left, |every| every.min(left));
        match signals.recv_timeout(nap) {
            Ok(SIGUSR1) => return Woken::Look,
            Ok(_) | Err(RecvTimeoutError::Disconnected) => return Woken::End,
            Err(RecvTimeoutError::Timeout) => {}
        }
        left = left.saturating_sub(nap);
        if left.is_zero() {
            return Woken::Time;
        }
    }
}

/// Say it on standard error and to the supervisor.
fn tell(text: &str) {
    super::tell(text);
    notify(&[NotifyState::Status(text)]);
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}

/// A number in between, another each time: devices that failed together do not come back together.
fn fraction(low: f64, high: f64) -> f64 {
    let mut byte = [128];
    let _ = openssl::rand::rand_bytes(&mut byte);
    let [byte] = byte;
    low + (high - low) * f64::from(byte) / 255.0
}
