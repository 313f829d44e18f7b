//! Shared objects of our own, written in C: a C compiler is there wherever Rust links.

use std::path::{Path, PathBuf};
use std::process::Command;

/// `tests/shim/{name}.c`, compiled beside the test programs.
///
/// # Panics
/// When it cannot be compiled.
pub(super) fn shared_object(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("own path");
    let folder = own.parent().expect("a folder");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("shim/{name}.c"));
    let (fresh, shared) = (
        folder.join(format!("holdfast-{name}-{}.so", std::process::id())),
        folder.join(format!("holdfast-{name}.so")),
    );
    let output = Command::new("cc")
        .args([
            "-shared",
            "-fPIC",
            "-O1",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-fvisibility=hidden",
            "-o",
        ])
        .args([&fresh, &source])
        .arg("-ldl")
        .output()
        .expect("cc runs");
    assert!(
        output.status.success(),
        "cc: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    // Whole at once: another test program may be making the same.
    std::fs::rename(&fresh, &shared).expect("a shared object");
    shared
}
