//! Section 5, for tours: an alert that nobody answers is passed up.

use crate::{of_guard_7, scans, watched_night};
use vigil_core::alert::{Rule, Status};
use vigil_core::time::{Span, Timestamp};
use vigil_tests::night::{Night, at, mins, secs, tour, with_policy};

/// 15 min after `tour_missed` of 21:30:00.001.
fn due() -> Timestamp {
    at("21:45").just_after()
}

#[test]
fn it_is_judged_when_it_settled_and_counts_from_the_detection() {
    let mut night = watched_night(of_guard_7);
    night.until(due() + Span::from_millis(4_999));
    assert!(!night.the_alert(Rule::TourMissed).escalated);
    night.until(due() + secs(5));
    let alert = night.the_alert(Rule::TourMissed);
    assert_eq!((alert.escalated, alert.status, alert.updated_at), (true, Status::Detected, due()));
}

/// What was so at 15 min counts, and not when it became known.
#[test]
fn a_first_scan_in_time_prevents_it_and_a_later_one_does_not() {
    let table = [
        (due() - Span::from_millis(1), secs(1), false),
        (due(), secs(1), false),
        (due(), secs(4), false),
        (due().just_after(), Span::ZERO, true),
        (due().just_after(), secs(1), true),
        (due().just_after(), secs(60), true),
    ];
    for (scanned_at, delay, escalated) in table {
        let mut night = watched_night(of_guard_7);
        night.scan_late(scanned_at, scanned_at + delay, "G-7", "cp-0");
        night.until(at("22:00"));
        let alert = night.the_alert(Rule::TourMissed);
        assert_eq!(alert.cleared_at, Some(scanned_at));
        assert_eq!(alert.escalated, escalated, "scanned at {scanned_at}, heard {delay} later");
    }
}

#[test]
fn what_is_withdrawn_needs_no_answer() {
    let mut night = watched_night(of_guard_7);
    night.scan_late(at("21:20"), due() + secs(1), "G-7", "cp-0");
    night.until(at("22:00"));
    let alert = night.the_alert(Rule::TourMissed);
    assert_eq!((alert.status, alert.escalated), (Status::FalsePositive, false));
}

#[test]
fn a_partial_run_is_passed_up_too() {
    let mut night = watched_night(of_guard_7);
    scans(&mut night, at("21:00"), 0..5);
    night.until(at("22:30"));
    let alert = night.the_alert(Rule::TourPartial);
    assert_eq!((alert.escalated, alert.updated_at), (true, at("22:25").just_after()));
}

#[test]
fn the_policy_says_whether_and_after_how_long() {
    for (auto_escalate, delay, escalated) in [(true, 30, true), (true, 60, false), (false, 30, false)] {
        let mut night = Night::on_plant_7(|s| {
            s.tours = vec![tour("a", &["21:00"], mins(40))];
            with_policy(s, |p| {
                p.tasks.auto_escalate = auto_escalate;
                p.tasks.escalation_delay = mins(delay);
            });
        });
        night.check_in(at("20:00"), "G-7");
        night.until(at("22:05"));
        assert_eq!(night.the_alert(Rule::TourMissed).escalated, escalated, "{auto_escalate}, {delay} min");
    }
}

#[test]
fn a_restart_between_the_deadline_and_its_judgement_changes_nothing() {
    let mut night = watched_night(of_guard_7);
    night.scan_late(due().just_after(), due() + secs(1), "G-7", "cp-0");
    night.power_cut(due() + secs(2), due() + secs(3));
    night.power_cut(due() + secs(4), due() + secs(6));
    night.until(at("21:46"));
    assert!(night.the_alert(Rule::TourMissed).escalated);
}

#[test]
fn it_is_passed_up_once() {
    let mut night = watched_night(of_guard_7);
    night.until(at("21:50"));
    let revision = night.the_alert(Rule::TourMissed).revision;
    night.power_cut(at("21:51"), at("21:52"));
    night.until(at("21:59"));
    assert_eq!(night.the_alert(Rule::TourMissed).revision, revision);
}
