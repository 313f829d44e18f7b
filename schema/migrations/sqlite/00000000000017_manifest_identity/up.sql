-- Certificates that a manifest names (SQLite). Its twin is ../../postgres/; a test compares the two.

-- The manufacturer's certificates of a device of a manifest: of its IAK, of its IDevID. `position` says the line. Others that
-- the line names are kept in the file.
CREATE TABLE expected_identity (
    id INTEGER PRIMARY KEY,
    manifest_id INTEGER NOT NULL REFERENCES manifest (id),
    position INTEGER NOT NULL CHECK (position >= 0),
    serial TEXT NOT NULL CHECK (length(serial) BETWEEN 1 AND 255),
    kind TEXT NOT NULL CHECK (kind IN ('iak', 'idevid')),
    certificate_sha256 BLOB NOT NULL CHECK (length(certificate_sha256) = 32)
) STRICT;
CREATE UNIQUE INDEX expected_identity_certificate ON expected_identity (certificate_sha256, manifest_id);
CREATE INDEX expected_identity_serial ON expected_identity (serial, manifest_id);

-- The line of a manifest that named what was shown.
ALTER TABLE iak_proof ADD COLUMN manifest_id INTEGER REFERENCES manifest (id);
ALTER TABLE iak_proof ADD COLUMN manifest_position INTEGER CHECK ((manifest_position IS NULL) = (manifest_id IS NULL));

CREATE TRIGGER expected_identity_born BEFORE INSERT ON expected_identity
WHEN NOT EXISTS (SELECT 1 FROM manifest AS m WHERE m.id = NEW.manifest_id AND m.state = 'open')
BEGIN SELECT RAISE(ABORT, 'expected_identity: of a manifest that is being read'); END;
CREATE TRIGGER expected_identity_final BEFORE UPDATE ON expected_identity
BEGIN SELECT RAISE(ABORT, 'expected_identity: rows are final'); END;
CREATE TRIGGER expected_identity_kept BEFORE DELETE ON expected_identity
BEGIN SELECT RAISE(ABORT, 'expected_identity: rows are kept'); END;
