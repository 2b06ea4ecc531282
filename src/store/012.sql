-- Where shadow runs went and under whose law, by the facts of their moment: bytes went there as well.
ALTER TABLE shadow ADD COLUMN processing TEXT;
ALTER TABLE shadow ADD COLUMN operator TEXT;
