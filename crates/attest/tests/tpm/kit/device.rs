//! A device with an endorsement from a test vendor, honest until the test makes it lie.

use super::activate::activate;
use super::{Attest, Os, Public, SoftKey, ec, rsa};
use attest::tpm::{TpmAlgId, TpmEccCurve, qualifying_data};
use attest::trust::{AnchorSource, Anchors};
use attest::{
    AnchorKind, Answer, Challenge, ChallengeContext, Endorsed, Evidence, EvidenceBytes, Pending, Refusal, UnixTime,
    VerifiedBinding,
};
use openssl::asn1::{Asn1Integer, Asn1Object, Asn1OctetString, Asn1Time};
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{BasicConstraints, KeyUsage, SubjectKeyIdentifier};
use openssl::x509::{X509, X509Builder, X509Extension, X509NameBuilder, X509ReqBuilder};
use std::sync::OnceLock;

pub(crate) const NOW: UnixTime = UnixTime(1_800_000_000);
const DAY: i64 = 86_400;

const A256: &str = "837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa";
const B256: &str = "ca3d0a99a2b93906f7a3342414efcfb3a385d44cd1fd459089d19b5071c0b7a0";
const B384: &str = "b26e7d28d11a50bc53d882bcf5fd3a1a074148bb35d3b4e4cb1c0ad9bde419cacb47ba09699646150f9fc000f3f80e12";
const B512: &str = "b8221ca69e8550a4914de3faa6a18c072cc01208073a928d5d66d59ef79e49a429c41a6b269571d57edb25fbdb1838425608b413cd616a5f6db5b6071af99bea";

/// The eight EK templates.
pub(crate) const TEMPLATES: [&str; 8] = ["L-1", "L-2", "H-1", "H-2", "H-3", "H-4", "H-6", "H-7"];

pub(crate) struct Device {
    pub(crate) ek: SoftKey,
    pub(crate) ek_alg: TpmAlgId,
    pub(crate) ek_aes: u16,
    pub(crate) ek_public: Public,
    pub(crate) ek_certificate: Vec<u8>,
    pub(crate) ak: SoftKey,
    pub(crate) ak_public: Public,
    pub(crate) scheme: TpmAlgId,
    pub(crate) hash: TpmAlgId,
    pub(crate) key: SoftKey,
    pub(crate) key_public: Public,
}

/// An answer that can still be altered.
pub(crate) struct Reply {
    pub(crate) secret: Vec<u8>,
    pub(crate) key_public: Vec<u8>,
    pub(crate) attest: Attest,
    pub(crate) signer: SoftKey,
    pub(crate) scheme: TpmAlgId,
    pub(crate) hash: TpmAlgId,
    pub(crate) csr: Vec<u8>,
}

impl Reply {
    /// Sign whatever was made of it.
    pub(crate) fn answer(self) -> Answer {
        let attest = self.attest.bytes();
        Answer {
            signature: self.signer.sign(self.scheme, self.hash, &attest),
            attest,
            secret: self.secret,
            key_public: self.key_public,
            csr: self.csr,
        }
    }
}

impl Device {
    /// A device whose EK follows `template`; AK and identity key as given.
    pub(crate) fn new(template: &str, (ak, scheme, hash): (SoftKey, TpmAlgId, TpmAlgId), key: SoftKey) -> Self {
        let (ek, ek_alg, ek_aes, attributes, policy) = match template {
            "L-1" => (rsa(2048, 0), TpmAlgId::SHA256, 128, 0x0003_00B2, A256),
            "L-2" => (ec(TpmEccCurve::NIST_P256), TpmAlgId::SHA256, 128, 0x0003_00B2, A256),
            "H-1" => (rsa(2048, 0), TpmAlgId::SHA256, 128, 0x0003_00F2, B256),
            "H-2" => (ec(TpmEccCurve::NIST_P256), TpmAlgId::SHA256, 128, 0x0003_00F2, B256),
            "H-3" => (ec(TpmEccCurve::NIST_P384), TpmAlgId::SHA384, 256, 0x0003_00F2, B384),
            "H-4" => (ec(TpmEccCurve::NIST_P521), TpmAlgId::SHA512, 256, 0x0003_00F2, B512),
            "H-6" => (rsa(3072, 0), TpmAlgId::SHA384, 256, 0x0003_00F2, B384),
            "H-7" => (rsa(4096, 0), TpmAlgId::SHA384, 256, 0x0003_00F2, B384),
            other => panic!("no template {other}"),
        };
        let ek_public = Public::ek(&ek, ek_alg, ek_aes, attributes, &hex::decode(policy).unwrap());
        Self {
            ek_certificate: ek_certificate(&ek),
            ek_public,
            ek_alg,
            ek_aes,
            ek,
            ak_public: Public::ak(&ak, scheme, hash),
            ak,
            scheme,
            hash,
            key_public: Public::identity(&key),
            key,
        }
    }

    /// P-256 throughout.
    pub(crate) fn p256() -> Self {
        let p256 = || ec(TpmEccCurve::NIST_P256);
        Self::new("L-2", (p256(), TpmAlgId::ECDSA, TpmAlgId::SHA256), p256())
    }

    /// RSA-2048 throughout, with RSAPSS.
    pub(crate) fn rsa2048() -> Self {
        Self::new("L-1", (rsa(2048, 1), TpmAlgId::RSAPSS, TpmAlgId::SHA256), rsa(2048, 2))
    }

    pub(crate) fn evidence(&self) -> EvidenceBytes {
        EvidenceBytes {
            ek_certificate: self.ek_certificate.clone(),
            ek_chain: Vec::new(),
            ek_public: self.ek_public.bytes(),
            ak_public: self.ak_public.bytes(),
        }
    }

    pub(crate) fn endorse(&self) -> Result<Endorsed, Refusal> {
        Evidence::decode(self.evidence())?.verify(anchors(), NOW)
    }

    /// A challenge for enrollment `id`, as both sides hold it.
    pub(crate) fn begin(&self, id: [u8; 16]) -> (Challenge, Pending) {
        self.endorse().unwrap().challenge(context(id), &mut Os).unwrap()
    }

    /// What the TPM with this EK gives back while an object named `name` is loaded.
    pub(crate) fn activate(&self, challenge: &Challenge, name: &[u8]) -> Result<Vec<u8>, super::activate::Refused> {
        activate(
            &self.ek,
            self.ek_alg,
            self.ek_aes,
            name,
            &challenge.credential_blob,
            &challenge.encrypted_secret,
        )
    }

    /// The honest answer, ready to be altered.
    pub(crate) fn reply(&self, challenge: &Challenge, id: [u8; 16]) -> Reply {
        let csr = csr(&self.key.pkey());
        Reply {
            secret: self.activate(challenge, &self.ak_public.name()).unwrap(),
            key_public: self.key_public.bytes(),
            attest: Attest::certify(&self.key_public.name(), &qualifying_data(&id, &challenge.nonce, &csr)),
            signer: self.ak.clone(),
            scheme: self.scheme,
            hash: self.hash,
            csr,
        }
    }

    /// The whole conversation, with `alter` between the honest answer and the wire.
    pub(crate) fn enroll(&self, alter: impl FnOnce(&Challenge, &mut Reply)) -> Result<VerifiedBinding, Refusal> {
        let id = [7; 16];
        let (challenge, pending) = self.begin(id);
        let mut reply = self.reply(&challenge, id);
        alter(&challenge, &mut reply);
        pending.answer(reply.answer())
    }
}

pub(crate) fn context(id: [u8; 16]) -> ChallengeContext {
    ChallengeContext {
        id,
        profile: "device-idevid".to_owned(),
        attestation_profile: Some("device-iak".to_owned()),
        device: None,
        issued_at: NOW,
        expires_at: UnixTime(NOW.0 + 300),
    }
}

/// PKCS#10 by OpenSSL, signed by `key`.
pub(crate) fn csr(key: &PKey<Private>) -> Vec<u8> {
    let mut builder = X509ReqBuilder::new().unwrap();
    builder.set_version(0).unwrap();
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", "ignored").unwrap();
    builder.set_subject_name(&name.build()).unwrap();
    builder.set_pubkey(key).unwrap();
    builder.sign(key, MessageDigest::sha256()).unwrap();
    builder.build().to_der().unwrap()
}

/// The vendor: one root that signs EK certificates itself.
fn vendor() -> &'static (PKey<Private>, X509) {
    static VENDOR: OnceLock<(PKey<Private>, X509)> = OnceLock::new();
    VENDOR.get_or_init(|| {
        let key = ec(TpmEccCurve::NIST_P256).pkey();
        let mut builder = certificate("Test vendor root", "Test vendor root", 1);
        builder.set_pubkey(&key).unwrap();
        builder
            .append_extension(BasicConstraints::new().critical().ca().build().unwrap())
            .unwrap();
        builder
            .append_extension(KeyUsage::new().critical().key_cert_sign().crl_sign().build().unwrap())
            .unwrap();
        let identifier = SubjectKeyIdentifier::new()
            .build(&builder.x509v3_context(None, None))
            .unwrap();
        builder.append_extension(identifier).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        (key, builder.build())
    })
}

pub(crate) fn anchors() -> &'static Anchors {
    static ANCHORS: OnceLock<Anchors> = OnceLock::new();
    ANCHORS.get_or_init(|| {
        let source = AnchorSource {
            name: "test-vendor".to_owned(),
            certificate: vendor().1.to_der().unwrap(),
            kind: AnchorKind::Software,
            manufacturers: vec!["id:00001014".to_owned()],
            enforce_expiry: true,
        };
        Anchors::new(vec![source], Vec::new()).unwrap()
    })
}

/// An EK certificate of the TCG profile, signed by the vendor.
pub(crate) fn ek_certificate(ek: &SoftKey) -> Vec<u8> {
    let (vendor_key, root) = vendor();
    let mut builder = certificate("EK", "Test vendor root", 77);
    builder.set_issuer_name(root.subject_name()).unwrap();
    builder.set_pubkey(&ek.pkey()).unwrap();
    builder
        .append_extension(BasicConstraints::new().critical().build().unwrap())
        .unwrap();
    let mut usage = KeyUsage::new();
    usage.critical();
    match ek {
        SoftKey::Rsa(_) => usage.key_encipherment(),
        SoftKey::Ec(..) => usage.key_agreement(),
    };
    builder.append_extension(usage.build().unwrap()).unwrap();
    let attribute =
        |oid: &[u8], value: &str| tlv(0x31, &tlv(0x30, &[tlv(6, oid), tlv(0x0C, value.as_bytes())].concat()));
    let tpm = [
        attribute(b"\x67\x81\x05\x02\x01", "id:00001014"),
        attribute(b"\x67\x81\x05\x02\x02", "swtpm"),
        attribute(b"\x67\x81\x05\x02\x03", "id:20191023"),
    ]
    .concat();
    builder
        .append_extension(extension("2.5.29.17", true, &tlv(0x30, &tlv(0xA4, &tlv(0x30, &tpm)))))
        .unwrap();
    let purpose = tlv(0x30, &tlv(6, b"\x67\x81\x05\x08\x01"));
    builder
        .append_extension(extension("2.5.29.37", false, &purpose))
        .unwrap();
    builder.sign(vendor_key, MessageDigest::sha256()).unwrap();
    builder.build().to_der().unwrap()
}

fn certificate(subject: &str, issuer: &str, serial: u32) -> X509Builder {
    let name = |text: &str| {
        let mut name = X509NameBuilder::new().unwrap();
        name.append_entry_by_text("CN", text).unwrap();
        name.build()
    };
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder
        .set_serial_number(&Asn1Integer::from_bn(&BigNum::from_u32(serial).unwrap()).unwrap())
        .unwrap();
    builder.set_subject_name(&name(subject)).unwrap();
    builder.set_issuer_name(&name(issuer)).unwrap();
    builder
        .set_not_before(&Asn1Time::from_unix(NOW.0 - DAY).unwrap())
        .unwrap();
    builder
        .set_not_after(&Asn1Time::from_unix(NOW.0 + 3650 * DAY).unwrap())
        .unwrap();
    builder
}

fn extension(oid: &str, critical: bool, der: &[u8]) -> X509Extension {
    let oid = Asn1Object::from_str(oid).unwrap();
    let value = Asn1OctetString::new_from_bytes(der).unwrap();
    X509Extension::new_from_der(&oid, critical, &value).unwrap()
}

pub(crate) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = content.len();
    let mut out = match len {
        0..0x80 => vec![tag, u8::try_from(len).unwrap()],
        0x80..0x100 => vec![tag, 0x81, u8::try_from(len).unwrap()],
        _ => vec![
            tag,
            0x82,
            u8::try_from(len >> 8).unwrap(),
            u8::try_from(len & 0xFF).unwrap(),
        ],
    };
    out.extend(content);
    out
}
