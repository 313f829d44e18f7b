//! UTCTime through 2049, GeneralizedTime from 2050 on; seconds, `Z`, no fraction; in every entry too.

use super::{Case, Lint};
use crate::lint::time_encoding::one;

pub(super) const LINT: Lint = Lint {
    name: "crl_time_encoding",
    citation: "RFC 5280 §5.1.2.4, §5.1.2.5, §5.1.2.6",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    one(case.tbs.this_update).map_err(|e| format!("thisUpdate: {e}"))?;
    if let Some(next_update) = case.tbs.next_update {
        one(next_update).map_err(|e| format!("nextUpdate: {e}"))?;
    }
    for entry in case.tbs.entries() {
        let entry = entry.map_err(|e| e.to_string())?;
        one(entry.date).map_err(|e| format!("serial {}: {e}", hex::encode(entry.serial)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use attest::UnixTime;

    use crate::crl::lint::example::Example;
    use crate::encode::{GENERALIZED_TIME, UTC_TIME, tlv};

    /// 2049-12-31T23:59:59Z.
    const LAST_UTC: i64 = 2_524_607_999;

    #[test]
    fn good() {
        let mut example = Example::sharded().lasting(LAST_UTC, LAST_UTC + 1);
        example.issuer.not_after = UnixTime(i64::MAX);
        assert_eq!(example.this_update, b"\x17\x0d491231235959Z");
        assert_eq!(example.next_update, b"\x18\x0f20500101000000Z");
        assert!(example.refused_by().is_empty());
        let mut example = example.lasting(LAST_UTC + 1, LAST_UTC + 2);
        example.entry(0).date = tlv(GENERALIZED_TIME, &[b"20500101000000Z"]);
        example.promise.entries[0].at = UnixTime(LAST_UTC + 1);
        assert!(example.refused_by().is_empty());
    }

    #[test]
    fn bad() {
        let cases = [
            (GENERALIZED_TIME, "20261122120000Z"),
            (GENERALIZED_TIME, "20501122120000.5Z"),
            (UTC_TIME, "2611221200Z"),
            (UTC_TIME, "261122120000"),
            (UTC_TIME, "261122120000+0000"),
            (UTC_TIME, "261322120000Z"),
        ];
        for (tag, text) in cases {
            let time = tlv(tag, &[text.as_bytes()]);
            let mut example = Example::sharded();
            example.this_update.clone_from(&time);
            assert_eq!(example.refused_by(), ["crl_time_encoding"], "thisUpdate {text}");
            let mut example = Example::sharded();
            example.next_update.clone_from(&time);
            assert!(example.refused_by().contains(&"crl_time_encoding"), "nextUpdate {text}");
            let mut example = Example::sharded();
            example.entry(2).date = tlv(tag, &[text.replace("1122", "1121").as_bytes()]);
            assert_eq!(example.refused_by(), ["crl_time_encoding"], "entry {text}");
        }
        let mut example = Example::sharded();
        example.entry(1).date[0] = 0x16;
        assert_eq!(example.refused_by(), ["crl_time_encoding"]);
    }
}
