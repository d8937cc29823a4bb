//! `tour_sequence`: the order of a tour, and how long its visits last.

use crate::{night_with, of_guard_7, watched_night};
use vigil_core::alert::{Rule, Severity, Status};
use vigil_core::evidence::{Evidence, SequenceEvidence};
use vigil_core::site::Tour;
use vigil_core::time::{Span, Timestamp};
use vigil_tests::night::{Night, at, mins, secs};

fn ordered(tour: &mut Tour) {
    of_guard_7(tour);
    tour.ordered = true;
}

fn unhurried(tour: &mut Tour) {
    of_guard_7(tour);
    tour.min_dwell = Some(secs(60));
}

/// Scans these checkpoints from 21:00 on, two minutes apart.
fn walk(night: &mut Night, places: &[u8]) {
    for (n, place) in (0..).zip(places) {
        night.scan(at("21:00") + mins(2 * n), "G-7", &format!("cp-{place}"));
    }
}

fn evidence(night: &Night) -> &SequenceEvidence {
    let Evidence::Sequence(evidence) = &night.the_alert(Rule::TourSequence).evidence else {
        panic!("wrong evidence")
    };
    evidence
}

fn names<T: ToString>(ids: &[T]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}

fn is_quiet(night: &Night) -> bool {
    night.alerts_of(Rule::TourSequence).is_empty()
}

#[test]
fn the_fewest_that_were_out_of_order_are_named_once_a_run() {
    type Case = (&'static [u8], &'static [&'static str], &'static str);
    let table: [Case; 6] = [
        (&[0, 1, 2, 3, 4, 5], &[], ""),
        (&[1, 0, 2, 3, 4, 5], &["cp-0"], "21:10"),
        (&[5, 0, 1, 2, 3, 4], &["cp-5"], "21:10"),
        (&[0, 1, 1, 2, 0, 3, 4, 5], &[], ""),
        (&[0, 2, 4, 5], &[], ""),
        (&[2, 1], &["cp-1"], "22:10"),
    ];
    for (places, misplaced, judged) in table {
        let mut night = watched_night(ordered);
        walk(&mut night, places);
        night.until(at("22:11"));
        assert_eq!(names(&night.the_run().out_of_order), misplaced, "{places:?}");
        if misplaced.is_empty() {
            assert!(is_quiet(&night), "{places:?}");
            continue;
        }
        assert_eq!(names(&evidence(&night).out_of_order), misplaced, "{places:?}");
        let alert = night.the_alert(Rule::TourSequence);
        // A run that is not whole is judged like tour_partial, strictly after close_by.
        let judged = if places.len() == 6 { at(judged) } else { at(judged).just_after() };
        assert_eq!((alert.detected_at, alert.severity), (judged, Severity::Low), "{places:?}");
        assert_eq!((alert.revision, alert.escalated), (1, false), "{places:?}");
    }
}

#[test]
fn only_ordered_mandatory_tours_have_an_order() {
    for change in [of_guard_7 as fn(&mut Tour), |t| (t.ordered, t.mandatory) = (true, false)] {
        let mut night = watched_night(change);
        walk(&mut night, &[1, 0, 2, 3, 4, 5]);
        night.until(at("22:11"));
        assert!(is_quiet(&night));
    }
    let mut logged = watched_night(|t| (t.ordered, t.mandatory) = (true, false));
    walk(&mut logged, &[1, 0, 2, 3, 4, 5]);
    logged.until(at("22:11"));
    assert_eq!(names(&logged.the_run().out_of_order), ["cp-0"], "the log keeps it");
}

#[test]
fn it_is_judged_when_the_run_is_whole_and_what_is_on_its_way_has_arrived() {
    let mut night = watched_night(ordered);
    walk(&mut night, &[1, 0, 2, 3, 4, 5]);
    night.until(at("21:10") + secs(5));
    assert!(is_quiet(&night));
    night.until(at("21:10") + secs(6));
    assert_eq!(night.the_alert(Rule::TourSequence).detected_at, at("21:10"));
}

#[test]
fn a_late_scan_that_repairs_the_order_withdraws_it() {
    let mut night = watched_night(ordered);
    walk(&mut night, &[1, 0, 2, 3, 4, 5]);
    night.until(at("21:30"));
    night.scan_late(at("20:58"), at("21:30"), "G-7", "cp-0");
    night.until(at("21:30") + secs(5));
    let alert = night.the_alert(Rule::TourSequence);
    assert_eq!((alert.status, alert.cleared_at), (Status::FalsePositive, Some(at("21:30") + secs(5))));
    assert_eq!(alert.history.last().unwrap().note.as_deref(), Some("late evidence"));
    assert_eq!(names(&night.the_run().out_of_order), [""; 0]);
}

#[test]
fn one_that_repairs_a_part_of_it_changes_what_it_says() {
    let mut night = watched_night(ordered);
    walk(&mut night, &[1, 0, 3, 2, 4, 5]);
    night.until(at("21:30"));
    assert_eq!(names(&evidence(&night).out_of_order), ["cp-0", "cp-2"]);
    night.scan_late(at("20:58"), at("21:30"), "G-7", "cp-0");
    night.until(at("21:31"));
    let alert = night.the_alert(Rule::TourSequence);
    assert_eq!((alert.status, alert.revision), (Status::Detected, 2));
    assert!(alert.summary.ends_with("out of order cp-2"), "{}", alert.summary);
}

#[test]
fn late_scans_raise_nothing() {
    // The whole run is told when it is over.
    let mut after = watched_night(ordered);
    after.until(at("22:20"));
    for (n, place) in (0..).zip([1, 0, 2, 3, 4, 5]) {
        after.scan_late(at("21:00") + mins(n), at("22:20"), "G-7", &format!("cp-{place}"));
    }
    after.until(at("22:30"));
    assert!(is_quiet(&after));
    assert_eq!(names(&after.the_run().out_of_order), ["cp-0"], "the log knows it all the same");
    // A faultless run is found faulty by what is told later.
    let mut blamed = watched_night(ordered);
    walk(&mut blamed, &[0, 1, 2, 3, 4, 5]);
    blamed.until(at("21:30"));
    blamed.scan_late(at("20:50"), at("21:30"), "G-7", "cp-5");
    blamed.until(at("22:30"));
    assert!(is_quiet(&blamed));
    assert_eq!(names(&blamed.the_run().out_of_order), ["cp-5"]);
}

/// A backlog while the run goes on is no reason to judge it at once; at `close_by` it is judged by what is known.
#[test]
fn a_run_that_a_backlog_made_whole_is_judged_at_its_end() {
    let mut night = watched_night(ordered);
    night.until(at("21:20"));
    for (n, place) in (0..).zip([1, 0, 2, 3, 4, 5]) {
        night.scan_late(at("21:00") + mins(n), at("21:20"), "G-7", &format!("cp-{place}"));
    }
    night.until(at("22:00"));
    assert!(is_quiet(&night));
    night.until(at("22:11"));
    assert_eq!(night.the_alert(Rule::TourSequence).detected_at, at("22:10").just_after());
}

#[test]
fn a_visit_lasts_until_the_next_scan_elsewhere() {
    let millis = Span::from_millis;
    for (stay, short) in [(secs(60), false), (millis(59_999), true)] {
        let mut night = watched_night(unhurried);
        night.scan(at("21:00"), "G-7", "cp-0");
        night.scan(at("21:00") + secs(20), "G-7", "cp-0");
        night.scan(at("21:00") + stay, "G-7", "cp-1");
        for n in 2..6 {
            night.scan(at("21:00") + mins(5 * n), "G-7", &format!("cp-{n}"));
        }
        night.until(at("22:11"));
        assert_eq!(!is_quiet(&night), short, "{stay}");
        if short {
            let evidence = evidence(&night);
            let visits: Vec<_> = evidence.too_short.iter().map(|v| (v.checkpoint.as_str(), v.secs)).collect();
            assert_eq!((visits, evidence.min_dwell_secs), (vec![("cp-0", 59)], Some(60)));
            assert_eq!(names(&night.the_run().too_short), ["cp-0"]);
        }
    }
}

#[test]
fn the_last_visit_of_a_run_is_not_known_to_have_ended() {
    let mut night = watched_night(unhurried);
    walk(&mut night, &[0, 1, 2, 3, 4, 5]);
    night.scan(at("21:10") + secs(1), "G-7", "cp-0");
    night.until(at("22:11"));
    assert!(is_quiet(&night));
}

#[test]
fn who_comes_back_and_stays_has_visited() {
    for (left, back, gone) in [(10, 100, 200), (90, 180, 190)] {
        let mut night = watched_night(unhurried);
        for (seconds, place) in [(0, 0), (left, 1), (back, 0), (gone, 2), (300, 3), (400, 4), (500, 5)] {
            night.scan(at("21:00") + secs(seconds), "G-7", &format!("cp-{place}"));
        }
        night.until(at("22:11"));
        assert!(is_quiet(&night), "cp-0 for {left} s, and then for {} s", gone - back);
    }
}

#[test]
fn another_guard_s_scan_ends_no_visit() {
    let mut shared = watched_night(|t| t.min_dwell = Some(secs(60)));
    shared.check_in(at("20:00") + secs(10), "G-8");
    for n in 0..3 {
        shared.scan(at("21:00") + mins(2 * n), "G-7", &format!("cp-{n}"));
        shared.scan(at("21:00") + mins(2 * n) + secs(10), "G-8", &format!("cp-{}", n + 3));
    }
    shared.until(at("22:11"));
    assert!(is_quiet(&shared));
    assert_eq!(names(&shared.the_run().walked_by), ["G-7", "G-8"]);
}

#[test]
fn a_scan_of_another_tour_ends_a_visit_too() {
    let mut night = Night::on_plant_7(|s| {
        let mut first = vigil_tests::night::tour("a", &["21:00"], mins(40));
        first.checkpoints.truncate(3);
        first.min_dwell = Some(secs(60));
        let mut second = vigil_tests::night::tour("b", &["21:00"], mins(40));
        second.checkpoints.drain(..3);
        s.tours = vec![first, second];
    });
    night.check_in(at("20:00"), "G-7");
    for (seconds, place) in [(0, 0), (10, 3), (100, 1), (200, 2), (300, 4), (400, 5)] {
        night.scan(at("21:00") + secs(seconds), "G-7", &format!("cp-{place}"));
    }
    night.until(at("22:11"));
    assert_eq!(evidence(&night).too_short.len(), 1);
    assert_eq!(evidence(&night).too_short[0].checkpoint.as_str(), "cp-0");
}

#[test]
fn a_late_scan_that_shows_a_longer_visit_withdraws_it() {
    let mut night = watched_night(unhurried);
    night.scan(at("21:00"), "G-7", "cp-0");
    night.scan(at("21:00") + secs(10), "G-7", "cp-1");
    for n in 2..6 {
        night.scan(at("21:00") + mins(2 * n), "G-7", &format!("cp-{n}"));
    }
    night.until(at("21:30"));
    assert_eq!(night.the_alert(Rule::TourSequence).status, Status::Detected);
    // The handset held back that the guard had been at cp-0 since 20:58.
    night.scan_late(at("20:58"), at("21:30"), "G-7", "cp-0");
    night.until(at("21:31"));
    assert_eq!(night.the_alert(Rule::TourSequence).status, Status::FalsePositive);
}

#[test]
fn what_the_agent_could_not_see_is_not_judged() {
    let mut night = watched_night(ordered);
    night.scan(at("20:50"), "G-7", "cp-1");
    night.power_cut(at("20:51"), at("21:10"));
    for (n, place) in (0..).zip([0, 2, 3, 4, 5]) {
        night.scan(at("21:11") + mins(n), "G-7", &format!("cp-{place}"));
    }
    night.until(at("22:30"));
    assert!(is_quiet(&night), "19 of 30 minutes");
}

#[test]
fn a_restart_before_it_is_judged_loses_nothing() {
    let mut night = watched_night(ordered);
    walk(&mut night, &[1, 0, 2, 3, 4, 5]);
    night.power_cut(at("21:10:02"), at("21:10:03"));
    night.power_cut(at("21:10:05"), at("21:10:06"));
    night.until(at("21:11"));
    assert_eq!(night.the_alert(Rule::TourSequence).detected_at, at("21:10"));
}

#[test]
fn a_run_that_should_have_begun_before_the_agent_is_not_judged() {
    let site = night_with(ordered).engine.site().as_ref().clone();
    let mut night = Night::on(site, Timestamp::from_millis(at("21:30").millis() + 1));
    night.check_in(at("21:31"), "G-7");
    for (n, place) in (0..).zip([1, 0, 2, 3, 4, 5]) {
        night.scan(at("21:32") + mins(n), "G-7", &format!("cp-{place}"));
    }
    night.until(at("22:30"));
    assert!(is_quiet(&night));
}
