-- Who may look and what they may do. Of secrets there are digests only: SHA-256 of what is random, argon2id of passwords.
-- These tables are small, and every receiver of a database needs all of them; so they do not begin with a place.

-- `tenant` is null for the centre's own staff, who see all.
CREATE TABLE people (
    name TEXT NOT NULL PRIMARY KEY, tenant TEXT, role TEXT NOT NULL, hash TEXT NOT NULL, created_ms {int} NOT NULL,
    disabled {int} NOT NULL, must_change {int} NOT NULL
){strict};

CREATE TABLE sessions (
    digest TEXT NOT NULL PRIMARY KEY, name TEXT NOT NULL, begun_ms {int} NOT NULL, seen_ms {int} NOT NULL,
    address TEXT NOT NULL, browser TEXT NOT NULL
){strict};
CREATE INDEX sessions_by_name ON sessions (name, begun_ms);

-- Good for one log-in each.
CREATE TABLE tickets (digest TEXT NOT NULL PRIMARY KEY, name TEXT NOT NULL, ends_ms {int} NOT NULL){strict};

-- For programs.
CREATE TABLE tokens (
    name TEXT NOT NULL PRIMARY KEY, digest TEXT NOT NULL UNIQUE, tenant TEXT, role TEXT NOT NULL, created_ms {int} NOT NULL,
    created_by TEXT NOT NULL, used_ms {int}, revoked_ms {int}
){strict};

-- Log-ins that failed lately, by name and by address.
CREATE TABLE tries (subject TEXT NOT NULL PRIMARY KEY, failures {int} NOT NULL, last_ms {int} NOT NULL){strict};

-- Who did what. `tenant` is whose thing it was; null for what concerns the centre alone.
CREATE TABLE audit (
    seq {counted}, at_ms {int} NOT NULL, who TEXT NOT NULL, tenant TEXT, address TEXT NOT NULL, action TEXT NOT NULL,
    object TEXT NOT NULL, detail TEXT NOT NULL
){strict};
CREATE INDEX audit_by_tenant ON audit (tenant, seq);
CREATE INDEX audit_by_time ON audit (at_ms);
