-- A key of a partitioned table holds its instant; so which names have come is known by a table of its own.
CREATE TABLE event_ids (
    place TEXT NOT NULL, gateway TEXT NOT NULL, id TEXT NOT NULL, time_ms BIGINT NOT NULL,
    PRIMARY KEY (place, gateway, id)
);
-- What is older or newer than the months that are there.
CREATE TABLE events_rest PARTITION OF events DEFAULT;
