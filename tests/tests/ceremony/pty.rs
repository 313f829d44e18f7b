//! A terminal for one program.

use std::fs::File;
use std::process::{Child, Command, Stdio};

use device_kit::rig::binary;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// Start `ca-cli` on a terminal of its own, in the folder and environment that `with` gives it: our end, and the process.
pub(crate) fn start(arguments: &[&str], with: impl FnOnce(&mut Command)) -> (File, Child) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let terminal = || {
        let open = File::options().read(true).write(true).open(name.to_str().unwrap());
        Stdio::from(open.unwrap())
    };
    // A PIN is asked on the controlling terminal: `setsid --ctty` makes this one the child's.
    let mut command = Command::new("setsid");
    command.args(["--ctty", "--wait"]).arg(binary("ca-cli")).args(arguments);
    command.env("LC_ALL", "C.UTF-8").env("TERM", "xterm");
    with(&mut command);
    command.stdin(terminal()).stdout(terminal()).stderr(terminal());
    (File::from(master), command.spawn().unwrap())
}
