//! What a process that holds secrets owes them: no core dump, no reader in `/proc`, no page in swap.

use std::io;

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{DumpableBehavior, Resource, Rlimit};
use rustix::thread::{CapabilitySet, capabilities};

/// Whether pages of this process may reach a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// None goes to swap, those to come included.
    Locked,
    /// The limit (`RLIMIT_MEMLOCK`) did not let us: only a machine without swap keeps them.
    Unlocked,
}

/// Close this process to others, from now on: no core dump (`core(5)`), no `/proc/PID/mem` for other processes of the same
/// user (`PR_SET_DUMPABLE`), and its memory locked where it may be (`mlockall(2)`).
///
/// Memory is locked only without a limit: under one, some later allocation would fail in the midst of work. Pages count once
/// they are touched, not when they are reserved.
///
/// # Errors
/// When the system refuses the first two.
pub fn close() -> io::Result<Memory> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    rustix::process::setrlimit(Resource::Core, none)?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    let limit = rustix::process::getrlimit(Resource::Memlock);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let unlimited = limit.maximum.is_none() && rustix::process::setrlimit(Resource::Memlock, raised).is_ok();
    let capable = || capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::IPC_LOCK));
    let all = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    let locked = (unlimited || capable()) && mlockall(all).is_ok();
    Ok(if locked { Memory::Locked } else { Memory::Unlocked })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_else_reads_it() {
        let memory = close().unwrap();
        let core = rustix::process::getrlimit(Resource::Core);
        assert_eq!((core.current, core.maximum), (Some(0), Some(0)));
        assert_eq!(
            rustix::process::dumpable_behavior().unwrap(),
            DumpableBehavior::NotDumpable
        );
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let locked = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap();
        assert_eq!(memory == Memory::Locked, locked.trim() != "0 kB", "{locked}");
    }
}
