-- The ledger is append-only: corrections are new rows. Money is in pico-dollars (1e-12), as integers.
CREATE TABLE request (
    id BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    started_ms INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    overhead_us INTEGER NOT NULL,
    tenant TEXT NOT NULL,
    team TEXT NOT NULL,
    key_id TEXT NOT NULL,
    tags TEXT NOT NULL,
    policy TEXT NOT NULL,
    generation INTEGER NOT NULL,
    route TEXT,
    dialect TEXT NOT NULL,
    model_asked TEXT NOT NULL,
    stream INTEGER NOT NULL,
    input_estimate INTEGER NOT NULL,
    status INTEGER NOT NULL,
    error TEXT,
    cache_hit INTEGER NOT NULL,
    cache_saved_pico INTEGER,
    baseline_target TEXT,
    baseline_as_of_ms INTEGER,
    baseline_retired_ms INTEGER,
    baseline_input_pico INTEGER,
    baseline_output_pico INTEGER,
    baseline_price_id TEXT,
    baseline_unpriced TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX request_started ON request (started_ms);

CREATE TABLE attempt (
    request_id BLOB NOT NULL REFERENCES request (id),
    no INTEGER NOT NULL CHECK (no >= 1),
    target TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    processing TEXT,
    operator TEXT,
    parent TEXT,
    guarantee TEXT,
    retention_days INTEGER,
    training TEXT,
    started_ms INTEGER NOT NULL,
    first_token_ms INTEGER,
    duration_ms INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    failure TEXT,
    upstream_status INTEGER,
    basis TEXT NOT NULL,
    input INTEGER NOT NULL CHECK (input >= 0),
    cache_read INTEGER NOT NULL CHECK (cache_read >= 0),
    cache_write INTEGER NOT NULL CHECK (cache_write >= 0),
    cache_write_1h INTEGER NOT NULL CHECK (cache_write_1h >= 0),
    output INTEGER NOT NULL CHECK (output >= 0),
    reasoning INTEGER NOT NULL CHECK (reasoning >= 0),
    input_audio INTEGER NOT NULL CHECK (input_audio >= 0),
    output_audio INTEGER NOT NULL CHECK (output_audio >= 0),
    input_image INTEGER NOT NULL CHECK (input_image >= 0),
    output_image INTEGER NOT NULL CHECK (output_image >= 0),
    search INTEGER NOT NULL CHECK (search >= 0),
    cost_pico INTEGER CHECK (cost_pico >= 0),
    unpriced TEXT,
    price_id TEXT,
    original_pico INTEGER,
    currency TEXT,
    fx_nanos INTEGER,
    fx_date_ms INTEGER,
    dropped_params TEXT NOT NULL,
    PRIMARY KEY (request_id, no)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER request_is_append_only BEFORE UPDATE ON request BEGIN SELECT raise(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER request_is_kept BEFORE DELETE ON request BEGIN SELECT raise(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER attempt_is_append_only BEFORE UPDATE ON attempt BEGIN SELECT raise(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER attempt_is_kept BEFORE DELETE ON attempt BEGIN SELECT raise(ABORT, 'the ledger is append-only'); END;

-- Virtual keys. `seq` grows with every change, so that a running gateway reads only what is new.
CREATE TABLE virtual_key (
    id TEXT PRIMARY KEY NOT NULL,
    digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),
    name TEXT NOT NULL,
    tenant TEXT NOT NULL,
    team TEXT NOT NULL,
    tags TEXT NOT NULL,
    policy TEXT,
    requirement TEXT,
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER,
    revoked_ms INTEGER,
    seq INTEGER NOT NULL
) STRICT;

CREATE INDEX virtual_key_seq ON virtual_key (seq);

-- What teams and tenants bring to all their keys.
CREATE TABLE scope (
    kind TEXT NOT NULL CHECK (kind IN ('team', 'tenant')),
    name TEXT NOT NULL,
    policy TEXT,
    requirement TEXT,
    PRIMARY KEY (kind, name)
) STRICT;
