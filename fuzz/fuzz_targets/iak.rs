//! A manufacturer's papers: IAK certificate, IDevID certificate, chain and public area, each with its length in two octets;
//! and what is read of them later. No panic, and nobody is believed whom nobody trusts.
#![no_main]

use attest::UnixTime;
use attest::iak::{IakBytes, IakEvidence, IakEvidenceFields, Manufacturers};
use attest::rot::RotStatement;
use libfuzzer_sys::fuzz_target;

fn take<'a>(rest: &mut &'a [u8]) -> Vec<u8> {
    let Some((length, after)) = rest.split_first_chunk::<2>() else {
        return std::mem::take(rest).to_vec();
    };
    let (field, after) = after.split_at(usize::from(u16::from_be_bytes(*length)).min(after.len()));
    *rest = after;
    field.to_vec()
}

fuzz_target!(|bytes: &[u8]| {
    let _ = IakEvidenceFields::parse(bytes);
    if let Ok(statement) = RotStatement::from_der(bytes) {
        assert_eq!(statement.to_der().expect("it was read"), bytes);
    }
    let rest = &mut &*bytes;
    let papers = IakBytes {
        public: take(rest),
        certificate: take(rest),
        idevid: Some(take(rest)).filter(|der| !der.is_empty()),
        chain: vec![take(rest)],
    };
    let nobody = Manufacturers::none().expect("nobody is no mistake");
    if let Ok(evidence) = IakEvidence::decode(papers) {
        assert!(evidence.verify(&nobody, UnixTime(1_795_305_600)).is_err());
    }
});
