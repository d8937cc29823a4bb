//! Fifty power cuts in a recorded run: what was acknowledged is there, whole, and the store opens. The long run and
//! its results are in `tests/soak/README.md`.

// All of it is test code: a failed unwrap is a failed test.
#![cfg(test)]

use std::path::Path;
use vigil_tests::soak::power::{Plan, cuts};

#[test]
fn fifty_power_cuts_lose_nothing_that_was_acknowledged() {
    let plan = Plan { seed: 0x0DA4_4E55, images: 51, commits: 60 };
    let outcome = cuts(Path::new(env!("CARGO_BIN_EXE_soak")), plan).unwrap();
    assert!(outcome.faults.is_empty(), "{outcome}");
    assert!(outcome.images > 50 && outcome.acknowledged > 2_000, "{outcome}");
}
