//! The TCG EK templates: everything in a public area but the key itself.

use crate::tpm::{
    EccParms, PublicParms, RsaParms, TpmAlgId, TpmEccCurve, TpmaObject, TpmtPublic, TpmtScheme, TpmtSymDefObject,
};
use crate::{Reason, Refusal};

/// TCG EK templates that are accepted (EK Credential Profile, "L" low range and "H" high range).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EkTemplate {
    /// RSA 2048, SHA-256, AES-128, PolicyA.
    L1,
    /// P-256, SHA-256, AES-128, PolicyA.
    L2,
    /// RSA 2048, SHA-256, AES-128, PolicyB.
    H1,
    /// P-256, SHA-256, AES-128, PolicyB.
    H2,
    /// P-384, SHA-384, AES-256, PolicyB.
    H3,
    /// P-521, SHA-512, AES-256, PolicyB.
    H4,
    /// RSA 3072, SHA-384, AES-256, PolicyB.
    H6,
    /// RSA 4096, SHA-384, AES-256, PolicyB.
    H7,
}

/// Attributes of the low range: fixedTPM, fixedParent, sensitiveDataOrigin, adminWithPolicy, restricted, decrypt.
const LOW: TpmaObject = TpmaObject(0x0003_00B2);
/// Attributes of the high range: those and userWithAuth.
const HIGH: TpmaObject = TpmaObject(0x0003_00F2);

/// PolicyA of SHA-256: PolicySecret(TPM_RH_ENDORSEMENT).
const POLICY_A_SHA256: [u8; 32] = [
    0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24, 0xfd, 0x52, 0xd7,
    0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
];
/// PolicyB of SHA-256: PolicyA or the policy in the NV index of the hash.
const POLICY_B_SHA256: [u8; 32] = [
    0xca, 0x3d, 0x0a, 0x99, 0xa2, 0xb9, 0x39, 0x06, 0xf7, 0xa3, 0x34, 0x24, 0x14, 0xef, 0xcf, 0xb3, 0xa3, 0x85, 0xd4,
    0x4c, 0xd1, 0xfd, 0x45, 0x90, 0x89, 0xd1, 0x9b, 0x50, 0x71, 0xc0, 0xb7, 0xa0,
];
/// PolicyB of SHA-384.
const POLICY_B_SHA384: [u8; 48] = [
    0xb2, 0x6e, 0x7d, 0x28, 0xd1, 0x1a, 0x50, 0xbc, 0x53, 0xd8, 0x82, 0xbc, 0xf5, 0xfd, 0x3a, 0x1a, 0x07, 0x41, 0x48,
    0xbb, 0x35, 0xd3, 0xb4, 0xe4, 0xcb, 0x1c, 0x0a, 0xd9, 0xbd, 0xe4, 0x19, 0xca, 0xcb, 0x47, 0xba, 0x09, 0x69, 0x96,
    0x46, 0x15, 0x0f, 0x9f, 0xc0, 0x00, 0xf3, 0xf8, 0x0e, 0x12,
];
/// PolicyB of SHA-512.
const POLICY_B_SHA512: [u8; 64] = [
    0xb8, 0x22, 0x1c, 0xa6, 0x9e, 0x85, 0x50, 0xa4, 0x91, 0x4d, 0xe3, 0xfa, 0xa6, 0xa1, 0x8c, 0x07, 0x2c, 0xc0, 0x12,
    0x08, 0x07, 0x3a, 0x92, 0x8d, 0x5d, 0x66, 0xd5, 0x9e, 0xf7, 0x9e, 0x49, 0xa4, 0x29, 0xc4, 0x1a, 0x6b, 0x26, 0x95,
    0x71, 0xd5, 0x7e, 0xdb, 0x25, 0xfb, 0xdb, 0x18, 0x38, 0x42, 0x56, 0x08, 0xb4, 0x13, 0xcd, 0x61, 0x6a, 0x5f, 0x6d,
    0xb5, 0xb6, 0x07, 0x1a, 0xf9, 0x9b, 0xea,
];

/// What the key itself is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Rsa(u16),
    Ecc(TpmEccCurve),
}

/// Everything a template fixes.
struct Shape {
    kind: Kind,
    name_alg: TpmAlgId,
    attributes: TpmaObject,
    auth_policy: &'static [u8],
    aes_bits: u16,
}

impl EkTemplate {
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

    /// `L-1` and so on.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::L1 => "L-1",
            Self::L2 => "L-2",
            Self::H1 => "H-1",
            Self::H2 => "H-2",
            Self::H3 => "H-3",
            Self::H4 => "H-4",
            Self::H6 => "H-6",
            Self::H7 => "H-7",
        }
    }

    fn shape(self) -> Shape {
        let shape = |kind, name_alg, attributes, auth_policy: &'static [u8], aes_bits| Shape {
            kind,
            name_alg,
            attributes,
            auth_policy,
            aes_bits,
        };
        let (p256, p384, p521) = (
            Kind::Ecc(TpmEccCurve::NIST_P256),
            Kind::Ecc(TpmEccCurve::NIST_P384),
            Kind::Ecc(TpmEccCurve::NIST_P521),
        );
        match self {
            Self::L1 => shape(Kind::Rsa(2048), TpmAlgId::SHA256, LOW, &POLICY_A_SHA256, 128),
            Self::L2 => shape(p256, TpmAlgId::SHA256, LOW, &POLICY_A_SHA256, 128),
            Self::H1 => shape(Kind::Rsa(2048), TpmAlgId::SHA256, HIGH, &POLICY_B_SHA256, 128),
            Self::H2 => shape(p256, TpmAlgId::SHA256, HIGH, &POLICY_B_SHA256, 128),
            Self::H3 => shape(p384, TpmAlgId::SHA384, HIGH, &POLICY_B_SHA384, 256),
            Self::H4 => shape(p521, TpmAlgId::SHA512, HIGH, &POLICY_B_SHA512, 256),
            Self::H6 => shape(Kind::Rsa(3072), TpmAlgId::SHA384, HIGH, &POLICY_B_SHA384, 256),
            Self::H7 => shape(Kind::Rsa(4096), TpmAlgId::SHA384, HIGH, &POLICY_B_SHA384, 256),
        }
    }

    /// The template that `public` follows in everything but the key.
    pub(super) fn of(public: &TpmtPublic) -> Result<Self, Refusal> {
        let mut closest = Field::Kind;
        for template in Self::ALL {
            match template.shape().departure(public) {
                None => return Ok(template),
                // The operator is told about the template that agrees longest.
                Some(field) => closest = closest.max(field),
            }
        }
        Err(Refusal::new(
            Reason::EkKey,
            format!("the EK public area follows no TCG template: {}", closest.as_str()),
        ))
    }
}

/// A field of the public area, in the order in which they are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Field {
    Kind,
    NameAlg,
    Symmetric,
    Scheme,
    Kdf,
    Exponent,
    Attributes,
    AuthPolicy,
}

impl Field {
    fn as_str(self) -> &'static str {
        match self {
            Self::Kind => "key type, size or curve",
            Self::NameAlg => "nameAlg",
            Self::Symmetric => "symmetric",
            Self::Scheme => "scheme",
            Self::Kdf => "kdf",
            Self::Exponent => "exponent",
            Self::Attributes => "objectAttributes",
            Self::AuthPolicy => "authPolicy",
        }
    }
}

impl Shape {
    /// The first field in which `public` departs.
    fn departure(&self, public: &TpmtPublic) -> Option<Field> {
        let (kind, exponent, kdf) = match public.parms() {
            PublicParms::Rsa(RsaParms { key_bits, exponent, .. }) => (Kind::Rsa(*key_bits), *exponent, None),
            PublicParms::Ecc(EccParms { curve, kdf, .. }) => (Kind::Ecc(*curve), 0, *kdf),
        };
        let symmetric = TpmtSymDefObject {
            algorithm: TpmAlgId::AES,
            key_bits: self.aes_bits,
            mode: TpmAlgId::CFB,
        };
        [
            (kind == self.kind, Field::Kind),
            (public.name_alg() == self.name_alg, Field::NameAlg),
            (public.parms().symmetric() == Some(symmetric), Field::Symmetric),
            (public.parms().scheme() == TpmtScheme::Null, Field::Scheme),
            (kdf.is_none(), Field::Kdf),
            (exponent == 0 || exponent == 65_537, Field::Exponent),
            (public.attributes() == self.attributes, Field::Attributes),
            (public.auth_policy() == self.auth_policy, Field::AuthPolicy),
        ]
        .into_iter()
        .find_map(|(agrees, field)| (!agrees).then_some(field))
    }
}
