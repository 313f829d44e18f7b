//! Two ceremonies held in earnest, as docs/how-to/root-ceremony.md tells it: a new administrator, three officers with cards
//! of their own, tokens, paper, a terminal; then a server's machine that imports, and a second person who checks without
//! our program.

use std::fs::Permissions;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use ceremony::{Sha256, archive, tar};

use crate::kit::{Desk, Said, in_days};
use crate::pty;

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const PEOPLE: [(&str, &str); 3] = [("anna", "Anna Berg"), ("ben", "Ben Cho"), ("carla", "Carla Dias")];

/// A machine without a network, with tokens.
struct Hall {
    desk: Desk,
    conf: PathBuf,
    system: PathBuf,
}

fn shell(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

impl Hall {
    fn new() -> Self {
        let desk = Desk::new();
        std::fs::create_dir(desk.path("tokens")).unwrap();
        let conf = format!("directories.tokendir = {}\n", desk.path("tokens").display());
        let conf = desk.put("softhsm2.conf", conf.as_bytes());
        // As /sys and /proc of a machine whose only interface is the loopback.
        let lo = desk.path("system/sys/class/net/lo");
        std::fs::create_dir_all(&lo).unwrap();
        std::fs::write(lo.join("flags"), "0x9\n").unwrap();
        std::fs::write(lo.join("type"), "772\n").unwrap();
        std::os::unix::fs::symlink("/proc", desk.path("system/proc")).unwrap();
        let system = desk.path("system");
        Self { desk, conf, system }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.desk.command(arguments);
        command
            .env("SOFTHSM2_CONF", &self.conf)
            .env("HOLDFAST_TEST_SYSTEM", &self.system);
        command
    }

    fn run(&self, arguments: &[&str]) -> Said {
        Said::of(self.command(arguments).output().unwrap())
    }

    /// A token with this label; its PIN is `LABEL-pin`, in `LABEL.pin`. Its serial number.
    fn token(&self, label: &str) -> String {
        let pin = format!("{label}-pin");
        let mut init = Command::new("softhsm2-util");
        init.args([
            "--init-token",
            "--free",
            "--label",
            label,
            "--so-pin",
            "87654321",
            "--pin",
            &pin,
        ]);
        shell(init.env("SOFTHSM2_CONF", &self.conf));
        let file = self.desk.put(&format!("{label}.pin"), format!("{pin}\n").as_bytes());
        std::fs::set_permissions(file, Permissions::from_mode(0o600)).unwrap();
        let slots = shell(
            Command::new("softhsm2-util")
                .arg("--show-slots")
                .env("SOFTHSM2_CONF", &self.conf),
        );
        let slot = slots
            .split("Slot ")
            .find(|s| s.lines().any(|l| l.trim() == format!("Label:            {label}")));
        let serial = slot
            .unwrap()
            .lines()
            .find_map(|l| l.trim().strip_prefix("Serial number:"));
        serial.unwrap().trim().to_owned()
    }

    /// A key in an officer's card; SHA-256 of its public half, by `openssl` as the page says.
    fn card(&self, label: &str) -> String {
        let _serial = self.token(label);
        let pkcs11 = |arguments: &[&str]| {
            let mut tool = Command::new("pkcs11-tool");
            tool.args([
                "--module",
                MODULE,
                "--token-label",
                label,
                "--login",
                "--pin",
                &format!("{label}-pin"),
            ]);
            shell(
                tool.args(arguments)
                    .current_dir(self.desk.dir.path())
                    .env("SOFTHSM2_CONF", &self.conf),
            );
        };
        pkcs11(&[
            "--keypairgen",
            "--key-type",
            "EC:prime256v1",
            "--id",
            "01",
            "--label",
            "officer",
            "--usage-sign",
        ]);
        pkcs11(&[
            "--read-object",
            "--type",
            "pubkey",
            "--id",
            "01",
            "--output-file",
            "public.der",
        ]);
        let mut pkey = Command::new("openssl");
        pkey.args([
            "pkey",
            "-pubin",
            "-inform",
            "der",
            "-in",
            "public.der",
            "-outform",
            "der",
        ]);
        let spki = pkey.current_dir(self.desk.dir.path()).output().unwrap().stdout;
        Sha256::of(&spki).to_string()
    }

    /// An officer signs, with the PIN of the card; `what` is a plan or, with `--seal`, a medium.
    fn approve(&self, what: &str, seal: bool, officer: usize, sha256: &str, out: &str) -> Said {
        let (card, person) = PEOPLE[officer];
        let (role, key) = (
            format!("crypto officer {}", officer + 1),
            format!("pkcs11:token={card};id=%01?module-path={MODULE}"),
        );
        let mut arguments = vec![
            "ceremony",
            "approve",
            what,
            "--officer",
            &role,
            "--person",
            person,
            "--key",
            &key,
        ];
        let pin = format!("{card}.pin");
        arguments.extend(["--pin-file", &pin, "--sha256", sha256, "--out", out]);
        if seal {
            arguments.push("--seal");
        }
        self.run(&arguments)
    }

    /// Hold the ceremony of a medium: somebody who reads what is asked, and types it. The screen, and the exit code.
    fn hold(&self, medium: &str, plan: &Path, label: &str, more: &[&str]) -> (String, Option<i32>) {
        let arguments = [&["ceremony", "run", medium, "--module", MODULE], more].concat();
        let (mut terminal, mut child) = pty::start(&arguments, |command| {
            let command = command.current_dir(self.desk.dir.path());
            command
                .env("SOFTHSM2_CONF", &self.conf)
                .env("HOLDFAST_TEST_SYSTEM", &self.system);
        });
        let digits = |path: &Path| {
            let digest = Sha256::of(&std::fs::read(path).unwrap()).to_string();
            digest.get(..8).unwrap().to_owned()
        };
        let outputs = self.desk.path(medium).join("outputs");
        let (mut shown, mut seen, mut buffer) = (Vec::new(), 0, [0; 4096]);
        while let Ok(count) = terminal.read(&mut buffer) {
            if count == 0 {
                break;
            }
            shown.extend_from_slice(&buffer[..count]);
            let text = String::from_utf8_lossy(&shown[seen..]).into_owned();
            if !text.ends_with("> ") && !text.ends_with("PIN: ") {
                continue;
            }
            seen = shown.len();
            // Lines are wrapped.
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            let answers = [
                ("PIN:", "root-pin".to_owned()),
                ("names >", "A. Admin, W. Witness, A. Berg, B. Cho".to_owned()),
                ("bag number >", "TEB 4711".to_owned()),
                ("first eight digits from the paper", digits(plan)),
                ("[Enter] >", String::new()),
                ("Read every line aloud", "as planned".to_owned()),
                ("Type the label", label.to_owned()),
                ("The token signs", "sign".to_owned()),
            ];
            let files = [
                ("outputs/certificate.cer on a second", "certificate.cer"),
                ("outputs/ca.crl on a second", "ca.crl"),
            ];
            let file = files.iter().find(|(sign, _)| text.contains(sign));
            let typed = file.map(|(_, file)| digits(&outputs.join(file))).or_else(|| {
                let answer = answers.iter().find(|(sign, _)| text.contains(sign));
                answer.map(|(_, answer)| answer.clone())
            });
            let typed = typed.unwrap_or_else(|| panic!("nobody knows what to type: {text}"));
            terminal.write_all(format!("{typed}\n").as_bytes()).unwrap();
        }
        (
            String::from_utf8_lossy(&shown).into_owned(),
            child.wait().unwrap().code(),
        )
    }

    /// From a plan that is filled in to an archive: lint, kit, two approvals of three, the ceremony, seals, archive.
    fn whole(&self, plan: &str, name: &str, label: &str) -> String {
        let text = std::fs::read(self.desk.path(plan)).unwrap();
        let sha256 = Sha256::of(&text).to_string();
        self.run(&["ceremony", "lint", plan]).done();
        self.run(&["ceremony", "kit", plan, "--dir", name]).done();
        let hold = |more: &[&str]| self.hold(name, &self.desk.path(plan), label, more);

        // Not while the network is up; not on the word of one; and not with the network up again on another day.
        let interface = self.system.join("sys/class/net/lo/type");
        let network_up = |more: &[&str]| {
            std::fs::write(&interface, "1\n").unwrap();
            let (shown, code) = hold(more);
            assert!(
                code == Some(3) && shown.contains("a network interface is up: lo"),
                "{shown}"
            );
            std::fs::write(&interface, "772\n").unwrap();
        };
        network_up(&[]);
        self.approve(plan, false, 0, &sha256, &format!("{name}/approvals/1.txt"))
            .done();
        let (shown, code) = hold(&["--resume"]);
        assert!(code == Some(3) && shown.contains("approved"), "{shown}");
        self.approve(plan, false, 2, &sha256, &format!("{name}/approvals/3.txt"))
            .done();
        network_up(&["--resume"]);
        let (shown, code) = hold(&["--resume"]);
        assert_eq!(code, Some(0), "{shown}");
        assert!(!shown.contains("root-pin"), "the PIN was shown");

        self.run(&["ceremony", "seal", name]).done();
        let sums = Sha256::of(&std::fs::read(self.desk.path(name).join("SHA256SUMS")).unwrap()).to_string();
        for officer in [0, 2] {
            let out = format!("{name}/seals/{officer}.txt");
            self.approve(name, true, officer, &sums, &out).done();
        }
        let archive = format!("{name}.tar");
        self.run(&["ceremony", "seal", name, "--out", &archive]).done();
        archive
    }
}

/// Fill in a plan as people do: where, what, and whose keys.
fn fill(mut toml: String, token: &str, common_name: &str, keys: &[String]) -> String {
    for (key, value) in [
        ("place", "Room 1"),
        ("organization", "Example"),
        ("common_name", common_name),
        ("serial", token),
        ("ca_issuers_url", "http://pki.example.net/ca/root.cer"),
        ("crl_url", "http://pki.example.net/ca/root.crl"),
    ] {
        toml = toml.replace(&format!("{key} = \"FILL IN\""), &format!("{key} = \"{value}\""));
    }
    for key in keys {
        toml = toml.replacen("\"FILL IN\"", &format!("\"{key}\""), 1);
    }
    assert!(!toml.contains("\"FILL IN\""), "{toml}");
    toml
}

#[test]
fn from_nothing_to_an_issuing_ca_with_three_officers() {
    let hall = Hall::new();
    let desk = &hall.desk;
    let (root, _online) = (hall.token("root"), hall.token("online"));
    let keys = PEOPLE.map(|(card, _)| hall.card(card));
    let planned = in_days(0);
    let new = |more: &[&str]| {
        let said = hall.run(&[&["ceremony", "new", "--planned", &planned], more].concat());
        said.done().out
    };

    let plan = new(&["--kind", "root", "--name", "example-root-r1"]);
    desk.put("root.toml", fill(plan, &root, "Example Root R1", &keys).as_bytes());
    let archive = hall.whole("root.toml", "example-root-r1", "root-r1");
    let said = hall.run(&["ceremony", "verify", &archive]).done();
    assert!(!said.out.contains("REHEARSAL"), "{said:?}");

    let key = [
        "--module",
        MODULE,
        "--token",
        "online",
        "--id",
        "01",
        "--label",
        "issuing-1",
        "--pin-file",
        "online.pin",
    ];
    let name = [
        "--organization",
        "Example",
        "--common-name",
        "Example Issuing 1A",
        "--out",
        "issuing.csr",
    ];
    hall.run(&[&["issuer", "request"][..], &key, &name].concat()).done();
    let certificate = std::fs::read(desk.path("example-root-r1/outputs/certificate.cer")).unwrap();
    desk.put("root.cer", &certificate);
    let more = [
        "--kind",
        "issuing",
        "--name",
        "example-issuing-1a",
        "--issuer",
        "root.cer",
        "--request",
        "issuing.csr",
    ];
    let plan = fill(new(&more), &root, "Example Issuing 1A", &keys);
    desk.put("issuing.toml", plan.as_bytes());
    // The very file that is performed is rehearsed before, on a token that knows nothing of the root's.
    let rehearsed = desk.run(&["ceremony", "rehearse", "issuing.toml", "--dir", "rehearsal"]);
    rehearsed.done();
    let fake = std::fs::read(desk.path("rehearsal/example-issuing-1a.tar")).unwrap();
    let said = archive::verify(&fake, false).unwrap_err().to_string();
    assert!(said.contains("REHEARSAL"), "{said}");
    let answer = hall.whole("issuing.toml", "example-issuing-1a", "root-r1");

    let import = ["issuer", "import", &answer, "--request", "issuing.csr", "--to", "ca"];
    hall.run(&[&import[..], &key].concat()).done();
    hall.run(&["ceremony", "import", &archive, "--to", "published"]).done();
    let mut verify = Command::new("openssl");
    verify.args(["verify", "-x509_strict", "-CAfile", "ca/root.pem", "ca/issuing.pem"]);
    let text = shell(verify.current_dir(desk.dir.path()));
    assert!(text.contains("ca/issuing.pem: OK"), "{text}");

    // Nothing stands in for anything in a ceremony.
    let mut files = tar::read(&std::fs::read(desk.path(&answer)).unwrap()).unwrap();
    let stand_in = tar::read(&fake).unwrap()[archive::STAND_IN].clone();
    files.insert(archive::STAND_IN.to_owned(), stand_in);
    let sums = archive::sums(&files).into_bytes();
    files.insert(archive::SUMS.to_owned(), sums);
    let said = archive::verify(&tar::write(&files).unwrap(), true)
        .unwrap_err()
        .to_string();
    assert!(said.contains("`standins/issuer.cer` does not belong"), "{said}");

    // The second person has Python and openssl, and nothing of ours.
    let reader = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/verify/ceremony.py");
    for archive in [&archive, &answer] {
        let mut python = Command::new("python3");
        let text = shell(python.arg("-I").arg(reader).arg(archive).current_dir(desk.dir.path()));
        assert!(!text.contains("REHEARSAL"), "{text}");
    }
}
