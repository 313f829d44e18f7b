//! The bytes list what was asked for: every certificate, its date and its reason, and no other.

use super::{Case, Lint};
use crate::view::time;

pub(super) const LINT: Lint = Lint {
    name: "crl_entries_promised",
    citation: "RFC 5280 §3.3, §5.1.2.6",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    let mut promised = case.promise.entries.iter();
    for entry in case.tbs.entries() {
        let entry = entry.map_err(|e| e.to_string())?;
        let Some(asked) = promised.next() else {
            return Err(format!("serial {} was not asked for", hex::encode(entry.serial)));
        };
        // What cannot be read as a serial, time or reason is refused by the lints for those.
        if entry.serial().is_some_and(|serial| serial != asked.serial) {
            return Err(format!(
                "{} instead of {}",
                hex::encode(entry.serial),
                asked.serial.hex()
            ));
        }
        if time(entry.date).is_ok_and(|at| at != asked.at) {
            return Err(format!("another date for {}", asked.serial.hex()));
        }
        if entry.mark().is_ok_and(|mark| mark != asked.mark) {
            return Err(format!("another reason for {}", asked.serial.hex()));
        }
    }
    match promised.count() {
        0 => Ok(()),
        missing => Err(format!("{missing} entries are missing")),
    }
}

#[cfg(test)]
mod tests {
    use crate::crl::lint::example::Example;

    const LINT: [&str; 1] = ["crl_entries_promised"];

    #[test]
    fn good() {
        for example in [Example::empty(), Example::complete(), Example::delta()] {
            assert!(example.refused_by().is_empty());
        }
    }

    #[test]
    fn bad() {
        for n in 0..3 {
            let mut example = Example::complete();
            example.entries.as_mut().unwrap().remove(n);
            assert_eq!(example.refused_by(), LINT, "entry {n} missing");
            let mut example = Example::complete();
            example.promise.entries.remove(n);
            assert_eq!(example.refused_by(), LINT, "entry {n} unasked");
        }
        let mut example = Example::complete();
        example.entry(0).serial[15] ^= 1;
        assert_eq!(example.refused_by(), LINT);
        let mut example = Example::complete();
        example.entry(1).date = b"\x17\x0d261121115959Z".to_vec();
        assert_eq!(example.refused_by(), LINT);
        let mut example = Example::complete();
        let with = (0..3).find(|n| !example.entry(*n).extensions.is_empty()).unwrap();
        *example.entry(with).extensions.last_mut().unwrap() = 5;
        assert_eq!(example.refused_by(), LINT);
        let mut example = Example::complete();
        example.entry(with).extensions.clear();
        assert_eq!(example.refused_by(), LINT);
        let mut example = Example::complete();
        example.entries = None;
        assert_eq!(example.refused_by(), LINT);
    }
}
