//! What is wrong with a configuration is said with file, line, caret and what to do.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

mod kit;

use std::fmt::Write as _;
use std::path::PathBuf;

use ca_server::config::Config;
use device_kit::vendor::VendorCa;
use kit::{Ca, pem, secret_file};

/// The shortest configuration, each line one that a test may change.
const SHORT: &str = r#"[server]
name = "Example Devices CA"
mode = "rehearsal"
public = "127.0.0.1:0"
[tls]
certificate = "server-tls.pem"
key = "server-tls.key"
[database]
url = "sqlite://ca.db"
[hsm]
uri = "pkcs11:token=issuing;id=%01?module-path=/usr/lib/softhsm/libsofthsm2.so"
pin = { file = "issuing.pin" }
[issuer]
certificate = "chain.pem"
[trust]
files = ["trust"]
[enrollment]
seal_key_file = "seal.key"
[audit]
file = "audit.jsonl"
"#;

/// A directory with every file the configuration names.
fn directory() -> Ca {
    let ca = Ca::rehearse();
    let chain: Vec<u8> = ca.chain.iter().flat_map(|c| pem(c)).collect();
    let tls: Vec<u8> = [pem(&ca.tls_certificate), pem(&ca.chain[0])].concat();
    std::fs::write(ca.path("chain.pem"), chain).unwrap();
    std::fs::write(ca.path("server-tls.pem"), tls).unwrap();
    secret_file(
        &ca.path("server-tls.key"),
        &ca.tls_key.private_key_to_pem_pkcs8().unwrap(),
    );
    secret_file(&ca.path("seal.key"), format!("{}\n", "5a".repeat(32)).as_bytes());
    secret_file(&ca.path("issuing.pin"), b"1234\n");
    std::fs::create_dir(ca.path("trust")).unwrap();
    let trust = trust(&ca, "software");
    std::fs::write(ca.path("trust/kit.toml"), trust).unwrap();
    ca
}

fn trust(ca: &Ca, kind: &str) -> String {
    // SIM0 is for tests, and hardware anchors may not speak for it.
    let manufacturer = if kind == "software" {
        "id:53494D30"
    } else {
        "id:49465800"
    };
    ca.vendor.trust_toml("kit", kind, &[manufacturer])
}

fn load(ca: &Ca, text: &str) -> Result<Config, (String, u8)> {
    let path: PathBuf = ca.path("server.toml");
    std::fs::write(&path, text).unwrap();
    Config::load(&path).map_err(|error| {
        let shown = error
            .to_string()
            .replace(&format!("{}/", ca.directory.path().display()), "");
        (shown, error.exit().code())
    })
}

fn changed(from: &str, to: &str) -> String {
    let text = SHORT.replacen(from, to, 1);
    assert_ne!(text, SHORT, "the change must change something");
    text
}

fn wrong(ca: &Ca, from: &str, to: &str) -> String {
    let (shown, exit) = load(ca, &changed(from, to))
        .err()
        .unwrap_or_else(|| panic!("`{to}` was taken"));
    assert_eq!(exit, 2, "{shown}");
    shown
}

#[test]
fn the_shortest_configuration_loads() {
    let ca = directory();
    let config = load(&ca, SHORT).map_err(|(shown, _)| shown).unwrap();
    assert_eq!(config.server.name, "Example Devices CA");
    assert_eq!(config.hsm.key_id, [1]);
    assert!(config.database.embedded);
    assert_eq!(
        config.database.url.as_str(),
        format!("sqlite://{}", ca.path("ca.db").display())
    );
    assert_eq!(config.audit, ca.path("audit.jsonl"));
    assert_eq!(config.limits.body, 65_536);
    assert_eq!(config.enrollment.challenge_ttl.as_secs(), 120);
}

/// The shipped file documents every key: uncommented, it still loads and means the defaults.
#[test]
fn the_shipped_file_loads_and_its_comments_are_the_defaults() {
    let ca = directory();
    let shipped = include_str!("../server.toml");
    let short = load(&ca, SHORT).map_err(|(shown, _)| shown).unwrap();
    let adapted = |text: &str| text.replace("issuing-chain.pem", "chain.pem");
    load(&ca, &adapted(shipped)).map_err(|(shown, _)| shown).unwrap();
    let mut everything = String::new();
    for line in adapted(shipped).lines() {
        let key = line.strip_prefix("# ").filter(|rest| {
            rest.contains(" = ") && !rest.contains(':')
                || rest.starts_with("base_url")
                || *rest == "[ocsp]"
                || *rest == "[crl.delta]"
                || *rest == "[ledger]"
                || *rest == "[anchor]"
        });
        let optional_files = [
            "password",
            "intermediates",
            "manufacturer",
            "profiles",
            "rules",
            "previous",
            "ca_issuers",
            "ocsp_url",
            "crl_",
            "folder",
        ];
        match key {
            Some(key) if !optional_files.iter().any(|name| key.starts_with(name)) => {
                let _ = writeln!(everything, "{key}");
            }
            _ => {
                let _ = writeln!(everything, "{line}");
            }
        }
    }
    secret_file(&ca.path("ledger.key"), &ed25519());
    let all = load(&ca, &everything).map_err(|(shown, _)| shown).unwrap();
    assert_eq!(format!("{:?}", all.limits), format!("{:?}", short.limits));
    assert_eq!(format!("{:?}", all.enrollment), format!("{:?}", short.enrollment));
    assert_eq!(format!("{:?}", all.log), format!("{:?}", short.log));
    assert_eq!(
        format!("{:?}", all.database.options),
        format!("{:?}", short.database.options)
    );
    let ocsp = all.ocsp.unwrap();
    assert!(short.ocsp.is_none());
    assert_eq!(ocsp.key_id, [2]);
    let minimal = changed("[trust]", "[ocsp]\nkey_id = \"02\"\n\n[trust]");
    let unheard = load(&ca, &minimal).map_err(|(shown, _)| shown).unwrap();
    assert!(unheard.ocsp.is_none(), "without a listener nobody can ask");
    let minimal = minimal.replacen("[tls]", "status = \"127.0.0.1:0\"\n\n[tls]", 1);
    let minimal = load(&ca, &minimal).map_err(|(shown, _)| shown).unwrap().ocsp;
    assert_eq!(format!("{ocsp:?}"), format!("{:?}", minimal.unwrap()));
    assert_eq!(all.hsm.probe_interval, short.hsm.probe_interval);
    assert_eq!(all.hsm.token.queue_deadline, short.hsm.token.queue_deadline);
    assert_eq!(all.hsm.token.login_backoff, short.hsm.token.login_backoff);
    assert_eq!(all.hsm.token.sessions, short.hsm.token.sessions);
    assert_eq!(all.server.shutdown_grace, short.server.shutdown_grace);
    assert_eq!(all.server.clock_tolerance, short.server.clock_tolerance);
    let mut crl = all.crl;
    let delta = crl.delta.take().unwrap();
    assert_eq!(format!("{crl:?}"), format!("{:?}", short.crl));
    let minimal = changed("[trust]", "[crl.delta]\n\n[trust]");
    let minimal = load(&ca, &minimal).map_err(|(shown, _)| shown).unwrap().crl.delta;
    assert_eq!(format!("{delta:?}"), format!("{:?}", minimal.unwrap()));
}

fn ed25519() -> Vec<u8> {
    openssl::pkey::PKey::generate_ed25519()
        .unwrap()
        .private_key_to_pem_pkcs8()
        .unwrap()
}

/// Each mistake in what is said of witnesses is shown; more than half of them is the quorum.
fn witnesses_of_the_ledger(ca: &Ca, with: &dyn Fn(&str) -> String) {
    let key = |name: &str, kind, seed| {
        let name = ledger::KeyName::new(name).unwrap();
        let key = ledger::SigningKey::from_seed(name, kind, &[seed; 32]).unwrap();
        key.verifier().to_string()
    };
    let of = |number: u8| {
        let key = key(&format!("w{number}"), ledger::SignatureKind::Cosignature, number);
        format!("[[ledger.witness]]\nurl = \"https://w{number}.example.org\"\nkey = \"{key}\"\n")
    };
    for (count, quorum) in [(0, 0), (1, 1), (2, 2), (3, 2), (4, 3)] {
        let text: String = (1..=count).map(of).collect();
        let config = load(ca, &with(&text)).map_err(|(shown, _)| shown).unwrap();
        let (_, terms) = config.ledger.unwrap();
        assert_eq!((terms.witnesses.len(), terms.quorum), (usize::from(count), quorum));
        assert_eq!(terms.witness_timeout.as_secs(), 5);
    }
    let two = of(1) + &of(2);
    let trees = key("w1", ledger::SignatureKind::Ed25519, 1);
    let ours = key("w1", ledger::SignatureKind::Cosignature, 1);
    for (text, word) in [
        (format!("quorum = 3\n{two}"), "2 witnesses are named"),
        (
            two.replacen("https://w1", "ftp://w1", 1),
            "starts with https:// or http://",
        ),
        (
            two.replacen("https://w1.example.org", "https://", 1),
            "starts with https:// or http://",
        ),
        (
            two.replacen("w1.example.org\"", "w1.example.org/\"", 1),
            "does not end with a slash",
        ),
        (two.replacen(&ours, &trees, 1), "this key signs trees"),
        (two.replacen(&ours, "w1+00+xx", 1), "key"),
        (two.replacen("w2.example.org", "w1.example.org", 1), "named twice"),
        (of(1) + &of(1).replacen("https://w1", "https://w3", 1), "named twice"),
        (format!("{two}ca = \"nowhere.pem\"\n"), "nowhere.pem"),
    ] {
        let (shown, exit) = load(ca, &with(&text)).err().unwrap_or_else(|| panic!("taken: {text}"));
        assert!(shown.contains(word) && exit == 2, "{word}: {shown}");
    }
}

/// The shipped section means the defaults, and each mistake in it is shown.
#[test]
fn the_ledger_s_section() {
    let ca = directory();
    let key = ca.path("ledger.key");
    secret_file(&key, &ed25519());
    let section = "[ledger]\norigin = \"pki.example.net/ledger\"\nkey_file = \"ledger.key\"\nhead = \"ledger.head\"\n";
    let with = |text: &str| changed("[trust]", &format!("{text}\n[trust]"));
    let (signer, terms) = load(&ca, &with(section))
        .map_err(|(shown, _)| shown)
        .unwrap()
        .ledger
        .unwrap();
    assert_eq!(signer.verifier().name().as_str(), "pki.example.net/ledger");
    assert_eq!((terms.head, terms.folder), (ca.path("ledger.head"), None));
    assert_eq!((terms.every.as_secs(), terms.promise.as_secs()), (1, 3600));
    for (from, to, word) in [
        ("pki.example.net/ledger", "pki example", "cannot name a key"),
        ("\"ledger.key\"", "\"seal.key\"", "not an Ed25519 private key"),
        ("head = ", "promise = \"9s\"\nhead = ", "ten checkpoints"),
        ("head = ", "every = \"1h\"\nhead = ", "ten checkpoints"),
    ] {
        let (shown, exit) = load(&ca, &with(&section.replacen(from, to, 1))).err().unwrap();
        assert!(shown.contains(word) && exit == 2, "{shown}");
    }
    witnesses_of_the_ledger(&ca, &|text| with(&format!("{section}{text}")));
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    let (shown, _) = load(&ca, &with(section)).err().unwrap();
    assert!(shown.contains("others may read this secret"), "{shown}");
}

#[test]
fn an_anchor_is_somewhere() {
    let ca = directory();
    let shown = wrong(&ca, "[audit]\n", "[anchor]\nevery = \"1m\"\n[audit]\n");
    assert!(shown.contains("in a file, or in the token"), "{shown}");
    let config = load(&ca, &changed("[audit]\n", "[anchor]\ntoken = true\n[audit]\n"));
    let terms = config.map_err(|(shown, _)| shown).unwrap().anchor.unwrap();
    assert_eq!((terms.file, terms.token, terms.every.as_secs()), (None, true, 10));
}

#[test]
fn an_unknown_key_is_shown_with_a_suggestion() {
    let ca = directory();
    assert_eq!(
        wrong(&ca, "[enrollment]\n", "[enrollment]\nchalenge_ttl = \"2m\"\n"),
        "server.toml:18:1: unknown key `chalenge_ttl`\n   \
         |\n\
         18 | chalenge_ttl = \"2m\"\n   \
         | ^^^^^^^^^^^^\n   \
         = did you mean `challenge_ttl`?\n   \
         = keys here: seal_key_file, previous, challenge_ttl, max_attempts, sign_deadline, renewal_info, unknown_vendor, quarantined"
    );
    assert_eq!(
        wrong(&ca, "[audit]\nfile", "[audti]\nfile"),
        "server.toml:19:2: unknown key `audti`\n   \
         |\n\
         19 | [audti]\n   \
         |  ^^^^^\n   \
         = did you mean `audit`?\n   \
         = keys here: server, operators, manifests, tls, database, hsm, issuer, ocsp, trust, policy, enrollment, crl, ledger, aia, anchor, limits, audit, log"
    );
    let strange = wrong(&ca, "[audit]", "[log]\nzzz = 1\n[audit]");
    assert!(strange.starts_with("server.toml:20:1: unknown key `zzz`"), "{strange}");
    assert!(!strange.contains("did you mean"));
}

#[test]
fn other_mistakes_are_shown_at_their_place() {
    let ca = directory();
    let cases = [
        ("name = \"Example Devices CA\"\n", "", ":1:1: missing key `name`"),
        (
            "mode = \"rehearsal\"",
            "mode = \"demo\"",
            ":3:8: unknown variant `demo`",
        ),
        ("127.0.0.1:0", "localhost:8443", ":4:10: invalid socket address"),
        ("[tls]", "[tls", ":5:5: "),
        ("[tls]", "[tls]\ncertificate = \"x\"", ":7:1: duplicate key"),
        (
            "\"sqlite://ca.db\"",
            "\"mysql://x\"",
            ":9:7: the URL of a database starts with sqlite:// or postgres://",
        ),
        (
            "\"sqlite://ca.db\"",
            "\"sqlite://ca.db?mode=memory\"",
            ":9:7: an SQLite URL is sqlite:// and a path",
        ),
        (
            "[hsm]\n",
            "synchronous = \"required\"\n[hsm]\n",
            ":10:15: SQLite has no standby",
        ),
        (
            "[hsm]\n",
            "synchronous = \"on\"\n[hsm]\n",
            ":10:15: unknown variant `on`",
        ),
        ("[hsm]\n", "[hsm]\nsessions = 0\n", ":11:12: this must be at least 1"),
        (
            "[hsm]\n",
            "[hsm]\nprobe_interval = \"0s\"\n",
            ":11:18: this duration must be longer than zero",
        ),
        (
            "[hsm]\n",
            "[hsm]\nprobe_interval = \"soon\"\n",
            ":11:18: a duration is written like",
        ),
        (
            "[hsm]\n",
            "[limits]\nrate_total = \"1/day\"\n[hsm]\n",
            ":11:14: a rate is written like",
        ),
        (
            "[hsm]\n",
            "[limits]\nrate_total = \"0/s\"\n[hsm]\n",
            ":11:14: a rate is written like",
        ),
        (";id=%01", "", ":11:7: which key signs is not said"),
        ("pkcs11:", "file:", ":11:7: "),
        (
            "certificate = \"chain.pem\"",
            "certificate = \"none.pem\"",
            ":14:15: none.pem: No such file",
        ),
        (
            "certificate = \"chain.pem\"",
            "certificate = \"seal.key\"",
            ":14:15: seal.key: no PEM certificate in it",
        ),
        (
            "certificate = \"chain.pem\"",
            "certificate = \"chain.pem\"\nalgorithm = \"rsa\"",
            ":15:13: there is no such algorithm",
        ),
        (
            "certificate = \"chain.pem\"",
            "certificate = \"chain.pem\"\ncrl_url = \"https://x/\"",
            ":15:11: this URL is plain http",
        ),
        (
            "certificate = \"chain.pem\"",
            "certificate = \"chain.pem\"\nocsp_url = \"https://x/\"",
            ":15:12: this URL is plain http",
        ),
        (
            "[trust]",
            "[ocsp]\nkey_id = \"01\"\n[trust]",
            ":16:10: this is the issuing key: the responder has one of its own",
        ),
        (
            "[trust]",
            "[ocsp]\nkey_id = \"x\"\n[trust]",
            ":16:10: key_id is the CKA_ID in hex",
        ),
        (
            "[trust]",
            "[ocsp]\nkey_id = \"02\"\nalgorithm = \"rsa\"\n[trust]",
            ":17:13: no such algorithm",
        ),
        (
            "[trust]",
            "[ocsp]\nkey_id = \"02\"\nvalidity = \"59s\"\n[trust]",
            ":17:12: an answer is good for one minute to seven days",
        ),
        (
            "[trust]",
            "[ocsp]\nkey_id = \"02\"\nvalidity = \"169h\"\n[trust]",
            ":17:12: an answer is good for one minute to seven days",
        ),
        (
            "certificate = \"chain.pem\"",
            "certificate = \"chain.pem\"\ncrl_url = \"http://x/{shard}\"",
            ":15:11: {shard} in crl_url, but no crl_shards",
        ),
        (
            "certificate = \"chain.pem\"",
            "certificate = \"chain.pem\"\ncrl_url = \"http://x/a.crl\"\ncrl_shards = 128",
            ":15:11: with crl_shards, crl_url has {shard} once",
        ),
        (
            "certificate = \"chain.pem\"",
            "certificate = \"chain.pem\"\ncrl_url = \"http://x/{shard}/{shard}\"\ncrl_shards = 128",
            ":15:11: with crl_shards, crl_url has {shard} once",
        ),
        (
            "certificate = \"chain.pem\"",
            "certificate = \"chain.pem\"\ncrl_url = \"http://x/{shard}\"\ncrl_shards = 0",
            ":16:14: this must be at least 1",
        ),
        (
            "certificate = \"chain.pem\"",
            "certificate = \"chain.pem\"\ncrl_shards = 1",
            ":15:14: crl_shards without crl_url",
        ),
        (
            "[hsm]\n",
            "[crl.delta]\nevery = \"31m\"\n[hsm]\n",
            ":11:9: a delta CRL is valid for at least twice as long",
        ),
        (
            "[hsm]\n",
            "[crl.delta]\nvalid = \"1s\"\nevery = \"500ms\"\n[hsm]\n",
            ":12:9: a delta CRL is valid",
        ),
        (
            "[hsm]\n",
            "[crl.delta]\nevery = \"6h\"\nvalid = \"12h\"\n[hsm]\n",
            ":11:9: delta CRLs come more often than complete ones",
        ),
        (
            "certificate = \"chain.pem\"",
            "certificate = \"chain.pem\"\ncrl_url = \"http://x/a\"\n[crl.delta]",
            ":16:1: with delta CRLs, the path of crl_url ends with .crl",
        ),
        (
            "[hsm]\n",
            "[crl]\nevery = \"13h\"\n[hsm]\n",
            ":11:9: a CRL is valid for at least twice as long",
        ),
        (
            "[hsm]\n",
            "[crl]\nvalid = \"6h\"\n[hsm]\n",
            ":11:9: a CRL is valid for at least twice as long",
        ),
        (
            "[hsm]\n",
            "[crl]\nevery = \"500ms\"\nvalid = \"1s\"\n[hsm]\n",
            ":12:9: a CRL is valid for at least two seconds",
        ),
        ("files = [\"trust\"]", "files = []", ":16:9: no anchor"),
        (
            "files = [\"trust\"]",
            "files = [\"chain.pem\"]",
            ":16:10: trust `chain.pem`",
        ),
        ("\"seal.key\"", "\"none.key\"", ":18:17: none.key: no such file"),
        (
            "\"seal.key\"",
            "\"chain.pem\"",
            ":18:17: chain.pem: others may read this secret",
        ),
        (
            "\"seal.key\"",
            "\"issuing.pin\"",
            ":18:17: issuing.pin: not 64 hex digits",
        ),
        (
            "key = \"server-tls.key\"",
            "key = \"seal.key\"",
            ":7:7: seal.key: no unencrypted PEM private key",
        ),
        ("name = \"Example Devices CA\"", "name = \"\"", ":2:8: name: "),
        (
            "public = \"127.0.0.1:0\"",
            "public = \"127.0.0.1:0\"\nbase_url = \"http://x\"",
            ":5:12: base_url starts with https://",
        ),
    ];
    for (from, to, expected) in cases {
        let shown = wrong(&ca, from, to);
        assert!(shown.starts_with(&format!("server.toml{expected}")), "{to}:\n{shown}");
        assert!(shown.contains('^'), "{shown}");
    }
}

// E-CONFIG-SECRET-IN-CONFIG, L01: a secret in a configuration is refused, and not repeated.
#[test]
fn secrets_have_no_place_in_configuration() {
    let ca = directory();
    let cases = [
        ("pin = { file = \"issuing.pin\" }", "pin = \"CANARY\""),
        ("pin = { file = \"issuing.pin\" }", "pin = 133742"),
        ("pin = { file = \"issuing.pin\" }", "pin = { value = \"CANARY\" }"),
        ("?module-path", "?pin-value=CANARY&module-path"),
        ("\"sqlite://ca.db\"", "\"postgres://ca:CANARY@db/ca\""),
        ("\"sqlite://ca.db\"", "\"postgres://ca@db/ca?password=CANARY\""),
        (
            "url = \"sqlite://ca.db\"",
            "url = \"postgres://ca@db/ca\"\npassword = \"CANARY\"",
        ),
        ("seal_key_file = \"seal.key\"", "seal_key = \"CANARY\""),
    ];
    for (from, to) in cases {
        let shown = wrong(&ca, from, to);
        assert!(!shown.contains("CANARY") && !shown.contains("133742"), "{shown}");
        assert!(
            ["file", "credential"].iter().any(|fix| shown.contains(fix)),
            "the fix is said: {shown}"
        );
    }
}

#[test]
fn a_password_file_goes_into_the_url_escaped() {
    let ca = directory();
    secret_file(&ca.path("db.pw"), b"p@ss/w:rd\n");
    let text = changed(
        "url = \"sqlite://ca.db\"",
        "url = \"postgresql://ca@db.example:5433/ca?sslmode=verify-full\"\npassword = { file = \"db.pw\" }",
    );
    let config = load(&ca, &text).map_err(|(shown, _)| shown).unwrap();
    assert_eq!(
        config.database.url.as_str(),
        "postgres://ca:p%40ss%2Fw%3Ard@db.example:5433/ca?sslmode=verify-full"
    );
    assert!(!config.database.embedded);
}

#[test]
fn tls_key_and_certificate_belong_together() {
    let ca = directory();
    secret_file(&ca.path("other.key"), &kit::p256().private_key_to_pem_pkcs8().unwrap());
    let shown = wrong(&ca, "key = \"server-tls.key\"", "key = \"other.key\"");
    assert!(
        shown.contains("the TLS key is not the key of the TLS certificate"),
        "{shown}"
    );
    let backwards = [pem(&ca.chain[0]), pem(&ca.tls_certificate)].concat();
    std::fs::write(ca.path("backwards.pem"), backwards).unwrap();
    let shown = wrong(&ca, "\"server-tls.pem\"", "\"backwards.pem\"");
    assert!(shown.contains("not the key of"), "{shown}");
    let stranger = [pem(&ca.tls_certificate), pem(&ca.chain[1])].concat();
    std::fs::write(ca.path("gap.pem"), stranger).unwrap();
    let shown = wrong(&ca, "\"server-tls.pem\"", "\"gap.pem\"");
    assert!(shown.contains("not a chain"), "{shown}");
}

#[test]
fn a_rehearsal_does_not_run_in_production() {
    let ca = directory();
    let text = changed("mode = \"rehearsal\"", "mode = \"production\"");
    let (shown, exit) = load(&ca, &text).err().unwrap();
    assert_eq!(exit, 78, "{shown}");
    assert!(
        shown.contains("a CA of a rehearsal does not run in production"),
        "{shown}"
    );
}

/// A CA of an earlier world, without the mark of a rehearsal, so that exactly the anchor is refused.
#[test]
fn software_anchors_are_refused_in_production() {
    let ca = directory();
    let root = VendorCa::root("Production Root");
    let issuing = root.intermediate("Production Issuing");
    let chain: Vec<u8> = [pem(&issuing.certificate), pem(&root.certificate)].concat();
    std::fs::write(ca.path("chain.pem"), chain).unwrap();
    let production = changed("mode = \"rehearsal\"", "mode = \"production\"");
    let (shown, exit) = load(&ca, &production).err().unwrap();
    assert_eq!(exit, 78, "{shown}");
    assert!(
        shown.contains("anchors of software TPMs are refused in production: kit"),
        "{shown}"
    );
    std::fs::write(ca.path("trust/kit.toml"), trust(&ca, "hardware")).unwrap();
    load(&ca, &production).map_err(|(shown, _)| shown).unwrap();
}

/// A published CA of swtpm's kind, called hardware by whoever wrote the file.
#[test]
fn a10_a_test_ca_is_no_anchor_in_production_whatever_it_is_called() {
    let ca = directory();
    let root = VendorCa::root("Production Root");
    let issuing = root.intermediate("Production Issuing");
    let chain: Vec<u8> = [pem(&issuing.certificate), pem(&root.certificate)].concat();
    std::fs::write(ca.path("chain.pem"), chain).unwrap();
    let production = changed("mode = \"rehearsal\"", "mode = \"production\"");
    let test_ca = include_str!("data/spire-test-root.pem");
    for kind in ["hardware", "virtual"] {
        let file = trust(&ca, kind);
        let (before, rest) = file.split_once("-----BEGIN").unwrap();
        let (_, after) = rest.split_once("-----END CERTIFICATE-----\n").unwrap();
        std::fs::write(ca.path("trust/kit.toml"), format!("{before}{test_ca}{after}")).unwrap();
        let (shown, exit) = load(&ca, &production).err().unwrap();
        assert_eq!(exit, 78, "{shown}");
        assert!(shown.contains("is the test CA `tpm-manufacturer-root-ca`"), "{shown}");
        // A rehearsal may not call it so either.
        let (shown, exit) = load(&ca, SHORT).err().unwrap();
        assert_eq!(exit, 78, "{shown}");
    }
}

/// `openssl` signs, this server verifies.
#[test]
fn a_signed_trust_store_is_taken_and_a_changed_one_is_not() {
    let ca = directory();
    let openssl = |arguments: &[&str]| {
        let mut command = std::process::Command::new("openssl");
        let done = command
            .current_dir(ca.directory.path())
            .args(arguments)
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
    };
    openssl(&[
        "ecparam",
        "-name",
        "prime256v1",
        "-genkey",
        "-noout",
        "-out",
        "sign.pem",
    ]);
    openssl(&["pkey", "-in", "sign.pem", "-pubout", "-out", "sign.pub"]);
    let mut store = policies::trust::TrustStore::default();
    let decision = policies::trust::Decision {
        date: "2026-11-23".into(),
        by: "A. Person".into(),
        why: "a test".into(),
    };
    let root = ca.vendor.certificate.clone();
    store.import("kit", &root, "the kit", decision.clone()).unwrap();
    let terms = policies::trust::Terms {
        kind: attest::AnchorKind::Software,
        manufacturers: vec!["id:53494D30".into()],
        enforce_expiry: false,
    };
    store.trust("kit", terms, decision, false).unwrap();
    let text = store.render().unwrap();
    std::fs::write(ca.path("trust/kit.toml"), &text).unwrap();
    let signed = changed("files = ", "signed_by = [\"sign.pub\"]\nfiles = ");
    let (shown, _) = load(&ca, &signed).err().unwrap();
    assert!(shown.contains("kit.toml.sig"), "{shown}");
    openssl(&[
        "dgst",
        "-sha256",
        "-sign",
        "sign.pem",
        "-out",
        "trust/kit.toml.sig",
        "trust/kit.toml",
    ]);
    let config = load(&ca, &signed).map_err(|(shown, _)| shown).unwrap();
    let [bundle] = config.bundles.as_slice() else {
        panic!("{:?}", config.bundles)
    };
    assert_eq!((bundle.about, bundle.version), ("tpm", store.version()));

    // One word of it.
    std::fs::write(ca.path("trust/kit.toml"), text.replace("A. Person", "B. Person")).unwrap();
    let (shown, exit) = load(&ca, &signed).err().unwrap();
    assert_eq!(exit, 78, "{shown}");
    assert!(shown.contains("the signature is of none of the keys"), "{shown}");
    // A list of anchors has no version: it is none of the things that are signed.
    std::fs::write(ca.path("trust/kit.toml"), trust(&ca, "software")).unwrap();
    openssl(&[
        "dgst",
        "-sha256",
        "-sign",
        "sign.pem",
        "-out",
        "trust/kit.toml.sig",
        "trust/kit.toml",
    ]);
    let (shown, exit) = load(&ca, &signed).err().unwrap();
    assert!(exit == 2 && shown.contains("every trust file is a store"), "{shown}");
}

#[test]
fn vendors_crls_are_read_and_demanded_by_the_name_of_an_anchor() {
    let ca = directory();
    let with = |text: &str| changed("files = ", &format!("{text}\nfiles = "));
    std::fs::create_dir(ca.path("crls")).unwrap();
    std::fs::write(ca.path("crls/a.crl"), b"no CRL").unwrap();
    let (shown, _) = load(&ca, &with("crls = [\"crls\"]")).err().unwrap();
    assert!(shown.contains("no CRL that is taken"), "{shown}");
    let (shown, _) = load(&ca, &with("demand_crl = [\"kitt\"]")).err().unwrap();
    assert!(shown.contains("no anchor has this name"), "{shown}");
    load(&ca, &with("demand_crl = [\"kit\"]"))
        .map_err(|(shown, _)| shown)
        .unwrap();
}

#[test]
fn own_profiles_and_rules_are_read_and_their_mistakes_shown() {
    let ca = directory();
    std::fs::create_dir(ca.path("profiles")).unwrap();
    std::fs::create_dir(ca.path("rules")).unwrap();
    let with = "[policy]\nprofiles = \"profiles\"\nrules = \"rules\"\n[audit]";
    let shown = wrong(&ca, "[audit]", with);
    assert!(shown.contains("profiles: no *.toml in it"), "{shown}");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies");
    for folder in ["profiles", "rules"] {
        for file in std::fs::read_dir(format!("{source}/{folder}")).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), ca.path(folder).join(file.file_name())).unwrap();
        }
    }
    load(&ca, &changed("[audit]", with))
        .map_err(|(shown, _)| shown)
        .unwrap();
    std::fs::write(ca.path("rules/zz.cedar"), "permit(principal, action, resource);").unwrap();
    assert!(wrong(&ca, "[audit]", with).contains("rules"));
    std::fs::remove_file(ca.path("rules/zz.cedar")).unwrap();
    std::fs::copy(ca.path("rules/schema.cedarschema"), ca.path("rules/two.cedarschema")).unwrap();
    assert!(wrong(&ca, "[audit]", with).contains("exactly one *.cedarschema"));
}

#[test]
fn a_file_that_is_not_there_is_said_so() {
    let error = Config::load(std::path::Path::new("no/such/server.toml")).err().unwrap();
    assert!(error.to_string().starts_with("no/such/server.toml: cannot be read"));
    assert_eq!(error.exit().code(), 2);
}

#[test]
fn operators_are_people_told_apart_by_their_uids() {
    let ca = directory();
    let with = |lines: &str| changed("[tls]", &format!("[operators]\n{lines}\n[tls]"));
    let config = load(&ca, &with("alice = 1001\nbob = 1002"))
        .map_err(|(shown, _)| shown)
        .unwrap();
    assert_eq!(config.operators.name(1001), Some("alice"));
    assert_eq!(
        (config.operators.name(1003), config.operators.is_empty()),
        (None, false)
    );
    assert!(
        load(&ca, SHORT)
            .map_err(|(shown, _)| shown)
            .unwrap()
            .operators
            .is_empty()
    );
    let own = rustix::process::geteuid().as_raw();
    for (lines, word) in [
        ("alice = 1001\nbob = 1001".to_owned(), "one uid, one person"),
        ("alice = 0".to_owned(), "can be anybody"),
        (format!("alice = {own}"), "can be anybody"),
        ("Alice = 1001".to_owned(), "a name has"),
        ("\"uid:0\" = 1001".to_owned(), "a name has"),
        ("\"\" = 1001".to_owned(), "a name has"),
        (format!("{} = 1001", "a".repeat(65)), "a name has"),
        ("server = 1001".to_owned(), "nobody's name"),
        ("root = 1001".to_owned(), "nobody's name"),
        ("alice = -1".to_owned(), "u32"),
        ("alice = \"1001\"".to_owned(), "invalid type"),
    ] {
        let (shown, _) = load(&ca, &with(&lines)).err().unwrap();
        assert!(shown.contains(word), "{lines}: {shown}");
    }
}
