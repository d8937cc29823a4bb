//! What a closed run amounts to, and what corrects it.

use crate::{night_with, of_guard_7, scans, watched_night};
use vigil_core::observation::{Attendance, AttendanceAction, Kind};
use vigil_core::rules::compliance::Compliance::{
    self, Compliant, GuardAbsent, NotStarted, PartialCompletion, SlaBreach,
};
use vigil_core::rules::tours::RunStatus;
use vigil_core::time::Timestamp;
use vigil_tests::night::{Night, at, guard, mins, secs, with_policy};

fn attend_late(night: &mut Night, at: Timestamp, received_at: Timestamp, action: AttendanceAction) {
    let attendance = Attendance { action, guard: guard("G-7"), biometric_permille: None };
    night.observe_late(at, received_at, "hs-7", Kind::Attendance(attendance));
}

#[test]
fn it_is_the_first_class_that_fits() {
    type Scene = fn(&mut Night);
    let just_late: Scene = |n| {
        n.scan(at("21:30").just_after(), "G-7", "cp-0");
        scans(n, at("21:31"), 1..6);
    };
    let table: [(&str, Scene, RunStatus, Compliance, i64); 8] = [
        ("walked", |n| scans(n, at("21:00"), 0..6), RunStatus::Completed, Compliant, 0),
        ("begun early", |n| scans(n, at("20:45"), 0..6), RunStatus::Completed, Compliant, 0),
        ("begun at start_by", |n| scans(n, at("21:30"), 0..6), RunStatus::Completed, Compliant, 0),
        ("begun 1 ms later", just_late, RunStatus::Completed, SlaBreach, 1),
        ("a minute late", |n| scans(n, at("21:31"), 0..6), RunStatus::Completed, SlaBreach, 1),
        ("some", |n| scans(n, at("21:00"), 0..5), RunStatus::Incomplete, PartialCompletion, 0),
        ("some, late", |n| scans(n, at("21:32"), 0..5), RunStatus::Incomplete, PartialCompletion, 2),
        ("none", |_| {}, RunStatus::Missed, NotStarted, 0),
    ];
    for (scene, tell, status, compliance, overdue_by) in table {
        let mut night = watched_night(of_guard_7);
        tell(&mut night);
        night.until(at("22:11"));
        let run = night.the_run();
        assert_eq!((run.status, run.compliance, run.overdue_by), (status, compliance, overdue_by), "{scene}");
    }
}

#[test]
fn a_guard_is_absent_who_was_there_at_no_instant_of_it() {
    let (start, end) = (at("21:00"), at("22:10"));
    let table = [
        (at("20:00"), start, GuardAbsent),
        (at("20:00"), start.just_after(), NotStarted),
        (end, at("23:00"), NotStarted),
        (end.just_after(), at("23:00"), GuardAbsent),
    ];
    for (came, left, compliance) in table {
        let mut night = night_with(of_guard_7);
        night.check_in(at("20:00"), "G-8");
        night.check_in(came, "G-7");
        night.check_out(left, "G-7");
        night.until(at("23:00"));
        assert_eq!(night.the_run().compliance, compliance, "from {came} to {left}");
    }
}

#[test]
fn a_run_of_nobody_lacks_its_guard_only_if_nobody_was_there() {
    for (who, compliance) in [(None, GuardAbsent), (Some("G-8"), NotStarted)] {
        let mut night = night_with(|_| {});
        who.into_iter().for_each(|who| night.check_in(at("20:00"), who));
        night.until(at("22:11"));
        assert_eq!(night.the_run().compliance, compliance, "{who:?}");
    }
}

#[test]
fn who_walks_before_the_schedule_and_goes_home_was_there() {
    let mut night = watched_night(of_guard_7);
    scans(&mut night, at("20:46"), 0..6);
    night.check_out(at("20:55"), "G-7");
    night.until(at("23:00"));
    assert_eq!(night.the_run().compliance, Compliant);
}

#[test]
fn a_run_is_logged_when_it_is_whole_and_once() {
    let mut night = watched_night(of_guard_7);
    scans(&mut night, at("21:00"), 0..6);
    night.until(at("21:05") + secs(5));
    assert!(night.runs().is_empty(), "what is on its way has time to arrive");
    night.until(at("21:05") + secs(6));
    let run = night.the_run().clone();
    assert_eq!((run.name.as_str(), run.mandatory, run.observed), ("Tour a", true, true));
    assert_eq!((run.started_at, run.last_scan_at), (Some(at("21:00")), Some(at("21:05"))));
    assert_eq!((run.start_by, run.close_by), (at("21:30"), at("22:10")));
    assert_eq!((run.walked_by.as_slice(), run.missing.as_slice()), (&[guard("G-7")][..], &[][..]));
    night.until(at("23:00"));
    assert_eq!(*night.the_run(), run, "its end says nothing new");
}

#[test]
fn the_log_keeps_every_run_and_only_mandatory_ones_raise() {
    for (mandatory, enforced) in [(false, true), (true, false)] {
        let mut night = Night::on_plant_7(|s| {
            let tour = vigil_tests::night::tour("a", &["21:00"], mins(40));
            s.tours = vec![vigil_core::site::Tour { mandatory, ..tour }];
            with_policy(s, |p| p.tours.mandatory_enforcement = enforced);
        });
        night.check_in(at("20:00"), "G-7");
        night.walks(at("20:01"), at("22:20"), "G-7");
        assert!(night.alerts().is_empty(), "{:?}", night.alerts());
        assert_eq!((night.the_run().compliance, night.the_run().mandatory), (NotStarted, mandatory));
    }
}

#[test]
fn a_backlog_corrects_the_entry_once() {
    let mut night = watched_night(of_guard_7);
    night.until(at("22:30"));
    assert_eq!(night.the_run().compliance, NotStarted);
    for n in (0..6).rev() {
        night.scan_late(at("21:10") + mins(n), at("22:31"), "G-7", &format!("cp-{n}"));
    }
    night.until(at("22:31") + secs(4));
    assert_eq!(night.the_run().revision, 1, "the rest may be on its way");
    night.until(at("22:31") + secs(5));
    let run = night.the_run();
    assert_eq!((run.revision, run.compliance, run.status), (2, Compliant, RunStatus::Completed));
    let walked: Vec<&str> = run.scanned.iter().map(|c| c.as_str()).collect();
    assert_eq!(walked, ["cp-0", "cp-1", "cp-2", "cp-3", "cp-4", "cp-5"]);
}

#[test]
fn a_backlog_that_comes_in_pieces_corrects_it_once_the_last_has_settled() {
    let mut night = watched_night(of_guard_7);
    night.until(at("22:30"));
    for n in 0..4 {
        night.scan_late(at("21:10") + mins(n), at("22:31") + secs(3 * n), "G-7", &format!("cp-{n}"));
    }
    night.until(at("22:31") + secs(13));
    assert_eq!(night.the_run().revision, 1);
    night.until(at("22:31") + secs(14));
    assert_eq!((night.the_run().revision, night.the_run().coverage), (2, 66));
}

#[test]
fn attendance_that_was_held_back_corrects_the_entry() {
    let mut night = night_with(of_guard_7);
    night.until(at("22:30"));
    assert_eq!(night.the_run().compliance, GuardAbsent);
    attend_late(&mut night, at("20:50"), at("22:31"), AttendanceAction::CheckIn);
    night.until(at("22:32"));
    assert_eq!((night.the_run().revision, night.the_run().compliance), (2, NotStarted));
    attend_late(&mut night, at("20:59"), at("22:33"), AttendanceAction::CheckOut);
    night.until(at("22:34"));
    assert_eq!((night.the_run().revision, night.the_run().compliance), (3, GuardAbsent));
    attend_late(&mut night, at("20:10"), at("22:35"), AttendanceAction::BreakStart);
    night.until(at("22:36"));
    assert_eq!(night.the_run().revision, 3, "it says the same");
}

#[test]
fn a_late_scan_is_taken_after_72_hours_exactly_and_not_later() {
    for (more, revision) in [(secs(0), 2), (vigil_core::time::Span::from_millis(1), 1)] {
        let mut night = watched_night(of_guard_7);
        let received_at = at("21:20") + vigil_core::time::Span::from_hours(72) + more;
        night.until(at("22:30"));
        let first: Vec<_> = night.runs().to_vec();
        night.scan_late(at("21:20"), received_at, "G-7", "cp-0");
        night.until(received_at + secs(5));
        let mut of_that_day = night.runs().iter().filter(|r| r.scheduled_at == first[0].scheduled_at);
        let last = of_that_day.next_back().unwrap();
        assert_eq!(last.revision, revision);
        assert_eq!(last.compliance, if revision == 2 { PartialCompletion } else { NotStarted });
    }
}

#[test]
fn what_cannot_be_known_is_marked_and_a_backlog_of_heartbeats_settles_it() {
    let mut night = watched_night(of_guard_7);
    night.until(at("22:20"));
    assert!(!night.the_run().observed, "the handset said nothing");
    for n in 0..90 {
        let heartbeat = Kind::Heartbeat(Default::default());
        night.observe_late(at("20:45") + mins(n), at("22:20"), "hs-7", heartbeat);
    }
    night.until(at("22:54"));
    assert_eq!(night.the_run().revision, 1);
    night.until(at("23:56"));
    let run = night.the_run();
    assert_eq!((run.revision, run.observed, run.compliance), (2, true, NotStarted));
    // What the handset did then is forgotten by and by; what was known of the run is not.
    night.scan_late(at("21:40"), at("05:00"), "G-7", "cp-0");
    night.until(at("05:01"));
    let run = night.the_run();
    assert_eq!((run.revision, run.observed, run.compliance), (3, true, PartialCompletion));
}

#[test]
fn the_share_that_the_agent_did_not_see_is_told() {
    let mut night = watched_night(of_guard_7);
    night.power_cut(at("21:00"), at("21:17"));
    night.until(at("22:20"));
    // 17 of the 85 minutes from 20:45 to 22:10.
    assert_eq!(night.the_run().blind_permille, 200);
    let mut begun_late = Night::on(night.engine.site().as_ref().clone(), at("21:10"));
    begun_late.until(at("22:20"));
    assert_eq!(begun_late.the_run().blind_permille, 294, "25 of 85 minutes");
}

#[test]
fn a_power_cut_between_the_last_scan_and_its_entry_loses_nothing() {
    let mut night = watched_night(of_guard_7);
    scans(&mut night, at("21:00"), 0..6);
    night.power_cut(at("21:05:02"), at("21:05:03"));
    night.until(at("21:05:20"));
    assert_eq!(night.the_run().compliance, Compliant);
}

#[test]
fn a_long_run_remembers_who_was_there() {
    // The guard leaves 60 h before the run ends; attendance is forgotten sooner than runs are.
    let mut night = Night::on_plant_7(|s| {
        let mut long = vigil_tests::night::tour("a", &["21:00"], vigil_core::time::Span::from_hours(24));
        long.days = vigil_core::time::Days::NONE;
        assert!(long.days.insert("tue"));
        s.tours = vec![long];
        with_policy(s, |p| p.tours.grace = vigil_core::time::Span::from_hours(24));
    });
    night.check_in(at("21:10"), "G-7");
    night.check_out(at("21:20"), "G-7");
    let end = at("21:00") + vigil_core::time::Span::from_hours(48);
    night.until(end + secs(10));
    assert_eq!(night.the_run().compliance, NotStarted);
    let received_at = end + vigil_core::time::Span::from_hours(70);
    night.until(received_at);
    night.scan_late(end, received_at, "G-7", "cp-0");
    night.until(received_at + secs(10));
    assert_eq!(night.the_run().compliance, PartialCompletion);
}
