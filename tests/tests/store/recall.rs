//! Finding devices by what was proven about their TPMs.

use device_kit::fleet;
use issuance::Recorder as _;
use schema::{DeviceFilter, Store};
use wire::firmware::FirmwareRule;

use crate::kit::*;
use crate::raw::{lines, run};

/// Makers, models and firmware of devices, by turns.
const KINDS: [(&str, &str, &str); 6] = [
    ("id:49465800", "SLB9672", "id:00100009"),
    ("id:49465800", "SLB9672", "id:0010000D"),
    ("id:49465800", "SLB9670", "id:0D0B"),
    ("id:53544D20", "ST33", "id:00010102"),
    ("id:53544D20", "SLB9672", "id:00100009"),
    ("id:49465800", "SLB9672", "id:unreadable"),
];

/// Devices `d-00`… of these kinds by turns, in lots `lot-0` and `lot-1`.
fn fleet(store: &Store, count: usize) {
    for n in 0..count {
        let name = format!("d-{n:02}");
        let mut device = open_device(&name);
        device.batch = Some(format!("lot-{}", n / KINDS.len() % 2));
        store
            .allow_device(&device, &audit(NOW, "device.allowed", &name))
            .unwrap();
        let mut order = order(&name, &name, &name);
        let ek = ek_of(&mut order);
        let (manufacturer, model, version) = KINDS[n % KINDS.len()];
        (ek.manufacturer, ek.model, ek.version) = (manufacturer.into(), model.into(), version.into());
        let intent = intent(&name, "p", &name);
        store.intend(&order, std::slice::from_ref(&intent)).unwrap();
        store.issued(&id(&name), &[signed(&intent)]).unwrap();
    }
}

/// All that a filter finds, page after page.
fn found(store: &Store, filter: &DeviceFilter, page: u32) -> Vec<String> {
    let (mut names, mut cursor) = (Vec::new(), None);
    loop {
        let list = store.find_devices(filter, cursor, page).unwrap();
        assert!(list.items.len() <= usize::try_from(page).unwrap());
        names.extend(list.items.into_iter().map(|d| d.name));
        cursor = list.next;
        if cursor.is_none() {
            return names;
        }
    }
}

fn text(value: &str) -> Option<String> {
    Some(value.to_owned())
}

fn rule(value: &str) -> Option<FirmwareRule> {
    Some(FirmwareRule::from_text(value).unwrap())
}

both! {
    fn devices_are_found_by_maker_model_and_firmware_in_stable_pages(bench) {
        let store = bench.open();
        fleet(&store, 30);
        allow(&store, "no-tpm-yet");
        let any = DeviceFilter::default;
        let questions: [(DeviceFilter, &[usize]); 9] = [
            (DeviceFilter { manufacturer: text("id:49465800"), ..any() }, &[0, 1, 2, 5]),
            (DeviceFilter { model: text("SLB9672"), ..any() }, &[0, 1, 4, 5]),
            (DeviceFilter { model: text("SLB"), ..any() }, &[]),
            (DeviceFilter { manufacturer: text("id:49465800"), firmware: rule("<16.13"), ..any() }, &[0, 2]),
            (DeviceFilter { firmware: rule("<16.13"), ..any() }, &[0, 2, 3, 4]),
            (DeviceFilter { firmware: rule(">=16.13"), ..any() }, &[1]),
            (DeviceFilter { firmware: rule("=16"), model: text("SLB9672"), ..any() }, &[0, 1, 4]),
            (DeviceFilter { firmware: rule(">99"), ..any() }, &[]),
            (DeviceFilter { manufacturer: text("id:53544D20"), model: text("ST33"), firmware: rule("<=1.258"), ..any() }, &[3]),
        ];
        for (filter, kinds) in questions {
            let of_kinds = |n: &usize| kinds.contains(&(n % KINDS.len()));
            let wanted: Vec<String> = (0..30).filter(of_kinds).map(|n| format!("d-{n:02}")).collect();
            for page in [1, 4, 100] {
                assert_eq!(found(&store, &filter, page), wanted, "{filter:?}");
            }
            // The lot takes its part of the same.
            let lot = DeviceFilter { batch: text("lot-1"), ..filter.clone() };
            let half: Vec<String> = (0..30)
                .filter(|n| n / KINDS.len() % 2 == 1)
                .filter(of_kinds)
                .map(|n| format!("d-{n:02}"))
                .collect();
            for page in [1, 4, 100] {
                assert_eq!(found(&store, &lot, page), half, "{lot:?}");
            }
            let late = DeviceFilter { expires_before: Some(NOW + 86_401), ..filter.clone() };
            assert_eq!(found(&store, &late, 4), wanted, "{late:?}");
            let early = DeviceFilter { expires_before: Some(NOW + 86_400), ..filter };
            assert_eq!(found(&store, &early, 4), [""; 0], "{early:?}");
        }
    }

    fn a_list_does_not_shift_while_devices_come(bench) {
        let store = bench.open();
        fleet(&store, 12);
        let filter = DeviceFilter { manufacturer: text("id:49465800"), ..DeviceFilter::default() };
        let first = store.find_devices(&filter, None, 3).unwrap();
        for n in 90..96 {
            allow(&store, &format!("new-{n}"));
        }
        assert!(store.hold_device(&first.items[0].name, true, &audit(NOW, "device.held", "-")).unwrap());
        let rest = store.find_devices(&filter, first.next, 100).unwrap();
        let names: Vec<_> = first.items.iter().chain(&rest.items).map(|d| d.name.as_str()).collect();
        assert_eq!(names, ["d-00", "d-01", "d-02", "d-05", "d-06", "d-07", "d-08", "d-11"]);
        assert!(store.find_devices(&DeviceFilter { model: text("\0"), ..filter }, None, 3).unwrap().items.is_empty());
    }

    fn a_renewal_that_got_lost_leaves_the_old_end_in_the_list(bench) {
        let store = bench.open();
        fleet(&store, 1);
        let ending = DeviceFilter { expires_before: Some(NOW + 86_401), ..DeviceFilter::default() };
        assert_eq!(found(&store, &ending, 9), ["d-00"]);
        let mut longer = intent("longer", "p", "d-00");
        longer.not_after = attest::UnixTime(NOW + 999_999);
        let mut renewal = order("renewal", "d-00", "d-00");
        renewal.renews = Some(attest::Renewed {
            certificate_sha256: digest("d-00"),
            serial: serial("d-00").octets().to_vec(),
            issuer_key_id: longer.issuer_key_id.clone(),
            spki_sha256: digest("d-00"),
        });
        store.intend(&renewal, &[longer]).unwrap();
        assert_eq!(found(&store, &ending, 9), [""; 0], "it is about to be replaced");
        store.recover(NOW, NOW).unwrap();
        assert_eq!(found(&store, &ending, 9), ["d-00"]);
    }
}

#[test]
fn what_ends_soon_is_found_the_same_among_few_and_among_many() {
    let bench = Bench::sqlite();
    let store = bench.open();
    fleet(&store, 6);
    let soon = DeviceFilter {
        expires_before: Some(NOW + 86_401),
        ..DeviceFilter::default()
    };
    let of_st = DeviceFilter {
        manufacturer: text("id:53544D20"),
        ..soon.clone()
    };
    let of = |filter: &DeviceFilter| {
        let mut names = found(&store, filter, 1000);
        names.retain(|name| name.starts_with("d-"));
        names
    };
    let before = (of(&soon), of(&of_st));
    assert_eq!(before.0.len(), 6);
    assert_eq!(before.1, ["d-03", "d-04"]);
    // More ends than are looked at one by one.
    let many = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20001) \
         INSERT INTO identity (device_id, profile, certificate_id, not_after) \
         SELECT 1, 'many-' || i, -i, 0 FROM n";
    run(&bench, &format!("PRAGMA foreign_keys = OFF; {many}")).unwrap();
    assert_eq!((of(&soon), of(&of_st)), before);
}

/// How an engine means to answer.
fn plan(bench: &Bench, question: &str) -> String {
    if bench.is_postgres() {
        return lines(bench, question).join("\n");
    }
    let output = std::process::Command::new("sqlite3")
        .arg(bench.path())
        .arg(question)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

both! {
    /// More end than are looked at one by one: page after page, nobody twice, nobody missing.
    fn many_that_end_are_listed_page_by_page(bench) {
        fleet::fill(&bench.url, 21_000);
        let store = bench.open();
        let before = fleet::NOW + 380 * fleet::DAY;
        let ended = format!("FROM device JOIN identity ON device_id = device.id WHERE not_after < {before}");
        let count = lines(bench, &format!("SELECT CAST(count(*) AS TEXT) AS line {ended}"));
        assert!((20_001..21_000).contains(&count[0].parse::<u32>().unwrap()), "{count:?}");
        for (filter, which) in [
            (DeviceFilter::default(), "true"),
            (DeviceFilter { name_contains: text("77"), ..DeviceFilter::default() }, "name LIKE '%77%'"),
            (DeviceFilter { batch: text("lot-9"), ..DeviceFilter::default() }, "batch = 'lot-9'"),
            (DeviceFilter { model: text("ST33-1"), ..DeviceFilter::default() }, "model = 'ST33-1'"),
        ] {
            let filter = DeviceFilter { expires_before: Some(before), ..filter };
            let wanted = lines(bench, &format!("SELECT name AS line {ended} AND {which} ORDER BY device.id LIMIT 120"));
            assert_eq!(wanted.len(), 120, "{which}");
            let (mut found, mut at) = (Vec::new(), None);
            while found.len() < 120 {
                let page = store.find_devices(&filter, at, 50).unwrap();
                assert_eq!(page.items.len(), 50, "{which}");
                found.extend(page.items.into_iter().map(|device| device.name));
                at = Some(page.next.unwrap());
            }
            assert_eq!(found[..120], wanted, "{which}");
        }
        // Read off one index alone: without it, this walks over whole tables as the record grows.
        let (explain, whole) = if bench.is_postgres() {
            ("EXPLAIN", "Index Only Scan using identity_device_end")
        } else {
            ("EXPLAIN QUERY PLAN", "COVERING INDEX identity_device_end")
        };
        let question = format!(
            "{explain} SELECT device_id FROM identity WHERE not_after < {before} AND device_id > 5000 ORDER BY device_id LIMIT 51"
        );
        let plan = plan(bench, &question);
        assert!(plan.contains(whole), "{plan}");
        // The last page says that it is.
        let filter = DeviceFilter { expires_before: Some(before), ..DeviceFilter::default() };
        let last = store.find_devices(&filter, Some(20_990), 50).unwrap();
        let wanted = lines(bench, &format!("SELECT name AS line {ended} AND device.id > 20990 ORDER BY device.id"));
        assert_eq!(last.items.into_iter().map(|device| device.name).collect::<Vec<_>>(), wanted);
        assert_eq!(last.next, None);
    }
}
