//! Files without a name: they go with the process.

use std::fs::File;
use std::path::Path;

/// A new one in this folder.
pub(super) fn nameless(folder: &Path) -> std::io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::open(folder, flags, Mode::RUSR | Mode::WUSR) {
        Ok(descriptor) => Ok(File::from(descriptor)),
        // Not every file system knows files without a name.
        Err(_) => {
            let mut random = [0; 16];
            openssl::rand::rand_bytes(&mut random)?;
            let path = folder.join(format!("holdfast-{}", hex::encode(random)));
            let file = File::options().read(true).write(true).create_new(true).open(&path)?;
            std::fs::remove_file(&path)?;
            Ok(file)
        }
    }
}
