-- Delta CRLs (SQLite). Its twin is ../../postgres/; a test compares the two.

-- What freshestCRL of the published CRL says; NULL: nothing.
ALTER TABLE crl_point ADD COLUMN delta_url TEXT CHECK (length(delta_url) BETWEEN 1 AND 2048);
-- BaseCRLNumber of what is about to be signed; NULL: a complete CRL.
ALTER TABLE crl ADD COLUMN base INTEGER CHECK (base > 0 AND base < number);

-- The delta CRL beside the complete one of a place.
CREATE TABLE crl_delta (
    crl_point_id INTEGER PRIMARY KEY REFERENCES crl_point (id),
    crl_id INTEGER NOT NULL REFERENCES crl (id),
    base INTEGER NOT NULL,
    number INTEGER NOT NULL CHECK (number > base),
    this_update INTEGER NOT NULL,
    next_update INTEGER NOT NULL,
    entries INTEGER NOT NULL,
    steps INTEGER NOT NULL,
    published_at INTEGER NOT NULL,
    der BLOB NOT NULL
) STRICT;

-- A complete CRL where a complete one belongs, and newer than the delta it leaves behind.
DROP TRIGGER crl_point_recorded;
CREATE TRIGGER crl_point_recorded BEFORE UPDATE ON crl_point
WHEN NOT EXISTS (SELECT 1 FROM crl AS c WHERE c.id = NEW.crl_id AND c.crl_point_id = NEW.id AND c.base IS NULL
    AND c.number = NEW.number AND c.this_update = NEW.this_update AND c.next_update = NEW.next_update
    AND c.entries = NEW.entries AND c.steps = NEW.steps)
BEGIN SELECT RAISE(ABORT, 'a CRL is written down before it is published'); END;
CREATE TRIGGER crl_point_above_delta BEFORE UPDATE ON crl_point
WHEN EXISTS (SELECT 1 FROM crl_delta AS d WHERE d.crl_point_id = NEW.id
    AND (NEW.number <= d.number OR NEW.this_update < d.this_update OR NEW.steps < d.steps))
BEGIN SELECT RAISE(ABORT, 'a complete CRL is newer than the delta before it'); END;

-- A delta stands on exactly what is published, is never replaced by something older, and was written down before.
CREATE TRIGGER crl_delta_based BEFORE INSERT ON crl_delta
WHEN NOT EXISTS (SELECT 1 FROM crl_point AS p WHERE p.id = NEW.crl_point_id AND p.number = NEW.base
    AND p.this_update < NEW.this_update AND p.steps <= NEW.steps)
BEGIN SELECT RAISE(ABORT, 'a delta CRL stands on the published complete one'); END;
CREATE TRIGGER crl_delta_rebased BEFORE UPDATE ON crl_delta
WHEN NOT EXISTS (SELECT 1 FROM crl_point AS p WHERE p.id = NEW.crl_point_id AND p.number = NEW.base
    AND p.this_update < NEW.this_update AND p.steps <= NEW.steps)
BEGIN SELECT RAISE(ABORT, 'a delta CRL stands on the published complete one'); END;
CREATE TRIGGER crl_delta_recorded BEFORE INSERT ON crl_delta
WHEN NOT EXISTS (SELECT 1 FROM crl AS c WHERE c.id = NEW.crl_id AND c.crl_point_id = NEW.crl_point_id
    AND c.base = NEW.base AND c.number = NEW.number AND c.this_update = NEW.this_update
    AND c.next_update = NEW.next_update AND c.entries = NEW.entries AND c.steps = NEW.steps)
BEGIN SELECT RAISE(ABORT, 'a CRL is written down before it is published'); END;
CREATE TRIGGER crl_delta_rerecorded BEFORE UPDATE ON crl_delta
WHEN NOT EXISTS (SELECT 1 FROM crl AS c WHERE c.id = NEW.crl_id AND c.crl_point_id = NEW.crl_point_id
    AND c.base = NEW.base AND c.number = NEW.number AND c.this_update = NEW.this_update
    AND c.next_update = NEW.next_update AND c.entries = NEW.entries AND c.steps = NEW.steps)
BEGIN SELECT RAISE(ABORT, 'a CRL is written down before it is published'); END;
CREATE TRIGGER crl_delta_grows BEFORE UPDATE ON crl_delta
WHEN NEW.crl_point_id IS NOT OLD.crl_point_id OR NEW.number <= OLD.number OR NEW.this_update < OLD.this_update
    OR NEW.steps < OLD.steps
BEGIN SELECT RAISE(ABORT, 'a published CRL is replaced by a newer one only'); END;
CREATE TRIGGER crl_delta_kept BEFORE DELETE ON crl_delta
BEGIN SELECT RAISE(ABORT, 'crl_delta: rows are kept'); END;
