-- Shadow runs: a sample of requests that also went to another target. What they cost is nobody's spend. Money is reserved
-- before a call (`shadow`), so that a day's limit holds whatever happens; the outcome follows (`shadow_result`). Numbers
-- and yes or no only, never a text.
CREATE TABLE shadow (
    request_id BLOB PRIMARY KEY NOT NULL CHECK (length(request_id) = 16),
    day INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    policy TEXT NOT NULL,
    route TEXT NOT NULL,
    target TEXT NOT NULL,
    reserved_pico INTEGER NOT NULL CHECK (reserved_pico >= 0)
) STRICT, WITHOUT ROWID;

CREATE INDEX shadow_day ON shadow (day, policy, route);

CREATE TABLE shadow_result (
    request_id BLOB PRIMARY KEY NOT NULL REFERENCES shadow (request_id),
    failure TEXT,
    duration_ms INTEGER NOT NULL,
    input INTEGER NOT NULL,
    output INTEGER NOT NULL,
    cost_pico INTEGER CHECK (cost_pico >= 0),
    json_primary INTEGER,
    json_shadow INTEGER,
    calls_equal INTEGER,
    answer_equal INTEGER,
    number_equal INTEGER
) STRICT, WITHOUT ROWID;

CREATE TRIGGER shadow_is_append_only BEFORE UPDATE ON shadow BEGIN SELECT raise(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER shadow_is_kept BEFORE DELETE ON shadow BEGIN SELECT raise(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER shadow_result_is_append_only BEFORE UPDATE ON shadow_result BEGIN SELECT raise(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER shadow_result_is_kept BEFORE DELETE ON shadow_result BEGIN SELECT raise(ABORT, 'the ledger is append-only'); END;
