//! A ceremony held by people, who also mistype.

use std::io::{Read as _, Write as _};
use std::path::Path;

use ceremony::archive;

use crate::kit::{Desk, Said};
use crate::pty;

/// Run on a terminal of its own: wait for each prompt, then type. What was shown, and the exit code.
fn on_a_terminal(desk: &Desk, conf: &Path, arguments: &[&str], dialogue: &[(&str, String)]) -> (String, Option<i32>) {
    let (mut master, mut child) = pty::start(arguments, |command| {
        command.current_dir(desk.dir.path()).env("SOFTHSM2_CONF", conf);
    });
    let mut shown = Vec::new();
    let mut dialogue = dialogue.iter();
    let mut next = dialogue.next();
    let mut seen = 0;
    let mut buffer = [0; 4096];
    while let Ok(count) = master.read(&mut buffer) {
        if count == 0 {
            break;
        }
        shown.extend_from_slice(&buffer[..count]);
        while let Some((prompt, typed)) = next {
            let text = String::from_utf8_lossy(&shown[seen..]).into_owned();
            let Some(at) = text.find(prompt) else { break };
            seen += at + prompt.len();
            master.write_all(typed.as_bytes()).unwrap();
            next = dialogue.next();
        }
    }
    assert_eq!(next, None, "{}", String::from_utf8_lossy(&shown));
    (
        String::from_utf8_lossy(&shown).into_owned(),
        child.wait().unwrap().code(),
    )
}

fn line(text: &str) -> String {
    format!("{text}\n")
}

/// C05, L01: every wrong answer is said no to without the right one; the PIN is nowhere but in the token.
#[test]
fn people_hold_a_ceremony_and_mistype() {
    let desk = Desk::new();
    desk.root_plan();
    // The rehearsal's medium, token and approvals, and not one step done.
    let mut command = desk.command(&["ceremony", "rehearse", "root.toml", "--dir", "root"]);
    command.env("HOLDFAST_TEST_POWER_CUT", "before-1");
    assert_eq!(Said::of(command.output().unwrap()).code, None);
    let pin = std::fs::read_to_string(desk.path("root/secrets/token.pin")).unwrap();
    let digest = hex::encode(openssl::sha::sha256(&std::fs::read(desk.path("root.toml")).unwrap()));
    let module = "/usr/lib/softhsm/libsofthsm2.so";
    let arguments = [
        "ceremony",
        "run",
        "root/medium",
        "--module",
        module,
        "--rehearsal",
        "--resume",
    ];
    let conf = desk.path("root/softhsm2.conf");
    // As far as the signature; then somebody closes the terminal (end of input).
    let first = [
        ("names > ", line("")),
        ("something must stand here", line("A. Admin, W. Witness")),
        ("Step 2 of 13", String::new()),
        ("> ", line("00000000")),
        ("that is another hash", line(&digest)),
        ("that is another hash", line(&digest[..8])),
        ("[Enter] > ", line("yes")),
        ("only the Enter key", line("")),
        ("Step 4 of 13", String::new()),
        ("[Enter] > ", line("")),
        ("HSM PIN: ", pin.clone()),
        ("Step 6 of 13", String::new()),
        ("> ", line("root-r2")),
        ("not what the script says", line("root-r1")),
        ("Step 7 of 13", String::new()),
        ("> ", line("!deviation")),
        ("why it is accepted > ", line("the witness coughed")),
        ("written down", line("as planned")),
        ("Step 8 of 13", String::new()),
        ("> ", line("!void")),
        ("is void > ", line("nobody had listened")),
        ("Step 7 of 13", String::new()),
        ("> ", line("as planned")),
        ("Step 8 of 13", String::new()),
        ("> ", "\u{4}".to_owned()),
    ];
    let (shown, code) = on_a_terminal(&desk, &conf, &arguments, &first);
    assert_eq!(code, Some(9), "{shown}");
    assert!(!shown.contains(pin.trim()), "the PIN was shown");
    let certificate = desk.path("root/medium/outputs/certificate.cer");
    assert!(!certificate.exists());
    // Another day: the token is asked for its PIN again, and the step goes on.
    let second = [
        ("Step 8 of 13", String::new()),
        ("> ", line("sing")),
        ("not what the script says", line("sign")),
        ("HSM PIN: ", pin.clone()),
        ("Step 9 of 13", String::new()),
        ("> ", line("ffffffff")),
        ("that is another hash", "\u{4}".to_owned()),
    ];
    let (shown, code) = on_a_terminal(&desk, &conf, &arguments, &second);
    assert_eq!(code, Some(9), "{shown}");
    let fingerprint = |path: &Path| hex::encode(openssl::sha::sha256(&std::fs::read(path).unwrap()));
    let third = [
        ("Step 9 of 13", String::new()),
        ("> ", line(&fingerprint(&certificate)[..8])),
        ("Step 10 of 13", String::new()),
        ("HSM PIN: ", pin.clone()),
        ("> ", line("as planned")),
        ("Step 11 of 13", String::new()),
        ("> ", "\u{4}".to_owned()),
    ];
    let (shown, code) = on_a_terminal(&desk, &conf, &arguments, &third);
    assert_eq!(code, Some(9), "{shown}");
    // The rest by the script.
    desk.run(&["ceremony", "rehearse", "root.toml", "--dir", "root", "--resume"])
        .done();
    let bytes = std::fs::read(desk.path("root/example-root-r1.tar")).unwrap();
    let verified = archive::verify(&bytes, true).unwrap();
    let told: Vec<String> = verified.deviations().flat_map(|r| r.facts.values().cloned()).collect();
    for words in ["the witness coughed", "nobody had listened"] {
        assert!(told.iter().any(|t| t == words), "{told:?}");
    }
    // The canary: the PIN is in no file of the medium and in no archive.
    let pin = pin.trim().as_bytes();
    assert!(!bytes.windows(pin.len()).any(|w| w == pin));
    let mut open = vec![desk.path("root/medium")];
    while let Some(path) = open.pop() {
        for entry in std::fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let content = std::fs::read(&path).unwrap();
                assert!(!content.windows(pin.len()).any(|w| w == pin), "{}", path.display());
            }
        }
    }
}

/// A pipe is no ceremony.
#[test]
fn without_a_terminal_no_ceremony_is_held() {
    let desk = Desk::new();
    desk.root_plan();
    desk.run(&["ceremony", "kit", "root.toml", "--dir", "kit"]).done();
    let said = desk.run(&["ceremony", "run", "kit", "--module", "/usr/lib/softhsm/libsofthsm2.so"]);
    assert!(said.code == Some(9) && said.err.contains("no"), "{said:?}");
    assert!(!desk.path("kit/transcript.jsonl").exists());
}
