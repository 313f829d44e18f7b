//! A new plan, with a comment for every key. What is not known yet stands there as words, which the reader of plans
//! refuses with their place: nothing is forgotten.

use core::fmt::Write as _;

use attest::UnixTime;
use issuance::{Serial, SignatureAlgorithm};

use crate::calendar::{DAY, date, show, weekday};
use crate::{Backup, Sha256};

/// What is known of a plan to be written; empty where people fill it in.
#[derive(Clone, Debug)]
pub struct NewPlan {
    /// `root`, `issuing`, `cross`, `crl`, `restore` or `destroy`.
    pub kind: String,
    /// Name of the ceremony.
    pub name: String,
    /// When.
    pub planned: UnixTime,
    /// Where.
    pub place: String,
    /// SHA-256 of the program.
    pub binary: Option<Sha256>,
    /// Serial number of the token.
    pub token: Option<String>,
    /// CKA_LABEL.
    pub label: String,
    /// CKA_ID.
    pub id: Vec<u8>,
    /// Algorithm.
    pub algorithm: SignatureAlgorithm,
    /// SHA-256 of the key's SubjectPublicKeyInfo.
    pub spki: Option<Sha256>,
    /// Backup.
    pub backup: Backup,
    /// Officers: role, and the SHA-256 of the key.
    pub officers: Vec<(String, Option<Sha256>)>,
    /// How many of them.
    pub required: usize,
    /// Whether the PIN is split among them.
    pub split_pin: bool,
    /// Name of the ceremony that made the shares which are typed; where some are.
    pub shares_of: Option<String>,
    /// Inputs: name, file, SHA-256.
    pub inputs: Vec<(String, String, Option<Sha256>)>,
    /// Certificate.
    pub certificate: Option<NewCertificate>,
    /// CRL: number, thisUpdate, nextUpdate.
    pub crl: Option<(u64, UnixTime, UnixTime)>,
}

/// What is known of its certificate.
#[derive(Clone, Debug)]
pub struct NewCertificate {
    /// Profile.
    pub profile: String,
    /// Organization.
    pub organization: Option<String>,
    /// Common name.
    pub common_name: Option<String>,
    /// Drawn now.
    pub serial: Serial,
    /// First second.
    pub not_before: UnixTime,
    /// Last second.
    pub not_after: UnixTime,
    /// caIssuers URL; `Some(None)` where one must be filled in.
    pub ca_issuers_url: Option<Option<String>>,
    /// CRL URL; `Some(None)` where one must be filled in.
    pub crl_url: Option<Option<String>>,
}

/// Stands where something is to be filled in.
pub const FILL_IN: &str = "FILL IN";

/// The last second of a lifetime of `seconds` from `first` on, or the last one before it that ends neither on a weekend
/// nor on a leap day.
#[must_use]
pub fn good_end(first: UnixTime, seconds: i64) -> UnixTime {
    let mut last = first.0.saturating_add(seconds).saturating_sub(1);
    for _ in 0..7 {
        let time = UnixTime(last);
        let leap = date(time).is_some_and(|d| d.month() == 2 && d.day() == 29);
        if !leap && !matches!(weekday(time), "Saturday" | "Sunday") {
            break;
        }
        last = last.saturating_sub(DAY);
    }
    UnixTime(last)
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn or_fill_in(text: Option<String>) -> String {
    quoted(&text.unwrap_or_else(|| FILL_IN.to_owned()))
}

/// The TOML.
#[must_use]
pub fn write(new: &NewPlan) -> String {
    let mut out = String::new();
    head(new, &mut out);
    key(new, &mut out);
    quorum(new, &mut out);
    for (name, file, sha256) in &new.inputs {
        let _ = write!(
            out,
            "\n# A file that goes in, in the folder inputs/ of the medium.\n[input.{name}]\nfile = {}\n# sha256sum {file}\nsha256 = {}\n",
            quoted(file),
            or_fill_in(sha256.map(|s| s.to_string()))
        );
    }
    if let Some(wanted) = &new.certificate {
        certificate(wanted, &mut out);
    }
    if let Some((number, this, next)) = new.crl {
        let _ = write!(
            out,
            "\n[crl]\n# Greater than that of every CRL of this CA before.\nnumber = {number}\nthis_update = {}\n\
             # The next one must be out by then. A root: a year at most.\nnext_update = {}\n\
             # Every certificate of this CA that is revoked, those of earlier CRLs too:\n\
             # [[crl.revoked]]\n# serial = \"40...\"   # 32 hex digits\n# at = \"2026-12-01T00:00:00Z\"\n# reason = \"cACompromise\"\n",
            quoted(&show(this)),
            quoted(&show(next))
        );
    }
    out
}

fn head(new: &NewPlan, out: &mut String) {
    let _ = write!(
        out,
        "# The plan of a ceremony. Fill in, then: ca-cli ceremony lint FILE\n\
         # From its approval on, not one byte of it changes: its hash is on every sheet.\n\
         format = \"holdfast-ceremony-1\"\n\
         # Small letters, digits and hyphens; names the files.\n\
         name = {}\n\
         # root, issuing, cross, crl, restore, destroy\n\
         kind = {}\n\
         # When it is held, UTC.\n\
         planned = {}\n\
         place = {}\n\
         # Roles to be filled on the day, beside the officers: the administrator acts,\n\
         # the witness compares.\n\
         roles = [\"administrator\", \"witness\"]\n",
        quoted(&new.name),
        quoted(&new.kind),
        quoted(&show(new.planned)),
        quoted(&new.place)
    );
    match new.binary {
        Some(binary) => {
            let _ = write!(
                out,
                "# The program that performs it: sha256sum ca-cli\nbinary_sha256 = \"{binary}\"\n"
            );
        }
        None => out.push_str(
            "# The program that performs it: sha256sum ca-cli. A rehearsal does without.\n# binary_sha256 = \"...\"\n",
        ),
    }
    let _ = write!(
        out,
        "\n[token]\n# Serial number, as `ca-cli hsm probe` shows it.\nserial = {}\n",
        or_fill_in(new.token.clone())
    );
}

fn key(new: &NewPlan, out: &mut String) {
    let _ = write!(
        out,
        "\n[key]\n# CKA_LABEL and CKA_ID (hex): no other key of the token has them.\nlabel = {}\nid = {}\nalgorithm = {}\n",
        quoted(&new.label),
        quoted(&hex::encode(&new.id)),
        quoted(new.algorithm.as_str())
    );
    if new.kind != "root" {
        let _ = write!(
            out,
            "# Which key: SHA-256 of its SubjectPublicKeyInfo.\nspki_sha256 = {}\n",
            or_fill_in(new.spki.map(|s| s.to_string()))
        );
    }
    let _ = write!(
        out,
        "# none: it never leaves; vendor: by the vendor's procedure, by hand;\n\
         # wrapped: by a wrap-only key.\nbackup = {}\n",
        quoted(new.backup.as_str())
    );
}

fn quorum(new: &NewPlan, out: &mut String) {
    let _ = write!(
        out,
        "\n[quorum]\n# How many of the officers must approve.\nrequired = {}\n\
         # Whether the token's PIN is split among them, as many together as are required.\nsplit_pin = {}\n",
        new.required, new.split_pin
    );
    if let Some(name) = &new.shares_of {
        let _ = write!(
            out,
            "# The ceremony that made the shares which are typed in this one.\nshares_of = {}\n",
            quoted(name)
        );
    }
    for (role, key) in &new.officers {
        let _ = write!(
            out,
            "\n[[quorum.officer]]\nrole = {}\n# SHA-256 of the SubjectPublicKeyInfo of the officer's key.\nkey_sha256 = {}\n",
            quoted(role),
            or_fill_in(key.map(|k| k.to_string()))
        );
    }
}

fn certificate(wanted: &NewCertificate, out: &mut String) {
    let _ = write!(
        out,
        "\n[certificate]\nprofile = {}\norganization = {}\ncommon_name = {}\n\
         # Drawn at random when this file was written: so the bytes to be signed are\n\
         # known beforehand.\nserial = \"{}\"\n\
         # First and last second, UTC.\nnot_before = {}\nnot_after = {}\n",
        quoted(&wanted.profile),
        or_fill_in(wanted.organization.clone()),
        or_fill_in(wanted.common_name.clone()),
        wanted.serial.hex(),
        quoted(&show(wanted.not_before)),
        quoted(&show(wanted.not_after))
    );
    if let Some(url) = &wanted.ca_issuers_url {
        let _ = write!(
            out,
            "# Where the issuer's own certificate is found: plain http, never changed again.\nca_issuers_url = {}\n",
            or_fill_in(url.clone())
        );
    }
    if let Some(url) = &wanted.crl_url {
        let _ = write!(
            out,
            "# Where the issuer's CRL is found, which could revoke this certificate.\ncrl_url = {}\n",
            or_fill_in(url.clone())
        );
    }
}
