//! `ca-cli hsm probe`.

use std::time::Duration;

use hsm::{AttributeVerdict, HsmError, PinSource, Pkcs11Uri, ProbeReport, Token, TokenConfig};
use issuance::SignatureAlgorithm;

use crate::certificate;
use crate::cli::hsm::{HsmProbe, PinWarning};
use crate::exit::{Exit, Failure};
use crate::output::{Report, clean, table};

pub(super) fn run(arguments: &HsmProbe, no_input: bool) -> Result<Report, Failure> {
    let report = hsm::probe(&arguments.module).map_err(|e| {
        let there = arguments.module.exists();
        Failure::new(if there { Exit::TryAgain } else { Exit::NotFound }, e.to_string())
            .fix("check the path of the module and the environment it wants (SoftHSM: SOFTHSM2_CONF)")
    })?;
    let tried = match (&arguments.uri, &arguments.certificate) {
        (Some(uri), Some(certificate)) => Some(sign(arguments, no_input, uri, certificate)?),
        _ => None,
    };
    let (signed, algorithm, attributes) = match &tried {
        None => (None, None, None),
        Some(Tried::Signed { subject, algorithm }) => (Some(subject), Some(algorithm.as_str()), None),
        Some(Tried::Unfit(attributes)) => (None, None, Some(attributes)),
    };
    let attributes = attributes.map(|all| {
        let verdict = |v: &AttributeVerdict| {
            serde_json::json!({
                "attribute": v.attribute, "found": v.found, "wanted": v.wanted, "fits": v.fits })
        };
        all.iter().map(verdict).collect::<Vec<_>>()
    });
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
        "probe_algorithm": algorithm,
        "key_attributes": attributes,
    });
    let exit = if matches!(tried, Some(Tried::Unfit(_))) {
        Exit::No
    } else {
        Exit::Done
    };
    let said = Report::new(json, move |style| {
        let end = match &tried {
            None => String::new(),
            Some(Tried::Signed { subject, algorithm }) => format!(
                "\n{} signed and verified a probe with {subject} ({})\n",
                style.tick(true),
                algorithm.as_str()
            ),
            Some(Tried::Unfit(attributes)) => unfit(attributes, style),
        };
        words(&report, style) + &end
    });
    Ok(said.exit(exit))
}

/// Every attribute of a key that is refused, and what to do.
fn unfit(attributes: &[AttributeVerdict], style: crate::output::Style) -> String {
    let row = |v: &AttributeVerdict| {
        [style.tick(v.fits), v.attribute, v.found, v.wanted]
            .map(ToOwned::to_owned)
            .to_vec()
    };
    let wrong = attributes.iter().filter(|v| !v.fits).count();
    format!(
        "\nattributes of the key\n{}\n{} this key may not be a CA's: {wrong} of its attributes are wrong\n  do    \
         make another key; a template cannot be repaired (docs/how-to/hsm.md)\n",
        table(
            &["", "ATTRIBUTE", "IS", "MUST BE"],
            attributes.iter().map(row).collect()
        ),
        style.tick(false),
    )
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

/// What a key did, or is.
enum Tried {
    /// It signed, and the signature verifies.
    Signed {
        subject: String,
        algorithm: SignatureAlgorithm,
    },
    /// It may not be a CA's key: all that is and must be.
    Unfit(Vec<AttributeVerdict>),
}

/// Open the key and sign a probe text with it; "OK" means that it signed and that the signature verifies.
fn sign(arguments: &HsmProbe, no_input: bool, uri: &str, certificate: &std::path::Path) -> Result<Tried, Failure> {
    let mut uri: Pkcs11Uri = uri
        .parse()
        .map_err(|e: hsm::UriError| Failure::new(Exit::Usage, e.to_string()))?;
    uri.module_path = Some(arguments.module.clone());
    let id = uri.id.clone().ok_or_else(|| {
        Failure::new(Exit::Usage, "the URI names no key").fix("add `id=%..`, the CKA_ID of the key, to the URI")
    })?;
    let view = certificate::load(certificate)?.swap_remove(0);
    let algorithm = arguments
        .algorithm
        .or_else(|| view.ca_algorithm())
        .ok_or_else(|| Failure::new(Exit::No, format!("a {} key is not a CA key of ours", view.key)))?;
    let (source, without) = match &arguments.pin_file {
        Some(path) if !path.exists() => (PinSource::File(path.clone()), Exit::NotFound),
        Some(path) => (PinSource::File(path.clone()), Exit::Usage),
        None if no_input => {
            return Err(Failure::new(Exit::Stopped, "the PIN would have to be asked").fix("--pin-file FILE, mode 0600"));
        }
        None => (PinSource::Prompt, Exit::Stopped),
    };
    let pin = source.read(None).map_err(|e| Failure::new(without, e.to_string()))?;
    let config = TokenConfig {
        uri,
        sessions: 1,
        queue_deadline: Duration::from_secs(10),
        login_backoff: Duration::from_secs(30),
    };
    let token = match arguments.despite_warning {
        None => Token::open(config, pin),
        Some(PinWarning::CountLow) => Token::open_despite(config, pin, hsm::PinWarning::CountLow),
        Some(PinWarning::FinalTry) => Token::open_despite(config, pin, hsm::PinWarning::FinalTry),
    };
    let token = token.map_err(refused)?;
    let key = match token.ca_key(&id, &view.spki, algorithm) {
        Err(HsmError::Attribute { .. }) => return token.attributes(&id).map(Tried::Unfit).map_err(refused),
        other => other.map_err(refused)?,
    };
    issuance::probe(&key).map_err(|e| Failure::new(Exit::No, format!("the key did not sign the probe: {e}")))?;
    Ok(Tried::Signed {
        subject: view.subject,
        algorithm,
    })
}

fn refused(error: HsmError) -> Failure {
    let failure = |exit| Failure::new(exit, error.to_string());
    match error {
        HsmError::Pin(_) => failure(Exit::NotAllowed).fix(
            "a PIN you are sure of may be tried all the same: --despite-warning count-low (or final-try: one \
             more wrong PIN locks the token)",
        ),
        HsmError::Key(_) | HsmError::Attribute { .. } => failure(Exit::No),
        _ => failure(Exit::TryAgain),
    }
}
