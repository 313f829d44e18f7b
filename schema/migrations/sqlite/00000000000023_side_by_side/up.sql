-- Servers of two versions side by side (SQLite). Its twin is ../../postgres/.

-- Of each migration from here on: the oldest newest migration that a server must know to work on tables with it. Each writes
-- its row. It is about the tables and no part of the record, as diesel's own table: no backup holds it.
CREATE TABLE __holdfast_oldest (
    version INTEGER PRIMARY KEY NOT NULL,
    oldest INTEGER NOT NULL CHECK (oldest BETWEEN 1 AND version)
) STRICT;
INSERT INTO __holdfast_oldest (version, oldest) VALUES (23, 22);
