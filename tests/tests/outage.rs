//! Some hours of a site without its operations centre, and its return. The long run and its results are in
//! `tests/soak/README.md`.

// All of it is test code: a failed unwrap is a failed test.
#![cfg(test)]

use std::path::Path;
use vigil_tests::soak::outage::{Plan, outage};

#[test]
fn hours_without_the_operations_centre_lose_nothing_and_what_is_critical_goes_first() {
    let plan = Plan { guards: 20, hours: 4, speed: 2_400, seed: 4 };
    let outcome = outage(Path::new(env!("CARGO_BIN_EXE_soak")), plan).unwrap();
    assert!(outcome.faults.is_empty(), "{outcome}");
    assert!(outcome.waited.0 > 100 && outcome.alerts > 2, "{outcome}");
}
