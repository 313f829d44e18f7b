//! Whether a CRL at hand says that the certificate is revoked.

use der::{Decode as _, Encode as _};
use issuance::Serial;
use issuance::crl::{Crl, CrlScope};
use x509_cert::Certificate;

use crate::certificate::CertificateView;
use crate::crl::{believe, current, said_of};

/// `path`: anchor first, the leaf last. Of several CRLs one must speak for the leaf now, and none may list it; a delta
/// speaks together with a CRL that it stands on.
pub(super) fn not_listed(path: &[CertificateView], crls: &[Vec<u8>], at: i64) -> Result<String, String> {
    let chain: Vec<Vec<u8>> = path.iter().rev().skip(1).map(|ca| ca.der.clone()).collect();
    let leaf = path.last().ok_or("no path, so nobody's CRL is believed")?;
    let read = Certificate::from_der(&leaf.der).map_err(|e| e.to_string())?;
    let tbs = read.tbs_certificate().to_der().map_err(|e| e.to_string())?;
    let point = issuance::crl::crl_point(&tbs).map_err(|e| e.to_string())?;
    let serial = read.tbs_certificate().serial_number().as_bytes();
    let serial = serial.try_into().ok().and_then(Serial::from_octets);
    let serial = serial.ok_or("a serial that no CRL of ours lists")?;
    let mut why = "no CRL was given".to_owned();
    let mut speaking = Vec::new();
    for der in crls {
        match believe(der, &chain) {
            Ok(crl) => match crl.scope() {
                CrlScope::Point(url) if point.as_ref() != Some(url) => why = format!("it is for {}", crl.scope()),
                CrlScope::Point(_) | CrlScope::Complete => speaking.push(crl),
            },
            Err(error) => why = error,
        }
    }
    let (complete, deltas): (Vec<Crl>, Vec<Crl>) = speaking.into_iter().partition(|crl| crl.base().is_none());
    for delta in &deltas {
        let newer = |crl: &&Crl| crl.scope() == delta.scope() && crl.number() > delta.number();
        match said_of(delta, serial) {
            Some(said) if !complete.iter().any(|crl| newer(&crl)) => return Err(said),
            _ => why = format!("number {} is a delta CRL: its base must be given, too", delta.number()),
        }
    }
    let mut found = None;
    for crl in &complete {
        // RFC 5280 §5.2.4: which deltas may be put upon it.
        let fits = |delta: &&Crl| {
            delta.scope() == crl.scope()
                && delta
                    .base()
                    .is_some_and(|base| base <= crl.number() && crl.number() < delta.number())
                && current(delta, at).is_ok()
        };
        let delta = deltas.iter().filter(fits).max_by_key(|delta| delta.number());
        let taken_back = delta.and_then(|delta| delta.find(serial)).is_some();
        if let Some(said) = said_of(crl, serial).filter(|_| !taken_back) {
            return Err(said);
        }
        let newest = delta.unwrap_or(crl);
        match current(crl, at) {
            Ok(()) => {
                found = Some(format!(
                    "not in CRL {} of {}",
                    newest.number(),
                    crate::words::rfc3339(newest.this_update().0)
                ));
            }
            Err(error) => why = error,
        }
    }
    found.ok_or(why)
}
