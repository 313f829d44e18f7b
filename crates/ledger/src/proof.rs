//! Proofs, checked: RFC 9162 §2.1.3.2 and §2.1.4.2, step by step.

use crate::hash::{Hash, empty_root, node_hash};

/// The greatest size of a tree: it fits a signed 64-bit number, as databases have it.
pub const MAX_SIZE: u64 = i64::MAX as u64;

/// A tree at a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// How many leaves.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
}

impl Head {
    /// The tree without a leaf.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            size: 0,
            root: empty_root(),
        }
    }
}

/// Why a proof does not convince.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The leaf is not below the size.
    #[error("there is no leaf {index} in a tree of {size}")]
    Index {
        /// Place of the leaf.
        index: u64,
        /// Size of the tree.
        size: u64,
    },
    /// The older tree is the greater one.
    #[error("a tree of {new} is shorter than one of {old}")]
    Shrunk {
        /// Size of the older tree.
        old: u64,
        /// Size of the newer tree.
        new: u64,
    },
    /// Too many or too few hashes for these sizes.
    #[error("the proof has {found} hashes: too many or too few for its place")]
    Length {
        /// How many there are.
        found: usize,
    },
    /// It leads to another root.
    #[error("the proof leads to another root")]
    Root,
    /// It leads to another root of the older tree: not an extension, but another tree.
    #[error("the older tree is not a part of the newer one")]
    Fork,
}

/// That a leaf is in a tree: claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inclusion {
    /// Place of the leaf, from zero.
    pub index: u64,
    /// Siblings from the leaf up.
    pub path: Vec<Hash>,
}

impl Inclusion {
    /// Check that the leaf is at its place in the tree (RFC 9162 §2.1.3.2).
    ///
    /// # Errors
    /// [`ProofError`].
    pub fn verify(&self, leaf: &Hash, head: &Head) -> Result<(), ProofError> {
        if self.root(leaf, head.size)? == head.root {
            Ok(())
        } else {
            Err(ProofError::Root)
        }
    }

    /// The root that the path leads to.
    ///
    /// # Errors
    /// [`ProofError`].
    pub fn root(&self, leaf: &Hash, size: u64) -> Result<Hash, ProofError> {
        let index = self.index;
        let length = ProofError::Length { found: self.path.len() };
        let mut last = match size.checked_sub(1) {
            Some(last) if index <= last => last,
            _ => return Err(ProofError::Index { index, size }),
        };
        let mut at = index;
        let mut root = *leaf;
        for sibling in &self.path {
            if last == 0 {
                return Err(length);
            }
            if at & 1 == 1 || at == last {
                root = node_hash(sibling, &root);
                while at & 1 == 0 && at != 0 {
                    at >>= 1;
                    last >>= 1;
                }
            } else {
                root = node_hash(&root, sibling);
            }
            at >>= 1;
            last >>= 1;
        }
        if last == 0 { Ok(root) } else { Err(length) }
    }

    /// The same way as people follow it: one step for each hash of the path, from the leaf up, with the leaves each result
    /// stands for. The last result is [`Inclusion::root`].
    ///
    /// # Errors
    /// [`ProofError`].
    pub fn steps(&self, leaf: &Hash, size: u64) -> Result<Vec<Step>, ProofError> {
        let index = self.index;
        if index >= size {
            return Err(ProofError::Index { index, size });
        }
        // From the root down: each subtree on the way, and whether its left half is beside it.
        let (mut start, mut end) = (0, size);
        let mut way = Vec::new();
        while end - start > 1 {
            let middle = start + (1 << (end - start - 1).ilog2());
            let left = index >= middle;
            way.push((start, end, left));
            if left { start = middle } else { end = middle }
        }
        if way.len() != self.path.len() {
            return Err(ProofError::Length { found: self.path.len() });
        }
        let mut node = *leaf;
        let step = |(sibling, (first, end, left)): (&Hash, &(u64, u64, bool))| {
            node = if *left {
                node_hash(sibling, &node)
            } else {
                node_hash(&node, sibling)
            };
            Step {
                sibling: *sibling,
                left: *left,
                result: node,
                first: *first,
                end: *end,
            }
        };
        Ok(self.path.iter().zip(way.iter().rev()).map(step).collect())
    }
}

/// One step from a leaf to the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The hash of the path that is added.
    pub sibling: Hash,
    /// Whether it stands on the left.
    pub left: bool,
    /// What both make.
    pub result: Hash,
    /// The first leaf that the result stands for.
    pub first: u64,
    /// Behind the last one.
    pub end: u64,
}

/// That a tree is another one, continued: claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consistency {
    /// Nodes as RFC 6962 §2.1.2 has them.
    pub path: Vec<Hash>,
}

impl Consistency {
    /// Check that `new` begins with exactly the leaves of `old` (RFC 9162 §2.1.4.2). Every tree continues the empty one,
    /// by an empty proof.
    ///
    /// # Errors
    /// [`ProofError`]; [`ProofError::Fork`] and [`ProofError::Root`] are told apart only to speak of them: an honest
    /// ledger gives neither.
    pub fn verify(&self, old: &Head, new: &Head) -> Result<(), ProofError> {
        let length = ProofError::Length { found: self.path.len() };
        if old.size > new.size {
            return Err(ProofError::Shrunk {
                old: old.size,
                new: new.size,
            });
        }
        if old.size == 0 || old.size == new.size {
            if !self.path.is_empty() {
                return Err(length);
            }
            let known = if old.size == 0 { empty_root() } else { new.root };
            return if old.root == known {
                Ok(())
            } else {
                Err(ProofError::Fork)
            };
        }
        let (mut at, mut last) = (old.size - 1, new.size - 1);
        while at & 1 == 1 {
            at >>= 1;
            last >>= 1;
        }
        let mut nodes = self.path.iter();
        // A power of two: the older root is a node of the newer tree, and not repeated in the proof.
        let start = if old.size.is_power_of_two() {
            old.root
        } else {
            *nodes.next().ok_or(length)?
        };
        let (mut older, mut newer) = (start, start);
        for node in nodes {
            if last == 0 {
                return Err(length);
            }
            if at & 1 == 1 || at == last {
                older = node_hash(node, &older);
                newer = node_hash(node, &newer);
                while at & 1 == 0 && at != 0 {
                    at >>= 1;
                    last >>= 1;
                }
            } else {
                newer = node_hash(&newer, node);
            }
            at >>= 1;
            last >>= 1;
        }
        if last != 0 {
            Err(length)
        } else if older != old.root {
            Err(ProofError::Fork)
        } else if newer != new.root {
            Err(ProofError::Root)
        } else {
            Ok(())
        }
    }
}
