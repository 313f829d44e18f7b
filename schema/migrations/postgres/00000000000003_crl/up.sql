-- CRLs (PostgreSQL). Its twin is ../../sqlite/; a test compares the two.

-- Certificates that were ever revoked or on hold, with what a CRL needs of them: the steps say the rest. `crl_url` is
-- the distribution point inside the certificate, octet for octet; NULL when it has none.
CREATE TABLE crl_entry (
    certificate_id BIGINT PRIMARY KEY REFERENCES certificate (id),
    issuer_key_id BYTEA NOT NULL CHECK (length(issuer_key_id) BETWEEN 1 AND 64),
    crl_url TEXT COLLATE "C" CHECK (length(crl_url) BETWEEN 1 AND 2048),
    serial BYTEA NOT NULL CHECK (length(serial) BETWEEN 1 AND 20),
    not_after BIGINT NOT NULL
);
CREATE INDEX crl_entry_point ON crl_entry (issuer_key_id, crl_url, certificate_id);

-- The last number taken for an issuer; its row is the lock under which numbers are taken and revocations are read.
CREATE TABLE crl_sequence (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    issuer_key_id BYTEA NOT NULL CHECK (length(issuer_key_id) BETWEEN 1 AND 64),
    number BIGINT NOT NULL CHECK (number > 0)
);
CREATE UNIQUE INDEX crl_sequence_issuer ON crl_sequence (issuer_key_id);

-- A place where a CRL is published: the URL that certificates carry, or the one of the complete CRL. With `complete`
-- the CRL lists every certificate of the issuer, else those that carry this URL. Then what is published there.
CREATE TABLE crl_point (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    issuer_key_id BYTEA NOT NULL CHECK (length(issuer_key_id) BETWEEN 1 AND 64),
    url TEXT COLLATE "C" NOT NULL CHECK (length(url) BETWEEN 1 AND 2048),
    complete BIGINT NOT NULL CHECK (complete IN (0, 1)),
    crl_id BIGINT,
    number BIGINT,
    this_update BIGINT,
    next_update BIGINT,
    entries BIGINT,
    steps BIGINT,
    published_at BIGINT,
    der BYTEA,
    CHECK ((crl_id IS NULL) = (der IS NULL) AND (crl_id IS NULL) = (number IS NULL)
        AND (crl_id IS NULL) = (this_update IS NULL) AND (crl_id IS NULL) = (next_update IS NULL)
        AND (crl_id IS NULL) = (entries IS NULL) AND (crl_id IS NULL) = (steps IS NULL)
        AND (crl_id IS NULL) = (published_at IS NULL))
);
CREATE UNIQUE INDEX crl_point_url ON crl_point (issuer_key_id, url);

-- One row for each number taken, whatever became of it. What is about to be signed is written down before it is:
-- `steps` is how many steps of revocations it stands on.
CREATE TABLE crl (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    issuer_key_id BYTEA NOT NULL CHECK (length(issuer_key_id) BETWEEN 1 AND 64),
    number BIGINT NOT NULL CHECK (number > 0),
    crl_point_id BIGINT NOT NULL REFERENCES crl_point (id),
    created_at BIGINT NOT NULL,
    this_update BIGINT,
    next_update BIGINT CHECK (next_update > this_update),
    entries BIGINT CHECK (entries >= 0),
    steps BIGINT CHECK (steps >= 0),
    tbs_sha256 BYTEA CHECK (length(tbs_sha256) = 32),
    CHECK ((tbs_sha256 IS NULL) = (this_update IS NULL) AND (tbs_sha256 IS NULL) = (next_update IS NULL)
        AND (tbs_sha256 IS NULL) = (entries IS NULL) AND (tbs_sha256 IS NULL) = (steps IS NULL))
);
CREATE UNIQUE INDEX crl_number ON crl (issuer_key_id, number);
CREATE INDEX crl_of_point ON crl (crl_point_id, number);
ALTER TABLE crl_point ADD FOREIGN KEY (crl_id) REFERENCES crl (id);

-- Each trigger holds the rule of its name.
CREATE FUNCTION holdfast_crl() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    fits BOOLEAN;
BEGIN
    -- Statements of their own: each is planned only for the table that has its columns.
    IF TG_NAME = 'revocation_entered' THEN
        -- No step without its place in a CRL.
        fits := EXISTS (SELECT 1 FROM crl_entry AS e WHERE e.certificate_id = NEW.certificate_id);
    ELSIF TG_NAME = 'crl_entry_true' THEN
        fits := EXISTS (SELECT 1 FROM certificate AS c WHERE c.id = NEW.certificate_id
            AND c.issuer_key_id = NEW.issuer_key_id AND c.serial = NEW.serial AND c.not_after = NEW.not_after);
    ELSIF TG_NAME = 'crl_grows' THEN
        -- A number is that of the sequence, greater than every one before.
        fits := NEW.number = (SELECT s.number FROM crl_sequence AS s WHERE s.issuer_key_id = NEW.issuer_key_id)
            AND NEW.number > (SELECT coalesce(max(c.number), 0) FROM crl AS c WHERE c.issuer_key_id = NEW.issuer_key_id);
    ELSIF TG_NAME = 'crl_point_recorded' THEN
        fits := EXISTS (SELECT 1 FROM crl AS c WHERE c.id = NEW.crl_id AND c.crl_point_id = NEW.id
            AND c.number = NEW.number AND c.this_update = NEW.this_update AND c.next_update = NEW.next_update
            AND c.entries = NEW.entries AND c.steps = NEW.steps);
    END IF;
    IF fits IS NOT TRUE THEN
        RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER revocation_entered BEFORE INSERT ON revocation FOR EACH ROW
    EXECUTE FUNCTION holdfast_crl('a certificate is in the list of its CRL before it is revoked');
CREATE TRIGGER crl_entry_true BEFORE INSERT ON crl_entry FOR EACH ROW
    EXECUTE FUNCTION holdfast_crl('an entry of a CRL says what the certificate says');
CREATE TRIGGER crl_entry_final BEFORE UPDATE ON crl_entry FOR EACH ROW
    EXECUTE FUNCTION holdfast_refuse('crl_entry: rows are final');
CREATE TRIGGER crl_entry_kept BEFORE DELETE ON crl_entry FOR EACH ROW
    EXECUTE FUNCTION holdfast_refuse('crl_entry: rows are kept');

CREATE TRIGGER crl_sequence_grows BEFORE UPDATE ON crl_sequence FOR EACH ROW
    WHEN (NEW.id IS DISTINCT FROM OLD.id OR NEW.issuer_key_id IS DISTINCT FROM OLD.issuer_key_id
        OR NEW.number <= OLD.number)
    EXECUTE FUNCTION holdfast_refuse('numbers of CRLs grow');
CREATE TRIGGER crl_sequence_kept BEFORE DELETE ON crl_sequence FOR EACH ROW
    EXECUTE FUNCTION holdfast_refuse('crl_sequence: rows are kept');

-- What a number is for is said once.
CREATE TRIGGER crl_grows BEFORE INSERT ON crl FOR EACH ROW
    EXECUTE FUNCTION holdfast_crl('numbers of CRLs grow');
CREATE TRIGGER crl_final BEFORE UPDATE ON crl FOR EACH ROW
    WHEN (OLD.tbs_sha256 IS NOT NULL OR NEW.tbs_sha256 IS NULL OR NEW.id IS DISTINCT FROM OLD.id
        OR NEW.issuer_key_id IS DISTINCT FROM OLD.issuer_key_id OR NEW.number IS DISTINCT FROM OLD.number
        OR NEW.crl_point_id IS DISTINCT FROM OLD.crl_point_id OR NEW.created_at IS DISTINCT FROM OLD.created_at)
    EXECUTE FUNCTION holdfast_refuse('crl: rows are final');
CREATE TRIGGER crl_kept BEFORE DELETE ON crl FOR EACH ROW
    EXECUTE FUNCTION holdfast_refuse('crl: rows are kept');

-- What is published is never replaced by something older, nor taken away, and was written down before.
CREATE TRIGGER crl_point_born BEFORE INSERT ON crl_point FOR EACH ROW
    WHEN (NEW.crl_id IS NOT NULL)
    EXECUTE FUNCTION holdfast_refuse('a place is there before something is published in it');
CREATE TRIGGER crl_point_grows BEFORE UPDATE ON crl_point FOR EACH ROW
    WHEN (NEW.number IS NULL OR NEW.number <= OLD.number OR NEW.this_update < OLD.this_update
        OR NEW.steps < OLD.steps)
    EXECUTE FUNCTION holdfast_refuse('a published CRL is replaced by a newer one only');
CREATE TRIGGER crl_point_same BEFORE UPDATE ON crl_point FOR EACH ROW
    WHEN (NEW.id IS DISTINCT FROM OLD.id OR NEW.issuer_key_id IS DISTINCT FROM OLD.issuer_key_id
        OR NEW.url IS DISTINCT FROM OLD.url OR NEW.complete IS DISTINCT FROM OLD.complete)
    EXECUTE FUNCTION holdfast_refuse('crl_point: the place stays');
CREATE TRIGGER crl_point_recorded BEFORE UPDATE ON crl_point FOR EACH ROW
    EXECUTE FUNCTION holdfast_crl('a CRL is written down before it is published');
CREATE TRIGGER crl_point_kept BEFORE DELETE ON crl_point FOR EACH ROW
    EXECUTE FUNCTION holdfast_refuse('crl_point: rows are kept');

CREATE TRIGGER crl_entry_whole BEFORE TRUNCATE ON crl_entry
    EXECUTE FUNCTION holdfast_refuse('crl_entry: rows are kept');
CREATE TRIGGER crl_whole BEFORE TRUNCATE ON crl
    EXECUTE FUNCTION holdfast_refuse('crl: rows are kept');
CREATE TRIGGER crl_point_whole BEFORE TRUNCATE ON crl_point
    EXECUTE FUNCTION holdfast_refuse('crl_point: rows are kept');
