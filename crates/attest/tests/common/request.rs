//! PKCS#10 requests field by field.

use super::{Algorithm, Extension, Key, bits, oid, seq, tlv};

/// A PKCS#10 request to be; every field is an element that a test may replace.
#[derive(Clone, Debug)]
pub struct CsrSpec {
    /// INTEGER.
    pub version: Vec<u8>,
    /// Name.
    pub subject: Vec<u8>,
    /// SubjectPublicKeyInfo.
    pub spki: Vec<u8>,
    /// Attributes, each whole.
    pub attributes: Vec<Vec<u8>>,
    /// `[0]` around the attributes, or what stands in its place.
    pub wrapped_attributes: Option<Vec<u8>>,
    /// How it is signed.
    pub algorithm: Algorithm,
    /// AlgorithmIdentifier; `None` is that of `algorithm`.
    pub identifier: Option<Vec<u8>>,
}

impl CsrSpec {
    /// A sound request of `key` with an empty subject and no attributes.
    pub fn new(key: &Key) -> Self {
        Self {
            version: tlv(0x02, &[0]),
            subject: seq(&[]),
            spki: key.spki(),
            attributes: Vec::new(),
            wrapped_attributes: None,
            algorithm: key.algorithm(),
            identifier: None,
        }
    }

    /// Ask for extensions.
    pub fn request(&mut self, extensions: &[Extension]) {
        let list: Vec<u8> = extensions.iter().flat_map(Extension::der).collect();
        self.attributes
            .push(csr_attribute("1.2.840.113549.1.9.14", &seq(&[&list])));
    }

    /// The request.
    pub fn sign(&self, key: &Key) -> Vec<u8> {
        let attributes = self
            .wrapped_attributes
            .clone()
            .unwrap_or_else(|| tlv(0xA0, &self.attributes.concat()));
        let info = seq(&[&self.version, &self.subject, &self.spki, &attributes]);
        let identifier = self.identifier.clone().unwrap_or_else(|| self.algorithm.identifier());
        seq(&[&info, &identifier, &bits(&key.sign(self.algorithm, &info))])
    }
}

/// SEQUENCE { OID, SET { value } }.
pub fn csr_attribute(kind: &str, value: &[u8]) -> Vec<u8> {
    seq(&[&oid(kind), &tlv(0x31, value)])
}
