//! One device of a manifest, shown without the others: its line, the header, and that the signed root is over both.

use ledger::{Head, Inclusion, Nodes, inclusion, leaf_hash};
use serde::{Deserialize, Serialize};

use crate::reader::next;
use crate::{BadLine, Closing, Entry, Hash, Header, ReadError, Seal, digest, exactly, spelled};

/// Version of the format; another is refused.
const VERSION: u32 = 1;
/// Longest path: a tree has no more leaves than a number of 64 bits says.
const LONGEST_PATH: usize = 64;

/// That a device is of a manifest: claimed. Five lines: paths, header, device, closing, seal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    position: u64,
    header_path: Vec<Hash>,
    device_path: Vec<Hash>,
    header: Vec<u8>,
    device: Vec<u8>,
    closing: Closing,
    seal: Seal,
}

/// A device of the manifest with this closing. The seal is not checked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// Whose word, about which lot.
    pub header: Header,
    /// The device.
    pub entry: Entry,
    /// Which, from 0 on.
    pub position: u64,
    /// What the seal is over.
    pub closing: Closing,
    /// Signature, not checked.
    pub seal: Seal,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Paths {
    holdfast_manifest_proof: u32,
    position: u64,
    header: Vec<String>,
    device: Vec<String>,
}

impl Proof {
    /// The proof of the device at a position (from 0 on); `nodes` are of the tree over header and devices. None: there is no
    /// such device.
    ///
    /// # Errors
    /// The nodes' own.
    pub fn make<N: Nodes>(
        nodes: &N,
        position: u64,
        lines: [&[u8]; 2],
        closing: &Closing,
        seal: &Seal,
    ) -> Result<Option<Self>, N::Error> {
        let size = closing.entries.saturating_add(1);
        let (Some(of_header), Some(of_device)) = (
            inclusion(nodes, 0, size)?,
            inclusion(nodes, position.saturating_add(1), size)?,
        ) else {
            return Ok(None);
        };
        let [header, device] = lines.map(<[u8]>::to_vec);
        Ok(Some(Self {
            position,
            header_path: of_header.path,
            device_path: of_device.path,
            header,
            device,
            closing: closing.clone(),
            seal: seal.clone(),
        }))
    }

    /// The file.
    ///
    /// # Errors
    /// Never.
    pub fn to_bytes(&self) -> Result<Vec<u8>, BadLine> {
        let text = |path: &[Hash]| path.iter().map(hex::encode).collect();
        let paths = Paths {
            holdfast_manifest_proof: VERSION,
            position: self.position,
            header: text(&self.header_path),
            device: text(&self.device_path),
        };
        let mut out = Vec::new();
        for line in [
            spelled(&paths)?,
            self.header.clone(),
            self.device.clone(),
            self.closing.line()?,
            self.seal.line()?,
        ] {
            out.extend(line);
            out.push(b'\n');
        }
        Ok(out)
    }

    /// Read a file; nothing is believed yet.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn parse(mut bytes: &[u8]) -> Result<Self, ReadError> {
        let mut line = |number| -> Result<Vec<u8>, ReadError> {
            next(&mut bytes, number)?.ok_or(ReadError::Untrue("it is cut short: a proof has five lines"))
        };
        let bad = |number| move |why| ReadError::Line { number, why };
        let paths: Paths = exactly(&line(1)?).map_err(bad(1))?;
        if paths.holdfast_manifest_proof != VERSION {
            let why = format!("version {} of the format: this is for version {VERSION}", {
                paths.holdfast_manifest_proof
            });
            return Err(bad(1)(BadLine(why)));
        }
        let hashes = |what: &str, path: &[String]| -> Result<Vec<Hash>, ReadError> {
            if path.len() > LONGEST_PATH {
                return Err(bad(1)(BadLine(format!("{what}: at most {LONGEST_PATH} hashes"))));
            }
            path.iter().map(|hash| digest(what, hash).map_err(bad(1))).collect()
        };
        let proof = Self {
            position: paths.position,
            header_path: hashes("header", &paths.header)?,
            device_path: hashes("device", &paths.device)?,
            header: line(2)?,
            device: line(3)?,
            closing: Closing::parse(&line(4)?).map_err(bad(4))?,
            seal: Seal::parse(&line(5)?).map_err(bad(5))?,
        };
        if bytes.is_empty() {
            Ok(proof)
        } else {
            Err(ReadError::Untrue("something stands behind the signature"))
        }
    }

    /// Both lines are of the tree whose root the closing has. What is left is the seal.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn verify(self) -> Result<Proven, ReadError> {
        let bad = |number| move |why| ReadError::Line { number, why };
        let header = Header::parse(&self.header).map_err(bad(2))?;
        let entry = Entry::parse(header.kind, &self.device).map_err(bad(3))?;
        let head = Head {
            size: self.closing.entries.saturating_add(1),
            root: digest("root", self.closing.root()).map_err(bad(4))?,
        };
        let of_header = Inclusion {
            index: 0,
            path: self.header_path,
        };
        let of_device = Inclusion {
            index: self.position.saturating_add(1),
            path: self.device_path,
        };
        if of_header.verify(&leaf_hash(&self.header), &head).is_err() {
            return Err(ReadError::Untrue(
                "the root is not over this header: something was changed",
            ));
        }
        if of_device.verify(&leaf_hash(&self.device), &head).is_err() {
            return Err(ReadError::Untrue(
                "the root is not over this device: something was changed",
            ));
        }
        Ok(Proven {
            header,
            entry,
            position: self.position,
            closing: self.closing,
            seal: self.seal,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, Tree};
    use std::convert::Infallible;

    /// A tree whose leaves are in memory.
    struct Row(Vec<Hash>);

    impl Nodes for Row {
        type Error = Infallible;
        fn node(&self, level: u32, index: u64) -> Result<Hash, Infallible> {
            let mut tree = Tree::new();
            let at = |index: u64| usize::try_from(index << level).unwrap();
            self.0[at(index)..at(index + 1)]
                .iter()
                .for_each(|leaf| tree.push_hash(*leaf));
            Ok(tree.root())
        }
    }

    fn lot(size: u8) -> (Vec<Vec<u8>>, Closing, Seal) {
        let header = Header::new(Kind::Lot, "lot", "Maker", None, 1).unwrap();
        let mut lines = vec![header.line().unwrap()];
        for n in 0..size {
            let entry = Entry::new(Kind::Lot, &format!("D-{n:03}"), "M", &[[n; 32]], &[], Vec::new()).unwrap();
            lines.push(entry.line().unwrap());
        }
        let root = crate::root_of(lines.iter().map(Vec::as_slice));
        let closing = Closing::new(u64::from(size), &root);
        (lines, closing, Seal::new("ecdsa-p256-sha256", b"key", b"signature"))
    }

    fn prove(lines: &[Vec<u8>], closing: &Closing, seal: &Seal, position: usize) -> Option<Proof> {
        let row = Row(lines.iter().map(|line| leaf_hash(line)).collect());
        let device = lines.get(position + 1).map(Vec::as_slice).unwrap_or_default();
        let Ok(proof) = Proof::make(&row, position as u64, [&lines[0], device], closing, seal);
        proof
    }

    #[test]
    fn every_device_of_every_size_is_shown() {
        for size in 1..20 {
            let (lines, closing, seal) = lot(size);
            for position in 0..usize::from(size) {
                let proof = prove(&lines, &closing, &seal, position).unwrap();
                let read = Proof::parse(&proof.to_bytes().unwrap()).unwrap();
                assert_eq!(read, proof);
                let proven = read.verify().unwrap();
                assert_eq!(
                    (proven.position, proven.entry.serial()),
                    (position as u64, &*format!("D-{position:03}"))
                );
                assert_eq!((proven.closing, proven.seal), (closing.clone(), seal.clone()));
            }
            assert!(prove(&lines, &closing, &seal, usize::from(size)).is_none());
        }
    }

    /// What exactly refuses, where all else is right.
    #[test]
    fn each_check_refuses_alone() {
        let (lines, closing, seal) = lot(9);
        let good = prove(&lines, &closing, &seal, 4).unwrap();
        let said = |proof: Proof| proof.verify().unwrap_err().to_string();
        let mut other = good.clone();
        other.header = Header::new(Kind::Lot, "lot", "Thief", None, 1).unwrap().line().unwrap();
        assert!(said(other).contains("over this header"));
        let mut other = good.clone();
        other.device.clone_from(&lines[6]);
        assert!(said(other).contains("over this device"));
        let mut other = good.clone();
        other.position = 5;
        assert!(said(other).contains("over this device"));
        let mut other = good.clone();
        other.closing = Closing::new(8, &[0; 32]);
        assert!(said(other).contains("over this header"));
        let refused = |bytes: &[u8]| Proof::parse(bytes).unwrap_err().to_string();
        let bytes = good.to_bytes().unwrap();
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert!(refused(&bytes[..bytes.len() - 1]).contains("it has no end"));
        assert!(refused(&[&bytes[..], b"{}\n"].concat()).contains("behind the signature"));
        assert!(refused(text.replacen("proof\":1", "proof\":2", 1).as_bytes()).contains("version 2"));
        assert!(refused(text.replacen("\":", "\": ", 1).as_bytes()).contains("one spelling"));
        let four: String = text.lines().take(4).map(|line| format!("{line}\n")).collect();
        assert!(refused(four.as_bytes()).contains("five lines"));
        let mut long = good;
        long.device_path = vec![[0; 32]; 65];
        assert!(refused(&long.to_bytes().unwrap()).contains("at most 64"));
    }
}
