-- What was done stays written: no row is altered, and none removed before its 400 days are over.
CREATE FUNCTION vigil_audit_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF OLD.at_ms <= extract(epoch FROM now()) * 1000 - 34560000000 THEN RETURN OLD; END IF;
    END IF;
    RAISE EXCEPTION 'the audit log is append only';
END $$;
CREATE TRIGGER audit_stays BEFORE UPDATE OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION vigil_audit_stays();
