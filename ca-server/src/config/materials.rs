//! What the named files hold: certificates, keys, anchors, policies.

use std::collections::HashSet;
use std::num::NonZeroU16;
use std::ops::Range;
use std::path::Path;

use attest::SealKey;
use attest::iak::Manufacturers;
use attest::trust::{About, Anchors, TrustSources};
use issuance::{Issuer, IssuerUrls, SignatureAlgorithm};
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Private};
use openssl::x509::X509;
use policies::trust::bundle::{self, SignedBundle, TrustKey};
use policies::{Advisories, Mode, PolicySet, Profiles};
use settings::Source;
use toml::Spanned;
use zeroize::Zeroizing;

use super::files::{self, Base};
use super::{ConfigError, Tls, raw};

/// The key belongs to the first certificate, and the chain hangs together.
pub(super) fn tls(source: &Source, base: &Base, raw: &raw::RawTls) -> Result<Tls, ConfigError> {
    let certificate = base.resolve(raw.certificate.get_ref());
    let key = base.resolve(raw.key.get_ref());
    let chain = pem_chain(source, &raw.certificate.span(), &certificate)?;
    let pem = files::read_secret(source, &raw.key.span(), &key)?;
    let private: PKey<Private> = PKey::private_key_from_pem_callback(&pem, |_| Ok(0)).map_err(|_| {
        source.error(
            &raw.key.span(),
            format!("{}: no unencrypted PEM private key", key.display()),
        )
    })?;
    let leaf = chain.first().and_then(|leaf| leaf.public_key().ok()).ok_or_else(|| {
        source.error(
            &raw.certificate.span(),
            format!("{}: no usable key", certificate.display()),
        )
    })?;
    if !leaf.public_eq(&private) {
        return Err(source.error(&raw.key.span(), "the TLS key is not the key of the TLS certificate"));
    }
    for pair in chain.windows(2) {
        if let [below, above] = pair
            && above.issued(below) != openssl::x509::X509VerifyResult::OK
        {
            return Err(source
                .error(
                    &raw.certificate.span(),
                    format!("{}: not a chain", certificate.display()),
                )
                .help("put the server's certificate first, then the one that issued it, and so on"));
        }
    }
    Ok(Tls { certificate, key })
}

pub(super) fn issuer(
    source: &Source,
    base: &Base,
    raw: &raw::RawIssuer,
    rehearsal: bool,
) -> Result<Issuer, ConfigError> {
    let span = raw.certificate.span();
    let path = base.resolve(raw.certificate.get_ref());
    let chain = pem_chain(source, &span, &path)?;
    let Some(first) = chain.first() else {
        return Err(source.error(&span, format!("{}: no certificate in it", path.display())));
    };
    let algorithm = match &raw.algorithm {
        Some(name) => SignatureAlgorithm::from_text(name.get_ref()).ok_or_else(|| {
            source.error(&name.span(), "there is no such algorithm").help(format!(
                "algorithms: {}",
                SignatureAlgorithm::ALL.map(SignatureAlgorithm::as_str).join(", ")
            ))
        })?,
        None => algorithm_of(first)
            .ok_or_else(|| source.error(&span, format!("{}: not a key a CA may have here", path.display())))?,
    };
    for url in [&raw.ca_issuers_url, &raw.ocsp_url, &raw.crl_url].into_iter().flatten() {
        let text = url.get_ref();
        let plain = text.starts_with("http://") && text.len() > 7 && text.bytes().all(|b| b.is_ascii_graphic());
        if !plain {
            return Err(source.error(&url.span(), "this URL is plain http (RFC 5280 §4.2.1.13, §4.2.2.1)"));
        }
    }
    let urls = IssuerUrls {
        ca_issuers: raw.ca_issuers_url.as_ref().map(|u| u.get_ref().clone()),
        ocsp: raw.ocsp_url.as_ref().map(|u| u.get_ref().clone()),
        crl: raw.crl_url.as_ref().map(|u| u.get_ref().clone()),
        crl_shards: shards(source, raw)?,
    };
    let der = chain
        .iter()
        .map(|certificate| certificate.to_der())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| source.error(&span, format!("{}: {e}", path.display())))?;
    if !rehearsal && der.iter().any(|certificate| is_rehearsal(certificate)) {
        return Err(source
            .error(
                &span,
                format!("{}: a CA of a rehearsal does not run in production", path.display()),
            )
            .help("use the chain of a ceremony, or say [server] mode = \"rehearsal\"")
            .refusal());
    }
    Issuer::from_chain(&der, algorithm, urls).map_err(|e| source.error(&span, format!("{}: {e}", path.display())))
}

/// URL and number of shards say the same.
fn shards(source: &Source, raw: &raw::RawIssuer) -> Result<Option<NonZeroU16>, ConfigError> {
    const PLACE: &str = "{shard}";
    let places = raw
        .crl_url
        .as_ref()
        .map_or(0, |url| url.get_ref().matches(PLACE).count());
    match (&raw.crl_url, &raw.crl_shards) {
        (Some(url), None) if places > 0 => Err(source
            .error(&url.span(), format!("{PLACE} in crl_url, but no crl_shards"))
            .help("say crl_shards = 128, or take it out of the URL")),
        (None, Some(count)) => Err(source.error(&count.span(), "crl_shards without crl_url")),
        (Some(url), Some(_)) if places != 1 => Err(source
            .error(&url.span(), format!("with crl_shards, crl_url has {PLACE} once"))
            .help("for example \"http://pki.example.net/crl/{shard}.crl\"")),
        (_, None) => Ok(None),
        (_, Some(count)) => NonZeroU16::new(*count.get_ref())
            .map(Some)
            .ok_or_else(|| source.error(&count.span(), "this must be at least 1")),
    }
}

pub(super) fn anchors(
    source: &Source,
    base: &Base,
    raw: &raw::RawTrust,
    rehearsal: bool,
    bundles: &mut Vec<SignedBundle>,
) -> Result<Anchors, ConfigError> {
    let span = raw.files.span();
    let files = raw.files.get_ref();
    let mut sources = sources(
        source,
        base,
        files,
        &raw.intermediates,
        About::Tpm,
        &raw.signed_by,
        bundles,
    )?;
    // Who believes device manufacturers may know no TPM manufacturer.
    if sources.anchors.is_empty() && raw.manufacturers.is_empty() {
        return Err(source.error(&span, "no anchor: no TPM could ever be believed"));
    }
    no_test_cas(source, &span, rehearsal, &mut sources)?;
    for (span, path) in files::expand(source, base, &raw.crls, &["crl"])? {
        let bytes = files::read(source, &span, &path)?;
        attest::trust::CrlFacts::read(&bytes)
            .map_err(|e| source.error(&span, format!("{}: no CRL that is taken (DER): {e}", path.display())))?;
        sources.crls.push(bytes);
    }
    for name in &raw.demand_crl {
        if !sources.anchors.iter().any(|anchor| anchor.name == *name.get_ref()) {
            return Err(source.error(&name.span(), "no anchor has this name"));
        }
        sources.demand_crl.push(name.get_ref().clone());
    }
    let anchors = Anchors::of(sources).map_err(|e| source.error(&span, format!("{e}")))?;
    no_software(source, &span, rehearsal, &anchors.software_anchors())?;
    Ok(anchors)
}

/// Whom to believe about IAKs.
pub(super) fn manufacturers(
    source: &Source,
    base: &Base,
    raw: &raw::RawTrust,
    rehearsal: bool,
    bundles: &mut Vec<SignedBundle>,
) -> Result<Manufacturers, ConfigError> {
    let span = raw
        .manufacturers
        .first()
        .map_or_else(|| raw.files.span(), Spanned::span);
    let sources = sources(
        source,
        base,
        &raw.manufacturers,
        &raw.manufacturer_intermediates,
        About::Iak,
        &raw.signed_by,
        bundles,
    )?;
    let manufacturers = Manufacturers::of(sources).map_err(|e| source.error(&span, format!("{e}")))?;
    no_software(source, &span, rehearsal, &manufacturers.software_anchors())?;
    Ok(manufacturers)
}

fn no_software(source: &Source, span: &Range<usize>, rehearsal: bool, software: &[&str]) -> Result<(), ConfigError> {
    if !rehearsal && !software.is_empty() {
        return Err(source
            .error(
                span,
                format!(
                    "anchors of software TPMs are refused in production: {}",
                    software.join(", ")
                ),
            )
            .help("take them out, or say [server] mode = \"rehearsal\"")
            .refusal());
    }
    Ok(())
}

/// A CA that was made for tests is no anchor in production, and no link: what is below one is refused.
fn no_test_cas(
    source: &Source,
    span: &Range<usize>,
    rehearsal: bool,
    sources: &mut TrustSources,
) -> Result<(), ConfigError> {
    let failed = |e: policies::trust::TrustFileError| source.error(span, e.to_string());
    for anchor in &sources.anchors {
        if rehearsal && anchor.kind == attest::AnchorKind::Software {
            continue;
        }
        if let Some(test) = policies::trust::test_ca(&anchor.certificate).map_err(failed)? {
            return Err(source
                .error(
                    span,
                    format!(
                        "anchor `{}` is the test CA `{}` ({}): {}",
                        anchor.name, test.name, test.source, test.why
                    ),
                )
                .help("take it out; a rehearsal may have it with kind = \"software\"")
                .refusal());
        }
    }
    if !rehearsal {
        sources
            .refused
            .extend(policies::trust::without_test_cas().map_err(failed)?);
    }
    Ok(())
}

/// What the files say, all of them about the same.
fn sources(
    source: &Source,
    base: &Base,
    files: &[Spanned<std::path::PathBuf>],
    intermediates: &[Spanned<std::path::PathBuf>],
    about: About,
    signers: &[Spanned<std::path::PathBuf>],
    bundles: &mut Vec<SignedBundle>,
) -> Result<TrustSources, ConfigError> {
    let keys = signers
        .iter()
        .map(|path| {
            let full = base.resolve(path.get_ref());
            TrustKey::from_pem(&files::read(source, &path.span(), &full)?)
                .map_err(|e| source.error(&path.span(), format!("{}: {e}", full.display())))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let mut sources = TrustSources {
        about,
        ..TrustSources::default()
    };
    for (span, path) in files::expand(source, base, files, &["toml"])? {
        let text = files::read_text(source, &span, &path)?;
        if !keys.is_empty() {
            let bundle = signed(source, &span, &path, &text, &keys)?;
            if let Some(other) = bundles.iter().find(|other| other.row() == bundle.row()) {
                return Err(source.error(
                    &span,
                    format!(
                        "{} and {} are signed by one key, and about the same",
                        other.file, bundle.file
                    ),
                ));
            }
            bundles.push(bundle);
        }
        let found = policies::trust::sources(&files::file_name(&path), &text)
            .map_err(|e| source.error(&span, format!("{e}")))?;
        if found.about != about {
            return Err(source
                .error(
                    &span,
                    format!(
                        "{}: a trust file about `{}`, not `{}`",
                        path.display(),
                        found.about.as_str(),
                        about.as_str()
                    ),
                )
                .help("[trust] files is about TPM manufacturers, [trust] manufacturers about device manufacturers"));
        }
        sources.merge(found);
    }
    for (span, path) in files::expand(source, base, intermediates, &["pem", "cer", "crt", "der"])? {
        let bytes = files::read(source, &span, &path)?;
        if bytes.starts_with(b"-----") || bytes.windows(11).any(|w| w == b"-----BEGIN ") {
            for certificate in pem_chain(source, &span, &path)? {
                let der = certificate
                    .to_der()
                    .map_err(|e| source.error(&span, format!("{}: {e}", path.display())))?;
                sources.intermediates.push(der);
            }
        } else {
            sources.intermediates.push(bytes);
        }
    }
    Ok(sources)
}

/// The store in a file that one of the keys signed; the signature lies beside it.
fn signed(
    source: &Source,
    span: &Range<usize>,
    path: &Path,
    text: &str,
    keys: &[TrustKey],
) -> Result<SignedBundle, ConfigError> {
    let shown = path.display();
    let mut beside = path.as_os_str().to_owned();
    beside.push(".sig");
    let signature = files::read(source, span, Path::new(&beside))?;
    let key = bundle::signed_by(text.as_bytes(), &signature, keys)
        .map_err(|e| source.error(span, format!("{shown}: {e}")).refusal())?;
    let store = policies::trust::TrustStore::parse(&files::file_name(path), text).map_err(|e| {
        source
            .error(span, e.to_string())
            .help("with `signed_by`, every trust file is a store as `ca-cli trust tpm export --sign` writes it")
    })?;
    Ok(SignedBundle {
        file: shown.to_string(),
        about: store.about().as_str(),
        version: store.version(),
        sha256: attest::sha256(text.as_bytes()),
        key_sha256: key.sha256(),
    })
}

/// Keys of makers whose manifests are believed. A CA's key is none: it signs certificates and CRLs.
pub(super) fn manifest_signers(
    source: &Source,
    base: &Base,
    raw: &raw::RawManifests,
    issuer: &Issuer,
) -> Result<HashSet<[u8; 32]>, ConfigError> {
    let mut signers = HashSet::new();
    for path in &raw.signers {
        let wrong = |what: String| source.error(&path.span(), what);
        let full = base.resolve(path.get_ref());
        let bytes = files::read(source, &path.span(), &full)?;
        let key = PKey::public_key_from_pem(&bytes).map_err(|_| {
            wrong(format!("{}: no PEM public key", full.display())).help("`ca-cli manifest key` writes one")
        })?;
        let der = key.public_key_to_der().map_err(|e| wrong(e.to_string()))?;
        if der == issuer.spki() {
            return Err(wrong(format!("{}: it is the issuing CA's own key", full.display())));
        }
        signers.insert(openssl::sha::sha256(&der));
    }
    Ok(signers)
}

pub(super) fn policy(
    source: &Source,
    base: &Base,
    raw: &raw::RawPolicy,
    rehearsal: bool,
) -> Result<(Profiles, PolicySet), ConfigError> {
    let mode = if rehearsal { Mode::Rehearsal } else { Mode::Production };
    let whole = |e: &dyn core::fmt::Display| ConfigError::of_file(&source.path, format!("built-in: {e}"));
    let profiles = match &raw.profiles {
        None => Profiles::builtin().map_err(|e| whole(&e))?,
        Some(path) => {
            let sources = texts(source, base, path, "toml")?;
            Profiles::from_sources(&sources).map_err(|e| source.error(&path.span(), format!("{e}")))?
        }
    };
    let rules = match &raw.rules {
        None => PolicySet::builtin(mode).map_err(|e| whole(&e))?,
        Some(path) => {
            let schemas = texts(source, base, path, "cedarschema")?;
            let [(_, schema)] = schemas.as_slice() else {
                return Err(source.error(&path.span(), "exactly one *.cedarschema belongs to the rules"));
            };
            let rules = texts(source, base, path, "cedar")?;
            PolicySet::from_sources(mode, schema, &rules).map_err(|e| source.error(&path.span(), format!("{e}")))?
        }
    };
    let rules = match &raw.advisories {
        None => rules,
        Some(path) => {
            let full = base.resolve(path.get_ref());
            let text = files::read_text(source, &path.span(), &full)?;
            let own = Advisories::builtin().and_then(|table| table.with(&files::file_name(&full), &text));
            rules.with_advisories(own.map_err(|e| source.error(&path.span(), format!("{e}")))?)
        }
    };
    Ok((profiles, rules))
}

pub(super) fn seal(source: &Source, base: &Base, raw: &raw::RawEnrollment) -> Result<SealKey, ConfigError> {
    let current = seal_key(source, base, &raw.seal_key_file)?;
    let previous = raw
        .previous
        .iter()
        .map(|path| seal_key(source, base, path))
        .collect::<Result<Vec<_>, _>>()?;
    let previous: Vec<&[u8; 32]> = previous.iter().map(|key| &***key).collect();
    Ok(SealKey::new(&current, &previous))
}

fn seal_key(
    source: &Source,
    base: &Base,
    path: &Spanned<std::path::PathBuf>,
) -> Result<Box<Zeroizing<[u8; 32]>>, ConfigError> {
    let span = path.span();
    let full = base.resolve(path.get_ref());
    let wrong = |message: String| {
        source.error(&span, message).help(format!(
            "make one: (umask 077; openssl rand -hex 32 > {})",
            full.display()
        ))
    };
    if !full.exists() {
        return Err(wrong(format!("{}: no such file", full.display())));
    }
    let bytes = files::read_secret(source, &span, &full)?;
    // Boxed: what is moved on is where it is, and not the key.
    let mut key = Box::new(Zeroizing::new([0; 32]));
    let digits = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    hex::decode_to_slice(digits, key.as_mut_slice())
        .map_err(|_| wrong(format!("{}: not 64 hex digits", full.display())))?;
    Ok(key)
}

fn texts(
    source: &Source,
    base: &Base,
    path: &Spanned<std::path::PathBuf>,
    ending: &str,
) -> Result<Vec<(String, String)>, ConfigError> {
    let span = path.span();
    files::directory(source, &span, &base.resolve(path.get_ref()), &[ending])?
        .into_iter()
        .map(|file| Ok((files::file_name(&file), files::read_text(source, &span, &file)?)))
        .collect()
}

fn pem_chain(source: &Source, span: &Range<usize>, path: &Path) -> Result<Vec<X509>, ConfigError> {
    let bytes = files::read(source, span, path)?;
    match X509::stack_from_pem(&bytes) {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        _ => Err(source.error(span, format!("{}: no PEM certificate in it", path.display()))),
    }
}

fn algorithm_of(certificate: &X509) -> Option<SignatureAlgorithm> {
    let key = certificate.public_key().ok()?;
    match (key.id(), key.bits()) {
        (Id::RSA, 3072) => Some(SignatureAlgorithm::Rsa3072Pkcs1Sha256),
        (Id::RSA, 4096) => Some(SignatureAlgorithm::Rsa4096Pkcs1Sha256),
        (Id::EC, _) => match key.ec_key().ok()?.group().curve_name()? {
            Nid::X9_62_PRIME256V1 => Some(SignatureAlgorithm::EcdsaP256Sha256),
            Nid::SECP384R1 => Some(SignatureAlgorithm::EcdsaP384Sha384),
            _ => None,
        },
        _ => None,
    }
}

/// Whether a CA certificate carries the mark of a rehearsal.
fn is_rehearsal(der: &[u8]) -> bool {
    use der::Decode as _;
    x509_cert::Certificate::from_der(der).is_ok_and(|certificate| {
        certificate
            .tbs_certificate()
            .extensions()
            .is_some_and(|all| all.iter().any(|e| e.extn_id == attest::rot::ID_REHEARSAL))
    })
}
