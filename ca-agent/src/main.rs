//! `ca-agent`.
fn main() {}
