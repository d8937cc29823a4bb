-- The tables as the first receivers made them.
CREATE TABLE events (
    source TEXT NOT NULL, id TEXT NOT NULL, kind TEXT NOT NULL, sequence TEXT NOT NULL, subject TEXT NOT NULL,
    time_ms INTEGER NOT NULL, received_ms INTEGER NOT NULL, data TEXT NOT NULL,
    PRIMARY KEY (source, id)
) STRICT;
CREATE INDEX events_by_time ON events (kind, time_ms);
CREATE INDEX events_by_age ON events (source, kind, received_ms);
CREATE TABLE gateways (
    source TEXT NOT NULL PRIMARY KEY, tenant TEXT NOT NULL, site TEXT NOT NULL, gateway TEXT NOT NULL,
    heard_ms INTEGER, sequences TEXT NOT NULL, health TEXT, health_ms INTEGER NOT NULL DEFAULT -1
) STRICT;
CREATE TABLE alerts (
    source TEXT NOT NULL, id TEXT NOT NULL, revision INTEGER NOT NULL, urgent INTEGER NOT NULL,
    detected_ms INTEGER NOT NULL, received_ms INTEGER NOT NULL, data TEXT NOT NULL,
    PRIMARY KEY (source, id)
) STRICT;
CREATE INDEX alerts_by_urgency ON alerts (urgent, detected_ms);
PRAGMA user_version = 1;
