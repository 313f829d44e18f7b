use openssl::ec::{EcGroup, EcKey};
use openssl::pkey::Private;
use openssl::rsa::Rsa;
use openssl::sign::{RsaPssSaltlen, Signer};

use super::*;
use crate::{Sha256, calendar};
use issuance::SignatureAlgorithm as A;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::rsa::Padding;

const NOW: UnixTime = UnixTime(1_795_305_600);

fn ec(curve: Nid) -> PKey<Private> {
    PKey::from_ec_key(EcKey::generate(&EcGroup::from_curve_name(curve).unwrap()).unwrap()).unwrap()
}

fn sign(key: &PKey<Private>, algorithm: A, message: &[u8]) -> Vec<u8> {
    let digest = match algorithm {
        A::EcdsaP384Sha384 => MessageDigest::sha384(),
        _ => MessageDigest::sha256(),
    };
    let mut signer = Signer::new(digest, key).unwrap();
    if matches!(algorithm, A::Rsa3072PssSha256 | A::Rsa4096PssSha256) {
        signer.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
        signer.set_rsa_mgf1_md(MessageDigest::sha256()).unwrap();
        signer.set_rsa_pss_saltlen(RsaPssSaltlen::custom(32)).unwrap();
    }
    signer.sign_oneshot_to_vec(message).unwrap()
}

fn subject() -> Subject {
    Subject {
        ceremony: "root-r1".into(),
        mode: Mode::Ceremony,
        plan: Sha256::of(b"plan"),
        script: Sha256::of(b"script"),
        program: Sha256::of(b"program"),
        medium: Some(Sha256::of(b"medium")),
    }
}

/// Three officers of a plan, with their keys.
struct Room {
    keys: Vec<PKey<Private>>,
    officers: Vec<Officer>,
}

const PEOPLE: [&str; 3] = ["Anna Berg", "Ben Cole", "Carla Dietz"];

impl Room {
    fn new() -> Self {
        let keys: Vec<_> = (0..3).map(|_| ec(Nid::X9_62_PRIME256V1)).collect();
        let officers = keys
            .iter()
            .zip(1..)
            .map(|(key, number)| Officer {
                role: format!("crypto officer {number}"),
                key: Sha256::of(&key.public_key_to_der().unwrap()),
            })
            .collect();
        Self { keys, officers }
    }

    fn statement(&self, officer: usize) -> Statement {
        Statement {
            subject: subject(),
            role: self.officers[officer].role.clone(),
            person: PEOPLE[officer].into(),
            time: NOW,
            store: KeyStore::Token(format!("card-{officer}")),
            algorithm: A::EcdsaP256Sha256,
            spki: self.keys[officer].public_key_to_der().unwrap(),
        }
    }

    fn sign(&self, officer: usize, statement: Statement) -> Approval {
        let signature = sign(&self.keys[officer], A::EcdsaP256Sha256, &statement.bytes().unwrap());
        statement.signed(signature).unwrap()
    }

    fn approval(&self, officer: usize) -> Approval {
        self.sign(officer, self.statement(officer))
    }

    fn by(&self, approvals: Vec<Approval>) -> Result<Approved, QuorumError> {
        Approved::by(subject(), 2, &self.officers, approvals, NOW)
    }

    /// With one good approval before it, this changed one of officer 1 is refused.
    fn refusal(&self, change: impl FnOnce(&mut Statement)) -> QuorumError {
        let mut statement = self.statement(1);
        change(&mut statement);
        self.by(vec![self.approval(0), self.sign(1, statement)]).unwrap_err()
    }
}

#[test]
fn two_of_three_are_a_quorum() {
    let room = Room::new();
    let approved = room.by(vec![room.approval(2), room.approval(0)]).unwrap();
    assert_eq!(approved.subject(), &subject());
    assert_eq!(approved.approvals().len(), 2);
    room.by((0..3).map(|n| room.approval(n)).collect()).unwrap();
}

#[test]
fn too_few_are_none() {
    let room = Room::new();
    assert_eq!(
        room.by(vec![room.approval(0)]).unwrap_err(),
        QuorumError::TooFew { have: 1, needed: 2 }
    );
    assert_eq!(room.by(vec![]).unwrap_err(), QuorumError::TooFew { have: 0, needed: 2 });
    let none = Approved::by(subject(), 0, &room.officers, vec![], NOW);
    assert_eq!(none.unwrap_err(), QuorumError::TooFew { have: 0, needed: 1 });
}

#[test]
fn what_was_not_approved_is_refused_field_by_field() {
    let room = Room::new();
    let other = Sha256::of(b"other");
    let what = |error| match error {
        QuorumError::Other { role, what, .. } if role == "crypto officer 2" => what,
        error => panic!("{error}"),
    };
    assert_eq!(what(room.refusal(|s| s.subject.plan = other)), "plan");
    assert_eq!(what(room.refusal(|s| s.subject.script = other)), "script");
    assert_eq!(what(room.refusal(|s| s.subject.program = other)), "program");
    assert_eq!(what(room.refusal(|s| s.subject.medium = Some(other))), "medium");
    assert_eq!(what(room.refusal(|s| s.subject.medium = None)), "medium");
    assert_eq!(
        what(room.refusal(|s| s.subject.ceremony = "root-r2".into())),
        "ceremony"
    );
    // An approval of the rehearsal is none of the ceremony.
    assert_eq!(what(room.refusal(|s| s.subject.mode = Mode::Rehearsal)), "mode");
}

#[test]
fn a_stranger_or_another_key_is_refused() {
    let room = Room::new();
    assert_eq!(
        room.refusal(|s| s.role = "crypto officer 9".into()),
        QuorumError::UnknownOfficer("crypto officer 9".into())
    );
    // Officer 2's name under officer 3's key.
    let mut statement = room.statement(2);
    statement.role = room.officers[1].role.clone();
    let error = room.by(vec![room.approval(0), room.sign(2, statement)]).unwrap_err();
    assert!(matches!(error, QuorumError::OtherKey { role, .. } if role == "crypto officer 2"));
}

#[test]
fn a_key_in_a_file_is_for_rehearsals() {
    let room = Room::new();
    assert_eq!(
        room.refusal(|s| s.store = KeyStore::File),
        QuorumError::FileKey("crypto officer 2".into())
    );
    let mut rehearsal = subject();
    rehearsal.mode = Mode::Rehearsal;
    // There the file stands for the card, so its key is not the plan's.
    let key = ec(Nid::SECP384R1);
    let mut approvals = Vec::new();
    for (officer, key) in [(0, &room.keys[0]), (1, &key)] {
        let mut statement = room.statement(officer);
        statement.subject = rehearsal.clone();
        statement.store = KeyStore::File;
        statement.spki = key.public_key_to_der().unwrap();
        statement.algorithm = [A::EcdsaP256Sha256, A::EcdsaP384Sha384][officer];
        let signature = sign(key, statement.algorithm, &statement.bytes().unwrap());
        approvals.push(statement.signed(signature).unwrap());
    }
    Approved::by(rehearsal, 2, &room.officers, approvals, NOW).unwrap();
}

#[test]
fn tomorrows_approval_is_refused_today() {
    let room = Room::new();
    let error = room.refusal(|s| s.time = UnixTime(NOW.0 + 1));
    assert!(matches!(error, QuorumError::Future { role, .. } if role == "crypto officer 2"));
}

#[test]
fn the_same_role_twice_counts_once() {
    let room = Room::new();
    let mut again = room.statement(0);
    again.person = "Somebody Else".into();
    let error = room.by(vec![room.approval(0), room.sign(0, again)]).unwrap_err();
    assert_eq!(error, QuorumError::SameRole("crypto officer 1".into()));
}

#[test]
fn the_same_person_twice_counts_once() {
    let room = Room::new();
    for spelling in ["Anna Berg", "anna BERG", "Berg, Anna", "Anna. Berg"] {
        let error = room.refusal(|s| s.person = spelling.into());
        assert!(
            matches!(&error, QuorumError::SamePerson { first, second, .. }
                if first == "crypto officer 1" && second == "crypto officer 2"),
            "{spelling}: {error}"
        );
    }
    assert_ne!(folded("Anna Berg"), folded("Anna Bergmann"));
}

#[test]
fn the_same_key_under_two_names_counts_once() {
    let mut room = Room::new();
    // A plan that names it twice would be refused; this one slipped through.
    room.keys[1] = room.keys[0].clone();
    room.officers[1].key = room.officers[0].key;
    let error = room.by(vec![room.approval(0), room.approval(1)]).unwrap_err();
    assert_eq!(
        error,
        QuorumError::SameKey {
            first: "crypto officer 1".into(),
            second: "crypto officer 2".into()
        }
    );
}

#[test]
fn every_algorithm_signs_and_what_was_written_is_read() {
    let room = Room::new();
    let keys = [
        (A::EcdsaP256Sha256, ec(Nid::X9_62_PRIME256V1)),
        (A::EcdsaP384Sha384, ec(Nid::SECP384R1)),
        (
            A::Rsa3072Pkcs1Sha256,
            PKey::from_rsa(Rsa::generate(3072).unwrap()).unwrap(),
        ),
    ];
    let mut statements = Vec::new();
    for (algorithm, key) in &keys {
        statements.push((*algorithm, key));
        if *algorithm == A::Rsa3072Pkcs1Sha256 {
            statements.push((A::Rsa3072PssSha256, key));
        }
    }
    for (algorithm, key) in statements {
        let mut statement = room.statement(0);
        statement.algorithm = algorithm;
        statement.spki = key.public_key_to_der().unwrap();
        let signature = sign(key, algorithm, &statement.bytes().unwrap());
        let approval = statement.clone().signed(signature.clone()).unwrap();
        let text = approval.text().unwrap();
        assert_eq!(RawApproval::parse(&text).unwrap().verify().unwrap(), approval);
        // The algorithm is the key's: no other is tried.
        for other in A::ALL.into_iter().filter(|other| *other != algorithm) {
            let mut statement = statement.clone();
            statement.algorithm = other;
            assert!(statement.signed(signature.clone()).is_err(), "{other:?}");
        }
    }
}

#[test]
fn any_bit_changed_is_refused() {
    let room = Room::new();
    let text = room.approval(0).text().unwrap();
    for at in 0..text.len() {
        for bit in 0..8 {
            let mut spoilt = text.clone();
            spoilt[at] ^= 1 << bit;
            assert!(
                RawApproval::parse(&spoilt).and_then(RawApproval::verify).is_err(),
                "byte {at}, bit {bit}"
            );
        }
    }
    for length in 0..text.len() {
        assert!(RawApproval::parse(&text[..length]).is_err());
    }
}

#[test]
fn one_spelling_only() {
    let room = Room::new();
    let text = String::from_utf8(room.approval(0).text().unwrap()).unwrap();
    assert!(RawApproval::parse(text.as_bytes()).is_ok());
    for spoilt in [
        text.replace('\n', "\r\n"),
        format!("{text}\n"),
        format!("{text}note: this too\n"),
        format!("\n{text}"),
        text.replace("role: ", "role:  "),
        text.replace("key: ", "key: \u{20}"),
        text.trim_end().to_owned(),
        text.replace(&calendar::show(NOW), "2026-11-22T00:00:00+00:00"),
        text.replace("mode: ceremony", "mode: Ceremony"),
        text.replace("key-store: token card-0", "key-store: card-0"),
    ] {
        assert_ne!(spoilt, text);
        assert!(RawApproval::parse(spoilt.as_bytes()).is_err(), "{spoilt}");
    }
    assert_eq!(RawApproval::parse(&vec![b'a'; 9000]), Err(ApprovalError::Text));
    assert_eq!(RawApproval::parse(&[0xff]), Err(ApprovalError::Text));
}

#[test]
fn a_text_with_a_line_in_it_cannot_be_signed() {
    let room = Room::new();
    for (field, change) in [
        (
            "person",
            Box::new(|s: &mut Statement| s.person = "Anna\nrole: x".into()) as Box<dyn Fn(&mut Statement)>,
        ),
        ("role", Box::new(|s| s.role = String::new())),
        ("ceremony", Box::new(|s| s.subject.ceremony = "a\u{7}".into())),
        ("key-store", Box::new(|s| s.store = KeyStore::Token("1\n2".into()))),
    ] {
        let mut statement = room.statement(0);
        change(&mut statement);
        assert_eq!(statement.bytes().unwrap_err(), ApprovalError::Field(field));
    }
}

#[test]
fn another_spelling_of_a_key_is_refused() {
    // The same point compressed: the same key with another digest, which would count as a second one.
    let room = Room::new();
    let key = &room.keys[0];
    let ec = key.ec_key().unwrap();
    let mut group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    group.set_asn1_flag(openssl::ec::Asn1Flag::NAMED_CURVE);
    let mut context = openssl::bn::BigNumContext::new().unwrap();
    let point = ec
        .public_key()
        .to_bytes(&group, openssl::ec::PointConversionForm::COMPRESSED, &mut context)
        .unwrap();
    let mut spki =
        b"\x30\x39\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x22\x00"
            .to_vec();
    spki.extend(point);
    assert!(PKey::public_key_from_der(&spki).is_ok(), "OpenSSL itself would take it");
    let mut statement = room.statement(0);
    statement.spki = spki;
    let signature = sign(key, A::EcdsaP256Sha256, &statement.bytes().unwrap());
    assert_eq!(
        statement.signed(signature).unwrap_err(),
        ApprovalError::Key("ecdsa-p256-sha256")
    );
}

proptest::proptest! {
    #[test]
    fn no_bytes_are_a_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
        let _ = RawApproval::parse(&bytes);
    }
}
