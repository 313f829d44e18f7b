//! The other birth of a [`Grant`]: a ceremony plan, approved by its quorum.

use std::sync::Arc;

use attest::UnixTime;
use const_oid::ObjectIdentifier;

use crate::{
    Decision, Grant, GrantKind, KeyRole, Profile, ProfileKey, ProfileKind, Profiles, Rdn, RdnKind, SanEntry, Subject,
    Validity, name,
};

/// What a ceremony makes, before approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CeremonyPlan {
    /// Organization in all subjects.
    pub organization: String,
    /// Root CA.
    pub root: CaPlan,
    /// Issuing CA.
    pub issuing: CaPlan,
    /// The server's own TLS certificate.
    pub server_tls: ServerTlsPlan,
}

/// One CA certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaPlan {
    /// Common name; a rehearsal puts [`REHEARSAL_PREFIX`] before it.
    pub common_name: String,
    /// Key, SubjectPublicKeyInfo DER, as read from the token.
    pub spki: Vec<u8>,
}

/// The server's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTlsPlan {
    /// Names it answers to; DNS and IP only.
    pub names: Vec<SanEntry>,
    /// Key, SubjectPublicKeyInfo DER.
    pub spki: Vec<u8>,
}

/// One CA certificate of a ceremony whose plan names every date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaCertificatePlan {
    /// Name of the profile, which must be of the kind.
    pub profile: String,
    /// [`ProfileKind::Root`], [`ProfileKind::Issuing`] or [`ProfileKind::Cross`].
    pub kind: ProfileKind,
    /// Organization.
    pub organization: String,
    /// Common name; a rehearsal puts [`REHEARSAL_PREFIX`] before it.
    pub common_name: String,
    /// Key, SubjectPublicKeyInfo DER.
    pub spki: Vec<u8>,
    /// First and last second: not longer than the profile's lifetime.
    pub validity: Validity,
}

/// Who approved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Quorum {
    /// Nobody: a rehearsal. Outputs are marked and refused by our verifier elsewhere.
    Rehearsal,
    /// Officers, each by a signature over the hash of the plan: verified by the room `ceremony`, its only maker.
    Officers {
        /// SHA-256 of the plan.
        plan_sha256: [u8; 32],
        /// Roles of those who approved.
        roles: Vec<String>,
    },
}

impl Quorum {
    fn is_rehearsal(&self) -> bool {
        matches!(self, Self::Rehearsal)
    }

    fn decision(&self) -> Decision {
        match self {
            Self::Rehearsal => Decision {
                rules: vec!["ceremony-rehearsal".to_owned()],
                reasons: vec!["a rehearsal: approved by nobody, marked as such".to_owned()],
                policy_sha256: [0; 32],
            },
            Self::Officers { plan_sha256, roles } => Decision {
                rules: vec!["ceremony-quorum".to_owned()],
                reasons: vec![format!("approved by {}", roles.join(", "))],
                policy_sha256: *plan_sha256,
            },
        }
    }
}

/// A plan that cannot be approved.
#[derive(Debug, Clone, thiserror::Error)]
#[error("ceremony plan: {0}")]
pub struct CeremonyError(pub String);

/// What the common names of a rehearsal's CAs begin with.
pub const REHEARSAL_PREFIX: &str = "REHEARSAL ";

/// anyPolicy (RFC 5280 §4.2.1.4): an issuing CA lets every policy of its leaves stand.
const ANY_POLICY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.32.0");

impl CeremonyPlan {
    /// Approve the plan: grants for root, issuing CA and server TLS, in this order.
    ///
    /// # Errors
    /// [`CeremonyError`] names the item and what is wrong with it.
    pub fn approve(&self, profiles: &Profiles, quorum: Quorum, now: UnixTime) -> Result<[Grant; 3], CeremonyError> {
        name::directory_string(&self.organization).map_err(|e| CeremonyError(format!("organization: {e}")))?;
        if self.root.common_name == self.issuing.common_name {
            return Err(CeremonyError(
                "root and issuing CA have the same common name".to_owned(),
            ));
        }
        if self.root.spki == self.issuing.spki
            || self.root.spki == self.server_tls.spki
            || self.issuing.spki == self.server_tls.spki
        {
            return Err(CeremonyError("two certificates would carry the same key".to_owned()));
        }
        let root = self.ca(ProfileKind::Root, &self.root, profiles, &quorum, now)?;
        let issuing = self.ca(ProfileKind::Issuing, &self.issuing, profiles, &quorum, now)?;
        let server = self.server_tls.approve(&self.organization, profiles, &quorum, now)?;
        for (below, above) in [(&issuing, &root), (&server, &issuing)] {
            let (below, outer) = (below.validity, above.validity);
            if below.not_before < outer.not_before || below.not_after > outer.not_after {
                return Err(CeremonyError(
                    "a certificate would not lie inside the validity of its issuer".to_owned(),
                ));
            }
        }
        Ok([root, issuing, server])
    }

    fn ca(
        &self,
        kind: ProfileKind,
        plan: &CaPlan,
        profiles: &Profiles,
        quorum: &Quorum,
        now: UnixTime,
    ) -> Result<Grant, CeremonyError> {
        let profile = only(kind, profiles)?;
        let plan = CaCertificatePlan {
            profile: profile.name().to_owned(),
            kind,
            organization: self.organization.clone(),
            common_name: plan.common_name.clone(),
            spki: plan.spki.clone(),
            validity: validity(profile, now).map_err(|e| error(kind, &e))?,
        };
        plan.approve(profiles, quorum)
    }
}

fn error(kind: ProfileKind, message: &str) -> CeremonyError {
    CeremonyError(format!("{}: {message}", kind.as_str()))
}

fn only(kind: ProfileKind, profiles: &Profiles) -> Result<&Arc<Profile>, CeremonyError> {
    let one = profiles.only(kind);
    one.ok_or_else(|| error(kind, "there must be exactly one profile of this kind"))
}

fn checked_key(kind: ProfileKind, profile: &Profile, spki: &[u8]) -> Result<(), CeremonyError> {
    let key = ProfileKey::of_spki(spki).map_err(|message| error(kind, &format!("key: {message}")))?;
    if profile.key_algorithms.contains(&key) {
        return Ok(());
    }
    Err(error(
        kind,
        &format!("the profile does not allow a {} key", key.as_str()),
    ))
}

impl CaCertificatePlan {
    /// Approve it: one grant, marked when it is of a rehearsal.
    ///
    /// # Errors
    /// [`CeremonyError`] names what is wrong.
    pub fn approve(&self, profiles: &Profiles, quorum: &Quorum) -> Result<Grant, CeremonyError> {
        let kind = self.kind;
        let grant_kind = match kind {
            ProfileKind::Root => GrantKind::Root,
            ProfileKind::Issuing => GrantKind::Issuing,
            ProfileKind::Cross => GrantKind::Cross,
            _ => return Err(error(kind, "not a CA's")),
        };
        let profile = match profiles.get(&self.profile) {
            Some(profile) if profile.kind() == kind => profile,
            Some(_) => {
                return Err(error(
                    kind,
                    &format!("the profile `{}` is of another kind", self.profile),
                ));
            }
            None => return Err(error(kind, &format!("there is no profile `{}`", self.profile))),
        };
        let rehearsal = quorum.is_rehearsal();
        let prefix = if rehearsal { REHEARSAL_PREFIX } else { "" };
        let value = format!("{prefix}{}", self.common_name);
        name::directory_string(&self.organization).map_err(|e| error(kind, &format!("organization: {e}")))?;
        // The name without its prefix too: it may not be empty or begin with a space.
        name::directory_string(&self.common_name)
            .and_then(|()| name::directory_string(&value))
            .map_err(|e| error(kind, &format!("common name: {e}")))?;
        // Outside of a rehearsal nothing may look like one.
        if self.common_name.starts_with(REHEARSAL_PREFIX.trim_end()) {
            return Err(error(kind, "common name: it begins as those of rehearsals do"));
        }
        checked_key(kind, profile, &self.spki)?;
        let Validity { not_before, not_after } = self.validity;
        let lifetime = not_after.0.checked_sub(not_before.0).and_then(|s| s.checked_add(1));
        let planned = match (lifetime, profile.lifetime()) {
            (Some(planned), Some(most)) if not_before.0 >= 0 && planned > 1 && planned <= most => planned,
            (Some(planned), _) if planned <= 1 => return Err(error(kind, "it would end before it begins")),
            _ => return Err(error(kind, "it would live longer than its profile lets it")),
        };
        // The profile, narrowed to the dates of the plan: the lints compare with it to the second.
        let mut narrowed = Profile::clone(profile);
        narrowed.lifetime = Some(planned);
        Ok(Grant {
            profile: Arc::new(narrowed),
            kind: grant_kind,
            subject: Subject(vec![
                Rdn {
                    kind: RdnKind::Organization,
                    value: self.organization.clone(),
                },
                Rdn {
                    kind: RdnKind::CommonName,
                    value,
                },
            ]),
            san: Vec::new(),
            spki: self.spki.clone(),
            validity: self.validity,
            policies: match kind {
                ProfileKind::Issuing | ProfileKind::Cross => vec![ANY_POLICY],
                _ => Vec::new(),
            },
            rot: None,
            rehearsal,
            decision: quorum.decision(),
        })
    }
}

impl ServerTlsPlan {
    /// Approve the server's own certificate, with the lifetime of its profile from `now` on.
    ///
    /// # Errors
    /// [`CeremonyError`] names what is wrong.
    pub fn approve(
        &self,
        organization: &str,
        profiles: &Profiles,
        quorum: &Quorum,
        now: UnixTime,
    ) -> Result<Grant, CeremonyError> {
        let kind = ProfileKind::ServerTls;
        let profile = only(kind, profiles)?;
        name::directory_string(organization).map_err(|e| error(kind, &format!("organization: {e}")))?;
        check_server_names(&self.names).map_err(|e| error(kind, &e))?;
        checked_key(kind, profile, &self.spki)?;
        Ok(Grant {
            profile: Arc::clone(profile),
            kind: GrantKind::EndEntity(KeyRole::Identity),
            subject: Subject(vec![Rdn {
                kind: RdnKind::Organization,
                value: organization.to_owned(),
            }]),
            san: self.names.clone(),
            spki: self.spki.clone(),
            validity: validity(profile, now).map_err(|e| error(kind, &e))?,
            policies: Vec::new(),
            rot: None,
            rehearsal: false,
            decision: quorum.decision(),
        })
    }
}

fn validity(profile: &Profile, now: UnixTime) -> Result<Validity, String> {
    profile.validity(now).ok_or_else(|| {
        "its life would not lie between 1970 and 9999, which is all that a certificate can say: is the clock right?"
            .to_owned()
    })
}

/// Each name for itself; the first that is wrong is named with its place.
fn check_server_names(names: &[SanEntry]) -> Result<(), String> {
    if names.is_empty() {
        return Err("no name".to_owned());
    }
    for (index, entry) in names.iter().enumerate() {
        let place = format!("name {}", index.saturating_add(1));
        match entry {
            SanEntry::Dns(text) => name::dns(text).map_err(|e| format!("{place}: {e}"))?,
            SanEntry::Ip(octets) => name::ip(octets).map_err(|e| format!("{place}: {e}"))?,
            SanEntry::Uri(_) | SanEntry::HardwareModuleName(..) | SanEntry::PermanentIdentifier(..) => {
                return Err(format!("{place}: neither a DNS name nor an IP address"));
            }
        }
        if names.iter().take(index).any(|earlier| earlier == entry) {
            return Err(format!("{place}: named twice"));
        }
    }
    Ok(())
}
