-- What was checked and decided, beside the evidence (SQLite). Its twin is ../../postgres/; a test compares the two.

-- `path`: the CA certificates above the EK, each with its length before it.
CREATE TABLE transcript (
    enrollment_id INTEGER PRIMARY KEY REFERENCES enrollment (id),
    digest BLOB NOT NULL CHECK (length(digest) = 32),
    bytes BLOB NOT NULL,
    path BLOB NOT NULL
) STRICT;

-- Final, but that both can be erased: what the ledger says of them stays, and stays provable.
DROP TRIGGER evidence_final;
CREATE TRIGGER evidence_final BEFORE UPDATE ON evidence
WHEN NEW.enrollment_id IS NOT OLD.enrollment_id OR NEW.digest IS NOT OLD.digest OR length(NEW.bytes) > 0
BEGIN SELECT RAISE(ABORT, 'evidence: rows are final'); END;
CREATE TRIGGER transcript_final BEFORE UPDATE ON transcript
WHEN NEW.enrollment_id IS NOT OLD.enrollment_id OR NEW.digest IS NOT OLD.digest OR length(NEW.bytes) > 0 OR length(NEW.path) > 0
BEGIN SELECT RAISE(ABORT, 'transcript: rows are final'); END;
CREATE TRIGGER transcript_kept BEFORE DELETE ON transcript
BEGIN SELECT RAISE(ABORT, 'transcript: rows are kept'); END;
