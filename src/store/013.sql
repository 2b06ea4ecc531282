-- What rows have in common is written once and named by a number: who asked and by which policy, where an attempt went and
-- under whose law, what a decision was made under. A row is half of what it was. The views `requests`, `attempts` and
-- `decisions` show all columns together, as the tables did before. Nothing that a client can make up stands in common.
-- `digest` is of the values, so that equal ones meet; of rows that are older than this step it is random.

CREATE TABLE request_common (
    id INTEGER PRIMARY KEY NOT NULL,
    digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 16),
    tenant TEXT NOT NULL,
    team TEXT NOT NULL,
    key_id TEXT NOT NULL,
    tags TEXT NOT NULL,
    policy TEXT NOT NULL,
    route TEXT,
    dialect TEXT NOT NULL,
    baseline_target TEXT,
    baseline_as_of_ms INTEGER,
    baseline_retired_ms INTEGER,
    baseline_price_id TEXT
) STRICT;

CREATE TABLE new_request (
    id BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    common INTEGER NOT NULL REFERENCES request_common (id),
    started_ms INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    overhead_us INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    model_asked TEXT NOT NULL,
    stream INTEGER NOT NULL,
    input_estimate INTEGER NOT NULL,
    status INTEGER NOT NULL,
    error TEXT,
    cache_hit INTEGER NOT NULL,
    cache_saved_pico INTEGER,
    baseline_input_pico INTEGER,
    baseline_output_pico INTEGER,
    baseline_unpriced TEXT
) STRICT, WITHOUT ROWID;

CREATE TEMP TABLE known (shape TEXT PRIMARY KEY NOT NULL, id INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO known SELECT shape, row_number() OVER () FROM (
    SELECT DISTINCT json_array(
        tenant, team, key_id, tags, policy, route, dialect, baseline_target, baseline_as_of_ms, baseline_retired_ms,
        baseline_price_id) AS shape FROM request);
INSERT INTO request_common
SELECT id, randomblob(16),
    shape ->> 0, shape ->> 1, shape ->> 2, shape ->> 3, shape ->> 4, shape ->> 5, shape ->> 6, shape ->> 7,
    shape ->> 8, shape ->> 9, shape ->> 10 FROM known;
INSERT INTO new_request (
    id, common, started_ms, duration_ms, overhead_us, generation, model_asked, stream, input_estimate, status, error,
    cache_hit, cache_saved_pico, baseline_input_pico, baseline_output_pico, baseline_unpriced)
SELECT
    t.id, known.id, t.started_ms, t.duration_ms, t.overhead_us, t.generation, t.model_asked, t.stream,
    t.input_estimate, t.status, t.error, t.cache_hit, t.cache_saved_pico, t.baseline_input_pico,
    t.baseline_output_pico, t.baseline_unpriced
FROM request t JOIN known ON known.shape = json_array(
    t.tenant, t.team, t.key_id, t.tags, t.policy, t.route, t.dialect, t.baseline_target, t.baseline_as_of_ms,
    t.baseline_retired_ms, t.baseline_price_id);
DROP TABLE temp.known;
DROP TABLE request;
ALTER TABLE new_request RENAME TO request;

CREATE VIEW requests AS SELECT
    t.id, t.started_ms, t.duration_ms, t.overhead_us, t.generation, t.model_asked, t.stream, t.input_estimate,
    t.status, t.error, t.cache_hit, t.cache_saved_pico, t.baseline_input_pico, t.baseline_output_pico,
    t.baseline_unpriced, c.tenant, c.team, c.key_id, c.tags, c.policy, c.route, c.dialect, c.baseline_target,
    c.baseline_as_of_ms, c.baseline_retired_ms, c.baseline_price_id
-- CROSS keeps the order: the common row is looked up, never searched for.
FROM request t CROSS JOIN request_common c ON c.id = t.common;

CREATE TABLE attempt_common (
    id INTEGER PRIMARY KEY NOT NULL,
    digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 16),
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
    basis TEXT NOT NULL,
    price_id TEXT,
    currency TEXT,
    fx_nanos INTEGER,
    fx_date_ms INTEGER,
    own_key INTEGER NOT NULL
) STRICT;

CREATE TABLE new_attempt (
    request_id BLOB NOT NULL REFERENCES request (id),
    no INTEGER NOT NULL CHECK (no >= 1),
    common INTEGER NOT NULL REFERENCES attempt_common (id),
    started_ms INTEGER NOT NULL,
    first_token_ms INTEGER,
    duration_ms INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    failure TEXT,
    upstream_status INTEGER,
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
    original_pico INTEGER,
    dropped_params TEXT,
    PRIMARY KEY (request_id, no)
) STRICT, WITHOUT ROWID;

CREATE TEMP TABLE known (shape TEXT PRIMARY KEY NOT NULL, id INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO known SELECT shape, row_number() OVER () FROM (
    SELECT DISTINCT json_array(
        target, provider, model, endpoint, processing, operator, parent, guarantee, retention_days, training, basis,
        price_id, currency, fx_nanos, fx_date_ms, own_key) AS shape FROM attempt);
INSERT INTO attempt_common
SELECT id, randomblob(16),
    shape ->> 0, shape ->> 1, shape ->> 2, shape ->> 3, shape ->> 4, shape ->> 5, shape ->> 6, shape ->> 7,
    shape ->> 8, shape ->> 9, shape ->> 10, shape ->> 11, shape ->> 12, shape ->> 13, shape ->> 14, shape ->> 15 FROM known;
INSERT INTO new_attempt (
    request_id, no, common, started_ms, first_token_ms, duration_ms, outcome, failure, upstream_status, input,
    cache_read, cache_write, cache_write_1h, output, reasoning, input_audio, output_audio, input_image, output_image,
    search, cost_pico, unpriced, original_pico, dropped_params)
SELECT
    t.request_id, t.no, known.id, t.started_ms, t.first_token_ms, t.duration_ms, t.outcome, t.failure,
    t.upstream_status, t.input, t.cache_read, t.cache_write, t.cache_write_1h, t.output, t.reasoning, t.input_audio,
    t.output_audio, t.input_image, t.output_image, t.search, t.cost_pico, t.unpriced, t.original_pico,
    nullif(t.dropped_params, '[]')
FROM attempt t JOIN known ON known.shape = json_array(
    t.target, t.provider, t.model, t.endpoint, t.processing, t.operator, t.parent, t.guarantee, t.retention_days,
    t.training, t.basis, t.price_id, t.currency, t.fx_nanos, t.fx_date_ms, t.own_key);
DROP TABLE temp.known;
DROP TABLE attempt;
ALTER TABLE new_attempt RENAME TO attempt;

CREATE VIEW attempts AS SELECT
    t.request_id, t.no, t.started_ms, t.first_token_ms, t.duration_ms, t.outcome, t.failure, t.upstream_status,
    t.input, t.cache_read, t.cache_write, t.cache_write_1h, t.output, t.reasoning, t.input_audio, t.output_audio,
    t.input_image, t.output_image, t.search, t.cost_pico, t.unpriced, t.original_pico,
    coalesce(t.dropped_params, '[]') AS dropped_params, c.target, c.provider, c.model, c.endpoint, c.processing,
    c.operator, c.parent, c.guarantee, c.retention_days, c.training, c.basis, c.price_id, c.currency, c.fx_nanos,
    c.fx_date_ms, c.own_key
-- CROSS keeps the order: the common row is looked up, never searched for.
FROM attempt t CROSS JOIN attempt_common c ON c.id = t.common;

CREATE TABLE decision_common (
    id INTEGER PRIMARY KEY NOT NULL,
    digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 16),
    snapshot TEXT NOT NULL,
    policy TEXT NOT NULL,
    route TEXT NOT NULL,
    operation TEXT NOT NULL,
    dialect TEXT NOT NULL,
    needs TEXT NOT NULL,
    key_requires TEXT,
    lossy INTEGER NOT NULL,
    max_attempts INTEGER NOT NULL,
    service TEXT NOT NULL
) STRICT;

CREATE TABLE new_decision (
    request_id BLOB PRIMARY KEY NOT NULL CHECK (length(request_id) = 16),
    common INTEGER NOT NULL REFERENCES decision_common (id),
    at_ms INTEGER NOT NULL,
    dice INTEGER NOT NULL,
    input_tokens INTEGER NOT NULL CHECK (input_tokens >= 0),
    max_output INTEGER,
    choices INTEGER NOT NULL,
    stream INTEGER NOT NULL,
    inexpressible TEXT,
    request_requires TEXT,
    requires TEXT NOT NULL,
    refusal TEXT,
    premium_pico INTEGER CHECK (premium_pico >= 0),
    premium_target TEXT,
    admitted TEXT NOT NULL,
    rejected TEXT,
    signals TEXT,
    left_out INTEGER NOT NULL,
    user TEXT,
    session INTEGER,
    home TEXT
) STRICT, WITHOUT ROWID;

CREATE TEMP TABLE known (shape TEXT PRIMARY KEY NOT NULL, id INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO known SELECT shape, row_number() OVER () FROM (
    SELECT DISTINCT json_array(
        snapshot, policy, route, operation, dialect, needs, key_requires, lossy, max_attempts, service) AS shape FROM decision);
INSERT INTO decision_common
SELECT id, randomblob(16),
    shape ->> 0, shape ->> 1, shape ->> 2, shape ->> 3, shape ->> 4, shape ->> 5, shape ->> 6, shape ->> 7,
    shape ->> 8, shape ->> 9 FROM known;
INSERT INTO new_decision (
    request_id, common, at_ms, dice, input_tokens, max_output, choices, stream, inexpressible, request_requires,
    requires, refusal, premium_pico, premium_target, admitted, rejected, signals, left_out, user, session, home)
SELECT
    t.request_id, known.id, t.at_ms, t.dice, t.input_tokens, t.max_output, t.choices, t.stream,
    nullif(t.inexpressible, '{}'), t.request_requires, t.requires, t.refusal, t.premium_pico, t.premium_target,
    t.admitted, nullif(t.rejected, '[]'), nullif(t.signals, '[]'), t.left_out, t.user, t.session, t.home
FROM decision t JOIN known ON known.shape = json_array(
    t.snapshot, t.policy, t.route, t.operation, t.dialect, t.needs, t.key_requires, t.lossy, t.max_attempts,
    t.service);
DROP TABLE temp.known;
DROP TABLE decision;
ALTER TABLE new_decision RENAME TO decision;

CREATE VIEW decisions AS SELECT
    t.request_id, t.at_ms, t.dice, t.input_tokens, t.max_output, t.choices, t.stream,
    coalesce(t.inexpressible, '{}') AS inexpressible, t.request_requires, t.requires, t.refusal, t.premium_pico,
    t.premium_target, t.admitted, coalesce(t.rejected, '[]') AS rejected, coalesce(t.signals, '[]') AS signals,
    t.left_out, t.user, t.session, t.home, c.snapshot, c.policy, c.route, c.operation, c.dialect, c.needs,
    c.key_requires, c.lossy, c.max_attempts, c.service
-- CROSS keeps the order: the common row is looked up, never searched for.
FROM decision t CROSS JOIN decision_common c ON c.id = t.common;

CREATE INDEX request_started ON request (started_ms);

CREATE TRIGGER request_is_append_only BEFORE UPDATE ON request BEGIN SELECT raise(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER request_is_kept BEFORE DELETE ON request BEGIN SELECT raise(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER attempt_is_append_only BEFORE UPDATE ON attempt BEGIN SELECT raise(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER attempt_is_kept BEFORE DELETE ON attempt BEGIN SELECT raise(ABORT, 'the ledger is append-only'); END;
-- A decision is never changed. It is dropped when it is old, and never on its first day.
CREATE TRIGGER decision_is_append_only BEFORE UPDATE ON decision
BEGIN SELECT raise(ABORT, 'the trail is append-only'); END;
CREATE TRIGGER decision_is_kept_for_a_day BEFORE DELETE ON decision WHEN old.at_ms > (unixepoch('now') - 86400) * 1000
BEGIN SELECT raise(ABORT, 'the trail is append-only'); END;
CREATE TRIGGER request_common_is_append_only BEFORE UPDATE ON request_common
BEGIN SELECT raise(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER request_common_is_kept BEFORE DELETE ON request_common BEGIN SELECT raise(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER attempt_common_is_append_only BEFORE UPDATE ON attempt_common
BEGIN SELECT raise(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER attempt_common_is_kept BEFORE DELETE ON attempt_common BEGIN SELECT raise(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER decision_common_is_append_only BEFORE UPDATE ON decision_common
BEGIN SELECT raise(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER decision_common_is_kept BEFORE DELETE ON decision_common BEGIN SELECT raise(ABORT, 'the ledger is append-only'); END;
