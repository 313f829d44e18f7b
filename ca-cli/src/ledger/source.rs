//! Where a ledger's files come from.

use std::io::Read as _;
use std::path::PathBuf;

use ledger::{Resource, Tiles};

use crate::exit::{Exit, Failure};
use crate::output::clean;

/// The longest file that is read: a bundle of 256 entries of 65 535 bytes.
const LONGEST: u64 = 17 << 20;

/// A folder or a web server.
pub(crate) enum Source {
    Folder(PathBuf),
    #[cfg(feature = "online")]
    Web(String),
}

impl Source {
    pub(crate) fn of(from: &str) -> Result<Self, Failure> {
        if from.contains("://") {
            #[cfg(feature = "online")]
            if from.starts_with("http://") {
                return Ok(Self::Web(from.trim_end_matches('/').to_owned()));
            }
            return Err(Failure::new(
                Exit::Usage,
                format!("`{}`: a ledger is read over http:// or from a folder", clean(from)),
            ));
        }
        Ok(Self::Folder(PathBuf::from(from)))
    }

    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Folder(folder) => folder.display().to_string(),
            #[cfg(feature = "online")]
            Self::Web(url) => clean(url),
        }
    }

    pub(crate) fn get(&self, path: &str) -> Result<Vec<u8>, Failure> {
        match self {
            Self::Folder(folder) => {
                let file = folder.join(path);
                let shown = file.display().to_string();
                let failed = |e: std::io::Error| {
                    let exit = match e.kind() {
                        std::io::ErrorKind::NotFound => Exit::NotFound,
                        _ => Exit::Failed,
                    };
                    Failure::new(exit, format!("{shown}: {e}"))
                };
                let mut bytes = Vec::new();
                let file = std::fs::File::open(&file).map_err(failed)?;
                file.take(LONGEST).read_to_end(&mut bytes).map_err(failed)?;
                Ok(bytes)
            }
            #[cfg(feature = "online")]
            Self::Web(url) => crate::fetch::over_http(&format!("{url}/{path}"), LONGEST),
        }
    }
}

impl Tiles for &Source {
    fn get(&self, tile: Resource) -> Result<Vec<u8>, String> {
        Source::get(self, &tile.to_string()).map_err(|failure| failure.message)
    }
}
