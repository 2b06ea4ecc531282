-- What users of an answer say of it: a score of 0 to 1 in millionths. The latest of a request and label counts.
CREATE TABLE feedback (
    seq INTEGER PRIMARY KEY NOT NULL,
    request_id BLOB NOT NULL REFERENCES request (id),
    label TEXT NOT NULL,
    score_millionths INTEGER NOT NULL CHECK (score_millionths BETWEEN 0 AND 1000000),
    comment TEXT,
    at_ms INTEGER NOT NULL
) STRICT;

CREATE INDEX feedback_request ON feedback (request_id, label, seq);

CREATE TRIGGER feedback_is_append_only BEFORE UPDATE ON feedback BEGIN SELECT raise(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER feedback_is_kept BEFORE DELETE ON feedback BEGIN SELECT raise(ABORT, 'the ledger is append-only'); END;
