//! The Merkle tree over lines (RFC 6962 §2.1), grown from the left and never held as a whole.

use ledger::{empty_root, leaf_hash as leaf, node_hash as node};

/// SHA-256.
pub type Hash = ledger::Hash;

/// A tree that grows: for each bit of its size that is set the root of one full subtree, largest first. At most 64 hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    size: u64,
    peaks: Vec<Hash>,
}

impl Tree {
    /// No leaf yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Leaves so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// One more leaf.
    pub fn push(&mut self, bytes: &[u8]) {
        self.push_hash(leaf(bytes));
    }

    /// One more leaf, by its hash.
    pub fn push_hash(&mut self, mut hash: Hash) {
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                hash = node(&left, &hash);
            }
        }
        self.peaks.push(hash);
        self.size = self.size.saturating_add(1);
    }

    /// Root of what is there (RFC 6962 §2.1; of nothing it is the hash of nothing).
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else {
            return empty_root();
        };
        peaks.fold(*last, |right, left| node(left, &right))
    }

    /// The tree as bytes, to go on with it later: size (8, big-endian), then its hashes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.size.to_be_bytes().to_vec();
        self.peaks.iter().for_each(|peak| out.extend(peak));
        out
    }

    /// [`Tree::to_bytes`] read back; none: these are not its bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (size, rest) = bytes.split_first_chunk::<8>()?;
        let size = u64::from_be_bytes(*size);
        let (peaks, over) = rest.as_chunks::<32>();
        let fits = over.is_empty() && u32::try_from(peaks.len()).ok()? == size.count_ones();
        fits.then(|| Self {
            size,
            peaks: peaks.to_vec(),
        })
    }
}

/// Root of the tree with these leaves.
#[must_use]
pub fn root_of<'a>(leaves: impl IntoIterator<Item = &'a [u8]>) -> Hash {
    let mut tree = Tree::new();
    leaves.into_iter().for_each(|leaf| tree.push(leaf));
    tree.root()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the RFC words it: split at the largest power of two that is smaller.
    fn by_the_book(leaves: &[Vec<u8>]) -> Hash {
        match leaves {
            [] => empty_root(),
            [one] => leaf(one),
            more => {
                let middle = (more.len() - 1).ilog2();
                let (left, right) = more.split_at(1 << middle);
                node(&by_the_book(left), &by_the_book(right))
            }
        }
    }

    #[test]
    fn the_root_is_that_of_the_rfc_for_every_size() {
        let leaves: Vec<Vec<u8>> = (0u8..67).map(|n| vec![n; usize::from(n)]).collect();
        for size in 0..=leaves.len() {
            let part = &leaves[..size];
            assert_eq!(root_of(part.iter().map(Vec::as_slice)), by_the_book(part), "{size}");
        }
    }

    /// Vectors of the reference implementation of Certificate Transparency.
    #[test]
    fn the_root_is_that_of_certificate_transparency() {
        let leaves = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657"].map(|h| hex::decode(h).unwrap());
        let roots = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        ];
        for (size, root) in (1..).zip(roots) {
            let part = leaves[..size].iter().map(Vec::as_slice);
            assert_eq!(hex::encode(root_of(part)), root, "{size}");
        }
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(hex::encode(root_of([])), empty);
    }

    #[test]
    fn a_tree_goes_on_from_its_bytes() {
        let mut whole = Tree::new();
        for n in 0u8..40 {
            let again = Tree::from_bytes(&whole.to_bytes()).unwrap();
            assert_eq!(again, whole);
            whole = again;
            whole.push(&[n]);
        }
        let leaves: Vec<[u8; 1]> = (0u8..40).map(|n| [n]).collect();
        assert_eq!(whole.root(), root_of(leaves.iter().map(<[u8; 1]>::as_slice)));
        let bytes = whole.to_bytes();
        assert!(Tree::from_bytes(&bytes[..bytes.len() - 1]).is_none());
        assert!(Tree::from_bytes(&bytes[..bytes.len() - 32]).is_none(), "a hash too few");
        assert!(
            Tree::from_bytes(&[bytes, vec![0; 32]].concat()).is_none(),
            "a hash too many"
        );
        assert!(Tree::from_bytes(&[0; 7]).is_none());
    }
}
