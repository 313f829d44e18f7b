//! `ca-cli device allow NAME`.

use wire::admin::{AllowDevice, Device, EkKind};

use crate::admin::Client;
use crate::cli::device::Allow;
use crate::cli::trust::KindName;
use crate::endorsement::EkKey;
use crate::exit::Failure;
use crate::output::{Report, clean, field, fields};
use crate::words;

pub(super) fn run(arguments: &Allow) -> Result<Report, Failure> {
    let ek = arguments.ek.as_deref().map(EkKey::detect).transpose()?;
    let iak = arguments.iak.as_deref().map(EkKey::detect).transpose()?;
    let body = AllowDevice {
        iak_spki_sha256: iak.as_ref().map(|iak| iak.sha256.clone()),
        name: arguments.name.clone(),
        ek_spki_sha256: ek.as_ref().map(|ek| ek.sha256.clone()),
        ek_kind: arguments.vouch.map(|kind| match kind {
            KindName::Hardware => EkKind::Hardware,
            KindName::Virtual => EkKind::Virtual,
            KindName::Software => EkKind::Software,
        }),
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
        "schema": "holdfast.device.v1", "device": device, "ek_read_as": ek.as_ref().map(|ek| ek.form),
        "iak_read_as": iak.as_ref().map(|iak| iak.form) });
    Ok(Report::new(json, move |style| {
        let mut text = format!(
            "{} {} is in the inventory ({})\n",
            style.tick(true),
            clean(&device.name),
            clean(&device.state)
        );
        match (&ek, body.first_contact_until) {
            (Some(ek), _) => text.push_str(&fields(&[
                ("EK sha256", ek.sha256.clone()),
                ("read as", ek.form.into()),
            ])),
            (None, _) if iak.is_some() => {}
            (None, until) => {
                let until = until.map(words::rfc3339).unwrap_or_default();
                text.push_str(&format!(
                    "The first genuine TPM that claims this name before\n{until} is bound to it.\n"
                ));
            }
        }
        if let Some(kind) = body.ek_kind {
            text.push_str(&field(
                "vouched",
                11,
                match kind {
                    EkKind::Hardware => "for a hardware TPM without a certificate: hardware-allowlisted",
                    EkKind::Virtual => "for a virtual TPM without a certificate: virtual",
                    EkKind::Software => "for a software TPM: software, in rehearsals only",
                },
            ));
        }
        if body.ek_kind.is_some() {
            // A certificate that the TPM shows is judged: nobody can vouch it away.
            text.push_str(match &ek {
                Some(ek) if ek.is_certificate() => {
                    "This TPM has a certificate: the word counts only if it shows none. Of a maker you do\n\
                     not trust yet: ca-cli trust tpm try FILE; or let it come, and: ca-cli enrollment review\n"
                }
                _ => {
                    "The word counts only if the TPM shows no certificate. One of a maker you do not trust\n\
                     yet is decided about with: ca-cli enrollment review\n"
                }
            });
        }
        let mut via = "";
        if let Some(iak) = &iak {
            text.push_str(&fields(&[
                ("IAK sha256", iak.sha256.clone()),
                ("read as", iak.form.into()),
            ]));
            via = " --via iak";
        }
        text.push_str(&format!(
            "next, on the device\n  ca-agent enroll --server URL --root-sha256 FINGERPRINT{via} --device {}\n",
            clean(&device.name)
        ));
        text
    }))
}
