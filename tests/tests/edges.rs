//! Section 3 of the rules, edge by edge: what happens at exactly the bound, and a millisecond beside it.

// All of it is test code: a failed unwrap is a failed test.
#![cfg(test)]

use vigil_core::alert::{Evidence, Rule, Severity};
use vigil_core::evidence::{InactivityEvidence, SignalState};
use vigil_core::observation::{AttendanceAction, Heartbeat, Kind, TaskState};
use vigil_core::policy::{DeepNight, Expectation, MovementRule, Permille, PolicyParts};
use vigil_core::time::{Span, Timestamp};
use vigil_tests::night::{Night, at, mins, with_policy};

const MS: Span = Span::from_millis(1);

fn permille(thousandths: u16) -> Permille {
    Permille::new(thousandths).unwrap()
}

fn with(change: impl FnOnce(&mut PolicyParts)) -> Night {
    Night::on_plant_7(|parts| with_policy(parts, change))
}

/// One weak signal is enough for an evaluation: only the handset's own word is looked at.
fn by_phone_alone(policy: &mut PolicyParts) {
    policy.inactivity.min_evidence = permille(200);
    policy.inactivity.proof_of_life = Span::ZERO;
}

/// An untouched handset that says so every minute of `[from, to)`.
fn untouched(night: &mut Night, from: Timestamp, to: Timestamp) {
    let mut now = from;
    while now < to {
        night.observe(now, "hs-7", Kind::Heartbeat(Heartbeat::default()));
        now = now + mins(1);
    }
}

fn found(night: &Night) -> Vec<Timestamp> {
    night.alerts_of(Rule::Inactivity).into_iter().map(|a| a.detected_at).collect()
}

fn evidence(night: &Night) -> &InactivityEvidence {
    let Evidence::Inactivity(evidence) = &night.alerts_of(Rule::Inactivity).first().unwrap().evidence else {
        panic!("wrong evidence")
    };
    evidence
}

/// The classic four-signal sum with one signal active: a checkpoint of more than half an hour ago.
fn classic_sum(deep_night: DeepNight, touched: Timestamp) -> Night {
    let mut night = with(|p| {
        p.inactivity.expectation = Expectation::Always;
        p.inactivity.movement = MovementRule::Summed;
        p.inactivity.deep_night = deep_night;
    });
    night.check_in(touched - mins(90), "G-7");
    untouched(&mut night, touched - mins(89), touched);
    night.scan(touched, "G-7", "cp-1");
    untouched(&mut night, touched + mins(1), touched + mins(61));
    night
}

#[test]
fn nine_hundred_exactly_is_critical_and_seven_hundred_and_fifty_is_nothing() {
    // 200 + 300 + 250 are inactive; the scan is out of `proof_of_life` when the window of two hours is full.
    let deep = classic_sum(DeepNight::Factor, at("01:00"));
    let alert = deep.the_alert(Rule::Inactivity);
    assert_eq!((evidence(&deep).score, alert.severity), (900, Severity::Critical));
    assert_eq!(alert.detected_at, at("01:35"), "the first multiple of the cycle after the proof of life");
    let regular = classic_sum(DeepNight::Factor, at("22:30"));
    assert_eq!(found(&regular), []);
}

#[test]
fn the_weights_of_the_deep_night_are_capped_and_not_rescaled_in_the_classic_sum() {
    // 300 + 400 + 250, times 1.2, is 1,140.
    let deep = classic_sum(DeepNight::Weights, at("01:00"));
    assert_eq!(evidence(&deep).score, 1_000);
}

#[test]
fn the_threshold_itself_is_inactive() {
    let with_threshold = |threshold: u16| {
        let mut night = with(|p| {
            p.inactivity.expectation = Expectation::Always;
            p.inactivity.threshold = permille(threshold);
        });
        night.check_in(at("20:00"), "G-7");
        untouched(&mut night, at("20:01"), at("21:00"));
        night.scan(at("21:00"), "G-7", "cp-1");
        untouched(&mut night, at("21:01"), at("22:10"));
        night
    };
    assert_eq!(found(&with_threshold(750)), [at("22:00")]);
    assert_eq!(evidence(&with_threshold(750)).score, 750);
    assert_eq!(found(&with_threshold(751)), []);
}

#[test]
fn an_act_counts_as_proof_of_life_for_exactly_half_an_hour() {
    // The evaluation of 22:05 looks back to 21:35, that instant included.
    for (done, expected) in
        [(at("21:35"), at("22:10")), (at("21:35") - MS, at("22:05")), (at("22:05") - MS, at("22:35"))]
    {
        let mut night = with(|p| p.inactivity.threshold = permille(500));
        night.check_in(at("20:00"), "G-7");
        let until = done.floor_to(mins(1));
        night.lies_still(at("20:01"), until, "G-7");
        night.task(done, "G-7", "T-1", TaskState::Completed);
        night.lies_still(until + mins(1), at("22:40"), "G-7");
        // Before that the act has not happened yet.
        let first = found(&night).into_iter().find(|t| *t >= at("22:05"));
        assert_eq!(first, Some(expected), "done at {done}");
    }
}

#[test]
fn a_window_holds_its_first_instant_and_not_its_last() {
    // 22:05 looks at [20:05, 22:05).
    for (touched, expected) in
        [(at("20:05"), at("22:10")), (at("20:05") - MS, at("22:05")), (at("22:05") - MS, at("00:05"))]
    {
        let mut night = with(by_phone_alone);
        night.check_in(at("20:05") - mins(5), "G-7");
        untouched(&mut night, at("20:01"), touched.floor_to(mins(1)));
        night.observe(touched, "hs-7", Kind::Activity("unlock".into()));
        untouched(&mut night, touched.floor_to(mins(1)) + mins(1), at("00:10"));
        let first = found(&night).into_iter().find(|t| *t >= at("22:05"));
        assert_eq!(first, Some(expected), "touched at {touched}");
    }
}

#[test]
fn a_part_bucket_is_no_duty_bucket() {
    for (came, expected) in [(at("20:00"), at("22:00")), (at("20:00") + MS, at("22:05"))] {
        let mut night = with(by_phone_alone);
        night.check_in(came, "G-7");
        untouched(&mut night, at("20:01"), at("22:10"));
        assert_eq!(found(&night), [expected], "came at {came}");
    }
}

#[test]
fn a_handset_is_observed_for_silent_after_and_no_longer() {
    // The last word, 15 min before 22:00 exactly, and a millisecond earlier.
    for (last, seen) in [(at("21:45"), true), (at("21:45") - MS, false)] {
        let mut night = with(by_phone_alone);
        night.check_in(at("20:00"), "G-7");
        untouched(&mut night, at("20:01"), at("21:45"));
        night.observe_late(last, last, "hs-7", Kind::Heartbeat(Heartbeat::default()));
        if !seen {
            // The minute before was the last that counts.
            night = with(by_phone_alone);
            night.check_in(at("20:00"), "G-7");
            untouched(&mut night, at("20:01"), at("21:44"));
            night.observe_late(last, last, "hs-7", Kind::Heartbeat(Heartbeat::default()));
        }
        night.until(at("22:04"));
        assert_eq!(!found(&night).is_empty(), seen, "last heard at {last}");
    }
}

#[test]
fn three_quarters_of_the_window_exactly_are_enough() {
    // Messages good for 15 min each: silence of 30 min in 120 is allowed, and not a millisecond more.
    for (back, seen) in [(at("21:15"), true), (at("21:15") + MS + MS, false)] {
        let mut night = with(by_phone_alone);
        night.check_in(at("20:00"), "G-7");
        untouched(&mut night, at("20:01"), at("20:31"));
        // Heard up to 20:45.000 and that instant; then nothing until `back`.
        night.observe_late(back, back, "hs-7", Kind::Heartbeat(Heartbeat::default()));
        untouched(&mut night, at("21:16"), at("22:01"));
        night.until(at("22:04"));
        assert_eq!(!found(&night).is_empty(), seen, "back at {back}");
    }
}

#[test]
fn half_of_the_evidence_exactly_is_enough() {
    // Phone and movement weigh 500 together; a little more is asked for in the second night.
    for (least, expected) in [(500, vec![at("22:05")]), (501, vec![])] {
        let mut night = with(|p| {
            p.inactivity.min_evidence = permille(least);
            p.inactivity.proof_of_life = Span::ZERO;
        });
        night.check_in(at("20:00"), "G-7");
        night.observe(at("20:01"), "hs-7", Kind::Activity("unlock".into()));
        night.lies_still(at("20:02"), at("22:08"), "G-7");
        assert_eq!(found(&night), expected);
    }
}

#[test]
fn the_night_begins_at_eight_and_ends_at_six() {
    let untouched_from = |from: Timestamp, to: Timestamp| {
        let mut night = Night::on(
            {
                let mut parts = vigil_tests::night::plant_7();
                with_policy(&mut parts, by_phone_alone);
                vigil_core::site::Site::new(parts).unwrap()
            },
            from,
        );
        night.check_in(from, "G-7");
        untouched(&mut night, from, to);
        night
    };
    assert_eq!(found(&untouched_from(at("17:00"), at("21:00"))), [at("20:00")]);
    assert_eq!(found(&untouched_from(at("03:55"), at("07:00"))), [at("05:55")]);
    assert_eq!(found(&untouched_from(at("04:00"), at("08:00"))), [], "the first full window ends at 06:00");
}

#[test]
fn the_deep_night_begins_at_one_and_ends_at_five() {
    for (came, deep) in [("22:55", false), ("23:00", true), ("02:55", true), ("03:00", false)] {
        let mut night = with(by_phone_alone);
        night.check_in(at(came), "G-7");
        untouched(&mut night, at(came), at(came) + mins(125));
        assert_eq!(evidence(&night).deep_night, deep, "judged two hours after {came}");
    }
}

#[test]
fn the_alert_comes_at_the_nth_in_a_row() {
    let mut night = with(|p| {
        by_phone_alone(p);
        p.inactivity.consecutive = 3;
    });
    night.check_in(at("20:00"), "G-7");
    untouched(&mut night, at("20:01"), at("22:30"));
    assert_eq!(found(&night), [at("22:10")]);
    assert_eq!(evidence(&night).consecutive, 3);
}

#[test]
fn an_evaluation_that_cannot_be_made_neither_ends_nor_continues_an_episode() {
    let mut night = with(by_phone_alone);
    night.check_in(at("20:00"), "G-7");
    untouched(&mut night, at("20:01"), at("22:30"));
    // The handset is silent for twenty minutes: nothing can be said of 22:50.
    untouched(&mut night, at("22:52"), at("23:30"));
    let alert = night.the_alert(Rule::Inactivity);
    assert_eq!((alert.detected_at, alert.cleared_at), (at("22:00"), None));
    // In a row of six, it does not count as one of them: the last word of 22:05 is good up to 22:20.
    let mut night = with(|p| {
        by_phone_alone(p);
        p.inactivity.consecutive = 6;
    });
    night.check_in(at("20:00"), "G-7");
    untouched(&mut night, at("20:01"), at("22:06"));
    untouched(&mut night, at("22:36"), at("23:00"));
    assert_eq!(found(&night), [at("22:40")], "22:00 to 22:20, and the next that could be made");
    assert_eq!(evidence(&night).consecutive, 6);
}

#[test]
fn what_is_active_is_active_even_if_its_instrument_was_mostly_silent() {
    let mut night = Night::on_plant_7(|_| {});
    night.check_in(at("20:00"), "G-7");
    night.observe(at("20:30"), "hs-7", Kind::Activity("call".into()));
    night.lies_still(at("21:50"), at("22:04"), "G-7");
    night.until(at("22:06"));
    let view = night.engine.view(at("22:06"));
    assert!(view.guards.iter().all(|g| g.window.is_none()), "phone alone is too little evidence");
    let mut night = with(|p| p.inactivity.min_evidence = permille(200));
    night.check_in(at("20:00"), "G-7");
    night.observe(at("20:30"), "hs-7", Kind::Activity("call".into()));
    night.lies_still(at("21:50"), at("22:04"), "G-7");
    let view = night.engine.view(at("22:03"));
    let window = view.guards.iter().find_map(|g| g.window.as_ref()).unwrap();
    assert_eq!(window.signals.phone.state, SignalState::Active);
    assert_eq!(window.signals.movement.state, SignalState::Unobserved);
}

#[test]
fn a_break_stops_being_one_after_max_break_and_what_follows_is_duty() {
    let mut night = with(by_phone_alone);
    night.check_in(at("20:00"), "G-7");
    untouched(&mut night, at("20:01"), at("21:00"));
    night.attendance(at("21:00"), "G-7", AttendanceAction::BreakStart);
    untouched(&mut night, at("21:01"), at("23:00"));
    // 60 min before the break, and 60 min after the 45 that it may last.
    assert_eq!(found(&night), [at("22:45")]);
    assert_eq!(night.the_alert(Rule::BreakOverrun).detected_at, at("21:45") + MS);
}
