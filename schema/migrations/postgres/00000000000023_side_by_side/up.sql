-- Servers of two versions side by side (PostgreSQL). Its twin is ../../sqlite/.

-- Of each migration from here on: the oldest newest migration that a server must know to work on tables with it. Each writes
-- its row. It is about the tables and no part of the record, as diesel's own table: no backup holds it.
CREATE TABLE __holdfast_oldest (
    version BIGINT PRIMARY KEY NOT NULL,
    oldest BIGINT NOT NULL CHECK (oldest BETWEEN 1 AND version)
);
INSERT INTO __holdfast_oldest (version, oldest) VALUES (23, 22);
