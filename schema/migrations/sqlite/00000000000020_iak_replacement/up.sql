-- Another TPM for a device that is known by its manufacturer's IAK (SQLite). Its twin is ../../postgres/; a test compares the
-- two.

-- What `old_ek` and `new_ek` are hashes of: a TPM without a known EK is named by its IAK.
ALTER TABLE replacement ADD COLUMN old_kind TEXT NOT NULL DEFAULT 'ek' CHECK (old_kind IN ('ek', 'iak'));
ALTER TABLE replacement ADD COLUMN new_kind TEXT NOT NULL DEFAULT 'ek' CHECK (new_kind = 'ek' OR (new_kind = 'iak' AND new_ek IS NOT NULL));

-- IAKs that went with their TPM: nobody's any more, for ever.
CREATE TABLE iak_gone (
    iak_spki_sha256 BLOB PRIMARY KEY NOT NULL CHECK (length(iak_spki_sha256) = 32),
    device_id INTEGER NOT NULL REFERENCES device (id),
    replacement_id INTEGER NOT NULL REFERENCES replacement (id)
) STRICT;
CREATE INDEX iak_gone_device ON iak_gone (device_id);
-- Those that went before this table was.
INSERT INTO iak_gone (iak_spki_sha256, device_id, replacement_id)
    SELECT p.spki_sha256, e.device_id, max(r.id) FROM iak_proof AS p
    JOIN enrollment AS e ON e.id = p.enrollment_id
    JOIN replacement AS r ON r.device_id = e.device_id AND r.state = 'approved'
    WHERE NOT EXISTS (SELECT 1 FROM device AS d WHERE d.iak_spki_sha256 = p.spki_sha256)
    GROUP BY p.spki_sha256, e.device_id;

CREATE TRIGGER iak_gone_final BEFORE UPDATE ON iak_gone
BEGIN SELECT RAISE(ABORT, 'iak_gone: rows are final'); END;
CREATE TRIGGER iak_gone_kept BEFORE DELETE ON iak_gone
BEGIN SELECT RAISE(ABORT, 'iak_gone: rows are kept'); END;

DROP TRIGGER replacement_born;
CREATE TRIGGER replacement_born BEFORE INSERT ON replacement
WHEN NEW.state <> 'pending'
    OR NOT EXISTS (SELECT 1 FROM device AS d WHERE d.id = NEW.device_id AND CASE NEW.old_kind
        WHEN 'ek' THEN d.ek_spki_sha256 = NEW.old_ek
        ELSE d.ek_spki_sha256 IS NULL AND d.iak_spki_sha256 = NEW.old_ek END)
    OR (NEW.new_kind = 'ek' AND EXISTS (SELECT 1 FROM ek_owner AS o WHERE o.ek_spki_sha256 = NEW.new_ek))
    OR (NEW.new_kind = 'iak' AND (EXISTS (SELECT 1 FROM device AS d WHERE d.iak_spki_sha256 = NEW.new_ek)
        OR EXISTS (SELECT 1 FROM iak_gone AS g WHERE g.iak_spki_sha256 = NEW.new_ek)))
BEGIN SELECT RAISE(ABORT, 'a replacement is asked for first, of the TPM that is bound, by one that is new'); END;
CREATE TRIGGER replacement_kinds BEFORE UPDATE ON replacement
WHEN NEW.old_kind IS NOT OLD.old_kind OR NEW.new_kind IS NOT OLD.new_kind
BEGIN SELECT RAISE(ABORT, 'replacement: what was asked for and decided is final'); END;

-- EK and IAK of a device are set once, and changed by an approved replacement alone, towards what it says.
DROP TRIGGER device_bound;
CREATE TRIGGER device_bound BEFORE UPDATE ON device
WHEN NEW.id IS NOT OLD.id OR NEW.name IS NOT OLD.name
    OR (OLD.ek_spki_sha256 IS NOT NULL AND NEW.ek_spki_sha256 IS NOT OLD.ek_spki_sha256
        AND NOT EXISTS (SELECT 1 FROM replacement AS r WHERE r.device_id = OLD.id AND r.state = 'approved'
            AND r.old_kind = 'ek' AND r.old_ek = OLD.ek_spki_sha256
            AND CASE r.new_kind
                WHEN 'iak' THEN NEW.ek_spki_sha256 IS NULL AND NEW.iak_spki_sha256 = r.new_ek
                ELSE r.new_ek IS NEW.ek_spki_sha256
                    AND (r.new_ek IS NOT NULL OR NEW.first_contact_until = r.decided_at + r.first_contact_for) END))
BEGIN SELECT RAISE(ABORT, 'a device keeps its name and its EK'); END;
DROP TRIGGER device_iak_bound;
CREATE TRIGGER device_iak_bound BEFORE UPDATE ON device
WHEN OLD.iak_spki_sha256 IS NOT NULL AND NEW.iak_spki_sha256 IS NOT OLD.iak_spki_sha256
    AND NOT EXISTS (SELECT 1 FROM replacement AS r WHERE r.device_id = OLD.id AND r.state = 'approved'
        AND CASE r.old_kind
            WHEN 'ek' THEN r.old_ek = OLD.ek_spki_sha256 AND NEW.ek_spki_sha256 IS NOT OLD.ek_spki_sha256
            ELSE OLD.ek_spki_sha256 IS NULL AND r.old_ek = OLD.iak_spki_sha256 END
        AND CASE r.new_kind
            WHEN 'iak' THEN NEW.ek_spki_sha256 IS NULL AND NEW.iak_spki_sha256 = r.new_ek
            ELSE NEW.iak_spki_sha256 IS NULL AND r.new_ek IS NEW.ek_spki_sha256
                AND (r.new_ek IS NOT NULL OR NEW.first_contact_until = r.decided_at + r.first_contact_for) END)
BEGIN SELECT RAISE(ABORT, 'a device keeps its IAK'); END;
-- Nothing that stands on the old TPM is good when it goes.
DROP TRIGGER device_revoked;
CREATE TRIGGER device_revoked BEFORE UPDATE ON device
WHEN ((OLD.ek_spki_sha256 IS NOT NULL AND NEW.ek_spki_sha256 IS NOT OLD.ek_spki_sha256)
        OR (OLD.iak_spki_sha256 IS NOT NULL AND NEW.iak_spki_sha256 IS NOT OLD.iak_spki_sha256))
    AND EXISTS (SELECT 1 FROM certificate AS c WHERE c.device_id = OLD.id
        AND c.not_after >= (SELECT max(r.decided_at) FROM replacement AS r
            WHERE r.device_id = OLD.id AND r.state = 'approved')
        AND coalesce((SELECT p.state FROM revocation AS p WHERE p.certificate_id = c.id
            ORDER BY p.step DESC LIMIT 1), '') <> 'revoked')
BEGIN SELECT RAISE(ABORT, 'what stands on the old TPM is revoked before it is replaced'); END;
CREATE TRIGGER device_iak_remembers AFTER UPDATE ON device
WHEN OLD.iak_spki_sha256 IS NOT NULL AND NEW.iak_spki_sha256 IS NOT OLD.iak_spki_sha256
BEGIN
    INSERT INTO iak_gone (iak_spki_sha256, device_id, replacement_id)
        SELECT OLD.iak_spki_sha256, OLD.id, max(r.id) FROM replacement AS r
        WHERE r.device_id = OLD.id AND r.state = 'approved';
END;
CREATE TRIGGER device_iak_new BEFORE INSERT ON device
WHEN EXISTS (SELECT 1 FROM iak_gone AS g WHERE g.iak_spki_sha256 = NEW.iak_spki_sha256)
BEGIN SELECT RAISE(ABORT, 'this IAK went with its TPM'); END;
CREATE TRIGGER device_iak_again BEFORE UPDATE ON device
WHEN NEW.iak_spki_sha256 IS NOT OLD.iak_spki_sha256
    AND EXISTS (SELECT 1 FROM iak_gone AS g WHERE g.iak_spki_sha256 = NEW.iak_spki_sha256)
BEGIN SELECT RAISE(ABORT, 'this IAK went with its TPM'); END;
