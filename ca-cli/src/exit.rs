//! Errors as people see them.

pub(crate) use wire::Exit;

use crate::output::{ascii, clean, utf8};

/// An error with its exit code and the next step.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
    pub(crate) fix: Option<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            fix: None,
        }
    }

    pub(crate) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    /// Print on standard error and give the exit code. Whatever stands in it, it stays text.
    pub(crate) fn print(&self) -> Exit {
        let mut text = String::new();
        let mut add = |first: &str, further: &str, said: &str| {
            for (i, line) in said.lines().enumerate() {
                let label = if i == 0 { first } else { further };
                text.push_str(&format!("{label}{}\n", clean(line)));
            }
        };
        add("error: ", "", &self.message);
        add("  do    ", "        ", self.fix.as_deref().unwrap_or_default());
        eprint!("{}", if utf8() { text } else { ascii(&text) });
        self.exit
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Exit::Failed, format!("{error:#}"))
    }
}

/// Reading a file that a person named.
pub(crate) fn read(path: &std::path::Path) -> Result<Vec<u8>, Failure> {
    use std::io::Read as _;
    if path == std::path::Path::new("-") {
        let mut bytes = Vec::new();
        let read = std::io::stdin().take(4 << 20).read_to_end(&mut bytes);
        return read
            .map(|_| bytes)
            .map_err(|e| Failure::new(Exit::Failed, format!("standard input: {e}")));
    }
    std::fs::read(path).map_err(|e| {
        let exit = match e.kind() {
            std::io::ErrorKind::NotFound => Exit::NotFound,
            std::io::ErrorKind::PermissionDenied => Exit::NotAllowed,
            _ => Exit::Failed,
        };
        Failure::new(exit, format!("{}: {e}", path.display()))
    })
}

/// Writing a file that was not there; one that is stays.
pub(crate) fn write_new(file: &std::path::Path, bytes: &[u8]) -> Result<(), Failure> {
    use std::io::Write as _;
    let written = std::fs::File::create_new(file).and_then(|mut out| {
        out.write_all(bytes)?;
        out.sync_all()
    });
    written.map_err(|e| {
        let exit = match e.kind() {
            std::io::ErrorKind::AlreadyExists => Exit::Conflict,
            std::io::ErrorKind::PermissionDenied => Exit::NotAllowed,
            _ => Exit::Failed,
        };
        Failure::new(exit, format!("{}: {e}", file.display()))
    })
}
