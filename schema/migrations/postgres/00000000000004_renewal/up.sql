-- Renewal (PostgreSQL). Its twin is ../../sqlite/; a test compares the two.

-- Which certificate was renewed by which: lineage. A certificate is replaced once; one whose signature got lost (an
-- orphan) does not count.
CREATE TABLE renewal (
    certificate_id BIGINT PRIMARY KEY REFERENCES certificate (id),
    replaces_id BIGINT NOT NULL REFERENCES certificate (id)
);
CREATE INDEX renewal_replaces ON renewal (replaces_id);

-- Each trigger holds the rule of its name.
CREATE FUNCTION holdfast_renewal() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    fits BOOLEAN;
BEGIN
    -- Whoever replaces this certificate, or takes a step with it, comes before this or after it.
    PERFORM 1 FROM certificate WHERE id = NEW.replaces_id FOR NO KEY UPDATE;
    fits := CASE TG_NAME
        WHEN 'renewal_once' THEN NOT EXISTS (SELECT 1 FROM renewal AS r JOIN certificate AS c ON c.id = r.certificate_id
            WHERE r.replaces_id = NEW.replaces_id AND c.state <> 'orphan')
        WHEN 'renewal_kin' THEN EXISTS (SELECT 1 FROM certificate AS c JOIN certificate AS o ON o.device_id = c.device_id
                AND o.profile = c.profile AND o.key_role = c.key_role
            WHERE c.id = NEW.certificate_id AND o.id = NEW.replaces_id
                AND c.id > o.id AND c.state = 'intent' AND o.state = 'issued')
        WHEN 'renewal_good' THEN coalesce((SELECT p.state = 'released' FROM revocation AS p
            WHERE p.certificate_id = NEW.replaces_id ORDER BY p.step DESC LIMIT 1), TRUE)
    END;
    IF fits IS NOT TRUE THEN
        RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER renewal_once BEFORE INSERT ON renewal FOR EACH ROW
    EXECUTE FUNCTION holdfast_renewal('a certificate is replaced once');
CREATE TRIGGER renewal_kin BEFORE INSERT ON renewal FOR EACH ROW
    EXECUTE FUNCTION holdfast_renewal('a renewal is of the same device and profile');
CREATE TRIGGER renewal_good BEFORE INSERT ON renewal FOR EACH ROW
    EXECUTE FUNCTION holdfast_renewal('a certificate that is revoked or on hold is not renewed');
CREATE TRIGGER renewal_final BEFORE UPDATE ON renewal FOR EACH ROW
    EXECUTE FUNCTION holdfast_refuse('renewal: rows are final');
CREATE TRIGGER renewal_kept BEFORE DELETE ON renewal FOR EACH ROW
    EXECUTE FUNCTION holdfast_refuse('renewal: rows are kept');
CREATE TRIGGER renewal_whole BEFORE TRUNCATE ON renewal
    EXECUTE FUNCTION holdfast_refuse('renewal: rows are kept');
