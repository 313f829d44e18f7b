//! What a TPM answers, in words, with the next step (TPM 2.0 Part 2, 6.6).

use std::path::PathBuf;
use std::time::Duration;

use tss_esapi::constants::response_code::{Tss2ResponseCode, Tss2ResponseCodeKind as Kind};

/// Where dictionary-attack protection stands (`TPM_PT_LOCKOUT_*`, Part 2, 6.13).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lockout {
    /// The TPM refuses authorisations now.
    pub active: bool,
    /// Wrong tries remembered.
    pub tries: u32,
    /// Tries at which it locks.
    pub limit: u32,
    /// Time after which one try is forgotten; zero means never by itself.
    pub interval: Duration,
}

impl Lockout {
    /// How long until a try is possible, at most: one interval forgives one try. `None` when it never comes by itself.
    #[must_use]
    pub fn next_try_in(&self) -> Option<Duration> {
        if !self.active {
            return Some(Duration::ZERO);
        }
        let over = self.tries.saturating_sub(self.limit).saturating_add(1);
        (!self.interval.is_zero()).then(|| self.interval.saturating_mul(over))
    }
}

/// Something that was wanted from the TPM did not come about.
#[derive(Debug, thiserror::Error)]
pub enum TpmError {
    /// There is no device node.
    #[error("there is no TPM at {}", path.display())]
    Absent {
        /// Node.
        path: PathBuf,
    },
    /// The node may not be opened by this user.
    #[error("{} may not be opened by this user", path.display())]
    Permission {
        /// Node.
        path: PathBuf,
    },
    /// Another program has the node, which takes one only.
    #[error("another program uses {}", path.display())]
    Busy {
        /// Node.
        path: PathBuf,
        /// Programs that have it open, as far as seen.
        holders: Vec<String>,
    },
    /// Nothing answers at the other end of the TCTI.
    #[error("no TPM answers at {tcti}: {detail}")]
    NotReached {
        /// TCTI.
        tcti: String,
        /// What was tried.
        detail: String,
    },
    /// The TPM gave no answer in time.
    #[error("the TPM gave no answer for {} seconds", after.as_secs())]
    Silent {
        /// How long was waited.
        after: Duration,
    },
    /// Dictionary-attack lockout (TPM_RC_LOCKOUT).
    #[error("the TPM refuses because of too many wrong passwords (DA lockout)")]
    Lockout(Lockout),
    /// TPM_RC_BAD_AUTH or TPM_RC_AUTH_FAIL: a password is set, and not the one given.
    #[error("the TPM wants a password ({during})")]
    Authorisation {
        /// What was tried.
        during: &'static str,
    },
    /// No room for objects or sessions (TPM_RC_OBJECT_MEMORY, TPM_RC_SESSION_MEMORY, …).
    #[error("the TPM has no room for another {what} ({during})")]
    Memory {
        /// `object` or `session`.
        what: &'static str,
        /// What was tried.
        during: &'static str,
    },
    /// The TPM is in failure mode or was not started.
    #[error("the TPM is in failure mode or was not started ({during})")]
    FailureMode {
        /// What was tried.
        during: &'static str,
    },
    /// The TPM asks to come back later (TPM_RC_RETRY, TPM_RC_TESTING, TPM_RC_NV_RATE, …).
    #[error("the TPM is busy with itself ({during})")]
    Later {
        /// What was tried.
        during: &'static str,
    },
    /// This TPM does not know an algorithm, curve or key size.
    #[error("this TPM does not offer {what}")]
    Unsupported {
        /// What was asked for.
        what: String,
    },
    /// No EK certificate of the kind wanted in NV.
    #[error("no EK certificate was found in the TPM{}", wanted.map(|w| format!(" for an {w} key")).unwrap_or_default())]
    NoEkCertificate {
        /// `RSA` or `ECC` when only one was wanted.
        wanted: Option<&'static str>,
    },
    /// No template gives the key that the EK certificate names.
    #[error("the EK certificate at {index:08X} names another key than the TPM makes")]
    EkMismatch {
        /// NV index of the certificate.
        index: u32,
    },
    /// A persistent handle is taken by a key that is not ours.
    #[error("the persistent handle {handle:#010x} is taken by another key")]
    HandleTaken {
        /// Handle.
        handle: u32,
    },
    /// A key that must be there is gone or is another.
    #[error("the key at {place} is gone or is not the one that was made")]
    KeyGone {
        /// Handle or file.
        place: String,
    },
    /// Bytes from the TPM or the server that are not the structure they must be.
    #[error("{what} is malformed")]
    Malformed {
        /// Which bytes.
        what: &'static str,
    },
    /// Any other response.
    #[error("the TPM answers {code:#x} to {during}: {words}")]
    Response {
        /// Response code with its layer.
        code: u32,
        /// The TSS's words for it.
        words: String,
        /// What was tried.
        during: &'static str,
    },
}

/// Response code with layer; zero for an error of the binding itself.
pub(super) fn code_of(error: tss_esapi::Error) -> u32 {
    // The number itself is private in the binding: its `Display` is the only door.
    let text = match error {
        tss_esapi::Error::Tss2Error(Tss2ResponseCode::FormatZero(code)) => code.to_string(),
        tss_esapi::Error::Tss2Error(Tss2ResponseCode::FormatOne(code)) => code.to_string(),
        tss_esapi::Error::Tss2Error(Tss2ResponseCode::Success) | tss_esapi::Error::WrapperError(_) => return 0,
    };
    text.rsplit_once("0x")
        .and_then(|(_, digits)| u32::from_str_radix(digits, 16).ok())
        .unwrap_or(0)
}

/// The TSS's error in the agent's words. Lockout is filled in by [`super::Chip`], which can ask the TPM.
pub(super) fn explain(error: tss_esapi::Error, during: &'static str) -> TpmError {
    let code = code_of(error);
    let tss_esapi::Error::Tss2Error(response) = error else {
        return TpmError::Response {
            code,
            words: error.to_string(),
            during,
        };
    };
    // Layers other than the TPM's own and the resource managers' use other numbers (TSS 2.0 Overview, 3.6).
    let layer = (code >> 16) & 0xff;
    if layer == 0x0a {
        return TpmError::NotReached {
            tcti: "the TCTI".into(),
            detail: format!("the transport failed ({code:#x}) during {during}"),
        };
    }
    if !matches!(layer, 0x00 | 0x0b | 0x0c) {
        return TpmError::Response {
            code,
            words: "the TSS library refuses".into(),
            during,
        };
    }
    match response.kind() {
        Some(Kind::Lockout) => TpmError::Lockout(Lockout {
            active: true,
            tries: 0,
            limit: 0,
            interval: Duration::ZERO,
        }),
        Some(Kind::AuthFail | Kind::BadAuth) => TpmError::Authorisation { during },
        Some(Kind::ObjectMemory | Kind::ObjectHandles) => TpmError::Memory { what: "object", during },
        Some(Kind::SessionMemory | Kind::SessionHandles | Kind::ContextGap) => TpmError::Memory {
            what: "session",
            during,
        },
        Some(Kind::Memory) => TpmError::Memory {
            what: "object or session",
            during,
        },
        Some(Kind::NvSpace) => TpmError::Memory {
            what: "persistent object",
            during,
        },
        Some(Kind::Failure | Kind::Initialize | Kind::Upgrade | Kind::Reboot) => TpmError::FailureMode { during },
        Some(Kind::Retry | Kind::Testing | Kind::NvRate | Kind::Yielded | Kind::Canceled | Kind::NvUnavailable) => {
            TpmError::Later { during }
        }
        Some(Kind::Curve | Kind::KeySize | Kind::Asymmetric | Kind::Hash | Kind::Symmetric | Kind::Scheme) => {
            TpmError::Unsupported {
                what: format!("the algorithm, curve or key size of {during}"),
            }
        }
        _ => TpmError::Response {
            code,
            words: response.to_string(),
            during,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: u32) -> tss_esapi::Error {
        tss_esapi::Error::Tss2Error(Tss2ResponseCode::from(code))
    }

    #[test]
    fn response_codes_become_words() {
        let words = |code| explain(error(code), "signing");
        assert_eq!(code_of(error(0x921)), 0x921);
        assert!(matches!(words(0x921), TpmError::Lockout(_)));
        // The same through a resource manager.
        assert!(matches!(words(0x000b_0921), TpmError::Lockout(_)));
        assert!(matches!(words(0x98e), TpmError::Authorisation { .. }));
        assert!(matches!(words(0x9a2), TpmError::Authorisation { .. }));
        assert!(matches!(words(0x902), TpmError::Memory { what: "object", .. }));
        assert!(matches!(words(0x903), TpmError::Memory { what: "session", .. }));
        assert!(matches!(words(0x101), TpmError::FailureMode { .. }));
        assert!(matches!(words(0x922), TpmError::Later { .. }));
        assert!(matches!(words(0x2e6), TpmError::Unsupported { .. }));
        assert!(matches!(words(0x99d), TpmError::Response { code: 0x99d, .. }));
        // A number of the TCTI's layer is not read as the TPM's.
        assert!(matches!(words(0x000a_000a), TpmError::NotReached { .. }));
        assert!(matches!(words(0x0007_0021), TpmError::Response { .. }));
    }

    #[test]
    fn the_next_try_comes_when_tries_are_forgotten() {
        let mut lockout = Lockout {
            active: true,
            tries: 10,
            limit: 10,
            interval: Duration::from_secs(7200),
        };
        assert_eq!(lockout.next_try_in(), Some(Duration::from_secs(7200)));
        lockout.tries = 12;
        assert_eq!(lockout.next_try_in(), Some(Duration::from_secs(3 * 7200)));
        lockout.interval = Duration::ZERO;
        assert_eq!(lockout.next_try_in(), None);
        lockout.active = false;
        assert_eq!(lockout.next_try_in(), Some(Duration::ZERO));
    }
}
