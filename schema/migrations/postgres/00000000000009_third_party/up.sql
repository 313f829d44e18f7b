-- Third-party issuance (PostgreSQL). Its twin is ../../sqlite/; a test compares the two.

-- One IAK, one device: as an EK, set once and never changed. It goes only together with its TPM, by a replacement; the key
-- itself stays that device's in key_owner.
ALTER TABLE device ADD COLUMN iak_spki_sha256 BYTEA CHECK (length(iak_spki_sha256) = 32);
CREATE UNIQUE INDEX device_iak ON device (iak_spki_sha256);

-- The manufacturer's certificate on which the certificates of an enrollment stand.
CREATE TABLE iak_proof (
    enrollment_id BIGINT PRIMARY KEY REFERENCES enrollment (id),
    certificate_sha256 BYTEA NOT NULL CHECK (length(certificate_sha256) = 32),
    spki_sha256 BYTEA NOT NULL CHECK (length(spki_sha256) = 32),
    issuer BYTEA NOT NULL CHECK (length(issuer) > 0),
    serial BYTEA NOT NULL CHECK (length(serial) BETWEEN 1 AND 64),
    idevid_sha256 BYTEA CHECK (length(idevid_sha256) = 32),
    ek_spki_sha256 BYTEA CHECK (length(ek_spki_sha256) = 32),
    anchor TEXT COLLATE "C" NOT NULL,
    assurance TEXT COLLATE "C" NOT NULL
);
CREATE INDEX iak_proof_certificate ON iak_proof (certificate_sha256);

CREATE TRIGGER device_iak_bound BEFORE UPDATE ON device FOR EACH ROW
    WHEN (OLD.iak_spki_sha256 IS NOT NULL AND NEW.iak_spki_sha256 IS DISTINCT FROM OLD.iak_spki_sha256
        AND (NEW.iak_spki_sha256 IS NOT NULL OR NEW.ek_spki_sha256 IS NOT DISTINCT FROM OLD.ek_spki_sha256))
    EXECUTE FUNCTION holdfast_refuse('a device keeps its IAK');
CREATE TRIGGER iak_proof_final BEFORE UPDATE ON iak_proof FOR EACH ROW
    EXECUTE FUNCTION holdfast_refuse('iak_proof: rows are final');
CREATE TRIGGER iak_proof_kept BEFORE DELETE ON iak_proof FOR EACH ROW
    EXECUTE FUNCTION holdfast_refuse('iak_proof: rows are kept');
CREATE TRIGGER iak_proof_whole BEFORE TRUNCATE ON iak_proof
    EXECUTE FUNCTION holdfast_refuse('iak_proof: rows are kept');
