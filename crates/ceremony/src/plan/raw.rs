//! The TOML as written, and what is wrong with it.

use std::collections::BTreeMap;
use std::path::Path;

use attest::UnixTime;
use issuance::{RevocationReason, Serial, SignatureAlgorithm};
use serde::Deserialize;
use settings::{ConfigError, Source};
use toml::Spanned;

use super::{
    Backup, CertificatePlan, CrlPlan, Input, KeyPlan, MAX_PLAN_BYTES, Officer, Plan, Quorum, Revocation, TokenPlan,
    Work,
};
use crate::{Sha256, calendar};

/// The only format there is.
const FORMAT: &str = "holdfast-ceremony-1";
/// Officers, roles and inputs at most.
const MOST: usize = 16;

type Text = Spanned<String>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPlan {
    format: Text,
    name: Text,
    kind: Text,
    planned: Text,
    place: Text,
    roles: Spanned<Vec<Text>>,
    binary_sha256: Option<Text>,
    token: RawToken,
    key: Spanned<RawKey>,
    quorum: RawQuorum,
    #[serde(default)]
    input: BTreeMap<Text, RawInput>,
    certificate: Option<Spanned<RawCertificate>>,
    crl: Option<Spanned<RawCrl>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawToken {
    serial: Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawKey {
    label: Text,
    id: Text,
    algorithm: Text,
    spki_sha256: Option<Text>,
    backup: Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawQuorum {
    required: Spanned<i64>,
    split_pin: bool,
    shares_of: Option<Text>,
    officer: Spanned<Vec<RawOfficer>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOfficer {
    role: Text,
    key_sha256: Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawInput {
    file: Text,
    sha256: Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCertificate {
    profile: Text,
    organization: Text,
    common_name: Text,
    serial: Text,
    not_before: Text,
    not_after: Text,
    ca_issuers_url: Option<Text>,
    crl_url: Option<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCrl {
    number: Spanned<i64>,
    this_update: Text,
    next_update: Text,
    #[serde(default)]
    revoked: Vec<RawRevocation>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRevocation {
    serial: Text,
    at: Text,
    reason: Text,
}

/// Which inputs a kind takes: (required, allowed beside them).
fn inputs_of(kind: &str) -> Option<(&'static [&'static str], &'static [&'static str])> {
    Some(match kind {
        "root" => (&[], &[]),
        "issuing" => (&["issuer", "request"], &[]),
        "cross" => (&["issuer", "subject"], &[]),
        "crl" => (&["issuer"], &["previous-crl"]),
        "restore" => (&["backup"], &["issuer"]),
        "destroy" => (&[], &["issuer"]),
        _ => return None,
    })
}

pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Plan, ConfigError> {
    if bytes.len() > MAX_PLAN_BYTES {
        return Err(ConfigError::of_file(
            path,
            format!("longer than {MAX_PLAN_BYTES} bytes"),
        ));
    }
    let text = core::str::from_utf8(bytes).map_err(|e| ConfigError::of_file(path, e.to_string()))?;
    let source = Source {
        path: path.to_owned(),
        text: text.to_owned(),
    };
    let raw: RawPlan = source.parse()?;
    Reader { source: &source }.read(raw, Sha256::of(bytes))
}

struct Reader<'a> {
    source: &'a Source,
}

impl Reader<'_> {
    fn wrong<T, V>(&self, value: &Spanned<V>, message: impl Into<String>) -> Result<T, ConfigError> {
        Err(self.source.error(&value.span(), message))
    }

    fn read(&self, raw: RawPlan, sha256: Sha256) -> Result<Plan, ConfigError> {
        if raw.format.get_ref() != FORMAT {
            return self.wrong(&raw.format, format!("the format this program reads is `{FORMAT}`"));
        }
        let kind = raw.kind.get_ref().clone();
        let Some((required, allowed)) = inputs_of(&kind) else {
            return self.wrong(&raw.kind, "one of root, issuing, cross, crl, restore, destroy");
        };
        let name = self.word(&raw.name)?;
        let planned = self.time(&raw.planned)?;
        let place = self.line(&raw.place)?;
        let roles = self.roles(&raw.roles)?;
        let binary = raw.binary_sha256.as_ref().map(|t| self.sha256(t)).transpose()?;
        let token = TokenPlan {
            serial: self.line(&raw.token.serial)?,
        };
        let key = self.key(&raw.key, &kind)?;
        let wrapped = key.backup == Backup::Wrapped && kind == "root";
        let quorum = self.quorum(raw.quorum, &roles, &kind, wrapped)?;
        let inputs = self.inputs(raw.input, &raw.kind, required, allowed)?;
        let work = self.work(&raw.kind, raw.certificate, raw.crl)?;
        Ok(Plan {
            sha256,
            text: self.source.text.clone(),
            name,
            planned,
            place,
            roles,
            binary,
            token,
            quorum,
            key,
            inputs,
            work,
        })
    }

    /// A name that is also part of file names.
    fn word(&self, text: &Text) -> Result<String, ConfigError> {
        match policies::name::profile(text.get_ref()) {
            Ok(()) => Ok(text.get_ref().clone()),
            Err(e) => self.wrong(text, e.to_string()),
        }
    }

    /// One printable line, for paper and screen.
    fn line(&self, text: &Text) -> Result<String, ConfigError> {
        match policies::name::directory_string(text.get_ref()) {
            Ok(()) => Ok(text.get_ref().clone()),
            Err(e) => self.wrong(text, e.to_string()),
        }
    }

    fn time(&self, text: &Text) -> Result<UnixTime, ConfigError> {
        match calendar::parse(text.get_ref()) {
            Some(time) => Ok(time),
            None => self.wrong(text, "not a time like \"2026-12-01T09:00:00Z\" (UTC, an existing day)"),
        }
    }

    fn sha256(&self, text: &Text) -> Result<Sha256, ConfigError> {
        match Sha256::from_hex(text.get_ref()) {
            Some(digest) => Ok(digest),
            None => self.wrong(text, "not a SHA-256: 64 lower-case hex digits"),
        }
    }

    fn serial(&self, text: &Text) -> Result<Serial, ConfigError> {
        let mut octets = [0; 16];
        let read = hex::decode_to_slice(text.get_ref(), &mut octets).ok();
        match read.and_then(|()| Serial::from_octets(octets)) {
            Some(serial) if serial.hex() == *text.get_ref() => Ok(serial),
            _ => self.wrong(
                text,
                "not a serial number of ours: 32 lower-case hex digits, the first from 4 to 7",
            ),
        }
    }

    fn roles(&self, raw: &Spanned<Vec<Text>>) -> Result<Vec<String>, ConfigError> {
        let mut roles: Vec<String> = Vec::new();
        for role in raw.get_ref() {
            let name = self.line(role)?;
            if roles.contains(&name) {
                return self.wrong(role, "this role is there already");
            }
            roles.push(name);
        }
        if roles.first().map(String::as_str) != Some("administrator") || !roles.iter().any(|r| r == "witness") {
            return self.wrong(raw, "the first role is `administrator`, and there is a `witness`");
        }
        if roles.len() > MOST {
            return self.wrong(raw, format!("at most {MOST} roles"));
        }
        Ok(roles)
    }

    fn key(&self, raw: &Spanned<RawKey>, kind: &str) -> Result<KeyPlan, ConfigError> {
        let place = raw;
        let raw = raw.get_ref();
        let id = match hex::decode(raw.id.get_ref()) {
            Ok(id) if !id.is_empty() && id.len() <= 32 && hex::encode(&id) == *raw.id.get_ref() => id,
            _ => return self.wrong(&raw.id, "a CKA_ID: 1 to 32 bytes in lower-case hex"),
        };
        let Some(algorithm) = SignatureAlgorithm::from_text(raw.algorithm.get_ref()) else {
            let names = SignatureAlgorithm::ALL.map(SignatureAlgorithm::as_str).join(", ");
            return self.wrong(&raw.algorithm, format!("one of {names}"));
        };
        let backup = match raw.backup.get_ref().as_str() {
            "none" => Backup::None,
            "vendor" => Backup::Vendor,
            "wrapped" => Backup::Wrapped,
            _ => return self.wrong(&raw.backup, "one of none, vendor, wrapped"),
        };
        let spki = raw.spki_sha256.as_ref().map(|t| self.sha256(t)).transpose()?;
        match (kind, &raw.spki_sha256) {
            ("root", Some(spki)) => return self.wrong(spki, "the key of a root is made by its ceremony"),
            ("root", None) => {}
            (_, None) => return self.wrong(place, "spki_sha256 is missing: which key is meant"),
            (_, Some(_)) => {}
        }
        Ok(KeyPlan {
            label: self.line(&raw.label)?,
            id,
            algorithm,
            spki,
            backup,
        })
    }

    fn quorum(&self, raw: RawQuorum, roles: &[String], kind: &str, wrapped: bool) -> Result<Quorum, ConfigError> {
        // A restored token gets a PIN of its own; its key comes out of shares that are there already.
        let typed = kind == "restore" || (raw.split_pin && kind != "root");
        let shares_of = raw.shares_of.as_ref().map(|name| self.word(name)).transpose()?;
        match (&raw.shares_of, typed) {
            (None, true) => {
                return self.wrong(
                    &raw.required,
                    "shares_of is missing: the name of the ceremony that made the shares which are typed",
                );
            }
            (Some(extra), false) => return self.wrong(extra, "no shares are typed in this ceremony"),
            _ => {}
        }
        if (raw.split_pin || wrapped) && *raw.required.get_ref() < 2 {
            return self.wrong(
                &raw.required,
                "a secret is split among people of whom at least two are needed",
            );
        }
        let mut officers: Vec<Officer> = Vec::new();
        for officer in raw.officer.get_ref() {
            let role = self.line(&officer.role)?;
            let key = self.sha256(&officer.key_sha256)?;
            if roles.contains(&role) || officers.iter().any(|o| o.role == role) {
                return self.wrong(&officer.role, "this role is there already");
            }
            if officers.iter().any(|o| o.key == key) {
                return self.wrong(&officer.key_sha256, "another officer has this key");
            }
            officers.push(Officer { role, key });
        }
        if officers.len() > MOST {
            return self.wrong(&raw.officer, format!("at most {MOST} officers"));
        }
        match usize::try_from(*raw.required.get_ref()) {
            Ok(required) if required >= 1 && required <= officers.len() => Ok(Quorum {
                required,
                officers,
                split_pin: raw.split_pin,
                shares_of,
            }),
            _ => self.wrong(
                &raw.required,
                format!("from 1 to the number of officers, {}", officers.len()),
            ),
        }
    }

    fn inputs(
        &self,
        raw: BTreeMap<Text, RawInput>,
        kind: &Text,
        required: &[&str],
        allowed: &[&str],
    ) -> Result<Vec<Input>, ConfigError> {
        let mut inputs: Vec<Input> = Vec::new();
        for (name, input) in raw {
            if !required.contains(&name.get_ref().as_str()) && !allowed.contains(&name.get_ref().as_str()) {
                return self.wrong(&name, format!("a `{}` ceremony has no such input", kind.get_ref()));
            }
            let file = input.file.get_ref();
            let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            if file.is_empty() || file.len() > 64 || file.starts_with('.') || !file.chars().all(safe) {
                return self.wrong(
                    &input.file,
                    "a file name without folder: up to 64 of letters, digits and .-_",
                );
            }
            if inputs.iter().any(|other| other.file == *file) {
                return self.wrong(&input.file, "another input has this file");
            }
            inputs.push(Input {
                name: name.into_inner(),
                file: file.clone(),
                sha256: self.sha256(&input.sha256)?,
            });
        }
        if let Some(missing) = required.iter().find(|r| !inputs.iter().any(|i| i.name == **r)) {
            return self.wrong(kind, format!("[input.{missing}] is missing"));
        }
        Ok(inputs)
    }

    fn work(
        &self,
        kind: &Text,
        certificate: Option<Spanned<RawCertificate>>,
        crl: Option<Spanned<RawCrl>>,
    ) -> Result<Work, ConfigError> {
        let word = kind.get_ref().as_str();
        match (word, &certificate) {
            ("root" | "issuing" | "cross", None) => return self.wrong(kind, "[certificate] is missing"),
            ("crl" | "restore" | "destroy", Some(extra)) => {
                return self.wrong(extra, "this kind of ceremony makes no certificate");
            }
            _ => {}
        }
        match (word, &crl) {
            ("crl", None) => return self.wrong(kind, "[crl] is missing"),
            ("issuing" | "cross" | "restore" | "destroy", Some(extra)) => {
                return self.wrong(extra, "this kind of ceremony makes no CRL");
            }
            _ => {}
        }
        let certificate = certificate.map(|c| self.certificate(c.get_ref(), word)).transpose()?;
        let crl = crl.map(|c| self.crl(c.get_ref())).transpose()?;
        Ok(match (word, certificate, crl) {
            ("root", Some(certificate), crl) => Work::Root { certificate, crl },
            ("issuing", Some(certificate), _) => Work::Issuing { certificate },
            ("cross", Some(certificate), _) => Work::Cross { certificate },
            ("crl", _, Some(crl)) => Work::Crl { crl },
            ("restore", ..) => Work::Restore,
            _ => Work::Destroy,
        })
    }

    fn certificate(&self, raw: &RawCertificate, kind: &str) -> Result<CertificatePlan, ConfigError> {
        let url = |text: &Option<Text>| -> Result<Option<String>, ConfigError> {
            let Some(text) = text else { return Ok(None) };
            if kind == "root" {
                return self.wrong(text, "a root points nowhere: it has no issuer");
            }
            Ok(Some(text.get_ref().clone()))
        };
        Ok(CertificatePlan {
            profile: self.word(&raw.profile)?,
            organization: self.line(&raw.organization)?,
            common_name: self.line(&raw.common_name)?,
            serial: self.serial(&raw.serial)?,
            not_before: self.time(&raw.not_before)?,
            not_after: self.time(&raw.not_after)?,
            ca_issuers_url: url(&raw.ca_issuers_url)?,
            crl_url: url(&raw.crl_url)?,
        })
    }

    fn crl(&self, raw: &RawCrl) -> Result<CrlPlan, ConfigError> {
        let number = match u64::try_from(*raw.number.get_ref()) {
            Ok(number) if number >= 1 => number,
            _ => return self.wrong(&raw.number, "a CRL number is 1 or greater"),
        };
        let mut revoked: Vec<Revocation> = Vec::new();
        for line in &raw.revoked {
            let serial = self.serial(&line.serial)?;
            if revoked.iter().any(|r| r.serial == serial) {
                return self.wrong(&line.serial, "this serial is there already");
            }
            let Some(reason) = RevocationReason::from_text(line.reason.get_ref()) else {
                let names = RevocationReason::ALL.map(RevocationReason::as_str).join(", ");
                return self.wrong(&line.reason, format!("one of {names}"));
            };
            revoked.push(Revocation {
                serial,
                at: self.time(&line.at)?,
                reason,
            });
        }
        Ok(CrlPlan {
            number,
            this_update: self.time(&raw.this_update)?,
            next_update: self.time(&raw.next_update)?,
            revoked,
        })
    }
}
