//! A ledger as a stranger reads it: static files, none of which is believed before it is proven.

mod source;
mod state;

use ledger::{
    Cosignature, Edge, Entry, Hash, Head, NoteError, Resource, SignatureKind, SignedCheckpoint, TileError, TileNodes,
    VerifierKey, entries, leaf_hash,
};

use crate::exit::{Exit, Failure};
use crate::output::clean;

pub(crate) use source::Source;
pub(crate) use state::{keep, load};

/// A ledger whose checkpoint is signed by its key.
pub(crate) struct Reader {
    source: Source,
    pub(crate) key: VerifierKey,
    pub(crate) signed: SignedCheckpoint,
    /// Witnesses whose cosignature was checked, and when they saw the tree, unix seconds.
    pub(crate) seen: Vec<(VerifierKey, u64)>,
}

/// Who must have seen a tree.
pub(crate) struct Witnesses {
    /// Their keys.
    pub(crate) keys: Vec<VerifierKey>,
    /// How many of them.
    pub(crate) quorum: usize,
}

impl Witnesses {
    /// Those of the command line; all of them, unless a number is given.
    pub(crate) fn of(keys: &[String], quorum: Option<usize>) -> Result<Self, Failure> {
        let keys = keys
            .iter()
            .map(|text| {
                let key = parsed(text, "--cosigned-by")?;
                match key.kind() {
                    SignatureKind::Cosignature => Ok(key),
                    SignatureKind::Ed25519 => Err(Failure::new(
                        Exit::Usage,
                        format!("--cosigned-by: {} is the key of a ledger, not of a witness", key.name()),
                    )),
                }
            })
            .collect::<Result<Vec<_>, _>>()?;
        let quorum = quorum.unwrap_or(keys.len());
        if quorum > keys.len() {
            return Err(Failure::new(
                Exit::Usage,
                format!("--quorum: {} witnesses are named", keys.len()),
            ));
        }
        Ok(Self { keys, quorum })
    }
}

/// The verifier key of the command line: itself, or in a file.
pub(crate) fn verifier(text: &str) -> Result<VerifierKey, Failure> {
    parsed(text, "--key")
}

fn parsed(text: &str, option: &str) -> Result<VerifierKey, Failure> {
    let wrong = |e: ledger::KeyError| Failure::new(Exit::Usage, format!("{option}: {e}"));
    if text.contains('+') {
        return VerifierKey::parse(text).map_err(wrong);
    }
    let bytes = crate::exit::read(std::path::Path::new(text))?;
    let line = String::from_utf8(bytes).map_err(|_| Failure::new(Exit::Usage, format!("{}: not text", clean(text))))?;
    VerifierKey::parse(line.trim_end()).map_err(wrong)
}

impl Reader {
    /// Fetch the checkpoint and check it.
    pub(crate) fn open(from: &str, key: VerifierKey, witnesses: &Witnesses) -> Result<Self, Failure> {
        let source = Source::of(from)?;
        let note = source.get("checkpoint")?;
        let wrong = |why: String| Failure::new(Exit::No, format!("{}/checkpoint: {why}", source.shown()));
        let signed = SignedCheckpoint::parse(&note, &key).map_err(|e| wrong(e.to_string()))?;
        let mut seen = Vec::new();
        let mut missing = Vec::new();
        for witness in &witnesses.keys {
            match Cosignature::of(signed.note(), witness) {
                Ok(word) => seen.push((witness.clone(), word.time)),
                Err(NoteError::Unknown) => missing.push(witness.name().to_string()),
                Err(error) => return Err(wrong(error.to_string())),
            }
        }
        if seen.len() < witnesses.quorum {
            return Err(wrong(format!(
                "{} of {} witnesses have signed it; not {}",
                seen.len(),
                witnesses.quorum,
                missing.join(", ")
            )));
        }
        Ok(Self {
            source,
            key,
            signed,
            seen,
        })
    }

    pub(crate) fn head(&self) -> &Head {
        self.signed.head()
    }

    pub(crate) fn nodes(&self) -> TileNodes<&Source> {
        TileNodes::new(&self.source, self.head().size)
    }

    /// Something else that is served there.
    pub(crate) fn fetch(&self, path: &str) -> Result<Vec<u8>, Failure> {
        self.source.get(path)
    }

    /// The entries of a bundle.
    pub(crate) fn bundle(&self, index: u64) -> Result<Vec<Vec<u8>>, Failure> {
        let Some(resource @ Resource::Entries { width, .. }) = Resource::entries_at(self.head().size, index) else {
            return Ok(Vec::new());
        };
        let bytes = self.source.get(&resource.to_string())?;
        let found = entries(&bytes, width).map_err(|e| no(format!("{resource}: {e}")))?;
        Ok(found.into_iter().map(<[u8]>::to_vec).collect())
    }

    /// That the tree continues one that was seen; every stated reason is an answer: no.
    pub(crate) fn continues(&self, seen: &Head) -> Result<(), Failure> {
        let head = self.head();
        let proof = ledger::consistency(&self.nodes(), seen.size, head.size).map_err(tile)?;
        let Some(proof) = proof else {
            return Err(no(format!(
                "the ledger was cut: it has {} entries, and had {}",
                head.size, seen.size
            )));
        };
        proof.verify(seen, head).map_err(|e| {
            no(format!(
                "the ledger forked: its first {} entries are not those that were seen ({e})",
                seen.size
            ))
        })
    }

    /// Read the entries that are new since `seen`, which must be a beginning of the tree, and check that they and nothing else
    /// make it what it is now.
    pub(crate) fn news(&self, seen: &Head) -> Result<Vec<Entry>, Failure> {
        self.continues(seen)?;
        let nodes = self.nodes();
        let mut edge = self.edge(&nodes, seen)?;
        let mut news = Vec::new();
        let head = self.head();
        for index in seen.size / 256..head.size.div_ceil(256) {
            let known = usize::try_from(seen.size.saturating_sub(index * 256)).unwrap_or(usize::MAX);
            let all = self.bundle(index)?;
            let new = all.get(known..).unwrap_or_default();
            let hashes: Vec<Hash> = new.iter().map(|leaf| leaf_hash(leaf)).collect();
            edge.grow(&hashes).map_err(|e| no(e.to_string()))?;
            for leaf in new {
                news.push(Entry::parse(leaf).map_err(|e| no(format!("an entry of bundle {index}: {e}")))?);
            }
        }
        if edge.head() == *head {
            Ok(news)
        } else {
            Err(no("the entries of the ledger are not those of its tree".to_owned()))
        }
    }

    /// The edge of a tree that was seen, out of the tiles of the tree that is there.
    fn edge(&self, nodes: &TileNodes<&Source>, seen: &Head) -> Result<Edge, Failure> {
        let mut rows = Vec::new();
        for level in 0..8_u8 {
            let here = seen.size >> (8 * level);
            let width = usize::try_from(here % 256).unwrap_or_default();
            let mut row = match width {
                0 => Vec::new(),
                _ => nodes.hashes(level, here / 256).map_err(tile)?,
            };
            row.truncate(width);
            rows.push(row);
        }
        let edge = Edge::of(seen.size, rows).map_err(|e| no(e.to_string()))?;
        if edge.head() == *seen {
            Ok(edge)
        } else {
            Err(no("the tiles of the ledger are not those of its tree".to_owned()))
        }
    }
}

/// The answer is no.
pub(crate) fn no(why: String) -> Failure {
    Failure::new(Exit::No, why)
}

/// A tile that cannot be had, or is none.
pub(crate) fn tile(error: TileError) -> Failure {
    let exit = match error {
        TileError::Fetch { .. } => Exit::TryAgain,
        _ => Exit::No,
    };
    Failure::new(exit, error.to_string())
}
