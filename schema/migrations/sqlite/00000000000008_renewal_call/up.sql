-- Devices that are to renew early (SQLite). Its twin is ../../postgres/; a test compares the two.

-- Certificates of the device up to this row id (`upto`) are to be renewed from `at` on, within so many seconds. Calls are
-- only added; the last one counts.
CREATE TABLE renewal_call (
    id INTEGER PRIMARY KEY,
    device_id INTEGER NOT NULL REFERENCES device (id),
    upto INTEGER NOT NULL,
    at INTEGER NOT NULL,
    within INTEGER NOT NULL CHECK (within > 0),
    actor TEXT NOT NULL,
    reason TEXT NOT NULL
) STRICT;
CREATE INDEX renewal_call_device ON renewal_call (device_id, id);
CREATE TRIGGER renewal_call_final BEFORE UPDATE ON renewal_call
BEGIN SELECT RAISE(ABORT, 'renewal_call: rows are final'); END;
CREATE TRIGGER renewal_call_kept BEFORE DELETE ON renewal_call
BEGIN SELECT RAISE(ABORT, 'renewal_call: rows are kept'); END;
