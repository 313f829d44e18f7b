//! Nesting, lengths and mutations: refused or read, never a panic, and within a small stack.

use super::*;
use crate::vendor::{SUBJECT_ALT_NAME, seq, tlv};
use proptest::prelude::*;

/// `tag` nested `depth` times, every length right.
fn nested(tag: u8, depth: usize) -> Vec<u8> {
    // Innermost first, written backwards.
    let mut out: Vec<u8> = Vec::new();
    for _ in 0..depth {
        let length = out.len();
        if length < 0x80 {
            out.push(u8::try_from(length).unwrap());
        } else {
            let octets: Vec<u8> = length
                .to_le_bytes()
                .into_iter()
                .take(length.ilog2() as usize / 8 + 1)
                .collect();
            out.extend(&octets);
            out.push(0x80 | u8::try_from(octets.len()).unwrap());
        }
        out.push(tag);
    }
    out.reverse();
    out
}

fn in_small_stack(work: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new()
        .stack_size(256 * 1024)
        .spawn(work)
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn d04_a_hundred_thousand_levels_cost_nothing() {
    in_small_stack(|| {
        for tag in [0x30, 0x31, 0xA0, 0xA4, 0x24] {
            let bomb = nested(tag, 100_000);
            assert!(read(&bomb, Leniencies::VENDOR).is_err());
            assert!(crate::csr::prove(&bomb).is_err());
            // Where any value may stand.
            let certificate = ek(|spec| spec.subject = seq(&[&tlv(0x31, &seq(&[&tlv(6, &[0x55]), &bomb]))]));
            assert_eq!(read(&certificate, Leniencies::VENDOR), Ok(()));
            let certificate = ek(|spec| spec.extension(SUBJECT_ALT_NAME).value = bomb.clone());
            assert!(read(&certificate, Leniencies::VENDOR).is_err());
        }
    });
}

#[test]
fn d04_lengths_beyond_the_input_are_refused() {
    for length in [[0x84, 0xFF, 0xFF, 0xFF, 0xFF], [0x84, 0x7F, 0xFF, 0xFF, 0xFF]] {
        for tag in [0x30, 0x03, 0x04] {
            let bomb = [&[tag][..], &length, &[0; 32]].concat();
            let certificate = ek(|spec| spec.spki = bomb.clone());
            assert!(read(&certificate, Leniencies::VENDOR).is_err());
            assert!(read(&bomb, Leniencies::VENDOR).is_err());
        }
    }
}

#[test]
fn d03_a_hundred_thousand_names_are_read_in_one_pass() {
    let names: Vec<u8> = (0..100_000).flat_map(|_| tlv(0x82, b"a")).collect();
    let certificate = ek(|spec| spec.extension(SUBJECT_ALT_NAME).value = seq(&[&names]));
    assert_eq!(read(&certificate, Leniencies::VENDOR), Ok(()));
}

proptest! {
    #[test]
    fn any_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        prop_assert!(read(&bytes, Leniencies::VENDOR).is_err());
        prop_assert!(crate::csr::prove(&bytes).is_err());
    }

    /// Structure-aware: bytes changed, cut out or put in, in a certificate that is sound but for that.
    #[test]
    fn mutated_certificates_are_read_or_refused(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..3), 1..6),
    ) {
        let mut certificate = ek(|_| {});
        for (position, value, how) in edits {
            if certificate.is_empty() {
                break;
            }
            let position = position.index(certificate.len());
            match how {
                0 => certificate[position] = value,
                1 => { certificate.remove(position); }
                _ => certificate.insert(position, value),
            }
        }
        // What strictness accepts, the leniencies do not take away.
        let strict = read(&certificate, Leniencies::NONE);
        let lenient = read(&certificate, Leniencies::VENDOR);
        prop_assert!(strict.is_err() || lenient.is_ok());
    }
}
