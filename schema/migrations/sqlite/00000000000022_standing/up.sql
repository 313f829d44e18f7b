-- What the CA stands on, and what each act changed (SQLite). Its twin is ../../postgres/; a test compares the two.

-- What the row that a record is about was, and became: SHA-256 of it, as a backup writes it. Records of before have none.
ALTER TABLE audit ADD COLUMN before_sha256 BLOB CHECK (length(before_sha256) = 32);
ALTER TABLE audit ADD COLUMN after_sha256 BLOB CHECK (length(after_sha256) = 32);

-- Texts by their SHA-256, each once: rules with profiles, what is trusted, who issues.
CREATE TABLE archive (
    id INTEGER PRIMARY KEY,
    sha256 BLOB NOT NULL CHECK (length(sha256) = 32),
    bytes BLOB NOT NULL CHECK (length(bytes) > 0)
) STRICT;
CREATE UNIQUE INDEX archive_sha256 ON archive (sha256);

-- What servers began to stand on, one after the other; the last one of a kind counts.
CREATE TABLE standing (
    id INTEGER PRIMARY KEY,
    what TEXT NOT NULL CHECK (what IN ('policy', 'trust', 'issuer')),
    archive_id INTEGER NOT NULL REFERENCES archive (id),
    since INTEGER NOT NULL,
    entry_id INTEGER NOT NULL REFERENCES ledger_entry (id)
) STRICT;
CREATE UNIQUE INDEX standing_entry ON standing (entry_id);

CREATE TRIGGER archive_final BEFORE UPDATE ON archive
BEGIN SELECT RAISE(ABORT, 'archive: rows are final'); END;
CREATE TRIGGER archive_kept BEFORE DELETE ON archive
BEGIN SELECT RAISE(ABORT, 'archive: rows are kept'); END;
CREATE TRIGGER standing_final BEFORE UPDATE ON standing
BEGIN SELECT RAISE(ABORT, 'standing: rows are final'); END;
CREATE TRIGGER standing_kept BEFORE DELETE ON standing
BEGIN SELECT RAISE(ABORT, 'standing: rows are kept'); END;
