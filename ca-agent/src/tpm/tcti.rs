//! Where the TPM is: the TCTI, and a look at the way there before the TSS takes it.

use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use tss_esapi::tcti_ldr::TctiNameConf;

use super::TpmError;

/// How the TPM is reached, in the notation of tpm2-tools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tcti {
    /// `device:/dev/tpmrm0`.
    Device(PathBuf),
    /// `swtpm:host=127.0.0.1,port=2321`; the control channel is at the next port.
    Swtpm {
        /// Name or address.
        host: String,
        /// Command port.
        port: u16,
    },
    /// `tabrmd:…` or `mssim:…`, passed on as it is.
    Other(String),
}

impl core::fmt::Display for Tcti {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Device(path) => write!(f, "device:{}", path.display()),
            Self::Swtpm { host, port } => write!(f, "swtpm:host={host},port={port}"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

/// Text that is no TCTI this agent can open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotATcti {
    /// Unknown kind.
    #[error("`{0}` is no TCTI: say device:/dev/tpmrm0 or swtpm:host=127.0.0.1,port=2321")]
    Unknown(String),
    /// A UNIX socket: the TSS binding has no way to name one.
    #[error(
        "swtpm on a UNIX socket cannot be opened by the TSS library of this agent: start swtpm with --server type=tcp"
    )]
    UnixSocket,
    /// A key or value that is not understood.
    #[error("`{0}` is not host=NAME or port=NUMBER")]
    Option(String),
}

impl FromStr for Tcti {
    type Err = NotATcti;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        match kind {
            "device" => Ok(Self::Device(PathBuf::from(if rest.is_empty() {
                "/dev/tpmrm0"
            } else {
                rest
            }))),
            "swtpm" => {
                let (mut host, mut port) = ("127.0.0.1".to_owned(), 2321);
                for option in rest.split(',').filter(|o| !o.is_empty()) {
                    match option.split_once('=') {
                        Some(("host", value)) if !value.is_empty() => host = value.to_owned(),
                        Some(("port", value)) => {
                            port = value.parse().map_err(|_| NotATcti::Option(option.to_owned()))?;
                        }
                        Some(("path", _)) => return Err(NotATcti::UnixSocket),
                        _ => return Err(NotATcti::Option(option.to_owned())),
                    }
                }
                Ok(Self::Swtpm { host, port })
            }
            "tabrmd" | "mssim" => Ok(Self::Other(text.to_owned())),
            _ => Err(NotATcti::Unknown(text.to_owned())),
        }
    }
}

impl Tcti {
    /// For the TSS.
    pub(super) fn to_tss(&self) -> Result<TctiNameConf, TpmError> {
        TctiNameConf::from_str(&self.to_string()).map_err(|_| TpmError::NotReached {
            tcti: self.to_string(),
            detail: "the TSS library does not understand it".into(),
        })
    }

    /// Look whether somebody is there, so that what is wrong is said in words: the TSS gives one number for all of it.
    pub(super) fn look(&self) -> Result<(), TpmError> {
        match self {
            Self::Device(path) => look_at_device(path),
            Self::Swtpm { host, port } => {
                let unreached = |detail: String| TpmError::NotReached {
                    tcti: self.to_string(),
                    detail,
                };
                let control = port
                    .checked_add(1)
                    .ok_or_else(|| unreached("port out of range".into()))?;
                let address = (host.as_str(), control)
                    .to_socket_addrs()
                    .map_err(|e| unreached(e.to_string()))?
                    .next()
                    .ok_or_else(|| unreached("the name has no address".into()))?;
                TcpStream::connect_timeout(&address, Duration::from_secs(5))
                    .map(drop)
                    .map_err(|e| unreached(format!("control port {control}: {e}")))
            }
            Self::Other(_) => Ok(()),
        }
    }
}

fn look_at_device(path: &Path) -> Result<(), TpmError> {
    use std::io::ErrorKind;
    match std::fs::OpenOptions::new().read(true).write(true).open(path) {
        Ok(_) => Ok(()),
        Err(error) => Err(match error.kind() {
            ErrorKind::NotFound => TpmError::Absent { path: path.to_owned() },
            ErrorKind::PermissionDenied => TpmError::Permission { path: path.to_owned() },
            ErrorKind::ResourceBusy => TpmError::Busy {
                path: path.to_owned(),
                holders: holders_of(path),
            },
            _ => TpmError::NotReached {
                tcti: format!("device:{}", path.display()),
                detail: error.to_string(),
            },
        }),
    }
}

/// Names of the processes that have `path` open, as far as this user may see.
fn holders_of(path: &Path) -> Vec<String> {
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let mut holders = Vec::new();
    for process in processes.flatten() {
        let Ok(files) = std::fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        if files
            .flatten()
            .any(|f| std::fs::read_link(f.path()).is_ok_and(|target| target == path))
        {
            let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            holders.push(format!("{} (pid {})", name.trim(), process.file_name().display()));
        }
    }
    holders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tctis_are_read_as_tpm2_tools_writes_them() {
        let parsed = |text: &str| text.parse::<Tcti>();
        assert_eq!(parsed("device"), Ok(Tcti::Device("/dev/tpmrm0".into())));
        assert_eq!(parsed("device:/dev/tpm0"), Ok(Tcti::Device("/dev/tpm0".into())));
        let swtpm = Tcti::Swtpm {
            host: "localhost".into(),
            port: 2521,
        };
        assert_eq!(parsed("swtpm:port=2521,host=localhost"), Ok(swtpm));
        assert_eq!(parsed("swtpm:path=/run/tpm"), Err(NotATcti::UnixSocket));
        assert_eq!(parsed("swtpm:port=70000"), Err(NotATcti::Option("port=70000".into())));
        assert_eq!(parsed("swtpm:fort=1"), Err(NotATcti::Option("fort=1".into())));
        assert_eq!(parsed("/dev/tpm0"), Err(NotATcti::Unknown("/dev/tpm0".into())));
        assert_eq!(
            parsed("tabrmd:bus_type=session").unwrap().to_string(),
            "tabrmd:bus_type=session"
        );
    }

    #[test]
    fn a_missing_node_is_absence_and_a_closed_port_is_named() {
        let gone = Tcti::Device("/dev/no-such-tpm".into());
        assert!(matches!(gone.look(), Err(TpmError::Absent { .. })));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let control = listener.local_addr().unwrap().port();
        let tcti = Tcti::Swtpm {
            host: "127.0.0.1".into(),
            port: control - 1,
        };
        assert!(tcti.look().is_ok());
        drop(listener);
        assert!(
            matches!(tcti.look(), Err(TpmError::NotReached { detail, .. }) if detail.contains(&control.to_string()))
        );
    }

    #[test]
    fn who_holds_a_file_is_seen() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let me = std::process::id().to_string();
        assert!(holders_of(file.path()).iter().any(|h| h.contains(&me)));
    }
}
