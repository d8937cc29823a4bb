//! Two hundred damaged stores: each opens, says what is gone, and goes on. The long run and its results are in
//! `tests/soak/README.md`.

// All of it is test code: a failed unwrap is a failed test.
#![cfg(test)]

use std::path::Path;
use vigil_tests::soak::damage::{Plan, cases};

#[test]
fn two_hundred_damaged_stores_lose_nothing_in_silence() {
    let plan = Plan { seed: 0xDA_4A6E, cases: 200, snapshots: 6, only: None };
    let outcome = cases(Path::new(env!("CARGO_BIN_EXE_soak")), plan).unwrap();
    assert!(outcome.faults.is_empty(), "{outcome}");
    assert!(outcome.whole > 20 && outcome.set_aside > 3 && outcome.went_back > 20, "{outcome}");
    assert!(outcome.nothing_saved < outcome.set_aside, "{outcome}");
}
