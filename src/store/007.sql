-- Keys of providers that tenants bring, sealed under a master key that is not here. `seq` grows with every change, so that a
-- running gateway sees that something has changed. A removed row keeps no key.
CREATE TABLE tenant_credential (
    id TEXT PRIMARY KEY NOT NULL,
    tenant TEXT NOT NULL,
    provider TEXT NOT NULL,
    mode TEXT NOT NULL CHECK (mode IN ('prefer', 'only')),
    master TEXT NOT NULL,
    nonce BLOB NOT NULL,
    sealed BLOB NOT NULL,
    created_ms INTEGER NOT NULL,
    removed_ms INTEGER,
    seq INTEGER NOT NULL
) STRICT;

CREATE INDEX tenant_credential_seq ON tenant_credential (seq);

-- 1 = the attempt used a key of the tenant's own: its cost is on the tenant's own bill.
ALTER TABLE attempt ADD COLUMN own_key INTEGER NOT NULL DEFAULT 0;
