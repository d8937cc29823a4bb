//! `tour_at_risk`: a run that may not be done in time, once a run.

use crate::{night_with, of_guard_7, scans, watched_night};
use vigil_core::alert::{Rule, Severity, Status};
use vigil_core::site::Tour;
use vigil_core::time::{Span, Timestamp};
use vigil_tests::night::{Night, at, mins, secs, tour, with_policy};

fn warned_at(night: &Night) -> Option<Timestamp> {
    let found = night.alerts_of(Rule::TourAtRisk);
    assert!(found.len() <= 1, "once a run: {found:#?}");
    found.first().map(|a| a.detected_at)
}

/// How the warning ended: its status, when it was cleared, and the last note.
fn ended(night: &Night) -> (Status, Option<Timestamp>, Option<&str>) {
    let alert = night.the_alert(Rule::TourAtRisk);
    (alert.status, alert.cleared_at, alert.history.last().unwrap().note.as_deref())
}

#[test]
fn nothing_scanned_five_minutes_before_it_must_begin() {
    let mut night = watched_night(of_guard_7);
    night.until(at("21:25") + Span::from_millis(4_999));
    assert_eq!(warned_at(&night), None);
    night.until(at("21:25") + secs(5));
    let alert = night.the_alert(Rule::TourAtRisk);
    assert_eq!((alert.detected_at, alert.severity), (at("21:25"), Severity::Low));
    assert!(alert.summary.contains("must start by 21:30"), "{}", alert.summary);
}

#[test]
fn a_scan_at_that_instant_is_in_time_and_one_a_moment_later_is_not() {
    for (scanned_at, delay, warned) in [
        (at("21:25"), secs(4), None),
        (at("21:25").just_after(), secs(0), Some(at("21:25"))),
        (at("21:25").just_after(), secs(60), Some(at("21:25"))),
    ] {
        let mut night = watched_night(of_guard_7);
        night.scan_late(scanned_at, scanned_at + delay, "G-7", "cp-0");
        night.until(at("21:28"));
        assert_eq!(warned_at(&night), warned, "scanned at {scanned_at}");
    }
}

#[test]
fn the_breach_supersedes_it() {
    let mut night = watched_night(of_guard_7);
    night.until(at("21:40"));
    let breach = night.the_alert(Rule::TourMissed).detected_at;
    assert_eq!(ended(&night), (Status::Resolved, Some(breach), Some("superseded by the breach")));
    scans(&mut night, at("21:41"), 0..6);
    night.until(at("23:00"));
    assert_eq!(warned_at(&night), Some(at("21:25")), "once a run");
    assert!(!night.the_alert(Rule::TourAtRisk).escalated);
}

#[test]
fn completion_resolves_it_at_the_scan_that_makes_it_enough() {
    for (needed, done_at) in [(100, "21:33"), (80, "21:32"), (50, "21:31")] {
        let mut night = Night::on_plant_7(|s| {
            let five = |t: &mut Tour| t.checkpoints.truncate(5);
            let mut tour = tour("a", &["21:00"], mins(40));
            five(&mut tour);
            s.tours = vec![tour];
            with_policy(s, |p| {
                p.tours.require_all_checkpoints = needed == 100;
                p.tours.min_checkpoint_percentage = needed;
            });
        });
        night.check_in(at("20:00"), "G-7");
        night.until(at("21:27"));
        scans(&mut night, at("21:29"), 0..5);
        night.until(at("22:20"));
        assert_eq!(ended(&night), (Status::Resolved, Some(at(done_at)), Some("completed")), "{needed} %");
    }
}

/// Six checkpoints from 21:00 to 22:10: five legs of 14 minutes.
#[test]
fn a_pace_that_ends_at_close_by_exactly_will_do_and_a_slower_one_will_not() {
    let walk = |pace: Span| {
        let mut night = watched_night(of_guard_7);
        let mut now = at("21:00");
        for n in 0..6 {
            night.scan(now, "G-7", &format!("cp-{n}"));
            now = now + pace;
        }
        night.until(at("22:30"));
        night
    };
    assert_eq!(warned_at(&walk(mins(14))), None);
    let slow = walk(Span::from_millis(mins(14).millis() + 1));
    assert_eq!(warned_at(&slow), Some(at("21:14").just_after()));
    let breach = slow.the_alert(Rule::TourPartial).detected_at;
    assert_eq!(ended(&slow), (Status::Resolved, Some(breach), Some("superseded by the breach")));
    let summary = &slow.the_alert(Rule::TourAtRisk).summary;
    assert!(summary.contains("16 % scanned") && summary.contains("ends after 22:10"), "{summary}");
}

#[test]
fn who_stops_on_the_way_falls_behind() {
    let mut night = watched_night(of_guard_7);
    scans(&mut night, at("21:00"), 0..4);
    night.until(at("21:56") + secs(5));
    assert_eq!(warned_at(&night), None, "four of five legs' time has not passed");
    night.until(at("21:56") + secs(6));
    assert_eq!(warned_at(&night), Some(at("21:56").just_after()));
    scans(&mut night, at("21:58"), 4..6);
    night.until(at("22:05"));
    assert_eq!(ended(&night), (Status::Resolved, Some(at("21:59")), Some("completed")));
}

#[test]
fn what_must_begin_within_five_minutes_is_no_risk_before_it_is_due() {
    for (grace, warned) in [(mins(5), Some(at("21:00"))), (mins(4), None)] {
        let mut night = Night::on_plant_7(|s| {
            s.tours = vec![tour("a", &["21:00"], mins(40))];
            with_policy(s, |p| p.tours.grace = grace);
        });
        night.check_in(at("20:00"), "G-7");
        night.until(at("21:20"));
        assert_eq!(warned_at(&night), warned, "{grace}");
    }
}

#[test]
fn tours_that_may_be_missed_are_never_at_risk() {
    let mut night = watched_night(|t| t.mandatory = false);
    scans(&mut night, at("21:29"), 0..2);
    night.until(at("23:00"));
    assert!(night.alerts_of(Rule::TourAtRisk).is_empty());
}

#[test]
fn scans_that_were_held_back_withdraw_it() {
    let mut night = watched_night(of_guard_7);
    night.until(at("21:27"));
    // The first is too late for 21:25; the second, told later, is not.
    night.scan_late(at("21:26"), at("21:28"), "G-7", "cp-1");
    night.scan_late(at("21:20"), at("21:28"), "G-7", "cp-0");
    night.until(at("21:28") + secs(5));
    assert_eq!(ended(&night), (Status::FalsePositive, Some(at("21:28") + secs(5)), Some("late evidence")));
}

/// The whole tour comes in one backlog, in any order: that it was no risk counts, and not only that it was done.
#[test]
fn a_backlog_withdraws_it_in_whatever_order_it_comes() {
    for backwards in [false, true] {
        let mut night = watched_night(of_guard_7);
        night.until(at("21:29"));
        let mut places: Vec<i64> = (0..6).collect();
        if backwards {
            places.reverse();
        }
        for n in places {
            night.scan_late(at("21:21") + mins(n), at("21:29"), "G-7", &format!("cp-{n}"));
        }
        night.until(at("21:29:30"));
        assert_eq!(night.the_alert(Rule::TourAtRisk).status, Status::FalsePositive);
    }
}

/// Behind the pace, but told so late that the time to warn has passed: late evidence raises nothing.
#[test]
fn late_scans_raise_nothing() {
    let mut night = watched_night(of_guard_7);
    night.scan(at("21:24"), "G-7", "cp-2");
    night.until(at("21:28"));
    // With a begin at 20:46 the second leg, of 16:48, has been due since 21:02.
    night.scan_late(at("20:46"), at("21:28"), "G-7", "cp-0");
    night.until(at("21:30"));
    assert_eq!(warned_at(&night), None);
    // Two of five legs were due at 21:19:36, three at 21:36:24: that one is still to come.
    night.until(at("21:37"));
    assert_eq!(warned_at(&night), Some((at("21:36:24")).just_after()));
}

#[test]
fn what_the_agent_could_not_see_is_no_risk() {
    let mut blind = watched_night(of_guard_7);
    blind.power_cut(at("21:05"), at("21:20"));
    blind.until(at("21:29"));
    assert_eq!(warned_at(&blind), None, "15 of 40 minutes");
    let mut seen = watched_night(of_guard_7);
    seen.power_cut(at("21:05"), at("21:15"));
    seen.until(at("21:29"));
    assert_eq!(warned_at(&seen), Some(at("21:25")), "10 of 40 minutes exactly");
    let mut under_way = watched_night(of_guard_7);
    under_way.scan(at("21:00"), "G-7", "cp-0");
    under_way.power_cut(at("21:05"), at("21:12"));
    under_way.until(at("21:27"));
    assert_eq!(warned_at(&under_way), None, "7 of the first 14 minutes");
    under_way.until(at("21:29"));
    assert_eq!(warned_at(&under_way), Some(at("21:28").just_after()), "7 of the first 28 minutes");
}

#[test]
fn a_restart_at_any_time_changes_nothing() {
    for cut in ["20:30", "21:10", "21:25", "21:25:03"] {
        let mut night = watched_night(of_guard_7);
        night.power_cut(at(cut), at(cut) + secs(2));
        night.power_cut(at(cut) + secs(3), at(cut) + secs(4));
        night.until(at("21:29"));
        assert_eq!(warned_at(&night), Some(at("21:25")), "{cut}");
    }
}

#[test]
fn what_fell_due_before_the_agent_began_is_not_judged() {
    let site = night_with(of_guard_7).engine.site().as_ref().clone();
    let mut night = Night::on(site, at("21:25").just_after());
    night.until(at("21:29"));
    assert_eq!(warned_at(&night), None);
}

#[test]
fn a_maintenance_interval_mutes_it_and_what_stands_afterwards_is_told() {
    let mut night = Night::on_plant_7(|s| {
        s.tours = vec![tour("a", &["21:00"], mins(40))];
        with_policy(s, |p| {
            let muted = vigil_core::policy::Maintenance {
                starts_at: at("21:20"),
                ends_at: at("21:26"),
                rules: vec![Rule::TourAtRisk],
            };
            p.maintenance = vec![muted];
        });
    });
    night.check_in(at("20:00"), "G-7");
    night.scan(at("21:29"), "G-7", "cp-0");
    night.until(at("22:00"));
    assert_eq!(warned_at(&night), Some(at("21:26")), "nobody had begun when the interval was over");
    assert_eq!(night.engine.book().muted().get(&Rule::TourAtRisk), Some(&1));
}
