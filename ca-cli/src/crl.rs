//! CRLs of ours, believed under their issuer.

use issuance::crl::{Crl, CrlError, Mark, RawCrl};
use issuance::{Issuer, IssuerUrls, Serial, SignatureAlgorithm};

use crate::pem;
use crate::words;

/// DER of a CRL, out of DER or one PEM block.
pub(crate) fn der(bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    if bytes.first() == Some(&0x30) {
        return Ok(bytes);
    }
    let mut blocks = pem::blocks(&bytes, "X509 CRL")?;
    match (blocks.pop(), blocks.is_empty()) {
        (Some(der), true) => Ok(der),
        _ => Err("one CRL is wanted, PEM or DER".into()),
    }
}

/// Read `der` and believe it, if the first CA of `chain` signed it; `chain` ends with its root, DER.
pub(crate) fn believe(der: &[u8], chain: &[Vec<u8>]) -> Result<Crl, String> {
    let mut why = "its issuer has no key that a CA of ours has".to_owned();
    // The certificate of an RSA key does not say which padding it signs with.
    for algorithm in SignatureAlgorithm::ALL {
        let issuer = match Issuer::from_chain(chain, algorithm, IssuerUrls::default()) {
            Ok(issuer) => issuer,
            Err(_) if algorithm != SignatureAlgorithm::EcdsaP256Sha256 => continue,
            Err(error) => {
                why = error.to_string();
                continue;
            }
        };
        match RawCrl::decode(der.to_vec()).and_then(|raw| raw.verify(&issuer)) {
            Ok(crl) => return Ok(crl),
            Err(CrlError::AnotherIssuer("algorithm")) => {}
            Err(error) => why = error.to_string(),
        }
    }
    Err(why)
}

/// Whether it speaks of now; else why not.
pub(crate) fn current(crl: &Crl, at: i64) -> Result<(), String> {
    if at < crl.this_update().0 {
        Err(format!(
            "it is of {}, later than asked for",
            words::rfc3339(crl.this_update().0)
        ))
    } else if at > crl.next_update().0 {
        Err(format!("it ended {}", words::date(crl.next_update().0, at)))
    } else {
        Ok(())
    }
}

/// What it says of one certificate.
pub(crate) fn said_of(crl: &Crl, serial: Serial) -> Option<String> {
    let entry = crl.find(serial)?;
    let Mark::Revoked(reason) = entry.mark else {
        // Taken back by a delta CRL.
        return None;
    };
    Some(format!("revoked since {} ({reason})", words::rfc3339(entry.at.0)))
}
