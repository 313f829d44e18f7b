//! Times and foreign text, as people read them.

use std::time::Duration;

/// `1 h 48 min`, `45 s`.
#[must_use]
pub fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

/// Text from outside, made safe for a terminal.
#[must_use]
pub fn clean(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            c if c.is_control() => '?',
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' => '?',
            c => c,
        })
        .collect()
}

/// `2027-02-20 (in 89 days)`.
#[must_use]
pub fn date(seconds: i64) -> String {
    /// 99991231235959Z.
    const NEVER: i64 = 253_402_300_799;
    if seconds >= NEVER {
        return "never".into();
    }
    let day = jiff::Timestamp::from_second(seconds)
        .map(|t| t.strftime("%Y-%m-%d").to_string())
        .unwrap_or_default();
    let left = seconds.saturating_sub(jiff::Timestamp::now().as_second());
    let words = span(Duration::from_secs(left.unsigned_abs()));
    if left >= 0 {
        format!("{day} (in {words})")
    } else {
        format!("{day} ({words} ago)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_as_people_say_them() {
        for (seconds, words) in [
            (0, "0 s"),
            (59, "59 s"),
            (600, "10 min"),
            (6480, "1 h 48 min"),
            (180_000, "2 d 2 h"),
        ] {
            assert_eq!(span(Duration::from_secs(seconds)), words);
        }
    }

    #[test]
    fn foreign_text_stays_text() {
        assert_eq!(clean("a\u{1b}[31m\nb\u{202e}c\u{9b}"), "a?[31m?b?c?");
        assert_eq!(clean("Gr\u{fc}\u{df}e"), "Gr\u{fc}\u{df}e");
    }

    #[test]
    fn days_are_said_with_their_distance() {
        let now = jiff::Timestamp::now().as_second();
        assert!(date(now + 86_400 * 3 + 60).ends_with(" (in 3 d 0 h)"));
        assert!(date(now - 7_260).ends_with(" (2 h 1 min ago)"));
        assert_eq!(date(253_402_300_799), "never");
    }
}
