-- Every table begins its key with the place, "tenant/site": so it can be cut in pieces by it (Citus), and one site's rows lie together.
-- Instants are in milliseconds since 1970, flags are 0 and 1. `{...}` stands for what the two databases call otherwise.

CREATE TABLE gateways (
    place TEXT NOT NULL, gateway TEXT NOT NULL, tenant TEXT NOT NULL, site TEXT NOT NULL,
    heard_ms {int}, sequences TEXT NOT NULL, health TEXT, health_ms {int} NOT NULL DEFAULT -1,
    PRIMARY KEY (place, gateway)
){strict};

-- Each event once, as it came. As text: a number of the wire may be any u64.
CREATE TABLE events (
    place TEXT NOT NULL, gateway TEXT NOT NULL, id TEXT NOT NULL, kind TEXT NOT NULL, sequence TEXT NOT NULL,
    subject TEXT NOT NULL, time_ms {int} NOT NULL, received_ms {int} NOT NULL, data TEXT NOT NULL,
    PRIMARY KEY (place, gateway, id{and_time})
){strict}{by_time};
CREATE INDEX events_by_time ON events (kind, time_ms);
CREATE INDEX events_by_age ON events (place, gateway, kind, received_ms);

-- The latest revision of each alert, with what is searched for beside it.
CREATE TABLE alerts (
    place TEXT NOT NULL, gateway TEXT NOT NULL, id TEXT NOT NULL, tenant TEXT NOT NULL, site TEXT NOT NULL,
    revision {int} NOT NULL, rule TEXT NOT NULL, severity TEXT NOT NULL, status TEXT NOT NULL, subject TEXT NOT NULL,
    guard TEXT, summary TEXT NOT NULL, urgent {int} NOT NULL, detected_ms {int} NOT NULL, updated_ms {int} NOT NULL,
    cleared_ms {int}, closed_ms {int}, received_ms {int} NOT NULL, data TEXT NOT NULL,
    PRIMARY KEY (place, gateway, id)
){strict};
CREATE INDEX alerts_by_urgency ON alerts (urgent, detected_ms);
CREATE INDEX alerts_by_tenant ON alerts (tenant, urgent, detected_ms);
CREATE INDEX alerts_by_place ON alerts (place, detected_ms);

-- The latest revision of each closed run.
CREATE TABLE runs (
    place TEXT NOT NULL, gateway TEXT NOT NULL, id TEXT NOT NULL, tenant TEXT NOT NULL, site TEXT NOT NULL,
    revision {int} NOT NULL, tour TEXT NOT NULL, guard TEXT, scheduled_ms {int} NOT NULL, data TEXT NOT NULL,
    PRIMARY KEY (place, gateway, id)
){strict};
CREATE INDEX runs_by_place ON runs (place, scheduled_ms);

-- The latest revision of each day's report.
CREATE TABLE days (
    place TEXT NOT NULL, gateway TEXT NOT NULL, date TEXT NOT NULL, tenant TEXT NOT NULL, site TEXT NOT NULL,
    revision {int} NOT NULL, data TEXT NOT NULL,
    PRIMARY KEY (place, gateway, date)
){strict};
CREATE INDEX days_by_date ON days (tenant, date);

-- What gateways are told.
CREATE TABLE commands (
    place TEXT NOT NULL, gateway TEXT NOT NULL, seq {int} NOT NULL, id TEXT NOT NULL, type TEXT NOT NULL, data TEXT NOT NULL,
    queued_ms {int} NOT NULL, acknowledged_ms {int}, refused TEXT, result TEXT,
    PRIMARY KEY (place, gateway, seq), UNIQUE (place, gateway, id)
){strict};
CREATE INDEX commands_by_age ON commands (place, gateway, acknowledged_ms);
