//! Certificates field by field, and the CA that signs them.

use super::{Algorithm, Key, attribute, bits, common_name, oid, seq, time, tlv, utf8};

/// One extension to be.
#[derive(Clone, Debug)]
pub struct Extension {
    /// extnID, dotted.
    pub oid: &'static str,
    /// `Some(false)` is written out, as DER forbids.
    pub critical: Option<bool>,
    /// Content of extnValue.
    pub value: Vec<u8>,
}

impl Extension {
    /// The extension as DER.
    pub fn der(&self) -> Vec<u8> {
        let critical = self
            .critical
            .map_or_else(Vec::new, |flag| tlv(0x01, &[if flag { 0xFF } else { 0 }]));
        seq(&[&oid(self.oid), &critical, &tlv(0x04, &self.value)])
    }
}

/// basicConstraints.
pub const BASIC_CONSTRAINTS: &str = "2.5.29.19";
/// keyUsage.
pub const KEY_USAGE: &str = "2.5.29.15";
/// extKeyUsage.
pub const EXTENDED_KEY_USAGE: &str = "2.5.29.37";
/// subjectAltName.
pub const SUBJECT_ALT_NAME: &str = "2.5.29.17";
/// authorityKeyIdentifier.
pub const AUTHORITY_KEY_IDENTIFIER: &str = "2.5.29.35";

/// A certificate to be; every field is an element that a test may replace.
#[derive(Clone, Debug)]
pub struct Spec {
    /// `[0] EXPLICIT Version`, or nothing.
    pub version: Vec<u8>,
    /// Content octets of the serial.
    pub serial: Vec<u8>,
    /// AlgorithmIdentifier inside the TBSCertificate; `None` is the same as outside.
    pub inner_algorithm: Option<Vec<u8>>,
    /// AlgorithmIdentifier outside; `None` is that of `algorithm`.
    pub outer_algorithm: Option<Vec<u8>>,
    /// How it is signed.
    pub algorithm: Algorithm,
    /// Name.
    pub issuer: Vec<u8>,
    /// Time.
    pub not_before: Vec<u8>,
    /// Time.
    pub not_after: Vec<u8>,
    /// Name.
    pub subject: Vec<u8>,
    /// SubjectPublicKeyInfo.
    pub spki: Vec<u8>,
    /// Elements between the key and the extensions.
    pub before_extensions: Vec<u8>,
    /// Extensions; none leaves the field out.
    pub extensions: Vec<Extension>,
}

impl Spec {
    /// The extension `oid`, to be changed.
    pub fn extension(&mut self, oid: &str) -> &mut Extension {
        self.extensions
            .iter_mut()
            .find(|extension| extension.oid == oid)
            .unwrap()
    }

    /// Leave out the extension `oid`.
    pub fn without(&mut self, oid: &str) {
        assert!(self.extensions.iter().any(|extension| extension.oid == oid));
        self.extensions.retain(|extension| extension.oid != oid);
    }

    /// Add an extension.
    pub fn with(&mut self, oid: &'static str, critical: Option<bool>, value: Vec<u8>) {
        self.extensions.push(Extension { oid, critical, value });
    }

    /// TBSCertificate.
    pub fn tbs(&self) -> Vec<u8> {
        let extensions = if self.extensions.is_empty() {
            Vec::new()
        } else {
            let list: Vec<u8> = self.extensions.iter().flat_map(Extension::der).collect();
            tlv(0xA3, &seq(&[&list]))
        };
        let algorithm = self.inner_algorithm.clone().unwrap_or_else(|| self.outer());
        seq(&[
            &self.version,
            &tlv(0x02, &self.serial),
            &algorithm,
            &self.issuer,
            &seq(&[&self.not_before, &self.not_after]),
            &self.subject,
            &self.spki,
            &self.before_extensions,
            &extensions,
        ])
    }

    fn outer(&self) -> Vec<u8> {
        self.outer_algorithm
            .clone()
            .unwrap_or_else(|| self.algorithm.identifier())
    }

    /// The certificate.
    pub fn sign(&self, key: &Key) -> Vec<u8> {
        let tbs = self.tbs();
        seq(&[&tbs, &self.outer(), &bits(&key.sign(self.algorithm, &tbs))])
    }
}

/// keyUsage value with these bits of the first octet.
pub fn key_usage(octet: u8) -> Vec<u8> {
    tlv(0x03, &[octet.trailing_zeros() as u8, octet])
}

/// subjectAltName with one directoryName: the three TPM attributes, one RDN each.
pub fn tpm_san(manufacturer: &str, model: &[u8], version: &str) -> Vec<u8> {
    let rdn = |kind: &str, value: &[u8]| tlv(0x31, &attribute(kind, value));
    directory_san(&seq(&[
        &rdn("2.23.133.2.1", &utf8(manufacturer)),
        &rdn("2.23.133.2.2", model),
        &rdn("2.23.133.2.3", &utf8(version)),
    ]))
}

/// subjectAltName with one directoryName.
pub fn directory_san(name: &[u8]) -> Vec<u8> {
    seq(&[&tlv(0xA4, name)])
}

/// A vendor's CA.
#[derive(Clone, Debug)]
pub struct VendorCa {
    /// Key.
    pub key: Key,
    /// Name.
    pub name: Vec<u8>,
    /// Its certificate.
    pub certificate: Vec<u8>,
}

impl VendorCa {
    /// A self-signed CA, valid 2020 to 2049.
    pub fn root(name: &str, key: Key, change: impl FnOnce(&mut Spec)) -> Self {
        let name = common_name(name);
        let mut spec = ca_spec(&name, &name, &key, &key);
        change(&mut spec);
        Self {
            certificate: spec.sign(&key),
            name,
            key,
        }
    }

    /// A CA below this one.
    pub fn intermediate(&self, name: &str, key: Key, change: impl FnOnce(&mut Spec)) -> Self {
        let name = common_name(name);
        let mut spec = ca_spec(&self.name, &name, &self.key, &key);
        change(&mut spec);
        Self {
            certificate: spec.sign(&self.key),
            name: spec.subject,
            key,
        }
    }

    /// An EK certificate of the TCG profile on `spki`, with an empty subject.
    pub fn ek(&self, spki: &[u8], change: impl FnOnce(&mut Spec)) -> Vec<u8> {
        let rsa = spki
            .windows(9)
            .any(|window| window == [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 1]);
        let mut spec = Spec {
            version: tlv(0xA0, &tlv(0x02, &[2])),
            serial: vec![0x12, 0x34],
            inner_algorithm: None,
            outer_algorithm: None,
            algorithm: self.key.algorithm(),
            issuer: self.name.clone(),
            not_before: time("20200101000000"),
            not_after: time("20491231235959"),
            subject: seq(&[]),
            spki: spki.to_vec(),
            before_extensions: Vec::new(),
            extensions: Vec::new(),
        };
        let model = utf8("Holdfast Test 1");
        spec.with(
            SUBJECT_ALT_NAME,
            Some(true),
            tpm_san("id:49465800", &model, "id:00010002"),
        );
        spec.with(BASIC_CONSTRAINTS, Some(true), seq(&[]));
        spec.with(KEY_USAGE, Some(true), key_usage(if rsa { 0x20 } else { 0x08 }));
        spec.with(EXTENDED_KEY_USAGE, None, seq(&[&oid("2.23.133.8.1")]));
        spec.with(AUTHORITY_KEY_IDENTIFIER, None, seq(&[&tlv(0x80, &[0xAB; 20])]));
        change(&mut spec);
        spec.sign(&self.key)
    }
}

/// A sound CA certificate.
fn ca_spec(issuer: &[u8], subject: &[u8], signer: &Key, key: &Key) -> Spec {
    let mut spec = Spec {
        version: tlv(0xA0, &tlv(0x02, &[2])),
        serial: vec![1],
        inner_algorithm: None,
        outer_algorithm: None,
        algorithm: signer.algorithm(),
        issuer: issuer.to_vec(),
        not_before: time("20200101000000"),
        not_after: time("20491231235959"),
        subject: subject.to_vec(),
        spki: key.spki(),
        before_extensions: Vec::new(),
        extensions: Vec::new(),
    };
    spec.with(BASIC_CONSTRAINTS, Some(true), seq(&[&tlv(0x01, &[0xFF])]));
    spec.with(KEY_USAGE, Some(true), key_usage(0x06));
    spec
}
