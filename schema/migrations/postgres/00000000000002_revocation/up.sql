-- Revocation (PostgreSQL). Its twin is ../../sqlite/; a test compares the two.

-- What became of a certificate after it was recorded: steps, only ever added; the last one counts.
-- `at` is when a step was recorded, `since` when the certificate stopped being good: a hold that becomes a revocation,
-- and a reason that becomes keyCompromise, keep it. A release keeps the reason of its hold (RFC 5280 §5.3.1).
CREATE TABLE revocation (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    certificate_id BIGINT NOT NULL REFERENCES certificate (id),
    step BIGINT NOT NULL CHECK (step > 0),
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('revoked', 'on_hold', 'released')),
    reason TEXT COLLATE "C" NOT NULL CHECK (reason IN ('unspecified', 'keyCompromise', 'cACompromise',
        'affiliationChanged', 'superseded', 'cessationOfOperation', 'certificateHold', 'privilegeWithdrawn',
        'aACompromise')),
    at BIGINT NOT NULL,
    since BIGINT NOT NULL,
    actor TEXT COLLATE "C" NOT NULL CHECK (length(actor) <= 255),
    comment TEXT COLLATE "C" NOT NULL CHECK (length(comment) <= 500),
    CHECK ((state = 'revoked') = (reason <> 'certificateHold'))
);
CREATE UNIQUE INDEX revocation_step ON revocation (certificate_id, step);

-- Each trigger holds the rule of its name.
CREATE FUNCTION holdfast_revocation() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    p revocation%ROWTYPE;
    fits BOOLEAN;
BEGIN
    SELECT * INTO p FROM revocation WHERE certificate_id = NEW.certificate_id ORDER BY step DESC LIMIT 1;
    fits := CASE TG_NAME
        WHEN 'revocation_follows' THEN NEW.step = coalesce(p.step, 0) + 1
        -- Only a hold is released, and only by itself; a revocation is final, but keyCompromise may still replace its
        -- reason.
        WHEN 'revocation_moves' THEN CASE p.state
            WHEN 'revoked' THEN NEW.reason = 'keyCompromise' AND p.reason <> 'keyCompromise'
            WHEN 'on_hold' THEN NEW.state <> 'on_hold'
            ELSE NEW.state <> 'released' END
        WHEN 'revocation_since' THEN NEW.since = coalesce(
            CASE WHEN p.state <> 'released' AND NEW.state = 'revoked' THEN p.since END, NEW.at)
        WHEN 'revocation_key' THEN NEW.reason <> 'keyCompromise' OR EXISTS (SELECT 1 FROM certificate AS c
            JOIN blocked_key AS b ON b.spki_sha256 = c.spki_sha256 WHERE c.id = NEW.certificate_id)
    END;
    IF fits IS NOT TRUE THEN
        RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER revocation_follows BEFORE INSERT ON revocation FOR EACH ROW
    EXECUTE FUNCTION holdfast_revocation('a step of a revocation follows the one before it');
CREATE TRIGGER revocation_moves BEFORE INSERT ON revocation FOR EACH ROW
    EXECUTE FUNCTION holdfast_revocation('a certificate does not go from where it stands to there');
CREATE TRIGGER revocation_since BEFORE INSERT ON revocation FOR EACH ROW
    EXECUTE FUNCTION holdfast_revocation('a revocation counts from its beginning');
CREATE TRIGGER revocation_key BEFORE INSERT ON revocation FOR EACH ROW
    EXECUTE FUNCTION holdfast_revocation('a compromised key is blocked');
CREATE TRIGGER revocation_final BEFORE UPDATE ON revocation FOR EACH ROW
    EXECUTE FUNCTION holdfast_refuse('revocation: rows are final');
CREATE TRIGGER revocation_kept BEFORE DELETE ON revocation FOR EACH ROW
    EXECUTE FUNCTION holdfast_refuse('revocation: rows are kept');
CREATE TRIGGER revocation_whole BEFORE TRUNCATE ON revocation
    EXECUTE FUNCTION holdfast_refuse('revocation: rows are kept');
