-- When the first revision of an alert came, and when it is to be looked at next for whether somebody outside has to be told: nothing
-- if that is over.
ALTER TABLE alerts ADD COLUMN first_ms {int};
ALTER TABLE alerts ADD COLUMN look_ms {int};
UPDATE alerts SET first_ms = received_ms WHERE urgent IN (0, 1) AND cleared_ms IS NULL AND closed_ms IS NULL;
-- Of ten million alerts those that somebody waits for.
CREATE INDEX alerts_to_look_at ON alerts (look_ms, place, gateway, id) WHERE look_ms IS NOT NULL;

-- What is told to a contact, because nobody at the centre had taken it on: one row for each message. `next_ms` is when it is tried
-- next, and while it is being tried, when another receiver may take it over; nothing if it is over.
CREATE TABLE notices (
    place TEXT NOT NULL, id TEXT NOT NULL, tenant TEXT NOT NULL, contact TEXT NOT NULL, made_ms {int} NOT NULL,
    body TEXT NOT NULL, state TEXT NOT NULL, next_ms {int}, tries {int} NOT NULL, ended_ms {int}, why TEXT,
    PRIMARY KEY (place, id)
){strict};
CREATE INDEX notices_due ON notices (next_ms, place, id) WHERE next_ms IS NOT NULL;
CREATE INDEX notices_by_age ON notices (made_ms, place, id);
CREATE INDEX notices_by_state ON notices (state, made_ms, place, id);
CREATE INDEX notices_by_tenant ON notices (tenant, made_ms, place, id);
CREATE INDEX notices_by_tenant_and_state ON notices (tenant, state, made_ms, place, id);

-- Which alert each contact was told of, once.
CREATE TABLE told (
    place TEXT NOT NULL, gateway TEXT NOT NULL, alert TEXT NOT NULL, contact TEXT NOT NULL, notice TEXT NOT NULL,
    PRIMARY KEY (place, gateway, alert, contact)
){strict};
CREATE INDEX told_by_notice ON told (place, notice);

-- Each try, the latest of each notice.
CREATE TABLE notice_tries (
    place TEXT NOT NULL, notice TEXT NOT NULL, number {int} NOT NULL, at_ms {int} NOT NULL, result TEXT NOT NULL,
    status {int}, said TEXT,
    PRIMARY KEY (place, notice, number)
){strict};
