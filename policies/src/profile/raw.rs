//! The TOML as written, and what each kind makes of it.

use attest::rot::Basis;
use const_oid::ObjectIdentifier;
use serde::Deserialize;
use toml::Spanned;

use super::{ClockRule, Profile, ProfileKind, Renewal};
use crate::{ProfileKey, name, place};

const DAY: i64 = 24 * 60 * 60;
const YEAR: i64 = 365 * DAY;

/// Longest time a certificate may begin before its decision: a client or an administrator never chooses more.
const MOST_BACKDATE: i64 = 60 * 60;
const BACKDATE: i64 = 5 * 60;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawProfile {
    name: Spanned<String>,
    kind: Spanned<ProfileKind>,
    lifetime: Spanned<String>,
    backdate: Option<Spanned<String>>,
    organization: Option<Spanned<String>>,
    common_name: Option<Spanned<CommonName>>,
    #[serde(default)]
    extended_key_usage: Option<Spanned<Vec<Spanned<Usage>>>>,
    key_algorithms: Option<Spanned<Vec<Spanned<ProfileKey>>>>,
    renewal: Option<Spanned<Renewal>>,
    tpm_clock: Option<Spanned<ClockRule>>,
    basis: Option<Spanned<Vec<Spanned<RawBasis>>>>,
}

/// What a proof stands on.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawBasis {
    EkActivation,
    IakCertified,
}

impl From<RawBasis> for Basis {
    fn from(raw: RawBasis) -> Self {
        match raw {
            RawBasis::EkActivation => Self::EkActivation,
            RawBasis::IakCertified => Self::IakCertified,
        }
    }
}

/// What a device's subject has as common name.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum CommonName {
    /// Nothing.
    None,
    /// The name of the device.
    Device,
}

/// Extended key usages a profile may name. There is no word for anyExtendedKeyUsage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum Usage {
    #[serde(rename = "serverAuth")]
    ServerAuth,
    #[serde(rename = "clientAuth")]
    ClientAuth,
    #[serde(rename = "tcg-kp-AIKCertificate")]
    AikCertificate,
    #[serde(rename = "OCSPSigning")]
    OcspSigning,
}

impl Usage {
    fn oid(self) -> ObjectIdentifier {
        match self {
            Self::ServerAuth => ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1"),
            Self::ClientAuth => ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2"),
            Self::AikCertificate => ObjectIdentifier::new_unwrap("2.23.133.8.3"),
            Self::OcspSigning => ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.9"),
        }
    }
}

/// What a kind allows; no TOML widens it.
struct Limits {
    /// Longest lifetime; `None`: it never expires, and nothing else is allowed.
    lifetime: Option<i64>,
    /// Usages that must be there.
    required: &'static [Usage],
    /// Usages that may be there.
    allowed: &'static [Usage],
    /// Keys it may certify.
    keys: &'static [ProfileKey],
}

const CA_KEYS: &[ProfileKey] = &[
    ProfileKey::P256,
    ProfileKey::P384,
    ProfileKey::Rsa3072,
    ProfileKey::Rsa4096,
];
const LEAF_KEYS: &[ProfileKey] = &[
    ProfileKey::P256,
    ProfileKey::P384,
    ProfileKey::Rsa2048,
    ProfileKey::Rsa3072,
];

fn limits(kind: ProfileKind) -> Limits {
    use Usage::{AikCertificate, ClientAuth, OcspSigning, ServerAuth};
    let (lifetime, required, allowed, keys): (_, &[Usage], &[Usage], _) = match kind {
        ProfileKind::Root => (Some(30 * YEAR), &[], &[], CA_KEYS),
        ProfileKind::Issuing | ProfileKind::Cross => (Some(15 * YEAR), &[], &[], CA_KEYS),
        ProfileKind::DeviceIak => (None, &[], &[AikCertificate], LEAF_KEYS),
        ProfileKind::DeviceIdevid => (None, &[], &[], LEAF_KEYS),
        ProfileKind::DeviceLdevid => (Some(2 * YEAR), &[ClientAuth], &[ClientAuth, ServerAuth], LEAF_KEYS),
        ProfileKind::DeviceLak => (Some(2 * YEAR), &[], &[AikCertificate], LEAF_KEYS),
        ProfileKind::Service => (Some(31 * DAY), &[ServerAuth], &[ServerAuth, ClientAuth], LEAF_KEYS),
        ProfileKind::ServerTls => (Some(398 * DAY), &[ServerAuth], &[ServerAuth, ClientAuth], LEAF_KEYS),
        // Nobody asks whether it is revoked, so it lives shortly. Its key is in the token, as a CA's.
        ProfileKind::Ocsp => (Some(31 * DAY), &[OcspSigning], &[OcspSigning], CA_KEYS),
    };
    Limits {
        lifetime,
        required,
        allowed,
        keys,
    }
}

/// Whether subject attributes of this kind come from the profile: not from the ceremony plan, and not empty.
pub(super) fn takes_organization(kind: ProfileKind) -> bool {
    matches!(
        kind,
        ProfileKind::DeviceIak
            | ProfileKind::DeviceIdevid
            | ProfileKind::DeviceLdevid
            | ProfileKind::DeviceLak
            | ProfileKind::Ocsp
    )
}

/// Parse and validate. The error is a message with its place.
pub(super) fn parse(text: &str) -> Result<Profile, String> {
    let raw: RawProfile = toml::from_str(text).map_err(|error| place::toml(text, &error))?;
    Reader { text }.read(raw)
}

struct Reader<'a> {
    text: &'a str,
}

impl Reader<'_> {
    fn wrong<T, V>(&self, value: &Spanned<V>, message: &str) -> Result<T, String> {
        Err(place::point(self.text, value.span(), message))
    }

    fn read(&self, raw: RawProfile) -> Result<Profile, String> {
        let kind = *raw.kind.get_ref();
        let limits = limits(kind);
        if let Err(error) = name::profile(raw.name.get_ref()) {
            return self.wrong(&raw.name, &error.to_string());
        }
        let lifetime = self.lifetime(kind, &raw.lifetime, &limits)?;
        let backdate = match &raw.backdate {
            None => BACKDATE,
            Some(text) => match seconds(text.get_ref()) {
                Some(seconds) if seconds <= MOST_BACKDATE => seconds,
                _ => return self.wrong(text, "at most one hour, for example \"5m\""),
            },
        };
        if lifetime.is_some_and(|lifetime| lifetime <= backdate) {
            return self.wrong(&raw.lifetime, "the lifetime must be longer than the backdate");
        }
        let (organization, common_name) = self.subject(kind, raw.organization, raw.common_name.as_ref())?;
        Ok(Profile {
            name: raw.name.into_inner(),
            kind,
            sha256: attest::sha256(self.text.as_bytes()),
            text: self.text.to_owned(),
            lifetime,
            organization,
            common_name,
            extended_key_usage: self.usages(kind, raw.extended_key_usage.as_ref(), &raw.kind, &limits)?,
            key_algorithms: self.keys(kind, raw.key_algorithms.as_ref(), &limits)?,
            renewal: self.renewal(kind, raw.renewal.as_ref())?,
            tpm_clock: self.tpm_clock(kind, raw.tpm_clock.as_ref())?,
            basis: self.basis(kind, raw.basis.as_ref())?,
            backdate,
        })
    }

    /// What never expires is not renewed, and people renew what their ceremonies made.
    fn renewal(&self, kind: ProfileKind, renewal: Option<&Spanned<Renewal>>) -> Result<Renewal, String> {
        match (kind, renewal) {
            (ProfileKind::DeviceLdevid | ProfileKind::Service, Some(given)) => Ok(*given.get_ref()),
            (ProfileKind::DeviceLdevid | ProfileKind::Service, None) => Ok(Renewal::Either),
            (_, None) => Ok(Renewal::None),
            (_, Some(given)) if *given.get_ref() == Renewal::None => Ok(Renewal::None),
            (_, Some(given)) => self.wrong(given, &format!("a `{}` certificate is not renewed", kind.as_str())),
        }
    }

    /// Where no TPM answers, none can have been copied.
    fn tpm_clock(&self, kind: ProfileKind, rule: Option<&Spanned<ClockRule>>) -> Result<ClockRule, String> {
        match rule {
            None => Ok(ClockRule::default()),
            Some(given) if kind.for_attestation_key() || kind.for_identity_key() => Ok(*given.get_ref()),
            Some(given) => self.wrong(given, &format!("no TPM answers for a `{}` certificate", kind.as_str())),
        }
    }

    /// What is initial stands on the EK; a service does unless the site says otherwise.
    fn basis(&self, kind: ProfileKind, basis: Option<&Spanned<Vec<Spanned<RawBasis>>>>) -> Result<Vec<Basis>, String> {
        use Basis::{EkActivation, IakCertified};
        let (allowed, default): (&[Basis], &[Basis]) = match kind {
            ProfileKind::DeviceIak | ProfileKind::DeviceIdevid => (&[EkActivation], &[EkActivation]),
            ProfileKind::DeviceLdevid | ProfileKind::DeviceLak => {
                (&[EkActivation, IakCertified], &[EkActivation, IakCertified])
            }
            ProfileKind::Service => (&[EkActivation, IakCertified], &[EkActivation]),
            ProfileKind::Root
            | ProfileKind::Issuing
            | ProfileKind::Cross
            | ProfileKind::ServerTls
            | ProfileKind::Ocsp => (&[], &[]),
        };
        let Some(basis) = basis else {
            return Ok(default.to_vec());
        };
        if basis.get_ref().is_empty() {
            return self.wrong(basis, "no device could ever get one");
        }
        let mut seen: Vec<Basis> = Vec::new();
        for one in basis.get_ref() {
            let given = Basis::from(*one.get_ref());
            if !allowed.contains(&given) {
                let message = format!("a `{}` certificate is not issued on that", kind.as_str());
                return self.wrong(one, &message);
            }
            if seen.contains(&given) {
                return self.wrong(one, "this is named twice");
            }
            seen.push(given);
        }
        Ok(seen)
    }

    fn lifetime(&self, kind: ProfileKind, text: &Spanned<String>, limits: &Limits) -> Result<Option<i64>, String> {
        let kind = kind.as_str();
        let never = text.get_ref() == "never";
        match limits.lifetime {
            None if never => Ok(None),
            None => self.wrong(text, &format!("a `{kind}` certificate never expires: write \"never\"")),
            Some(_) if never => self.wrong(text, &format!("a `{kind}` certificate must expire")),
            Some(most) => match seconds(text.get_ref()) {
                None => self.wrong(
                    text,
                    "a number and a unit (s, m, h, d or y of 365 days), for example \"90d\"",
                ),
                Some(0) => self.wrong(text, "the lifetime is zero"),
                Some(seconds) if seconds > most => self.wrong(
                    text,
                    &format!("a `{kind}` certificate lives at most {} days", most / DAY),
                ),
                Some(seconds) => Ok(Some(seconds)),
            },
        }
    }

    fn subject(
        &self,
        kind: ProfileKind,
        organization: Option<Spanned<String>>,
        common_name: Option<&Spanned<CommonName>>,
    ) -> Result<(Option<String>, bool), String> {
        let no_subject = match kind {
            ProfileKind::Root | ProfileKind::Issuing | ProfileKind::Cross | ProfileKind::ServerTls => {
                Some("the subject comes from the ceremony plan")
            }
            ProfileKind::Service => Some("a service certificate has an empty subject"),
            ProfileKind::DeviceIak
            | ProfileKind::DeviceIdevid
            | ProfileKind::DeviceLdevid
            | ProfileKind::DeviceLak
            | ProfileKind::Ocsp => None,
        };
        if let (ProfileKind::Ocsp, Some(common_name)) = (kind, common_name) {
            return self.wrong(common_name, "the common name of a responder is fixed");
        }
        if let Some(why) = no_subject {
            if let Some(organization) = &organization {
                return self.wrong(organization, why);
            }
            if let Some(common_name) = common_name {
                return self.wrong(common_name, why);
            }
        }
        if let Some(organization) = &organization
            && let Err(error) = name::directory_string(organization.get_ref())
        {
            return self.wrong(organization, &error.to_string());
        }
        Ok((
            organization.map(Spanned::into_inner),
            common_name.is_some_and(|name| *name.get_ref() == CommonName::Device),
        ))
    }

    fn usages(
        &self,
        kind: ProfileKind,
        usages: Option<&Spanned<Vec<Spanned<Usage>>>>,
        kind_place: &Spanned<ProfileKind>,
        limits: &Limits,
    ) -> Result<Vec<ObjectIdentifier>, String> {
        let mut seen: Vec<Usage> = Vec::new();
        for usage in usages.map(Spanned::get_ref).into_iter().flatten() {
            if !limits.allowed.contains(usage.get_ref()) {
                return self.wrong(
                    usage,
                    &format!("a `{}` certificate may not have this usage", kind.as_str()),
                );
            }
            if seen.contains(usage.get_ref()) {
                return self.wrong(usage, "this usage is named twice");
            }
            seen.push(*usage.get_ref());
        }
        match limits.required.iter().find(|usage| !seen.contains(usage)) {
            None => Ok(seen.into_iter().map(Usage::oid).collect()),
            Some(missing) => {
                let message = format!(
                    "a `{}` certificate needs the {} usage {}",
                    kind.as_str(),
                    "extended key",
                    match missing {
                        Usage::ServerAuth => "serverAuth",
                        Usage::ClientAuth => "clientAuth",
                        Usage::AikCertificate => "tcg-kp-AIKCertificate",
                        Usage::OcspSigning => "OCSPSigning",
                    }
                );
                match usages {
                    Some(usages) => self.wrong(usages, &message),
                    None => self.wrong(kind_place, &message),
                }
            }
        }
    }

    fn keys(
        &self,
        kind: ProfileKind,
        keys: Option<&Spanned<Vec<Spanned<ProfileKey>>>>,
        limits: &Limits,
    ) -> Result<Vec<ProfileKey>, String> {
        let Some(keys) = keys else {
            return Ok(limits.keys.to_vec());
        };
        if keys.get_ref().is_empty() {
            return self.wrong(keys, "no key could ever be certified");
        }
        let mut seen = Vec::new();
        for key in keys.get_ref() {
            if !limits.keys.contains(key.get_ref()) {
                return self.wrong(
                    key,
                    &format!("a `{}` certificate may not carry this key", kind.as_str()),
                );
            }
            if seen.contains(key.get_ref()) {
                return self.wrong(key, "this key is named twice");
            }
            seen.push(*key.get_ref());
        }
        Ok(seen)
    }
}

/// `90d` and the like, in seconds.
fn seconds(text: &str) -> Option<i64> {
    let unit = match text.as_bytes().last()? {
        b's' => 1,
        b'm' => 60,
        b'h' => 60 * 60,
        b'd' => DAY,
        b'y' => YEAR,
        _ => return None,
    };
    let digits = text.get(..text.len().checked_sub(1)?)?;
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse::<i64>().ok()?.checked_mul(unit)
}
