//! The clock never runs back.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use attest::UnixTime;

/// Where the time of day comes from.
pub trait TimeSource: Send + Sync {
    /// Seconds since 1970-01-01T00:00:00Z.
    fn seconds(&self) -> i64;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

impl TimeSource for SystemClock {
    fn seconds(&self) -> i64 {
        match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            Err(_) => 0,
        }
    }
}

/// A clock with a memory: time is the latest ever seen, here or in any record.
pub struct Clock {
    source: Box<dyn TimeSource>,
    latest: AtomicI64,
    tolerance: i64,
}

/// One reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The latest time seen: expiry is judged by it.
    pub now: UnixTime,
    /// The machine's clock stands behind `now` by more than is tolerated: nothing may be issued.
    pub ran_back: bool,
}

impl Clock {
    /// A clock that remembers `latest`.
    #[must_use]
    pub fn new(source: Box<dyn TimeSource>, latest: Option<i64>, tolerance: Duration) -> Self {
        Self {
            source,
            latest: AtomicI64::new(latest.unwrap_or(i64::MIN)),
            tolerance: i64::try_from(tolerance.as_secs()).unwrap_or(i64::MAX),
        }
    }

    /// Read it.
    pub fn read(&self) -> Moment {
        let seconds = self.source.seconds();
        let latest = self.latest.fetch_max(seconds, Ordering::Relaxed).max(seconds);
        Moment {
            now: UnixTime(latest),
            ran_back: latest.saturating_sub(seconds) > self.tolerance,
        }
    }

    /// Another server recorded this time.
    pub fn saw(&self, seconds: i64) {
        self.latest.fetch_max(seconds, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    struct Hands(Arc<AtomicI64>);
    impl TimeSource for Hands {
        fn seconds(&self) -> i64 {
            self.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn time_never_runs_back() {
        let hands = Arc::new(AtomicI64::new(1000));
        let clock = Clock::new(Box::new(Hands(hands.clone())), None, Duration::from_secs(300));
        let at = |seconds| {
            hands.store(seconds, Ordering::Relaxed);
            let moment = clock.read();
            (moment.now.0, moment.ran_back)
        };
        assert_eq!(at(1000), (1000, false));
        assert_eq!(at(2000), (2000, false));
        assert_eq!(at(1700), (2000, false), "within tolerance");
        assert_eq!(at(1699), (2000, true), "beyond tolerance");
        assert_eq!(at(2001), (2001, false), "put right");
        clock.saw(9000);
        assert_eq!(at(2002), (9000, true), "behind another server's record");
    }
}
