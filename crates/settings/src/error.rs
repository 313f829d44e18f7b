//! The finding, and the text it points at.

use core::fmt::Write as _;
use core::ops::Range;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use wire::Exit;

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
pub struct Source {
    /// As it is named in errors.
    pub path: PathBuf,
    /// All of it.
    pub text: String,
}

impl Source {
    /// The text as a `T`, whose unknown keys serde refuses.
    ///
    /// # Errors
    /// [`ConfigError`] at the place the parser stopped.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        toml::from_str(&self.text).map_err(|e| self.toml_error(&e))
    }

    /// An error at `span`, a range of bytes of the text.
    #[must_use]
    pub fn error(&self, span: &Range<usize>, message: impl Into<String>) -> ConfigError {
        ConfigError::from(Finding {
            file: self.path.clone(),
            place: Some(self.place(span)),
            message: message.into(),
            help: Vec::new(),
            refusal: false,
        })
    }

    /// What the TOML parser says, in our words where we have better ones.
    fn toml_error(&self, error: &toml::de::Error) -> ConfigError {
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
    #[must_use]
    pub fn of_file(file: &Path, message: impl Into<String>) -> Self {
        Self::from(Finding {
            file: file.to_owned(),
            place: None,
            message: message.into(),
            help: Vec::new(),
            refusal: false,
        })
    }

    /// Sound, but this program will not run on it.
    #[must_use]
    pub fn refusal(mut self) -> Self {
        self.0.refusal = true;
        self
    }

    /// [`Exit::Usage`] for a configuration that is wrong, [`Exit::Refuses`] for one that is sound but refused.
    #[must_use]
    pub fn exit(&self) -> Exit {
        if self.0.refusal { Exit::Refuses } else { Exit::Usage }
    }

    /// With a line that says what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Shape {
        server: Option<String>,
        #[serde(default)]
        state_dir: String,
    }

    fn refused(text: &str) -> String {
        let source = Source {
            path: "agent.toml".into(),
            text: text.into(),
        };
        let error = source.parse::<Shape>().unwrap_err();
        assert_eq!(error.exit(), Exit::Usage);
        assert_eq!(error.clone().refusal().exit(), Exit::Refuses);
        error.to_string()
    }

    #[test]
    fn an_unknown_key_has_a_place_a_caret_and_a_suggestion() {
        assert_eq!(
            refused("# a comment\nsevrer = \"x\"\n"),
            "agent.toml:2:1: unknown key `sevrer`\n  |\n2 | sevrer = \"x\"\n  | ^^^^^^\n  = did you mean `server`?\n  \
             = keys here: server, state_dir"
        );
        assert!(!refused("quite_another = 1\n").contains("did you mean"));
    }

    #[test]
    fn a_secret_in_the_wrong_place_is_not_shown_again() {
        let text = refused("pin = \"1234-5678\"\n");
        assert!(
            text.contains("a secret has no place in configuration") && !text.contains("5678"),
            "{text}"
        );
        let text = refused("server = 7 # https://me:hunter2@ca\n");
        assert!(text.contains("agent.toml:1:10") && !text.contains("hunter2"), "{text}");
    }

    #[test]
    fn a_good_file_is_taken() {
        let source = Source {
            path: "agent.toml".into(),
            text: "server = \"https://ca\"\nstate_dir = \"/x\"\n".into(),
        };
        let shape: Shape = source.parse().unwrap();
        assert_eq!(
            (shape.server.as_deref(), shape.state_dir.as_str()),
            (Some("https://ca"), "/x")
        );
    }
}
