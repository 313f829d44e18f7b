use super::*;

fn spent(anchors: &Anchors, leaf: &[u8], offered: &[Vec<u8>]) -> (bool, usize) {
    let frame = Certificate::parse(leaf, Leniencies::VENDOR).unwrap();
    let mut budget = Budget::request();
    let before = budget.checks;
    let verified = crate::trust::path::verify(anchors, &frame, offered, NOW, &mut budget).is_ok();
    (verified, before - budget.checks)
}

#[test]
fn a_shipped_intermediate_costs_nothing_and_an_offered_one_a_single_check() {
    let leaf = ek(&VENDOR.issuing, |_| {});
    let shipped = Anchors::new(
        vec![source("vendor", &VENDOR.root.certificate)],
        vec![VENDOR.issuing.certificate.clone()],
    )
    .unwrap();
    assert_eq!(spent(&shipped, &leaf, &[]), (true, 1));
    assert_eq!(
        spent(&shipped, &leaf, std::slice::from_ref(&VENDOR.issuing.certificate)),
        (true, 1)
    );
    assert_eq!(
        spent(&anchors(), &leaf, std::slice::from_ref(&VENDOR.issuing.certificate)),
        (true, 2)
    );
}

#[test]
fn d03_eight_certificates_are_a_path_and_nine_are_not() {
    let mut cas = vec![VENDOR.root.clone()];
    for depth in 1..=7 {
        let next = cas
            .last()
            .unwrap()
            .intermediate(&format!("ca {depth}"), VENDOR.issuing.key.clone(), |_| {});
        cas.push(next);
    }
    let offered: Vec<_> = cas.iter().skip(1).map(|ca| ca.certificate.clone()).collect();
    // Leaf, six intermediates, anchor.
    assert_eq!(
        verify(&anchors(), &ek(&cas[6], |_| {}), &offered[..6], NOW).unwrap(),
        "vendor"
    );
    assert!(refused(&anchors(), &ek(&cas[7], |_| {}), &offered).contains("the path is too long"));
}

#[test]
fn d03_sixteen_certificates_and_64_kib_are_the_most_that_is_looked_at() {
    let leaf = ek(&VENDOR.issuing, |_| {});
    let mut offered = vec![VENDOR.issuing.certificate.clone(); 16];
    assert_eq!(verify(&anchors(), &leaf, &offered, NOW).unwrap(), "vendor");
    offered.push(VENDOR.issuing.certificate.clone());
    assert_eq!(
        refused(&anchors(), &leaf, &offered),
        "17 certificates are offered, 16 are allowed"
    );
    let rest = 64 * 1024 - leaf.len() - VENDOR.issuing.certificate.len();
    let mut offered = vec![VENDOR.issuing.certificate.clone(), vec![0; rest]];
    assert_eq!(verify(&anchors(), &leaf, &offered, NOW).unwrap(), "vendor");
    offered[1].push(0);
    assert_eq!(
        refused(&anchors(), &leaf, &offered),
        "65537 bytes of certificates, 65536 are allowed"
    );
}

#[test]
fn d03_cas_that_sign_each_other_in_circles_end_without_a_check() {
    // No anchor is reached by name: nothing is worth a signature check.
    let key = Key::new(Kind::P256);
    let one = VendorCa::root("one", key.clone(), |_| {});
    let two = VendorCa::root("two", key.clone(), |_| {});
    let offered = vec![
        one.certificate.clone(),
        two.certificate.clone(),
        one.intermediate("two", key.clone(), |_| {}).certificate,
        two.intermediate("one", key, |_| {}).certificate,
    ];
    assert_eq!(spent(&anchors(), &ek(&one, |_| {}), &offered), (false, 0));
}

/// Below an anchor, too, each certificate is in a path once.
#[test]
fn d03_a_circle_below_an_anchor_is_gone_round_once() {
    let key = Key::new(Kind::P256);
    let one = VENDOR.root.intermediate("one", key.clone(), |_| {});
    let two = one.intermediate("two", key.clone(), |_| {});
    let back = two.intermediate("one", key, |_| {});
    let offered = [&one, &two, &back].map(|ca| ca.certificate.clone());
    // One for each of them, and one for the leaf.
    assert_eq!(spent(&anchors(), &ek(&two, |_| {}), &offered), (true, 4));
}

#[test]
fn d03_many_cas_of_one_name_and_key_stay_within_the_budget() {
    // Certified by the root, and by each other under one name: every order of them is a path.
    let key = Key::new(Kind::P256);
    let twin = VENDOR.root.intermediate("twin", key.clone(), |_| {});
    let mut offered = vec![twin.certificate.clone()];
    for serial in 1..=15 {
        offered.push(
            twin.intermediate("twin", key.clone(), |spec| spec.serial = vec![serial])
                .certificate,
        );
    }
    let stranger = VendorCa {
        key: Key::new(Kind::P256),
        ..twin.clone()
    };
    let (verified, checks) = spent(&anchors(), &ek(&stranger, |_| {}), &offered);
    assert!(!verified);
    assert_eq!(checks, 24, "the whole budget, and no more");
    // Honest, the first path that is found is enough.
    assert_eq!(
        verify(&anchors(), &ek(&twin, |_| {}), &offered[..1], NOW).unwrap(),
        "vendor"
    );
}

#[test]
fn shipped_cas_that_sign_each_other_end() {
    let key = Key::new(Kind::P256);
    let twin = VENDOR.root.intermediate("twin", key.clone(), |_| {});
    let mut shipped = vec![twin.certificate.clone()];
    for serial in 1..=15 {
        shipped.push(
            twin.intermediate("twin", key.clone(), |spec| spec.serial = vec![serial])
                .certificate,
        );
    }
    let anchors = Anchors::new(vec![source("vendor", &VENDOR.root.certificate)], shipped).unwrap();
    assert!(anchors.proven.len() <= 1 + 8 * 16, "{}", anchors.proven.len());
    assert_eq!(verify(&anchors, &ek(&twin, |_| {}), &[], NOW).unwrap(), "vendor");
}

/// Measured on this machine as it is; `--nocapture` shows it. Its bound is of D03, with room for a build without optimisation.
#[test]
fn d03_the_cost_of_a_chain_has_a_bound() {
    let honest = ek(&VENDOR.issuing, |_| {});
    let shipped = Anchors::new(
        vec![source("vendor", &VENDOR.root.certificate)],
        vec![VENDOR.issuing.certificate.clone()],
    )
    .unwrap();
    let measured = |anchors: &Anchors, leaf: &[u8], offered: &[Vec<u8>], rounds: usize| {
        let mut times: Vec<std::time::Duration> = (0..rounds)
            .map(|_| {
                let start = std::time::Instant::now();
                let _ = verify(anchors, leaf, offered, NOW);
                start.elapsed()
            })
            .collect();
        times.sort_unstable();
        (times[rounds / 2], times[rounds * 99 / 100])
    };
    let (p50, p99) = measured(&shipped, &honest, &[], 400);
    println!("shipped intermediate: p50 {p50:?}, p99 {p99:?}");
    let offered = std::slice::from_ref(&VENDOR.issuing.certificate);
    let (p50, p99) = measured(&anchors(), &honest, offered, 400);
    println!("offered intermediate: p50 {p50:?}, p99 {p99:?}");
    // The whole budget, twice: once to believe, once to say why not; on the slowest key that is allowed.
    let key = Key::new(Kind::P384);
    let twin = VENDOR.root.intermediate("twin", key.clone(), |_| {});
    let mut offered = vec![twin.certificate.clone()];
    for serial in 1..=15 {
        let again = twin.intermediate("twin", key.clone(), |spec| spec.serial = vec![serial]);
        offered.push(again.certificate);
    }
    let stranger = VendorCa {
        key: Key::new(Kind::P384),
        ..twin
    };
    let leaf = ek(&stranger, |_| {});
    let (p50, p99) = measured(&anchors(), &leaf, &offered, 40);
    println!("worst case: p50 {p50:?}, p99 {p99:?}");
    assert!(p50 < std::time::Duration::from_millis(400), "{p50:?}");
}
