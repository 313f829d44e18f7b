//! Bytes of strangers: no panic, and nothing is read that was not written.

use super::*;
use crate::rot::{CertifiedBinding, RotStatement};
use proptest::prelude::*;

fn certified(ek: Option<[u8; 32]>) -> CertifiedBinding {
    let octets = |byte: u8, length: usize| OctetString::new(vec![byte; length]).unwrap();
    CertifiedBinding {
        version: 2,
        rot_kind: RotKind::Tpm,
        basis: Basis::IakCertified,
        iak_certificate_sha256: octets(1, 32),
        iak_spki_sha256: octets(2, 32),
        iak_name: octets(3, 34),
        ik_name: octets(4, 34),
        evidence_sha256: octets(5, 32),
        ek_spki_sha256: ek.map(|ek| OctetString::new(ek).unwrap()),
    }
}

#[test]
fn the_two_versions_of_the_binding_are_told_apart() {
    let second = certified(Some([6; 32])).to_der().unwrap();
    let read = RotStatement::from_der(&second).unwrap();
    assert_eq!(
        (read.basis(), read.ek_spki_sha256()),
        (Basis::IakCertified, Some(&[6; 32][..]))
    );
    assert_eq!(read.to_der().unwrap(), second);
    let silent = RotStatement::from_der(&certified(None).to_der().unwrap()).unwrap();
    assert_eq!(silent.ek_spki_sha256(), None, "nothing is said of an EK");
    let first = binding(|_| {});
    let read = RotStatement::from_der(&first).unwrap();
    assert_eq!(
        (read.basis(), read.to_der().unwrap()),
        (Basis::EkActivation, first.clone())
    );
    // Who knows version 1 only does not take version 2 for it.
    assert!(<RotBinding as der::Decode>::from_der(&second).is_err());
    for wrong in [
        binding(|b| b.version = 2),
        CertifiedBinding {
            version: 1,
            ..certified(None)
        }
        .to_der()
        .unwrap(),
        CertifiedBinding {
            basis: Basis::EkActivation,
            ..certified(None)
        }
        .to_der()
        .unwrap(),
        [&first[..], &[0]].concat(),
    ] {
        assert!(RotStatement::from_der(&wrong).is_err());
    }
}

proptest! {
    #[test]
    fn no_bytes_make_a_record_or_a_binding_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = IakEvidenceFields::parse(&bytes);
        let with_head = [&b"holdfast-iak-evidence-v1\0"[..], &bytes].concat();
        if let Some(fields) = IakEvidenceFields::parse(&with_head) {
            prop_assert_eq!(fields.record().bytes, with_head);
        }
        let _ = RotStatement::from_der(&bytes);
    }

    #[test]
    fn a_bent_certificate_never_passes(at in 0_usize..4096, flip in 1_u8..=255) {
        static GOOD: LazyLock<(Vec<u8>, Manufacturers)> = LazyLock::new(|| {
            let iak = iak_with(|spec| spec.with(ROT_BINDING, None, binding(|_| {})));
            (iak, manufacturers(|_| {}))
        });
        let (mut iak, of) = (GOOD.0.clone(), &GOOD.1);
        let at = at % iak.len();
        iak[at] ^= flip;
        prop_assert!(verify(evidence(iak), of).is_err());
    }
}
