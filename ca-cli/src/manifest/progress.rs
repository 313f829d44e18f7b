//! How far a long reading got: a bar where a person looks, else a line now and then.

use std::io::IsTerminal as _;

/// Without a terminal, a line after so many devices.
const EVERY: u64 = 50_000;

/// Devices done, of so many when that is known.
pub(crate) struct Progress {
    bar: indicatif::ProgressBar,
    what: &'static str,
    total: Option<u64>,
    told: u64,
}

impl Progress {
    /// `from` were done before.
    pub(crate) fn new(what: &'static str, from: u64, total: Option<u64>) -> Self {
        let bar = match total {
            Some(total) => indicatif::ProgressBar::new(total).with_position(from),
            None => indicatif::ProgressBar::new_spinner(),
        };
        Self {
            bar,
            what,
            total,
            told: from,
        }
    }

    /// So many are done.
    pub(crate) fn at(&mut self, done: u64) {
        self.bar.set_position(done);
        if done.saturating_sub(self.told) < EVERY {
            return;
        }
        self.told = done;
        if !std::io::stderr().is_terminal() {
            let of = self.total.map(|total| format!(" of {total}")).unwrap_or_default();
            eprintln!("  {done}{of} {}", self.what);
        } else if self.total.is_none() {
            self.bar.set_message(format!("{done} {}", self.what));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
