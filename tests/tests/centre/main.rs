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

use vigil_tests::house::{Noc, new_database};

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
