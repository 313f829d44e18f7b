//! Our own PKCS#11 module before SoftHSM (`tests/shim/pkcs11.c`): it writes down everything that is signed before the
//! token sees it, and fails, lies, waits or kills the server at the signature that a test names.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::Rig;
use super::compiled::shared_object;

/// The test's end of the module.
#[derive(Clone, Debug)]
pub struct Shim {
    record: PathBuf,
    order: PathBuf,
}

/// What happens at one `C_Sign`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// SIGKILL before the token sees the bytes.
    KillAtEntry,
    /// SIGKILL after the token signed.
    KillAtReturn,
    /// This `CKR_` value; the token is not asked.
    Fail(u32),
    /// The token signs; this `CKR_` value.
    Unknown(u32),
    /// The token signs; this bit of the signature is flipped.
    Flip(u32),
    /// The token signs; one byte less is returned.
    Short,
    /// `CKR_OK` and no signature.
    Empty,
    /// So many milliseconds before the token signs.
    Delay(u32),
    /// So many milliseconds after it signed.
    Late(u32),
    /// The session is closed.
    Lose,
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KillAtEntry => f.write_str("kill-entry 0"),
            Self::KillAtReturn => f.write_str("kill-return 0"),
            Self::Fail(value) => write!(f, "fail {value}"),
            Self::Unknown(value) => write!(f, "unknown {value}"),
            Self::Flip(bit) => write!(f, "flip {bit}"),
            Self::Short => f.write_str("short 0"),
            Self::Empty => f.write_str("empty 0"),
            Self::Delay(milliseconds) => write!(f, "delay {milliseconds}"),
            Self::Late(milliseconds) => write!(f, "late {milliseconds}"),
            Self::Lose => f.write_str("lose 0"),
        }
    }
}

impl Rig {
    /// Put the module between this CA's servers and the token, from the next start on.
    ///
    /// # Panics
    /// When it cannot be compiled: a C compiler is there wherever Rust links.
    pub fn shim(&mut self) -> Shim {
        let real = self.through(module());
        let shim = Shim {
            record: self.path("shim.record"),
            order: self.path("shim.order"),
        };
        for (name, value) in [
            ("HOLDFAST_SHIM_MODULE", real),
            ("HOLDFAST_SHIM_RECORD", shim.record.display().to_string()),
        ] {
            self.around.environment.push((name.into(), value));
        }
        self.around.environment.push(shim.variable());
        shim
    }
}

impl Shim {
    /// After `pass` more signatures, this happens to one.
    ///
    /// # Panics
    /// When the order cannot be written.
    pub fn order(&self, pass: usize, order: Order) {
        let written = self.order.with_extension("written");
        std::fs::write(&written, format!("{pass} {order}\n")).expect("an order");
        std::fs::rename(&written, &self.order).expect("an order");
    }

    /// The same module in one server of several, which gets orders of its own: see [`super::Own`].
    #[must_use]
    pub fn of(&self, number: usize) -> Self {
        Self {
            record: self.record.clone(),
            order: self.order.with_extension(format!("order.{number}")),
        }
    }

    /// The variable that leads a server to these orders.
    #[must_use]
    pub fn variable(&self) -> (String, String) {
        ("HOLDFAST_SHIM_ORDER".to_owned(), self.order.display().to_string())
    }

    /// Whether an order still waits for its signature.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.order.exists()
    }

    /// Take an order back.
    pub fn withdraw(&self) {
        let _ = std::fs::remove_file(&self.order);
    }

    /// How many sessions a server has on the token.
    ///
    /// # Panics
    /// When nothing was written down.
    #[must_use]
    pub fn sessions(&self, pid: u32) -> usize {
        let own = format!("session {pid} ");
        let text = std::fs::read_to_string(&self.record).expect("a record");
        let said = text.lines().filter_map(|line| line.strip_prefix(own.as_str()));
        said.fold(0, |open: usize, what| match what {
            "open" => open + 1,
            "close" => open.saturating_sub(1),
            _ => 0,
        })
    }

    /// The file in which everything that was to be signed stands.
    #[must_use]
    pub fn record(&self) -> &Path {
        &self.record
    }
}

/// The module, compiled once per process.
fn module() -> &'static Path {
    static MODULE: OnceLock<PathBuf> = OnceLock::new();
    MODULE.get_or_init(|| shared_object("pkcs11"))
}
