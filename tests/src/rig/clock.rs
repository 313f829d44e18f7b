//! A clock of one's own for the servers of a CA: libfaketime, moved while they run.

use std::path::PathBuf;

use super::Rig;

/// What the servers of a CA read as the time of day.
pub struct FakeClock(PathBuf);

/// The environment in which a process reads its time of day from this clock.
///
/// # Panics
/// When libfaketime is not installed.
#[must_use]
pub fn false_time(clock: &FakeClock) -> Vec<(String, String)> {
    let library = std::fs::read_dir("/usr/lib")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("faketime/libfaketimeMT.so.1")))
        .chain(["/usr/lib/faketime/libfaketimeMT.so.1".into()])
        .find(|path| path.is_file())
        .expect("libfaketime: run `make test`, which installs it");
    [
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME_TIMESTAMP_FILE", clock.0.display().to_string()),
        // Read for every question; only the time of day is false.
        ("FAKETIME_NO_CACHE", "1".into()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
        ("NO_FAKE_STAT", "1".into()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}

impl Rig {
    /// Give this CA's servers a clock that can be moved, from the next start on. It is right until it is moved.
    ///
    /// # Panics
    /// When libfaketime is not installed.
    pub fn fake_clock(&mut self) -> FakeClock {
        let clock = FakeClock::at(self.path("clock"));
        self.around.environment.extend(false_time(&clock));
        clock
    }
}

impl FakeClock {
    /// A clock that is this file; it is right until it is moved.
    ///
    /// # Panics
    /// When the file cannot be written.
    #[must_use]
    pub fn at(file: PathBuf) -> Self {
        let clock = Self(file);
        clock.moved("+0");
        clock
    }

    /// Show the true time moved by this much from now on: `+10m`, `-2d`, `+0`.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn moved(&self, by: &str) {
        let next = self.0.with_extension("next");
        std::fs::write(&next, format!("{by}\n")).expect("the clock");
        std::fs::rename(&next, &self.0).expect("the clock");
    }
}
