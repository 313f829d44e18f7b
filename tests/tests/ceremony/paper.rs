//! The printed script, printed: headless Chromium makes sheets of its HTML, and they are read back.

use std::path::Path;
use std::process::Command;

use ceremony::{Plan, script, step};
use device_kit::others::{prints, there};

use crate::kit::Desk;

/// The text of each sheet, as it stands on it line by line, without blanks.
fn sheets(desk: &Desk, name: &str, html: &str) -> Vec<String> {
    let (page, pdf) = (
        desk.put(&format!("{name}.html"), html.as_bytes()),
        desk.path("script.pdf"),
    );
    let _ = std::fs::remove_file(&pdf);
    let mut chromium = Command::new("chromium");
    chromium
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
        ])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ])
        .args(["--disable-dev-shm-usage", "--no-pdf-header-footer"])
        .arg(format!("--user-data-dir={}", desk.path("chromium").display()))
        .arg(format!("--print-to-pdf={}", pdf.display()))
        .arg(format!("file://{}", page.display()))
        .env("HOME", desk.dir.path());
    let said = prints(&mut chromium);
    assert!(pdf.is_file(), "{said}");
    let text = prints(
        Command::new("pdftotext")
            .args(["-layout", "-enc", "UTF-8"])
            .arg(&pdf)
            .arg("-"),
    );
    let (whole, rest) = text.rsplit_once('\u{c}').unwrap();
    assert_eq!(rest.trim(), "");
    whole.split('\u{c}').map(dense).collect()
}

fn dense(text: &str) -> String {
    text.split_whitespace().collect()
}

/// What must hold of the paper: its number, how many there are and the plan's hash on every sheet, and each step whole on
/// one of them.
fn judge(plan: &Plan, sheets: &[String]) -> Result<(), String> {
    for (sheet, number) in sheets.iter().zip(1..) {
        let foot = dense(&format!("{} plan {}", plan.name(), plan.sha256()));
        if !sheet.contains(&foot) {
            return Err(format!("sheet {number} has not the plan's hash"));
        }
        let page = format!("page{number}of{}", sheets.len());
        if !sheet.contains(&page) {
            return Err(format!("sheet {number} is not numbered"));
        }
    }
    for step in step::steps(plan) {
        let title = dense(&format!("{}{}[{}]", step.number, step.title, step.who));
        let on: Vec<&str> = sheets
            .iter()
            .filter_map(|sheet| sheet.split_once(&title))
            .map(|(_, r)| r)
            .collect();
        let [rest] = on.as_slice() else {
            return Err(format!("step {} begins on {} sheets", step.number, on.len()));
        };
        let mut rest = *rest;
        let seen = step.sees.iter().map(|line| format!("see: {line}"));
        for line in step.does.iter().cloned().chain(seen) {
            let Some((_, after)) = rest.split_once(&dense(&line)) else {
                return Err(format!("step {} is split: `{line}` is on another sheet", step.number));
            };
            rest = after;
        }
    }
    Ok(())
}

#[test]
fn the_paper_has_the_plans_hash_on_every_sheet_and_no_step_on_two() {
    if !there("chromium") || !there("pdftotext") {
        return;
    }
    let desk = Desk::new();
    let path = desk.root_plan();
    let text = std::fs::read_to_string(&path).unwrap();
    let long = text
        .replace("backup = \"none\"", "backup = \"wrapped\"")
        .replace("split_pin = false", "split_pin = true");
    assert_ne!(long, text);
    for (name, text) in [("short", &text), ("long", &long)] {
        let plan = Plan::parse(Path::new(name), text.as_bytes()).unwrap();
        for rehearsal in [false, true] {
            let html = script::html(&plan, rehearsal);
            let sheets = sheets(&desk, name, &html);
            assert!(sheets.len() > 1, "a plan has more than a sheet");
            assert_eq!(judge(&plan, &sheets), Ok(()), "{sheets:#?}");
            assert_eq!(sheets[0].contains("REHEARSAL:nothing"), rehearsal);
        }
    }
    // What is wrong with paper is seen; each alone.
    let plan = Plan::parse(&path, text.as_bytes()).unwrap();
    let html = script::html(&plan, false);
    let (whole, airy) = (
        "break-inside:avoid;page-break-inside:avoid",
        "</style><style>li{margin-bottom:17mm}</style>",
    );
    let airy = html.replacen("</style>", airy, 1);
    let digest = plan.sha256().to_string();
    let other = digest.replace(|c: char| c.is_ascii_digit(), "a");
    for (name, html, said) in [
        ("airy", airy.clone(), ""),
        ("split", airy.replace(whole, ""), "is split"),
        (
            "hash",
            html.replacen(&digest, &other, 1),
            "sheet 1 has not the plan's hash",
        ),
        (
            "foot",
            html.replacen("content:var(--foot)", "content:none", 1),
            "sheet 1 has not the plan's hash",
        ),
        (
            "page",
            html.replacen("counter(pages)", "'9'", 1),
            "sheet 1 is not numbered",
        ),
        (
            "step",
            html.replacen("The token is put in", "The token stays", 1),
            "begins on 0 sheets",
        ),
    ] {
        let verdict = judge(&plan, &sheets(&desk, name, &html)).err().unwrap_or_default();
        assert!(
            verdict.contains(said) && verdict.is_empty() == said.is_empty(),
            "{name}: {verdict}"
        );
    }
}
