//! The files that go in: each must be the one the plan names, and what it is for.

use std::collections::BTreeMap;

use issuance::crl::{Crl, RawCrl};
use issuance::{CaClaims, Issuer, IssuerRequest, IssuerUrls};
use policies::{ProfileKind, REHEARSAL_PREFIX};

use crate::backup::KeyBackup;
use crate::{Input, Plan, Sha256};

/// What came with the plan, read and believed as far as its own signatures go.
#[derive(Debug, Default)]
pub struct Inputs {
    /// The CA whose key the token holds.
    pub issuer: Option<Issuer>,
    /// The request of an issuing CA.
    pub request: Option<IssuerRequest>,
    /// The certificate of the CA to be cross-certified, DER, and its key.
    pub subject: Option<Subject>,
    /// The CRL before this one.
    pub previous: Option<Crl>,
    /// The backup of the key.
    pub backup: Option<KeyBackup>,
}

/// The certificate of another CA, whose signature is not judged here: only its name and key are taken, and compared
/// with what the plan says of them.
#[derive(Clone, Debug)]
pub struct Subject {
    /// SubjectPublicKeyInfo, DER.
    pub spki: Vec<u8>,
    /// Organization.
    pub organization: String,
    /// Common name; of a rehearsal's CA without what marks it as one.
    pub common_name: String,
    /// Whether it is a root: self-signed. Its issuing CAs stand below the cross-certificate; of an issuing CA, its leaves.
    pub root: bool,
    /// Whether it is of a rehearsal: then only another rehearsal crosses it.
    pub rehearsal: bool,
    /// Whether its subjectKeyIdentifier is the one the cross-certificate will have; what it issued names it by that.
    pub usual_key_id: bool,
}

/// An input that is not what the plan names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// The file is not there.
    #[error("input `{name}`: the file {file} is missing")]
    Missing {
        /// Input.
        name: String,
        /// File name.
        file: String,
    },
    /// Another file.
    #[error("input `{name}`: {file} has the SHA-256 {found}, the plan names {planned}")]
    Other {
        /// Input.
        name: String,
        /// File name.
        file: String,
        /// As it is.
        found: Sha256,
        /// As it should be.
        planned: Sha256,
    },
    /// The right file, but not what it is to be.
    #[error("input `{name}`: {message}")]
    Content {
        /// Input.
        name: String,
        /// What is wrong.
        message: String,
    },
}

impl Inputs {
    /// Read every input of the plan; `files` is by the name of the input.
    ///
    /// # Errors
    /// [`InputError`].
    pub fn read(plan: &Plan, files: &BTreeMap<String, Vec<u8>>) -> Result<Self, InputError> {
        let mut inputs = Self::default();
        for input in plan.inputs() {
            let bytes = files.get(&input.name).ok_or_else(|| InputError::Missing {
                name: input.name.clone(),
                file: input.file.clone(),
            })?;
            let found = Sha256::of(bytes);
            if found != input.sha256 {
                return Err(InputError::Other {
                    name: input.name.clone(),
                    file: input.file.clone(),
                    found,
                    planned: input.sha256,
                });
            }
            inputs.take(plan, input, bytes)?;
        }
        Ok(inputs)
    }

    /// In a rehearsal of a plan for a real CA: another stands in for it, by its own certificate (DER), which carries the
    /// mark of rehearsals and the same name.
    ///
    /// # Errors
    /// [`InputError::Content`]: it is none, or there is nothing to stand in for.
    pub fn stand_in(&mut self, plan: &Plan, der: &[u8]) -> Result<(), InputError> {
        let wrong = |message: String| InputError::Content {
            name: "stand-in".into(),
            message,
        };
        let real = self.issuer.as_ref().filter(|real| !real.is_rehearsal());
        let real = real.ok_or_else(|| wrong("there is no CA to stand in for".into()))?;
        let issuer = Issuer::from_chain(&[der.to_vec()], plan.key().algorithm, real.urls().clone());
        let issuer = issuer.map_err(|e| wrong(e.to_string()))?;
        let name = |ca: &Issuer| Subject::read(ca.chain().first().map_or(&[][..], Vec::as_slice));
        let (own, of) = (name(&issuer).map_err(wrong)?, name(real).map_err(wrong)?);
        let same = own.organization == of.organization && own.common_name == of.common_name;
        if !issuer.is_rehearsal() || !same || issuer.spki() == real.spki() {
            return Err(wrong(
                "it is not marked as a rehearsal's, or of another name than the issuer".into(),
            ));
        }
        self.issuer = Some(issuer);
        Ok(())
    }

    fn take(&mut self, plan: &Plan, input: &Input, bytes: &[u8]) -> Result<(), InputError> {
        let wrong = |message: String| InputError::Content {
            name: input.name.clone(),
            message,
        };
        match input.name.as_str() {
            "issuer" => self.issuer = Some(issuer(plan, bytes).map_err(wrong)?),
            "request" => self.request = Some(IssuerRequest::read(bytes).map_err(|e| wrong(e.to_string()))?),
            "subject" => self.subject = Some(Subject::read(bytes).map_err(wrong)?),
            "previous-crl" => {
                // BTreeMap order of the plan: `issuer` comes first.
                let issuer = self.issuer.as_ref().ok_or_else(|| wrong("there is no issuer".into()))?;
                let crl = RawCrl::decode(bytes.to_vec()).and_then(|raw| raw.verify(issuer));
                self.previous = Some(crl.map_err(|e| wrong(e.to_string()))?);
            }
            "backup" => {
                let backup = KeyBackup::parse(bytes).ok_or_else(|| wrong("not a backup of a ceremony".into()))?;
                let fits = plan.key().spki == Some(backup.key_sha256())
                    && plan.key().algorithm == backup.algorithm
                    && plan.quorum().shares_of.as_deref() == Some(backup.ceremony.as_str());
                if !fits {
                    return Err(wrong(format!(
                        "it is of the key {} ({}), made by the ceremony {}: the plan names another",
                        backup.key_sha256(),
                        backup.algorithm.as_str(),
                        backup.ceremony
                    )));
                }
                self.backup = Some(backup);
            }
            _ => {}
        }
        Ok(())
    }
}

/// The self-signed certificate of the key in the token, as the issuer of what the plan makes.
///
/// # Errors
/// A sentence.
pub fn issuer(plan: &Plan, der: &[u8]) -> Result<Issuer, String> {
    let certificate = plan.work().certificate();
    let urls = IssuerUrls {
        ca_issuers: certificate.and_then(|c| c.ca_issuers_url.clone()),
        crl: certificate.and_then(|c| c.crl_url.clone()),
        ..IssuerUrls::default()
    };
    let issuer = Issuer::from_chain(&[der.to_vec()], plan.key().algorithm, urls).map_err(|e| e.to_string())?;
    match plan.key().spki {
        Some(planned) if Sha256::of(issuer.spki()) != planned => Err(format!(
            "its key has the SHA-256 {}, the plan names {planned}",
            Sha256::of(issuer.spki())
        )),
        _ => Ok(issuer),
    }
}

impl Subject {
    /// Read one CA certificate, DER.
    ///
    /// # Errors
    /// A sentence.
    pub fn read(der: &[u8]) -> Result<Self, String> {
        let x509 = openssl::x509::X509::from_der(der).map_err(|_| "not a certificate (DER)".to_owned())?;
        if x509.to_der().ok().as_deref() != Some(der) {
            return Err("not exactly one certificate in DER".into());
        }
        let text = |nid| -> Result<String, String> {
            let mut found = x509.subject_name().entries_by_nid(nid);
            match (found.next(), found.next()) {
                (Some(one), None) => one.data().to_string().map_err(|e| e.to_string()),
                _ => Err("its subject has not exactly one organization and one common name".into()),
            }
        };
        let key = x509.public_key().map_err(|e| e.to_string())?;
        let claims = CaClaims::read(der).map_err(|e| e.0)?;
        let mut common_name = text(openssl::nid::Nid::COMMONNAME)?;
        if claims.rehearsal {
            // The rehearsal puts it there again.
            common_name = common_name.trim_start_matches(REHEARSAL_PREFIX).to_owned();
        }
        Ok(Self {
            spki: key.public_key_to_der().map_err(|e| e.to_string())?,
            organization: text(openssl::nid::Nid::ORGANIZATIONNAME)?,
            common_name,
            root: claims.root,
            rehearsal: claims.rehearsal,
            usual_key_id: claims.usual_key_id,
        })
    }

    /// What its cross-certificate is: a root's lets issuing CAs follow, an issuing CA's does not.
    #[must_use]
    pub fn kind(&self) -> ProfileKind {
        if self.root {
            ProfileKind::Cross
        } else {
            ProfileKind::Issuing
        }
    }
}
