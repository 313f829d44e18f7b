//! The ledger: an append-only Merkle tree that anyone can check without us.
//!
//! Hashes and proofs are those of RFC 6962 §2.1 (RFC 9162 §2.1 says the same); tiles, checkpoints, cosignatures and
//! proofs as files are C2SP's tlog-tiles, tlog-checkpoint, tlog-cosignature, tlog-proof and signed-note. RFC 9162's
//! other structures are not used. Pure: nothing here opens a file or a socket, or asks the time.
#![cfg_attr(test, expect(clippy::cast_possible_truncation, reason = "sizes in tests are small"))]

mod audit;
mod checkpoint;
mod cosign;
mod edge;
mod entry;
mod file;
mod hash;
mod nodes;
mod note;
mod path;
mod promise;
mod proof;
mod tile;
mod witness;

pub use audit::{AuditLine, audit_digest, line_hash, line_salt};
pub use checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint};
pub use cosign::{Cosignature, cosign};
pub use edge::{Edge, EdgeError, Tile};
pub use entry::{Entry, EntryError, Event, Issuance};
pub use file::{ProofFile, ProofFileError};
pub use hash::{Hash, empty_root, leaf_hash, node_hash};
pub use nodes::{Nodes, consistency, inclusion, root};
pub use note::{
    CA_KEY, KeyError, KeyName, MAX_NOTE_BYTES, MAX_SIGNATURES, Note, NoteError, NoteSignature, SignatureKind,
    SigningKey, VerifierKey, ca_key_line,
};
pub use path::{PathError, Resource, width_at};
pub use promise::{Promise, PromiseError};
pub use proof::{Consistency, Head, Inclusion, MAX_SIZE, ProofError, Step};
pub use tile::{TileError, TileNodes, Tiles, bundle, entries, hashes, tile_bytes};
pub use witness::{AddCheckpoint, WitnessAnswer, WitnessError};
