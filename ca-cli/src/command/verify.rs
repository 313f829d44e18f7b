//! `ca-cli verify FILE`: chain, validity, binding, level; each check says what it found.

use openssl::stack::Stack;
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::verify::{X509VerifyFlags, X509VerifyParam};
use openssl::x509::{X509, X509StoreContext};
use serde::Serialize;

use crate::certificate::{self, CertificateView};
use crate::cli::{Level, Verify};
use crate::exit::{Exit, Failure};
use crate::output::Report;
use crate::words;

/// One check.
#[derive(Debug, Clone, Serialize)]
struct Check {
    id: &'static str,
    ok: bool,
    found: String,
    clause: &'static str,
}

/// What the checks look at.
struct Question<'a> {
    leaf: &'a CertificateView,
    chain: &'a [CertificateView],
    anchors: &'a [CertificateView],
    at: i64,
    level: Level,
    ek_certificate: Option<Vec<u8>>,
    rehearsal: bool,
}

pub(super) fn run(arguments: &Verify) -> Result<Report, Failure> {
    let mut certificates = certificate::load(&arguments.file)?;
    let mut chain = certificates.split_off(1);
    for path in &arguments.untrusted {
        chain.extend(certificate::load(path)?);
    }
    let mut anchors = Vec::new();
    for path in &arguments.trust {
        anchors.extend(certificate::load(path)?);
    }
    let leaf = certificates
        .pop()
        .ok_or_else(|| Failure::new(Exit::Usage, "no certificate to verify"))?;
    let at = arguments.at.unwrap_or_else(words::now);
    let ek_certificate = arguments.ek_certificate.as_deref().map(single).transpose()?;
    let question = Question {
        leaf: &leaf,
        chain: &chain,
        anchors: &anchors,
        at,
        level: arguments.level,
        ek_certificate,
        rehearsal: arguments.rehearsal,
    };
    let checks = question.checks();
    let valid = checks.iter().all(|c| c.ok);
    let json = serde_json::json!({
        "schema": "holdfast.verification.v1",
        "verdict": if valid { "valid" } else { "refused" },
        "at": words::rfc3339(at),
        "level": level_of(&leaf).map(Level::as_str),
        "checks": checks,
        "certificate": leaf,
    });
    let explain = arguments.explain;
    let report = Report::new(json, move |style| {
        let mut text = String::new();
        for check in &checks {
            text.push_str(&format!("{} {:<12}{}\n", style.tick(check.ok), check.id, check.found));
            if explain {
                text.push_str(&format!("               {}\n", check.clause));
            }
        }
        let refused: Vec<&str> = checks.iter().filter(|c| !c.ok).map(|c| c.id).collect();
        text + &if valid {
            "valid".to_owned()
        } else {
            format!("refused: {}", refused.join(", "))
        }
    });
    Ok(report.exit(if valid { Exit::Done } else { Exit::No }))
}

/// DER of the one certificate in a file. It is compared, not read: an EK certificate may be as odd as its vendor.
fn single(path: &std::path::Path) -> Result<Vec<u8>, Failure> {
    let bad = |detail: &str| Failure::new(Exit::Usage, format!("{}: {detail}", path.display()));
    let mut found = certificate::split(&crate::exit::read(path)?).map_err(|e| bad(&e))?;
    match (found.pop(), found.is_empty()) {
        (Some(der), true) => Ok(der),
        (Some(_), false) => Err(bad("more than one certificate in it")),
        (None, _) => Err(bad("no certificate in it (PEM or DER)")),
    }
}

impl Level {
    fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Software => "software",
            Self::Virtual => "virtual",
            Self::HardwareAllowlisted => "hardware-allowlisted",
            Self::HardwareVerified => "hardware-verified",
        }
    }
}

/// The one assurance level a certificate claims; none or several is no level.
fn level_of(certificate: &CertificateView) -> Option<Level> {
    use attest::rot;
    let levels = [
        (rot::ID_SOFTWARE, Level::Software),
        (rot::ID_VIRTUAL, Level::Virtual),
        (rot::ID_HARDWARE_ALLOWLISTED, Level::HardwareAllowlisted),
        (rot::ID_HARDWARE_VERIFIED, Level::HardwareVerified),
    ];
    let mut claimed = levels
        .iter()
        .filter(|(oid, _)| certificate.policies.contains(&oid.to_string()));
    match (claimed.next(), claimed.next()) {
        (Some((_, level)), None) => Some(*level),
        _ => None,
    }
}

impl Question<'_> {
    fn checks(&self) -> Vec<Check> {
        let mut checks = vec![
            self.encoding(),
            self.chain(),
            self.end_entity(),
            self.rehearsal(),
            self.level(),
        ];
        if self.leaf.rot_binding.is_some() || self.level != Level::None {
            checks.push(self.binding());
        }
        checks.extend(self.ek());
        checks
    }

    fn encoding(&self) -> Check {
        let result = certificate::strict(&self.leaf.der);
        let found = result.as_ref().map_or_else(Clone::clone, |()| "strict DER".to_owned());
        Check {
            id: "encoding",
            ok: result.is_ok(),
            found,
            clause: "RFC 5280 §4.1, X.690 §10",
        }
    }

    fn chain(&self) -> Check {
        let (ok, found) = match self.path() {
            Ok(path) => (true, format!("{} at {}", path.join(" <- "), words::rfc3339(self.at))),
            Err(error) => (false, error),
        };
        Check {
            id: "chain",
            ok,
            found,
            clause: "RFC 5280 §6.1",
        }
    }

    /// Path from an anchor to the leaf by OpenSSL, strict.
    fn path(&self) -> Result<Vec<String>, String> {
        let parse = |view: &CertificateView| X509::from_der(&view.der).map_err(|e| e.to_string());
        let built = || -> Result<(bool, String, Vec<String>), openssl::error::ErrorStack> {
            let mut store = X509StoreBuilder::new()?;
            for anchor in self.anchors {
                store.add_cert(X509::from_der(&anchor.der)?)?;
            }
            let mut parameters = X509VerifyParam::new()?;
            parameters.set_flags(X509VerifyFlags::X509_STRICT | X509VerifyFlags::CHECK_SS_SIGNATURE)?;
            parameters.set_auth_level(2);
            parameters.set_time(self.at);
            store.set_param(&parameters)?;
            let store = store.build();
            let mut untrusted = Stack::new()?;
            for certificate in self.chain {
                untrusted.push(X509::from_der(&certificate.der)?)?;
            }
            let leaf = X509::from_der(&self.leaf.der)?;
            let mut context = X509StoreContext::new()?;
            context.init(&store, &leaf, &untrusted, |context| {
                let ok = context.verify_cert()?;
                let names = context
                    .chain()
                    .map(|chain| chain.iter().filter_map(|c| c.to_der().ok()).collect());
                let names: Vec<Vec<u8>> = names.unwrap_or_default();
                let mut path: Vec<String> = names
                    .iter()
                    .filter_map(|der| CertificateView::read(der).ok())
                    .map(|v| short(&v))
                    .collect();
                path.reverse();
                Ok((ok, context.error().to_string(), path))
            })
        };
        parse(self.leaf)?;
        match built() {
            Ok((true, _, path)) => Ok(path),
            Ok((false, error, _)) => Err(error),
            Err(error) => Err(error.to_string()),
        }
    }

    fn end_entity(&self) -> Check {
        let ok = !self.leaf.ca && !self.leaf.key_usage.iter().any(|u| u == "keyCertSign" || u == "cRLSign");
        let found = if ok {
            "an end entity".to_owned()
        } else {
            "may sign certificates or CRLs".to_owned()
        };
        Check {
            id: "end-entity",
            ok,
            found,
            clause: "RFC 5280 §4.2.1.3, §4.2.1.9",
        }
    }

    fn rehearsal(&self) -> Check {
        let marked = [self.leaf]
            .into_iter()
            .chain(self.chain)
            .chain(self.anchors)
            .find(|c| c.rehearsal);
        let (ok, found) = match (marked, self.rehearsal) {
            (None, _) => (true, "no rehearsal mark in the chain".to_owned()),
            (Some(c), true) => (
                true,
                format!("{} is of a rehearsal; accepted because you said --rehearsal", short(c)),
            ),
            (Some(c), false) => (false, format!("{} is of a rehearsal", short(c))),
        };
        Check {
            id: "rehearsal",
            ok,
            found,
            clause: "Holdfast docs/reference/rot-binding.md",
        }
    }

    fn level(&self) -> Check {
        let claimed = level_of(self.leaf);
        let ok = self.level == Level::None || claimed.is_some_and(|level| level >= self.level);
        let found = match claimed {
            Some(level) => format!("{}, asked for at least {}", level.as_str(), self.level.as_str()),
            None => format!(
                "no single assurance level in it, asked for at least {}",
                self.level.as_str()
            ),
        };
        Check {
            id: "level",
            ok,
            found,
            clause: "Holdfast docs/reference/profiles.md; RFC 5280 §4.2.1.4",
        }
    }

    fn binding(&self) -> Check {
        let (ok, found) = match self.bound() {
            Ok(found) => (true, found),
            Err(found) => (false, found),
        };
        Check {
            id: "binding",
            ok,
            found,
            clause: "Holdfast docs/reference/rot-binding.md; ISO/IEC 27071 §6.4",
        }
    }

    fn bound(&self) -> Result<String, String> {
        use attest::rot;
        let rot = self.leaf.rot_binding.as_ref().ok_or("no RoT-binding extension")?;
        if rot.version != 1 {
            return Err(format!("RoT-binding of unknown version {}", rot.version));
        }
        if rot.ek_spki_sha256.len() != 64 || rot.evidence_sha256.len() != 64 {
            return Err("a digest in the RoT-binding has the wrong length".into());
        }
        let names_fit = [&rot.ak_name, &rot.ik_name].iter().all(|name| {
            matches!(
                (name.get(..4), name.len()),
                (Some("000b"), 68) | (Some("000c"), 100) | (Some("000d"), 132)
            )
        });
        if !names_fit {
            return Err("a Name in the RoT-binding is not nameAlg and digest".into());
        }
        let has = |oid: der::asn1::ObjectIdentifier| self.leaf.policies.contains(&oid.to_string());
        let attestation = rot.ak_name == rot.ik_name;
        if !has(rot::TCG_VERIFIED_TPM_RESIDENCY) {
            return Err("the certificate does not say verifiedTPMResidency".into());
        }
        if attestation != has(rot::TCG_VERIFIED_TPM_RESTRICTED) || attestation == has(rot::TCG_VERIFIED_TPM_FIXED) {
            return Err("Names and TCG policies disagree on whether this is an attestation key".into());
        }
        let role = if attestation { "attestation key" } else { "identity key" };
        Ok(format!(
            "{role} of the {} with EK sha256 {}",
            rot.kind, rot.ek_spki_sha256
        ))
    }

    /// The EK certificate a person holds against the names in the certificate.
    fn ek(&self) -> Option<Check> {
        let digest = hex::encode(openssl::sha::sha256(self.ek_certificate.as_ref()?));
        let named = self.leaf.ek_certificate_sha256.as_deref();
        let found = match named {
            Some(named) if named == digest => format!("is the EK certificate given, sha256 {digest}"),
            Some(named) => format!("names EK certificate {named}, given is {digest}"),
            None => "names no EK certificate".to_owned(),
        };
        Some(Check {
            id: "ek",
            ok: named == Some(&digest),
            found,
            clause: "TCG DevID profile; RFC 4043",
        })
    }
}

/// A certificate in few words.
fn short(view: &CertificateView) -> String {
    let wanted = ["CN=", "serialNumber="];
    let part = wanted
        .iter()
        .find_map(|w| view.subject.split(", ").find_map(|p| p.strip_prefix(w)));
    part.map_or_else(
        || {
            view.subject_alternative_names
                .first()
                .cloned()
                .unwrap_or_else(|| view.serial.clone())
        },
        str::to_owned,
    )
}
