//! A transaction that stays open at PostgreSQL while others do something.

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};

/// What it holds, others wait for; its end takes back what it did.
pub struct Holder(Child);

impl Holder {
    /// Open a transaction in the database of `url` and run `statement` in it.
    ///
    /// # Panics
    /// When that does not work.
    #[must_use]
    pub fn of(url: &str, statement: &str) -> Self {
        let child = Command::new("psql")
            .args([
                "-X",
                "-q",
                "-A",
                "-t",
                "-v",
                "ON_ERROR_STOP=1",
                "-o",
                "/dev/null",
                "-d",
                url,
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("psql is installed");
        let mut holder = Self(child);
        holder.say(&format!("BEGIN; {statement}; \\echo held\n"));
        let mut said = [0; 4];
        let output = holder.0.stdout.as_mut().expect("an output");
        output.read_exact(&mut said).expect("a transaction");
        assert_eq!(&said, b"held");
        holder
    }

    /// Run one more statement in it, and commit.
    ///
    /// # Panics
    /// When that does not work.
    pub fn commits(mut self, statement: &str) {
        self.say(&format!("{statement}; COMMIT;\n"));
        drop(self.0.stdin.take());
        assert!(self.0.wait().expect("psql ends").success(), "{statement}");
    }

    fn say(&mut self, text: &str) {
        let input = self.0.stdin.as_mut().expect("an input");
        input.write_all(text.as_bytes()).expect("psql listens");
        input.flush().expect("psql listens");
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
