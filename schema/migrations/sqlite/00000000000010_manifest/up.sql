-- Devices that a manifest says will come (SQLite). Its twin is ../../postgres/; a test compares the two.

-- A manifest that was, or is being, read. `tree` is the Merkle tree over its lines so far, `last_serial` the serial of the last
-- good one: reading goes on from there. `complete`: its devices are expected. `refused`: a bad line where none may be, or
-- lines that are not the signed ones. `withdrawn`: taken back.
CREATE TABLE manifest (
    id INTEGER PRIMARY KEY,
    root BLOB NOT NULL CHECK (length(root) = 32),
    signer_sha256 BLOB NOT NULL CHECK (length(signer_sha256) = 32),
    kind TEXT NOT NULL CHECK (kind IN ('lot', 'transfer', 'repair')),
    lot TEXT NOT NULL CHECK (length(lot) BETWEEN 1 AND 255),
    header TEXT NOT NULL,
    seal TEXT NOT NULL,
    entries INTEGER NOT NULL CHECK (entries > 0),
    all_or_nothing INTEGER NOT NULL CHECK (all_or_nothing IN (0, 1)),
    imported_by TEXT NOT NULL CHECK (length(imported_by) BETWEEN 1 AND 255),
    imported_at INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('open', 'complete', 'refused', 'withdrawn')),
    lines_read INTEGER NOT NULL CHECK (lines_read BETWEEN 0 AND entries),
    lines_refused INTEGER NOT NULL CHECK (lines_refused BETWEEN 0 AND lines_read),
    tree BLOB NOT NULL,
    last_serial TEXT NOT NULL,
    CHECK (state <> 'complete' OR lines_read = entries),
    CHECK (state <> 'complete' OR all_or_nothing = 0 OR lines_refused = 0)
) STRICT;
-- A signer names a lot once.
CREATE UNIQUE INDEX manifest_lot ON manifest (signer_sha256, lot) WHERE state IN ('open', 'complete');

-- An EK of a device of a manifest; with `gone` = 1, one that went with a repair. One row an EK, `position` says the line.
CREATE TABLE expected (
    id INTEGER PRIMARY KEY,
    manifest_id INTEGER NOT NULL REFERENCES manifest (id),
    position INTEGER NOT NULL CHECK (position >= 0),
    serial TEXT NOT NULL CHECK (length(serial) BETWEEN 1 AND 255),
    ek_spki_sha256 BLOB NOT NULL CHECK (length(ek_spki_sha256) = 32),
    gone INTEGER NOT NULL CHECK (gone IN (0, 1))
) STRICT;
CREATE UNIQUE INDEX expected_ek ON expected (ek_spki_sha256, manifest_id);
CREATE INDEX expected_serial ON expected (serial, manifest_id);

-- A line that was refused, and why.
CREATE TABLE refused_line (
    id INTEGER PRIMARY KEY,
    manifest_id INTEGER NOT NULL REFERENCES manifest (id),
    position INTEGER NOT NULL CHECK (position >= 0),
    reason TEXT NOT NULL CHECK (length(reason) BETWEEN 1 AND 500)
) STRICT;
CREATE UNIQUE INDEX refused_line_position ON refused_line (manifest_id, position);

CREATE TRIGGER manifest_born BEFORE INSERT ON manifest
WHEN NEW.state <> 'open' OR NEW.lines_read <> 0
BEGIN SELECT RAISE(ABORT, 'manifest: it is read before it is complete'); END;
CREATE TRIGGER manifest_final BEFORE UPDATE ON manifest
WHEN OLD.state IN ('refused', 'withdrawn') OR (OLD.state = 'complete' AND NEW.state <> 'withdrawn')
    OR NEW.id IS NOT OLD.id OR NEW.root IS NOT OLD.root OR NEW.signer_sha256 IS NOT OLD.signer_sha256
    OR NEW.kind IS NOT OLD.kind OR NEW.lot IS NOT OLD.lot OR NEW.header IS NOT OLD.header OR NEW.seal IS NOT OLD.seal
    OR NEW.entries IS NOT OLD.entries OR NEW.all_or_nothing IS NOT OLD.all_or_nothing
    OR NEW.imported_by IS NOT OLD.imported_by OR NEW.imported_at IS NOT OLD.imported_at
    OR NEW.lines_read < OLD.lines_read OR NEW.lines_refused < OLD.lines_refused
BEGIN SELECT RAISE(ABORT, 'manifest: what was signed and read is final'); END;
CREATE TRIGGER manifest_kept BEFORE DELETE ON manifest
BEGIN SELECT RAISE(ABORT, 'manifest: rows are kept'); END;
CREATE TRIGGER expected_born BEFORE INSERT ON expected
WHEN NOT EXISTS (SELECT 1 FROM manifest AS m WHERE m.id = NEW.manifest_id AND m.state = 'open')
BEGIN SELECT RAISE(ABORT, 'expected: of a manifest that is being read'); END;
CREATE TRIGGER expected_final BEFORE UPDATE ON expected
BEGIN SELECT RAISE(ABORT, 'expected: rows are final'); END;
CREATE TRIGGER expected_kept BEFORE DELETE ON expected
BEGIN SELECT RAISE(ABORT, 'expected: rows are kept'); END;
CREATE TRIGGER refused_line_final BEFORE UPDATE ON refused_line
BEGIN SELECT RAISE(ABORT, 'refused_line: rows are final'); END;
CREATE TRIGGER refused_line_kept BEFORE DELETE ON refused_line
BEGIN SELECT RAISE(ABORT, 'refused_line: rows are kept'); END;
