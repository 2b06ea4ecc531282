-- What was measured of each target, so that a restart does not begin from priors.
CREATE TABLE measurements (
    target TEXT PRIMARY KEY,
    at INTEGER NOT NULL,            -- milliseconds since 1970
    data TEXT NOT NULL              -- JSON
) STRICT, WITHOUT ROWID;
