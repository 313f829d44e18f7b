//! Challenges whose answers are being looked at: one answer at a time.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex, PoisonError};

/// Ids of challenges at work in this process; never more than there are places for requests.
#[derive(Debug, Default)]
pub struct AtWork {
    ids: Mutex<HashSet<[u8; 16]>>,
    freed: Condvar,
}

/// One challenge, held until this is dropped.
#[derive(Debug)]
pub struct Held<'a> {
    all: &'a AtWork,
    id: [u8; 16],
}

impl AtWork {
    /// Hold a challenge; waits while another request does.
    #[must_use]
    pub fn hold(&self, id: [u8; 16]) -> Held<'_> {
        let ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ids = self
            .freed
            .wait_while(ids, |ids| ids.contains(&id))
            .unwrap_or_else(PoisonError::into_inner);
        ids.insert(id);
        Held { all: self, id }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut ids = self.all.ids.lock().unwrap_or_else(PoisonError::into_inner);
        ids.remove(&self.id);
        self.all.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::AtWork;

    #[test]
    fn one_at_a_time() {
        let all = AtWork::default();
        let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let _held = all.hold([1; 16]);
                        let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
                        most.fetch_max(now, Ordering::SeqCst);
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(most.into_inner(), 1);
        assert!(all.ids.lock().unwrap().is_empty());
    }

    #[test]
    fn other_challenges_do_not_wait_and_a_panic_lets_go() {
        let all = AtWork::default();
        let thrown = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _held = all.hold([1; 16]);
            let _other = all.hold([2; 16]);
            std::panic::resume_unwind(Box::new(()));
        }));
        assert!(thrown.is_err());
        drop(all.hold([1; 16]));
    }
}
