//! No revocation lies after thisUpdate: a CRL tells what has happened.

use super::{Case, Lint};
use crate::view::time;

pub(super) const LINT: Lint = Lint {
    name: "crl_entry_dates",
    citation: "RFC 5280 §5.1.2.4, §5.1.2.6",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    let Ok(this_update) = time(case.tbs.this_update) else {
        return Ok(());
    };
    for entry in case.tbs.entries() {
        let entry = entry.map_err(|e| e.to_string())?;
        if time(entry.date).is_ok_and(|at| at > this_update) {
            return Err(format!(
                "serial {} is revoked after thisUpdate",
                hex::encode(entry.serial)
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use attest::UnixTime;

    use crate::crl::lint::example::Example;
    use crate::encode::time;
    use crate::fixture::NOW;

    fn revoked_at(at: i64) -> Vec<&'static str> {
        let mut example = Example::complete();
        example.entry(2).date = time(UnixTime(at)).unwrap();
        example.promise.entries[2].at = UnixTime(at);
        example.refused_by()
    }

    #[test]
    fn good() {
        assert!(revoked_at(NOW).is_empty());
        assert!(revoked_at(0).is_empty());
    }

    #[test]
    fn bad() {
        assert_eq!(revoked_at(NOW + 1), ["crl_entry_dates"]);
        // 2050 and later is written in another form, and still later than now.
        assert_eq!(revoked_at(2_524_608_000), ["crl_entry_dates"]);
    }
}
