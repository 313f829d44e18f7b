//! The machine: no network, the program that was approved, no memory for others to read.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use ceremony::Sha256;
use hardening::Memory;

use crate::exit::{Exit, Failure};

/// No core dump, no `/proc/PID/mem` for others, and no page of it in swap where the system lets us: this process is about to
/// hold a PIN or shares. Where its memory cannot be locked, [`memory`] asks for a machine without swap.
pub(crate) fn harden() -> Result<(), Failure> {
    let memory = hardening::close()
        .map_err(|e| Failure::new(Exit::Failed, format!("this process cannot be closed to others: {e}")))?;
    LOCKED.get_or_init(|| memory == Memory::Locked);
    Ok(())
}

/// Whether the memory of this process was locked.
static LOCKED: OnceLock<bool> = OnceLock::new();

/// What is said of the memory: locked, or on a machine without swap as `ROOT/proc/swaps` tells. Neither is refused, but in
/// a rehearsal.
pub(crate) fn memory(root: &Path, rehearsal: bool) -> Result<&'static str, Failure> {
    kept(LOCKED.get().copied().unwrap_or(false), root, rehearsal)
}

fn kept(locked: bool, root: &Path, rehearsal: bool) -> Result<&'static str, Failure> {
    if locked {
        return Ok("locked, no page of it goes to swap");
    }
    let swaps = match std::fs::read_to_string(root.join("proc/swaps")) {
        Ok(text) => text.lines().count() > 1,
        // A kernel without swap has no such file.
        Err(e) => e.kind() != std::io::ErrorKind::NotFound,
    };
    match (swaps, rehearsal) {
        (false, _) => Ok("not locked; the machine has no swap"),
        (true, true) => Ok("not locked, and the machine has swap: refused outside of a rehearsal"),
        (true, false) => Err(Failure::new(
            Exit::No,
            "the machine has swap, and this process may not lock its memory: a PIN could be written to a disk",
        )
        .fix("`swapoff -a`, or start from a medium without swap; or `ulimit -l unlimited`; then again")),
    }
}

/// Where `/sys` and `/proc` are. A test of a build with debug assertions may name another machine; a release has no such
/// door.
pub(crate) fn system() -> PathBuf {
    #[cfg(debug_assertions)]
    if let Some(root) = std::env::var_os("HOLDFAST_TEST_SYSTEM") {
        return root.into();
    }
    PathBuf::from("/")
}

/// IFF_UP and ARPHRD_LOOPBACK of Linux.
const UP: u32 = 1;
const LOOPBACK: u32 = 772;

/// Interfaces that are up, but for the loopback, as `ROOT/sys/class/net` tells. One of which nothing can be told counts
/// as up; where nothing at all can be told, there is no answer.
pub(crate) fn interfaces_up(root: &Path) -> Result<Vec<String>, Failure> {
    let folder = root.join("sys/class/net");
    let unknown = |e: std::io::Error| {
        Failure::new(
            Exit::No,
            format!("{}: {e}; whether the network is down cannot be told", folder.display()),
        )
    };
    let mut up = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(unknown)? {
        let entry = entry.map_err(unknown)?;
        // Beside interfaces there are files: `bonding_masters`.
        if !entry.path().is_dir() {
            continue;
        }
        let number = |file: &str| {
            let text = std::fs::read_to_string(entry.path().join(file)).ok()?;
            let text = text.trim();
            text.strip_prefix("0x")
                .map_or_else(|| text.parse().ok(), |hex| u32::from_str_radix(hex, 16).ok())
        };
        let down = number("flags").is_some_and(|flags| flags & UP == 0);
        if !down && number("type") != Some(LOOPBACK) {
            up.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    up.sort();
    Ok(up)
}

/// Refuse while an interface is up; a rehearsal only gets their names, for its transcript.
pub(crate) fn network(root: &Path, rehearsal: bool) -> Result<Vec<String>, Failure> {
    let up = interfaces_up(root)?;
    if up.is_empty() || rehearsal {
        return Ok(up);
    }
    Err(
        Failure::new(Exit::No, format!("a network interface is up: {}", up.join(", ")))
            .fix("pull the cable, take the card out, or `ip link set NAME down`; then again"),
    )
}

/// SHA-256 of the running program, by way of `ROOT/proc/self/exe`: the file that was started, whatever its name is now.
pub(crate) fn program(root: &Path) -> Result<Sha256, Failure> {
    let path = root.join("proc/self/exe");
    let failed = |e: std::io::Error| Failure::new(Exit::Failed, format!("{}: {e}", path.display()));
    let mut file = std::fs::File::open(&path).map_err(failed)?;
    let mut hasher = openssl::sha::Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut buffer).map_err(failed)?;
        match buffer.get(..read) {
            Some([]) | None => return Ok(Sha256(hasher.finish())),
            Some(bytes) => hasher.update(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine with these interfaces: name, flags, type.
    fn machine(interfaces: &[(&str, Option<&str>, Option<&str>)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("sys/class/net");
        std::fs::create_dir_all(&folder).unwrap();
        for (name, flags, kind) in interfaces {
            let dir = folder.join(name);
            std::fs::create_dir(&dir).unwrap();
            for (file, text) in [("flags", flags), ("type", kind)] {
                if let Some(text) = text {
                    std::fs::write(dir.join(file), format!("{text}\n")).unwrap();
                }
            }
        }
        root
    }

    const LO: (&str, Option<&str>, Option<&str>) = ("lo", Some("0x9"), Some("772"));

    #[test]
    fn a_machine_with_its_loopback_alone_passes() {
        let root = machine(&[
            LO,
            ("eth0", Some("0x1002"), Some("1")),
            ("wlan0", Some("0x1002"), Some("1")),
        ]);
        std::fs::write(root.path().join("sys/class/net/bonding_masters"), "").unwrap();
        assert_eq!(network(root.path(), false).unwrap(), Vec::<String>::new());
        assert!(network(machine(&[]).path(), false).is_ok());
    }

    #[test]
    fn any_interface_that_is_up_refuses() {
        for (name, flags) in [
            ("eth0", "0x1003"),
            ("wlan0", "0x1"),
            ("wwan0", "0x91"),
            ("tun7", "0x1091"),
        ] {
            let root = machine(&[LO, (name, Some(flags), Some("1")), ("eth9", Some("0x1002"), Some("1"))]);
            let failure = network(root.path(), false).unwrap_err();
            assert_eq!(failure.exit, Exit::No);
            assert_eq!(failure.message, format!("a network interface is up: {name}"));
            assert_eq!(network(root.path(), true).unwrap(), [name], "a rehearsal notes it");
        }
    }

    #[test]
    fn an_interface_that_calls_itself_lo_is_judged_by_its_kind() {
        let root = machine(&[("lo", Some("0x1003"), Some("1"))]);
        assert!(network(root.path(), false).unwrap_err().message.ends_with(": lo"));
        let root = machine(&[("lo7", Some("0x9"), Some("772"))]);
        assert!(network(root.path(), false).is_ok());
    }

    #[test]
    fn what_cannot_be_told_is_up() {
        for flags in [None, Some(""), Some("up"), Some("0x"), Some("-1")] {
            let root = machine(&[LO, ("eth0", flags, Some("1"))]);
            assert!(network(root.path(), false).is_err(), "{flags:?}");
        }
        let nothing = tempfile::tempdir().unwrap();
        let failure = network(nothing.path(), true).unwrap_err();
        assert!(failure.message.contains("cannot be told"), "{}", failure.message);
    }

    #[test]
    fn memory_is_locked_or_there_is_no_swap() {
        let root = tempfile::tempdir().unwrap();
        let said = |locked, rehearsal| kept(locked, root.path(), rehearsal);
        // Nothing is told of swap.
        assert_eq!(said(false, false).unwrap(), "not locked; the machine has no swap");
        let file = root.path().join("proc/swaps");
        std::fs::create_dir(root.path().join("proc")).unwrap();
        let head = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
        std::fs::write(&file, head).unwrap();
        assert_eq!(said(false, false).unwrap(), "not locked; the machine has no swap");
        std::fs::write(&file, format!("{head}/dev/sda2 partition 8388604 0 -2\n")).unwrap();
        assert_eq!(said(true, false).unwrap(), "locked, no page of it goes to swap");
        assert!(said(false, true).unwrap().contains("refused outside of a rehearsal"));
        let failure = said(false, false).unwrap_err();
        assert_eq!(failure.exit, Exit::No);
        assert!(
            failure.message.starts_with("the machine has swap"),
            "{}",
            failure.message
        );
        // What cannot be read is not believed to be empty.
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
        assert!(said(false, false).is_err());
    }

    #[test]
    fn the_program_is_the_file_that_runs() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(program(Path::new("/")).unwrap(), Sha256::of(&own));
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("proc/self")).unwrap();
        assert!(program(root.path()).is_err());
        std::fs::write(root.path().join("proc/self/exe"), b"another build").unwrap();
        assert_eq!(program(root.path()).unwrap(), Sha256::of(b"another build"));
    }
}
