//! `ca-cli init`: a rehearsal hierarchy on SoftHSM.

use std::io::IsTerminal as _;
use std::path::Path;

use crate::ceremony::softtoken::{SOFTHSM_CONF, SOFTHSM_CONF_FILE, again_with_configuration};
use crate::certificate::CertificateView;
use crate::cli::Init;
use crate::exit::{Exit, Failure};
use crate::fingerprint;
use crate::output::Report;
use crate::rehearsal::{Answers, Layout, judge, perform};
use crate::words;

/// What stands in a folder that another ceremony used, or began to use.
const BEGUN: [&str; 4] = [SOFTHSM_CONF_FILE, "answers.toml", "secrets/root.pin", "ceremony"];

pub(super) fn run(arguments: &Init, no_input: bool) -> Result<Report, Failure> {
    let started_over = std::env::var_os(SOFTHSM_CONF)
        .is_some_and(|conf| Path::new(&conf).parent() == arguments.dir.canonicalize().ok().as_deref())
        && arguments.dir.join("answers.toml").exists();
    let (answers, layout) = if started_over {
        let [_, _, begun @ ..] = &BEGUN;
        let answers = Answers::load(&arguments.dir.join("answers.toml"))?;
        (answers, Layout::create(&arguments.dir, begun)?)
    } else {
        let answers = answers(arguments, no_input)?;
        judge(&answers)?;
        let layout = Layout::create(&arguments.dir, &BEGUN)?;
        let text = toml::to_string(&answers).map_err(|e| Failure::new(Exit::Failed, e.to_string()))?;
        layout.put("answers.toml", text.as_bytes())?;
        let softhsm = answers.module.to_string_lossy().contains("softhsm");
        if softhsm && std::env::var_os(SOFTHSM_CONF).is_none() {
            return Err(again_with_configuration(&layout.path("")));
        }
        (answers, layout)
    };
    let progress = indicatif::ProgressBar::new_spinner().with_style(style()?);
    let hierarchy = perform(&answers, &layout, &|step| {
        if progress.is_hidden() {
            eprintln!("  {step}");
        }
        progress.set_message(step.to_owned());
        progress.inc(1);
    })?;
    progress.finish_and_clear();
    let views: Result<Vec<CertificateView>, anyhow::Error> = [&hierarchy.root, &hierarchy.issuing, &hierarchy.server]
        .iter()
        .map(|der| CertificateView::read(der))
        .collect();
    let views = views?;
    let root_sha256 = openssl::sha::sha256(&hierarchy.root);
    let json = serde_json::json!({
        "schema": "holdfast.init.v1",
        "dir": layout.path(""),
        "configuration": layout.path("server.toml"),
        "root_sha256": hex::encode(root_sha256),
        "softhsm2_conf": std::env::var(SOFTHSM_CONF).ok(),
        "certificates": views,
        "key_attributes": hierarchy.attributes.iter().map(|(token, name, value)| serde_json::json!({
            "token": token, "attribute": name, "value": value })).collect::<Vec<_>>(),
    });
    let dir = arguments.dir.display().to_string();
    Ok(Report::new(json, move |style| {
        let now = words::now();
        let (_, last, _, empty) = style.branches();
        let mut text = String::new();
        for (depth, view) in views.iter().enumerate() {
            let indent = empty.repeat(depth.saturating_sub(1)) + if depth == 0 { "" } else { last };
            let name = if view.subject.is_empty() {
                view.subject_alternative_names.join(", ")
            } else {
                view.subject.clone()
            };
            text.push_str(&format!(
                "{indent}{name}  {}  expires {}\n",
                view.key,
                words::date(view.not_after, now)
            ));
        }
        text.push_str("\nroot fingerprint (sha256), as the devices pin it:\n");
        text.push_str(&fingerprint::groups(&root_sha256));
        if style.utf8 && std::io::stdout().is_terminal() {
            text.push_str(&format!("\n\n{}", fingerprint::qr(&root_sha256).unwrap_or_default()));
        }
        let conf = std::env::var(SOFTHSM_CONF).ok();
        let prefix = conf.map(|c| format!("{SOFTHSM_CONF}={c} ")).unwrap_or_default();
        text.push_str(&format!(
            "\n\nnext\n  put the roots of your TPM vendors into {dir}/trust\n  {prefix}ca-server --config {dir}/server.toml --check\n  {prefix}ca-server --config {dir}/server.toml\nThis is a REHEARSAL: `ca-cli verify` refuses what it issues unless told --rehearsal.\n"
        ));
        text
    }))
}

fn answers(arguments: &Init, no_input: bool) -> Result<Answers, Failure> {
    if let Some(file) = &arguments.answers {
        return Answers::load(file);
    }
    if no_input {
        return Ok(Answers::default());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new(Exit::Stopped, "there are questions and no terminal")
            .fix("--no-input takes all defaults; --answers FILE takes them from a file"));
    }
    Answers::default().ask()
}

fn style() -> Result<indicatif::ProgressStyle, Failure> {
    indicatif::ProgressStyle::with_template("{spinner} {msg}")
        .map(|style| style.tick_chars("-\\|/ "))
        .map_err(|e| Failure::new(Exit::Failed, e.to_string()))
}
