//! What goes where: one JSON value on standard output, exit codes, no prompts, any terminal.

use std::os::unix::process::CommandExt as _;

use serde_json::json;
use wire::enrollment::KeyRole;

use crate::kit::{DEVICE, Folder, LOCAL, Said, alone, cli, cli_alone, house, liar, quiet, settled};

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// Every command that prints data, with arguments that make it succeed or say no.
fn data_commands(folder: &Folder) -> Vec<(Vec<String>, i32)> {
    let house = house();
    let leaf = folder.pem("leaf.pem", &[house.certificate(KeyRole::Identity)]);
    let chain = house.rig.path("ca/issuing.pem").display().to_string();
    let root = house.rig.path("ca/root.pem").display().to_string();
    let man = folder.path("man").display().to_string();
    let fresh = folder.path("fresh").display().to_string();
    let ek = "5c".repeat(32);
    let verify = ["verify", &leaf, "--trust", &root, "--untrusted", &chain];
    let (store, bundle) = (folder.path("trust.toml"), folder.path("bundle.toml"));
    let (store, bundle) = (store.display().to_string(), bundle.display().to_string());
    let (makers, makers_bundle) = (folder.path("makers.toml"), folder.path("makers-bundle.toml"));
    let (makers, makers_bundle) = (makers.display().to_string(), makers_bundle.display().to_string());
    let (tpm_root, tpm_ek) = (crate::trust::swtpm("root.der"), crate::trust::swtpm("ek-p384.der"));
    let serial = house.local.certificates[0].serial.as_str();
    let crl = "http://pki.example.net/crl/all.crl";
    let served = format!("http://{}/crl/all.crl", house.rig.server().status());
    let commands: [(&[&str], i32); 38] = [
        (&["crl", "list"], 0),
        (&["crl", "publish"], 0),
        (&["crl", "show", crl], 0),
        (&["crl", "fetch", &served], 0),
        (&["init", "--no-input", "--dir", &fresh], 0),
        (&["cert", "inspect", &leaf], 0),
        (&["cert", "inspect", &leaf, "--qr"], 0),
        (&[&verify[..], &["--rehearsal"]].concat(), 0),
        (&verify, 3),
        (&["device", "allow", "json-1", "--ek", &ek], 0),
        (&["device", "find"], 0),
        (&["device", "show", DEVICE], 0),
        (&["device", "tree", DEVICE], 0),
        (&["device", "hold", DEVICE, "--reason", "a test", "--dry-run"], 0),
        (&["device", "release", DEVICE, "--reason", "a test"], 0),
        (&["device", "renew", DEVICE, "--reason", "a test", "--dry-run"], 0),
        (&["replacement", "list"], 0),
        (&["hsm", "probe", "--module", MODULE], 0),
        (&["audit", "show"], 0),
        (&["audit", "show", DEVICE], 0),
        (&["cert", "status", serial], 0),
        (&["revoke", LOCAL, "--reason", "superseded", "--dry-run"], 0),
        (&["hold", serial, "--dry-run"], 0),
        (&["release", serial], 0),
        (&["doctor"], 0),
        (&["completion", "bash"], 0),
        (&["man", &man], 0),
        (&["trust", "tpm", "import", &tpm_root, "--store", &store], 0),
        (&["trust", "tpm", "list", "--store", &store], 0),
        (
            &[
                "trust", "tpm", "add", &tpm_root, "--known", "--why", "a test", "--store", &store,
            ],
            0,
        ),
        (&["trust", "tpm", "try", &tpm_ek, "--store", &store], 3),
        (&["trust", "tpm", "export", &bundle, "--store", &store], 0),
        (
            &[
                "trust", "tpm", "refuse", &tpm_root, "--why", "a test", "--store", &store,
            ],
            0,
        ),
        (&["trust", "iak", "import", &root, "--store", &makers], 0),
        (&["trust", "iak", "list", "--store", &makers], 0),
        (
            &[
                "trust", "iak", "add", &root, "--known", "--why", "a test", "--store", &makers,
            ],
            0,
        ),
        (&["trust", "iak", "export", &makers_bundle, "--store", &makers], 0),
        (
            &["trust", "iak", "refuse", &root, "--why", "a test", "--store", &makers],
            0,
        ),
    ];
    let commands = commands.map(|(arguments, code)| (arguments.iter().map(|a| (*a).to_owned()).collect(), code));
    let mut commands: Vec<(Vec<String>, i32)> = commands.into();
    commands.extend(ceremony_commands(folder).into_iter().map(|arguments| (arguments, 0)));
    commands
}

/// Those of ceremonies, on what `init` rehearsed.
fn ceremony_commands(folder: &Folder) -> Vec<Vec<String>> {
    let rig = &house().rig;
    let at = |below: &str| rig.path(below).display().to_string();
    let new = |name: &str| folder.path(name).display().to_string();
    let plan = std::fs::read_to_string(at("ceremony/root.toml")).unwrap();
    let program = std::fs::read(device_kit::rig::binary("ca-cli")).unwrap();
    let program = hex::encode(openssl::sha::sha256(&program));
    let named = plan.replacen("\n\n[token]", &format!("\nbinary_sha256 = \"{program}\"\n\n[token]"), 1);
    let (plan, named) = (at("ceremony/root.toml"), folder.put("named.toml", named.as_bytes()));
    let (root, answer) = (at("ceremony/root.tar"), at("ceremony/issuing.tar"));
    let (medium, csr, pin) = (
        at("ceremony/root"),
        at("ceremony/issuing.csr"),
        at("secrets/issuing.pin"),
    );
    let (rehearsed, kit, published) = (new("rehearsed"), new("kit"), new("published"));
    let (again, taken) = (new("again.csr"), new("taken"));
    let key = [
        "--module",
        MODULE,
        "--token",
        "holdfast-issuing",
        "--id",
        "01",
        "--label",
        "issuing-1",
        "--pin-file",
        &pin,
    ];
    let names = [
        "--organization",
        "Kit",
        "--common-name",
        "Kit Issuing 1B",
        "--out",
        &again,
    ];
    let import = [
        "issuer",
        "import",
        &answer,
        "--request",
        &csr,
        "--to",
        &taken,
        "--rehearsal",
    ];
    let commands: [&[&str]; 10] = [
        &["ceremony", "new", "--kind", "root", "--name", "example"],
        &["ceremony", "lint", &plan],
        &["ceremony", "rehearse", &plan, "--dir", &rehearsed],
        &["ceremony", "script", &plan],
        &["ceremony", "kit", &named, "--dir", &kit],
        &["ceremony", "seal", &medium, "--rehearsal"],
        &["ceremony", "verify", &root, "--rehearsal"],
        &["ceremony", "import", &root, "--to", &published, "--rehearsal"],
        &[&["issuer", "request"][..], &key, &names].concat(),
        &[&import[..], &key].concat(),
    ];
    commands.map(|c| c.iter().map(|a| (*a).to_owned()).collect()).into()
}

/// People have to be there: tried with them in `../agent/replace.rs`, `../ceremony/terminal.rs` and `../ceremony/custody.rs`.
const OF_PEOPLE: [&str; 10] = [
    "enrollment review",
    "enrollment approve",
    "enrollment reject",
    "ceremony run",
    "ceremony approve",
    "ceremony check-share",
    "device replace-tpm",
    "replacement show",
    "replacement approve",
    "replacement reject",
];

/// A factory with a token, and a server that believes it: tried with them in `../manifest`.
const OF_FACTORIES: [&str; 9] = [
    "manifest create",
    "manifest key",
    "manifest sign",
    "manifest verify",
    "manifest prove",
    "manifest import",
    "manifest list",
    "manifest show",
    "manifest withdraw",
];

/// A ledger with entries: tried with one in `../ledger.rs`.
const OF_LEDGERS: [&str; 8] = [
    "cert bundle",
    "evidence erase",
    "ledger key",
    "ledger head",
    "ledger proof",
    "ledger consistency",
    "ledger watch",
    "ledger witness",
];

/// A record that is at rest, one that is older than an anchor, and one of another version: tried with them in `../vault` and
/// `../cluster`.
const OF_RECORDS: [&str; 7] = [
    "db backup",
    "db restore",
    "db verify",
    "db move",
    "db accept",
    "db migrate",
    "db rollback",
];

/// Audits, and another policy on evidence of old: tried in `tests/audit.rs`.
const OF_AUDITORS: [&str; 5] = [
    "audit open",
    "audit sample",
    "audit verify",
    "audit export",
    "policy test",
];

/// A signed store, a vendor's CRL, a server that has intermediates: tried with them in `trust.rs` and, the last one,
/// beside its code. The trust page as files: in `pages/answers.rs`.
const OF_DESKS: [&str; 4] = [
    "trust tpm verify",
    "trust tpm crl import",
    "trust tpm fetch",
    "trust page",
];

/// Verbs of the help text that have no verbs below them.
fn verbs() -> Vec<String> {
    let mut open = vec![Vec::<String>::new()];
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        let arguments: Vec<&str> = path.iter().map(String::as_str).chain(["--help"]).collect();
        let help = cli_alone(&arguments).out;
        let below: Vec<String> = help
            .lines()
            .skip_while(|l| *l != "Commands:")
            .skip(1)
            .take_while(|l| !l.is_empty())
            .filter_map(|l| {
                l.strip_prefix("  ")?
                    .split(' ')
                    .next()
                    .filter(|w| !w.is_empty())
                    .map(str::to_owned)
            })
            .filter(|w| w != "help")
            .collect();
        if below.is_empty() {
            found.push(path.join(" "));
        }
        open.extend(below.into_iter().map(|verb| [path.clone(), vec![verb]].concat()));
    }
    found
}

#[test]
fn every_data_command_gives_one_json_value_with_a_schema() {
    let folder = Folder::new();
    let commands = data_commands(&folder);
    let elsewhere: Vec<&str> = [
        &OF_PEOPLE[..],
        &OF_FACTORIES,
        &OF_LEDGERS,
        &OF_RECORDS,
        &OF_AUDITORS,
        &OF_DESKS,
    ]
    .concat();
    let tried: Vec<String> = commands.iter().map(|(arguments, _)| arguments.join(" ")).collect();
    let forgotten: Vec<String> = verbs()
        .into_iter()
        .filter(|verb| !elsewhere.contains(&verb.as_str()) && !tried.iter().any(|all| all.starts_with(verb)))
        .collect();
    assert!(forgotten.is_empty(), "not tried here: {forgotten:?}");
    for (arguments, code) in commands {
        let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        arguments.extend(["-o", "json"]);
        // `init` makes a token store of its own.
        let said = if arguments[0] == "init" {
            cli_alone(&arguments)
        } else {
            cli(&arguments)
        };
        assert_eq!(said.code, code, "{arguments:?}: {said:?}");
        said.json();
        assert!(said.out.ends_with("}\n"), "{arguments:?}");
    }
    let said = Said::of(quiet(house().rig.command("ca-cli"), &["device", "find"]).env("HOLDFAST_OUTPUT", "json"));
    assert_eq!(said.json()["schema"], "holdfast.devices.v1");
}

#[test]
fn exit_codes_are_what_the_help_says() {
    let house = house();
    let folder = Folder::new();
    let root = house.rig.path("ca/root.pem").display().to_string();
    let leaf = folder.pem("leaf.pem", &[house.certificate(KeyRole::Identity)]);
    let junk = folder.put("junk", b"junk");
    let (ek, other) = ("6d".repeat(32), "7e".repeat(32));
    let nowhere = folder.path("nowhere").display().to_string();
    let table: [(i32, &[&str]); 19] = [
        (0, &["device", "allow", "codes-1", "--ek", &ek]),
        (0, &["cert", "inspect", &root]),
        (2, &["no-such-verb"]),
        (2, &["device", "find", "--limit", "0"]),
        (2, &["device", "find", "--limit", "1001"]),
        (2, &["device", "find", "--expires-before", "soon"]),
        (2, &["device", "find", "--cursor", "x"]),
        (2, &["device", "show", "../admin"]),
        (2, &["cert", "inspect", &junk]),
        (2, &["verify", &leaf]),
        (3, &["verify", &leaf, "--trust", &root]),
        (4, &["cert", "inspect", &nowhere]),
        (4, &["device", "show", "nobody"]),
        (4, &["device", "tree", "nobody"]),
        (4, &["audit", "show", "inc_00000000000000000000000000000000"]),
        (4, &["hsm", "probe", "--module", &nowhere]),
        (5, &["device", "allow", "codes-1", "--ek", &other]),
        (7, &["device", "find", "--admin", &nowhere]),
        (7, &["doctor", "--admin", &nowhere]),
    ];
    for (code, arguments) in table {
        let said = cli(arguments);
        assert_eq!(said.code, code, "{arguments:?}: {said:?}");
        if ![0, 3].contains(&code) && arguments[0] != "doctor" {
            assert_eq!(said.out, "", "{arguments:?}: errors go to standard error");
            assert!(said.err.starts_with("error: "), "{arguments:?}: {said:?}");
        }
    }
    let said = cli_alone(&["init", "--dir", &nowhere]);
    assert_eq!(said.code, 9, "{said:?}");
    assert!(
        said.err.contains("--no-input") && said.err.contains("--answers"),
        "{said:?}"
    );
    assert!(!folder.path("nowhere").exists(), "nothing was begun");
}

/// The socket is its owner's: the kernel says so before the server does.
#[test]
fn a_socket_of_somebody_else_is_not_allowed() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can become another user");
        return;
    }
    let folder = Folder::new();
    let tool = folder.path("ca-cli");
    std::fs::copy(device_kit::rig::binary("ca-cli"), &tool).unwrap();
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(folder.path(""), std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = quiet(std::process::Command::new(tool), &["device", "find"]);
    command
        .env("HOLDFAST_ADMIN_SOCKET", house().rig.path("admin.sock"))
        .uid(65_534)
        .current_dir("/");
    let said = Said::of(&mut command);
    assert_eq!((said.code, said.out.as_str()), (6, ""), "{said:?}");
}

#[test]
fn without_a_terminal_nothing_is_asked() {
    let house = house();
    let folder = Folder::new();
    let issuing = house.rig.path("ca/issuing.pem").display().to_string();
    let uri = "pkcs11:token=holdfast-issuing;id=%01";
    let probe = [
        "hsm",
        "probe",
        "--module",
        MODULE,
        "--uri",
        uri,
        "--certificate",
        &issuing,
    ];
    let said = cli(&probe);
    assert_eq!((said.code, said.out.as_str()), (9, ""), "{said:?}");
    let fresh = folder.path("fresh").display().to_string();
    let said = cli_alone(&["init", "--dir", &fresh]);
    assert_eq!((said.code, said.out.as_str()), (9, ""), "{said:?}");
}

#[test]
fn show_and_tree_as_people_see_them() {
    let said = cli(&["device", "tree", DEVICE]);
    assert_eq!(
        settled(&said.out),
        "\
GW-7F3K-00412 ✔ hardware-verified
├─ REHEARSAL Kit Root R1  P-256  until DDDD-DD-DD (in 19 years)
│  └─ REHEARSAL Kit Issuing 1A  P-256  until DDDD-DD-DD (in 9 years)
│     ├─ ✔ device-idevid  xxxxxxxx..xxxxxxxx  until never
│     │  └─ this key  TPM Name xxxxxxxx..xxxxxxxx
│     └─ ✔ device-iak  xxxxxxxx..xxxxxxxx  until never
│        └─ this key  TPM Name xxxxxxxx..xxxxxxxx
└─ TPM 2.0  IFX KIT9670  firmware 1.515
   └─ ✔ vendor root  kit
      └─ ✔ EK certificate  sha256 xxxxxxxx..xxxxxxxx
         └─ ✔ AK  TPM Name xxxxxxxx..xxxxxxxx  activated: lives with this EK
            └─ ✔ device key  certified by the AK, fixed to this TPM
"
    );
    let said = cli(&["device", "show", DEVICE]);
    assert_eq!(
        settled(&said.out),
        "\
device      GW-7F3K-00412
state       active
batch       2026-47-B
known since DDDD-DD-DD (some time ago)
last seen   DDDD-DD-DD (some time ago)
EK sha256   xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
TPM         IFX KIT9670 firmware 1.515
level       hardware-verified
anchor      kit

PROFILE        STATE   EXPIRES  SERIAL
device-idevid  issued  never    xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
device-iak     issued  never    xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
"
    );
}

#[test]
fn a_terminal_without_utf8_gets_ascii_and_eighty_columns_are_enough() {
    let folder = Folder::new();
    let said = cli(&[
        "device",
        "allow",
        "c-locale-1",
        "--first-contact",
        "2h",
        "--batch",
        "Größe 东",
    ]);
    assert_eq!(said.code, 0, "{said:?}");
    for (arguments, code) in data_commands(&folder) {
        // Not twice in one place, or not for reading.
        let once = ["rehearse", "kit"].contains(&arguments.get(1).map_or("", String::as_str));
        if once || ["init", "completion", "man", "issuer"].contains(&arguments[0].as_str()) {
            continue;
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut command = quiet(house().rig.command("ca-cli"), &arguments);
        let said = Said::of(command.env("LC_ALL", "C"));
        assert_eq!(said.code, code, "{arguments:?}: {said:?}");
        assert!(said.out.is_ascii() && said.err.is_ascii(), "{arguments:?}: {said:?}");
        for said in [said, cli(&arguments)] {
            // One long word, as a SHA-256 is, is not cut: a person may want to copy it.
            let cut = |l: &str| l.split(' ').any(|word| word.chars().count() >= 64);
            let wide = said.out.lines().find(|l| l.chars().count() > 80 && !cut(l));
            assert_eq!(wide, None, "{arguments:?}");
        }
    }
    let mut command = quiet(house().rig.command("ca-cli"), &["device", "tree", LOCAL]);
    let said = Said::of(command.env_remove("LC_ALL").env_remove("LC_CTYPE").env("LANG", "C"));
    assert_eq!(
        settled(&said.out),
        "\
GW-7F3K-00413 [ok] hardware-verified
+- REHEARSAL Kit Root R1  P-256  until DDDD-DD-DD (in 19 years)
|  `- REHEARSAL Kit Issuing 1A  P-256  until DDDD-DD-DD (in 9 years)
|     `- [ok] device-ldevid  xxxxxxxx..xxxxxxxx  until DDDD-DD-DD (in 364 days)
|        `- this key  TPM Name xxxxxxxx..xxxxxxxx
`- TPM 2.0  IFX KIT9670  firmware 1.515
   `- [ok] vendor root  kit
      `- [ok] EK certificate  sha256 xxxxxxxx..xxxxxxxx
         `- [ok] AK  TPM Name xxxxxxxx..xxxxxxxx  activated: lives with this EK
            `- [ok] device key  certified by the AK, fixed to this TPM
"
    );
    let said = Said::of(alone(&["--help"]).env("LC_ALL", "C"));
    assert!(said.out.is_ascii());
}

/// Escape sequences, C1 controls, bidi overrides, line breaks: in every field a server has.
#[test]
fn hostile_text_stays_text() {
    const HOSTILE: &str = "x\u{1b}[2J\u{9b}31m\u{202e}\r\n\u{7f}y";
    let folder = Folder::new();
    let h = HOSTILE;
    let certificate =
        json!({ "serial": h, "profile": h, "state": h, "not_before": 0, "not_after": 1, "certificate": null });
    let tpm =
        json!({ "manufacturer": h, "model": h, "version": h, "assurance": h, "anchor": h, "ek_certificate_sha256": h });
    let device = json!({
        "name": h, "state": h, "ek_spki_sha256": h, "batch": h, "dns_names": [h], "spiffe_id": h, "tpm": tpm,
        "certificates": [certificate], "created_at": 0, "last_seen_at": 1,
    });
    let entry = json!({ "at": 0, "action": h, "actor": h, "subject": h, "reason": h, "detail": h });
    let step = json!({
        "state": "revoked", "reason": "superseded", "at": 0, "since": 0, "actor": h, "comment": h });
    let status = json!({
        "serial": h, "device": null, "profile": h, "state": h, "not_before": 0, "not_after": 1,
        "revocation": null, "history": [step], "others": [h] });
    let serial = "0".repeat(32);
    let problem = json!({ "type": "x", "title": h, "status": 200, "code": "not_found", "retry": "never", "detail": h });
    let answers = [
        (device.clone(), vec!["device", "show", "a"]),
        (device.clone(), vec!["device", "allow", "a", "--first-contact", "1h"]),
        (
            json!({ "device": device.clone(), "issuers": [], "evidence": [] }),
            vec!["device", "tree", "a"],
        ),
        (json!({ "items": [device], "next": h }), vec!["device", "find"]),
        (json!({ "items": [entry] }), vec!["audit", "show"]),
        (json!({ "name": h, "root_sha256": h, "chain": [] }), vec!["doctor"]),
        (status.clone(), vec!["cert", "status", &serial]),
        (status, vec!["revoke", &serial, "--reason", "superseded", "--dry-run"]),
        (problem, vec!["device", "find"]),
    ];
    for (i, (answer, arguments)) in answers.into_iter().enumerate() {
        let socket = folder.path(&format!("{i}.sock"));
        liar(&socket, &answer);
        for format in ["table", "json"] {
            let mut arguments = arguments.clone();
            let socket = socket.display().to_string();
            arguments.extend(["--admin", &socket, "-o", format]);
            let said = cli_alone(&arguments);
            let text = format!("{}{}", said.out, said.err);
            assert!(!text.is_empty());
            let raw = text
                .chars()
                .find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
            assert_eq!(raw, None, "{arguments:?}: {said:?}");
            assert!(!said.err.contains("panicked"), "{said:?}");
        }
    }
}
