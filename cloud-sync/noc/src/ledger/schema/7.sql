-- Every version of each site file, as it was given and as it is sealed for its gateways.
CREATE TABLE site_files (
    place TEXT NOT NULL, version {int} NOT NULL, tenant TEXT NOT NULL, site TEXT NOT NULL, client TEXT NOT NULL,
    at_ms {int} NOT NULL, given_by TEXT NOT NULL, note TEXT NOT NULL, content TEXT NOT NULL, sealed TEXT NOT NULL,
    PRIMARY KEY (place, version)
){strict};
CREATE INDEX site_files_by_tenant ON site_files (tenant, client);

-- Every version of the policy of each tenant, and of each of its clients; that of the tenant has no client.
CREATE TABLE policies (
    tenant TEXT NOT NULL, client TEXT NOT NULL, version {int} NOT NULL,
    at_ms {int} NOT NULL, given_by TEXT NOT NULL, note TEXT NOT NULL, content TEXT NOT NULL,
    PRIMARY KEY (tenant, client, version)
){strict};
