//! PostgreSQL: the engine when one machine is not enough.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Integer, Text};

use crate::guard::Guard;
use crate::link::{Dated, Link};
use crate::vault::{Cluster, anchors};
use crate::{StoreError, StoreOptions};

/// PostgreSQL 14, as `server_version_num`.
const OLDEST: i64 = 140_000;

/// Of every session. Waits are bounded, so that a vanished server or client holds nobody up. A plan is made once: every
/// text asks about one row or a short list. For the same reason none is compiled: that takes longer than any of the answers.
pub(crate) const SETTINGS: &str = "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED; \
    SET statement_timeout = '10s'; SET lock_timeout = '5s'; SET idle_in_transaction_session_timeout = '20s'; \
    SET client_min_messages = error; SET plan_cache_mode = force_generic_plan; SET jit = off";

/// What is asked of a server before it is worked with.
const FACTS: &str = "SELECT current_setting('server_version_num')::bigint AS version, current_setting('fsync') AS fsync, \
    current_setting('full_page_writes') AS full_page_writes, \
    current_setting('synchronous_commit') AS synchronous_commit, \
    current_setting('synchronous_standby_names') AS standbys, \
    current_setting('server_encoding') AS encoding, pg_is_in_recovery() AS standby, \
    (SELECT system_identifier FROM pg_control_system()) AS system, \
    CASE WHEN pg_is_in_recovery() THEN 0 \
    ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint END AS timeline";

/// How long a standby may take to confirm that it has everything that is seen here, when a connection is opened.
const CONFIRMED: Duration = Duration::from_secs(10);

/// A server. No `Debug`: the URL may carry a password.
pub(crate) struct Place {
    conninfo: String,
    secrets: Vec<String>,
    /// Nothing counts as written before a standby has it.
    synchronous: bool,
    /// What this process has seen of it.
    pub(crate) guard: Guard,
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
    standbys: String,
    #[diesel(sql_type = Text)]
    encoding: String,
    #[diesel(sql_type = Bool)]
    standby: bool,
    #[diesel(sql_type = BigInt)]
    system: i64,
    #[diesel(sql_type = BigInt)]
    timeline: i64,
}

/// A session, told from another one that has the same number later.
#[derive(QueryableByName)]
struct Session {
    #[diesel(sql_type = Integer)]
    pid: i32,
    #[diesel(sql_type = Text)]
    since: String,
}

impl Place {
    pub(crate) fn parse(url: &str, options: &StoreOptions) -> Result<Self, StoreError> {
        if url.contains('\0') {
            return Err(StoreError::Unusable("the storage URL has a NUL character".to_owned()));
        }
        // libpq reads whole seconds, and 1 as 2.
        let seconds = options.connect_timeout.as_secs().max(2);
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
            synchronous: options.synchronous,
            guard: Guard::default(),
        })
    }

    /// Connect: the timeline that is written there, and the connection. The server must be fit to hold the record, and be the one this process has worked with.
    pub(crate) fn connect(&self) -> Result<Dated, StoreError> {
        if let Some(why) = self.guard.lost() {
            return Err(StoreError::Unusable(why.to_owned()));
        }
        let mut c = PgConnection::establish(&self.conninfo)
            .map_err(|e| StoreError::Unavailable(self.redact(&format!("cannot connect: {e}"))))?;
        let facts = self.facts(&mut c)?;
        facts.judge(self.synchronous)?;
        self.guard.meet(facts.cluster()).map_err(StoreError::Unavailable)?;
        c.batch_execute(SETTINGS).map_err(|e| self.away(&e))?;
        if self.synchronous {
            self.confirmed(&mut c)?;
        }
        let mut link = Link::Postgres(c);
        self.unchanged(&mut link)?;
        Ok((facts.timeline, link))
    }

    /// Whether the record still holds what this process saw of it.
    pub(crate) fn unchanged(&self, link: &mut Link) -> Result<(), StoreError> {
        let away = |fault: crate::link::Fault| StoreError::Unavailable(self.redact(&fault.text()));
        let Some(seen) = self.guard.mark() else { return Ok(()) };
        let (epoch, moved) = anchors::epoch_of(link).map_err(away)?;
        if moved {
            let why = crate::connect::moved_away(epoch);
            return Err(StoreError::Unusable(self.guard.lose(why)));
        }
        match anchors::behind(link, &seen).map_err(away)? {
            None => Ok(()),
            Some(shortfall) => {
                let why = format!(
                    "the database is older than what this server saw of it: {shortfall}. Take one that has it; or go on with \
                     this one: ca-cli db accept (docs/how-to/postgres.md)"
                );
                Err(StoreError::Unusable(self.guard.lose(why)))
            }
        }
    }

    /// Whether the settings are still those it was opened under, asked on a connection that is in use.
    pub(crate) fn still_fit(&self, c: &mut PgConnection) -> Result<(), StoreError> {
        self.facts(c)?.judge(self.synchronous)
    }

    fn facts(&self, c: &mut PgConnection) -> Result<Facts, StoreError> {
        diesel::sql_query(FACTS).get_result(c).map_err(|e| self.away(&e))
    }

    fn away(&self, error: &diesel::result::Error) -> StoreError {
        StoreError::Unavailable(self.redact(&error.to_string()))
    }

    /// Everything that is seen on this connection has reached a standby. A primary that crashed while it waited for one
    /// shows, after its restart, what no standby has: what was seen there and told would be lost with it.
    fn confirmed(&self, c: &mut PgConnection) -> Result<(), StoreError> {
        let session: Session = diesel::sql_query(
            "SELECT pid, backend_start::text AS since FROM pg_stat_activity WHERE pid = pg_backend_pid()",
        )
        .get_result(c)
        .map_err(|e| self.away(&e))?;
        std::thread::scope(|scope| {
            let (done, waits) = channel::<()>();
            scope.spawn(move || {
                if waits.recv_timeout(CONFIRMED) == Err(RecvTimeoutError::Timeout) {
                    self.end(&session);
                }
            });
            // Any commit waits for all that was written before it; this one writes nothing but a message to nobody.
            let confirmed = c.batch_execute(
                "BEGIN; SELECT pg_logical_emit_message(true, 'holdfast', 'is everything confirmed?'); COMMIT",
            );
            drop(done);
            confirmed.map_err(|e| {
                let text = format!("no standby confirms what is written ([database] synchronous): {e}");
                StoreError::Unavailable(self.redact(&text))
            })
        })
    }

    /// End a session of ours that waits for a standby, from beside.
    fn end(&self, session: &Session) {
        let Ok(mut beside) = PgConnection::establish(&self.conninfo) else {
            return;
        };
        let ended = diesel::sql_query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND backend_start::text = $2",
        )
        .bind::<Integer, _>(session.pid)
        .bind::<Text, _>(&session.since)
        .execute(&mut beside);
        if let Err(error) = ended {
            tracing::debug!(%error, "a session waits on");
        }
    }

    /// Take the password out of a text.
    pub(crate) fn redact(&self, text: &str) -> String {
        self.secrets
            .iter()
            .fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "***"))
    }
}

impl Facts {
    fn cluster(&self) -> Cluster {
        Cluster {
            system: self.system.cast_unsigned(),
            timeline: u32::try_from(self.timeline).unwrap_or_default(),
        }
    }

    fn judge(&self, synchronous: bool) -> Result<(), StoreError> {
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
        if synchronous && !matches!(self.synchronous_commit.as_str(), "on" | "remote_apply") {
            return Err(StoreError::Unusable(format!(
                "[database] synchronous = \"required\", and PostgreSQL answers before a standby has it on its disk: \
                 synchronous_commit is {}. Set it to on",
                self.synchronous_commit
            )));
        }
        // A standby has none of its own, and is said to be one below.
        if synchronous && !self.standby && self.standbys.trim().is_empty() {
            return Err(StoreError::Unusable(
                "[database] synchronous = \"required\", and PostgreSQL waits for no standby: synchronous_standby_names is \
                 empty. Name the standby there (docs/how-to/postgres.md)"
                    .to_owned(),
            ));
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

/// Whether PostgreSQL has no connection left.
pub(crate) fn is_crowd(text: &str) -> bool {
    text.contains("too many clients")
        || text.contains("connection slots are reserved")
        || text.contains("too many connections")
}

/// Whether PostgreSQL says that what lies on its disk is not what it wrote there: a page whose checksum is wrong, or that
/// ends early; a long value of which a part is missing, or does not unpack.
pub(crate) fn is_damage(text: &str) -> bool {
    [
        "invalid page in block",
        "could not read block",
        "missing chunk number",
        "compressed data is corrupt",
        "compressed pglz data is corrupt",
    ]
    .iter()
    .any(|words| text.contains(words))
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
            standbys: "FIRST 1 (b)".to_owned(),
            encoding: "UTF8".to_owned(),
            standby: false,
            system: 7,
            timeline: 1,
        }
    }

    /// Break one fact; the refusal.
    fn refused(with: impl FnOnce(&mut Facts)) -> String {
        let mut facts = facts();
        with(&mut facts);
        facts.judge(true).unwrap_err().to_string()
    }

    #[test]
    fn each_fact_alone_is_refused() {
        assert!(facts().judge(true).is_ok());
        assert!(refused(|f| f.version = 139_999).contains("too old"));
        assert!(refused(|f| f.fsync = "off".to_owned()).contains("fsync off"));
        assert!(refused(|f| f.full_page_writes = "off".to_owned()).contains("full_page_writes off"));
        assert!(refused(|f| f.synchronous_commit = "off".to_owned()).contains("synchronous_commit off"));
        assert!(refused(|f| f.encoding = "SQL_ASCII".to_owned()).contains("SQL_ASCII"));
        assert!(refused(|f| f.standby = true).contains("is a standby"));
        assert!(refused(|f| f.synchronous_commit = "local".to_owned()).contains("synchronous_commit is local"));
        assert!(refused(|f| f.synchronous_commit = "remote_write".to_owned()).contains("is remote_write"));
        assert!(refused(|f| f.standbys = " ".to_owned()).contains("synchronous_standby_names is empty"));
    }

    #[test]
    fn a_standby_is_asked_for_only_where_it_is_required() {
        let mut facts = facts();
        facts.synchronous_commit = "local".to_owned();
        facts.standbys = String::new();
        assert!(facts.judge(false).is_ok());
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
            let place = Place::parse(url, &StoreOptions::default()).unwrap();
            assert_eq!(place.redact(said), safe, "{url}");
        }
    }

    #[test]
    fn waits_are_bounded_unless_the_operator_says_otherwise() {
        let place = Place::parse("postgres://h/d", &StoreOptions::default()).unwrap();
        assert!(place.conninfo.starts_with("postgres://h/d?connect_timeout=5&"));
        assert!(place.conninfo.contains("&tcp_user_timeout="));
        let place = Place::parse("postgres://h/d?connect_timeout=9", &StoreOptions::default()).unwrap();
        assert_eq!(place.conninfo.matches("connect_timeout").count(), 1);
    }
}
