//! A43 and A45: how secrets are compared, and where they are not.

use std::path::{Path, PathBuf};

use device_kit::soft_tpm::SoftTpm;
use device_kit::trial::{Verdict, fresh_name, shows};

use crate::house;

/// Wrong secrets of every length.
#[test]
fn a43_every_wrong_secret_is_refused_alike() {
    let rig = house();
    type Change = fn(&mut Vec<u8>);
    let changes: [Change; 6] = [
        |secret| secret[0] ^= 1,
        |secret| secret[31] ^= 0x80,
        |secret| secret.push(0),
        |secret| {
            secret.pop();
        },
        |secret| secret.clear(),
        |secret| *secret = vec![0; 32],
    ];
    for change in changes {
        let tpm = SoftTpm::p256(&rig.vendor);
        rig.attack_activation(
            &tpm,
            |_, answer| change(&mut answer.secret.0),
            Verdict::attestation("ACT_SECRET"),
        );
    }
}

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}

/// A line of product code that compares something called a secret, a PIN, a seal, a MAC or a nonce with an operator
/// that stops at the first difference.
fn compares_a_secret(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    let operands = code
        .match_indices("==")
        .chain(code.match_indices("!="))
        .flat_map(|(at, _)| {
            let left = code[..at]
                .trim_end()
                .rsplit([' ', '(', '!', '&', '*', ';'])
                .find(|w| !w.is_empty());
            let right = code[at + 2..]
                .trim_start()
                .split([' ', ')', '{', ';', ','])
                .map(|w| w.trim_start_matches(['&', '*', '(']))
                .find(|w| !w.is_empty());
            [left, right]
        })
        .flatten();
    operands.into_iter().any(|operand| {
        let operand = operand.to_ascii_lowercase();
        // Lengths and emptiness are no secrets, and an enumeration's words are none.
        let length = operand.ends_with("len()") || operand.contains("::");
        let words: Vec<&str> = operand.split(|c: char| !c.is_ascii_alphanumeric()).collect();
        !length
            && ["secret", "pin", "mac", "hmac", "nonce", "seed", "password"]
                .iter()
                .any(|w| words.contains(w))
    })
}

#[test]
fn a43_no_secret_is_compared_with_an_operator() {
    for bad in [
        "if answer.secret == expected {",
        "return pin != *given;",
        "ok(self.nonce == nonce)",
        "mac == tag",
        "if hash == self.secret_sha256 {",
    ] {
        assert!(compares_a_secret(bad), "the lint sees {bad}");
    }
    for good in [
        "if secret.len() != 32 {",
        "kind == SecretSource::Prompt",
        "a == b // the secret",
        "pins == 3",
    ] {
        assert!(!compares_a_secret(good), "the lint lets {good} be");
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    for room in ["crates", "policies", "schema", "ca-server", "ca-cli", "ca-agent"] {
        sources(&root.join(room), &mut files);
    }
    assert!(files.len() > 100, "the rooms are where they were");
    let mut found = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let tests = path
            .components()
            .any(|c| c.as_os_str() == "tests" || c.as_os_str() == "tests.rs");
        if tests {
            continue;
        }
        for (number, line) in text.lines().take_while(|l| !l.contains("#[cfg(test)]")).enumerate() {
            if compares_a_secret(line) {
                found.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    assert!(
        found.is_empty(),
        "compare in constant time (openssl::memcmp::eq):\n{}",
        found.join("\n")
    );
}

/// What is compared with a secret is compared by OpenSSL's CRYPTO_memcmp. `cargo bench -p attest` looks at the clock.
#[test]
fn a43_secrets_are_compared_in_constant_time() {
    for (file, comparison) in [
        (
            "crates/attest/src/pending.rs",
            "!openssl::memcmp::eq(&openssl::sha::sha256(&secret), &self.secret_sha256)",
        ),
        (
            "crates/attest/src/tpm/certify.rs",
            "!openssl::memcmp::eq(attest.extra_data, extra_data)",
        ),
        ("crates/hsm/src/module.rs", "openssl::memcmp::eq(one, other)"),
    ] {
        let source = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file)).unwrap();
        assert!(source.contains(comparison), "{file}: {comparison}");
    }
}

/// Dump every byte the server keeps while a hundred devices enroll; no secret of any challenge is in it.
#[test]
fn a45_no_secret_of_a_challenge_is_at_rest() {
    let rig = house();
    let client = rig.client();
    let mut secrets = Vec::new();
    let everything = || -> Vec<u8> {
        ["ca.db", "ca.db-wal", "audit.jsonl", "server.log"]
            .into_iter()
            .filter_map(|name| std::fs::read(rig.path(name)).ok())
            .flatten()
            .collect()
    };
    let mut dumps = Vec::new();
    for number in 0..100 {
        let tpm = SoftTpm::p256(&rig.vendor);
        rig.allow(&fresh_name(), &tpm);
        let challenge = client.begin(&tpm.request("device-ldevid", None, None)).unwrap();
        let answer = tpm.answer(&challenge).unwrap();
        secrets.push(answer.secret.0.clone());
        // Rows and records only grow, so a few dumps are all of them.
        let look = number % 25 == 24;
        if look {
            dumps.push(everything());
        }
        if number % 2 == 0 {
            let mut wrong = answer.clone();
            wrong.key_certify.signature.0[8] ^= 1;
            assert_eq!(client.activate(challenge.id, &wrong).unwrap_err().status, 403);
        }
        client.activate(challenge.id, &answer).unwrap();
        if look {
            dumps.push(everything());
            // The dump is one: what was just issued is in it.
            let evidence = openssl::sha::sha256(&tpm.ek_certificate);
            assert!(shows(dumps.last().unwrap(), &[evidence]));
        }
    }
    for dump in &dumps {
        assert!(!shows(dump, &secrets), "a secret is at rest");
    }
}
