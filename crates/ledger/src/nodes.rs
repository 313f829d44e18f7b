//! Proofs, made: RFC 6962 §2.1.1 and §2.1.2 over the complete subtrees that are stored.

use crate::hash::{Hash, empty_root, node_hash};
use crate::proof::{Consistency, Inclusion};

/// Where complete subtrees are found.
pub trait Nodes {
    /// Why one is not.
    type Error;
    /// The root over the leaves `[index << level, (index + 1) << level)`, all of which are there.
    ///
    /// # Errors
    /// Its own.
    fn node(&self, level: u32, index: u64) -> Result<Hash, Self::Error>;
}

/// The greatest power of two below `size`, which is greater than 1.
fn split(size: u64) -> u64 {
    1 << (size - 1).ilog2()
}

/// The root over `[start, end)`, not empty; `start` is a multiple of the power of two that reaches over the range.
fn range<N: Nodes>(nodes: &N, start: u64, end: u64) -> Result<Hash, N::Error> {
    let size = end - start;
    if size.is_power_of_two() {
        return nodes.node(size.ilog2(), start >> size.ilog2());
    }
    let middle = start + split(size);
    Ok(node_hash(&range(nodes, start, middle)?, &range(nodes, middle, end)?))
}

/// The root of the tree at a size.
///
/// # Errors
/// The nodes' own.
pub fn root<N: Nodes>(nodes: &N, size: u64) -> Result<Hash, N::Error> {
    if size == 0 {
        Ok(empty_root())
    } else {
        range(nodes, 0, size)
    }
}

/// That the leaf `index` is in the tree at a size (RFC 6962 §2.1.1); `None` when it is not.
///
/// # Errors
/// The nodes' own.
pub fn inclusion<N: Nodes>(nodes: &N, index: u64, size: u64) -> Result<Option<Inclusion>, N::Error> {
    if index >= size {
        return Ok(None);
    }
    let (mut start, mut end) = (0, size);
    let mut path = Vec::new();
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            path.push(range(nodes, middle, end)?);
            end = middle;
        } else {
            path.push(range(nodes, start, middle)?);
            start = middle;
        }
    }
    path.reverse();
    Ok(Some(Inclusion { index, path }))
}

/// That the tree at size `new` continues the one at size `old` (RFC 6962 §2.1.2); `None` when it is the shorter one.
///
/// # Errors
/// The nodes' own.
pub fn consistency<N: Nodes>(nodes: &N, old: u64, new: u64) -> Result<Option<Consistency>, N::Error> {
    if old > new {
        return Ok(None);
    }
    let mut path = Vec::new();
    if old == 0 || old == new {
        return Ok(Some(Consistency { path }));
    }
    let (mut start, mut end) = (0, new);
    // While the older tree's edge is inside the range, it is split; what lies beside is part of the proof.
    let mut whole = true;
    while old != end {
        let middle = start + split(end - start);
        if old <= middle {
            path.push(range(nodes, middle, end)?);
            end = middle;
        } else {
            path.push(range(nodes, start, middle)?);
            start = middle;
            whole = false;
        }
    }
    if !whole {
        path.push(range(nodes, start, end)?);
    }
    path.reverse();
    Ok(Some(Consistency { path }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::leaf_hash;
    use crate::hash::tests::{naive, vectors};
    use crate::proof::{Head, ProofError};
    use proptest::prelude::*;
    use std::convert::Infallible;

    struct Row(Vec<Hash>);

    impl Nodes for Row {
        type Error = Infallible;
        fn node(&self, level: u32, index: u64) -> Result<Hash, Infallible> {
            let (start, end) = ((index << level) as usize, ((index + 1) << level) as usize);
            Ok(naive(&self.0[start..end]))
        }
    }

    impl Row {
        fn of(size: usize) -> Self {
            Self((0..size).map(|i| leaf_hash(&i.to_be_bytes())).collect())
        }
        fn head(&self, size: u64) -> Head {
            let root = naive(&self.0[..size as usize]);
            Head { size, root }
        }
    }

    #[test]
    fn the_path_of_the_shared_vectors() {
        let row = Row(vectors());
        let Ok(proof) = inclusion(&row, 5, 7);
        let path: Vec<String> = proof.unwrap().path.iter().map(hex::encode).collect();
        assert_eq!(
            path,
            [
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"
            ]
        );
    }

    /// RFC 9162 §2.1.5: the proofs of its example tree of seven leaves, in its letters.
    #[test]
    fn the_example_of_the_rfc() {
        let row = Row(vectors());
        let d = &row.0;
        let pair = |i: usize| node_hash(&d[i], &d[i + 1]);
        let (g, h, i) = (pair(0), pair(2), pair(4));
        let (j, k, l) = (d[6], node_hash(&g, &h), node_hash(&i, &d[6]));
        for (leaf, path) in [
            (0, vec![d[1], h, l]),
            (3, vec![d[2], g, l]),
            (4, vec![d[5], j, k]),
            (6, vec![i, k]),
        ] {
            let Ok(found) = inclusion(&row, leaf, 7);
            assert_eq!(found.unwrap().path, path, "leaf {leaf}");
        }
        for (old, path) in [(3, vec![d[2], d[3], g, l]), (4, vec![l]), (6, vec![i, j, k])] {
            let Ok(found) = consistency(&row, old, 7);
            assert_eq!(found.unwrap().path, path, "from {old}");
        }
    }

    #[test]
    fn every_leaf_and_every_pair_of_sizes_up_to_66() {
        let row = Row::of(66);
        for size in 0..=66 {
            let head = row.head(size);
            assert_eq!(root(&row, size), Ok(head.root));
            for index in 0..size {
                let Ok(Some(proof)) = inclusion(&row, index, size) else {
                    panic!()
                };
                proof.verify(&row.0[index as usize], &head).unwrap();
                let steps = proof.steps(&row.0[index as usize], size).unwrap();
                for step in &steps {
                    assert!((step.first..step.end).contains(&index));
                    assert_eq!(step.result, naive(&row.0[step.first as usize..step.end as usize]));
                    let middle = step.first + split(step.end - step.first);
                    let beside = if step.left {
                        step.first..middle
                    } else {
                        middle..step.end
                    };
                    assert_eq!(step.sibling, naive(&row.0[beside.start as usize..beside.end as usize]));
                }
                let last = steps.last().map_or(row.0[index as usize], |step| step.result);
                assert_eq!(last, head.root);
                for wrong in [
                    &proof.path[..proof.path.len().saturating_sub(1)],
                    &[proof.path.as_slice(), &[[0; 32]]].concat(),
                ] {
                    let wrong = Inclusion {
                        index,
                        path: wrong.to_vec(),
                    };
                    let found = wrong.path.len();
                    if found != proof.path.len() {
                        let refused = wrong.steps(&row.0[index as usize], size);
                        assert_eq!(refused, Err(ProofError::Length { found }));
                    }
                }
            }
            assert_eq!(inclusion(&row, size, size), Ok(None));
            for old in 0..=size {
                let Ok(Some(proof)) = consistency(&row, old, size) else {
                    panic!()
                };
                proof.verify(&row.head(old), &head).unwrap();
            }
        }
        assert_eq!(consistency(&row, 5, 4), Ok(None));
    }

    #[test]
    fn a_leaf_beyond_the_tree() {
        let row = Row::of(7);
        let Ok(Some(mut proof)) = inclusion(&row, 6, 7) else {
            panic!()
        };
        proof.index = 7;
        assert_eq!(
            proof.verify(&row.0[6], &row.head(7)),
            Err(ProofError::Index { index: 7, size: 7 })
        );
        let none = Inclusion { index: 0, path: vec![] };
        assert_eq!(
            none.verify(&row.0[0], &Head::empty()),
            Err(ProofError::Index { index: 0, size: 0 })
        );
    }

    #[test]
    fn a_shorter_tree_continues_nothing() {
        let row = Row::of(9);
        let nothing = Consistency { path: vec![] };
        assert_eq!(
            nothing.verify(&row.head(9), &row.head(8)),
            Err(ProofError::Shrunk { old: 9, new: 8 })
        );
    }

    #[test]
    fn another_tree_of_the_same_size_and_another_empty_tree() {
        let row = Row::of(9);
        let nothing = Consistency { path: vec![] };
        let mut other = row.head(9);
        other.root[0] ^= 1;
        assert_eq!(nothing.verify(&other, &row.head(9)), Err(ProofError::Fork));
        let mut empty = Head::empty();
        empty.root[31] ^= 1;
        assert_eq!(nothing.verify(&empty, &row.head(9)), Err(ProofError::Fork));
        // One node too many where none belongs.
        let one = Consistency { path: vec![[0; 32]] };
        for old in [Head::empty(), row.head(9)] {
            assert_eq!(one.verify(&old, &row.head(9)), Err(ProofError::Length { found: 1 }));
        }
    }

    /// A tree in which an old leaf was exchanged: each root is its own, and no proof of either leads across.
    #[test]
    fn a_fork_is_called_a_fork() {
        let row = Row::of(21);
        let mut forked = Row::of(21);
        forked.0[3] = leaf_hash(b"another certificate");
        for old in 4..21 {
            let Ok(Some(proof)) = consistency(&forked, old, 21) else {
                panic!()
            };
            assert!(proof.verify(&forked.head(old), &forked.head(21)).is_ok());
            let seen = proof.verify(&row.head(old), &forked.head(21));
            // From a power of two, the old root is the first node, and only the end shows it.
            let expected = if old.is_power_of_two() {
                ProofError::Root
            } else {
                ProofError::Fork
            };
            assert_eq!(seen, Err(expected), "from {old}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        /// One bit anywhere, one hash more or less, another place or size: no proof.
        #[test]
        fn a_changed_proof_convinces_nobody(size in 2_u64..300, at: u64, bit in 0_usize..256, which: usize) {
            let row = Row::of(size as usize);
            let head = row.head(size);
            let index = at % size;
            let leaf = row.0[index as usize];
            let Ok(Some(proof)) = inclusion(&row, index, size) else { panic!() };
            prop_assert!(proof.verify(&leaf, &head).is_ok());
            let flip = |hash: &mut Hash| hash[bit / 8] ^= 1 << (bit % 8);
            let mut bad = proof.clone();
            let place = which % bad.path.len();
            flip(&mut bad.path[place]);
            prop_assert_eq!(bad.verify(&leaf, &head), Err(ProofError::Root));
            let mut other = leaf;
            flip(&mut other);
            prop_assert_eq!(proof.verify(&other, &head), Err(ProofError::Root));
            let mut tree = head;
            flip(&mut tree.root);
            prop_assert_eq!(proof.verify(&leaf, &tree), Err(ProofError::Root));
            let mut short = proof.clone();
            short.path.remove(place);
            prop_assert!(short.verify(&leaf, &head).is_err());
            let mut long = proof.clone();
            long.path.insert(place, leaf);
            prop_assert!(long.verify(&leaf, &head).is_err());
            for elsewhere in [index + 1, index ^ 1, size - 1 - index] {
                if elsewhere != index {
                    let moved = Inclusion { index: elsewhere, ..proof.clone() };
                    prop_assert!(moved.verify(&leaf, &head).is_err());
                }
            }
        }

        #[test]
        fn a_changed_consistency_proof_convinces_nobody(size in 2_u64..300, at: u64, bit in 0_usize..256, which: usize) {
            let row = Row::of(size as usize);
            let old = 1 + at % (size - 1);
            let (older, newer) = (row.head(old), row.head(size));
            let Ok(Some(proof)) = consistency(&row, old, size) else { panic!() };
            prop_assert!(proof.verify(&older, &newer).is_ok());
            let flip = |hash: &mut Hash| hash[bit / 8] ^= 1 << (bit % 8);
            let mut bad = proof.clone();
            let place = which % bad.path.len();
            flip(&mut bad.path[place]);
            prop_assert!(matches!(bad.verify(&older, &newer), Err(ProofError::Root | ProofError::Fork)));
            for which in [true, false] {
                let (mut a, mut b) = (older, newer);
                flip(if which { &mut a.root } else { &mut b.root });
                prop_assert!(proof.verify(&a, &b).is_err());
            }
            let mut short = proof.clone();
            short.path.remove(place);
            prop_assert!(short.verify(&older, &newer).is_err());
            let mut long = proof;
            long.path.insert(place, older.root);
            prop_assert!(long.verify(&older, &newer).is_err());
        }

        /// Any hashes under any sizes: an answer, never a panic.
        #[test]
        fn any_proof_is_answered(index: u64, size: u64, old: u64, path in proptest::collection::vec(any::<Hash>(), 0..70)) {
            let head = Head { size, root: [7; 32] };
            let inclusion = Inclusion { index, path: path.clone() };
            prop_assert!(inclusion.verify(&[1; 32], &head).is_err());
            let old = Head { size: old, root: [9; 32] };
            let answer = Consistency { path }.verify(&old, &head);
            prop_assert!(answer.is_err());
        }
    }
}
