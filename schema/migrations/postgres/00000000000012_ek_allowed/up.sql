-- EKs without a certificate (PostgreSQL). Its twin is ../../sqlite/; a test compares the two.

-- An administrator's word on what kind of TPM an EK is in; it stands where a manufacturer's certificate would.
CREATE TABLE ek_allowed (
    ek_spki_sha256 BYTEA PRIMARY KEY NOT NULL CHECK (length(ek_spki_sha256) = 32),
    kind TEXT COLLATE "C" NOT NULL CHECK (kind IN ('hardware', 'virtual', 'software')),
    actor TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL
);

CREATE TRIGGER ek_allowed_final BEFORE UPDATE ON ek_allowed FOR EACH ROW
    EXECUTE FUNCTION holdfast_refuse('ek_allowed: rows are final');
CREATE TRIGGER ek_allowed_kept BEFORE DELETE ON ek_allowed FOR EACH ROW
    EXECUTE FUNCTION holdfast_refuse('ek_allowed: rows are kept');
CREATE TRIGGER ek_allowed_whole BEFORE TRUNCATE ON ek_allowed
    EXECUTE FUNCTION holdfast_refuse('ek_allowed: rows are kept');
