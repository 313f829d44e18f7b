//! A manifest names the device's certificates: these very ones are accepted, and others are refused by exactly that check.

use ca_server::flow::enroll::ActivateError;
use ca_server::flow::renew::RenewError;
use ca_server::flow::revoke;
use schema::{AuditFilter, ManifestPart, ManifestState, NewExpected, NewManifest};

use crate::kit::admin_audit;
use crate::{Bench, Made, attestation, identity_key};

/// The line of this device, as its maker would write it.
fn line(serial: &str, made: &Made) -> NewExpected {
    NewExpected {
        serial: serial.to_owned(),
        ek: vec![made.tpm.ek.sha256()],
        was: Vec::new(),
        iak: vec![attest::sha256(&made.iak)],
        idevid: vec![attest::sha256(&made.idevid)],
    }
}

fn other() -> Vec<[u8; 32]> {
    vec![attest::sha256(b"another certificate")]
}

/// A manifest with these lines, read to its end; its number.
fn say(bench: &Bench, kind: &'static str, lot: &str, lines: Vec<NewExpected>) -> i64 {
    let root = attest::sha256(lot.as_bytes());
    let new = NewManifest {
        root,
        signer_sha256: [7; 32],
        kind,
        lot: lot.to_owned(),
        header: "header".to_owned(),
        seal: "seal".to_owned(),
        entries: lines.len() as u64,
        all_or_nothing: true,
        tree: vec![0; 40],
    };
    let row = bench.store.open_manifest(&new, &admin_audit()).unwrap();
    let part = ManifestPart {
        manifest: row.id,
        from: 0,
        lines: lines.into_iter().map(Ok).collect(),
        tree: vec![0; 40],
        root,
        last_serial: "last".to_owned(),
    };
    let row = bench.store.read_manifest(part, &admin_audit()).unwrap();
    let refused = bench.store.refused_lines(row.id, None, 10).unwrap().items;
    assert_eq!(row.state, ManifestState::Complete, "{refused:?}");
    row.id
}

fn withdraw(bench: &Bench, manifest: i64) {
    bench.store.withdraw_manifest(manifest, &admin_audit()).unwrap();
}

#[test]
fn who_is_named_comes_and_the_record_links_to_the_line() {
    let bench = Bench::new();
    let (first, made) = (bench.make("acme-0"), bench.make("acme-1"));
    attestation(bench.enroll(&made, &identity_key(), None), "NOT_IN_INVENTORY");
    let manifest = say(&bench, "lot", "a", vec![line("gw-0", &first), line("gw-1", &made)]);
    let result = bench.enroll(&made, &identity_key(), None).unwrap();
    assert_eq!(result.device, "gw-1");
    let proof = bench.store.iak_proof(&result.id.0).unwrap().unwrap();
    assert_eq!(proof.manifest, Some((manifest, 1)));
    let status = revoke::status(&bench.house, &hex::decode(&result.certificates[0].serial).unwrap()).unwrap();
    let told = status.iak_proof.unwrap();
    assert_eq!(
        (told.manifest, told.manifest_line),
        (Some(manifest), Some(3)),
        "the header is line 1"
    );
    let row = bench.store.device_by_name("gw-1").unwrap().unwrap();
    assert_eq!(row.batch.as_deref(), Some("a"));
    assert_eq!(row.iak_spki_sha256, Some(attest::sha256(&made.tpm.ak.spki)));
    let filter = AuditFilter {
        subject: Some("gw-1".to_owned()),
    };
    let arrived = bench.store.audit_entries(&filter, 10).unwrap();
    assert!(
        arrived
            .iter()
            .any(|a| a.action == "device.arrived" && a.reason == "MANIFEST"),
        "{arrived:?}"
    );
    assert!(
        bench.store.device_by_name("gw-0").unwrap().is_none(),
        "a box in a warehouse is no device"
    );
    // It stands, and is renewed; taken back, the lot takes nothing from who is here.
    let held = &result.certificates[0].certificate.0;
    let renewed = bench.renew(&made, held, &identity_key()).unwrap();
    withdraw(&bench, manifest);
    bench.renew(&made, &renewed, &identity_key()).unwrap();
    attestation(bench.enroll(&first, &identity_key(), None), "NOT_IN_INVENTORY");
}

/// In each case one thing of the line is another one, and all else is right: without the line's word it is accepted.
#[test]
fn another_certificate_than_the_line_names_is_refused() {
    let bench = Bench::new();
    type Change = fn(&mut NewExpected);
    let cases: [(&str, Change); 4] = [
        ("IAK", |line| line.iak = other()),
        ("IDevID", |line| line.idevid = other()),
        ("IDevID alone", |line| (line.iak, line.idevid) = (Vec::new(), other())),
        ("EK", |line| line.ek = other()),
    ];
    for (number, (what, change)) in cases.into_iter().enumerate() {
        let (name, lot) = (format!("acme-{number}"), format!("lot-{number}"));
        let made = bench.make(&name);
        let mut substituted = line(&name, &made);
        change(&mut substituted);
        let manifest = say(&bench, "lot", &lot, vec![substituted]);
        for claimed in [None, Some(name.as_str())] {
            match bench.enroll(&made, &identity_key(), claimed) {
                Err(ActivateError::Attestation { reason, detail }) => {
                    assert_eq!(reason, "MANIFEST_IDENTITY", "{what}: {detail}");
                    assert!(detail.contains(&lot), "{what}: {detail}");
                }
                other => panic!("{what}, {claimed:?}: {other:?}"),
            }
        }
        // The same device, by an administrator's word: still refused, and by nothing else.
        bench.expect(&name, Some(&made));
        attestation(bench.enroll(&made, &identity_key(), None), "MANIFEST_IDENTITY");
        withdraw(&bench, manifest);
        assert_eq!(
            bench.enroll(&made, &identity_key(), None).unwrap().device,
            name,
            "{what}"
        );
    }
}

#[test]
fn an_idevid_that_is_named_must_be_shown() {
    let bench = Bench::new();
    let mut made = bench.make("acme-1");
    say(&bench, "lot", "a", vec![line("gw-1", &made)]);
    let idevid = std::mem::take(&mut made.idevid);
    let hidden = |made: &Made| {
        let mut papers = bench.papers(made);
        papers.idevid = None;
        let request = made.tpm.iak_request("device-ldevid", None, None, papers);
        let challenge = ca_server::flow::iak::begin(&bench.house, crate::IP, request).unwrap();
        bench.certify(&challenge, &made.tpm.certify(&challenge, &identity_key(), None, None))
    };
    attestation(hidden(&made), "MANIFEST_IDENTITY");
    made.idevid = idevid;
    assert_eq!(bench.enroll(&made, &identity_key(), None).unwrap().device, "gw-1");
}

/// Another device of the same maker, all its papers in order, under a name that a manifest expects.
#[test]
fn a_stranger_does_not_get_an_expected_name() {
    let bench = Bench::new();
    let (made, stranger) = (bench.make("acme-1"), bench.make("acme-2"));
    say(&bench, "lot", "a", vec![line("gw-1", &made)]);
    attestation(
        bench.enroll(&stranger, &identity_key(), Some("gw-1")),
        "MANIFEST_IDENTITY",
    );
    // Nor is one that is named somebody else.
    let claimed = bench.enroll(&made, &identity_key(), Some("gw-9"));
    assert!(
        matches!(claimed, Err(ActivateError::IdentityConflict(_))),
        "{claimed:?}"
    );
    assert_eq!(
        bench.enroll(&made, &identity_key(), Some("gw-1")).unwrap().device,
        "gw-1"
    );
}

/// A device of the inventory whose certificate a manifest gives to another one.
#[test]
fn a_certificate_is_not_two_devices() {
    let bench = Bench::new();
    let made = bench.make("acme-1");
    bench.expect("old-name", Some(&made));
    let mut named = line("gw-1", &made);
    named.ek = other();
    let manifest = say(&bench, "lot", "a", vec![named]);
    attestation(bench.enroll(&made, &identity_key(), None), "MANIFEST_IDENTITY");
    withdraw(&bench, manifest);
    assert_eq!(bench.enroll(&made, &identity_key(), None).unwrap().device, "old-name");
}

/// The IAK's certificate is of one line, and the IDevID's beside it of another.
#[test]
fn papers_of_two_lines_are_of_no_device() {
    let bench = Bench::new();
    let (made, second) = (bench.make("acme-1"), bench.make("acme-2"));
    let mut first = line("gw-1", &made);
    let stolen = std::mem::take(&mut first.idevid);
    let manifest = say(
        &bench,
        "lot",
        "a",
        vec![
            first.clone(),
            NewExpected {
                idevid: stolen,
                ..line("gw-2", &second)
            },
        ],
    );
    attestation(bench.enroll(&made, &identity_key(), None), "MANIFEST_IDENTITY");
    withdraw(&bench, manifest);
    say(&bench, "lot", "b", vec![first]);
    assert_eq!(bench.enroll(&made, &identity_key(), None).unwrap().device, "gw-1");
}

/// A line without certificates speaks through the EK that the IAK's certificate names, and only through that.
#[test]
fn a_line_that_names_no_certificate_says_it_by_the_ek() {
    let bench = Bench::new();
    let made = bench.make("acme-1");
    let bare = NewExpected {
        iak: Vec::new(),
        idevid: Vec::new(),
        ..line("gw-1", &made)
    };
    let manifest = say(&bench, "lot", "a", vec![bare]);
    let result = bench.enroll(&made, &identity_key(), None).unwrap();
    assert_eq!(result.device, "gw-1");
    let proof = bench.store.iak_proof(&result.id.0).unwrap().unwrap();
    assert_eq!(proof.manifest, Some((manifest, 0)));
}

/// The newest word counts: after a transfer, and after a repair.
#[test]
fn transfer_and_repair_change_which_certificate_counts() {
    let bench = Bench::new();
    let (one, two, repaired) = (bench.make("acme-1"), bench.make("acme-2"), bench.make("acme-3"));
    say(&bench, "lot", "a", vec![line("gw-1", &one), line("gw-2", &two)]);
    let held = bench.enroll(&one, &identity_key(), None).unwrap();
    let held = &held.certificates[0].certificate.0;
    let mut moved = line("gw-1", &one);
    moved.iak = other();
    let sold = say(&bench, "transfer", "sold", vec![moved]);
    match bench.renew(&one, held, &identity_key()) {
        Err(RenewError::Issue(ActivateError::Attestation { reason, .. })) => assert_eq!(reason, "MANIFEST_IDENTITY"),
        other => panic!("{other:?}"),
    }
    withdraw(&bench, sold);
    bench.renew(&one, held, &identity_key()).unwrap();

    let rma = NewExpected {
        was: vec![two.tpm.ek.sha256()],
        ..line("gw-2", &repaired)
    };
    say(&bench, "repair", "rma", vec![rma]);
    attestation(bench.enroll(&two, &identity_key(), None), "MANIFEST_IDENTITY");
    assert_eq!(bench.enroll(&repaired, &identity_key(), None).unwrap().device, "gw-2");
}
