//! The endorsement key: its certificate in NV, and the template that gives the certified key again.

use attest::ek::EkTemplate;
use attest::tpm::TpmtPublic;
use openssl::x509::X509;
use tss_esapi::handles::{KeyHandle, ObjectHandle, PersistentTpmHandle, TpmHandle};
use tss_esapi::interface_types::resource_handles::Hierarchy;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::Public;
use tss_esapi::traits::{Marshall as _, UnMarshall as _};

use super::nv::{NvCertificate, certificate_in, certificates_in_row};
use super::{Chip, TpmError, explain, template};

/// A template and its NV indices: certificate, template, nonce (EK Credential Profile, 2.2.1.4 and 2.2.1.5).
struct Place {
    template: EkTemplate,
    certificate: u32,
    public: u32,
    nonce: Option<u32>,
}

/// In the order of preference: ECC is faster and smaller; common before rare.
const PLACES: [Place; 8] = [
    place(EkTemplate::L2, 0x01C0_000A, 0x01C0_000C, Some(0x01C0_000B)),
    place(EkTemplate::H2, 0x01C0_0014, 0x01C0_0015, None),
    place(EkTemplate::H3, 0x01C0_0016, 0x01C0_0017, None),
    place(EkTemplate::H4, 0x01C0_0018, 0x01C0_0019, None),
    place(EkTemplate::L1, 0x01C0_0002, 0x01C0_0004, Some(0x01C0_0003)),
    place(EkTemplate::H1, 0x01C0_0012, 0x01C0_0013, None),
    place(EkTemplate::H6, 0x01C0_001C, 0x01C0_001D, None),
    place(EkTemplate::H7, 0x01C0_001E, 0x01C0_001F, None),
];

const fn place(template: EkTemplate, certificate: u32, public: u32, nonce: Option<u32>) -> Place {
    Place {
        template,
        certificate,
        public,
        nonce,
    }
}

/// Which endorsement is wanted when a TPM has several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EkChoice {
    /// ECC before RSA.
    #[default]
    Auto,
    /// RSA only.
    Rsa,
    /// ECC only.
    Ecc,
}

/// An EK of the TPM, with its certificate if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endorsement {
    /// Template that belongs to the index.
    pub template: EkTemplate,
    /// NV index of the certificate; zero where there is none.
    pub nv_index: u32,
    /// Certificate, DER, without wrapper and padding; empty where the TPM has none.
    pub certificate: Vec<u8>,
}

impl Endorsement {
    /// The EK in words: `ECC P-384 (TCG template H-3)`.
    #[must_use]
    pub fn words(&self) -> String {
        let key = match self.template {
            EkTemplate::L1 | EkTemplate::H1 => "RSA 2048",
            EkTemplate::L2 | EkTemplate::H2 => "ECC P-256",
            EkTemplate::H3 => "ECC P-384",
            EkTemplate::H4 => "ECC P-521",
            EkTemplate::H6 => "RSA 3072",
            EkTemplate::H7 => "RSA 4096",
        };
        format!("{key} (TCG template {})", self.template.as_str())
    }

    /// `RSA` or `ECC`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.template {
            EkTemplate::L1 | EkTemplate::H1 | EkTemplate::H6 | EkTemplate::H7 => "RSA",
            EkTemplate::L2 | EkTemplate::H2 | EkTemplate::H3 | EkTemplate::H4 => "ECC",
        }
    }
}

/// An EK, usable until [`Chip::unload_ek`].
#[derive(Debug)]
pub struct LoadedEk {
    pub(super) handle: KeyHandle,
    transient: bool,
    /// Template it follows.
    pub template: EkTemplate,
    /// Public area.
    pub public: TpmtPublic,
    /// Persistent handle it was found at.
    pub persistent: Option<u32>,
}

/// SubjectPublicKeyInfo of a certificate in the spelling of [`TpmtPublic::spki`]: RSA as rsaEncryption with NULL,
/// whatever the certificate says (older vendors say id-RSAES-OAEP). `None` when OpenSSL cannot read the key.
#[must_use]
pub fn read_certificate_key(der: &[u8]) -> Option<Vec<u8>> {
    let certificate = X509::from_der(der).ok()?;
    certificate.public_key().ok()?.public_key_to_der().ok()
}

/// NV indices at which EK certificates lie.
pub(super) fn certificate_indices() -> impl Iterator<Item = u32> {
    PLACES.iter().map(|place| place.certificate)
}

/// [`names`], for who looks for the reason why not.
pub(super) fn certifies(certificate: &[u8], public: &TpmtPublic) -> bool {
    names(certificate, public)
}

/// Whether the certificate names this key. Picks the right key only: the server judges the certificate.
fn names(certificate: &[u8], public: &TpmtPublic) -> bool {
    let Ok(spki) = public.spki() else {
        return false;
    };
    match read_certificate_key(certificate) {
        Some(certified) => certified == spki,
        // A key type OpenSSL does not read: the key's own bits must still stand in the certificate.
        None => key_bits(&spki).is_some_and(|bits| certificate.windows(bits.len()).any(|w| w == bits)),
    }
}

/// Contents of the subjectPublicKey BIT STRING.
fn key_bits(spki: &[u8]) -> Option<Vec<u8>> {
    use der::Decode as _;
    let parsed = x509_cert::spki::SubjectPublicKeyInfoOwned::from_der(spki).ok()?;
    parsed.subject_public_key.as_bytes().map(<[u8]>::to_vec)
}

impl Chip {
    /// The EK certificates in NV, best first.
    ///
    /// # Errors
    /// [`TpmError`] when NV cannot be read.
    pub fn endorsements(&mut self) -> Result<Vec<Endorsement>, TpmError> {
        let present = self.nv_indices(0x01C0_0000, 0x01C0_00FF)?;
        let mut found = Vec::new();
        for place in PLACES.iter().filter(|p| present.contains(&p.certificate)) {
            let Some(blob) = self.read_nv(place.certificate)? else {
                continue;
            };
            match certificate_in(&blob) {
                NvCertificate::Found(der) => found.push(Endorsement {
                    template: place.template,
                    nv_index: place.certificate,
                    certificate: der.to_vec(),
                }),
                NvCertificate::Empty => {}
                NvCertificate::Garbage => {
                    tracing::warn!(
                        index = format!("{:08X}", place.certificate),
                        "this NV index holds no certificate"
                    );
                }
            }
        }
        Ok(found)
    }

    /// Issuing CA certificates that the vendor left in NV (01C00100…01C001FF, one row of DER split over indices).
    ///
    /// # Errors
    /// [`TpmError`] when NV cannot be read.
    pub fn endorsement_chain(&mut self) -> Result<Vec<Vec<u8>>, TpmError> {
        let mut row = Vec::new();
        for index in self.nv_indices(0x01C0_0100, 0x01C0_01FF)? {
            row.extend(self.read_nv(index)?.unwrap_or_default());
        }
        Ok(certificates_in_row(&row))
    }

    /// The endorsement to use.
    ///
    /// # Errors
    /// [`TpmError::NoEkCertificate`] when there is none of the kind wanted.
    pub fn choose_endorsement(&mut self, choice: EkChoice) -> Result<Endorsement, TpmError> {
        let wanted = match choice {
            EkChoice::Auto => None,
            EkChoice::Rsa => Some("RSA"),
            EkChoice::Ecc => Some("ECC"),
        };
        self.endorsements()?
            .into_iter()
            .find(|e| wanted.is_none_or(|kind| e.kind() == kind))
            .ok_or(TpmError::NoEkCertificate { wanted })
    }

    /// The EKs that the TPM makes of the common templates, without any certificate: an administrator may vouch for one.
    ///
    /// # Errors
    /// [`TpmError`] when the TPM makes none at all.
    pub fn uncertified(&mut self, choice: EkChoice) -> Result<Vec<(Endorsement, LoadedEk)>, TpmError> {
        let templates: &[EkTemplate] = match choice {
            EkChoice::Auto => &[EkTemplate::L2, EkTemplate::L1],
            EkChoice::Ecc => &[EkTemplate::L2],
            EkChoice::Rsa => &[EkTemplate::L1],
        };
        let mut made = Vec::new();
        let mut why = None;
        for template in templates {
            let endorsement = Endorsement {
                template: *template,
                nv_index: 0,
                certificate: Vec::new(),
            };
            match self.load_ek(&endorsement) {
                Ok(ek) => {
                    self.unload_ek(&ek);
                    made.push((endorsement, ek));
                }
                Err(error) => why = why.or(Some(error)),
            }
        }
        match why {
            Some(error) if made.is_empty() => Err(error),
            _ => Ok(made),
        }
    }

    /// The key that the certificate names: a persistent one when there is one, else made from the template.
    ///
    /// # Errors
    /// [`TpmError::EkMismatch`] when no template gives it.
    pub fn load_ek(&mut self, endorsement: &Endorsement) -> Result<LoadedEk, TpmError> {
        let certified = !endorsement.certificate.is_empty();
        for persistent in self.handles_from(0x8101_0000)? {
            if persistent > 0x8101_FFFF || !certified {
                break;
            }
            let (handle, public) = self.open_persistent(persistent)?;
            if names(&endorsement.certificate, &public) {
                return Ok(LoadedEk {
                    handle,
                    transient: false,
                    template: endorsement.template,
                    public,
                    persistent: Some(persistent),
                });
            }
            self.close(handle);
        }
        for template in self.ek_templates(endorsement.template)? {
            let (handle, public) = match self.create_primary(Hierarchy::Endorsement, &template, "making the EK") {
                Ok(made) => made,
                // What lies in NV may be no template at all; the next one counts.
                Err(TpmError::Response { code, .. }) => {
                    tracing::debug!(code, "an EK template was refused");
                    continue;
                }
                Err(other) => return Err(other),
            };
            // Without a certificate, the first template that gives a key gives the EK.
            if !certified || names(&endorsement.certificate, &public) {
                return Ok(LoadedEk {
                    handle,
                    transient: true,
                    template: endorsement.template,
                    public,
                    persistent: None,
                });
            }
            self.flush(handle.into());
        }
        Err(TpmError::EkMismatch {
            index: endorsement.nv_index,
        })
    }

    /// Free what [`Self::load_ek`] loaded.
    pub fn unload_ek(&mut self, ek: &LoadedEk) {
        if ek.transient {
            self.flush(ek.handle.into());
        } else {
            self.close(ek.handle);
        }
    }

    /// Templates that may have given the EK: the one in NV, the default with the nonce in NV, the default.
    pub(super) fn ek_templates(&mut self, wanted: EkTemplate) -> Result<Vec<Vec<u8>>, TpmError> {
        let mut templates = Vec::new();
        if let Some(place) = PLACES.iter().find(|p| p.template == wanted) {
            let mut blobs = Vec::new();
            blobs.extend(self.read_nv(place.public)?);
            if let Some(index) = place.nonce {
                blobs.extend(self.read_nv(index)?);
            }
            for blob in blobs {
                // Some write the template where the nonce belongs.
                if TpmtPublic::parse(&blob).is_ok() {
                    templates.push(blob);
                } else if blob.len() <= 64 && super::policy::is_low_range(wanted) {
                    templates.push(template::ek_with_nonce(wanted, Some(&blob)));
                }
            }
        }
        templates.push(template::ek(wanted));
        Ok(templates)
    }

    /// Open a persistent object and read its public area.
    pub(super) fn open_persistent(&mut self, persistent: u32) -> Result<(KeyHandle, TpmtPublic), TpmError> {
        let during = "opening a persistent key";
        let handle = PersistentTpmHandle::new(persistent).map_err(|e| explain(e, during))?;
        let object = self
            .context
            .execute_without_session(|c| c.tr_from_tpm_public(TpmHandle::Persistent(handle)))
            .map_err(|e| explain(e, during))?;
        let key = KeyHandle::from(object);
        match self.public_of(key) {
            Ok(public) => Ok((key, public)),
            Err(error) => {
                self.close(key);
                Err(error)
            }
        }
    }

    /// Public area of a loaded key, in the TPM's own bytes.
    pub(super) fn public_of(&mut self, key: KeyHandle) -> Result<TpmtPublic, TpmError> {
        let during = "reading a public area";
        let (public, _, _) = self
            .context
            .execute_without_session(|c| c.read_public(key))
            .map_err(|e| explain(e, during))?;
        let bytes = public.marshall().map_err(|e| explain(e, during))?;
        TpmtPublic::parse(&bytes).map_err(|_| TpmError::Malformed { what: "a public area" })
    }

    /// Forget a persistent object; it stays in the TPM.
    pub(super) fn close(&mut self, key: KeyHandle) {
        let mut object = ObjectHandle::from(key);
        if let Err(error) = self.context.tr_close(&mut object) {
            tracing::debug!(%error, "an object could not be closed");
        }
    }

    /// Make a primary key from the bytes of a template.
    pub(super) fn create_primary(
        &mut self,
        hierarchy: Hierarchy,
        template: &[u8],
        during: &'static str,
    ) -> Result<(KeyHandle, TpmtPublic), TpmError> {
        let public = Public::unmarshall(template).map_err(|e| explain(e, during))?;
        let made = self
            .context
            .execute_with_session(Some(AuthSession::Password), |c| {
                c.create_primary(hierarchy, public, None, None, None, None)
            })
            .map_err(|e| explain(e, during))?;
        match self.public_of(made.key_handle) {
            Ok(public) => Ok((made.key_handle, public)),
            Err(error) => {
                self.flush(made.key_handle.into());
                Err(error)
            }
        }
    }
}
