//! pkilint: RFC 5280 and RFC 6960, clause by clause.

use std::process::Command;

use device_kit::others::{judge as program, prints, there};

use crate::objects::Objects;
use crate::paths::Findings;

/// Everything at or above a notice, about every object.
pub(crate) fn pkilint(objects: &Objects) -> Option<Findings> {
    let python = program("python3");
    if !there(&python.display().to_string()) {
        return None;
    }
    let certificates = objects.certificates.iter().map(|o| (&o.name, "certificate", "pem"));
    let crls = objects.crls.iter().map(|name| (name, "crl", "pem"));
    let answers = objects.answers.iter().map(|(name, _)| (name, "answer", "der"));
    let all: Vec<_> = certificates.chain(crls).chain(answers).collect();
    let list = objects.path("pkilint.txt");
    let line = |(name, program, form): &(&String, &str, &str)| {
        format!(
            "{name} {program} {}\n",
            objects.path(&format!("{name}.{form}")).display()
        )
    };
    std::fs::write(&list, all.iter().map(line).collect::<String>()).unwrap();
    let mut command = Command::new(python);
    command
        .args(["-c", include_str!("pkilint.py")])
        .stdin(std::fs::File::open(list).unwrap());
    let text = prints(&mut command);
    let said: Findings = text
        .lines()
        .filter_map(|l| l.split_once(' ').map(|(name, code)| (name.to_owned(), code.to_owned())))
        .collect();
    for (name, _, _) in &all {
        assert!(
            said.iter().any(|(n, code)| n == *name && code == "read"),
            "{name}: not judged: {text}"
        );
    }
    Some(said.into_iter().filter(|(_, code)| code != "read").collect())
}
