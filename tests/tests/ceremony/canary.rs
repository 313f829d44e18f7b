//! L01: people type PIN and shares at a ceremony, with mistakes; then they are looked for wherever a ceremony leaves something.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use ceremony::archive;
use device_kit::trial::shows;

use crate::kit::{Desk, Said};
use crate::pty;

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// Somebody at a terminal, who waits for a prompt and types.
struct Hands {
    terminal: File,
    child: Child,
    shown: Vec<u8>,
    seen: usize,
}

impl Hands {
    fn run(desk: &Desk, more: &[&str]) -> Self {
        let arguments = ["ceremony", "run", "crl/medium", "--module", MODULE, "--rehearsal"];
        let (terminal, child) = pty::start(&[&arguments[..], more].concat(), |command| {
            let command = command.current_dir(desk.dir.path());
            command.env("SOFTHSM2_CONF", desk.path("crl/softhsm2.conf"));
        });
        Self {
            terminal,
            child,
            shown: Vec::new(),
            seen: 0,
        }
    }

    /// Wait until this is shown.
    fn until(&mut self, text: &str) {
        let mut buffer = [0; 4096];
        loop {
            let new = String::from_utf8_lossy(&self.shown[self.seen..]).into_owned();
            if let Some(at) = new.find(text) {
                self.seen += at + text.len();
                return;
            }
            match self.terminal.read(&mut buffer) {
                Ok(count) if count > 0 => self.shown.extend_from_slice(&buffer[..count]),
                other => panic!("{other:?} before `{text}`: {}", String::from_utf8_lossy(&self.shown)),
            }
        }
    }

    fn says(&mut self, prompt: &str, line: &str) {
        self.until(prompt);
        self.terminal.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Everything until it is over; its exit code.
    fn end(mut self) -> (Vec<u8>, Option<i32>) {
        // EIO is how a terminal without a program ends.
        let _ = self.terminal.read_to_end(&mut self.shown);
        let code = self.child.wait().unwrap().code();
        (self.shown, code)
    }
}

/// Lines of an officer's sheet.
fn sheet(desk: &Desk, officer: u8) -> Vec<String> {
    let path = desk.path(&format!("crl/secrets/token-pin-share-{officer}.txt"));
    let text = std::fs::read_to_string(path).unwrap();
    let numbered = text.lines().filter_map(|line| line.split_once(':'));
    let lines = numbered.filter(|(number, _)| number.trim().parse::<u8>().is_ok());
    lines.map(|(_, letters)| letters.trim().to_owned()).collect()
}

/// What no file, argument, environment or screen may show: the PINs, and the lines of the sheets as printed, as typed, and
/// without blanks.
fn secrets(desk: &Desk) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for pin in ["token.pin", "token.so-pin"] {
        let text = std::fs::read_to_string(desk.path("crl/secrets").join(pin)).unwrap();
        all.push(text.trim().as_bytes().to_vec());
    }
    for officer in 1..=3 {
        // The first lines name ceremony and split, and are no secret.
        for line in sheet(desk, officer).iter().skip(4) {
            for text in [line.clone(), line.to_lowercase(), line.replace(' ', "")] {
                all.push(text.into_bytes());
            }
        }
    }
    assert!(all.len() > 50);
    all
}

/// What the running program shows of itself.
fn outside(pid: u32, secrets: &[Vec<u8>]) {
    let proc = |name: &str| std::fs::read(format!("/proc/{pid}/{name}")).unwrap();
    let cmdline = String::from_utf8(proc("cmdline")).unwrap();
    assert!(cmdline.contains("crl/medium"), "this is the program: {cmdline}");
    for name in ["cmdline", "environ", "maps", "status", "comm"] {
        assert!(!shows(&proc(name), secrets), "/proc/PID/{name}");
    }
    // No core is written, whatever the limit was where it was started.
    let limits = String::from_utf8(proc("limits")).unwrap();
    let core = limits
        .lines()
        .find_map(|l| l.strip_prefix("Max core file size"))
        .unwrap();
    assert!(core.split_whitespace().take(2).all(|limit| limit == "0"), "{core}");
}

/// The program below `setsid`.
fn program(child: &Child) -> u32 {
    let found = Command::new("pgrep")
        .args(["-P", &child.id().to_string()])
        .output()
        .unwrap();
    let text = String::from_utf8(found.stdout).unwrap();
    text.lines().next().map_or(child.id(), |pid| pid.parse().unwrap())
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

#[test]
fn l01_pin_and_shares_typed_at_a_ceremony_are_nowhere_afterwards() {
    let desk = Desk::new();
    let plan = crate::unchanged::crl_plan(&desk);
    let shared = "split_pin = true\nshares_of = \"example-root-r1\"";
    desk.put("crl.toml", plan.replace("split_pin = false", shared).as_bytes());
    let mut command = desk.command(&["ceremony", "rehearse", "crl.toml", "--dir", "crl"]);
    command.env("HOLDFAST_TEST_POWER_CUT", "before-1");
    assert_eq!(Said::of(command.output().unwrap()).code, None);
    let secrets = secrets(&desk);
    let digest = ceremony::Sha256::of(&std::fs::read(desk.path("crl.toml")).unwrap()).to_string();
    let (one, two) = (sheet(&desk, 1), sheet(&desk, 2));

    // As far as the token, where a power cut comes between two shares.
    let opening = |hands: &mut Hands| {
        hands.says("names > ", "A. Admin, W. Witness");
        hands.says("Step 2 of", &digest[..8]);
        hands.says("Step 3 of", "");
        hands.says("Step 4 of", "");
        hands.says("Step 5 of", "");
    };
    let mut hands = Hands::run(&desk, &["--resume"]);
    opening(&mut hands);
    for line in &one {
        hands.says("token PIN, line ", line);
        hands.until("\n");
    }
    hands.until("1 of 2 shares entered");
    hands.says("token PIN, line 1: ", &two[0]);
    let pid = program(&hands.child);
    hands.until("token PIN, line 2 of");
    outside(pid, &secrets);
    let died = Command::new("kill").args(["-ABRT", &pid.to_string()]).status().unwrap();
    assert!(died.success());
    let (mut screens, code) = hands.end();
    assert_ne!(code, Some(0));

    // On another day: wrong lines, a share twice, then the right ones; and wrong words at the steps.
    let mut hands = Hands::run(&desk, &["--resume"]);
    let mut typed = vec!["what now?".to_owned(), one[6].clone()];
    typed.extend(one.iter().map(|line| line.to_lowercase()));
    typed.extend(one.clone());
    for line in &typed {
        hands.says("token PIN, line ", line);
        hands.until("\n");
    }
    hands.until("was typed already");
    for line in &two {
        hands.says("token PIN, line ", line);
        hands.until("\n");
    }
    hands.until("2 of 2 shares entered");
    outside(program(&hands.child), &secrets);
    hands.says("Read every line aloud", "as plant");
    hands.says("not what the script says", "as planned");
    hands.says("The token signs", "sign");
    let crl = desk.path("crl/medium/outputs/ca.crl");
    hands.until("on a second device");
    hands.says("> ", "00000000");
    hands.until("that is another hash");
    let first = ceremony::Sha256::of(&std::fs::read(&crl).unwrap()).to_string();
    hands.says("> ", &first[..8]);
    hands.says("bag number > ", "TEB 4711");
    let (shown, code) = hands.end();
    assert_eq!(code, Some(0), "{}", String::from_utf8_lossy(&shown));
    screens.extend(shown);
    desk.run(&["ceremony", "rehearse", "crl.toml", "--dir", "crl", "--resume"])
        .done();
    let record = std::fs::read(desk.path("crl/example-crl-1.tar")).unwrap();
    archive::verify(&record, true).unwrap();

    // Nothing was shown, and in all of the folder nothing is written but on the sheets themselves: no core among it.
    assert!(!shows(&screens, &secrets), "{}", String::from_utf8_lossy(&screens));
    let mut found = Vec::new();
    files(desk.dir.path(), &mut found);
    let (kept, found): (Vec<_>, Vec<_>) = found.into_iter().partition(|p| p.starts_with(desk.path("crl/secrets")));
    assert!(found.len() > 15, "{found:?}");
    for path in &found {
        assert!(!shows(&std::fs::read(path).unwrap(), &secrets), "{}", path.display());
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(!name.starts_with("core"), "{name}");
    }
    // What is looked for would be found.
    assert!(kept.iter().any(|path| shows(&std::fs::read(path).unwrap(), &secrets)));
}

/// C05: while people hold a ceremony, nobody else begins it, goes on with it, closes it or begins it anew.
#[test]
fn c05_a_ceremony_under_way_is_not_disturbed() {
    let desk = Desk::new();
    let plan = crate::unchanged::crl_plan(&desk);
    desk.put("crl.toml", plan.as_bytes());
    let mut command = desk.command(&["ceremony", "rehearse", "crl.toml", "--dir", "crl"]);
    command.env("HOLDFAST_TEST_POWER_CUT", "before-1");
    assert_eq!(Said::of(command.output().unwrap()).code, None);
    let mut hands = Hands::run(&desk, &["--resume"]);
    hands.says("names > ", "A. Admin, W. Witness");
    hands.until("Step 2 of");
    hands.until("> ");
    let transcript = || std::fs::read(desk.path("crl/medium/transcript.jsonl")).unwrap();
    let before = transcript();
    for more in [&[][..], &["--resume"]] {
        let (shown, code) = Hands::run(&desk, more).end();
        let shown = String::from_utf8_lossy(&shown).into_owned();
        assert!(
            code == Some(5) && shown.contains("under way in another process"),
            "{more:?}: {shown}"
        );
    }
    let rehearse = ["ceremony", "rehearse", "crl.toml", "--dir", "crl"];
    let said = desk.run(&[&rehearse[..], &["--resume"]].concat());
    assert!(said.code == Some(5) && said.err.contains("under way"), "{said:?}");
    let said = desk.run(&rehearse);
    assert!(
        said.code == Some(5) && said.err.contains("holds a ceremony"),
        "{said:?}"
    );
    let said = desk.run(&["ceremony", "seal", "crl/medium", "--rehearsal"]);
    assert!(said.code == Some(5) && said.err.contains("under way"), "{said:?}");
    let said = desk.run(&["ceremony", "kit", "crl.toml", "--dir", "crl/medium"]);
    assert!(
        said.code == Some(5) && said.err.contains("holds a ceremony"),
        "{said:?}"
    );
    assert_eq!(transcript(), before, "not a line more");
    // It goes on as if nothing had been.
    let digest = ceremony::Sha256::of(&std::fs::read(desk.path("crl.toml")).unwrap()).to_string();
    hands.says("", &digest[..8]);
    hands.until("Step 3 of");
    hands.says("[Enter] > ", "");
    hands.until("Step 4 of");
    drop(hands.terminal);
    hands.child.wait().unwrap();
    desk.run(&[&rehearse[..], &["--resume"]].concat()).done();
}
