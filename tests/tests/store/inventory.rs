//! The inventory, lists, and texts that want to be more than texts.

use issuance::Recorder as _;
use schema::{AuditFilter, DeviceFilter, NewDeviceError};

use crate::kit::*;

/// Texts that break storage that is put together from strings, or engines that fold, trim or cut.
const HOSTILE: [&str; 14] = [
    "'; DROP TABLE device; --",
    "\" OR \"\"=\"",
    "x' OR 'a'='a",
    "%",
    "_",
    "a\\",
    "\\x41",
    "$1",
    "?1",
    " trailing ",
    "tab\tnewline\n",
    "Ünïcödé \u{1f512}",
    "e\u{301}",
    "\u{e9}",
];

both! {
    fn the_same_device_again_is_no_error(bench) {
        let store = bench.open();
        let mut device = open_device("x");
        device.dns_names = vec!["x.example".to_owned(), "y.example".to_owned()];
        device.spiffe_id = Some("spiffe://example/x".to_owned());
        device.batch = Some("lot-1".to_owned());
        let at = audit(NOW, "device.allowed", "x");
        let first = store.allow_device(&device, &at).unwrap();
        assert_eq!(first.dns_names, device.dns_names);
        assert_eq!(first.spiffe_id, device.spiffe_id);
        assert_eq!(first.batch, device.batch);
        assert_eq!((first.created_at, first.held), (NOW, false));
        assert_eq!(store.allow_device(&device, &at).unwrap(), first);
        assert_eq!(store.device_by_name("x").unwrap(), Some(first.clone()));
        // After its first contact it is still the same device.
        store.intend(&order("c", "x", "tpm"), &[intent("s", "p", "k")]).unwrap();
        assert_eq!(store.allow_device(&device, &at).unwrap().id, first.id);
        assert_eq!(store.audit_entries(&AuditFilter { subject: Some("x".to_owned()) }, 9).unwrap().len(), 1);
    }

    fn a_name_is_taken_once(bench) {
        let store = bench.open();
        let device = open_device("x");
        let at = audit(NOW, "device.allowed", "x");
        store.allow_device(&device, &at).unwrap();
        for change in [
            |d: &mut schema::AllowDevice| d.batch = Some("b".to_owned()),
            |d: &mut schema::AllowDevice| d.dns_names.push("x.example".to_owned()),
            |d: &mut schema::AllowDevice| d.spiffe_id = Some("spiffe://a/b".to_owned()),
            |d: &mut schema::AllowDevice| d.first_contact_until = Some(NOW),
            |d: &mut schema::AllowDevice| d.ek_spki_sha256 = Some([1; 32]),
        ] {
            let mut other = device.clone();
            change(&mut other);
            let refused = store.allow_device(&other, &at);
            assert!(matches!(&refused, Err(NewDeviceError::NameTaken(name)) if name == "x"), "{refused:?}");
        }
        // An EK that an administrator named is not a first contact.
        let mut named = open_device("y");
        named.ek_spki_sha256 = Some([1; 32]);
        store.allow_device(&named, &at).unwrap();
        named.ek_spki_sha256 = None;
        assert!(matches!(store.allow_device(&named, &at), Err(NewDeviceError::NameTaken(_))));
    }

    fn an_ek_is_named_once(bench) {
        let store = bench.open();
        let at = audit(NOW, "device.allowed", "-");
        let mut x = open_device("x");
        x.ek_spki_sha256 = Some(digest("tpm"));
        store.allow_device(&x, &at).unwrap();
        let mut y = open_device("y");
        y.ek_spki_sha256 = Some(digest("tpm"));
        let refused = store.allow_device(&y, &at);
        assert!(matches!(&refused, Err(NewDeviceError::EkTaken(name)) if name == "x"), "{refused:?}");
        // Also when the other one came by first contact.
        allow(&store, "z");
        store.intend(&order("c", "z", "tpm-z"), &[intent("s", "p", "k")]).unwrap();
        y.ek_spki_sha256 = Some(digest("tpm-z"));
        let refused = store.allow_device(&y, &at);
        assert!(matches!(&refused, Err(NewDeviceError::EkTaken(name)) if name == "z"), "{refused:?}");
    }

    fn texts_are_only_texts(bench) {
        let store = bench.open();
        for (n, text) in HOSTILE.iter().enumerate() {
            let mut device = open_device(text);
            device.batch = Some((*text).to_owned());
            device.spiffe_id = Some((*text).to_owned());
            device.dns_names = vec![(*text).to_owned()];
            let mut record = audit(NOW, text, text);
            record.detail = (*text).to_owned();
            let row = store.allow_device(&device, &record).unwrap();
            assert_eq!((row.name.as_str(), row.batch.as_deref()), (*text, Some(*text)));
            assert_eq!((row.spiffe_id.as_deref(), row.dns_names.as_slice()), (Some(*text), &[(*text).to_owned()][..]));
            assert_eq!(store.device_by_name(text).unwrap().as_ref(), Some(&row));
            let label = format!("c{n}");
            let mut order = order(&label, text, &label);
            ek_of(&mut order).model = (*text).to_owned();
            store.intend(&order, &[intent(&label, text, &label)]).unwrap();
            store.issued(&id(&label), &[signed(&intent(&label, text, &label))]).unwrap();
            assert!(store.live_identity(text, text, NOW).unwrap().is_some());
            assert_eq!(store.certificates_of(text).unwrap()[0].profile, *text);
            assert_eq!(store.device_by_name(text).unwrap().unwrap().tpm.unwrap().model, *text);
            let found = store.audit_entries(&AuditFilter { subject: Some((*text).to_owned()) }, 9).unwrap();
            assert_eq!(found.len(), 1);
            assert_eq!(found[0].record, record);
            for filter in [
                DeviceFilter { name_contains: Some((*text).to_owned()), ..DeviceFilter::default() },
                DeviceFilter { batch: Some((*text).to_owned()), ..DeviceFilter::default() },
            ] {
                let names: Vec<_> = store.find_devices(&filter, None, 50).unwrap().items;
                assert!(names.iter().any(|d| d.name == *text));
                assert!(names.iter().all(|d| d.name.contains(text)));
            }
        }
        assert_eq!(store.find_devices(&DeviceFilter::default(), None, 50).unwrap().items.len(), HOSTILE.len());
    }

    fn names_are_compared_byte_for_byte(bench) {
        let store = bench.open();
        // Pairs that some collation calls equal.
        for (n, (one, other)) in
            [("pump", "PUMP"), ("pump", "pump "), ("\u{e9}", "e\u{301}"), ("ss", "\u{df}"), ("i", "\u{131}")]
                .into_iter()
                .enumerate()
        {
            let (one, other) = (format!("{n}{one}"), format!("{n}{other}"));
            allow(&store, &one);
            assert!(store.device_by_name(&other).unwrap().is_none());
            allow(&store, &other);
            assert_ne!(
                store.device_by_name(&one).unwrap().unwrap().id,
                store.device_by_name(&other).unwrap().unwrap().id
            );
        }
        let filter = DeviceFilter { name_contains: Some("PUMP".to_owned()), ..DeviceFilter::default() };
        assert_eq!(store.find_devices(&filter, None, 50).unwrap().items.len(), 1);
    }

    fn what_one_engine_cannot_hold_neither_takes(bench) {
        let store = bench.open();
        let at = audit(NOW, "device.allowed", "-");
        let long = "n".repeat(256);
        let unfit = [
            open_device("nul\0"),
            open_device(""),
            open_device(&long),
            schema::AllowDevice { batch: Some("nul\0".to_owned()), ..open_device("x") },
            schema::AllowDevice { batch: Some(long.clone()), ..open_device("x") },
            schema::AllowDevice { spiffe_id: Some("nul\0".to_owned()), ..open_device("x") },
        ];
        for device in unfit {
            let refused = store.allow_device(&device, &at);
            assert!(matches!(refused, Err(NewDeviceError::Store(_))), "{refused:?}");
        }
        allow(&store, &"\u{1f512}".repeat(255));
        let refused = store.intend(&order("c", "nul\0", "tpm"), &[intent("s", "p", "k")]);
        assert_eq!(refused, Err(issuance::RecordError::DeviceNotOpen("nul\0".to_owned())));
        assert!(store.device_by_name("nul\0").unwrap().is_none());
        assert!(store.certificates_of("nul\0").unwrap().is_empty());
        assert!(store.live_identity("nul\0", "p\0", NOW).unwrap().is_none());
        for filter in [
            DeviceFilter { name_contains: Some("\0".to_owned()), ..DeviceFilter::default() },
            DeviceFilter { manufacturer: Some("\0".to_owned()), ..DeviceFilter::default() },
        ] {
            assert!(store.find_devices(&filter, None, 9).unwrap().items.is_empty());
        }
        assert!(!store.hold_device("nul\0", true, &at).unwrap());
        // Free text is kept, with a mark where the character was; an id too long for an index is cut.
        store.audit(&audit(NOW, "told\0", &long)).unwrap();
        let told = store.audit_entries(&AuditFilter { subject: Some("n".repeat(255)) }, 9).unwrap();
        assert_eq!(told[0].action, "told\u{fffd}");
        assert!(store.audit_entries(&AuditFilter { subject: Some("\0".to_owned()) }, 9).unwrap().is_empty());
    }

    fn devices_are_listed_in_pages(bench) {
        let store = bench.open();
        for n in 0..25 {
            let mut device = open_device(&format!("pump-{n:02}"));
            device.batch = Some(format!("lot-{}", n % 2));
            store.allow_device(&device, &audit(NOW, "device.allowed", "-")).unwrap();
        }
        let mut names = Vec::new();
        let mut cursor = None;
        loop {
            let page = store.find_devices(&DeviceFilter::default(), cursor, 10).unwrap();
            names.extend(page.items.into_iter().map(|d| d.name));
            let Some(next) = page.next else { break };
            assert_eq!(names.len() % 10, 0);
            cursor = Some(next);
        }
        assert_eq!(names, (0..25).map(|n| format!("pump-{n:02}")).collect::<Vec<_>>());
        let odd = DeviceFilter { batch: Some("lot-1".to_owned()), ..DeviceFilter::default() };
        assert_eq!(store.find_devices(&odd, None, 12).unwrap().items.len(), 12);
        assert_eq!(store.find_devices(&odd, None, 12).unwrap().next, None, "the last page is the last");
        let ten = DeviceFilter { name_contains: Some("-1".to_owned()), ..odd };
        assert_eq!(store.find_devices(&ten, None, 50).unwrap().items.len(), 5);
    }

    fn devices_are_found_by_tpm_and_by_what_ends_soon(bench) {
        let store = bench.open();
        for name in ["x", "y", "z"] {
            allow(&store, name);
        }
        let a = intent("s1", "p", "k1");
        store.intend(&order("c1", "x", "tpm-x"), std::slice::from_ref(&a)).unwrap();
        store.issued(&id("c1"), &[signed(&a)]).unwrap();
        store.intend(&order("c2", "y", "tpm-y"), &[intent("s2", "p", "k2")]).unwrap();
        let names = |filter: DeviceFilter| -> Vec<String> {
            store.find_devices(&filter, None, 50).unwrap().items.into_iter().map(|d| d.name).collect()
        };
        let st = DeviceFilter { manufacturer: Some("id:53544D20".to_owned()), ..DeviceFilter::default() };
        assert_eq!(names(st), ["x", "y"]);
        let ending = |before| DeviceFilter { expires_before: Some(before), ..DeviceFilter::default() };
        assert_eq!(names(ending(NOW + 86_400)), [""; 0]);
        assert_eq!(names(ending(NOW + 86_401)), ["x"], "an intent is no certificate yet");
        // Its end was reached: what took its place counts, it no longer does.
        let mut longer = intent("s3", "p", "k1");
        longer.not_after = attest::UnixTime(NOW + 999_999);
        let mut later = order("c3", "x", "tpm-x");
        later.at = attest::UnixTime(NOW + 86_401);
        store.intend(&later, std::slice::from_ref(&longer)).unwrap();
        store.issued(&id("c3"), &[signed(&longer)]).unwrap();
        assert_eq!(names(ending(NOW + 86_401)), [""; 0]);
        let seen = store.find_devices(&DeviceFilter::default(), None, 50).unwrap().items;
        assert_eq!(seen.iter().map(|d| d.last_seen_at).collect::<Vec<_>>(), [Some(NOW + 86_401), None, None]);
    }

    fn a_hold_is_told(bench) {
        let store = bench.open();
        assert!(!store.hold_device("x", true, &audit(NOW, "device.held", "x")).unwrap());
        allow(&store, "x");
        assert!(store.hold_device("x", true, &audit(NOW, "device.held", "x")).unwrap());
        assert!(store.device_by_name("x").unwrap().unwrap().held);
        let told = store.audit_entries(&AuditFilter { subject: Some("x".to_owned()) }, 9).unwrap();
        assert_eq!(told.iter().map(|r| r.action.as_str()).collect::<Vec<_>>(), ["device.held", "device.allowed"]);
        assert_eq!(store.audit_entries(&AuditFilter::default(), 1).unwrap().len(), 1);
        store.ping().unwrap();
    }
}
