//! `ca-cli device allow NAME`.

use attest::tpm::TpmtPublic;
use wire::admin::{AllowDevice, Device};

use crate::admin::Client;
use crate::cli::Allow;
use crate::exit::{Exit, Failure};
use crate::output::{Report, clean};
use crate::words;

pub(super) fn run(arguments: &Allow) -> Result<Report, Failure> {
    let ek = arguments.ek.as_deref().map(EkKey::detect).transpose()?;
    let body = AllowDevice {
        name: arguments.name.clone(),
        ek_spki_sha256: ek.as_ref().map(|ek| ek.sha256.clone()),
        first_contact_until: arguments
            .first_contact
            .map(|seconds| words::now().saturating_add(seconds)),
        dns_names: arguments.dns.clone(),
        spiffe_id: arguments.spiffe.clone(),
        batch: arguments.batch.clone(),
        reason: arguments.reason.clone(),
    };
    let device: Device = Client::new(&arguments.admin).post("/v1/devices", &body)?;
    let json = serde_json::json!({
        "schema": "holdfast.device.v1", "device": device, "ek_read_as": ek.as_ref().map(|ek| ek.form) });
    Ok(Report::new(json, move |style| {
        let mut text = format!(
            "{} {} is in the inventory ({})\n",
            style.tick(true),
            clean(&device.name),
            clean(&device.state)
        );
        match (&ek, body.first_contact_until) {
            (Some(ek), _) => text.push_str(&format!("  EK  {} (read as {})\n", ek.sha256, ek.form)),
            (None, until) => {
                let until = until.map(words::rfc3339).unwrap_or_default();
                text.push_str(&format!(
                    "  the first genuine TPM that claims this name before {until} is bound to it\n"
                ));
            }
        }
        text.push_str(&format!(
            "next: on the device\n  ca-agent enroll --server URL --root-sha256 FINGERPRINT --device {}\n",
            clean(&device.name)
        ));
        text
    }))
}

/// An EK in one of the forms people have, as the hash the inventory keeps.
#[derive(Debug, PartialEq, Eq)]
struct EkKey {
    /// SHA-256 of the SubjectPublicKeyInfo, lower-case hex.
    sha256: String,
    /// What it was read as.
    form: &'static str,
}

impl EkKey {
    /// Detect the form: a hash, or a file that holds a certificate, a public key or a TPM structure.
    fn detect(text: &str) -> Result<Self, Failure> {
        let compact: String = text.chars().filter(|c| !c.is_whitespace() && *c != ':').collect();
        if compact.len() == 64 && compact.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Ok(Self {
                sha256: compact.to_ascii_lowercase(),
                form: "SHA-256 of the SubjectPublicKeyInfo",
            });
        }
        let bytes = crate::exit::read(std::path::Path::new(text))?;
        Self::from_bytes(&bytes).ok_or_else(|| {
            Failure::new(Exit::Usage, format!("{text}: no endorsement key recognised in it")).fix(
                "give a certificate or public key (PEM or DER), a TPM2B_PUBLIC or TPMT_PUBLIC, or the hash that\n`ca-agent identify` prints",
            )
        })
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        use openssl::pkey::PKey;
        use openssl::x509::X509;
        let hash = |spki: &[u8]| hex::encode(openssl::sha::sha256(spki));
        let pem = X509::from_pem(bytes).and_then(|c| c.to_der()).ok();
        let certificate = pem.as_deref().unwrap_or(bytes);
        if let Ok(spki) = X509::from_der(certificate)
            .and_then(|c| c.public_key())
            .and_then(|k| k.public_key_to_der())
        {
            return Some(Self {
                sha256: hash(&spki),
                form: "an EK certificate",
            });
        }
        let key = PKey::public_key_from_pem(bytes).or_else(|_| PKey::public_key_from_der(bytes));
        if let Ok(spki) = key.and_then(|k| k.public_key_to_der()) {
            return Some(Self {
                sha256: hash(&spki),
                form: "a SubjectPublicKeyInfo",
            });
        }
        let tpm2b = bytes
            .split_first_chunk::<2>()
            .and_then(|(size, rest)| (usize::from(u16::from_be_bytes(*size)) == rest.len()).then_some(rest));
        let (area, form) = match tpm2b {
            Some(area) => (area, "a TPM2B_PUBLIC"),
            None => (bytes, "a TPMT_PUBLIC"),
        };
        let spki = TpmtPublic::parse(area).ok()?.spki().ok()?;
        Some(Self {
            sha256: hash(&spki),
            form,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_taken_in_any_grouping() {
        let hash = "AB".repeat(32);
        let grouped: String = hash
            .as_bytes()
            .chunks(4)
            .map(|c| String::from_utf8_lossy(c) + " ")
            .collect();
        for text in [hash.as_str(), grouped.as_str()] {
            assert_eq!(EkKey::detect(text).unwrap().sha256, "ab".repeat(32));
        }
    }

    #[test]
    fn one_key_in_every_form_is_one_device() {
        let group = openssl::ec::EcGroup::from_curve_name(openssl::nid::Nid::X9_62_PRIME256V1).unwrap();
        let key = openssl::ec::EcKey::generate(&group).unwrap();
        let (mut x, mut y) = (openssl::bn::BigNum::new().unwrap(), openssl::bn::BigNum::new().unwrap());
        let mut context = openssl::bn::BigNumContext::new().unwrap();
        key.public_key()
            .affine_coordinates(&group, &mut x, &mut y, &mut context)
            .unwrap();
        // L-2 (TCG EK Credential Profile): PolicyA, AES-128-CFB, P-256.
        let mut area = hex::decode(
            "0023000b000300b20020837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa00060080004300100003001000",
        )
        .unwrap();
        area.push(0x20);
        area.extend(x.to_vec_padded(32).unwrap());
        area.extend([0, 0x20]);
        area.extend(y.to_vec_padded(32).unwrap());
        let mut tpm2b = u16::try_from(area.len()).unwrap().to_be_bytes().to_vec();
        tpm2b.extend(&area);
        let key = openssl::pkey::PKey::from_ec_key(key).unwrap();
        let spki = key.public_key_to_der().unwrap();
        let expected = hex::encode(openssl::sha::sha256(&spki));
        let pem = key.public_key_to_pem().unwrap();
        for (bytes, form) in [
            (&spki, "a SubjectPublicKeyInfo"),
            (&pem, "a SubjectPublicKeyInfo"),
            (&area, "a TPMT_PUBLIC"),
            (&tpm2b, "a TPM2B_PUBLIC"),
        ] {
            assert_eq!(
                EkKey::from_bytes(bytes),
                Some(EkKey {
                    sha256: expected.clone(),
                    form
                })
            );
        }
        assert_eq!(EkKey::from_bytes(b"nothing of the kind"), None);
    }
}
