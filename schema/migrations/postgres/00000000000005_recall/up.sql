-- Recall by what was proven (PostgreSQL). Its twin is ../../sqlite/; a test compares the two.

-- Which kinds of TPM there are, and the devices of a kind in the order of lists.
CREATE INDEX device_tpm ON device (manufacturer, model, version, id);
