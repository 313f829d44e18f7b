//! Who answers: people at the terminal, or the script of a rehearsal.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use ceremony::step::{Step, Typed};

use crate::exit::{Exit, Failure};
use crate::output::clean;

/// What somebody typed at a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// A line.
    Line(String),
    /// Something is other than the script says: what, and why it is accepted.
    Deviation(String),
    /// The step before is void: why.
    Void(String),
}

/// Who answers.
pub(crate) trait People {
    /// Show lines.
    fn show(&mut self, text: &str);
    /// Take a line for this step; `expected` is what will be accepted, if only one thing is.
    fn answer(&mut self, step: &Step, expected: Option<&str>) -> Result<Answer, Failure>;
}

/// People at a terminal.
pub(crate) struct Terminal;

/// The longest line anybody types.
const MAX_LINE: usize = 1000;

impl Terminal {
    /// Only where there is one: no ceremony reads a pipe.
    pub(crate) fn open() -> Result<Self, Failure> {
        if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
            return Ok(Self);
        }
        Err(Failure::new(
            Exit::Stopped,
            "a ceremony is held by people at a terminal, and there is none",
        )
        .fix("to go through the steps without people: ca-cli ceremony rehearse PLAN"))
    }
}

fn line(prompt: &str) -> Result<String, Failure> {
    let failed = |e: std::io::Error| Failure::new(Exit::Stopped, format!("terminal: {e}"));
    print!("{prompt}");
    std::io::stdout().flush().map_err(failed)?;
    let mut line = String::new();
    if std::io::stdin().lock().read_line(&mut line).map_err(failed)? == 0 {
        return Err(Failure::new(Exit::Stopped, "the terminal is closed").fix("go on with --resume"));
    }
    let line = clean(line.trim());
    if line.chars().count() > MAX_LINE {
        return Ok(String::new());
    }
    Ok(line)
}

impl People for Terminal {
    fn show(&mut self, text: &str) {
        for line in text.lines() {
            println!("{}", clean(line));
        }
    }

    fn answer(&mut self, step: &Step, _: Option<&str>) -> Result<Answer, Failure> {
        let prompt = match &step.typed {
            Typed::Enter => "[Enter] > ".to_owned(),
            Typed::Note(what) => format!("{what} > "),
            Typed::Word(_) | Typed::Digits(_) | Typed::Secret(_) => "> ".to_owned(),
        };
        loop {
            let typed = line(&prompt)?;
            match typed.as_str() {
                "!deviation" => {
                    let what = line("what is other than the script says, and why it is accepted > ")?;
                    if !what.is_empty() {
                        return Ok(Answer::Deviation(what));
                    }
                }
                "!void" => {
                    let why = line("why the step before is void > ")?;
                    if !why.is_empty() {
                        return Ok(Answer::Void(why));
                    }
                }
                other if other.starts_with('!') => println!("!deviation or !void"),
                _ => return Ok(Answer::Line(typed)),
            }
        }
    }
}

/// The answers of a rehearsal: what is expected, word for word.
pub(crate) struct Scripted<'a> {
    /// Gets one line for each step.
    pub(crate) say: &'a dyn Fn(&str),
}

impl People for Scripted<'_> {
    fn show(&mut self, text: &str) {
        if let Some(first) = text.lines().find(|l| l.starts_with("Step ")) {
            (self.say)(first);
        }
    }

    fn answer(&mut self, step: &Step, expected: Option<&str>) -> Result<Answer, Failure> {
        let text = match (&step.typed, expected) {
            (_, Some(expected)) => expected.to_owned(),
            (Typed::Note(_), None) => "REHEARSAL".to_owned(),
            _ => String::new(),
        };
        Ok(Answer::Line(text))
    }
}
