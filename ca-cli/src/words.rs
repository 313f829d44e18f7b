//! Times, and where certificates stand, in words.

use jiff::Timestamp;

#[cfg(feature = "online")]
pub(crate) use certificate::standing;

#[cfg(feature = "online")]
mod certificate {
    use wire::revocation::{RevocationState, RevocationStep};

    use crate::output::clean;

    /// `revoked (keyCompromise)`, `on hold`; else what it is without a step.
    pub(crate) fn standing(otherwise: &str, step: Option<&RevocationStep>) -> String {
        match step.map(|step| (step.state, step.reason)) {
            Some((RevocationState::Revoked, reason)) => format!("revoked ({reason})"),
            Some((RevocationState::OnHold, _)) => "on hold".to_owned(),
            Some((RevocationState::Released, _)) | None => clean(otherwise),
        }
    }
}

/// `2027-02-20 (in 89 days)`; `never` for 99991231235959Z, the end that no certificate reaches (RFC 5280 §4.1.2.5).
pub(crate) fn date(seconds: i64, now: i64) -> String {
    if seconds == policies::Validity::NEVER.0 {
        return "never".into();
    }
    // The last day that X.509 knows is the first that `Timestamp` does not.
    let day = match Timestamp::from_second(seconds) {
        Ok(time) => time.strftime("%Y-%m-%d").to_string(),
        Err(_) if (253_402_214_400..253_402_300_800).contains(&seconds) => "9999-12-31".to_owned(),
        Err(_) => seconds.to_string(),
    };
    let (distance, future) = (seconds.abs_diff(now), seconds >= now);
    let amount = match distance {
        0..120 => format!("{distance} s"),
        120..7200 => format!("{} min", distance / 60),
        7200..172_800 => format!("{} h", distance / 3600),
        172_800..63_072_000 => format!("{} days", distance / 86_400),
        _ => format!("{} years", distance / 31_557_600),
    };
    if future {
        format!("{day} (in {amount})")
    } else {
        format!("{day} ({amount} ago)")
    }
}

/// RFC 3339 in UTC.
pub(crate) fn rfc3339(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(
        |_| seconds.to_string(),
        |t| t.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    )
}

/// Now, unix seconds.
pub(crate) fn now() -> i64 {
    Timestamp::now().as_second()
}

/// `90d`, `2h`, `15min`, `30s` as seconds.
#[cfg(feature = "online")]
pub(crate) fn duration(text: &str) -> Result<i64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: i64 = match text.get(digits.len()..).unwrap_or_default() {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => {
            return Err(format!(
                "`{text}`: write a number and one of s, min, h, d, for example `2h`"
            ));
        }
    };
    let count: i64 = digits
        .parse()
        .map_err(|_| format!("`{text}`: `{digits}` is not a number"))?;
    count
        .checked_mul(unit)
        .filter(|s| *s > 0)
        .ok_or_else(|| format!("`{text}` is out of range"))
}

/// A point in time: RFC 3339, or a date (its first second, UTC).
pub(crate) fn time(text: &str) -> Result<i64, String> {
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Ok(timestamp.as_second());
    }
    let date: jiff::civil::Date = text
        .parse()
        .map_err(|_| format!("`{text}`: write `2027-02-20` or `2027-02-20T10:00:00Z`"))?;
    date.to_zoned(jiff::tz::TimeZone::UTC)
        .map(|z| z.timestamp().as_second())
        .map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_tell_the_distance() {
        assert_eq!(date(1_000_000 + 89 * 86_400, 1_000_000), "1970-04-11 (in 89 days)");
        assert_eq!(date(1_000_000, 1_000_090), "1970-01-12 (90 s ago)");
        assert_eq!(date(253_402_300_799, 0), "never");
        assert_eq!(date(253_402_214_400, 0), "9999-12-31 (in 8029 years)");
    }

    #[cfg(feature = "online")]
    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration("2h"), Ok(7200));
        assert_eq!(duration("15min"), Ok(900));
        for bad in [
            "",
            "2",
            "h",
            "-1h",
            "0d",
            "1w",
            "99999999999999999999d",
            "9223372036854775807d",
        ] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(time("1970-01-02"), Ok(86_400));
        assert_eq!(time("1970-01-02T00:00:01Z"), Ok(86_401));
        assert!(time("yesterday").is_err());
    }
}
