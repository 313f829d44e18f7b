//! What was played, how often, and what was found: a table for people, JSON for programs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use serde_json::json;

use crate::fault::Fault;
use crate::kill::Struck;

/// A report of one engine. `HOLDFAST_STORM_REPORT` names the folder in which it is written; else it is only printed.
pub(crate) struct Report {
    engine: &'static str,
    seed: u64,
    begun: Instant,
    struck: Struck,
}

impl Report {
    pub(crate) fn new(engine: &'static str, seed: u64) -> Self {
        Self {
            engine,
            seed,
            begun: Instant::now(),
            struck: Struck::new(),
        }
    }

    /// What was played until now, and looked at by the reader, who found nothing: else nobody comes here.
    pub(crate) fn so_far(&mut self, struck: &Struck) {
        struck.clone_into(&mut self.struck);
        let Some(folder) = std::env::var_os("HOLDFAST_STORM_REPORT") else {
            return;
        };
        let name = format!("kill-{}-{}", self.engine.to_lowercase(), self.seed);
        let path = |ending: &str| PathBuf::from(&folder).join(format!("{name}.{ending}"));
        let value = json!({
            "engine": self.engine, "seed": self.seed, "seconds": self.begun.elapsed().as_secs(),
            "kills": self.struck.values().sum::<u64>(), "violations": 0, "struck": self.struck,
        });
        std::fs::write(path("json"), format!("{value:#}\n")).unwrap();
        std::fs::write(path("md"), self.table()).unwrap();
    }

    fn table(&self) -> String {
        let mut text = format!("| killed at | {} | violations |\n|---|---|---|\n", self.engine);
        for (name, count) in &self.struck {
            text += &format!("| `{name}` | {count} | 0 |\n");
        }
        text + &format!("| **all** | **{}** | **0** |\n", self.struck.values().sum::<u64>())
    }

    pub(crate) fn close(&self) {
        println!("{}", self.table());
    }
}

/// Put a report where `HOLDFAST_STORM_REPORT` says.
pub(crate) fn kept(name: &str, text: &str) {
    println!("{text}");
    if let Some(folder) = std::env::var_os("HOLDFAST_STORM_REPORT") {
        std::fs::write(PathBuf::from(folder).join(name), text).unwrap();
    }
}

/// Fault by fault: the rows of the catalogue, trials, those that came to it, violations found after all of them.
pub(crate) fn faults(
    engine: &str,
    seed: u64,
    played: &BTreeMap<&'static str, [u64; 2]>,
    violations: &[(String, String)],
) {
    let found = violations.len();
    let mut text = format!("| fault | rows | trials, {engine} | came to it | violations |\n|---|---|---|---|---|\n");
    for (word, [trials, met]) in played {
        text += &format!("| `{word}` | {} | {trials} | {met} | {found} |\n", Fault::rows(word));
    }
    kept(&format!("storm-{}-{seed}.md", engine.to_lowercase()), &text);
}
