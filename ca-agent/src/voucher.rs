//! What the manufacturer left on the device: the IAK in the TPM, and the certificates that vouch for it.

use std::path::{Path, PathBuf};

use openssl::x509::X509;

use crate::error::AgentError;
use crate::state::{State, StateError};
use crate::stored;
use crate::tpm::{Role, StoredKey, Tpm, TpmError};

/// Where an IAK is (TCG TPM 2.0 Keys for Device Identity and Attestation, 7.2).
pub(crate) const IAK_HANDLE: u32 = 0x8102_0001;

/// The initial attestation key and its papers.
pub(crate) struct Voucher {
    /// The IAK.
    pub(crate) key: StoredKey,
    /// Its certificate, DER.
    pub(crate) certificate: Vec<u8>,
    /// The IDevID certificate of the same device, DER.
    pub(crate) idevid: Option<Vec<u8>>,
    /// The manufacturer's CAs, DER.
    pub(crate) chain: Vec<Vec<u8>>,
}

impl Voucher {
    /// Read the papers in `dir`, the state directory of an `enroll --manufacturer` or one that holds the same files, and
    /// find the key in the TPM.
    pub(crate) fn read(dir: &Path, tpm: &Tpm) -> Result<Self, AgentError> {
        let papers = State::look(dir);
        let der = |file: &str| -> Result<Option<Vec<u8>>, AgentError> {
            let found = stored::certificate(&papers, file)?;
            found
                .map(|certificate| certificate.to_der().map_err(|e| damaged(papers.path(file), &e).into()))
                .transpose()
        };
        let certificate = der(stored::ATTESTATION)?.ok_or_else(|| AgentError::Usage {
            message: format!("{}: no IAK certificate", papers.path(stored::ATTESTATION).display()),
            fix: "--iak-dir DIR: the state directory of `ca-agent enroll --manufacturer`, or one with the manufacturer's \
                  ak-cert.pem, and perhaps cert.pem and chain.pem, in it"
                .into(),
        })?;
        let chain = papers.read("chain.pem")?.unwrap_or_default();
        let chain = X509::stack_from_pem(&chain)
            .and_then(|all| all.iter().map(|certificate| certificate.to_der()).collect())
            .map_err(|e| damaged(papers.path("chain.pem"), &e))?;
        Ok(Self {
            key: Self::key(dir, tpm)?,
            certificate,
            idevid: der(stored::IDENTITY)?,
            chain,
        })
    }

    /// The IAK alone: as the manufacturer's enrollment remembers it, else the key at its handle.
    pub(crate) fn key(dir: &Path, tpm: &Tpm) -> Result<StoredKey, AgentError> {
        if let Some(key) = State::look(dir).key(Role::Attestation)? {
            return Ok(key);
        }
        let gone = || TpmError::KeyGone {
            place: format!("the IAK at {IAK_HANDLE:#010x}"),
        };
        Ok(tpm.run(|chip| chip.find(IAK_HANDLE))?.ok_or_else(gone)?)
    }
}

fn damaged(path: PathBuf, error: &openssl::error::ErrorStack) -> StateError {
    StateError::Damaged {
        path,
        detail: error.to_string(),
    }
}
