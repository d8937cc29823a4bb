-- Up to schema 3 a gateway was one name; its parts stood with the gateway.
INSERT INTO gateways SELECT tenant || '/' || site, gateway, tenant, site, heard_ms, sequences, health, health_ms FROM old_gateways;
INSERT INTO events SELECT tenant || '/' || site, gateway, id, kind, sequence, subject, time_ms, received_ms, data
    FROM old_events JOIN old_gateways USING (source);
INSERT INTO commands SELECT tenant || '/' || site, gateway, seq, id, type, data, queued_ms, acknowledged_ms, refused, result
    FROM old_commands JOIN old_gateways USING (source);
DROP TABLE old_events; DROP TABLE old_alerts; DROP TABLE old_commands; DROP TABLE old_gateways;
