//! Shares as typed: no panic; what is read prints the same lines again.
#![no_main]

use ceremony::share::Share;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    if let Ok(share) = Share::read(text) {
        let lines: Vec<String> = share.lines().iter().map(|line| line.to_string()).collect();
        let again = Share::read(&lines.join("\n")).expect("its own lines are read");
        assert_eq!(again.index(), share.index());
        assert!(share.index() >= 1 && share.index() <= share.threshold().of());
        assert!(share.threshold().needed() >= 2);
    }
});
