//! Where a test pulls the plug. In builds with debug assertions only: a release has no such door.

/// Die here as of a power cut, if a test says so: `HOLDFAST_TEST_POWER_CUT=POINT-STEP`.
#[cfg(debug_assertions)]
pub(crate) fn power_cut(point: &str, step: u32) {
    let here = format!("{point}-{step}");
    if std::env::var("HOLDFAST_TEST_POWER_CUT").is_ok_and(|wanted| wanted == here) {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

/// Nothing.
#[cfg(not(debug_assertions))]
pub(crate) fn power_cut(_: &str, _: u32) {}
