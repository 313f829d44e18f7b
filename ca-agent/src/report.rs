//! How failures are said: a code, a cause, what to do, and an exit code.

use core::fmt::Write as _;

use serde::Serialize;
use wire::Exit;

/// One failure, for people and for programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Stable code, `E-…`.
    pub code: String,
    /// What failed.
    pub message: String,
    /// Why, as far as known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// When trying again makes sense.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// What to do, one step per entry.
    pub fix: Vec<String>,
    /// What else to know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Exit code of the command.
    pub exit: Exit,
}

impl Report {
    /// A report with nothing but a message.
    #[must_use]
    pub fn new(code: &str, exit: Exit, message: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            message: message.into(),
            cause: None,
            when: None,
            fix: Vec::new(),
            note: None,
            exit,
        }
    }

    /// With a cause.
    #[must_use]
    pub fn because(mut self, cause: impl Into<String>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// With a time.
    #[must_use]
    pub fn when(mut self, when: impl Into<String>) -> Self {
        self.when = Some(when.into());
        self
    }

    /// With a step to take.
    #[must_use]
    pub fn fix(mut self, step: impl Into<String>) -> Self {
        self.fix.push(step.into());
        self
    }

    /// With something else to know.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }
}

impl core::fmt::Display for Report {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut text = String::new();
        writeln!(text, "error[{}]: {}", self.code, self.message)?;
        let mut line = |key: &str, value: &str| writeln!(text, "  {key:<6}  {value}");
        if let Some(cause) = &self.cause {
            line("cause", cause)?;
        }
        if let Some(when) = &self.when {
            line("when", when)?;
        }
        for (n, step) in self.fix.iter().enumerate() {
            line(if n == 0 { "do" } else { "" }, step)?;
        }
        if let Some(note) = &self.note {
            line("note", note)?;
        }
        // What came from outside must not drive the terminal.
        let shown: String = text
            .chars()
            .map(|c| if c.is_control() && c != '\n' { '?' } else { c })
            .collect();
        f.write_str(shown.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_read_like_the_documented_ones() {
        let report = Report::new("E-TPM-LOCKOUT", Exit::TryAgain, "the TPM refuses")
            .because("10 of 10 tries used")
            .when("in 2 h")
            .fix("wait")
            .fix("or clear\u{1b}[2J it");
        assert_eq!(
            report.to_string(),
            "error[E-TPM-LOCKOUT]: the TPM refuses\n  cause   10 of 10 tries used\n  when    in 2 h\n  do      wait\n          \
             or clear?[2J it"
        );
    }
}
