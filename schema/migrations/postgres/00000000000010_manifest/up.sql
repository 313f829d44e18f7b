-- Devices that a manifest says will come (PostgreSQL). Its twin is ../../sqlite/; a test compares the two.

-- A manifest that was, or is being, read. `tree` is the Merkle tree over its lines so far, `last_serial` the serial of the last
-- good one: reading goes on from there. `complete`: its devices are expected. `refused`: a bad line where none may be, or
-- lines that are not the signed ones. `withdrawn`: taken back.
CREATE TABLE manifest (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    root BYTEA NOT NULL CHECK (length(root) = 32),
    signer_sha256 BYTEA NOT NULL CHECK (length(signer_sha256) = 32),
    kind TEXT COLLATE "C" NOT NULL CHECK (kind IN ('lot', 'transfer', 'repair')),
    lot TEXT COLLATE "C" NOT NULL CHECK (length(lot) BETWEEN 1 AND 255),
    header TEXT COLLATE "C" NOT NULL,
    seal TEXT COLLATE "C" NOT NULL,
    entries BIGINT NOT NULL CHECK (entries > 0),
    all_or_nothing BIGINT NOT NULL CHECK (all_or_nothing IN (0, 1)),
    imported_by TEXT COLLATE "C" NOT NULL CHECK (length(imported_by) BETWEEN 1 AND 255),
    imported_at BIGINT NOT NULL,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('open', 'complete', 'refused', 'withdrawn')),
    lines_read BIGINT NOT NULL CHECK (lines_read BETWEEN 0 AND entries),
    lines_refused BIGINT NOT NULL CHECK (lines_refused BETWEEN 0 AND lines_read),
    tree BYTEA NOT NULL,
    last_serial TEXT COLLATE "C" NOT NULL,
    CHECK (state <> 'complete' OR lines_read = entries),
    CHECK (state <> 'complete' OR all_or_nothing = 0 OR lines_refused = 0)
);
-- A signer names a lot once.
CREATE UNIQUE INDEX manifest_lot ON manifest (signer_sha256, lot) WHERE state IN ('open', 'complete');

-- An EK of a device of a manifest; with `gone` = 1, one that went with a repair. One row an EK, `position` says the line.
CREATE TABLE expected (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    manifest_id BIGINT NOT NULL REFERENCES manifest (id),
    position BIGINT NOT NULL CHECK (position >= 0),
    serial TEXT COLLATE "C" NOT NULL CHECK (length(serial) BETWEEN 1 AND 255),
    ek_spki_sha256 BYTEA NOT NULL CHECK (length(ek_spki_sha256) = 32),
    gone BIGINT NOT NULL CHECK (gone IN (0, 1))
);
CREATE UNIQUE INDEX expected_ek ON expected (ek_spki_sha256, manifest_id);
CREATE INDEX expected_serial ON expected (serial, manifest_id);

-- A line that was refused, and why.
CREATE TABLE refused_line (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    manifest_id BIGINT NOT NULL REFERENCES manifest (id),
    position BIGINT NOT NULL CHECK (position >= 0),
    reason TEXT COLLATE "C" NOT NULL CHECK (length(reason) BETWEEN 1 AND 500)
);
CREATE UNIQUE INDEX refused_line_position ON refused_line (manifest_id, position);

-- Each trigger holds the rule of its name.
CREATE FUNCTION holdfast_manifest() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong BOOLEAN;
BEGIN
    wrong := CASE TG_NAME
        WHEN 'manifest_born' THEN NEW.state <> 'open' OR NEW.lines_read <> 0
        WHEN 'manifest_final' THEN OLD.state IN ('refused', 'withdrawn')
            OR (OLD.state = 'complete' AND NEW.state <> 'withdrawn')
            OR ROW (NEW.id, NEW.root, NEW.signer_sha256, NEW.kind, NEW.lot, NEW.header, NEW.seal, NEW.entries,
                    NEW.all_or_nothing, NEW.imported_by, NEW.imported_at)
               IS DISTINCT FROM
               ROW (OLD.id, OLD.root, OLD.signer_sha256, OLD.kind, OLD.lot, OLD.header, OLD.seal, OLD.entries,
                    OLD.all_or_nothing, OLD.imported_by, OLD.imported_at)
            OR NEW.lines_read < OLD.lines_read OR NEW.lines_refused < OLD.lines_refused
    END;
    IF wrong IS NOT FALSE THEN
        RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE FUNCTION holdfast_expected() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM manifest AS m WHERE m.id = NEW.manifest_id AND m.state = 'open') THEN
        RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER manifest_born BEFORE INSERT ON manifest FOR EACH ROW
    EXECUTE FUNCTION holdfast_manifest('manifest: it is read before it is complete');
CREATE TRIGGER manifest_final BEFORE UPDATE ON manifest FOR EACH ROW
    EXECUTE FUNCTION holdfast_manifest('manifest: what was signed and read is final');
CREATE TRIGGER expected_born BEFORE INSERT ON expected FOR EACH ROW
    EXECUTE FUNCTION holdfast_expected('expected: of a manifest that is being read');
CREATE TRIGGER expected_final BEFORE UPDATE ON expected FOR EACH ROW
    EXECUTE FUNCTION holdfast_refuse('expected: rows are final');
CREATE TRIGGER refused_line_final BEFORE UPDATE ON refused_line FOR EACH ROW
    EXECUTE FUNCTION holdfast_refuse('refused_line: rows are final');
CREATE TRIGGER manifest_kept BEFORE DELETE ON manifest FOR EACH ROW
    EXECUTE FUNCTION holdfast_refuse('manifest: rows are kept');
CREATE TRIGGER manifest_whole BEFORE TRUNCATE ON manifest
    EXECUTE FUNCTION holdfast_refuse('manifest: rows are kept');
CREATE TRIGGER expected_kept BEFORE DELETE ON expected FOR EACH ROW
    EXECUTE FUNCTION holdfast_refuse('expected: rows are kept');
CREATE TRIGGER expected_whole BEFORE TRUNCATE ON expected
    EXECUTE FUNCTION holdfast_refuse('expected: rows are kept');
CREATE TRIGGER refused_line_kept BEFORE DELETE ON refused_line FOR EACH ROW
    EXECUTE FUNCTION holdfast_refuse('refused_line: rows are kept');
CREATE TRIGGER refused_line_whole BEFORE TRUNCATE ON refused_line
    EXECUTE FUNCTION holdfast_refuse('refused_line: rows are kept');
