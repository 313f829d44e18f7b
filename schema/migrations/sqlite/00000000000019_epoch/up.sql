-- Epochs of the record (SQLite). Its twin is ../../postgres/; a test compares the two.

-- Each time a person said that the record goes on from a state that is older than what was said of it, or that it was
-- moved elsewhere. Without a row it is in epoch 0. Anchors know the epoch they were written in: in a later one they are
-- void. After a row with `moved` no server writes here.
CREATE TABLE epoch (
    id INTEGER PRIMARY KEY,
    number INTEGER NOT NULL CHECK (number > 0),
    since INTEGER NOT NULL,
    moved INTEGER NOT NULL CHECK (moved IN (0, 1)),
    actor TEXT NOT NULL CHECK (length(actor) BETWEEN 1 AND 255),
    reason TEXT NOT NULL CHECK (length(reason) BETWEEN 1 AND 500)
) STRICT;
CREATE UNIQUE INDEX epoch_number ON epoch (number);

CREATE TRIGGER epoch_grows BEFORE INSERT ON epoch
WHEN EXISTS (SELECT 1 FROM epoch AS e WHERE e.number >= NEW.number)
BEGIN SELECT RAISE(ABORT, 'epoch: numbers grow'); END;
CREATE TRIGGER epoch_final BEFORE UPDATE ON epoch
BEGIN SELECT RAISE(ABORT, 'epoch: rows are final'); END;
CREATE TRIGGER epoch_kept BEFORE DELETE ON epoch
BEGIN SELECT RAISE(ABORT, 'epoch: rows are kept'); END;
