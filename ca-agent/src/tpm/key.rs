//! Attestation and identity keys: made once, found again.

use attest::KeyAlgorithm;
use attest::tpm::TpmtPublic;
use tss_esapi::handles::{KeyHandle, PersistentTpmHandle};
use tss_esapi::interface_types::resource_handles::{Hierarchy, Provision};
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{Private, Public};
use tss_esapi::traits::UnMarshall as _;

use super::template::{self, KeyAlg, Role, Scheme, is_rsa};
use super::tss2::Tss2Key;
use super::{Chip, TpmError, explain};

/// Where a key lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyHome {
    /// Primary of the endorsement hierarchy, persistent at this handle: IAK and IDevID. Survives a change of owner.
    Manufacturer(u32),
    /// Below the owner's storage root, kept as a blob outside the TPM.
    Owner,
}

/// A key that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// What for.
    pub role: Role,
    /// Algorithm.
    pub alg: KeyAlg,
    /// Where.
    pub home: KeyHome,
}

impl KeySpec {
    /// Public area to ask the TPM for.
    fn template(&self) -> Vec<u8> {
        let scheme = self.scheme();
        match self.home {
            KeyHome::Manufacturer(_) => template::manufacturer(self.role, self.alg.algorithm, scheme),
            KeyHome::Owner => template::owner(self.role, self.alg.algorithm, scheme),
        }
    }

    /// Scheme fixed in the key. An IDevID has none, as its TCG template has it; all others have one, since relying
    /// software (SPIRE's devid plugin, for one) wants the hash to be explicit. RSA is PSS unless asked otherwise:
    /// TLS 1.3 takes nothing else, and the TCG's IAK template has it.
    fn scheme(&self) -> Option<Scheme> {
        if self.role == Role::Identity && matches!(self.home, KeyHome::Manufacturer(_)) {
            return None;
        }
        if !is_rsa(self.alg.algorithm) {
            return Some(Scheme::Ecdsa);
        }
        Some(self.alg.scheme.unwrap_or(Scheme::RsaPss))
    }

    fn fits(&self, public: &TpmtPublic) -> bool {
        // The template with the unique of the key in it is the key's public area.
        let template = self.template();
        let Ok(wanted) = TpmtPublic::parse(&template) else {
            return false;
        };
        wanted.attributes() == public.attributes()
            && wanted.name_alg() == public.name_alg()
            && wanted.auth_policy() == public.auth_policy()
            && wanted.parms().scheme() == public.parms().scheme()
            && algorithm_of(public) == Some(self.alg.algorithm)
    }
}

/// Algorithm of a public area; `None` for what this house does not certify.
#[must_use]
pub(super) fn algorithm_of(public: &TpmtPublic) -> Option<KeyAlgorithm> {
    use attest::tpm::{PublicParms, TpmEccCurve};
    match public.parms() {
        PublicParms::Rsa(rsa) if rsa.key_bits == 2048 => Some(KeyAlgorithm::Rsa2048),
        PublicParms::Rsa(rsa) if rsa.key_bits == 3072 => Some(KeyAlgorithm::Rsa3072),
        PublicParms::Ecc(ecc) if ecc.curve == TpmEccCurve::NIST_P256 => Some(KeyAlgorithm::P256),
        PublicParms::Ecc(ecc) if ecc.curve == TpmEccCurve::NIST_P384 => Some(KeyAlgorithm::P384),
        _ => None,
    }
}

/// A key that was made, as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredKey {
    /// Blobs.
    Loadable(Tss2Key),
    /// In the TPM.
    Persistent {
        /// Handle.
        handle: u32,
        /// Public area it had when it was made, `TPMT_PUBLIC`.
        public: Vec<u8>,
    },
}

impl StoredKey {
    /// Public area.
    ///
    /// # Errors
    /// [`TpmError::Malformed`] when the memory of it is damaged.
    pub fn public(&self) -> Result<TpmtPublic, TpmError> {
        let bytes = match self {
            Self::Loadable(key) => &key.public,
            Self::Persistent { public, .. } => public,
        };
        TpmtPublic::parse(bytes).map_err(|_| TpmError::Malformed {
            what: "the stored public area",
        })
    }

    /// Whether it is what `spec` asks for.
    #[must_use]
    pub fn fits(&self, spec: &KeySpec) -> bool {
        let home = match (self, spec.home) {
            (Self::Loadable(_), KeyHome::Owner) => true,
            (Self::Persistent { handle, .. }, KeyHome::Manufacturer(wanted)) => *handle == wanted,
            (Self::Loadable(_), KeyHome::Manufacturer(_)) | (Self::Persistent { .. }, KeyHome::Owner) => false,
        };
        home && self.public().is_ok_and(|public| spec.fits(&public))
    }
}

/// A key, usable inside [`Chip::with_key`].
#[derive(Debug)]
pub struct LoadedKey {
    pub(super) handle: KeyHandle,
    transient: bool,
    /// Public area.
    pub public: TpmtPublic,
}

impl Chip {
    /// Make the key, or find the one that is there already.
    ///
    /// # Errors
    /// [`TpmError::HandleTaken`] when its place is taken; [`TpmError::Unsupported`] for an algorithm unknown here.
    pub fn make_key(&mut self, spec: &KeySpec) -> Result<StoredKey, TpmError> {
        match spec.home {
            KeyHome::Owner => self.with_storage_root(|chip, root| {
                let during = "making a key";
                let public = Public::unmarshall(&spec.template()).map_err(|e| explain(e, during))?;
                let made = chip
                    .context
                    .execute_with_session(Some(AuthSession::Password), |c| {
                        c.create(root, public, None, None, None, None)
                    })
                    .map_err(|e| explain(e, during))?;
                use tss_esapi::traits::Marshall as _;
                Ok(StoredKey::Loadable(Tss2Key {
                    public: made.out_public.marshall().map_err(|e| explain(e, during))?,
                    private: made.out_private.to_vec(),
                }))
            }),
            KeyHome::Manufacturer(handle) => self.make_primary(spec, handle),
        }
    }

    fn make_primary(&mut self, spec: &KeySpec, handle: u32) -> Result<StoredKey, TpmError> {
        // A primary is a function of the seed and the template: making it again tells whether the handle holds it.
        let (key, public) = self.create_primary(Hierarchy::Endorsement, &spec.template(), "making a key")?;
        let placed = self.place(key, &public, handle);
        self.flush(key.into());
        placed?;
        Ok(StoredKey::Persistent {
            handle,
            public: public.raw().to_vec(),
        })
    }

    /// Put a loaded key at a persistent handle, unless it is there already.
    fn place(&mut self, key: KeyHandle, public: &TpmtPublic, handle: u32) -> Result<(), TpmError> {
        if self.handles_from(handle)?.first() == Some(&handle) {
            let (there, found) = self.open_persistent(handle)?;
            self.close(there);
            return if found == *public {
                Ok(())
            } else {
                Err(TpmError::HandleTaken { handle })
            };
        }
        let during = "making a key persistent";
        let persistent = PersistentTpmHandle::new(handle).map_err(|e| explain(e, during))?;
        let placed = self
            .context
            .execute_with_session(Some(AuthSession::Password), |c| {
                c.evict_control(Provision::Owner, key.into(), persistent.into())
            })
            .map_err(|e| explain(e, during))?;
        self.close(KeyHandle::from(placed));
        Ok(())
    }

    /// The key at this handle, if there is one.
    ///
    /// # Errors
    /// [`TpmError`].
    pub fn find(&mut self, handle: u32) -> Result<Option<StoredKey>, TpmError> {
        if self.handles_from(handle)?.first() != Some(&handle) {
            return Ok(None);
        }
        let (there, found) = self.open_persistent(handle)?;
        self.close(there);
        Ok(Some(StoredKey::Persistent {
            handle,
            public: found.raw().to_vec(),
        }))
    }

    /// Also put a key at a persistent handle, for programs that take handles only.
    ///
    /// # Errors
    /// [`TpmError::HandleTaken`].
    pub fn persist(&mut self, key: &StoredKey, handle: u32) -> Result<(), TpmError> {
        self.with_key(key, |chip, loaded| {
            let public = loaded.public.clone();
            chip.place(loaded.handle, &public, handle)
        })
    }

    /// Load a key, use it, free it whatever happens.
    ///
    /// # Errors
    /// [`TpmError::KeyGone`] when the TPM does not have it any more: cleared, or another TPM.
    pub fn with_key<T>(
        &mut self,
        key: &StoredKey,
        work: impl FnOnce(&mut Self, &LoadedKey) -> Result<T, TpmError>,
    ) -> Result<T, TpmError> {
        let loaded = self.load(key)?;
        let result = work(self, &loaded);
        if loaded.transient {
            self.flush(loaded.handle.into());
        } else {
            self.close(loaded.handle);
        }
        result
    }

    fn load(&mut self, key: &StoredKey) -> Result<LoadedKey, TpmError> {
        let public = key.public()?;
        match key {
            StoredKey::Persistent { handle, .. } => {
                let gone = || TpmError::KeyGone {
                    place: format!("{handle:#010x}"),
                };
                if self.handles_from(*handle)?.first() != Some(handle) {
                    return Err(gone());
                }
                let (loaded, found) = self.open_persistent(*handle)?;
                if found != public {
                    self.close(loaded);
                    return Err(gone());
                }
                Ok(LoadedKey {
                    handle: loaded,
                    transient: false,
                    public,
                })
            }
            StoredKey::Loadable(blobs) => self.with_storage_root(|chip, root| {
                let during = "loading a key";
                let private = Private::try_from(blobs.private.as_slice()).map_err(|e| explain(e, during))?;
                let area = Public::unmarshall(&blobs.public).map_err(|e| explain(e, during))?;
                let handle = chip
                    .context
                    .execute_with_session(Some(AuthSession::Password), |c| c.load(root, private, area))
                    .map_err(|e| match explain(e, during) {
                        // TPM_RC_INTEGRITY: wrapped by another storage root.
                        TpmError::Response { code, .. } if code & 0xbf == 0x9f => TpmError::KeyGone {
                            place: "its key file".into(),
                        },
                        other => other,
                    })?;
                Ok(LoadedKey {
                    handle,
                    transient: true,
                    public: public.clone(),
                })
            }),
        }
    }

    /// Make the storage root, use it, free it whatever happens.
    fn with_storage_root<T>(
        &mut self,
        work: impl FnOnce(&mut Self, KeyHandle) -> Result<T, TpmError>,
    ) -> Result<T, TpmError> {
        let (root, _) = self.create_primary(Hierarchy::Owner, &template::storage_root(), "making the storage root")?;
        let result = work(self, root);
        self.flush(root.into());
        result
    }
}
