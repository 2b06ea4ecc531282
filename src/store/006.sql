-- Policies: every set of files that was or should have been in force, when, and by whose hand.

-- A set of policy files, by the digest of its content.
CREATE TABLE policy_set (
    hash  TEXT PRIMARY KEY NOT NULL,
    files TEXT NOT NULL                    -- JSON: name to text
) STRICT, WITHOUT ROWID;

-- Each time a set was put in force. A number is never given twice; `turn` tells the order, since a version that waits for
-- a gateway comes into force after others that were recorded later.
CREATE TABLE policy_version (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    turn        INTEGER NOT NULL UNIQUE,
    at          INTEGER NOT NULL,          -- unix milliseconds
    hash        TEXT NOT NULL REFERENCES policy_set (hash),
    previous    TEXT REFERENCES policy_set (hash),   -- what lay on the disk before it was written
    config_hash TEXT,                      -- digest of the whole snapshot; null until a gateway has it in force
    author      TEXT NOT NULL,             -- `disk`: somebody edited the files
    message     TEXT NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('applying', 'in_force', 'abandoned'))
) STRICT;

-- One at a time is being put in force.
CREATE UNIQUE INDEX policy_version_applying ON policy_version (state) WHERE state = 'applying';
