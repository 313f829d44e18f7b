//! Arguments, keys, exit codes.

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use ledger::{KeyName, SignatureKind, SigningKey, VerifierKey};
use wire::Exit;
use zeroize::Zeroizing;

use crate::memory::{Memory, MemoryError};
use crate::serve::serve;

/// A witness of ledgers.
#[derive(Debug, clap::Parser)]
#[command(version, after_help = help())]
pub(crate) struct Cli {
    /// Where to listen (plain HTTP; put TLS before it).
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// The witness's own key (Ed25519, PEM).
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The witness's name, for ever.
    #[arg(long)]
    name: String,
    /// Folder of what was seen; no other witness writes there.
    #[arg(long, value_name = "FOLDER")]
    state: PathBuf,
    /// Verifier key of a ledger to look at (NAME+ID+KEY), or a file with one;
    /// may be repeated.
    #[arg(long, required = true, value_name = "KEY")]
    ledger: Vec<String>,
}

fn help() -> String {
    let codes = Exit::table(&[Exit::Done, Exit::Failed, Exit::Usage, Exit::Refuses]);
    format!(
        "Examples:
  (umask 077; openssl genpkey -algorithm ed25519 -out w1.key)
  ca-cli ledger key w1.key --origin w1.example.org --witness > w1.vkey
  ca-witness --listen 127.0.0.1:9701 --key w1.key --name w1.example.org \\
    --state /var/lib/ca-witness --ledger ledger.vkey

{codes}"
    )
}

/// Why it ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// An argument, or the file that it names.
    #[error("{0}")]
    Usage(String),
    /// What it remembers cannot be relied on.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The system.
    #[error("{0}")]
    System(#[from] std::io::Error),
}

impl Fault {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Memory(MemoryError::Io(..)) | Self::System(_) => Exit::Failed,
            Self::Memory(MemoryError::Shared(_) | MemoryError::Spoilt(..)) => Exit::Refuses,
        }
    }
}

/// Run.
///
/// # Errors
/// [`Fault`].
pub(crate) fn start(cli: &Cli) -> Result<(), Fault> {
    let wrong = |at: &Path, e: &dyn core::fmt::Display| Fault::Usage(format!("{}: {e}", at.display()));
    // The key is in it.
    hardening::close().map_err(Fault::System)?;
    let mode = std::fs::metadata(&cli.key)
        .map_err(|e| wrong(&cli.key, &e))?
        .permissions()
        .mode();
    if mode & 0o077 != 0 {
        return Err(wrong(&cli.key, &"others may read this secret: chmod 600"));
    }
    let pem = Zeroizing::new(std::fs::read(&cli.key).map_err(|e| wrong(&cli.key, &e))?);
    let key = KeyName::new(&cli.name)
        .and_then(|name| SigningKey::from_pem(name, SignatureKind::Cosignature, &pem))
        .map_err(|e| wrong(&cli.key, &e))?;
    let mut ledgers: Vec<VerifierKey> = Vec::new();
    for given in &cli.ledger {
        let key = verifier(given)?;
        if ledgers.iter().any(|other| other.name() == key.name()) {
            return Err(Fault::Usage(format!("the ledger {} is named twice", key.name())));
        }
        ledgers.push(key);
    }
    let memory = Memory::open(&cli.state, key, ledgers)?;
    let own = memory.key().to_string();
    serve(memory, cli.listen, move |address| {
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "ready listen={address} key={own}");
        let _ = out.flush();
    })?;
    Ok(())
}

/// A ledger's key, as text or in a file.
fn verifier(given: &str) -> Result<VerifierKey, Fault> {
    let text = match VerifierKey::parse(given) {
        Ok(_) => given.to_owned(),
        Err(_) => std::fs::read_to_string(given).map_err(|e| Fault::Usage(format!("{given}: {e}")))?,
    };
    let key = VerifierKey::parse(text.trim_end()).map_err(|e| Fault::Usage(format!("{given}: {e}")))?;
    if key.kind() == SignatureKind::Ed25519 {
        Ok(key)
    } else {
        Err(Fault::Usage(format!(
            "{given}: this is the key of a witness, not of a ledger"
        )))
    }
}
