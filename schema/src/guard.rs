//! What a running server remembers of its PostgreSQL, so that it notices when a connection leads to another one: to an old
//! primary that came back, or to a standby that took over without everything.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::vault::{Cluster, Mark};

/// How long readers give their connections back after one to write on was not to be had.
const GIVE_WAY: Duration = Duration::from_secs(5);

/// Memory of one process, for all connections of a store.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    /// The latest timeline that was seen; 0 for none.
    timeline: AtomicI64,
    seen: Mutex<Seen>,
    lost: OnceLock<String>,
    /// It was said that connections lead elsewhere.
    said: AtomicBool,
}

#[derive(Debug, Default)]
struct Seen {
    system: Option<u64>,
    mark: Option<Mark>,
    unfit: Option<String>,
    crowd: Option<Instant>,
}

impl Guard {
    /// Connections that were opened before this grew may lead to an old primary.
    pub(crate) fn generation(&self) -> i64 {
        self.timeline.load(Ordering::Acquire)
    }

    /// Meet the cluster at the other end of a new connection; why it is not worked with, if so.
    pub(crate) fn meet(&self, here: Cluster) -> Result<(), String> {
        let met = self.judge(here);
        let said = self.said.swap(met.is_err(), Ordering::Relaxed);
        if let Err(why) = &met
            && !said
        {
            tracing::error!(why, "connections to PostgreSQL are not used");
        }
        met
    }

    fn judge(&self, here: Cluster) -> Result<(), String> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.system {
            Some(system) if system != here.system => {
                return Err(format!(
                    "this is another PostgreSQL (system identifier {}) than the one this server has worked with ({system}): if \
                     the record was moved here, restart the server",
                    here.system
                ));
            }
            _ => seen.system = Some(here.system),
        }
        let latest = self.timeline.fetch_max(here.timeline.into(), Ordering::AcqRel);
        if i64::from(here.timeline) < latest {
            return Err(format!(
                "this PostgreSQL is an old primary: it writes timeline {}, and {latest} has begun. Stop it, and make it a \
                 standby of the new one (docs/how-to/postgres.md)",
                here.timeline
            ));
        }
        if latest > 0 && i64::from(here.timeline) > latest {
            tracing::warn!(
                before = latest,
                now = here.timeline,
                "another PostgreSQL has taken over"
            );
        }
        Ok(())
    }

    /// There were too few connections for one to write on.
    pub(crate) fn crowd(&self) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).crowd = Some(Instant::now());
    }

    /// Whether that was a moment ago.
    pub(crate) fn crowded(&self) -> bool {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.crowd.is_some_and(|when| when.elapsed() < GIVE_WAY)
    }

    /// How far the record was seen.
    pub(crate) fn mark(&self) -> Option<Mark> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).mark
    }

    /// Remember how far it was seen.
    pub(crate) fn saw(&self, mark: Mark) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.mark.is_none_or(|before| mark.is_after(&before)) {
            seen.mark = Some(mark);
        }
    }

    /// The record is not what it was: for good, until a restart.
    pub(crate) fn lose(&self, why: String) -> String {
        let why = self.lost.get_or_init(|| why);
        why.clone()
    }

    /// Why nothing of this record is believed any more.
    pub(crate) fn lost(&self) -> Option<&str> {
        self.lost.get().map(String::as_str)
    }

    /// Whether its settings are still those it was opened under: nothing is written otherwise.
    pub(crate) fn set_unfit(&self, why: Option<String>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let (None, Some(why)) = (&seen.unfit, &why) {
            tracing::error!(why, "nothing is written until PostgreSQL is set right");
        }
        seen.unfit = why;
    }

    /// Why nothing is written now.
    pub(crate) fn unfit(&self) -> Option<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).unfit.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(system: u64, timeline: u32) -> Cluster {
        Cluster { system, timeline }
    }

    #[test]
    fn an_old_primary_is_met_with_a_refusal_and_the_new_one_is_not() {
        let guard = Guard::default();
        guard.meet(at(7, 1)).unwrap();
        let opened = guard.generation();
        guard.meet(at(7, 1)).unwrap();
        assert_eq!(guard.generation(), opened);
        guard.meet(at(7, 2)).unwrap();
        assert!(
            guard.generation() > opened,
            "what was opened before may lead to the old one"
        );
        assert!(guard.meet(at(7, 1)).unwrap_err().contains("an old primary"));
        guard.meet(at(7, 2)).unwrap();
        assert!(guard.meet(at(8, 3)).unwrap_err().contains("another PostgreSQL"));
        guard.meet(at(7, 2)).unwrap();
    }

    #[test]
    fn what_is_lost_stays_lost() {
        let guard = Guard::default();
        assert_eq!(guard.lost(), None);
        assert_eq!(guard.lose("one".to_owned()), "one");
        assert_eq!(guard.lose("two".to_owned()), "one");
        assert_eq!(guard.lost(), Some("one"));
    }
}
