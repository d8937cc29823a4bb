//! The disk is full in the middle of the night: the agent says so, acknowledges nothing, and goes on by itself when
//! there is room again, with everything that it ever promised. The built daemon, and disks that are really full.

// All of it is test code: a failed unwrap is a failed test.
#![cfg(test)]

// The first in the alphabet is run first, and one of these waits for two minutes and more: the others have that time.
mod hung;
mod promised;
mod sat_out;
mod shortage;
mod stages;

use serde_json::{Value, json};
use std::time::Duration;
use vigil_tests::house::{Agent, PATIENCE, eventually, fetch};

/// An outage ends with an attempt, and there is one every five seconds.
const OUTAGE: Duration = Duration::from_secs(2 * PATIENCE.as_secs());

/// Waits for `/healthz` to answer so, in the same process, and gives what it says.
fn health(agent: &mut Agent, code: u16) -> String {
    eventually(&format!("/healthz answers {code}"), OUTAGE, || {
        agent.process().id();
        let (now, said) = fetch(agent.page(), "/healthz").unwrap();
        if now == code { Ok(said) } else { Err(format!("{now}: {said}")) }
    })
}

/// What a device says in a night, one kind after the other.
fn everything(id: &str, n: u32) -> (&'static str, Value) {
    match n % 6 {
        _ if n == 0 => ("attendance", json!({"action": "check_in"})),
        0 => ("task", json!({"task": format!("T-{id}"), "state": "completed"})),
        // Many heartbeats in a moment become one, and their names go.
        1 => ("activity", json!({"event": format!("first {n}")})),
        2 => ("scan", json!({"tag": format!("04AA{:04}", 1 + n % 3)})),
        3 => ("location", json!({"lat": 12.9716, "lon": 77.5946, "accuracy": 10.0})),
        4 => ("activity", json!({"event": id})),
        _ => ("activity", json!({"event": format!("last {n}")})),
    }
}
