//! Approvals: no panic; what is read has one spelling.
#![no_main]

use ceremony::quorum::RawApproval;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(raw) = RawApproval::parse(bytes)
        && let Ok(approval) = raw.verify()
    {
        assert_eq!(approval.text().expect("it was parsed"), bytes);
    }
});
