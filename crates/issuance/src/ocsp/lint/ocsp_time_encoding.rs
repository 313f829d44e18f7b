//! GeneralizedTime in every year; seconds, `Z`, no fraction; revocation times too.

use super::{Case, Lint};
use crate::encode::GENERALIZED_TIME;
use crate::view::{Element, time};

pub(super) const LINT: Lint = Lint {
    name: "ocsp_time_encoding",
    citation: "RFC 6960 §4.2.2.1, RFC 5280 §4.1.2.5.2",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    one(case.tbs.produced_at).map_err(|e| format!("producedAt: {e}"))?;
    for answer in &case.tbs.answers {
        one(answer.this_update).map_err(|e| format!("thisUpdate: {e}"))?;
        if let Some(next_update) = answer.next_update {
            one(next_update).map_err(|e| format!("nextUpdate: {e}"))?;
        }
        if let Some(revoked) = answer.revoked().map_err(|e| e.to_string())? {
            one(revoked.at).map_err(|e| format!("revocationTime: {e}"))?;
        }
    }
    Ok(())
}

fn one(element: Element<'_>) -> Result<(), String> {
    if element.tag == GENERALIZED_TIME && time(element).is_ok() {
        Ok(())
    } else {
        Err(format!(
            "tag {:02x}, {:?}",
            element.tag,
            String::from_utf8_lossy(element.value)
        ))
    }
}

#[cfg(test)]
mod tests {
    use crate::encode::{GENERALIZED_TIME, UTC_TIME, context_constructed, tlv};
    use crate::fixture::DAY;
    use crate::ocsp::lint::example::Example;

    const LINT: [&str; 1] = ["ocsp_time_encoding"];

    #[test]
    fn good() {
        // The last second of 2049 and of what can be said.
        for last in [2_524_607_999, 253_402_300_799] {
            let example = Example::good().valid(0, i64::MAX).lasting(last - DAY, last - DAY, last);
            assert!(example.refused_by().is_empty());
        }
        assert_eq!(Example::good().produced_at, b"\x18\x0f20261122120000Z");
    }

    #[test]
    fn bad() {
        for (tag, text) in [
            (UTC_TIME, "261122120000Z"),
            (GENERALIZED_TIME, "20261122120000.5Z"),
            (GENERALIZED_TIME, "202611221200Z"),
            (GENERALIZED_TIME, "20261122120000"),
            (GENERALIZED_TIME, "20261122120000+0000"),
            (GENERALIZED_TIME, "20261322120000Z"),
            (0x16, "20261122120000Z"),
        ] {
            let time = tlv(tag, &[text.as_bytes()]);
            let mut example = Example::good();
            example.produced_at.clone_from(&time);
            assert_eq!(example.refused_by(), LINT, "producedAt {text}");
            let mut example = Example::good();
            example.answers[0].this_update.clone_from(&time);
            assert_eq!(example.refused_by(), LINT, "thisUpdate {text}");
            let mut example = Example::good();
            example.answers[0].next_update = tlv(tag, &[text.replace("221200", "230000").as_bytes()]);
            assert_eq!(example.refused_by(), LINT, "nextUpdate {text}");
            let mut example = Example::several();
            let time = tlv(tag, &[text.replace("1122", "1121").as_bytes()]);
            example.answers[1].status = tlv(context_constructed(1), &[&time]);
            assert_eq!(example.refused_by(), LINT, "revocationTime {text}");
        }
    }
}
