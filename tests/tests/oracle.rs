//! Every event that was acknowledged and every alert that was raised is an obligation: a simulated gateway lives through
//! hours of faults, seed after seed, and meets all of them. The long run and its results are in `tests/soak/README.md`.

// All of it is test code: a failed unwrap is a failed test.
#![cfg(test)]

use vigil_tests::oracle;

/// So many seeds, and the evening and most of the night of each: a minute on two cores without optimisation.
const SEEDS: u64 = 24;
const HOURS: i64 = 8;

#[test]
fn every_obligation_is_met_exactly_once_whatever_goes_wrong() {
    let mut lived = 0;
    let outcome = oracle::seeds(1..SEEDS + 1, HOURS, 2, &mut |verdict| oracle::say(&mut lived, verdict));
    assert_eq!((outcome.seeds, outcome.faulty.as_slice()), (SEEDS, [].as_slice()), "{outcome}");
    let counts = outcome.counts;
    assert!(counts.acknowledged > 10_000 && counts.resent > 100, "{outcome}");
    assert!(counts.revisions > 500 && counts.told_again > 10, "{outcome}");
    assert!(counts.failed > 500 && counts.buried > 10, "{outcome}");
    assert!(counts.deaths > 100 && counts.compared > 20, "{outcome}");
}

#[test]
fn a_seed_is_the_same_life_every_time() {
    let lived = || oracle::run(5, 6).unwrap();
    let (one, other) = (lived(), lived());
    assert!(one.settled_at.is_some() && one.counts.deaths > 0, "{one}");
    assert_eq!((one.trace, one.counts, one.settled_at), (other.trace, other.counts, other.settled_at));
}
