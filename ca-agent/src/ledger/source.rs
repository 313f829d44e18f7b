//! Where the ledger's files come from. None of it is believed before it is proven.

use std::cell::Cell;
use std::io::Read as _;
use std::path::PathBuf;
use std::time::Duration;

use ledger::{Resource, Tiles};

/// The longest file that is read: a bundle of 256 entries of 65 535 bytes.
const LONGEST: u64 = 17 << 20;

/// Why there are no bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Missing {
    /// There is no such file.
    #[error("{0}: nothing is there")]
    Absent(String),
    /// It cannot be said: the way there, or the server.
    #[error("{0}")]
    Away(String),
}

enum Place {
    Folder(PathBuf),
    Web(String, ureq::Agent),
}

/// A web server (`http://…`: all of it is signed), or a folder.
pub(super) struct Source {
    place: Place,
    /// Whether what failed last was away, not absent.
    away: Cell<bool>,
}

impl Source {
    pub(super) fn of(from: &str) -> Self {
        let place = if from.starts_with("http://") {
            let agent = ureq::Agent::config_builder()
                .timeout_global(Some(Duration::from_secs(30)))
                .max_redirects(0)
                .http_status_as_error(false)
                .build()
                .into();
            Place::Web(from.trim_end_matches('/').to_owned(), agent)
        } else {
            Place::Folder(from.into())
        };
        Self {
            place,
            away: Cell::new(false),
        }
    }

    /// Whether what could not be had last was out of reach: then it says nothing about the ledger.
    pub(super) fn was_away(&self) -> bool {
        self.away.get()
    }

    pub(super) fn get(&self, path: &str) -> Result<Vec<u8>, Missing> {
        let found = match &self.place {
            Place::Folder(folder) => read(&folder.join(path)),
            Place::Web(base, agent) => fetch(agent, &format!("{base}/{path}")),
        };
        self.away.set(matches!(found, Err(Missing::Away(_))));
        found
    }
}

fn read(file: &std::path::Path) -> Result<Vec<u8>, Missing> {
    let mut bytes = Vec::new();
    let shown = file.display().to_string();
    std::fs::File::open(file)
        .and_then(|file| file.take(LONGEST).read_to_end(&mut bytes))
        .map(|_| bytes)
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Missing::Absent(shown),
            _ => Missing::Away(format!("{shown}: {error}")),
        })
}

fn fetch(agent: &ureq::Agent, url: &str) -> Result<Vec<u8>, Missing> {
    let away = |what: String| Missing::Away(format!("{url}: {what}"));
    let mut answer = agent.get(url).call().map_err(|e| away(e.to_string()))?;
    match answer.status().as_u16() {
        200 => {}
        404 => return Err(Missing::Absent(url.to_owned())),
        status => return Err(away(format!("answered {status}"))),
    }
    let mut bytes = Vec::new();
    let body = answer.body_mut().as_reader();
    body.take(LONGEST)
        .read_to_end(&mut bytes)
        .map_err(|e| away(e.to_string()))?;
    Ok(bytes)
}

impl Tiles for &Source {
    fn get(&self, tile: Resource) -> Result<Vec<u8>, String> {
        Source::get(self, &tile.to_string()).map_err(|missing| missing.to_string())
    }
}
