-- Renewal (SQLite). Its twin is ../../postgres/; a test compares the two.

-- Which certificate was renewed by which: lineage. A certificate is replaced once; one whose signature got lost (an
-- orphan) does not count.
CREATE TABLE renewal (
    certificate_id INTEGER PRIMARY KEY REFERENCES certificate (id),
    replaces_id INTEGER NOT NULL REFERENCES certificate (id)
) STRICT;
CREATE INDEX renewal_replaces ON renewal (replaces_id);

CREATE TRIGGER renewal_once BEFORE INSERT ON renewal
WHEN EXISTS (SELECT 1 FROM renewal AS r JOIN certificate AS c ON c.id = r.certificate_id
    WHERE r.replaces_id = NEW.replaces_id AND c.state <> 'orphan')
BEGIN SELECT RAISE(ABORT, 'a certificate is replaced once'); END;
CREATE TRIGGER renewal_kin BEFORE INSERT ON renewal
WHEN NOT EXISTS (SELECT 1 FROM certificate AS c JOIN certificate AS o ON o.device_id = c.device_id
        AND o.profile = c.profile AND o.key_role = c.key_role
    WHERE c.id = NEW.certificate_id AND o.id = NEW.replaces_id
        AND c.id > o.id AND c.state = 'intent' AND o.state = 'issued')
BEGIN SELECT RAISE(ABORT, 'a renewal is of the same device and profile'); END;
CREATE TRIGGER renewal_good BEFORE INSERT ON renewal
WHEN coalesce((SELECT p.state <> 'released' FROM revocation AS p WHERE p.certificate_id = NEW.replaces_id
    ORDER BY p.step DESC LIMIT 1), 0)
BEGIN SELECT RAISE(ABORT, 'a certificate that is revoked or on hold is not renewed'); END;
CREATE TRIGGER renewal_final BEFORE UPDATE ON renewal
BEGIN SELECT RAISE(ABORT, 'renewal: rows are final'); END;
CREATE TRIGGER renewal_kept BEFORE DELETE ON renewal
BEGIN SELECT RAISE(ABORT, 'renewal: rows are kept'); END;
