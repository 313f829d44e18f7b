//! A private PostgreSQL: its own cluster in a temporary directory, reachable by a unix socket only, gone afterwards.
//!
//! ```no_run
//! let cluster = device_kit::postgres::shared().unwrap();
//! let url = cluster.database().unwrap();
//! ```
//! The shared cluster is started once per test binary. Whatever ends this process, a guardian that holds the other
//! end of a pipe stops the server and removes its directory.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, bail, ensure};

/// Says its directory, waits for the end of its input, then stops the server and cleans up.
const GUARDIAN: &str = r#"
set -eu
cd /
umask 077
dir=$(mktemp -d "$2/holdfast-pg-XXXXXX")
printf '%s\n' "$dir"
cat >/dev/null || true
"$1/pg_ctl" -D "$dir/data" -m immediate -w stop >/dev/null 2>&1 || true
rm -rf "$dir"
"#;

/// A PostgreSQL cluster of our own.
#[derive(Debug)]
pub struct Cluster {
    bin: PathBuf,
    directory: PathBuf,
    guardian: Child,
    pipe: Option<ChildStdin>,
    databases: AtomicU32,
}

/// The cluster of this test binary.
///
/// # Errors
/// PostgreSQL is not installed, or does not start. A test must not be skipped for that: `make test` installs it.
pub fn shared() -> Result<&'static Cluster> {
    static SHARED: OnceLock<std::result::Result<Cluster, String>> = OnceLock::new();
    match SHARED.get_or_init(|| Cluster::start().map_err(|e| format!("{e:#}"))) {
        Ok(cluster) => Ok(cluster),
        Err(text) => bail!("{text}"),
    }
}

impl Cluster {
    /// Make a cluster and start it, with everything that makes its commits durable switched on.
    ///
    /// # Errors
    /// PostgreSQL is not installed, or does not start.
    pub fn start() -> Result<Self> {
        let cluster = Self::nothing_yet()?;
        cluster.run("initdb", |c| {
            c.arg("-D").arg(cluster.data());
            c.args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8"]);
            c.arg("--data-checksums");
        })?;
        let settings = format!(
            "listen_addresses = ''\nunix_socket_directories = '{}'\nunix_socket_permissions = 0700\nfsync = on\n\
             full_page_writes = on\nsynchronous_commit = on\nmax_connections = 200\n",
            cluster.directory.display()
        );
        cluster.append_settings(&settings)?;
        cluster.up()?;
        Ok(cluster)
    }

    /// A directory with a guardian, and no database in it.
    fn nothing_yet() -> Result<Self> {
        let bin = programs()?;
        let mut guardian = as_postgres("sh")
            .args(["-c", GUARDIAN, "guardian"])
            .arg(&bin)
            .arg(std::env::temp_dir())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting the guardian of PostgreSQL")?;
        let pipe = guardian.stdin.take();
        let mut said = String::new();
        let mut output = guardian.stdout.take().context("the guardian says nothing")?;
        let mut byte = [0];
        while output.read(&mut byte)? == 1 && byte != *b"\n" {
            said.push(char::from(byte[0]));
        }
        ensure!(!said.is_empty(), "the guardian of PostgreSQL made no directory");
        Ok(Self {
            bin,
            directory: PathBuf::from(said),
            guardian,
            pipe,
            databases: AtomicU32::new(0),
        })
    }

    /// A standby of this one, streaming under a name, and of whichever of `peers` writes later. It answers on return.
    ///
    /// # Errors
    /// `pg_basebackup` fails, or it does not start.
    pub fn standby(&self, name: &str, peers: &[&Self]) -> Result<Self> {
        let standby = Self::nothing_yet()?;
        standby.copies(self)?;
        standby.comes_back(self, name, peers)?;
        Ok(standby)
    }

    /// Take over all that `primary` has.
    fn copies(&self, primary: &Self) -> Result<()> {
        self.run("pg_basebackup", |c| {
            c.arg("-D").arg(self.data());
            c.args([
                "-X",
                "stream",
                "-c",
                "fast",
                "-d",
                &format!("{} user=postgres", primary.host()),
            ]);
        })
    }

    /// From the next start on it is a standby under this name, of whichever of these writes.
    ///
    /// # Errors
    /// Its files cannot be written.
    pub fn follows(&self, name: &str, primaries: &[&Self]) -> Result<()> {
        let hosts: Vec<String> = primaries
            .iter()
            .map(|one| one.directory.display().to_string())
            .collect();
        self.append_settings(&format!(
            "primary_conninfo = 'host={} user=postgres application_name={name} target_session_attrs=read-write'\n",
            hosts.join(",")
        ))?;
        self.run("sh", |c| {
            c.args(["-c", "touch \"$1/standby.signal\"", "sh"]).arg(self.data());
        })
    }

    /// Make this one, which is stopped, a standby of `primary` from scratch, and of whichever of `peers` writes later. It
    /// answers on return.
    ///
    /// # Errors
    /// `pg_basebackup` fails, or it does not start.
    pub fn copied_from(&self, primary: &Self, name: &str, peers: &[&Self]) -> Result<()> {
        self.run("sh", |c| {
            c.args(["-c", "rm -rf \"$1\"", "sh"]).arg(self.data());
        })?;
        self.copies(primary)?;
        self.comes_back(primary, name, peers)
    }

    /// The same of one that has parted from it, with `pg_rewind`, which keeps what both have.
    ///
    /// # Errors
    /// `pg_rewind` fails, or it does not start.
    pub fn rewound_to(&self, primary: &Self, name: &str, peers: &[&Self]) -> Result<()> {
        // Before this its control file may still say the timeline of before.
        let _ = primary.sql("postgres", "CHECKPOINT")?;
        // It recovers from its crash by itself first, and must wait for no standby in that.
        self.append_settings("synchronous_standby_names = ''\n")?;
        self.run("pg_rewind", |c| {
            c.arg("-D").arg(self.data());
            c.arg("--source-server");
            c.arg(format!("{} user=postgres dbname=postgres", primary.host()));
        })?;
        self.comes_back(primary, name, peers)
    }

    /// With the files of another one, and its own settings.
    fn comes_back(&self, primary: &Self, name: &str, peers: &[&Self]) -> Result<()> {
        self.append_settings(&format!("unix_socket_directories = '{}'\n", self.directory.display()))?;
        let hosts: Vec<&Self> = core::iter::once(primary).chain(peers.iter().copied()).collect();
        self.follows(name, &hosts)?;
        self.up()
    }

    /// A standby takes over; it writes on return.
    ///
    /// # Errors
    /// It does not.
    pub fn promote(&self) -> Result<()> {
        self.run("pg_ctl", |c| {
            c.arg("-D").arg(self.data());
            c.args(["-w", "-t", "60", "promote"]);
        })
    }

    /// The running server reads its settings again.
    ///
    /// # Errors
    /// It does not run.
    pub fn reload(&self) -> Result<()> {
        self.run("pg_ctl", |c| {
            c.arg("-D").arg(self.data()).arg("reload");
        })
    }

    /// The URL of a database in whichever of these writes, the first of them first.
    #[must_use]
    pub fn url_of_all(database: &str, all: &[&Self]) -> String {
        let hosts: Vec<String> = all.iter().map(|one| one.directory.display().to_string()).collect();
        format!(
            "postgres:///{database}?host={}&user=postgres&target_session_attrs=read-write",
            hosts.join(",")
        )
    }

    /// What the server wrote to its log.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    fn host(&self) -> String {
        format!("host={}", self.directory.display())
    }

    /// Add lines to `postgresql.conf`; they count after the next [`Cluster::up`].
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn append_settings(&self, lines: &str) -> Result<()> {
        use std::io::Write as _;
        // Root may write there, and otherwise it is our own file.
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .open(self.data().join("postgresql.conf"))?;
        file.write_all(lines.as_bytes())?;
        Ok(())
    }

    /// Start the server; it answers on return.
    ///
    /// # Errors
    /// It does not start.
    pub fn up(&self) -> Result<()> {
        self.run("pg_ctl", |c| {
            c.arg("-D").arg(self.data());
            c.arg("-l").arg(self.directory.join("log"));
            c.args(["-w", "-t", "60", "start"]);
        })
    }

    /// Stop the server as a crash would (`immediate`): nothing is flushed, clients are cut off.
    ///
    /// # Errors
    /// It does not stop.
    pub fn crash(&self) -> Result<()> {
        self.run("pg_ctl", |c| {
            c.arg("-D").arg(self.data());
            c.args(["-m", "immediate", "-w", "stop"]);
        })
    }

    /// Stop the server as one is stopped (`fast`): everything is on its disk.
    ///
    /// # Errors
    /// It does not stop.
    pub fn stop(&self) -> Result<()> {
        self.run("pg_ctl", |c| {
            c.arg("-D").arg(self.data());
            c.args(["-m", "fast", "-w", "stop"]);
        })
    }

    /// A file of the server, by its path in the data directory.
    #[must_use]
    pub fn file(&self, below: &str) -> PathBuf {
        self.data().join(below)
    }

    /// A new empty database; its URL.
    ///
    /// # Errors
    /// The server does not make it.
    pub fn database(&self) -> Result<String> {
        let name = format!("t{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"))?;
        Ok(self.url(&name))
    }

    /// The URL of a database.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres:///{database}?host={}&user=postgres", self.directory.display())
    }

    /// Run SQL with `psql`; rows as lines, columns separated by `|`.
    ///
    /// # Errors
    /// The statement fails; the server's words are in the error.
    pub fn sql(&self, database: &str, statement: &str) -> Result<String> {
        let output = as_postgres(self.bin.join("psql"))
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database, "-h"])
            .arg(&self.directory)
            .args(["-c", statement])
            .output()
            .context("psql")?;
        Ok(said("psql", &output)?.trim_end().to_owned())
    }

    /// Name of the database in a URL of [`Cluster::database`].
    #[must_use]
    pub fn name_in(url: &str) -> &str {
        let rest = url.strip_prefix("postgres:///").unwrap_or(url);
        rest.split('?').next().unwrap_or_default()
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn run(&self, program: &str, with: impl FnOnce(&mut Command)) -> Result<()> {
        let own = self.bin.join(program);
        let mut command = as_postgres(if own.is_file() { own } else { program.into() });
        with(&mut command);
        // A started server keeps what it inherits: it gets none of our pipes.
        let notes = tempfile::tempfile()?;
        let status = command
            .stdin(Stdio::null())
            .stdout(notes.try_clone()?)
            .stderr(notes.try_clone()?)
            .status()
            .with_context(|| program.to_owned())?;
        if status.success() {
            return Ok(());
        }
        let mut notes = notes;
        let mut text = String::new();
        std::io::Seek::rewind(&mut notes)?;
        notes.read_to_string(&mut text)?;
        let log = std::fs::read_to_string(self.directory.join("log")).unwrap_or_default();
        bail!("{program}: {status}\n{text}\n{log}")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // The end of its input is the guardian's sign.
        self.pipe = None;
        let _ended = self.guardian.wait();
    }
}

fn said(program: &str, output: &Output) -> Result<String> {
    ensure!(
        output.status.success(),
        "{program}: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout.clone())?)
}

/// PostgreSQL refuses to run as root.
fn as_postgres(program: impl AsRef<Path>) -> Command {
    let program = program.as_ref();
    let mut command = if rustix::process::geteuid().is_root() {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir("/").env("LC_ALL", "C.UTF-8");
    command
}

/// Where the newest PostgreSQL's programs are.
fn programs() -> Result<PathBuf> {
    let number = |path: &Path| -> u32 {
        let version = path.parent().and_then(Path::file_name).and_then(|n| n.to_str());
        version.and_then(|n| n.parse().ok()).unwrap_or(0)
    };
    let debian = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")));
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(debian)
        .filter(|bin| bin.join("initdb").is_file() && bin.join("postgres").is_file())
        .max_by_key(|bin| number(bin))
        .context(
            "PostgreSQL's server programs (initdb, postgres) are not installed: run `make test`, which installs them",
        )
}
