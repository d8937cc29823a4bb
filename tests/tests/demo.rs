//! The README's first command, with its night passing faster still: on a busy machine more may be late than in the real one.

// All of it is test code: a failed unwrap is a failed test.
#![cfg(test)]

use vigil_tests::house::vigil;

#[test]
fn a_night_tells_its_story_and_complains_of_nothing() {
    let ended = vigil(&["demo", "--once", "--speed", "1800"]);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{}", ended.out);
    let (_, received) = ended.out.split_once("What the NOC received:").unwrap();
    for line in ["x device_silent (MEDIUM)", "x inactivity (CRITICAL)", "x tour_missed (HIGH)"] {
        assert!(received.contains(line), "{line}: {}", ended.out);
    }
}
