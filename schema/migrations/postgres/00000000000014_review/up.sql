-- TPMs whose vendor nobody decided about, shown to people (PostgreSQL). Its twin is ../../sqlite/; a test compares the two.

-- One row asks for one EK, which people had named before: in the inventory, or by a manifest (`named_by`). An approval vouches
-- for this EK and no other, and says what `kind` of TPM it is in.
CREATE TABLE review (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ek_spki_sha256 BYTEA NOT NULL CHECK (length(ek_spki_sha256) = 32),
    ek_certificate_sha256 BYTEA NOT NULL CHECK (length(ek_certificate_sha256) = 32),
    device TEXT COLLATE "C" NOT NULL CHECK (length(device) BETWEEN 1 AND 255),
    named_by TEXT COLLATE "C" NOT NULL CHECK (length(named_by) BETWEEN 1 AND 255),
    reason TEXT COLLATE "C" NOT NULL CHECK (length(reason) BETWEEN 1 AND 64),
    issuer TEXT COLLATE "C" NOT NULL CHECK (length(issuer) <= 500),
    manufacturer TEXT COLLATE "C" NOT NULL,
    tpm TEXT COLLATE "C" NOT NULL,
    asked_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL CHECK (expires_at > asked_at),
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('pending', 'approved', 'rejected', 'expired')),
    kind TEXT COLLATE "C" CHECK (kind IN ('hardware', 'virtual', 'software')),
    decided_by TEXT COLLATE "C" CHECK (length(decided_by) BETWEEN 1 AND 255),
    decided_at BIGINT CHECK (decided_at >= asked_at),
    comment TEXT COLLATE "C" CHECK (length(comment) BETWEEN 1 AND 500),
    CHECK ((state = 'pending') = (decided_by IS NULL)),
    CHECK ((state = 'pending') = (decided_at IS NULL)),
    CHECK (state <> 'approved' OR kind IS NOT NULL),
    -- In time, and with a reason.
    CHECK (state <> 'approved' OR decided_at <= expires_at),
    CHECK (state NOT IN ('approved', 'rejected') OR comment IS NOT NULL)
);
-- One stands for an EK: what waits, or what was decided last.
CREATE UNIQUE INDEX review_ek ON review (ek_spki_sha256) WHERE state IN ('pending', 'approved');
CREATE INDEX review_state ON review (state, id);

-- Each trigger holds the rule of its name.
CREATE FUNCTION holdfast_review() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong BOOLEAN;
BEGIN
    wrong := CASE TG_NAME
        WHEN 'review_born' THEN NEW.state <> 'pending'
        -- An approval can be taken back; all else that was decided is final.
        WHEN 'review_final' THEN (OLD.state <> 'pending' AND (OLD.state <> 'approved' OR NEW.state <> 'rejected'))
            OR (OLD.state = 'pending' AND NEW.state = 'pending')
            OR ROW (NEW.id, NEW.ek_spki_sha256, NEW.ek_certificate_sha256, NEW.device, NEW.named_by, NEW.reason, NEW.issuer,
                    NEW.manufacturer, NEW.tpm, NEW.asked_at, NEW.expires_at)
               IS DISTINCT FROM
               ROW (OLD.id, OLD.ek_spki_sha256, OLD.ek_certificate_sha256, OLD.device, OLD.named_by, OLD.reason, OLD.issuer,
                    OLD.manufacturer, OLD.tpm, OLD.asked_at, OLD.expires_at)
    END;
    IF wrong IS NOT FALSE THEN
        RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER review_born BEFORE INSERT ON review FOR EACH ROW
    EXECUTE FUNCTION holdfast_review('review: it is asked for first');
CREATE TRIGGER review_final BEFORE UPDATE ON review FOR EACH ROW
    EXECUTE FUNCTION holdfast_review('review: what was asked and decided is final');
CREATE TRIGGER review_kept BEFORE DELETE ON review FOR EACH ROW
    EXECUTE FUNCTION holdfast_refuse('review: rows are kept');
CREATE TRIGGER review_whole BEFORE TRUNCATE ON review
    EXECUTE FUNCTION holdfast_refuse('review: rows are kept');
