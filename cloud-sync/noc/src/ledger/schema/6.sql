-- What people at the centre did with alerts, in their order. Whether it has come to the gateway says the alert's own history.
CREATE TABLE steps (
    place TEXT NOT NULL, gateway TEXT NOT NULL, alert TEXT NOT NULL, number {int} NOT NULL, at_ms {int} NOT NULL,
    person TEXT NOT NULL, status TEXT NOT NULL, method TEXT NOT NULL, response TEXT, note TEXT, seen TEXT NOT NULL,
    command TEXT NOT NULL, refused TEXT,
    PRIMARY KEY (place, gateway, alert, number), UNIQUE (place, gateway, command)
){strict};

-- Which alerts are told as one: those of one guard within half an hour, and those that another explains.
ALTER TABLE alerts ADD COLUMN incident TEXT;
ALTER TABLE alerts ADD COLUMN folded TEXT;

-- Every list is the urgent ones and then the others, each from the newest on, and goes on behind a row: so each index ends as the
-- list is ordered.
DROP INDEX alerts_by_urgency;
DROP INDEX alerts_by_tenant;
CREATE INDEX alerts_by_urgency ON alerts (urgent, detected_ms, place, gateway, id);
CREATE INDEX alerts_by_tenant ON alerts (tenant, urgent, detected_ms, place, gateway, id);
CREATE INDEX alerts_by_site ON alerts (place, urgent, detected_ms, gateway, id);
CREATE INDEX alerts_by_guard ON alerts (place, guard, urgent, detected_ms, gateway, id);
CREATE INDEX alerts_by_incident ON alerts (place, incident);
CREATE INDEX alerts_by_fold ON alerts (place, folded) WHERE folded IS NOT NULL;
-- What is open is little, also where ten million are over.
CREATE INDEX alerts_open ON alerts (urgent, detected_ms, place, gateway, id) WHERE cleared_ms IS NULL AND closed_ms IS NULL;

-- Which alerts a storm tells of, also those that have not come yet.
CREATE TABLE members (
    place TEXT NOT NULL, gateway TEXT NOT NULL, alert TEXT NOT NULL, storm TEXT NOT NULL,
    PRIMARY KEY (place, gateway, alert)
){strict};

-- When a gateway was heard for the last time before it was lost: for each of these there is one alert, however many receivers look.
CREATE TABLE losses (
    place TEXT NOT NULL, gateway TEXT NOT NULL, heard_ms {int} NOT NULL, lost_ms {int} NOT NULL, back_ms {int},
    PRIMARY KEY (place, gateway, heard_ms)
){strict};
