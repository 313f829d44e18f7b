//! A CA, a vendor and a ledger, and bundles of theirs in which exactly one thing is wrong.

use crate::iak::Papers;
use attest::rot::{self, RotBinding, RotKind, RotStatement};
use attest::tpm::{TpmtPublic, qualifying_data};
use attest::{KeyAlgorithm, sha256};
use bundle::{
    Activation, Asked, Bundle, Ca, Decided, EkWord, Inventory, LedgerProof, Root, TRANSCRIPT_V1, Transcript, Word,
};
use der::asn1::OctetString;
use der::{Decode as _, Encode as _};
use device_kit::der::{context, extension, generalized_time, octets, oid, sequence, tlv, utc_time};
use device_kit::endorsement::Template;
use device_kit::keys::ec;
use device_kit::soft_tpm::{Attest, SoftTpm, csr};
use device_kit::vendor::{Content, VendorCa, random_serial};
use ledger::{
    CA_KEY, Checkpoint, Entry, Event, Head, Inclusion, Issuance, KeyName, Note, NoteSignature, ProofFile,
    SignatureKind, SigningKey, ca_key_line, empty_root, leaf_hash, node_hash,
};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::sign::Signer;
use policies::{ArchivedPolicy, Mode, PolicySet, Profiles, SanEntry};
use x509_cert::Certificate;
use x509_cert::ext::pkix::AuthorityKeyIdentifier;

/// When the kit's devices enroll.
pub(crate) const NOW: i64 = 1_800_000_000;
const POLICIES: &str = "2.5.29.32";

/// Whoever there is.
pub(crate) struct World {
    pub(crate) vendor: VendorCa,
    pub(crate) between: VendorCa,
    pub(crate) root: VendorCa,
    pub(crate) issuing: VendorCa,
    pub(crate) stranger: VendorCa,
    /// Who vouches for IAKs.
    pub(crate) maker: VendorCa,
    pub(crate) plant: VendorCa,
    pub(crate) ledger: SigningKey,
    /// What decides.
    pub(crate) policy: Vec<u8>,
    pub(crate) decided: [Decided; 2],
    /// One TPM of each kind: keys are dear, and each case enrolls anew.
    tpms: Vec<SoftTpm>,
}

fn ca(common_name: &str, above: Option<&VendorCa>) -> VendorCa {
    let mut extensions = VendorCa::ca_extensions(above.map(|_| 0));
    if above.is_some() {
        extensions.push(extension(
            POLICIES,
            false,
            &sequence(&[&sequence(&[&oid("2.5.29.32.0")])]),
        ));
    }
    VendorCa::signed(common_name, ec(Nid::X9_62_PRIME256V1), above, &extensions)
}

impl World {
    pub(crate) fn new() -> Self {
        let (root, vendor) = (ca("Kit Root", None), VendorCa::root("Kit Vendor Root"));
        let name = KeyName::new("ledger.example").unwrap();
        let between = vendor.intermediate("Kit Vendor CA");
        let rules = PolicySet::builtin(Mode::Production).unwrap();
        let profiles = Profiles::builtin().unwrap();
        let decided = |profile: &str, rule: &str| Decided {
            profile: profile.to_owned(),
            profile_sha256: hex::encode(profiles.get(profile).unwrap().sha256()),
            policy_sha256: hex::encode(rules.sha256()),
            rules: vec![rule.to_owned()],
            reasons: vec![rules.rules().find(|(id, _)| *id == rule).unwrap().1.to_owned()],
        };
        let maker = VendorCa::root("Kit Maker Root");
        let tpm = |(template, ak, ik)| SoftTpm::manufacture(&between, template, ak, ik);
        Self {
            tpms: KINDS.into_iter().map(tpm).collect(),
            policy: ArchivedPolicy::of(&rules, &profiles).to_bytes().unwrap(),
            decided: [
                noted(decided("device-ldevid", "local-identity"), &rules),
                decided("device-ldevid", "third-party"),
            ],
            plant: maker.intermediate("Kit Maker CA"),
            maker,
            between,
            vendor,
            issuing: ca("Kit Issuing", Some(&root)),
            root,
            stranger: VendorCa::root("Kit Stranger"),
            ledger: SigningKey::from_seed(name, SignatureKind::Ed25519, &[7; 32]).unwrap(),
        }
    }
}

/// What the CA saw, and believed.
pub(crate) struct Shown {
    pub(crate) evidence: Vec<u8>,
    pub(crate) path: Vec<Vec<u8>>,
    pub(crate) transcript: Transcript,
    pub(crate) said: Said,
    pub(crate) level: &'static str,
}

/// What is known about the kit's TPMs is said with the decision.
fn noted(mut decided: Decided, rules: &PolicySet) -> Decided {
    let known = |one: &&policies::Advisory| one.id == "CVE-2024-45678";
    let advisory = rules.advisories().rows().iter().find(known).unwrap();
    decided.rules.push(format!("advisory:{}", advisory.id));
    decided.reasons.push(format!("{}: {}", advisory.title(), advisory.why));
    decided
}

/// What the certificate says.
pub(crate) struct Said {
    pub(crate) rot: RotStatement,
    pub(crate) spki: Vec<u8>,
    pub(crate) level: der::asn1::ObjectIdentifier,
    pub(crate) rehearsal: bool,
    pub(crate) not_after: Vec<u8>,
    /// Name, DER.
    pub(crate) subject: Vec<u8>,
    pub(crate) alternative: Vec<SanEntry>,
}

/// The proof, in parts.
pub(crate) struct Proof {
    pub(crate) inclusion: Inclusion,
    pub(crate) text: String,
    /// The ledger's, then the CA's.
    pub(crate) lines: Vec<NoteSignature>,
}

/// What a verifier is given.
pub(crate) struct Case {
    pub(crate) certificate: Vec<u8>,
    pub(crate) bundle: Vec<u8>,
    pub(crate) ca: Vec<Vec<u8>>,
    pub(crate) tpm: Vec<Vec<u8>>,
    pub(crate) iak: Vec<Vec<u8>>,
    pub(crate) level: &'static str,
    pub(crate) ledgers: Vec<String>,
    pub(crate) at: i64,
}

/// One thing that is wrong: what is done at which stage of an otherwise honest enrollment.
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    /// The checks that refuse, and no other does.
    pub(crate) refused: &'static [&'static str],
    /// Whether the device stands on a manufacturer's IAK: then the AK is it.
    pub(crate) by_iak: bool,
    pub(crate) papers: fn(&World, &SoftTpm, &mut Papers),
    pub(crate) device: fn(&World, &mut SoftTpm),
    pub(crate) attest: fn(&SoftTpm, &mut Attest),
    pub(crate) fields: fn(&World, &SoftTpm, &mut [Vec<u8>]),
    /// Before it is written: what it says, and the policy it names.
    pub(crate) transcript: fn(&mut Transcript),
    pub(crate) policy: fn(&mut Vec<u8>, &mut Transcript),
    pub(crate) certificate: fn(&SoftTpm, &mut Said),
    pub(crate) leaf: fn(&mut i64, &mut Issuance),
    pub(crate) proof: fn(&World, &mut Proof),
    pub(crate) bundle: fn(&World, &mut Bundle),
    pub(crate) archive: fn(&mut Vec<u8>),
    pub(crate) case: fn(&World, &mut Case),
}

impl Fault {
    pub(crate) const fn of(name: &'static str, refused: &'static [&'static str]) -> Self {
        Self {
            name,
            refused,
            by_iak: false,
            papers: |_, _, _| {},
            device: |_, _| {},
            attest: |_, _| {},
            fields: |_, _, _| {},
            transcript: |_| {},
            policy: |_, _| {},
            certificate: |_, _| {},
            leaf: |_, _| {},
            proof: |_, _| {},
            bundle: |_, _| {},
            archive: |_| {},
            case: |_, _| {},
        }
    }

    /// The case in which this is wrong, with keys of this kind.
    pub(crate) fn case(&self, world: &World, round: usize) -> Case {
        let mut tpm = world.tpms[round % KINDS.len()].clone();
        (self.device)(world, &mut tpm);
        if self.by_iak {
            return self.issue(world, &tpm, crate::iak::shown(self, world, &tpm), round);
        }
        let mut fields = talk(&tpm, |attest| (self.attest)(&tpm, attest));
        (self.fields)(world, &tpm, &mut fields);
        let evidence = record(b"holdfast-evidence-v1\0", &fields);
        let path = vec![world.vendor.certificate.clone(), world.between.certificate.clone()];
        let mut transcript = told(world, &tpm, &fields, &evidence, &path);
        (self.transcript)(&mut transcript);
        let said = Said {
            rot: activation(&tpm, &evidence),
            spki: tpm.identity.spki.clone(),
            level: rot::ID_HARDWARE_VERIFIED,
            rehearsal: false,
            not_after: generalized_time("99991231235959Z"),
            subject: subject("GW-1"),
            alternative: names_of_ek(&fields[1]),
        };
        let shown = Shown {
            evidence,
            path,
            transcript,
            said,
            level: "hardware-verified",
        };
        self.issue(world, &tpm, shown, round)
    }

    /// From what was shown to the case.
    pub(crate) fn issue(&self, world: &World, tpm: &SoftTpm, shown: Shown, round: usize) -> Case {
        let Shown {
            evidence,
            path,
            mut transcript,
            mut said,
            level,
        } = shown;
        let mut policy = world.policy.clone();
        transcript.policy = Some(hex::encode(sha256(&policy)));
        (self.policy)(&mut policy, &mut transcript);
        let transcript_bytes = transcript.to_bytes().unwrap();
        (self.certificate)(tpm, &mut said);
        let serial = random_serial();
        let certificate = certify(world, &said, &serial);
        let mut at = transcript.decided_at;
        let mut leaf = Issuance {
            issuer: vec![7; 20],
            serial,
            certificate: sha256(&certificate),
            evidence: Some(sha256(&evidence)),
            profile: "device-ldevid".to_owned(),
            profile_sha256: hex::decode(&world.decided[0].profile_sha256)
                .unwrap()
                .try_into()
                .unwrap(),
            transcript: Some(sha256(&transcript_bytes)),
        };
        (self.leaf)(&mut at, &mut leaf);
        let entry = Entry::new(at, Event::Issued(leaf)).to_bytes().unwrap();
        let mut proof = proven(world, &entry, round);
        (self.proof)(world, &mut proof);
        let mut note = Note::new(&proof.text).unwrap();
        proof.lines.into_iter().for_each(|line| note.add(line));
        let file = ProofFile {
            inclusion: proof.inclusion,
            checkpoint: note,
        };
        let mut bundle = Bundle {
            certificate: certificate.clone(),
            issuers: vec![world.issuing.certificate.clone(), world.root.certificate.clone()],
            evidence,
            transcript: transcript_bytes,
            path,
            policy: Some(policy),
            ledger: Some(LedgerProof {
                entry,
                proof: file.to_string().into_bytes(),
            }),
        };
        (self.bundle)(world, &mut bundle);
        let mut archive = bundle.write().unwrap();
        (self.archive)(&mut archive);
        let mut case = Case {
            certificate,
            bundle: archive,
            ca: vec![world.root.certificate.clone()],
            tpm: vec![world.stranger.certificate.clone(), world.vendor.certificate.clone()],
            iak: vec![world.maker.certificate.clone()],
            level,
            ledgers: vec![world.ledger.verifier().to_string()],
            at: NOW + 100,
        };
        (self.case)(world, &mut case);
        case
    }
}

const KINDS: [(Template, KeyAlgorithm, KeyAlgorithm); 6] = [
    (Template::L2, KeyAlgorithm::P256, KeyAlgorithm::P256),
    (Template::H3, KeyAlgorithm::P384, KeyAlgorithm::P256),
    (Template::L2, KeyAlgorithm::P256, KeyAlgorithm::P384),
    (Template::L1, KeyAlgorithm::Rsa2048, KeyAlgorithm::P256),
    (Template::H2, KeyAlgorithm::P256, KeyAlgorithm::P256),
    (Template::H4, KeyAlgorithm::P384, KeyAlgorithm::Rsa2048),
];

/// The nine fields of an honest conversation, but for what is done to the statement.
fn talk(tpm: &SoftTpm, change: impl FnOnce(&mut Attest)) -> Vec<Vec<u8>> {
    let (mut id, mut nonce) = ([0; 16], [0; 32]);
    openssl::rand::rand_bytes(&mut id).unwrap();
    openssl::rand::rand_bytes(&mut nonce).unwrap();
    let csr = csr(&tpm.identity, &sequence(&[]), &[]);
    let mut attest = Attest::honest(tpm.identity.name(), &qualifying_data(&id, &nonce, &csr));
    change(&mut attest);
    let attest = attest.bytes();
    vec![
        id.to_vec(),
        tpm.ek_certificate.clone(),
        tpm.ek.public.clone(),
        tpm.ak.public.clone(),
        tpm.identity.public.clone(),
        nonce.to_vec(),
        attest.clone(),
        tpm.ak.sign(&attest),
        csr,
    ]
}

pub(crate) fn record(head: &[u8], fields: &[Vec<u8>]) -> Vec<u8> {
    let mut out = head.to_vec();
    for field in fields {
        out.extend(u32::try_from(field.len()).unwrap().to_be_bytes());
        out.extend(field);
    }
    out
}

fn activation(tpm: &SoftTpm, evidence: &[u8]) -> RotStatement {
    RotStatement::Activation(RotBinding {
        version: 1,
        rot_kind: RotKind::Tpm,
        ek_spki_sha256: octet(&tpm.ek.sha256()),
        ak_name: octet(&tpm.ak.name()),
        ik_name: octet(&tpm.identity.name()),
        evidence_sha256: octet(&sha256(evidence)),
        parent_rot: None,
    })
}

pub(crate) fn octet(bytes: &[u8]) -> OctetString {
    OctetString::new(bytes).unwrap()
}

fn told(world: &World, tpm: &SoftTpm, fields: &[Vec<u8>], evidence: &[u8], path: &[Vec<u8>]) -> Transcript {
    let template = match tpm.ek.template {
        Template::L1 => "L-1",
        Template::L2 => "L-2",
        Template::H2 => "H-2",
        Template::H3 => "H-3",
        _ => "H-4",
    };
    // The Name of what was shown, also where it is no key that could attest.
    let ak_name = TpmtPublic::parse(&fields[3]).map_or_else(|_| tpm.ak.name(), |public| public.name());
    let root = Root::EkActivation(EkWord {
        ek_spki_sha256: hex::encode(tpm.ek.sha256()),
        word: Word::Chain,
        anchor: "kit".to_owned(),
        kind: "hardware".to_owned(),
        manufacturers: vec!["id:49465800".to_owned()],
        enforce_expiry: true,
        path: path.iter().map(|der| hex::encode(sha256(der))).collect(),
        passed: Vec::new(),
        template: template.to_owned(),
        assurance: "hardware-verified".to_owned(),
        activation: Activation {
            method: "TPM2_MakeCredential".to_owned(),
            ak_name: hex::encode(ak_name),
            answer: "secret-returned".to_owned(),
        },
    });
    transcript([&fields[0], &fields[5]], evidence, root, &world.decided[0])
}

/// What the CA wrote, of this conversation (id and nonce).
pub(crate) fn transcript([id, nonce]: [&[u8]; 2], evidence: &[u8], root: Root, decided: &Decided) -> Transcript {
    Transcript {
        v: TRANSCRIPT_V1.to_owned(),
        enrollment: hex::encode(id),
        nonce: hex::encode(nonce),
        evidence: hex::encode(sha256(evidence)),
        ca: Ca {
            name: "Kit \u{e9}\"\\\u{1}".to_owned(),
            version: "1.2.3".to_owned(),
        },
        policy: None,
        asked: Asked {
            profile: "device-ldevid".to_owned(),
            attestation_profile: None,
            device: Some("GW-1".to_owned()),
        },
        challenged_at: NOW - 5,
        expires_at: NOW + 60,
        decided_at: NOW,
        root,
        device: "GW-1".to_owned(),
        inventory: Some(Inventory {
            bound: true,
            held: false,
            batch: Some("lot \u{e9}".to_owned()),
            dns_names: Vec::new(),
            spiffe_id: None,
            accepted_advisories: Vec::new(),
        }),
        decisions: vec![decided.clone()],
        renewed: None,
        same_key: None,
    }
}

fn certify(world: &World, said: &Said, serial: &[u8]) -> Vec<u8> {
    let of = [rot::TCG_VERIFIED_TPM_RESIDENCY, rot::TCG_VERIFIED_TPM_FIXED, said.level];
    let policies: Vec<Vec<u8>> = of.iter().map(|policy| sequence(&[&oid(&policy.to_string())])).collect();
    let mut extensions = vec![
        extension("2.5.29.19", true, &sequence(&[])),
        extension("2.5.29.15", true, &tlv(0x03, &[7, 0x80])),
        extension(POLICIES, false, &tlv(0x30, &policies.concat())),
        extension(&rot::ID_ROT_BINDING.to_string(), false, &said.rot.to_der().unwrap()),
        extension("2.5.29.14", false, &octets(&sha256(&said.spki)[..20])),
        world.issuing.authority(),
    ];
    if said.rehearsal {
        extensions.push(extension(&rot::ID_REHEARSAL.to_string(), false, &[5, 0]));
    }
    if !said.alternative.is_empty() {
        let all = said.alternative.iter().map(|one| one.to_general_name().unwrap());
        let all: Vec<Vec<u8>> = all.map(|one| one.to_der().unwrap()).collect();
        extensions.push(extension("2.5.29.17", false, &tlv(0x30, &all.concat())));
    }
    world.issuing.certify(&Content {
        serial: serial.to_vec(),
        subject: said.subject.clone(),
        not_before: utc_time("260101000000Z"),
        not_after: said.not_after.clone(),
        spki: said.spki.clone(),
        extensions,
    })
}

/// The subject of a device: its serialNumber, a PrintableString.
pub(crate) fn subject(device: &str) -> Vec<u8> {
    let number = sequence(&[&oid("2.5.4.5"), &tlv(0x13, device.as_bytes())]);
    sequence(&[&tlv(0x31, &number)])
}

/// The names of a TPM, as its EK certificate has them; none where what was shown is no certificate.
fn names_of_ek(certificate: &[u8]) -> Vec<SanEntry> {
    let Ok(read) = Certificate::from_der(certificate) else {
        return Vec::new();
    };
    let tbs = read.tbs_certificate();
    let Ok(Some((_, above))) = tbs.get_extension::<AuthorityKeyIdentifier>() else {
        return Vec::new();
    };
    let (above, serial) = (above.key_identifier.unwrap(), tbs.serial_number());
    let module = format!(
        "49465800:{}:{}",
        hex::encode(above.as_bytes()),
        hex::encode(serial.as_bytes())
    );
    vec![
        SanEntry::HardwareModuleName(rot::TCG_HW_TYPE_TPM20, module.into_bytes()),
        SanEntry::PermanentIdentifier(hex::encode(sha256(certificate)), rot::TCG_ON_EK_PERM_ID_SHA256),
    ]
}

fn tree(leaves: &[[u8; 32]]) -> [u8; 32] {
    match leaves {
        [] => empty_root(),
        [one] => *one,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(&tree(left), &tree(right))
        }
    }
}

/// RFC 6962 §2.1.1.
fn path(at: usize, leaves: &[[u8; 32]]) -> Vec<[u8; 32]> {
    if leaves.len() < 2 {
        return Vec::new();
    }
    let middle = leaves.len().next_power_of_two() / 2;
    let (left, right) = leaves.split_at(middle);
    let (mut path, other) = if at < middle {
        (path(at, left), tree(right))
    } else {
        (path(at - middle, right), tree(left))
    };
    path.push(other);
    path
}

fn proven(world: &World, entry: &[u8], round: usize) -> Proof {
    // Trees of several shapes, and several places in them.
    let size = 3 + round % 7;
    let at = round % size;
    let mut leaves: Vec<[u8; 32]> = (0..size).map(|i| leaf_hash(&[i as u8])).collect();
    leaves[at] = leaf_hash(entry);
    let head = Head {
        size: size as u64,
        root: tree(&leaves),
    };
    let origin = world.ledger.verifier().name().clone();
    let text = Checkpoint::new(origin, head).text();
    Proof {
        inclusion: Inclusion {
            index: at as u64,
            path: path(at, &leaves),
        },
        lines: vec![world.ledger.sign(&text).unwrap(), ca_line(&world.issuing, world, &text)],
        text,
    }
}

/// The line of this CA's key under the text.
pub(crate) fn ca_line(ca: &VendorCa, world: &World, text: &str) -> NoteSignature {
    let message = [CA_KEY, text].concat();
    let mut signer = Signer::new(MessageDigest::sha256(), &ca.key).unwrap();
    let signature = signer.sign_oneshot_to_vec(message.as_bytes()).unwrap();
    let spki = ca.key.public_key_to_der().unwrap();
    ca_key_line(world.ledger.verifier().name(), &spki, signature)
}

/// Name of a TPM as EK certificates have it: for those that are not honest.
pub(crate) fn no_name() -> Vec<u8> {
    sequence(&[&context(4, &sequence(&[]))])
}
