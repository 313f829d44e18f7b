//! Certificate profiles: `RawProfile` (the TOML as written) -> [`Profile`] (validated).

mod raw;

use std::sync::Arc;

use attest::UnixTime;
use attest::rot::Basis;
use serde::Deserialize;

use crate::name::{self, NameError};
use crate::{ProfileKey, Validity};

/// What a profile is for; fixes what no TOML may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProfileKind {
    /// Self-signed root.
    Root,
    /// Issuing CA, pathLen 0.
    Issuing,
    /// Another root below ours, by its own key: pathLen 1, so that its issuing CAs stand below both roots.
    Cross,
    /// Initial attestation key (TCG IAK).
    DeviceIak,
    /// Initial device identity (IEEE 802.1AR IDevID).
    DeviceIdevid,
    /// Local device identity (LDevID).
    DeviceLdevid,
    /// Local attestation key (LAK): the owner's, which vouches beside an LDevID.
    DeviceLak,
    /// A service: TLS server and client.
    Service,
    /// `ca-server`'s own TLS certificate.
    ServerTls,
    /// An OCSP responder's, from the CA it answers for (RFC 6960 §4.2.2.2).
    Ocsp,
}

impl ProfileKind {
    /// The word used in profiles and rules.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Issuing => "issuing",
            Self::Cross => "cross",
            Self::DeviceIak => "device-iak",
            Self::DeviceIdevid => "device-idevid",
            Self::DeviceLdevid => "device-ldevid",
            Self::DeviceLak => "device-lak",
            Self::Service => "service",
            Self::ServerTls => "server-tls",
            Self::Ocsp => "ocsp",
        }
    }

    /// Whether the certificate is a CA's: basicConstraints cA TRUE, keyCertSign and cRLSign. Every other kind is an
    /// end entity: no basicConstraints, digitalSignature only.
    #[must_use]
    pub fn is_ca(self) -> bool {
        matches!(self, Self::Root | Self::Issuing | Self::Cross)
    }

    /// pathLenConstraint; `None` means the field is absent.
    #[must_use]
    pub fn path_length(self) -> Option<u8> {
        match self {
            Self::Issuing => Some(0),
            Self::Cross => Some(1),
            _ => None,
        }
    }

    /// Whether a device may ask for it for its identity key.
    #[must_use]
    pub fn for_identity_key(self) -> bool {
        matches!(self, Self::DeviceIdevid | Self::DeviceLdevid | Self::Service)
    }

    /// Whether a device may ask for it for its attestation key.
    #[must_use]
    pub fn for_attestation_key(self) -> bool {
        matches!(self, Self::DeviceIak | Self::DeviceLak)
    }
}

/// How a device may renew a certificate: with the whole proof again, on which key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Renewal {
    /// Not at all: a new enrollment, when it has ended.
    None,
    /// On the key it is for.
    SameKey,
    /// On a new key of the same TPM, always.
    Rekey,
    /// On either.
    Either,
}

impl Renewal {
    /// The word used in profiles.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::SameKey => "same-key",
            Self::Rekey => "rekey",
            Self::Either => "either",
        }
    }
}

/// What happens to a device whose TPM's clock or counters went back: one that was copied, or put back to an earlier state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClockRule {
    /// Raise the alarm and issue.
    Alarm,
    /// Raise the alarm and refuse.
    Refuse,
    /// Raise the alarm, refuse, and hold the device until people release it.
    #[default]
    Hold,
}

impl ClockRule {
    /// The word used in profiles.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alarm => "alarm",
            Self::Refuse => "refuse",
            Self::Hold => "hold",
        }
    }
}

/// A validated profile. Private fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    pub(crate) name: String,
    pub(crate) kind: ProfileKind,
    pub(crate) sha256: [u8; 32],
    /// The TOML as read.
    pub(crate) text: String,
    pub(crate) lifetime: Option<i64>,
    pub(crate) organization: Option<String>,
    pub(crate) common_name: bool,
    pub(crate) extended_key_usage: Vec<const_oid::ObjectIdentifier>,
    pub(crate) key_algorithms: Vec<ProfileKey>,
    pub(crate) renewal: Renewal,
    pub(crate) tpm_clock: ClockRule,
    pub(crate) basis: Vec<Basis>,
    pub(crate) backdate: i64,
}

/// What is wrong with a profile, with its place.
#[derive(Debug, Clone, thiserror::Error)]
#[error("profile `{file}`: {message}")]
pub struct ProfileError {
    /// File name.
    pub file: String,
    /// Message with line, caret and suggestion.
    pub message: String,
}

/// The profiles of one CA, by name.
#[derive(Debug, Clone)]
pub struct Profiles {
    pub(crate) by_name: Vec<Arc<Profile>>,
    /// Put into those that name none.
    pub(crate) organization: Option<String>,
}

impl Profile {
    /// Parse and validate one TOML file.
    ///
    /// # Errors
    /// [`ProfileError`].
    pub fn parse(file: &str, toml: &str) -> Result<Self, ProfileError> {
        raw::parse(toml).map_err(|message| ProfileError {
            file: file.to_owned(),
            message,
        })
    }
    /// Name, as requests use it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
    /// What it is for.
    #[must_use]
    pub fn kind(&self) -> ProfileKind {
        self.kind
    }
    /// SHA-256 of the TOML as read, and of the organization that [`Profiles::with_organization`] put in; stored with
    /// each intent.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }
    /// Lifetime in seconds, first and last second included; `None` means never expires.
    #[must_use]
    pub fn lifetime(&self) -> Option<i64> {
        self.lifetime
    }
    /// How many seconds before the decision the validity begins, for clocks that are behind.
    #[must_use]
    pub fn backdate(&self) -> i64 {
        self.backdate
    }
    /// How its certificates are renewed.
    #[must_use]
    pub fn renewal(&self) -> Renewal {
        self.renewal
    }
    /// What happens when the clock of the device's TPM went back.
    #[must_use]
    pub fn tpm_clock(&self) -> ClockRule {
        self.tpm_clock
    }
    /// What a device may stand on to get one; empty when it is not for devices.
    #[must_use]
    pub fn basis(&self) -> &[Basis] {
        &self.basis
    }
    /// Extended key usages, in order; empty means no extension.
    #[must_use]
    pub fn extended_key_usage(&self) -> &[const_oid::ObjectIdentifier] {
        &self.extended_key_usage
    }
    /// Keys it may certify.
    #[must_use]
    pub fn key_algorithms(&self) -> &[ProfileKey] {
        &self.key_algorithms
    }
    /// Organization in the subject of device profiles.
    #[must_use]
    pub fn organization(&self) -> Option<&str> {
        self.organization.as_deref()
    }

    /// Validity of a certificate decided at `now`: `lifetime` seconds counted as RFC 5280 §4.1.2.5 counts, with the
    /// first and the last second included, so 90 days are 90 days and not one second more. `None` when that does not
    /// fit between 1970 and 9999.
    pub(crate) fn validity(&self, now: UnixTime) -> Option<Validity> {
        let not_before = now.0.checked_sub(self.backdate)?;
        let not_after = match self.lifetime {
            None => Validity::NEVER.0,
            Some(seconds) => not_before.checked_add(seconds)?.checked_sub(1)?,
        };
        (not_before >= 0 && not_before < not_after && not_after <= Validity::NEVER.0).then_some(Validity {
            not_before: UnixTime(not_before),
            not_after: UnixTime(not_after),
        })
    }
}

/// What is shipped, file by file.
const BUILTIN: [(&str, &str); 10] = [
    ("root.toml", include_str!("../profiles/root.toml")),
    ("issuing.toml", include_str!("../profiles/issuing.toml")),
    ("cross.toml", include_str!("../profiles/cross.toml")),
    ("device-iak.toml", include_str!("../profiles/device-iak.toml")),
    ("device-idevid.toml", include_str!("../profiles/device-idevid.toml")),
    ("device-ldevid.toml", include_str!("../profiles/device-ldevid.toml")),
    ("device-lak.toml", include_str!("../profiles/device-lak.toml")),
    ("service.toml", include_str!("../profiles/service.toml")),
    ("server-tls.toml", include_str!("../profiles/server-tls.toml")),
    ("ocsp.toml", include_str!("../profiles/ocsp.toml")),
];

impl Profiles {
    /// The profiles shipped in `policies/profiles/`.
    ///
    /// # Errors
    /// [`ProfileError`]; a test shows there is none.
    pub fn builtin() -> Result<Self, ProfileError> {
        Self::load(BUILTIN)
    }

    /// From `(file name, TOML)` pairs; names must be unique.
    ///
    /// # Errors
    /// [`ProfileError`].
    pub fn from_sources(sources: &[(String, String)]) -> Result<Self, ProfileError> {
        Self::load(sources.iter().map(|(file, toml)| (file.as_str(), toml.as_str())))
    }

    fn load<'a>(sources: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, ProfileError> {
        let mut by_name: Vec<Arc<Profile>> = Vec::new();
        for (file, toml) in sources {
            let profile = Profile::parse(file, toml)?;
            match by_name.binary_search_by(|known| known.name.cmp(&profile.name)) {
                Ok(_) => {
                    return Err(ProfileError {
                        file: file.to_owned(),
                        message: format!("another file defines the profile `{}` too", profile.name),
                    });
                }
                Err(at) => by_name.insert(at, Arc::new(profile)),
            }
        }
        Ok(Self {
            by_name,
            organization: None,
        })
    }

    /// Put `organization` into the subject of all device and responder profiles that name none.
    ///
    /// # Errors
    /// [`NameError`].
    pub fn with_organization(mut self, organization: &str) -> Result<Self, NameError> {
        name::directory_string(organization)?;
        for profile in &mut self.by_name {
            if raw::takes_organization(profile.kind) && profile.organization.is_none() {
                let profile = Arc::make_mut(profile);
                profile.sha256 = attest::sha256(&[&profile.sha256, organization.as_bytes()].concat());
                profile.organization = Some(organization.to_owned());
            }
        }
        self.organization = Some(organization.to_owned());
        Ok(self)
    }

    /// Organization that [`Self::with_organization`] put into those that name none.
    #[must_use]
    pub fn organization(&self) -> Option<&str> {
        self.organization.as_deref()
    }

    /// Name and TOML of each, by name.
    pub fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.by_name.iter().map(|one| (one.name.as_str(), one.text.as_str()))
    }

    /// By name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Profile>> {
        self.by_name.iter().find(|p| p.name == name)
    }

    /// The only profile of a kind; `None` when there is none, or more than one.
    #[must_use]
    pub fn only(&self, kind: ProfileKind) -> Option<&Arc<Profile>> {
        let mut found = self.by_name.iter().filter(|profile| profile.kind == kind);
        match (found.next(), found.next()) {
            (Some(profile), None) => Some(profile),
            _ => None,
        }
    }

    /// All, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Profile>> {
        self.by_name.iter()
    }
}
