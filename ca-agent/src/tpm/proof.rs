//! What the keys prove: activation, certification, possession.

use attest::tpm::{HashAlgorithm, TpmAlgId, TpmaObject, TpmtPublic, TpmtScheme};
use tss_esapi::constants::tss::{TPM2_RH_NULL, TPM2_ST_HASHCHECK};
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{
    Data, Digest, EncryptedSecret, HashScheme, HashcheckTicket, IdObject, Signature, SignatureScheme,
};
use tss_esapi::traits::Marshall as _;
use tss_esapi::tss2_esys::TPMT_TK_HASHCHECK;
use zeroize::Zeroizing;

use super::ek::Endorsement;
use super::key::{LoadedKey, StoredKey, algorithm_of};
use super::policy::AdminCommand;
use super::template::hash_of;
use super::{Chip, TpmError, explain};

/// A `TPM2_Certify` answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certified {
    /// `TPMS_ATTEST`, without the TPM2B size.
    pub attest: Vec<u8>,
    /// `TPMT_SIGNATURE`.
    pub signature: Vec<u8>,
}

/// Hash that a key signs with, and whether with PSS: the scheme in the key, else by its size, RSA as PKCS#1 v1.5.
///
/// # Errors
/// [`TpmError::Unsupported`] for a scheme or hash this house does not use.
pub fn digest_for(public: &TpmtPublic) -> Result<(HashAlgorithm, bool), TpmError> {
    let unsupported = || TpmError::Unsupported {
        what: "this signature scheme".into(),
    };
    match public.parms().scheme() {
        TpmtScheme::Null => Ok((hash_of(algorithm_of(public).ok_or_else(unsupported)?), false)),
        TpmtScheme::Hashed { scheme, hash }
            if [TpmAlgId::ECDSA, TpmAlgId::RSASSA, TpmAlgId::RSAPSS].contains(&scheme) =>
        {
            let hash = HashAlgorithm::from_id(hash).ok_or_else(unsupported)?;
            Ok((hash, scheme == TpmAlgId::RSAPSS))
        }
        _ => Err(unsupported()),
    }
}

/// Contents of a TPM2B that fills `bytes` exactly.
fn unsized_2b<'a>(bytes: &'a [u8], what: &'static str) -> Result<&'a [u8], TpmError> {
    match bytes {
        [high, low, rest @ ..] if usize::from(u16::from_be_bytes([*high, *low])) == rest.len() => Ok(rest),
        _ => Err(TpmError::Malformed { what }),
    }
}

impl Chip {
    /// Session for a command that needs the ADMIN role of a key.
    fn as_admin<T>(
        &mut self,
        key: &LoadedKey,
        command: AdminCommand,
        work: impl FnOnce(&mut Self, AuthSession) -> Result<T, TpmError>,
    ) -> Result<T, TpmError> {
        if !key.public.attributes().contains(TpmaObject::ADMIN_WITH_POLICY) {
            return work(self, AuthSession::Password);
        }
        let hash = HashAlgorithm::from_id(key.public.name_alg()).ok_or_else(|| TpmError::Unsupported {
            what: "the name algorithm of a key".into(),
        })?;
        self.with_admin_policy(hash, command, work)
    }

    /// `TPM2_ActivateCredential`: what the server hid for this EK and this AK. `blob` is a `TPM2B_ID_OBJECT`, `secret`
    /// a `TPM2B_ENCRYPTED_SECRET`, both with their sizes.
    ///
    /// # Errors
    /// [`TpmError::Response`] with an integrity failure when it was hidden for others.
    pub fn activate(
        &mut self,
        endorsement: &Endorsement,
        ak: &StoredKey,
        blob: &[u8],
        secret: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        let during = "activating the credential";
        let blob = IdObject::try_from(unsized_2b(blob, "the credential blob")?).map_err(|e| explain(e, during))?;
        let secret =
            EncryptedSecret::try_from(unsized_2b(secret, "the encrypted secret")?).map_err(|e| explain(e, during))?;
        self.with_key(ak, |chip, ak| {
            let ek = chip.load_ek(endorsement)?;
            let result = chip.as_admin(ak, AdminCommand::Activate, |chip, ak_session| {
                chip.with_ek_policy(ek.template, |chip, ek_session| {
                    chip.context
                        .execute_with_sessions((Some(ak_session), Some(ek_session), None), |c| {
                            c.activate_credential(ak.handle, ek.handle, blob, secret)
                        })
                        .map(|found| Zeroizing::new(found.to_vec()))
                        .map_err(|e| explain(e, during))
                })
            });
            chip.unload_ek(&ek);
            result
        })
    }

    /// `TPM2_Certify` of `key` by `ak`.
    ///
    /// # Errors
    /// [`TpmError`].
    pub fn certify(&mut self, key: &StoredKey, ak: &StoredKey, qualifying: &[u8; 32]) -> Result<Certified, TpmError> {
        let during = "certifying the key";
        let data = Data::try_from(qualifying.as_slice()).map_err(|e| explain(e, during))?;
        self.with_key(ak, |chip, ak| {
            chip.with_key(key, |chip, key| {
                chip.as_admin(key, AdminCommand::Certify, |chip, key_session| {
                    let (attest, signature) = chip
                        .context
                        .execute_with_sessions((Some(key_session), Some(AuthSession::Password), None), |c| {
                            c.certify(key.handle.into(), ak.handle, data, SignatureScheme::Null)
                        })
                        .map_err(|e| explain(e, during))?;
                    Ok(Certified {
                        attest: attest.marshall().map_err(|e| explain(e, during))?,
                        signature: signature.marshall().map_err(|e| explain(e, during))?,
                    })
                })
            })
        })
    }

    /// Sign a message with a key that signs what it is given; hash and padding as [`digest_for`] says. The signature is
    /// as X.509 carries it: ECDSA-Sig-Value in DER, or the RSA octets.
    ///
    /// # Errors
    /// [`TpmError`].
    pub fn sign(&mut self, key: &StoredKey, message: &[u8]) -> Result<Vec<u8>, TpmError> {
        let during = "signing";
        let public = key.public()?;
        let (hash, _) = digest_for(&public)?;
        let digest = Digest::try_from(hash.digest(message)).map_err(|e| explain(e, during))?;
        let hash_scheme = HashScheme::new(match hash {
            HashAlgorithm::Sha256 => tss_esapi::interface_types::algorithm::HashingAlgorithm::Sha256,
            HashAlgorithm::Sha384 => tss_esapi::interface_types::algorithm::HashingAlgorithm::Sha384,
            HashAlgorithm::Sha512 => tss_esapi::interface_types::algorithm::HashingAlgorithm::Sha512,
        });
        let scheme = match (public.parms().scheme(), public.algorithm() == TpmAlgId::RSA) {
            (TpmtScheme::Null, true) => SignatureScheme::RsaSsa { hash_scheme },
            (TpmtScheme::Null, false) => SignatureScheme::EcDsa { hash_scheme },
            _ => SignatureScheme::Null,
        };
        // A digest made outside the TPM, for a key that is not restricted: no ticket (Part 3, 20.2).
        let ticket = HashcheckTicket::try_from(TPMT_TK_HASHCHECK {
            tag: TPM2_ST_HASHCHECK,
            hierarchy: TPM2_RH_NULL,
            digest: Default::default(),
        })
        .map_err(|e| explain(e, during))?;
        let signature = self.with_key(key, |chip, key| {
            chip.context
                .execute_with_session(Some(AuthSession::Password), |c| {
                    c.sign(key.handle, digest, scheme, ticket)
                })
                .map_err(|e| explain(e, during))
        })?;
        encode(&signature)
    }
}

fn encode(signature: &Signature) -> Result<Vec<u8>, TpmError> {
    let malformed = TpmError::Malformed { what: "a signature" };
    match signature {
        Signature::RsaSsa(rsa) | Signature::RsaPss(rsa) => Ok(rsa.signature().to_vec()),
        Signature::EcDsa(ecc) => (|| {
            let r = openssl::bn::BigNum::from_slice(ecc.signature_r())?;
            let s = openssl::bn::BigNum::from_slice(ecc.signature_s())?;
            openssl::ecdsa::EcdsaSig::from_private_components(r, s)?.to_der()
        })()
        .map_err(|_| malformed),
        _ => Err(malformed),
    }
}
