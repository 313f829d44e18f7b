//! The walls of the house, held by `cargo metadata`: who may import whom, where foreign state may enter, which licences.
#![expect(clippy::expect_used, reason = "a test that cannot go on stops")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "cargo {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Packages as this platform resolves them: others' platforms bring crates that are never built here.
fn metadata() -> Value {
    let versions = Command::new("rustc").arg("-vV").output().expect("rustc runs").stdout;
    let versions = String::from_utf8(versions).expect("UTF-8");
    let host = versions
        .lines()
        .find_map(|l| l.strip_prefix("host: "))
        .expect("a host triple");
    let text = cargo(&[
        "metadata",
        "--format-version",
        "1",
        "--locked",
        "--filter-platform",
        host,
    ]);
    serde_json::from_str(&text).expect("JSON")
}

fn str_of<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// Workspace crates and their normal dependencies by name.
fn rooms(metadata: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let members: BTreeSet<&str> = metadata["workspace_members"]
        .as_array()
        .expect("members")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    metadata["packages"]
        .as_array()
        .expect("packages")
        .iter()
        .filter(|p| members.contains(str_of(p, "id")))
        .map(|p| {
            let normal = p["dependencies"]
                .as_array()
                .expect("dependencies")
                .iter()
                .filter(|d| d["kind"].is_null())
                .map(|d| str_of(d, "name").to_owned())
                .collect();
            (str_of(p, "name").to_owned(), normal)
        })
        .collect()
}

#[test]
fn rooms_import_only_downwards() {
    let may: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("wire", &[] as &[&str]),
        ("settings", &["wire"]),
        ("manifest", &["wire", "ledger"]),
        ("attest", &["wire"]),
        ("aia", &[]),
        ("hardening", &[]),
        ("failpoint", &[]),
        ("display", &[]),
        ("pages", &["display", "ledger"]),
        ("policies", &["wire", "attest"]),
        ("issuance", &["wire", "attest", "policies"]),
        ("hsm", &["wire", "attest", "policies", "issuance"]),
        (
            "ceremony",
            &["wire", "settings", "attest", "policies", "issuance", "display"],
        ),
        ("ledger", &["wire"]),
        ("bundle", &["wire", "attest", "policies", "issuance", "ledger"]),
        ("schema", &["wire", "attest", "issuance", "ledger", "failpoint"]),
        (
            "ca-server",
            &[
                "wire",
                "settings",
                "hardening",
                "attest",
                "aia",
                "policies",
                "issuance",
                "hsm",
                "ledger",
                "bundle",
                "manifest",
                "schema",
                "failpoint",
                "pages",
            ],
        ),
        (
            "ca-cli",
            &[
                "wire",
                "settings",
                "hardening",
                "attest",
                "aia",
                "policies",
                "issuance",
                "hsm",
                "ceremony",
                "ledger",
                "bundle",
                "manifest",
                "schema",
            ],
        ),
        ("ca-agent", &["wire", "settings", "attest", "ledger"]),
        ("ca-witness", &["wire", "hardening", "ledger", "failpoint"]),
        (
            "tests",
            &[
                "wire",
                "attest",
                "policies",
                "issuance",
                "hsm",
                "ceremony",
                "ledger",
                "bundle",
                "manifest",
                "schema",
                "failpoint",
                "display",
            ],
        ),
    ]);
    let rooms = rooms(&metadata());
    let ours: BTreeSet<&String> = rooms.keys().collect();
    assert_eq!(
        ours,
        may.keys()
            .map(|k| (*k).to_owned())
            .collect::<BTreeSet<_>>()
            .iter()
            .collect()
    );
    for (room, imports) in &rooms {
        for import in imports.iter().filter(|i| ours.contains(i)) {
            assert!(
                may[room.as_str()].contains(&import.as_str()),
                "`{room}` may not import `{import}`"
            );
        }
    }
}

/// Inside a program, too, data goes one way: no part imports, by however many steps, a part that imports it.
#[test]
fn the_parts_of_each_program_import_one_way() {
    for room in ["ca-agent", "ca-cli", "ca-server"] {
        let mut imports: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (file, text) in sources(&format!("{room}/src")) {
            let (_, inside) = file.split_once(&format!("{room}/src/")).expect("a file of the room");
            let part = inside.split(['/', '.']).next().unwrap_or_default();
            if ["main", "lib"].contains(&part) || inside.ends_with("/tests.rs") {
                continue;
            }
            let product = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            let code = product.lines().filter(|line| !line.trim_start().starts_with("//"));
            let found = imports.entry(part.to_owned()).or_default();
            for line in code {
                for rest in line.split("crate::").skip(1) {
                    let end = rest
                        .find(|c: char| !c.is_alphanumeric() && c != '_')
                        .unwrap_or(rest.len());
                    found.insert(rest[..end].to_owned());
                }
            }
        }
        assert!(imports.len() > 6, "{room}: {imports:?}");
        for start in imports.keys() {
            let mut reached = BTreeSet::new();
            let mut open: Vec<&str> = imports[start]
                .iter()
                .map(String::as_str)
                .filter(|i| i != start)
                .collect();
            while let Some(part) = open.pop() {
                if reached.insert(part) {
                    open.extend(
                        imports
                            .get(part)
                            .into_iter()
                            .flatten()
                            .map(String::as_str)
                            .filter(|i| *i != part),
                    );
                }
            }
            assert!(
                !reached.contains(start.as_str()),
                "{room}: `{start}` imports itself by way of {reached:?}"
            );
        }
    }
}

#[test]
fn foreign_state_enters_by_one_door() {
    let doors: [(&str, &[&str]); 7] = [
        ("actix-web", &["ca-server", "ca-witness"]),
        ("diesel", &["schema"]),
        ("cryptoki", &["hsm"]),
        ("cedar-policy", &["policies"]),
        ("tss-esapi", &["ca-agent", "tests"]),
        ("rcgen", &["tests"]),
        ("maud", &["pages"]),
    ];
    for (room, imports) in rooms(&metadata()) {
        for (library, allowed) in doors {
            assert!(
                !imports.contains(library) || allowed.contains(&room.as_str()),
                "`{room}` may not import `{library}`: its place is {allowed:?}"
            );
        }
    }
}

#[test]
fn the_core_is_synchronous_and_pure() {
    // Time, randomness and anchors are arguments there: no runtime, no clock crate, no network, no logging.
    let outside = [
        "tokio",
        "actix-web",
        "jiff",
        "chrono",
        "ureq",
        "rustix",
        "tracing",
        "rand",
        "getrandom",
    ];
    let rooms = rooms(&metadata());
    for room in [
        "wire", "settings", "attest", "policies", "issuance", "ceremony", "ledger", "bundle", "manifest", "display",
        "pages",
    ] {
        for library in outside {
            assert!(!rooms[room].contains(library), "`{room}` may not import `{library}`");
        }
    }
    for room in [
        "settings", "attest", "policies", "issuance", "ceremony", "ledger", "bundle", "manifest", "display", "pages",
    ] {
        let folder = if room == "policies" {
            "policies/src".into()
        } else {
            format!("crates/{room}/src")
        };
        let of_the_product = |file: &str| !file.contains("/tests/") && !file.ends_with("/tests.rs");
        for (file, text) in sources(&folder).into_iter().filter(|(file, _)| of_the_product(file)) {
            let product = text.split("#[cfg(test)]").next().unwrap_or_default();
            for word in [
                "SystemTime",
                "Instant::now",
                "std::env::",
                "std::net",
                "std::fs",
                "std::thread",
            ] {
                assert!(!product.contains(word), "{file}: `{word}` has no place in a pure room");
            }
        }
    }
}

#[test]
fn unsafe_code_is_forbidden_everywhere() {
    let manifest = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml")).expect("Cargo.toml");
    assert!(manifest.contains("unsafe_code = \"forbid\""));
    for package in rooms(&metadata()).keys() {
        let folder = match package.as_str() {
            "wire" | "settings" | "attest" | "aia" | "issuance" | "hsm" | "ceremony" | "ledger" | "bundle"
            | "manifest" | "hardening" | "failpoint" | "display" | "pages" => {
                format!("crates/{package}")
            }
            other => other.to_owned(),
        };
        let path = format!("{}/../{folder}/Cargo.toml", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).expect("manifest");
        assert!(
            text.contains("[lints]\nworkspace = true"),
            "{folder} does not take the workspace's lints"
        );
    }
}

#[test]
fn one_generation_of_asn1_in_the_server() {
    let tree = cargo(&[
        "tree",
        "-p",
        "ca-server",
        "--edges",
        "normal",
        "--prefix",
        "none",
        "--locked",
    ]);
    for name in ["der", "spki", "const-oid", "x509-cert"] {
        let versions: BTreeSet<&str> = tree
            .lines()
            .filter_map(|l| l.strip_prefix(name)?.strip_prefix(" v")?.split(' ').next())
            .collect();
        assert_eq!(versions.len(), 1, "`{name}` in ca-server: {versions:?}");
    }
}

/// C09: every crate that is built into the ceremony flavour, or builds it, is on a list that people read.
#[test]
fn the_ceremony_flavour_is_what_its_list_says() {
    let tree = cargo(&[
        "tree",
        "-p",
        "ca-cli",
        "--no-default-features",
        "--edges",
        "normal,build",
        "--prefix",
        "none",
        "--locked",
        "--format",
        "{p}",
    ]);
    let crates: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/ceremony-crates.txt");
    let list = std::fs::read_to_string(file).expect("the list");
    let listed: Vec<&str> = list.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(listed.is_sorted_by(|a, b| a < b), "the list is sorted, each crate once");
    let listed: BTreeSet<&str> = listed.into_iter().collect();
    let new: Vec<_> = crates.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&crates).collect();
    assert!(
        new.is_empty() && gone.is_empty(),
        "docs/reference/ceremony-crates.txt: not on it {new:?}, no longer built {gone:?}"
    );
    // And whatever the list says: no network, no async runtime, no database, no templates.
    for foreign in [
        "actix-web",
        "async-std",
        "askama",
        "curl",
        "diesel",
        "futures-util",
        "hyper",
        "libsqlite3-sys",
        "maud",
        "minijinja",
        "mio",
        "native-tls",
        "pq-sys",
        "reqwest",
        "rustls",
        "schema",
        "smol",
        "socket2",
        "tera",
        "tokio",
        "ureq",
    ] {
        assert!(
            !crates.contains(foreign),
            "the ceremony flavour of ca-cli has `{foreign}`"
        );
    }
    let features = cargo(&[
        "tree",
        "-p",
        "ca-cli",
        "--no-default-features",
        "--edges",
        "normal",
        "--prefix",
        "none",
        "--locked",
        "--format",
        "{p} {f}",
    ]);
    let rustix = features
        .lines()
        .find(|line| line.starts_with("rustix "))
        .expect("rustix");
    let net = rustix.split([' ', ',']).any(|feature| feature == "net");
    assert!(!net, "rustix opens sockets for the ceremony flavour: {rustix}");
}

#[test]
fn no_licence_binds_the_project() {
    let allowed: Vec<spdx::Licensee> = [
        "MIT",
        "MIT-0",
        "Apache-2.0",
        "Apache-2.0 WITH LLVM-exception",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "ISC",
        "0BSD",
        "Unicode-3.0",
        "Unlicense",
        "Zlib",
        "BSL-1.0",
        "CC0-1.0",
        "CDLA-Permissive-2.0",
    ]
    .iter()
    .map(|l| spdx::Licensee::parse(l).expect("a licence"))
    .collect();
    let mut binding = Vec::new();
    for package in metadata()["packages"].as_array().expect("packages") {
        let text = str_of(package, "license");
        let expression = spdx::Expression::parse_mode(text, spdx::ParseMode::LAX);
        let fits = expression.is_ok_and(|e| e.evaluate(|need| allowed.iter().any(|have| have.satisfies(need))));
        if !fits {
            binding.push(format!(
                "{} {}: `{text}`",
                str_of(package, "name"),
                str_of(package, "version")
            ));
        }
    }
    assert!(binding.is_empty(), "licences to look at: {binding:#?}");
}

fn sources(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open = vec![std::path::PathBuf::from(format!(
        "{}/../{folder}",
        env!("CARGO_MANIFEST_DIR")
    ))];
    while let Some(path) = open.pop() {
        for entry in std::fs::read_dir(path).expect("folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(&path).expect("source");
                found.push((path.display().to_string(), text));
            }
        }
    }
    assert!(!found.is_empty());
    found
}

#[test]
fn every_test_in_the_table_of_attacks_exists() {
    let table = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../docs/reference/attack-tests.md"
    ));
    let mut named = 0;
    for line in table.expect("the table").lines().filter(|l| l.starts_with("| ")) {
        // `test_name` (file)
        for part in line.split('`').skip(1).collect::<Vec<_>>().chunks(2) {
            let [test, rest] = part else { continue };
            let Some(file) = rest.split(['(', ')']).nth(1) else {
                continue;
            };
            let source = std::fs::read_to_string(format!("{}/../{file}", env!("CARGO_MANIFEST_DIR")));
            let source = source.unwrap_or_else(|e| panic!("{file}: {e}"));
            let found = [format!("fn {test}("), format!("fn {test}<")]
                .iter()
                .any(|f| source.contains(f));
            assert!(found, "no test `{test}` in {file}");
            named += 1;
        }
    }
    assert!(named > 100, "the table of attacks names {named} tests only");
}

/// Every row of the catalogue that this house must answer is in the table.
#[test]
fn the_table_of_attacks_has_every_row() {
    let table = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../docs/reference/attack-tests.md"
    ))
    .expect("the table");
    for row in [
        "A01", "A03", "A04", "A06", "A07", "A08", "A09", "A10", "A11", "A13", "A14", "A15", "A16", "A17", "A18", "A20",
        "A21", "A22", "A43", "A53", "A44", "A45", "A46", "A47", "K01", "K02", "K03", "K04", "K05", "K06", "K07", "K08",
        "K10", "K11", "D02", "D03", "D04", "D05", "D06", "D07", "D08", "D09", "D14", "H01", "H03", "H04", "H05", "H06",
        "L01", "P10", "P13", "P14", "P15", "R05", "R12", "S01", "S07", "S09", "C01", "C03", "C04", "C05", "C06", "C08",
        "C09", "L03", "F01", "F02", "F03", "F04", "F05", "F06", "F07", "F08", "F09", "F10", "F11", "F12", "F14", "F16",
        "F18", "F19", "F20", "F21", "F22", "F23", "F24", "F25", "S03", "S04", "S05", "L04", "L05",
    ] {
        let start = format!("| {row} | ");
        let lines = table.lines().filter(|line| line.starts_with(&start)).count();
        assert_eq!(lines, 1, "{row}");
    }
}
