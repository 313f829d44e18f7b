//! A plan for a real root is rehearsed as it is: beside its software token it needs a root that stands in for the real one,
//! of its name, its dates and its algorithm, with a key of its own and marked as what it is.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use attest::UnixTime;
use ceremony::inputs::Subject;
use ceremony::making;
use ceremony::share::{Secret, SecretKind, Threshold, split};
use ceremony::{Plan, Sha256};
use hsm::{Found, KeyCustody, KeySpec, Token, TokenConfig};
use issuance::{AuditRecord, Issuer, Order, Recorder};
use policies::Profiles;
use secrecy::ExposeSecret as _;
use zeroize::Zeroizing;

use super::access::{Access, token_failure};
use super::{OsEntropy, draw_serial};
use crate::custody::shares;
use crate::exit::{Exit, Failure, read};
use crate::medium::Medium;
use crate::words;

/// Its certificate, below the folder of the rehearsal, and the record of what its key signed for it.
const FILE: &str = "stand-in.cer";
const RECORD: &str = "stand-in";

/// The key in the token that stands in for the plan's, made if it is not there: its public half, SubjectPublicKeyInfo DER.
fn key(plan: &Plan, token: &Token) -> Result<hsm::HsmKey, Failure> {
    let spec = KeySpec {
        label: plan.key().label.clone(),
        id: plan.key().id.clone(),
        algorithm: plan.key().algorithm,
    };
    match token.found(&spec).map_err(token_failure)? {
        Found::Key => {}
        found => {
            if found == Found::PublicOnly {
                token.discard_public(&spec).map_err(token_failure)?;
            }
            token.generate(&spec).map_err(token_failure)?;
        }
    }
    let spki = token.public_key(&spec.id, spec.algorithm).map_err(token_failure)?;
    let key = token.kept_key(&spec.id, &spki, spec.algorithm, KeyCustody::NeverLeaves);
    key.map_err(token_failure)
}

/// The certificate that stands in for `real`, DER, made once below `dir`: self-signed by the key that the token of
/// `access` has, or gets, under the label of the plan.
pub(crate) fn certificate(plan: &Plan, real: &Issuer, access: &Access, dir: &Path) -> Result<Vec<u8>, Failure> {
    let path = dir.join(FILE);
    if path.exists() {
        return read(&path);
    }
    let config = TokenConfig {
        uri: access.uri.clone(),
        sessions: 1,
        queue_deadline: std::time::Duration::from_secs(30),
        login_backoff: std::time::Duration::from_secs(1),
    };
    let pin = access
        .pin
        .read(None)
        .map_err(|e| Failure::new(Exit::Usage, e.to_string()))?;
    let token = Token::open_despite(config, pin, hsm::PinWarning::CountLow).map_err(token_failure)?;
    let key = key(plan, &token)?;
    let no = |e: &dyn std::fmt::Display| {
        Failure::new(
            Exit::No,
            format!("nothing can stand in for the issuer of this plan: {e}"),
        )
    };
    let der = real.chain().first().context("the issuer has a certificate")?;
    let named = Subject::read(der).map_err(|e| no(&e))?;
    let profiles = Profiles::builtin().context("built-in profiles")?;
    let linted = making::stand_in(&named, real, &key, &profiles, draw_serial()?).map_err(|e| no(&e))?;
    let record = Medium::resume(&dir.join(RECORD)).context("record of the stand-in")?;
    let at = UnixTime(words::now());
    let sha256 = plan.sha256();
    let mut id = [0; 16];
    openssl::rand::rand_bytes(&mut id).context("randomness")?;
    let order = Order {
        enrollment_id: id,
        request_sha256: sha256.0,
        device: None,
        evidence: None,
        transcript: None,
        renews: None,
        audit: AuditRecord {
            at,
            action: "rehearsal.stand-in".into(),
            actor: format!("uid {}", rustix::process::getuid().as_raw()),
            subject: plan.name().to_owned(),
            reason: "rehearsal".into(),
            detail: String::new(),
        },
        at,
    };
    let recorder: &dyn Recorder = &record;
    let recorded = issuance::record(vec![linted], &order, recorder).context("intent")?;
    let mut signed = Vec::new();
    for one in recorded {
        signed.push(one.sign(&key).context("certificate")?);
    }
    let issued = issuance::issue(signed, &id, recorder).context("outcome")?;
    let made = issued.first().context("nothing was issued")?.certificate().to_vec();
    whole(&path, &made)?;
    Ok(made)
}

/// Sheets of the token's PIN, where the plan wants it typed in shares: those of the real token stay in their bags.
pub(crate) fn sheets(plan: &Plan, access: &Access, secrets: &Path) -> Result<(), Failure> {
    let quorum = plan.quorum();
    let Some(ceremony) = quorum.shares_of.as_deref().filter(|_| quorum.split_pin) else {
        return Ok(());
    };
    let last = secrets.join(format!("token-pin-share-{}.txt", quorum.officers.len()));
    if last.exists() {
        return Ok(());
    }
    let of = |count: usize| u8::try_from(count).unwrap_or(u8::MAX);
    let threshold = Threshold::new(of(quorum.required), of(quorum.officers.len()));
    let threshold =
        threshold.ok_or_else(|| Failure::new(Exit::Usage, "a secret is split among two to sixteen officers"))?;
    let pin = access
        .pin
        .read(None)
        .map_err(|e| Failure::new(Exit::Usage, e.to_string()))?;
    let secret = Secret::new(Zeroizing::new(pin.expose_secret().as_bytes().to_vec()));
    let all = split(&secret, ceremony, SecretKind::TokenPin, threshold, &mut OsEntropy);
    let all = all.map_err(|e| Failure::new(Exit::Failed, e.to_string()))?;
    for (share, officer) in all.iter().zip(&quorum.officers) {
        let path = secrets.join(format!("token-pin-share-{}.txt", share.index()));
        whole(&path, shares::sheet(ceremony, &officer.role, share, true).as_bytes())?;
    }
    Ok(())
}

/// Write a new file of mode 0600, whole or not at all.
fn whole(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let part = path.with_extension("part");
    let opened = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&part);
    let written = opened.and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&part, path)
    });
    Ok(written.with_context(|| path.display().to_string())?)
}

/// What is said of a key that stands in for another.
pub(crate) fn told(found: &Sha256, planned: &Sha256) -> String {
    format!("key {found} stands in for {planned}")
}
