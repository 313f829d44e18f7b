//! A37, R08: CRLs of vendors.

use super::*;
use crate::Reason;
use crate::vendor::{bits, key_usage, oid, seq, time, tlv};

/// A CRL, part by part.
#[derive(Clone)]
struct List {
    version: Vec<u8>,
    issuer: Vec<u8>,
    this_update: &'static str,
    next_update: Option<&'static str>,
    /// Content octets of the serials.
    serials: Vec<Vec<u8>>,
    entry_extensions: Vec<u8>,
    extensions: Vec<Vec<u8>>,
}

fn extension(id: &str, critical: bool, value: &[u8]) -> Vec<u8> {
    let flag = if critical { tlv(1, &[0xff]) } else { Vec::new() };
    seq(&[&oid(id), &flag, &tlv(4, value)])
}

impl List {
    fn of(ca: &VendorCa, serials: &[&[u8]]) -> Self {
        Self {
            version: tlv(2, &[1]),
            issuer: ca.name.clone(),
            this_update: "20261101000000",
            next_update: Some("20261201000000"),
            serials: serials.iter().map(|serial| serial.to_vec()).collect(),
            entry_extensions: Vec::new(),
            extensions: vec![extension("2.5.29.20", false, &tlv(2, &[7]))],
        }
    }

    fn sign(&self, key: &Key) -> Vec<u8> {
        let algorithm = key.algorithm().identifier();
        let entries: Vec<u8> = self
            .serials
            .iter()
            .flat_map(|serial| seq(&[&tlv(2, serial), &time("20261001000000"), &self.entry_extensions]))
            .collect();
        let entries = if self.serials.is_empty() {
            Vec::new()
        } else {
            tlv(0x30, &entries)
        };
        let next = self.next_update.map(time).unwrap_or_default();
        let extensions = if self.extensions.is_empty() {
            Vec::new()
        } else {
            tlv(0xA0, &tlv(0x30, &self.extensions.concat()))
        };
        let tbs = seq(&[
            &self.version,
            &algorithm,
            &self.issuer,
            &time(self.this_update),
            &next,
            &entries,
            &extensions,
        ]);
        seq(&[&tbs, &algorithm, &bits(&key.sign(key.algorithm(), &tbs))])
    }
}

fn with(crls: Vec<Vec<u8>>, demand: bool) -> Result<Anchors, AnchorError> {
    Anchors::of(TrustSources {
        anchors: vec![source("vendor", &VENDOR.root.certificate)],
        intermediates: vec![VENDOR.issuing.certificate.clone()],
        crls,
        demand_crl: if demand { vec!["vendor".to_owned()] } else { vec![] },
        ..TrustSources::default()
    })
}

fn leaf() -> Vec<u8> {
    ek(&VENDOR.issuing, |spec| spec.serial = vec![0x2a])
}

#[track_caller]
fn judged(anchors: &Anchors) -> Result<bool, (Reason, String)> {
    let leaf = leaf();
    let frame = Certificate::parse(&leaf, Leniencies::VENDOR).unwrap();
    anchors
        .verify(&frame, &[], NOW)
        .map(|path| path.unchecked)
        .map_err(|refusal| (refusal.reason, refusal.detail))
}

#[test]
fn a37_an_ek_certificate_on_its_issuers_crl_is_refused_and_its_neighbour_is_not() {
    let list = |serial: &[u8]| List::of(&VENDOR.issuing, &[&[0x01], serial]).sign(&VENDOR.issuing.key);
    let (reason, detail) = judged(&with(vec![list(&[0x2a])], false).unwrap()).unwrap_err();
    assert_eq!(reason, Reason::EkRevoked);
    assert!(detail.contains("the certificate is on a CRL"), "{detail}");
    assert_eq!(judged(&with(vec![list(&[0x2b])], false).unwrap()), Ok(false));
    // Of the same serial, by another CA: it is not this certificate.
    let roots = List::of(&VENDOR.root, &[&[0x2a]]).sign(&VENDOR.root.key);
    assert_eq!(judged(&with(vec![roots], false).unwrap()), Ok(false));
}

#[test]
fn a37_what_stands_below_a_revoked_ca_is_refused() {
    let list = List::of(&VENDOR.root, &[&[0x01]]).sign(&VENDOR.root.key);
    let (reason, detail) = judged(&with(vec![list], false).unwrap()).unwrap_err();
    assert_eq!(reason, Reason::EkRevoked);
    assert!(detail.contains("a CA of the path is on a CRL"), "{detail}");
}

#[test]
fn a_crl_past_its_time_is_recorded_or_refuses_as_its_anchor_says() {
    let mut old = List::of(&VENDOR.issuing, &[]);
    (old.this_update, old.next_update) = ("20250101000000", Some("20250201000000"));
    let old = old.sign(&VENDOR.issuing.key);
    let roots = List::of(&VENDOR.root, &[]).sign(&VENDOR.root.key);
    assert_eq!(
        judged(&with(vec![old.clone(), roots.clone()], false).unwrap()),
        Ok(true),
        "recorded"
    );
    let (reason, detail) = judged(&with(vec![old, roots.clone()], true).unwrap()).unwrap_err();
    assert_eq!(
        (reason, detail.contains("past its time")),
        (Reason::EkChain, true),
        "{detail}"
    );
    // None at all: nothing is said; demanded: refused.
    assert_eq!(judged(&with(vec![], false).unwrap()), Ok(false));
    let (reason, detail) = judged(&with(vec![roots.clone()], true).unwrap()).unwrap_err();
    assert_eq!(
        (reason, detail.contains("missing")),
        (Reason::EkChain, true),
        "{detail}"
    );
    // A current one of every CA of the path.
    let issuing = List::of(&VENDOR.issuing, &[]).sign(&VENDOR.issuing.key);
    assert_eq!(judged(&with(vec![issuing, roots], true).unwrap()), Ok(false));
}

#[test]
fn the_newest_crl_counts() {
    let mut old = List::of(&VENDOR.issuing, &[&[0x2a]]);
    old.this_update = "20261001000000";
    let new = List::of(&VENDOR.issuing, &[]).sign(&VENDOR.issuing.key);
    let old = old.sign(&VENDOR.issuing.key);
    for crls in [vec![old.clone(), new.clone()], vec![new, old]] {
        assert_eq!(judged(&with(crls, false).unwrap()), Ok(false));
    }
}

#[test]
fn r08_a_crl_that_no_known_ca_signed_says_nothing() {
    let stranger = Key::new(Kind::P256);
    let forged = List::of(&VENDOR.issuing, &[&[0x2a]]).sign(&stranger);
    let anchors = with(vec![forged], false).unwrap();
    assert_eq!(judged(&anchors), Ok(false));
    assert_eq!(
        anchors.unused_intermediates()[0].detail,
        "the signature is not its issuer's"
    );
    // A CA whose keyUsage does not let it.
    let mute = VENDOR.root.intermediate("mute", Key::new(Kind::P256), |spec| {
        spec.extension(crate::vendor::KEY_USAGE).value = key_usage(0x04);
    });
    let list = List::of(&mute, &[&[0x2a]]).sign(&mute.key);
    let anchors = Anchors::of(TrustSources {
        anchors: vec![source("vendor", &VENDOR.root.certificate)],
        intermediates: vec![mute.certificate.clone()],
        crls: vec![list],
        ..TrustSources::default()
    })
    .unwrap();
    assert_eq!(
        anchors.unused_intermediates()[0].detail,
        "its issuer's keyUsage lacks cRLSign"
    );
}

#[test]
fn r08_crls_that_would_be_misread_are_refused() {
    let good = List::of(&VENDOR.issuing, &[&[0x2a]]);
    assert!(with(vec![good.sign(&VENDOR.issuing.key)], false).is_ok());
    let point = |fields: &[u8]| extension("2.5.29.28", true, &tlv(0x30, fields));
    type Change = Box<dyn Fn(&mut List)>;
    let changes: Vec<(&str, Change)> = vec![
        ("version is not 2", Box::new(|list| list.version = tlv(2, &[0]))),
        (
            "it is an indirect CRL",
            Box::new(move |list| list.extensions.push(point(&tlv(0x84, &[0xff])))),
        ),
        (
            "it is for some reasons alone",
            Box::new(move |list| list.extensions.push(point(&tlv(0x83, &[1, 6])))),
        ),
        (
            "it is a delta CRL",
            Box::new(|list| list.extensions.push(extension("2.5.29.27", false, &tlv(2, &[1])))),
        ),
        (
            "it has a critical extension that is not processed",
            Box::new(|list| list.extensions.push(extension("1.2.3.4", true, &[5, 0]))),
        ),
        (
            "an entry has a critical extension that is not processed",
            Box::new(|list| list.entry_extensions = tlv(0x30, &extension("2.5.29.29", true, &tlv(0x30, &[])))),
        ),
        (
            "serial is empty or too long",
            Box::new(|list| list.serials.push(vec![])),
        ),
        (
            "serial is empty or too long",
            Box::new(|list| list.serials.push(vec![1; 65])),
        ),
    ];
    for (what, change) in changes {
        let mut list = good.clone();
        change(&mut list);
        let error = with(vec![list.sign(&VENDOR.issuing.key)], false).unwrap_err();
        assert_eq!(error.detail, what);
    }
    // Shards: what they name is revoked; what they do not name is not said to be good.
    let mut shard = List::of(&VENDOR.issuing, &[&[0x2a]]);
    shard.extensions.push(point(&tlv(0xA0, &[])));
    let roots = List::of(&VENDOR.root, &[]).sign(&VENDOR.root.key);
    let anchors = with(vec![shard.sign(&VENDOR.issuing.key)], false).unwrap();
    assert_eq!(judged(&anchors).unwrap_err().0, Reason::EkRevoked);
    shard.serials = vec![vec![0x2b]];
    let anchors = with(vec![shard.sign(&VENDOR.issuing.key), roots], true).unwrap();
    assert!(judged(&anchors).unwrap_err().1.contains("missing"));
}

#[test]
fn r08_no_bytes_make_the_reader_panic_and_no_changed_octet_is_believed() {
    let crl = List::of(&VENDOR.issuing, &[&[0x2b]]).sign(&VENDOR.issuing.key);
    assert!(CrlFacts::signed_by(&crl, &VENDOR.issuing.certificate).is_ok());
    for end in 0..crl.len() {
        assert!(CrlFacts::read(&crl[..end]).is_err(), "{end}");
    }
    for at in 0..crl.len() {
        let mut changed = crl.clone();
        changed[at] ^= 0x41;
        assert!(
            CrlFacts::signed_by(&changed, &VENDOR.issuing.certificate).is_err(),
            "{at}"
        );
    }
    // An empty BIT STRING where the signature is.
    assert!(CrlFacts::read(&seq(&[&seq(&[]), &seq(&[]), &tlv(3, &[])])).is_err());
}
