//! A TPM vendor, honest or hostile: root, intermediate, EK certificates with any oddity.

use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;

use crate::der::{
    bits, context, extension, generalized_time, integer, name, octets, oid, sequence, set, tlv, utc_time, utf8,
};
use crate::keys::ec;

const SAN: &str = "2.5.29.17";
const BASIC_CONSTRAINTS: &str = "2.5.29.19";
const KEY_USAGE: &str = "2.5.29.15";
const EXTENDED_KEY_USAGE: &str = "2.5.29.37";
const AUTHORITY_KEY_ID: &str = "2.5.29.35";
const SUBJECT_KEY_ID: &str = "2.5.29.14";

/// tcg-kp-EKCertificate.
pub const EK_CERTIFICATE: &str = "2.23.133.8.1";

/// One CA of a vendor.
pub struct VendorCa {
    /// Its certificate, DER.
    pub certificate: Vec<u8>,
    /// Its key.
    pub key: PKey<Private>,
    subject: Vec<u8>,
    key_id: Vec<u8>,
}

/// What a certificate of the kit says; every field is free.
#[derive(Clone, Debug)]
pub struct Content {
    /// Serial, unsigned octets.
    pub serial: Vec<u8>,
    /// Subject `Name`, DER.
    pub subject: Vec<u8>,
    /// notBefore, DER.
    pub not_before: Vec<u8>,
    /// notAfter, DER.
    pub not_after: Vec<u8>,
    /// SubjectPublicKeyInfo, DER.
    pub spki: Vec<u8>,
    /// Extensions, DER, in order.
    pub extensions: Vec<Vec<u8>>,
}

/// What an honest EK certificate says; change a field to make it a lie.
#[derive(Clone, Debug)]
pub struct EkContent {
    /// tpmManufacturer.
    pub manufacturer: String,
    /// tpmModel.
    pub model: String,
    /// tpmVersion.
    pub version: String,
    /// Extended key usages; `None` leaves the extension out.
    pub extended_key_usage: Option<Vec<String>>,
    /// cA of the basic constraints; `None` leaves the extension out.
    pub ca: Option<bool>,
    /// First octet of the key usage bits; `None` leaves the extension out.
    pub key_usage: Option<u8>,
    /// Subject `Name`, DER.
    pub subject: Vec<u8>,
    /// `GeneralNames` of the subjectAltName, DER; `None` makes them of the three attributes above.
    pub san: Option<Vec<u8>>,
    /// Further extensions, DER.
    pub more: Vec<Vec<u8>>,
    /// notBefore, DER.
    pub not_before: Vec<u8>,
    /// notAfter, DER.
    pub not_after: Vec<u8>,
}

impl EkContent {
    /// An honest one for an RSA (keyEncipherment) or EC (keyAgreement) key.
    #[must_use]
    pub fn honest(key: &PKey<Private>) -> Self {
        Self {
            manufacturer: "id:49465800".into(),
            model: "KIT9670".into(),
            version: "id:00010203".into(),
            extended_key_usage: Some(vec![EK_CERTIFICATE.into()]),
            ca: Some(false),
            key_usage: Some(if key.rsa().is_ok() { 0x20 } else { 0x08 }),
            subject: sequence(&[]),
            san: None,
            more: Vec::new(),
            not_before: utc_time("200101000000Z"),
            not_after: generalized_time("99991231235959Z"),
        }
    }
}

impl VendorCa {
    /// A root with a P-256 key.
    #[must_use]
    pub fn root(common_name: &str) -> Self {
        Self::signed(common_name, ec(Nid::X9_62_PRIME256V1), None, &Self::ca_extensions(None))
    }

    /// A CA below this one.
    #[must_use]
    pub fn intermediate(&self, common_name: &str) -> Self {
        self.below(common_name, &Self::ca_extensions(Some(0)))
    }

    /// A CA below this one with extensions of choice.
    #[must_use]
    pub fn below(&self, common_name: &str, extensions: &[Vec<u8>]) -> Self {
        Self::signed(common_name, ec(Nid::X9_62_PRIME256V1), Some(self), extensions)
    }

    /// A CA with this key and name whose certificate is signed by `issuer`, or by itself.
    ///
    /// # Panics
    /// When OpenSSL fails.
    #[must_use]
    pub fn signed(common_name: &str, key: PKey<Private>, issuer: Option<&Self>, extensions: &[Vec<u8>]) -> Self {
        let subject = name(&[("2.5.4.10", "Kit TPM Vendor"), ("2.5.4.3", common_name)]);
        let spki = key.public_key_to_der().expect("SPKI");
        let key_id = openssl::sha::sha1(&spki).to_vec();
        let mut ca = Self {
            certificate: Vec::new(),
            key,
            subject: subject.clone(),
            key_id: key_id.clone(),
        };
        let signer = issuer.unwrap_or(&ca);
        let mut all = extensions.to_vec();
        all.push(extension(SUBJECT_KEY_ID, false, &octets(&key_id)));
        all.push(extension(
            AUTHORITY_KEY_ID,
            false,
            &sequence(&[&tlv(0x80, &signer.key_id)]),
        ));
        let content = Content {
            serial: random_serial(),
            subject,
            not_before: utc_time("200101000000Z"),
            not_after: generalized_time("99991231235959Z"),
            spki,
            extensions: all,
        };
        ca.certificate = signer.certify(&content);
        ca
    }

    /// basicConstraints and keyUsage of an honest CA.
    #[must_use]
    pub fn ca_extensions(path_length: Option<u8>) -> Vec<Vec<u8>> {
        let length = path_length.map(|n| integer(&[n])).unwrap_or_default();
        vec![
            extension(BASIC_CONSTRAINTS, true, &sequence(&[&[0x01, 0x01, 0xff], &length])),
            extension(KEY_USAGE, true, &tlv(0x03, &[0x01, 0x06])),
        ]
    }

    /// The authorityKeyIdentifier that points to this CA.
    #[must_use]
    pub fn authority(&self) -> Vec<u8> {
        extension(AUTHORITY_KEY_ID, false, &sequence(&[&tlv(0x80, &self.key_id)]))
    }

    /// Certify `spki` as an endorsement key.
    #[must_use]
    pub fn ek_certificate(&self, spki: &[u8], content: &EkContent) -> Vec<u8> {
        let attribute = |o: &str, v: &str| set(&[&sequence(&[&oid(o), &utf8(v)])]);
        let names = [
            attribute("2.23.133.2.1", &content.manufacturer),
            attribute("2.23.133.2.2", &content.model),
            attribute("2.23.133.2.3", &content.version),
        ];
        let directory = tlv(0x30, &names.concat());
        let names = sequence(&[&context(4, &directory)]);
        let mut extensions = vec![extension(SAN, true, content.san.as_ref().unwrap_or(&names))];
        extensions.extend(content.ca.map(|ca| {
            let value = if ca {
                sequence(&[&[0x01, 0x01, 0xff]])
            } else {
                sequence(&[])
            };
            extension(BASIC_CONSTRAINTS, true, &value)
        }));
        extensions.extend(content.key_usage.map(|bit| {
            let unused = u8::try_from(bit.trailing_zeros()).unwrap_or_default();
            extension(KEY_USAGE, true, &tlv(0x03, &[unused, bit]))
        }));
        extensions.extend(content.extended_key_usage.as_ref().map(|usages| {
            let oids: Vec<Vec<u8>> = usages.iter().map(|u| oid(u)).collect();
            extension(EXTENDED_KEY_USAGE, false, &tlv(0x30, &oids.concat()))
        }));
        extensions.push(extension(
            AUTHORITY_KEY_ID,
            false,
            &sequence(&[&tlv(0x80, &self.key_id)]),
        ));
        extensions.extend(content.more.clone());
        self.certify(&Content {
            serial: random_serial(),
            subject: content.subject.clone(),
            not_before: content.not_before.clone(),
            not_after: content.not_after.clone(),
            spki: spki.to_vec(),
            extensions,
        })
    }

    /// Sign a certificate with any content.
    ///
    /// # Panics
    /// When OpenSSL fails.
    #[must_use]
    pub fn certify(&self, content: &Content) -> Vec<u8> {
        let algorithm = sequence(&[&oid("1.2.840.10045.4.3.2")]);
        let tbs = sequence(&[
            &context(0, &integer(&[2])),
            &integer(&content.serial),
            &algorithm,
            &self.subject,
            &sequence(&[&content.not_before, &content.not_after]),
            &content.subject,
            &content.spki,
            &context(3, &tlv(0x30, &content.extensions.concat())),
        ]);
        let mut signer = Signer::new(MessageDigest::sha256(), &self.key).expect("a signer");
        let signature = signer.sign_oneshot_to_vec(&tbs).expect("a signature");
        sequence(&[&tbs, &algorithm, &bits(&signature)])
    }

    /// This root as a trust file of kind `kind`.
    ///
    /// # Panics
    /// When OpenSSL fails.
    #[must_use]
    pub fn trust_toml(&self, name: &str, kind: &str, manufacturers: &[&str]) -> String {
        let pem = openssl::x509::X509::from_der(&self.certificate)
            .and_then(|c| c.to_pem())
            .expect("PEM");
        let pem = String::from_utf8(pem).expect("ASCII");
        format!(
            "[[anchor]]\nname = \"{name}\"\nkind = \"{kind}\"\nmanufacturers = {manufacturers:?}\nsource = \"the device kit\"\nadded = 2026-11-22\nwhy = \"tests\"\nenforce_expiry = true\ncertificate = \"\"\"\n{pem}\"\"\"\n"
        )
    }
}

/// An authorityInfoAccess that says where the issuer's certificate is (RFC 5280 §4.2.2.1).
#[must_use]
pub fn ca_issuers(url: &str) -> Vec<u8> {
    let description = sequence(&[&oid("1.3.6.1.5.5.7.48.2"), &tlv(0x86, url.as_bytes())]);
    extension("1.3.6.1.5.5.7.1.1", false, &sequence(&[&description]))
}

/// 16 random octets, positive.
///
/// # Panics
/// Without randomness.
#[must_use]
pub fn random_serial() -> Vec<u8> {
    let mut serial = [0; 16];
    openssl::rand::rand_bytes(&mut serial).expect("randomness");
    serial[0] = serial[0] & 0x3f | 0x40;
    serial.to_vec()
}
