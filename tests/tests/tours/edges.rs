//! The edges of a run: its instants to the millisecond, which scan is whose, what counts once, and what the policy says.

use crate::{night_with, of_guard_7, scans, watched_night};
use vigil_core::alert::{Rule, Severity, Status};
use vigil_core::engine::Outcome;
use vigil_core::observation::{Kind, Observation, Scan};
use vigil_core::policy::Tours;
use vigil_core::rules::tours::RunStatus::{self, Completed, Incomplete, Missed};
use vigil_core::site::{Tour, TourType};
use vigil_core::time::{Span, Timestamp};
use vigil_tests::night::{Night, at, id, mins, secs, tour, with_policy};

const MS: Span = Span::from_millis(1);

fn raised(night: &Night, rule: Rule) -> bool {
    !night.alerts_of(rule).is_empty()
}

#[test]
fn a_run_begins_in_time_at_start_by_and_not_a_millisecond_later() {
    for (begun, missed) in [(at("21:30"), None), (at("21:30").just_after(), Some(at("21:30").just_after()))] {
        // Told before it is judged, and afterwards.
        for delay in [secs(1), secs(30)] {
            let mut night = watched_night(of_guard_7);
            night.scan_late(begun, begun + delay, "G-7", "cp-0");
            night.until(at("22:00"));
            let alert = night.alerts_of(Rule::TourMissed).into_iter().next();
            let told_late = begun == at("21:30") && delay == secs(30);
            let expected = if told_late { Some(at("21:30").just_after()) } else { missed };
            assert_eq!(alert.map(|a| a.detected_at), expected, "{begun}, {delay} late");
            let status = alert.map(|a| (a.status, a.cleared_at));
            let open = Some((Status::Detected, Some(begun)));
            let withdrawn = Some((Status::FalsePositive, Some(begun + delay)));
            assert_eq!(status, if told_late { withdrawn } else { missed.and(open) });
        }
    }
}

#[test]
fn scans_count_from_early_to_close_by_and_not_a_millisecond_beyond() {
    let table = [(at("20:45") - MS, 0), (at("20:45"), 16), (at("22:10"), 16), (at("22:10").just_after(), 0)];
    for (scanned_at, coverage) in table {
        let mut night = watched_night(of_guard_7);
        night.scan(scanned_at, "G-7", "cp-0");
        night.until(at("23:00"));
        assert_eq!(night.the_run().coverage, coverage, "{scanned_at}");
        assert_eq!(raised(&night, Rule::TourPartial), coverage > 0);
    }
}

#[test]
fn the_last_scan_at_close_by_exactly_completes_it() {
    for (last, status) in [(at("22:10"), Completed), (at("22:10").just_after(), Incomplete)] {
        for delay in [secs(1), secs(4)] {
            let mut night = watched_night(of_guard_7);
            scans(&mut night, at("21:00"), 0..5);
            night.scan_late(last, last + delay, "G-7", "cp-5");
            night.until(at("23:00"));
            assert_eq!((night.the_run().status, night.the_run().revision), (status, 1));
            assert_eq!(raised(&night, Rule::TourPartial), status == Incomplete, "{last}");
        }
    }
}

#[test]
fn tour_partial_comes_strictly_after_close_by_when_it_settled() {
    let mut night = watched_night(of_guard_7);
    scans(&mut night, at("21:00"), 0..5);
    night.until(at("22:10") + secs(5));
    assert!(!raised(&night, Rule::TourPartial));
    night.until(at("22:10") + secs(5) + MS);
    assert_eq!(night.the_alert(Rule::TourPartial).detected_at, at("22:10").just_after());
}

#[test]
fn enough_is_the_share_exactly() {
    // Of five checkpoints, four are 80 %.
    for (percent, scanned, status) in [
        (80, 4, Completed),
        (80, 3, Incomplete),
        (81, 4, Incomplete),
        (79, 4, Completed),
        (1, 1, Completed),
        (100, 5, Completed),
        (80, 0, Missed),
    ] {
        let mut night = Night::on_plant_7(|s| {
            let mut five = tour("a", &["21:00"], mins(40));
            five.checkpoints.truncate(5);
            s.tours = vec![five];
            with_policy(s, |p| {
                (p.tours.require_all_checkpoints, p.tours.min_checkpoint_percentage) = (false, percent);
            });
        });
        night.check_in(at("20:00"), "G-7");
        scans(&mut night, at("21:00"), 0..scanned);
        night.until(at("22:09"));
        let early: Vec<RunStatus> = night.runs().iter().map(|r| r.status).collect();
        assert_eq!(early, if scanned == 5 { vec![Completed] } else { vec![] }, "only 100 % ends it at once");
        night.until(at("22:11"));
        assert_eq!(night.the_run().status, status, "{scanned} of 5 with {percent} %");
    }
}

#[test]
fn minutes_overdue_are_rounded_up() {
    for (late, overdue_by) in [(0, 0), (1, 1), (59_999, 1), (60_000, 1), (60_001, 2), (2_400_000, 40)] {
        let mut night = watched_night(of_guard_7);
        let begun = at("21:30") + Span::from_millis(late);
        night.scan(begun, "G-7", "cp-0");
        night.until(at("22:11"));
        assert_eq!(night.the_run().overdue_by, overdue_by, "{late} ms");
    }
}

/// Three runs over the same checkpoints, one of them G-8's. A scan at 21:29 can belong to any of G-7's two.
#[test]
fn a_scan_goes_to_the_run_in_progress_then_to_one_that_may_start_then_to_a_late_one() {
    type Before = &'static [(&'static str, &'static str, &'static str)];
    let table: [(&str, Before, &str, &str, Option<&str>); 7] = [
        ("the earliest that may start", &[], "21:29", "G-7", Some("a")),
        ("one that may start before a late one", &[], "21:31", "G-7", Some("b")),
        ("a late one if nothing else", &[], "22:01", "G-7", Some("a")),
        ("the one in progress", &[("21:50", "G-7", "cp-9")], "21:51", "G-7", Some("b")),
        ("though another is late", &[("21:31", "G-7", "cp-1")], "22:05", "G-7", Some("b")),
        ("the other guard's own", &[("21:20", "G-7", "cp-1")], "21:29", "G-8", Some("c")),
        ("nobody's if it is over", &[], "22:41", "G-7", None),
    ];
    for (what, before, scanned_at, who, whose) in table {
        let mut night = Night::on_plant_7(|s| {
            let mut extra = s.checkpoints[0].clone();
            (extra.id, extra.tag) = (id("cp-9"), vigil_core::id::Tag::new("04AA0009").ok());
            s.checkpoints.push(extra);
            let of = |name: &str, start, guard: &str| {
                let mut t = tour(name, &[start], mins(40));
                t.guard = Some(id(guard));
                t
            };
            let (a, mut b, c) = (of("a", "21:00", "G-7"), of("b", "21:30", "G-7"), of("c", "21:00", "G-8"));
            b.checkpoints.push(id("cp-9"));
            s.tours = vec![c, b, a];
        });
        for (at_clock, guard, place) in before {
            night.scan(at(at_clock), guard, place);
        }
        night.scan(at(scanned_at), who, "cp-0");
        night.until(at("23:30"));
        let has =
            |r: &&vigil_core::rules::compliance::RunRecord| r.scanned_at.get("cp-0") == Some(&at(scanned_at));
        let found: Vec<&str> = night.runs().iter().filter(has).map(|r| r.tour.as_str()).collect();
        assert_eq!(found, whose.into_iter().collect::<Vec<_>>(), "{what}");
    }
}

#[test]
fn a_checkpoint_that_one_run_has_goes_to_the_next() {
    let mut night = Night::on_plant_7(|s| s.tours = vec![tour("a", &["21:00", "21:10"], mins(40))]);
    night.check_in(at("20:00"), "G-7");
    night.scan(at("21:01"), "G-7", "cp-0");
    night.scan(at("21:02"), "G-7", "cp-0");
    night.scan(at("21:03"), "G-7", "cp-0");
    night.until(at("22:30"));
    let firsts: Vec<_> = night.runs().iter().map(|r| r.scanned_at.get("cp-0").copied()).collect();
    assert_eq!(firsts, [Some(at("21:01")), Some(at("21:02"))]);
}

#[test]
fn what_is_told_twice_counts_once() {
    let mut night = watched_night(of_guard_7);
    night.scan(at("21:05"), "G-7", "cp-0");
    night.scan(at("21:06"), "G-7", "cp-0");
    // The same event again, and the same instant by the fixed reader at the gate.
    let event = |received_at| {
        Observation::new(id("hs-7"), at("21:07"), received_at, Some("e-1"), Night::tag_of("cp-1"))
    };
    assert_eq!(night.take_in(event(at("21:08"))), Outcome::Applied);
    assert_eq!(night.take_in(event(at("21:09"))), Outcome::Duplicate);
    let badge = Scan { tag: vigil_core::id::Tag::new("AA0000F7").unwrap(), guard: None, sun: None };
    night.observe_late(at("21:05"), at("21:09"), "reader-gate", Kind::Scan(badge));
    night.until(at("22:11"));
    let run = night.the_run();
    assert_eq!((run.revision, run.coverage), (1, 33));
    assert_eq!((run.started_at, run.last_scan_at), (Some(at("21:05")), Some(at("21:07"))));
}

#[test]
fn a_late_scan_before_the_first_moves_the_beginning() {
    let mut night = watched_night(of_guard_7);
    night.scan(at("21:35"), "G-7", "cp-0");
    night.until(at("21:40"));
    assert_eq!(night.the_alert(Rule::TourMissed).cleared_at, Some(at("21:35")));
    night.scan_late(at("21:33"), at("21:41"), "G-7", "cp-1");
    assert_eq!(night.the_alert(Rule::TourMissed).cleared_at, Some(at("21:33")));
    night.scan_late(at("21:30"), at("21:42"), "G-7", "cp-2");
    assert_eq!(night.the_alert(Rule::TourMissed).status, Status::FalsePositive);
    night.until(at("22:11"));
    assert_eq!(night.the_run().overdue_by, 0);
}

#[test]
fn how_bad_it_is() {
    let of_type = |kind| move |t: &mut Tour| t.kind = kind;
    for (kind, severity) in [
        (TourType::Routine, Severity::Medium),
        (TourType::Perimeter, Severity::Medium),
        (TourType::Building, Severity::Medium),
        (TourType::Critical, Severity::High),
    ] {
        let mut night = watched_night(of_type(kind));
        night.scan(at("21:05"), "G-7", "cp-0");
        night.until(at("22:11"));
        assert_eq!(night.the_alert(Rule::TourPartial).severity, severity, "{kind:?}");
        let mut missed = watched_night(of_type(kind));
        missed.until(at("22:11"));
        assert_eq!(missed.the_alert(Rule::TourMissed).severity, Severity::High, "{kind:?}");
    }
    let mut graver = Night::on_plant_7(|s| {
        s.tours = vec![tour("a", &["21:00"], mins(40))];
        with_policy(s, |p| p.tours = Tours { tour_missed_severity: Severity::Critical, ..Tours::default() });
    });
    graver.until(at("21:31"));
    assert_eq!(graver.the_alert(Rule::TourMissed).severity, Severity::Critical);
}

#[test]
fn a_run_goes_through_its_states() {
    let state = |night: &Night, now: Timestamp| {
        let view = night.engine.view(now);
        view.runs.first().map(|r| (r.status, r.compliance.map(|c| c.name())))
    };
    let mut missed = night_with(of_guard_7);
    for (now, status, compliance) in [
        ("20:46", RunStatus::Scheduled, None),
        ("21:30", RunStatus::Scheduled, None),
        ("21:30:06", RunStatus::Overdue, None),
        ("22:10:04", RunStatus::Overdue, None),
        ("22:10:06", Missed, Some("GUARD_ABSENT")),
    ] {
        missed.until(at(now));
        assert_eq!(state(&missed, at(now)), Some((status, compliance)), "{now}");
    }
    let mut walked = watched_night(of_guard_7);
    scans(&mut walked, at("21:31"), 0..5);
    walked.until(at("21:36"));
    assert_eq!(state(&walked, at("21:36")), Some((RunStatus::InProgress, None)));
    walked.scan(at("21:37"), "G-7", "cp-5");
    assert_eq!(state(&walked, at("21:38")), Some((Completed, Some("SLA_BREACH"))));
}

#[test]
fn nothing_is_raised_for_a_tour_that_left_the_site_file_and_its_run_is_logged() {
    let mut night = watched_night(of_guard_7);
    night.scan(at("21:05"), "G-7", "cp-0");
    night.reload(vigil_tests::night::plant_7(), at("21:06"));
    night.until(at("22:30"));
    assert!(!raised(&night, Rule::TourPartial));
    let run = night.the_run();
    assert_eq!((run.status, run.mandatory, run.name.as_str()), (Incomplete, false, "a"));
}
