-- One alert with two revisions, one run.
INSERT INTO gateways VALUES ('/tenants/acme/sites/plant-7/gateways/gw-1', 'acme', 'plant-7', 'gw-1', 1773160000000,
    '{"heard":[1,3],"holes":[],"given_up":0,"reused":0}', NULL, -1);
INSERT INTO events VALUES ('/tenants/acme/sites/plant-7/gateways/gw-1', 'a.1', 'vigil.alert', '1', 'guard:G-7', 1773160000001, 1773160000000,
    '{"id":"a","revision":1,"severity":"HIGH","status":"DETECTED",
           "detected_at":"2026-03-10T22:01:00Z"}');
INSERT INTO events VALUES ('/tenants/acme/sites/plant-7/gateways/gw-1', 'a.2', 'vigil.alert', '2', 'guard:G-7', 1773160000002, 1773160000000,
    '{"id":"a","revision":2,"severity":"HIGH","status":"RESOLVED","detected_at":"2026-03-10T22:01:00Z"}');
INSERT INTO events VALUES ('/tenants/acme/sites/plant-7/gateways/gw-1', 'north@x.1', 'vigil.tour', '3', 'run:north@x', 1773160000003, 1773160000000,
    '{"tour":"north","scheduled_at":"2026-03-10T22:00:00Z","revision":1,"guard":"G-7"}');
INSERT INTO alerts VALUES ('/tenants/acme/sites/plant-7/gateways/gw-1', 'a', 2, 0, 1773160000000, 1773160000000, '{}');
