//! The plan: one commented TOML file, [`raw`] as written, [`Plan`] as checked.

mod raw;
pub mod write;

use std::path::Path;

use attest::UnixTime;
use issuance::{RevocationReason, Serial, SignatureAlgorithm};

use crate::Sha256;

/// A plan that cannot be used: file, line, caret and what to do.
pub type PlanError = settings::ConfigError;

/// The longest plan that is read, in bytes.
pub const MAX_PLAN_BYTES: usize = 256 << 10;

/// A checked plan. Private fields; made only by [`Plan::parse`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    sha256: Sha256,
    text: String,
    name: String,
    planned: UnixTime,
    place: String,
    roles: Vec<String>,
    binary: Option<Sha256>,
    token: TokenPlan,
    quorum: Quorum,
    key: KeyPlan,
    inputs: Vec<Input>,
    work: Work,
}

/// What a ceremony makes; its kind, with what only that kind has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// A key is made, and its self-signed certificate; a first CRL if the plan has one.
    Root {
        /// The root's certificate.
        certificate: CertificatePlan,
        /// Its first CRL.
        crl: Option<CrlPlan>,
    },
    /// An existing root signs the request of an issuing CA.
    Issuing {
        /// The issuing CA's certificate; its key comes from the input `request`.
        certificate: CertificatePlan,
    },
    /// An existing root certifies name and key of another CA, the input `subject`.
    Cross {
        /// The cross-certificate.
        certificate: CertificatePlan,
    },
    /// An existing root says which of its certificates are revoked.
    Crl {
        /// The CRL.
        crl: CrlPlan,
    },
    /// The key comes back from its backup into another token.
    Restore,
    /// The key is destroyed.
    Destroy,
}

impl Work {
    /// The word in plans and on command lines.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Root { .. } => "root",
            Self::Issuing { .. } => "issuing",
            Self::Cross { .. } => "cross",
            Self::Crl { .. } => "crl",
            Self::Restore => "restore",
            Self::Destroy => "destroy",
        }
    }

    /// The certificate it makes.
    #[must_use]
    pub fn certificate(&self) -> Option<&CertificatePlan> {
        match self {
            Self::Root { certificate, .. } | Self::Issuing { certificate } | Self::Cross { certificate } => {
                Some(certificate)
            }
            Self::Crl { .. } | Self::Restore | Self::Destroy => None,
        }
    }

    /// The CRL it makes.
    #[must_use]
    pub fn crl(&self) -> Option<&CrlPlan> {
        match self {
            Self::Root { crl, .. } => crl.as_ref(),
            Self::Crl { crl } => Some(crl),
            Self::Issuing { .. } | Self::Cross { .. } | Self::Restore | Self::Destroy => None,
        }
    }
}

/// Which token the key is in, or will be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenPlan {
    /// CK_TOKEN_INFO serialNumber.
    pub serial: String,
}

/// Who must approve: distinct people with distinct keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quorum {
    /// How many of the officers; 1 to as many as there are.
    pub required: usize,
    /// All of them, at most 16; roles and keys are distinct.
    pub officers: Vec<Officer>,
    /// Whether the token's PIN is split among the officers, `required` of them together.
    pub split_pin: bool,
    /// Name of the ceremony that made the shares which are typed in this one; absent where none are.
    pub shares_of: Option<String>,
}

/// One officer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Officer {
    /// Role, as on the badge: `crypto officer 1`.
    pub role: String,
    /// SHA-256 of the SubjectPublicKeyInfo (DER) of the key the officer approves with.
    pub key: Sha256,
}

/// The CA key of the ceremony.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPlan {
    /// CKA_LABEL.
    pub label: String,
    /// CKA_ID.
    pub id: Vec<u8>,
    /// Algorithm.
    pub algorithm: SignatureAlgorithm,
    /// SHA-256 of its SubjectPublicKeyInfo (DER); absent where the key is yet to be made.
    pub spki: Option<Sha256>,
    /// Whether and how it leaves its token.
    pub backup: Backup,
}

/// How a key is kept against loss of its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backup {
    /// Never: a lost token is a lost CA.
    None,
    /// By the token vendor's procedure: a manual step of the script.
    Vendor,
    /// Wrapped by a wrap-only key, and restored to a second token.
    Wrapped,
}

impl Backup {
    /// The word in plans.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Vendor => "vendor",
            Self::Wrapped => "wrapped",
        }
    }
}

/// A file that goes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// What it is for: `issuer`, `request`, `subject`, `previous-crl`, `backup`.
    pub name: String,
    /// Its file name on the medium.
    pub file: String,
    /// SHA-256 of its bytes.
    pub sha256: Sha256,
}

/// A certificate to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificatePlan {
    /// Profile.
    pub profile: String,
    /// Organization.
    pub organization: String,
    /// Common name, as it will be outside of rehearsals.
    pub common_name: String,
    /// Serial number, drawn when the plan was written: so the bytes to be signed are known, and a step that is repeated
    /// after a power cut signs the same bytes again, never another certificate.
    pub serial: Serial,
    /// First second.
    pub not_before: UnixTime,
    /// Last second.
    pub not_after: UnixTime,
    /// caIssuers URL of the issuer.
    pub ca_issuers_url: Option<String>,
    /// CRL distribution point of the issuer.
    pub crl_url: Option<String>,
}

/// A CRL to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrlPlan {
    /// CRLNumber.
    pub number: u64,
    /// thisUpdate.
    pub this_update: UnixTime,
    /// nextUpdate.
    pub next_update: UnixTime,
    /// Every certificate of the CA that is revoked.
    pub revoked: Vec<Revocation>,
}

/// One line of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Which.
    pub serial: Serial,
    /// Since when.
    pub at: UnixTime,
    /// Why.
    pub reason: RevocationReason,
}

impl Plan {
    /// Read a plan; `path` is how errors name it.
    ///
    /// # Errors
    /// [`PlanError`] with line and caret.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, PlanError> {
        raw::parse(path, bytes)
    }

    /// SHA-256 of the file, byte for byte: what is approved, printed and typed.
    #[must_use]
    pub fn sha256(&self) -> Sha256 {
        self.sha256
    }
    /// The file as written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
    /// Name of the ceremony: letters, digits and hyphens; names its files.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
    /// When it is to be held.
    #[must_use]
    pub fn planned(&self) -> UnixTime {
        self.planned
    }
    /// Where.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }
    /// Roles to be filled beside the officers: `administrator` first, `witness` among them.
    #[must_use]
    pub fn roles(&self) -> &[String] {
        &self.roles
    }
    /// SHA-256 of the `ca-cli` that performs it; rehearsals may leave it out.
    #[must_use]
    pub fn binary(&self) -> Option<Sha256> {
        self.binary
    }
    /// The token.
    #[must_use]
    pub fn token(&self) -> &TokenPlan {
        &self.token
    }
    /// Who must approve.
    #[must_use]
    pub fn quorum(&self) -> &Quorum {
        &self.quorum
    }
    /// The key.
    #[must_use]
    pub fn key(&self) -> &KeyPlan {
        &self.key
    }
    /// Files that go in, by name.
    #[must_use]
    pub fn inputs(&self) -> &[Input] {
        &self.inputs
    }
    /// One of them.
    #[must_use]
    pub fn input(&self, name: &str) -> Option<&Input> {
        self.inputs.iter().find(|input| input.name == name)
    }
    /// What is made.
    #[must_use]
    pub fn work(&self) -> &Work {
        &self.work
    }
}
