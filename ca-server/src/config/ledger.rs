//! `[ledger]` and its witnesses.

use std::path::PathBuf;
use std::time::Duration;

use ledger::{KeyName, SignatureKind, SigningKey, VerifierKey};
use settings::Source;

use super::{ConfigError, files, raw};

/// Terms of the ledger.
#[derive(Clone, Debug)]
pub struct LedgerTerms {
    /// Remembers the last tree that this server signed.
    pub head: PathBuf,
    /// Where tiles, entries and checkpoint are written, too.
    pub folder: Option<PathBuf>,
    /// From one checkpoint to the next, while there are new entries.
    pub every: Duration,
    /// An entry is in a signed tree so long after it was recorded.
    pub promise: Duration,
    /// Whether the issuing CA's key signs checkpoints, too.
    pub ca_key: bool,
    /// Who sees each checkpoint before it is published.
    pub witnesses: Vec<WitnessTerms>,
    /// How many of them must have signed it.
    pub quorum: usize,
    /// How long one may take.
    pub witness_timeout: Duration,
}

/// A witness.
#[derive(Clone, Debug)]
pub struct WitnessTerms {
    /// Where it is asked, without a slash at its end (C2SP tlog-witness: the submission prefix).
    pub url: String,
    /// Its key.
    pub key: VerifierKey,
    /// CA certificates for its TLS (PEM); none: those of the machine.
    pub ca: Option<Vec<u8>>,
}

/// Check `[ledger]`.
///
/// # Errors
/// [`ConfigError`].
pub(super) fn checked(
    source: &Source,
    base: &files::Base,
    raw: &raw::RawLedger,
) -> Result<(SigningKey, LedgerTerms), ConfigError> {
    let origin = KeyName::new(raw.origin.get_ref()).map_err(|e| source.error(&raw.origin.span(), e.to_string()))?;
    let place = raw.key_file.span();
    let path = base.resolve(raw.key_file.get_ref());
    let pem = files::read_secret(source, &place, &path)?;
    let key = SigningKey::from_pem(origin, SignatureKind::Ed25519, &pem).map_err(|e| {
        source
            .error(&place, format!("{}: {e}", path.display()))
            .help("openssl genpkey -algorithm ed25519 -out ledger.key")
    })?;
    let every = raw.every.as_ref().map_or(Duration::from_secs(1), |s| s.get_ref().0);
    let promise = raw
        .promise
        .as_ref()
        .map_or(Duration::from_secs(3600), |s| s.get_ref().0);
    if promise < every * 10
        && let Some(given) = raw.promise.as_ref().or(raw.every.as_ref())
    {
        return Err(source.error(
            &given.span(),
            "a promise leaves time for at least ten checkpoints: a database may be away for a while",
        ));
    }
    let terms = LedgerTerms {
        head: base.resolve(&raw.head),
        folder: raw.folder.as_ref().map(|folder| base.resolve(folder)),
        every,
        promise,
        ca_key: raw.ca_key.unwrap_or(true),
        quorum: quorum(source, raw)?,
        witnesses: witnesses(source, base, raw)?,
        witness_timeout: raw
            .witness_timeout
            .as_ref()
            .map_or(Duration::from_secs(5), |s| s.get_ref().0),
    };
    Ok((key, terms))
}

/// More than half of the witnesses, unless a number is given.
fn quorum(source: &Source, raw: &raw::RawLedger) -> Result<usize, ConfigError> {
    let count = raw.witness.len();
    let Some(given) = &raw.quorum else {
        return Ok(if count == 0 { 0 } else { count / 2 + 1 });
    };
    if *given.get_ref() > count {
        return Err(source.error(
            &given.span(),
            format!("{count} witnesses are named below [[ledger.witness]]: so many can sign, and no more"),
        ));
    }
    Ok(*given.get_ref())
}

fn witnesses(source: &Source, base: &files::Base, raw: &raw::RawLedger) -> Result<Vec<WitnessTerms>, ConfigError> {
    let mut checked: Vec<WitnessTerms> = Vec::new();
    for given in &raw.witness {
        let url = given.url.get_ref();
        let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        if host.is_none_or(str::is_empty) || url.ends_with('/') {
            return Err(source.error(
                &given.url.span(),
                "the url of a witness starts with https:// or http:// and does not end with a slash",
            ));
        }
        let key =
            VerifierKey::parse(given.key.get_ref()).map_err(|e| source.error(&given.key.span(), e.to_string()))?;
        if key.kind() != SignatureKind::Cosignature {
            return Err(source
                .error(&given.key.span(), "this key signs trees; a witness's signs what it saw")
                .help("ca-cli ledger key witness.key --origin w1.example.org --witness"));
        }
        if checked.iter().any(|other| other.key == key || other.url == *url) {
            return Err(source.error(&given.key.span(), "this witness is named twice"));
        }
        let ca = match &given.ca {
            None => None,
            Some(path) => {
                let path = path.get_ref();
                let pem = std::fs::read(base.resolve(path));
                Some(pem.map_err(|e| source.error(&given.url.span(), format!("{}: {e}", path.display())))?)
            }
        };
        let url = url.clone();
        checked.push(WitnessTerms { url, key, ca });
    }
    Ok(checked)
}
