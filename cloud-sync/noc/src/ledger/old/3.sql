ALTER TABLE commands ADD COLUMN result TEXT;
PRAGMA user_version = 3;
