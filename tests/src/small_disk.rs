//! A disk that can be full.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small file system in memory, mounted as long as this lives.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mount one of eight megabytes at this new place.
    ///
    /// # Errors
    /// What `mount` says: usually that this user may not.
    pub fn mount(place: &Path) -> Result<Self, String> {
        std::fs::create_dir(place).map_err(|e| e.to_string())?;
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=8m,mode=700", "holdfast-test"])
            .arg(place)
            .output()
            .map_err(|e| e.to_string())?;
        match output.status.success() {
            true => Ok(Self(place.to_owned())),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// The same, or none where it is not possible and not demanded (`CI`).
    ///
    /// # Panics
    /// When `CI` is set, and it cannot be mounted.
    #[must_use]
    pub fn wanted(place: &Path) -> Option<Self> {
        match Self::mount(place) {
            Ok(small) => Some(small),
            Err(why) => {
                assert!(std::env::var_os("CI").is_none(), "no small file system: {why}");
                println!("skipped: this user may not mount a small file system: {why}");
                None
            }
        }
    }

    /// To the last byte.
    ///
    /// # Panics
    /// When not even an empty file can be made.
    pub fn fill(&self) {
        let mut filler = std::fs::File::create(self.0.join("filler")).expect("an empty file");
        for part in [&[0; 4096][..], &[0]] {
            while filler.write(part).is_ok() {}
        }
    }

    /// Room again.
    ///
    /// # Panics
    /// When it was not filled.
    pub fn free(&self) {
        std::fs::remove_file(self.0.join("filler")).expect("it was filled");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
