//! `CeremonyPlan::approve`: what it grants, and each thing it refuses.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use attest::UnixTime;
use openssl::ec::{EcGroup, EcKey};
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use policies::{
    CaPlan, CeremonyPlan, GrantKind, KeyRole, ProfileKind, Profiles, Quorum, RdnKind, SanEntry, ServerTlsPlan,
};

const NOW: UnixTime = UnixTime(1_800_000_000);

fn ec(curve: Nid) -> Vec<u8> {
    let group = EcGroup::from_curve_name(curve).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap())
        .unwrap()
        .public_key_to_der()
        .unwrap()
}

fn plan() -> CeremonyPlan {
    CeremonyPlan {
        organization: "Example GmbH".into(),
        root: CaPlan {
            common_name: "Example Root".into(),
            spki: ec(Nid::SECP384R1),
        },
        issuing: CaPlan {
            common_name: "Example Issuing 1".into(),
            spki: ec(Nid::X9_62_PRIME256V1),
        },
        server_tls: ServerTlsPlan {
            names: vec![SanEntry::Dns("localhost".into()), SanEntry::Ip(vec![127, 0, 0, 1])],
            spki: ec(Nid::X9_62_PRIME256V1),
        },
    }
}

fn refusal(plan: &CeremonyPlan) -> String {
    plan.approve(&Profiles::builtin().unwrap(), Quorum::Rehearsal, NOW)
        .unwrap_err()
        .0
}

#[test]
fn approve_grants_root_issuing_and_server() {
    let plan = plan();
    let [root, issuing, server] = plan
        .approve(&Profiles::builtin().unwrap(), Quorum::Rehearsal, NOW)
        .unwrap();

    assert_eq!(root.kind(), GrantKind::Root);
    assert_eq!(root.profile().kind(), ProfileKind::Root);
    assert_eq!(root.spki(), plan.root.spki);
    assert!(root.rehearsal() && root.san().is_empty() && root.rot().is_none() && root.policies().is_empty());
    let subject: Vec<_> = root
        .subject()
        .0
        .iter()
        .map(|rdn| (rdn.kind, rdn.value.as_str()))
        .collect();
    assert_eq!(
        subject,
        [
            (RdnKind::Organization, "Example GmbH"),
            (RdnKind::CommonName, "REHEARSAL Example Root")
        ]
    );

    assert_eq!(issuing.kind(), GrantKind::Issuing);
    assert_eq!(issuing.profile().kind().path_length(), Some(0));
    assert_eq!(issuing.spki(), plan.issuing.spki);
    assert!(issuing.rehearsal());
    assert_eq!(issuing.subject().0[1].value, "REHEARSAL Example Issuing 1");

    assert_eq!(server.kind(), GrantKind::EndEntity(KeyRole::Identity));
    assert_eq!(server.profile().kind(), ProfileKind::ServerTls);
    assert_eq!(server.san(), plan.server_tls.names);
    assert_eq!(server.spki(), plan.server_tls.spki);
    assert!(!server.rehearsal());
}

/// Boulder, June 2021: the last second counts too (RFC 5280 §4.1.2.5).
#[test]
fn validity_is_exact_to_the_second() {
    let grants = plan()
        .approve(&Profiles::builtin().unwrap(), Quorum::Rehearsal, NOW)
        .unwrap();
    for (grant, days) in grants.iter().zip([20 * 365, 10 * 365, 365]) {
        let validity = grant.validity();
        assert_eq!(validity.not_before.0, NOW.0 - 300);
        assert_eq!(validity.not_after.0 - validity.not_before.0 + 1, days * 86_400);
    }
}

#[test]
fn one_key_for_two_certificates_is_refused() {
    let refused = "two certificates would carry the same key";
    let mut reused = plan();
    reused.issuing.spki = reused.root.spki.clone();
    assert_eq!(refusal(&reused), refused);
    let mut reused = plan();
    reused.server_tls.spki = reused.issuing.spki.clone();
    assert_eq!(refusal(&reused), refused);
    let mut reused = plan();
    reused.server_tls.spki = reused.root.spki.clone();
    assert!(refusal(&reused) == refused);
}

#[test]
fn keys_that_no_profile_allows_are_refused() {
    let rsa = |bits| {
        PKey::from_rsa(Rsa::generate(bits).unwrap())
            .unwrap()
            .public_key_to_der()
            .unwrap()
    };
    let mut weak = plan();
    weak.issuing.spki = rsa(2048);
    assert_eq!(refusal(&weak), "issuing: the profile does not allow a rsa-2048 key");
    let mut odd = plan();
    odd.root.spki = ec(Nid::SECP521R1);
    assert_eq!(refusal(&odd), "root: key: the curve is neither P-256 nor P-384");
    let mut odd = plan();
    odd.root.spki = PKey::generate_ed25519().unwrap().public_key_to_der().unwrap();
    assert_eq!(refusal(&odd), "root: key: neither RSA nor EC");
    let mut trailing = plan();
    trailing.root.spki.push(0);
    assert_eq!(
        refusal(&trailing),
        "root: key: the SubjectPublicKeyInfo is not in its canonical DER form"
    );
    let mut nothing = plan();
    nothing.server_tls.spki.clear();
    assert_eq!(refusal(&nothing), "server-tls: key: not a SubjectPublicKeyInfo");
    let mut small = plan();
    let three = openssl::bn::BigNum::from_u32(3).unwrap();
    let key = Rsa::generate_with_e(3072, &three).unwrap();
    small.root.spki = PKey::from_rsa(key).unwrap().public_key_to_der().unwrap();
    assert_eq!(refusal(&small), "root: key: the RSA exponent is not 65537");
    let mut strong = plan();
    strong.issuing.spki = rsa(3072);
    assert!(
        strong
            .approve(&Profiles::builtin().unwrap(), Quorum::Rehearsal, NOW)
            .is_ok()
    );
}

#[test]
fn names_are_checked() {
    let mut bad = plan();
    bad.organization = "Example\u{202e}".into();
    assert!(refusal(&bad).starts_with("organization: name: character 8"));
    let mut bad = plan();
    bad.root.common_name = "x".repeat(55);
    assert!(refusal(&bad).starts_with("root: common name: name has 65 characters"));
    bad.root.common_name.pop();
    assert!(
        bad.approve(&Profiles::builtin().unwrap(), Quorum::Rehearsal, NOW)
            .is_ok()
    );
    let mut bad = plan();
    bad.issuing.common_name = String::new();
    assert_eq!(refusal(&bad), "issuing: common name: name is empty");
    let mut bad = plan();
    bad.issuing.common_name = bad.root.common_name.clone();
    assert_eq!(refusal(&bad), "root and issuing CA have the same common name");
}

#[test]
fn server_names_are_checked_one_by_one() {
    let good = [
        SanEntry::Dns("ca.example".into()),
        SanEntry::Dns("localhost".into()),
        SanEntry::Ip(vec![192, 0, 2, 1]),
        SanEntry::Ip(std::net::Ipv6Addr::LOCALHOST.octets().to_vec()),
    ];
    let bad = [
        SanEntry::Dns("*.example".into()),
        SanEntry::Ip(vec![1, 2, 3]),
        SanEntry::Ip(std::net::Ipv4Addr::LOCALHOST.to_ipv6_mapped().octets().to_vec()),
        SanEntry::Uri("spiffe://example/ca".into()),
        SanEntry::PermanentIdentifier("x".into(), attest::rot::TCG_ON_EK_PERM_ID_SHA256),
        SanEntry::Dns("localhost".into()),
    ];
    let with = |names: Vec<SanEntry>| {
        let mut plan = plan();
        plan.server_tls.names = names;
        plan
    };
    assert!(
        with(good.to_vec())
            .approve(&Profiles::builtin().unwrap(), Quorum::Rehearsal, NOW)
            .is_ok()
    );
    assert_eq!(refusal(&with(Vec::new())), "server-tls: no name");
    for entry in bad {
        // Where the bad name stands is what the refusal names: no other was checked in its place.
        for at in 2..=good.len() {
            let mut names = good.to_vec();
            names.insert(at, entry.clone());
            let refused = refusal(&with(names));
            assert!(
                refused.starts_with(&format!("server-tls: name {}: ", at + 1)),
                "{refused}"
            );
        }
    }
}

#[test]
fn nothing_outlives_its_issuer() {
    let profile = |name: &str, lifetime: &str, more: &str| {
        (
            format!("{name}.toml"),
            format!("name = \"{name}\"\nkind = \"{name}\"\nlifetime = \"{lifetime}\"\n{more}"),
        )
    };
    let tls = "extended_key_usage = [\"serverAuth\"]\n";
    let refused = "a certificate would not lie inside the validity of its issuer";
    for (root, issuing, server, backdate, fits) in [
        ("10y", "10y", "1d", "5m", true),
        ("3649d", "10y", "1d", "5m", false),
        ("10y", "12h", "1d", "5m", false),
        ("10y", "9y", "1d", "6m", false),
    ] {
        let profiles = Profiles::from_sources(&[
            profile("root", root, ""),
            profile("issuing", issuing, ""),
            profile("server-tls", server, &format!("{tls}backdate = \"{backdate}\"\n")),
        ])
        .unwrap();
        let outcome = plan().approve(&profiles, Quorum::Rehearsal, NOW);
        match outcome {
            Ok(_) => assert!(fits, "{root} {issuing} {server} {backdate}"),
            Err(error) => assert!(!fits && error.0 == refused, "{error}"),
        }
    }
}

#[test]
fn the_profile_of_a_kind_must_be_one() {
    let builtin = Profiles::builtin().unwrap();
    assert!(builtin.only(ProfileKind::Root).is_some());
    let none = Profiles::from_sources(&[]).unwrap();
    let error = plan().approve(&none, Quorum::Rehearsal, NOW).unwrap_err();
    assert_eq!(error.0, "root: there must be exactly one profile of this kind");
}

#[test]
fn a_clock_outside_of_all_certificates_is_refused() {
    for now in [i64::MIN, -1, 0, 299, 253_402_300_799, i64::MAX] {
        let error = plan()
            .approve(&Profiles::builtin().unwrap(), Quorum::Rehearsal, UnixTime(now))
            .unwrap_err();
        assert_eq!(
            error.0,
            "root: its life would not lie between 1970 and 9999, which is all that a certificate can say: is the clock right?"
        );
    }
    assert!(
        plan()
            .approve(&Profiles::builtin().unwrap(), Quorum::Rehearsal, UnixTime(300))
            .is_ok()
    );
}
