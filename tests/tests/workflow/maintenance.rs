//! `policy.maintenance`: what it mutes is counted, kept back, and told when the interval is over and it still stands.

use vigil_core::alert::{Rule, Severity, Status};
use vigil_core::observation::{AttendanceAction, Priority, TaskState};
use vigil_core::policy::{Maintenance, Policy, PolicyParts};
use vigil_core::site::{Shift, ShiftHours, SiteParts};
use vigil_core::time::{Days, LocalTime, Timestamp};
use vigil_tests::night::{Night, at, id, mins, plant_7, secs, tour, with_policy};

/// Mutes rules from one time of day to another; all rules if none is named.
fn mute(parts: &mut SiteParts, from: &str, to: &str, rules: &[Rule]) {
    let interval = Maintenance { starts_at: at(from), ends_at: at(to), rules: rules.to_vec() };
    with_policy(parts, |p| p.maintenance.push(interval.clone()));
}

/// A handset that is heard at 20:30 for the last time, on a plant where `device_silent` is mute from 20:40 to 22:00.
fn dies_under_maintenance() -> Night {
    let mut night = Night::on_plant_7(|s| mute(s, "20:40", "22:00", &[Rule::DeviceSilent]));
    night.check_in(at("20:00"), "G-7");
    night.heartbeat(at("20:15"), "G-7", 1, 0);
    night.heartbeat(at("20:30"), "G-7", 1, 0);
    night
}

#[test]
fn what_dies_under_maintenance_is_told_when_it_is_over() {
    let mut night = dies_under_maintenance();
    night.until(at("22:00") + secs(4));
    assert!(night.alerts().is_empty());
    assert_eq!(night.engine.book().muted().get(&Rule::DeviceSilent), Some(&1));
    night.until(at("22:00") + secs(5));
    let alert = night.the_alert(Rule::DeviceSilent);
    assert_eq!((alert.detected_at, alert.revision), (at("22:00"), 1));
    night.heartbeat(at("22:30"), "G-7", 1, 0);
    let alert = night.the_alert(Rule::DeviceSilent);
    assert_eq!((alert.status, alert.cleared_at), (Status::Resolved, Some(at("22:30") + secs(1))));
}

#[test]
fn what_is_mended_under_maintenance_is_never_told() {
    let mut night = dies_under_maintenance();
    night.heartbeat(at("21:59"), "G-7", 1, 0);
    night.until(at("22:10"));
    assert!(night.alerts().is_empty());
    assert!(night.engine.view(at("22:10")).alerts.is_empty());
}

#[test]
fn a_restart_under_maintenance_keeps_it_back_and_tells_it() {
    let mut night = dies_under_maintenance();
    night.until(at("21:00"));
    night.dies_and_lives_again();
    night.until(at("21:30"));
    assert!(night.alerts().is_empty());
    night.until(at("22:01"));
    assert_eq!(night.the_alert(Rule::DeviceSilent).detected_at, at("22:00"));
}

#[test]
fn intervals_that_touch_are_one() {
    let mut night = Night::on_plant_7(|s| {
        mute(s, "20:40", "21:00", &[]);
        mute(s, "21:00", "21:30", &[Rule::DeviceSilent]);
    });
    night.check_in(at("20:00"), "G-7");
    night.heartbeat(at("20:15"), "G-7", 1, 0);
    night.heartbeat(at("20:30"), "G-7", 1, 0);
    night.until(at("21:29"));
    assert!(night.alerts().is_empty());
    night.until(at("21:31"));
    assert_eq!(night.the_alert(Rule::DeviceSilent).detected_at, at("21:30"));
}

#[test]
fn a_site_file_that_ends_the_maintenance_tells_at_once_what_stands() {
    let mut night = dies_under_maintenance();
    night.until(at("21:00"));
    night.reload(plant_7(), at("21:10"));
    assert_eq!(night.the_alert(Rule::DeviceSilent).detected_at, at("21:10"));
}

#[test]
fn a_task_that_went_overdue_meanwhile_is_told_with_what_it_is_worth_by_then() {
    let mut night = Night::on_plant_7(|s| mute(s, "20:00", "22:00", &[Rule::TaskOverdue]));
    night.check_in(at("20:00"), "G-7");
    night.create_task(at("20:01"), "G-7", "T-1", Priority::Critical);
    night.create_task(at("20:01"), "G-7", "T-2", Priority::Critical);
    night.task(at("21:30"), "G-7", "T-2", TaskState::Completed);
    night.until(at("22:01"));
    let alert = night.the_alert(Rule::TaskOverdue);
    assert_eq!((alert.detected_at, alert.severity), (at("22:00"), Severity::Critical));
    assert!(!alert.escalated, "nobody could have answered it");
    night.until(at("22:16"));
    assert!(night.the_alert(Rule::TaskOverdue).escalated, "a quarter of an hour after it was told");
    night.task(at("22:20"), "G-7", "T-1", TaskState::Completed);
    assert_eq!(night.the_alert(Rule::TaskOverdue).status, Status::Resolved);
}

#[test]
fn a_break_that_goes_on_is_told_and_one_that_ended_is_not() {
    for (ended, alerts) in [(Some("21:50"), 0), (None, 1)] {
        let mut night = Night::on_plant_7(|s| mute(s, "21:00", "22:00", &[Rule::BreakOverrun]));
        night.check_in(at("20:00"), "G-7");
        night.attendance(at("20:30"), "G-7", AttendanceAction::BreakStart);
        if let Some(ended) = ended {
            night.attendance(at(ended), "G-7", AttendanceAction::BreakEnd);
        }
        night.until(at("22:01"));
        assert_eq!(night.alerts_of(Rule::BreakOverrun).len(), alerts, "ended {ended:?}");
    }
}

#[test]
fn nobody_is_absent_from_a_shift_that_is_over() {
    for (to, alerts) in [("21:00", 0), ("23:00", 1)] {
        let mut night = Night::on_plant_7(|s| {
            let hours = ShiftHours::Weekly {
                days: Days::ALL,
                from: LocalTime::parse("20:00").unwrap(),
                to: LocalTime::parse(to).unwrap(),
            };
            s.shifts = vec![Shift { id: id("s-1"), guard: id("G-8"), hours, breaks: vec![] }];
            mute(s, "20:10", "22:00", &[Rule::GuardAbsent]);
        });
        night.until(at("22:01"));
        assert_eq!(night.alerts_of(Rule::GuardAbsent).len(), alerts, "a shift until {to}");
    }
}

#[test]
fn a_tour_that_is_over_is_not_told_and_one_that_can_still_be_walked_is() {
    let missed = |mute_until: &str| {
        let mut night = Night::on_plant_7(|s| {
            s.tours = vec![tour("a", &["21:00"], mins(40))];
            mute(s, "21:20", mute_until, &[]);
        });
        night.check_in(at("20:00"), "G-7");
        for n in 0..9 {
            night.heartbeat(at("20:30") + mins(14 * n), "G-7", 1, 0);
        }
        night.until(at("22:30"));
        night.alerts_of(Rule::TourMissed).iter().map(|a| a.detected_at).collect::<Vec<Timestamp>>()
    };
    assert_eq!(missed("22:00"), [at("22:00")], "it may be walked until 22:10");
    assert_eq!(missed("22:10"), []);
}

#[test]
fn a_sleeper_is_found_in_the_first_cycle_after_it() {
    let mut night = Night::on_plant_7(|s| mute(s, "20:00", "00:32", &[Rule::Inactivity]));
    night.check_in(at("20:00"), "G-7");
    night.lies_still(at("20:01"), at("01:00"), "G-7");
    night.until(at("01:00"));
    assert_eq!(night.the_alert(Rule::Inactivity).detected_at, at("00:35"));
    let muted = night.engine.book().muted().get(&Rule::Inactivity);
    assert_eq!(muted, Some(&1), "one sleeper, however often it was looked");
}

#[test]
fn what_was_kept_back_by_a_clock_that_stood_in_the_future_is_told_now() {
    let mut night = dies_under_maintenance();
    night.until(at("21:00"));
    assert!(night.alerts().is_empty());
    night.engine.set_back(at("20:00"));
    night.until(at("20:01"));
    assert_eq!(night.the_alert(Rule::DeviceSilent).detected_at, at("20:00"));
}

#[test]
fn a_storm_cannot_be_muted_without_its_members() {
    let interval = |rule| Maintenance { starts_at: at("20:00"), ends_at: at("21:00"), rules: vec![rule] };
    let with = |rule| {
        let parts = PolicyParts { maintenance: vec![interval(rule)], ..PolicyParts::default() };
        Policy::new(parts).map(drop).map_err(|problems| problems[0].allowed.clone())
    };
    assert_eq!(with(Rule::DeviceSilent), Ok(()));
    assert!(with(Rule::Storm).unwrap_err().contains("mute where they are"));
}

#[test]
fn a_call_for_help_is_told_under_any_maintenance() {
    let mut night = Night::on_plant_7(|s| mute(s, "20:00", "22:00", &[]));
    night.observe(at("20:30"), "hs-7", vigil_core::observation::Kind::Sos(None));
    assert_eq!(night.the_alert(Rule::Sos).severity, Severity::Critical);
}
