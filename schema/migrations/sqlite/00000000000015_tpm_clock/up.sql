-- What each attestation key said last about its TPM's clock (SQLite). Its twin is ../../postgres/; a test compares the two.

-- Compared and written in the transaction that records what the attestation was for. Milliseconds; `clock` as two's
-- complement. The counters are obfuscated by numbers that are constant for a key: they mean something beside those of the
-- same key only. `alarmed_at`: when a later one went back; a release of the device forgets what is here then.
CREATE TABLE tpm_clock (
    device_id INTEGER NOT NULL REFERENCES device (id),
    ak_spki_sha256 BLOB NOT NULL CHECK (length(ak_spki_sha256) = 32),
    clock INTEGER NOT NULL,
    reset_count INTEGER NOT NULL CHECK (reset_count BETWEEN 0 AND 4294967295),
    restart_count INTEGER NOT NULL CHECK (restart_count BETWEEN 0 AND 4294967295),
    safe INTEGER NOT NULL CHECK (safe IN (0, 1)),
    seen_at INTEGER NOT NULL,
    alarmed_at INTEGER,
    PRIMARY KEY (device_id, ak_spki_sha256)
) STRICT;

CREATE TRIGGER tpm_clock_bound BEFORE UPDATE ON tpm_clock
WHEN NEW.device_id IS NOT OLD.device_id OR NEW.ak_spki_sha256 IS NOT OLD.ak_spki_sha256
BEGIN SELECT RAISE(ABORT, 'tpm_clock: a row is of one key'); END;
