-- Delta CRLs (PostgreSQL). Its twin is ../../sqlite/; a test compares the two.

-- What freshestCRL of the published CRL says; NULL: nothing.
ALTER TABLE crl_point ADD COLUMN delta_url TEXT COLLATE "C" CHECK (length(delta_url) BETWEEN 1 AND 2048);
-- BaseCRLNumber of what is about to be signed; NULL: a complete CRL.
ALTER TABLE crl ADD COLUMN base BIGINT CHECK (base > 0 AND base < number);

-- The delta CRL beside the complete one of a place.
CREATE TABLE crl_delta (
    crl_point_id BIGINT PRIMARY KEY REFERENCES crl_point (id),
    crl_id BIGINT NOT NULL REFERENCES crl (id),
    base BIGINT NOT NULL,
    number BIGINT NOT NULL CHECK (number > base),
    this_update BIGINT NOT NULL,
    next_update BIGINT NOT NULL,
    entries BIGINT NOT NULL,
    steps BIGINT NOT NULL,
    published_at BIGINT NOT NULL,
    der BYTEA NOT NULL
);

-- Each trigger holds the rule of its name.
CREATE FUNCTION holdfast_crl_delta() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    fits BOOLEAN;
BEGIN
    IF TG_NAME = 'crl_point_recorded' THEN
        -- A complete CRL where a complete one belongs.
        fits := EXISTS (SELECT 1 FROM crl AS c WHERE c.id = NEW.crl_id AND c.crl_point_id = NEW.id AND c.base IS NULL
            AND c.number = NEW.number AND c.this_update = NEW.this_update AND c.next_update = NEW.next_update
            AND c.entries = NEW.entries AND c.steps = NEW.steps);
    ELSIF TG_NAME = 'crl_point_above_delta' THEN
        fits := NOT EXISTS (SELECT 1 FROM crl_delta AS d WHERE d.crl_point_id = NEW.id
            AND (NEW.number <= d.number OR NEW.this_update < d.this_update OR NEW.steps < d.steps));
    ELSIF TG_NAME IN ('crl_delta_based', 'crl_delta_rebased') THEN
        fits := EXISTS (SELECT 1 FROM crl_point AS p WHERE p.id = NEW.crl_point_id AND p.number = NEW.base
            AND p.this_update < NEW.this_update AND p.steps <= NEW.steps);
    ELSIF TG_NAME IN ('crl_delta_recorded', 'crl_delta_rerecorded') THEN
        fits := EXISTS (SELECT 1 FROM crl AS c WHERE c.id = NEW.crl_id AND c.crl_point_id = NEW.crl_point_id
            AND c.base = NEW.base AND c.number = NEW.number AND c.this_update = NEW.this_update
            AND c.next_update = NEW.next_update AND c.entries = NEW.entries AND c.steps = NEW.steps);
    END IF;
    IF fits IS NOT TRUE THEN
        RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
$$;

DROP TRIGGER crl_point_recorded ON crl_point;
CREATE TRIGGER crl_point_recorded BEFORE UPDATE ON crl_point FOR EACH ROW
    EXECUTE FUNCTION holdfast_crl_delta('a CRL is written down before it is published');
CREATE TRIGGER crl_point_above_delta BEFORE UPDATE ON crl_point FOR EACH ROW
    EXECUTE FUNCTION holdfast_crl_delta('a complete CRL is newer than the delta before it');

-- A delta stands on exactly what is published, is never replaced by something older, and was written down before.
CREATE TRIGGER crl_delta_based BEFORE INSERT ON crl_delta FOR EACH ROW
    EXECUTE FUNCTION holdfast_crl_delta('a delta CRL stands on the published complete one');
CREATE TRIGGER crl_delta_rebased BEFORE UPDATE ON crl_delta FOR EACH ROW
    EXECUTE FUNCTION holdfast_crl_delta('a delta CRL stands on the published complete one');
CREATE TRIGGER crl_delta_recorded BEFORE INSERT ON crl_delta FOR EACH ROW
    EXECUTE FUNCTION holdfast_crl_delta('a CRL is written down before it is published');
CREATE TRIGGER crl_delta_rerecorded BEFORE UPDATE ON crl_delta FOR EACH ROW
    EXECUTE FUNCTION holdfast_crl_delta('a CRL is written down before it is published');
CREATE TRIGGER crl_delta_grows BEFORE UPDATE ON crl_delta FOR EACH ROW
    WHEN (NEW.crl_point_id IS DISTINCT FROM OLD.crl_point_id OR NEW.number <= OLD.number
        OR NEW.this_update < OLD.this_update OR NEW.steps < OLD.steps)
    EXECUTE FUNCTION holdfast_refuse('a published CRL is replaced by a newer one only');
CREATE TRIGGER crl_delta_kept BEFORE DELETE ON crl_delta FOR EACH ROW
    EXECUTE FUNCTION holdfast_refuse('crl_delta: rows are kept');
CREATE TRIGGER crl_delta_whole BEFORE TRUNCATE ON crl_delta
    EXECUTE FUNCTION holdfast_refuse('crl_delta: rows are kept');
