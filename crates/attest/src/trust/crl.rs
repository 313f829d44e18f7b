//! Vendors' CRLs, imported by the operator: what they say of links and leaves. Nothing is ever fetched.

use super::issuer::Issuer;
use super::path::Proven;
use crate::UnixTime;
use crate::x509::{Crl, Leniencies, SignatureAlgorithm};
use std::collections::BTreeSet;

/// Position of a CRL among those given, and why it is of no use.
pub(super) type Useless = (usize, &'static str);

/// CRLs whose signature was verified.
#[derive(Debug, Default)]
pub(super) struct Revocations(Vec<List>);

#[derive(Debug)]
struct List {
    /// SHA-256 of the canonical SubjectPublicKeyInfo that signed it.
    issuer: [u8; 32],
    this_update: UnixTime,
    next_update: Option<UnixTime>,
    whole: bool,
    serials: BTreeSet<Vec<u8>>,
}

/// What an operator has to see of a CRL that he imports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrlFacts {
    /// Issuer, Name as DER.
    pub issuer: Vec<u8>,
    /// When it was made.
    pub this_update: UnixTime,
    /// When the next one is due.
    pub next_update: Option<UnixTime>,
    /// How many certificates are revoked.
    pub revoked: usize,
    /// Whether it speaks of all certificates of its issuer.
    pub whole: bool,
}

impl CrlFacts {
    /// Read a CRL (DER). No signature is checked, nothing is believed.
    ///
    /// # Errors
    /// Why it is not taken, whoever signed it.
    pub fn read(der: &[u8]) -> Result<Self, String> {
        let crl = Crl::parse(der).map_err(|error| error.to_string())?;
        Ok(Self {
            issuer: crl.issuer.to_vec(),
            this_update: crl.this_update,
            next_update: crl.next_update,
            revoked: crl.revoked.len(),
            whole: crl.whole,
        })
    }

    /// Read a CRL and check that this CA (DER) signed it, and may.
    ///
    /// # Errors
    /// Why not.
    pub fn signed_by(der: &[u8], ca: &[u8]) -> Result<Self, String> {
        let crl = Crl::parse(der).map_err(|error| error.to_string())?;
        let certificate = crate::x509::Certificate::parse(ca, Leniencies::VENDOR).map_err(|error| error.to_string())?;
        let issuer = Issuer::new(&certificate)?;
        signed(&crl, &issuer)?;
        Self::read(der)
    }
}

/// Whether this CA signed it, and may.
fn signed(crl: &Crl<'_>, issuer: &Issuer) -> Result<(), &'static str> {
    if crl.issuer != issuer.subject {
        return Err("it is of another issuer");
    }
    if !issuer.crl_sign {
        return Err("its issuer's keyUsage lacks cRLSign");
    }
    let algorithm = SignatureAlgorithm::parse(crl.signature_algorithm, Leniencies::VENDOR).map_err(|error| error.0)?;
    match algorithm.verify(&issuer.kind, &issuer.key, crl.tbs, crl.signature) {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => Err("the signature is not its issuer's"),
    }
}

/// What the CRLs say of one certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Revoked,
    /// A CRL that speaks of all certificates of the issuer, in its time, does not name it.
    Good,
    /// The newest such CRL is past its time, and does not name it.
    Stale,
    /// There is none.
    Nothing,
}

impl Revocations {
    /// Those CRLs that a known CA signed; the others, with what is wrong with them.
    ///
    /// `Err`: bytes that are no CRL that could be taken, with their position.
    pub(super) fn of(crls: &[Vec<u8>], proven: &[Proven]) -> Result<(Self, Vec<Useless>), Useless> {
        let (mut lists, mut unused) = (Vec::new(), Vec::new());
        for (position, der) in crls.iter().enumerate() {
            let crl = Crl::parse(der).map_err(|error| (position, error.0))?;
            let mut why = "no CA that is known is its issuer";
            let mut taken = false;
            for node in proven.iter().filter(|node| node.issuer.subject == crl.issuer) {
                match signed(&crl, &node.issuer) {
                    Ok(()) => {
                        lists.push(List {
                            issuer: node.issuer.spki_sha256,
                            this_update: crl.this_update,
                            next_update: crl.next_update,
                            whole: crl.whole,
                            serials: crl.revoked.iter().map(|serial| serial.to_vec()).collect(),
                        });
                        taken = true;
                        break;
                    }
                    Err(detail) => why = detail,
                }
            }
            if !taken {
                unused.push((position, why));
            }
        }
        // The newest first.
        lists.sort_by_key(|list| core::cmp::Reverse(list.this_update));
        Ok((Self(lists), unused))
    }

    /// What is known about the certificate with this serial below this key. A later CRL may take an entry back: of those that
    /// speak of all certificates, the newest alone counts; of the others, each.
    pub(super) fn of_certificate(&self, issuer: &[u8; 32], serial: &[u8], now: UnixTime) -> Said {
        let of_issuer = || self.0.iter().filter(|list| list.issuer == *issuer);
        let names = |list: &List| list.serials.contains(serial);
        let newest = of_issuer().find(|list| list.whole);
        if newest.is_some_and(names) || of_issuer().filter(|list| !list.whole).any(names) {
            return Said::Revoked;
        }
        match newest {
            None => Said::Nothing,
            Some(list) if list.this_update > now => Said::Nothing,
            Some(list) if list.next_update.is_some_and(|next| next < now) => Said::Stale,
            Some(_) => Said::Good,
        }
    }
}
