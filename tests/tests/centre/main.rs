//! The operations centre and whoever stands in its place, with real agents. Most of these wait for a line or a clock: in one program they
//! wait together.

// All of it is test code: a failed unwrap is a failed test.
#![cfg(test)]

mod alert_steps;
mod alertmanager;
mod alertmanager_night;
mod api_fuzz;
mod crowd;
mod escalation;
mod menus;
mod noc_pages;
mod noc_postgres;
mod odd_evidence;
mod report_pages;

use std::time::Duration;
use vigil_cloud_sync::{Origin, Token, Uplink, UplinkConfig};
use vigil_core::id::{GatewayId, SiteId, TenantId};
use vigil_tests::house::{Noc, new_database};

/// The way of a gateway whose part the test plays.
fn way(noc: &Noc, site: &str, gateway: &str) -> Uplink {
    let uplink = noc.uplink(gateway);
    let (tenant, site) = (TenantId::new("acme").unwrap(), SiteId::new(site).unwrap());
    let origin = Origin { tenant, site, gateway: GatewayId::new(gateway).unwrap() };
    let mut config = UplinkConfig::new(&uplink.url, origin, Token::new(&uplink.token));
    config.ca_pem = Some(std::fs::read(&uplink.ca).unwrap());
    config.whole_timeout = Duration::from_secs(20);
    Uplink::new(config).unwrap()
}

/// The same chain on either database: one receiver with its file; or two that share a server, of which gateways reach the one and
/// people look at the other.
struct Centre {
    gate: Noc,
    desk: Option<Noc>,
}

impl Centre {
    fn of_a_file(gateways: &[&str]) -> Self {
        Self { gate: Noc::start(gateways), desk: None }
    }

    fn of_a_server(gateways: &[&str]) -> Self {
        let database = new_database();
        let gate = Noc::sharing(&database, "gate", gateways);
        Self { gate, desk: Some(Noc::sharing(&database, "tests", gateways)) }
    }

    /// Where gateways send.
    const fn gate(&self) -> &Noc {
        &self.gate
    }

    /// Where people look.
    fn desk(&self) -> &Noc {
        self.desk.as_ref().unwrap_or(&self.gate)
    }
}
