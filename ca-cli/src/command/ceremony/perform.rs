//! Rehearsing, holding and sealing.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use anyhow::Context as _;
use ceremony::inputs::Inputs;
use ceremony::quorum::Mode;
use ceremony::{Sha256, Work};
use hsm::{PinSource, Pkcs11Uri};

use super::papers::{inputs, judge};
use crate::ceremony::rehearse::{Rehearsal, stand_ins};
use crate::ceremony::room::plan as read_plan;
use crate::ceremony::softtoken::{self, SOFTHSM_CONF};
use crate::ceremony::{Access, Room, Run, Terminal, digest_lines, seal as sealing, stand_in};
use crate::cli::ceremony as cli;
use crate::exit::{Exit, Failure};
use crate::output::Report;

pub(super) fn rehearse(arguments: &cli::Rehearse) -> Result<Report, Failure> {
    let plan = read_plan(&arguments.plan)?;
    let files = inputs(&plan, &arguments.inputs)?;
    let judged = judge(&plan, &files)?;
    if let Some(finding) = judged.findings.iter().find(|f| f.refuses) {
        return Err(Failure::new(Exit::No, format!("{}: {}", finding.rule, finding.message))
            .fix("ca-cli ceremony lint PLAN shows everything"));
    }
    let secrets = arguments.dir.join("secrets");
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&secrets);
    made.with_context(|| secrets.display().to_string())?;
    let mut sheets = secrets.clone();
    let real = Inputs::read(&plan, &files).map_err(|e| Failure::new(Exit::No, e.to_string()))?;
    let (real, mut stand_in) = (real.issuer, None);
    let access = match (&arguments.pin_file, plan.work()) {
        (None, Work::Root { .. }) => {
            if std::env::var_os(SOFTHSM_CONF).is_none() {
                return Err(softtoken::again_with_configuration(&arguments.dir));
            }
            softtoken::token(&arguments.module, &secrets, "token", &stand_in_label(&plan))?
        }
        (None, Work::Issuing { .. } | Work::Cross { .. } | Work::Crl { .. })
            if real.as_ref().is_some_and(|issuer| !issuer.is_rehearsal()) =>
        {
            if std::env::var_os(SOFTHSM_CONF).is_none() {
                return Err(softtoken::again_with_configuration(&arguments.dir));
            }
            let label = stand_in_label(&plan);
            let access = softtoken::token(&arguments.module, &secrets, "token", &label)?;
            if let Some(real) = &real {
                stand_in = Some(stand_in::certificate(&plan, real, &access, &arguments.dir)?);
            }
            stand_in::sheets(&plan, &access, &secrets)?;
            access
        }
        (None, _) => {
            return Err(
                Failure::new(Exit::Usage, "this plan needs the token of the rehearsed root")
                    .fix("--pin-file DIR/secrets/token.pin of the root's rehearsal"),
            );
        }
        (Some(pin), _) => {
            sheets = pin.parent().unwrap_or(Path::new(".")).to_owned();
            // The token store of the root's rehearsal lies two folders above its PIN.
            let store = pin.parent().and_then(Path::parent).unwrap_or(Path::new("."));
            if std::env::var_os(SOFTHSM_CONF).is_none() {
                return Err(softtoken::again_with_configuration(store));
            }
            if matches!(plan.work(), Work::Restore) {
                // To a second token of the same store.
                let label = stand_in_label(&plan);
                softtoken::token(&arguments.module, &secrets, "token", &label)?
            } else {
                Access {
                    uri: Pkcs11Uri {
                        serial: Some(plan.token().serial.clone()),
                        module_path: Some(arguments.module.clone()),
                        ..Pkcs11Uri::default()
                    },
                    pin: PinSource::File(pin.clone()),
                }
            }
        }
    };
    let officers = stand_ins(&plan, &secrets)?;
    let archive = arguments.dir.join(format!("{}.tar", plan.name()));
    let medium = arguments.dir.join("medium");
    let rehearsal = Rehearsal {
        plan: &plan,
        inputs: &files,
        medium: &medium,
        stand_in: stand_in.as_deref(),
        archive: &archive,
        access,
        shares: &sheets,
        officers: &officers,
    };
    let outcome = rehearsal.perform(arguments.resume, &|line| eprintln!("  {line}"))?;
    let sha256 = outcome.certificate.as_ref().map(|der| Sha256::of(der));
    let json = serde_json::json!({
        "schema": "holdfast.ceremony-rehearsed.v1", "plan_sha256": plan.sha256(), "archive": outcome.archive,
        "certificate_sha256": sha256, "crl": outcome.crl.is_some(),
    });
    Ok(Report::new(json, move |_| {
        format!(
            "rehearsed: {}\nThis was a REHEARSAL: `ca-cli ceremony verify` refuses it unless told --rehearsal.\n",
            outcome.archive.display()
        )
    }))
}

/// Label of the token that stands in for the plan's: 32 characters at most.
fn stand_in_label(plan: &ceremony::Plan) -> String {
    let mut label = format!("rehearsal {}", plan.name());
    label.truncate(32);
    label
}

pub(super) fn run(arguments: &cli::Run) -> Result<Report, Failure> {
    let mut people = Terminal::open(arguments.printer.clone())?;
    let room = Room::open(&arguments.dir)?;
    let plan = room.plan()?;
    let mode = if arguments.rehearsal {
        Mode::Rehearsal
    } else {
        Mode::Ceremony
    };
    if mode == Mode::Ceremony {
        let judged = judge(&plan, &room.inputs(&plan)?)?;
        if let Some(finding) = judged.findings.iter().find(|f| f.refuses) {
            return Err(Failure::new(Exit::No, format!("{}: {}", finding.rule, finding.message)));
        }
    }
    // In a rehearsal a token of its own stands in.
    let (token, serial) = match mode {
        Mode::Ceremony => (None, Some(plan.token().serial.clone())),
        Mode::Rehearsal => (Some(stand_in_label(&plan)), None),
    };
    let access = Access {
        uri: Pkcs11Uri {
            token,
            serial,
            module_path: Some(arguments.module.clone()),
            ..Pkcs11Uri::default()
        },
        pin: PinSource::Prompt,
    };
    Run::open(&room, mode, access, &mut people, arguments.resume)?.finish()?;
    let dir = arguments.dir.display().to_string();
    let json = serde_json::json!({ "schema": "holdfast.ceremony-held.v1", "dir": dir });
    Ok(Report::new(json, move |_| {
        format!("\nEvery step is done.\nnext: ca-cli ceremony seal {dir}\n")
    }))
}

pub(super) fn seal(dir: &Path, out: Option<&Path>, rehearsal: bool) -> Result<Report, Failure> {
    let room = Room::open(dir)?;
    let mode = if rehearsal { Mode::Rehearsal } else { Mode::Ceremony };
    let subject = sealing::close(&room, mode)?;
    let sums = subject.medium.unwrap_or(Sha256([0; 32]));
    let packed = out.map(|out| sealing::pack(&room, out, rehearsal)).transpose()?;
    let json = serde_json::json!({
        "schema": "holdfast.ceremony-sealed.v1", "sums_sha256": sums, "archive": packed,
    });
    let dir = dir.display().to_string();
    Ok(Report::new(json, move |_| {
        let mut text = format!(
            "everybody writes this on the last sheet (sha256 of SHA256SUMS)\n{}\n",
            digest_lines(&sums)
        );
        match packed {
            Some(path) => text.push_str(&format!("\npacked: {}\n", path.display())),
            None => text.push_str(&format!(
                "\nnext: each officer seals, then\n  ca-cli ceremony seal {dir} --out FILE.tar\n"
            )),
        }
        text
    }))
}
