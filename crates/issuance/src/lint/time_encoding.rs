//! UTCTime through 2049, GeneralizedTime from 2050 on; seconds, `Z`, no fraction.

use attest::UnixTime;

use super::{Case, Lint};
use crate::encode::{GENERALIZED_TIME, UTC_TIME};
use crate::view::{Element, time};

pub(super) const LINT: Lint = Lint {
    name: "time_encoding",
    citation: "RFC 5280 §4.1.2.5, §4.1.2.5.1, §4.1.2.5.2",
    judge,
};

/// 2050-01-01T00:00:00Z.
const Y2050: UnixTime = UnixTime(2_524_608_000);

fn judge(case: &Case<'_>) -> Result<(), String> {
    one(case.tbs.not_before).map_err(|e| format!("notBefore: {e}"))?;
    one(case.tbs.not_after).map_err(|e| format!("notAfter: {e}"))
}

/// One time by itself.
pub(crate) fn one(element: Element<'_>) -> Result<(), String> {
    let at = time(element).map_err(|_| format!("not YYMMDDHHMMSSZ or YYYYMMDDHHMMSSZ: {:?}", element.value))?;
    match element.tag {
        UTC_TIME if at < Y2050 => Ok(()),
        GENERALIZED_TIME if at >= Y2050 => Ok(()),
        tag => Err(format!("tag {tag:02x} for {}", String::from_utf8_lossy(element.value))),
    }
}

#[cfg(test)]
mod tests {
    use policies::ProfileKind;

    use crate::encode::{GENERALIZED_TIME, UTC_TIME, tlv};
    use crate::lint::example::Example;

    fn refused(tag: u8, not_before: &str) -> Vec<&'static str> {
        // An initial identity of an issuer without end: its notBefore is bound by nothing else.
        let mut example = Example::new(ProfileKind::DeviceIdevid);
        example.issuer.not_after = attest::UnixTime(i64::MAX);
        example.not_before = tlv(tag, &[not_before.as_bytes()]);
        example.refused_by()
    }

    #[test]
    fn good() {
        assert!(refused(UTC_TIME, "261122120000Z").is_empty());
        assert!(refused(UTC_TIME, "491231235959Z").is_empty());
        assert!(refused(GENERALIZED_TIME, "20500101000000Z").is_empty());
    }

    #[test]
    fn bad() {
        let cases = [
            (GENERALIZED_TIME, "20491231235959Z"),
            (GENERALIZED_TIME, "20261122120000Z"),
            (GENERALIZED_TIME, "20500101000000.5Z"),
            (GENERALIZED_TIME, "20500101000000"),
            (GENERALIZED_TIME, "20500101000000+0000"),
            (UTC_TIME, "2611221200Z"),
            (UTC_TIME, "261122120000"),
            (UTC_TIME, "261122120000+0100"),
            (UTC_TIME, "261322120000Z"),
            (UTC_TIME, "260229120000Z"),
            (UTC_TIME, "261122240000Z"),
            (UTC_TIME, "261122126000Z"),
            (UTC_TIME, "261122120060Z"),
            (UTC_TIME, "26112212000 Z"),
            (UTC_TIME, "-61122120000Z"),
            (UTC_TIME, "691231235959Z"),
            (UTC_TIME, "20500101000000Z"),
            (UTC_TIME, ""),
            (0x16, "261122120000Z"),
        ];
        for (tag, text) in cases {
            assert_eq!(refused(tag, text), ["time_encoding"], "{tag:02x} {text}");
        }
    }
}
