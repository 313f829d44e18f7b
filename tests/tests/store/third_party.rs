//! Devices that are known by their manufacturer's IAK: one IAK, one device; and what the record keeps of the proof.

use attest::{Assurance, IakFacts, Root};
use issuance::{DeviceBinding, Order, RecordError, Recorder as _};
use schema::{NewDeviceError, Store};

use crate::kit::*;
use crate::raw::run;

pub(crate) fn iak(text: &str, names_ek: Option<&str>) -> IakFacts {
    IakFacts {
        certificate_sha256: digest(&format!("certificate of {text}")),
        spki_sha256: digest(text),
        issuer: vec![0x30, 0x00],
        serial: vec![0x12, 0x34],
        idevid_sha256: None,
        hardware_serial: None,
        permanent_id: None,
        ek_spki_sha256: names_ek.map(digest),
        anchor: "acme".to_owned(),
        anchor_sha256: digest("acme"),
        assurance: Assurance::ManufacturerVerified,
        path: Vec::new(),
    }
}

/// An order that stands on an IAK.
pub(crate) fn by_iak(challenge: &str, device: &str, root: IakFacts) -> Order {
    Order {
        device: Some(DeviceBinding {
            name: device.to_owned(),
            ak_spki_sha256: root.spki_sha256,
            clock: first_second(),
            root: Root::Iak(root),
        }),
        ..order(challenge, device, "-")
    }
}

fn intend(store: &Store, order: &Order, label: &str) -> Result<(), RecordError> {
    let a = intent(label, label, &format!("key of {label}"));
    store.intend(order, std::slice::from_ref(&a))
}

both! {
    fn an_iak_is_bound_to_one_device_for_ever(bench) {
        let store = bench.open();
        allow(&store, "x");
        allow(&store, "y");
        intend(&store, &by_iak("a", "x", iak("iak-1", None)), "a").unwrap();
        let row = store.device_by_iak(&digest("iak-1")).unwrap().unwrap();
        assert_eq!((row.name.as_str(), row.ek_spki_sha256, row.tpm), ("x", None, None));
        assert_eq!(
            intend(&store, &by_iak("b", "y", iak("iak-1", None)), "b").unwrap_err(),
            RecordError::EkBoundElsewhere("x".to_owned())
        );
        assert_eq!(
            intend(&store, &by_iak("c", "x", iak("iak-2", None)), "c").unwrap_err(),
            RecordError::DeviceBoundElsewhere("x".to_owned())
        );
        // An EK that nobody named is another TPM's.
        assert_eq!(
            intend(&store, &order("d", "x", "tpm-x"), "d").unwrap_err(),
            RecordError::DeviceBoundElsewhere("x".to_owned())
        );
        intend(&store, &by_iak("e", "x", iak("iak-1", None)), "e").unwrap();
    }

    fn the_ek_that_a_maker_names_is_that_devices(bench) {
        let store = bench.open();
        for name in ["x", "y", "z"] {
            allow(&store, name);
        }
        intend(&store, &by_iak("a", "x", iak("iak-1", Some("tpm-x"))), "a").unwrap();
        assert_eq!(store.device_by_ek(&digest("tpm-x")).unwrap().unwrap().name, "x");
        assert_eq!(
            intend(&store, &order("b", "y", "tpm-x"), "b").unwrap_err(),
            RecordError::EkBoundElsewhere("x".to_owned())
        );
        // It may answer for itself.
        intend(&store, &order("c", "x", "tpm-x"), "c").unwrap();
        assert!(store.device_by_name("x").unwrap().unwrap().tpm.is_some());
        // Known by an EK: an IAK whose certificate names it, and no other.
        intend(&store, &order("d", "z", "tpm-z"), "d").unwrap();
        assert_eq!(
            intend(&store, &by_iak("e", "z", iak("iak-2", None)), "e").unwrap_err(),
            RecordError::DeviceBoundElsewhere("z".to_owned())
        );
        assert_eq!(
            intend(&store, &by_iak("f", "z", iak("iak-2", Some("tpm-x"))), "f").unwrap_err(),
            RecordError::EkBoundElsewhere("x".to_owned())
        );
        intend(&store, &by_iak("g", "z", iak("iak-2", Some("tpm-z"))), "g").unwrap();
        assert_eq!(store.device_by_iak(&digest("iak-2")).unwrap().unwrap().name, "z");
    }

    fn two_of_one_batch_do_not_share_an_iak(bench) {
        let store = bench.open();
        allow(&store, "x");
        allow(&store, "y");
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let runs: Vec<_> = ["x", "y"]
                .map(|name| {
                    let store = store.clone();
                    scope.spawn(move || intend(&store, &by_iak(name, name, iak("iak-1", None)), name))
                })
                .into_iter()
                .collect();
            runs.into_iter().map(|run| run.join().unwrap()).collect()
        });
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
    }

    fn a_device_is_expected_by_its_iak(bench) {
        let store = bench.open();
        let named = |name: &str, iak: &str| schema::AllowDevice {
            iak_spki_sha256: Some(digest(iak)),
            first_contact_until: None,
            ..open_device(name)
        };
        let record = audit(NOW, "device.allowed", "x");
        let row = store.allow_device(&named("x", "iak-1"), &record).unwrap();
        assert_eq!(row.iak_spki_sha256, Some(digest("iak-1")));
        store.allow_device(&named("x", "iak-1"), &record).unwrap();
        assert!(matches!(
            store.allow_device(&named("x", "iak-2"), &record),
            Err(NewDeviceError::NameTaken(_))
        ));
        match store.allow_device(&named("y", "iak-1"), &record) {
            Err(NewDeviceError::IakTaken(other)) => assert_eq!(other, "x"),
            other => panic!("{other:?}"),
        }
        intend(&store, &by_iak("a", "x", iak("iak-1", Some("tpm-x"))), "a").unwrap();
        // What came with it is not other content.
        store.allow_device(&named("x", "iak-1"), &record).unwrap();
        // Nobody but the expected one, window or not.
        assert_eq!(
            intend(&store, &by_iak("b", "x", iak("iak-2", None)), "b").unwrap_err(),
            RecordError::DeviceBoundElsewhere("x".to_owned())
        );
    }

    fn the_record_links_to_the_proof(bench) {
        let store = bench.open();
        allow(&store, "x");
        let facts = IakFacts { idevid_sha256: Some(digest("idevid")), ..iak("iak-1", Some("tpm-x")) };
        intend(&store, &by_iak("a", "x", facts.clone()), "a").unwrap();
        let proof = store.iak_proof(&id("a")).unwrap().unwrap();
        assert_eq!(proof.certificate_sha256, facts.certificate_sha256);
        assert_eq!((proof.issuer, proof.serial), (facts.issuer, facts.serial));
        assert_eq!((proof.idevid_sha256, proof.ek_spki_sha256), (facts.idevid_sha256, facts.ek_spki_sha256));
        assert_eq!((proof.anchor.as_str(), proof.assurance.as_str()), ("acme", "manufacturer-verified"));
        intend(&store, &order("b", "x", "tpm-x"), "b").unwrap();
        assert!(store.iak_proof(&id("b")).unwrap().is_none());
        // And nobody rewrites it.
        for (sql, word) in [
            ("UPDATE iak_proof SET anchor = 'other'", "final"),
            ("DELETE FROM iak_proof", "kept"),
            ("UPDATE device SET iak_spki_sha256 = NULL", "keeps its IAK"),
            ("UPDATE device SET iak_spki_sha256 = ek_spki_sha256", "keeps its IAK"),
        ] {
            let refusal = run(bench, sql).unwrap_err();
            assert!(refusal.contains(word), "{sql}: {refusal}");
        }
    }
}
