//! Public areas that are asked for, byte by byte (TPM 2.0 Part 2, 12.2.4).

use attest::KeyAlgorithm;
use attest::ek::EkTemplate;
use attest::tpm::{HashAlgorithm, TpmAlgId};

use super::policy;

/// fixedTPM, fixedParent, sensitiveDataOrigin: made in this TPM, stays in this TPM.
const RESIDENT: u32 = 0x0000_0032;
const USER_WITH_AUTH: u32 = 0x0000_0040;
const ADMIN_WITH_POLICY: u32 = 0x0000_0080;
/// Keys without a password gain nothing from dictionary-attack protection, and would stand still in lockout.
const NO_DA: u32 = 0x0000_0400;
const RESTRICTED: u32 = 0x0001_0000;
const DECRYPT: u32 = 0x0002_0000;
const SIGN: u32 = 0x0004_0000;

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Restricted: signs only what the TPM itself says.
    Attestation,
    /// Signs what it is given.
    Identity,
}

/// Signature scheme fixed in a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// ECDSA.
    Ecdsa,
    /// RSASSA-PKCS1-v1_5.
    RsaSsa,
    /// RSASSA-PSS.
    RsaPss,
}

/// An algorithm as the command line names it: `p-256`, `p-384`, `rsa-2048`, `rsa-3072`, RSA optionally followed by
/// `:rsassa` or `:rsapss`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyAlg {
    /// Key type and size.
    pub algorithm: KeyAlgorithm,
    /// RSA scheme, when one was named.
    pub scheme: Option<Scheme>,
}

/// Text that names no algorithm.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not p-256, p-384, rsa-2048 or rsa-3072 (RSA optionally with :rsassa or :rsapss)")]
pub struct NotAKeyAlg(String);

impl core::str::FromStr for KeyAlg {
    type Err = NotAKeyAlg;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || NotAKeyAlg(text.to_owned());
        let lower = text.to_ascii_lowercase();
        let (name, scheme) = match lower.split_once(':') {
            Some((name, scheme)) => (name, Some(scheme)),
            None => (lower.as_str(), None),
        };
        let algorithm = match name {
            "p-256" | "p256" => KeyAlgorithm::P256,
            "p-384" | "p384" => KeyAlgorithm::P384,
            "rsa-2048" | "rsa2048" => KeyAlgorithm::Rsa2048,
            "rsa-3072" | "rsa3072" => KeyAlgorithm::Rsa3072,
            _ => return Err(unknown()),
        };
        let scheme = match (scheme, is_rsa(algorithm)) {
            (None, _) => None,
            (Some("rsassa"), true) => Some(Scheme::RsaSsa),
            (Some("rsapss"), true) => Some(Scheme::RsaPss),
            _ => return Err(unknown()),
        };
        Ok(Self { algorithm, scheme })
    }
}

impl core::fmt::Display for KeyAlg {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.algorithm.as_str())?;
        match self.scheme {
            Some(Scheme::RsaSsa) => f.write_str(":rsassa"),
            Some(Scheme::RsaPss) => f.write_str(":rsapss"),
            Some(Scheme::Ecdsa) | None => Ok(()),
        }
    }
}

impl serde::Serialize for KeyAlg {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for KeyAlg {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

pub(super) fn is_rsa(algorithm: KeyAlgorithm) -> bool {
    matches!(algorithm, KeyAlgorithm::Rsa2048 | KeyAlgorithm::Rsa3072)
}

/// Name and signature hash that goes with an algorithm (TCG templates H-1, H-2, H-3, H-6).
pub(super) fn hash_of(algorithm: KeyAlgorithm) -> HashAlgorithm {
    match algorithm {
        KeyAlgorithm::P256 | KeyAlgorithm::Rsa2048 => HashAlgorithm::Sha256,
        KeyAlgorithm::P384 | KeyAlgorithm::Rsa3072 => HashAlgorithm::Sha384,
    }
}

pub(super) fn id_of(hash: HashAlgorithm) -> TpmAlgId {
    match hash {
        HashAlgorithm::Sha256 => TpmAlgId::SHA256,
        HashAlgorithm::Sha384 => TpmAlgId::SHA384,
        HashAlgorithm::Sha512 => TpmAlgId::SHA512,
    }
}

/// A `TPMT_PUBLIC` under construction.
struct Writer(Vec<u8>);

impl Writer {
    fn start(kind: TpmAlgId, name_alg: TpmAlgId, attributes: u32, policy: &[u8]) -> Self {
        let mut writer = Self(Vec::with_capacity(640));
        writer.id(kind);
        writer.id(name_alg);
        writer.0.extend(attributes.to_be_bytes());
        writer.sized(policy);
        writer
    }

    fn id(&mut self, id: TpmAlgId) {
        self.u16(id.0);
    }

    fn u16(&mut self, value: u16) {
        self.0.extend(value.to_be_bytes());
    }

    fn sized(&mut self, bytes: &[u8]) {
        // Templates are constants of this file: none is longer than a key.
        self.u16(u16::try_from(bytes.len()).unwrap_or(u16::MAX));
        self.0.extend(bytes);
    }

    fn aes(&mut self, bits: u16) {
        self.id(TpmAlgId::AES);
        self.u16(bits);
        self.u16(0x0043);
    }

    fn scheme(&mut self, scheme: Option<Scheme>, hash: TpmAlgId) {
        match scheme {
            None => self.id(TpmAlgId::NULL),
            Some(scheme) => {
                self.id(match scheme {
                    Scheme::Ecdsa => TpmAlgId::ECDSA,
                    Scheme::RsaSsa => TpmAlgId::RSASSA,
                    Scheme::RsaPss => TpmAlgId::RSAPSS,
                });
                self.id(hash);
            }
        }
    }

    /// keyBits, exponent 0 (65537), unique.
    fn rsa(mut self, bits: u16, unique: &[u8]) -> Vec<u8> {
        self.u16(bits);
        self.0.extend([0; 4]);
        self.sized(unique);
        self.0
    }

    /// curve, kdf NULL, unique.
    fn ecc(mut self, curve: u16, x: &[u8], y: &[u8]) -> Vec<u8> {
        self.u16(curve);
        self.id(TpmAlgId::NULL);
        self.sized(x);
        self.sized(y);
        self.0
    }
}

/// An EK template of the TCG EK Credential Profile (B.3, B.4), its unique as that profile gives it.
pub(super) fn ek(template: EkTemplate) -> Vec<u8> {
    ek_with_nonce(template, None)
}

/// The same with an EK nonce, which low-range templates take into their unique (EK Credential Profile, 2.2.1.4).
pub(super) fn ek_with_nonce(template: EkTemplate, nonce: Option<&[u8]>) -> Vec<u8> {
    let padded = |size: usize| {
        let mut bytes = nonce.unwrap_or_default().to_vec();
        bytes.resize(size, 0);
        bytes
    };
    let hash = policy::ek_hash(template);
    let attributes = RESIDENT | ADMIN_WITH_POLICY | RESTRICTED | DECRYPT;
    let (attributes, policy) = if policy::is_low_range(template) {
        (attributes, policy::endorsement_secret(hash))
    } else {
        (attributes | USER_WITH_AUTH, policy::ek_high(hash))
    };
    let start = |kind| {
        let mut writer = Writer::start(kind, id_of(hash), attributes, &policy);
        writer.aes(if hash == HashAlgorithm::Sha256 { 128 } else { 256 });
        writer.scheme(None, TpmAlgId::NULL);
        writer
    };
    match template {
        EkTemplate::L1 => start(TpmAlgId::RSA).rsa(2048, &padded(256)),
        EkTemplate::L2 => start(TpmAlgId::ECC).ecc(0x0003, &padded(32), &[0; 32]),
        EkTemplate::H1 => start(TpmAlgId::RSA).rsa(2048, &[]),
        EkTemplate::H2 => start(TpmAlgId::ECC).ecc(0x0003, &[], &[]),
        EkTemplate::H3 => start(TpmAlgId::ECC).ecc(0x0004, &[], &[]),
        EkTemplate::H4 => start(TpmAlgId::ECC).ecc(0x0005, &[], &[]),
        EkTemplate::H6 => start(TpmAlgId::RSA).rsa(3072, &[]),
        EkTemplate::H7 => start(TpmAlgId::RSA).rsa(4096, &[]),
    }
}

/// The storage root key H-2: P-256, AES-128, empty unique. OpenSSL's tpm2 provider makes the very same primary for a
/// `TSS2 PRIVATE KEY` whose parent is the owner hierarchy, so keys below it need no persistent parent.
pub(super) fn storage_root() -> Vec<u8> {
    let attributes = RESIDENT | USER_WITH_AUTH | NO_DA | RESTRICTED | DECRYPT;
    let mut writer = Writer::start(TpmAlgId::ECC, TpmAlgId::SHA256, attributes, &[]);
    writer.aes(128);
    writer.scheme(None, TpmAlgId::NULL);
    writer.ecc(0x0003, &[], &[])
}

/// An IAK or IDevID: primary of the endorsement hierarchy with the attributes and unique of "TPM 2.0 Keys for Device
/// Identity and Attestation", 7.3.4. Its authPolicy is ours, see [`policy::admin`].
pub(super) fn manufacturer(role: Role, algorithm: KeyAlgorithm, scheme: Option<Scheme>) -> Vec<u8> {
    let attributes = RESIDENT | USER_WITH_AUTH | ADMIN_WITH_POLICY | SIGN;
    let (attributes, label) = match role {
        Role::Attestation => (attributes | RESTRICTED, &b"IAK"[..]),
        Role::Identity => (attributes, &b"IDEVID"[..]),
    };
    signing(algorithm, attributes, &policy::admin(hash_of(algorithm)), scheme, label)
}

/// A key below the storage root.
pub(super) fn owner(role: Role, algorithm: KeyAlgorithm, scheme: Option<Scheme>) -> Vec<u8> {
    let attributes = RESIDENT | USER_WITH_AUTH | NO_DA | SIGN;
    let attributes = match role {
        Role::Attestation => attributes | RESTRICTED,
        Role::Identity => attributes,
    };
    signing(algorithm, attributes, &[], scheme, &[])
}

fn signing(algorithm: KeyAlgorithm, attributes: u32, policy: &[u8], scheme: Option<Scheme>, label: &[u8]) -> Vec<u8> {
    let hash = id_of(hash_of(algorithm));
    let kind = if is_rsa(algorithm) {
        TpmAlgId::RSA
    } else {
        TpmAlgId::ECC
    };
    let mut writer = Writer::start(kind, hash, attributes, policy);
    writer.id(TpmAlgId::NULL);
    writer.scheme(scheme, hash);
    match algorithm {
        KeyAlgorithm::Rsa2048 => writer.rsa(2048, label),
        KeyAlgorithm::Rsa3072 => writer.rsa(3072, label),
        KeyAlgorithm::P256 => writer.ecc(0x0003, label, &[]),
        KeyAlgorithm::P384 => writer.ecc(0x0004, label, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ek_templates_are_those_of_the_profile() {
        // standards: "L-2 example prefix".
        let expected = "0023000b000300b20020837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa\
                        00060080004300100003001000";
        assert!(hex::encode(ek(EkTemplate::L2)).starts_with(expected));
        assert_eq!(ek(EkTemplate::L1).len(), 10 + 32 + 6 + 2 + 2 + 4 + 2 + 256);
        let h3 = hex::encode(ek(EkTemplate::H3));
        assert!(
            h3.starts_with("0023000c000300f20030b26e7d28d11a50bc53d882bcf5fd3a1a"),
            "{h3}"
        );
        assert!(
            h3.ends_with("0006010000430010000400100000000 0".replace(' ', "").as_str()),
            "{h3}"
        );
    }

    #[test]
    fn a_nonce_goes_into_low_range_templates_only() {
        let nonce = [0x5a; 20];
        for template in [EkTemplate::L1, EkTemplate::L2] {
            let with = ek_with_nonce(template, Some(&nonce));
            assert_ne!(with, ek(template));
            assert_eq!(with.len(), ek(template).len());
            assert!(with.windows(20).any(|w| w == nonce));
        }
        for template in [EkTemplate::H1, EkTemplate::H2, EkTemplate::H3] {
            assert_eq!(ek_with_nonce(template, Some(&nonce)), ek(template));
        }
    }

    #[test]
    fn key_attributes_are_those_promised() {
        let attributes = |public: &[u8]| u32::from_be_bytes(public[4..8].try_into().unwrap());
        let alg = KeyAlgorithm::P256;
        assert_eq!(
            attributes(&manufacturer(Role::Attestation, alg, Some(Scheme::Ecdsa))),
            0x0005_00F2
        );
        assert_eq!(attributes(&manufacturer(Role::Identity, alg, None)), 0x0004_00F2);
        assert_eq!(
            attributes(&owner(Role::Attestation, alg, Some(Scheme::Ecdsa))),
            0x0005_0472
        );
        assert_eq!(
            attributes(&owner(Role::Identity, alg, Some(Scheme::Ecdsa))),
            0x0004_0472
        );
    }

    #[test]
    fn algorithms_are_read_and_written() {
        for text in ["p-256", "p-384", "rsa-2048", "rsa-3072:rsapss", "rsa-2048:rsassa"] {
            assert_eq!(text.parse::<KeyAlg>().unwrap().to_string(), text);
        }
        for text in ["p-521", "rsa-1024", "p-256:rsapss", "rsa-2048:oaep", "", "rsa-2048:"] {
            assert!(text.parse::<KeyAlg>().is_err(), "{text}");
        }
    }
}
