//! SoftHSM with its store in a folder of our own.

use std::os::unix::process::CommandExt as _;
use std::path::Path;

use anyhow::Context as _;
use hsm::{PinSource, Pkcs11Uri};

use super::access::Access;
use crate::exit::{Exit, Failure};

/// SoftHSM reads its configuration from here when its module is loaded.
pub(crate) const SOFTHSM_CONF: &str = "SOFTHSM2_CONF";
/// The configuration of SoftHSM in a folder.
pub(crate) const SOFTHSM_CONF_FILE: &str = "softhsm2.conf";

/// Start over with a token store inside the folder: the module reads its environment when it is loaded, so the process
/// must be born with it. Returns only when that fails.
pub(crate) fn again_with_configuration(dir: &Path) -> Failure {
    let prepare = || -> anyhow::Result<std::path::PathBuf> {
        let dir = dir.canonicalize()?;
        let tokens = dir.join("tokens");
        std::fs::create_dir_all(&tokens)?;
        let conf = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
            tokens.display()
        );
        let path = dir.join(SOFTHSM_CONF_FILE);
        if !path.exists() {
            std::fs::write(&path, conf)?;
        }
        Ok(path)
    };
    let conf = match prepare().with_context(|| dir.display().to_string()) {
        Ok(conf) => conf,
        Err(error) => return error.into(),
    };
    let error = std::env::current_exe()
        .map(|exe| {
            std::process::Command::new(exe)
                .args(std::env::args_os().skip(1))
                .env(SOFTHSM_CONF, conf)
                .exec()
        })
        .unwrap_or_else(|e| e);
    Failure::new(Exit::Failed, format!("starting over with {SOFTHSM_CONF}: {error}"))
}

/// A token of this label, made if it is not there; its PINs are drawn and kept in files of mode 0600, `NAME.pin` and
/// `NAME.so-pin` below `secrets`.
pub(crate) fn token(module: &Path, secrets: &Path, name: &str, label: &str) -> Result<Access, Failure> {
    let pin_file = secrets.join(format!("{name}.pin"));
    let so_pin_file = secrets.join(format!("{name}.so-pin"));
    let access = Access {
        uri: Pkcs11Uri {
            token: Some(label.to_owned()),
            module_path: Some(module.to_owned()),
            ..Pkcs11Uri::default()
        },
        pin: PinSource::File(pin_file.clone()),
    };
    for path in [&pin_file, &so_pin_file] {
        if !path.exists() {
            secret(path)?;
        }
    }
    let read = |path: &Path| PinSource::File(path.to_owned()).read(None).context("PIN file");
    if exists(module, label)? {
        return Ok(access);
    }
    hsm::init_token(module, label, &read(&so_pin_file)?, &read(&pin_file)?).with_context(|| label.to_owned())?;
    Ok(access)
}

fn exists(module: &Path, label: &str) -> Result<bool, Failure> {
    let report = hsm::probe(module).context("module")?;
    Ok(report
        .slots
        .iter()
        .any(|slot| slot.token.as_ref().is_some_and(|t| t.label == label)))
}

/// A new file of mode 0600 with 32 random hex digits, whole or not there.
fn secret(path: &Path) -> Result<(), Failure> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut bytes = [0; 16];
    openssl::rand::rand_bytes(&mut bytes).context("randomness")?;
    let part = path.with_extension("part");
    let made = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&part);
    made.and_then(|mut f| {
        f.write_all(format!("{}\n", hex::encode(bytes)).as_bytes())?;
        f.sync_all()?;
        std::fs::rename(&part, path)
    })
    .with_context(|| path.display().to_string())?;
    Ok(())
}
