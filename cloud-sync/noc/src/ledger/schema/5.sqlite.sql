-- What was done stays written: no row is altered, and none removed before its 400 days are over.
CREATE TRIGGER audit_is_not_altered BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append only'); END;
CREATE TRIGGER audit_is_not_removed BEFORE DELETE ON audit
WHEN OLD.at_ms > unixepoch() * 1000 - 34560000000
BEGIN SELECT RAISE(ABORT, 'the audit log is append only'); END;
