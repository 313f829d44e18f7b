-- What ends soon (PostgreSQL). Its twin is ../../sqlite/; a test compares the two.

-- The last second of the certificate that stands, so that those which end soon are found among a million devices.
ALTER TABLE identity ADD COLUMN not_after BIGINT;
UPDATE identity SET not_after = (SELECT c.not_after FROM certificate AS c WHERE c.id = identity.certificate_id);
CREATE INDEX identity_end ON identity (not_after, device_id);
