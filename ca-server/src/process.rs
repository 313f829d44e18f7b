//! What the process owes to the secrets it holds, and to its supervisor.

use std::io::IsTerminal as _;

use hardening::Memory;
use rustix::fs::Mode;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

use crate::config::{Log, LogFormat, LogLevel};

/// Close the process to others, and make every file it writes its own.
pub(crate) fn harden() -> Result<Memory, String> {
    let memory = hardening::close().map_err(|e| format!("this process cannot be closed to others: {e}"))?;
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    Ok(memory)
}

/// A panic of a request or a job is caught where it runs. One of those who let connections in and start the workers would
/// leave a process that listens and serves nobody: it ends instead, and its supervisor starts another.
pub(crate) fn whole_or_gone() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        before(panic);
        let thread = std::thread::current();
        if thread
            .name()
            .is_some_and(|name| name == "main" || name == "actix-server acceptor")
        {
            std::process::abort();
        }
    }));
}

/// Tell the operator when a PIN may come to stand on a disk.
pub(crate) fn tell(memory: Memory) {
    let swap = std::fs::read_to_string("/proc/swaps").is_ok_and(|text| text.lines().count() > 1);
    match (memory, swap) {
        (Memory::Locked, _) => tracing::info!("memory is locked: no page of it goes to swap"),
        (Memory::Unlocked, false) => tracing::info!("memory is not locked; this machine has no swap"),
        (Memory::Unlocked, true) => tracing::warn!(
            "memory is not locked and this machine has swap: secrets may reach a disk; LimitMEMLOCK=infinity in the unit"
        ),
    }
}

/// Log lines to standard error. What is logged is chosen where it is logged: never a body, a secret, a ticket, a PIN.
pub(crate) fn log(log: Log) {
    let level = match log.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    // Libraries speak when something is wrong. cryptoki calls each mechanism it has no name for an error: not news.
    let wanted = Targets::new()
        .with_default(level)
        .with_target("actix_server", level.min(LevelFilter::WARN))
        .with_target("cryptoki", LevelFilter::OFF);
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    let lines = match log.format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Text => lines.boxed(),
    };
    // A second subscriber in one process (tests) is no reason to stop.
    let _ = tracing_subscriber::registry()
        .with(lines.with_filter(wanted))
        .try_init();
}

/// Tell systemd, when it asked.
pub(crate) fn notify(state: sd_notify::NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn files_are_our_own() {
        harden().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new");
        std::fs::write(&path, "x").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
