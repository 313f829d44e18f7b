//! Keys, certificates and configuration of a rehearsal, through the corridor every certificate takes.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use attest::{Entropy, EntropyError, UnixTime};
use hsm::{HsmKey, KeySpec, PinSource, Token, TokenConfig};
use issuance::{
    AuditRecord, CaKey, Draft, Issued, Issuer, IssuerUrls, Linted, Order, Recorder, Serial, SignatureAlgorithm,
};
use openssl::pkey::{PKey, Private};
use policies::{CaPlan, CeremonyPlan, Grant, Profiles, Quorum, ServerTlsPlan};

use super::answers::algorithm;
use super::configuration::configuration;
use super::{Answers, Layout};
use crate::exit::Failure;
use crate::medium::Medium;
use crate::words;

/// What a rehearsal made.
pub(crate) struct Hierarchy {
    /// Root, DER.
    pub(crate) root: Vec<u8>,
    /// Issuing CA, DER.
    pub(crate) issuing: Vec<u8>,
    /// The server's certificate, DER.
    pub(crate) server: Vec<u8>,
    /// Attributes of the keys as the tokens read them back: (token, CKA_ name, value).
    pub(crate) attributes: Vec<(&'static str, String, String)>,
}

/// CKA_ID of both CA keys; they live in two tokens.
const KEY_ID: [u8; 1] = [1];
/// CKA_ID of the OCSP responder's key, in the token of the issuing CA. Its certificate the server makes itself.
const RESPONDER_KEY_ID: [u8; 1] = [2];

/// A key in a token, and its token.
struct TokenKey {
    token: Token,
    key: HsmKey,
    spki: Vec<u8>,
    attributes: Vec<(String, String)>,
}

/// Perform the rehearsal; `say` gets one line per step.
pub(crate) fn perform(answers: &Answers, layout: &Layout, say: &dyn Fn(&str)) -> Result<Hierarchy, Failure> {
    let root_algorithm = algorithm(&answers.root_algorithm)?;
    let issuing_algorithm = algorithm(&answers.issuing_algorithm)?;
    let now = UnixTime(words::now());

    say("two tokens: one for the root, one for the issuing CA");
    let root = token_key(answers, layout, "root", root_algorithm)?;
    let issuing = token_key(answers, layout, "issuing", issuing_algorithm)?;
    let responder = KeySpec {
        label: "ocsp-1".to_owned(),
        id: RESPONDER_KEY_ID.to_vec(),
        algorithm: SignatureAlgorithm::EcdsaP256Sha256,
    };
    let responder = issuing.token.generate(&responder).context("the OCSP responder's key")?;
    let server_key = p256()?;

    say("the plan, and its approval (a rehearsal: by nobody, and marked so)");
    let plan = plan(answers, [&root.spki, &issuing.spki, &spki(&server_key)?]);
    let profiles = Profiles::builtin().context("built-in profiles")?;
    let grants = plan.approve(&profiles, Quorum::Rehearsal, now);
    let [root_grant, issuing_grant, server_grant] =
        grants.map_err(|e| Failure::new(crate::exit::Exit::Usage, e.to_string()))?;

    let medium = Medium::create(&layout.path("ceremony")).context("ceremony medium")?;
    let ceremony = Ceremony {
        plan_sha256: digest(&plan),
        medium: &medium,
        at: now,
    };

    say("root: draft, lint, record, sign in the token, verify, record");
    let draft = Draft::self_signed(root_grant, &root.key, serial()?).context("root")?;
    let root_certificate = ceremony.issue(draft.lint().context("root")?, &root.key, "root")?;

    say("issuing CA: the same corridor, signed by the root");
    let root_issuer = Issuer::from_chain(
        std::slice::from_ref(&root_certificate),
        root_algorithm,
        IssuerUrls::default(),
    )
    .context("root")?;
    let issuing_certificate = ceremony.below(issuing_grant, &root_issuer, &root.key, "issuing")?;

    say("the server's own TLS certificate, signed by the issuing CA");
    let chain = [issuing_certificate.clone(), root_certificate.clone()];
    let issuer = Issuer::from_chain(&chain, issuing_algorithm, IssuerUrls::default()).context("issuing CA")?;
    let server_certificate = ceremony.below(server_grant, &issuer, &issuing.key, "server-tls")?;

    say("files");
    let pem = |ders: &[&Vec<u8>]| -> anyhow::Result<Vec<u8>> {
        let mut text = Vec::new();
        for der in ders {
            text.extend(openssl::x509::X509::from_der(der)?.to_pem()?);
        }
        Ok(text)
    };
    layout.put("ca/root.pem", &pem(&[&root_certificate])?)?;
    layout.put("ca/issuing.pem", &pem(&[&issuing_certificate])?)?;
    layout.put("ca/chain.pem", &pem(&[&issuing_certificate, &root_certificate])?)?;
    layout.put("server-tls.pem", &pem(&[&server_certificate, &issuing_certificate])?)?;
    layout.put(
        "server-tls.key",
        &server_key.private_key_to_pem_pkcs8().context("server key")?,
    )?;
    layout.put("seal.key", format!("{}\n", random_hex(32)?).as_bytes())?;
    layout.put(
        "server.toml",
        configuration(answers, &KEY_ID, &RESPONDER_KEY_ID).as_bytes(),
    )?;
    let attributes = [
        ("root", root.attributes),
        ("issuing", issuing.attributes),
        ("ocsp", responder.attributes),
    ];
    Ok(Hierarchy {
        root: root_certificate,
        issuing: issuing_certificate,
        server: server_certificate,
        attributes: attributes
            .into_iter()
            .flat_map(|(t, list)| list.into_iter().map(move |(n, v)| (t, n, v)))
            .collect(),
    })
}

/// What is to be made of these answers and keys: root, issuing CA, server.
fn plan(answers: &Answers, [root, issuing, server]: [&Vec<u8>; 3]) -> CeremonyPlan {
    let ca = |name: &str, spki: &Vec<u8>| CaPlan {
        common_name: format!("{} {name}", answers.organization),
        spki: spki.clone(),
    };
    CeremonyPlan {
        organization: answers.organization.clone(),
        root: ca("Root R1", root),
        issuing: ca("Issuing 1A", issuing),
        server_tls: ServerTlsPlan {
            names: answers.san(),
            spki: server.clone(),
        },
    }
}

/// Whether a plan of these answers would be approved: asked with keys of no worth, before anything is made.
pub(crate) fn would_be_approved(answers: &Answers) -> Result<(), Failure> {
    let keys: anyhow::Result<Vec<Vec<u8>>> = (0..3).map(|_| spki(&p256()?)).collect();
    let keys = keys?;
    let [root, issuing, server] = keys.as_slice() else {
        return Ok(());
    };
    let profiles = Profiles::builtin().context("built-in profiles")?;
    let approved = plan(answers, [root, issuing, server]).approve(&profiles, Quorum::Rehearsal, UnixTime(words::now()));
    approved
        .map(|_| ())
        .map_err(|e| Failure::new(crate::exit::Exit::Usage, e.to_string()))
}

/// One ceremony: what all its certificates share.
struct Ceremony<'a> {
    plan_sha256: [u8; 32],
    medium: &'a Medium,
    at: UnixTime,
}

impl Ceremony<'_> {
    fn below(&self, grant: Grant, issuer: &Issuer, key: &dyn CaKey, step: &str) -> Result<Vec<u8>, Failure> {
        let draft = Draft::new(grant, issuer, serial()?).with_context(|| step.to_owned())?;
        self.issue(draft.lint().with_context(|| step.to_owned())?, key, step)
    }

    /// Record, sign once, record: each step names the certificate and has an id of its own.
    fn issue(&self, linted: Linted, key: &dyn CaKey, step: &str) -> Result<Vec<u8>, Failure> {
        let mut id = [0; 16];
        OsEntropy.fill(&mut id).context("randomness")?;
        let order = Order {
            enrollment_id: id,
            request_sha256: self.plan_sha256,
            device: None,
            evidence: None,
            renews: None,
            audit: AuditRecord {
                at: self.at,
                action: format!("rehearsal.{step}"),
                actor: format!("uid {}", rustix::process::getuid().as_raw()),
                subject: hex::encode(id),
                reason: "ceremony-rehearsal".into(),
                detail: String::new(),
            },
            at: self.at,
        };
        let recorder: &dyn Recorder = self.medium;
        let recorded = issuance::record(vec![linted], &order, recorder).with_context(|| step.to_owned())?;
        let signed: Result<Vec<_>, _> = recorded.into_iter().map(|r| r.sign(key)).collect();
        let signed = signed.with_context(|| step.to_owned())?;
        let issued: Vec<Issued> = issuance::issue(signed, &id, recorder).with_context(|| step.to_owned())?;
        let issued = issued.first().context("nothing was issued")?;
        Ok(issued.certificate().to_vec())
    }
}

/// A new token with a new key in it; PINs are drawn and kept in files of mode 0600.
fn token_key(
    answers: &Answers,
    layout: &Layout,
    name: &str,
    algorithm: SignatureAlgorithm,
) -> Result<TokenKey, Failure> {
    let pin_file = layout.put(
        &format!("secrets/{name}.pin"),
        format!("{}\n", random_hex(16)?).as_bytes(),
    )?;
    let so_pin_file = layout.put(
        &format!("secrets/{name}.so-pin"),
        format!("{}\n", random_hex(16)?).as_bytes(),
    )?;
    let read = |path: &Path| PinSource::File(path.to_owned()).read(None).context("PIN file");
    let label = format!("holdfast-{name}");
    hsm::init_token(&answers.module, &label, &read(&so_pin_file)?, &read(&pin_file)?).with_context(|| label.clone())?;
    let uri = hsm::Pkcs11Uri {
        token: Some(label.clone()),
        module_path: Some(answers.module.clone()),
        ..Default::default()
    };
    let config = TokenConfig {
        uri,
        sessions: 2,
        queue_deadline: Duration::from_secs(30),
        login_backoff: Duration::from_secs(10),
    };
    let token = Token::open(config, read(&pin_file)?).with_context(|| label.clone())?;
    let spec = KeySpec {
        label: format!("{name}-1"),
        id: KEY_ID.to_vec(),
        algorithm,
    };
    let generated = token.generate(&spec).with_context(|| label.clone())?;
    let key = token
        .ca_key(&generated.id, &generated.spki, algorithm)
        .with_context(|| label.clone())?;
    Ok(TokenKey {
        token,
        key,
        spki: generated.spki,
        attributes: generated.attributes,
    })
}

fn p256() -> anyhow::Result<PKey<Private>> {
    let group = openssl::ec::EcGroup::from_curve_name(openssl::nid::Nid::X9_62_PRIME256V1)?;
    Ok(PKey::from_ec_key(openssl::ec::EcKey::generate(&group)?)?)
}

fn spki(key: &PKey<Private>) -> anyhow::Result<Vec<u8>> {
    Ok(key.public_key_to_der()?)
}

fn serial() -> anyhow::Result<Serial> {
    Ok(Serial::draw(&mut OsEntropy)?)
}

fn random_hex(octets: usize) -> anyhow::Result<String> {
    let mut bytes = vec![0; octets];
    openssl::rand::rand_bytes(&mut bytes)?;
    Ok(hex::encode(bytes))
}

/// What was approved, as one digest: keys, names and organization in a fixed order, each with its length.
fn digest(plan: &CeremonyPlan) -> [u8; 32] {
    let mut hasher = openssl::sha::Sha256::new();
    let names = format!("{:?}", plan.server_tls.names);
    let parts: [&[u8]; 7] = [
        plan.organization.as_bytes(),
        plan.root.common_name.as_bytes(),
        &plan.root.spki,
        plan.issuing.common_name.as_bytes(),
        &plan.issuing.spki,
        names.as_bytes(),
        &plan.server_tls.spki,
    ];
    for part in parts {
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finish()
}

/// Random bytes of the operating system, by way of OpenSSL.
struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        openssl::rand::rand_bytes(out).map_err(|_| EntropyError)
    }
}
