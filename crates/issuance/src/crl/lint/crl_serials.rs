//! Every serial is one this CA draws; they ascend, and none is there twice.

use super::{Case, Lint};

pub(super) const LINT: Lint = Lint {
    name: "crl_serials",
    citation: "RFC 5280 §5.1.2.6, §4.1.2.2, docs/adr/0008-crl.md",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    let mut last = None;
    for entry in case.tbs.entries() {
        let entry = entry.map_err(|e| e.to_string())?;
        let Some(serial) = entry.serial() else {
            return Err(format!("{} is no serial of this CA", hex::encode(entry.serial)));
        };
        if last == Some(serial) {
            return Err(format!("{} twice", serial.hex()));
        }
        if last > Some(serial) {
            return Err(format!("{} after a greater one", serial.hex()));
        }
        last = Some(serial);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::crl::lint::example::Example;

    const LINT: [&str; 1] = ["crl_serials"];

    #[test]
    fn good() {
        let mut example = Example::complete();
        let first = example.entry(0).serial.clone();
        assert!(first < example.entry(1).serial);
        assert!(example.refused_by().is_empty());
    }

    #[test]
    fn bad() {
        // What was asked for changes with the bytes: only this lint can say it.
        let mut example = Example::complete();
        example.entries.as_mut().unwrap().swap(0, 1);
        example.promise.entries.swap(0, 1);
        assert_eq!(example.refused_by(), LINT, "out of order");
        let mut example = Example::complete();
        let again = example.entry(1).clone();
        example.entries.as_mut().unwrap().insert(1, again);
        let again = example.promise.entries[1];
        example.promise.entries.insert(1, again);
        assert_eq!(example.refused_by(), LINT, "twice");
        for serial in [&[5][..], &[0x40; 15], &[0x40; 17], &[0x3f; 16], &[0x80; 16], &[0x7f, 1]] {
            let mut example = Example::complete();
            example.entry(0).serial = serial.to_vec();
            assert_eq!(example.refused_by(), LINT, "{serial:?}");
        }
    }
}
