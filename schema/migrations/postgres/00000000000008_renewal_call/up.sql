-- Devices that are to renew early (PostgreSQL). Its twin is ../../sqlite/; a test compares the two.

-- Certificates of the device up to this row id (`upto`) are to be renewed from `at` on, within so many seconds. Calls are
-- only added; the last one counts.
CREATE TABLE renewal_call (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device_id BIGINT NOT NULL REFERENCES device (id),
    upto BIGINT NOT NULL,
    at BIGINT NOT NULL,
    within BIGINT NOT NULL CHECK (within > 0),
    actor TEXT COLLATE "C" NOT NULL,
    reason TEXT COLLATE "C" NOT NULL
);
CREATE INDEX renewal_call_device ON renewal_call (device_id, id);
CREATE TRIGGER renewal_call_final BEFORE UPDATE ON renewal_call FOR EACH ROW
    EXECUTE FUNCTION holdfast_refuse('renewal_call: rows are final');
CREATE TRIGGER renewal_call_kept BEFORE DELETE ON renewal_call FOR EACH ROW
    EXECUTE FUNCTION holdfast_refuse('renewal_call: rows are kept');
CREATE TRIGGER renewal_call_whole BEFORE TRUNCATE ON renewal_call
    EXECUTE FUNCTION holdfast_refuse('renewal_call: rows are kept');
