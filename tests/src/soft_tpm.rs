//! A "TPM" in software that can sign any nonsense: EK, AK and identity key in memory.

use attest::KeyAlgorithm;
use attest::tpm::{Certifies, TpmsClockInfo, iak_qualifying_data, qualifying_data, renewal_qualifying_data};
use wire::Bytes;
use wire::enrollment::{ActivationRequest, EnrollmentChallenge, EnrollmentRequest, KeyCertify, RotEvidence};
use wire::third_party::{CertificationRequest, CertifiedKey, IakChallenge, IakCredentials, IakEnrollmentRequest};

use crate::der::{bits, context, extension, integer, oid, sequence, set, tlv};
use crate::endorsement::{NotOpened, SoftEk, Template};
use crate::keys::{Shape, SoftKey, tpm2b};
use crate::vendor::{EkContent, VendorCa};

/// TPM_GENERATED_VALUE.
pub const MAGIC: [u8; 4] = [0xff, 0x54, 0x43, 0x47];
/// TPM_ST_ATTEST_CERTIFY.
pub const ST_CERTIFY: u16 = 0x8017;

/// A TPM whose every key is known.
#[derive(Clone)]
pub struct SoftTpm {
    /// Endorsement key.
    pub ek: SoftEk,
    /// EK certificate, DER.
    pub ek_certificate: Vec<u8>,
    /// What the device offers of its vendor's chain, DER.
    pub ek_chain: Vec<Vec<u8>>,
    /// Attestation key.
    pub ak: SoftKey,
    /// Identity key.
    pub identity: SoftKey,
    /// What it says about its clock and counters; it does not run.
    pub clock: TpmsClockInfo,
}

/// A second after the first start.
pub const FIRST_SECOND: TpmsClockInfo = TpmsClockInfo {
    clock: 1_000,
    reset_count: 1,
    restart_count: 0,
    safe: true,
};

/// What a `TPMS_ATTEST` says.
#[derive(Clone, Debug)]
pub struct Attest {
    /// Magic.
    pub magic: [u8; 4],
    /// Type.
    pub kind: u16,
    /// extraData.
    pub extra: Vec<u8>,
    /// clockInfo.
    pub clock: TpmsClockInfo,
    /// Name of the certified object.
    pub name: Vec<u8>,
    /// Bytes after everything.
    pub trailing: Vec<u8>,
}

impl Attest {
    /// An honest statement about `name`.
    #[must_use]
    pub fn honest(name: Vec<u8>, extra: &[u8]) -> Self {
        Self {
            magic: MAGIC,
            kind: ST_CERTIFY,
            extra: extra.to_vec(),
            clock: FIRST_SECOND,
            name,
            trailing: Vec::new(),
        }
    }

    /// The same, at this time of the TPM.
    #[must_use]
    pub fn at(mut self, clock: TpmsClockInfo) -> Self {
        self.clock = clock;
        self
    }

    /// `TPMS_ATTEST` (TPM 2.0 Part 2, 10.12.12).
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let signer = [&[0x00, 0x0b][..], &[0x51; 32]].concat();
        let qualified = [&[0x00, 0x0b][..], &[0x52; 32]].concat();
        let mut out = self.magic.to_vec();
        out.extend(self.kind.to_be_bytes());
        out.extend(tpm2b(&signer));
        out.extend(tpm2b(&self.extra));
        out.extend(self.clock.clock.to_be_bytes());
        out.extend(self.clock.reset_count.to_be_bytes());
        out.extend(self.clock.restart_count.to_be_bytes());
        out.push(u8::from(self.clock.safe));
        out.extend(0x2019_1023_0016_3636u64.to_be_bytes());
        out.extend(tpm2b(&self.name));
        out.extend(tpm2b(&qualified));
        out.extend(&self.trailing);
        out
    }
}

impl SoftTpm {
    /// A device of this vendor: EK of `template`, AK and identity key of the given algorithms.
    #[must_use]
    pub fn manufacture(vendor: &VendorCa, template: Template, ak: KeyAlgorithm, identity: KeyAlgorithm) -> Self {
        let ek = SoftEk::generate(template);
        let ek_certificate = vendor.ek_certificate(&ek.spki, &EkContent::honest(&ek.key));
        Self {
            ek,
            ek_certificate,
            ek_chain: Vec::new(),
            ak: SoftKey::generate(Shape::ak(ak)),
            identity: SoftKey::generate(Shape::identity(identity)),
            clock: FIRST_SECOND,
        }
    }

    /// The usual device of load tests: everything P-256.
    #[must_use]
    pub fn p256(vendor: &VendorCa) -> Self {
        Self::manufacture(vendor, Template::L2, KeyAlgorithm::P256, KeyAlgorithm::P256)
    }

    /// Body of `POST /v1/enrollments`.
    #[must_use]
    pub fn request(&self, profile: &str, attestation_profile: Option<&str>, device: Option<&str>) -> EnrollmentRequest {
        EnrollmentRequest {
            profile: profile.into(),
            attestation_profile: attestation_profile.map(str::to_owned),
            device: device.map(str::to_owned),
            rot: RotEvidence::Tpm20 {
                ek_certificate: self.ek_certificate.clone().into(),
                ek_chain: self.ek_chain.iter().cloned().map(Bytes).collect(),
                ek_public: self.ek.public.clone().into(),
                ak_public: self.ak.public.clone().into(),
            },
            agent: None,
        }
    }

    /// Answer a challenge honestly.
    ///
    /// # Errors
    /// [`NotOpened`] when the credential is not for this EK and AK.
    pub fn answer(&self, challenge: &EnrollmentChallenge) -> Result<ActivationRequest, NotOpened> {
        let name = self.ak.name();
        let secret = self.ek.activate(
            &name,
            &challenge.challenge.credential_blob.0,
            &challenge.challenge.secret.0,
        )?;
        let csr = csr(&self.identity, &sequence(&[]), &[]);
        Ok(self.answer_with(challenge, secret, &self.identity, csr))
    }

    /// Answer with a secret, a key and a CSR of choice, certified honestly by the AK.
    #[must_use]
    pub fn answer_with(
        &self,
        challenge: &EnrollmentChallenge,
        secret: Vec<u8>,
        key: &SoftKey,
        csr: Vec<u8>,
    ) -> ActivationRequest {
        let extra = Self::qualifying(challenge, &csr);
        let attest = Attest::honest(key.name(), &extra).at(self.clock).bytes();
        let signature = self.ak.sign(&attest);
        ActivationRequest {
            ticket: challenge.ticket.clone(),
            secret: secret.into(),
            key_public: key.public.clone().into(),
            key_certify: KeyCertify {
                attest: attest.into(),
                signature: signature.into(),
            },
            csr: csr.into(),
        }
    }

    /// Answer the challenge of a renewal honestly: of this certificate (DER), on this key.
    ///
    /// # Errors
    /// [`NotOpened`] when the credential is not for this EK and AK.
    pub fn answer_renewal(
        &self,
        challenge: &EnrollmentChallenge,
        certificate: &[u8],
        key: &SoftKey,
    ) -> Result<ActivationRequest, NotOpened> {
        let name = self.ak.name();
        let question = &challenge.challenge;
        let secret = self
            .ek
            .activate(&name, &question.credential_blob.0, &question.secret.0)?;
        let mut answer = self.answer_with(challenge, secret, key, csr(key, &sequence(&[]), &[]));
        let nonce = <[u8; 32]>::try_from(question.nonce.0.as_slice()).unwrap_or_default();
        let certificate = openssl::sha::sha256(certificate);
        let extra = renewal_qualifying_data(&challenge.id.0, &nonce, &answer.csr.0, &certificate);
        let attest = Attest::honest(key.name(), &extra).at(self.clock).bytes();
        answer.key_certify = KeyCertify {
            signature: self.ak.sign(&attest).into(),
            attest: attest.into(),
        };
        Ok(answer)
    }

    /// Body of `POST /v1/iak-enrollments`: the AK is the IAK of these papers.
    #[must_use]
    pub fn iak_request(
        &self,
        profile: &str,
        attestation_profile: Option<&str>,
        device: Option<&str>,
        iak: IakCredentials,
    ) -> IakEnrollmentRequest {
        IakEnrollmentRequest {
            profile: profile.into(),
            attestation_profile: attestation_profile.map(str::to_owned),
            device: device.map(str::to_owned),
            iak,
            agent: None,
        }
    }

    /// Let the AK, as IAK, certify an identity key, and a new attestation key if there is one. `renewed`: the certificate
    /// (DER) that is to be replaced, in a renewal.
    #[must_use]
    pub fn certify(
        &self,
        challenge: &IakChallenge,
        key: &SoftKey,
        lak: Option<&SoftKey>,
        renewed: Option<&[u8]>,
    ) -> CertificationRequest {
        let csr = csr(key, &sequence(&[]), &[]);
        let nonce = <[u8; 32]>::try_from(challenge.nonce.0.as_slice()).unwrap_or_default();
        let renewed = renewed.map(openssl::sha::sha256);
        let statement = |of: &SoftKey, what: Certifies| {
            let extra = iak_qualifying_data(&challenge.id.0, &nonce, &csr, what, renewed.as_ref());
            let attest = Attest::honest(of.name(), &extra).at(self.clock).bytes();
            CertifiedKey {
                public: of.public.clone().into(),
                signature: self.ak.sign(&attest).into(),
                attest: attest.into(),
            }
        };
        CertificationRequest {
            ticket: challenge.ticket.clone(),
            key: statement(key, Certifies::Identity),
            attestation_key: lak.map(|lak| statement(lak, Certifies::Attestation)),
            csr: csr.clone().into(),
        }
    }

    /// Qualifying data the server expects for this challenge and CSR.
    #[must_use]
    pub fn qualifying(challenge: &EnrollmentChallenge, csr: &[u8]) -> [u8; 32] {
        let nonce = <[u8; 32]>::try_from(challenge.challenge.nonce.0.as_slice()).unwrap_or_default();
        qualifying_data(&challenge.id.0, &nonce, csr)
    }
}

/// A PKCS#10 request for `key` with any subject and any attributes (DER, content of `[0]`).
#[must_use]
pub fn csr(key: &SoftKey, subject: &[u8], attributes: &[Vec<u8>]) -> Vec<u8> {
    csr_for(&key.spki, key, subject, attributes)
}

/// A PKCS#10 request that names one key and is signed by another.
#[must_use]
pub fn csr_for(spki: &[u8], signer: &SoftKey, subject: &[u8], attributes: &[Vec<u8>]) -> Vec<u8> {
    let info = sequence(&[&integer(&[0]), subject, spki, &context(0, &attributes.concat())]);
    let (algorithm, signature) = signer.sign_x509(&info);
    sequence(&[&info, &algorithm, &bits(&signature)])
}

/// An extensionRequest attribute (RFC 2985 §5.4.2) under `attribute`, with these extensions (DER).
#[must_use]
pub fn extension_request(attribute: &str, extensions: &[Vec<u8>]) -> Vec<u8> {
    sequence(&[&oid(attribute), &set(&[&tlv(0x30, &extensions.concat())])])
}

/// id-ExtensionReq.
pub const EXTENSION_REQUEST: &str = "1.2.840.113549.1.9.14";
/// Microsoft's variant of it.
pub const MS_CERT_EXTENSIONS: &str = "1.3.6.1.4.1.311.2.1.14";

/// A SAN extension with these `GeneralName`s (DER).
#[must_use]
pub fn san(names: &[Vec<u8>]) -> Vec<u8> {
    extension("2.5.29.17", false, &tlv(0x30, &names.concat()))
}
