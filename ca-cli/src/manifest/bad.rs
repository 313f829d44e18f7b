//! What is wrong, line by line: the first of it is kept for the report, the rest is told as it is found. So a million bad
//! lines are each named, and not kept.

use crate::output::clean;

/// Kept for the report.
const KEPT: usize = 100;

/// Bad lines so far.
#[derive(Default)]
pub(crate) struct Bad {
    silent: bool,
    kept: Vec<(u64, String)>,
    count: u64,
}

impl Bad {
    /// Of a file that somebody else judges, too: only counted.
    pub(crate) fn silent() -> Self {
        Self {
            silent: true,
            ..Self::default()
        }
    }

    /// One more: its line, 0 where it has none, and why.
    pub(crate) fn push(&mut self, line: u64, why: String) {
        self.count = self.count.saturating_add(1);
        if self.silent {
            return;
        }
        if self.kept.len() < KEPT {
            self.kept.push((line, why));
        } else {
            eprintln!("{}", spoken(line, &why));
        }
    }

    /// How many.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The first of them.
    pub(crate) fn kept(&self) -> &[(u64, String)] {
        &self.kept
    }

    /// None; or all in words, a line each.
    pub(crate) fn told(&self) -> Option<String> {
        let lines: Vec<String> = self.kept.iter().map(|(line, why)| spoken(*line, why)).collect();
        match self
            .count
            .saturating_sub(u64::try_from(self.kept.len()).unwrap_or(u64::MAX))
        {
            _ if self.count == 0 => None,
            0 => Some(lines.join("\n")),
            more => Some(format!("{}\nand {more} more, told above", lines.join("\n"))),
        }
    }
}

fn spoken(line: u64, why: &str) -> String {
    match line {
        0 => clean(why),
        line => format!("line {line}: {}", clean(why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_hundred_are_kept_and_all_are_counted() {
        let mut bad = Bad::default();
        assert_eq!(bad.told(), None);
        bad.push(0, "one".to_owned());
        bad.push(3, "two".to_owned());
        assert_eq!(bad.told().as_deref(), Some("one\nline 3: two"));
        for line in 0..200 {
            bad.push(line, String::new());
        }
        assert_eq!((bad.count(), bad.kept().len()), (202, 100));
        assert!(bad.told().unwrap().ends_with("and 102 more, told above"));
    }
}
