-- Why each request went where it went: what the plan was asked, what it saw, and every candidate. One row a request, kept
-- for so many days; no prompt and no answer. Money is in pico-dollars (1e-12), as integers.
CREATE TABLE decision (
    request_id BLOB PRIMARY KEY NOT NULL CHECK (length(request_id) = 16),
    at_ms INTEGER NOT NULL,
    dice INTEGER NOT NULL,
    snapshot TEXT NOT NULL,
    policy TEXT NOT NULL,
    route TEXT NOT NULL,
    operation TEXT NOT NULL,
    dialect TEXT NOT NULL,
    input_tokens INTEGER NOT NULL CHECK (input_tokens >= 0),
    max_output INTEGER,
    choices INTEGER NOT NULL,
    stream INTEGER NOT NULL,
    needs TEXT NOT NULL,
    inexpressible TEXT NOT NULL,
    key_requires TEXT,
    request_requires TEXT,
    requires TEXT NOT NULL,
    lossy INTEGER NOT NULL,
    max_attempts INTEGER NOT NULL,
    refusal TEXT,
    premium_pico INTEGER CHECK (premium_pico >= 0),
    premium_target TEXT,
    admitted TEXT NOT NULL,
    rejected TEXT NOT NULL,
    signals TEXT NOT NULL,
    left_out INTEGER NOT NULL
) STRICT;

CREATE INDEX decision_at ON decision (at_ms);

-- A decision is never changed. It is dropped when it is old, and never on its first day.
CREATE TRIGGER decision_is_append_only BEFORE UPDATE ON decision
BEGIN SELECT raise(ABORT, 'the trail is append-only'); END;
CREATE TRIGGER decision_is_kept_for_a_day BEFORE DELETE ON decision WHEN old.at_ms > (unixepoch('now') - 86400) * 1000
BEGIN SELECT raise(ABORT, 'the trail is append-only'); END;
