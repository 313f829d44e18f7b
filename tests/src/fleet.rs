//! A record of many devices, each with one identity, put there past the server.

use std::process::Command;

use schema::{Store, StoreOptions};

/// The time of the record, Unix seconds.
pub const NOW: i64 = 1_800_000_000;
/// Seconds.
pub const DAY: i64 = 86_400;

/// Half of the devices have one of 24 kinds of Infineon TPMs, half one of 16 of others; lots of 1000; identities end all
/// over a year, in another order than they came, some days' worth soon.
pub fn fill(url: &str, count: u64) {
    drop(Store::open(url, &StoreOptions::default()).expect("the store"));
    let sqlite = url.strip_prefix("sqlite://");
    let (digest, numbers, hex) = match sqlite {
        Some(_) => (
            "CAST(printf('%032d', n) AS BLOB)",
            format!("WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {count})"),
            "printf('%08X', 65536 * (n / 2 % 24) + n % 7)",
        ),
        None => (
            "convert_to(lpad(n::text, 32, '0'), 'UTF8')",
            format!("OVERRIDING SYSTEM VALUE WITH s AS (SELECT generate_series(1::bigint, {count}) AS n)"),
            "upper(lpad(to_hex(65536 * (n / 2 % 24) + n % 7), 8, '0'))",
        ),
    };
    // PostgreSQL's rules of rows are for those that a server writes: a row of ten million costs a third without them.
    let (free, state, issue) = match sqlite {
        Some(_) => (
            "SELECT 1",
            "NULL, 'intent'",
            "UPDATE certificate SET state = 'issued', certificate = tbs",
        ),
        None => (
            "SET session_replication_role = replica",
            "convert_to(lpad(n::text, 32, '0'), 'UTF8'), 'issued'",
            "SET session_replication_role = origin",
        ),
    };
    let held = if sqlite.is_some() { "0" } else { "false" };
    let challenge = digest.replace("32", "16");
    let device = format!(
        "INSERT INTO device (id, name, ek_spki_sha256, held, batch, dns_names, ek_certificate_sha256, manufacturer, model, version, \
         assurance, anchor, created_at) {numbers} SELECT n, 'GW-' || n, {digest}, {held}, 'lot-' || (n / 1000), '[]', {digest}, \
         CASE n % 2 WHEN 0 THEN 'id:49465800' ELSE 'id:53544D20' END, \
         CASE n % 2 WHEN 0 THEN 'SLB967' || (n / 2 % 3) ELSE 'ST33-' || (n / 2 % 2) END, 'id:' || {hex}, \
         'hardware-verified', 'bench', {NOW} FROM s"
    );
    let enrollment = format!(
        "INSERT INTO enrollment (id, challenge, request_sha256, created_at) {numbers} SELECT n, {challenge}, {digest}, {NOW} FROM s"
    );
    let certificate = format!(
        "INSERT INTO certificate (id, serial, issuer_key_id, enrollment_id, device_id, profile, profile_sha256, key_role, spki_sha256, \
         tbs, certificate, state, not_before, not_after, created_at, decision) {numbers} SELECT n, {challenge}, {challenge}, n, n, \
         'device-ldevid', {digest}, 'identity', {digest}, {digest}, {state}, {NOW}, \
         {NOW} + 20 * {DAY} + (n * 7919 % {count}) * (365 * {DAY}) / {count}, {NOW}, '{{}}' FROM s"
    );
    let identity = format!(
        "INSERT INTO identity (device_id, profile, certificate_id, not_after) {numbers} SELECT n, 'device-ldevid', n, \
         {NOW} + 20 * {DAY} + (n * 7919 % {count}) * (365 * {DAY}) / {count} FROM s"
    );
    let statements = [
        free,
        "BEGIN",
        &device,
        &enrollment,
        &certificate,
        "INSERT INTO ledger_entry (bytes, certificate_id, created_at) SELECT serial, id, created_at FROM certificate",
        issue,
        &identity,
        "COMMIT",
        // As a record is that grew slowly; SQLite only needs what is known of its columns.
        if sqlite.is_some() { "ANALYZE" } else { "VACUUM ANALYZE" },
    ];
    let mut command = match sqlite {
        Some(path) => {
            let mut command = Command::new("sqlite3");
            // The store's own writer may just be at work.
            command
                .args(["-batch", "-bail", "-cmd", ".timeout 10000", path])
                .arg(statements.join(";\n"));
            command
        }
        None => {
            let mut command = Command::new("psql");
            command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url]);
            for statement in statements {
                command.args(["-c", statement]);
            }
            // The next number is not one of these.
            for table in ["device", "enrollment", "certificate", "identity"] {
                let next = format!("SELECT setval(pg_get_serial_sequence('{table}', 'id'), {count})");
                command.args(["-o", "/dev/null", "-c", &next]);
            }
            command
        }
    };
    let output = command.output().expect("sqlite3 and psql are installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
