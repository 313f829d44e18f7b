-- What each attestation key said last about its TPM's clock (PostgreSQL). Its twin is ../../sqlite/; a test compares the two.

-- Compared and written in the transaction that records what the attestation was for. Milliseconds; `clock` as two's
-- complement. The counters are obfuscated by numbers that are constant for a key: they mean something beside those of the
-- same key only. `alarmed_at`: when a later one went back; a release of the device forgets what is here then.
CREATE TABLE tpm_clock (
    device_id BIGINT NOT NULL REFERENCES device (id),
    ak_spki_sha256 BYTEA NOT NULL CHECK (length(ak_spki_sha256) = 32),
    clock BIGINT NOT NULL,
    reset_count BIGINT NOT NULL CHECK (reset_count BETWEEN 0 AND 4294967295),
    restart_count BIGINT NOT NULL CHECK (restart_count BETWEEN 0 AND 4294967295),
    safe BOOLEAN NOT NULL,
    seen_at BIGINT NOT NULL,
    alarmed_at BIGINT,
    PRIMARY KEY (device_id, ak_spki_sha256)
);

CREATE TRIGGER tpm_clock_bound BEFORE UPDATE ON tpm_clock FOR EACH ROW
    WHEN (NEW.device_id IS DISTINCT FROM OLD.device_id OR NEW.ak_spki_sha256 IS DISTINCT FROM OLD.ak_spki_sha256)
    EXECUTE FUNCTION holdfast_refuse('tpm_clock: a row is of one key');
