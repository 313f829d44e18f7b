-- Certificates that a manifest names (PostgreSQL). Its twin is ../../sqlite/; a test compares the two.

-- The manufacturer's certificates of a device of a manifest: of its IAK, of its IDevID. `position` says the line. Others that
-- the line names are kept in the file.
CREATE TABLE expected_identity (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    manifest_id BIGINT NOT NULL REFERENCES manifest (id),
    position BIGINT NOT NULL CHECK (position >= 0),
    serial TEXT COLLATE "C" NOT NULL CHECK (length(serial) BETWEEN 1 AND 255),
    kind TEXT COLLATE "C" NOT NULL CHECK (kind IN ('iak', 'idevid')),
    certificate_sha256 BYTEA NOT NULL CHECK (length(certificate_sha256) = 32)
);
CREATE UNIQUE INDEX expected_identity_certificate ON expected_identity (certificate_sha256, manifest_id);
CREATE INDEX expected_identity_serial ON expected_identity (serial, manifest_id);

-- The line of a manifest that named what was shown.
ALTER TABLE iak_proof ADD COLUMN manifest_id BIGINT REFERENCES manifest (id);
ALTER TABLE iak_proof ADD COLUMN manifest_position BIGINT CHECK ((manifest_position IS NULL) = (manifest_id IS NULL));

CREATE TRIGGER expected_identity_born BEFORE INSERT ON expected_identity FOR EACH ROW
    EXECUTE FUNCTION holdfast_expected('expected_identity: of a manifest that is being read');
CREATE TRIGGER expected_identity_final BEFORE UPDATE ON expected_identity FOR EACH ROW
    EXECUTE FUNCTION holdfast_refuse('expected_identity: rows are final');
CREATE TRIGGER expected_identity_kept BEFORE DELETE ON expected_identity FOR EACH ROW
    EXECUTE FUNCTION holdfast_refuse('expected_identity: rows are kept');
CREATE TRIGGER expected_identity_whole BEFORE TRUNCATE ON expected_identity
    EXECUTE FUNCTION holdfast_refuse('expected_identity: rows are kept');
