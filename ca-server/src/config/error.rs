//! What is wrong with a configuration, where, and what to do.

use std::fmt::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A configuration that cannot be used. Its `Display` names file, line and column, shows the line with a caret, and
/// says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(Box<Finding>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    file: PathBuf,
    place: Option<Place>,
    message: String,
    help: Vec<String>,
    refusal: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    line: usize,
    column: usize,
    text: String,
    width: usize,
}

/// The text of a configuration file, for pointing at it.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

impl Source {
    /// An error at `span`.
    pub(crate) fn error(&self, span: &Range<usize>, message: impl Into<String>) -> ConfigError {
        ConfigError::from(Finding {
            file: self.path.clone(),
            place: Some(self.place(span)),
            message: message.into(),
            help: Vec::new(),
            refusal: false,
        })
    }

    /// What the TOML parser says, in our words where we have better ones.
    pub(crate) fn toml_error(&self, error: &toml::de::Error) -> ConfigError {
        let message = error.message();
        let (message, help) = match unknown_key(message) {
            Some((key, known)) => (format!("unknown key `{key}`"), unknown_key_help(key, &known)),
            None => (message.trim_end().replace("missing field", "missing key"), Vec::new()),
        };
        ConfigError::from(Finding {
            file: self.path.clone(),
            place: error.span().map(|span| self.place(&span)),
            message,
            help,
            refusal: false,
        })
    }

    fn place(&self, span: &Range<usize>) -> Place {
        let mut start = span.start.min(self.text.len());
        while !self.text.is_char_boundary(start) {
            start -= 1;
        }
        let (before, rest) = self.text.split_at(start);
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        let lead = before.get(line_start..).unwrap_or_default();
        let rest_of_line = rest.lines().next().unwrap_or_default();
        let text = format!("{lead}{rest_of_line}");
        let length = span.end.saturating_sub(span.start).max(1);
        let width = rest_of_line.chars().count().min(length).max(1);
        Place {
            line: before.matches('\n').count() + 1,
            column: lead.chars().count() + 1,
            text: redacted(&text),
            width,
        }
    }
}

impl From<Finding> for ConfigError {
    fn from(finding: Finding) -> Self {
        Self(Box::new(finding))
    }
}

impl ConfigError {
    /// An error about the file as a whole.
    pub(crate) fn of_file(file: &Path, message: impl Into<String>) -> Self {
        Self::from(Finding {
            file: file.to_owned(),
            place: None,
            message: message.into(),
            help: Vec::new(),
            refusal: false,
        })
    }

    /// Sound, but this server will not run on it.
    pub(crate) fn refusal(mut self) -> Self {
        self.0.refusal = true;
        self
    }

    /// 2 for a configuration that is wrong, 78 for one that is sound but refused.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        if self.0.refusal { 78 } else { 2 }
    }

    /// With a line that says what to do.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.0.help.push(help.into());
        self
    }
}

impl core::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}", self.0.file.display())?;
        let Some(place) = &self.0.place else {
            write!(f, ": {}", self.0.message)?;
            for help in &self.0.help {
                write!(f, "\n  = {help}")?;
            }
            return Ok(());
        };
        let margin = place.line.to_string().len();
        writeln!(f, ":{}:{}: {}", place.line, place.column, self.0.message)?;
        writeln!(f, "{:margin$} |", "")?;
        writeln!(f, "{} | {}", place.line, place.text)?;
        write!(
            f,
            "{:margin$} | {}{}",
            "",
            " ".repeat(place.column - 1),
            "^".repeat(place.width)
        )?;
        for help in &self.0.help {
            write!(f, "\n{:margin$} = {help}", "")?;
        }
        Ok(())
    }
}

impl core::error::Error for ConfigError {}

/// A line of a configuration that may hold a secret by mistake is shown without its value.
fn redacted(line: &str) -> String {
    let Some((key, value)) = line.split_once('=') else {
        return line.to_owned();
    };
    let name = key.to_ascii_lowercase();
    let named = ["pin", "passw", "secret", "token", "seal_key"]
        .iter()
        .any(|word| name.contains(word));
    // A URL may carry `user:password@`, a PKCS#11 URI a pin-value.
    let inside = (value.contains("://") && value.contains('@')) || value.contains("pin-value");
    let by_name = value.contains("file") || value.contains("credential") || name.contains("_file");
    if inside || (named && !by_name) {
        format!("{key}= ***")
    } else {
        line.to_owned()
    }
}

/// Serde's words for an unknown key: the key, and the known ones.
fn unknown_key(message: &str) -> Option<(&str, Vec<&str>)> {
    let rest = message.strip_prefix("unknown field `")?;
    let (key, rest) = rest.split_once('`')?;
    let known = rest.split('`').skip(1).step_by(2).collect();
    Some((key, known))
}

fn unknown_key_help(key: &str, known: &[&str]) -> Vec<String> {
    let mut help = Vec::new();
    let close = known
        .iter()
        .map(|k| (strsim::damerau_levenshtein(key, k), *k))
        .filter(|(distance, k)| *distance <= 1 + k.len() / 4)
        .min();
    if let Some((_, close)) = close {
        help.push(format!("did you mean `{close}`?"));
    }
    if ["pin", "password", "secret", "seal_key", "key_value"].contains(&key) && close.is_none() {
        help.push("a secret has no place in configuration: name a file of mode 0600 or a credential".to_owned());
    }
    if !known.is_empty() {
        let mut keys = String::from("keys here: ");
        for (i, name) in known.iter().enumerate() {
            let _ = write!(keys, "{}{name}", if i == 0 { "" } else { ", " });
        }
        help.push(keys);
    }
    help
}
