//! Where in a text file something is wrong, shown to the person who wrote it: line, column, the line, a caret, advice.

use core::fmt::Write as _;
use core::ops::Range;

/// `message` with its place: `line L, column C: message`, then the line and a caret under `span` (byte offsets).
///
/// Control characters of the file are shown as spaces, so that a file cannot move the reader's cursor.
#[must_use]
pub fn point(text: &str, span: Range<usize>, message: &str) -> String {
    let start = floor_char_boundary(text, span.start);
    let end = floor_char_boundary(text, span.end).max(start);
    let (before, rest) = text.split_at(start);
    let line_start = before.rfind('\n').map_or(0, |at| at.saturating_add(1));
    let number = before.matches('\n').count().saturating_add(1);
    let (_, indent) = before.split_at(line_start);
    let column = indent.chars().count().saturating_add(1);
    let (_, whole) = text.split_at(line_start);
    let line: String = whole.lines().next().unwrap_or("").chars().map(visible).collect();
    // The caret never leaves the line it points into.
    let inside = rest.get(..end.saturating_sub(start)).unwrap_or("");
    let width = inside.lines().next().unwrap_or("").chars().count().max(1);
    let gutter = number.to_string().len();
    let mut out = String::new();
    // Writing into a String cannot fail.
    let _ = write!(
        out,
        "line {number}, column {column}: {message}\n{:gutter$} |\n{number} | {line}\n{:gutter$} | {:indent$}{}",
        "",
        "",
        "",
        "^".repeat(width),
        indent = column.saturating_sub(1),
    );
    out
}

/// A TOML or serde error with its place and, for an unknown key or word, the nearest known one.
#[must_use]
pub fn toml(text: &str, error: &::toml::de::Error) -> String {
    let mut message = error
        .message()
        .replace("unknown field", "unknown key")
        .replace('\n', ", ");
    if message.starts_with("unknown ") {
        // serde says: unknown field `found`, expected one of `a`, `b`; or: expected `a`; or: expected `a` or `b`.
        let mut quoted = message.split('`').skip(1).step_by(2);
        let found = quoted.next().unwrap_or_default();
        if let Some(near) = nearest(found, quoted) {
            message = format!("{message}; did you mean `{near}`?");
        }
    }
    match error.span() {
        Some(span) => point(text, span, &message),
        None => message,
    }
}

/// The candidate nearest to `found`, if any is near enough to be meant.
pub fn nearest<'a>(found: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|word| (strsim::jaro_winkler(found, word), word))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, word)| word)
}

fn visible(c: char) -> char {
    if c.is_control() { ' ' } else { c }
}

fn floor_char_boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_at_the_span() {
        let shown = point("a = 1\nlifetme = 2\n", 6..13, "what is this");
        assert_eq!(
            shown,
            "line 2, column 1: what is this\n  |\n2 | lifetme = 2\n  | ^^^^^^^"
        );
    }

    #[test]
    fn never_panics_on_any_span() {
        let text = "ä\u{1b}[2J\n\nö";
        for start in 0..12 {
            for end in 0..12 {
                let shown = point(text, start..end, "m");
                assert!(!shown.contains('\u{1b}'), "control characters are not passed on");
            }
        }
    }

    #[test]
    fn suggests_only_what_is_near() {
        assert_eq!(nearest("lifetme", ["name", "lifetime"]), Some("lifetime"));
        assert_eq!(nearest("zzz", ["name", "lifetime"]), None);
    }
}
