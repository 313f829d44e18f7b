//! What a CRL says, and the bytes that say it (`TBSCertList`, RFC 5280 §5.1).

use attest::UnixTime;
use const_oid::db::rfc5280;

use super::entry::{CrlEntry, Mark};
use super::scope::CrlScope;
use crate::encode::{
    ENUMERATED, INTEGER, OCTET_STRING, OID, SEQUENCE, context, context_constructed, header, time, tlv,
};
use crate::tbs::{distribution_point, extension, issuing_distribution_point};

/// CRLNumber (RFC 5280 §5.2.3). Fits a signed 64-bit column, and so the 20 octets that relying parties must handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CrlNumber(u64);

impl CrlNumber {
    /// Below 2^63.
    #[must_use]
    pub fn new(number: u64) -> Option<Self> {
        i64::try_from(number).is_ok().then_some(Self(number))
    }
    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
    /// Content octets of the INTEGER.
    pub(super) fn octets(self) -> Vec<u8> {
        // Below 2^63, so one of the eight octets is there and the sign bit of the first is free or a zero is kept.
        let octets = self.0.to_be_bytes();
        let zeros = octets.iter().take(7).take_while(|o| **o == 0).count();
        let significant = octets.iter().skip(zeros).copied();
        let sign = octets.get(zeros).is_some_and(|first| *first >= 0x80);
        sign.then_some(0).into_iter().chain(significant).collect()
    }
    /// From content octets, in the fewest.
    pub(super) fn from_octets(octets: &[u8]) -> Option<Self> {
        if octets.len() > 8 {
            return None;
        }
        let number = Self::new(octets.iter().fold(0, |n, o| (n << 8) | u64::from(*o)))?;
        (number.octets() == octets).then_some(number)
    }
}

impl std::fmt::Display for CrlNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What a CRL says, its issuer left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Statement {
    pub(crate) scope: CrlScope,
    pub(crate) number: CrlNumber,
    /// BaseCRLNumber: then it is a delta CRL.
    pub(crate) base: Option<CrlNumber>,
    pub(crate) this_update: UnixTime,
    pub(crate) next_update: UnixTime,
    /// By serial, none twice.
    pub(crate) entries: Vec<CrlEntry>,
    /// freshestCRL: where its delta CRLs are.
    pub(crate) delta_url: Option<String>,
}

/// Who says it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct By<'a> {
    /// `Name`, DER.
    pub(crate) name: &'a [u8],
    pub(crate) key_id: &'a [u8],
    /// `AlgorithmIdentifier`, DER.
    pub(crate) algorithm: &'a [u8],
}

/// 2050-01-01T00:00:00Z: from here on a time takes two octets more.
const Y2050: UnixTime = UnixTime(2_524_608_000);
/// reasonCode without its last octet, the reason.
const REASON: [u8; 13] = [
    SEQUENCE,
    12,
    SEQUENCE,
    10,
    OID,
    3,
    0x55,
    0x1d,
    0x15,
    OCTET_STRING,
    3,
    ENUMERATED,
    1,
];

/// Octets of an entry after its tag and length: serial, time, reason.
fn entry_content(entry: &CrlEntry) -> usize {
    let time = if entry.at < Y2050 { 15 } else { 17 };
    18 + time + if entry.mark.code() == 0 { 0 } else { REASON.len() + 1 }
}

fn write_entry(entry: &CrlEntry, out: &mut Vec<u8>) -> Option<()> {
    header(out, SEQUENCE, entry_content(entry));
    header(out, INTEGER, 16);
    out.extend_from_slice(entry.serial.octets());
    out.extend(time(entry.at)?);
    // RFC 5280 §5.3.1: reasonCode should be absent rather than say unspecified.
    if entry.mark != Mark::Revoked(super::RevocationReason::Unspecified) {
        out.extend_from_slice(&REASON);
        out.push(entry.mark.code());
    }
    Some(())
}

impl Statement {
    /// `TBSCertList`; `None` when a date lies outside 1970..=9999. The list is written once, into its place: a million
    /// entries are not copied from layer to layer.
    pub(crate) fn encode(&self, by: By<'_>) -> Option<Vec<u8>> {
        let mut head = tlv(INTEGER, &[&[1]]);
        head.extend_from_slice(by.algorithm);
        head.extend_from_slice(by.name);
        head.extend(time(self.this_update)?);
        head.extend(time(self.next_update)?);
        let listed: usize = self.entries.iter().map(|entry| entry_content(entry) + 2).sum();
        // RFC 5280 §5.1.2.6: an empty list is left out.
        if !self.entries.is_empty() {
            header(&mut head, SEQUENCE, listed);
        }
        let extensions = tlv(SEQUENCE, &[&self.extensions(by.key_id)]);
        let extensions = tlv(context_constructed(0), &[&extensions]);
        let length = head.len() + listed + extensions.len();
        let mut out = Vec::with_capacity(length + 6);
        header(&mut out, SEQUENCE, length);
        out.extend(head);
        for entry in &self.entries {
            write_entry(entry, &mut out)?;
        }
        out.extend(extensions);
        Some(out)
    }

    fn extensions(&self, key_id: &[u8]) -> Vec<u8> {
        let key_id = tlv(SEQUENCE, &[&tlv(context(0), &[key_id])]);
        let number = |n: CrlNumber| tlv(INTEGER, &[&n.octets()]);
        let mut out = extension(&rfc5280::ID_CE_AUTHORITY_KEY_IDENTIFIER, false, &key_id);
        out.extend(extension(&rfc5280::ID_CE_CRL_NUMBER, false, &number(self.number)));
        if let Some(base) = self.base {
            out.extend(extension(&rfc5280::ID_CE_DELTA_CRL_INDICATOR, true, &number(base)));
        }
        if let CrlScope::Point(url) = &self.scope {
            let point = issuing_distribution_point(url);
            out.extend(extension(&rfc5280::ID_CE_ISSUING_DISTRIBUTION_POINT, true, &point));
        }
        if let Some(url) = &self.delta_url {
            out.extend(extension(&rfc5280::ID_CE_FRESHEST_CRL, false, &distribution_point(url)));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use der::{Decode, Encode};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers() {
        for (number, octets) in [
            (0, &[0][..]),
            (1, &[1]),
            (127, &[127]),
            (128, &[0, 128]),
            (255, &[0, 255]),
            (256, &[1, 0]),
            (i64::MAX.unsigned_abs(), &[0x7f, 255, 255, 255, 255, 255, 255, 255]),
        ] {
            let made = CrlNumber::new(number).unwrap();
            assert_eq!(made.octets(), octets, "{number}");
            assert_eq!(CrlNumber::from_octets(octets), Some(made));
        }
        assert_eq!(CrlNumber::new(i64::MAX.unsigned_abs() + 1), None);
        let bad: [&[u8]; 7] = [
            &[],
            &[0, 1],
            &[0, 0],
            &[0x80],
            &[255],
            &[0x80, 0, 0, 0, 0, 0, 0, 0],
            &[1; 9],
        ];
        for bad in bad {
            assert_eq!(CrlNumber::from_octets(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn numbers_are_what_der_writes(number in 0..=i64::MAX.unsigned_abs()) {
            let ours = tlv(INTEGER, &[&CrlNumber::new(number).unwrap().octets()]);
            prop_assert_eq!(&number.to_der().unwrap(), &ours);
            prop_assert_eq!(u64::from_der(&ours).unwrap(), number);
        }
    }
}
