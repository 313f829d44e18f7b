//! Every check of a bundle, each for itself, so that each fault is named.

use attest::rot::{self, Basis, RotStatement};
use attest::{Assurance, sha256};
use der::{Decode as _, Encode as _};
use issuance::{Issuer, IssuerUrls, SignatureAlgorithm};
use ledger::{CA_KEY, Checkpoint, Entry, Event, Note, ProofFile, VerifierKey, ca_key_line};
use openssl::pkey::PKey;
use openssl::x509::X509;
use x509_cert::Certificate;
use x509_cert::ext::pkix::CertificatePolicies;

use crate::archive::{Bundle, LedgerProof};
use crate::decision::{self, Policies};
use crate::judged::{Fields, Judged};
use crate::named::{Named, extension};
use crate::transcript::{EkWord, IakWord, Root, Transcript, Word};

/// Names of the checks, in their order.
pub const CHECKS: [&str; 13] = [
    "certificate",
    "record",
    "transcript",
    "ledger",
    "signature",
    "endorsement",
    "attestation",
    "certification",
    "identity",
    "request",
    "names",
    "policy",
    "decision",
];

/// Whom the verifier believes, beside the CA's roots.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Roots of TPM manufacturers, DER.
    pub tpm_roots: Vec<Vec<u8>>,
    /// Roots of device manufacturers, who vouch for IAKs, DER.
    pub iak_roots: Vec<Vec<u8>>,
    /// Keys of ledgers.
    pub ledgers: Vec<VerifierKey>,
    /// What was loaded already.
    pub policies: Policies,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// One of [`CHECKS`].
    pub id: &'static str,
    /// What was found; an error is a refusal.
    pub found: Result<String, String>,
}

/// id-ce-certificatePolicies (RFC 5280 §4.2.1.4).
const CERTIFICATE_POLICIES: der::asn1::ObjectIdentifier = der::asn1::ObjectIdentifier::new_unwrap("2.5.29.32");

type Found = Result<String, String>;

/// What a certificate says, as far as the checks need it.
struct Leaf {
    rot: RotStatement,
    serial: Vec<u8>,
    algorithm: SignatureAlgorithm,
    policies: Vec<der::asn1::ObjectIdentifier>,
    named: Named,
}

/// Make every check of `bundle` that does not lead to a root of the CA: that the path of its certificate does is for the
/// caller to see, who has roots, a time and CRLs.
#[must_use]
pub fn verify(bundle: &Bundle, certificate: &[u8], trust: &Trust) -> Vec<Check> {
    let leaf = Leaf::read(&bundle.certificate);
    let fields = Fields::parse(&bundle.evidence);
    let transcript = Transcript::parse(&bundle.transcript).map_err(|e| e.to_string());
    let judged = match (&fields, &transcript) {
        (Err(why), _) | (_, Err(why)) => Err(why.clone()),
        (Ok(fields), Ok(told)) => Judged::of(fields, told, &bundle.path),
    };
    let told = || transcript.as_ref().map_err(Clone::clone);
    let named = || -> Found {
        let judged = judged.as_ref().map_err(Clone::clone)?;
        names(leaf.as_ref().map_err(Clone::clone)?, judged)
    };
    let of = |find: fn(&Judged) -> Found| judged.as_ref().map_err(Clone::clone).and_then(find);
    let text = told().and_then(|told| decision::text(bundle, told));
    let policy = || -> Found {
        let text = text.as_ref().map_err(Clone::clone)?;
        decision::named(text, told()?, &trust.policies)
    };
    let decided = || {
        let found = decision::again(bundle, &text, told()?, &judged, &trust.policies)?;
        decision::told(found, &leaf.as_ref().map_err(Clone::clone)?.named)
    };
    let found = [
        same(bundle, certificate),
        leaf.as_ref()
            .map_err(Clone::clone)
            .and_then(|leaf| record(bundle, leaf)),
        of_record(bundle, &fields, &transcript),
        logged(bundle, &leaf, &transcript, trust),
        vouched(bundle, &leaf),
        endorsed(bundle, &transcript, &judged, trust),
        of(|all| match (&all.ak, &all.attestation) {
            (Ok(key), Ok(_)) => Ok(format!("{}, restricted, in one TPM for ever", key.algorithm.as_str())),
            (Err(refusal), _) | (_, Err(refusal)) => Err(refusal.to_string()),
        }),
        of(|all| match &all.certification {
            Ok(()) => {
                Ok("the attestation key vouches for the identity key, over this nonce and this request".to_owned())
            }
            Err(refusal) => Err(refusal.to_string()),
        }),
        of(|all| match &all.identity {
            Ok(key) => Ok(format!("{}, made in a TPM and kept there", key.algorithm.as_str())),
            Err(refusal) => Err(refusal.to_string()),
        }),
        of(|all| match &all.request {
            Ok(_) => Ok("signed by the identity key".to_owned()),
            Err(refusal) => Err(refusal.to_string()),
        }),
        named(),
        policy(),
        decided(),
    ];
    CHECKS
        .into_iter()
        .zip(found)
        .map(|(id, found)| Check { id, found })
        .collect()
}

impl Leaf {
    fn read(der: &[u8]) -> Result<Self, String> {
        let wrong = |e: der::Error| format!("the certificate cannot be read: {e}");
        let certificate = Certificate::from_der(der).map_err(wrong)?;
        let tbs = certificate.tbs_certificate();
        let rot = extension(&certificate, rot::ID_ROT_BINDING).ok_or("the certificate has no RoT-binding extension")?;
        let policies = match extension(&certificate, CERTIFICATE_POLICIES) {
            None => Vec::new(),
            Some(value) => {
                let policies = CertificatePolicies::from_der(value).map_err(wrong)?;
                policies.0.iter().map(|policy| policy.policy_identifier).collect()
            }
        };
        let algorithm = certificate.signature_algorithm().to_der().map_err(wrong)?;
        let algorithm = SignatureAlgorithm::ALL
            .into_iter()
            .find(|known| known.identifier() == algorithm);
        Ok(Self {
            rot: RotStatement::from_der(rot).map_err(wrong)?,
            serial: tbs.serial_number().as_bytes().to_vec(),
            algorithm: algorithm.ok_or("the certificate is signed with an algorithm that is not a CA's here")?,
            policies,
            named: Named::of(&certificate)?,
        })
    }
}

/// The bundle is of the certificate in question.
fn same(bundle: &Bundle, certificate: &[u8]) -> Found {
    let (ours, given) = (
        hex::encode(sha256(&bundle.certificate)),
        hex::encode(sha256(certificate)),
    );
    if ours == given {
        Ok(format!("sha256 {ours}"))
    } else {
        Err(format!("the bundle is of another certificate, sha256 {ours}"))
    }
}

/// The certificate commits to this record.
fn record(bundle: &Bundle, leaf: &Leaf) -> Found {
    let found = sha256(&bundle.evidence);
    if leaf.rot.evidence_sha256() == found {
        Ok(format!("sha256 {}, as the certificate says", hex::encode(found)))
    } else {
        Err(format!(
            "sha256 {}, the certificate says {}",
            hex::encode(found),
            hex::encode(leaf.rot.evidence_sha256())
        ))
    }
}

/// The transcript is about this record.
fn of_record(bundle: &Bundle, fields: &Result<Fields<'_>, String>, transcript: &Result<Transcript, String>) -> Found {
    let (fields, transcript) = (
        fields.as_ref().map_err(Clone::clone)?,
        transcript.as_ref().map_err(Clone::clone)?,
    );
    let (id, nonce, renewed) = fields.conversation();
    let about = [
        ("enrollment", Some(hex::encode(id)), Some(transcript.enrollment.clone())),
        ("nonce", Some(hex::encode(nonce)), Some(transcript.nonce.clone())),
        (
            "evidence",
            Some(hex::encode(sha256(&bundle.evidence))),
            Some(transcript.evidence.clone()),
        ),
        ("renewed", renewed.map(hex::encode), transcript.renewed.clone()),
    ];
    if let Some((what, ..)) = about.iter().find(|(_, found, said)| found != said) {
        return Err(format!("it is of another record: `{what}` differs"));
    }
    if transcript.challenged_at > transcript.decided_at || transcript.decided_at > transcript.expires_at {
        return Err("it was answered before it was asked, or too late".to_owned());
    }
    let rules: Vec<&str> = transcript
        .decisions
        .iter()
        .flat_map(|decided| decided.rules.iter().map(String::as_str))
        .collect();
    Ok(format!(
        "{} {}: device {} by {}",
        transcript.ca.name,
        transcript.ca.version,
        transcript.device,
        rules.join(", ")
    ))
}

fn part(bundle: &Bundle) -> Result<&LedgerProof, String> {
    bundle
        .ledger
        .as_ref()
        .ok_or_else(|| "the bundle holds no proof of a ledger".to_owned())
}

/// The leaf ties certificate, record, profile and transcript together, and is in a ledger that is believed.
fn logged(
    bundle: &Bundle,
    leaf: &Result<Leaf, String>,
    transcript: &Result<Transcript, String>,
    trust: &Trust,
) -> Found {
    let part = part(bundle)?;
    let entry = Entry::parse(&part.entry).map_err(|e| e.to_string())?;
    let Event::Issued(said) = &entry.event else {
        return Err("the entry is not of a certificate".to_owned());
    };
    let differs = |what: &str| Err(format!("the entry says another {what}"));
    if said.certificate != sha256(&bundle.certificate) {
        return differs("certificate");
    }
    if said.evidence != Some(sha256(&bundle.evidence)) {
        return differs("evidence record");
    }
    if said.transcript != Some(sha256(&bundle.transcript)) {
        return differs("transcript");
    }
    let (leaf, transcript) = (
        leaf.as_ref().map_err(Clone::clone)?,
        transcript.as_ref().map_err(Clone::clone)?,
    );
    if said.serial != leaf.serial {
        return differs("serial");
    }
    let profile = hex::encode(said.profile_sha256);
    let decided = |one: &&crate::Decided| one.profile == said.profile && one.profile_sha256 == profile;
    if !transcript.decisions.iter().any(|one| decided(&one)) {
        return differs("profile");
    }
    if entry.at != transcript.decided_at {
        return differs("time");
    }
    let proof = ProofFile::parse(&part.proof).map_err(|e| e.to_string())?;
    let mut why = "no key of a ledger is among those you trust".to_owned();
    for key in &trust.ledgers {
        match proof.verify(&part.entry, key) {
            Ok(signed) => {
                return Ok(format!(
                    "entry {} of {} in {}",
                    proof.inclusion.index,
                    signed.head().size,
                    key.name()
                ));
            }
            Err(error) => why = error.to_string(),
        }
    }
    Err(why)
}

/// The CA's own key signed the tree.
fn vouched(bundle: &Bundle, leaf: &Result<Leaf, String>) -> Found {
    let note = ProofFile::parse(&part(bundle)?.proof)
        .map_err(|e| e.to_string())?
        .checkpoint;
    let leaf = leaf.as_ref().map_err(Clone::clone)?;
    let issuer = Issuer::from_chain(&bundle.issuers, leaf.algorithm, IssuerUrls::default());
    let issuer = issuer.map_err(|e| format!("the chain of the CA: {e}"))?;
    let issued = X509::from_der(&bundle.certificate)
        .and_then(|certificate| certificate.verify(PKey::public_key_from_der(issuer.spki())?.as_ref()));
    if !issued.unwrap_or(false) {
        return Err("the CA in the bundle did not sign the certificate".to_owned());
    }
    ca_signed(&note, &issuer)
}

fn ca_signed(note: &Note, issuer: &Issuer) -> Found {
    let checkpoint = Checkpoint::parse(note.text()).map_err(|e| e.to_string())?;
    let wanted = ca_key_line(&checkpoint.origin, issuer.spki(), Vec::new());
    let mut lines = note
        .signatures()
        .iter()
        .filter(|line| line.name == wanted.name && line.id == wanted.id)
        .peekable();
    if lines.peek().is_none() {
        return Err("the checkpoint is not signed by the CA's key; a later proof may be".to_owned());
    }
    if lines.any(|line| issuance::vouched(issuer, CA_KEY, note.text(), &line.signature)) {
        Ok(format!(
            "the CA's key signed the tree of {} entries",
            checkpoint.head.size
        ))
    } else {
        Err("the signature of the CA's key over the checkpoint is wrong".to_owned())
    }
}

/// The EK, or the manufacturer's IAK, is believed: on whose word, and whether that is yours, too.
fn endorsed(
    bundle: &Bundle,
    transcript: &Result<Transcript, String>,
    judged: &Result<Judged, String>,
    trust: &Trust,
) -> Found {
    let transcript = transcript.as_ref().map_err(Clone::clone)?;
    let said = match &transcript.root {
        Root::EkActivation(word) => Some(&word.path),
        Root::IakCertified(word) => word.terms.as_ref().map(|terms| &terms.path),
    };
    let path: Vec<String> = bundle.path.iter().map(|der| hex::encode(sha256(der))).collect();
    if said.is_some_and(|said| *said != path) {
        return Err("the CA certificates above it are not those of the transcript".to_owned());
    }
    let all = judged.as_ref().map_err(Clone::clone)?;
    match (&transcript.root, &all.root) {
        (_, Err(refusal)) => Err(refusal.to_string()),
        (Root::EkActivation(word), Ok(attest::Root::Ek(facts))) => by_ek(bundle, word, facts, all, trust),
        (Root::IakCertified(word), Ok(attest::Root::Iak(facts))) => by_iak(bundle, word, facts, trust),
        _ => Err("the transcript is of another kind of proof than the record".to_owned()),
    }
}

fn differs(said: &[(String, &String)]) -> Result<(), String> {
    match said.iter().find(|(found, said)| found != *said) {
        Some((found, said)) => Err(format!("found {found}, the transcript says {said}")),
        None => Ok(()),
    }
}

fn among(bundle: &Bundle, name: &str, roots: &[Vec<u8>]) -> Result<(), String> {
    let anchor = bundle.path.first().ok_or("there is no anchor")?;
    if roots.contains(anchor) {
        return Ok(());
    }
    Err(format!(
        "the CA believed `{name}`, sha256 {}, which is not among those you trust",
        hex::encode(sha256(anchor))
    ))
}

fn by_ek(bundle: &Bundle, word: &EkWord, facts: &attest::EkFacts, all: &Judged, trust: &Trust) -> Found {
    let activation = &word.activation;
    if (activation.method.as_str(), activation.answer.as_str()) != ("TPM2_MakeCredential", "secret-returned") {
        return Err("the transcript does not say that the activation was answered".to_owned());
    }
    let ak = all.ak.as_ref().map(|ak| hex::encode(&ak.name));
    if ak.is_ok_and(|name| name != activation.ak_name) {
        return Err("the activation was of another attestation key".to_owned());
    }
    differs(&[
        (hex::encode(facts.spki_sha256), &word.ek_spki_sha256),
        (facts.template.as_str().to_owned(), &word.template),
        (facts.assurance.as_str().to_owned(), &word.assurance),
    ])?;
    let level = facts.assurance.as_str();
    match word.word {
        Word::Chain => {
            among(bundle, &word.anchor, &trust.tpm_roots)?;
            Ok(format!(
                "{level} {} of {}, by `{}`",
                facts.model, facts.manufacturer, word.anchor
            ))
        }
        Word::AllowList => Ok(format!("{level}: an administrator named this EK")),
        Word::Review => Ok(format!("{level}: people approved this EK")),
    }
}

fn by_iak(bundle: &Bundle, word: &IakWord, facts: &attest::IakFacts, trust: &Trust) -> Found {
    differs(&[
        (hex::encode(facts.certificate_sha256), &word.iak_certificate_sha256),
        (hex::encode(facts.anchor_sha256), &word.anchor_sha256),
        (facts.assurance.as_str().to_owned(), &word.assurance),
    ])?;
    among(bundle, &word.anchor, &trust.iak_roots)?;
    Ok(format!(
        "{}: an IAK, by the word of its manufacturer `{}`",
        facts.assurance.as_str(),
        word.anchor
    ))
}

/// The certificate names this EK or IAK, this AK, this key, and no better level than was found.
fn names(leaf: &Leaf, all: &Judged) -> Found {
    let missing = |_: &attest::Refusal| "a key or its endorsement is refused".to_owned();
    let root = all.root.as_ref().map_err(missing)?;
    let ak = all.ak.as_ref().map_err(missing)?;
    let attestation = all.attestation.as_ref().map_err(missing)?;
    let ik = all.identity.as_ref().map_err(missing)?;
    let of = match root {
        attest::Root::Ek(ek) => {
            if leaf.rot.basis() != Basis::EkActivation || leaf.rot.ek_spki_sha256() != Some(&ek.spki_sha256) {
                return Err("the certificate names another EK".to_owned());
            }
            format!("EK sha256 {}", hex::encode(ek.spki_sha256))
        }
        attest::Root::Iak(iak) => {
            let RotStatement::Certified(said) = &leaf.rot else {
                return Err("the certificate does not say that an IAK vouched".to_owned());
            };
            let found = [
                (said.iak_certificate_sha256.as_bytes(), &iak.certificate_sha256),
                (said.iak_spki_sha256.as_bytes(), &iak.spki_sha256),
            ];
            let ek = iak.ek_spki_sha256.as_ref().map(<[u8; 32]>::as_slice);
            if found.iter().any(|(said, found)| said != found) || leaf.rot.ek_spki_sha256() != ek {
                return Err("the certificate names another IAK, or another EK".to_owned());
            }
            format!("IAK sha256 {}", hex::encode(iak.spki_sha256))
        }
    };
    if leaf.rot.voucher_name() != ak.name {
        return Err("the certificate names another attestation key".to_owned());
    }
    // An attestation key's certificate is of that key itself.
    let key = match attestation {
        Some(key) if leaf.rot.ik_name() == key.name => key,
        _ => ik,
    };
    if leaf.rot.ik_name() != key.name || leaf.named.spki != key.spki {
        return Err("the certificate is of another key".to_owned());
    }
    if !leaf.policies.contains(&level(root.assurance())) {
        return Err(format!("the certificate does not say {}", root.assurance().as_str()));
    }
    Ok(format!("{of}, {}", root.assurance().as_str()))
}

fn level(assurance: Assurance) -> der::asn1::ObjectIdentifier {
    match assurance {
        Assurance::HardwareVerified => rot::ID_HARDWARE_VERIFIED,
        Assurance::HardwareAllowlisted => rot::ID_HARDWARE_ALLOWLISTED,
        Assurance::Virtual => rot::ID_VIRTUAL,
        Assurance::Software => rot::ID_SOFTWARE,
        Assurance::ManufacturerVerified => rot::ID_MANUFACTURER_VERIFIED,
    }
}
