-- Uploads and batches that lie at a provider, of which tenant, and what their results are accounted with. `shown` is what
-- the provider last said of it. No prompt and no answer.
CREATE TABLE provider_object (
    tenant      TEXT NOT NULL,
    id          TEXT NOT NULL,
    kind        TEXT NOT NULL,
    dialect     TEXT NOT NULL,
    target      TEXT NOT NULL,
    account     TEXT NOT NULL,
    made_ms     INTEGER NOT NULL,
    shown       TEXT,
    settled_ms  INTEGER,
    PRIMARY KEY (tenant, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX provider_object_open ON provider_object (made_ms) WHERE kind = 'batch' AND settled_ms IS NULL;
