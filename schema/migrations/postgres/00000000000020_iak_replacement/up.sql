-- Another TPM for a device that is known by its manufacturer's IAK (PostgreSQL). Its twin is ../../sqlite/; a test compares
-- the two.

-- What `old_ek` and `new_ek` are hashes of: a TPM without a known EK is named by its IAK.
ALTER TABLE replacement ADD COLUMN old_kind TEXT COLLATE "C" NOT NULL DEFAULT 'ek' CHECK (old_kind IN ('ek', 'iak'));
ALTER TABLE replacement ADD COLUMN new_kind TEXT COLLATE "C" NOT NULL DEFAULT 'ek' CHECK (new_kind = 'ek' OR (new_kind = 'iak' AND new_ek IS NOT NULL));

-- IAKs that went with their TPM: nobody's any more, for ever.
CREATE TABLE iak_gone (
    iak_spki_sha256 BYTEA PRIMARY KEY NOT NULL CHECK (length(iak_spki_sha256) = 32),
    device_id BIGINT NOT NULL REFERENCES device (id),
    replacement_id BIGINT NOT NULL REFERENCES replacement (id)
);
CREATE INDEX iak_gone_device ON iak_gone (device_id);
-- Those that went before this table was.
INSERT INTO iak_gone (iak_spki_sha256, device_id, replacement_id)
    SELECT p.spki_sha256, e.device_id, max(r.id) FROM iak_proof AS p
    JOIN enrollment AS e ON e.id = p.enrollment_id
    JOIN replacement AS r ON r.device_id = e.device_id AND r.state = 'approved'
    WHERE NOT EXISTS (SELECT 1 FROM device AS d WHERE d.iak_spki_sha256 = p.spki_sha256)
    GROUP BY p.spki_sha256, e.device_id;

CREATE TRIGGER iak_gone_final BEFORE UPDATE ON iak_gone FOR EACH ROW
    EXECUTE FUNCTION holdfast_refuse('iak_gone: rows are final');
CREATE TRIGGER iak_gone_kept BEFORE DELETE ON iak_gone FOR EACH ROW
    EXECUTE FUNCTION holdfast_refuse('iak_gone: rows are kept');
CREATE TRIGGER iak_gone_whole BEFORE TRUNCATE ON iak_gone
    EXECUTE FUNCTION holdfast_refuse('iak_gone: rows are kept');

CREATE OR REPLACE FUNCTION holdfast_replacement() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state <> 'pending'
        OR NOT EXISTS (SELECT 1 FROM device AS d WHERE d.id = NEW.device_id AND CASE NEW.old_kind
            WHEN 'ek' THEN d.ek_spki_sha256 = NEW.old_ek
            ELSE d.ek_spki_sha256 IS NULL AND d.iak_spki_sha256 = NEW.old_ek END)
        OR (NEW.new_kind = 'ek' AND EXISTS (SELECT 1 FROM ek_owner AS o WHERE o.ek_spki_sha256 = NEW.new_ek))
        OR (NEW.new_kind = 'iak' AND (EXISTS (SELECT 1 FROM device AS d WHERE d.iak_spki_sha256 = NEW.new_ek)
            OR EXISTS (SELECT 1 FROM iak_gone AS g WHERE g.iak_spki_sha256 = NEW.new_ek))) THEN
        RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER replacement_kinds BEFORE UPDATE ON replacement FOR EACH ROW
    WHEN (NEW.old_kind IS DISTINCT FROM OLD.old_kind OR NEW.new_kind IS DISTINCT FROM OLD.new_kind)
    EXECUTE FUNCTION holdfast_refuse('replacement: what was asked for and decided is final');

-- EK and IAK of a device are set once, and changed by an approved replacement alone, towards what it says.
CREATE OR REPLACE FUNCTION holdfast_device() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    ek_goes BOOLEAN := OLD.ek_spki_sha256 IS NOT NULL AND NEW.ek_spki_sha256 IS DISTINCT FROM OLD.ek_spki_sha256;
    iak_goes BOOLEAN := OLD.iak_spki_sha256 IS NOT NULL AND NEW.iak_spki_sha256 IS DISTINCT FROM OLD.iak_spki_sha256;
    wrong BOOLEAN;
BEGIN
    wrong := CASE TG_NAME
        WHEN 'device_bound' THEN NEW.id IS DISTINCT FROM OLD.id OR NEW.name IS DISTINCT FROM OLD.name
            OR (ek_goes AND NOT EXISTS (SELECT 1 FROM replacement AS r
                WHERE r.device_id = OLD.id AND r.state = 'approved'
                AND r.old_kind = 'ek' AND r.old_ek = OLD.ek_spki_sha256
                AND CASE r.new_kind
                    WHEN 'iak' THEN NEW.ek_spki_sha256 IS NULL AND NEW.iak_spki_sha256 = r.new_ek
                    ELSE r.new_ek IS NOT DISTINCT FROM NEW.ek_spki_sha256
                        AND (r.new_ek IS NOT NULL OR NEW.first_contact_until = r.decided_at + r.first_contact_for) END))
        WHEN 'device_iak_bound' THEN iak_goes AND NOT EXISTS (SELECT 1 FROM replacement AS r
            WHERE r.device_id = OLD.id AND r.state = 'approved'
            AND CASE r.old_kind
                WHEN 'ek' THEN r.old_ek = OLD.ek_spki_sha256 AND NEW.ek_spki_sha256 IS DISTINCT FROM OLD.ek_spki_sha256
                ELSE OLD.ek_spki_sha256 IS NULL AND r.old_ek = OLD.iak_spki_sha256 END
            AND CASE r.new_kind
                WHEN 'iak' THEN NEW.ek_spki_sha256 IS NULL AND NEW.iak_spki_sha256 = r.new_ek
                ELSE NEW.iak_spki_sha256 IS NULL AND r.new_ek IS NOT DISTINCT FROM NEW.ek_spki_sha256
                    AND (r.new_ek IS NOT NULL OR NEW.first_contact_until = r.decided_at + r.first_contact_for) END)
        WHEN 'device_owned' THEN NEW.ek_spki_sha256 IS NOT NULL
            AND NEW.ek_spki_sha256 IS DISTINCT FROM OLD.ek_spki_sha256
            AND NOT EXISTS (SELECT 1 FROM ek_owner AS o WHERE o.ek_spki_sha256 = NEW.ek_spki_sha256
                AND o.device_id = NEW.id AND o.replacement_id IS NULL)
        -- Nothing that stands on the old TPM is good when it goes.
        WHEN 'device_revoked' THEN (ek_goes OR iak_goes)
            AND EXISTS (SELECT 1 FROM certificate AS c WHERE c.device_id = OLD.id
                AND c.not_after >= (SELECT max(r.decided_at) FROM replacement AS r
                    WHERE r.device_id = OLD.id AND r.state = 'approved')
                AND coalesce((SELECT p.state FROM revocation AS p WHERE p.certificate_id = c.id
                    ORDER BY p.step DESC LIMIT 1), '') <> 'revoked')
        WHEN 'device_iak_again' THEN NEW.iak_spki_sha256 IS DISTINCT FROM OLD.iak_spki_sha256
            AND EXISTS (SELECT 1 FROM iak_gone AS g WHERE g.iak_spki_sha256 = NEW.iak_spki_sha256)
    END;
    IF wrong IS NOT FALSE THEN
        RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
$$;
DROP TRIGGER device_iak_bound ON device;
CREATE TRIGGER device_iak_bound BEFORE UPDATE ON device FOR EACH ROW
    EXECUTE FUNCTION holdfast_device('a device keeps its IAK');
CREATE TRIGGER device_iak_again BEFORE UPDATE ON device FOR EACH ROW
    EXECUTE FUNCTION holdfast_device('this IAK went with its TPM');

CREATE FUNCTION holdfast_device_iak_remembers() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO iak_gone (iak_spki_sha256, device_id, replacement_id)
        SELECT OLD.iak_spki_sha256, OLD.id, max(r.id) FROM replacement AS r
        WHERE r.device_id = OLD.id AND r.state = 'approved';
    RETURN NULL;
END
$$;
CREATE TRIGGER device_iak_remembers AFTER UPDATE ON device FOR EACH ROW
    WHEN (OLD.iak_spki_sha256 IS NOT NULL AND NEW.iak_spki_sha256 IS DISTINCT FROM OLD.iak_spki_sha256)
    EXECUTE FUNCTION holdfast_device_iak_remembers();

CREATE FUNCTION holdfast_device_iak_new() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM iak_gone AS g WHERE g.iak_spki_sha256 = NEW.iak_spki_sha256) THEN
        RAISE EXCEPTION 'this IAK went with its TPM' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER device_iak_new BEFORE INSERT ON device FOR EACH ROW
    WHEN (NEW.iak_spki_sha256 IS NOT NULL)
    EXECUTE FUNCTION holdfast_device_iak_new();
