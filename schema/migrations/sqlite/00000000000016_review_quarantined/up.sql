-- TPMs that an advisory quarantines are reviewed, too (SQLite). Its twin is ../../postgres/; a test compares the two.

-- A `reason` of the form `advisory:ID` asks about that advisory, any other about the vendor. Each is asked about for itself:
-- who vouched for the vendor of a TPM, or let one weakness pass, did not speak of another that becomes known later.
-- One stands for an EK and what is asked about it: what waits, or what was decided last.
DROP INDEX review_ek;
CREATE UNIQUE INDEX review_ek ON review
    (ek_spki_sha256, (CASE WHEN reason LIKE 'advisory:%' THEN reason ELSE '' END)) WHERE state IN ('pending', 'approved');
