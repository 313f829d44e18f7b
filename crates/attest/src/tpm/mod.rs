//! TPM 2.0 structures under their TCG names, parsed with exact length, and the arithmetic around credentials.

mod algorithm;
mod attest;
mod certify;
mod clock;
mod credential;
mod kdf;
mod key;
mod public;
mod read;
mod signature;
mod spki;
mod weak;

pub use algorithm::{HashAlgorithm, TpmAlgId, TpmEccCurve};
pub use attest::{TpmsAttest, TpmsCertifyInfo, TpmsClockInfo};
pub use certify::{Certifies, iak_qualifying_data, qualifying_data, renewal_qualifying_data, verify_certify};
pub use clock::{Follows, NV_INTERVAL, WentBack};
pub use credential::{Credential, make_credential};
pub use kdf::{kdfa, kdfe};
pub use key::{AttestationKey, IdentityKey};
pub use public::{EccParms, PublicParms, RsaParms, TpmaObject, TpmtPublic, TpmtScheme, TpmtSymDefObject};
pub use signature::TpmtSignature;
