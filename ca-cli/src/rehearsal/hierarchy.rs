//! Keys, certificates and configuration of a demonstration: two ceremonies, rehearsed on real plan files, and the
//! server's own certificate by the corridor every certificate takes.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use attest::{Entropy as _, UnixTime};
use ceremony::calendar::{self, DAY};
use ceremony::plan::write::{NewCertificate, NewPlan, write};
use ceremony::{Backup, Plan, Sha256};
use hsm::{HsmKey, KeySpec, Token, TokenConfig};
use issuance::{
    AuditRecord, CaKey, Draft, Issued, Issuer, IssuerUrls, Linted, Order, Recorder, Serial, SignatureAlgorithm,
};
use openssl::pkey::{PKey, Private};
use policies::{ProfileKind, Profiles, Quorum, ServerTlsPlan};

use super::answers::algorithm;
use super::configuration::configuration;
use super::{Answers, Layout};
use crate::ceremony::rehearse::{Outcome, Rehearsal, StandIn};
use crate::ceremony::{Access, OsEntropy, draw_serial, exchange, softtoken};
use crate::exit::{Exit, Failure};
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

/// Officers of the demonstration, and how many of them must approve.
const OFFICERS: [&str; 3] = ["crypto officer 1", "crypto officer 2", "crypto officer 3"];
const REQUIRED: usize = 2;

/// Perform the rehearsals; `say` gets one line per step.
pub(crate) fn perform(answers: &Answers, layout: &Layout, say: &dyn Fn(&str)) -> Result<Hierarchy, Failure> {
    let demo = Demo {
        answers,
        layout,
        say,
        now: UnixTime(words::now()),
        profiles: Profiles::builtin().context("built-in profiles")?,
        officers: OFFICERS
            .iter()
            .map(|role| StandIn::draw(role))
            .collect::<Result<_, _>>()?,
    };
    layout.folder("ceremony")?;
    layout.folder("published")?;
    say("two tokens: one for the root, one for the issuing CA");
    let root_access = demo.token("root")?;
    let issuing_access = demo.token("issuing")?;

    say("the ceremony of the root, rehearsed: ceremony/root.toml");
    let root_plan = demo.root_plan(&serial_of(&root_access)?)?;
    let root = demo.rehearse("root", &root_plan, BTreeMap::new(), root_access)?;
    let root_certificate = root.certificate.clone().context("the root's certificate")?;

    say("the issuing CA's key, and its request: ceremony/issuing.csr");
    let issuing_algorithm = algorithm(&answers.issuing_algorithm)?;
    let token = open(issuing_access)?;
    let (key, attributes) = made(&token, "issuing-1", &KEY_ID, issuing_algorithm)?;
    let responder = KeySpec {
        label: "ocsp-1".to_owned(),
        id: RESPONDER_KEY_ID.to_vec(),
        algorithm: SignatureAlgorithm::EcdsaP256Sha256,
    };
    let responder = token.generate(&responder).context("the OCSP responder's key")?;
    let request = exchange::request(&answers.organization, &demo.name("Issuing 1A"), &key)?;
    layout.put("ceremony/issuing.csr", &request)?;

    say("the ceremony of the issuing CA, rehearsed: ceremony/issuing.toml");
    let root_access = demo.token("root")?;
    let plan = demo.issuing_plan(&serial_of(&root_access)?, &root_certificate, &request)?;
    let inputs = BTreeMap::from([
        ("issuer".to_owned(), root_certificate.clone()),
        ("request".to_owned(), request.clone()),
    ]);
    let issuing = demo.rehearse("issuing", &plan, inputs, root_access)?;
    let archive = crate::exit::read(&issuing.archive)?;
    let accepted = exchange::accept(&archive, &request, &key, true)?;

    say("the server's own TLS certificate, signed by the issuing CA");
    let server_key = p256()?;
    let chain = [accepted.issuing.clone(), accepted.root.clone()];
    let issuer = Issuer::from_chain(&chain, issuing_algorithm, IssuerUrls::default()).context("issuing CA")?;
    let server = demo.server_tls(&issuer, &key, &spki(&server_key)?)?;

    say("files");
    demo.files(&accepted, &server, &server_key, root.crl.as_deref())?;
    let attributes = [
        ("root", root.attributes),
        ("issuing", attributes),
        ("ocsp", responder.attributes),
    ];
    Ok(Hierarchy {
        root: accepted.root,
        issuing: accepted.issuing,
        server,
        attributes: attributes
            .into_iter()
            .flat_map(|(t, list)| list.into_iter().map(move |(n, v)| (t, n, v)))
            .collect(),
    })
}

/// What all parts of the demonstration share.
struct Demo<'a> {
    answers: &'a Answers,
    layout: &'a Layout,
    say: &'a dyn Fn(&str),
    now: UnixTime,
    profiles: Profiles,
    officers: Vec<StandIn>,
}

impl Demo<'_> {
    fn name(&self, what: &str) -> String {
        format!("{} {what}", self.answers.organization)
    }

    fn token(&self, name: &str) -> Result<Access, Failure> {
        let secrets = self.layout.path("secrets");
        softtoken::token(&self.answers.module, &secrets, name, &format!("holdfast-{name}"))
    }

    fn rehearse(
        &self,
        what: &str,
        plan: &Plan,
        inputs: BTreeMap<String, Vec<u8>>,
        access: Access,
    ) -> Result<Outcome, Failure> {
        let rehearsal = Rehearsal {
            plan,
            inputs: &inputs,
            medium: &self.layout.path(&format!("ceremony/{what}")),
            stand_in: None,
            archive: &self.layout.path(&format!("ceremony/{what}.tar")),
            access,
            shares: &self.layout.path("secrets"),
            officers: &self.officers,
        };
        let say = self.say;
        rehearsal.perform(false, &|line| say(&format!("  {line}")))
    }

    /// What both plans have in common.
    fn new_plan(&self, kind: &str, name: &str, token: &str, algorithm: SignatureAlgorithm) -> NewPlan {
        NewPlan {
            kind: kind.to_owned(),
            name: name.to_owned(),
            planned: self.now,
            place: "this machine".to_owned(),
            binary: None,
            token: Some(token.to_owned()),
            label: "root-1".to_owned(),
            id: KEY_ID.to_vec(),
            algorithm,
            spki: None,
            backup: Backup::None,
            officers: self
                .officers
                .iter()
                .map(|o| (o.role.clone(), Some(o.sha256())))
                .collect(),
            required: REQUIRED,
            split_pin: false,
            shares_of: None,
            inputs: Vec::new(),
            certificate: None,
            crl: None,
        }
    }

    fn certificate(&self, kind: ProfileKind, common_name: &str) -> Result<NewCertificate, Failure> {
        let profile = self.profiles.only(kind).context("a profile")?;
        let not_before = self.now.0.saturating_sub(profile.backdate());
        let lifetime = profile.lifetime().context("a lifetime")?;
        let not_after = UnixTime(not_before.saturating_add(lifetime).saturating_sub(1));
        if calendar::date(not_after).is_none() {
            return Err(Failure::new(
                Exit::Failed,
                format!(
                    "a certificate of profile `{}` would end after 9999, the last year that X.509 can say",
                    profile.name()
                ),
            )
            .fix("set the clock of this machine"));
        }
        Ok(NewCertificate {
            profile: profile.name().to_owned(),
            organization: Some(self.answers.organization.clone()),
            common_name: Some(self.name(common_name)),
            serial: draw_serial()?,
            not_before: UnixTime(not_before),
            not_after,
            ca_issuers_url: None,
            crl_url: None,
        })
    }

    fn written(&self, file: &str, new: &NewPlan) -> Result<Plan, Failure> {
        let path = self.layout.put(file, write(new).as_bytes())?;
        crate::ceremony::room::plan(&path)
    }

    fn root_plan(&self, token: &str) -> Result<Plan, Failure> {
        let algorithm = algorithm(&self.answers.root_algorithm)?;
        let mut new = self.new_plan("root", "demo-root-r1", token, algorithm);
        new.certificate = Some(self.certificate(ProfileKind::Root, "Root R1")?);
        new.crl = Some((1, self.now, UnixTime(self.now.0.saturating_add(365 * DAY))));
        self.written("ceremony/root.toml", &new)
    }

    fn issuing_plan(&self, token: &str, root: &[u8], request: &[u8]) -> Result<Plan, Failure> {
        let algorithm = algorithm(&self.answers.root_algorithm)?;
        let mut new = self.new_plan("issuing", "demo-issuing-1a", token, algorithm);
        let view = crate::certificate::CertificateView::read(root)?;
        new.spki = Sha256::from_hex(&view.spki_sha256);
        new.inputs = vec![
            ("issuer".into(), "root.cer".into(), Some(Sha256::of(root))),
            ("request".into(), "issuing.csr".into(), Some(Sha256::of(request))),
        ];
        let mut wanted = self.certificate(ProfileKind::Issuing, "Issuing 1A")?;
        if !self.answers.pki_url.is_empty() {
            let url = |path: &str| Some(Some(format!("{}{path}", self.answers.pki_url)));
            wanted.ca_issuers_url = url("/ca/root.cer");
            wanted.crl_url = url("/ca/root.crl");
        }
        new.certificate = Some(wanted);
        self.written("ceremony/issuing.toml", &new)
    }

    /// Draft, lint, record, sign once, record.
    fn server_tls(&self, issuer: &Issuer, key: &dyn CaKey, server: &[u8]) -> Result<Vec<u8>, Failure> {
        let plan = ServerTlsPlan {
            names: self.answers.san(),
            spki: server.to_vec(),
        };
        let grant = plan
            .approve(&self.answers.organization, &self.profiles, &Quorum::Rehearsal, self.now)
            .map_err(|e| Failure::new(Exit::Usage, e.to_string()))?;
        let serial = Serial::draw(&mut OsEntropy).context("randomness")?;
        let linted: Linted = Draft::new(grant, issuer, serial)
            .and_then(Draft::lint)
            .context("server-tls")?;
        let mut id = [0; 16];
        OsEntropy.fill(&mut id).context("randomness")?;
        let order = Order {
            enrollment_id: id,
            request_sha256: attest::sha256(server),
            device: None,
            evidence: None,
            transcript: None,
            renews: None,
            audit: AuditRecord {
                at: self.now,
                action: "rehearsal.server-tls".to_owned(),
                actor: format!("uid {}", rustix::process::getuid().as_raw()),
                subject: hex::encode(id),
                reason: "ceremony-rehearsal".into(),
                detail: String::new(),
            },
            at: self.now,
        };
        let medium = Medium::create(&self.layout.path("ceremony/server-tls")).context("medium")?;
        let recorder: &dyn Recorder = &medium;
        let recorded = issuance::record(vec![linted], &order, recorder).context("server-tls")?;
        let signed: Result<Vec<_>, _> = recorded.into_iter().map(|r| r.sign(key)).collect();
        let issued: Vec<Issued> =
            issuance::issue(signed.context("server-tls")?, &id, recorder).context("server-tls")?;
        Ok(issued.first().context("nothing was issued")?.certificate().to_vec())
    }

    fn files(
        &self,
        made: &exchange::Accepted,
        server: &[u8],
        server_key: &PKey<Private>,
        crl: Option<&[u8]>,
    ) -> Result<(), Failure> {
        let layout = self.layout;
        let pem = |ders: &[&[u8]]| -> anyhow::Result<Vec<u8>> {
            let mut text = Vec::new();
            for der in ders {
                text.extend(openssl::x509::X509::from_der(der)?.to_pem()?);
            }
            Ok(text)
        };
        let (root, issuing) = (made.root.as_slice(), made.issuing.as_slice());
        layout.put("ca/root.pem", &pem(&[root])?)?;
        layout.put("ca/issuing.pem", &pem(&[issuing])?)?;
        layout.put("ca/chain.pem", &pem(&[issuing, root])?)?;
        layout.put("published/root.cer", root)?;
        if let Some(crl) = crl {
            layout.put("published/root.crl", crl)?;
        }
        layout.put("server-tls.pem", &pem(&[server, issuing])?)?;
        layout.put(
            "server-tls.key",
            &server_key.private_key_to_pem_pkcs8().context("server key")?,
        )?;
        let ledger = openssl::pkey::PKey::generate_ed25519().and_then(|key| key.private_key_to_pem_pkcs8());
        layout.put("ledger.key", &ledger.context("the ledger's key")?)?;
        layout.put("seal.key", format!("{}\n", random_hex(32)?).as_bytes())?;
        layout.put(
            "server.toml",
            configuration(self.answers, &KEY_ID, &RESPONDER_KEY_ID).as_bytes(),
        )?;
        Ok(())
    }
}

fn open(access: Access) -> Result<Token, Failure> {
    let pin = access.pin.read(None).context("PIN file")?;
    let config = TokenConfig {
        uri: access.uri,
        sessions: 2,
        queue_deadline: Duration::from_secs(30),
        login_backoff: Duration::from_secs(10),
    };
    Ok(Token::open(config, pin).context("token")?)
}

fn serial_of(access: &Access) -> Result<String, Failure> {
    Ok(open(access.clone())?.serial().to_owned())
}

/// A new key in a token, and its attributes.
fn made(
    token: &Token,
    label: &str,
    id: &[u8],
    algorithm: SignatureAlgorithm,
) -> Result<(HsmKey, Vec<(String, String)>), Failure> {
    let spec = KeySpec {
        label: label.to_owned(),
        id: id.to_vec(),
        algorithm,
    };
    let generated = token.generate(&spec).context(label.to_owned())?;
    let key = token
        .ca_key(&generated.id, &generated.spki, algorithm)
        .context(label.to_owned())?;
    Ok((key, generated.attributes))
}

pub(super) fn p256() -> anyhow::Result<PKey<Private>> {
    let group = openssl::ec::EcGroup::from_curve_name(openssl::nid::Nid::X9_62_PRIME256V1)?;
    Ok(PKey::from_ec_key(openssl::ec::EcKey::generate(&group)?)?)
}

pub(super) fn spki(key: &PKey<Private>) -> anyhow::Result<Vec<u8>> {
    Ok(key.public_key_to_der()?)
}

fn random_hex(octets: usize) -> anyhow::Result<String> {
    let mut bytes = vec![0; octets];
    openssl::rand::rand_bytes(&mut bytes)?;
    Ok(hex::encode(bytes))
}
