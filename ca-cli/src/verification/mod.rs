//! Whether a certificate is what it claims: every check by itself, so that each fault is named.

mod binding;
mod path;
mod revocation;

use attest::rot;
use serde::Serialize;

use crate::certificate::{self, CertificateView};
use crate::cli::certificate::Level;
use crate::words;

/// One check.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Check {
    pub(crate) id: &'static str,
    pub(crate) ok: bool,
    pub(crate) found: String,
    pub(crate) clause: &'static str,
}

impl Check {
    pub(crate) fn new(id: &'static str, clause: &'static str, result: Result<String, String>) -> Self {
        let ok = result.is_ok();
        let (Ok(found) | Err(found)) = result;
        Self { id, ok, found, clause }
    }
}

/// What the checks look at.
pub(crate) struct Question {
    /// The certificate in question.
    pub(crate) leaf: CertificateView,
    /// Path material: nothing in it is trusted.
    pub(crate) chain: Vec<CertificateView>,
    /// Roots.
    pub(crate) anchors: Vec<CertificateView>,
    /// Time to verify at, unix seconds.
    pub(crate) at: i64,
    /// Lowest level to accept.
    pub(crate) level: Level,
    /// EK certificate of the device, DER.
    pub(crate) ek_certificate: Option<Vec<u8>>,
    /// CRLs, DER: nothing in them is believed yet.
    pub(crate) crls: Vec<Vec<u8>>,
    /// Whether outputs of a rehearsal will do.
    pub(crate) rehearsal: bool,
}

impl Question {
    /// Every check that the question calls for.
    pub(crate) fn checks(&self) -> Vec<Check> {
        let path = path::build(&self.leaf, &self.chain, &self.anchors, self.at);
        let names =
            |path: &Vec<CertificateView>| path.iter().map(CertificateView::short).collect::<Vec<_>>().join(" <- ");
        let chain = path
            .as_ref()
            .map(|path| format!("{} at {}", names(path), words::rfc3339(self.at)));
        let mut checks = vec![
            Check::new("encoding", "RFC 5280 §4.1; X.690 §10", self.encoding()),
            Check::new("chain", "RFC 5280 §6.1", chain.map_err(Clone::clone)),
            Check::new("end-entity", "RFC 5280 §4.2.1.3, §4.2.1.9", self.end_entity()),
            Check::new("rehearsal", "Holdfast docs/reference/rot-binding.md", self.marked()),
            Check::new(
                "level",
                "Holdfast docs/reference/profiles.md; RFC 5280 §4.2.1.4, §6.1.3",
                self.assured(path.as_deref().unwrap_or_default()),
            ),
        ];
        if self.leaf.rot_binding.is_some() || self.level != Level::None {
            let clause = "Holdfast docs/reference/rot-binding.md; ISO/IEC 27071 §6.4";
            checks.push(Check::new("binding", clause, binding::bound(&self.leaf)));
        }
        if !self.crls.is_empty() {
            let path = path.as_deref().unwrap_or_default();
            let verdict = revocation::not_listed(path, &self.crls, self.at);
            checks.push(Check::new("revocation", "RFC 5280 §6.3", verdict));
        }
        if let Some(ek) = &self.ek_certificate {
            let clause = "TCG DevID profile; RFC 4043 §2; Holdfast docs/reference/rot-binding.md";
            checks.push(Check::new("ek", clause, binding::names_ek(&self.leaf, ek)));
        }
        checks
    }

    fn encoding(&self) -> Result<String, String> {
        certificate::strict(&self.leaf.der)?;
        match self.leaf.unreadable.first() {
            Some(extension) => Err(format!("extension {extension}")),
            None => Ok("strict DER".into()),
        }
    }

    fn end_entity(&self) -> Result<String, String> {
        let signs = |usage: &String| usage == "keyCertSign" || usage == "cRLSign";
        if self.leaf.ca || self.leaf.key_usage.iter().any(signs) {
            return Err("may sign certificates or CRLs".into());
        }
        Ok("an end entity".into())
    }

    /// One mark anywhere is enough: a rehearsal must not pass because somebody left a certificate out of the path.
    fn marked(&self) -> Result<String, String> {
        let mut all = [&self.leaf].into_iter().chain(&self.chain).chain(&self.anchors);
        match (all.find(|c| c.rehearsal), self.rehearsal) {
            (None, _) => Ok("no rehearsal mark in the chain".into()),
            (Some(c), true) => Ok(format!(
                "{} is of a rehearsal; accepted because you said --rehearsal",
                c.short()
            )),
            (Some(c), false) => Err(format!("{} is of a rehearsal", c.short())),
        }
    }

    /// The level the certificate claims is high enough, and every CA on the path may issue under it.
    fn assured(&self, path: &[CertificateView]) -> Result<String, String> {
        let asked = self.level.as_str();
        let Some((level, policy)) = claimed(&self.leaf) else {
            return match self.level {
                Level::None => Ok("none claimed, none asked for".into()),
                _ => Err(format!("no single assurance level in it, asked for at least {asked}")),
            };
        };
        if level < self.level {
            return Err(format!("{}, asked for at least {asked}", level.as_str()));
        }
        // The anchor is trusted as it is (RFC 5280 §6.1.1); the leaf is the claim itself.
        let between = path.get(1..path.len().saturating_sub(1)).unwrap_or_default();
        let may = |ca: &&CertificateView| ca.policies.iter().any(|p| *p == policy || p == ANY_POLICY);
        if let Some(ca) = between.iter().find(|ca| !may(ca)) {
            return Err(format!("{} may not issue under {}", ca.short(), level.as_str()));
        }
        Ok(format!("{}, asked for at least {asked}", level.as_str()))
    }
}

/// anyPolicy (RFC 5280 §4.2.1.4).
const ANY_POLICY: &str = "2.5.29.32.0";

/// The one assurance level a certificate claims and its policy OID; none or several is no level.
fn claimed(certificate: &CertificateView) -> Option<(Level, String)> {
    let levels = [
        (rot::ID_SOFTWARE, Level::Software),
        (rot::ID_VIRTUAL, Level::Virtual),
        (rot::ID_MANUFACTURER_VERIFIED, Level::ManufacturerVerified),
        (rot::ID_HARDWARE_ALLOWLISTED, Level::HardwareAllowlisted),
        (rot::ID_HARDWARE_VERIFIED, Level::HardwareVerified),
    ];
    let mut claimed = levels
        .iter()
        .map(|(oid, level)| (*level, oid.to_string()))
        .filter(|(_, oid)| certificate.policies.contains(oid));
    let first = claimed.next()?;
    claimed.next().is_none().then_some(first)
}

/// The assurance level a certificate claims.
pub(crate) fn level_of(certificate: &CertificateView) -> Option<Level> {
    claimed(certificate).map(|(level, _)| level)
}

impl Level {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Software => "software",
            Self::Virtual => "virtual",
            Self::ManufacturerVerified => "manufacturer-verified",
            Self::HardwareAllowlisted => "hardware-allowlisted",
            Self::HardwareVerified => "hardware-verified",
        }
    }
}
