-- What Holdfast stores (SQLite). Its twin is ../../postgres/; a test compares the two.
-- Times are unix seconds. Tables append: an increasing row id, and random values only in indexes.

CREATE TABLE device (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 255),
    ek_spki_sha256 BLOB CHECK (length(ek_spki_sha256) = 32),
    first_contact_until INTEGER,
    held INTEGER NOT NULL CHECK (held IN (0, 1)),
    batch TEXT CHECK (length(batch) <= 255),
    dns_names TEXT NOT NULL,
    spiffe_id TEXT,
    ek_certificate_sha256 BLOB CHECK (length(ek_certificate_sha256) = 32),
    manufacturer TEXT,
    model TEXT,
    version TEXT,
    assurance TEXT,
    anchor TEXT,
    created_at INTEGER NOT NULL,
    -- Facts about a TPM: all or none, and only of a TPM that is bound.
    CHECK (ek_certificate_sha256 IS NULL OR ek_spki_sha256 IS NOT NULL),
    CHECK ((ek_certificate_sha256 IS NULL) = (manufacturer IS NULL)),
    CHECK ((ek_certificate_sha256 IS NULL) = (model IS NULL)),
    CHECK ((ek_certificate_sha256 IS NULL) = (version IS NULL)),
    CHECK ((ek_certificate_sha256 IS NULL) = (assurance IS NULL)),
    CHECK ((ek_certificate_sha256 IS NULL) = (anchor IS NULL))
) STRICT;
CREATE UNIQUE INDEX device_name ON device (name);
CREATE UNIQUE INDEX device_ek ON device (ek_spki_sha256);
CREATE INDEX device_batch ON device (batch, id);

-- One row per used challenge.
CREATE TABLE enrollment (
    id INTEGER PRIMARY KEY,
    challenge BLOB NOT NULL CHECK (length(challenge) = 16),
    request_sha256 BLOB NOT NULL CHECK (length(request_sha256) = 32),
    device_id INTEGER REFERENCES device (id),
    created_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX enrollment_challenge ON enrollment (challenge);
CREATE INDEX enrollment_time ON enrollment (created_at);

CREATE TABLE evidence (
    enrollment_id INTEGER PRIMARY KEY REFERENCES enrollment (id),
    digest BLOB NOT NULL CHECK (length(digest) = 32),
    bytes BLOB NOT NULL
) STRICT;

CREATE TABLE certificate (
    id INTEGER PRIMARY KEY,
    serial BLOB NOT NULL CHECK (length(serial) BETWEEN 1 AND 20),
    issuer_key_id BLOB NOT NULL CHECK (length(issuer_key_id) BETWEEN 1 AND 64),
    enrollment_id INTEGER NOT NULL REFERENCES enrollment (id),
    device_id INTEGER REFERENCES device (id),
    profile TEXT NOT NULL CHECK (length(profile) BETWEEN 1 AND 255),
    profile_sha256 BLOB NOT NULL CHECK (length(profile_sha256) = 32),
    key_role TEXT NOT NULL CHECK (key_role IN ('attestation', 'identity')),
    spki_sha256 BLOB NOT NULL CHECK (length(spki_sha256) = 32),
    tbs BLOB NOT NULL CHECK (length(tbs) > 0),
    certificate BLOB,
    state TEXT NOT NULL CHECK (state IN ('intent', 'issued', 'orphan')),
    not_before INTEGER NOT NULL,
    not_after INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    decision TEXT NOT NULL,
    CHECK ((state = 'issued') = (certificate IS NOT NULL)),
    -- What was signed is what was recorded.
    CHECK (certificate IS NULL OR instr(certificate, tbs) > 0)
) STRICT;
CREATE UNIQUE INDEX certificate_serial ON certificate (serial, issuer_key_id);
CREATE INDEX certificate_enrollment ON certificate (enrollment_id);
CREATE INDEX certificate_device ON certificate (device_id, id);
CREATE INDEX certificate_open ON certificate (created_at) WHERE state = 'intent';
CREATE INDEX certificate_orphan ON certificate (id) WHERE state = 'orphan';

-- The certificate that stands for a device under a profile.
CREATE TABLE identity (
    id INTEGER PRIMARY KEY,
    device_id INTEGER NOT NULL REFERENCES device (id),
    profile TEXT NOT NULL,
    certificate_id INTEGER NOT NULL REFERENCES certificate (id)
) STRICT;
CREATE UNIQUE INDEX identity_device_profile ON identity (device_id, profile);
CREATE UNIQUE INDEX identity_certificate ON identity (certificate_id);

-- A certified key belongs to one device for ever; without a device, to the CA itself.
CREATE TABLE key_owner (
    id INTEGER PRIMARY KEY,
    spki_sha256 BLOB NOT NULL CHECK (length(spki_sha256) = 32),
    device_id INTEGER REFERENCES device (id)
) STRICT;
CREATE UNIQUE INDEX key_owner_spki ON key_owner (spki_sha256);

CREATE TABLE challenge_attempt (
    id INTEGER PRIMARY KEY,
    challenge BLOB NOT NULL CHECK (length(challenge) = 16),
    failures INTEGER NOT NULL CHECK (failures > 0),
    last_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX challenge_attempt_challenge ON challenge_attempt (challenge);
CREATE INDEX challenge_attempt_time ON challenge_attempt (last_at);

CREATE TABLE blocked_key (
    id INTEGER PRIMARY KEY,
    spki_sha256 BLOB NOT NULL CHECK (length(spki_sha256) = 32),
    reason TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX blocked_key_spki ON blocked_key (spki_sha256);

CREATE TABLE audit (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    action TEXT NOT NULL,
    actor TEXT NOT NULL,
    subject TEXT NOT NULL CHECK (length(subject) <= 255),
    reason TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;
CREATE INDEX audit_subject ON audit (subject, id);
CREATE INDEX audit_time ON audit (at);

-- A certificate is born as an intent, leaves that state once, and changes in nothing else.
CREATE TRIGGER certificate_born BEFORE INSERT ON certificate
WHEN NEW.state <> 'intent'
BEGIN SELECT RAISE(ABORT, 'a certificate is born as an intent'); END;
CREATE TRIGGER certificate_final BEFORE UPDATE ON certificate
WHEN OLD.state <> 'intent' OR NEW.state = 'intent'
    OR NEW.id IS NOT OLD.id OR NEW.serial IS NOT OLD.serial OR NEW.issuer_key_id IS NOT OLD.issuer_key_id
    OR NEW.enrollment_id IS NOT OLD.enrollment_id OR NEW.device_id IS NOT OLD.device_id
    OR NEW.profile IS NOT OLD.profile OR NEW.profile_sha256 IS NOT OLD.profile_sha256
    OR NEW.key_role IS NOT OLD.key_role OR NEW.spki_sha256 IS NOT OLD.spki_sha256 OR NEW.tbs IS NOT OLD.tbs
    OR NEW.not_before IS NOT OLD.not_before OR NEW.not_after IS NOT OLD.not_after
    OR NEW.created_at IS NOT OLD.created_at OR NEW.decision IS NOT OLD.decision
BEGIN SELECT RAISE(ABORT, 'a certificate is final'); END;
CREATE TRIGGER certificate_kept BEFORE DELETE ON certificate
BEGIN SELECT RAISE(ABORT, 'certificate: rows are kept'); END;

-- One EK, one device: set once, never changed.
CREATE TRIGGER device_bound BEFORE UPDATE ON device
WHEN NEW.id IS NOT OLD.id OR NEW.name IS NOT OLD.name
    OR (OLD.ek_spki_sha256 IS NOT NULL AND NEW.ek_spki_sha256 IS NOT OLD.ek_spki_sha256)
BEGIN SELECT RAISE(ABORT, 'a device keeps its name and its EK'); END;
CREATE TRIGGER device_kept BEFORE DELETE ON device
BEGIN SELECT RAISE(ABORT, 'device: rows are kept'); END;

CREATE TRIGGER enrollment_final BEFORE UPDATE ON enrollment
BEGIN SELECT RAISE(ABORT, 'enrollment: rows are final'); END;
CREATE TRIGGER enrollment_kept BEFORE DELETE ON enrollment
BEGIN SELECT RAISE(ABORT, 'enrollment: rows are kept'); END;
CREATE TRIGGER evidence_final BEFORE UPDATE ON evidence
BEGIN SELECT RAISE(ABORT, 'evidence: rows are final'); END;
CREATE TRIGGER evidence_kept BEFORE DELETE ON evidence
BEGIN SELECT RAISE(ABORT, 'evidence: rows are kept'); END;
CREATE TRIGGER key_owner_final BEFORE UPDATE ON key_owner
BEGIN SELECT RAISE(ABORT, 'key_owner: rows are final'); END;
CREATE TRIGGER key_owner_kept BEFORE DELETE ON key_owner
BEGIN SELECT RAISE(ABORT, 'key_owner: rows are kept'); END;
CREATE TRIGGER blocked_key_final BEFORE UPDATE ON blocked_key
BEGIN SELECT RAISE(ABORT, 'blocked_key: rows are final'); END;
CREATE TRIGGER blocked_key_kept BEFORE DELETE ON blocked_key
BEGIN SELECT RAISE(ABORT, 'blocked_key: rows are kept'); END;
CREATE TRIGGER audit_final BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'audit: rows are final'); END;
CREATE TRIGGER audit_kept BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'audit: rows are kept'); END;
