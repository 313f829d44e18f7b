//! Profiles: what is shipped, what no TOML may change, and errors that say where and what instead.

use policies::{Profile, ProfileKey, ProfileKind, Profiles};

const CLIENT: &str = "1.3.6.1.5.5.7.3.2";
const SERVER: &str = "1.3.6.1.5.5.7.3.1";

#[test]
fn builtin_profiles_are_what_the_reference_says() {
    let profiles = Profiles::builtin().unwrap();
    let names: Vec<_> = profiles.iter().map(|profile| profile.name()).collect();
    let day = 86_400;
    let expected: [(&str, ProfileKind, Option<i64>, &[&str]); 10] = [
        ("cross", ProfileKind::Cross, Some(3650 * day), &[]),
        ("device-iak", ProfileKind::DeviceIak, None, &[]),
        ("device-idevid", ProfileKind::DeviceIdevid, None, &[]),
        ("device-lak", ProfileKind::DeviceLak, Some(365 * day), &[]),
        ("device-ldevid", ProfileKind::DeviceLdevid, Some(365 * day), &[CLIENT]),
        ("issuing", ProfileKind::Issuing, Some(3650 * day), &[]),
        ("ocsp", ProfileKind::Ocsp, Some(7 * day), &["1.3.6.1.5.5.7.3.9"]),
        ("root", ProfileKind::Root, Some(7300 * day), &[]),
        ("server-tls", ProfileKind::ServerTls, Some(365 * day), &[SERVER]),
        ("service", ProfileKind::Service, Some(7 * day), &[SERVER, CLIENT]),
    ];
    assert_eq!(names, expected.map(|(name, ..)| name), "sorted by name");
    let reference = include_str!("../../docs/reference/profiles.md");
    for (name, kind, lifetime, usages) in expected {
        let profile = profiles.get(name).unwrap();
        assert_eq!(profile.kind(), kind);
        assert_eq!(profile.kind().as_str(), name);
        assert_eq!(profile.lifetime(), lifetime);
        assert_eq!(profile.backdate(), 300);
        let found: Vec<_> = profile.extended_key_usage().iter().map(ToString::to_string).collect();
        assert_eq!(found, usages);
        assert_eq!(profile.organization(), None);
        assert!(
            reference.contains(&format!("## `{name}`")),
            "docs/reference/profiles.md describes `{name}`"
        );
    }
    assert_eq!(profiles.get("device").map(|profile| profile.name()), None);
}

#[test]
fn kinds_fix_what_a_certificate_can_be() {
    use ProfileKind::{
        Cross, DeviceIak, DeviceIdevid, DeviceLak, DeviceLdevid, Issuing, Ocsp, Root, ServerTls, Service,
    };
    for kind in [Root, Issuing, Cross] {
        assert!(kind.is_ca() && !kind.for_identity_key() && !kind.for_attestation_key());
    }
    for kind in [
        DeviceIak,
        DeviceIdevid,
        DeviceLak,
        DeviceLdevid,
        Service,
        ServerTls,
        Ocsp,
    ] {
        assert!(!kind.is_ca());
        assert_eq!(kind.path_length(), None);
        assert!(!(kind.for_identity_key() && kind.for_attestation_key()));
    }
    assert_eq!((Root.path_length(), Issuing.path_length()), (None, Some(0)));
    assert_eq!(Cross.path_length(), Some(1));
    for kind in [ServerTls, Ocsp] {
        assert!(
            !kind.for_identity_key() && !kind.for_attestation_key(),
            "never a device's"
        );
    }
}

/// What a device may stand on, by kind and by profile.
#[test]
fn a_basis_is_what_kind_and_profile_allow() {
    use attest::rot::Basis::{EkActivation, IakCertified};
    let profiles = Profiles::builtin().unwrap();
    let of = |name: &str| profiles.get(name).unwrap().basis().to_vec();
    for initial in ["device-iak", "device-idevid", "service"] {
        assert_eq!(of(initial), [EkActivation], "{initial}");
    }
    for local in ["device-ldevid", "device-lak"] {
        assert_eq!(of(local), [EkActivation, IakCertified], "{local}");
    }
    assert_eq!(of("root"), []);
    let with = |basis: &str| Profile::parse("x.toml", &format!("{LDEVID}basis = {basis}\n"));
    assert_eq!(with("[\"iak-certified\"]").unwrap().basis(), [IakCertified]);
    for (basis, why) in [
        ("[]", "no device could ever get one"),
        ("[\"ek-activation\", \"ek-activation\"]", "this is named twice"),
        ("[\"word-of-honour\"]", "word-of-honour"),
    ] {
        let message = with(basis).unwrap_err().message;
        assert!(message.contains(why), "{message}");
    }
    let initial = "name = \"x\"\nkind = \"device-iak\"\nlifetime = \"never\"\nbasis = [\"iak-certified\"]\n";
    let message = Profile::parse("x.toml", initial).unwrap_err().message;
    assert!(
        message.contains("a `device-iak` certificate is not issued on that"),
        "{message}"
    );
}

const LDEVID: &str =
    "name = \"x\"\nkind = \"device-ldevid\"\nlifetime = \"90d\"\nextended_key_usage = [\"clientAuth\"]\n";

#[test]
fn a_profile_may_say() {
    let toml = format!(
        "{LDEVID}organization = \"Example\"\ncommon_name = \"device\"\nbackdate = \"1h\"\nkey_algorithms = [\"p-384\"]\n"
    );
    let profile = Profile::parse("x.toml", &toml).unwrap();
    assert_eq!(profile.lifetime(), Some(90 * 86_400));
    assert_eq!(profile.backdate(), 3600);
    assert_eq!(profile.organization(), Some("Example"));
    assert_eq!(profile.key_algorithms(), [ProfileKey::P384]);
    assert_eq!(profile.sha256(), openssl::sha::sha256(toml.as_bytes()));
    for (text, seconds) in [
        ("301s", 301),
        ("6m", 360),
        ("2h", 7200),
        ("1d", 86_400),
        ("2y", 730 * 86_400),
    ] {
        let toml = LDEVID.replace("90d", text);
        assert_eq!(Profile::parse("x.toml", &toml).unwrap().lifetime(), Some(seconds));
    }
}

/// One thing is wrong with each; the message begins with its place and says what.
#[test]
fn errors_say_where_and_what() {
    let change = |from: &str, to: &str| {
        let changed = LDEVID.replace(from, to);
        assert_ne!(changed, LDEVID);
        changed
    };
    let add = |line: &str| format!("{LDEVID}{line}\n");
    let of_kind = |kind: &str, lifetime: &str, more: &str| {
        format!("name = \"x\"\nkind = \"{kind}\"\nlifetime = \"{lifetime}\"\n{more}\n")
    };
    for (toml, place, what) in [
        (
            change("lifetime", "lifetme"),
            "line 3, column 1: ",
            "did you mean `lifetime`?",
        ),
        (
            change("device-ldevid", "device-ldvid"),
            "line 2, column 8: ",
            "did you mean `device-ldevid`?",
        ),
        (
            change("clientAuth", "clientauth"),
            "line 4, column 23: ",
            "did you mean `clientAuth`?",
        ),
        (add("is_ca = true"), "line 5, column 1: ", "unknown key `is_ca`"),
        (
            add("path_length = 3"),
            "line 5, column 1: ",
            "unknown key `path_length`",
        ),
        (
            add("key_usage = [\"keyCertSign\"]"),
            "line 5, column 1: ",
            "unknown key `key_usage`",
        ),
        (add("name = \"y\""), "line 5, column 1: ", "duplicate key"),
        (add("a = "), "line 5, column 5: ", "value"),
        (change("name = \"x\"\n", ""), "", "missing field `name`"),
        (
            change("\"x\"", "\"X\""),
            "line 1, column 8: ",
            "profile name: character 1",
        ),
        (change("\"x\"", "17"), "line 1, column 8: ", "invalid type"),
        (change("90d", "never"), "line 3, column 12: ", "must expire"),
        (change("90d", "0d"), "line 3, column 12: ", "zero"),
        (change("90d", "-1d"), "line 3, column 12: ", "a number and a unit"),
        (change("90d", "1.5d"), "line 3, column 12: ", "a number and a unit"),
        (change("90d", "90"), "line 3, column 12: ", "a number and a unit"),
        (change("90d", "d"), "line 3, column 12: ", "a number and a unit"),
        (change("90d", ""), "line 3, column 12: ", "a number and a unit"),
        (change("90d", "90ä"), "line 3, column 12: ", "a number and a unit"),
        (change("90d", "+9d"), "line 3, column 12: ", "a number and a unit"),
        (
            change("90d", "9223372036854775807d"),
            "line 3, column 12: ",
            "a number and a unit",
        ),
        (
            change("90d", "9223372036854775807s"),
            "line 3, column 12: ",
            "at most 730 days",
        ),
        (change("90d", "731d"), "line 3, column 12: ", "at most 730 days"),
        (change("90d", "300s"), "line 3, column 12: ", "longer than the backdate"),
        (add("backdate = \"3601s\""), "line 5, column 12: ", "at most one hour"),
        (add("backdate = \"-5m\""), "line 5, column 12: ", "at most one hour"),
        (add("organization = \"a\\nb\""), "line 5, column 16: ", "character 2"),
        (add("common_name = \"*\""), "line 5, column 15: ", "unknown variant"),
        (add("key_algorithms = []"), "line 5, column 18: ", "no key could"),
        (
            add("key_algorithms = [\"rsa-4096\"]"),
            "line 5, column 19: ",
            "may not carry this key",
        ),
        (
            add("key_algorithms = [\"rsa-1024\"]"),
            "line 5, column 19: ",
            "unknown variant",
        ),
        (
            add("key_algorithms = [\"p-256\", \"p-256\"]"),
            "line 5, column 28: ",
            "named twice",
        ),
        (
            change("[\"clientAuth\"]", "[]"),
            "line 4, column 22: ",
            "needs the extended key usage clientAuth",
        ),
        (
            change("extended_key_usage = [\"clientAuth\"]\n", ""),
            "line 2, column 8: ",
            "needs the extended key usage",
        ),
        (
            change("\"clientAuth\"", "\"clientAuth\", \"clientAuth\""),
            "line 4, column 37: ",
            "named twice",
        ),
        (
            change("clientAuth", "anyExtendedKeyUsage"),
            "line 4, column 23: ",
            "unknown variant",
        ),
        (
            change("clientAuth", "tcg-kp-AIKCertificate"),
            "line 4, column 23: ",
            "may not have this usage",
        ),
        (
            of_kind("device-idevid", "never", "extended_key_usage = [\"clientAuth\"]"),
            "line 4, column 23: ",
            "may not have",
        ),
        (
            of_kind("device-idevid", "20y", ""),
            "line 3, column 12: ",
            "never expires: write \"never\"",
        ),
        (
            of_kind("device-iak", "1d", ""),
            "line 3, column 12: ",
            "never expires: write \"never\"",
        ),
        (of_kind("root", "31y", ""), "line 3, column 12: ", "at most 10950 days"),
        (of_kind("root", "never", ""), "line 3, column 12: ", "must expire"),
        (
            of_kind("root", "1y", "organization = \"x\""),
            "line 4, column 16: ",
            "the ceremony plan",
        ),
        (
            of_kind("issuing", "1y", "common_name = \"device\""),
            "line 4, column 15: ",
            "the ceremony plan",
        ),
        (
            of_kind("issuing", "1y", "extended_key_usage = [\"serverAuth\"]"),
            "line 4, column 23: ",
            "may not have",
        ),
        (
            of_kind("issuing", "1y", "key_algorithms = [\"rsa-2048\"]"),
            "line 4, column 19: ",
            "may not carry",
        ),
        (
            of_kind("service", "32d", "extended_key_usage = [\"serverAuth\"]"),
            "line 3, column 12: ",
            "at most 31 days",
        ),
        (
            of_kind(
                "service",
                "1d",
                "extended_key_usage = [\"serverAuth\"]\norganization = \"x\"",
            ),
            "line 5, column 16: ",
            "empty subject",
        ),
        (
            of_kind("server-tls", "1d", "extended_key_usage = [\"clientAuth\"]"),
            "line 4, column 22: ",
            "needs",
        ),
    ] {
        let error = Profile::parse("x.toml", &toml).unwrap_err();
        assert_eq!(error.file, "x.toml");
        assert!(
            error.message.starts_with(place) && error.message.contains(what),
            "{toml}\n{}",
            error.message
        );
        assert!(place.is_empty() || error.message.contains('^'), "{}", error.message);
    }
}

#[test]
fn the_whole_message_of_one_error() {
    let error = Profile::parse("site.toml", &LDEVID.replace("lifetime", "lifetme")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "profile `site.toml`: line 3, column 1: unknown key `lifetme`, expected one of `name`, `kind`, `lifetime`, \
         `backdate`, `organization`, `common_name`, `extended_key_usage`, `key_algorithms`, `renewal`, `tpm_clock`, `basis`; did you mean `lifetime`?\n  \
         |\n3 | lifetme = \"90d\"\n  | ^^^^^^^"
    );
}

#[test]
fn one_name_one_profile() {
    let source = |file: &str, name: &str| (file.to_owned(), LDEVID.replace("\"x\"", &format!("\"{name}\"")));
    let profiles = Profiles::from_sources(&[source("b.toml", "b"), source("a.toml", "a")]).unwrap();
    assert_eq!(
        profiles.iter().map(|profile| profile.name()).collect::<Vec<_>>(),
        ["a", "b"]
    );
    assert!(profiles.only(ProfileKind::DeviceLdevid).is_none(), "two of a kind");
    for sources in [
        [source("a.toml", "a"), source("b.toml", "b"), source("c.toml", "a")],
        [source("a.toml", "a"), source("c.toml", "a"), source("b.toml", "b")],
    ] {
        let error = Profiles::from_sources(&sources).unwrap_err();
        assert_eq!(error.file, "c.toml");
        assert_eq!(error.message, "another file defines the profile `a` too");
    }
}

#[test]
fn an_organization_is_put_into_device_and_responder_profiles_that_name_none() {
    let plain = Profiles::builtin().unwrap();
    let named = plain.clone().with_organization("Example").unwrap();
    for (before, after) in plain.iter().zip(named.iter()) {
        let takes = before.name().starts_with("device-") || before.name() == "ocsp";
        assert_eq!(after.organization(), takes.then_some("Example"));
        assert_eq!(
            before.sha256() != after.sha256(),
            takes,
            "the hash says that the subject changed"
        );
    }
    let own = format!("{LDEVID}organization = \"Own\"\n");
    let own = Profiles::from_sources(&[("x.toml".into(), own)])
        .unwrap()
        .with_organization("Example")
        .unwrap();
    assert_eq!(own.get("x").unwrap().organization(), Some("Own"));
    assert!(plain.with_organization("a\nb").is_err());
}

proptest::proptest! {
    #[test]
    fn any_text_is_answered_without_panic(text in "\\PC*|(name|kind|lifetime|=|\"|\\[|\\]|root|90d|\n|ä| ){0,30}") {
        let _ = Profile::parse("x", &text);
        let _ = policies::trust::parse("x", &text);
    }
}

#[test]
fn devices_renew_what_ends_and_nothing_else() {
    use policies::Renewal;
    let renewal = |kind: &str, lifetime: &str, rest: &str| {
        let text = format!("name = \"p\"\nkind = \"{kind}\"\nlifetime = \"{lifetime}\"\n{rest}\n");
        Profile::parse("p.toml", &text)
            .map(|p| p.renewal())
            .map_err(|e| e.message)
    };
    let ldevid = |rest: &str| {
        let rest = format!("extended_key_usage = [\"clientAuth\"]\n{rest}");
        renewal("device-ldevid", "90d", &rest)
    };
    assert_eq!(ldevid("").unwrap(), Renewal::Either);
    for (word, value) in [
        ("none", Renewal::None),
        ("same-key", Renewal::SameKey),
        ("rekey", Renewal::Rekey),
        ("either", Renewal::Either),
    ] {
        assert_eq!(ldevid(&format!("renewal = \"{word}\"")).unwrap(), value);
        assert_eq!(value.as_str(), word);
    }
    assert!(ldevid("renewal = \"always\"").is_err());
    for (kind, lifetime) in [
        ("device-idevid", "never"),
        ("device-iak", "never"),
        ("issuing", "10y"),
        ("root", "20y"),
    ] {
        assert_eq!(renewal(kind, lifetime, "").unwrap(), Renewal::None);
        let refused = renewal(kind, lifetime, "renewal = \"either\"").unwrap_err();
        assert!(
            refused.contains(&format!("a `{kind}` certificate is not renewed")),
            "{refused}"
        );
    }
}
