//! `ca-cli ceremony new`.

use std::path::Path;

use anyhow::Context as _;
use attest::UnixTime;
use ceremony::calendar::{DAY, weekday};
use ceremony::plan::write::{NewCertificate, NewPlan, good_end, write};
use ceremony::{Backup, Sha256};
use issuance::{IssuerRequest, SignatureAlgorithm};
use policies::{ProfileKind, Profiles};

use crate::ceremony::draw_serial;
use crate::certificate::CertificateView;
use crate::cli::ceremony::New;
use crate::exit::{Exit, Failure, read};
use crate::output::Report;
use crate::words;

/// 09:00 UTC of a working day, so many days ahead.
fn working_day(now: i64, ahead: i64) -> UnixTime {
    let mut day = UnixTime((now / DAY + ahead) * DAY + 9 * 3600);
    while matches!(weekday(day), "Saturday" | "Sunday") {
        day = UnixTime(day.0 + DAY);
    }
    day
}

pub(super) fn run(arguments: &New) -> Result<Report, Failure> {
    policies::name::profile(&arguments.name).map_err(|e| Failure::new(Exit::Usage, e.to_string()))?;
    // A request is good for 14 days only.
    let ahead = if arguments.request.is_some() { 7 } else { 30 };
    let planned = arguments
        .planned
        .map_or_else(|| working_day(words::now(), ahead), UnixTime);
    let midnight = UnixTime(planned.0 / DAY * DAY);
    let mut inputs = Vec::new();
    let mut input = |name: &str, path: &Option<std::path::PathBuf>| -> Result<Option<Vec<u8>>, Failure> {
        let Some(path) = path else { return Ok(None) };
        let bytes = read(path)?;
        let file = path.file_name().and_then(|f| f.to_str()).unwrap_or_default().to_owned();
        inputs.push((name.to_owned(), file, Some(Sha256::of(&bytes))));
        Ok(Some(bytes))
    };
    let issuer = input("issuer", &arguments.issuer)?;
    let request = input("request", &arguments.request)?;
    let subject = input("subject", &arguments.subject)?;
    let previous = input("previous-crl", &arguments.previous_crl)?;
    for (name, file, needed) in [
        (
            "issuer",
            "root.cer",
            ["issuing", "cross", "crl"].contains(&arguments.kind.as_str()),
        ),
        ("request", "issuing.csr", arguments.kind == "issuing"),
        ("subject", "subject.cer", arguments.kind == "cross"),
        ("backup", "backup.bin", arguments.kind == "restore"),
    ] {
        if needed && !inputs.iter().any(|(n, ..)| n == name) {
            inputs.push((name.to_owned(), file.to_owned(), None));
        }
    }
    let issuer = issuer.map(|der| view(arguments.issuer.as_deref(), &der)).transpose()?;
    let algorithm = issuer.as_ref().map_or(SignatureAlgorithm::EcdsaP384Sha384, |view| {
        view.ca_algorithm().unwrap_or(SignatureAlgorithm::EcdsaP384Sha384)
    });
    let number = previous.map_or(1, |der| {
        issuance::RawCrl::decode(der).map_or(1, |raw| raw.claimed_number().get() + 1)
    });
    let plan = NewPlan {
        kind: arguments.kind.clone(),
        name: arguments.name.clone(),
        planned,
        place: ceremony::plan::write::FILL_IN.to_owned(),
        binary: Some(crate::ceremony::program()?),
        token: None,
        label: "root-r1".to_owned(),
        id: vec![1],
        algorithm,
        spki: issuer.as_ref().and_then(|view| Sha256::from_hex(&view.spki_sha256)),
        backup: if arguments.kind == "restore" {
            Backup::Wrapped
        } else {
            Backup::None
        },
        officers: (1..=arguments.officers)
            .map(|n| (format!("crypto officer {n}"), None))
            .collect(),
        required: usize::from(arguments.officers / 2 + 1),
        split_pin: false,
        shares_of: (arguments.kind == "restore").then(|| ceremony::plan::write::FILL_IN.to_owned()),
        inputs,
        certificate: certificate(arguments, midnight, issuer.as_ref(), request, subject)?,
        crl: match arguments.kind.as_str() {
            "root" => Some((1, midnight, good_end(midnight, 365 * DAY))),
            "crl" => Some((number, midnight, good_end(midnight, 365 * DAY))),
            _ => None,
        },
    };
    let text = write(&plan);
    let json = serde_json::json!({ "schema": "holdfast.ceremony-plan.v1", "toml": text });
    Ok(Report::new(json, move |_| text))
}

fn view(path: Option<&Path>, der: &[u8]) -> Result<CertificateView, Failure> {
    CertificateView::read(der).map_err(|e| {
        let path = path.map(|p| p.display().to_string()).unwrap_or_default();
        Failure::new(Exit::Usage, format!("{path}: {e}")).fix("a certificate in DER: openssl x509 -outform der")
    })
}

fn certificate(
    arguments: &New,
    midnight: UnixTime,
    issuer: Option<&CertificateView>,
    request: Option<Vec<u8>>,
    subject: Option<Vec<u8>>,
) -> Result<Option<NewCertificate>, Failure> {
    let subject = subject.map(|der| ceremony::inputs::Subject::read(&der));
    let subject = subject.transpose().map_err(|e| Failure::new(Exit::Usage, e))?;
    let kind = match (arguments.kind.as_str(), &subject) {
        ("root", _) => ProfileKind::Root,
        ("issuing", _) => ProfileKind::Issuing,
        ("cross", subject) => subject.as_ref().map_or(ProfileKind::Cross, |s| s.kind()),
        _ => return Ok(None),
    };
    let profiles = Profiles::builtin().context("built-in profiles")?;
    let profile = profiles.only(kind).context("a profile of this kind")?;
    let lifetime = profile.lifetime().unwrap_or(365 * DAY);
    let mut not_after = good_end(midnight, lifetime);
    if let Some(issuer) = issuer.filter(|i| i.not_after < not_after.0) {
        not_after = UnixTime(issuer.not_after);
    }
    let (mut organization, mut common_name) = (None, None);
    if let Some(der) = request {
        let request = IssuerRequest::read(&der).map_err(|e| Failure::new(Exit::Usage, e.to_string()))?;
        organization = Some(request.organization().to_owned());
        common_name = Some(request.common_name().to_owned());
    }
    if let Some(subject) = subject {
        organization = Some(subject.organization);
        common_name = Some(subject.common_name);
    }
    let below = (kind != ProfileKind::Root).then_some(None);
    Ok(Some(NewCertificate {
        profile: profile.name().to_owned(),
        organization,
        common_name,
        serial: draw_serial()?,
        not_before: midnight,
        not_after,
        ca_issuers_url: below.clone(),
        crl_url: below,
    }))
}
