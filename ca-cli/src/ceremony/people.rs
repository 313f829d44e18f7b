//! Who answers: people at the terminal, or the script of a rehearsal.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use ceremony::share::{SecretKind, Share};
use ceremony::step::{Step, Typed};
use zeroize::Zeroizing;

use crate::custody::shares::{self, ShareSource};
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
pub(crate) trait People: ShareSource {
    /// Give the officer of this role the sheet of a share, unseen by the others.
    fn hand_out(&mut self, role: &str, kind: SecretKind, share: u8, sheet: &str) -> Result<(), Failure>;
    /// Show lines.
    fn show(&mut self, text: &str);
    /// Take a line for this step; `expected` is what will be accepted, if only one thing is.
    fn answer(&mut self, step: &Step, expected: Option<&str>) -> Result<Answer, Failure>;
}

/// People at a terminal.
pub(crate) struct Terminal {
    /// Where sheets are printed; without it they are shown.
    printer: Option<PathBuf>,
}

/// The longest line anybody types.
const MAX_LINE: usize = 1000;

impl Terminal {
    /// Only where there is one: no ceremony reads a pipe.
    pub(crate) fn open(printer: Option<PathBuf>) -> Result<Self, Failure> {
        if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
            return Ok(Self { printer });
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

impl ShareSource for Terminal {
    fn say(&mut self, text: &str) {
        println!("{text}");
    }

    fn share(&mut self, which: &str, _: SecretKind, _: u8) -> Result<Share, Failure> {
        shares::type_share(&mut shares::Tty, which)
    }
}

/// Forget the screen and what scrolled off it.
const CLEAR: &str = "\x1b[2J\x1b[3J\x1b[H";

impl People for Terminal {
    fn hand_out(&mut self, role: &str, kind: SecretKind, share: u8, sheet: &str) -> Result<(), Failure> {
        if let Some(printer) = &self.printer {
            let failed = |e: std::io::Error| Failure::new(Exit::Failed, format!("{}: {e}", printer.display()));
            line(&format!(
                "{role} stands at the printer, alone: share {share} of the {kind} [Enter] > "
            ))?;
            let mut device = std::fs::OpenOptions::new().append(true).open(printer).map_err(failed)?;
            device.write_all(sheet.as_bytes()).map_err(failed)?;
            device.write_all(b"\x0c").map_err(failed)?;
            line(&format!("{role} has the sheet in hand [Enter] > "))?;
            return Ok(());
        }
        line(&format!(
            "{role} stands at the screen, alone: share {share} of the {kind} [Enter] > "
        ))?;
        println!("{CLEAR}{sheet}");
        line(&format!("{role} has copied it; the screen is cleared [Enter] > "))?;
        println!("{CLEAR}");
        Ok(())
    }

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
    /// Where the sheets of shares are kept, in files of mode 0600.
    pub(crate) secrets: &'a Path,
}

impl Scripted<'_> {
    fn sheet(&self, kind: SecretKind, share: u8) -> PathBuf {
        let kind = match kind {
            SecretKind::TokenPin => "token-pin",
            SecretKind::SoPin => "so-pin",
            SecretKind::BackupKey => "backup-key",
        };
        self.secrets.join(format!("{kind}-share-{share}.txt"))
    }
}

impl ShareSource for Scripted<'_> {
    fn say(&mut self, text: &str) {
        (self.say)(text);
    }

    fn share(&mut self, _: &str, kind: SecretKind, turn: u8) -> Result<Share, Failure> {
        let path = self.sheet(kind, turn);
        let bytes = Zeroizing::new(crate::exit::read(&path)?);
        shares::of_sheet(&bytes).map_err(|e| Failure::new(Exit::No, format!("{}: {e}", path.display())))
    }
}

impl People for Scripted<'_> {
    fn hand_out(&mut self, _: &str, kind: SecretKind, share: u8, sheet: &str) -> Result<(), Failure> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let path = self.sheet(kind, share);
        let opened = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path);
        let written = opened.and_then(|mut file| file.write_all(sheet.as_bytes()).and_then(|()| file.sync_all()));
        written.map_err(|e| Failure::new(Exit::Failed, format!("{}: {e}", path.display())))
    }

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
