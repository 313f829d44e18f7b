//! What the CA sent is looked at before it is stored: these keys, this TPM, the pinned root, and nothing else.

use attest::rot::RotStatement;
use attest::tpm::TpmtPublic;
use der::Decode as _;
use openssl::stack::Stack;
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::{X509, X509StoreContext};
use wire::enrollment::{EnrollmentResult, EnrollmentState, KeyRole};

/// What the server sent is not what was asked for; nothing was stored.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Unacceptable {
    /// Other certificates than the ones asked for.
    #[error("the server sent other certificates than the ones asked for")]
    Set,
    /// Not a certificate.
    #[error("the certificate for the {0} key cannot be read")]
    Unreadable(&'static str),
    /// Does not chain to the pinned root.
    #[error("the certificate for the {key} key does not chain to the pinned root: {detail}")]
    Chain {
        /// Which key.
        key: &'static str,
        /// What OpenSSL says.
        detail: String,
    },
    /// Over before it came.
    #[error("the certificate for the {key} key has ended already, by this device's clock")]
    Ended {
        /// Which key.
        key: &'static str,
    },
    /// Another key.
    #[error("the certificate for the {0} key carries another key")]
    Key(&'static str),
    /// No binding, or to something else.
    #[error("the certificate for the {0} key is not bound to this TPM's keys")]
    Binding(&'static str),
}

/// What the certificates must fit.
#[derive(Debug)]
pub struct Expected<'a> {
    /// Attestation key.
    pub ak: TpmtPublic,
    /// Identity key.
    pub key: TpmtPublic,
    /// SHA-256 of the EK's SubjectPublicKeyInfo; nothing is compared with it where the IAK vouched.
    pub ek_spki_sha256: [u8; 32],
    /// The manufacturer's IAK, if it vouched.
    pub iak: Option<ExpectedIak>,
    /// The pinned root, DER.
    pub root: &'a [u8],
    /// Profile that was asked for the identity key.
    pub profile: &'a str,
    /// Profile that was asked for the attestation key.
    pub attestation_profile: Option<&'a str>,
}

/// The manufacturer's IAK behind the certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedIak {
    /// SHA-256 of its certificate.
    pub certificate_sha256: [u8; 32],
    /// Its TPM Name.
    pub name: Vec<u8>,
}

/// Certificates that fit, PEM.
#[derive(Debug)]
pub struct Received {
    /// Of the identity key.
    pub identity: Vec<u8>,
    /// Of the attestation key, when one was asked for.
    pub attestation: Option<Vec<u8>>,
    /// The CA's own, issuing CA first.
    pub chain: Vec<u8>,
}

/// X509_V_ERR_CERT_HAS_EXPIRED (openssl/x509_vfy.h).
const CERT_HAS_EXPIRED: i32 = 10;

/// Why a certificate does not chain to the pinned root.
enum Unchained {
    /// It did; its time is over, and nothing else is wrong on the way to it.
    Ended,
    /// As OpenSSL says.
    Otherwise(String),
}

impl Expected<'_> {
    /// Check an answer against everything that is known here.
    ///
    /// # Errors
    /// [`Unacceptable`].
    pub fn check(&self, result: &EnrollmentResult) -> Result<Received, Unacceptable> {
        let count = 1 + usize::from(self.attestation_profile.is_some());
        if result.state != EnrollmentState::Issued || result.certificates.len() != count {
            return Err(Unacceptable::Set);
        }
        let mut issuers = Vec::with_capacity(result.chain.len());
        let mut chain = Vec::new();
        for der in &result.chain {
            let unreadable = |_| Unacceptable::Unreadable("CA's");
            let issuer = X509::from_der(&der.0).map_err(unreadable)?;
            chain.extend(issuer.to_pem().map_err(unreadable)?);
            issuers.push(issuer);
        }
        let one = |role: KeyRole, profile: &str| {
            let mut all = result.certificates.iter();
            let found = all.find(|c| c.key == role && c.profile == profile);
            let der = &found.ok_or(Unacceptable::Set)?.certificate.0;
            self.certificate(der, role, &issuers)
        };
        Ok(Received {
            identity: one(KeyRole::Identity, self.profile)?,
            attestation: self
                .attestation_profile
                .map(|profile| one(KeyRole::Attestation, profile))
                .transpose()?,
            chain,
        })
    }

    /// One certificate: below the pinned root, for our key, bound to our TPM. Gives it as PEM.
    fn certificate(&self, der: &[u8], role: KeyRole, issuers: &[X509]) -> Result<Vec<u8>, Unacceptable> {
        let (word, key) = match role {
            KeyRole::Attestation => ("attestation", &self.ak),
            KeyRole::Identity => ("identity", &self.key),
        };
        let certificate = X509::from_der(der).map_err(|_| Unacceptable::Unreadable(word))?;
        self.chains(&certificate, issuers).map_err(|why| match why {
            Unchained::Ended => Unacceptable::Ended { key: word },
            Unchained::Otherwise(detail) => Unacceptable::Chain { key: word, detail },
        })?;
        let spki = key.spki().map_err(|_| Unacceptable::Key(word))?;
        let certified = certificate.public_key().and_then(|k| k.public_key_to_der());
        if certified.ok() != Some(spki) {
            return Err(Unacceptable::Key(word));
        }
        if !binding_in(der).is_some_and(|binding| self.is_ours(&binding, key)) {
            return Err(Unacceptable::Binding(word));
        }
        certificate.to_pem().map_err(|_| Unacceptable::Unreadable(word))
    }

    fn chains(&self, certificate: &X509, issuers: &[X509]) -> Result<(), Unchained> {
        let verify = || -> Result<Result<(), Unchained>, openssl::error::ErrorStack> {
            let mut store = X509StoreBuilder::new()?;
            store.add_cert(X509::from_der(self.root)?)?;
            let store = store.build();
            let mut untrusted = Stack::new()?;
            for issuer in issuers {
                untrusted.push(issuer.clone())?;
            }
            let mut context = X509StoreContext::new()?;
            context.init(&store, certificate, &untrusted, |c| {
                Ok(if c.verify_cert()? {
                    Ok(())
                } else if c.error_depth() == 0 && c.error().as_raw() == CERT_HAS_EXPIRED {
                    Err(Unchained::Ended)
                } else {
                    Err(Unchained::Otherwise(c.error().to_string()))
                })
            })
        };
        verify().map_err(|e| Unchained::Otherwise(e.to_string()))?
    }

    /// That it says what was proven, and no more: version 1 where the EK answered, version 2 where the IAK vouched.
    fn is_ours(&self, statement: &RotStatement, key: &TpmtPublic) -> bool {
        let proven = match (statement, &self.iak) {
            (RotStatement::Activation(binding), None) => {
                binding.ek_spki_sha256.as_bytes() == self.ek_spki_sha256 && binding.ak_name.as_bytes() == self.ak.name()
            }
            (RotStatement::Certified(binding), Some(iak)) => {
                binding.iak_certificate_sha256.as_bytes() == iak.certificate_sha256
                    && binding.iak_name.as_bytes() == iak.name
            }
            (RotStatement::Activation(_), Some(_)) | (RotStatement::Certified(_), None) => false,
        };
        proven && statement.ik_name() == key.name()
    }
}

/// The RoT binding of a certificate (DER), if it carries one that can be read.
#[must_use]
pub fn binding_in(der: &[u8]) -> Option<RotStatement> {
    let certificate = x509_cert::Certificate::from_der(der).ok()?;
    let mut extensions = certificate.tbs_certificate().extensions()?.iter();
    let extension = extensions.find(|e| e.extn_id == attest::rot::ID_ROT_BINDING)?;
    RotStatement::from_der(extension.extn_value.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use attest::rot::{Basis, CertifiedBinding, RotBinding, RotKind};
    use der::Encode as _;
    use der::asn1::OctetString;
    use device_kit::der::{context, extension, name, sequence, utc_time};
    use device_kit::soft_tpm::SoftTpm;
    use device_kit::vendor::{Content, VendorCa, random_serial};
    use wire::EnrollmentId;
    use wire::enrollment::IssuedCertificate;

    /// A CA and a device it certifies.
    struct Scene {
        root: VendorCa,
        issuing: VendorCa,
        tpm: SoftTpm,
    }

    impl Scene {
        fn new() -> Self {
            let root = VendorCa::root("root");
            let issuing = root.intermediate("issuing");
            let tpm = SoftTpm::p256(&root);
            Self { root, issuing, tpm }
        }

        fn public(&self, role: KeyRole) -> TpmtPublic {
            TpmtPublic::parse(match role {
                KeyRole::Attestation => &self.tpm.ak.public,
                KeyRole::Identity => &self.tpm.identity.public,
            })
            .unwrap()
        }

        fn expected(&self) -> Expected<'_> {
            Expected {
                ak: self.public(KeyRole::Attestation),
                key: self.public(KeyRole::Identity),
                ek_spki_sha256: self.tpm.ek.sha256(),
                iak: None,
                root: &self.root.certificate,
                profile: "device-idevid",
                attestation_profile: Some("device-iak"),
            }
        }

        fn binding(&self, role: KeyRole) -> RotBinding {
            let octets = |bytes: &[u8]| OctetString::new(bytes).unwrap();
            RotBinding {
                version: 1,
                rot_kind: attest::rot::RotKind::Tpm,
                ek_spki_sha256: octets(&self.tpm.ek.sha256()),
                ak_name: octets(&self.public(KeyRole::Attestation).name()),
                ik_name: octets(&self.public(role).name()),
                evidence_sha256: octets(&[7; 32]),
                parent_rot: None,
            }
        }

        /// An honest certificate, but for this binding and this key.
        fn certificate(&self, issuer: &VendorCa, binding: Option<&RotBinding>, spki: &[u8]) -> Vec<u8> {
            let oid = attest::rot::ID_ROT_BINDING.to_string();
            issuer.certify(&Content {
                serial: random_serial(),
                subject: name(&[("2.5.4.3", "device")]),
                not_before: utc_time("200101000000Z"),
                not_after: utc_time("491231235959Z"),
                spki: spki.to_vec(),
                extensions: binding
                    .map(|b| extension(&oid, false, &b.to_der().unwrap()))
                    .into_iter()
                    .collect(),
            })
        }

        fn honest(&self, role: KeyRole) -> Vec<u8> {
            let spki = self.public(role).spki().unwrap();
            self.certificate(&self.issuing, Some(&self.binding(role)), &spki)
        }

        /// An honest answer, but for the identity key's certificate.
        fn answer_with(&self, identity: Vec<u8>) -> EnrollmentResult {
            let one = |profile: &str, key, certificate: Vec<u8>| IssuedCertificate {
                profile: profile.into(),
                key,
                serial: "01".into(),
                certificate: certificate.into(),
                ledger: None,
            };
            EnrollmentResult {
                id: EnrollmentId([1; 16]),
                state: EnrollmentState::Issued,
                device: "GW-1".into(),
                certificates: vec![
                    one("device-iak", KeyRole::Attestation, self.honest(KeyRole::Attestation)),
                    one("device-idevid", KeyRole::Identity, identity),
                ],
                chain: vec![
                    self.issuing.certificate.clone().into(),
                    self.root.certificate.clone().into(),
                ],
            }
        }

        fn answer(&self) -> EnrollmentResult {
            self.answer_with(self.honest(KeyRole::Identity))
        }

        fn refused(&self, answer: &EnrollmentResult) -> Unacceptable {
            self.expected().check(answer).unwrap_err()
        }

        fn refused_binding(&self, change: impl FnOnce(&mut RotBinding)) -> Unacceptable {
            let mut binding = self.binding(KeyRole::Identity);
            change(&mut binding);
            let spki = self.public(KeyRole::Identity).spki().unwrap();
            self.refused(&self.answer_with(self.certificate(&self.issuing, Some(&binding), &spki)))
        }
    }

    #[test]
    fn an_honest_answer_is_taken_in_any_order() {
        let scene = Scene::new();
        let mut answer = scene.answer();
        let received = scene.expected().check(&answer).unwrap();
        let pem = |der: &[u8]| X509::from_der(der).unwrap().to_pem().unwrap();
        assert_eq!(received.identity, pem(&answer.certificates[1].certificate.0));
        assert_eq!(received.attestation, Some(pem(&answer.certificates[0].certificate.0)));
        let chain = [pem(&scene.issuing.certificate), pem(&scene.root.certificate)].concat();
        assert_eq!(received.chain, chain);
        answer.certificates.reverse();
        assert_eq!(scene.expected().check(&answer).unwrap().identity, received.identity);
        answer.certificates.truncate(1);
        let alone = Expected {
            attestation_profile: None,
            ..scene.expected()
        };
        assert_eq!(alone.check(&answer).unwrap().attestation, None);
    }

    #[test]
    fn another_set_is_refused() {
        let scene = Scene::new();
        let refused = |change: fn(&mut EnrollmentResult)| {
            let mut answer = scene.answer();
            change(&mut answer);
            scene.refused(&answer)
        };
        for change in [
            (|a| a.state = EnrollmentState::Verifying) as fn(&mut EnrollmentResult),
            |a| a.certificates.truncate(1),
            |a| a.certificates.push(a.certificates[1].clone()),
            |a| a.certificates[1] = a.certificates[0].clone(),
            |a| a.certificates[1].profile = "device-ldevid".into(),
            |a| a.certificates[1].key = KeyRole::Attestation,
            |a| a.certificates[0].profile = "device-lak".into(),
        ] {
            assert_eq!(refused(change), Unacceptable::Set);
        }
        assert_eq!(
            refused(|a| a.certificates[1].certificate = vec![0x30, 0].into()),
            Unacceptable::Unreadable("identity")
        );
        assert_eq!(
            refused(|a| a.chain[0] = vec![0x30, 0].into()),
            Unacceptable::Unreadable("CA's")
        );
    }

    #[test]
    fn a_chain_that_does_not_end_at_the_pinned_root_is_refused() {
        let scene = Scene::new();
        let is_chain = |refusal| matches!(refusal, Unacceptable::Chain { key: "identity", .. });
        // A root of the same name with another key; the server sends it along.
        let other = VendorCa::root("root");
        let (issuing, spki) = (
            other.intermediate("issuing"),
            scene.public(KeyRole::Identity).spki().unwrap(),
        );
        let binding = scene.binding(KeyRole::Identity);
        let mut answer = scene.answer_with(scene.certificate(&issuing, Some(&binding), &spki));
        answer.chain.push(issuing.certificate.clone().into());
        answer.chain.push(other.certificate.clone().into());
        assert!(is_chain(scene.refused(&answer)));
        // The issuing CA is missing.
        let mut answer = scene.answer();
        answer.certificates.swap(0, 1);
        answer.chain.remove(0);
        assert!(is_chain(scene.refused(&answer)));
        // A device that issues.
        let leaf = VendorCa::signed(
            "leaf",
            device_kit::keys::ec(openssl::nid::Nid::X9_62_PRIME256V1),
            Some(&scene.issuing),
            &[extension("2.5.29.19", true, &sequence(&[]))],
        );
        let mut answer = scene.answer_with(scene.certificate(&leaf, Some(&binding), &spki));
        answer.chain.push(leaf.certificate.clone().into());
        assert!(is_chain(scene.refused(&answer)));
    }

    /// Only the leaf's own end is told apart: anything else on the way is a chain that does not hold.
    #[test]
    fn a_certificate_that_has_ended_is_told_apart() {
        let scene = Scene::new();
        let ended = |issuer: &VendorCa| {
            let oid = attest::rot::ID_ROT_BINDING.to_string();
            let binding = scene.binding(KeyRole::Identity).to_der().unwrap();
            issuer.certify(&Content {
                serial: random_serial(),
                subject: name(&[("2.5.4.3", "device")]),
                not_before: utc_time("200101000000Z"),
                not_after: utc_time("210101000000Z"),
                spki: scene.public(KeyRole::Identity).spki().unwrap(),
                extensions: vec![extension(&oid, false, &binding)],
            })
        };
        assert_eq!(
            scene.refused(&scene.answer_with(ended(&scene.issuing))),
            Unacceptable::Ended { key: "identity" }
        );
        let other = VendorCa::root("root");
        let issuing = other.intermediate("issuing");
        let mut answer = scene.answer_with(ended(&issuing));
        answer.chain.push(issuing.certificate.clone().into());
        assert!(matches!(scene.refused(&answer), Unacceptable::Chain { .. }));
    }

    #[test]
    fn another_key_is_refused() {
        let scene = Scene::new();
        let other = SoftTpm::p256(&scene.root);
        let binding = scene.binding(KeyRole::Identity);
        let certificate = scene.certificate(&scene.issuing, Some(&binding), &other.identity.spki);
        assert_eq!(
            scene.refused(&scene.answer_with(certificate)),
            Unacceptable::Key("identity")
        );
        let other = TpmtPublic::parse(&other.ak.public).unwrap();
        let expected = Expected {
            ak: other,
            ..scene.expected()
        };
        // The identity certificate names the other AK first; with its own alone, the AK's key is what differs.
        assert_eq!(
            expected.check(&scene.answer()).unwrap_err(),
            Unacceptable::Binding("identity")
        );
    }

    #[test]
    fn what_the_iak_vouched_for_says_so_and_nothing_else_does() {
        let scene = Scene::new();
        let refusal = Unacceptable::Binding("identity");
        let octets = |bytes: &[u8]| OctetString::new(bytes).unwrap();
        let iak = ExpectedIak {
            certificate_sha256: [5; 32],
            name: [&[0, 11][..], &[6; 32]].concat(),
        };
        let binding = |change: fn(&mut CertifiedBinding)| {
            let mut binding = CertifiedBinding {
                version: 2,
                rot_kind: RotKind::Tpm,
                basis: Basis::IakCertified,
                iak_certificate_sha256: octets(&[5; 32]),
                iak_spki_sha256: octets(&[7; 32]),
                iak_name: octets(&[&[0, 11][..], &[6; 32]].concat()),
                ik_name: octets(&scene.public(KeyRole::Identity).name()),
                evidence_sha256: octets(&[9; 32]),
                ek_spki_sha256: None,
            };
            change(&mut binding);
            binding.to_der().unwrap()
        };
        let with = |binding: &[u8]| {
            let oid = attest::rot::ID_ROT_BINDING.to_string();
            let identity = scene.issuing.certify(&Content {
                serial: random_serial(),
                subject: name(&[("2.5.4.3", "device")]),
                not_before: utc_time("200101000000Z"),
                not_after: utc_time("491231235959Z"),
                spki: scene.public(KeyRole::Identity).spki().unwrap(),
                extensions: vec![extension(&oid, false, binding)],
            });
            let mut answer = scene.answer_with(identity);
            answer.certificates.remove(0);
            answer
        };
        let by_iak = || Expected {
            attestation_profile: None,
            iak: Some(iak.clone()),
            ..scene.expected()
        };
        assert!(by_iak().check(&with(&binding(|_| ()))).is_ok());
        for change in [
            (|b| b.iak_certificate_sha256 = OctetString::new([4; 32]).unwrap()) as fn(&mut CertifiedBinding),
            |b| b.iak_name = b.ik_name.clone(),
            |b| b.ik_name = b.iak_name.clone(),
        ] {
            assert_eq!(by_iak().check(&with(&binding(change))).unwrap_err(), refusal);
        }
        // Neither passes for the other.
        let by_ek = Expected {
            attestation_profile: None,
            ..scene.expected()
        };
        assert_eq!(by_ek.check(&with(&binding(|_| ()))).unwrap_err(), refusal);
        let first = scene.binding(KeyRole::Identity).to_der().unwrap();
        assert_eq!(by_iak().check(&with(&first)).unwrap_err(), refusal);
        assert!(by_ek.check(&with(&first)).is_ok());
    }

    #[test]
    fn a_certificate_that_is_not_bound_to_this_tpm_is_refused() {
        let scene = Scene::new();
        let refusal = Unacceptable::Binding("identity");
        let spki = scene.public(KeyRole::Identity).spki().unwrap();
        let unbound = scene.certificate(&scene.issuing, None, &spki);
        assert_eq!(scene.refused(&scene.answer_with(unbound)), refusal);
        let octets = |bytes: &[u8]| OctetString::new(bytes).unwrap();
        let key_name = scene.public(KeyRole::Identity).name();
        let ak_name = scene.public(KeyRole::Attestation).name();
        assert_eq!(scene.refused_binding(|b| b.ek_spki_sha256 = octets(&[7; 32])), refusal);
        assert_eq!(scene.refused_binding(|b| b.ak_name = octets(&key_name)), refusal);
        assert_eq!(scene.refused_binding(|b| b.ik_name = octets(&ak_name)), refusal);
        // Not the structure.
        let oid = attest::rot::ID_ROT_BINDING.to_string();
        let broken = scene.issuing.certify(&Content {
            serial: random_serial(),
            subject: name(&[("2.5.4.3", "device")]),
            not_before: utc_time("200101000000Z"),
            not_after: utc_time("491231235959Z"),
            spki,
            extensions: vec![extension(&oid, false, &context(0, &[]))],
        });
        assert_eq!(scene.refused(&scene.answer_with(broken)), refusal);
    }
}
