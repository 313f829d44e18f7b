//! Plans filled in as people would, and ways to run the tool on them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use device_kit::rig::binary;
use tempfile::TempDir;

/// A folder with plans, that goes away with this.
pub(crate) struct Desk {
    pub(crate) dir: TempDir,
}

/// What one run said.
#[derive(Debug)]
pub(crate) struct Said {
    /// Exit code; `None` when it was killed.
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Done, or stop the test.
    pub(crate) fn done(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }
}

/// Digests that stand for officers' keys in a plan that is only rehearsed.
fn digest(n: usize) -> String {
    hex::encode(openssl::sha::sha256(format!("officer {n}").as_bytes()))
}

/// Fill in what `ceremony new` left to people.
pub(crate) fn fill(mut toml: String, organization: &str, common_name: &str, token: &str) -> String {
    for (key, value) in [
        ("place", "Room 1"),
        ("organization", organization),
        ("common_name", common_name),
        ("serial", token),
        ("ca_issuers_url", "http://pki.example.net/ca/root.cer"),
        ("crl_url", "http://pki.example.net/ca/root.crl"),
    ] {
        toml = toml.replace(&format!("{key} = \"FILL IN\""), &format!("{key} = \"{value}\""));
    }
    for n in 0.. {
        let filled = toml.replacen("\"FILL IN\"", &format!("\"{}\"", digest(n)), 1);
        if filled == toml {
            return toml;
        }
        toml = filled;
    }
    unreachable!("a plan has an end")
}

impl Desk {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    pub(crate) fn put(&self, below: &str, content: &[u8]) -> PathBuf {
        let path = self.path(below);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// `ca-cli`, in this folder, with no token store of anybody.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary("ca-cli"));
        command
            .args(arguments)
            .current_dir(self.dir.path())
            .env_remove("SOFTHSM2_CONF")
            .env("LC_ALL", "C.UTF-8");
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        Said::of(self.command(arguments).output().unwrap())
    }

    /// A root's plan in `root.toml`.
    pub(crate) fn root_plan(&self) -> PathBuf {
        let planned = in_days(1);
        let new = self
            .run(&[
                "ceremony",
                "new",
                "--kind",
                "root",
                "--name",
                "example-root-r1",
                "--planned",
                &planned,
            ])
            .done();
        let plan = fill(new.out, "Example", "Example Root R1", "0123456789abcdef");
        self.put("root.toml", plan.as_bytes())
    }

    /// Rehearse `root.toml` into `root/`.
    pub(crate) fn rehearsed_root(&self) -> PathBuf {
        self.root_plan();
        self.run(&["ceremony", "rehearse", "root.toml", "--dir", "root"]).done();
        self.path("root/example-root-r1.tar")
    }

    /// Objects of a kind in the token of a rehearsal, as OpenSC sees them.
    pub(crate) fn objects(&self, dir: &str, label: &str, kind: &str) -> usize {
        let pin = std::fs::read_to_string(self.path(dir).join("secrets/token.pin")).unwrap();
        let output = Command::new("pkcs11-tool")
            .args(["--module", "/usr/lib/softhsm/libsofthsm2.so", "--token-label", label])
            .args(["--login", "--pin", pin.trim(), "--list-objects"])
            .env("SOFTHSM2_CONF", self.path(dir).join("softhsm2.conf"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().matches(kind).count()
    }
}

/// The token of a server's machine, in the folder `online` of a desk.
pub(crate) struct OnlineToken<'a> {
    desk: &'a Desk,
    conf: PathBuf,
}

impl<'a> OnlineToken<'a> {
    pub(crate) fn new(desk: &'a Desk) -> Self {
        let online = desk.path("online");
        std::fs::create_dir_all(online.join("tokens")).unwrap();
        let conf = format!("directories.tokendir = {}\n", online.join("tokens").display());
        let conf = desk.put("online/softhsm2.conf", conf.as_bytes());
        desk.put("online/pin", b"12345678\n");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(online.join("pin"), mode).unwrap();
        let made = Command::new("softhsm2-util")
            .args(["--init-token", "--free", "--label", "online"])
            .args(["--so-pin", "87654321", "--pin", "12345678"])
            .env("SOFTHSM2_CONF", &conf)
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        Self { desk, conf }
    }

    /// `ca-cli issuer ...` with the key of this id.
    pub(crate) fn issuer(&self, arguments: &[&str], id: &str) -> Said {
        let mut command = self.desk.command(&[&["issuer"], arguments].concat());
        let label = format!("issuing-{id}");
        command
            .args(["--module", "/usr/lib/softhsm/libsofthsm2.so", "--token", "online"])
            .args(["--id", id, "--label", &label, "--pin-file", "online/pin"])
            .env("SOFTHSM2_CONF", &self.conf);
        Said::of(command.output().unwrap())
    }

    /// A request for `Example Issuing 1A`, into a file of the desk.
    pub(crate) fn request(&self, out: &str, id: &str) -> Said {
        let name = ["--organization", "Example", "--common-name", "Example Issuing 1A"];
        self.issuer(&[&["request"][..], &name, &["--out", out]].concat(), id)
    }
}

impl Desk {
    /// The plan of `issuing.csr` below `root.cer`, into `NAME.toml`; `token` is the serial number of the root's.
    pub(crate) fn issuing_plan(&self, name: &str, token: &str) {
        let new = ["ceremony", "new", "--kind", "issuing", "--name", "example-issuing-1a"];
        let inputs = ["--issuer", "root.cer", "--request", "issuing.csr"];
        let new = self.run(&[&new[..], &inputs].concat()).done();
        let plan = fill(new.out, "Example", "Example Issuing 1A", token);
        self.put(&format!("{name}.toml"), plan.as_bytes());
    }

    /// The plan of the CRL after `before.crl` below `root.cer`, which revokes a certificate, into `NAME.toml`.
    pub(crate) fn crl_plan(&self, name: &str, token: &str, revoked: &[u8]) {
        let serial = openssl::x509::X509::from_der(revoked).unwrap();
        let serial = serial.serial_number().to_bn().unwrap().to_hex_str().unwrap();
        let planned = in_days(70);
        let new = ["ceremony", "new", "--kind", "crl", "--name", "example-crl-2"];
        let inputs = ["--issuer", "root.cer", "--previous-crl", "before.crl"];
        let new = self.run(&[&new[..], &inputs, &["--planned", &planned]].concat()).done();
        assert!(new.out.contains("number = 2\n"), "{}", new.out);
        let plan = fill(new.out, "", "", token);
        let revoked = format!(
            "\n[[crl.revoked]]\nserial = \"{}\"\nat = \"{}\"\nreason = \"cACompromise\"\n",
            serial.to_lowercase(),
            in_days(69)
        );
        self.put(&format!("{name}.toml"), (plan + &revoked).as_bytes());
    }
}

/// So many days from now, as plans write it.
pub(crate) fn in_days(days: i64) -> String {
    ceremony::calendar::show(attest::UnixTime(seconds_in(days)))
}

/// The same in seconds since 1970.
pub(crate) fn seconds_in(days: i64) -> i64 {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    i64::try_from(now.as_secs()).unwrap() + days * ceremony::calendar::DAY
}

/// Serial number of the token of a rehearsal, as its transcript tells.
pub(crate) fn token_of(medium: &Path) -> String {
    let transcript = std::fs::read_to_string(medium.join("transcript.jsonl")).unwrap();
    let (_, rest) = transcript.split_once("\"token\":\"").unwrap();
    rest.split_once('"').unwrap().0.to_owned()
}
