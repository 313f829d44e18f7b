//! EK public areas field by field.

use super::Key;

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
    /// The fields of `template`: `L-1`, `L-2`, `H-1`, `H-2`, `H-3`, `H-4`, `H-6` or `H-7`.
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
