//! Every name that reaches a certificate goes through `policies::name`; here is what it refuses and what it lets pass.

use policies::name;
use proptest::prelude::*;

type Check = fn(&str) -> Result<(), name::NameError>;

fn all_pass(check: Check, names: &[&str]) {
    for text in names {
        assert_eq!(check(text), Ok(()), "{text:?}");
    }
}

fn all_refused(check: Check, names: &[&str]) {
    for text in names {
        assert!(check(text).is_err(), "{text:?} passes");
    }
}

/// K07: lengths at the edge, each with characters that pass.
fn lengths(check: Check, make: impl Fn(usize) -> String, most: usize) {
    for length in [0, 1, 2, 63, 64, 65, 252, 253, 254, 255, 256, 2047, 2048, 2049] {
        let passes = check(&make(length)).is_ok();
        assert_eq!(passes, (1..=most).contains(&length), "length {length}");
    }
}

#[test]
fn device_names() {
    all_pass(
        name::device,
        &[
            "a",
            "0",
            "unit-17",
            "SN.0042-B",
            "0xFF",
            "a.b.c",
            "xn--bcher-kva",
            "CON",
        ],
    );
    lengths(name::device, |n| "a".repeat(n), 64);
}

/// K05, P14: what has climbed, split, hidden or confused elsewhere.
#[test]
fn device_names_refused() {
    all_refused(
        name::device,
        &[
            "",
            " ",
            ".",
            "..",
            "-",
            "a/b",
            "a\\b",
            "../a",
            "a/..",
            "a..b",
            "%2e%2e",
            "a%2Fb",
            ".a",
            "a.",
            "-a",
            "a-",
            " a",
            "a ",
            "a b",
            "a\tb",
            "a\nb",
            "a\r\nb",
            "a\0",
            "\0",
            "X\0.bank",
            "A,CN=admin",
            "a\nlevel=info",
            "=cmd()",
            "+1",
            "@a",
            "a;b",
            "a'b",
            "a\"b",
            "a<b",
            "a&b",
            "a_b",
            "a:b",
            "a*",
            "ä",
            "a\u{202e}b",
            "a\u{2028}b",
            "a\u{200b}b",
            "a\u{feff}",
            "\u{ff41}",
            "\u{430}",
            "a\u{301}",
            "a\u{1b}[2Jb",
            "a\u{7f}",
            "a\u{85}b",
            "a,b",
            "a=b",
            "a#b",
            "a?b",
            "a~",
            "a|b",
            "$(a)",
            "`a`",
            "{a}",
            "[a]",
        ],
    );
}

#[test]
fn profile_names() {
    all_pass(name::profile, &["a", "device-idevid", "0", "a-1"]);
    all_refused(
        name::profile,
        &[
            "", "A", "a_b", "a.b", "a b", "-a", "a-", "ä", "a\0", "a/b", "../a", "a\n",
        ],
    );
    lengths(name::profile, |n| "a".repeat(n), 64);
}

#[test]
fn dns_names() {
    all_pass(
        name::dns,
        &[
            "localhost",
            "a.example",
            "a-b.example",
            "1.example",
            "1a",
            "a1",
            "xn--bcher-kva.example",
            "xn--fiqs8s",
            "a.xn--p1ai",
            "a--b.example",
            "3com.example",
            "0xg.example",
            "a.0xg",
        ],
    );
    // 253 characters in labels of at most 63.
    let long = |n: usize| {
        let text = format!("{}.", "a".repeat(63)).repeat(n.div_ceil(64));
        let cut = &text[..n];
        // A cut behind a dot would end in one.
        if cut.ends_with('.') {
            format!("{}b", &text[..n - 1].replace(".a", "-a"))
        } else {
            cut.to_owned()
        }
    };
    for (length, passes) in [
        (0, false),
        (1, true),
        (63, true),
        (253, true),
        (254, false),
        (255, false),
    ] {
        let text = long(length);
        assert_eq!(text.len(), length);
        assert_eq!(name::dns(&text).is_ok(), passes, "length {length}: {text}");
    }
    let label = |n: usize| format!("{}.example", "a".repeat(n));
    for (length, passes) in [(0, false), (1, true), (62, true), (63, true), (64, false), (65, false)] {
        assert_eq!(name::dns(&label(length)).is_ok(), passes, "label of {length}");
    }
}

/// K06: wildcards, IDN and IP tricks, and every other shape that is no host name.
#[test]
fn dns_names_refused() {
    all_refused(
        name::dns,
        &[
            "",
            ".",
            "..",
            "a.",
            ".a",
            "a..b",
            "*",
            "*.example",
            "a.*.example",
            "*a.example",
            "a*.example",
            "_a.example",
            "a_b.example",
            "-a.example",
            "a-.example",
            "a.-b",
            "a.b-",
            "A.example",
            "a.EXAMPLE",
            "a b.example",
            " a.example",
            "a.example ",
            "a.example\n",
            "a\0.example",
            "a.example\0",
            "a\t",
            "1.2.3.4",
            "127.1",
            "1",
            "0",
            "017700000001",
            "0x7f000001",
            "0x7f.1",
            "a.1",
            "a.0x1",
            "a.0x",
            "1.2.3.4.",
            "[::1]",
            "::1",
            "::ffff:1.2.3.4",
            "fe80::1%eth0",
            "a:443",
            "http://a.example",
            "a.example/",
            "a@b.example",
            "a,b.example",
            "a;b",
            "a=b",
            "ä.example",
            "a\u{202e}.example",
            "\u{ff41}.example",
            "a\u{3002}example",
            "a\u{200d}b.example",
            // A-labels: empty, of pure ASCII (CVE-2024-12224), not minimal, in capitals, undecodable, disallowed, mixed.
            "xn--",
            "xn--.example",
            "xn--a-",
            "xn--a",
            "xn--abc-",
            "xn--example-.example",
            "xn--99999999",
            "xn--0",
            "xn---",
            "xn--Bcher-kva",
            "XN--bcher-kva",
            "xn--bcher-kvb-",
            "xn--a-ecp.ru",
            "xn--ls8h.example-",
            "xn--xn--a-",
            "ab--c",
            "zz--a.example",
            "xn--ss-",
            "xn--zca.example.",
            "xn--strae-oqa-",
            "xn--u-ccb.example",
            "xn--0.pt",
            "xn--tda\u{301}",
            "xn--55qx5d8y0buji4b870u-",
        ],
    );
}

#[test]
fn spiffe_ids() {
    all_pass(
        name::spiffe,
        &[
            "spiffe://example/a",
            "spiffe://example.org/A/b_c/d-e.f",
            "spiffe://a_b/0",
            "spiffe://1/...",
            "spiffe://1/-",
        ],
    );
    all_refused(
        name::spiffe,
        &[
            "",
            "spiffe:",
            "spiffe://",
            "spiffe:///",
            "spiffe:///a",
            "spiffe://example",
            "spiffe://example/",
            "example/a",
            "http://example/a",
            "SPIFFE://example/a",
            "Spiffe://example/a",
            "spiffe:/example/a",
            "spiffe://Example/a",
            "spiffe://example/a/",
            "spiffe://example//a",
            "spiffe://example/./a",
            "spiffe://example/../a",
            "spiffe://example/.",
            "spiffe://example/..",
            "spiffe://example/a%2Fb",
            "spiffe://example/a?b",
            "spiffe://example/a#b",
            "spiffe://example:8443/a",
            "spiffe://user@example/a",
            "spiffe://user:pw@example/a",
            "spiffe://ex ample/a",
            "spiffe://example/a b",
            "spiffe://example/ä",
            "spiffe://exämple/a",
            "spiffe://example/a\0",
            "spiffe://example/a\n",
            " spiffe://example/a",
            "spiffe://example/a ",
            "spiffe://[::1]/a",
            "spiffe://example/a:b",
            "spiffe://example/a*",
            "spiffe://example\\/a",
            "spiffe://.example/a",
            "spiffe://example./a",
            "spiffe://-/a",
            "spiffe://example/~a",
        ],
    );
    let domain = |n: usize| format!("spiffe://{}/a", "a".repeat(n));
    for (length, passes) in [
        (0, false),
        (1, true),
        (63, true),
        (64, true),
        (253, true),
        (254, true),
        (255, true),
        (256, false),
    ] {
        assert_eq!(
            name::spiffe(&domain(length)).is_ok(),
            passes,
            "trust domain of {length}"
        );
    }
    let whole = |n: usize| format!("spiffe://example/{}", "a".repeat(n - 17));
    assert!(name::spiffe(&whole(2048)).is_ok());
    assert!(name::spiffe(&whole(2049)).is_err());
}

#[test]
fn directory_strings() {
    all_pass(
        name::directory_string,
        &[
            "a",
            "Example",
            "Example GmbH & Co. KG",
            "Müller",
            "株式会社",
            "Ex, Inc.",
            "A/B: (C) + D'E_f-g",
            "شركة",
        ],
    );
    all_refused(
        name::directory_string,
        &[
            "",
            " ",
            " a",
            "a ",
            "a  b",
            "a\0",
            "a\n",
            "a\rb",
            "a\tb",
            "A=b",
            "A,CN=admin",
            "a\"b",
            "a\\b",
            "a<b",
            "a>b",
            "a;b",
            "#a",
            "a*b",
            "a@b",
            "a\u{202e}b",
            "a\u{2066}b",
            "a\u{200e}b",
            "a\u{2028}b",
            "a\u{2029}b",
            "a\u{a0}b",
            "a\u{3000}b",
            "a\u{200b}b",
            "a\u{feff}b",
            "a\u{ad}b",
            "e\u{301}",
            "\u{3164}",
            "\u{115f}",
            "\u{1160}",
            "\u{ffa0}",
            "a\u{1b}[2J",
            "a\u{7f}",
            "a\u{85}",
            "\u{e000}",
            "\u{fffd}",
            "\u{10ffff}",
            "$a",
            "`a`",
            "{a}",
            "a|b",
            "a%b",
            "a!",
        ],
    );
    lengths(name::directory_string, |n| "ä".repeat(n), 64);
}

#[test]
fn ip_addresses() {
    let v6 = |text: &str| text.parse::<std::net::Ipv6Addr>().unwrap().octets().to_vec();
    for octets in [
        vec![127, 0, 0, 1],
        vec![192, 0, 2, 1],
        v6("::1"),
        v6("2001:db8::1"),
        v6("fe80::1"),
    ] {
        assert_eq!(name::ip(&octets), Ok(()), "{octets:?}");
    }
    for octets in [
        vec![],
        vec![1],
        vec![1, 2, 3],
        vec![1, 2, 3, 4, 5],
        vec![0; 8],
        vec![1; 15],
        vec![1; 17],
        vec![0; 32],
        vec![0, 0, 0, 0],
        vec![255, 255, 255, 255],
        vec![224, 0, 0, 1],
        v6("::"),
        v6("ff02::1"),
        v6("::ffff:192.0.2.1"),
        v6("::192.0.2.1"),
    ] {
        assert!(name::ip(&octets).is_err(), "{octets:?}");
    }
}

proptest! {
    /// Whatever passes holds only listed characters, so it is safe in a subject, a log line, a path and a CSV cell.
    #[test]
    fn what_passes_is_plain(text in "\\PC{0,70}|[a-zA-Z0-9._/:*=, -]{0,70}|[a-z0-9.-]{1,70}") {
        if name::device(&text).is_ok() {
            prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-'));
            prop_assert!(der::asn1::PrintableStringRef::new(&text).is_ok());
        }
        if name::dns(&text).is_ok() {
            prop_assert!(text.parse::<std::net::IpAddr>().is_err());
            prop_assert!(!text.bytes().any(|b| b.is_ascii_uppercase()) && text.split('.').all(|label| !label.is_empty()));
            // The name that is issued is the name that a client's URL parser and IDNA make of it.
            let processed = idna::domain_to_ascii_strict(&text);
            prop_assert!(processed.is_ok_and(|again| again == text));
        }
        if name::directory_string(&text).is_ok() {
            prop_assert!(!text.chars().any(char::is_control));
        }
        if name::spiffe(&text).is_ok() {
            prop_assert!(text.is_ascii() && text.starts_with("spiffe://"));
        }
    }

    /// An allowed name with one foreign character anywhere is no name, and the message says where it stands.
    #[test]
    fn one_foreign_character_is_found_wherever_it_stands(
        text in "[a-z][a-z0-9]{1,40}",
        at in any::<prop::sample::Index>(),
        foreign in prop::sample::select(vec!['\0', '\n', ' ', '/', '%', '*', '\u{202e}', '\u{430}', '\u{ff0e}', '_', '@']),
    ) {
        let at = at.index(text.len() + 1);
        let mut spoilt = text.clone();
        spoilt.insert(at, foreign);
        for check in [name::device as Check, name::dns] {
            prop_assert!(check(&text).is_ok() || text.bytes().skip(1).all(|b| b.is_ascii_digit()));
            let said = check(&spoilt).unwrap_err().0;
            let place = format!("character {} ", at + 1);
            prop_assert!(said.contains(&place), "{}", said);
        }
    }
}
