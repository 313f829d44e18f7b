//! What a run shall do: flag before environment before `agent.toml` before default. From here on nobody looks at the
//! command line again.

mod raw;
#[cfg(test)]
mod tests;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use attest::KeyAlgorithm;
use ledger::{SignatureKind, VerifierKey};
use settings::{ConfigError, Source};

use crate::cli::{self, Cli};
use crate::error::AgentError;
use crate::ledger::Named;
use crate::tpm::{EkChoice, KeyAlg, Tcti};
use crate::values::Handle;
use raw::{RawConfig, RawEnroll, RawLedger, RawRenew};

/// Read when it is there and no other file is named.
pub const FILE: &str = "/etc/holdfast/agent.toml";
const TCTI: &str = "device:/dev/tpmrm0";
const STATE_DIR: &str = "/var/lib/holdfast-agent";
const PROFILE: &str = "device-ldevid";
const KEY_ALG: KeyAlg = KeyAlg {
    algorithm: KeyAlgorithm::P256,
    scheme: None,
};
const HOOKS: &str = "/etc/holdfast/renew.d";
const WAIT: Duration = Duration::from_secs(20);

/// Which TPM, which memory.
#[derive(Debug)]
pub struct Config {
    /// How the TPM is reached.
    pub tcti: Tcti,
    /// Where keys and certificates are kept.
    pub state_dir: PathBuf,
    /// File with the password of the owner hierarchy.
    pub owner_auth_file: Option<PathBuf>,
    /// File with the password of the endorsement hierarchy.
    pub endorsement_auth_file: Option<PathBuf>,
    /// Which ledger is looked after, and whose word it must be.
    pub ledger: Option<Named>,
    source: Source,
    enroll: RawEnroll,
    renew: RawRenew,
}

/// How a renewal goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenewWish {
    /// On a new key of this kind; none: the key stays.
    pub rekey: Option<KeyAlg>,
    /// Folder of the hooks.
    pub hooks: PathBuf,
    /// How long to go on trying while the CA cannot be reached.
    pub wait: Duration,
}

/// What an enrollment shall give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// URL of the CA.
    pub server: String,
    /// How the CA is pinned, unless the state directory knows it.
    pub pin: Option<NamedPin>,
    /// Name the inventory should have for this device.
    pub device: Option<String>,
    /// Who is asked for what.
    pub identity: Identity,
    /// What the proof stands on; none: as the enrollment before, else the endorsement key.
    pub via: Option<Via>,
    /// Which endorsement.
    pub ek: EkChoice,
    /// Identity key.
    pub key_alg: KeyAlg,
    /// Attestation key.
    pub ak_alg: KeyAlg,
    /// Handle of the identity key: also, or for a manufacturer's instead of the usual one.
    pub persistent: Option<Handle>,
    /// Handle of a manufacturer's attestation key, instead of the usual one.
    pub ak_handle: Option<Handle>,
    /// How long to go on trying while the CA cannot be reached.
    pub wait: Duration,
}

/// What the proof stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Via {
    /// The endorsement key.
    Ek,
    /// The manufacturer's IAK, whose papers are in this directory; none: in that of the enrollment before.
    Iak(Option<PathBuf>),
}

/// Profiles that are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// IDevID and IAK, by the maker of the device.
    Manufacturer,
    /// By whoever owns it.
    Owner {
        /// Of the identity key.
        profile: String,
        /// Of the attestation key, when one is wanted.
        attestation_profile: Option<String>,
    },
}

/// Which CA is believed, as a person named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamedPin {
    /// Its root certificate, PEM.
    File(PathBuf),
    /// SHA-256 of it, hex in any grouping.
    Sha256(String),
}

impl Config {
    /// From the command line, the environment (which clap read), and the file.
    ///
    /// # Errors
    /// [`AgentError::Config`] for a file that is wrong, or that was named and is not there; [`AgentError::Usage`].
    pub fn of(cli: &Cli) -> Result<Self, AgentError> {
        let (path, named) = match &cli.config {
            Some(path) => (path.as_path(), true),
            None => (Path::new(FILE), false),
        };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == ErrorKind::NotFound && !named => String::new(),
            Err(e) => return Err(ConfigError::of_file(path, format!("cannot be read: {e}")).into()),
        };
        let source = Source {
            path: path.to_owned(),
            text,
        };
        let raw: RawConfig = source.parse()?;
        // Paths in the file start at the file, as in `server.toml`.
        let base = path.parent().unwrap_or(Path::new(""));
        let below = |path: Option<PathBuf>| path.map(|path| base.join(path));
        let tcti = match (&cli.tcti, &raw.tcti) {
            (Some(flag), _) => flag.parse()?,
            (None, Some(text)) => {
                let tcti = text.get_ref().parse::<Tcti>();
                tcti.map_err(|e| source.error(&text.span(), e.to_string()))?
            }
            (None, None) => TCTI.parse()?,
        };
        let enroll = RawEnroll {
            root: below(raw.enroll.root),
            iak_dir: below(raw.enroll.iak_dir),
            ..raw.enroll
        };
        let ledger = match &raw.ledger {
            Some(of) => Some(ledger_of(of, base, &source)?),
            None => None,
        };
        Ok(Self {
            ledger,
            tcti,
            state_dir: cli
                .state_dir
                .clone()
                .or(below(raw.state_dir))
                .unwrap_or_else(|| STATE_DIR.into()),
            owner_auth_file: cli.owner_auth_file.clone().or(below(raw.owner_auth_file)),
            endorsement_auth_file: cli.endorsement_auth_file.clone().or(below(raw.endorsement_auth_file)),
            source,
            enroll,
            renew: RawRenew {
                hooks: below(raw.renew.hooks),
                ..raw.renew
            },
        })
    }

    /// How a renewal with these flags goes.
    #[must_use]
    pub fn renewal(&self, flags: &cli::Renew) -> RenewWish {
        let rekey = flags.rekey || self.renew.rekey == Some(true);
        let alg = flags.key_alg.or(self.enroll.key_alg).unwrap_or(KEY_ALG);
        RenewWish {
            rekey: rekey.then_some(alg),
            hooks: flags
                .hooks
                .clone()
                .or(self.renew.hooks.clone())
                .unwrap_or_else(|| HOOKS.into()),
            wait: flags.wait.or(self.enroll.wait).map_or(WAIT, |wait| wait.0),
        }
    }

    /// Which endorsement, by this flag or the file.
    #[must_use]
    pub fn ek(&self, flag: Option<EkChoice>) -> EkChoice {
        flag.or(self.enroll.ek).unwrap_or_default()
    }

    /// The CA's URL in the file.
    #[must_use]
    pub fn server(&self) -> Option<&str> {
        self.enroll.server.as_deref()
    }

    /// What an enrollment with these flags shall give. Without a word about the server it is the `known` one, of an
    /// enrollment before.
    ///
    /// # Errors
    /// [`AgentError::Config`] where the file contradicts itself, [`AgentError::Usage`] where something is missing.
    pub fn wish(&self, flags: &cli::Enroll, known: Option<&str>) -> Result<Wish, AgentError> {
        let file = &self.enroll;
        let server = flags.server.clone().or(file.server.clone());
        let server = server
            .or_else(|| known.map(str::to_owned))
            .ok_or_else(|| AgentError::Usage {
                message: "which CA to ask is not known".into(),
                fix: "--server https://ca.example:8443, CA_AGENT_SERVER, or `server` under [enroll] in agent.toml"
                    .into(),
            })?;
        let identity = self.identity(flags)?;
        let ak_handle = flags.ak_handle.or(file.ak_handle.as_ref().map(|h| *h.get_ref()));
        if ak_handle.is_some() && identity != Identity::Manufacturer {
            return Err(match &file.ak_handle {
                Some(place) if flags.ak_handle.is_none() => {
                    let error = self
                        .source
                        .error(&place.span(), "only a manufacturer's attestation key has a handle");
                    error.help("manufacturer = true").into()
                }
                _ => AgentError::Usage {
                    message: "only a manufacturer's attestation key has a handle".into(),
                    fix: "--ak-handle goes with --manufacturer".into(),
                },
            });
        }
        let iak_dir = flags.iak_dir.clone().or(file.iak_dir.clone());
        let via = match flags.via.or(file.via) {
            Some(cli::Via::Ek) => Some(Via::Ek),
            Some(cli::Via::Iak) => Some(Via::Iak(iak_dir)),
            None => None,
        };
        if matches!(via, Some(Via::Iak(_))) && identity == Identity::Manufacturer {
            return Err(AgentError::Usage {
                message: "an IDevID and an IAK stand on the endorsement key".into(),
                fix: "without --via iak; or, for an identity of an owner, without --manufacturer".into(),
            });
        }
        Ok(Wish {
            server,
            pin: self.pin(flags)?,
            device: flags.device.clone().or(file.device.clone()),
            identity,
            via,
            ek: self.ek(flags.ek),
            key_alg: flags.key_alg.or(file.key_alg).unwrap_or(KEY_ALG),
            ak_alg: flags.ak_alg.or(file.ak_alg).unwrap_or(KEY_ALG),
            persistent: flags.persistent.or(file.persistent),
            ak_handle,
            wait: flags.wait.or(file.wait).map_or(WAIT, |wait| wait.0),
        })
    }

    /// Flags name the whole identity: none of it is mixed with the file's.
    fn identity(&self, flags: &cli::Enroll) -> Result<Identity, AgentError> {
        let file = &self.enroll;
        if flags.manufacturer {
            return Ok(Identity::Manufacturer);
        }
        let owner = |profile: Option<&String>, attestation_profile: Option<&String>| Identity::Owner {
            profile: profile.map_or_else(|| PROFILE.to_owned(), Clone::clone),
            attestation_profile: attestation_profile.cloned(),
        };
        if flags.profile.is_some() || flags.attestation_profile.is_some() {
            return Ok(owner(flags.profile.as_ref(), flags.attestation_profile.as_ref()));
        }
        let (profile, attestation) = (&file.profile, &file.attestation_profile);
        if file.manufacturer == Some(true) {
            if let Some(profile) = profile.as_ref().or(attestation.as_ref()) {
                let error = self.source.error(
                    &profile.span(),
                    "a manufacturer's profiles are device-idevid and device-iak",
                );
                return Err(error.help("leave it out, or manufacturer = false").into());
            }
            return Ok(Identity::Manufacturer);
        }
        Ok(owner(
            profile.as_ref().map(toml::Spanned::get_ref),
            attestation.as_ref().map(toml::Spanned::get_ref),
        ))
    }

    fn pin(&self, flags: &cli::Enroll) -> Result<Option<NamedPin>, AgentError> {
        Ok(
            match (
                &flags.root,
                &flags.root_sha256,
                &self.enroll.root,
                &self.enroll.root_sha256,
            ) {
                (Some(path), ..) => Some(NamedPin::File(path.clone())),
                (None, Some(hash), ..) => Some(NamedPin::Sha256(hash.clone())),
                (None, None, Some(_), Some(hash)) => {
                    let error = self.source.error(&hash.span(), "`root` pins the CA already");
                    return Err(error.help("one of `root` and `root_sha256`").into());
                }
                (None, None, Some(path), None) => Some(NamedPin::File(path.clone())),
                (None, None, None, Some(hash)) => Some(NamedPin::Sha256(hash.get_ref().clone())),
                (None, None, None, None) => None,
            },
        )
    }
}

/// `[ledger]`: the key itself, or a file with it.
fn ledger_of(of: &RawLedger, base: &Path, source: &Source) -> Result<Named, ConfigError> {
    let from = of.from.get_ref();
    if from.contains("://") && !from.starts_with("http://") {
        let error = source.error(&of.from.span(), "a ledger is read over http:// or from a folder");
        return Err(error.help("all of it is signed"));
    }
    let wrong = |why: String| source.error(&of.key.span(), why);
    let text = of.key.get_ref();
    let text = if text.contains('+') {
        text.clone()
    } else {
        std::fs::read_to_string(base.join(text)).map_err(|e| wrong(format!("cannot be read: {e}")))?
    };
    let key = VerifierKey::parse(text.trim_end()).map_err(|e| wrong(e.to_string()))?;
    if key.kind() != SignatureKind::Ed25519 {
        return Err(wrong("the key of a witness, not of a ledger".to_owned()));
    }
    let from = if from.contains("://") {
        from.clone()
    } else {
        base.join(from).display().to_string()
    };
    Ok(Named { from, key })
}
