-- EKs without a certificate (SQLite). Its twin is ../../postgres/; a test compares the two.

-- An administrator's word on what kind of TPM an EK is in; it stands where a manufacturer's certificate would.
CREATE TABLE ek_allowed (
    ek_spki_sha256 BLOB PRIMARY KEY NOT NULL CHECK (length(ek_spki_sha256) = 32),
    kind TEXT NOT NULL CHECK (kind IN ('hardware', 'virtual', 'software')),
    actor TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;

CREATE TRIGGER ek_allowed_final BEFORE UPDATE ON ek_allowed
BEGIN SELECT RAISE(ABORT, 'ek_allowed: rows are final'); END;
CREATE TRIGGER ek_allowed_kept BEFORE DELETE ON ek_allowed
BEGIN SELECT RAISE(ABORT, 'ek_allowed: rows are kept'); END;
