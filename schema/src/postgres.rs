//! PostgreSQL: the engine when one machine is not enough.

use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Text};

use crate::StoreError;
use crate::link::Link;

/// PostgreSQL 14, as `server_version_num`.
const OLDEST: i64 = 140_000;

/// Of every session. Waits are bounded, so that a vanished server or client holds nobody up. A plan is made once: every
/// text asks about one row or a short list.
pub(crate) const SETTINGS: &str = "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED; \
    SET statement_timeout = '10s'; SET lock_timeout = '5s'; SET idle_in_transaction_session_timeout = '20s'; \
    SET client_min_messages = error; SET plan_cache_mode = force_generic_plan";

/// A server. No `Debug`: the URL may carry a password.
pub(crate) struct Place {
    conninfo: String,
    secrets: Vec<String>,
}

#[derive(QueryableByName)]
struct Facts {
    #[diesel(sql_type = BigInt)]
    version: i64,
    #[diesel(sql_type = Text)]
    fsync: String,
    #[diesel(sql_type = Text)]
    full_page_writes: String,
    #[diesel(sql_type = Text)]
    synchronous_commit: String,
    #[diesel(sql_type = Text)]
    encoding: String,
    #[diesel(sql_type = Bool)]
    standby: bool,
}

impl Place {
    pub(crate) fn parse(url: &str, connect_timeout: Duration) -> Result<Self, StoreError> {
        if url.contains('\0') {
            return Err(StoreError::Unusable("the storage URL has a NUL character".to_owned()));
        }
        // libpq reads whole seconds, and 1 as 2.
        let seconds = connect_timeout.as_secs().max(2);
        let mut conninfo = url.to_owned();
        for (key, value) in [
            ("connect_timeout", seconds.to_string()),
            ("application_name", "holdfast".to_owned()),
            // A peer that vanished is noticed in about ten seconds, whichever side was speaking.
            ("tcp_user_timeout", "10000".to_owned()),
            ("keepalives_idle", "5".to_owned()),
            ("keepalives_interval", "2".to_owned()),
            ("keepalives_count", "3".to_owned()),
        ] {
            if !url.contains(&format!("{key}=")) {
                conninfo.push(if conninfo.contains('?') { '&' } else { '?' });
                conninfo.push_str(&format!("{key}={value}"));
            }
        }
        Ok(Self {
            conninfo,
            secrets: secrets(url),
        })
    }

    pub(crate) fn connect(&self) -> Result<Link, StoreError> {
        let mut c = PgConnection::establish(&self.conninfo)
            .map_err(|e| StoreError::Unavailable(self.redact(&format!("cannot connect: {e}"))))?;
        let facts: Facts = diesel::sql_query(
            "SELECT current_setting('server_version_num')::bigint AS version, current_setting('fsync') AS fsync, \
             current_setting('full_page_writes') AS full_page_writes, \
             current_setting('synchronous_commit') AS synchronous_commit, \
             current_setting('server_encoding') AS encoding, pg_is_in_recovery() AS standby",
        )
        .get_result(&mut c)
        .map_err(|e| StoreError::Unavailable(self.redact(&e.to_string())))?;
        facts.judge()?;
        c.batch_execute(SETTINGS)
            .map_err(|e| StoreError::Unavailable(self.redact(&e.to_string())))?;
        Ok(Link::Postgres(c))
    }

    /// Take the password out of a text.
    pub(crate) fn redact(&self, text: &str) -> String {
        self.secrets
            .iter()
            .fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "***"))
    }
}

impl Facts {
    fn judge(&self) -> Result<(), StoreError> {
        if self.version < OLDEST {
            return Err(StoreError::Unusable(format!(
                "PostgreSQL {} is too old: 14 or newer is needed",
                self.version / 10_000
            )));
        }
        if self.fsync != "on" || self.full_page_writes != "on" || self.synchronous_commit == "off" {
            return Err(StoreError::Unusable(format!(
                "PostgreSQL would lose acknowledged records: fsync {}, full_page_writes {}, synchronous_commit {}",
                self.fsync, self.full_page_writes, self.synchronous_commit
            )));
        }
        if self.encoding != "UTF8" {
            return Err(StoreError::Unusable(format!(
                "the database's encoding is {}: UTF8 is needed",
                self.encoding
            )));
        }
        if self.standby {
            return Err(StoreError::Unavailable("this PostgreSQL is a standby".to_owned()));
        }
        Ok(())
    }
}

/// Every password in a URL, as written and percent-decoded.
fn secrets(url: &str) -> Vec<String> {
    let mut found = Vec::new();
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if let Some((user, _)) = authority.rsplit_once('@')
        && let Some((_, password)) = user.split_once(':')
    {
        found.push(password.to_owned());
    }
    // A password with a raw `/` or `?` breaks the authority early; hide all up to the last `@` then.
    if let Some((before, _)) = rest.rsplit_once('@')
        && let Some((_, password)) = before.split_once(':')
    {
        found.push(password.to_owned());
    }
    if let Some((_, query)) = rest.split_once('?') {
        for pair in query.split('&') {
            if let Some((key, value)) = pair.split_once('=')
                && key.contains("password")
            {
                found.push(value.to_owned());
            }
        }
    }
    let decoded: Vec<String> = found.iter().map(|s| percent_decode(s)).collect();
    found.extend(decoded);
    found.retain(|s| !s.is_empty());
    found.sort_by_key(|s| core::cmp::Reverse(s.len()));
    found.dedup();
    found
}

fn percent_decode(text: &str) -> String {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let pair = tail.get(..2).and_then(|d| std::str::from_utf8(d).ok());
        match pair.and_then(|d| u8::from_str_radix(d, 16).ok()) {
            Some(byte) if first == b'%' => {
                out.push(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            _ => {
                out.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            version: 140_000,
            fsync: "on".to_owned(),
            full_page_writes: "on".to_owned(),
            synchronous_commit: "remote_apply".to_owned(),
            encoding: "UTF8".to_owned(),
            standby: false,
        }
    }

    /// Break one fact; the refusal.
    fn refused(with: impl FnOnce(&mut Facts)) -> String {
        let mut facts = facts();
        with(&mut facts);
        facts.judge().unwrap_err().to_string()
    }

    #[test]
    fn each_fact_alone_is_refused() {
        assert!(facts().judge().is_ok());
        assert!(refused(|f| f.version = 139_999).contains("too old"));
        assert!(refused(|f| f.fsync = "off".to_owned()).contains("fsync off"));
        assert!(refused(|f| f.full_page_writes = "off".to_owned()).contains("full_page_writes off"));
        assert!(refused(|f| f.synchronous_commit = "off".to_owned()).contains("synchronous_commit off"));
        assert!(refused(|f| f.encoding = "SQL_ASCII".to_owned()).contains("SQL_ASCII"));
        assert!(refused(|f| f.standby = true).contains("standby"));
    }

    #[test]
    fn passwords_are_taken_out() {
        for (url, said, safe) in [
            ("postgres://u:pw1@h/d", "bad pw1 here", "bad *** here"),
            ("postgres://u:a%40b@h/d", "a%40b a@b", "*** ***"),
            ("postgres://u@h/d?password=pw2&x=1", "pw2", "***"),
            ("postgres://u@h/d?sslpassword=pw3", "pw3", "***"),
            ("postgres://u:p/w4@h/d", "p/w4", "***"),
            ("postgres://u@h/d", "nothing", "nothing"),
            ("postgres://u:@h/d", "nothing", "nothing"),
        ] {
            let place = Place::parse(url, Duration::from_secs(5)).unwrap();
            assert_eq!(place.redact(said), safe, "{url}");
        }
    }

    #[test]
    fn waits_are_bounded_unless_the_operator_says_otherwise() {
        let place = Place::parse("postgres://h/d", Duration::from_secs(5)).unwrap();
        assert!(place.conninfo.starts_with("postgres://h/d?connect_timeout=5&"));
        assert!(place.conninfo.contains("&tcp_user_timeout="));
        let place = Place::parse("postgres://h/d?connect_timeout=9", Duration::from_secs(5)).unwrap();
        assert_eq!(place.conninfo.matches("connect_timeout").count(), 1);
    }
}
