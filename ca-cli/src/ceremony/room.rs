//! The medium: a folder with everything a ceremony needs and makes. Nothing in it is ever overwritten by something else.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use ceremony::archive::{PLAN, SCRIPT, SUMS, TRANSCRIPT};
use ceremony::tar::Files;
use ceremony::{Plan, script};

use crate::exit::{Exit, Failure, read};

/// One medium, one ceremony.
pub(crate) struct Room {
    dir: PathBuf,
}

/// Folders that go into the archive.
const FOLDERS: [&str; 5] = ["approvals", "inputs", "outputs", "seals", "standins"];
/// The largest file a medium may bring, in bytes.
const MAX_FILE: u64 = 32 << 20;

impl Room {
    /// A medium that is there.
    pub(crate) fn open(dir: &Path) -> Result<Self, Failure> {
        let room = Self { dir: dir.to_owned() };
        if room.path(PLAN).is_file() {
            return Ok(room);
        }
        Err(
            Failure::new(Exit::NotFound, format!("{}: no {PLAN} in it", dir.display()))
                .fix("make the medium with: ca-cli ceremony kit PLAN --dir DIR"),
        )
    }

    /// Make one: the plan, its script, and what goes in.
    pub(crate) fn create(
        dir: &Path,
        plan: &Plan,
        inputs: &BTreeMap<String, Vec<u8>>,
        rehearsal: bool,
    ) -> Result<Self, Failure> {
        let room = Self { dir: dir.to_owned() };
        if room.path(PLAN).exists() {
            return Err(
                Failure::new(Exit::Conflict, format!("{}: holds a ceremony", dir.display()))
                    .fix("--resume goes on with it; choose another folder for another one"),
            );
        }
        make(dir)?;
        for folder in FOLDERS.into_iter().filter(|f| rehearsal || *f != "standins") {
            make(&room.path(folder))?;
        }
        for input in plan.inputs() {
            if let Some(bytes) = inputs.get(&input.name) {
                room.put(&format!("inputs/{}", input.file), bytes)?;
            }
        }
        room.put(SCRIPT, script::text(plan, rehearsal).as_bytes())?;
        room.put("script.html", script::html(plan, rehearsal).as_bytes())?;
        // Last: a medium with a plan is a whole one.
        room.put(PLAN, plan.text().as_bytes())?;
        Ok(room)
    }

    /// A path below it.
    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.dir.join(below)
    }

    /// The plan.
    pub(crate) fn plan(&self) -> Result<Plan, Failure> {
        plan(&self.path(PLAN))
    }

    /// A file of it, if it is there.
    pub(crate) fn get(&self, below: &str) -> Result<Option<Vec<u8>>, Failure> {
        let path = self.path(below);
        match std::fs::metadata(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Ok(m) if m.len() > MAX_FILE => Err(Failure::new(Exit::Usage, format!("{}: too long", path.display()))),
            _ => read(&path).map(Some),
        }
    }

    /// Write a new file, durably: whole or not at all. The same again is nothing new; something else is refused.
    pub(crate) fn put(&self, below: &str, content: &[u8]) -> Result<(), Failure> {
        let path = self.path(below);
        match self.get(below)? {
            Some(there) if there == content => return Ok(()),
            Some(_) => {
                return Err(Failure::new(
                    Exit::Conflict,
                    format!("{}: is there already, and is another one", path.display()),
                ));
            }
            None => {}
        }
        let temporary = path.with_extension("part");
        let failed = |e: std::io::Error| Failure::new(Exit::Failed, format!("{}: {e}", path.display()));
        let opened = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary);
        let mut file = opened.map_err(failed)?;
        file.write_all(content).and_then(|()| file.sync_all()).map_err(failed)?;
        std::fs::rename(&temporary, &path).map_err(failed)?;
        let folder = path.parent().unwrap_or(&self.dir);
        File::open(folder).and_then(|f| f.sync_all()).map_err(failed)
    }

    /// Bytes of every input that is there, by the name of the input.
    pub(crate) fn inputs(&self, plan: &Plan) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
        let mut found = BTreeMap::new();
        for input in plan.inputs() {
            if let Some(bytes) = self.get(&format!("inputs/{}", input.file))? {
                found.insert(input.name.clone(), bytes);
            }
        }
        Ok(found)
    }

    /// What goes into the archive.
    pub(crate) fn files(&self) -> Result<Files, Failure> {
        let mut files = Files::new();
        for name in [PLAN, SCRIPT, TRANSCRIPT, SUMS] {
            if let Some(bytes) = self.get(name)? {
                files.insert(name.to_owned(), bytes);
            }
        }
        for folder in FOLDERS {
            let path = self.path(folder);
            let failed = |e: std::io::Error| Failure::new(Exit::Failed, format!("{}: {e}", path.display()));
            let listed = match std::fs::read_dir(&path) {
                // Rehearsals alone have stand-ins.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound && folder == "standins" => continue,
                other => other.map_err(failed)?,
            };
            for entry in listed {
                let name = entry.map_err(failed)?.file_name();
                let Some(name) = name.to_str().filter(|n| !n.ends_with(".part")) else {
                    continue;
                };
                let below = format!("{folder}/{name}");
                if let Some(bytes) = self.get(&below)? {
                    files.insert(below, bytes);
                }
            }
        }
        Ok(files)
    }
}

/// A plan in a file.
pub(crate) fn plan(path: &Path) -> Result<Plan, Failure> {
    Plan::parse(path, &read(path)?).map_err(|e| Failure::new(e.exit(), e.to_string()))
}

fn make(dir: &Path) -> Result<(), Failure> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|e| Failure::new(Exit::Failed, format!("{}: {e}", dir.display())))
}
