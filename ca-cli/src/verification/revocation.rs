//! Whether a CRL at hand says that the certificate is revoked.

use der::{Decode as _, Encode as _};
use issuance::Serial;
use issuance::crl::CrlScope;
use x509_cert::Certificate;

use crate::certificate::CertificateView;
use crate::crl::{believe, current, said_of};

/// `path`: anchor first, the leaf last. Of several CRLs one must speak for the leaf now, and none may list it.
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
    let mut found = None;
    for der in crls {
        let crl = match believe(der, &chain) {
            Ok(crl) => crl,
            Err(error) => {
                why = error;
                continue;
            }
        };
        let speaks = match crl.scope() {
            CrlScope::Complete => true,
            CrlScope::Point(url) => point.as_ref() == Some(url),
        };
        if !speaks {
            why = format!("it is for {}", crl.scope());
            continue;
        }
        if let Some(said) = said_of(&crl, serial) {
            return Err(said);
        }
        match current(&crl, at) {
            Ok(()) => {
                found = Some(format!(
                    "not in CRL {} of {}",
                    crl.number(),
                    crate::words::rfc3339(crl.this_update().0)
                ))
            }
            Err(error) => why = error,
        }
    }
    found.ok_or(why)
}
