//! `ca-cli manifest …`.

mod create;
mod import;
mod prove;
mod sign;
mod table;
mod verify;

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use manifest::{Read, ReadError, Reader};

use crate::cli::manifest::ManifestCommand;
use crate::exit::{Exit, Failure};
use crate::output::Report;

pub(super) fn run(command: &ManifestCommand, no_input: bool) -> Result<Report, Failure> {
    match command {
        ManifestCommand::Create(arguments) => create::run(arguments),
        ManifestCommand::Key { key, out } => sign::key(key, out, no_input),
        ManifestCommand::Sign { file, out, key } => sign::run(file, out, key, no_input),
        ManifestCommand::Verify {
            proof: Some(file),
            signer,
            ..
        } => prove::verify(file, signer),
        ManifestCommand::Verify { file, signer, .. } => verify::run(file.as_deref().unwrap_or(Path::new("-")), signer),
        ManifestCommand::Prove { file, device, out } => prove::run(file, device, out),
        ManifestCommand::Import(arguments) => import::run(arguments),
        ManifestCommand::List { admin } => import::list(admin),
        ManifestCommand::Show { id, admin } => import::show(*id, admin),
        ManifestCommand::Withdraw { id, reason, admin } => import::withdraw(*id, reason, admin),
    }
}

/// A manifest that a person named, and its first line.
fn open(path: &Path) -> Result<Reader<BufReader<File>>, Failure> {
    let file = File::open(path).map_err(|e| {
        let exit = match e.kind() {
            std::io::ErrorKind::NotFound => Exit::NotFound,
            std::io::ErrorKind::PermissionDenied => Exit::NotAllowed,
            _ => Exit::Failed,
        };
        Failure::new(exit, format!("{}: {e}", path.display()))
    })?;
    Reader::open(BufReader::with_capacity(1 << 16, file)).map_err(|e| unread(path, &e))
}

/// A manifest that cannot be read to its end.
fn unread(path: &Path, error: &ReadError) -> Failure {
    let exit = match error {
        ReadError::Io(_) => Exit::Failed,
        ReadError::Line { .. } | ReadError::Untrue(_) => Exit::No,
    };
    Failure::new(exit, format!("{}: {error}", path.display()))
}

fn next(reader: &mut Reader<BufReader<File>>, path: &Path) -> Result<Read, Failure> {
    reader.advance().map_err(|e| unread(path, &e))
}

/// A new file, whole or not at all: it gets its name when it is complete and on the disk.
struct NewFile<'a> {
    path: &'a Path,
    draft: std::path::PathBuf,
}

impl<'a> NewFile<'a> {
    fn create(path: &'a Path) -> Result<(Self, std::io::BufWriter<File>), Failure> {
        if path.exists() {
            return Err(Failure::new(
                Exit::Conflict,
                format!("{}: it is there already", path.display()),
            ));
        }
        let mut draft = path.as_os_str().to_owned();
        draft.push(".part");
        let draft = std::path::PathBuf::from(draft);
        let file = File::create(&draft).map_err(|e| Failure::new(Exit::Failed, format!("{}: {e}", draft.display())))?;
        Ok((Self { path, draft }, std::io::BufWriter::new(file)))
    }

    /// Where it will be.
    fn folder(&self) -> &Path {
        self.path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or(Path::new("."))
    }

    fn finish(self, sink: std::io::BufWriter<File>) -> Result<(), Failure> {
        let placed = sink
            .into_inner()
            .map_err(std::io::IntoInnerError::into_error)
            .and_then(|file| file.sync_all())
            // A link does not overwrite what came in between.
            .and_then(|()| std::fs::hard_link(&self.draft, self.path));
        placed.map_err(|e| Failure::new(Exit::Failed, format!("{}: {e}", self.path.display())))
    }
}

impl Drop for NewFile<'_> {
    fn drop(&mut self) {
        let _gone = std::fs::remove_file(&self.draft);
    }
}
