//! Data goes to standard output, as a table or as JSON; nothing else does.

use comfy_table::{ContentArrangement, Table};
use serde_json::Value;
use std::io::IsTerminal as _;
use wire::Exit;

/// How data is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// For programs: one JSON value with a `schema` member.
    Json,
}

/// How the terminal wants it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    pub(crate) format: Format,
    /// Whether the terminal takes UTF-8.
    pub(crate) utf8: bool,
}

impl Style {
    pub(crate) fn new(format: Format) -> Self {
        Self { format, utf8: utf8() }
    }

    /// Glyphs of a yes and a no; meaning is never by colour alone.
    pub(crate) fn tick(self, yes: bool) -> &'static str {
        match (self.utf8, yes) {
            (true, true) => "✔",
            (true, false) => "✖",
            (false, true) => "[ok]",
            (false, false) => "[NO]",
        }
    }

    /// Branches of a tree: (between, last, down, empty).
    pub(crate) fn branches(self) -> (&'static str, &'static str, &'static str, &'static str) {
        if self.utf8 {
            ("├─ ", "└─ ", "│  ", "   ")
        } else {
            ("+- ", "`- ", "|  ", "   ")
        }
    }
}

/// Whether the locale says UTF-8: LC_ALL before LC_CTYPE before LANG.
pub(crate) fn utf8() -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()))
        .unwrap_or_default()
        .to_ascii_uppercase();
    locale.contains("UTF-8") || locale.contains("UTF8")
}

/// What a command has to say.
pub(crate) struct Report {
    /// For programs.
    json: Value,
    /// For people.
    text: Box<dyn FnOnce(Style) -> String>,
    exit: Exit,
}

impl Report {
    pub(crate) fn new(json: Value, text: impl FnOnce(Style) -> String + 'static) -> Self {
        Self {
            json,
            text: Box::new(text),
            exit: Exit::Done,
        }
    }

    pub(crate) fn exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// Print and give the exit code.
    pub(crate) fn print(self, style: Style) -> Exit {
        use std::io::Write as _;
        let text = match style.format {
            Format::Json => harmless(&format!("{:#}", self.json)),
            Format::Table if style.utf8 => inert(&(self.text)(style)),
            Format::Table => ascii(&inert(&(self.text)(style))),
        };
        let mut out = std::io::stdout().lock();
        // A reader that went away (`| head`) is not an error of ours.
        let _ = writeln!(out, "{}", text.trim_end());
        self.exit
    }
}

/// A borderless table that keeps to the terminal's width; through a pipe to `COLUMNS`, if that is exported, else a row
/// is one line however long, for `grep`.
pub(crate) fn table(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_style(comfy_table::presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic);
    let columns = if std::io::stdout().is_terminal() {
        rustix::termios::tcgetwinsize(std::io::stdout()).map_or(0, |size| size.ws_col)
    } else {
        let exported = std::env::var("COLUMNS").ok();
        exported.and_then(|columns| columns.parse().ok()).unwrap_or(0)
    };
    if columns > 0 {
        table.set_width(columns);
    }
    table.set_header(header);
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|l| l.trim_end().to_owned() + "\n").collect()
}

/// Characters of a line that every terminal has.
const LINE: usize = 80;
/// Characters of a label: what is left takes a TPM Name under SHA-256 whole.
const LABEL: usize = 12;

/// Lines of a label and a value. A value that is too long goes on below itself.
pub(crate) fn fields(lines: &[(&str, String)]) -> String {
    lines.iter().map(|(label, value)| field(label, LABEL, value)).collect()
}

/// One label, padded to `width` characters, and its value.
pub(crate) fn field(label: &str, width: usize, value: &str) -> String {
    let room = LINE.saturating_sub(width);
    let mut lines = vec![String::new()];
    let mut length: usize = 0;
    for word in value.split(' ') {
        let more = word.chars().count();
        if length > 0 && length.saturating_add(more).saturating_add(1) > room {
            lines.push(String::new());
            length = 0;
        }
        if let Some(line) = lines.last_mut() {
            if length > 0 {
                line.push(' ');
                length = length.saturating_add(1);
            }
            line.push_str(word);
            length = length.saturating_add(more);
        }
    }
    let indent = " ".repeat(width);
    format!("{label:<width$}{}\n", lines.join(&format!("\n{indent}")))
}

/// Whether a terminal could take this for something else than text: controls, bidi and line separators.
fn dangerous(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Text from outside, made safe for a terminal.
pub(crate) fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if dangerous(c) { '\u{fffd}' } else { c })
        .collect()
}

/// The net below [`clean`]: should a field have been forgotten, it may break a line and nothing worse.
fn inert(text: &str) -> String {
    text.chars()
        .map(|c| {
            if dangerous(c) && !matches!(c, '\n' | '\t') {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

/// JSON whose strings are safe for a terminal and still the same strings: JSON itself escapes the C0 controls only.
fn harmless(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c != '\n' && dangerous(c) {
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

/// Text for a terminal without UTF-8.
pub(crate) fn ascii(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "a\x1b[31m\r\nb\u{9b}2J\u{202e}c\u{2028}\u{7f}";

    #[test]
    fn terminal_control_does_not_survive() {
        assert_eq!(
            clean(HOSTILE),
            "a\u{fffd}[31m\u{fffd}\u{fffd}b\u{fffd}2J\u{fffd}c\u{fffd}\u{fffd}"
        );
        assert_eq!(clean("Grüße 东"), "Grüße 东");
        assert_eq!(ascii("Grüße 东"), "Gr??e ?");
        assert_eq!(inert("a\tb\x1b[m\n"), "a\tb\u{fffd}[m\n");
    }

    #[test]
    fn json_is_safe_and_the_same() {
        let value = serde_json::json!({ "text": HOSTILE, "more": ["Grüße 东"] });
        let text = harmless(&format!("{value:#}"));
        assert!(!text.chars().any(|c| c != '\n' && dangerous(c)), "{text:?}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }

    #[test]
    fn long_values_go_on_below_themselves() {
        let words = "word ".repeat(20);
        let text = field("label", LABEL, words.trim_end());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("label       word") && lines[1].starts_with("            word"));
        assert!(lines.iter().all(|l| l.chars().count() <= LINE), "{text}");
        assert_eq!(fields(&[("a", "two  spaces".into())]), "a           two  spaces\n");
        let long = "x".repeat(100);
        assert_eq!(
            fields(&[("a", long.clone())]),
            format!("a           {long}\n"),
            "never cut"
        );
    }
}
