-- The ledger (PostgreSQL). Its twin is ../../sqlite/; a test compares the two.

-- Leaves, in the order of writing. A place in the tree is given later, once, by whoever holds the row of `ledger`.
CREATE TABLE ledger_entry (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    bytes BYTEA NOT NULL CHECK (length(bytes) BETWEEN 1 AND 65535),
    -- The certificate it hands out.
    certificate_id BIGINT REFERENCES certificate (id),
    -- Of the audit records whose digest it holds: secret, or the digest would tell of them.
    salt BYTEA CHECK (length(salt) = 16),
    created_at BIGINT NOT NULL,
    position BIGINT CHECK (position >= 0)
);
CREATE UNIQUE INDEX ledger_entry_position ON ledger_entry (position);
CREATE UNIQUE INDEX ledger_entry_certificate ON ledger_entry (certificate_id);
CREATE INDEX ledger_entry_waiting ON ledger_entry (id) WHERE position IS NULL;

-- Which leaf holds an audit record to what it says; those of before have none.
ALTER TABLE audit ADD COLUMN entry_id BIGINT REFERENCES ledger_entry (id);
CREATE INDEX audit_entry ON audit (entry_id);

-- The tree: hashes of complete subtrees, 256 in a row; every narrower tile is the beginning of this one.
CREATE TABLE ledger_tile (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    level BIGINT NOT NULL CHECK (level BETWEEN 0 AND 7),
    number BIGINT NOT NULL CHECK (number >= 0),
    hashes BYTEA NOT NULL CHECK (length(hashes) BETWEEN 32 AND 8192 AND length(hashes) % 32 = 0)
);
CREATE UNIQUE INDEX ledger_tile_place ON ledger_tile (level, number);

-- One row: the tree as far as it is built, and as far as it is signed.
CREATE TABLE ledger (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    size BIGINT NOT NULL CHECK (size >= 0),
    root BYTEA NOT NULL CHECK (length(root) = 32),
    signed_size BIGINT CHECK (signed_size BETWEEN 0 AND size),
    checkpoint TEXT COLLATE "C",
    signed_at BIGINT,
    CHECK ((signed_size IS NULL) = (checkpoint IS NULL)),
    CHECK ((signed_size IS NULL) = (signed_at IS NULL))
);
INSERT INTO ledger (id, size, root)
    VALUES (1, 0, '\xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');

-- No entry, no certificate.
CREATE FUNCTION holdfast_entered() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM ledger_entry WHERE certificate_id = NEW.id) THEN
        RAISE EXCEPTION 'no entry in the ledger, no certificate' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER certificate_entered BEFORE UPDATE ON certificate FOR EACH ROW
    WHEN (OLD.state = 'intent' AND NEW.state = 'issued')
    EXECUTE FUNCTION holdfast_entered();

-- What was written stays; a place is given once.
CREATE TRIGGER ledger_entry_final BEFORE UPDATE ON ledger_entry FOR EACH ROW
    WHEN (OLD.position IS NOT NULL
    OR NEW.id IS DISTINCT FROM OLD.id OR NEW.bytes IS DISTINCT FROM OLD.bytes OR NEW.certificate_id IS DISTINCT FROM OLD.certificate_id OR NEW.salt IS DISTINCT FROM OLD.salt OR NEW.created_at IS DISTINCT FROM OLD.created_at)
    EXECUTE FUNCTION holdfast_refuse('ledger_entry: rows are final');
CREATE TRIGGER ledger_entry_kept BEFORE DELETE ON ledger_entry FOR EACH ROW
    EXECUTE FUNCTION holdfast_refuse('ledger_entry: rows are kept');
CREATE TRIGGER ledger_tile_grows BEFORE UPDATE ON ledger_tile FOR EACH ROW
    WHEN (NEW.id IS DISTINCT FROM OLD.id OR NEW.level IS DISTINCT FROM OLD.level OR NEW.number IS DISTINCT FROM OLD.number
    OR substring(NEW.hashes FOR length(OLD.hashes)) IS DISTINCT FROM OLD.hashes)
    EXECUTE FUNCTION holdfast_refuse('ledger_tile: tiles only grow');
CREATE TRIGGER ledger_tile_kept BEFORE DELETE ON ledger_tile FOR EACH ROW
    EXECUTE FUNCTION holdfast_refuse('ledger_tile: rows are kept');
CREATE TRIGGER ledger_grows BEFORE UPDATE ON ledger FOR EACH ROW
    WHEN (NEW.id IS DISTINCT FROM OLD.id OR NEW.size < OLD.size OR (NEW.size = OLD.size AND NEW.root IS DISTINCT FROM OLD.root)
    OR (OLD.signed_size IS NOT NULL AND (NEW.signed_size IS NULL OR NEW.signed_size < OLD.signed_size)))
    EXECUTE FUNCTION holdfast_refuse('ledger: the tree only grows');
CREATE TRIGGER ledger_kept BEFORE DELETE ON ledger FOR EACH ROW
    EXECUTE FUNCTION holdfast_refuse('ledger: the row is kept');
CREATE TRIGGER ledger_entry_whole BEFORE TRUNCATE ON ledger_entry
    EXECUTE FUNCTION holdfast_refuse('ledger_entry: rows are kept');
CREATE TRIGGER ledger_tile_whole BEFORE TRUNCATE ON ledger_tile
    EXECUTE FUNCTION holdfast_refuse('ledger_tile: rows are kept');
CREATE TRIGGER ledger_whole BEFORE TRUNCATE ON ledger
    EXECUTE FUNCTION holdfast_refuse('ledger: rows are kept');
