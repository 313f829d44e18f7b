//! `ca-cli cert status SERIAL`.

use wire::revocation::{CertificateStatus, RevocationState, RevocationStep};

use super::device_show::iak_lines;
use super::revoke::{serial, status_path};
use crate::admin::Client;
use crate::cli::Admin;
use crate::exit::{Exit, Failure};
use crate::output::{Report, clean, fields, table};
use crate::words;

pub(super) fn run(text: &str, admin: &Admin) -> Result<Report, Failure> {
    let wrong = || Failure::new(Exit::Usage, format!("`{}`: a serial has 32 hex digits", clean(text)));
    let serial = serial(text).ok_or_else(wrong)?;
    let status: CertificateStatus = Client::new(admin).get(&status_path(&serial), &[])?;
    let json = serde_json::json!({ "schema": "holdfast.certificate-status.v1", "status": status });
    Ok(Report::new(json, move |_| {
        let now = words::now();
        let mut lines = vec![("serial", clean(&status.serial))];
        lines.extend(status.device.iter().map(|d| ("device", clean(d))));
        lines.push(("profile", clean(&status.profile)));
        lines.push(("state", words::standing(&status.state, status.revocation.as_ref())));
        lines.push(("expires", words::date(status.not_after, now)));
        if let Some(proof) = &status.iak_proof {
            lines.extend(iak_lines(proof));
        }
        lines.extend(status.others.iter().map(|s| ("also good", clean(s))));
        let kin = status.lineage.iter().filter(|serial| **serial != status.serial);
        lines.extend(kin.map(|s| ("lineage", clean(s))));
        let mut text = fields(&lines);
        if !status.history.is_empty() {
            let rows = status.history.iter().map(row).collect();
            text.push_str(&format!(
                "\n{}",
                table(&["AT", "STATE", "SINCE", "BY", "COMMENT"], rows)
            ));
        }
        text
    }))
}

fn row(step: &RevocationStep) -> Vec<String> {
    let state = match step.state {
        RevocationState::Released => "released".to_owned(),
        RevocationState::Revoked | RevocationState::OnHold => words::standing("", Some(step)),
    };
    vec![
        words::rfc3339(step.at),
        state,
        words::rfc3339(step.since),
        clean(&step.actor),
        clean(&step.comment),
    ]
}
