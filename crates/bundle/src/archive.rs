//! The bundle as a file: one deterministic archive. Its SHA-256 is its name.

use wire::tar::{self, Files, TarError};

/// Longest bundle that is read.
pub const MAX_BUNDLE_BYTES: usize = 1 << 20;
/// Most certificates of each chain in it.
const MAX_CHAIN: usize = 16;

const CERTIFICATE: &str = "certificate.der";
const EVIDENCE: &str = "evidence.bin";
const TRANSCRIPT: &str = "transcript.json";
const ENTRY: &str = "ledger/entry.json";
const PROOF: &str = "ledger/proof.txt";
const ISSUERS: &str = "issuers";
const PATH: &str = "endorsement";
const POLICY: &str = "policy.json";

/// Bytes that are no bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// Longer than [`MAX_BUNDLE_BYTES`].
    #[error("longer than {MAX_BUNDLE_BYTES} bytes")]
    Length,
    /// Not an archive of the one kind there is.
    #[error(transparent)]
    Archive(#[from] TarError),
    /// A file is missing.
    #[error("there is no `{0}` in it")]
    Missing(String),
    /// A file that a bundle does not have.
    #[error("`{0}` does not belong into it")]
    Foreign(String),
    /// One half of what the ledger says.
    #[error("an entry of the ledger without its proof, or the other way round")]
    Half,
}

/// What an identity stands on. Nothing in it is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// The certificate, DER.
    pub certificate: Vec<u8>,
    /// Issuing CA first, root last, DER.
    pub issuers: Vec<Vec<u8>>,
    /// The evidence record ([`attest::EvidenceRecord`]).
    pub evidence: Vec<u8>,
    /// The transcript ([`crate::Transcript`]).
    pub transcript: Vec<u8>,
    /// CA certificates above the EK, or above the manufacturer's IAK, DER, anchor first.
    pub path: Vec<Vec<u8>>,
    /// The policy that decided (`policies::ArchivedPolicy`): rules, advisories and profiles as one text. It lies beside
    /// what is committed to; the transcript names its SHA-256. Absent in bundles of before.
    pub policy: Option<Vec<u8>>,
    /// What the ledger says; absent where none is signed.
    pub ledger: Option<LedgerProof>,
}

/// Leaf and proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerProof {
    /// The leaf ([`ledger::Entry`]).
    pub entry: Vec<u8>,
    /// C2SP tlog-proof ([`ledger::ProofFile`]).
    pub proof: Vec<u8>,
}

impl Bundle {
    /// The archive.
    ///
    /// # Errors
    /// [`BundleError`].
    pub fn write(&self) -> Result<Vec<u8>, BundleError> {
        let mut files = Files::from([
            (CERTIFICATE.to_owned(), self.certificate.clone()),
            (EVIDENCE.to_owned(), self.evidence.clone()),
            (TRANSCRIPT.to_owned(), self.transcript.clone()),
        ]);
        for (folder, chain) in [(ISSUERS, &self.issuers), (PATH, &self.path)] {
            if chain.len() > MAX_CHAIN {
                return Err(BundleError::Foreign(format!("{folder}/{MAX_CHAIN}.der")));
            }
            for (place, der) in chain.iter().enumerate() {
                files.insert(format!("{folder}/{place}.der"), der.clone());
            }
        }
        if let Some(policy) = &self.policy {
            files.insert(POLICY.to_owned(), policy.clone());
        }
        if let Some(ledger) = &self.ledger {
            files.insert(ENTRY.to_owned(), ledger.entry.clone());
            files.insert(PROOF.to_owned(), ledger.proof.clone());
        }
        let bytes = tar::write(&files)?;
        if bytes.len() > MAX_BUNDLE_BYTES {
            return Err(BundleError::Length);
        }
        Ok(bytes)
    }

    /// Read an archive that [`Self::write`] wrote; anything else is refused.
    ///
    /// # Errors
    /// [`BundleError`].
    pub fn read(bytes: &[u8]) -> Result<Self, BundleError> {
        if bytes.len() > MAX_BUNDLE_BYTES {
            return Err(BundleError::Length);
        }
        let mut files = tar::read(bytes)?;
        let issuers = chain(&mut files, ISSUERS);
        let path = chain(&mut files, PATH);
        let mut take = |name: &str| files.remove(name).ok_or_else(|| BundleError::Missing(name.to_owned()));
        let (certificate, evidence, transcript) = (take(CERTIFICATE)?, take(EVIDENCE)?, take(TRANSCRIPT)?);
        let ledger = match (files.remove(ENTRY), files.remove(PROOF)) {
            (Some(entry), Some(proof)) => Some(LedgerProof { entry, proof }),
            (None, None) => None,
            _ => return Err(BundleError::Half),
        };
        let policy = files.remove(POLICY);
        if issuers.is_empty() {
            return Err(BundleError::Missing(format!("{ISSUERS}/0.der")));
        }
        if let Some(name) = files.keys().next() {
            return Err(BundleError::Foreign(name.clone()));
        }
        Ok(Self {
            certificate,
            issuers,
            evidence,
            transcript,
            path,
            policy,
            ledger,
        })
    }

    /// Its name: SHA-256 of the archive.
    ///
    /// # Errors
    /// [`BundleError`].
    pub fn digest(&self) -> Result<[u8; 32], BundleError> {
        Ok(attest::sha256(&self.write()?))
    }
}

/// `0.der` and on; what is numbered otherwise stays, and is foreign.
fn chain(files: &mut Files, folder: &str) -> Vec<Vec<u8>> {
    (0..MAX_CHAIN)
        .map_while(|place| files.remove(&format!("{folder}/{place}.der")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bundle() -> Bundle {
        Bundle {
            certificate: vec![1; 600],
            issuers: vec![vec![2; 500], vec![3; 400]],
            evidence: vec![4; 3000],
            transcript: b"{}".to_vec(),
            path: vec![vec![5]],
            policy: Some(b"{}".to_vec()),
            ledger: Some(LedgerProof {
                entry: b"{}".to_vec(),
                proof: b"x".to_vec(),
            }),
        }
    }

    fn files(change: impl FnOnce(&mut Files)) -> Result<Bundle, BundleError> {
        let mut files = tar::read(&bundle().write().unwrap()).unwrap();
        change(&mut files);
        Bundle::read(&tar::write(&files).unwrap())
    }

    #[test]
    fn what_is_written_is_read() {
        for (ledger, policy) in [(bundle().ledger, None), (None, bundle().policy)] {
            let bundle = Bundle {
                ledger,
                policy,
                ..bundle()
            };
            assert_eq!(Bundle::read(&bundle.write().unwrap()), Ok(bundle));
        }
    }

    #[test]
    fn exactly_the_files_of_a_bundle() {
        assert_eq!(files(|_| {}), Ok(bundle()));
        for name in [CERTIFICATE, EVIDENCE, TRANSCRIPT] {
            assert_eq!(
                files(|files| drop(files.remove(name))),
                Err(BundleError::Missing(name.to_owned()))
            );
        }
        assert_eq!(files(|files| drop(files.remove(PROOF))), Err(BundleError::Half));
        assert_eq!(files(|files| drop(files.remove(ENTRY))), Err(BundleError::Half));
        for name in [
            "README",
            "issuers/3.der",
            "issuers/00.der",
            "endorsement/8.der",
            "ledger/more",
            "issuers",
        ] {
            assert_eq!(
                files(|files| drop(files.insert(name.to_owned(), Vec::new()))),
                Err(BundleError::Foreign(name.to_owned())),
            );
        }
        assert_eq!(
            files(|files| drop(files.remove("issuers/0.der"))),
            Err(BundleError::Missing("issuers/0.der".to_owned()))
        );
    }

    #[test]
    fn what_is_too_much_is_neither_written_nor_read() {
        let long = Bundle {
            evidence: vec![0; MAX_BUNDLE_BYTES],
            ..bundle()
        };
        assert_eq!(long.write(), Err(BundleError::Length));
        let archive = tar::write(&Files::from([(EVIDENCE.to_owned(), long.evidence)])).unwrap();
        assert_eq!(Bundle::read(&archive), Err(BundleError::Length));
        let many = Bundle {
            path: vec![vec![5]; MAX_CHAIN + 1],
            ..bundle()
        };
        assert!(matches!(many.write(), Err(BundleError::Foreign(_))));
    }

    proptest! {
        /// Any bytes: no panic, and what is read has one spelling.
        #[test]
        fn one_bundle_one_spelling(at in 0_usize..12_000, bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut archive = bundle().write().unwrap();
            let at = at % archive.len();
            let end = archive.len().min(at + bytes.len());
            archive.splice(at..end, bytes);
            if let Ok(read) = Bundle::read(&archive) {
                prop_assert_eq!(read.write().unwrap(), archive);
            }
        }

        #[test]
        fn no_bytes_are_a_transcript_in_two_spellings(text in "\\PC{0,200}") {
            if let Ok(read) = crate::Transcript::parse(text.as_bytes()) {
                prop_assert_eq!(read.to_bytes().unwrap(), text.as_bytes());
            }
        }
    }
}
