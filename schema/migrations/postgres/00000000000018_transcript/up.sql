-- What was checked and decided, beside the evidence (PostgreSQL). Its twin is ../../sqlite/; a test compares the two.

-- `path`: the CA certificates above the EK, each with its length before it.
CREATE TABLE transcript (
    enrollment_id BIGINT PRIMARY KEY REFERENCES enrollment (id),
    digest BYTEA NOT NULL CHECK (length(digest) = 32),
    bytes BYTEA NOT NULL,
    path BYTEA NOT NULL
);

-- Final, but that both can be erased: what the ledger says of them stays, and stays provable.
DROP TRIGGER evidence_final ON evidence;
CREATE TRIGGER evidence_final BEFORE UPDATE ON evidence FOR EACH ROW
    WHEN (NEW.enrollment_id IS DISTINCT FROM OLD.enrollment_id OR NEW.digest IS DISTINCT FROM OLD.digest OR length(NEW.bytes) > 0)
    EXECUTE FUNCTION holdfast_refuse('evidence: rows are final');
CREATE TRIGGER transcript_final BEFORE UPDATE ON transcript FOR EACH ROW
    WHEN (NEW.enrollment_id IS DISTINCT FROM OLD.enrollment_id OR NEW.digest IS DISTINCT FROM OLD.digest
    OR length(NEW.bytes) > 0 OR length(NEW.path) > 0)
    EXECUTE FUNCTION holdfast_refuse('transcript: rows are final');
CREATE TRIGGER transcript_kept BEFORE DELETE ON transcript FOR EACH ROW
    EXECUTE FUNCTION holdfast_refuse('transcript: rows are kept');
CREATE TRIGGER transcript_whole BEFORE TRUNCATE ON transcript
    EXECUTE FUNCTION holdfast_refuse('transcript: rows are kept');
