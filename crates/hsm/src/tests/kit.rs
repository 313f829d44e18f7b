//! A home for SoftHSM tokens, and tests that run in a process of their own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use issuance::SignatureAlgorithm;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::rsa::Padding;
use openssl::sign::{RsaPssSaltlen, Verifier};
use secrecy::SecretString;

use crate::{GeneratedKey, HsmError, HsmKey, KeySpec, Token, TokenConfig, init_token};

pub(crate) const P256: SignatureAlgorithm = SignatureAlgorithm::EcdsaP256Sha256;
pub(crate) const PIN: &str = "12345678";
pub(crate) const SO_PIN: &str = "87654321";

const HOME: &str = "HOLDFAST_TEST_HOME";
const STAGE: &str = "HOLDFAST_TEST_STAGE";

/// One directory with a SoftHSM configuration and its tokens.
pub(crate) struct Home {
    pub(crate) dir: PathBuf,
}

/// Part of a test; all parts of one test share a [`Home`].
pub(crate) type Stage = fn(&Home);

/// Run `stages` one after the other, each in a process of its own: this test binary, told to run the calling test only.
pub(crate) fn stages(stages: &[Stage]) {
    if let (Some(dir), Ok(stage)) = (std::env::var_os(HOME), std::env::var(STAGE)) {
        let stage: usize = stage.parse().unwrap();
        stages[stage](&Home { dir: dir.into() });
        return;
    }
    let (name, home, _dir) = furnish();
    for stage in 0..stages.len() {
        finish(&name, start(&name, &home, stage));
    }
}

/// As [`stages`], but the second stage runs in `processes` at once.
pub(crate) fn crowd(first: Stage, second: Stage, processes: usize) {
    if std::env::var_os(HOME).is_some() {
        return stages(&[first, second]);
    }
    let (name, home, _dir) = furnish();
    finish(&name, start(&name, &home, 0));
    let crowd: Vec<_> = (0..processes).map(|_| start(&name, &home, 1)).collect();
    crowd.into_iter().for_each(|one| finish(&name, one));
}

fn start(name: &str, home: &Home, stage: usize) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(HOME, &home.dir)
        .env(STAGE, stage.to_string())
        .env("SOFTHSM2_CONF", home.dir.join("softhsm2.conf"))
        .env("PKCS11SPY", softhsm())
        .env("PKCS11SPY_OUTPUT", home.spy_log())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn finish(name: &str, process: Child) {
    let output = process.wait_with_output().unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "a stage of {name}:\n{out}\n{err}");
    // A renamed test must not pass by running nothing.
    assert!(out.contains("1 passed"), "a stage of {name} did not run:\n{out}");
}

/// The calling test's name, and a directory for it.
fn furnish() -> (String, Home, tempfile::TempDir) {
    let name = std::thread::current().name().unwrap().to_owned();
    let dir = tempfile::tempdir().unwrap();
    let home = Home {
        dir: dir.path().to_owned(),
    };
    std::fs::create_dir(home.tokens()).unwrap();
    let text = format!(
        "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
        home.tokens().display()
    );
    std::fs::write(dir.path().join("softhsm2.conf"), text).unwrap();
    (name, home, dir)
}

pub(crate) fn softhsm() -> PathBuf {
    std::env::var_os("SOFTHSM2_MODULE").map_or_else(|| "/usr/lib/softhsm/libsofthsm2.so".into(), PathBuf::from)
}

/// OpenSC's spy: a module that forwards to SoftHSM and writes down every call.
fn spy() -> PathBuf {
    std::env::var_os("PKCS11_SPY_MODULE")
        .map_or_else(|| "/usr/lib/x86_64-linux-gnu/pkcs11-spy.so".into(), PathBuf::from)
}

pub(crate) fn secret(text: &str) -> SecretString {
    SecretString::new(Box::from(text))
}

impl Home {
    pub(crate) fn tokens(&self) -> PathBuf {
        self.dir.join("tokens")
    }

    fn spy_log(&self) -> PathBuf {
        self.dir.join("spy.log")
    }

    /// How often this process and earlier stages called `function` through [`Home::spied`].
    pub(crate) fn calls(&self, function: &str) -> usize {
        let log = std::fs::read(self.spy_log()).unwrap_or_default();
        String::from_utf8_lossy(&log)
            .lines()
            .filter(|line| line.ends_with(&format!(": {function}")))
            .count()
    }

    /// Make a token; the answer is how to reach it, with a login back-off that never gets in the way.
    pub(crate) fn token(&self, label: &str) -> TokenConfig {
        init_token(&softhsm(), label, &secret(SO_PIN), &secret(PIN)).unwrap();
        self.config(label)
    }

    pub(crate) fn config(&self, label: &str) -> TokenConfig {
        config(label, &softhsm())
    }

    /// The same through the spy.
    pub(crate) fn spied(&self, label: &str) -> TokenConfig {
        config(label, &spy())
    }
}

fn config(label: &str, module: &Path) -> TokenConfig {
    TokenConfig {
        uri: format!("pkcs11:token={label}?module-path={}", module.display())
            .parse()
            .unwrap(),
        sessions: 4,
        queue_deadline: Duration::from_secs(20),
        login_backoff: Duration::ZERO,
    }
}

pub(crate) fn open(config: TokenConfig) -> Token {
    Token::open(config, secret(PIN)).unwrap()
}

pub(crate) fn generate(token: &Token, id: u8, algorithm: SignatureAlgorithm) -> GeneratedKey {
    token
        .generate(&KeySpec {
            label: format!("key-{id}"),
            id: vec![id],
            algorithm,
        })
        .unwrap()
}

/// A token with one P-256 key, opened.
pub(crate) fn token_with_key(home: &Home, config: impl FnOnce(TokenConfig) -> TokenConfig) -> (Token, HsmKey) {
    let token = open(config(home.token("ca")));
    let made = generate(&token, 1, P256);
    let key = token.ca_key(&[1], &made.spki, P256).unwrap();
    (token, key)
}

/// Independent of everything under test: does OpenSSL accept this signature?
pub(crate) fn verifies(spki: &[u8], algorithm: SignatureAlgorithm, message: &[u8], signature: &[u8]) -> bool {
    use SignatureAlgorithm as A;
    let key = PKey::public_key_from_der(spki).unwrap();
    let digest = match algorithm {
        A::EcdsaP384Sha384 => MessageDigest::sha384(),
        _ => MessageDigest::sha256(),
    };
    let mut verifier = Verifier::new(digest, &key).unwrap();
    if matches!(algorithm, A::Rsa3072PssSha256 | A::Rsa4096PssSha256) {
        verifier.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
        verifier.set_rsa_mgf1_md(MessageDigest::sha256()).unwrap();
        verifier.set_rsa_pss_saltlen(RsaPssSaltlen::custom(32)).unwrap();
    }
    verifier.verify_oneshot(signature, message).unwrap_or(false)
}

/// Wait for something that comes by itself; fails after ten seconds.
pub(crate) fn eventually<T, E: core::fmt::Debug>(mut attempt: impl FnMut() -> Result<T, E>) -> T {
    let start = std::time::Instant::now();
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(error) if start.elapsed() > Duration::from_secs(10) => panic!("{error:?}"),
            Err(_) => std::thread::yield_now(),
        }
    }
}

pub(crate) fn refusal<T>(outcome: Result<T, HsmError>) -> String {
    match outcome {
        Ok(_) => panic!("not refused"),
        Err(error) => error.to_string(),
    }
}
