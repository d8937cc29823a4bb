CREATE TABLE commands (
    source TEXT NOT NULL, seq INTEGER NOT NULL, id TEXT NOT NULL, type TEXT NOT NULL, data TEXT NOT NULL,
    queued_ms INTEGER NOT NULL, acknowledged_ms INTEGER, refused TEXT,
    PRIMARY KEY (source, seq), UNIQUE (source, id)
) STRICT;
CREATE INDEX commands_by_age ON commands (source, acknowledged_ms);
PRAGMA user_version = 2;
