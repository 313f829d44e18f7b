//! Endorsement keys in software: every template, and `TPM2_ActivateCredential` without a TPM.

use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::EcPoint;
use openssl::encrypt::Decrypter;
use openssl::nid::Nid;
use openssl::pkey::{HasPublic, PKey, Private};
use openssl::rsa::Padding;
use openssl::sign::Signer;
use openssl::symm::{Cipher, Crypter, Mode};

use crate::keys::{Hash, coordinates, ec, rsa, tpm2b};

/// TCG EK templates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Template {
    /// RSA 2048, low range.
    L1,
    /// P-256, low range.
    L2,
    /// RSA 2048, high range.
    H1,
    /// P-256, high range.
    H2,
    /// P-384.
    H3,
    /// P-521.
    H4,
    /// RSA 3072.
    H6,
    /// RSA 4096.
    H7,
}

impl Template {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::L1,
        Self::L2,
        Self::H1,
        Self::H2,
        Self::H3,
        Self::H4,
        Self::H6,
        Self::H7,
    ];

    fn hash(self) -> Hash {
        match self {
            Self::L1 | Self::L2 | Self::H1 | Self::H2 => Hash::Sha256,
            Self::H3 | Self::H6 | Self::H7 => Hash::Sha384,
            Self::H4 => Hash::Sha512,
        }
    }

    fn key_bits(self) -> u16 {
        if self.hash() == Hash::Sha256 { 128 } else { 256 }
    }

    fn attributes(self) -> u32 {
        if matches!(self, Self::L1 | Self::L2) {
            0x0003_00b2
        } else {
            0x0003_00f2
        }
    }

    /// authPolicy: PolicyA in the low range, PolicyB above (TCG EK Credential Profile).
    fn policy(self) -> Vec<u8> {
        let text = match (self.hash(), self.attributes()) {
            (Hash::Sha256, 0x0003_00b2) => "837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa",
            (Hash::Sha256, _) => "ca3d0a99a2b93906f7a3342414efcfb3a385d44cd1fd459089d19b5071c0b7a0",
            (Hash::Sha384, _) => {
                "b26e7d28d11a50bc53d882bcf5fd3a1a074148bb35d3b4e4cb1c0ad9bde419cacb47ba09699646150f9fc000f3f80e12"
            }
            _ => {
                "b8221ca69e8550a4914de3faa6a18c072cc01208073a928d5d66d59ef79e49a429c41a6b269571d57edb25fbdb1838425608b413cd616a5f6db5b6071af99bea"
            }
        };
        hex::decode(text).unwrap_or_default()
    }

    fn generate(self) -> PKey<Private> {
        match self {
            Self::L1 | Self::H1 => rsa(2048),
            Self::L2 | Self::H2 => ec(Nid::X9_62_PRIME256V1),
            Self::H3 => ec(Nid::SECP384R1),
            Self::H4 => ec(Nid::SECP521R1),
            Self::H6 => rsa(3072),
            Self::H7 => rsa(4096),
        }
    }
}

/// An EK whose private half is in memory.
#[derive(Clone)]
pub struct SoftEk {
    /// Its template.
    pub template: Template,
    /// `TPMT_PUBLIC`.
    pub public: Vec<u8>,
    /// SubjectPublicKeyInfo, DER.
    pub spki: Vec<u8>,
    /// The private half.
    pub key: PKey<Private>,
}

/// A credential that does not open.
#[derive(Debug, PartialEq, Eq)]
pub enum NotOpened {
    /// Sizes do not fit.
    Malformed,
    /// The seed does not decrypt.
    Secret,
    /// The HMAC is not over this Name: TPM_RC_INTEGRITY.
    Integrity,
}

impl SoftEk {
    /// A new EK.
    #[must_use]
    pub fn generate(template: Template) -> Self {
        Self::with_key(template, template.generate())
    }

    /// An EK of this template with a given key.
    ///
    /// # Panics
    /// When OpenSSL fails.
    #[must_use]
    pub fn with_key(template: Template, key: PKey<Private>) -> Self {
        let spki = key.public_key_to_der().expect("SPKI");
        Self {
            template,
            public: public(template, &key),
            spki,
            key,
        }
    }

    /// `TPMT_PUBLIC` of an EK of this template with that key.
    #[must_use]
    pub fn public_of<T: HasPublic>(template: Template, key: &PKey<T>) -> Vec<u8> {
        public(template, key)
    }

    /// SHA-256 of the SubjectPublicKeyInfo: what the inventory knows the device by.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        openssl::sha::sha256(&self.spki)
    }

    /// `TPM2_ActivateCredential` (TPM 2.0 Part 1, 24): open `blob` (TPM2B_ID_OBJECT) with `secret`
    /// (TPM2B_ENCRYPTED_SECRET) for the object of this Name.
    ///
    /// # Errors
    /// [`NotOpened`].
    pub fn activate(&self, name: &[u8], blob: &[u8], secret: &[u8]) -> Result<Vec<u8>, NotOpened> {
        let hash = self.template.hash();
        let seed = self.seed(counted(secret)?)?;
        let body = counted(blob)?;
        let size = usize::from(u16::from_be_bytes(*body.first_chunk().ok_or(NotOpened::Malformed)?));
        let mac = body.get(2..2 + size).ok_or(NotOpened::Malformed)?;
        let encrypted = body.get(2 + size..).ok_or(NotOpened::Malformed)?;
        let bits = u32::try_from(hash.digest().size() * 8).map_err(|_| NotOpened::Malformed)?;
        let hmac_key = kdfa(hash, &seed, "INTEGRITY", &[], &[], bits);
        let expected = hmac(hash, &hmac_key, &[encrypted, name].concat());
        if !(expected.len() == mac.len() && openssl::memcmp::eq(&expected, mac)) {
            return Err(NotOpened::Integrity);
        }
        let key = kdfa(hash, &seed, "STORAGE", name, &[], self.template.key_bits().into());
        let cipher = if key.len() == 16 {
            Cipher::aes_128_cfb128()
        } else {
            Cipher::aes_256_cfb128()
        };
        let mut plain = vec![0; encrypted.len() + 32];
        let opened = Crypter::new(cipher, Mode::Decrypt, &key, Some(&[0; 16]))
            .and_then(|mut c| c.update(encrypted, &mut plain))
            .map_err(|_| NotOpened::Secret)?;
        plain.truncate(opened);
        counted(&plain).map(<[u8]>::to_vec)
    }

    fn seed(&self, secret: &[u8]) -> Result<Vec<u8>, NotOpened> {
        let hash = self.template.hash();
        if self.key.rsa().is_ok() {
            let open = || -> Result<Vec<u8>, openssl::error::ErrorStack> {
                let mut decrypter = Decrypter::new(&self.key)?;
                decrypter.set_rsa_padding(Padding::PKCS1_OAEP)?;
                decrypter.set_rsa_oaep_md(hash.digest())?;
                decrypter.set_rsa_mgf1_md(hash.digest())?;
                decrypter.set_rsa_oaep_label(b"IDENTITY\0")?;
                let mut seed = vec![0; decrypter.decrypt_len(secret)?];
                let size = decrypter.decrypt(secret, &mut seed)?;
                seed.truncate(size);
                Ok(seed)
            };
            return open().map_err(|_| NotOpened::Secret);
        }
        let size = usize::from(u16::from_be_bytes(*secret.first_chunk().ok_or(NotOpened::Malformed)?));
        let x = secret.get(2..2 + size).ok_or(NotOpened::Malformed)?;
        let y = counted(secret.get(2 + size..).ok_or(NotOpened::Malformed)?)?;
        let agree = || -> Result<(Vec<u8>, Vec<u8>), openssl::error::ErrorStack> {
            // Without the EVP layer, which costs the load of a benchmark more than the multiplication.
            let own = self.key.ec_key()?;
            let group = own.group();
            let (x, y) = (BigNum::from_slice(x)?, BigNum::from_slice(y)?);
            let mut context = BigNumContext::new()?;
            let mut point = EcPoint::new(group)?;
            // Refuses a point that is not on the curve.
            point.set_affine_coordinates_gfp(group, &x, &y, &mut context)?;
            let mut shared = EcPoint::new(group)?;
            shared.mul2(group, &point, own.private_key(), &mut context)?;
            let (mut z, mut z_y) = (BigNum::new()?, BigNum::new()?);
            shared.affine_coordinates(group, &mut z, &mut z_y, &mut context)?;
            let width = i32::try_from(group.degree()).map_or(32, |bits| (bits + 7) / 8);
            Ok((z.to_vec_padded(width)?, x.to_vec_padded(width)?))
        };
        let (z, ephemeral_x) = agree().map_err(|_| NotOpened::Secret)?;
        let (_, own_x, _) = coordinates(&self.key);
        Ok(kdfe(hash, &z, "IDENTITY", &ephemeral_x, &own_x))
    }
}

fn public<T: HasPublic>(template: Template, key: &PKey<T>) -> Vec<u8> {
    let mut out = Vec::new();
    let symmetric = [&[0x00, 0x06][..], &template.key_bits().to_be_bytes(), &[0x00, 0x43]].concat();
    let kind: u16 = if key.rsa().is_ok() { 0x0001 } else { 0x0023 };
    out.extend(kind.to_be_bytes());
    out.extend(template.hash().id().to_be_bytes());
    out.extend(template.attributes().to_be_bytes());
    out.extend(tpm2b(&template.policy()));
    out.extend(symmetric);
    out.extend([0x00, 0x10]);
    if let Ok(rsa) = key.rsa() {
        out.extend(u16::try_from(rsa.size() * 8).unwrap_or_default().to_be_bytes());
        out.extend([0; 4]);
        out.extend(tpm2b(&rsa.n().to_vec()));
    } else {
        let (curve, x, y) = coordinates(key);
        out.extend(curve.to_be_bytes());
        out.extend([0x00, 0x10]);
        out.extend(tpm2b(&x));
        out.extend(tpm2b(&y));
    }
    out
}

/// The content of a TPM2B that fills `bytes` exactly.
fn counted(bytes: &[u8]) -> Result<&[u8], NotOpened> {
    let (size, rest) = bytes.split_first_chunk::<2>().ok_or(NotOpened::Malformed)?;
    (usize::from(u16::from_be_bytes(*size)) == rest.len())
        .then_some(rest)
        .ok_or(NotOpened::Malformed)
}

fn hmac(hash: Hash, key: &[u8], data: &[u8]) -> Vec<u8> {
    let key = PKey::hmac(key).expect("an HMAC key");
    Signer::new(hash.digest(), &key)
        .and_then(|mut s| s.sign_oneshot_to_vec(data))
        .expect("an HMAC")
}

/// KDFa (TPM 2.0 Part 1, 11.4.10.2).
fn kdfa(hash: Hash, key: &[u8], label: &str, u: &[u8], v: &[u8], bits: u32) -> Vec<u8> {
    let size = usize::try_from(bits / 8).unwrap_or_default();
    let mut out = Vec::new();
    for counter in 1u32.. {
        if out.len() >= size {
            break;
        }
        let block = [
            &counter.to_be_bytes()[..],
            label.as_bytes(),
            &[0],
            u,
            v,
            &bits.to_be_bytes(),
        ]
        .concat();
        out.extend(hmac(hash, key, &block));
    }
    out.truncate(size);
    out
}

/// KDFe (TPM 2.0 Part 1, 11.4.10.3) for one digest of output.
fn kdfe(hash: Hash, z: &[u8], label: &str, u: &[u8], v: &[u8]) -> Vec<u8> {
    hash.of(&[&1u32.to_be_bytes()[..], z, label.as_bytes(), &[0], u, v].concat())
}
