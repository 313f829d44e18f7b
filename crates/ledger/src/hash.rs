//! The hashes of RFC 6962 §2.1: a leaf can never be taken for a node.

use openssl::sha::Sha256;

/// A node of the tree: SHA-256.
pub type Hash = [u8; 32];

/// `SHA-256(0x00 || entry)` (RFC 6962 §2.1).
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> Hash {
    let mut hash = Sha256::new();
    hash.update(&[0]);
    hash.update(entry);
    hash.finish()
}

/// `SHA-256(0x01 || left || right)` (RFC 6962 §2.1).
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut hash = Sha256::new();
    hash.update(&[1]);
    hash.update(left);
    hash.update(right);
    hash.finish()
}

/// The root of the empty tree: `SHA-256()` (RFC 6962 §2.1).
#[must_use]
pub fn empty_root() -> Hash {
    openssl::sha::sha256(&[])
}

/// The root over complete subtrees of falling size, left to right; `None` for none.
pub(crate) fn join(peaks: &[Hash], rest: Option<Hash>) -> Option<Hash> {
    peaks.iter().rev().fold(rest, |right, left| match right {
        None => Some(*left),
        Some(right) => Some(node_hash(left, &right)),
    })
}

/// The roots of the complete subtrees that a row of hashes falls into, left to right: one for each bit of its length.
pub(crate) fn peaks(row: &[Hash]) -> Vec<Hash> {
    let mut peaks = Vec::new();
    let mut rest = row;
    while !rest.is_empty() {
        let (tree, behind) = rest.split_at(1 << rest.len().ilog2());
        peaks.extend(complete(tree));
        rest = behind;
    }
    peaks
}

/// The root over a power of two of hashes.
pub(crate) fn complete(row: &[Hash]) -> Option<Hash> {
    let mut row = row.to_vec();
    while row.len() > 1 {
        row = row
            .chunks(2)
            .filter_map(|pair| match pair {
                [left, right] => Some(node_hash(left, right)),
                _ => None,
            })
            .collect();
    }
    row.pop()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The tree of RFC 6962 §2.1, word for word: the judge of everything else here.
    pub(crate) fn naive(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => empty_root(),
            [one] => *one,
            many => {
                let split = (many.len() - 1).ilog2();
                let (left, right) = many.split_at(1 << split);
                node_hash(&naive(left), &naive(right))
            }
        }
    }

    /// The leaves of the test vectors that CT implementations share.
    pub(crate) fn vectors() -> Vec<Hash> {
        [
            "",
            "00",
            "10",
            "2021",
            "3031",
            "40414243",
            "5051525354555657",
            "606162636465666768696a6b6c6d6e6f",
        ]
        .iter()
        .map(|leaf| leaf_hash(&hex::decode(leaf).unwrap()))
        .collect()
    }

    #[test]
    fn the_roots_of_the_shared_vectors() {
        for (size, root) in [
            (0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
            (2, "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
            (3, "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
            (7, "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"),
            (8, "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"),
        ] {
            assert_eq!(hex::encode(naive(&vectors()[..size])), root, "{size} leaves");
        }
    }

    #[test]
    fn a_leaf_is_no_node() {
        let (left, right) = (leaf_hash(b"a"), leaf_hash(b"b"));
        let forged = leaf_hash(&[left, right].concat());
        assert_ne!(forged, node_hash(&left, &right));
    }

    #[test]
    fn peaks_join_to_the_root() {
        for size in 1..70_u8 {
            let leaves: Vec<Hash> = (0..size).map(|i| leaf_hash(&[i])).collect();
            assert_eq!(join(&peaks(&leaves), None), Some(naive(&leaves)), "{size}");
        }
        assert_eq!(join(&peaks(&[]), None), None);
    }
}
