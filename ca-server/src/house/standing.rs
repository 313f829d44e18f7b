//! What this server stands on: rules with profiles, what is trusted, who issues. Said in record and ledger before the
//! server issues anything by it.

use policies::ArchivedPolicy;
use schema::{Ground, Grounds};

use super::{House, StartError, storage};

impl House {
    /// Say in record and ledger what is stood on, where it is not what was said last. [`House::open`] does, before anything
    /// is issued.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn stand(&self) -> Result<(), StartError> {
        let grounds = self.grounds(self.clock.read().now.0)?;
        let changed = self.store.stand(grounds).map_err(storage)?;
        for what in changed {
            tracing::warn!(what, "stands on something else than was said last; it is in the ledger");
        }
        Ok(())
    }

    /// The policy, as it is archived.
    pub(crate) fn policy_text(&self) -> Result<Vec<u8>, StartError> {
        let policy = ArchivedPolicy::of(&self.policy, &self.profiles).to_bytes();
        policy.map_err(|e| StartError::Other(e.to_string()))
    }

    fn grounds(&self, at: i64) -> Result<Grounds, StartError> {
        let policy = self.policy_text()?;
        let advisories = self.policy.advisories().rows().len();
        let mut signers: Vec<String> = self
            .manifest_signers
            .iter()
            .map(|sha256| format!("manifest-signer {}", hex::encode(sha256)))
            .collect();
        signers.sort_unstable();
        let tpm = self.anchors.decided();
        let iak = self.manufacturers.decided();
        let lines = |head: &str, lines: &[String]| format!("{head} {}\n{}", lines.len(), lines_of(lines));
        let trust = [
            "holdfast-trust/v1\n".to_owned(),
            lines("tpm", &tpm),
            lines("iak", &iak),
            lines("manifests", &signers),
        ]
        .concat();
        let chain: Vec<String> = self
            .issuer
            .chain()
            .iter()
            .map(|der| hex::encode(attest::sha256(der)))
            .collect();
        let issuer = format!("holdfast-issuer/v1\n{}", lines_of(&chain));
        Ok(Grounds {
            all: vec![
                Ground {
                    what: "policy",
                    bytes: policy,
                    detail: format!(
                        "rules {}, {} profiles, {advisories} advisories",
                        hex::encode(self.policy.sha256()),
                        self.profiles.iter().count()
                    ),
                },
                Ground {
                    what: "trust",
                    bytes: trust.into_bytes(),
                    detail: format!(
                        "{} lines of TPM vendors, {} of device manufacturers, {} manifest signers",
                        tpm.len(),
                        iak.len(),
                        signers.len()
                    ),
                },
                Ground {
                    what: "issuer",
                    bytes: issuer.into_bytes(),
                    detail: format!("certificates of a ceremony, issuing CA first: {}", chain.join(", ")),
                },
            ],
            ca: self.name.clone(),
            actor: format!("uid:{}", rustix::process::geteuid().as_raw()),
            at,
        })
    }
}

fn lines_of(lines: &[String]) -> String {
    lines.iter().fold(String::new(), |text, line| text + line + "\n")
}
