-- TPMs whose vendor nobody decided about, shown to people (SQLite). Its twin is ../../postgres/; a test compares the two.

-- One row asks for one EK, which people had named before: in the inventory, or by a manifest (`named_by`). An approval vouches
-- for this EK and no other, and says what `kind` of TPM it is in.
CREATE TABLE review (
    id INTEGER PRIMARY KEY,
    ek_spki_sha256 BLOB NOT NULL CHECK (length(ek_spki_sha256) = 32),
    ek_certificate_sha256 BLOB NOT NULL CHECK (length(ek_certificate_sha256) = 32),
    device TEXT NOT NULL CHECK (length(device) BETWEEN 1 AND 255),
    named_by TEXT NOT NULL CHECK (length(named_by) BETWEEN 1 AND 255),
    reason TEXT NOT NULL CHECK (length(reason) BETWEEN 1 AND 64),
    issuer TEXT NOT NULL CHECK (length(issuer) <= 500),
    manufacturer TEXT NOT NULL,
    tpm TEXT NOT NULL,
    asked_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL CHECK (expires_at > asked_at),
    state TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'rejected', 'expired')),
    kind TEXT CHECK (kind IN ('hardware', 'virtual', 'software')),
    decided_by TEXT CHECK (length(decided_by) BETWEEN 1 AND 255),
    decided_at INTEGER CHECK (decided_at >= asked_at),
    comment TEXT CHECK (length(comment) BETWEEN 1 AND 500),
    CHECK ((state = 'pending') = (decided_by IS NULL)),
    CHECK ((state = 'pending') = (decided_at IS NULL)),
    CHECK (state <> 'approved' OR kind IS NOT NULL),
    -- In time, and with a reason.
    CHECK (state <> 'approved' OR decided_at <= expires_at),
    CHECK (state NOT IN ('approved', 'rejected') OR comment IS NOT NULL)
) STRICT;
-- One stands for an EK: what waits, or what was decided last.
CREATE UNIQUE INDEX review_ek ON review (ek_spki_sha256) WHERE state IN ('pending', 'approved');
CREATE INDEX review_state ON review (state, id);

CREATE TRIGGER review_born BEFORE INSERT ON review
WHEN NEW.state <> 'pending'
BEGIN SELECT RAISE(ABORT, 'review: it is asked for first'); END;
-- An approval can be taken back; all else that was decided is final.
CREATE TRIGGER review_final BEFORE UPDATE ON review
WHEN (OLD.state <> 'pending' AND (OLD.state <> 'approved' OR NEW.state <> 'rejected'))
    OR (OLD.state = 'pending' AND NEW.state = 'pending') OR NEW.id IS NOT OLD.id
    OR NEW.ek_spki_sha256 IS NOT OLD.ek_spki_sha256 OR NEW.ek_certificate_sha256 IS NOT OLD.ek_certificate_sha256
    OR NEW.device IS NOT OLD.device OR NEW.named_by IS NOT OLD.named_by OR NEW.reason IS NOT OLD.reason
    OR NEW.issuer IS NOT OLD.issuer OR NEW.manufacturer IS NOT OLD.manufacturer OR NEW.tpm IS NOT OLD.tpm
    OR NEW.asked_at IS NOT OLD.asked_at OR NEW.expires_at IS NOT OLD.expires_at
BEGIN SELECT RAISE(ABORT, 'review: what was asked and decided is final'); END;
CREATE TRIGGER review_kept BEFORE DELETE ON review
BEGIN SELECT RAISE(ABORT, 'review: rows are kept'); END;
