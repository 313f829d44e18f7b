//! The shape of IAK and IDevID certificates (TCG TPM 2.0 Keys for Device Identity and Attestation, 8; IEEE 802.1AR).

use crate::rot::{
    ID_ON_HARDWARE_MODULE_NAME, ID_ON_PERMANENT_IDENTIFIER, ID_ROT_BINDING, ID_SOFTWARE, ID_VIRTUAL, RotBinding,
    RotStatement, TCG_HW_TYPE_TPM20, TCG_ON_EK_PERM_ID_SHA256, TCG_VERIFIED_TPM_FIXED, TCG_VERIFIED_TPM_RESIDENCY,
    TCG_VERIFIED_TPM_RESTRICTED,
};
use crate::x509::asn1::{self, BadDer, OCTET_STRING, OID, Reader, SEQUENCE, Tlv, UTF8_STRING};
use crate::x509::{Certificate, KeyUsage, PublicKey, name_is_empty, oid};
use crate::{AnchorKind, Assurance, Reason, Refusal};
use const_oid::ObjectIdentifier;

/// Critical extensions that are processed.
const PROCESSED: [&[u8]; 5] = [
    oid::SUBJECT_ALT_NAME,
    oid::BASIC_CONSTRAINTS,
    oid::KEY_USAGE,
    oid::EXTENDED_KEY_USAGE,
    oid::CERTIFICATE_POLICIES,
];

/// Longest hwSerialNum that is taken over: an id, a key identifier and a serial, in hex.
const MAX_HARDWARE_SERIAL: usize = 128;

/// A certificate that says of its key that it is an initial attestation key.
#[derive(Debug)]
pub(super) struct Profile {
    pub(super) key: PublicKey,
    pub(super) hardware_serial: Option<String>,
    pub(super) permanent_id: Option<String>,
    /// What a Holdfast CA says about the proof that this certificate stands on.
    pub(super) binding: Option<RotBinding>,
    /// What it says of itself, when that is less than hardware.
    level: Option<Assurance>,
}

fn refuse(reason: Reason, detail: impl core::fmt::Display) -> Refusal {
    Refusal::new(reason, detail.to_string())
}

impl Profile {
    /// Judge everything that does not depend on the anchor or on the public area.
    pub(super) fn read(certificate: &Certificate<'_>) -> Result<Self, Refusal> {
        let wrong = |detail: &dyn core::fmt::Display| refuse(Reason::IakProfile, detail);
        end_entity(certificate).map_err(|detail| wrong(&detail))?;
        let bad = |error: BadDer| wrong(&error);
        let policies = certificate.extensions.policies().map_err(bad)?;
        // Not restricted, it signs whatever it is given, a forged TPMS_ATTEST included: an IDevID is such a key.
        if !has(&policies, &TCG_VERIFIED_TPM_RESTRICTED) || !has(&policies, &TCG_VERIFIED_TPM_RESIDENCY) {
            return Err(wrong(
                &"its policies do not say verifiedTPMResidency and verifiedTPMRestricted: it is no IAK certificate",
            ));
        }
        let purposes = certificate.extensions.extended_key_usage().map_err(bad)?;
        if purposes.is_some_and(|purposes| !purposes.contains(&oid::AIK_CERTIFICATE)) {
            return Err(wrong(&"extKeyUsage lacks tcg-kp-AIKCertificate"));
        }
        let binding = match certificate.extensions.find(ID_ROT_BINDING.as_bytes()) {
            None => None,
            Some(extension) => match RotStatement::from_der(extension.value) {
                Ok(RotStatement::Activation(binding)) if binding.ak_name == binding.ik_name => Some(binding),
                Ok(RotStatement::Activation(_)) => return Err(wrong(&"its RoT binding is an identity key's")),
                // Who stands on an IAK is not initial: chains of such words would end nowhere.
                Ok(RotStatement::Certified(_)) => {
                    return Err(wrong(&"it stands on another IAK itself, and is none"));
                }
                Err(error) => return Err(wrong(&format_args!("its RoT binding cannot be read: {error}"))),
            },
        };
        let names = Names::read(certificate).map_err(bad)?;
        let key = PublicKey::parse(certificate.spki, certificate.leniencies)
            .map_err(|error| refuse(Reason::IakKey, format_args!("the certified key: {error}")))?;
        Ok(Self {
            key,
            hardware_serial: names.hardware_serial,
            permanent_id: names.permanent_id,
            binding,
            level: if has(&policies, &ID_SOFTWARE) {
                Some(Assurance::Software)
            } else if has(&policies, &ID_VIRTUAL) {
                Some(Assurance::Virtual)
            } else {
                None
            },
        })
    }

    /// What stands behind it: the anchor's kind, or what the certificate says of itself, whichever is less.
    pub(super) fn assurance(&self, kind: AnchorKind) -> Assurance {
        match (kind, self.level) {
            (AnchorKind::Software, _) | (_, Some(Assurance::Software)) => Assurance::Software,
            (AnchorKind::Virtual, _) | (_, Some(Assurance::Virtual)) => Assurance::Virtual,
            (AnchorKind::Hardware, _) => Assurance::ManufacturerVerified,
        }
    }
}

/// An IDevID certificate: of an end entity, and of a key that it does not call an attestation key.
pub(super) fn idevid(certificate: &Certificate<'_>) -> Result<(), Refusal> {
    end_entity(certificate).map_err(|detail| refuse(Reason::Idevid, detail))?;
    let policies = certificate.extensions.policies();
    let policies = policies.map_err(|error| refuse(Reason::Idevid, error))?;
    if has(&policies, &TCG_VERIFIED_TPM_RESTRICTED) || !has(&policies, &TCG_VERIFIED_TPM_FIXED) {
        return Err(refuse(
            Reason::Idevid,
            "its policies do not say verifiedTPMFixed alone: it is no IDevID certificate",
        ));
    }
    Ok(())
}

/// What is true of both.
fn end_entity(certificate: &Certificate<'_>) -> Result<(), String> {
    let extensions = &certificate.extensions;
    if let Some(extension) = extensions.unprocessed_critical(&PROCESSED) {
        let oid = asn1::dotted(extension.oid).unwrap_or_default();
        return Err(format!("critical extension {oid} is not processed"));
    }
    let constraints = extensions.basic_constraints().map_err(|e| e.to_string())?;
    if constraints.is_some_and(|constraints| constraints.ca) {
        return Err("it is a CA certificate".to_owned());
    }
    if let Some(usage) = extensions.key_usage().map_err(|e| e.to_string())?
        && (!usage.has(KeyUsage::DIGITAL_SIGNATURE) || usage.has(KeyUsage::KEY_CERT_SIGN))
    {
        return Err("keyUsage lacks digitalSignature, or has keyCertSign".to_owned());
    }
    if name_is_empty(certificate.subject) {
        return Err("the subject is empty: it names no device".to_owned());
    }
    Ok(())
}

fn has(policies: &[&[u8]], wanted: &ObjectIdentifier) -> bool {
    policies.contains(&wanted.as_bytes())
}

/// The two names of a TPM (`docs/reference/profiles.md`): each at most once; of another TPM generation or assigner, none.
#[derive(Debug, Default)]
struct Names {
    hardware_serial: Option<String>,
    permanent_id: Option<String>,
}

impl Names {
    fn read(certificate: &Certificate<'_>) -> Result<Self, BadDer> {
        let mut names = Self::default();
        certificate.extensions.other_names(|kind, value| {
            if kind == ID_ON_HARDWARE_MODULE_NAME.as_bytes() {
                once(&mut names.hardware_serial, hardware_serial(&value)?)
            } else if kind == ID_ON_PERMANENT_IDENTIFIER.as_bytes() {
                once(&mut names.permanent_id, permanent_id(&value)?)
            } else {
                Ok(())
            }
        })?;
        Ok(names)
    }
}

fn once(slot: &mut Option<String>, value: Option<String>) -> Result<(), BadDer> {
    match (slot.is_some(), value) {
        (_, None) => Ok(()),
        (false, value) => {
            *slot = value;
            Ok(())
        }
        (true, Some(_)) => Err(BadDer("a name of the TPM is there twice")),
    }
}

/// `HardwareModuleName ::= SEQUENCE { hwType OID, hwSerialNum OCTET STRING }` (RFC 4108 §5) of a TPM 2.0, where it reads
/// `<manufacturer>:<AKI>:<serial>`: nothing else is taken over into another certificate.
fn hardware_serial(value: &Tlv<'_>) -> Result<Option<String>, BadDer> {
    const BAD: BadDer = BadDer("HardwareModuleName is not well-formed");
    if value.tag != SEQUENCE {
        return Err(BAD);
    }
    let mut fields = Reader::new(value.content);
    let kind = fields.content(OID, BAD.0)?;
    let serial = fields.content(OCTET_STRING, BAD.0)?;
    fields.finish(BAD.0)?;
    if kind != TCG_HW_TYPE_TPM20.as_bytes() {
        return Ok(None);
    }
    let hex = |b: &u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b.to_ascii_lowercase());
    let mut parts = serial.split(|b| *b == b':');
    let sound = serial.len() <= MAX_HARDWARE_SERIAL
        && matches!((parts.next(), parts.next(), parts.next(), parts.next()),
            (Some(id), Some(aki), Some(number), None)
            if id.len() == 8 && !number.is_empty() && [id, aki, number].iter().all(|part| part.iter().all(hex)));
    Ok(sound.then(|| String::from_utf8_lossy(serial).into_owned()))
}

/// `PermanentIdentifier ::= SEQUENCE { identifierValue UTF8String OPTIONAL, assigner OID OPTIONAL }` (RFC 4043 §2) that is
/// the SHA-256 of an EK certificate.
fn permanent_id(value: &Tlv<'_>) -> Result<Option<String>, BadDer> {
    const BAD: BadDer = BadDer("PermanentIdentifier is not well-formed");
    if value.tag != SEQUENCE {
        return Err(BAD);
    }
    let mut fields = Reader::new(value.content);
    let text = fields.optional(UTF8_STRING)?.map(|tlv| tlv.content);
    let assigner = fields.optional(OID)?.map(|tlv| tlv.content);
    fields.finish(BAD.0)?;
    if assigner != Some(TCG_ON_EK_PERM_ID_SHA256.as_bytes()) {
        return Ok(None);
    }
    let lower = |b: &u8| b.is_ascii_digit() || (b'a'..=b'f').contains(b);
    Ok(text
        .filter(|text| text.len() == 64 && text.iter().all(lower))
        .map(|text| String::from_utf8_lossy(text).into_owned()))
}
