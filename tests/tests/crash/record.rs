//! What must hold after every failure, read from the database, the audit, the spy, and what the devices were told.

use std::collections::{BTreeMap, BTreeSet};

use device_kit::rig::{Certificate, Rig, Spy};
use openssl::sha::sha256;
use openssl::x509::X509;
use wire::enrollment::{EnrollmentResult, EnrollmentState};

use crate::load::{Enrollee, Journal, PROFILE, Step, until};

/// What [`issuance::probe`] signs.
const PROBE: &[u8] = b"holdfast signer probe v1: these bytes are not a certificate\n";

/// Everything holds; the orphans, oldest first. Every device of `enrollees` has its certificate by now.
pub(crate) fn holds(rig: &Rig, enrollees: &mut [Enrollee], spy: Option<&Spy>) -> Vec<Certificate> {
    until("no intent is left open", || rig.open_intents() == 0);
    let records = rig.certificates();
    nothing_twice(rig, &records);
    told_is_recorded(enrollees, &records);
    told_again(rig, enrollees);
    let orphans: Vec<Certificate> = records.iter().filter(|r| r.state == "orphan").cloned().collect();
    orphans_are_listed(rig, &orphans);
    audited(rig, &records);
    if let Some(spy) = spy {
        signed_is_recorded(spy, &records);
    }
    assert!(rig.server().metric("ca_panics_total") < 1.0, "{}", rig.log());
    assert!(!rig.log().contains("defect"), "{}", rig.log());
    orphans
}

/// No serial twice, no challenge twice, one live certificate for one device and profile, evidence for each.
fn nothing_twice(rig: &Rig, records: &[Certificate]) {
    let distinct = |of: fn(&Certificate) -> &str| records.iter().map(of).collect::<BTreeSet<_>>().len();
    assert_eq!(distinct(|r| &r.serial), records.len(), "no serial twice");
    assert_eq!(distinct(|r| &r.tbs), records.len(), "nothing to be signed twice");
    // One profile is asked for, so a challenge stands behind one certificate.
    assert_eq!(distinct(|r| &r.enrollment), records.len(), "no challenge twice");
    let rows = rig.rows();
    for table in ["enrollment", "evidence", "certificate"] {
        assert_eq!(rows.get(table), Some(&(records.len() as u64)), "{table}");
    }
    let mut live: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for record in records.iter().filter(|r| r.state == "issued") {
        *live.entry((&record.device, &record.profile)).or_default() += 1;
        assert!(record.der.contains(&record.tbs), "what was recorded was signed");
    }
    let doubled: Vec<_> = live.iter().filter(|(_, count)| **count > 1).collect();
    assert!(doubled.is_empty(), "one certificate stands for a device: {doubled:?}");
    let standing = rig.rows().get("identity").copied();
    assert_eq!(standing, Some(live.len() as u64), "and nothing else does");
}

/// Whatever a device received is on record as issued, byte for byte, and signed by this CA. What it was told is burnt
/// is an orphan.
fn told_is_recorded(enrollees: &[Enrollee], records: &[Certificate]) {
    for enrollee in enrollees {
        let name = &enrollee.name;
        let mut received = BTreeSet::new();
        for one in &enrollee.tries {
            let id = hex::encode(one.id.0);
            let record = records.iter().find(|r| r.enrollment == id);
            let Some(answer) = &one.answer else {
                let state = record.map(|r| r.state.as_str());
                assert_eq!(state, one.burnt.then_some("orphan"), "{name}: {}", one.id);
                continue;
            };
            let result: EnrollmentResult = serde_json::from_slice(answer).unwrap();
            assert_eq!((result.id, result.state), (one.id, EnrollmentState::Issued));
            assert_eq!(&result.device, name);
            let [certificate] = result.certificates.as_slice() else {
                panic!("{name}: one certificate: {result:?}");
            };
            let record = record.unwrap_or_else(|| panic!("{name} received what is not on record"));
            assert_eq!(record.state, "issued", "{name}: {}", one.id);
            assert_eq!(record.serial, certificate.serial);
            assert_eq!(
                record.der,
                hex::encode(&certificate.certificate.0),
                "{name}: byte for byte"
            );
            assert_eq!((&record.device, record.profile.as_str()), (name, PROFILE));
            assert_eq!(record.key, hex::encode(sha256(&enrollee.tpm.identity.spki)));
            let issuer = X509::from_der(&result.chain.first().unwrap().0).unwrap();
            let signed = X509::from_der(&certificate.certificate.0).unwrap();
            assert!(signed.verify(&issuer.public_key().unwrap()).unwrap(), "{name}");
            received.insert(certificate.serial.clone());
        }
        assert_eq!(received.len(), 1, "{name}: one certificate");
    }
}

/// The same request once more: the same bytes.
fn told_again(rig: &Rig, enrollees: &mut [Enrollee]) {
    let (client, journal) = (rig.client(), Journal::default());
    for enrollee in enrollees {
        assert_eq!(enrollee.activate(&client, &journal), Step::Done, "{}", enrollee.name);
    }
}

/// Every orphan is listed, says so when asked, and is shown to nobody as a certificate.
fn orphans_are_listed(rig: &Rig, orphans: &[Certificate]) {
    let listed: Vec<(String, String)> = rig
        .orphans()
        .items
        .into_iter()
        .map(|o| (o.serial, hex::encode(o.enrollment.0)))
        .collect();
    let expected: Vec<(String, String)> = orphans
        .iter()
        .map(|o| (o.serial.clone(), o.enrollment.clone()))
        .collect();
    assert_eq!(listed, expected);
    let client = rig.client();
    for orphan in orphans {
        let state = client.get(&format!("/v1/enrollments/enr_{}", orphan.enrollment), "");
        let state: EnrollmentResult = serde_json::from_slice(&state.body).unwrap();
        assert_eq!(state.state, EnrollmentState::Orphaned);
        assert!(state.certificates.is_empty());
        assert_eq!(
            client.get(&format!("/v1/certificates/{}", orphan.serial), "").status,
            404
        );
    }
}

/// No effect without its audit record, and no record without its effect.
fn audited(rig: &Rig, records: &[Certificate]) {
    let count = |state: &str| records.iter().filter(|r| r.state == state).count();
    for (action, effects) in [
        ("enrollment.granted", records.len()),
        ("enrollment.issued", count("issued")),
        ("certificate.orphaned", count("orphan")),
    ] {
        let audited = rig.sql(&format!("SELECT count(*) FROM audit WHERE action = '{action}'"));
        assert_eq!(audited, effects.to_string(), "{action}");
    }
}

/// Whatever the token signed was recorded first, and was signed once.
fn signed_is_recorded(spy: &Spy, records: &[Certificate]) {
    let recorded: BTreeMap<String, &Certificate> = records
        .iter()
        .map(|r| (hex::encode(sha256(&hex::decode(&r.tbs).unwrap())), r))
        .collect();
    let probe = hex::encode(sha256(PROBE));
    let mut signed = BTreeSet::new();
    for digest in spy.signed().into_iter().filter(|digest| *digest != probe) {
        assert!(recorded.contains_key(&digest), "a signature without a record: {digest}");
        assert!(signed.insert(digest.clone()), "signed twice: {digest}");
    }
    for (digest, record) in recorded {
        assert!(
            record.state == "orphan" || signed.contains(&digest),
            "issued, and the token knows nothing of it: {}",
            record.serial
        );
    }
}
