//! What a proof costs from 10^3 to 10^8 entries: hashes, bytes of its file, time to make it out of tiles and to verify it.
//!
//! The tree is simulated: all its leaves say the same, so a complete subtree has one hash for each height, and a tile is
//! 256 times that. Proofs are made of such tiles by the code of the server, and verified by that of a stranger; what they
//! cost does not depend on what leaves say.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench that cannot go on stops, and tells its numbers"
)]

use std::hint::black_box;
use std::time::Instant;

use ledger::{
    Checkpoint, Hash, Head, KeyName, ProofFile, Resource, SignatureKind, SigningKey, TileNodes, Tiles, consistency,
    inclusion, leaf_hash, node_hash, root, tile_bytes,
};

const ENTRY: &[u8] = br#"{"v":1,"at":1795456147,"event":"audit","records":1,"digest":"00"}"#;

/// Hashes of complete subtrees, by height.
struct Alike(Vec<Hash>);

impl Alike {
    fn new() -> Self {
        let mut all = vec![leaf_hash(ENTRY)];
        for level in 0..40 {
            let below = all.get(level).copied().unwrap();
            all.push(node_hash(&below, &below));
        }
        Self(all)
    }
}

impl Tiles for &Alike {
    fn get(&self, tile: Resource) -> Result<Vec<u8>, String> {
        let Resource::Tile { level, width, .. } = tile else {
            return Err("no tile".to_owned());
        };
        let hash = self.0.get(usize::from(level) * 8).ok_or("too high")?;
        Ok(tile_bytes(&vec![*hash; usize::from(width)]))
    }
}

/// Microseconds that one call takes, the best of five rounds.
fn micros(rounds: u32, mut call: impl FnMut()) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        for _ in 0..rounds {
            call();
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e6 / f64::from(rounds));
    }
    best
}

fn main() {
    let tiles = Alike::new();
    let name = KeyName::new("pki.example.net/ledger").unwrap();
    let key = SigningKey::from_seed(name.clone(), SignatureKind::Ed25519, &[7; 32]).unwrap();
    println!(
        "| entries | hashes | file, bytes | made, µs | path verified, µs | with the signature, µs | consistency: hashes | verified, µs |"
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|---:|");
    for power in 3..=8_u32 {
        // Not a power of two: the right edge is ragged, as it is.
        let size = 10_u64.pow(power) + 7;
        let index = size / 3;
        let nodes = || TileNodes::new(&tiles, size);
        let head = Head {
            size,
            root: root(&nodes(), size).unwrap(),
        };
        let proof = inclusion(&nodes(), index, size).unwrap().unwrap();
        let made = micros(20, || {
            black_box(inclusion(&nodes(), index, size).unwrap());
        });
        let leaf = leaf_hash(ENTRY);
        let path = micros(200, || proof.verify(black_box(&leaf), &head).unwrap());
        let signed = Checkpoint::new(name.clone(), head).sign(&key).unwrap();
        let hashes = proof.path.len();
        let file = ProofFile {
            inclusion: proof,
            checkpoint: signed.note().clone(),
        }
        .to_string();
        let whole = micros(50, || {
            let read = ProofFile::parse(black_box(file.as_bytes())).unwrap();
            read.verify(ENTRY, key.verifier()).unwrap();
        });
        let old = Head {
            size: size / 2,
            root: root(&nodes(), size / 2).unwrap(),
        };
        let further = consistency(&nodes(), old.size, size).unwrap().unwrap();
        let continued = micros(200, || further.verify(black_box(&old), &head).unwrap());
        println!(
            "| {size} | {hashes} | {} | {made:.1} | {path:.1} | {whole:.1} | {} | {continued:.1} |",
            file.len(),
            further.path.len()
        );
    }
}
