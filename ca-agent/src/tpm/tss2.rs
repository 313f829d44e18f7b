//! `TSS2 PRIVATE KEY`: the form in which OpenSSL's tpm2 provider and others take a TPM key (ASN.1 Specification for
//! TPM 2.0 Key Files, `TPMKey`).

use const_oid::ObjectIdentifier;
use der::asn1::OctetString;
use der::pem::LineEnding;
use der::{Decode, Encode, Sequence};

/// id-loadablekey.
const LOADABLE_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.10.1.3");
const LABEL: &str = "TSS2 PRIVATE KEY";
/// TPM_RH_OWNER: the parent is the storage root H-2, made when needed.
pub(super) const OWNER: u32 = 0x4000_0001;

#[derive(Sequence)]
struct TpmKey {
    kind: ObjectIdentifier,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    empty_auth: Option<bool>,
    parent: u32,
    public: OctetString,
    private: OctetString,
}

/// A key that is loaded from its blobs. The private blob is encrypted by its parent inside the TPM: useless elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tss2Key {
    /// `TPMT_PUBLIC`, without the TPM2B size.
    pub public: Vec<u8>,
    /// Contents of the `TPM2B_PRIVATE`, without its size.
    pub private: Vec<u8>,
}

/// Text that is not a key this agent made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotATss2Key {
    /// Not PEM, another label, or not the ASN.1 structure.
    #[error("not a TSS2 PRIVATE KEY: {0}")]
    Syntax(String),
    /// Another parent, a password, or another kind: made by somebody else.
    #[error("a TSS2 PRIVATE KEY of another maker: {0}")]
    Foreign(&'static str),
}

impl Tss2Key {
    /// As PEM.
    ///
    /// # Errors
    /// [`NotATss2Key::Syntax`] for blobs longer than a TPM makes them.
    pub fn to_pem(&self) -> Result<String, NotATss2Key> {
        let syntax = |e: der::Error| NotATss2Key::Syntax(e.to_string());
        let key = TpmKey {
            kind: LOADABLE_KEY,
            empty_auth: Some(true),
            parent: OWNER,
            public: OctetString::new(sized(&self.public)?).map_err(syntax)?,
            private: OctetString::new(sized(&self.private)?).map_err(syntax)?,
        };
        let der = key.to_der().map_err(syntax)?;
        der::pem::encode_string(LABEL, LineEnding::LF, &der).map_err(|e| NotATss2Key::Syntax(e.to_string()))
    }

    /// From PEM.
    ///
    /// # Errors
    /// [`NotATss2Key`].
    pub fn from_pem(text: &str) -> Result<Self, NotATss2Key> {
        let (label, der) = der::pem::decode_vec(text.as_bytes()).map_err(|e| NotATss2Key::Syntax(e.to_string()))?;
        if label != LABEL {
            return Err(NotATss2Key::Syntax(format!("the label is `{label}`")));
        }
        let key = TpmKey::from_der(&der).map_err(|e| NotATss2Key::Syntax(e.to_string()))?;
        if key.kind != LOADABLE_KEY {
            return Err(NotATss2Key::Foreign("not a loadable key"));
        }
        if key.parent != OWNER {
            return Err(NotATss2Key::Foreign("the parent is not the owner's storage root"));
        }
        if key.empty_auth != Some(true) {
            return Err(NotATss2Key::Foreign("the key has a password"));
        }
        Ok(Self {
            public: unsized_(key.public.as_bytes())?,
            private: unsized_(key.private.as_bytes())?,
        })
    }
}

fn sized(bytes: &[u8]) -> Result<Vec<u8>, NotATss2Key> {
    let length = u16::try_from(bytes.len()).map_err(|_| NotATss2Key::Syntax("a blob is too long".into()))?;
    Ok([&length.to_be_bytes()[..], bytes].concat())
}

/// A TPM2B whose size is exactly what follows.
fn unsized_(bytes: &[u8]) -> Result<Vec<u8>, NotATss2Key> {
    match bytes {
        [high, low, rest @ ..] if usize::from(u16::from_be_bytes([*high, *low])) == rest.len() => Ok(rest.to_vec()),
        _ => Err(NotATss2Key::Syntax("a TPM2B has another length than it says".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Tss2Key {
        Tss2Key {
            public: vec![0x23; 90],
            private: vec![0x42; 126],
        }
    }

    #[test]
    fn the_der_is_as_the_specification_has_it() {
        let pem = key().to_pem().unwrap();
        assert!(pem.starts_with("-----BEGIN TSS2 PRIVATE KEY-----\n"));
        let (_, der) = der::pem::decode_vec(pem.as_bytes()).unwrap();
        // SEQUENCE, OID 2.23.133.10.1.3, [0] { TRUE }, INTEGER 40000001, OCTET STRING of TPM2B_PUBLIC …
        let start = "3081f406066781050a0103a0030101ff02044000000104 5c005a2323".replace(' ', "");
        assert!(hex::encode(&der).starts_with(&start), "{}", hex::encode(&der));
        assert_eq!(Tss2Key::from_pem(&pem).unwrap(), key());
    }

    fn altered(change: impl FnOnce(&mut TpmKey)) -> Result<Tss2Key, NotATss2Key> {
        let (_, der) = der::pem::decode_vec(key().to_pem().unwrap().as_bytes()).unwrap();
        let mut parsed = TpmKey::from_der(&der).unwrap();
        change(&mut parsed);
        let pem = der::pem::encode_string(LABEL, LineEnding::LF, &parsed.to_der().unwrap()).unwrap();
        Tss2Key::from_pem(&pem)
    }

    #[test]
    fn keys_of_other_makers_are_not_taken() {
        assert!(altered(|_| ()).is_ok());
        assert!(matches!(
            altered(|k| k.parent = 0x8100_0001),
            Err(NotATss2Key::Foreign(_))
        ));
        assert!(matches!(altered(|k| k.empty_auth = None), Err(NotATss2Key::Foreign(_))));
        let sealed = ObjectIdentifier::new_unwrap("2.23.133.10.1.5");
        assert!(matches!(altered(|k| k.kind = sealed), Err(NotATss2Key::Foreign(_))));
        let longer = altered(|k| k.public = OctetString::new([k.public.as_bytes(), &[0]].concat()).unwrap());
        assert!(matches!(longer, Err(NotATss2Key::Syntax(_))));
    }

    #[test]
    fn damaged_text_is_refused() {
        let pem = key().to_pem().unwrap();
        assert!(Tss2Key::from_pem("").is_err());
        assert!(Tss2Key::from_pem(&pem.replace("TSS2 PRIVATE", "PRIVATE")).is_err());
        for end in 0..pem.len() - 1 {
            assert!(Tss2Key::from_pem(&pem[..end]).is_err(), "{end}");
        }
    }
}
