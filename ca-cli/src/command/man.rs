//! `ca-cli man DIR`.

use std::path::Path;

use clap::CommandFactory as _;

use crate::cli::Cli;
use crate::exit::{Exit, Failure};
use crate::output::Report;

pub(super) fn run(dir: &Path) -> Result<Report, Failure> {
    let failed = |e: std::io::Error| Failure::new(Exit::Failed, format!("{}: {e}", dir.display()));
    std::fs::create_dir_all(dir).map_err(failed)?;
    clap_mangen::generate_to(Cli::command(), dir).map_err(failed)?;
    let mut pages: Vec<String> = std::fs::read_dir(dir)
        .map_err(failed)?
        .flatten()
        .filter_map(|e| e.file_name().into_string().ok())
        .filter(|n| n.starts_with("ca-cli") && n.ends_with(".1"))
        .collect();
    pages.sort();
    let json = serde_json::json!({ "schema": "holdfast.man.v1", "dir": dir, "pages": pages });
    Ok(Report::new(json, move |_| pages.join("\n")))
}
