-- Where an answer lies that a provider has stored: who asks for it later is led there. None for its parts.
ALTER TABLE stored ADD COLUMN target TEXT;
ALTER TABLE stored ADD COLUMN provider_key TEXT;
ALTER TABLE stored ADD COLUMN own_key INTEGER;
ALTER TABLE stored ADD COLUMN requires TEXT;
