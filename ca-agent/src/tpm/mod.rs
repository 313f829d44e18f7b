//! The TPM: the only place of the house that opens one.
//!
//! [`Tpm`] is a thread that owns the one TSS context; work is sent to it as closures over [`Chip`]. There may be no
//! resource manager, and real chips have room for three objects and three sessions: nothing stays loaded longer than
//! its use, on error paths too.

mod ek;
mod error;
mod key;
mod mismatch;
mod nv;
mod policy;
mod proof;
mod tcti;
mod template;
mod tss2;

use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use tss_esapi::Context;
use tss_esapi::constants::{CapabilityType, PropertyTag};
use tss_esapi::handles::ObjectHandle;
use tss_esapi::structures::{Auth, CapabilityData};
use zeroize::Zeroizing;

pub use ek::{EkChoice, Endorsement, LoadedEk, read_certificate_key};
use error::explain;
pub use error::{Lockout, TpmError};
pub use key::{KeyHome, KeySpec, LoadedKey, StoredKey};
pub use mismatch::Mismatch;
pub use nv::{NvCertificate, certificate_in, certificates_in_row};
pub use proof::{Certified, digest_for};
pub use tcti::{NotATcti, Tcti};
pub use template::{KeyAlg, NotAKeyAlg, Role, Scheme};
pub use tss2::{NotATss2Key, Tss2Key};

/// Longest wait for one piece of work: slow chips need a minute to make an RSA key.
const PATIENCE: Duration = Duration::from_secs(300);

/// Passwords of the hierarchies, when their owner set any.
#[derive(Default)]
pub struct Passwords {
    /// Owner (storage) hierarchy.
    pub owner: Option<Zeroizing<Vec<u8>>>,
    /// Endorsement hierarchy.
    pub endorsement: Option<Zeroizing<Vec<u8>>>,
}

impl core::fmt::Debug for Passwords {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Passwords(..)")
    }
}

type Work = Box<dyn FnOnce(&mut Chip) + Send>;

/// An open TPM.
#[derive(Debug)]
pub struct Tpm {
    work: Option<mpsc::Sender<Work>>,
    thread: Option<JoinHandle<()>>,
}

impl Tpm {
    /// Open the TPM at `tcti`.
    ///
    /// # Errors
    /// [`TpmError`]: absent, not permitted, busy, not reached.
    pub fn open(tcti: &Tcti, passwords: Passwords) -> Result<Self, TpmError> {
        tcti.look()?;
        let name = tcti.to_tss()?;
        let shown = tcti.to_string();
        let (work, inbox) = mpsc::channel::<Work>();
        let (opened, outcome) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let chip = Context::new(name)
                .map_err(|e| match explain(e, "opening the TPM") {
                    TpmError::NotReached { detail, .. } => TpmError::NotReached { tcti: shown, detail },
                    other => other,
                })
                .and_then(|context| Chip::new(context, passwords));
            match chip {
                Ok(mut chip) => {
                    if opened.send(Ok(())).is_ok() {
                        for piece in inbox {
                            piece(&mut chip);
                        }
                    }
                }
                Err(error) => {
                    let _ = opened.send(Err(error));
                }
            }
        });
        outcome
            .recv_timeout(PATIENCE)
            .unwrap_or(Err(TpmError::Silent { after: PATIENCE }))?;
        Ok(Self {
            work: Some(work),
            thread: Some(thread),
        })
    }

    /// Do a piece of work on the TPM's thread and wait for its outcome.
    ///
    /// # Errors
    /// What the work gives, or [`TpmError::Silent`].
    pub fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Chip) -> Result<T, TpmError> + Send + 'static,
    ) -> Result<T, TpmError> {
        let silent = || TpmError::Silent { after: PATIENCE };
        let (done, outcome) = mpsc::channel();
        let piece: Work = Box::new(move |chip| {
            let result = work(chip).map_err(|error| chip.complete(error));
            let _ = done.send(result);
        });
        self.work
            .as_ref()
            .ok_or_else(silent)?
            .send(piece)
            .map_err(|_| silent())?;
        outcome.recv_timeout(PATIENCE).map_err(|_| silent())?
    }
}

impl Drop for Tpm {
    fn drop(&mut self) {
        // Closing the channel ends the thread, and with it the context, which flushes what is still loaded.
        self.work = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the TPM says about itself (`TPM_PT_*`, Part 2, 6.13).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TpmFacts {
    /// Four-letter vendor id, for example `IFX`.
    pub vendor: String,
    /// `id:` and 8 upper-case hex digits, as EK certificates write it.
    pub manufacturer: String,
    /// Vendor string, for example `SLB9672`.
    pub model: String,
    /// Firmware version, `major.minor.build.patch` of the two 32-bit words.
    pub firmware: String,
    /// Revision of the TPM 2.0 specification times 100.
    pub revision: u32,
}

/// The TPM on its thread.
#[derive(Debug)]
pub struct Chip {
    context: Context,
}

impl Chip {
    fn new(mut context: Context, passwords: Passwords) -> Result<Self, TpmError> {
        for (hierarchy, password) in [
            (ObjectHandle::Owner, passwords.owner),
            (ObjectHandle::Endorsement, passwords.endorsement),
        ] {
            if let Some(password) = password {
                let during = "taking a password";
                let auth = Auth::try_from(password.as_slice()).map_err(|e| explain(e, during))?;
                context.tr_set_auth(hierarchy, auth).map_err(|e| explain(e, during))?;
            }
        }
        Ok(Self { context })
    }

    /// Properties from `first` on, as many as the TPM gives at once.
    fn properties(&mut self, first: PropertyTag, count: u32) -> Result<Vec<(u32, u32)>, TpmError> {
        let (data, _) = self
            .context
            .execute_without_session(|c| c.get_capability(CapabilityType::TpmProperties, first.into(), count))
            .map_err(|e| explain(e, "reading properties"))?;
        match data {
            CapabilityData::TpmProperties(list) => {
                Ok(list.into_iter().map(|p| (p.property().into(), p.value())).collect())
            }
            _ => Err(TpmError::Malformed {
                what: "the property list",
            }),
        }
    }

    fn property(&mut self, tag: PropertyTag) -> Result<u32, TpmError> {
        let wanted = u32::from(tag);
        Ok(self
            .properties(tag, 1)?
            .into_iter()
            .find_map(|(tag, value)| (tag == wanted).then_some(value))
            .unwrap_or(0))
    }

    /// Vendor, model, firmware.
    ///
    /// # Errors
    /// [`TpmError`].
    pub fn facts(&mut self) -> Result<TpmFacts, TpmError> {
        let vendor = self.property(PropertyTag::Manufacturer)?;
        let mut model = Vec::new();
        for tag in [
            PropertyTag::VendorString1,
            PropertyTag::VendorString2,
            PropertyTag::VendorString3,
            PropertyTag::VendorString4,
        ] {
            model.extend(self.property(tag)?.to_be_bytes());
        }
        let (high, low) = (
            self.property(PropertyTag::FirmwareVersion1)?,
            self.property(PropertyTag::FirmwareVersion2)?,
        );
        Ok(TpmFacts {
            vendor: printable(&vendor.to_be_bytes()),
            manufacturer: format!("id:{vendor:08X}"),
            model: printable(&model),
            firmware: format!("{}.{}.{}.{}", high >> 16, high & 0xffff, low >> 16, low & 0xffff),
            revision: self.property(PropertyTag::Revision)?,
        })
    }

    /// Where dictionary-attack protection stands.
    ///
    /// # Errors
    /// [`TpmError`].
    pub fn lockout(&mut self) -> Result<Lockout, TpmError> {
        /// TPMA_PERMANENT.inLockout (Part 2, 8.6).
        const IN_LOCKOUT: u32 = 1 << 9;
        Ok(Lockout {
            active: self.property(PropertyTag::Permanent)? & IN_LOCKOUT != 0,
            tries: self.property(PropertyTag::LockoutCounter)?,
            limit: self.property(PropertyTag::MaxAuthFail)?,
            interval: Duration::from_secs(self.property(PropertyTag::LockoutInterval)?.into()),
        })
    }

    /// Fill in what only the TPM can tell about an error.
    fn complete(&mut self, error: TpmError) -> TpmError {
        match error {
            TpmError::Lockout(unknown) => TpmError::Lockout(
                self.lockout()
                    .map(|known| Lockout { active: true, ..known })
                    .unwrap_or(unknown),
            ),
            other => other,
        }
    }

    /// Free a transient object or session. A failure is only worth a line: the context frees it again at its end.
    fn flush(&mut self, handle: ObjectHandle) {
        if let Err(error) = self.context.flush_context(handle) {
            tracing::debug!(%error, "an object could not be flushed");
        }
    }
}

/// ASCII letters and digits as they are, trailing NULs and spaces gone, anything else as `?`.
fn printable(bytes: &[u8]) -> String {
    let text: String = bytes
        .iter()
        .filter(|b| **b != 0)
        .map(|b| {
            if b.is_ascii_graphic() || *b == b' ' {
                char::from(*b)
            } else {
                '?'
            }
        })
        .collect();
    text.trim().to_owned()
}
