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

/// Who approved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quorum {
    /// Nobody: a rehearsal. Outputs are marked and refused by our verifier elsewhere.
    Rehearsal,
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
        let Quorum::Rehearsal = quorum;
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
        let root = self.item(ProfileKind::Root, profiles, now)?;
        let issuing = self.item(ProfileKind::Issuing, profiles, now)?;
        let server = self.item(ProfileKind::ServerTls, profiles, now)?;
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

    fn item(&self, kind: ProfileKind, profiles: &Profiles, now: UnixTime) -> Result<Grant, CeremonyError> {
        let error = |message: String| CeremonyError(format!("{}: {message}", kind.as_str()));
        let profile = profiles
            .only(kind)
            .ok_or_else(|| error("there must be exactly one profile of this kind".to_owned()))?;
        let organization = Rdn {
            kind: RdnKind::Organization,
            value: self.organization.clone(),
        };
        let (grant_kind, subject, san, spki) = match kind {
            ProfileKind::Root | ProfileKind::Issuing => {
                let (plan, grant_kind) = if kind == ProfileKind::Root {
                    (&self.root, GrantKind::Root)
                } else {
                    (&self.issuing, GrantKind::Issuing)
                };
                let value = format!("{REHEARSAL_PREFIX}{}", plan.common_name);
                // The name without its prefix too: it may not be empty or begin with a space.
                name::directory_string(&plan.common_name)
                    .and_then(|()| name::directory_string(&value))
                    .map_err(|e| error(format!("common name: {e}")))?;
                let common_name = Rdn {
                    kind: RdnKind::CommonName,
                    value,
                };
                (grant_kind, vec![organization, common_name], Vec::new(), &plan.spki)
            }
            _ => {
                let names = &self.server_tls.names;
                check_server_names(names).map_err(error)?;
                let role = GrantKind::EndEntity(KeyRole::Identity);
                (role, vec![organization], names.clone(), &self.server_tls.spki)
            }
        };
        let key = ProfileKey::of_spki(spki).map_err(|message| error(format!("key: {message}")))?;
        if !profile.key_algorithms.contains(&key) {
            return Err(error(format!("the profile does not allow a {} key", key.as_str())));
        }
        Ok(Grant {
            profile: Arc::clone(profile),
            kind: grant_kind,
            subject: Subject(subject),
            san,
            spki: spki.clone(),
            validity: validity(profile, now).map_err(error)?,
            policies: if kind == ProfileKind::Issuing {
                vec![ANY_POLICY]
            } else {
                Vec::new()
            },
            rot: None,
            rehearsal: kind.is_ca(),
            decision: Decision {
                rules: vec!["ceremony-rehearsal".to_owned()],
                reasons: vec!["a rehearsal: approved by nobody, marked as such".to_owned()],
                policy_sha256: [0; 32],
            },
        })
    }
}

fn validity(profile: &Profile, now: UnixTime) -> Result<Validity, String> {
    profile
        .validity(now)
        .ok_or_else(|| "the clock is outside of what a certificate can say".to_owned())
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
