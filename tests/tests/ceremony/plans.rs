//! Plans with something wrong in them, scripts and kits.

use crate::kit::{Desk, OnlineToken};

/// K08, C03: what is wrong with the dates or the policy is said before the token is asked; each for itself.
#[test]
fn a_plan_is_refused_for_exactly_what_is_wrong_with_it() {
    let desk = Desk::new();
    desk.root_plan();
    let good = std::fs::read_to_string(desk.path("root.toml")).unwrap();
    let line = |key: &str| {
        good.lines()
            .find(|l| l.starts_with(&format!("{key} = ")))
            .unwrap()
            .to_owned()
    };
    desk.run(&["ceremony", "lint", "root.toml"]).done();
    let planned = line("planned");
    let day = planned.get(11..21).unwrap();
    for (key, value, code, words) in [
        ("not_after", "\"2027-02-29T00:00:00Z\"", 2, "not a time"),
        ("not_after", "\"2027-13-01T00:00:00Z\"", 2, "not a time"),
        ("not_after", "\"2027-06-01T00:00:00.5Z\"", 2, "not a time"),
        ("not_after", "\"2027-06-01T00:00:00\"", 2, "not a time"),
        ("not_after", "\"2027-06-01T00:00:00+02:00\"", 2, "not a time"),
        ("not_after", "\"-2027-06-01T00:00:00Z\"", 2, "not a time"),
        ("not_after", "\"9999-12-31T23:59:59Z\"", 3, "lifetime"),
        ("not_after", "\"2020-06-01T00:00:00Z\"", 3, "validity-order"),
        ("not_before", "\"2030-06-03T00:00:00Z\"", 3, "not-yet"),
        ("next_update", "\"2020-06-01T00:00:00Z\"", 3, "crl-order"),
        ("next_update", "\"2060-06-01T00:00:00Z\"", 3, "beyond-issuer"),
        ("this_update", "\"2030-06-03T00:00:00Z\"", 3, "not-yet"),
        ("profile", "\"issuing\"", 3, "profile"),
        ("profile", "\"nothing\"", 3, "profile"),
        ("number", "0", 2, "a CRL number is 1 or greater"),
        ("required", "4", 2, "from 1 to the number of officers"),
        ("required", "0", 2, "from 1 to the number of officers"),
        ("kind", "\"rood\"", 2, "one of root, issuing"),
        ("name", "\"Example Root\"", 2, "character 1"),
        ("id", "\"0g\"", 2, "CKA_ID"),
        ("algorithm", "\"ecdsa-p521\"", 2, "one of ecdsa-p256-sha256"),
        ("common_name", "\"REHEARSAL Root\"", 3, "as those of rehearsals do"),
        ("organization", "\"a\\u0007b\"", 2, "not allowed"),
    ] {
        desk.put(
            "bad.toml",
            good.replace(&line(key), &format!("{key} = {value}")).as_bytes(),
        );
        let said = desk.run(&["ceremony", "lint", "bad.toml"]);
        let text = format!("{}{}", said.out, said.err);
        assert!(
            said.code == Some(code) && text.contains(words),
            "{key} = {value}: {said:?}"
        );
        if code == 2 {
            assert!(said.err.contains('^'), "it points at the place: {said:?}");
        }
    }
    // Not refused, but said.
    for (key, value, words) in [
        ("not_after", "\"2044-02-29T12:00:00Z\"", "leap-day"),
        ("not_after", "\"2044-06-04T12:00:00Z\"", "day-of-week"),
        (
            "next_update",
            &format!("\"20{}{}\"", "28-06-05", "T00:00:00Z"),
            "crl-too-long",
        ),
    ] {
        desk.put(
            "odd.toml",
            good.replace(&line(key), &format!("{key} = {value}")).as_bytes(),
        );
        let said = desk.run(&["ceremony", "lint", "odd.toml"]);
        assert!(
            said.code == Some(0) && said.out.contains(words),
            "{key} = {value} ({day}): {said:?}"
        );
    }
}

/// C06: the same officer's key under two roles, or one role twice, is no plan.
#[test]
fn officers_of_a_plan_are_distinct() {
    let desk = Desk::new();
    desk.root_plan();
    let good = std::fs::read_to_string(desk.path("root.toml")).unwrap();
    let keys: Vec<&str> = good.lines().filter(|l| l.starts_with("key_sha256")).collect();
    desk.put("bad.toml", good.replace(keys[1], keys[0]).as_bytes());
    let said = desk.run(&["ceremony", "lint", "bad.toml"]);
    assert!(
        said.code == Some(2) && said.err.contains("another officer has this key"),
        "{said:?}"
    );
    desk.put(
        "bad.toml",
        good.replace("crypto officer 2", "crypto officer 1").as_bytes(),
    );
    let said = desk.run(&["ceremony", "lint", "bad.toml"]);
    assert!(
        said.code == Some(2) && said.err.contains("this role is there already"),
        "{said:?}"
    );
    desk.put("bad.toml", good.replace("crypto officer 2", "witness").as_bytes());
    let said = desk.run(&["ceremony", "lint", "bad.toml"]);
    assert!(
        said.code == Some(2) && said.err.contains("this role is there already"),
        "{said:?}"
    );
}

/// Screen and paper have one source: every step of the script is shown by the run with the same number and title.
#[test]
fn the_printed_script_has_the_steps_of_the_screen() {
    let desk = Desk::new();
    desk.root_plan();
    let said = desk.run(&["ceremony", "rehearse", "root.toml", "--dir", "root"]).done();
    let script = desk.run(&["ceremony", "script", "root.toml", "--rehearsal"]).done().out;
    let steps = |text: &str| -> Vec<String> {
        text.lines()
            .map(str::trim)
            .filter(|l| l.starts_with("Step "))
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(steps(&said.err), steps(&script));
    assert!(steps(&script).len() > 10);
    let html = desk.run(&["ceremony", "script", "root.toml", "--html"]).done().out;
    let digest = hex::encode(openssl::sha::sha256(&std::fs::read(desk.path("root.toml")).unwrap()));
    assert!(html.contains(&digest) && html.contains("counter(pages)") && !html.contains("<script"));
}

/// C03: a kit names every file and the program; it is bit-equal when it is made again.
#[test]
fn a_kit_is_the_same_whoever_makes_it() {
    let desk = Desk::new();
    desk.root_plan();
    for dir in ["one", "two"] {
        desk.run(&["ceremony", "kit", "root.toml", "--dir", dir]).done();
    }
    let read = |dir: &str, file: &str| std::fs::read(desk.path(dir).join(file)).unwrap();
    for file in [
        "KIT-SHA256SUMS",
        "plan.toml",
        "script.txt",
        "script.html",
        "labels.txt",
        "checklist.txt",
    ] {
        assert_eq!(read("one", file), read("two", file), "{file}");
    }
    let checked = std::process::Command::new("sha256sum")
        .args(["--check", "--strict", "KIT-SHA256SUMS"])
        .current_dir(desk.path("one"))
        .output()
        .unwrap();
    assert!(checked.status.success(), "{checked:?}");
    // A plan of another program's hash makes no kit here.
    let good = std::fs::read_to_string(desk.path("root.toml")).unwrap();
    let at = good.find("binary_sha256 = \"").unwrap() + 17;
    let mut other = good.clone();
    let digit = if good.as_bytes()[at] == b'0' { "1" } else { "0" };
    other.replace_range(at..=at, digit);
    desk.put("other.toml", other.as_bytes());
    let said = desk.run(&["ceremony", "kit", "other.toml", "--dir", "three"]);
    assert!(
        said.code == Some(3) && said.err.contains("does not name this program"),
        "{said:?}"
    );
}

/// C03: an issuing CA without a CRL, with the CRL at its issuer's certificate, longer than the root, before it, or of other
/// names than its request: refused for that, before a token is asked.
#[test]
fn c03_an_issuing_ca_is_refused_for_exactly_what_is_wrong_with_it() {
    let desk = Desk::new();
    crate::unchanged::real_root(&desk);
    OnlineToken::new(&desk).request("issuing.csr", "01").done();
    desk.issuing_plan("issuing", "0123456789abcdef");
    let good = std::fs::read_to_string(desk.path("issuing.toml")).unwrap();
    let line = |key: &str| good.lines().rfind(|l| l.starts_with(&format!("{key} = "))).unwrap();
    let same = line("ca_issuers_url").replace("ca_issuers_url", "crl_url");
    desk.run(&["ceremony", "lint", "issuing.toml"]).done();
    for (from, to, words) in [
        (line("crl_url"), "", "no-crl-url"),
        (line("crl_url"), same.as_str(), "crl-url-is-ca-issuers"),
        (
            line("crl_url"),
            "crl_url = \"https://pki.example.net/root.crl\"",
            "plain http",
        ),
        (line("crl_url"), "crl_url = \"http://\"", "no host"),
        (
            line("common_name"),
            "common_name = \"Example Issuing 1B\"",
            "request-name",
        ),
        (line("profile"), "profile = \"cross\"", "profile: `cross`"),
        (line("planned"), "planned = \"2040-06-04T09:00:00Z\"", "request-expired"),
    ] {
        assert!(good.contains(from), "{from}");
        desk.put("bad.toml", good.replacen(from, to, 1).as_bytes());
        for verb in ["lint", "rehearse"] {
            let mut arguments = vec!["ceremony", verb, "bad.toml"];
            if verb == "rehearse" {
                arguments.extend(["--dir", "bad"]);
            }
            let said = desk.run(&arguments);
            let text = format!("{}{}", said.out, said.err);
            assert!(said.code == Some(3) && text.contains(words), "{from} -> {to}: {said:?}");
        }
        assert!(!desk.path("bad/tokens").exists(), "no token was asked");
    }
}
