//! Credentials across implementations: ours opened by a real TPM (swtpm and tpm2-tools), and tpm2-tools' opened by the
//! kit's software EK. What one side makes the other must give back, and only for the right Name.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what cannot be set up must stop the test"
)]

use attest::tpm::{TpmtPublic, make_credential};
use attest::{Entropy, EntropyError};
use device_kit::endorsement::{NotOpened, SoftEk, Template};
use device_kit::keys::{Shape, SoftKey, tpm2b};
use device_kit::swtpm::Swtpm;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// Header of tpm2-tools' credential files: magic and version.
const FILE_HEADER: [u8; 8] = [0xBA, 0xDC, 0xC0, 0xDE, 0, 0, 0, 1];

struct Os;

impl Entropy for Os {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        openssl::rand::rand_bytes(out).map_err(|_| EntropyError)
    }
}

/// Files that tpm2-tools reads and writes.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn at(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }
}

/// A TPM with an AK, and its EK under test.
struct Device {
    tpm: Swtpm,
    files: Files,
}

impl Device {
    fn new() -> Self {
        let device = Self {
            tpm: Swtpm::blank().unwrap(),
            files: Files::new(),
        };
        // A primary: it needs no authorization of the EK to load.
        let attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign";
        let (context, public) = (device.files.at("ak.ctx"), device.files.at("ak.pub"));
        device.tool(&[
            "createprimary",
            "-C",
            "e",
            "-G",
            "ecc256:ecdsa-sha256:null",
            "-a",
            attributes,
            "-c",
            &context,
        ]);
        device.tool(&[
            "readpublic",
            "-c",
            &context,
            "-o",
            &public,
            "-n",
            &device.files.at("ak.name"),
        ]);
        device
    }

    fn tool(&self, arguments: &[&str]) {
        self.tpm
            .tool(arguments)
            .unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
    }

    /// The EK's public area, as the TPM wrote it.
    fn ek(&self) -> TpmtPublic {
        self.tool(&[
            "readpublic",
            "-c",
            &self.files.at("ek.ctx"),
            "-o",
            &self.files.at("ek.pub"),
        ]);
        TpmtPublic::parse_2b(&self.files.read("ek.pub")).unwrap()
    }

    /// The AK's Name, as we compute it.
    fn ak_name(&self) -> Vec<u8> {
        let name = TpmtPublic::parse_2b(&self.files.read("ak.pub")).unwrap().name();
        assert_eq!(name, self.files.read("ak.name"), "our Name is the TPM's");
        name
    }

    /// `TPM2_ActivateCredential` in the TPM; low-range EKs want a policy session.
    fn activate(&self, blob: &[u8], secret: &[u8], policy: bool) -> Option<Vec<u8>> {
        std::fs::write(self.files.path("cred"), [&FILE_HEADER, blob, secret].concat()).unwrap();
        let (session, out) = (self.files.at("session"), self.files.at("out"));
        let _ = std::fs::remove_file(&out);
        let (ak, ek, cred) = (self.files.at("ak.ctx"), self.files.at("ek.ctx"), self.files.at("cred"));
        let mut arguments = vec!["activatecredential", "-c", &ak, "-C", &ek, "-i", &cred, "-o", &out];
        let auth = format!("session:{session}");
        if policy {
            self.tool(&["startauthsession", "--policy-session", "-S", &session]);
            self.tool(&["policysecret", "-S", &session, "-c", "e"]);
            arguments.extend(["-P", &auth]);
        }
        let outcome = self.tpm.tool(&arguments);
        // A refusal leaves the objects and the session behind.
        self.tool(&["flushcontext", "-t"]);
        if policy {
            self.tool(&["flushcontext", &session]);
        }
        outcome.ok().map(|_| self.files.read("out"))
    }

    /// Ours in, the TPM's answer out; and nothing for another Name.
    fn check(&self, policy: bool) {
        let (ek, name) = (self.ek(), self.ak_name());
        let secret: Vec<u8> = (0x40..0x60).collect();
        let made = make_credential(&ek, &name, &secret, &mut Os).unwrap();
        assert_eq!(
            self.activate(&made.credential_blob, &made.encrypted_secret, policy),
            Some(secret.clone())
        );

        let mut other = name;
        *other.last_mut().unwrap() ^= 1;
        let made = make_credential(&ek, &other, &secret, &mut Os).unwrap();
        assert_eq!(
            self.activate(&made.credential_blob, &made.encrypted_secret, policy),
            None
        );
    }

    /// An EK of the TCG template that tpm2-tools knows.
    fn create_ek(&self, algorithm: &str) {
        self.tool(&["createek", "-G", algorithm, "-c", &self.files.at("ek.ctx")]);
    }

    /// A storage primary with the sizes of a high-range EK.
    fn create_high(&self, algorithm: &str, name_alg: &str) {
        let attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|decrypt";
        let context = self.files.at("ek.ctx");
        self.tool(&[
            "createprimary",
            "-C",
            "e",
            "-G",
            algorithm,
            "-g",
            name_alg,
            "-a",
            attributes,
            "-c",
            &context,
        ]);
    }
}

#[test]
fn ours_opens_in_a_tpm_with_an_rsa_2048_ek() {
    let device = Device::new();
    device.create_ek("rsa");
    device.check(true);
}

#[test]
fn ours_opens_in_a_tpm_with_a_p256_ek() {
    let device = Device::new();
    device.create_ek("ecc");
    device.check(true);
}

/// SHA-384 and SHA-512 EKs with AES-256: the sizes are the EK's, whatever the AK's are.
#[test]
fn ours_opens_in_a_tpm_with_high_range_eks() {
    let device = Device::new();
    for (algorithm, name_alg) in [
        ("ecc384:null:aes256cfb", "sha384"),
        ("ecc521:null:aes256cfb", "sha512"),
        ("rsa3072:null:aes256cfb", "sha384"),
        ("ecc256:null:aes128cfb", "sha256"),
    ] {
        device.create_high(algorithm, name_alg);
        device.check(false);
    }
}

/// What `tpm2_makecredential` writes for `ek` and `name`: blob and secret.
fn foreign(ek: &SoftEk, name: &[u8], secret: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let files = Files::new();
    std::fs::write(files.path("ek.pub"), tpm2b(&ek.public)).unwrap();
    std::fs::write(files.path("secret"), secret).unwrap();
    let status = Command::new("tpm2")
        .args([
            "makecredential",
            "-T",
            "none",
            "-u",
            &files.at("ek.pub"),
            "-s",
            &files.at("secret"),
        ])
        .args(["-n", &hex::encode(name), "-o", &files.at("cred")])
        .env("TSS2_LOG", "all+none")
        .status()
        .unwrap();
    assert!(status.success(), "tpm2_makecredential for {:?}", ek.template);
    let file = files.read("cred");
    let rest = file.strip_prefix(&FILE_HEADER).unwrap();
    let size = usize::from(u16::from_be_bytes(*rest.first_chunk().unwrap()));
    let (blob, secret) = rest.split_at(2 + size);
    (blob.to_vec(), secret.to_vec())
}

/// The same, until the tool drew an ephemeral point without leading zeros. tpm2_makecredential 5.4 strips them, and
/// hashes the stripped x, so that no TPM opens what it made: half of the time on P-521, once in 256 on P-256.
fn foreign_unstripped(ek: &SoftEk, name: &[u8], secret: &[u8], size: usize) -> (Vec<u8>, Vec<u8>) {
    (0..64)
        .map(|_| foreign(ek, name, secret))
        .find(|(_, encrypted)| encrypted.len() == size)
        .unwrap_or_else(|| panic!("{:?}: never {size} bytes", ek.template))
}

#[test]
fn theirs_opens_in_software_for_every_template() {
    let name = SoftKey::generate(Shape::ak(attest::KeyAlgorithm::P256)).name();
    let secret = [0x77; 32];
    for template in Template::ALL {
        let ek = SoftEk::generate(template);
        // Ours first: it says how long theirs must be.
        let public = TpmtPublic::parse(&ek.public).unwrap();
        let made = make_credential(&public, &name, &secret, &mut Os).unwrap();
        let opened = ek.activate(&name, &made.credential_blob, &made.encrypted_secret);
        assert_eq!(opened, Ok(secret.to_vec()), "{template:?}");

        let (blob, encrypted) = foreign_unstripped(&ek, &name, &secret, made.encrypted_secret.len());
        assert_eq!(blob.len(), made.credential_blob.len(), "{template:?}");
        assert_eq!(
            ek.activate(&name, &blob, &encrypted),
            Ok(secret.to_vec()),
            "{template:?}"
        );
        let mut other = name.clone();
        *other.last_mut().unwrap() ^= 1;
        assert_eq!(
            ek.activate(&other, &blob, &encrypted),
            Err(NotOpened::Integrity),
            "{template:?}"
        );
    }
}
