//! Intermediates that a job fetches: the wish of a refused request, the folder, what is added to a later one.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use ca_server::config::AiaTerms;
use ca_server::house::{Aia, Wish};
use device_kit::vendor::VendorCa;

const HOST: &str = "pki.example";

fn open(folder: &Path) -> Aia {
    Aia::open(AiaTerms {
        hosts: vec![HOST.to_owned()],
        resolve: vec![(HOST.to_owned(), SocketAddr::from(([127, 0, 0, 1], 9)))],
        folder: folder.to_owned(),
        every: Duration::from_secs(1),
    })
    .unwrap()
}

#[test]
fn what_was_fetched_is_kept_by_its_hash_and_added_where_a_name_fits() {
    let folder = tempfile::tempdir().unwrap();
    let root = VendorCa::root("R");
    let upper = root.intermediate("Upper");
    let lower = upper.intermediate("Lower");
    let leaf = lower.intermediate("Leaf").certificate;
    let aia = open(folder.path());
    for ca in [&upper, &lower] {
        aia.keep(&ca.certificate).unwrap();
        aia.keep(&ca.certificate).unwrap();
    }
    assert!(aia.keep(b"\x30\x00").is_err());
    let names: Vec<String> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let name = |der: &[u8]| format!("{}.der", hex::encode(openssl::sha::sha256(der)));
    assert_eq!(names.len(), 2);
    assert!(names.contains(&name(&upper.certificate)), "{names:?}");

    // A file that is not what its name says is passed over, and so is what is no CA.
    std::fs::write(folder.path().join(name(b"other")), &root.certificate).unwrap();
    std::fs::write(folder.path().join(name(b"\x30\x00")), b"\x30\x00").unwrap();
    let again = open(folder.path());
    for aia in [&aia, &again] {
        let mut chain = Vec::new();
        aia.complete(&leaf, &mut chain);
        assert_eq!(chain, [lower.certificate.clone(), upper.certificate.clone()]);
        // What a device brings is not brought twice; above it, it goes on.
        let mut chain = vec![lower.certificate.clone()];
        aia.complete(&leaf, &mut chain);
        assert_eq!(chain, [lower.certificate.clone(), upper.certificate.clone()]);
        // Nothing for others, and nothing beyond what a path may have.
        let mut chain = Vec::new();
        aia.complete(&root.certificate, &mut chain);
        assert_eq!(chain, Vec::<Vec<u8>>::new());
        let mut full = vec![root.certificate.clone(); 16];
        aia.complete(&leaf, &mut full);
        assert_eq!(full.len(), 16);
        let mut heavy = vec![vec![0; 64 << 10]];
        aia.complete(&leaf, &mut heavy);
        assert_eq!(heavy.len(), 1);
    }
}

#[test]
fn of_one_name_four_are_held_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let aia = open(folder.path());
    for _ in 0..4 {
        aia.keep(&VendorCa::root("Same").certificate).unwrap();
    }
    assert!(aia.keep(&VendorCa::root("Same").certificate).is_err());
    aia.keep(&VendorCa::root("Other").certificate).unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 5);
}

#[test]
fn d01_only_what_a_host_of_the_list_may_have_is_wished_for_and_wishes_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let aia = open(folder.path());
    let at = |url: &str, name: &str| {
        let root = VendorCa::root(name);
        Wish {
            certificate: root.below("Leaf", &[device_kit::vendor::ca_issuers(url)]).certificate,
            offered: Vec::new(),
        }
    };
    for url in [
        "http://localhost/a.crt",
        "http://127.0.0.1/a.crt",
        "http://pki.example:8080/a.crt",
        "http://pki.example@localhost/a.crt",
        "http://pki.example.evil/a.crt",
        "ldap://pki.example/a",
    ] {
        aia.wish(at(url, "R"));
        assert_eq!(aia.next(), None, "{url}");
    }
    let wish = at("http://pki.example/a.crt", "R");
    aia.wish(wish.clone());
    aia.wish(wish.clone());
    assert_eq!(aia.next(), Some(wish.clone()));
    assert_eq!(aia.next(), None, "once");
    for n in 0..80 {
        aia.wish(Wish {
            offered: vec![vec![n]],
            ..wish.clone()
        });
    }
    assert_eq!(core::iter::from_fn(|| aia.next()).count(), 64);
}
