//! One thing wrong each, and which checks say so.

use attest::rot::{self, RotBinding, RotStatement};
use bundle::{LedgerProof, Root, Transcript, Word};
use device_kit::der::{sequence, utc_time};
use device_kit::keys::{Hash, Scheme};
use device_kit::soft_tpm::{SoftTpm, csr, csr_for};
use device_kit::vendor::{EkContent, VendorCa};
use ledger::{KeyName, SignatureKind, SigningKey};

use crate::iak;
use crate::policy;
use crate::world::{Case, Fault, NOW, Said, World, ca_line, no_name, octet};

/// What has no key, or no endorsement, cannot be in the certificate either.
const ENDORSEMENT: &[&str] = &["endorsement", "names", "decision"];
/// Nothing that stands on the transcript can be said.
const NO_TRANSCRIPT: &[&str] = &[
    "transcript",
    "ledger",
    "endorsement",
    "attestation",
    "certification",
    "identity",
    "request",
    "names",
    "policy",
    "decision",
];
/// What stands on the AK.
const NO_AK: &[&str] = &[
    "attestation",
    "certification",
    "identity",
    "request",
    "names",
    "decision",
];
const NO_IK: &[&str] = &["identity", "request", "names", "decision"];

fn word(transcript: &mut Transcript) -> &mut bundle::EkWord {
    match &mut transcript.root {
        Root::EkActivation(word) => word,
        Root::IakCertified(_) => panic!("an IAK"),
    }
}

fn rot(said: &mut Said) -> &mut RotBinding {
    match &mut said.rot {
        RotStatement::Activation(binding) => binding,
        RotStatement::Certified(_) => panic!("an IAK"),
    }
}

fn flip(bytes: &mut [u8]) {
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
}

/// The EK certificate again, with other content.
fn recertified(tpm: &mut SoftTpm, by: &VendorCa, change: impl FnOnce(&mut EkContent)) {
    let mut content = EkContent::honest(&tpm.ek.key);
    change(&mut content);
    tpm.ek_certificate = by.ek_certificate(&tpm.ek.spki, &content);
}

fn text_of(bundle: &mut bundle::Bundle, change: impl FnOnce(&mut String)) {
    let mut text = String::from_utf8(bundle.transcript.clone()).unwrap();
    change(&mut text);
    bundle.transcript = text.into_bytes();
}

fn proof_of(bundle: &mut bundle::Bundle) -> &mut LedgerProof {
    bundle.ledger.as_mut().unwrap()
}

/// Every fault.
pub(crate) fn all() -> Vec<Fault> {
    let mut all = vec![Fault::of("good", &[])];
    all.extend(keys());
    all.extend(endorsements());
    all.extend(transcripts());
    all.extend(certificates());
    all.extend(ledgers());
    all.extend(archives());
    all.extend(policy::all());
    all.extend(iak::all());
    all
}

fn keys() -> Vec<Fault> {
    vec![
        Fault {
            device: |_, tpm| tpm.ak = tpm.ak.reshaped(|shape| shape.attributes &= !0x0001_0000),
            ..Fault::of("AK is not restricted", NO_AK)
        },
        Fault {
            device: |_, tpm| tpm.ak = tpm.ak.reshaped(|shape| shape.attributes &= !0x2),
            ..Fault::of("AK can leave its TPM", NO_AK)
        },
        Fault {
            device: |_, tpm| tpm.ak = tpm.ak.reshaped(|shape| shape.attributes &= !0x20),
            ..Fault::of("AK was not made in a TPM", NO_AK)
        },
        Fault {
            device: |_, tpm| tpm.ak = tpm.ak.reshaped(|shape| shape.attributes |= 0x0002_0000),
            ..Fault::of("AK decrypts", NO_AK)
        },
        Fault {
            device: |_, tpm| tpm.ak = tpm.ak.reshaped(|shape| shape.name_alg = Hash::Sha1),
            ..Fault::of("AK has a Name of SHA-1", NO_AK)
        },
        Fault {
            device: |_, tpm| tpm.ak = tpm.ak.reshaped(|shape| shape.scheme = Scheme::Null),
            ..Fault::of("AK has no scheme", NO_AK)
        },
        Fault {
            device: |_, tpm| tpm.identity = tpm.identity.reshaped(|shape| shape.attributes &= !0x2),
            ..Fault::of("key can leave its TPM", NO_IK)
        },
        Fault {
            device: |_, tpm| tpm.identity = tpm.identity.reshaped(|shape| shape.attributes |= 0x0001_0000),
            ..Fault::of("key is restricted", NO_IK)
        },
        Fault {
            device: |_, tpm| tpm.identity = tpm.identity.reshaped(|shape| shape.attributes |= 0x0002_0000),
            ..Fault::of("key decrypts", NO_IK)
        },
        Fault {
            device: |_, tpm| tpm.identity = tpm.identity.reshaped(|shape| shape.attributes &= !0x10),
            ..Fault::of("key can go to another parent", NO_IK)
        },
        Fault {
            device: |_, tpm| {
                let attributes = tpm.identity.shape.attributes;
                let scheme = tpm.identity.shape.scheme;
                tpm.identity = tpm.ak.reshaped(|shape| {
                    shape.attributes = attributes;
                    shape.scheme = scheme;
                });
            },
            ..Fault::of("key has the key of the AK", NO_IK)
        },
        Fault {
            attest: |_, attest| attest.magic = *b"\xffTCX",
            ..Fault::of("magic", &["certification"])
        },
        Fault {
            attest: |_, attest| attest.kind = 0x8018,
            ..Fault::of("a quote", &["certification"])
        },
        Fault {
            attest: |_, attest| attest.extra[0] ^= 1,
            ..Fault::of("another conversation", &["certification"])
        },
        Fault {
            attest: |_, attest| attest.extra.clear(),
            ..Fault::of("no qualifying data", &["certification"])
        },
        Fault {
            attest: |tpm, attest| attest.name = tpm.ak.name(),
            ..Fault::of("another key is certified", &["certification"])
        },
        Fault {
            attest: |_, attest| attest.trailing.push(0),
            ..Fault::of("a byte behind the statement", &["certification"])
        },
        Fault {
            fields: |_, _, fields| flip(&mut fields[7]),
            ..Fault::of("statement's signature", &["certification"])
        },
        Fault {
            fields: |_, tpm, fields| fields[7] = tpm.ak.sign(b"something else"),
            ..Fault::of("signature over something else", &["certification"])
        },
        Fault {
            fields: |world, _, fields| {
                let other = SoftTpm::p256(&world.between);
                fields[7] = other.ak.sign(&fields[6]);
            },
            ..Fault::of("another AK signed", &["certification"])
        },
        Fault {
            fields: |_, _, fields| fields[5][0] ^= 1,
            ..Fault::of("another nonce", &["certification"])
        },
        Fault {
            fields: |_, _, fields| fields[0][0] ^= 1,
            ..Fault::of("another enrollment", &["certification"])
        },
        Fault {
            fields: |_, tpm, fields| fields[8] = csr(&tpm.identity, &sequence(&[&sequence(&[])]), &[]),
            ..Fault::of("request that is none", &["certification", "request", "decision"])
        },
        Fault {
            fields: |_, tpm, fields| fields[8] = csr_for(&tpm.identity.spki, &tpm.ak, &sequence(&[]), &[]),
            ..Fault::of(
                "another key signed the request",
                &["certification", "request", "decision"],
            )
        },
        Fault {
            fields: |world, _, fields| {
                let other = SoftTpm::p256(&world.between).identity;
                fields[8] = csr(&other, &sequence(&[]), &[]);
            },
            ..Fault::of("request for another key", &["certification", "request", "decision"])
        },
    ]
}

fn endorsements() -> Vec<Fault> {
    vec![
        Fault {
            device: |world, tpm| recertified(tpm, &world.stranger, |_| {}),
            ..Fault::of("EK of a stranger", ENDORSEMENT)
        },
        Fault {
            device: |world, tpm| {
                recertified(tpm, &world.between, |content| {
                    content.manufacturer = "id:414D4400".into()
                })
            },
            ..Fault::of("anchor may not speak for it", ENDORSEMENT)
        },
        Fault {
            device: |world, tpm| recertified(tpm, &world.between, |content| content.extended_key_usage = None),
            ..Fault::of("EK certificate without purpose", ENDORSEMENT)
        },
        Fault {
            device: |world, tpm| recertified(tpm, &world.between, |content| content.ca = Some(true)),
            ..Fault::of("EK certificate is a CA's", ENDORSEMENT)
        },
        Fault {
            device: |world, tpm| recertified(tpm, &world.between, |content| content.key_usage = Some(0x80)),
            ..Fault::of("EK signs", ENDORSEMENT)
        },
        Fault {
            device: |world, tpm| recertified(tpm, &world.between, |content| content.san = Some(no_name())),
            ..Fault::of("EK certificate names no TPM", ENDORSEMENT)
        },
        Fault {
            device: |world, tpm| recertified(tpm, &world.between, |content| content.model = "a\u{7}b".into()),
            ..Fault::of("model rings a bell", ENDORSEMENT)
        },
        Fault {
            device: |world, tpm| {
                recertified(tpm, &world.between, |content| {
                    content.not_after = utc_time("250101000000Z")
                });
            },
            ..Fault::of("EK certificate had expired", ENDORSEMENT)
        },
        Fault {
            device: |world, tpm| {
                recertified(tpm, &world.between, |content| {
                    content.not_before = utc_time("400101000000Z")
                });
            },
            ..Fault::of("EK certificate not yet valid", ENDORSEMENT)
        },
        Fault {
            fields: |_, _, fields| flip(&mut fields[1]),
            ..Fault::of("bit of the EK certificate", ENDORSEMENT)
        },
        Fault {
            device: |world, tpm| tpm.ek_certificate = SoftTpm::p256(&world.between).ek_certificate,
            ..Fault::of("EK certificate of another EK", ENDORSEMENT)
        },
        Fault {
            fields: |_, _, fields| fields[2][7] ^= 0x40,
            ..Fault::of("EK of no template", ENDORSEMENT)
        },
        Fault {
            bundle: |_, bundle| drop(bundle.path.pop()),
            ..Fault::of("no link to the anchor", ENDORSEMENT)
        },
        Fault {
            bundle: |world, bundle| bundle.path[0].clone_from(&world.stranger.certificate),
            ..Fault::of("another anchor in the bundle", ENDORSEMENT)
        },
        Fault {
            bundle: |_, bundle| bundle.path.clear(),
            ..Fault::of("no path in the bundle", ENDORSEMENT)
        },
        Fault {
            bundle: |world, bundle| bundle.path.push(world.stranger.certificate.clone()),
            ..Fault::of("one CA too many in the bundle", &["endorsement"])
        },
        Fault {
            case: |_, case| drop(case.tpm.pop()),
            ..Fault::of("anchor is not the verifier's", &["endorsement"])
        },
    ]
}

fn transcripts() -> Vec<Fault> {
    vec![
        Fault {
            transcript: |told| told.nonce = "00".repeat(32),
            ..Fault::of("transcript of another nonce", &["transcript"])
        },
        Fault {
            transcript: |told| told.enrollment = "00".repeat(16),
            ..Fault::of("transcript of another enrollment", &["transcript"])
        },
        Fault {
            transcript: |told| told.evidence = "00".repeat(32),
            ..Fault::of("transcript of another record", &["transcript"])
        },
        Fault {
            transcript: |told| {
                told.renewed = Some("00".repeat(32));
                told.same_key = Some(true);
            },
            ..Fault::of("transcript of a renewal", &["transcript"])
        },
        Fault {
            transcript: |told| told.expires_at = NOW - 1,
            ..Fault::of("answered too late", &["transcript"])
        },
        Fault {
            transcript: |told| told.challenged_at = NOW + 1,
            ..Fault::of("answered before it was asked", &["transcript"])
        },
        Fault {
            transcript: |told| told.v = "holdfast-transcript/v2".to_owned(),
            ..Fault::of("transcript of tomorrow", NO_TRANSCRIPT)
        },
        Fault {
            transcript: |told| word(told).manufacturers = vec!["id:414D4400".to_owned()],
            ..Fault::of("anchor spoke for another", ENDORSEMENT)
        },
        Fault {
            transcript: |told| word(told).manufacturers.clear(),
            ..Fault::of("anchor spoke for nobody", ENDORSEMENT)
        },
        Fault {
            transcript: |told| word(told).kind = "virtual".to_owned(),
            ..Fault::of("anchor was of a virtual TPM", ENDORSEMENT)
        },
        Fault {
            transcript: |told| word(told).kind = "granite".to_owned(),
            ..Fault::of(
                "anchor was of granite",
                &[
                    "endorsement",
                    "attestation",
                    "certification",
                    "identity",
                    "request",
                    "names",
                    "decision",
                ],
            )
        },
        Fault {
            transcript: |told| word(told).word = Word::AllowList,
            ..Fault::of("administrator's word, and a certificate", ENDORSEMENT)
        },
        Fault {
            transcript: |told| word(told).word = Word::Review,
            // Decided alike: what a key that people named is worth, such a rule permits, too.
            ..Fault::of("people's word for hardware", &["endorsement", "names"])
        },
        Fault {
            transcript: |told| word(told).assurance = "software".to_owned(),
            ..Fault::of("transcript of a lower level", &["endorsement"])
        },
        Fault {
            transcript: |told| word(told).template = "H-7".to_owned(),
            ..Fault::of("transcript of another template", &["endorsement"])
        },
        Fault {
            transcript: |told| word(told).ek_spki_sha256 = "00".repeat(32),
            ..Fault::of("transcript of another EK", &["endorsement"])
        },
        Fault {
            transcript: |told| word(told).activation.ak_name = "000b".to_owned(),
            ..Fault::of("another AK was activated", &["endorsement"])
        },
        Fault {
            transcript: |told| word(told).activation.answer = "not-asked".to_owned(),
            ..Fault::of("nothing was activated", &["endorsement"])
        },
        Fault {
            bundle: |_, bundle| text_of(bundle, |text| *text = text.replace("GW-1", "GW-2")),
            ..Fault::of("device renamed afterwards", &["ledger", "decision"])
        },
        Fault {
            bundle: |_, bundle| text_of(bundle, |text| *text = text.replace("local-identity", "other-identity")),
            ..Fault::of("rule renamed afterwards", &["ledger", "policy", "decision"])
        },
        Fault {
            bundle: |_, bundle| text_of(bundle, |text| text.push('\n')),
            ..Fault::of("transcript in another spelling", NO_TRANSCRIPT)
        },
        Fault {
            bundle: |_, bundle| text_of(bundle, |text| text.truncate(text.len() / 2)),
            ..Fault::of("half a transcript", NO_TRANSCRIPT)
        },
        Fault {
            bundle: |_, bundle| text_of(bundle, |text| text.insert_str(1, "\"more\":1,")),
            ..Fault::of("transcript with another member", NO_TRANSCRIPT)
        },
        Fault {
            bundle: |_, bundle| flip(&mut bundle.evidence),
            // In the middle stands a digit of the EK certificate, or of a key: what more refuses depends on which.
            ..Fault::of("bit of the record", &["record", "transcript", "ledger", "*"])
        },
        Fault {
            bundle: |_, bundle| bundle.evidence.push(0),
            ..Fault::of(
                "a byte behind the record",
                &[
                    "record",
                    "transcript",
                    "ledger",
                    "endorsement",
                    "attestation",
                    "certification",
                    "identity",
                    "request",
                    "names",
                    "decision",
                ],
            )
        },
    ]
}

fn certificates() -> Vec<Fault> {
    vec![
        Fault {
            certificate: |_, said| rot(said).evidence_sha256 = octet(&[0; 32]),
            ..Fault::of("certificate of another record", &["record"])
        },
        Fault {
            certificate: |_, said| rot(said).ek_spki_sha256 = octet(&[0; 32]),
            ..Fault::of("certificate of another EK", &["names"])
        },
        Fault {
            certificate: |tpm, said| rot(said).ak_name = octet(&tpm.identity.name()),
            ..Fault::of("certificate of another AK", &["names"])
        },
        Fault {
            certificate: |tpm, said| rot(said).ik_name = octet(&tpm.ek.sha256()),
            ..Fault::of("certificate of another Name", &["names"])
        },
        Fault {
            certificate: |tpm, said| said.spki = tpm.ak.spki.clone(),
            ..Fault::of("certificate on the AK's key", &["names", "decision"])
        },
        Fault {
            certificate: |_, said| said.level = rot::ID_SOFTWARE,
            ..Fault::of("certificate of a lower level", &["level", "names"])
        },
        Fault {
            certificate: |_, said| said.rehearsal = true,
            ..Fault::of("rehearsal", &["rehearsal"])
        },
        Fault {
            certificate: |_, said| said.not_after = utc_time("260201000000Z"),
            ..Fault::of("certificate had expired", &["chain"])
        },
        Fault {
            case: |world, case| case.ca = vec![world.stranger.certificate.clone()],
            ..Fault::of("root is not the verifier's", &["chain"])
        },
        Fault {
            case: |_, case| case.at = 1_600_000_000,
            ..Fault::of("at a time before", &["chain"])
        },
        Fault {
            case: |world, case| case.certificate = Fault::of("another", &[]).case(world, 0).certificate,
            ..Fault::of("bundle of another certificate", &["certificate"])
        },
        Fault {
            bundle: |world, bundle| bundle.issuers[0].clone_from(&world.stranger.certificate),
            ..Fault::of("issuer in the bundle", &["chain", "signature"])
        },
        Fault {
            bundle: |_, bundle| drop(bundle.issuers.pop()),
            ..Fault::of("no root in the bundle", &["signature"])
        },
    ]
}

fn ledgers() -> Vec<Fault> {
    vec![
        Fault {
            leaf: |_, leaf| leaf.certificate[0] ^= 1,
            ..Fault::of("leaf of another certificate", &["ledger"])
        },
        Fault {
            leaf: |_, leaf| leaf.evidence = Some([0; 32]),
            ..Fault::of("leaf of another record", &["ledger"])
        },
        Fault {
            leaf: |_, leaf| leaf.evidence = None,
            ..Fault::of("leaf of no record", &["ledger"])
        },
        Fault {
            leaf: |_, leaf| leaf.transcript = Some([0; 32]),
            ..Fault::of("leaf of another transcript", &["ledger"])
        },
        Fault {
            leaf: |_, leaf| leaf.transcript = None,
            ..Fault::of("leaf of before there were transcripts", &["ledger"])
        },
        Fault {
            leaf: |_, leaf| leaf.serial[3] ^= 1,
            ..Fault::of("leaf of another serial", &["ledger"])
        },
        Fault {
            leaf: |_, leaf| leaf.profile_sha256[0] ^= 1,
            ..Fault::of("leaf of another profile", &["ledger"])
        },
        Fault {
            leaf: |at, _| *at += 1,
            ..Fault::of("leaf of another second", &["ledger"])
        },
        Fault {
            proof: |_, proof| proof.inclusion.path[0][5] ^= 1,
            ..Fault::of("path of the proof", &["ledger"])
        },
        Fault {
            proof: |_, proof| {
                let _ = proof.inclusion.path.pop();
            },
            ..Fault::of("path cut short", &["ledger"])
        },
        Fault {
            proof: |_, proof| proof.inclusion.path.push([0; 32]),
            ..Fault::of("path too long", &["ledger"])
        },
        Fault {
            proof: |_, proof| proof.inclusion.index += 1,
            ..Fault::of("another place", &["ledger"])
        },
        Fault {
            proof: |world, proof| {
                proof.text.push_str("x\n");
                proof.lines[1] = ca_line(&world.issuing, world, &proof.text);
            },
            ..Fault::of("checkpoint that the ledger did not sign", &["ledger"])
        },
        Fault {
            proof: |_, proof| proof.lines[0].signature[9] ^= 1,
            ..Fault::of("ledger's signature", &["ledger"])
        },
        Fault {
            proof: |_, proof| drop(proof.lines.pop()),
            ..Fault::of("HSM was away", &["signature"])
        },
        Fault {
            proof: |_, proof| flip(&mut proof.lines[1].signature),
            ..Fault::of("CA's signature over the checkpoint", &["signature"])
        },
        Fault {
            proof: |world, proof| proof.lines[1] = ca_line(&world.stranger, world, &proof.text),
            ..Fault::of("another CA signed the checkpoint", &["signature"])
        },
        Fault {
            proof: |world, proof| {
                let stranger = ca_line(&world.stranger, world, &proof.text);
                proof.lines[1].signature = stranger.signature;
            },
            ..Fault::of("another CA signed in its name", &["signature"])
        },
        Fault {
            case: |_, case| {
                let name = KeyName::new("ledger.example").unwrap();
                let other = SigningKey::from_seed(name, SignatureKind::Ed25519, &[8; 32]).unwrap();
                case.ledgers = vec![other.verifier().to_string()];
            },
            ..Fault::of("ledger is not the verifier's", &["ledger"])
        },
        Fault {
            case: |_, case| case.ledgers.clear(),
            ..Fault::of("verifier knows no ledger", &["ledger"])
        },
        Fault {
            bundle: |_, bundle| bundle.ledger = None,
            ..Fault::of("no ledger", &["ledger", "signature"])
        },
        Fault {
            bundle: |_, bundle| proof_of(bundle).entry.push(b' '),
            ..Fault::of("leaf in another spelling", &["ledger"])
        },
        Fault {
            bundle: |_, bundle| proof_of(bundle).proof.truncate(60),
            ..Fault::of("proof cut off", &["ledger", "signature"])
        },
        Fault {
            bundle: |_, bundle| {
                proof_of(bundle).entry =
                    br#"{"v":1,"at":1800000000,"event":"audit","records":1,"digest":"00"}"#.to_vec();
            },
            ..Fault::of("leaf of something else", &["ledger"])
        },
    ]
}

/// The checksum of the header at `header` again, so that it is not what refuses.
fn summed(archive: &mut [u8], header: usize) {
    archive[header + 148..header + 156].fill(b' ');
    let sum: u32 = archive[header..header + 512].iter().map(|b| u32::from(*b)).sum();
    archive[header + 148..header + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

fn renamed(archive: &mut [u8], from: &str, to: &str) {
    let at = archive.windows(from.len()).position(|window| window == from.as_bytes());
    let at = at.unwrap();
    archive[at..at + to.len()].copy_from_slice(to.as_bytes());
    summed(archive, at / 512 * 512);
}

fn archives() -> Vec<Fault> {
    vec![
        Fault {
            archive: |archive| archive.truncate(archive.len() - 512),
            ..Fault::of("archive cut off", &["bundle"])
        },
        Fault {
            archive: |archive| archive.push(0),
            ..Fault::of("a byte behind the archive", &["bundle"])
        },
        Fault {
            archive: |archive| archive.extend([0; 512]),
            ..Fault::of("a block behind the archive", &["bundle"])
        },
        Fault {
            archive: |archive| renamed(archive, "evidence.bin", "../idence.bi"),
            ..Fault::of("name that leads out", &["bundle"])
        },
        Fault {
            archive: |archive| renamed(archive, "evidence.bin", "/vidence.bin"),
            ..Fault::of("name from the root", &["bundle"])
        },
        Fault {
            archive: |archive| renamed(archive, "evidence.bin", "evidence.bip"),
            ..Fault::of("foreign name", &["bundle"])
        },
        Fault {
            archive: |archive| {
                // The first file once more, before itself.
                let length = std::str::from_utf8(&archive[124..135]).unwrap();
                let length = usize::from_str_radix(length, 8).unwrap().next_multiple_of(512);
                let twice = archive[..512 + length].to_vec();
                archive.splice(0..0, twice);
            },
            ..Fault::of("name twice", &["bundle"])
        },
        Fault {
            archive: |archive| {
                archive[156] = b'2';
                summed(archive, 0);
            },
            ..Fault::of("symbolic link", &["bundle"])
        },
        Fault {
            archive: |archive| {
                archive[124..135].copy_from_slice(b"77777777777");
                summed(archive, 0);
            },
            ..Fault::of("length of eight gigabytes", &["bundle"])
        },
        Fault {
            archive: |archive| {
                archive[146] = b'7';
                summed(archive, 0);
            },
            ..Fault::of("time in the archive", &["bundle"])
        },
        Fault {
            archive: Vec::clear,
            ..Fault::of("nothing", &["bundle"])
        },
        Fault {
            archive: |archive| archive.resize(1 << 21, 0),
            ..Fault::of("too long", &["bundle"])
        },
    ]
}

/// What both are asked about one and the same.
pub(crate) fn cases(world: &World, count: usize) -> Vec<(Fault, Case)> {
    let faults = all().len();
    (0..count)
        .map(|number| {
            let fault = all().swap_remove(number % faults);
            // Every fault meets every kind of keys, if there are enough rounds.
            let case = fault.case(world, number / faults);
            (fault, case)
        })
        .collect()
}
