//! Data goes to standard output, as a table or as JSON; nothing else does.

use comfy_table::{ContentArrangement, Table};
use serde_json::Value;

use crate::exit::Exit;

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
    /// UTF-8 when the locale says so (LC_ALL before LC_CTYPE before LANG).
    pub(crate) fn new(format: Format) -> Self {
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .iter()
            .find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()))
            .unwrap_or_default()
            .to_ascii_uppercase();
        Self {
            format,
            utf8: locale.contains("UTF-8") || locale.contains("UTF8"),
        }
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

/// What a command has to say.
pub(crate) struct Report {
    /// For programs.
    pub(crate) json: Value,
    /// For people.
    pub(crate) text: Box<dyn FnOnce(Style) -> String>,
    pub(crate) exit: Exit,
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
            Format::Json => format!("{:#}", self.json),
            Format::Table => (self.text)(style),
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
    if !table.is_tty()
        && let Some(columns) = std::env::var("COLUMNS").ok().and_then(|c| c.parse().ok())
    {
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

/// Text from outside, made safe for a terminal: no control, bidi or line-separator characters.
pub(crate) fn clean(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            c if c.is_control() => '\u{fffd}',
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' => '\u{fffd}',
            c => c,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn terminal_control_does_not_survive() {
        assert_eq!(
            super::clean("a\x1b[31m\r\nb\u{202e}c\u{2028}"),
            "a\u{fffd}[31m\u{fffd}\u{fffd}b\u{fffd}c\u{fffd}"
        );
        assert_eq!(super::clean("Grüße 东"), "Grüße 东");
    }
}
