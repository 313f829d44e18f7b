-- Revocation (SQLite). Its twin is ../../postgres/; a test compares the two.

-- What became of a certificate after it was recorded: steps, only ever added; the last one counts.
-- `at` is when a step was recorded, `since` when the certificate stopped being good: a hold that becomes a revocation,
-- and a reason that becomes keyCompromise, keep it. A release keeps the reason of its hold (RFC 5280 §5.3.1).
CREATE TABLE revocation (
    id INTEGER PRIMARY KEY,
    certificate_id INTEGER NOT NULL REFERENCES certificate (id),
    step INTEGER NOT NULL CHECK (step > 0),
    state TEXT NOT NULL CHECK (state IN ('revoked', 'on_hold', 'released')),
    reason TEXT NOT NULL CHECK (reason IN ('unspecified', 'keyCompromise', 'cACompromise', 'affiliationChanged',
        'superseded', 'cessationOfOperation', 'certificateHold', 'privilegeWithdrawn', 'aACompromise')),
    at INTEGER NOT NULL,
    since INTEGER NOT NULL,
    actor TEXT NOT NULL CHECK (length(actor) <= 255),
    comment TEXT NOT NULL CHECK (length(comment) <= 500),
    CHECK ((state = 'revoked') = (reason <> 'certificateHold'))
) STRICT;
CREATE UNIQUE INDEX revocation_step ON revocation (certificate_id, step);

CREATE TRIGGER revocation_follows BEFORE INSERT ON revocation
WHEN NEW.step <> (SELECT coalesce(max(p.step), 0) + 1 FROM revocation AS p WHERE p.certificate_id = NEW.certificate_id)
BEGIN SELECT RAISE(ABORT, 'a step of a revocation follows the one before it'); END;
-- Only a hold is released, and only by itself; a revocation is final, but keyCompromise may still replace its reason.
CREATE TRIGGER revocation_moves BEFORE INSERT ON revocation
WHEN NOT coalesce(
    (SELECT CASE p.state
            WHEN 'revoked' THEN NEW.reason = 'keyCompromise' AND p.reason <> 'keyCompromise'
            WHEN 'on_hold' THEN NEW.state <> 'on_hold'
            ELSE NEW.state <> 'released' END
        FROM revocation AS p WHERE p.certificate_id = NEW.certificate_id ORDER BY p.step DESC LIMIT 1),
    NEW.state <> 'released')
BEGIN SELECT RAISE(ABORT, 'a certificate does not go from where it stands to there'); END;
CREATE TRIGGER revocation_since BEFORE INSERT ON revocation
WHEN NEW.since <> coalesce(
    (SELECT CASE WHEN p.state <> 'released' AND NEW.state = 'revoked' THEN p.since END
        FROM revocation AS p WHERE p.certificate_id = NEW.certificate_id ORDER BY p.step DESC LIMIT 1),
    NEW.at)
BEGIN SELECT RAISE(ABORT, 'a revocation counts from its beginning'); END;
CREATE TRIGGER revocation_key BEFORE INSERT ON revocation
WHEN NEW.reason = 'keyCompromise' AND NOT EXISTS (SELECT 1 FROM certificate AS c
    JOIN blocked_key AS b ON b.spki_sha256 = c.spki_sha256 WHERE c.id = NEW.certificate_id)
BEGIN SELECT RAISE(ABORT, 'a compromised key is blocked'); END;
CREATE TRIGGER revocation_final BEFORE UPDATE ON revocation
BEGIN SELECT RAISE(ABORT, 'revocation: rows are final'); END;
CREATE TRIGGER revocation_kept BEFORE DELETE ON revocation
BEGIN SELECT RAISE(ABORT, 'revocation: rows are kept'); END;
