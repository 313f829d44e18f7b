//! PKCS#10 requests (RFC 2986): proof of possession, and what they ask for.

use crate::x509::asn1::{self, BIT_STRING, BadDer, INTEGER, OID, Reader, SEQUENCE, SET, constructed};
use crate::x509::{Extensions, Leniencies, PublicKey, SignatureAlgorithm, general_names, name, oid};
use crate::{Reason, Refusal};

/// Longest request that is looked at.
pub const MAX_CSR_BYTES: usize = 16 * 1024;
/// Most attributes.
const MAX_ATTRIBUTES: usize = 16;

/// What a CSR asks for beyond a certificate on its key. Asked, not granted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CsrRequest {
    /// Subject `Name`, DER; an empty RDNSequence is `30 00`.
    pub subject: Vec<u8>,
    /// SAN `GeneralNames`, DER, if an extensionRequest carries one.
    pub subject_alt_name: Option<Vec<u8>>,
    /// OIDs of all other requested extensions, dotted, in order.
    pub other_extensions: Vec<String>,
    /// OIDs of attributes other than one PKCS#9 extensionRequest, dotted; a second extensionRequest is listed here.
    pub other_attributes: Vec<String>,
}

/// A CSR whose signature was verified over the bytes received.
#[derive(Clone, Debug)]
pub struct ProvenCsr {
    /// SubjectPublicKeyInfo, DER, as in [`crate::KeyFacts::spki`].
    pub spki: Vec<u8>,
    /// What it asks for.
    pub request: CsrRequest,
}

/// Parse strictly (DER without any of the leniencies that vendors' certificates need) and verify the proof of
/// possession. Keys: RSA-2048 and RSA-3072, P-256 and P-384. Signatures: RSASSA-PKCS1-v1_5 and RSASSA-PSS (salt as long
/// as the hash) and ECDSA, each with SHA-256, SHA-384 or SHA-512.
///
/// # Errors
/// [`Reason::Malformed`]; [`Reason::KeyAlg`] for a key that is not on the list; [`Reason::CsrSig`] for a signature
/// algorithm that is not, and for a signature that is not the key's.
pub fn prove(der: &[u8]) -> Result<ProvenCsr, Refusal> {
    let malformed = |error: BadDer| Refusal::new(Reason::Malformed, format!("CSR: {error}"));
    let csr = Csr::parse(der).map_err(malformed)?;
    let request = csr.request().map_err(malformed)?;
    let key = PublicKey::parse(csr.spki, Leniencies::NONE)
        .map_err(|error| Refusal::new(Reason::KeyAlg, format!("CSR: {error}")))?;
    let listed = match &key {
        PublicKey::Rsa { exponent, .. } => matches!(key.bits(), 2048 | 3072) && *exponent == [1, 0, 1],
        PublicKey::Ec { .. } => matches!(key.bits(), 256 | 384),
    };
    if !listed {
        return Err(Refusal::new(
            Reason::KeyAlg,
            format!(
                "CSR: a key of {} bits, or its exponent, is not on the allow-list",
                key.bits()
            ),
        ));
    }
    let unproven = |detail: &str| Refusal::new(Reason::CsrSig, format!("CSR: {detail}"));
    let algorithm =
        SignatureAlgorithm::parse(csr.signature_algorithm, Leniencies::NONE).map_err(|error| unproven(error.0))?;
    let verified = key
        .to_pkey()
        .and_then(|pkey| algorithm.verify(&key, &pkey, csr.info, csr.signature))
        .map_err(|_| unproven("the signature could not be checked"))?;
    if !verified {
        return Err(unproven("the signature is not that of its key"));
    }
    Ok(ProvenCsr {
        spki: key.to_spki(),
        request,
    })
}

/// CertificationRequest in place.
struct Csr<'a> {
    /// CertificationRequestInfo, whole: what is signed.
    info: &'a [u8],
    subject: &'a [u8],
    spki: &'a [u8],
    /// Content of `[0] IMPLICIT SET OF Attribute`.
    attributes: &'a [u8],
    signature_algorithm: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Csr<'a> {
    fn parse(der: &'a [u8]) -> Result<Self, BadDer> {
        if der.len() > MAX_CSR_BYTES {
            return Err(BadDer("longer than 16 KiB"));
        }
        let mut outer = Reader::new(asn1::only(der, SEQUENCE, "request is not a SEQUENCE")?.content);
        let info = outer.element(SEQUENCE, "CertificationRequestInfo is not a SEQUENCE")?;
        let signature_algorithm = outer.element(SEQUENCE, "signatureAlgorithm is not a SEQUENCE")?.whole;
        let signature = asn1::octets(outer.content(BIT_STRING, "signature is not a BIT STRING")?)?;
        outer.finish("bytes follow the signature")?;
        let mut fields = Reader::new(info.content);
        if asn1::small(fields.content(INTEGER, "version is not an INTEGER")?)? != 0 {
            return Err(BadDer("version is not 0"));
        }
        let subject = name(&mut fields, Leniencies::NONE)?;
        let spki = fields
            .element(SEQUENCE, "SubjectPublicKeyInfo is not a SEQUENCE")?
            .whole;
        let attributes = fields.content(constructed(0), "attributes are missing")?;
        fields.finish("bytes follow the attributes")?;
        Ok(Self {
            info: info.whole,
            subject,
            spki,
            attributes,
            signature_algorithm,
            signature,
        })
    }

    fn request(&self) -> Result<CsrRequest, BadDer> {
        let mut request = CsrRequest {
            subject: self.subject.to_vec(),
            ..CsrRequest::default()
        };
        let mut attributes = Reader::new(self.attributes);
        let mut previous: Option<&[u8]> = None;
        let mut asked = false;
        let mut count = 0;
        while !attributes.is_empty() {
            let attribute = attributes.element(SEQUENCE, "attribute is not a SEQUENCE")?;
            if previous.is_some_and(|previous| previous > attribute.whole) {
                return Err(BadDer("attributes are not in DER order"));
            }
            previous = Some(attribute.whole);
            count += 1;
            if count > MAX_ATTRIBUTES {
                return Err(BadDer("too many attributes"));
            }
            let mut fields = Reader::new(attribute.content);
            let kind = fields.content(OID, "attribute has no type")?;
            let values = fields.content(SET, "attribute has no values")?;
            fields.finish("bytes follow an attribute")?;
            if kind == oid::EXTENSION_REQUEST && !asked {
                asked = true;
                // SINGLE VALUE TRUE (RFC 2985 §5.4.2).
                let list = asn1::only(values, SEQUENCE, "extensionRequest is not one SEQUENCE")?;
                extensions(list.content, &mut request)?;
            } else {
                elements(values)?;
                request.other_attributes.push(dotted(kind)?);
            }
        }
        Ok(request)
    }
}

fn extensions(content: &[u8], request: &mut CsrRequest) -> Result<(), BadDer> {
    for extension in Extensions::parse(content, Leniencies::NONE)?.iter() {
        if extension.oid == oid::SUBJECT_ALT_NAME {
            general_names(extension.value)?;
            request.subject_alt_name = Some(extension.value.to_vec());
        } else {
            request.other_extensions.push(dotted(extension.oid)?);
        }
    }
    Ok(())
}

/// At least one element, and nothing but elements.
fn elements(values: &[u8]) -> Result<(), BadDer> {
    let mut reader = Reader::new(values);
    reader.any()?;
    while !reader.is_empty() {
        reader.any()?;
    }
    Ok(())
}

fn dotted(oid: &[u8]) -> Result<String, BadDer> {
    asn1::dotted(oid).ok_or(BadDer("an OID is not well-formed"))
}

#[cfg(test)]
mod tests;
