//! Programs of the site that are run after the identity changed: to reload a server, to copy a file.
//!
//! Every executable file of the folder, by name, once for each certificate; again when the run was cut off before it was
//! remembered. What one of them says or does changes nothing about the certificate.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::error::AgentError;
use crate::state::{Enrolled, Hooked, State, StateError};
use crate::stored;

/// How long one may take; then it is killed.
const PATIENCE: Duration = Duration::from_secs(60);

/// What became of one.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Ran {
    /// Which.
    pub file: PathBuf,
    /// Its exit code; none: it could not be run, or was killed.
    pub exit: Option<i32>,
}

/// Run the hooks in `folder`, unless they ran for this certificate already.
///
/// # Errors
/// [`AgentError::State`].
pub fn settle(state: &State, folder: &Path, say: &dyn Fn(&str)) -> Result<Vec<Ran>, AgentError> {
    let (Some(enrolled), Some(certificate)) = (state.enrolled()?, stored::certificate(state, stored::IDENTITY)?) else {
        return Ok(Vec::new());
    };
    let damaged = |e: openssl::error::ErrorStack| StateError::Damaged {
        path: state.path(stored::IDENTITY),
        detail: e.to_string(),
    };
    let digest = hex::encode(openssl::sha::sha256(&certificate.to_der().map_err(damaged)?));
    let before = state.hooked()?;
    if before
        .as_ref()
        .is_some_and(|hooked| hooked.certificate_sha256 == digest)
    {
        return Ok(Vec::new());
    }
    let serial = certificate.serial_number().to_bn().map_err(damaged)?;
    let event = if before.is_some() { "renewed" } else { "enrolled" };
    let key = state.openssl_key()?.unwrap_or_default();
    let mut ran = Vec::new();
    for file in executables(folder) {
        say(&format!("running {}", file.display()));
        let exit = run(&file, event, state, &enrolled, &hex::encode(serial.to_vec()), &key);
        if exit != Some(0) {
            tracing::warn!(file = %file.display(), ?exit, "a hook failed");
        }
        ran.push(Ran { file, exit });
    }
    state.set_hooked(&Hooked {
        certificate_sha256: digest,
    })?;
    Ok(ran)
}

/// Files that may be run, by name. Hidden ones, and what editors and packagers leave, are not hooks.
fn executables(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or(".");
            let left_behind = name.starts_with('.') || name.ends_with('~') || name.contains(".dpkg-");
            let runs = std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
            !left_behind && runs
        })
        .collect();
    files.sort();
    files
}

fn run(file: &Path, event: &str, state: &State, enrolled: &Enrolled, serial: &str, key: &str) -> Option<i32> {
    let mut child = Command::new(file)
        .arg(event)
        .env("CA_EVENT", event)
        .env("CA_DEVICE", &enrolled.device)
        .env("CA_PROFILE", &enrolled.profile)
        .env("CA_SERVER", &enrolled.server)
        .env("CA_SERIAL", serial)
        .env("CA_CERT", state.path(stored::IDENTITY))
        .env("CA_CHAIN", state.path("chain.pem"))
        .env("CA_ROOT", state.path("root.pem"))
        .env("CA_KEY", key)
        .stdin(Stdio::null())
        // Standard output is for our own data.
        .stdout(std::io::stderr())
        .spawn()
        .ok()?;
    let end = Instant::now() + PATIENCE;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.code(),
            Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(20)),
            Ok(None) | Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_be_run_is_run_by_name() {
        let folder = tempfile::tempdir().unwrap();
        for (name, mode) in [
            ("20-b", 0o755),
            ("10-a", 0o700),
            ("30-no", 0o644),
            (".hidden", 0o755),
            ("10-a~", 0o755),
        ] {
            let path = folder.path().join(name);
            std::fs::write(&path, "#!/bin/sh\n").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        std::fs::create_dir(folder.path().join("40-folder")).unwrap();
        let names: Vec<_> = executables(folder.path())
            .iter()
            .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect();
        assert_eq!(names, ["10-a", "20-b"]);
        assert!(executables(Path::new("/nowhere")).is_empty());
    }
}
