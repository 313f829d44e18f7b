//! `docs/reference/cli.md` tells the truth.

use std::path::Path;
use std::process::Command;

use device_kit::rig::binary;

use crate::kit::{Folder, Said, cli_alone};

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/cli.md");
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn its_examples_run() {
    let page = page();
    let blocks: Vec<&str> = page
        .split("```sh run\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert_eq!(blocks.len(), 4);
    let folder = Folder::new();
    let tool = binary("ca-cli");
    let path = format!(
        "{}:{}",
        tool.parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    let said = Said::of(
        Command::new("sh")
            .args(["-euc", &blocks.concat()])
            .current_dir(folder.path(""))
            .env("PATH", path)
            .env("LC_ALL", "C.UTF-8")
            .env_remove("SOFTHSM2_CONF")
            .env_remove("HOLDFAST_OUTPUT"),
    );
    assert_eq!(said.code, 0, "{said:?}");
    for words in [
        "valid\n",
        "refused: rehearsal\n",
        "refused: chain\n",
        "signed and verified a probe",
    ] {
        assert!(said.out.contains(words), "{words}: {said:?}");
    }
}

#[test]
fn its_defaults_and_exit_codes_are_the_tools() {
    let page = page();
    let folder = Folder::new();
    let dir = folder.path("ca");
    assert_eq!(
        cli_alone(&["init", "--no-input", "--dir", dir.to_str().unwrap()]).code,
        0
    );
    let answers: toml::Table = std::fs::read_to_string(dir.join("answers.toml"))
        .unwrap()
        .parse()
        .unwrap();
    for (key, value) in answers {
        assert!(page.contains(&format!("`{key}`")), "{key}");
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        assert!(page.contains(&value), "{key} = {value}");
    }
    let help = cli_alone(&["--help"]).out;
    // The page names the one table, which a test of wire compares.
    assert!(page.contains("(errors.md#exit-codes-of-every-command)"));
    for code in wire::Exit::ALL {
        let line = format!("\n{:>4}  {}\n", code.code(), code.meaning());
        let ours = code != wire::Exit::Refuses;
        assert_eq!(format!("{help}\n").contains(&line), ours, "{code:?}");
    }
}
