-- Recall by what was proven (SQLite). Its twin is ../../postgres/; a test compares the two.

-- Which kinds of TPM there are, and the devices of a kind in the order of lists.
CREATE INDEX device_tpm ON device (manufacturer, model, version, id);
