INSERT INTO commands (source, seq, id, type, data, queued_ms)
    VALUES ('/tenants/acme/sites/plant-7/gateways/gw-1', 1773160000000, 'c-1', 'task.cancel', '{"task":"T-1"}', 1773160000000);
