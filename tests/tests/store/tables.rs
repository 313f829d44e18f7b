//! The tables: alike on both engines, and refusing by themselves what the code never asks for.

use std::collections::BTreeMap;

use issuance::Recorder as _;

use crate::kit::*;
use crate::raw::{lines, run};

/// Statements that would rewrite what is recorded, and a word of the refusal.
const REWRITES: [(&str, &str); 35] = [
    (
        "UPDATE certificate SET state = 'orphan', certificate = NULL WHERE state = 'issued'",
        "final",
    ),
    (
        "UPDATE certificate SET state = 'intent', certificate = NULL WHERE state = 'issued'",
        "final",
    ),
    (
        "UPDATE certificate SET certificate = tbs WHERE state = 'issued'",
        "final",
    ),
    ("UPDATE certificate SET not_after = 0 WHERE state = 'issued'", "final"),
    (
        "UPDATE certificate SET state = 'issued', certificate = tbs WHERE state = 'orphan'",
        "final",
    ),
    (
        "UPDATE certificate SET state = 'intent' WHERE state = 'orphan'",
        "final",
    ),
    (
        "UPDATE certificate SET state = 'orphan', tbs = serial WHERE state = 'intent'",
        "final",
    ),
    (
        "UPDATE certificate SET state = 'orphan', serial = tbs WHERE state = 'intent'",
        "final",
    ),
    (
        "UPDATE certificate SET state = 'orphan', issuer_key_id = serial WHERE state = 'intent'",
        "final",
    ),
    (
        "UPDATE certificate SET state = 'orphan', device_id = NULL WHERE state = 'intent'",
        "final",
    ),
    (
        "UPDATE certificate SET state = 'orphan', profile = 'other' WHERE state = 'intent'",
        "final",
    ),
    (
        "UPDATE certificate SET state = 'orphan', spki_sha256 = profile_sha256 WHERE state = 'intent'",
        "final",
    ),
    (
        "UPDATE certificate SET state = 'orphan', not_after = 0 WHERE state = 'intent'",
        "final",
    ),
    (
        "UPDATE certificate SET state = 'orphan', decision = '' WHERE state = 'intent'",
        "final",
    ),
    ("UPDATE certificate SET not_after = 0 WHERE state = 'intent'", "final"),
    ("DELETE FROM certificate", "kept"),
    (
        "UPDATE device SET ek_spki_sha256 = ek_certificate_sha256",
        "keeps its name and its EK",
    ),
    (
        "UPDATE device SET ek_spki_sha256 = NULL, ek_certificate_sha256 = NULL, manufacturer = NULL, model = NULL, \
         version = NULL, assurance = NULL, anchor = NULL",
        "keeps its name and its EK",
    ),
    ("UPDATE device SET name = 'other'", "keeps its name and its EK"),
    ("DELETE FROM device", "kept"),
    ("UPDATE enrollment SET device_id = NULL", "final"),
    ("DELETE FROM enrollment", "kept"),
    ("UPDATE evidence SET bytes = digest", "final"),
    ("UPDATE evidence SET bytes = bytes, digest = digest", "final"),
    ("DELETE FROM evidence", "kept"),
    ("UPDATE transcript SET bytes = digest", "final"),
    ("UPDATE transcript SET path = digest", "final"),
    ("DELETE FROM transcript", "kept"),
    ("UPDATE key_owner SET device_id = NULL", "final"),
    ("DELETE FROM key_owner", "kept"),
    ("UPDATE blocked_key SET reason = ''", "final"),
    ("DELETE FROM blocked_key", "kept"),
    ("UPDATE audit SET detail = ''", "final"),
    ("DELETE FROM audit", "kept"),
    (
        "INSERT INTO certificate (serial, issuer_key_id, enrollment_id, profile, profile_sha256, key_role, spki_sha256, \
         tbs, certificate, state, not_before, not_after, created_at, decision) SELECT profile_sha256, issuer_key_id, \
         enrollment_id, profile, profile_sha256, key_role, spki_sha256, tbs, certificate, state, 0, 0, 0, '' \
         FROM certificate WHERE state = 'issued'",
        "born as an intent",
    ),
];

/// Rows no UNIQUE, CHECK or foreign key lets in, each with everything else valid.
const MISFITS: [(&str, &str); 17] = [
    (
        "INSERT INTO enrollment (challenge, request_sha256, created_at) SELECT challenge, request_sha256, 0 FROM enrollment",
        "unique",
    ),
    (
        "INSERT INTO key_owner (spki_sha256) SELECT spki_sha256 FROM key_owner",
        "unique",
    ),
    (
        "INSERT INTO blocked_key (spki_sha256, reason, created_at) SELECT spki_sha256, '', 0 FROM blocked_key",
        "unique",
    ),
    (
        "INSERT INTO identity (device_id, profile, certificate_id) \
         SELECT device_id, profile, (SELECT max(id) FROM certificate) FROM identity",
        "unique",
    ),
    (
        "INSERT INTO certificate (serial, issuer_key_id, enrollment_id, profile, profile_sha256, key_role, spki_sha256, \
         tbs, state, not_before, not_after, created_at, decision) SELECT serial, issuer_key_id, enrollment_id, profile, \
         profile_sha256, key_role, spki_sha256, tbs, 'intent', 0, 0, 0, '' FROM certificate",
        "unique",
    ),
    (
        "INSERT INTO device (name, held, dns_names, created_at) SELECT name, held, dns_names, 0 FROM device",
        "unique",
    ),
    (
        "INSERT INTO device (name, held, dns_names, created_at, ek_spki_sha256) \
         SELECT 'other', held, dns_names, 0, ek_spki_sha256 FROM device WHERE ek_spki_sha256 IS NOT NULL",
        "unique",
    ),
    (
        "INSERT INTO enrollment (challenge, request_sha256, created_at) SELECT request_sha256, request_sha256, 0 FROM enrollment",
        "check",
    ),
    (
        "INSERT INTO enrollment (challenge, request_sha256, created_at) SELECT challenge, challenge, 0 FROM enrollment",
        "check",
    ),
    (
        "INSERT INTO enrollment (challenge, request_sha256, device_id, created_at) SELECT substr(request_sha256, 1, 16), request_sha256, 999, 0 FROM enrollment LIMIT 1",
        "foreign key",
    ),
    (
        "INSERT INTO identity (device_id, profile, certificate_id) SELECT device_id, 'other', 999 FROM identity LIMIT 1",
        "foreign key",
    ),
    (
        "UPDATE certificate SET state = 'issued' WHERE state = 'intent'",
        "check",
    ),
    (
        "UPDATE certificate SET state = 'orphan', certificate = tbs WHERE state = 'intent'",
        "check",
    ),
    (
        "UPDATE certificate SET state = 'issued', certificate = serial WHERE state = 'intent'",
        "check",
    ),
    ("UPDATE certificate SET state = 'lost' WHERE state = 'intent'", "check"),
    ("UPDATE device SET model = NULL WHERE model IS NOT NULL", "check"),
    (
        "INSERT INTO challenge_attempt (challenge, failures, last_at) SELECT challenge, 0, 0 FROM enrollment",
        "check",
    ),
];

both! {
    fn rows_defend_themselves(bench) {
        let store = bench.open();
        for name in ["x", "y", "z"] {
            allow(&store, name);
        }
        let a = intent("s1", "p", "k1");
        store.intend(&order("c1", "x", "tpm-x"), std::slice::from_ref(&a)).unwrap();
        store.issued(&id("c1"), &[signed(&a)]).unwrap();
        store.intend(&order("c2", "y", "tpm-y"), &[intent("s2", "p", "k2")]).unwrap();
        store.recover(NOW, NOW).unwrap();
        store.intend(&order("c3", "z", "tpm-z"), &[intent("s3", "p", "k3")]).unwrap();
        store.block_key(&digest("k9"), "leaked", &audit(NOW, "key.blocked", "k9")).unwrap();
        // With an entry, so that each row below is refused for its own reason.
        run(bench, "INSERT INTO ledger_entry (bytes, certificate_id, created_at) SELECT tbs, id, 0 FROM certificate \
            WHERE state = 'intent'").unwrap();
        for (sql, word) in REWRITES.into_iter().chain(MISFITS) {
            let refusal = run(bench, sql).expect_err(sql);
            assert!(refusal.to_lowercase().contains(&word.to_lowercase()), "{sql}\n{refusal}");
        }
        // The same moves are free where they are meant to be.
        run(bench, "UPDATE certificate SET state = 'orphan' WHERE state = 'intent'").unwrap();
        run(bench, "UPDATE device SET held = (held = held) WHERE name = 'x'").unwrap();
        if bench.is_postgres() {
            for table in ["certificate", "enrollment", "audit", "revocation", "renewal"] {
                let refusal = run(bench, &format!("TRUNCATE {table} CASCADE")).unwrap_err();
                assert!(refusal.contains("kept"), "{refusal}");
            }
        }
    }

    fn no_table_is_too_wide(bench) {
        drop(bench.open());
        let sql = if bench.is_postgres() { POSTGRES_COLUMNS } else { SQLITE_COLUMNS };
        let mut widths: BTreeMap<String, usize> = BTreeMap::new();
        for line in lines(bench, sql) {
            *widths.entry(line.split('.').next().unwrap().to_owned()).or_default() += 1;
        }
        assert_eq!(widths.len(), 35);
        assert!(widths.values().all(|w| *w <= 16), "{widths:?}");
    }
}

const SQLITE_COLUMNS: &str = "SELECT m.name || '.' || c.name || ' ' || c.type || ' ' || \
    CASE WHEN c.\"notnull\" OR c.pk THEN 'required' ELSE 'optional' END AS line \
    FROM sqlite_schema AS m JOIN pragma_table_info(m.name) AS c \
    WHERE m.type = 'table' AND m.name NOT LIKE '#_#_%' ESCAPE '#' ORDER BY m.name, c.cid";

const POSTGRES_COLUMNS: &str = "SELECT t.relname || '.' || a.attname || ' ' || CASE a.atttypid::regtype::text \
    WHEN 'bigint' THEN 'INTEGER' WHEN 'boolean' THEN 'INTEGER' WHEN 'bytea' THEN 'BLOB' WHEN 'text' THEN 'TEXT' \
    ELSE 'strange' END || ' ' || CASE WHEN a.attnotnull THEN 'required' ELSE 'optional' END AS line \
    FROM pg_class AS t JOIN pg_namespace AS n ON n.oid = t.relnamespace JOIN pg_attribute AS a ON a.attrelid = t.oid \
    WHERE n.nspname = 'public' AND t.relkind = 'r' AND a.attnum > 0 AND t.relname NOT LIKE '#_#_%' ESCAPE '#' \
    ORDER BY t.relname COLLATE \"C\", a.attnum";

const SQLITE_INDEXES: &str = "SELECT l.name || ' on ' || m.name || '(' || group_concat(i.name, ',' ORDER BY i.seqno) \
    || ')' || CASE WHEN l.\"unique\" THEN ' unique' ELSE '' END || CASE WHEN l.partial THEN ' partial' ELSE '' END \
    AS line FROM sqlite_schema AS m JOIN pragma_index_list(m.name) AS l JOIN pragma_index_info(l.name) AS i \
    WHERE m.type = 'table' AND l.origin = 'c' GROUP BY l.name ORDER BY l.name";

const POSTGRES_INDEXES: &str = "SELECT i.relname || ' on ' || t.relname || '(' || \
    string_agg(a.attname, ',' ORDER BY k.ord) || ')' || CASE WHEN x.indisunique THEN ' unique' ELSE '' END || \
    CASE WHEN x.indpred IS NOT NULL THEN ' partial' ELSE '' END AS line FROM pg_index AS x \
    JOIN pg_class AS i ON i.oid = x.indexrelid JOIN pg_class AS t ON t.oid = x.indrelid \
    JOIN pg_namespace AS n ON n.oid = t.relnamespace CROSS JOIN unnest(x.indkey) WITH ORDINALITY AS k (att, ord) \
    JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = k.att \
    WHERE n.nspname = 'public' AND NOT x.indisprimary \
    GROUP BY i.relname, t.relname, x.indisunique, x.indpred IS NOT NULL ORDER BY i.relname COLLATE \"C\"";

const SQLITE_KEYS: &str = "SELECT m.name || '.' || k.\"from\" || ' -> ' || k.\"table\" || '.' || k.\"to\" AS line \
    FROM sqlite_schema AS m JOIN pragma_foreign_key_list(m.name) AS k WHERE m.type = 'table' ORDER BY line";

const POSTGRES_KEYS: &str = "SELECT t.relname || '.' || a.attname || ' -> ' || r.relname || '.' || b.attname AS line \
    FROM pg_constraint AS c JOIN pg_class AS t ON t.oid = c.conrelid JOIN pg_class AS r ON r.oid = c.confrelid \
    JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = c.conkey[1] \
    JOIN pg_attribute AS b ON b.attrelid = r.oid AND b.attnum = c.confkey[1] \
    WHERE c.contype = 'f' ORDER BY 1";

const SQLITE_TRIGGERS: &str =
    "SELECT name || ' on ' || tbl_name AS line FROM sqlite_schema WHERE type = 'trigger' ORDER BY name";

// TRUNCATE, which these refuse, is a statement of PostgreSQL only.
const POSTGRES_TRIGGERS: &str = "SELECT g.tgname || ' on ' || t.relname AS line FROM pg_trigger AS g \
    JOIN pg_class AS t ON t.oid = g.tgrelid WHERE NOT g.tgisinternal AND g.tgname NOT LIKE '%#_whole' ESCAPE '#' \
    ORDER BY g.tgname COLLATE \"C\"";

const SQLITE_CHECKS: &str = "SELECT name || ' ' || ((length(sql) - length(replace(sql, 'CHECK', ''))) / 5) AS line \
    FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE '#_#_%' ESCAPE '#' ORDER BY name";

// `held IN (0, 1)`, and `safe` of a clock, is the type BOOLEAN there.
const POSTGRES_CHECKS: &str = "SELECT t.relname || ' ' || (count(c.oid) + CASE WHEN t.relname IN ('device', 'tpm_clock') THEN 1 ELSE 0 \
    END) AS line FROM pg_class AS t JOIN pg_namespace AS n ON n.oid = t.relnamespace \
    LEFT JOIN pg_constraint AS c ON c.conrelid = t.oid AND c.contype = 'c' \
    WHERE n.nspname = 'public' AND t.relkind = 'r' AND t.relname NOT LIKE '#_#_%' ESCAPE '#' \
    GROUP BY t.relname ORDER BY t.relname COLLATE \"C\"";

#[test]
fn both_engines_have_the_same_tables() {
    let (one, other) = (Bench::sqlite(), Bench::postgres());
    drop((one.open(), other.open()));
    for (sqlite, postgres, at_least) in [
        (SQLITE_COLUMNS, POSTGRES_COLUMNS, 60),
        (SQLITE_INDEXES, POSTGRES_INDEXES, 18),
        (SQLITE_KEYS, POSTGRES_KEYS, 7),
        (SQLITE_TRIGGERS, POSTGRES_TRIGGERS, 15),
        (SQLITE_CHECKS, POSTGRES_CHECKS, 9),
    ] {
        let here = lines(&one, sqlite);
        assert!(here.len() >= at_least, "{here:#?}");
        assert_eq!(here, lines(&other, postgres));
    }
    let folding = "SELECT t.relname || '.' || a.attname AS line FROM pg_class AS t \
        JOIN pg_namespace AS n ON n.oid = t.relnamespace JOIN pg_attribute AS a ON a.attrelid = t.oid \
        JOIN pg_collation AS c ON c.oid = a.attcollation WHERE n.nspname = 'public' AND t.relkind = 'r' \
        AND t.relname NOT LIKE '#_#_%' ESCAPE '#' AND a.attnum > 0 AND c.collname <> 'C'";
    assert_eq!(lines(&other, folding), [""; 0], "text is compared byte for byte");
}
