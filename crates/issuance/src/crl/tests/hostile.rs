//! Bytes of strangers.

use attest::UnixTime;
use const_oid::db::rfc5280;
use proptest::prelude::*;

use super::*;
use crate::encode::{BIT_STRING, SEQUENCE, tlv};
use crate::fixture::{NOW, serial};
use crate::view::Certificate;
use crate::{CaKey, Serial};
use lint::example::{Example, POINT, three};

/// Spoilt bytes, correctly signed: only reading can refuse them.
fn signed(hierarchy: &Hierarchy, tbs: &[u8]) -> Vec<u8> {
    let bits = tlv(BIT_STRING, &[&[0], &hierarchy.key.raw_sign(tbs)]);
    tlv(SEQUENCE, &[tbs, hierarchy.key.algorithm().identifier(), &bits])
}

fn refusal(der: Vec<u8>) -> CrlError {
    RawCrl::decode(der).unwrap_err()
}

fn malformed(example: &Example) -> &'static str {
    let hierarchy = Hierarchy::p256();
    match refusal(signed(&hierarchy, &example.encode())) {
        CrlError::Malformed(what) => what,
        other => panic!("{other:?}"),
    }
}

#[test]
fn good_examples_are_read() {
    let hierarchy = Hierarchy::p256();
    for example in [
        Example::complete(),
        Example::sharded(),
        Example::empty(),
        Example::base(),
        Example::delta(),
    ] {
        RawCrl::decode(signed(&hierarchy, &example.encode())).unwrap();
    }
}

#[test]
fn another_form_than_ours() {
    const FORM: &str = "not the form this CA writes";
    let mut example = Example::sharded();
    example.version = vec![2, 1, 2];
    assert_eq!(malformed(&example), FORM);
    example.version.clear();
    assert_eq!(malformed(&example), FORM);
    let mut example = Example::sharded();
    example.this_update = b"\x18\x0f20261122120000Z".to_vec();
    assert_eq!(malformed(&example), FORM);
    let mut example = Example::empty();
    example.entries = Some(vec![]);
    assert_eq!(malformed(&example), FORM);
    let mut example = Example::sharded();
    example.extensions.swap(0, 1);
    assert_eq!(malformed(&example), FORM);
    let example = Example::sharded().and(rfc5280::ID_CE_CERTIFICATE_ISSUER, false, &[5, 0]);
    assert_eq!(malformed(&example), FORM);
    let mut example = Example::base();
    example.extension(rfc5280::ID_CE_FRESHEST_CRL).critical = vec![1, 1, 0xff];
    assert_eq!(malformed(&example), FORM, "a critical freshestCRL");
    let freshest = Example::base().extension(rfc5280::ID_CE_FRESHEST_CRL).value.clone();
    let example = Example::delta().and(rfc5280::ID_CE_FRESHEST_CRL, false, &freshest);
    assert_eq!(malformed(&example), "freshestCRL in a delta CRL");
    let mut example = Example::sharded();
    example
        .extension(rfc5280::ID_CE_ISSUING_DISTRIBUTION_POINT)
        .critical
        .clear();
    assert_eq!(malformed(&example), FORM);
    let mut example = Example::sharded();
    example.entry(0).extensions = b"\x30\x0c\x30\x0a\x06\x03\x55\x1d\x15\x04\x03\x0a\x01\x00".to_vec();
    assert_eq!(malformed(&example), FORM, "unspecified, said");
}

#[test]
fn missing_and_out_of_range() {
    let mut example = Example::sharded();
    example.next_update.clear();
    assert_eq!(malformed(&example), "nextUpdate missing");
    let example = Example::sharded().without(rfc5280::ID_CE_CRL_NUMBER);
    assert_eq!(malformed(&example), "cRLNumber missing");
    let example = Example::sharded().without(rfc5280::ID_CE_AUTHORITY_KEY_IDENTIFIER);
    assert_eq!(malformed(&example), "authorityKeyIdentifier missing");
    let example = Example::sharded().holding(rfc5280::ID_CE_CRL_NUMBER, b"\x02\x09\x01\0\0\0\0\0\0\0\0");
    assert_eq!(malformed(&example), "a CRL number out of range");
    let mut example = Example::sharded();
    example.entry(1).serial = vec![0x40; 17];
    assert_eq!(malformed(&example), "a serial this CA does not draw");
    let mut example = Example::sharded();
    example.entries.as_mut().unwrap().swap(0, 1);
    assert_eq!(malformed(&example), "entries out of order, or one twice");
    let mut example = Example::sharded();
    let again = example.entry(0).clone();
    example.entries.as_mut().unwrap().insert(0, again);
    assert_eq!(malformed(&example), "entries out of order, or one twice");
    let mut example = Example::sharded();
    *example.entry(1).extensions.last_mut().unwrap() = 8;
    assert_eq!(malformed(&example), "removeFromCRL in a complete CRL");
    *example.entry(1).extensions.last_mut().unwrap() = 7;
    assert_eq!(malformed(&example), "no such reasonCode");
    let example = Example::sharded().holding(rfc5280::ID_CE_ISSUING_DISTRIBUTION_POINT, b"\x30\x00");
    assert_eq!(malformed(&example), "distributionPoint alone");
}

#[test]
fn around_the_signed_part() {
    let hierarchy = Hierarchy::p256();
    let der = complete(&hierarchy, 5, three()).der().to_vec();
    for length in 0..der.len() {
        let cut = refusal(der[..length].to_vec());
        assert!(matches!(cut, CrlError::Malformed(_)), "cut at {length}");
    }
    assert!(matches!(refusal([&der[..], &[0]].concat()), CrlError::Malformed(_)));
    // Lengths longer than needed, of the whole and of the signature.
    let read = Certificate::parse(&der).unwrap();
    let inner = [read.tbs, read.algorithm].concat();
    let signature = tlv(BIT_STRING, &[&[0], read.signature]);
    let whole = inner.len() + signature.len();
    let head = u16::try_from(whole).unwrap().to_be_bytes();
    let long = [&[SEQUENCE, 0x83, 0], &head[..], &inner, &signature].concat();
    assert_eq!(refusal(long), CrlError::Malformed("not the form this CA writes"));
    let bits = [&[BIT_STRING, 0x81], &signature[1..]].concat();
    assert!(signature.len() < 128);
    let long = tlv(SEQUENCE, &[&inner, &bits]);
    assert_eq!(refusal(long), CrlError::Malformed("not the form this CA writes"));
    // RUSTSEC-2026-0104: a signature without even the octet of unused bits.
    let empty = tlv(SEQUENCE, &[&inner, &[BIT_STRING, 0]]);
    assert_eq!(refusal(empty), CrlError::Malformed("signature"));
    let other = crate::SignatureAlgorithm::EcdsaP384Sha384.identifier();
    let mixed = tlv(SEQUENCE, &[read.tbs, other, &signature]);
    assert_eq!(
        refusal(mixed),
        CrlError::Malformed("the outer algorithm is not the inner one")
    );
}

/// Lengths that promise more than there is, and the longest input of all, cost nothing.
#[test]
fn large_claims() {
    for bomb in [
        &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff][..],
        &[0x30, 0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0x30, 0x80],
        &[0x30; 4096],
    ] {
        assert!(matches!(refusal(bomb.to_vec()), CrlError::Malformed(_)));
    }
    let long = vec![0; MAX_CRL_BYTES + 1];
    assert_eq!(refusal(long), CrlError::TooLong(MAX_CRL_BYTES + 1));
}

#[test]
fn another_issuer_and_a_wrong_signature() {
    let hierarchy = Hierarchy::p256();
    let der = complete(&hierarchy, 5, three()).der().to_vec();
    let read = |der: &[u8]| RawCrl::decode(der.to_vec()).unwrap();
    assert_eq!(read(&der).verify(&hierarchy.issuer).unwrap().der(), der);
    // The same name, another key; the same key identifier under another name; the root.
    let other = Hierarchy::p256();
    assert_eq!(
        read(&der).verify(&other.issuer).unwrap_err(),
        CrlError::AnotherIssuer("key identifier")
    );
    assert_eq!(
        read(&der).verify(&hierarchy.root).unwrap_err(),
        CrlError::AnotherIssuer("name")
    );
    let mut spoilt = hierarchy.issuer.clone();
    let mut facts = (*spoilt.facts).clone();
    facts.algorithm = crate::SignatureAlgorithm::EcdsaP384Sha384;
    spoilt.facts = std::sync::Arc::new(facts);
    assert_eq!(
        read(&der).verify(&spoilt).unwrap_err(),
        CrlError::AnotherIssuer("algorithm")
    );
    let mut flipped = der.clone();
    *flipped.last_mut().unwrap() ^= 1;
    assert_eq!(
        read(&flipped).verify(&hierarchy.issuer).unwrap_err(),
        CrlError::Signature
    );
    // F22: one bit of a date, in a file that is still a CRL.
    let mut flipped = der;
    let at = flipped.windows(13).position(|w| w == b"261121120000Z").unwrap();
    flipped[at + 5] ^= 1;
    assert_eq!(
        read(&flipped).verify(&hierarchy.issuer).unwrap_err(),
        CrlError::Signature
    );
}

fn any_serial() -> impl Strategy<Value = Serial> {
    any::<[u8; 16]>().prop_map(|mut octets| {
        octets[0] = octets[0] & 0x3f | 0x40;
        Serial::from_octets(octets).unwrap()
    })
}

prop_compose! {
    fn any_revoked()(serial in any_serial(), at in 0..=NOW, why in prop::sample::select(&RevocationReason::ALL[..]))
        -> Revoked {
        Revoked { serial, at: UnixTime(at), reason: why }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn what_is_written_is_read(
        entries in prop::collection::vec(any_revoked(), 0..60),
        number in 0..=i64::MAX.unsigned_abs(),
        sharded in any::<bool>(),
    ) {
        thread_local!(static HIERARCHY: Hierarchy = Hierarchy::p256());
        HIERARCHY.with(|hierarchy| {
            let scope = if sharded { CrlScope::Point(POINT.into()) } else { CrlScope::Complete };
            let crl = made(hierarchy, crl_spec(number, scope.clone(), entries.clone()));
            let read = RawCrl::decode(crl.der().to_vec()).unwrap().verify(&hierarchy.issuer).unwrap();
            let mut expected: Vec<CrlEntry> = entries.into_iter().map(CrlEntry::from).collect();
            expected.sort_by_key(|e| e.serial);
            assert_eq!(read.entries(), expected);
            assert_eq!((read.number().get(), read.scope()), (number, &scope));
        });
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(RawCrl::decode(bytes.clone()).is_err());
        prop_assert!(RawCrl::decode(tlv(SEQUENCE, &[&bytes])).is_err());
    }

    /// One octet changed anywhere: not read, or not believed.
    #[test]
    fn one_octet_changed(at in any::<prop::sample::Index>(), xor in 1_u8..) {
        thread_local!(static MADE: (Hierarchy, Vec<u8>) = {
            let hierarchy = Hierarchy::p256();
            let der = made(&hierarchy, crl_spec(300, CrlScope::Point(POINT.into()), three())).der().to_vec();
            (hierarchy, der)
        });
        MADE.with(|(hierarchy, der)| {
            let mut spoilt = der.clone();
            spoilt[at.index(der.len())] ^= xor;
            let believed = RawCrl::decode(spoilt).and_then(|raw| raw.verify(&hierarchy.issuer));
            assert!(believed.is_err());
        });
    }

    /// Entries, dates and reasons of strangers inside a frame that is right.
    #[test]
    fn entries_of_strangers(list in prop::collection::vec(any::<u8>(), 0..200)) {
        thread_local!(static EXAMPLE: (Hierarchy, Example) = (Hierarchy::p256(), Example::complete()));
        EXAMPLE.with(|(hierarchy, example)| {
            let read = view::TbsCrl::parse(&example.original).unwrap();
            let at = read.next_update.unwrap().raw.as_ptr_range().end as usize - example.original.as_ptr() as usize;
            let head = &example.original[4..at];
            let tail_at = example.original.len() - {
                let listed = read.revoked.unwrap().as_ptr_range().end as usize;
                example.original.as_ptr_range().end as usize - listed
            };
            let tbs = tlv(SEQUENCE, &[head, &tlv(SEQUENCE, &[&list]), &example.original[tail_at..]]);
            let whole = tlv(SEQUENCE, &[&tbs, hierarchy.key.algorithm().identifier(), &tlv(BIT_STRING, &[&[0]])]);
            assert!(RawCrl::decode(whole).is_err());
        });
    }
}

#[test]
fn a_serial_that_is_not_listed() {
    let hierarchy = Hierarchy::p256();
    let empty = complete(&hierarchy, 1, vec![]);
    assert!(empty.entries().is_empty());
    assert_eq!(empty.find(serial(1)), None);
}
