//! A TPM vendor for tests: a CA that signs whatever certificate or request it is told to, sound or not.
//!
//! Every field is bytes that a test may replace before it is signed, so that one thing is wrong and all else is right.

use const_oid::ObjectIdentifier;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Private};
use openssl::rsa::{Padding, Rsa};
use openssl::sign::{RsaPssSaltlen, Signer};

/// One DER element with a definite, minimal length.
pub fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut out = vec![tag];
    match length {
        0..=0x7F => out.push(length as u8),
        0x80..=0xFF => out.extend([0x81, length as u8]),
        0x100..=0xFFFF => out.extend([0x82, (length >> 8) as u8, length as u8]),
        _ => out.extend([0x83, (length >> 16) as u8, (length >> 8) as u8, length as u8]),
    }
    out.extend_from_slice(content);
    out
}

/// SEQUENCE of elements.
pub fn seq(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

/// OBJECT IDENTIFIER.
pub fn oid(dotted: &str) -> Vec<u8> {
    tlv(0x06, ObjectIdentifier::new(dotted).unwrap().as_bytes())
}

/// UTF8String.
pub fn utf8(text: &str) -> Vec<u8> {
    tlv(0x0C, text.as_bytes())
}

/// BIT STRING of whole octets.
pub fn bits(octets: &[u8]) -> Vec<u8> {
    tlv(0x03, &[&[0], octets].concat())
}

/// SEQUENCE { OID, value }: a name attribute.
pub fn attribute(kind: &str, value: &[u8]) -> Vec<u8> {
    seq(&[&oid(kind), value])
}

/// A Name with one commonName, UTF8String.
pub fn common_name(text: &str) -> Vec<u8> {
    seq(&[&tlv(0x31, &attribute("2.5.4.3", &utf8(text)))])
}

/// UTCTime or, from 2050 on, GeneralizedTime: `YYYYMMDDHHMMSS`.
pub fn time(digits: &str) -> Vec<u8> {
    let year: u32 = digits[..4].parse().unwrap();
    if year < 2050 {
        tlv(0x17, format!("{}Z", &digits[2..]).as_bytes())
    } else {
        tlv(0x18, format!("{digits}Z").as_bytes())
    }
}

/// What kind of key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// RSA with a modulus of so many bits.
    Rsa(u32),
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
    /// NIST P-521.
    P521,
    /// secp256k1: a curve that nobody wants.
    K256,
}

/// A private key.
#[derive(Clone, Debug)]
pub struct Key(pub PKey<Private>);

impl Key {
    /// A new key.
    pub fn new(kind: Kind) -> Self {
        let nid = match kind {
            Kind::Rsa(size) => return Self(PKey::from_rsa(Rsa::generate(size).unwrap()).unwrap()),
            Kind::P256 => Nid::X9_62_PRIME256V1,
            Kind::P384 => Nid::SECP384R1,
            Kind::P521 => Nid::SECP521R1,
            Kind::K256 => Nid::SECP256K1,
        };
        let group = EcGroup::from_curve_name(nid).unwrap();
        Self(PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap())
    }

    /// SubjectPublicKeyInfo as OpenSSL writes it.
    pub fn spki(&self) -> Vec<u8> {
        self.0.public_key_to_der().unwrap()
    }

    /// The algorithm that suits the key, with SHA-256.
    pub fn algorithm(&self) -> Algorithm {
        match self.0.id() {
            Id::RSA => Algorithm::Sha256Rsa,
            _ => Algorithm::EcdsaSha256,
        }
    }

    /// Sign, whatever `algorithm` says about the hash and padding.
    pub fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Vec<u8> {
        let mut signer = Signer::new(algorithm.digest(), &self.0).unwrap();
        if let Algorithm::Pss { salt, .. } = algorithm {
            signer.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
            signer.set_rsa_mgf1_md(algorithm.digest()).unwrap();
            signer.set_rsa_pss_saltlen(RsaPssSaltlen::custom(salt)).unwrap();
        }
        signer.sign_oneshot_to_vec(message).unwrap()
    }
}

/// A signature algorithm, sound or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// md5WithRSAEncryption.
    Md5Rsa,
    /// sha1WithRSAEncryption.
    Sha1Rsa,
    /// sha256WithRSAEncryption.
    Sha256Rsa,
    /// sha384WithRSAEncryption.
    Sha384Rsa,
    /// sha512WithRSAEncryption.
    Sha512Rsa,
    /// RSASSA-PSS with a hash of so many bits and a salt of so many bytes.
    Pss {
        /// 256, 384 or 512.
        hash: u16,
        /// Bytes of salt.
        salt: i32,
    },
    /// ecdsa-with-SHA1.
    EcdsaSha1,
    /// ecdsa-with-SHA256.
    EcdsaSha256,
    /// ecdsa-with-SHA384.
    EcdsaSha384,
    /// ecdsa-with-SHA512.
    EcdsaSha512,
}

impl Algorithm {
    fn digest(self) -> MessageDigest {
        match self {
            Self::Md5Rsa => MessageDigest::md5(),
            Self::Sha1Rsa | Self::EcdsaSha1 => MessageDigest::sha1(),
            Self::Sha256Rsa | Self::EcdsaSha256 | Self::Pss { hash: 256, .. } => MessageDigest::sha256(),
            Self::Sha384Rsa | Self::EcdsaSha384 | Self::Pss { hash: 384, .. } => MessageDigest::sha384(),
            Self::Sha512Rsa | Self::EcdsaSha512 | Self::Pss { .. } => MessageDigest::sha512(),
        }
    }

    /// AlgorithmIdentifier.
    pub fn identifier(self) -> Vec<u8> {
        let null = tlv(0x05, &[]);
        let rsa = |last: u8| seq(&[&oid(&format!("1.2.840.113549.1.1.{last}")), &null]);
        match self {
            Self::Md5Rsa => rsa(4),
            Self::Sha1Rsa => rsa(5),
            Self::Sha256Rsa => rsa(11),
            Self::Sha384Rsa => rsa(12),
            Self::Sha512Rsa => rsa(13),
            Self::EcdsaSha1 => seq(&[&oid("1.2.840.10045.4.1")]),
            Self::EcdsaSha256 => seq(&[&oid("1.2.840.10045.4.3.2")]),
            Self::EcdsaSha384 => seq(&[&oid("1.2.840.10045.4.3.3")]),
            Self::EcdsaSha512 => seq(&[&oid("1.2.840.10045.4.3.4")]),
            Self::Pss { hash, salt } => {
                let last = match hash {
                    256 => 1,
                    384 => 2,
                    _ => 3,
                };
                let hash = seq(&[&oid(&format!("2.16.840.1.101.3.4.2.{last}")), &null]);
                let mgf = seq(&[&oid("1.2.840.113549.1.1.8"), &hash]);
                let parameters = seq(&[
                    &tlv(0xA0, &hash),
                    &tlv(0xA1, &mgf),
                    &tlv(0xA2, &tlv(0x02, &[u8::try_from(salt).unwrap()])),
                ]);
                seq(&[&oid("1.2.840.113549.1.1.10"), &parameters])
            }
        }
    }
}

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

/// `TPMT_PUBLIC` of an EK with this key. `template` is `L-1`, `L-2`, `H-1`, `H-2`, `H-3`, `H-4`, `H-6` or `H-7`.
pub fn ek_public(template: &str, key: &Key) -> Vec<u8> {
    let fields = EkFields::of(template);
    fields.encode(key)
}

/// The fields of an EK public area, to be changed.
#[derive(Clone, Debug)]
pub struct EkFields {
    /// nameAlg.
    pub name_alg: u16,
    /// objectAttributes.
    pub attributes: u32,
    /// authPolicy.
    pub auth_policy: Vec<u8>,
    /// symmetric: algorithm, bits, mode.
    pub symmetric: Vec<u8>,
    /// Scheme, with its hash if it has one.
    pub scheme: Vec<u8>,
    /// ECC: curveID. RSA: keyBits.
    pub size: u16,
    /// RSA: exponent.
    pub exponent: u32,
    /// ECC: kdf.
    pub kdf: Vec<u8>,
}

impl EkFields {
    /// The fields of `template`.
    pub fn of(template: &str) -> Self {
        const A: &str = "837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa";
        const B: &str = "ca3d0a99a2b93906f7a3342414efcfb3a385d44cd1fd459089d19b5071c0b7a0";
        const B384: &str =
            "b26e7d28d11a50bc53d882bcf5fd3a1a074148bb35d3b4e4cb1c0ad9bde419cacb47ba09699646150f9fc000f3f80e12";
        const B512: &str = "b8221ca69e8550a4914de3faa6a18c072cc01208073a928d5d66d59ef79e49a4\
                            29c41a6b269571d57edb25fbdb1838425608b413cd616a5f6db5b6071af99bea";
        let (name_alg, attributes, policy, aes, size) = match template {
            "L-1" => (0x0B, 0x0003_00B2, A, 128_u16, 2048),
            "L-2" => (0x0B, 0x0003_00B2, A, 128, 3),
            "H-1" => (0x0B, 0x0003_00F2, B, 128, 2048),
            "H-2" => (0x0B, 0x0003_00F2, B, 128, 3),
            "H-3" => (0x0C, 0x0003_00F2, B384, 256, 4),
            "H-4" => (0x0D, 0x0003_00F2, B512, 256, 5),
            "H-6" => (0x0C, 0x0003_00F2, B384, 256, 3072),
            "H-7" => (0x0C, 0x0003_00F2, B384, 256, 4096),
            other => panic!("no template {other}"),
        };
        Self {
            name_alg,
            attributes,
            auth_policy: hex::decode(policy).unwrap(),
            symmetric: [&[0, 6][..], &aes.to_be_bytes(), &[0, 0x43]].concat(),
            scheme: vec![0, 0x10],
            size,
            exponent: 0,
            kdf: vec![0, 0x10],
        }
    }

    /// `TPMT_PUBLIC` with the public part of `key`.
    pub fn encode(&self, key: &Key) -> Vec<u8> {
        if let Ok(rsa) = key.0.rsa() {
            return self.encode_rsa(&rsa.n().to_vec());
        }
        let ec = key.0.ec_key().unwrap();
        let mut context = openssl::bn::BigNumContext::new().unwrap();
        let (mut x, mut y) = (openssl::bn::BigNum::new().unwrap(), openssl::bn::BigNum::new().unwrap());
        ec.public_key()
            .affine_coordinates(ec.group(), &mut x, &mut y, &mut context)
            .unwrap();
        let length = ec.group().degree().div_ceil(8) as i32;
        self.encode_ecc(&x.to_vec_padded(length).unwrap(), &y.to_vec_padded(length).unwrap())
    }

    /// `TPMT_PUBLIC` of this RSA modulus.
    pub fn encode_rsa(&self, modulus: &[u8]) -> Vec<u8> {
        let tail = [
            &self.size.to_be_bytes()[..],
            &self.exponent.to_be_bytes(),
            &sized(modulus),
        ]
        .concat();
        self.with_tail(0x0001, &tail)
    }

    /// `TPMT_PUBLIC` of this point.
    pub fn encode_ecc(&self, x: &[u8], y: &[u8]) -> Vec<u8> {
        let tail = [&self.size.to_be_bytes()[..], &self.kdf, &sized(x), &sized(y)].concat();
        self.with_tail(0x0023, &tail)
    }

    fn with_tail(&self, kind: u16, tail: &[u8]) -> Vec<u8> {
        [
            &kind.to_be_bytes()[..],
            &self.name_alg.to_be_bytes(),
            &self.attributes.to_be_bytes(),
            &sized(&self.auth_policy),
            &self.symmetric,
            &self.scheme,
            tail,
        ]
        .concat()
    }
}

/// `TPM2B`: size and bytes.
pub fn sized(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}
