//! L01: shares at a terminal, as people type them, and where no PIN, share or key may be.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command};

use attest::{Entropy, EntropyError};
use ceremony::share::{Gathering, Secret, SecretKind, Share, Threshold, Wanted, draw_pin, split};
use device_kit::rig::binary;
use device_kit::trial::shows;

use crate::pty;

struct Os;
impl Entropy for Os {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        openssl::rand::rand_bytes(out).map_err(|_| EntropyError)
    }
}

const NAME: &str = "example-root-r1";

fn shares() -> (Secret, Vec<Share>) {
    let pin = draw_pin(24, &mut Os).unwrap();
    let threshold = Threshold::new(2, 3).unwrap();
    let shares = split(&pin, NAME, SecretKind::TokenPin, threshold, &mut Os).unwrap();
    (pin, shares)
}

fn lines(share: &Share) -> Vec<String> {
    share.lines().iter().map(|line| line.to_string()).collect()
}

/// `ca-cli` with a terminal of its own.
struct Terminal {
    master: File,
    child: Child,
    seen: String,
}

impl Terminal {
    fn start(arguments: &[&str]) -> Self {
        let (master, child) = pty::start(arguments, |_| {});
        Self {
            master,
            child,
            seen: String::new(),
        }
    }

    /// Wait until the screen ends with this.
    fn until(&mut self, text: &str) {
        while !self.seen.ends_with(text) {
            let mut byte = [0];
            match self.master.read(&mut byte) {
                Ok(1) => self.seen.push(char::from(byte[0])),
                other => panic!("{other:?} before `{text}`: {}", self.seen),
            }
        }
    }

    fn types(&mut self, text: &str) {
        self.master.write_all(format!("{text}\n").as_bytes()).unwrap();
    }

    /// Everything until it is over, and its exit code.
    fn end(mut self) -> (String, Option<i32>) {
        let mut rest = Vec::new();
        // EIO is how a terminal without a program ends.
        let _ = self.master.read_to_end(&mut rest);
        self.seen.push_str(&String::from_utf8_lossy(&rest));
        let status = self.child.wait().unwrap();
        (self.seen, status.code())
    }
}

#[test]
fn l01_a_share_is_typed_with_mistakes_and_nothing_shows_it() {
    let (_, all) = shares();
    let paper = lines(&all[1]);
    let mut terminal = Terminal::start(&["ceremony", "check-share", "--ceremony", NAME]);
    for (line, number) in paper.iter().zip(1..) {
        let prompt = if number == 1 {
            "share, line 1: ".to_owned()
        } else {
            format!("share, line {number} of 10: ")
        };
        terminal.until(&prompt);
        if number == 4 {
            // A slip, too short, another line, something else altogether.
            let last = line.chars().next_back().unwrap();
            let slip = format!("{}{}", &line[..line.len() - 1], if last == 'A' { 'C' } else { 'A' });
            for (typed, said) in [
                (slip.as_str(), "line 4 is wrong: read it again"),
                (&line[..10], "letters, it must have 20"),
                (&paper[6], "line 4 is wrong: read it again"),
                ("what now?", "line 4 has a character that is on no share"),
                ("5: ACDE", "this is line 5, wanted is line 4"),
            ] {
                terminal.types(typed);
                terminal.until(said);
                terminal.until(&prompt);
            }
        }
        if number == 8 {
            in_memory_only(terminal.child.id(), &paper);
        }
        terminal.types(&line.to_lowercase());
    }
    let (seen, code) = terminal.end();
    assert_eq!(code, Some(0), "{seen}");
    assert!(seen.contains("share 2 of 3 of a token PIN, 2 are needed"), "{seen}");
    for group in paper.iter().flat_map(|line| line.split(' ')) {
        assert!(
            !seen.to_uppercase().contains(&format!(" {group} ")),
            "{group} was shown: {seen}"
        );
    }
}

/// While seven lines of it are typed.
fn in_memory_only(pid: u32, paper: &[String]) {
    let proc = |name: &str| std::fs::read(format!("/proc/{pid}/{name}")).unwrap();
    let cmdline = proc("cmdline");
    assert!(cmdline.windows(11).any(|w| w == b"check-share"), "this is the program");
    let typed: Vec<Vec<u8>> = paper.iter().map(|line| line.to_lowercase().into_bytes()).collect();
    let upper: Vec<Vec<u8>> = paper.iter().map(|line| line.clone().into_bytes()).collect();
    for name in ["cmdline", "environ", "maps", "status"] {
        assert!(
            !shows(&proc(name), &typed) && !shows(&proc(name), &upper),
            "/proc/PID/{name}"
        );
    }
    let limits = String::from_utf8(proc("limits")).unwrap();
    let core = limits
        .lines()
        .find_map(|l| l.strip_prefix("Max core file size"))
        .unwrap();
    let core: Vec<&str> = core.split_whitespace().collect();
    assert_eq!(core[..2], ["0", "0"], "no core is written");
    // What was typed is wiped once it is decoded: not a line of it is left in the memory itself.
    let mut memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let maps = String::from_utf8(proc("maps")).unwrap();
    let mut searched = 0_usize;
    for map in maps.lines().filter(|l| l.contains(" rw-p ")) {
        use std::io::{Seek as _, SeekFrom};
        let (begin, end) = map.split(' ').next().unwrap().split_once('-').unwrap();
        let begin = u64::from_str_radix(begin, 16).unwrap();
        let end = u64::from_str_radix(end, 16).unwrap();
        let mut bytes = vec![0; usize::try_from(end - begin).unwrap()];
        memory.seek(SeekFrom::Start(begin)).unwrap();
        if memory.read_exact(&mut bytes).is_ok() {
            searched += bytes.len();
            for line in typed.iter().take(7) {
                assert!(
                    !bytes.windows(line.len()).any(|w| w == line),
                    "a typed line is left in {map}"
                );
            }
        }
    }
    assert!(searched > 100_000, "{searched} bytes were looked through");
}

#[test]
fn a_share_of_another_ceremony_is_said_to_be_one_and_stop_stops() {
    let (_, all) = shares();
    let mut terminal = Terminal::start(&["ceremony", "check-share", "--ceremony", "example-root-r2"]);
    for line in lines(&all[0]) {
        terminal.until(": ");
        terminal.types(&line);
        terminal.until("\n");
    }
    let (seen, code) = terminal.end();
    assert_eq!(code, Some(3), "{seen}");
    assert!(seen.contains("this share is of another ceremony"), "{seen}");
    let mut terminal = Terminal::start(&["ceremony", "check-share"]);
    terminal.until(": ");
    terminal.types("stop");
    let (seen, code) = terminal.end();
    assert_eq!(code, Some(9), "{seen}");
}

/// A canary: the PIN and the wrapping key are put together from the sheets, and looked for in all that is left behind.
#[test]
fn l01_no_pin_share_or_key_in_record_medium_or_output() {
    let dir = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new(binary("ca-cli"))
            .args(arguments)
            .current_dir(dir.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output
    };
    let plan = run(&["ceremony", "new", "--kind", "root", "--name", NAME]).stdout;
    let mut plan = String::from_utf8(plan).unwrap();
    for officer in 1..=3 {
        let key = format!("key_sha256 = \"{}\"", ceremony::Sha256::of(&[officer]));
        plan = plan.replacen("key_sha256 = \"FILL IN\"", &key, 1);
    }
    let plan = plan
        .replace("FILL IN", "Example")
        .replace("backup = \"none\"", "backup = \"wrapped\"")
        .replace("split_pin = false", "split_pin = true");
    std::fs::write(dir.path().join("root.toml"), plan).unwrap();
    let output = run(&["ceremony", "rehearse", "root.toml", "--dir", "r1"]);
    let mut secrets = Vec::new();
    for (kind, file) in [
        (SecretKind::TokenPin, "token-pin"),
        (SecretKind::BackupKey, "backup-key"),
    ] {
        let mut gathering = Gathering::new(Wanted::new(NAME, kind, None));
        for share in 1..=3 {
            let path = dir.path().join(format!("r1/secrets/{file}-share-{share}.txt"));
            let sheet = std::fs::read_to_string(path).unwrap();
            let numbered = |line: &&str| {
                line.split_once(':')
                    .is_some_and(|(n, _)| n.trim().parse::<u8>().is_ok())
            };
            let text: Vec<&str> = sheet.lines().filter(numbered).collect();
            // The first three lines are the name of the split; the rest is the share.
            secrets.extend(
                text.iter()
                    .skip(4)
                    .map(|l| l.split_once(':').unwrap().1.trim().as_bytes().to_vec()),
            );
            if share < 3 {
                gathering.add(Share::read(&text.join("\n")).unwrap()).unwrap();
            }
        }
        secrets.push(gathering.finish().unwrap().expose().to_vec());
    }
    for pin in ["token.pin", "token.so-pin"] {
        let text = std::fs::read_to_string(dir.path().join("r1/secrets").join(pin)).unwrap();
        secrets.push(text.trim().as_bytes().to_vec());
    }
    assert!(secrets.len() > 40);
    assert!(!shows(&output.stdout, &secrets) && !shows(&output.stderr, &secrets));
    let mut looked = 0;
    let mut open = vec![dir.path().join("r1/medium"), dir.path().join("r1/tokens")];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            looked += 1;
            assert!(!shows(&std::fs::read(&path).unwrap(), &secrets), "{}", path.display());
        }
    }
    assert!(looked > 15, "{looked} files");
    let archive = std::fs::read(dir.path().join(format!("r1/{NAME}.tar"))).unwrap();
    assert!(!shows(&archive, &secrets));
}

/// Everything of a machine that is looked at before anybody acts: what differs from what was approved stops it, and no
/// token is touched.
#[test]
fn c03_what_was_not_approved_is_not_run() {
    let dir = tempfile::tempdir().unwrap();
    let plan = Command::new(binary("ca-cli"))
        .args(["ceremony", "new", "--kind", "root", "--name", NAME])
        .output()
        .unwrap();
    let mut plan = String::from_utf8(plan.stdout).unwrap();
    for officer in 1..=3 {
        let key = format!("key_sha256 = \"{}\"", ceremony::Sha256::of(&[officer]));
        plan = plan.replacen("key_sha256 = \"FILL IN\"", &key, 1);
    }
    let plan = plan.replace("FILL IN", "Example");
    let medium = |name: &str, plan: &str| {
        let path = dir.path().join(format!("{name}.toml"));
        std::fs::write(&path, plan).unwrap();
        let target = dir.path().join(name).to_str().unwrap().to_owned();
        let made = Command::new(binary("ca-cli"))
            .args(["ceremony", "kit", path.to_str().unwrap(), "--dir", &target])
            .output()
            .unwrap();
        (target, made)
    };
    let run = |medium: &str| Terminal::start(&["ceremony", "run", medium, "--module", "/nonexistent.so"]).end();
    // One byte of the script on the medium.
    let (target, made) = medium("script", &plan);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let script = std::path::Path::new(&target).join("script.txt");
    let text = std::fs::read_to_string(&script).unwrap();
    std::fs::write(&script, text.replacen("put away", "put aside", 1)).unwrap();
    let (seen, code) = run(&target);
    assert_eq!(code, Some(3), "{seen}");
    assert!(seen.contains("is not the script of this plan"), "{seen}");
    // One byte of the plan after the script was printed.
    let (target, made) = medium("plan", &plan);
    assert!(made.status.success());
    let path = std::path::Path::new(&target).join("plan.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("place = \"Example\"", "place = \"Exemple\"", 1)).unwrap();
    let (seen, code) = run(&target);
    assert_eq!(code, Some(3), "{seen}");
    assert!(seen.contains("is not the script of this plan"), "{seen}");
    for name in ["script", "plan"] {
        assert!(
            !dir.path().join(name).join("transcript.jsonl").exists(),
            "nothing was begun"
        );
    }
}
