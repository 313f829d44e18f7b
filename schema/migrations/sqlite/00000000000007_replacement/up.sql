-- One TPM, one identity (SQLite). Its twin is ../../postgres/; a test compares the two.

-- A device shall get another TPM: asked for by one person, decided by another, carried out once.
-- `new_ek` names the new TPM; else any one may come for `first_contact_for` seconds from the approval on.
CREATE TABLE replacement (
    id INTEGER PRIMARY KEY,
    device_id INTEGER NOT NULL REFERENCES device (id),
    old_ek BLOB NOT NULL CHECK (length(old_ek) = 32),
    new_ek BLOB CHECK (length(new_ek) = 32),
    first_contact_for INTEGER CHECK (first_contact_for > 0),
    revocation TEXT NOT NULL CHECK (revocation IN ('unspecified', 'keyCompromise', 'affiliationChanged', 'superseded',
        'cessationOfOperation', 'privilegeWithdrawn')),
    reason TEXT NOT NULL CHECK (length(reason) BETWEEN 1 AND 500),
    requested_by TEXT NOT NULL CHECK (length(requested_by) BETWEEN 1 AND 255),
    requested_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL CHECK (expires_at > requested_at),
    state TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'rejected', 'expired')),
    decided_by TEXT CHECK (length(decided_by) BETWEEN 1 AND 255),
    decided_at INTEGER CHECK (decided_at >= requested_at),
    comment TEXT CHECK (length(comment) <= 500),
    CHECK ((new_ek IS NULL) <> (first_contact_for IS NULL)),
    CHECK ((state = 'pending') = (decided_by IS NULL)),
    CHECK ((state = 'pending') = (decided_at IS NULL)),
    -- Two people, in time.
    CHECK (state <> 'approved' OR decided_by <> requested_by),
    CHECK (state <> 'approved' OR decided_at <= expires_at)
) STRICT;
CREATE UNIQUE INDEX replacement_open ON replacement (device_id) WHERE state = 'pending';
CREATE INDEX replacement_device ON replacement (device_id, id);

-- An EK belongs to one device for ever. With `replacement_id` it was that device's, and is nobody's any more; the facts
-- about its TPM are then kept here. How it was shown: an administrator named it, it came first, or it activated the same
-- AK as another EK of the device (`evidence`): two EKs, one TPM.
CREATE TABLE ek_owner (
    id INTEGER PRIMARY KEY,
    ek_spki_sha256 BLOB NOT NULL CHECK (length(ek_spki_sha256) = 32),
    device_id INTEGER NOT NULL REFERENCES device (id),
    since INTEGER NOT NULL,
    shown TEXT NOT NULL CHECK (shown IN ('named', 'first_contact', 'same_ak')),
    ak_spki_sha256 BLOB CHECK (length(ak_spki_sha256) = 32),
    evidence BLOB,
    replacement_id INTEGER REFERENCES replacement (id),
    ek_certificate_sha256 BLOB CHECK (length(ek_certificate_sha256) = 32),
    manufacturer TEXT,
    model TEXT,
    version TEXT,
    assurance TEXT,
    anchor TEXT,
    CHECK ((shown = 'same_ak') = (ak_spki_sha256 IS NOT NULL)),
    CHECK ((shown = 'same_ak') = (evidence IS NOT NULL))
) STRICT;
CREATE UNIQUE INDEX ek_owner_ek ON ek_owner (ek_spki_sha256);
CREATE INDEX ek_owner_device ON ek_owner (device_id, id);
INSERT INTO ek_owner (ek_spki_sha256, device_id, since, shown)
    SELECT ek_spki_sha256, id, created_at, CASE WHEN first_contact_until IS NULL THEN 'named' ELSE 'first_contact' END
    FROM device WHERE ek_spki_sha256 IS NOT NULL ORDER BY id;

-- A key lives in the TPM of this EK: it was certified there, or is an AK that was activated there.
ALTER TABLE key_owner ADD COLUMN ek_spki_sha256 BLOB CHECK (length(ek_spki_sha256) = 32);
DROP TRIGGER key_owner_final;
UPDATE key_owner SET ek_spki_sha256 = (SELECT d.ek_spki_sha256 FROM device AS d WHERE d.id = key_owner.device_id);
CREATE TRIGGER key_owner_final BEFORE UPDATE ON key_owner
BEGIN SELECT RAISE(ABORT, 'key_owner: rows are final'); END;

CREATE TRIGGER replacement_born BEFORE INSERT ON replacement
WHEN NEW.state <> 'pending'
    OR NEW.old_ek IS NOT (SELECT d.ek_spki_sha256 FROM device AS d WHERE d.id = NEW.device_id)
    OR EXISTS (SELECT 1 FROM ek_owner AS o WHERE o.ek_spki_sha256 = NEW.new_ek)
BEGIN SELECT RAISE(ABORT, 'a replacement is asked for first, of the TPM that is bound, by one that is new'); END;
CREATE TRIGGER replacement_final BEFORE UPDATE ON replacement
WHEN OLD.state <> 'pending' OR NEW.state = 'pending' OR NEW.id IS NOT OLD.id OR NEW.device_id IS NOT OLD.device_id
    OR NEW.old_ek IS NOT OLD.old_ek OR NEW.new_ek IS NOT OLD.new_ek
    OR NEW.first_contact_for IS NOT OLD.first_contact_for OR NEW.revocation IS NOT OLD.revocation
    OR NEW.reason IS NOT OLD.reason OR NEW.requested_by IS NOT OLD.requested_by
    OR NEW.requested_at IS NOT OLD.requested_at OR NEW.expires_at IS NOT OLD.expires_at
BEGIN SELECT RAISE(ABORT, 'replacement: what was asked for and decided is final'); END;
CREATE TRIGGER replacement_kept BEFORE DELETE ON replacement
BEGIN SELECT RAISE(ABORT, 'replacement: rows are kept'); END;

-- A second EK of a TPM is shown by an AK that was activated by an EK that is this device's, and stands.
CREATE TRIGGER ek_owner_born BEFORE INSERT ON ek_owner
WHEN NEW.replacement_id IS NOT NULL OR NEW.ek_certificate_sha256 IS NOT NULL
    OR (NEW.shown = 'same_ak' AND NOT EXISTS (SELECT 1 FROM key_owner AS k
        JOIN ek_owner AS o ON o.ek_spki_sha256 = k.ek_spki_sha256
        WHERE k.spki_sha256 = NEW.ak_spki_sha256 AND k.device_id = NEW.device_id
        AND o.device_id = NEW.device_id AND o.replacement_id IS NULL))
BEGIN SELECT RAISE(ABORT, 'ek_owner: an EK is shown to be this device''s'); END;
CREATE TRIGGER ek_owner_final BEFORE UPDATE ON ek_owner
WHEN OLD.replacement_id IS NOT NULL OR NEW.id IS NOT OLD.id OR NEW.ek_spki_sha256 IS NOT OLD.ek_spki_sha256
    OR NEW.device_id IS NOT OLD.device_id OR NEW.since IS NOT OLD.since OR NEW.shown IS NOT OLD.shown
    OR NEW.ak_spki_sha256 IS NOT OLD.ak_spki_sha256 OR NEW.evidence IS NOT OLD.evidence
    OR NOT EXISTS (SELECT 1 FROM replacement AS r
        WHERE r.id = NEW.replacement_id AND r.device_id = OLD.device_id AND r.state = 'approved')
BEGIN SELECT RAISE(ABORT, 'ek_owner: rows are final'); END;
CREATE TRIGGER ek_owner_kept BEFORE DELETE ON ek_owner
BEGIN SELECT RAISE(ABORT, 'ek_owner: rows are kept'); END;

-- The EK of a device is set once, and changed by an approved replacement alone.
DROP TRIGGER device_bound;
CREATE TRIGGER device_bound BEFORE UPDATE ON device
WHEN NEW.id IS NOT OLD.id OR NEW.name IS NOT OLD.name
    OR (OLD.ek_spki_sha256 IS NOT NULL AND NEW.ek_spki_sha256 IS NOT OLD.ek_spki_sha256
        AND NOT EXISTS (SELECT 1 FROM replacement AS r WHERE r.device_id = OLD.id AND r.state = 'approved'
            AND r.old_ek = OLD.ek_spki_sha256 AND r.new_ek IS NEW.ek_spki_sha256
            AND (r.new_ek IS NOT NULL OR NEW.first_contact_until = r.decided_at + r.first_contact_for)))
BEGIN SELECT RAISE(ABORT, 'a device keeps its name and its EK'); END;
CREATE TRIGGER device_owned BEFORE UPDATE ON device
WHEN NEW.ek_spki_sha256 IS NOT NULL AND NEW.ek_spki_sha256 IS NOT OLD.ek_spki_sha256
    AND NOT EXISTS (SELECT 1 FROM ek_owner AS o WHERE o.ek_spki_sha256 = NEW.ek_spki_sha256
        AND o.device_id = NEW.id AND o.replacement_id IS NULL)
BEGIN SELECT RAISE(ABORT, 'device: keeps its name and its EK, which belongs to it for ever'); END;
-- Nothing that stands on the old TPM is good when it goes.
CREATE TRIGGER device_revoked BEFORE UPDATE ON device
WHEN OLD.ek_spki_sha256 IS NOT NULL AND NEW.ek_spki_sha256 IS NOT OLD.ek_spki_sha256
    AND EXISTS (SELECT 1 FROM certificate AS c WHERE c.device_id = OLD.id
        AND c.not_after >= (SELECT max(r.decided_at) FROM replacement AS r
            WHERE r.device_id = OLD.id AND r.state = 'approved')
        AND coalesce((SELECT p.state FROM revocation AS p WHERE p.certificate_id = c.id
            ORDER BY p.step DESC LIMIT 1), '') <> 'revoked')
BEGIN SELECT RAISE(ABORT, 'what stands on the old TPM is revoked before it is replaced'); END;
CREATE TRIGGER device_named AFTER INSERT ON device
WHEN NEW.ek_spki_sha256 IS NOT NULL
BEGIN
    INSERT INTO ek_owner (ek_spki_sha256, device_id, since, shown)
        VALUES (NEW.ek_spki_sha256, NEW.id, NEW.created_at, 'named');
END;
-- Every EK of the old TPM goes with it.
CREATE TRIGGER device_remembers AFTER UPDATE ON device
WHEN OLD.ek_spki_sha256 IS NOT NULL AND NEW.ek_spki_sha256 IS NOT OLD.ek_spki_sha256
BEGIN
    UPDATE ek_owner SET
        replacement_id = (SELECT max(r.id) FROM replacement AS r
            WHERE r.device_id = OLD.id AND r.state = 'approved' AND r.old_ek = OLD.ek_spki_sha256),
        ek_certificate_sha256 = CASE WHEN ek_spki_sha256 = OLD.ek_spki_sha256 THEN OLD.ek_certificate_sha256 END,
        manufacturer = CASE WHEN ek_spki_sha256 = OLD.ek_spki_sha256 THEN OLD.manufacturer END,
        model = CASE WHEN ek_spki_sha256 = OLD.ek_spki_sha256 THEN OLD.model END,
        version = CASE WHEN ek_spki_sha256 = OLD.ek_spki_sha256 THEN OLD.version END,
        assurance = CASE WHEN ek_spki_sha256 = OLD.ek_spki_sha256 THEN OLD.assurance END,
        anchor = CASE WHEN ek_spki_sha256 = OLD.ek_spki_sha256 THEN OLD.anchor END
        WHERE device_id = OLD.id AND replacement_id IS NULL AND ek_spki_sha256 IS NOT NEW.ek_spki_sha256;
END;
