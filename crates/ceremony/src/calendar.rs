//! Times as plans and transcripts write them: UTC, to the second, one spelling.

use core::time::Duration;

use attest::UnixTime;
use der::DateTime;

/// Seconds of a day.
pub const DAY: i64 = 86_400;

/// `2026-12-01T09:00:00Z`; nothing shorter, no other zone, no fraction. Between 1970 and 9999.
#[must_use]
pub fn parse(text: &str) -> Option<UnixTime> {
    let seconds = i64::try_from(text.parse::<DateTime>().ok()?.unix_duration().as_secs()).ok()?;
    let time = UnixTime(seconds);
    // One spelling only: what is written back is what was read.
    (show(time) == text).then_some(time)
}

/// As [`parse`] reads it; the number itself where a calendar has no word for it.
#[must_use]
pub fn show(time: UnixTime) -> String {
    date(time).map_or_else(|| time.0.to_string(), |d| d.to_string())
}

/// Year, month and day.
#[must_use]
pub fn date(time: UnixTime) -> Option<DateTime> {
    DateTime::from_unix_duration(Duration::from_secs(u64::try_from(time.0).ok()?)).ok()
}

/// The day of the week in words.
#[must_use]
pub fn weekday(time: UnixTime) -> &'static str {
    // 1970-01-01 was a Thursday.
    match time.0.div_euclid(DAY).rem_euclid(7) {
        0 => "Thursday",
        1 => "Friday",
        2 => "Saturday",
        3 => "Sunday",
        4 => "Monday",
        5 => "Tuesday",
        _ => "Wednesday",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_time_has_one_spelling() {
        for good in ["1970-01-01T00:00:00Z", "2028-02-29T23:59:59Z", "9999-12-31T23:59:59Z"] {
            assert_eq!(show(parse(good).unwrap()), good);
        }
        for bad in [
            "",
            "2026-12-01",
            "2026-12-01T09:00Z",
            "2026-12-01T09:00:00",
            "2026-12-01T09:00:00+00:00",
            "2026-12-01t09:00:00Z",
            "2026-12-01 09:00:00Z",
            "2026-12-01T09:00:00.0Z",
            "2027-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-12-01T24:00:00Z",
            "2026-12-01T23:59:60Z",
            "1969-12-31T23:59:59Z",
            "10000-01-01T00:00:00Z",
            "-026-12-01T09:00:00Z",
            "２026-12-01T09:00:00Z",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn days_of_the_week() {
        for (text, day) in [
            ("1970-01-01T00:00:00Z", "Thursday"),
            ("2026-11-23T12:00:00Z", "Monday"),
            ("2028-02-29T23:59:59Z", "Tuesday"),
        ] {
            assert_eq!(weekday(parse(text).unwrap()), day);
        }
    }
}
