-- What the CA stands on, and what each act changed (PostgreSQL). Its twin is ../../sqlite/; a test compares the two.

-- What the row that a record is about was, and became: SHA-256 of it, as a backup writes it. Records of before have none.
ALTER TABLE audit ADD COLUMN before_sha256 BYTEA CHECK (length(before_sha256) = 32);
ALTER TABLE audit ADD COLUMN after_sha256 BYTEA CHECK (length(after_sha256) = 32);

-- Texts by their SHA-256, each once: rules with profiles, what is trusted, who issues.
CREATE TABLE archive (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sha256 BYTEA NOT NULL CHECK (length(sha256) = 32),
    bytes BYTEA NOT NULL CHECK (length(bytes) > 0)
);
CREATE UNIQUE INDEX archive_sha256 ON archive (sha256);

-- What servers began to stand on, one after the other; the last one of a kind counts.
CREATE TABLE standing (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    what TEXT COLLATE "C" NOT NULL CHECK (what IN ('policy', 'trust', 'issuer')),
    archive_id BIGINT NOT NULL REFERENCES archive (id),
    since BIGINT NOT NULL,
    entry_id BIGINT NOT NULL REFERENCES ledger_entry (id)
);
CREATE UNIQUE INDEX standing_entry ON standing (entry_id);

CREATE TRIGGER archive_final BEFORE UPDATE ON archive FOR EACH ROW
    EXECUTE FUNCTION holdfast_refuse('archive: rows are final');
CREATE TRIGGER archive_kept BEFORE DELETE ON archive FOR EACH ROW
    EXECUTE FUNCTION holdfast_refuse('archive: rows are kept');
CREATE TRIGGER archive_whole BEFORE TRUNCATE ON archive
    EXECUTE FUNCTION holdfast_refuse('archive: rows are kept');
CREATE TRIGGER standing_final BEFORE UPDATE ON standing FOR EACH ROW
    EXECUTE FUNCTION holdfast_refuse('standing: rows are final');
CREATE TRIGGER standing_kept BEFORE DELETE ON standing FOR EACH ROW
    EXECUTE FUNCTION holdfast_refuse('standing: rows are kept');
CREATE TRIGGER standing_whole BEFORE TRUNCATE ON standing
    EXECUTE FUNCTION holdfast_refuse('standing: rows are kept');
