//! Times as people read them: UTC, to the second.

use core::time::Duration;

use der::DateTime;

/// `2026-11-23 17:49:07 UTC`; the number itself for what no calendar has.
pub(crate) fn utc(unix: i64) -> String {
    let read = u64::try_from(unix)
        .ok()
        .and_then(|seconds| DateTime::from_unix_duration(Duration::from_secs(seconds)).ok());
    match read {
        Some(at) => format!(
            "{}-{:02}-{:02} {:02}:{:02}:{:02} UTC",
            at.year(),
            at.month(),
            at.day(),
            at.hour(),
            at.minutes(),
            at.seconds()
        ),
        None => unix.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn to_the_second() {
        assert_eq!(utc(1_795_456_147), "2026-11-23 17:49:07 UTC");
        assert_eq!(utc(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(utc(-1), "-1");
        assert_eq!(utc(i64::MAX), i64::MAX.to_string());
    }
}
