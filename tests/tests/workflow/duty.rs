//! The edges of duty: breaks, absence, and who is told when nobody answers.

use vigil_core::alert::{Rule, Status};
use vigil_core::observation::{AttendanceAction, Priority, TaskState};
use vigil_core::policy::DutyMode;
use vigil_core::site::{Shift, ShiftHours, SiteParts};
use vigil_core::time::{Days, LocalTime, Span};
use vigil_tests::night::{Night, at, guard, id, mins, secs, tour, with_policy};

const MS: Span = Span::from_millis(1);

fn with_shift(
    breaks: &'static [(&'static str, &'static str)],
    mode: DutyMode,
) -> impl FnOnce(&mut SiteParts) {
    move |site| {
        let clock = |text: &str| LocalTime::parse(text).expect("a time of day");
        let hours = ShiftHours::Weekly { days: Days::ALL, from: LocalTime::hour(21), to: LocalTime::hour(5) };
        let breaks = breaks.iter().map(|(from, to)| (clock(from), clock(to))).collect();
        site.shifts = vec![Shift { id: id("night"), guard: guard("G-7"), hours, breaks }];
        with_policy(site, |p| p.attendance.mode = mode);
    }
}

#[test]
fn a_break_may_last_as_long_as_a_break_may() {
    // How much longer than 45 minutes it is; whether that is an overrun.
    for (longer, overrun) in
        [(Span::from_millis(-1), false), (Span::ZERO, false), (MS, true), (secs(3), true), (mins(5), true)]
    {
        let mut night = Night::on_plant_7(|_| {});
        night.check_in(at("20:00"), "G-7");
        night.attendance(at("21:00"), "G-7", AttendanceAction::BreakStart);
        let ended_at = at("21:45") + longer;
        night.observe(ended_at, "hs-7", Night::attends("G-7", AttendanceAction::BreakEnd));
        night.heartbeat(at("21:50"), "G-7", 1, 0);
        night.until(at("21:55"));
        let found = night.alerts_of(Rule::BreakOverrun);
        assert_eq!(found.len(), usize::from(overrun), "{longer}");
        let expected = (at("21:45") + MS, Some(ended_at), Status::Resolved);
        assert!(
            found.iter().all(|a| (a.detected_at, a.cleared_at, a.status) == expected),
            "{longer}: {found:?}"
        );
    }
}

#[test]
fn a_break_that_was_rostered_for_longer_is_no_overrun() {
    // When the break was declared; until when it may last.
    let table =
        [("00:00", "01:00"), ("23:40", "01:00"), ("23:15", "01:00"), ("23:14", "23:59"), ("00:50", "01:35")];
    for (from, until) in table {
        let mut night = Night::on_plant_7(with_shift(&[("00:00", "01:00")], DutyMode::CheckIn));
        night.check_in(at("21:00"), "G-7");
        night.attendance(at(from), "G-7", AttendanceAction::BreakStart);
        night.until(at(until) + secs(5));
        assert!(night.alerts_of(Rule::BreakOverrun).is_empty(), "{from}");
        night.until(at(until) + secs(5) + MS);
        assert_eq!(night.the_alert(Rule::BreakOverrun).detected_at, at(until) + MS, "{from}");
    }
}

#[test]
fn a_rostered_break_needs_no_word() {
    let mut night = Night::on_plant_7(with_shift(&[("00:00", "02:00")], DutyMode::CheckIn));
    night.check_in(at("21:00"), "G-7");
    night.walks(at("21:01"), at("00:00"), "G-7");
    night.lies_still(at("00:00"), at("02:00"), "G-7");
    night.walks(at("02:00"), at("02:30"), "G-7");
    night.until(at("02:30"));
    assert!(night.alerts().is_empty(), "{:?}", night.alerts());
}

#[test]
fn with_the_roster_as_duty_a_break_is_declared_without_a_check_in() {
    let mut night = Night::on_plant_7(with_shift(&[], DutyMode::Roster));
    night.walks(at("21:00"), at("23:00"), "G-7");
    night.attendance(at("23:00"), "G-7", AttendanceAction::BreakStart);
    night.lies_still(at("23:01"), at("23:45"), "G-7");
    assert!(night.alerts().is_empty());
    night.lies_still(at("23:45"), at("23:50"), "G-7");
    assert_eq!(night.the_alert(Rule::BreakOverrun).detected_at, at("23:45") + MS);
    night.attendance(at("23:50"), "G-7", AttendanceAction::BreakEnd);
    assert_eq!(night.the_alert(Rule::BreakOverrun).status, Status::Resolved);
}

#[test]
fn with_the_roster_as_duty_the_end_of_the_shift_ends_the_break() {
    let mut night = Night::on_plant_7(with_shift(&[], DutyMode::Roster));
    night.attendance(at("04:15"), "G-7", AttendanceAction::BreakStart);
    night.until(at("05:30"));
    assert!(night.alerts_of(Rule::BreakOverrun).is_empty());
}

#[test]
fn a_check_in_at_the_end_of_the_grace_is_in_time() {
    // How long after the end of the grace the guard comes, and whether he was absent by then.
    for (late, absent) in
        [(Span::from_millis(-1), false), (Span::ZERO, false), (MS, true), (secs(3), true), (mins(1), true)]
    {
        let mut night = Night::on_plant_7(with_shift(&[], DutyMode::CheckIn));
        let came_at = at("21:15") + late;
        night.check_in(came_at, "G-7");
        night.until(at("21:20"));
        let found = night.alerts_of(Rule::GuardAbsent);
        assert_eq!(found.len(), usize::from(absent), "{late}");
        let expected = (at("21:15") + MS, Some(came_at), Status::Resolved);
        assert!(
            found.iter().all(|a| (a.detected_at, a.cleared_at, a.status) == expected),
            "{late}: {found:?}"
        );
    }
}

/// The alert that must be answered, and when it is passed up if nobody does.
#[test]
fn an_alert_that_must_be_answered_is_passed_up_after_fifteen_minutes() {
    let mut night = Night::on_plant_7(|_| {});
    night.create_task(at("20:00"), "G-7", "T-1", Priority::Critical);
    let due = at("20:15") + MS + mins(15);
    night.until(due + secs(5) - MS);
    assert!(!night.the_alert(Rule::TaskOverdue).escalated);
    night.until(due + secs(5));
    let alert = night.the_alert(Rule::TaskOverdue);
    assert!(alert.escalated && alert.updated_at == due, "{alert:?}");
}

#[test]
fn only_what_must_be_answered_is_passed_up() {
    type Change = fn(&mut SiteParts);
    let table: [(&str, Change, bool); 5] = [
        ("a mandatory run", |s| s.tours = vec![tour("a", &["20:00"], mins(40))], true),
        (
            "escalation is off",
            |s| {
                s.tours = vec![tour("a", &["20:00"], mins(40))];
                with_policy(s, |p| p.tasks.auto_escalate = false);
            },
            false,
        ),
        (
            "after another delay",
            |s| {
                s.tours = vec![tour("a", &["20:00"], mins(40))];
                with_policy(s, |p| p.tasks.escalation_delay = mins(91));
            },
            false,
        ),
        ("a silent handset", |_| {}, false),
        ("an absent guard", |s| with_shift(&[], DutyMode::CheckIn)(s), false),
    ];
    for (what, change, passed_up) in table {
        let mut night = Night::on_plant_7(change);
        night.check_in(at("20:00"), "G-8");
        night.until(at("22:00"));
        assert!(!night.alerts().is_empty(), "{what}");
        assert_eq!(night.alerts().iter().any(|a| a.escalated), passed_up, "{what}");
    }
}

#[test]
fn what_is_over_in_time_is_not_passed_up() {
    for (done_at, passed_up) in [(at("20:30"), false), (at("20:30") + MS, false), (at("20:31"), true)] {
        let mut night = Night::on_plant_7(|_| {});
        night.create_task(at("20:00"), "G-7", "T-1", Priority::Critical);
        night.task(done_at, "G-7", "T-1", TaskState::Completed);
        night.until(at("21:00"));
        assert_eq!(night.the_alert(Rule::TaskOverdue).escalated, passed_up, "{done_at}");
    }
}

#[test]
fn a_break_that_ran_out_in_a_power_cut_is_judged_even_if_the_agent_dies_twice() {
    let mut night = Night::on_plant_7(|_| {});
    night.check_in(at("20:00"), "G-7");
    night.attendance(at("21:00"), "G-7", AttendanceAction::BreakStart);
    night.until(at("21:44"));
    night.power_cut(at("21:44:59"), at("21:45:10"));
    night.power_cut(at("21:45:11"), at("21:45:12"));
    night.heartbeat(at("21:46"), "G-7", 1, 0);
    night.until(at("21:50"));
    assert_eq!(night.the_alert(Rule::BreakOverrun).detected_at, at("21:45") + MS);
}
