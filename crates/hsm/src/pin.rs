//! Where a PIN comes from: never argv, never a value in configuration.

use std::fs::File;
use std::io::{IsTerminal, Read, Write as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use secrecy::SecretString;
use zeroize::Zeroizing;

/// A source of a PIN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PinSource {
    /// A file of mode 0600 or stricter, one line.
    File(PathBuf),
    /// An inherited file descriptor, read to its end. Linux only: it is opened again through `/proc/self/fd`.
    Fd(i32),
    /// A systemd credential: a file under `$CREDENTIALS_DIRECTORY` (the directory is an argument of [`PinSource::read`]),
    /// else `/run/secrets/NAME`.
    Credential(String),
    /// The terminal; refused without one.
    Prompt,
}

/// No PIN.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PinError(pub String);

/// Where a pool has its PIN from when it logs in again.
pub(crate) enum KeptPin {
    /// In memory: it was given once.
    Given(SecretString),
    /// In its file, and in no memory between two logins.
    Filed {
        source: PinSource,
        credentials: Option<PathBuf>,
    },
}

impl KeptPin {
    /// A descriptor and a person give a PIN once; a file and a credential give it again.
    pub(crate) fn of(source: PinSource, credentials: Option<&Path>) -> Result<Self, PinError> {
        match source {
            PinSource::Fd(_) | PinSource::Prompt => source.read(credentials).map(Self::Given),
            PinSource::File(_) | PinSource::Credential(_) => Ok(Self::Filed {
                source,
                credentials: credentials.map(Path::to_owned),
            }),
        }
    }

    pub(crate) fn read(&self) -> Result<SecretString, PinError> {
        match self {
            Self::Given(pin) => Ok(pin.clone()),
            Self::Filed { source, credentials } => source.read(credentials.as_deref()),
        }
    }
}

/// Longest PIN in bytes; PKCS#11 tokens take far less.
const LONGEST: usize = 1024;

/// Where container runtimes put secrets.
const CONTAINER_SECRETS: &str = "/run/secrets";

/// Who may have what on a file that holds a PIN.
#[derive(Clone, Copy)]
enum Access {
    /// The person made it: nobody but its owner may read or write it.
    OwnerOnly,
    /// The platform made it in a place of its own: systemd's ACL shows as group-readable, container secrets as
    /// world-readable within the container. Nobody but its owner may write it.
    Platform,
}

impl PinSource {
    /// The one source that is named: `pin = { file = … }`, `{ fd = … }`, `{ credential = … }` or `{ prompt = true }`.
    ///
    /// # Errors
    /// [`PinError`] when none or several are named.
    pub fn from_parts(
        file: Option<PathBuf>,
        fd: Option<i32>,
        credential: Option<String>,
        prompt: bool,
    ) -> Result<Self, PinError> {
        match (file, fd, credential, prompt) {
            (Some(path), None, None, false) => Ok(Self::File(path)),
            (None, Some(fd), None, false) => Ok(Self::Fd(fd)),
            (None, None, Some(name), false) => Ok(Self::Credential(name)),
            (None, None, None, true) => Ok(Self::Prompt),
            (None, None, None, false) => Err(PinError(
                "no source of the PIN: name `file`, `fd`, `credential` or `prompt`".into(),
            )),
            _ => Err(PinError(
                "one source of the PIN only: `file`, `fd`, `credential` or `prompt`".into(),
            )),
        }
    }

    /// Read the PIN.
    ///
    /// # Errors
    /// [`PinError`] with what to do.
    pub fn read(&self, credentials: Option<&Path>) -> Result<SecretString, PinError> {
        match self {
            Self::File(path) => read_file(path, Access::OwnerOnly),
            Self::Fd(fd) => read_fd(*fd),
            Self::Credential(name) => read_credential(name, credentials, Path::new(CONTAINER_SECRETS)),
            Self::Prompt => prompt(),
        }
    }
}

fn read_file(path: &Path, access: Access) -> Result<SecretString, PinError> {
    let shown = path.display();
    // Without NONBLOCK the opening of a FIFO would hang before we could refuse it.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = rustix::fs::open(path, flags, Mode::empty())
        .map(File::from)
        .map_err(|error| match error {
            rustix::io::Errno::LOOP => PinError(format!(
                "PIN file `{shown}` is a symbolic link: name the file it points to"
            )),
            error => PinError(format!("PIN file `{shown}`: {}", std::io::Error::from(error))),
        })?;
    let meta = file
        .metadata()
        .map_err(|error| PinError(format!("PIN file `{shown}`: {error}")))?;
    if !meta.is_file() {
        return Err(PinError(format!(
            "PIN file `{shown}` is not a regular file; for a pipe use a file descriptor"
        )));
    }
    let us = rustix::process::geteuid().as_raw();
    if meta.uid() != us && meta.uid() != 0 {
        return Err(PinError(format!(
            "PIN file `{shown}` belongs to uid {}: it must be ours ({us}) or root's",
            meta.uid()
        )));
    }
    let (forbidden, wanted) = match access {
        Access::OwnerOnly => (0o077, "chmod 600"),
        Access::Platform => (0o022, "chmod go-w"),
    };
    if meta.mode() & forbidden != 0 {
        return Err(PinError(format!(
            "PIN file `{shown}` has mode {:04o}, open to others: {wanted} '{shown}'",
            meta.mode() & 0o7777
        )));
    }
    one_line(file, &format!("PIN file `{shown}`"))
}

fn read_fd(fd: i32) -> Result<SecretString, PinError> {
    if fd < 0 {
        return Err(PinError(format!(
            "file descriptor {fd} for the PIN: it cannot be negative"
        )));
    }
    let file = File::open(format!("/proc/self/fd/{fd}")).map_err(|error| {
        PinError(format!(
            "file descriptor {fd} for the PIN: {error}; open it in the caller, for example `{fd}<pin-file`"
        ))
    })?;
    one_line(file, &format!("file descriptor {fd}"))
}

fn read_credential(name: &str, credentials: Option<&Path>, container: &Path) -> Result<SecretString, PinError> {
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
        return Err(PinError(format!(
            "`{name}` is not the name of a credential: a plain file name is needed"
        )));
    }
    for directory in credentials.into_iter().chain([container]) {
        let path = directory.join(name);
        // Only "not there" moves on to the next place: a credential that is refused stays refused.
        if path.symlink_metadata().is_ok() {
            return read_file(&path, Access::Platform);
        }
    }
    let looked = match credentials {
        Some(directory) => format!("neither in `{}` nor in `{}`", directory.display(), container.display()),
        None => format!(
            "$CREDENTIALS_DIRECTORY is not set and it is not in `{}`",
            container.display()
        ),
    };
    Err(PinError(format!(
        "credential `{name}`: {looked}; with systemd add `LoadCredentialEncrypted={name}:/etc/credstore.encrypted/{name}`"
    )))
}

fn prompt() -> Result<SecretString, PinError> {
    if !std::io::stdin().is_terminal() {
        return Err(PinError(
            "the PIN must be typed but there is no terminal: name a file, a descriptor or a credential instead".into(),
        ));
    }
    let typed = hidden("HSM PIN: ").map_err(|error| PinError(format!("the PIN was not typed: {error}")))?;
    accept(typed.as_bytes(), "the terminal")
}

/// A terminal that does not echo, until this is dropped.
struct Silent {
    tty: File,
    before: Termios,
}

impl Drop for Silent {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.tty, OptionalActions::Now, &self.before);
    }
}

/// Ask on the terminal for what nobody may read there. The echo is off before the question is shown, so that who types
/// fast shows nothing either; what was typed before it is dropped.
///
/// # Errors
/// No terminal, or it is closed.
pub fn hidden(question: &str) -> std::io::Result<Zeroizing<String>> {
    let tty = File::options().read(true).write(true).open("/dev/tty")?;
    let before = tcgetattr(&tty)?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO | LocalModes::ECHONL);
    tcsetattr(&tty, OptionalActions::Flush, &silent)?;
    let mut silent = Silent { tty, before };
    silent.tty.write_all(question.as_bytes())?;
    rpassword::read_password().map(Zeroizing::new)
}

/// Read at most one line; the buffer never grows, so no unwiped copy is left behind.
fn one_line(source: impl Read, what: &str) -> Result<SecretString, PinError> {
    let mut bytes = Zeroizing::new(vec![0_u8; LONGEST + 2]);
    let mut source = source.take(LONGEST as u64 + 2);
    let mut length = 0;
    while let Some(rest) = bytes.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match source.read(rest) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(PinError(format!("{what}: {error}"))),
        }
    }
    let read = bytes.get(..length).unwrap_or_default();
    let line = read.strip_suffix(b"\n").unwrap_or(read);
    accept(line.strip_suffix(b"\r").unwrap_or(line), what)
}

fn accept(pin: &[u8], what: &str) -> Result<SecretString, PinError> {
    if pin.is_empty() {
        return Err(PinError(format!("{what}: the PIN is empty")));
    }
    if pin.len() > LONGEST {
        return Err(PinError(format!(
            "{what}: longer than {LONGEST} bytes, which is no PIN"
        )));
    }
    if pin.iter().any(|byte| matches!(byte, b'\n' | b'\r' | 0)) {
        return Err(PinError(format!(
            "{what}: one line with the PIN is wanted, nothing else"
        )));
    }
    let text = core::str::from_utf8(pin).map_err(|_| PinError(format!("{what}: the PIN is not UTF-8")))?;
    Ok(SecretString::new(Box::from(text)))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use secrecy::ExposeSecret;

    use super::*;

    fn file(dir: &Path, name: &str, mode: u32, content: &[u8]) -> PathBuf {
        let path = dir.join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn refusal(source: &PinSource, credentials: Option<&Path>) -> String {
        source.read(credentials).unwrap_err().0
    }

    #[test]
    fn a_file_of_the_right_mode_is_read_and_every_other_mode_refused() {
        let dir = tempfile::tempdir().unwrap();
        for mode in [0o600, 0o400] {
            let path = file(dir.path(), "good", mode, b"8842-canary\n");
            assert_eq!(
                PinSource::File(path.clone()).read(None).unwrap().expose_secret(),
                "8842-canary"
            );
            std::fs::remove_file(path).unwrap();
        }
        for mode in [0o640, 0o620, 0o610, 0o604, 0o602, 0o601] {
            let path = file(dir.path(), "open", mode, b"8842-canary\n");
            let error = refusal(&PinSource::File(path.clone()), None);
            assert!(
                error.contains("open to others") && error.contains("chmod 600"),
                "{mode:o}: {error}"
            );
            std::fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn links_directories_pipes_and_strangers_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let good = file(dir.path(), "good", 0o600, b"8842\n");
        symlink(&good, dir.path().join("link")).unwrap();
        assert!(refusal(&PinSource::File(dir.path().join("link")), None).contains("symbolic link"));
        assert!(refusal(&PinSource::File(dir.path().to_owned()), None).contains("not a regular file"));
        let fifo = dir.path().join("fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        assert!(refusal(&PinSource::File(fifo), None).contains("not a regular file"));
        assert!(refusal(&PinSource::File(dir.path().join("none")), None).contains("No such file"));
        // Only root can give a file away, so only root can make this case.
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&good, Some(65_534), None).unwrap();
            assert!(refusal(&PinSource::File(good), None).contains("belongs to uid 65534"));
        }
    }

    #[test]
    fn one_line_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let read = |content: &[u8]| PinSource::File(file(dir.path(), "pin", 0o600, content)).read(None);
        assert_eq!(read(b"12 34").unwrap().expose_secret(), "12 34");
        assert_eq!(read(b"1234\r\n").unwrap().expose_secret(), "1234");
        assert_eq!(read(&[b'1'; LONGEST]).unwrap().expose_secret().len(), LONGEST);
        for (content, reason) in [
            (&b""[..], "empty"),
            (b"\n", "empty"),
            (b"1234\n\n", "one line"),
            (b"1234\n5678\n", "one line"),
            (b"12\x0034", "one line"),
            (b"12\xff34", "not UTF-8"),
            (&[b'1'; LONGEST + 1], "longer than"),
            (&[b'1'; LONGEST * 3], "longer than"),
        ] {
            let error = read(content).unwrap_err().0;
            assert!(error.contains(reason) && !error.contains("1234"), "{error}");
        }
    }

    #[test]
    fn a_descriptor_is_read_to_its_end() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        std::io::Write::write_all(&mut writer, b"1234\n").unwrap();
        drop(writer);
        let source = PinSource::Fd(reader.as_raw_fd());
        assert_eq!(source.read(None).unwrap().expose_secret(), "1234");
        assert!(refusal(&source, None).contains("empty"), "a pipe gives its PIN once");
        assert!(refusal(&PinSource::Fd(-1), None).contains("negative"));
        assert!(refusal(&PinSource::Fd(987_654), None).contains("open it in the caller"));
    }

    #[test]
    fn credentials_are_plain_names_in_their_two_places() {
        let (systemd, container) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let read = |name: &str, dir: Option<&Path>| read_credential(name, dir, container.path());
        file(container.path(), "pin", 0o444, b"container\n");
        assert_eq!(read("pin", Some(systemd.path())).unwrap().expose_secret(), "container");
        assert_eq!(read("pin", None).unwrap().expose_secret(), "container");
        // systemd's is first, also when it is refused.
        let path = file(systemd.path(), "pin", 0o440, b"systemd\n");
        assert_eq!(read("pin", Some(systemd.path())).unwrap().expose_secret(), "systemd");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o460)).unwrap();
        assert!(read("pin", Some(systemd.path())).unwrap_err().0.contains("chmod go-w"));
        for name in ["", ".", "..", "../pin", "a/b", "a\0"] {
            assert!(
                read(name, Some(systemd.path()))
                    .unwrap_err()
                    .0
                    .contains("plain file name"),
                "{name:?}"
            );
        }
        assert!(
            read("none", Some(systemd.path()))
                .unwrap_err()
                .0
                .contains("LoadCredentialEncrypted=none")
        );
        assert!(
            read("none", None)
                .unwrap_err()
                .0
                .contains("$CREDENTIALS_DIRECTORY is not set")
        );
    }

    #[test]
    fn exactly_one_source_is_named() {
        let parts = PinSource::from_parts;
        assert_eq!(
            parts(Some("/p".into()), None, None, false),
            Ok(PinSource::File("/p".into()))
        );
        assert_eq!(parts(None, Some(3), None, false), Ok(PinSource::Fd(3)));
        assert_eq!(
            parts(None, None, Some("n".into()), false),
            Ok(PinSource::Credential("n".into()))
        );
        assert_eq!(parts(None, None, None, true), Ok(PinSource::Prompt));
        assert!(parts(None, None, None, false).unwrap_err().0.contains("no source"));
        assert!(parts(None, Some(3), None, true).unwrap_err().0.contains("one source"));
        assert!(
            parts(Some("/p".into()), Some(3), None, false)
                .unwrap_err()
                .0
                .contains("one source")
        );
    }

    #[test]
    fn a_pin_does_not_show_itself() {
        let dir = tempfile::tempdir().unwrap();
        let pin = PinSource::File(file(dir.path(), "pin", 0o600, b"canary-8842"))
            .read(None)
            .unwrap();
        assert!(!format!("{pin:?}").contains("canary"));
    }
}
