//! `[operators]`: people by name, told apart by their uid on this host.

use std::collections::BTreeMap;

use settings::{ConfigError, Source};
use toml::Spanned;

/// Longest name of a person.
const LONGEST: usize = 64;

/// Who may use the administration socket beside root and the server's own user. One uid, one name.
#[derive(Clone, Debug, Default)]
pub struct Operators(BTreeMap<u32, String>);

impl Operators {
    /// As written: name to uid.
    ///
    /// # Errors
    /// A name that is none, a uid with two names, and uids that are no person: whoever is root, or the server, can be
    /// anybody.
    pub(super) fn of(source: &Source, raw: BTreeMap<String, Spanned<u32>>) -> Result<Self, ConfigError> {
        let own = rustix::process::geteuid().as_raw();
        let mut people = BTreeMap::new();
        for (name, uid) in raw {
            let wrong = |what: String| Err(source.error(&uid.span(), what));
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-');
            if name.len() > LONGEST || !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(plain) {
                return wrong(format!(
                    "`{}`: a name has a to z, 0 to 9 and `.`, `_`, `-`, begins with a letter, and is not longer than {LONGEST}",
                    name.escape_default()
                ));
            }
            if name == "server" || name == "root" {
                return wrong(format!("`{name}` is nobody's name"));
            }
            let number = *uid.get_ref();
            if number == 0 || number == own {
                return wrong(format!(
                    "uid {number} is no person: whoever is root, or the server, can be anybody"
                ));
            }
            if let Some(other) = people.insert(number, name.clone()) {
                return wrong(format!("uid {number} is `{other}` already: one uid, one person"));
            }
        }
        Ok(Self(people))
    }

    /// These people, by uid.
    #[must_use]
    pub fn new(people: impl IntoIterator<Item = (u32, String)>) -> Self {
        Self(people.into_iter().collect())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The person of this uid.
    #[must_use]
    pub fn name(&self, uid: u32) -> Option<&str> {
        self.0.get(&uid).map(String::as_str)
    }
}
