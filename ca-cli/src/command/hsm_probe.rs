//! `ca-cli hsm probe`.

use std::time::Duration;

use hsm::{PinSource, Pkcs11Uri, ProbeReport, Token, TokenConfig};

use crate::certificate;
use crate::cli::HsmProbe;
use crate::exit::{Exit, Failure};
use crate::output::{Report, clean, table};

pub(super) fn run(arguments: &HsmProbe) -> Result<Report, Failure> {
    let report = hsm::probe(&arguments.module).map_err(|e| {
        let there = arguments.module.exists();
        Failure::new(if there { Exit::TryAgain } else { Exit::NotFound }, e.to_string())
            .fix("check the path of the module and the environment it wants (SoftHSM: SOFTHSM2_CONF)")
    })?;
    let signed = match (&arguments.uri, &arguments.certificate) {
        (Some(uri), Some(certificate)) => Some(sign(arguments, uri, certificate)?),
        _ => None,
    };
    let json = serde_json::json!({
        "schema": "holdfast.hsm-probe.v1",
        "library": report.library,
        "slots": report.slots.iter().map(|s| serde_json::json!({
            "id": s.id, "description": s.description,
            "token": s.token.as_ref().map(|t| serde_json::json!({
                "label": t.label, "serial": t.serial, "model": t.model, "pin_warning": t.pin_warning,
                "verdicts": t.verdicts.iter().map(|v| serde_json::json!({
                    "algorithm": v.algorithm, "usable": v.usable, "detail": v.detail })).collect::<Vec<_>>(),
            })),
        })).collect::<Vec<_>>(),
        "probe_signature": signed,
    });
    Ok(Report::new(json, move |style| {
        let mut text = words(&report, style);
        if let Some(signed) = signed {
            text.push_str(&format!(
                "\n{} signed and verified a probe with {signed}\n",
                style.tick(true)
            ));
        }
        text
    }))
}

fn words(report: &ProbeReport, style: crate::output::Style) -> String {
    let mut text = format!("{}\n", clean(&report.library));
    for slot in &report.slots {
        let Some(token) = &slot.token else { continue };
        text.push_str(&format!(
            "\ntoken {}  serial {}  {}\n",
            clean(&token.label),
            clean(&token.serial),
            clean(&token.model)
        ));
        if let Some(warning) = &token.pin_warning {
            text.push_str(&format!("! PIN: {warning}\n"));
        }
        let rows = token
            .verdicts
            .iter()
            .map(|v| vec![style.tick(v.usable).to_owned(), v.algorithm.clone(), v.detail.clone()]);
        text.push_str(&table(&["", "CA KEY", "MECHANISMS"], rows.collect()));
    }
    text
}

/// Open the key and sign a probe text with it; "OK" means that it signed and that the signature verifies.
fn sign(arguments: &HsmProbe, uri: &str, certificate: &std::path::Path) -> Result<String, Failure> {
    let mut uri: Pkcs11Uri = uri
        .parse()
        .map_err(|e: hsm::UriError| Failure::new(Exit::Usage, e.to_string()))?;
    uri.module_path = Some(arguments.module.clone());
    let id = uri.id.clone().ok_or_else(|| {
        Failure::new(Exit::Usage, "the URI names no key").fix("add `id=%..`, the CKA_ID of the key, to the URI")
    })?;
    let view = certificate::load(certificate)?.swap_remove(0);
    let algorithm = view
        .ca_algorithm()
        .ok_or_else(|| Failure::new(Exit::No, format!("a {} key is not a CA key of ours", view.key)))?;
    let (source, without) = match &arguments.pin_file {
        Some(path) if !path.exists() => (PinSource::File(path.clone()), Exit::NotFound),
        Some(path) => (PinSource::File(path.clone()), Exit::Usage),
        None => (PinSource::Prompt, Exit::Stopped),
    };
    let pin = source.read(None).map_err(|e| Failure::new(without, e.to_string()))?;
    let config = TokenConfig {
        uri,
        sessions: 1,
        queue_deadline: Duration::from_secs(10),
        login_backoff: Duration::from_secs(30),
    };
    let refused = |e: hsm::HsmError| {
        let exit = match e {
            hsm::HsmError::Pin(_) => Exit::NotAllowed,
            hsm::HsmError::Key(_) | hsm::HsmError::Attribute { .. } => Exit::No,
            _ => Exit::TryAgain,
        };
        Failure::new(exit, e.to_string())
    };
    let key = Token::open(config, pin)
        .and_then(|t| t.ca_key(&id, &view.spki, algorithm))
        .map_err(refused)?;
    issuance::probe(&key).map_err(|e| Failure::new(Exit::No, format!("the key did not sign the probe: {e}")))?;
    Ok(view.subject)
}
