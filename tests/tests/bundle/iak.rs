//! Enrollments on a manufacturer's IAK: one thing wrong each.

use attest::rot::{self, Basis, CertifiedBinding, RotBinding, RotKind, RotStatement};
use attest::tpm::{Certifies, iak_qualifying_data};
use attest::{KeyAlgorithm, sha256};
use bundle::{IakTerms, IakWord, Root, Transcript};
use der::Encode as _;
use device_kit::der::{extension, generalized_time, name, oid, sequence, tlv, utc_time};
use device_kit::keys::{Shape, SoftKey};
use device_kit::soft_tpm::{Attest, SoftTpm, csr, csr_for};
use device_kit::vendor::{Content, VendorCa, random_serial};

use crate::world::{Fault, NOW, Said, Shown, World, octet, record, subject, transcript};

/// Places of the record.
const CERTIFICATE: usize = 1;
const IDEVID: usize = 2;
const IAK: usize = 4;
const LAK: usize = 5;
const NONCE: usize = 7;
const SIGNATURE: usize = 9;
const LAK_ATTEST: usize = 10;
const LAK_SIGNATURE: usize = 11;
const CSR: usize = 12;

/// What the manufacturer certified, and the key that the IAK vouches for beside the identity key.
pub(crate) struct Papers {
    pub(crate) iak: Content,
    pub(crate) idevid: Content,
    lak: SoftKey,
}

fn paper(by: &VendorCa, spki: &[u8], policies: &[String], more: Vec<Vec<u8>>) -> Content {
    let policies: Vec<Vec<u8>> = policies.iter().map(|policy| sequence(&[&oid(policy)])).collect();
    let mut extensions = vec![
        extension("2.5.29.15", true, &tlv(0x03, &[7, 0x80])),
        extension("2.5.29.32", false, &tlv(0x30, &policies.concat())),
        by.authority(),
    ];
    extensions.extend(more);
    Content {
        serial: random_serial(),
        subject: name(&[("2.5.4.5", "unit 17")]),
        not_before: utc_time("260101000000Z"),
        not_after: generalized_time("99991231235959Z"),
        spki: spki.to_vec(),
        extensions,
    }
}

/// What is shown on an IAK, but for what is wrong with it.
pub(crate) fn shown(fault: &Fault, world: &World, tpm: &SoftTpm) -> Shown {
    let of = |what: &der::asn1::ObjectIdentifier| vec![rot::TCG_VERIFIED_TPM_RESIDENCY.to_string(), what.to_string()];
    let purpose = extension("2.5.29.37", false, &sequence(&[&oid("2.23.133.8.3")]));
    let other = SoftKey::generate(Shape::identity(KeyAlgorithm::P256));
    let mut papers = Papers {
        iak: paper(
            &world.plant,
            &tpm.ak.spki,
            &of(&rot::TCG_VERIFIED_TPM_RESTRICTED),
            vec![purpose],
        ),
        idevid: paper(&world.plant, &other.spki, &of(&rot::TCG_VERIFIED_TPM_FIXED), Vec::new()),
        lak: SoftKey::generate(Shape::ak(KeyAlgorithm::P256)),
    };
    (fault.papers)(world, tpm, &mut papers);
    let (mut id, mut nonce) = ([0; 16], [0; 32]);
    openssl::rand::rand_bytes(&mut id).unwrap();
    openssl::rand::rand_bytes(&mut nonce).unwrap();
    let csr = csr(&tpm.identity, &sequence(&[]), &[]);
    let says = |key: &SoftKey, what| {
        let mut attest = Attest::honest(key.name(), &iak_qualifying_data(&id, &nonce, &csr, what, None));
        if what == Certifies::Identity {
            (fault.attest)(tpm, &mut attest);
        }
        let attest = attest.bytes();
        let signature = tpm.ak.sign(&attest);
        (attest, signature)
    };
    let (attest, signature) = says(&tpm.identity, Certifies::Identity);
    let (lak_attest, lak_signature) = says(&papers.lak, Certifies::Attestation);
    let mut fields = vec![
        id.to_vec(),
        world.plant.certify(&papers.iak),
        world.plant.certify(&papers.idevid),
        Vec::new(),
        tpm.ak.public.clone(),
        papers.lak.public.clone(),
        tpm.identity.public.clone(),
        nonce.to_vec(),
        attest,
        signature,
        lak_attest,
        lak_signature,
        csr,
    ];
    (fault.fields)(world, tpm, &mut fields);
    let evidence = record(b"holdfast-iak-evidence-v1\0", &fields);
    let path = vec![world.maker.certificate.clone(), world.plant.certificate.clone()];
    let root = Root::IakCertified(IakWord {
        iak_certificate_sha256: hex::encode(sha256(&fields[CERTIFICATE])),
        anchor: "kit-maker".to_owned(),
        anchor_sha256: hex::encode(sha256(&path[0])),
        assurance: "manufacturer-verified".to_owned(),
        terms: Some(IakTerms {
            kind: "hardware".to_owned(),
            enforce_expiry: true,
            path: path.iter().map(|der| hex::encode(sha256(der))).collect(),
        }),
    });
    let mut transcript = transcript([&fields[0], &fields[NONCE]], &evidence, root, &world.decided[1]);
    (fault.transcript)(&mut transcript);
    let said = Said {
        rot: RotStatement::Certified(CertifiedBinding {
            version: 2,
            rot_kind: RotKind::Tpm,
            basis: Basis::IakCertified,
            iak_certificate_sha256: octet(&sha256(&fields[CERTIFICATE])),
            iak_spki_sha256: octet(&sha256(&tpm.ak.spki)),
            iak_name: octet(&tpm.ak.name()),
            ik_name: octet(&tpm.identity.name()),
            evidence_sha256: octet(&sha256(&evidence)),
            ek_spki_sha256: None,
        }),
        spki: tpm.identity.spki.clone(),
        subject: subject("GW-1"),
        alternative: Vec::new(),
        level: rot::ID_MANUFACTURER_VERIFIED,
        rehearsal: false,
        not_after: generalized_time("99991231235959Z"),
    };
    Shown {
        evidence,
        path,
        transcript,
        said,
        level: "manufacturer-verified",
    }
}

fn of(name: &'static str, refused: &'static [&'static str]) -> Fault {
    Fault {
        by_iak: true,
        ..Fault::of(name, refused)
    }
}

fn word(told: &mut Transcript) -> &mut IakWord {
    match &mut told.root {
        Root::IakCertified(word) => word,
        Root::EkActivation(_) => panic!("an EK"),
    }
}

fn terms(told: &mut Transcript) -> &mut IakTerms {
    word(told).terms.as_mut().unwrap()
}

fn rot(said: &mut Said) -> &mut CertifiedBinding {
    match &mut said.rot {
        RotStatement::Certified(binding) => binding,
        RotStatement::Activation(_) => panic!("an EK"),
    }
}

/// The policies of a paper, in its second extension.
fn say(paper: &mut Content, policies: &[der::asn1::ObjectIdentifier]) {
    let policies: Vec<Vec<u8>> = policies.iter().map(|of| sequence(&[&oid(&of.to_string())])).collect();
    paper.extensions[1] = extension("2.5.29.32", false, &tlv(0x30, &policies.concat()));
}

/// What is not endorsed cannot be in the certificate, nor decided about.
const WORD: &[&str] = &["endorsement", "names", "decision"];
const NO_IAK: &[&str] = &[
    "endorsement",
    "attestation",
    "certification",
    "identity",
    "request",
    "names",
    "decision",
];
const NO_IK: &[&str] = &["identity", "request", "names", "decision"];
const SAID: &[&str] = &["certification"];

pub(crate) fn all() -> Vec<Fault> {
    let mut all = vec![of("IAK: good", &[])];
    all.extend(statements());
    all.extend(keys());
    all.extend(papers());
    all.extend(words());
    all
}

/// `TPM2_Certify` by the IAK, of either key.
fn statements() -> Vec<Fault> {
    vec![
        Fault {
            attest: |_, attest| attest.magic = *b"\xffTCX",
            ..of("IAK: magic", SAID)
        },
        Fault {
            attest: |_, attest| attest.kind = 0x8018,
            ..of("IAK: a quote", SAID)
        },
        Fault {
            attest: |_, attest| attest.extra[0] ^= 1,
            ..of("IAK: another conversation", SAID)
        },
        Fault {
            attest: |_, attest| attest.extra.clear(),
            ..of("IAK: no qualifying data", SAID)
        },
        Fault {
            attest: |tpm, attest| attest.name = tpm.ak.name(),
            ..of("IAK: another key is certified", SAID)
        },
        Fault {
            attest: |_, attest| attest.trailing.push(0),
            ..of("IAK: a byte behind the statement", SAID)
        },
        Fault {
            fields: |_, tpm, fields| fields[SIGNATURE] = tpm.ak.sign(b"something else"),
            ..of("IAK: signature over something else", SAID)
        },
        Fault {
            fields: |_, tpm, fields| fields[SIGNATURE] = tpm.identity.sign(&fields[SIGNATURE - 1]),
            ..of("IAK: the key vouches for itself", SAID)
        },
        Fault {
            fields: |_, _, fields| fields[NONCE][0] ^= 1,
            ..of("IAK: another nonce", SAID)
        },
        Fault {
            fields: |_, _, fields| fields[0][0] ^= 1,
            ..of("IAK: another enrollment", SAID)
        },
        Fault {
            fields: |_, tpm, fields| fields[LAK_SIGNATURE] = tpm.ak.sign(b"something else"),
            ..of("IAK: signature over another attestation key", SAID)
        },
        Fault {
            fields: |_, _, fields| {
                fields[LAK_ATTEST] = fields[LAK_ATTEST - 2].clone();
                fields[LAK_SIGNATURE] = fields[SIGNATURE].clone();
            },
            ..of("IAK: one statement for two keys", SAID)
        },
        Fault {
            fields: |_, _, fields| {
                fields[LAK_ATTEST].clear();
                fields[LAK_SIGNATURE].clear();
            },
            ..of("IAK: attestation key without a statement", SAID)
        },
        Fault {
            fields: |_, _, fields| {
                for place in [LAK, LAK_ATTEST, LAK_SIGNATURE] {
                    fields[place].clear();
                }
            },
            ..of("IAK: good, and no attestation key", &[])
        },
    ]
}

fn keys() -> Vec<Fault> {
    vec![
        Fault {
            device: |_, tpm| tpm.ak = tpm.ak.reshaped(|shape| shape.attributes &= !0x0001_0000),
            ..of("IAK: is not restricted", NO_IAK)
        },
        Fault {
            device: |_, tpm| tpm.identity = tpm.identity.reshaped(|shape| shape.attributes &= !0x2),
            ..of("IAK: key can leave its TPM", NO_IK)
        },
        Fault {
            papers: |_, _, papers| papers.lak = papers.lak.reshaped(|shape| shape.attributes &= !0x2),
            ..of(
                "IAK: attestation key can leave its TPM",
                &["attestation", "identity", "request", "names", "decision"],
            )
        },
        Fault {
            papers: |_, tpm, papers| papers.lak = tpm.ak.clone(),
            ..of("IAK: a key in two roles", NO_IK)
        },
        Fault {
            fields: |_, tpm, fields| fields[CSR] = csr(&tpm.identity, &sequence(&[&sequence(&[])]), &[]),
            ..of("IAK: request that is none", &["certification", "request", "decision"])
        },
        Fault {
            fields: |_, tpm, fields| fields[CSR] = csr_for(&tpm.identity.spki, &tpm.ak, &sequence(&[]), &[]),
            ..of(
                "IAK: another key signed the request",
                &["certification", "request", "decision"],
            )
        },
        Fault {
            certificate: |tpm, said| rot(said).iak_spki_sha256 = octet(&tpm.ek.sha256()),
            ..of("IAK: certificate of another IAK", &["names"])
        },
        Fault {
            certificate: |tpm, said| rot(said).ek_spki_sha256 = Some(octet(&tpm.ek.sha256())),
            ..of("IAK: certificate of an EK that nobody named", &["names"])
        },
        Fault {
            certificate: |tpm, said| rot(said).iak_name = octet(&tpm.identity.name()),
            ..of("IAK: certificate of another Name", &["names"])
        },
        Fault {
            certificate: |tpm, said| {
                let evidence_sha256 = rot(said).evidence_sha256.clone();
                said.rot = RotStatement::Activation(RotBinding {
                    version: 1,
                    rot_kind: RotKind::Tpm,
                    ek_spki_sha256: octet(&tpm.ek.sha256()),
                    ak_name: octet(&tpm.ak.name()),
                    ik_name: octet(&tpm.identity.name()),
                    evidence_sha256,
                    parent_rot: None,
                });
            },
            ..of("IAK: certificate that says it was an EK", &["names"])
        },
    ]
}

fn papers() -> Vec<Fault> {
    vec![
        Fault {
            papers: |world, _, papers| {
                let text = papers.iak.subject.clone();
                papers.iak = paper(&world.plant, &papers.lak.spki, &[], Vec::new());
                papers.iak.subject = text;
                say(
                    &mut papers.iak,
                    &[rot::TCG_VERIFIED_TPM_RESIDENCY, rot::TCG_VERIFIED_TPM_RESTRICTED],
                );
            },
            ..of("IAK: certificate of another key", WORD)
        },
        Fault {
            papers: |_, _, papers| {
                say(
                    &mut papers.iak,
                    &[rot::TCG_VERIFIED_TPM_RESIDENCY, rot::TCG_VERIFIED_TPM_FIXED],
                )
            },
            ..of("IAK: certificate of an IDevID", WORD)
        },
        Fault {
            papers: |_, _, papers| papers.iak.extensions[0] = extension("2.5.29.15", true, &tlv(0x03, &[2, 0x84])),
            ..of("IAK: signs certificates", WORD)
        },
        Fault {
            papers: |_, _, papers| {
                papers.iak.extensions[3] = extension("2.5.29.37", false, &sequence(&[&oid("1.3.6.1.5.5.7.3.2")]));
            },
            ..of("IAK: of another purpose", WORD)
        },
        Fault {
            papers: |_, _, papers| papers.iak.extensions.push(extension("1.2.3.4", true, &[5, 0])),
            ..of("IAK: critical extension that nobody knows", WORD)
        },
        Fault {
            papers: |_, _, papers| {
                papers.iak.subject = sequence(&[]);
                papers.idevid.subject = sequence(&[]);
            },
            ..of("IAK: names no device", WORD)
        },
        Fault {
            papers: |_, tpm, papers| {
                let binding = RotBinding {
                    version: 1,
                    rot_kind: RotKind::Tpm,
                    ek_spki_sha256: octet(&tpm.ek.sha256()),
                    ak_name: octet(&tpm.ak.name()),
                    ik_name: octet(&tpm.identity.name()),
                    evidence_sha256: octet(&[0; 32]),
                    parent_rot: None,
                };
                let binding = binding.to_der().unwrap();
                let extensions = &mut papers.iak.extensions;
                extensions.push(extension(&rot::ID_ROT_BINDING.to_string(), false, &binding));
            },
            ..of("IAK: its binding is an identity key's", WORD)
        },
        Fault {
            papers: |_, _, papers| papers.iak.not_after = utc_time("250101000000Z"),
            ..of("IAK: had expired", WORD)
        },
        Fault {
            papers: |_, _, papers| papers.iak.not_before = utc_time("400101000000Z"),
            ..of("IAK: not yet valid", WORD)
        },
        Fault {
            papers: |_, _, papers| papers.idevid.subject = name(&[("2.5.4.5", "unit 18")]),
            ..of("IAK: IDevID of another device", WORD)
        },
        Fault {
            papers: |_, _, papers| {
                say(
                    &mut papers.idevid,
                    &[rot::TCG_VERIFIED_TPM_FIXED, rot::TCG_VERIFIED_TPM_RESTRICTED],
                );
            },
            ..of("IAK: IDevID that is an IAK", WORD)
        },
        Fault {
            papers: |_, _, papers| papers.idevid.not_after = utc_time("250101000000Z"),
            ..of("IAK: IDevID had expired", WORD)
        },
        Fault {
            fields: |_, _, fields| fields[IDEVID].clear(),
            ..of("IAK: good, and no IDevID", &[])
        },
        Fault {
            fields: |world, _, fields| {
                let at = fields[CERTIFICATE].len() - 1;
                fields[CERTIFICATE][at] ^= 1;
                fields[IDEVID] = world.stranger.certificate.clone();
            },
            ..of("IAK: of a stranger", WORD)
        },
        Fault {
            fields: |_, _, fields| fields[IAK].push(0),
            ..of("IAK: a byte behind its public area", NO_IAK)
        },
    ]
}

fn words() -> Vec<Fault> {
    vec![
        Fault {
            case: |_, case| case.iak.clear(),
            ..of("IAK: manufacturer is not the verifier's", &["endorsement"])
        },
        Fault {
            case: |_, case| case.tpm.append(&mut case.iak),
            ..of("IAK: anchor for TPMs alone", &["endorsement"])
        },
        Fault {
            bundle: |_, bundle| drop(bundle.path.pop()),
            ..of("IAK: no link to the anchor", WORD)
        },
        Fault {
            bundle: |world, bundle| bundle.path[0].clone_from(&world.stranger.certificate),
            ..of("IAK: another anchor in the bundle", WORD)
        },
        Fault {
            bundle: |world, bundle| bundle.path.push(world.stranger.certificate.clone()),
            ..of("IAK: one CA too many in the bundle", &["endorsement"])
        },
        Fault {
            transcript: |told| word(told).iak_certificate_sha256 = "00".repeat(32),
            ..of("IAK: transcript of another IAK", &["endorsement"])
        },
        Fault {
            transcript: |told| word(told).anchor_sha256 = "00".repeat(32),
            ..of("IAK: transcript of another anchor", &["endorsement"])
        },
        Fault {
            transcript: |told| word(told).assurance = "software".to_owned(),
            ..of("IAK: transcript of a lower level", &["endorsement"])
        },
        Fault {
            transcript: |told| terms(told).kind = "virtual".to_owned(),
            ..of("IAK: anchor was of virtual TPMs", WORD)
        },
        Fault {
            transcript: |told| {
                terms(told).kind = "granite".to_owned();
            },
            ..of("IAK: anchor was of granite", NO_IAK)
        },
        Fault {
            transcript: |told| word(told).terms = None,
            ..of("IAK: transcript of before it had terms", NO_IAK)
        },
        Fault {
            transcript: |told| told.decided_at = NOW + 3600,
            ..of("IAK: answered too late", &["transcript"])
        },
        Fault {
            transcript: |told| told.decisions[0].rules = vec!["local-identity".to_owned()],
            ..of("IAK: rule for an EK", &["decision"])
        },
    ]
}
