-- What ends soon, device after device (PostgreSQL). Its twin is ../../sqlite/.

-- Where many end, a page of them is read off this index alone, in the order of devices.
CREATE INDEX identity_device_end ON identity (device_id, not_after);
INSERT INTO __holdfast_oldest (version, oldest) VALUES (24, 23);
