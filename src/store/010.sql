-- What a decision was made from besides: the tier of service that was asked for, the client's user (empty: too long to be
-- kept), the conversation as a hash and the target that answered it last, both where the plan asked for them.
ALTER TABLE decision ADD COLUMN service TEXT NOT NULL DEFAULT 'standard';
ALTER TABLE decision ADD COLUMN user TEXT;
ALTER TABLE decision ADD COLUMN session INTEGER;
ALTER TABLE decision ADD COLUMN home TEXT;
