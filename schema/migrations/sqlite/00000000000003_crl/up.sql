-- CRLs (SQLite). Its twin is ../../postgres/; a test compares the two.

-- Certificates that were ever revoked or on hold, with what a CRL needs of them: the steps say the rest. `crl_url` is
-- the distribution point inside the certificate, octet for octet; NULL when it has none.
CREATE TABLE crl_entry (
    certificate_id INTEGER PRIMARY KEY REFERENCES certificate (id),
    issuer_key_id BLOB NOT NULL CHECK (length(issuer_key_id) BETWEEN 1 AND 64),
    crl_url TEXT CHECK (length(crl_url) BETWEEN 1 AND 2048),
    serial BLOB NOT NULL CHECK (length(serial) BETWEEN 1 AND 20),
    not_after INTEGER NOT NULL
) STRICT;
CREATE INDEX crl_entry_point ON crl_entry (issuer_key_id, crl_url, certificate_id);

-- The last number taken for an issuer; its row is the lock under which numbers are taken and revocations are read.
CREATE TABLE crl_sequence (
    id INTEGER PRIMARY KEY,
    issuer_key_id BLOB NOT NULL CHECK (length(issuer_key_id) BETWEEN 1 AND 64),
    number INTEGER NOT NULL CHECK (number > 0)
) STRICT;
CREATE UNIQUE INDEX crl_sequence_issuer ON crl_sequence (issuer_key_id);

-- A place where a CRL is published: the URL that certificates carry, or the one of the complete CRL. With `complete`
-- the CRL lists every certificate of the issuer, else those that carry this URL. Then what is published there.
CREATE TABLE crl_point (
    id INTEGER PRIMARY KEY,
    issuer_key_id BLOB NOT NULL CHECK (length(issuer_key_id) BETWEEN 1 AND 64),
    url TEXT NOT NULL CHECK (length(url) BETWEEN 1 AND 2048),
    complete INTEGER NOT NULL CHECK (complete IN (0, 1)),
    crl_id INTEGER REFERENCES crl (id),
    number INTEGER,
    this_update INTEGER,
    next_update INTEGER,
    entries INTEGER,
    steps INTEGER,
    published_at INTEGER,
    der BLOB,
    CHECK ((crl_id IS NULL) = (der IS NULL) AND (crl_id IS NULL) = (number IS NULL)
        AND (crl_id IS NULL) = (this_update IS NULL) AND (crl_id IS NULL) = (next_update IS NULL)
        AND (crl_id IS NULL) = (entries IS NULL) AND (crl_id IS NULL) = (steps IS NULL)
        AND (crl_id IS NULL) = (published_at IS NULL))
) STRICT;
CREATE UNIQUE INDEX crl_point_url ON crl_point (issuer_key_id, url);

-- One row for each number taken, whatever became of it. What is about to be signed is written down before it is:
-- `steps` is how many steps of revocations it stands on.
CREATE TABLE crl (
    id INTEGER PRIMARY KEY,
    issuer_key_id BLOB NOT NULL CHECK (length(issuer_key_id) BETWEEN 1 AND 64),
    number INTEGER NOT NULL CHECK (number > 0),
    crl_point_id INTEGER NOT NULL REFERENCES crl_point (id),
    created_at INTEGER NOT NULL,
    this_update INTEGER,
    next_update INTEGER CHECK (next_update > this_update),
    entries INTEGER CHECK (entries >= 0),
    steps INTEGER CHECK (steps >= 0),
    tbs_sha256 BLOB CHECK (length(tbs_sha256) = 32),
    CHECK ((tbs_sha256 IS NULL) = (this_update IS NULL) AND (tbs_sha256 IS NULL) = (next_update IS NULL)
        AND (tbs_sha256 IS NULL) = (entries IS NULL) AND (tbs_sha256 IS NULL) = (steps IS NULL))
) STRICT;
CREATE UNIQUE INDEX crl_number ON crl (issuer_key_id, number);
CREATE INDEX crl_of_point ON crl (crl_point_id, number);

-- No step without its place in a CRL.
CREATE TRIGGER revocation_entered BEFORE INSERT ON revocation
WHEN NOT EXISTS (SELECT 1 FROM crl_entry AS e WHERE e.certificate_id = NEW.certificate_id)
BEGIN SELECT RAISE(ABORT, 'a certificate is in the list of its CRL before it is revoked'); END;
CREATE TRIGGER crl_entry_true BEFORE INSERT ON crl_entry
WHEN NOT EXISTS (SELECT 1 FROM certificate AS c WHERE c.id = NEW.certificate_id
    AND c.issuer_key_id = NEW.issuer_key_id AND c.serial = NEW.serial AND c.not_after = NEW.not_after)
BEGIN SELECT RAISE(ABORT, 'an entry of a CRL says what the certificate says'); END;
CREATE TRIGGER crl_entry_final BEFORE UPDATE ON crl_entry
BEGIN SELECT RAISE(ABORT, 'crl_entry: rows are final'); END;
CREATE TRIGGER crl_entry_kept BEFORE DELETE ON crl_entry
BEGIN SELECT RAISE(ABORT, 'crl_entry: rows are kept'); END;

CREATE TRIGGER crl_sequence_grows BEFORE UPDATE ON crl_sequence
WHEN NEW.id IS NOT OLD.id OR NEW.issuer_key_id IS NOT OLD.issuer_key_id OR NEW.number <= OLD.number
BEGIN SELECT RAISE(ABORT, 'numbers of CRLs grow'); END;
CREATE TRIGGER crl_sequence_kept BEFORE DELETE ON crl_sequence
BEGIN SELECT RAISE(ABORT, 'crl_sequence: rows are kept'); END;

-- A number is that of the sequence, greater than every one before; what it is for is said once.
CREATE TRIGGER crl_grows BEFORE INSERT ON crl
WHEN NEW.number IS NOT (SELECT s.number FROM crl_sequence AS s WHERE s.issuer_key_id = NEW.issuer_key_id)
    OR NEW.number <= (SELECT coalesce(max(c.number), 0) FROM crl AS c WHERE c.issuer_key_id = NEW.issuer_key_id)
BEGIN SELECT RAISE(ABORT, 'numbers of CRLs grow'); END;
CREATE TRIGGER crl_final BEFORE UPDATE ON crl
WHEN OLD.tbs_sha256 IS NOT NULL OR NEW.tbs_sha256 IS NULL OR NEW.id IS NOT OLD.id
    OR NEW.issuer_key_id IS NOT OLD.issuer_key_id OR NEW.number IS NOT OLD.number
    OR NEW.crl_point_id IS NOT OLD.crl_point_id OR NEW.created_at IS NOT OLD.created_at
BEGIN SELECT RAISE(ABORT, 'crl: rows are final'); END;
CREATE TRIGGER crl_kept BEFORE DELETE ON crl
BEGIN SELECT RAISE(ABORT, 'crl: rows are kept'); END;

-- What is published is never replaced by something older, nor taken away, and was written down before.
CREATE TRIGGER crl_point_born BEFORE INSERT ON crl_point
WHEN NEW.crl_id IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'a place is there before something is published in it'); END;
CREATE TRIGGER crl_point_grows BEFORE UPDATE ON crl_point
WHEN NEW.number IS NULL OR NEW.number <= OLD.number OR NEW.this_update < OLD.this_update OR NEW.steps < OLD.steps
BEGIN SELECT RAISE(ABORT, 'a published CRL is replaced by a newer one only'); END;
CREATE TRIGGER crl_point_same BEFORE UPDATE ON crl_point
WHEN NEW.id IS NOT OLD.id OR NEW.issuer_key_id IS NOT OLD.issuer_key_id OR NEW.url IS NOT OLD.url
    OR NEW.complete IS NOT OLD.complete
BEGIN SELECT RAISE(ABORT, 'crl_point: the place stays'); END;
CREATE TRIGGER crl_point_recorded BEFORE UPDATE ON crl_point
WHEN NOT EXISTS (SELECT 1 FROM crl AS c WHERE c.id = NEW.crl_id AND c.crl_point_id = NEW.id
    AND c.number = NEW.number AND c.this_update = NEW.this_update AND c.next_update = NEW.next_update
    AND c.entries = NEW.entries AND c.steps = NEW.steps)
BEGIN SELECT RAISE(ABORT, 'a CRL is written down before it is published'); END;
CREATE TRIGGER crl_point_kept BEFORE DELETE ON crl_point
BEGIN SELECT RAISE(ABORT, 'crl_point: rows are kept'); END;
