-- What Holdfast stores (PostgreSQL). Its twin is ../../sqlite/; a test compares the two.
-- Times are unix seconds. Text is compared byte for byte (COLLATE "C"), as SQLite does.

CREATE TABLE device (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL CHECK (length(name) BETWEEN 1 AND 255),
    ek_spki_sha256 BYTEA CHECK (length(ek_spki_sha256) = 32),
    first_contact_until BIGINT,
    held BOOLEAN NOT NULL,
    batch TEXT COLLATE "C" CHECK (length(batch) <= 255),
    dns_names TEXT COLLATE "C" NOT NULL,
    spiffe_id TEXT COLLATE "C",
    ek_certificate_sha256 BYTEA CHECK (length(ek_certificate_sha256) = 32),
    manufacturer TEXT COLLATE "C",
    model TEXT COLLATE "C",
    version TEXT COLLATE "C",
    assurance TEXT COLLATE "C",
    anchor TEXT COLLATE "C",
    created_at BIGINT NOT NULL,
    -- Facts about a TPM: all or none, and only of a TPM that is bound.
    CHECK (ek_certificate_sha256 IS NULL OR ek_spki_sha256 IS NOT NULL),
    CHECK ((ek_certificate_sha256 IS NULL) = (manufacturer IS NULL)),
    CHECK ((ek_certificate_sha256 IS NULL) = (model IS NULL)),
    CHECK ((ek_certificate_sha256 IS NULL) = (version IS NULL)),
    CHECK ((ek_certificate_sha256 IS NULL) = (assurance IS NULL)),
    CHECK ((ek_certificate_sha256 IS NULL) = (anchor IS NULL))
);
CREATE UNIQUE INDEX device_name ON device (name);
CREATE UNIQUE INDEX device_ek ON device (ek_spki_sha256);
CREATE INDEX device_batch ON device (batch, id);

-- One row per used challenge.
CREATE TABLE enrollment (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    challenge BYTEA NOT NULL CHECK (length(challenge) = 16),
    request_sha256 BYTEA NOT NULL CHECK (length(request_sha256) = 32),
    device_id BIGINT REFERENCES device (id),
    created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX enrollment_challenge ON enrollment (challenge);
CREATE INDEX enrollment_time ON enrollment (created_at);

CREATE TABLE evidence (
    enrollment_id BIGINT PRIMARY KEY REFERENCES enrollment (id),
    digest BYTEA NOT NULL CHECK (length(digest) = 32),
    bytes BYTEA NOT NULL
);

CREATE TABLE certificate (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    serial BYTEA NOT NULL CHECK (length(serial) BETWEEN 1 AND 20),
    issuer_key_id BYTEA NOT NULL CHECK (length(issuer_key_id) BETWEEN 1 AND 64),
    enrollment_id BIGINT NOT NULL REFERENCES enrollment (id),
    device_id BIGINT REFERENCES device (id),
    profile TEXT COLLATE "C" NOT NULL CHECK (length(profile) BETWEEN 1 AND 255),
    profile_sha256 BYTEA NOT NULL CHECK (length(profile_sha256) = 32),
    key_role TEXT COLLATE "C" NOT NULL CHECK (key_role IN ('attestation', 'identity')),
    spki_sha256 BYTEA NOT NULL CHECK (length(spki_sha256) = 32),
    tbs BYTEA NOT NULL CHECK (length(tbs) > 0),
    certificate BYTEA,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('intent', 'issued', 'orphan')),
    not_before BIGINT NOT NULL,
    not_after BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    decision TEXT COLLATE "C" NOT NULL,
    CHECK ((state = 'issued') = (certificate IS NOT NULL)),
    -- What was signed is what was recorded.
    CHECK (certificate IS NULL OR position(tbs IN certificate) > 0)
);
CREATE UNIQUE INDEX certificate_serial ON certificate (serial, issuer_key_id);
CREATE INDEX certificate_enrollment ON certificate (enrollment_id);
CREATE INDEX certificate_device ON certificate (device_id, id);
CREATE INDEX certificate_open ON certificate (created_at) WHERE state = 'intent';
CREATE INDEX certificate_orphan ON certificate (id) WHERE state = 'orphan';

-- The certificate that stands for a device under a profile.
CREATE TABLE identity (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device_id BIGINT NOT NULL REFERENCES device (id),
    profile TEXT COLLATE "C" NOT NULL,
    certificate_id BIGINT NOT NULL REFERENCES certificate (id)
);
CREATE UNIQUE INDEX identity_device_profile ON identity (device_id, profile);
CREATE UNIQUE INDEX identity_certificate ON identity (certificate_id);

-- A certified key belongs to one device for ever; without a device, to the CA itself.
CREATE TABLE key_owner (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    spki_sha256 BYTEA NOT NULL CHECK (length(spki_sha256) = 32),
    device_id BIGINT REFERENCES device (id)
);
CREATE UNIQUE INDEX key_owner_spki ON key_owner (spki_sha256);

CREATE TABLE challenge_attempt (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    challenge BYTEA NOT NULL CHECK (length(challenge) = 16),
    failures BIGINT NOT NULL CHECK (failures > 0),
    last_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX challenge_attempt_challenge ON challenge_attempt (challenge);
CREATE INDEX challenge_attempt_time ON challenge_attempt (last_at);

CREATE TABLE blocked_key (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    spki_sha256 BYTEA NOT NULL CHECK (length(spki_sha256) = 32),
    reason TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX blocked_key_spki ON blocked_key (spki_sha256);

CREATE TABLE audit (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at BIGINT NOT NULL,
    action TEXT COLLATE "C" NOT NULL,
    actor TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL CHECK (length(subject) <= 255),
    reason TEXT COLLATE "C" NOT NULL,
    detail TEXT COLLATE "C" NOT NULL
);
CREATE INDEX audit_subject ON audit (subject, id);
CREATE INDEX audit_time ON audit (at);

CREATE FUNCTION holdfast_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'restrict_violation';
END
$$;

-- A certificate is born as an intent, leaves that state once, and changes in nothing else.
CREATE TRIGGER certificate_born BEFORE INSERT ON certificate FOR EACH ROW
    WHEN (NEW.state <> 'intent')
    EXECUTE FUNCTION holdfast_refuse('a certificate is born as an intent');
CREATE TRIGGER certificate_final BEFORE UPDATE ON certificate FOR EACH ROW
    WHEN (OLD.state <> 'intent' OR NEW.state = 'intent'
        OR ROW (NEW.id, NEW.serial, NEW.issuer_key_id, NEW.enrollment_id, NEW.device_id, NEW.profile,
                NEW.profile_sha256, NEW.key_role, NEW.spki_sha256, NEW.tbs, NEW.not_before, NEW.not_after,
                NEW.created_at, NEW.decision)
           IS DISTINCT FROM
           ROW (OLD.id, OLD.serial, OLD.issuer_key_id, OLD.enrollment_id, OLD.device_id, OLD.profile,
                OLD.profile_sha256, OLD.key_role, OLD.spki_sha256, OLD.tbs, OLD.not_before, OLD.not_after,
                OLD.created_at, OLD.decision))
    EXECUTE FUNCTION holdfast_refuse('a certificate is final');
CREATE TRIGGER certificate_kept BEFORE DELETE ON certificate FOR EACH ROW
    EXECUTE FUNCTION holdfast_refuse('certificate: rows are kept');

-- One EK, one device: set once, never changed.
CREATE TRIGGER device_bound BEFORE UPDATE ON device FOR EACH ROW
    WHEN (NEW.id IS DISTINCT FROM OLD.id OR NEW.name IS DISTINCT FROM OLD.name
        OR (OLD.ek_spki_sha256 IS NOT NULL AND NEW.ek_spki_sha256 IS DISTINCT FROM OLD.ek_spki_sha256))
    EXECUTE FUNCTION holdfast_refuse('a device keeps its name and its EK');
CREATE TRIGGER device_kept BEFORE DELETE ON device FOR EACH ROW
    EXECUTE FUNCTION holdfast_refuse('device: rows are kept');

CREATE TRIGGER enrollment_final BEFORE UPDATE ON enrollment FOR EACH ROW
    EXECUTE FUNCTION holdfast_refuse('enrollment: rows are final');
CREATE TRIGGER enrollment_kept BEFORE DELETE ON enrollment FOR EACH ROW
    EXECUTE FUNCTION holdfast_refuse('enrollment: rows are kept');
CREATE TRIGGER evidence_final BEFORE UPDATE ON evidence FOR EACH ROW
    EXECUTE FUNCTION holdfast_refuse('evidence: rows are final');
CREATE TRIGGER evidence_kept BEFORE DELETE ON evidence FOR EACH ROW
    EXECUTE FUNCTION holdfast_refuse('evidence: rows are kept');
CREATE TRIGGER key_owner_final BEFORE UPDATE ON key_owner FOR EACH ROW
    EXECUTE FUNCTION holdfast_refuse('key_owner: rows are final');
CREATE TRIGGER key_owner_kept BEFORE DELETE ON key_owner FOR EACH ROW
    EXECUTE FUNCTION holdfast_refuse('key_owner: rows are kept');
CREATE TRIGGER blocked_key_final BEFORE UPDATE ON blocked_key FOR EACH ROW
    EXECUTE FUNCTION holdfast_refuse('blocked_key: rows are final');
CREATE TRIGGER blocked_key_kept BEFORE DELETE ON blocked_key FOR EACH ROW
    EXECUTE FUNCTION holdfast_refuse('blocked_key: rows are kept');
CREATE TRIGGER audit_final BEFORE UPDATE ON audit FOR EACH ROW
    EXECUTE FUNCTION holdfast_refuse('audit: rows are final');
CREATE TRIGGER audit_kept BEFORE DELETE ON audit FOR EACH ROW
    EXECUTE FUNCTION holdfast_refuse('audit: rows are kept');

-- TRUNCATE passes row triggers by; SQLite has no such statement.
CREATE TRIGGER certificate_whole BEFORE TRUNCATE ON certificate
    EXECUTE FUNCTION holdfast_refuse('certificate: rows are kept');
CREATE TRIGGER enrollment_whole BEFORE TRUNCATE ON enrollment
    EXECUTE FUNCTION holdfast_refuse('enrollment: rows are kept');
CREATE TRIGGER audit_whole BEFORE TRUNCATE ON audit
    EXECUTE FUNCTION holdfast_refuse('audit: rows are kept');
