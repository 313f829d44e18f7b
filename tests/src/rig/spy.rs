//! OpenSC's `pkcs11-spy` between a server and its token: what was signed, told by neither of them, and a token that
//! keeps its answer back for as long as a test wants.
//!
//! The spy writes each finished call into a pipe, before the caller hears of it. Whoever stops reading that pipe, and
//! fills it, holds the server between the token's signature and its answer.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::Rig;

/// The other end of the spy's pipe.
pub struct Spy {
    shared: Arc<Shared>,
    pipe: PathBuf,
    reader: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// What `C_Sign` was asked for, in hex, in order.
    signed: Vec<String>,
    /// Signatures to let through before the pipe is stopped.
    let_through: Option<usize>,
    held: bool,
    ended: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rig {
    /// Put the spy between this CA's servers and the token, from the next start on. One session, so that no two calls
    /// mix in the pipe.
    ///
    /// # Panics
    /// When OpenSC is not installed.
    pub fn spy(&mut self) -> Spy {
        let module = self.through(&module_of_opensc());
        let pipe = self.path("spy");
        self.around.environment.push(("PKCS11SPY".into(), module));
        let output = pipe.display().to_string();
        self.around.environment.push(("PKCS11SPY_OUTPUT".into(), output));
        self.configure(&[("hsm".into(), "sessions".into(), 1.into())]);
        Spy::on(pipe)
    }
}

/// Where OpenSC put `pkcs11-spy`.
fn module_of_opensc() -> PathBuf {
    std::fs::read_dir("/usr/lib")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("pkcs11-spy.so")))
        .chain(["/usr/lib/pkcs11-spy.so".into(), "/usr/lib64/pkcs11-spy.so".into()])
        .find(|path| path.is_file())
        .expect("pkcs11-spy of OpenSC: run `make test`, which installs it")
}

impl Spy {
    fn on(pipe: PathBuf) -> Self {
        use rustix::fs::{CWD, Mode, mkfifoat};
        mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR).expect("a pipe");
        // Open at both ends: it has a reader before the server comes, and no end when the server goes.
        let file = OpenOptions::new().read(true).write(true).open(&pipe).expect("the pipe");
        let shared = Arc::new(Shared::default());
        let (ours, path) = (Arc::clone(&shared), pipe.clone());
        let reader = std::thread::spawn(move || read(&ours, file, &path));
        Self {
            shared,
            pipe,
            reader: Some(reader),
        }
    }

    /// SHA-256 (hex) of everything that was signed so far.
    #[must_use]
    pub fn signed(&self) -> Vec<String> {
        self.shared.lock().signed.clone()
    }

    /// Let this many more signatures reach the server, then none: the token signs once more, and nobody hears of it.
    pub fn hold_after(&self, count: usize) {
        self.shared.lock().let_through = Some(count);
    }

    /// Wait until the token keeps its answers back.
    ///
    /// # Panics
    /// When a minute was not enough.
    pub fn wait_until_held(&self) {
        let state = self.shared.lock();
        let minute = Duration::from_secs(60);
        let outcome = self
            .shared
            .changed
            .wait_timeout_while(state, minute, |state| !state.held);
        let (state, _) = outcome.unwrap_or_else(PoisonError::into_inner);
        assert!(state.held, "not that many signatures were asked for");
    }

    /// Let everything through again.
    pub fn release(&self) {
        let mut state = self.shared.lock();
        state.let_through = None;
        state.held = false;
        self.shared.changed.notify_all();
    }
}

impl Drop for Spy {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.release();
        if let Ok(mut pipe) = OpenOptions::new().write(true).open(&self.pipe) {
            let _ = pipe.write_all(b"\n");
        }
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// Read calls as the spy writes them: a line with number and name, the arguments, `Returned:`.
fn read(shared: &Shared, pipe: File, path: &Path) {
    let mut call = String::new();
    let mut data = String::new();
    let mut inside = false;
    let mut made = false;
    for line in BufReader::new(pipe).split(b'\n') {
        let Ok(line) = line else { return };
        if shared.lock().ended {
            return;
        }
        let line = String::from_utf8_lossy(&line);
        if let Some((number, name)) = line.split_once(": ")
            && number.bytes().all(|b| b.is_ascii_digit())
        {
            name.clone_into(&mut call);
            data.clear();
            made = false;
        }
        if line.starts_with('[') {
            inside = line.starts_with("[in] pData[");
            // Asked for a length only, it signs nothing.
            made |= line.starts_with("[out] pSignature[") && !line.contains("NULL");
        } else if inside && let Some(row) = line.strip_prefix("    ") {
            // An offset, up to sixteen bytes, and the same as text.
            let bytes = row.split_whitespace().skip(1).take(16);
            data.extend(bytes.take_while(|word| word.len() == 2).map(str::to_ascii_lowercase));
        }
        if line.starts_with("Returned:") && call == "C_Sign" && made {
            call.clear();
            let mut state = shared.lock();
            state.signed.push(core::mem::take(&mut data));
            state.let_through = state.let_through.map(|left| left.saturating_sub(1));
            if state.let_through == Some(0) {
                fill(path);
                state.held = true;
                shared.changed.notify_all();
                let released = shared.changed.wait_while(state, |state| state.held);
                drop(released.unwrap_or_else(PoisonError::into_inner));
            }
        }
    }
}

/// Empty lines until not one more byte goes in.
fn fill(path: &Path) {
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).expect("a flag");
    let mut pipe = OpenOptions::new()
        .write(true)
        .custom_flags(flags)
        .open(path)
        .expect("the pipe");
    for part in [&[b'\n'; 4096][..], b"\n"] {
        while pipe.write(part).is_ok() {}
    }
}
