//! From bytes to an endorsed device and the challenge it must answer.

use crate::pending::Pending;
use crate::tpm::{self, AttestationKey, TpmtPublic};
use crate::trust::Anchors;
use crate::{AllowedEk, AnchorKind, EkFacts, Entropy, EntropyError, KeyFacts, Reason, Refusal, UnixTime, Watched};
use zeroize::Zeroizing;

/// Evidence as received. Nothing is believed.
#[derive(Clone, Debug)]
pub struct EvidenceBytes {
    /// EK certificate, DER; empty where the TPM has none.
    pub ek_certificate: Vec<u8>,
    /// Issuing CA certificates the device offers, DER.
    pub ek_chain: Vec<Vec<u8>>,
    /// EK `TPMT_PUBLIC`.
    pub ek_public: Vec<u8>,
    /// AK `TPMT_PUBLIC`.
    pub ak_public: Vec<u8>,
}

/// Decoded, structurally sound, worth nothing yet.
#[derive(Clone, Debug)]
pub struct Evidence {
    ek_certificate: Vec<u8>,
    ek_chain: Vec<Vec<u8>>,
    ek_public: TpmtPublic,
    ak_public: TpmtPublic,
}

/// The EK is endorsed and the AK has the right shape. Whether they live together is not yet known.
#[derive(Debug)]
pub struct Endorsed {
    pub(crate) ek_certificate: Vec<u8>,
    pub(crate) ek_public: TpmtPublic,
    pub(crate) ek: EkFacts,
    pub(crate) ak: AttestationKey,
}

/// What one challenge is for. Sealed into the ticket, so it cannot be exchanged between question and answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChallengeContext {
    /// Enrollment id.
    pub id: [u8; 16],
    /// Profile wanted for the identity key.
    pub profile: String,
    /// Profile wanted for the attestation key.
    pub attestation_profile: Option<String>,
    /// Name claimed by the device.
    pub device: Option<String>,
    /// When the challenge was made.
    pub issued_at: UnixTime,
    /// Last second at which an answer is taken.
    pub expires_at: UnixTime,
}

/// What the device is asked.
#[derive(Debug)]
pub struct Challenge {
    /// `TPM2B_ID_OBJECT`.
    pub credential_blob: Vec<u8>,
    /// `TPM2B_ENCRYPTED_SECRET`.
    pub encrypted_secret: Vec<u8>,
    /// Goes into [`crate::tpm::qualifying_data`].
    pub nonce: [u8; 32],
}

/// Making a challenge failed; not the device's fault.
#[derive(Debug, thiserror::Error)]
pub enum ChallengeError {
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// OpenSSL refused; never expected for keys that passed [`Evidence::verify`].
    #[error("making the credential failed: {0}")]
    Crypto(String),
}

impl Evidence {
    /// Parse; never judge.
    ///
    /// # Errors
    /// [`crate::Reason::Malformed`].
    pub fn decode(bytes: EvidenceBytes) -> Result<Self, Refusal> {
        let role = |name: &'static str| {
            move |refusal: Refusal| Refusal::new(refusal.reason, format!("{name}: {}", refusal.detail))
        };
        Ok(Self {
            ek_public: TpmtPublic::parse(&bytes.ek_public).map_err(role("EK"))?,
            ak_public: TpmtPublic::parse(&bytes.ak_public).map_err(role("AK"))?,
            ek_certificate: bytes.ek_certificate,
            ek_chain: bytes.ek_chain,
        })
    }

    /// Where there is no EK certificate: SHA-256 of the EK's SubjectPublicKeyInfo, for which somebody must have vouched
    /// ([`Self::verify_allowed`]).
    ///
    /// # Errors
    /// EK_KEY: the public area is no key.
    pub fn uncertified(&self) -> Result<Option<[u8; 32]>, Refusal> {
        if !self.ek_certificate.is_empty() {
            return Ok(None);
        }
        let spki = self
            .ek_public
            .spki()
            .map_err(|refusal| refusal.because(Reason::EkKey))?;
        Ok(Some(crate::digest::sha256(&spki)))
    }

    /// [`Self::verify`] for an EK without certificate, on the word of who vouched for its key, if anybody did.
    ///
    /// # Errors
    /// EK_KEY, EK_NO_CERTIFICATE and AK_* reasons; KEY_REUSE; MALFORMED when there is a certificate after all.
    pub fn verify_allowed(self, allowed: Option<&AllowedEk>) -> Result<Endorsed, Refusal> {
        if !self.ek_certificate.is_empty() || !self.ek_chain.is_empty() {
            return Err(Refusal::new(Reason::Malformed, "a chain without an EK certificate"));
        }
        let ak = AttestationKey::judge(self.ak_public)?;
        let ek = crate::ek::verify_allowed(&self.ek_public, allowed)?;
        distinct("AK", ak.facts(), &ek.spki_sha256)?;
        Ok(Endorsed {
            ek_certificate: self.ek_certificate,
            ek_public: self.ek_public,
            ek,
            ak,
        })
    }

    /// [`Self::verify`]; and where nothing but a CA that nobody decided about is in the way, the evidence stays whole: a
    /// person may vouch for this very EK.
    ///
    /// # Errors
    /// [`Unbelieved`].
    pub fn verify_or_ask(self, anchors: &Anchors, now: UnixTime) -> Result<Endorsed, Unbelieved> {
        let aside = self.clone();
        let refusal = match self.verify(anchors, now) {
            Ok(endorsed) => return Ok(endorsed),
            Err(refusal) => refusal,
        };
        // A path that fails below a CA of ours is forged or broken, not unknown: nobody is asked about that.
        let issuer = match refusal.reason {
            Reason::EkCaUntrusted | Reason::EkChain => {
                crate::ek::unknown_issuer(&aside.ek_certificate, anchors, &refusal)
            }
            _ => None,
        };
        match issuer {
            Some(issuer) => Err(Unbelieved::Unknown(Box::new(UnknownVendor {
                evidence: aside,
                issuer,
                refusal,
            }))),
            None => Err(Unbelieved::Refused(refusal)),
        }
    }

    /// Judge the endorsement and the AK's shape.
    ///
    /// # Errors
    /// EK_* and AK_* reasons; KEY_REUSE when the AK has the EK's key.
    pub fn verify(self, anchors: &Anchors, now: UnixTime) -> Result<Endorsed, Refusal> {
        // The attributes cost nothing to judge, the chain does.
        let ak = AttestationKey::judge(self.ak_public)?;
        let ek = crate::ek::verify(&self.ek_certificate, &self.ek_chain, &self.ek_public, anchors, now)?;
        distinct("AK", ak.facts(), &ek.spki_sha256)?;
        Ok(Endorsed {
            ek_certificate: self.ek_certificate,
            ek_public: self.ek_public,
            ek,
            ak,
        })
    }
}

/// Why evidence is not believed.
#[derive(Debug)]
pub enum Unbelieved {
    /// It is refused.
    Refused(Refusal),
    /// All is in order but its vendor's CA, which nobody decided about.
    Unknown(Box<UnknownVendor>),
}

impl Unbelieved {
    /// Why.
    #[must_use]
    pub fn refusal(&self) -> &Refusal {
        match self {
            Self::Refused(refusal) => refusal,
            Self::Unknown(unknown) => unknown.refusal(),
        }
    }
}

/// Evidence under a CA that nobody decided about. It proves nothing until somebody vouches for the EK.
#[derive(Debug)]
pub struct UnknownVendor {
    evidence: Evidence,
    issuer: Vec<u8>,
    refusal: Refusal,
}

impl UnknownVendor {
    /// Why the path was not believed.
    #[must_use]
    pub fn refusal(&self) -> &Refusal {
        &self.refusal
    }

    /// Name of the CA that the EK certificate says it is from, DER.
    #[must_use]
    pub fn issuer(&self) -> &[u8] {
        &self.issuer
    }

    /// What the certificate claims; no path was verified.
    ///
    /// # Errors
    /// EK_* reasons.
    pub fn claimed(&self, kind: AnchorKind) -> Result<EkFacts, Refusal> {
        crate::ek::claimed(&self.evidence.ek_certificate, &self.evidence.ek_public, kind)
    }

    /// Nobody vouched.
    #[must_use]
    pub fn into_refusal(self) -> Refusal {
        self.refusal
    }

    /// Go on with it, on the word of people who vouched for the EK with this hash and said what kind of TPM it is in.
    ///
    /// # Errors
    /// EK_CHAIN when that is another EK; EK_* and AK_* reasons.
    pub fn vouched(self, ek_spki_sha256: &[u8; 32], kind: AnchorKind) -> Result<Endorsed, Refusal> {
        let ek = self.claimed(kind)?;
        if ek.spki_sha256 != *ek_spki_sha256 {
            return Err(self.refusal);
        }
        let ak = AttestationKey::judge(self.evidence.ak_public)?;
        distinct("AK", ak.facts(), &ek.spki_sha256)?;
        Ok(Endorsed {
            ek_certificate: self.evidence.ek_certificate,
            ek_public: self.evidence.ek_public,
            ek,
            ak,
        })
    }
}

impl Endorsed {
    /// The endorsement.
    #[must_use]
    pub fn ek(&self) -> &EkFacts {
        &self.ek
    }

    /// The attestation key, not yet proven.
    #[must_use]
    pub fn ak(&self) -> &KeyFacts {
        self.ak.facts()
    }

    /// Begin credential activation. The evidence moves into [`Pending`].
    ///
    /// # Errors
    /// [`ChallengeError`].
    pub fn challenge(
        self,
        context: ChallengeContext,
        entropy: &mut dyn Entropy,
    ) -> Result<(Challenge, Pending), ChallengeError> {
        let mut entropy = Watched::new(entropy);
        let mut secret = Zeroizing::new([0; 32]);
        entropy.fill(secret.as_mut())?;
        let mut nonce = [0; 32];
        entropy.fill(&mut nonce)?;
        let credential = tpm::make_credential(&self.ek_public, &self.ak.facts().name, secret.as_ref(), &mut entropy)?;
        let challenge = Challenge {
            credential_blob: credential.credential_blob,
            encrypted_secret: credential.encrypted_secret,
            nonce,
        };
        let secret_sha256 = openssl::sha::sha256(secret.as_ref());
        Ok((challenge, Pending::new(self, context, nonce, secret_sha256)))
    }
}

/// No key in two roles: the EK only ever decrypts.
pub(crate) fn distinct(role: &'static str, key: &KeyFacts, ek_spki_sha256: &[u8; 32]) -> Result<(), Refusal> {
    if crate::digest::sha256(&key.spki) == *ek_spki_sha256 {
        return Err(Refusal::new(Reason::KeyReuse, format!("{role} has the key of the EK")));
    }
    Ok(())
}
