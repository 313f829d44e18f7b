//! A disk that is watched and fails on command (`tests/shim/disk.c`), and what is on it after the power was lost.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::Rig;
use super::compiled::shared_object;

/// What fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// `fsync` and `fdatasync`.
    Sync,
    /// Writes, of which nothing is done.
    Write,
    /// Writes, of which half is done.
    Torn,
}

/// The test's end of a disk.
#[derive(Clone, Debug)]
pub struct Disk {
    folder: PathBuf,
    before: PathBuf,
    record: PathBuf,
    order: PathBuf,
}

impl Rig {
    /// Watch a folder of this CA from the next start on. What is in it now counts as durable.
    ///
    /// # Panics
    /// When the folder cannot be copied, or without a C compiler.
    pub fn disk(&mut self, folder: &str) -> Disk {
        static SHIM: OnceLock<PathBuf> = OnceLock::new();
        let shim = SHIM.get_or_init(|| shared_object("disk"));
        let disk = Disk {
            folder: std::fs::canonicalize(self.path(folder)).expect("a folder"),
            before: self.path("disk.before"),
            record: self.path("disk.record"),
            order: self.path("disk.order"),
        };
        copy(&disk.folder, &disk.before);
        for (name, value) in [
            ("LD_PRELOAD", shim),
            ("HOLDFAST_DISK_FOLDER", &disk.folder),
            ("HOLDFAST_DISK_RECORD", &disk.record),
            ("HOLDFAST_DISK_ORDER", &disk.order),
        ] {
            self.around.environment.push((name.into(), value.display().to_string()));
        }
        disk
    }

    /// Nobody watches from the next start on.
    pub fn without_disk(&mut self) {
        self.around
            .environment
            .retain(|(name, _)| name != "LD_PRELOAD" && !name.starts_with("HOLDFAST_DISK_"));
    }
}

impl Disk {
    /// From now on this fails, with this error number, for files whose path ends so.
    ///
    /// # Panics
    /// When the order cannot be written.
    pub fn breaks(&self, what: Broken, suffix: &str, errno: i32) {
        let call = match what {
            Broken::Sync => "sync",
            Broken::Write => "write",
            Broken::Torn => "torn",
        };
        let written = self.order.with_extension("written");
        std::fs::write(&written, format!("{call} {suffix} {errno}\n")).expect("an order");
        std::fs::rename(&written, &self.order).expect("an order");
    }

    /// It works again; how often something failed.
    pub fn heals(&self) -> usize {
        let _ = std::fs::remove_file(&self.order);
        let met = std::fs::read_to_string(format!("{}.met", self.order.display()));
        met.map_or(0, |text| text.lines().count())
    }

    /// Write down that something was seen from outside: from here on nothing of it may be lost.
    ///
    /// # Panics
    /// When the record cannot be written.
    pub fn mark(&self, what: &str) {
        let mut record = OpenOptions::new().append(true).open(&self.record).expect("a record");
        record.write_all(format!("H {what}\n").as_bytes()).expect("a mark");
    }

    /// Everything that was done to the folder, in order.
    ///
    /// # Panics
    /// When the record is none.
    #[must_use]
    pub fn done(&self) -> Vec<Done> {
        let bytes = std::fs::read(&self.record).expect("a record");
        let mut rest = bytes.as_slice();
        let mut all = Vec::new();
        while !rest.is_empty() {
            let end = rest.iter().position(|byte| *byte == b'\n').expect("a line");
            let (line, behind) = rest.split_at(end);
            let line = std::str::from_utf8(line).expect("text");
            let (done, length) = Done::read(line, &behind[1..]);
            all.push(done);
            rest = &behind[1 + length..];
        }
        all
    }

    /// The folder as it may look when the power was lost after the first `count` of these, written to `to`.
    ///
    /// What was synced is there. Of the rest, `keep` decides: it is asked for each sector of 512 octets, each cut and
    /// each change of names.
    ///
    /// # Panics
    /// When `to` cannot be written.
    pub fn after_power_loss(&self, done: &[Done], keep: &mut dyn FnMut() -> bool, to: &Path) {
        let mut platter = Platter::of(&self.before);
        for one in done {
            platter.take(one);
        }
        platter.lost(keep).write(to);
    }

    /// Put another state in the folder's place.
    ///
    /// # Panics
    /// When it cannot.
    pub fn becomes(&self, state: &Path) {
        std::fs::remove_dir_all(&self.folder).expect("a folder");
        copy(state, &self.folder);
    }
}

/// One entry of the record.
#[derive(Clone, Debug)]
pub enum Done {
    /// A file was made, or made empty.
    Made(String),
    /// Octets from an offset on.
    Written(String, usize, Vec<u8>),
    /// Cut, or grown with zeros.
    Cut(String, usize),
    /// A sync of a file or folder began.
    Begins(String, String),
    /// It ended well.
    Ends(String, String),
    /// Another name.
    Renamed(String, String),
    /// Gone.
    Removed(String),
    /// A folder.
    Folder(String),
    /// What a test wrote down with [`Disk::mark`].
    Mark(String),
}

impl Done {
    /// One line, and how many octets behind it belong to it.
    fn read(line: &str, behind: &[u8]) -> (Self, usize) {
        let (kind, rest) = line.split_once(' ').expect("an entry");
        let mut words = rest.split(' ').map(str::to_owned);
        let mut word = || words.next().expect("a word");
        let number = |text: String| text.parse::<usize>().expect("a number");
        let done = match kind {
            "C" => Self::Made(word()),
            "W" => {
                let (path, at, length) = (word(), number(word()), number(word()));
                return (Self::Written(path, at, behind[..length].to_vec()), length);
            }
            "T" => Self::Cut(word(), number(word())),
            "B" => Self::Begins(word(), word()),
            "E" => Self::Ends(word(), word()),
            "R" => Self::Renamed(word(), word()),
            "U" => Self::Removed(word()),
            "M" => Self::Folder(word()),
            "H" => Self::Mark(rest.to_owned()),
            other => panic!("an entry of kind {other}"),
        };
        (done, 0)
    }
}

/// What is written to a file and not yet synced.
#[derive(Clone, Debug)]
enum Change {
    Written(usize, Vec<u8>),
    Cut(usize),
}

/// A file without its name.
#[derive(Clone, Debug, Default)]
struct Content {
    durable: Vec<u8>,
    pending: Vec<Change>,
}

/// A change of names.
#[derive(Clone, Debug)]
enum Name {
    /// This file, under this name.
    Put(String, usize),
    Moved(String, String),
    Gone(String),
    Folder(String),
}

impl Name {
    /// The folder in which it is durable once that is synced.
    fn folder(&self) -> &str {
        let (Self::Put(path, _) | Self::Moved(_, path) | Self::Gone(path) | Self::Folder(path)) = self;
        path.rsplit_once('/').map_or(".", |(folder, _)| folder)
    }
}

/// Names of files, and folders, as one sees them.
#[derive(Clone, Debug, Default)]
struct Names {
    files: BTreeMap<String, usize>,
    folders: Vec<String>,
}

impl Names {
    fn take(&mut self, name: &Name) {
        match name {
            Name::Put(path, number) => {
                let _ = self.files.insert(path.clone(), *number);
            }
            Name::Moved(from, to) => {
                if let Some(number) = self.files.remove(from) {
                    let _ = self.files.insert(to.clone(), number);
                }
            }
            Name::Gone(path) => {
                let _ = self.files.remove(path);
            }
            Name::Folder(path) => self.folders.push(path.clone()),
        }
    }
}

/// The disk: what one sees, what is durable, and what is in between.
#[derive(Default)]
struct Platter {
    contents: Vec<Content>,
    seen: Names,
    durable: Names,
    pending: Vec<Name>,
    /// By number of the sync: how much was pending when it began, of a file or of the names.
    syncs: BTreeMap<String, (Option<usize>, usize)>,
}

impl Platter {
    fn of(folder: &Path) -> Self {
        let mut platter = Self::default();
        platter.load(folder, "");
        platter.durable = platter.seen.clone();
        platter
    }

    fn load(&mut self, folder: &Path, under: &str) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let entry = entry.expect("an entry");
            let path = format!("{under}{}", entry.file_name().to_string_lossy());
            if entry.file_type().expect("a type").is_dir() {
                self.seen.folders.push(path.clone());
                self.load(&entry.path(), &format!("{path}/"));
            } else if entry.file_type().expect("a type").is_file() {
                let durable = std::fs::read(entry.path()).expect("a file");
                let _ = self.seen.files.insert(path, self.contents.len());
                self.contents.push(Content {
                    durable,
                    pending: Vec::new(),
                });
            }
        }
    }

    fn named(&mut self, name: Name) {
        self.seen.take(&name);
        self.pending.push(name);
    }

    /// The file that has this name, made when it is not known.
    fn file(&mut self, path: &str) -> usize {
        if let Some(number) = self.seen.files.get(path) {
            return *number;
        }
        let number = self.contents.len();
        self.contents.push(Content::default());
        self.named(Name::Put(path.to_owned(), number));
        number
    }

    fn take(&mut self, done: &Done) {
        match done {
            Done::Made(path) => {
                let known = self.seen.files.contains_key(path);
                let number = self.file(path);
                if known {
                    self.contents[number].pending.push(Change::Cut(0));
                }
            }
            Done::Written(path, at, bytes) => {
                let number = self.file(path);
                self.contents[number].pending.push(Change::Written(*at, bytes.clone()));
            }
            Done::Cut(path, size) => {
                let number = self.file(path);
                self.contents[number].pending.push(Change::Cut(*size));
            }
            Done::Begins(sync, path) => {
                let begun = match self.seen.files.get(path) {
                    Some(number) => (Some(*number), self.contents[*number].pending.len()),
                    None => (None, self.pending.len()),
                };
                let _ = self.syncs.insert(sync.clone(), begun);
            }
            Done::Ends(sync, path) => match self.syncs.remove(sync) {
                Some((Some(number), count)) => {
                    let settled = self.contents[number].settle(count);
                    self.behind(Some(number), settled);
                }
                Some((None, count)) => self.settle(path, count),
                None => panic!("a sync that ends and did not begin: {sync}"),
            },
            Done::Renamed(from, to) => self.named(Name::Moved(from.clone(), to.clone())),
            Done::Removed(path) => self.named(Name::Gone(path.clone())),
            Done::Folder(path) => self.named(Name::Folder(path.clone())),
            Done::Mark(_) => {}
        }
    }

    /// The first `count` changes of names are durable where they are in this folder.
    fn settle(&mut self, folder: &str, count: usize) {
        let pending = std::mem::take(&mut self.pending);
        let mut settled = 0;
        for (at, name) in pending.into_iter().enumerate() {
            if at < count && name.folder() == folder {
                self.durable.take(&name);
                settled += 1;
            } else {
                self.pending.push(name);
            }
        }
        self.behind(None, settled);
    }

    /// Syncs under way count from the beginning of what is pending now.
    fn behind(&mut self, of: Option<usize>, settled: usize) {
        for (file, begun) in self.syncs.values_mut() {
            if *file == of {
                *begun = begun.saturating_sub(settled);
            }
        }
    }

    fn lost(mut self, keep: &mut dyn FnMut() -> bool) -> Self {
        for name in std::mem::take(&mut self.pending) {
            // A journal of names keeps their order.
            if !keep() {
                break;
            }
            self.durable.take(&name);
        }
        for content in &mut self.contents {
            content.lose(keep);
        }
        self
    }

    fn write(&self, to: &Path) {
        let _ = std::fs::remove_dir_all(to);
        std::fs::create_dir_all(to).expect("a folder");
        for folder in &self.durable.folders {
            std::fs::create_dir_all(to.join(folder)).expect("a folder");
        }
        // The shared memory of a database is none on the disk.
        for (path, number) in self.durable.files.iter().filter(|(path, _)| !path.ends_with("-shm")) {
            let path = to.join(path);
            if path.parent().is_some_and(Path::is_dir) {
                std::fs::write(&path, &self.contents[*number].durable).expect("a file");
                private(&path);
            }
        }
    }
}

impl Content {
    fn settle(&mut self, count: usize) -> usize {
        let count = count.min(self.pending.len());
        for change in self.pending.drain(..count) {
            change.apply(&mut self.durable);
        }
        count
    }

    fn lose(&mut self, keep: &mut dyn FnMut() -> bool) {
        for change in std::mem::take(&mut self.pending) {
            match change {
                Change::Cut(size) => {
                    if keep() {
                        self.durable.resize(size, 0);
                    }
                }
                Change::Written(at, bytes) => {
                    let mut from = 0;
                    while from < bytes.len() {
                        let until = bytes.len().min((at + from) / 512 * 512 + 512 - at);
                        if keep() {
                            Change::Written(at + from, bytes[from..until].to_vec()).apply(&mut self.durable);
                        }
                        from = until;
                    }
                }
            }
        }
    }
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Cut(size) => to.resize(*size, 0),
            Self::Written(at, bytes) => {
                if to.len() < at + bytes.len() {
                    to.resize(at + bytes.len(), 0);
                }
                to[*at..at + bytes.len()].copy_from_slice(bytes);
            }
        }
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let kind = entry.file_type().expect("a type");
        if kind.is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else if kind.is_file() {
            let _ = std::fs::copy(entry.path(), to.join(entry.file_name())).expect("a file");
        }
    }
}

fn private(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("a file");
}
