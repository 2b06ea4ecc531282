-- What providers have stored for tenants, by a digest of tenant and name: nobody may name what is another's.
CREATE TABLE stored (
    key     BLOB PRIMARY KEY,
    at_ms   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX stored_at ON stored (at_ms);
