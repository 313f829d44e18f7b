-- Epochs of the record (PostgreSQL). Its twin is ../../sqlite/; a test compares the two.

-- Each time a person said that the record goes on from a state that is older than what was said of it, or that it was
-- moved elsewhere. Without a row it is in epoch 0. Anchors know the epoch they were written in: in a later one they are
-- void. After a row with `moved` no server writes here.
CREATE TABLE epoch (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    number BIGINT NOT NULL CHECK (number > 0),
    since BIGINT NOT NULL,
    moved BIGINT NOT NULL CHECK (moved IN (0, 1)),
    actor TEXT COLLATE "C" NOT NULL CHECK (length(actor) BETWEEN 1 AND 255),
    reason TEXT COLLATE "C" NOT NULL CHECK (length(reason) BETWEEN 1 AND 500)
);
CREATE UNIQUE INDEX epoch_number ON epoch (number);

CREATE FUNCTION holdfast_epoch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM epoch AS e WHERE e.number >= NEW.number) THEN
        RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER epoch_grows BEFORE INSERT ON epoch FOR EACH ROW
    EXECUTE FUNCTION holdfast_epoch('epoch: numbers grow');
CREATE TRIGGER epoch_final BEFORE UPDATE ON epoch FOR EACH ROW
    EXECUTE FUNCTION holdfast_refuse('epoch: rows are final');
CREATE TRIGGER epoch_kept BEFORE DELETE ON epoch FOR EACH ROW
    EXECUTE FUNCTION holdfast_refuse('epoch: rows are kept');
CREATE TRIGGER epoch_whole BEFORE TRUNCATE ON epoch
    EXECUTE FUNCTION holdfast_refuse('epoch: rows are kept');
