//! The independent reader, and what it says.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What it reads.
#[derive(Clone, Debug)]
pub struct Read {
    /// URL of PostgreSQL, or the file of SQLite.
    pub database: PathBuf,
    /// What the PKCS#11 shim wrote down.
    pub shim: PathBuf,
    /// What clients sent and heard.
    pub journal: PathBuf,
    /// The chain of the issuing CA.
    pub chain: PathBuf,
    /// Its record as it was when the database was copied, where that is a copy.
    pub signed_before: Option<PathBuf>,
    /// The folder of what is published as files.
    pub published: Option<PathBuf>,
    /// Whether signatures are verified: OpenSSL takes its time.
    pub signatures: bool,
}

/// What it said.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// What it counted, a line each.
    pub text: String,
    /// Invariants that are violated, and how.
    pub violations: Vec<(String, String)>,
}

impl Read {
    /// Let it read.
    ///
    /// # Panics
    /// When it cannot, or contradicts itself.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let output = Command::new("python3")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("checker/check.py"))
            .args((!self.signatures).then_some("--without-signatures"))
            .arg("--json")
            .arg("--database")
            .arg(&self.database)
            .arg("--shim")
            .arg(&self.shim)
            .arg("--journal")
            .arg(&self.journal)
            .arg("--chain")
            .arg(&self.chain)
            .args(
                self.signed_before
                    .iter()
                    .flat_map(|file| [Path::new("--signed-before"), file]),
            )
            .args(
                self.published
                    .iter()
                    .flat_map(|folder| [Path::new("--published"), folder]),
            )
            .output()
            .expect("python3 is installed");
        let said = String::from_utf8_lossy(&output.stdout);
        let value: serde_json::Value = serde_json::from_str(&said)
            .unwrap_or_else(|_| panic!("the checker: {said}{}", String::from_utf8_lossy(&output.stderr)));
        let word = |value: &serde_json::Value, key: &str| {
            let text = value.get(key).and_then(|text| text.as_str());
            text.expect("a word").to_owned()
        };
        let found = value.get("violations").and_then(|all| all.as_array());
        let violations: Vec<(String, String)> = found
            .expect("violations")
            .iter()
            .map(|one| (word(one, "invariant"), word(one, "what")))
            .collect();
        assert_eq!(output.status.code(), Some(i32::from(!violations.is_empty())));
        let counts = value.get("counts").and_then(|all| all.as_object()).expect("counts");
        let mut text: Vec<String> = counts
            .iter()
            .map(|(name, n)| format!("{:>8}  {name}", n.to_string()))
            .collect();
        text.push(format!("{:>8}  violations", violations.len()));
        Verdict {
            text: text.join("\n"),
            violations,
        }
    }
}
