//! What makes a certificate an issuer of EK or IAK certificates (RFC 5280 §6.1.4).

use super::About;
use crate::UnixTime;
use crate::x509::{Certificate, Extensions, KeyUsage, Leniencies, PublicKey, name_is_empty, oid};
use openssl::pkey::{PKey, Public};

/// Smallest RSA modulus of an issuer.
const MIN_RSA_BITS: usize = 2048;

/// Critical extensions of a CA that are processed, here or, for policies, by having no policy to require.
const PROCESSED: [&[u8]; 4] = [
    oid::BASIC_CONSTRAINTS,
    oid::KEY_USAGE,
    oid::EXTENDED_KEY_USAGE,
    oid::CERTIFICATE_POLICIES,
];

/// Limits that are not processed.
const LIMITS: [&[u8]; 3] = [oid::NAME_CONSTRAINTS, oid::POLICY_CONSTRAINTS, oid::INHIBIT_ANY_POLICY];

/// A CA certificate that may issue EK or IAK certificates, if something proves it.
#[derive(Debug)]
pub(super) struct Issuer {
    pub(super) subject: Vec<u8>,
    pub(super) self_issued: bool,
    pub(super) kind: PublicKey,
    pub(super) key: PKey<Public>,
    pub(super) path_len: Option<u32>,
    /// Whether its keyUsage lets it sign CRLs.
    pub(super) crl_sign: bool,
    /// Content octets of its serial.
    pub(super) serial: Vec<u8>,
    /// Whether its extKeyUsage lets it issue EK certificates, and IAK certificates; at least one of them.
    serves: [bool; 2],
    pub(super) not_before: UnixTime,
    pub(super) not_after: UnixTime,
    pub(super) sha256: [u8; 32],
    /// The certificate.
    pub(super) der: Vec<u8>,
    /// Of the canonical SubjectPublicKeyInfo.
    pub(super) spki_sha256: [u8; 32],
}

impl Issuer {
    /// Everything but signature and time.
    pub(super) fn new(certificate: &Certificate<'_>) -> Result<Self, &'static str> {
        let (path_len, serves) = constraints(&certificate.extensions)?;
        if name_is_empty(certificate.subject) {
            return Err("it is a CA without a name");
        }
        let kind = PublicKey::parse(certificate.spki, Leniencies::NONE).map_err(|error| error.0)?;
        if matches!(kind, PublicKey::Rsa { .. }) && kind.bits() < MIN_RSA_BITS {
            return Err("its RSA key is below 2048 bits");
        }
        let key = kind.to_pkey().map_err(|_| "its key is refused by OpenSSL")?;
        Ok(Self {
            spki_sha256: crate::digest::sha256(&kind.to_spki()),
            subject: certificate.subject.to_vec(),
            self_issued: certificate.subject == certificate.issuer,
            kind,
            key,
            path_len,
            crl_sign: certificate
                .extensions
                .key_usage()
                .is_ok_and(|usage| usage.is_some_and(|usage| usage.has(KeyUsage::CRL_SIGN))),
            serial: certificate.serial.to_vec(),
            serves,
            not_before: certificate.not_before,
            not_after: certificate.not_after,
            sha256: crate::digest::sha256(certificate.der),
            der: certificate.der.to_vec(),
        })
    }

    /// Only if it may issue what this is about.
    pub(super) fn serving(self, about: About) -> Result<Self, &'static str> {
        let [ek, iak] = self.serves;
        match about {
            About::Tpm if !ek => Err("its extKeyUsage is not for EK certificates"),
            About::Iak if !iak => Err("its extKeyUsage is not for IAK certificates"),
            About::Tpm | About::Iak => Ok(self),
        }
    }
}

/// The extensions of a CA; what remains of them is pathLenConstraint, and what it serves.
fn constraints(extensions: &Extensions<'_>) -> Result<(Option<u32>, [bool; 2]), &'static str> {
    let basic = extensions
        .basic_constraints()
        .map_err(|error| error.0)?
        .ok_or("it is not a CA")?;
    if !basic.ca {
        return Err("it is not a CA");
    }
    if !basic.critical {
        return Err("its basicConstraints is not critical");
    }
    if extensions.unprocessed_critical(&PROCESSED).is_some() {
        return Err("it has a critical extension that is not processed");
    }
    // Limits on what the CA may say should be critical, and are never passed over if they are not.
    if LIMITS.iter().any(|limit| extensions.find(limit).is_some()) {
        return Err("it has name or policy constraints, which are not processed");
    }
    let usage = extensions.key_usage().map_err(|error| error.0)?;
    if !usage.is_some_and(|usage| usage.has(KeyUsage::KEY_CERT_SIGN)) {
        return Err("its keyUsage lacks keyCertSign");
    }
    let serves = match extensions.extended_key_usage().map_err(|error| error.0)? {
        None => [true, true],
        Some(purposes) => [oid::EK_CERTIFICATE, oid::AIK_CERTIFICATE].map(|wanted| {
            purposes
                .iter()
                .any(|purpose| [wanted, oid::ANY_EXTENDED_KEY_USAGE].contains(purpose))
        }),
    };
    if serves == [false, false] {
        return Err("its extKeyUsage is not for EK certificates");
    }
    Ok((basic.path_len, serves))
}
