//! What can be said against the answers of a rehearsal before anything is made of them.

use std::net::SocketAddr;

use anyhow::Context as _;
use attest::UnixTime;
use policies::{Profiles, Quorum, ServerTlsPlan};

use super::Answers;
use super::answers::algorithm;
use super::hierarchy::{p256, spki};
use crate::exit::{Exit, Failure};
use crate::words;

/// Everything that can be said against the answers before anything is made of them.
pub(crate) fn judge(answers: &Answers) -> Result<(), Failure> {
    let wrong = |what: String| Failure::new(Exit::Usage, what);
    algorithm(&answers.root_algorithm)?;
    algorithm(&answers.issuing_algorithm)?;
    for (key, address) in [
        ("listen", &answers.listen),
        ("metrics", &answers.metrics),
        ("status", &answers.status),
    ] {
        address.parse::<SocketAddr>().map_err(|e| {
            wrong(format!("{key} = `{address}`: {e}")).fix("an IP address and a port: `127.0.0.1:8443`")
        })?;
    }
    if !answers.pki_url.is_empty() && (!answers.pki_url.starts_with("http://") || answers.pki_url.ends_with('/')) {
        return Err(wrong(format!(
            "pki_url = `{}`: not a plain http URL without a slash at its end",
            answers.pki_url
        ))
        .fix("`http://pki.example.net`, or nothing at all"));
    }
    if !["sqlite://", "postgres://", "postgresql://"]
        .iter()
        .any(|scheme| answers.database.starts_with(scheme))
    {
        return Err(wrong(format!("database = `{}`: unknown kind", answers.database))
            .fix("`sqlite://FILE` for one machine, `postgres://...` beyond"));
    }
    would_be_approved(answers)?;
    if !answers.module.exists() {
        return Err(Failure::new(
            Exit::NotFound,
            format!("module {}: not there", answers.module.display()),
        )
        .fix("install softhsm2, or name its library with `module` in an answers file"));
    }
    Ok(())
}

/// Whether these answers make names and plans.
fn would_be_approved(answers: &Answers) -> Result<(), Failure> {
    let wrong = |what: &str, e: String| Failure::new(Exit::Usage, format!("{what}: {e}"));
    policies::name::directory_string(&answers.organization).map_err(|e| wrong("organization", e.to_string()))?;
    for name in ["Root R1", "Issuing 1A"] {
        let name = format!("{}{} {name}", policies::REHEARSAL_PREFIX, answers.organization);
        policies::name::directory_string(&name).map_err(|e| wrong("common name", e.to_string()))?;
    }
    let profiles = Profiles::builtin().context("built-in profiles")?;
    let plan = ServerTlsPlan {
        names: answers.san(),
        spki: spki(&p256()?)?,
    };
    plan.approve(
        &answers.organization,
        &profiles,
        &Quorum::Rehearsal,
        UnixTime(words::now()),
    )
    .map_err(|e| Failure::new(Exit::Usage, e.to_string()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_is_judged_before_anything_is_made() {
        // Any file will do for a module here: it is not loaded.
        let good = Answers {
            module: "/dev/null".into(),
            ..Answers::default()
        };
        judge(&good).unwrap();
        let refused = |change: fn(&mut Answers)| {
            let mut answers = good.clone();
            change(&mut answers);
            let failure = judge(&answers).unwrap_err();
            (failure.exit, failure.message)
        };
        for (change, why) in [
            ((|a| a.organization = String::new()) as fn(&mut Answers), "organization"),
            (|a| a.organization = "x".repeat(50), "common name"),
            (|a| a.organization = "a\u{1b}[2J".into(), "organization"),
            (|a| a.server_names = vec!["*.example".into()], "server-tls"),
            (|a| a.server_names.clear(), "server-tls"),
            (|a| a.listen = "8443".into(), "listen"),
            (|a| a.metrics = "localhost:9464".into(), "metrics"),
            (|a| a.status = "8080".into(), "status"),
            (|a| a.pki_url = "https://localhost".into(), "pki_url"),
            (|a| a.pki_url = "http://localhost/".into(), "pki_url"),
            (|a| a.database = "mysql://x".into(), "database"),
            (|a| a.root_algorithm = "md5".into(), "md5"),
            (|a| a.issuing_algorithm = "rsa2048-pkcs1-sha256".into(), "rsa2048"),
        ] {
            let (exit, message) = refused(change);
            assert_eq!(exit, Exit::Usage, "{message}");
            assert!(message.contains(why), "{message}");
        }
        assert_eq!(refused(|a| a.module = "/nowhere/lib.so".into()).0, Exit::NotFound);
    }
}
