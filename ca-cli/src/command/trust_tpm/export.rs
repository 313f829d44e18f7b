//! `ca-cli trust tpm export FILE`: the same store gives the same bytes.

use std::path::Path;

use attest::trust::{About, Anchors};
use openssl::pkey::PKey;
use policies::trust::bundle;
use serde_json::json;
use zeroize::Zeroizing;

use super::{counted, counts, verify};
use crate::exit::{Exit, Failure, write_new};
use crate::fingerprint;
use crate::output::{Report, fields};
use crate::trust;

pub(super) fn run(
    file: &Path,
    decided: bool,
    sign: Option<&Path>,
    store: &Path,
    about: About,
) -> Result<Report, Failure> {
    let store = trust::open(store, about)?;
    let store = if decided { store.decided() } else { store };
    let anchors = Anchors::of(store.sources()).map_err(|e| Failure::new(Exit::Usage, e.to_string()))?;
    let software: Vec<String> = anchors.software_anchors().into_iter().map(str::to_owned).collect();
    let text = store.render()?;
    let signature = sign.map(|key| signature(text.as_bytes(), key)).transpose()?;
    write_new(file, text.as_bytes())?;
    let beside = verify::beside(file);
    if let Some(signature) = &signature {
        write_new(&beside, signature)?;
    }
    let sha256 = openssl::sha::sha256(text.as_bytes());
    let all = counts(&store);
    let json = json!({
        "schema": "holdfast.trust-export.v1",
        "version": store.version(),
        "sha256": hex::encode(sha256),
        "counts": all.iter().map(|(state, count)| ((*state).to_owned(), json!(count))).collect::<serde_json::Map<_, _>>(),
        "software_anchors": software,
        "signature": signature.as_ref().map(|_| beside.display().to_string()),
    });
    let mut lines = vec![
        ("file", file.display().to_string()),
        ("version", store.version().to_string()),
        ("holds", counted(&all)),
    ];
    if !software.is_empty() {
        lines.push((
            "warning",
            format!(
                "software anchors, which no production server starts with: {}",
                software.join(", ")
            ),
        ));
    }
    if signature.is_some() {
        lines.push(("signature", beside.display().to_string()));
    }
    let text = format!("{}SHA-256\n{}", fields(&lines), fingerprint::groups(&sha256));
    Ok(Report::new(json, move |_| text))
}

/// The signature over the store's bytes by the key in this file.
fn signature(text: &[u8], path: &Path) -> Result<Vec<u8>, Failure> {
    let pem = Zeroizing::new(crate::exit::read(path)?);
    let wrong = |what: &str| Failure::new(Exit::Usage, format!("{}: {what}", path.display()));
    let key = PKey::private_key_from_pem_callback(&pem, |_| Ok(0)).map_err(|_| {
        wrong("no unencrypted PEM private key").fix("openssl pkey -in KEY -out PLAIN, on the desk only")
    })?;
    bundle::sign(text, &key).map_err(|e| wrong(&e.to_string()))
}
