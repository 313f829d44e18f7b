//! Trusted, known, unknown, refused: for each the one sentence that follows.

use super::*;
use crate::vendor::time;

fn ca(name: &str, certificate: &[u8], standing: Standing) -> CaSource {
    CaSource {
        name: name.to_owned(),
        certificate: certificate.to_vec(),
        standing,
    }
}

/// The vendor's root as an anchor, or nothing, and what else is said.
fn store(anchored: bool, others: Vec<CaSource>, refused: Vec<RefusedHash>) -> Anchors {
    let anchors = if anchored {
        vec![source("vendor", &VENDOR.root.certificate)]
    } else {
        vec![]
    };
    Anchors::of(TrustSources {
        about: About::Tpm,
        anchors,
        others,
        refused,
        intermediates: vec![],
        ..TrustSources::default()
    })
    .unwrap()
}

fn by_hash(of: HashOf) -> Vec<RefusedHash> {
    vec![RefusedHash {
        name: "bad".to_owned(),
        of,
    }]
}

fn key_of(certificate: &[u8]) -> HashOf {
    HashOf::Key(openssl::sha::sha256(&crate::ek::certificate_spki(certificate).unwrap()))
}

fn certificate_of(certificate: &[u8]) -> HashOf {
    HashOf::Certificate(openssl::sha::sha256(certificate))
}

const REFUSED: &str = "EK_CA_REFUSED: the path leads through `bad`, which is refused";

#[track_caller]
fn says(anchors: &Anchors, leaf: &[u8], offered: &[Vec<u8>], verdict: Result<(), &str>) {
    let found = verify(anchors, leaf, offered, NOW)
        .map(|_| ())
        .map_err(|r| r.to_string());
    assert_eq!(found, verdict.map_err(str::to_owned));
}

#[test]
fn a37_a_refused_root_is_refused_although_it_is_an_anchor() {
    let leaf = ek(&VENDOR.root, |_| {});
    let root = &VENDOR.root.certificate;
    says(&store(true, vec![], vec![]), &leaf, &[], Ok(()));
    says(
        &store(true, vec![ca("bad", root, Standing::Refused)], vec![]),
        &leaf,
        &[],
        Err(REFUSED),
    );
    for hash in [certificate_of(root), key_of(root)] {
        says(&store(true, vec![], by_hash(hash)), &leaf, &[], Err(REFUSED));
    }
    for other in [HashOf::Certificate([7; 32]), HashOf::Key([7; 32])] {
        says(&store(true, vec![], by_hash(other)), &leaf, &[], Ok(()));
    }
    // A hash of one is no hash of the other.
    let HashOf::Certificate(sha256) = certificate_of(root) else {
        unreachable!()
    };
    says(&store(true, vec![], by_hash(HashOf::Key(sha256))), &leaf, &[], Ok(()));
}

#[test]
fn a37_a_refused_intermediate_is_refused_offered_stored_or_neither() {
    let issuing = &VENDOR.issuing.certificate;
    let leaf = ek(&VENDOR.issuing, |_| {});
    let offered = std::slice::from_ref(issuing);
    says(&store(true, vec![], vec![]), &leaf, offered, Ok(()));
    for hash in [certificate_of(issuing), key_of(issuing)] {
        says(&store(true, vec![], by_hash(hash)), &leaf, offered, Err(REFUSED));
        let shipped = Anchors::of(TrustSources {
            anchors: vec![source("vendor", &VENDOR.root.certificate)],
            intermediates: offered.to_vec(),
            refused: by_hash(hash),
            ..TrustSources::default()
        });
        says(&shipped.unwrap(), &leaf, &[], Err(REFUSED));
    }
    let stored = store(true, vec![ca("bad", issuing, Standing::Refused)], vec![]);
    says(&stored, &leaf, offered, Err(REFUSED));
    says(&stored, &leaf, &[], Err(REFUSED));
    // Two links further down it still counts.
    let deeper = VENDOR.issuing.intermediate("deeper", Key::new(Kind::P256), |_| {});
    let both = [deeper.certificate.clone(), issuing.clone()];
    says(&stored, &ek(&deeper, |_| {}), &both, Err(REFUSED));
    says(&store(true, vec![], vec![]), &ek(&deeper, |_| {}), &both, Ok(()));
}

#[test]
fn a_refused_key_is_refused_in_every_certificate_and_a_refused_certificate_in_one() {
    let renewed = VENDOR
        .root
        .intermediate("issuing", VENDOR.issuing.key.clone(), |spec| spec.serial = vec![9]);
    let leaf = ek(&renewed, |_| {});
    let offered = std::slice::from_ref(&renewed.certificate);
    let first = &VENDOR.issuing.certificate;
    says(
        &store(true, vec![], by_hash(certificate_of(first))),
        &leaf,
        offered,
        Ok(()),
    );
    says(
        &store(true, vec![], by_hash(key_of(first))),
        &leaf,
        offered,
        Err(REFUSED),
    );
    // An entry with a certificate refuses both.
    let whole = store(true, vec![ca("bad", first, Standing::Refused)], vec![]);
    says(&whole, &leaf, offered, Err(REFUSED));
}

#[test]
fn a_path_around_the_refused_ca_is_taken() {
    // One issuing CA below two roots; one of them is refused.
    let second = VendorCa::root("second", Key::new(Kind::P256), |_| {});
    let crossed = second.intermediate("issuing", VENDOR.issuing.key.clone(), |_| {});
    let leaf = ek(&crossed, |_| {});
    let both = [VENDOR.issuing.certificate.clone(), crossed.certificate.clone()];
    let with = |others: Vec<CaSource>| {
        Anchors::of(TrustSources {
            anchors: vec![
                source("vendor", &VENDOR.root.certificate),
                source("second", &second.certificate),
            ],
            others,
            ..TrustSources::default()
        })
        .unwrap()
    };
    let one = ca("bad", &VENDOR.root.certificate, Standing::Refused);
    assert_eq!(verify(&with(vec![one.clone()]), &leaf, &both, NOW).unwrap(), "second");
    says(&with(vec![one.clone()]), &leaf, &both[..1], Err(REFUSED));
    let other = ca("bad", &second.certificate, Standing::Refused);
    says(&with(vec![one, other]), &leaf, &both, Err(REFUSED));
}

#[test]
fn a_root_that_is_known_or_unknown_is_said_to_be_and_nothing_more() {
    let root = &VENDOR.root.certificate;
    const KNOWN: &str = "EK_CA_UNTRUSTED: the path ends at `there`, which is known but not trusted";
    const UNKNOWN: &str = "EK_CA_UNTRUSTED: the path ends at `there`, which is unknown: nobody has decided about it";
    let direct = ek(&VENDOR.root, |_| {});
    let below = ek(&VENDOR.issuing, |_| {});
    let offered = std::slice::from_ref(&VENDOR.issuing.certificate);
    for (standing, verdict) in [(Standing::Known, KNOWN), (Standing::Unknown, UNKNOWN)] {
        let anchors = store(false, vec![ca("there", root, standing)], vec![]);
        says(&anchors, &direct, &[], Err(verdict));
        says(&anchors, &below, offered, Err(verdict));
        // Without the link there is no path to it, and it is not blamed.
        assert!(refused(&anchors, &below, &[]).contains("its issuer is neither"));
        // The name alone is not enough: the signature is checked.
        let mut impostor = VendorCa::root("root", Key::new(Kind::P384), |_| {});
        impostor.name = VENDOR.root.name.clone();
        assert!(refused(&anchors, &ek(&impostor, |_| {}), &[]).contains("the signature is not its issuer's"));
    }
}

#[test]
fn an_intermediate_whose_root_is_missing_ends_the_path_where_it_stands() {
    let orphan = ca("there", &VENDOR.issuing.certificate, Standing::Known);
    says(
        &store(false, vec![orphan.clone()], vec![]),
        &ek(&VENDOR.issuing, |_| {}),
        &[],
        Err("EK_CA_UNTRUSTED: the path ends at `there`, which is known but not trusted"),
    );
    // It is a link like any other once its root is an anchor: offered in vain or not.
    says(
        &store(true, vec![orphan], vec![]),
        &ek(&VENDOR.issuing, |_| {}),
        &[],
        Ok(()),
    );
}

#[test]
fn the_root_is_named_and_not_the_links_below_it_unless_one_is_known() {
    let leaf = ek(&VENDOR.issuing, |_| {});
    let with = |root, issuing| {
        let others = vec![
            ca("issuing", &VENDOR.issuing.certificate, issuing),
            ca("root", &VENDOR.root.certificate, root),
        ];
        store(false, others, vec![])
    };
    use Standing::{Known, Unknown};
    for (root, issuing, named) in [
        (Unknown, Unknown, "root"),
        (Known, Unknown, "root"),
        (Known, Known, "root"),
        (Unknown, Known, "issuing"),
    ] {
        for offered in [vec![], vec![VENDOR.issuing.certificate.clone()]] {
            let refusal = verify(&with(root, issuing), &leaf, &offered, NOW).unwrap_err();
            let start = format!("the path ends at `{named}`, which is ");
            assert!(refusal.detail.starts_with(&start), "{refusal}");
        }
    }
}

#[test]
fn a_link_that_nobody_decided_about_is_believed_for_its_anchor() {
    for standing in [Standing::Known, Standing::Unknown] {
        let anchors = store(true, vec![ca("link", &VENDOR.issuing.certificate, standing)], vec![]);
        says(&anchors, &ek(&VENDOR.issuing, |_| {}), &[], Ok(()));
    }
    // Also one that the store could not place, once the device brings the link above it.
    let deeper = VENDOR.issuing.intermediate("deeper", Key::new(Kind::P256), |_| {});
    let anchors = store(true, vec![ca("orphan", &deeper.certificate, Standing::Unknown)], vec![]);
    let chain = [deeper.certificate.clone(), VENDOR.issuing.certificate.clone()];
    says(&anchors, &ek(&deeper, |_| {}), &chain, Ok(()));
}

#[test]
fn where_sources_differ_refused_wins_then_the_anchor_then_known() {
    let root = &VENDOR.root.certificate;
    let leaf = ek(&VENDOR.root, |_| {});
    let said = |standing| {
        ca(
            if standing == Standing::Refused { "bad" } else { "there" },
            root,
            standing,
        )
    };
    let all = [Standing::Unknown, Standing::Known, Standing::Refused];
    says(&store(true, all.map(said).to_vec(), vec![]), &leaf, &[], Err(REFUSED));
    says(&store(false, all.map(said).to_vec(), vec![]), &leaf, &[], Err(REFUSED));
    let lesser: Vec<_> = all[..2].iter().copied().map(said).collect();
    says(&store(true, lesser.clone(), vec![]), &leaf, &[], Ok(()));
    says(
        &store(false, lesser, vec![]),
        &leaf,
        &[],
        Err("EK_CA_UNTRUSTED: the path ends at `there`, which is known but not trusted"),
    );
}

#[test]
fn a_refusal_does_not_wait_for_time() {
    let old = VendorCa::root("root", VENDOR.root.key.clone(), |spec| {
        spec.not_after = time("20251231235959")
    });
    let leaf = ek(&old, |_| {});
    let with = |refused| {
        Anchors::of(TrustSources {
            anchors: vec![source("old", &old.certificate)],
            refused,
            ..TrustSources::default()
        })
        .unwrap()
    };
    assert!(refused(&with(vec![]), &leaf, &[]).contains("has expired"));
    says(&with(by_hash(key_of(&old.certificate))), &leaf, &[], Err(REFUSED));
}

#[test]
fn d03_a_crowd_of_untrusted_cas_does_not_stand_in_the_way_of_an_anchor() {
    let crowd: Vec<_> = (0..40)
        .map(|i| {
            let mut root = VendorCa::root("root", Key::new(Kind::P256), |_| {});
            root.name = VENDOR.root.name.clone();
            ca(&format!("crowd-{i}"), &root.certificate, Standing::Unknown)
        })
        .collect();
    says(
        &store(true, crowd.clone(), vec![]),
        &ek(&VENDOR.root, |_| {}),
        &[],
        Ok(()),
    );
    // And where there is none, the search ends with its budget.
    let lost = refused(&store(false, crowd, vec![]), &ek(&VENDOR.root, |_| {}), &[]);
    assert!(lost.contains("the signature is not its issuer's"), "{lost}");
}

#[test]
fn the_facts_of_a_ca_are_what_a_person_sees_before_he_decides() {
    let facts = CaFacts::read(&VENDOR.root.certificate).unwrap();
    assert!(facts.self_signed && facts.subject == facts.issuer);
    assert_eq!(HashOf::Key(facts.spki_sha256), key_of(&VENDOR.root.certificate));
    let facts = CaFacts::read(&VENDOR.issuing.certificate).unwrap();
    assert!(!facts.self_signed);
    assert_eq!(CaFacts::read(&ek(&VENDOR.root, |_| {})).unwrap_err(), "it is not a CA");
    assert!(CaFacts::read(b"\x30\x00").is_err());
}
