-- One TPM, one identity (PostgreSQL). Its twin is ../../sqlite/; a test compares the two.

-- A device shall get another TPM: asked for by one person, decided by another, carried out once.
-- `new_ek` names the new TPM; else any one may come for `first_contact_for` seconds from the approval on.
CREATE TABLE replacement (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device_id BIGINT NOT NULL REFERENCES device (id),
    old_ek BYTEA NOT NULL CHECK (length(old_ek) = 32),
    new_ek BYTEA CHECK (length(new_ek) = 32),
    first_contact_for BIGINT CHECK (first_contact_for > 0),
    revocation TEXT COLLATE "C" NOT NULL CHECK (revocation IN ('unspecified', 'keyCompromise', 'affiliationChanged',
        'superseded', 'cessationOfOperation', 'privilegeWithdrawn')),
    reason TEXT COLLATE "C" NOT NULL CHECK (length(reason) BETWEEN 1 AND 500),
    requested_by TEXT COLLATE "C" NOT NULL CHECK (length(requested_by) BETWEEN 1 AND 255),
    requested_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL CHECK (expires_at > requested_at),
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('pending', 'approved', 'rejected', 'expired')),
    decided_by TEXT COLLATE "C" CHECK (length(decided_by) BETWEEN 1 AND 255),
    decided_at BIGINT CHECK (decided_at >= requested_at),
    comment TEXT COLLATE "C" CHECK (length(comment) <= 500),
    CHECK ((new_ek IS NULL) <> (first_contact_for IS NULL)),
    CHECK ((state = 'pending') = (decided_by IS NULL)),
    CHECK ((state = 'pending') = (decided_at IS NULL)),
    -- Two people, in time.
    CHECK (state <> 'approved' OR decided_by <> requested_by),
    CHECK (state <> 'approved' OR decided_at <= expires_at)
);
CREATE UNIQUE INDEX replacement_open ON replacement (device_id) WHERE state = 'pending';
CREATE INDEX replacement_device ON replacement (device_id, id);

-- An EK belongs to one device for ever. With `replacement_id` it was that device's, and is nobody's any more; the facts
-- about its TPM are then kept here. How it was shown: an administrator named it, it came first, or it activated the same
-- AK as another EK of the device (`evidence`): two EKs, one TPM.
CREATE TABLE ek_owner (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ek_spki_sha256 BYTEA NOT NULL CHECK (length(ek_spki_sha256) = 32),
    device_id BIGINT NOT NULL REFERENCES device (id),
    since BIGINT NOT NULL,
    shown TEXT COLLATE "C" NOT NULL CHECK (shown IN ('named', 'first_contact', 'same_ak')),
    ak_spki_sha256 BYTEA CHECK (length(ak_spki_sha256) = 32),
    evidence BYTEA,
    replacement_id BIGINT REFERENCES replacement (id),
    ek_certificate_sha256 BYTEA CHECK (length(ek_certificate_sha256) = 32),
    manufacturer TEXT COLLATE "C",
    model TEXT COLLATE "C",
    version TEXT COLLATE "C",
    assurance TEXT COLLATE "C",
    anchor TEXT COLLATE "C",
    CHECK ((shown = 'same_ak') = (ak_spki_sha256 IS NOT NULL)),
    CHECK ((shown = 'same_ak') = (evidence IS NOT NULL))
);
CREATE UNIQUE INDEX ek_owner_ek ON ek_owner (ek_spki_sha256);
CREATE INDEX ek_owner_device ON ek_owner (device_id, id);
INSERT INTO ek_owner (ek_spki_sha256, device_id, since, shown)
    SELECT ek_spki_sha256, id, created_at, CASE WHEN first_contact_until IS NULL THEN 'named' ELSE 'first_contact' END
    FROM device WHERE ek_spki_sha256 IS NOT NULL ORDER BY id;

-- A key lives in the TPM of this EK: it was certified there, or is an AK that was activated there.
ALTER TABLE key_owner ADD COLUMN ek_spki_sha256 BYTEA CHECK (length(ek_spki_sha256) = 32);
DROP TRIGGER key_owner_final ON key_owner;
UPDATE key_owner SET ek_spki_sha256 = (SELECT d.ek_spki_sha256 FROM device AS d WHERE d.id = key_owner.device_id);
CREATE TRIGGER key_owner_final BEFORE UPDATE ON key_owner FOR EACH ROW
    EXECUTE FUNCTION holdfast_refuse('key_owner: rows are final');

-- Each trigger holds the rule of its name.
CREATE FUNCTION holdfast_replacement() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state <> 'pending'
        OR NEW.old_ek IS DISTINCT FROM (SELECT d.ek_spki_sha256 FROM device AS d WHERE d.id = NEW.device_id)
        OR EXISTS (SELECT 1 FROM ek_owner AS o WHERE o.ek_spki_sha256 = NEW.new_ek) THEN
        RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER replacement_born BEFORE INSERT ON replacement FOR EACH ROW
    EXECUTE FUNCTION holdfast_replacement(
        'a replacement is asked for first, of the TPM that is bound, by one that is new');
CREATE TRIGGER replacement_final BEFORE UPDATE ON replacement FOR EACH ROW
    WHEN (OLD.state <> 'pending' OR NEW.state = 'pending'
        OR ROW (NEW.id, NEW.device_id, NEW.old_ek, NEW.new_ek, NEW.first_contact_for, NEW.revocation, NEW.reason,
                NEW.requested_by, NEW.requested_at, NEW.expires_at)
           IS DISTINCT FROM
           ROW (OLD.id, OLD.device_id, OLD.old_ek, OLD.new_ek, OLD.first_contact_for, OLD.revocation, OLD.reason,
                OLD.requested_by, OLD.requested_at, OLD.expires_at))
    EXECUTE FUNCTION holdfast_refuse('replacement: what was asked for and decided is final');
CREATE TRIGGER replacement_kept BEFORE DELETE ON replacement FOR EACH ROW
    EXECUTE FUNCTION holdfast_refuse('replacement: rows are kept');
CREATE TRIGGER replacement_whole BEFORE TRUNCATE ON replacement
    EXECUTE FUNCTION holdfast_refuse('replacement: rows are kept');

-- A second EK of a TPM is shown by an AK that was activated by an EK that is this device's, and stands.
CREATE FUNCTION holdfast_ek_owner() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong BOOLEAN;
BEGIN
    wrong := CASE TG_NAME
        WHEN 'ek_owner_born' THEN NEW.replacement_id IS NOT NULL OR NEW.ek_certificate_sha256 IS NOT NULL
            OR (NEW.shown = 'same_ak' AND NOT EXISTS (SELECT 1 FROM key_owner AS k
                JOIN ek_owner AS o ON o.ek_spki_sha256 = k.ek_spki_sha256
                WHERE k.spki_sha256 = NEW.ak_spki_sha256 AND k.device_id = NEW.device_id
                AND o.device_id = NEW.device_id AND o.replacement_id IS NULL))
        WHEN 'ek_owner_final' THEN OLD.replacement_id IS NOT NULL
            OR ROW (NEW.id, NEW.ek_spki_sha256, NEW.device_id, NEW.since, NEW.shown, NEW.ak_spki_sha256, NEW.evidence)
               IS DISTINCT FROM
               ROW (OLD.id, OLD.ek_spki_sha256, OLD.device_id, OLD.since, OLD.shown, OLD.ak_spki_sha256, OLD.evidence)
            OR NOT EXISTS (SELECT 1 FROM replacement AS r
                WHERE r.id = NEW.replacement_id AND r.device_id = OLD.device_id AND r.state = 'approved')
    END;
    IF wrong IS NOT FALSE THEN
        RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER ek_owner_born BEFORE INSERT ON ek_owner FOR EACH ROW
    EXECUTE FUNCTION holdfast_ek_owner('ek_owner: an EK is shown to be this device''s');
CREATE TRIGGER ek_owner_final BEFORE UPDATE ON ek_owner FOR EACH ROW
    EXECUTE FUNCTION holdfast_ek_owner('ek_owner: rows are final');
CREATE TRIGGER ek_owner_kept BEFORE DELETE ON ek_owner FOR EACH ROW
    EXECUTE FUNCTION holdfast_refuse('ek_owner: rows are kept');
CREATE TRIGGER ek_owner_whole BEFORE TRUNCATE ON ek_owner
    EXECUTE FUNCTION holdfast_refuse('ek_owner: rows are kept');

-- The EK of a device is set once, and changed by an approved replacement alone.
CREATE FUNCTION holdfast_device() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    replaced BOOLEAN := OLD.ek_spki_sha256 IS NOT NULL AND NEW.ek_spki_sha256 IS DISTINCT FROM OLD.ek_spki_sha256;
    wrong BOOLEAN;
BEGIN
    wrong := CASE TG_NAME
        WHEN 'device_bound' THEN NEW.id IS DISTINCT FROM OLD.id OR NEW.name IS DISTINCT FROM OLD.name
            OR (replaced AND NOT EXISTS (SELECT 1 FROM replacement AS r
                WHERE r.device_id = OLD.id AND r.state = 'approved' AND r.old_ek = OLD.ek_spki_sha256
                AND r.new_ek IS NOT DISTINCT FROM NEW.ek_spki_sha256
                AND (r.new_ek IS NOT NULL OR NEW.first_contact_until = r.decided_at + r.first_contact_for)))
        WHEN 'device_owned' THEN NEW.ek_spki_sha256 IS NOT NULL
            AND NEW.ek_spki_sha256 IS DISTINCT FROM OLD.ek_spki_sha256
            AND NOT EXISTS (SELECT 1 FROM ek_owner AS o WHERE o.ek_spki_sha256 = NEW.ek_spki_sha256
                AND o.device_id = NEW.id AND o.replacement_id IS NULL)
        -- Nothing that stands on the old TPM is good when it goes.
        WHEN 'device_revoked' THEN replaced AND EXISTS (SELECT 1 FROM certificate AS c WHERE c.device_id = OLD.id
            AND c.not_after >= (SELECT max(r.decided_at) FROM replacement AS r
                WHERE r.device_id = OLD.id AND r.state = 'approved')
            AND coalesce((SELECT p.state FROM revocation AS p WHERE p.certificate_id = c.id
                ORDER BY p.step DESC LIMIT 1), '') <> 'revoked')
    END;
    IF wrong IS NOT FALSE THEN
        RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
$$;
DROP TRIGGER device_bound ON device;
CREATE TRIGGER device_bound BEFORE UPDATE ON device FOR EACH ROW
    EXECUTE FUNCTION holdfast_device('a device keeps its name and its EK');
CREATE TRIGGER device_owned BEFORE UPDATE ON device FOR EACH ROW
    EXECUTE FUNCTION holdfast_device('device: keeps its name and its EK, which belongs to it for ever');
CREATE TRIGGER device_revoked BEFORE UPDATE ON device FOR EACH ROW
    EXECUTE FUNCTION holdfast_device('what stands on the old TPM is revoked before it is replaced');

CREATE FUNCTION holdfast_device_named() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ek_owner (ek_spki_sha256, device_id, since, shown)
        VALUES (NEW.ek_spki_sha256, NEW.id, NEW.created_at, 'named');
    RETURN NULL;
END
$$;
CREATE TRIGGER device_named AFTER INSERT ON device FOR EACH ROW
    WHEN (NEW.ek_spki_sha256 IS NOT NULL)
    EXECUTE FUNCTION holdfast_device_named();

-- Every EK of the old TPM goes with it.
CREATE FUNCTION holdfast_device_remembers() RETURNS trigger LANGUAGE plpgsql AS $$
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
        WHERE device_id = OLD.id AND replacement_id IS NULL AND ek_spki_sha256 IS DISTINCT FROM NEW.ek_spki_sha256;
    RETURN NULL;
END
$$;
CREATE TRIGGER device_remembers AFTER UPDATE ON device FOR EACH ROW
    WHEN (OLD.ek_spki_sha256 IS NOT NULL AND NEW.ek_spki_sha256 IS DISTINCT FROM OLD.ek_spki_sha256)
    EXECUTE FUNCTION holdfast_device_remembers();
