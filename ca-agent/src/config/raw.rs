//! The shape of `agent.toml`, as written. Its keys are the names of the flags, with underscores.

use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use crate::cli::Via;
use crate::tpm::{EkChoice, KeyAlg};
use crate::values::{Handle, Wait};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConfig {
    pub tcti: Option<Spanned<String>>,
    pub state_dir: Option<PathBuf>,
    pub owner_auth_file: Option<PathBuf>,
    pub endorsement_auth_file: Option<PathBuf>,
    #[serde(default)]
    pub enroll: RawEnroll,
    #[serde(default)]
    pub renew: RawRenew,
    pub ledger: Option<RawLedger>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLedger {
    pub from: Spanned<String>,
    pub key: Spanned<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRenew {
    pub rekey: Option<bool>,
    pub hooks: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawEnroll {
    pub server: Option<String>,
    pub root: Option<PathBuf>,
    pub root_sha256: Option<Spanned<String>>,
    pub device: Option<String>,
    pub profile: Option<Spanned<String>>,
    pub attestation_profile: Option<Spanned<String>>,
    pub manufacturer: Option<bool>,
    pub via: Option<Via>,
    pub iak_dir: Option<PathBuf>,
    pub ek: Option<EkChoice>,
    pub key_alg: Option<KeyAlg>,
    pub ak_alg: Option<KeyAlg>,
    pub persistent: Option<Handle>,
    pub ak_handle: Option<Spanned<Handle>>,
    pub wait: Option<Wait>,
}
