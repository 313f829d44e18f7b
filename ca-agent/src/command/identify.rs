//! `ca-agent identify`: who this device is, and the line that lets it in.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use qrcode::{EcLevel, QrCode};

use super::{Said, open};
use crate::config::Config;
use crate::error::AgentError;
use crate::tpm::{EkChoice, Endorsement, TpmError, TpmFacts};
use crate::words::clean;

/// One endorsement, looked at.
struct Seen {
    endorsement: Endorsement,
    public: Vec<u8>,
    spki_sha256: String,
    persistent: Option<u32>,
}

pub(super) fn run(config: &Config, qr: bool, choice: Option<EkChoice>) -> Result<Said, AgentError> {
    let choice = config.ek(choice);
    let tpm = open(config)?;
    let (facts, seen, chosen) = tpm.run(move |chip| {
        let facts = chip.facts()?;
        let mut seen = Vec::new();
        let certified = chip.endorsements()?;
        let all = if certified.is_empty() {
            chip.uncertified(choice)?
                .into_iter()
                .map(|(endorsement, _)| endorsement)
                .collect()
        } else {
            certified
        };
        for endorsement in all {
            let ek = chip.load_ek(&endorsement)?;
            chip.unload_ek(&ek);
            let spki = ek.public.spki().map_err(|_| TpmError::Malformed { what: "the EK" })?;
            seen.push(Seen {
                endorsement,
                public: ek.public.raw().to_vec(),
                spki_sha256: hex::encode(openssl::sha::sha256(&spki)),
                persistent: ek.persistent,
            });
        }
        let chosen = match chip.choose_endorsement(choice) {
            Err(TpmError::NoEkCertificate { .. }) if seen.iter().all(|s| s.endorsement.certificate.is_empty()) => 0,
            other => other?.nv_index,
        };
        Ok((facts, seen, chosen))
    })?;
    let hash = seen
        .iter()
        .find(|s| s.endorsement.nv_index == chosen)
        .map(|s| s.spki_sha256.clone())
        .unwrap_or_default();
    let json = serde_json::json!({
        "schema": "holdfast.identify.v1",
        "ek_spki_sha256": hash,
        "tpm": { "manufacturer": facts.manufacturer, "vendor": facts.vendor, "model": facts.model,
                 "firmware": facts.firmware, "specification_revision": facts.revision },
        "endorsements": seen.iter().map(|s| serde_json::json!({
            "nv_index": format!("{:#010x}", s.endorsement.nv_index),
            "template": s.endorsement.template.as_str(),
            "kind": s.endorsement.kind(),
            "spki_sha256": s.spki_sha256,
            "certificate_sha256": hex::encode(openssl::sha::sha256(&s.endorsement.certificate)),
            "certificate": STANDARD.encode(&s.endorsement.certificate),
            "public": STANDARD.encode(&s.public),
            "persistent_handle": s.persistent.map(|h| format!("{h:#010x}")),
        })).collect::<Vec<_>>(),
    });
    let text = words(&facts, &seen, chosen, &hash, qr);
    Ok(Said::new(json, text, hash))
}

fn words(facts: &TpmFacts, seen: &[Seen], chosen: u32, hash: &str, qr: bool) -> String {
    let model: Vec<&str> = facts.model.split_whitespace().collect();
    let mut text = format!(
        "TPM       {} {}, firmware {}, TPM 2.0 revision {}.{:02}\n",
        clean(&facts.vendor),
        clean(&model.join(" ")),
        facts.firmware,
        facts.revision / 100,
        facts.revision % 100
    );
    for s in seen {
        let used = s.endorsement.nv_index == chosen && seen.len() > 1;
        if s.endorsement.certificate.is_empty() {
            text.push_str(&format!("EK        {}, without a certificate\n", s.endorsement.words()));
            continue;
        }
        text.push_str(&format!(
            "EK        {}, its certificate at NV {:08X}{}\n",
            s.endorsement.words(),
            s.endorsement.nv_index,
            if used { "  <- enrolls" } else { "" }
        ));
    }
    text.push_str(&format!("EK hash   {hash}\n"));
    if qr && let Ok(code) = QrCode::with_error_correction_level(hash, EcLevel::M) {
        let picture = code
            .render::<qrcode::render::unicode::Dense1x2>()
            .quiet_zone(true)
            .build();
        text.push_str(&format!("\n{picture}\n"));
    }
    let vouch = if chosen == 0 {
        text.push_str(
            "\nIts maker left no EK certificate in this TPM: the operator of the CA has to vouch for the key, as of a\nhardware TPM, or with `--vouch virtual` of a virtual one.\n",
        );
        " --vouch hardware"
    } else {
        ""
    };
    text.push_str(&format!(
        "\nnext: to let this device in, the operator of the CA types\n  ca-cli device allow NAME --ek {hash}{vouch}\nthen, here\n  ca-agent enroll --server URL --root-sha256 FINGERPRINT\n"
    ));
    text
}
