//! The request of an issuing CA for its certificate: PKCS#10 (RFC 2986) with one attribute of ours, signed by the CA key.
//!
//! `id-hf-requestFreshness`: `SEQUENCE { nonce OCTET STRING (SIZE (32)), notAfter GeneralizedTime }`. The nonce tells two
//! requests for one key apart; after the date no ceremony takes it.

use attest::UnixTime;
use const_oid::ObjectIdentifier;
use policies::{Rdn, RdnKind, Subject};

use crate::encode::{
    BIT_STRING, GENERALIZED_TIME, INTEGER, OCTET_STRING, SEQUENCE, SET, UTF8_STRING, context_constructed,
    generalized_time, oid, tlv,
};
use crate::tbs::name;
use crate::verify::Verifier;
use crate::view::{Malformed, Reader, oid as read_oid, only, time};
use crate::{CaKey, SignFailure, SignatureAlgorithm, ToSign};

/// `id-hf-requestFreshness`, below the arc of `attest::rot`.
const ID_REQUEST_FRESHNESS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.32473.27071.1.3");
const ID_ORGANIZATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");
const ID_COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// The longest request that is read, in bytes.
pub const MAX_REQUEST_BYTES: usize = 16 << 10;

/// A request that was not made.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RequestError {
    /// A name or date that does not go into one.
    #[error("request: {0}")]
    Content(String),
    /// The key did not sign.
    #[error(transparent)]
    Sign(#[from] SignFailure),
}

/// A request that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestRefusal {
    /// Not the structure of one.
    #[error("the request is not one of ours: {0}")]
    Structure(&'static str),
    /// Its signature does not hold under its key.
    #[error("the request's signature does not hold: its sender does not hold the key")]
    Signature,
}

impl From<Malformed> for RequestRefusal {
    fn from(Malformed(what): Malformed) -> Self {
        Self::Structure(what)
    }
}

/// A request whose signature holds: who sent it holds the key. Whether anybody is to certify it is another question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerRequest {
    organization: String,
    common_name: String,
    spki: Vec<u8>,
    nonce: [u8; 32],
    not_after: UnixTime,
}

impl IssuerRequest {
    /// Make and sign one, DER. `nonce` is random.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn make(
        organization: &str,
        common_name: &str,
        nonce: [u8; 32],
        not_after: UnixTime,
        key: &dyn CaKey,
    ) -> Result<Vec<u8>, RequestError> {
        let rdn = |kind, value: &str| Rdn {
            kind,
            value: value.to_owned(),
        };
        for text in [organization, common_name] {
            policies::name::directory_string(text).map_err(|e| RequestError::Content(e.to_string()))?;
        }
        let subject = Subject(vec![
            rdn(RdnKind::Organization, organization),
            rdn(RdnKind::CommonName, common_name),
        ]);
        let subject = name(&subject).map_err(|e| RequestError::Content(e.to_string()))?;
        let until = generalized_time(not_after).ok_or_else(|| RequestError::Content("a date beyond 9999".into()))?;
        let fresh = tlv(SEQUENCE, &[&tlv(OCTET_STRING, &[&nonce]), &until]);
        let attribute = tlv(SEQUENCE, &[&oid(&ID_REQUEST_FRESHNESS), &tlv(SET, &[&fresh])]);
        let info = tlv(
            SEQUENCE,
            &[
                &tlv(INTEGER, &[&[0]]),
                &subject,
                key.spki(),
                &tlv(context_constructed(0), &[&attribute]),
            ],
        );
        let signature = key.sign(ToSign(&info)).map_err(SignFailure::Key)?;
        let bits = tlv(BIT_STRING, &[&[0], &signature]);
        let request = tlv(SEQUENCE, &[&info, key.algorithm().identifier(), &bits]);
        Self::read(&request).map_err(|_| SignFailure::Corrupt)?;
        Ok(request)
    }

    /// Read one strictly and verify its signature.
    ///
    /// # Errors
    /// [`RequestRefusal`].
    pub fn read(der: &[u8]) -> Result<Self, RequestRefusal> {
        if der.len() > MAX_REQUEST_BYTES {
            return Err(RequestRefusal::Structure("longer than a request of ours"));
        }
        let mut outer = Reader(only(der, SEQUENCE, "CertificationRequest")?.value);
        let info = outer.expect(SEQUENCE, "CertificationRequestInfo")?;
        let identifier = outer.expect(SEQUENCE, "signatureAlgorithm")?.raw;
        let signature = outer.expect(BIT_STRING, "signature")?.value;
        outer.end("CertificationRequest")?;
        let mut fields = Reader(info.value);
        if fields.expect(INTEGER, "version")?.value != [0] {
            return Err(RequestRefusal::Structure("version"));
        }
        let subject = fields.expect(SEQUENCE, "subject")?;
        let spki = fields.expect(SEQUENCE, "subjectPKInfo")?.raw;
        let attributes = fields.expect(context_constructed(0), "attributes")?.value;
        fields.end("CertificationRequestInfo")?;
        let [organization, common_name] = names(subject.value)?;
        let (nonce, not_after) = freshness(attributes)?;
        let algorithm =
            SignatureAlgorithm::for_key(identifier, spki).ok_or(RequestRefusal::Structure("signatureAlgorithm"))?;
        let signature = match signature.split_first() {
            Some((0, signature)) => signature,
            _ => return Err(RequestRefusal::Structure("signature")),
        };
        let verifier = Verifier::new(algorithm, spki).map_err(|_| RequestRefusal::Structure("subjectPKInfo"))?;
        verifier
            .verify(info.raw, signature)
            .map_err(|_| RequestRefusal::Signature)?;
        Ok(Self {
            organization,
            common_name,
            spki: spki.to_vec(),
            nonce,
            not_after,
        })
    }

    /// Organization it asks for.
    #[must_use]
    pub fn organization(&self) -> &str {
        &self.organization
    }
    /// Common name it asks for.
    #[must_use]
    pub fn common_name(&self) -> &str {
        &self.common_name
    }
    /// SubjectPublicKeyInfo, DER.
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }
    /// Tells requests for one key apart.
    #[must_use]
    pub fn nonce(&self) -> &[u8; 32] {
        &self.nonce
    }
    /// After this it is not taken.
    #[must_use]
    pub fn not_after(&self) -> UnixTime {
        self.not_after
    }
}

/// Organization and common name, one UTF8String each, in this order.
fn names(rdns: &[u8]) -> Result<[String; 2], RequestRefusal> {
    let mut rdns = Reader(rdns);
    let mut one = |wanted| -> Result<String, RequestRefusal> {
        let set = rdns.expect(SET, "subject")?;
        let mut fields = Reader(only(set.value, SEQUENCE, "subject")?.value);
        let kind = fields.next()?.ok_or(RequestRefusal::Structure("subject"))?;
        let value = fields.expect(UTF8_STRING, "subject")?.value;
        fields.end("subject")?;
        let text = core::str::from_utf8(value).map_err(|_| RequestRefusal::Structure("subject"))?;
        if read_oid(kind)? != wanted || policies::name::directory_string(text).is_err() {
            return Err(RequestRefusal::Structure("subject"));
        }
        Ok(text.to_owned())
    };
    let names = [one(ID_ORGANIZATION)?, one(ID_COMMON_NAME)?];
    rdns.end("subject")?;
    Ok(names)
}

fn freshness(attributes: &[u8]) -> Result<([u8; 32], UnixTime), RequestRefusal> {
    let wrong = RequestRefusal::Structure("attributes");
    let mut fields = Reader(only(attributes, SEQUENCE, "attributes")?.value);
    let kind = fields.next()?.ok_or_else(|| wrong.clone())?;
    let values = fields.expect(SET, "attributes")?.value;
    fields.end("attributes")?;
    if read_oid(kind)? != ID_REQUEST_FRESHNESS {
        return Err(wrong);
    }
    let mut fresh = Reader(only(values, SEQUENCE, "freshness")?.value);
    let nonce = fresh.expect(OCTET_STRING, "nonce")?.value;
    let until = fresh.expect(GENERALIZED_TIME, "notAfter")?;
    fresh.end("freshness")?;
    let nonce = nonce.try_into().map_err(|_| RequestRefusal::Structure("nonce"))?;
    Ok((nonce, time(until)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Hierarchy, NOW};

    fn made() -> (Hierarchy, Vec<u8>) {
        let hierarchy = Hierarchy::p256();
        let until = UnixTime(NOW + 86_400);
        let der = IssuerRequest::make("Example", "Example Issuing 1", [7; 32], until, &hierarchy.key).unwrap();
        (hierarchy, der)
    }

    #[test]
    fn a_request_is_read_back_and_openssl_verifies_it() {
        let (hierarchy, der) = made();
        let read = IssuerRequest::read(&der).unwrap();
        assert_eq!(
            (read.organization(), read.common_name()),
            ("Example", "Example Issuing 1")
        );
        assert_eq!(read.spki(), hierarchy.key.spki());
        assert_eq!((read.nonce(), read.not_after()), (&[7; 32], UnixTime(NOW + 86_400)));
        let request = openssl::x509::X509Req::from_der(&der).unwrap();
        assert!(request.verify(&request.public_key().unwrap()).unwrap());
    }

    #[test]
    fn every_octet_counts() {
        let (_, der) = made();
        for at in 0..der.len() {
            for bit in [1, 0x80] {
                let mut spoilt = der.clone();
                spoilt[at] ^= bit;
                assert!(IssuerRequest::read(&spoilt).is_err(), "{at}");
            }
        }
        for end in 0..der.len() {
            assert!(IssuerRequest::read(&der[..end]).is_err());
        }
        assert!(IssuerRequest::read(&[&der[..], &[0]].concat()).is_err());
    }

    #[test]
    fn only_what_a_certificate_may_say_is_asked_for() {
        let (hierarchy, _) = made();
        let make = |o, c, t| IssuerRequest::make(o, c, [7; 32], UnixTime(t), &hierarchy.key);
        assert!(make("", "x", NOW).is_err() && make("x", "a\u{1b}b", NOW).is_err());
        assert!(make("x", "y", 253_402_300_800).is_err());
        assert!(make("x", "y", NOW).is_ok());
    }
}
