//! `ca-agent enroll`.

use indicatif::{ProgressBar, ProgressStyle};
use wire::Exit;

use super::{Said, open, tell};
use crate::cli;
use crate::config::Config;
use crate::enroll::{Again, Enrollment, Outcome};
use crate::error::AgentError;
use crate::state::{Enrolled, State, Trouble};
use crate::stored;
use crate::words::clean;

pub(super) fn run(config: &Config, flags: &cli::Enroll, quiet: bool) -> Result<Said, AgentError> {
    let before = State::look(&config.state_dir);
    let known = match before.journal()? {
        Some(journal) => Some(journal.server),
        None => before.enrolled()?.map(|enrolled| enrolled.server),
    };
    let wish = config.wish(flags, known.as_deref())?;
    let state = State::open(&config.state_dir)?;
    let progress = Progress::new(quiet);
    let say = |step: &str| progress.say(step);
    let result = Enrollment {
        wish: &wish,
        state: &state,
        again: if flags.again { Again::Now } else { Again::WhenEnded },
        say: &say,
    }
    .run(|| open(config));
    drop(progress);
    remember(&state, result.as_ref().err());
    let (before, enrolled) = match result? {
        Outcome::Done(enrolled) => (false, enrolled),
        Outcome::Before(enrolled) => (true, enrolled),
    };
    said(&state, &enrolled, before)
}

/// What is being done, on standard error: a line that changes on a terminal, else line by line.
pub(super) struct Progress {
    spinner: ProgressBar,
    quiet: bool,
}

impl Progress {
    pub(super) fn new(quiet: bool) -> Self {
        let spinner = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            spinner.set_style(style);
        }
        Self { spinner, quiet }
    }

    pub(super) fn say(&self, step: &str) {
        tracing::debug!("{step}");
        if self.quiet {
            return;
        }
        if self.spinner.is_hidden() {
            tell(&format!("  {step}"));
        }
        self.spinner.set_message(step.to_owned());
        self.spinner.tick();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.spinner.finish_and_clear();
    }
}

/// Serial of a certificate, lower-case hex.
pub(super) fn serial(certificate: &openssl::x509::X509) -> String {
    let number = certificate.serial_number().to_bn();
    number.map(|n| hex::encode(n.to_vec())).unwrap_or_default()
}

/// For `ca-agent status`. That it cannot be remembered must not hide what happened.
pub(super) fn remember(state: &State, error: Option<&AgentError>) {
    let report = error.map(AgentError::report);
    if report.as_ref().is_some_and(|report| report.exit == Exit::Usage) {
        // A slip of whoever typed is no state of the device.
        return;
    }
    let trouble = report.map(|report| Trouble {
        code: report.code,
        message: report.message,
        exit: report.exit.code(),
        at: jiff::Timestamp::now().as_second(),
    });
    if let Err(error) = state.set_trouble(trouble.as_ref()) {
        tracing::warn!(%error, "how this try ended is not remembered");
    }
}

fn said(state: &State, enrolled: &Enrolled, before: bool) -> Result<Said, AgentError> {
    let mut certificates = Vec::new();
    let files = [
        ("identity", stored::IDENTITY, Some(&enrolled.profile)),
        (
            "attestation",
            stored::ATTESTATION,
            enrolled.attestation_profile.as_ref(),
        ),
    ];
    for (key, file, profile) in files {
        let (Some(profile), Some(pem)) = (profile, state.read(file)?) else {
            continue;
        };
        let serial = openssl::x509::X509::from_pem(&pem).map(|certificate| serial(&certificate));
        certificates.push(serde_json::json!({
            "profile": profile, "key": key, "serial": serial.unwrap_or_default(), "file": state.path(file) }));
    }
    let key = state.openssl_key()?.unwrap_or_default();
    let json = serde_json::json!({
        "schema": "holdfast.enrolled.v1",
        "device": enrolled.device,
        "server": enrolled.server,
        "already": before,
        "certificates": certificates,
        "chain": state.path("chain.pem"),
        "root": state.path("root.pem"),
        "openssl_key": key,
    });
    let word = if before { "is enrolled already" } else { "is enrolled" };
    let mut text = format!("{} {word}\n", clean(&enrolled.device));
    if !before && enrolled.iak_dir.is_some() {
        text.push_str("  proven: this TPM holds the attestation key its device's manufacturer certified\n");
        text.push_str("  proven: the identity key was made beside it and cannot leave that TPM\n");
    } else if !before {
        text.push_str("  proven: this TPM holds the endorsement key its vendor certified\n");
        text.push_str("  proven: the attestation key lives in the same TPM\n");
        text.push_str("  proven: the identity key was made there and cannot leave it\n");
    }
    for certificate in &certificates {
        let of = |name: &str| {
            certificate
                .get(name)
                .and_then(serde_json::Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        text.push_str(&format!("  {:<15}{}\n", of("profile"), of("file")));
    }
    text.push_str(&format!("  {:<15}{key}\n", "key"));
    text.push_str(&format!(
        "next: use it with OpenSSL\n  openssl s_client -provider tpm2 -provider default \\\n    -propquery '?provider=tpm2,tpm2.digest!=yes,tpm2.cipher!=yes' \\\n    -cert {} -key {key} -connect HOST:PORT\n",
        state.path(stored::IDENTITY).display()
    ));
    Ok(Said::new(json, text, clean(&enrolled.device)))
}
