-- The ledger (SQLite). Its twin is ../../postgres/; a test compares the two.

-- Leaves, in the order of writing. A place in the tree is given later, once, by whoever holds the row of `ledger`.
CREATE TABLE ledger_entry (
    id INTEGER PRIMARY KEY,
    bytes BLOB NOT NULL CHECK (length(bytes) BETWEEN 1 AND 65535),
    -- The certificate it hands out.
    certificate_id INTEGER REFERENCES certificate (id),
    -- Of the audit records whose digest it holds: secret, or the digest would tell of them.
    salt BLOB CHECK (length(salt) = 16),
    created_at INTEGER NOT NULL,
    position INTEGER CHECK (position >= 0)
) STRICT;
CREATE UNIQUE INDEX ledger_entry_position ON ledger_entry (position);
CREATE UNIQUE INDEX ledger_entry_certificate ON ledger_entry (certificate_id);
CREATE INDEX ledger_entry_waiting ON ledger_entry (id) WHERE position IS NULL;

-- Which leaf holds an audit record to what it says; those of before have none.
ALTER TABLE audit ADD COLUMN entry_id INTEGER REFERENCES ledger_entry (id);
CREATE INDEX audit_entry ON audit (entry_id);

-- The tree: hashes of complete subtrees, 256 in a row; every narrower tile is the beginning of this one.
CREATE TABLE ledger_tile (
    id INTEGER PRIMARY KEY,
    level INTEGER NOT NULL CHECK (level BETWEEN 0 AND 7),
    number INTEGER NOT NULL CHECK (number >= 0),
    hashes BLOB NOT NULL CHECK (length(hashes) BETWEEN 32 AND 8192 AND length(hashes) % 32 = 0)
) STRICT;
CREATE UNIQUE INDEX ledger_tile_place ON ledger_tile (level, number);

-- One row: the tree as far as it is built, and as far as it is signed.
CREATE TABLE ledger (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    size INTEGER NOT NULL CHECK (size >= 0),
    root BLOB NOT NULL CHECK (length(root) = 32),
    signed_size INTEGER CHECK (signed_size BETWEEN 0 AND size),
    checkpoint TEXT,
    signed_at INTEGER,
    CHECK ((signed_size IS NULL) = (checkpoint IS NULL)),
    CHECK ((signed_size IS NULL) = (signed_at IS NULL))
) STRICT;
INSERT INTO ledger (id, size, root)
    VALUES (1, 0, X'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');

-- No entry, no certificate.
CREATE TRIGGER certificate_entered BEFORE UPDATE ON certificate
WHEN OLD.state = 'intent' AND NEW.state = 'issued' AND NOT EXISTS (SELECT 1 FROM ledger_entry WHERE certificate_id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'no entry in the ledger, no certificate'); END;

-- What was written stays; a place is given once.
CREATE TRIGGER ledger_entry_final BEFORE UPDATE ON ledger_entry
WHEN OLD.position IS NOT NULL
    OR NEW.id IS NOT OLD.id OR NEW.bytes IS NOT OLD.bytes OR NEW.certificate_id IS NOT OLD.certificate_id OR NEW.salt IS NOT OLD.salt OR NEW.created_at IS NOT OLD.created_at
BEGIN SELECT RAISE(ABORT, 'ledger_entry: rows are final'); END;
CREATE TRIGGER ledger_entry_kept BEFORE DELETE ON ledger_entry
BEGIN SELECT RAISE(ABORT, 'ledger_entry: rows are kept'); END;
CREATE TRIGGER ledger_tile_grows BEFORE UPDATE ON ledger_tile
WHEN NEW.id IS NOT OLD.id OR NEW.level IS NOT OLD.level OR NEW.number IS NOT OLD.number
    OR substr(NEW.hashes, 1, length(OLD.hashes)) IS NOT OLD.hashes
BEGIN SELECT RAISE(ABORT, 'ledger_tile: tiles only grow'); END;
CREATE TRIGGER ledger_tile_kept BEFORE DELETE ON ledger_tile
BEGIN SELECT RAISE(ABORT, 'ledger_tile: rows are kept'); END;
CREATE TRIGGER ledger_grows BEFORE UPDATE ON ledger
WHEN NEW.id IS NOT OLD.id OR NEW.size < OLD.size OR (NEW.size = OLD.size AND NEW.root IS NOT OLD.root)
    OR (OLD.signed_size IS NOT NULL AND (NEW.signed_size IS NULL OR NEW.signed_size < OLD.signed_size))
BEGIN SELECT RAISE(ABORT, 'ledger: the tree only grows'); END;
CREATE TRIGGER ledger_kept BEFORE DELETE ON ledger
BEGIN SELECT RAISE(ABORT, 'ledger: the row is kept'); END;
