//! Section 12, told as nights: what a day's report counts, when it is sent, and what corrects it.

// All of it is test code: a failed unwrap is a failed test.
#![cfg(test)]

use proptest::prelude::*;
use serde_json::{Value, json};
use vigil_core::alert::{Rule, Status};
use vigil_core::observation::{AttendanceAction, Priority, TaskState};
use vigil_core::policy::{DutyMode, Maintenance};
use vigil_core::report::{DailyReport, Tally, Tasks, ranking};
use vigil_core::site::{Shift, ShiftHours};
use vigil_core::time::{Date, Days, LocalTime, Span, Timestamp};
use vigil_tests::night::{Night, at, guard, id, mins, on, secs, tour, with_policy};

/// A day of March 2026.
fn day(of_march: u32) -> Date {
    format!("2026-03-{of_march:02}").parse().unwrap()
}

/// A clock time of the 11th that `at` takes for the 10th.
fn next(clock: &str) -> Timestamp {
    at(clock) + Span::from_hours(24)
}

fn minutes(n: u64) -> u64 {
    n * 60_000
}

fn json_of(report: &DailyReport) -> Value {
    serde_json::to_value(report.edge()).unwrap()
}

/// The report of a day as it stands now.
fn standing(night: &Night, date: Date) -> DailyReport {
    night.engine.report(date, night.engine.now()).expect("an open day")
}

fn walks_tour(night: &mut Night, from: Timestamp, guard: &str, places: std::ops::Range<i64>) {
    for n in places {
        night.scan(from + mins(n), guard, &format!("cp-{n}"));
    }
}

mod when {
    use super::*;

    #[test]
    fn a_day_is_reported_when_it_is_over_and_has_settled() {
        let mut night = Night::on_plant_7(|_| {});
        night.until(at("00:00") + secs(5) - Span::from_millis(1));
        assert_eq!(night.reports(), []);
        night.until(at("00:00") + secs(5));
        let report = &night.reports()[0];
        assert_eq!((report.date, report.revision, report.complete), (day(10), 1, true));
        assert_eq!((report.from, report.to), (on("2026-03-10", "00:00"), at("00:00")));
        assert_eq!(report.made_at, at("00:00") + secs(5));
        assert_eq!(report.timezone, "Asia/Kolkata");
    }

    #[test]
    fn a_day_on_which_nothing_happened_has_a_report_of_nothing() {
        let mut night = Night::on_plant_7(|_| {});
        night.until(at("00:01"));
        assert_eq!(night.report_of(day(10)).tally, Tally::default());
        let data = json_of(night.report_of(day(10)));
        assert_eq!(data["total"]["runs"]["compliance_rate"], Value::Null);
        assert_eq!(data["total"]["tasks"]["response"]["p95"], Value::Null);
        assert_eq!(data["total"]["duty"]["observed_share"], Value::Null);
        assert_eq!(data["guards"], json!({}));
    }

    #[test]
    fn what_closes_after_midnight_makes_a_new_revision_at_the_next_hour_and_no_other() {
        let mut night = Night::on_plant_7(|s| s.tours = vec![tour("a", &["23:30"], mins(40))]);
        night.until(at("00:01"));
        assert_eq!(night.report_of(day(10)).tally.total.runs.closed, 0, "it is still open");
        // The hours of this engine are counted from 19:55; the run closes at 00:40.
        night.until(at("00:55") - Span::from_millis(1));
        assert_eq!(night.reports().len(), 1);
        night.until(at("00:55"));
        let second = night.report_of(day(10));
        assert_eq!((second.revision, second.tally.total.runs.guard_absent), (2, 1));
        night.until(at("11:59"));
        assert_eq!(night.reports().len(), 2, "nothing changed since");
    }

    #[test]
    fn a_late_scan_corrects_yesterday() {
        let mut night = Night::on_plant_7(|s| s.tours = vec![tour("a", &["21:00"], mins(40))]);
        night.check_in(at("20:00"), "G-7");
        night.until(at("00:01"));
        assert_eq!(night.report_of(day(10)).tally.total.runs.missed, 1);
        for n in 0..6 {
            let scan = Night::tag_of(&format!("cp-{n}"));
            night.observe_late(at("21:05") + mins(n), at("06:00"), "hs-7", scan);
        }
        night.until(at("06:55"));
        let corrected = night.report_of(day(10));
        assert_eq!(corrected.revision, 2);
        let runs = &corrected.tally.total.runs;
        assert_eq!((runs.closed, runs.compliant, runs.missed, runs.coverage), (1, 1, 0, 100));
        let missed = &corrected.tally.total.alerts[&Rule::TourMissed];
        assert_eq!((missed.raised, missed.false_positive, missed.escalated), (1, 1, 1));
    }

    /// A scan of 23:59 may come until 23:59 three days later, and nothing after that.
    #[test]
    fn a_day_can_change_for_72_hours_and_then_never_again() {
        let late_scan = |hours: i64| {
            let mut night = Night::on_plant_7(|s| s.tours = vec![tour("a", &["23:58"], mins(40))]);
            night.check_in(at("20:00"), "G-7");
            let scanned = at("23:59");
            night.until(scanned + Span::from_hours(hours) - mins(1));
            let before = night.report_of(day(10)).clone();
            night.observe_late(scanned, scanned + Span::from_hours(hours), "hs-7", Night::tag_of("cp-0"));
            night.until(scanned + Span::from_hours(hours + 2));
            (before.tally.total.runs.coverage, night.report_of(day(10)).tally.total.runs.coverage)
        };
        assert_eq!(late_scan(72), (0, 16));
        assert_eq!(late_scan(73), (0, 0));
    }

    #[test]
    fn after_a_long_absence_the_days_that_can_still_change_are_reported_and_no_others() {
        let mut night = Night::on_plant_7(|_| {});
        night.check_in(at("20:00"), "G-7");
        night.until(at("21:00"));
        let back = at("21:00") + Span::from_hours(30 * 24);
        night.power_cut(at("21:00"), back);
        night.until(back + mins(1));
        let dates: Vec<String> = night.reports().iter().map(|r| r.date.to_string()).collect();
        let open_before = ["2026-03-10", "2026-03-11", "2026-03-12", "2026-03-13", "2026-03-14"];
        let open_now = ["2026-04-06", "2026-04-07", "2026-04-08"];
        assert_eq!(dates, [&open_before[..], &open_now[..]].concat());
        assert_eq!(night.reports().iter().map(|r| r.revision).max(), Some(1), "each once");
        let blind = |n: usize| night.reports()[n].tally.blind.iter().collect::<Vec<_>>();
        assert_eq!(blind(0), [(at("21:00"), at("00:00"))]);
        assert_eq!(blind(1), [(at("00:00"), at("00:00") + Span::from_hours(24))]);
    }
}

mod tasks {
    use super::*;

    fn closing(state: Option<TaskState>, after: Span) -> Tasks {
        let mut night = Night::on_plant_7(|_| {});
        night.create_task(at("21:00"), "G-7", "T-1", Priority::Medium);
        if let Some(state) = state {
            night.task(at("21:00") + after, "G-7", "T-1", state);
        }
        night.until(at("00:01"));
        let report = night.report_of(day(10));
        assert_eq!(report.tally.total.tasks, report.tally.guards[&guard("G-7")].tasks);
        report.tally.total.tasks.clone()
    }

    fn counts(tasks: &Tasks) -> [u64; 4] {
        [tasks.due, tasks.completed, tasks.overdue, tasks.cancelled]
    }

    #[test]
    fn each_is_counted_as_what_became_of_it() {
        let (done, off) = (Some(TaskState::Completed), Some(TaskState::Cancelled));
        let an_hour_and_1_ms = Span::from_millis(3_600_001);
        for (state, after, expected, response) in [
            (done, mins(15), [1, 1, 0, 0], Some(250)),
            (done, mins(60), [1, 1, 0, 0], Some(1_000)),
            (done, an_hour_and_1_ms, [1, 1, 1, 0], Some(1_000)),
            (done, mins(90), [1, 1, 1, 0], Some(1_500)),
            (off, mins(60), [0, 0, 0, 1], None),
            (off, an_hour_and_1_ms, [1, 0, 1, 0], None),
            (None, mins(0), [1, 0, 1, 0], None),
        ] {
            let tasks = closing(state, after);
            assert_eq!(counts(&tasks), expected, "{state:?} after {after}");
            let sum: Option<u64> = response;
            assert_eq!(sum, (tasks.response.count > 0).then_some(tasks.response.sum_permille));
        }
    }

    #[test]
    fn it_belongs_to_the_day_on_which_it_was_done_or_else_fell_overdue() {
        let mut night = Night::on_plant_7(|_| {});
        for (n, task) in ["T-1", "T-2", "T-3", "T-4"].into_iter().enumerate() {
            night.create_task(at("23:00") + secs(i64::try_from(n).unwrap()), "G-7", task, Priority::Medium);
        }
        night.task(at("23:59:59"), "G-7", "T-1", TaskState::Completed);
        night.task(at("00:00"), "G-7", "T-2", TaskState::Completed);
        night.task(at("00:30"), "G-7", "T-3", TaskState::Completed);
        night.until(next("12:01"));
        assert_eq!(counts(&night.report_of(day(10)).tally.total.tasks), [1, 1, 0, 0], "T-1");
        assert_eq!(
            counts(&standing(&night, day(11)).tally.total.tasks),
            [3, 2, 2, 0],
            "T-2, T-3 late, T-4 not at all"
        );
    }

    #[test]
    fn a_completion_that_comes_after_a_cancellation_changes_nothing_in_either_order() {
        for swap in [false, true] {
            let mut night = Night::on_plant_7(|_| {});
            night.create_task(at("21:00"), "G-7", "T-1", Priority::Medium);
            let mut ends = [(at("21:10"), TaskState::Cancelled), (at("21:20"), TaskState::Completed)];
            if swap {
                ends.reverse();
            }
            for (when, state) in ends {
                let update = Night::task_update("G-7", "T-1", state);
                night.observe_late(when, at("21:30"), "hs-7", update);
            }
            night.until(at("00:01"));
            assert_eq!(counts(&night.report_of(day(10)).tally.total.tasks), [0, 0, 0, 1]);
        }
    }

    #[test]
    fn a_task_without_a_guard_is_that_of_whoever_did_it() {
        let mut night = Night::on_plant_7(|s| {
            s.tasks = ["T-1", "T-2"].map(|name| Night::site_task(name, at("20:30"))).to_vec();
        });
        night.task(at("20:45"), "G-8", "T-1", TaskState::Completed);
        night.until(at("00:01"));
        let tally = &night.report_of(day(10)).tally;
        assert_eq!(counts(&tally.total.tasks), [2, 1, 1, 0]);
        assert_eq!(tally.guards.keys().collect::<Vec<_>>(), [&guard("G-8")]);
        assert_eq!(counts(&tally.guards[&guard("G-8")].tasks), [1, 1, 0, 0]);
    }

    #[test]
    fn what_the_log_of_tasks_forgot_is_still_counted() {
        let mut night = Night::on_plant_7(|_| {});
        night.create_task(at("20:00"), "G-7", "T-1", Priority::Medium);
        night.task(at("20:10"), "G-7", "T-1", TaskState::Completed);
        night.until(at("20:10") + Span::from_hours(74));
        assert_eq!(counts(&standing(&night, day(10)).tally.total.tasks), [1, 1, 0, 0]);
        night.until(at("00:00") + Span::from_hours(74));
        assert_eq!(night.engine.report(day(10), night.engine.now()), None, "closed for good");
    }
}

mod runs {
    use super::*;

    #[test]
    fn a_run_belongs_to_the_day_on_which_it_was_due() {
        let mut night = Night::on_plant_7(|s| {
            s.tours = vec![tour("a", &["23:59", "00:00"], mins(40))];
            s.tours[0].guard = Some(guard("G-7"));
        });
        night.check_in(at("20:00"), "G-7");
        walks_tour(&mut night, at("00:05"), "G-7", 0..6);
        night.until(at("03:00"));
        let runs = |date| standing(&night, date).tally.guards[&guard("G-7")].runs.clone();
        assert_eq!((runs(day(10)).closed, runs(day(10)).compliant), (1, 1));
        assert_eq!((runs(day(11)).closed, runs(day(11)).missed), (1, 1));
    }

    #[test]
    fn a_run_that_names_nobody_is_that_of_the_only_guard_on_duty() {
        let night_of = |others: &[&str]| {
            let mut night = Night::on_plant_7(|s| s.tours = vec![tour("a", &["21:00"], mins(40))]);
            night.check_in(at("20:00"), "G-7");
            for other in others {
                night.check_in(at("22:09"), other);
            }
            walks_tour(&mut night, at("21:05"), "G-7", 0..6);
            night.until(at("00:01"));
            night.report_of(day(10)).tally.clone()
        };
        assert_eq!(night_of(&[]).guards[&guard("G-7")].runs.compliant, 1);
        let two = night_of(&["G-8"]);
        assert_eq!(two.total.runs.compliant, 1);
        assert_eq!(two.guards[&guard("G-7")].runs.closed, 0, "it cannot be said whose it was");
    }

    #[test]
    fn the_mean_of_the_coverage_is_that_of_all_runs() {
        let mut night =
            Night::on_plant_7(|s| s.tours = vec![tour("a", &["20:30", "21:30", "22:30"], mins(20))]);
        night.check_in(at("20:00"), "G-7");
        walks_tour(&mut night, at("20:31"), "G-7", 0..6);
        walks_tour(&mut night, at("21:31"), "G-7", 0..3);
        night.until(at("00:01"));
        let data = json_of(night.report_of(day(10)));
        let runs = &data["total"]["runs"];
        assert_eq!((&runs["coverage"], &runs["mean_coverage"]), (&json!(150), &json!(50.0)));
        assert_eq!((&runs["compliance_rate"], &runs["missed_rate"]), (&json!(0.333), &json!(0.333)));
        assert_eq!((&runs["partial_completion"], &runs["not_started"]), (&json!(1), &json!(1)));
    }
}

mod duty_and_instruments {
    use super::*;

    fn duty(night: &Night, date: Date) -> (u64, u64) {
        let duty = standing(night, date).tally.guards[&guard("G-7")].duty;
        (duty.on_duty_ms, duty.observed_ms)
    }

    #[test]
    fn time_on_duty_is_cut_at_midnight_and_a_break_is_part_of_it() {
        let mut night = Night::on_plant_7(|_| {});
        night.check_in(at("22:00"), "G-7");
        night.attendance(at("23:00"), "G-7", AttendanceAction::BreakStart);
        night.attendance(at("23:30"), "G-7", AttendanceAction::BreakEnd);
        night.check_out(at("06:00"), "G-7");
        night.until(at("06:01"));
        // Heard at 22:00, 23:00, 23:30 and 06:00: each message is good for 15 min, that instant included.
        assert_eq!(duty(&night, day(10)), (minutes(120), 3 * (minutes(15) + 1)));
        assert_eq!(duty(&night, day(11)), (minutes(360), 0));
    }

    #[test]
    fn a_backlog_makes_time_observed() {
        let mut night = Night::on_plant_7(|_| {});
        night.check_in(at("22:00"), "G-7");
        night.check_out(at("23:00"), "G-7");
        night.until(at("00:01"));
        assert_eq!(night.report_of(day(10)).tally.total.duty.observed_ms, minutes(15) + 1);
        for m in [15, 30, 45] {
            let heartbeat = vigil_core::observation::Kind::Heartbeat(Default::default());
            night.observe_late(at("22:00") + mins(m), at("05:00"), "hs-7", heartbeat);
        }
        night.until(at("06:00"));
        assert_eq!(night.report_of(day(10)).tally.total.duty.observed_ms, minutes(60));
    }

    #[test]
    fn a_check_out_that_comes_late_shortens_the_duty() {
        let mut night = Night::on_plant_7(|_| {});
        night.check_in(at("20:00"), "G-7");
        night.until(at("00:01"));
        assert_eq!(duty(&night, day(10)).0, minutes(240));
        let gone = Night::attends("G-7", AttendanceAction::CheckOut);
        night.observe_late(at("21:00"), at("21:00") + Span::from_hours(71), "hs-7", gone);
        night.until(at("21:00") + Span::from_hours(72));
        assert_eq!(night.report_of(day(10)).tally.total.duty.on_duty_ms, minutes(60));
    }

    #[test]
    fn with_the_roster_as_duty_the_shift_is_the_duty() {
        let mut night = Night::on_plant_7(|s| {
            with_policy(s, |p| p.attendance.mode = DutyMode::Roster);
            let hours =
                ShiftHours::Weekly { days: Days::ALL, from: LocalTime::hour(20), to: LocalTime::hour(6) };
            s.shifts = vec![Shift { id: id("s"), guard: guard("G-7"), hours, breaks: vec![] }];
        });
        night.until(at("08:00"));
        assert_eq!(duty(&night, day(10)).0, minutes(240));
        assert_eq!(duty(&night, day(11)).0, minutes(360));
    }

    #[test]
    fn a_handset_is_down_from_its_silence_to_its_next_word_or_the_end_of_the_duty() {
        let mut night = Night::on_plant_7(|_| {});
        night.check_in(at("20:00"), "G-7");
        night.walks(at("20:01"), at("21:00"), "G-7");
        night.heartbeat(at("22:00"), "G-7", 1, 1);
        night.check_out(at("23:00"), "G-7");
        night.until(at("23:59"));
        // Silent from 20:59:01 + 15 min to 22:00:01, and from 22:15:01 to the check-out.
        let outages = standing(&night, day(10)).tally.devices["hs-7"];
        assert_eq!(
            (outages.outages, outages.down_ms),
            (2, 2_699_999 + minutes(1) + 44 * 60_000 + 59_000 - 1)
        );
    }

    #[test]
    fn time_in_which_the_agent_was_down_is_blind_and_no_failure_of_a_device() {
        let mut night = Night::on_plant_7(|_| {});
        night.check_in(at("20:00"), "G-7");
        night.until(at("20:30"));
        let before = standing(&night, day(10)).tally.devices["hs-7"];
        assert_eq!((before.outages, before.down_ms), (1, minutes(15) - 1_001));
        night.power_cut(at("20:30"), at("20:50"));
        night.until(at("21:00"));
        let report = standing(&night, day(10));
        assert_eq!(report.tally.blind.iter().collect::<Vec<_>>(), [(at("20:30"), at("20:50"))]);
        assert_eq!(report.tally.devices["hs-7"].down_ms, minutes(25) - 1_001);
        assert_eq!(json_of(&report)["blind_ms"], json!(minutes(20)));
    }
}

mod alerts {
    use super::*;

    fn sleeper() -> Night {
        let mut night = Night::on_plant_7(|_| {});
        night.check_in(at("20:00"), "G-7");
        night.walks(at("20:01"), at("22:00"), "G-7");
        night.lies_still(at("22:00"), at("00:30"), "G-7");
        night.walks(at("00:30"), at("01:30"), "G-7");
        night.lies_still(at("01:30"), at("03:40"), "G-7");
        night.until(at("03:45"));
        night
    }

    #[test]
    fn inactivity_is_counted_by_the_hour_and_the_deep_night() {
        let mut night = sleeper();
        let tally = standing(&night, day(11)).tally;
        let inactivity = &tally.guards[&guard("G-7")].inactivity;
        let hours: Vec<usize> = (0..24).filter(|h| inactivity.by_hour[*h] > 0).collect();
        assert_eq!(
            (hours, inactivity.raised(), inactivity.deep_night),
            (vec![0, 3], 2, 1),
            "at 00:00 and 03:30"
        );
        let sums = &tally.total.alerts[&Rule::Inactivity];
        assert_eq!((sums.raised, sums.detected, sums.closed()), (2, 2, 0));
        let settle_ms = 5_000;
        assert_eq!(
            (sums.detection.count, sums.detection.sum_ms, sums.detection.longest_ms),
            (2, 2 * settle_ms, settle_ms)
        );
        assert_eq!(
            json_of(&standing(&night, day(11)))["total"]["inactivity"]["false_positive_rate"],
            Value::Null
        );
        // A scan that comes late shows that one of them was wrong.
        night.observe_late(at("23:50"), at("04:00"), "hs-7", Night::tag_of("cp-1"));
        night.until(at("04:01"));
        let data = json_of(&standing(&night, day(11)));
        assert_eq!(data["total"]["inactivity"]["false_positive_rate"], json!(1.0));
        assert_eq!(data["total"]["alerts"]["inactivity"]["false_positive"], json!(1));
        let withdrawn_after = json!(4 * 3_600_000);
        assert_eq!(data["total"]["alerts"]["inactivity"]["resolution"]["sum_ms"], withdrawn_after);
    }

    #[test]
    fn what_an_operator_decides_corrects_the_report_and_makes_the_rate() {
        let mut night = sleeper();
        let found: Vec<_> = night.alerts_of(Rule::Inactivity).iter().map(|a| a.id).collect();
        night.step(at("04:00"), found[0], Status::Verifying);
        night.step(at("04:10"), found[0], Status::Confirmed);
        night.step(at("04:20"), found[1], Status::FalsePositive);
        night.until(next("12:01"));
        let report = standing(&night, day(11));
        let sums = &report.tally.total.alerts[&Rule::Inactivity];
        assert_eq!((sums.raised, sums.confirmed, sums.false_positive, sums.verifying), (2, 1, 1, 0));
        // Detected at 00:00 and 03:30.
        assert_eq!((sums.resolution.sum_ms, sums.resolution.longest_ms), (minutes(250 + 50), minutes(250)));
        assert_eq!(json_of(&report)["total"]["inactivity"]["false_positive_rate"], json!(0.5));
        night.until(at("00:05") + Span::from_hours(24));
        assert_eq!(night.report_of(day(11)).revision, 1);
        night.step(
            at("00:10") + Span::from_hours(24),
            night.the_alert(Rule::DeviceSilent).id,
            Status::Confirmed,
        );
        night.until(at("02:00") + Span::from_hours(24));
        assert_eq!(night.report_of(day(11)).revision, 2, "a decision of the next day");
    }

    #[test]
    fn an_alert_belongs_to_the_day_of_its_detection() {
        let night = sleeper();
        assert!(!night.report_of(day(10)).tally.total.alerts.contains_key(&Rule::Inactivity));
    }

    #[test]
    fn what_maintenance_muted_is_counted_on_its_day() {
        let mut night = Night::on_plant_7(|s| {
            s.tours = vec![tour("a", &["21:00", "23:31"], mins(40))];
            let mute =
                Maintenance { starts_at: at("20:00"), ends_at: at("06:00"), rules: vec![Rule::TourMissed] };
            with_policy(s, |p| p.maintenance = vec![mute]);
        });
        night.check_in(at("20:00"), "G-7");
        night.until(at("03:00"));
        assert!(night.alerts_of(Rule::TourMissed).is_empty());
        for date in [day(10), day(11)] {
            assert_eq!(
                standing(&night, date).tally.muted.into_iter().collect::<Vec<_>>(),
                [(Rule::TourMissed, 1)]
            );
        }
    }

    #[test]
    fn a_call_for_help_that_was_on_its_way_was_detected_late() {
        let mut night = Night::on_plant_7(|_| {});
        night.observe_late(at("21:00"), at("21:02"), "hs-7", vigil_core::observation::Kind::Sos(None));
        let sums = &standing(&night, day(10)).tally.total.alerts[&Rule::Sos];
        assert_eq!((sums.raised, sums.detection.longest_ms), (1, minutes(2)));
    }
}

mod calendar {
    use super::*;

    /// A day on which the clocks change, with a guard on duty from the eve on.
    fn changing(eve: &str, date: &str) -> DailyReport {
        let mut parts = vigil_tests::night::plant_7();
        parts.timezone = chrono_tz::Europe::Berlin;
        let began = LocalTime::hour(12).on(eve.parse().unwrap(), parts.timezone);
        let mut night = Night::on(vigil_core::site::Site::new(parts).unwrap(), began);
        night.check_in(began + Span::from_hours(11), "G-7");
        night.until(began + Span::from_hours(60));
        night.report_of(date.parse().unwrap()).clone()
    }

    #[test]
    fn a_day_has_23_24_or_25_hours() {
        for (eve, date, hours, on_duty) in [
            ("2026-03-28", "2026-03-29", 23, 15),
            ("2026-06-05", "2026-06-06", 24, 15),
            ("2026-10-24", "2026-10-25", 25, 15),
        ] {
            let report = changing(eve, date);
            assert_eq!(report.to.since(report.from), Span::from_hours(hours), "{date}");
            assert_eq!(report.tally.total.duty.on_duty_ms, minutes(60 * on_duty), "16 h from 23:00 on");
        }
    }

    #[test]
    fn the_doubled_hour_counts_twice() {
        let mut parts = vigil_tests::night::plant_7();
        parts.timezone = chrono_tz::Europe::Berlin;
        let date: Date = "2026-10-25".parse().unwrap();
        let midnight = LocalTime::hour(0).on(date, parts.timezone);
        let mut night =
            Night::on(vigil_core::site::Site::new(parts).unwrap(), midnight - Span::from_hours(6));
        night.check_in(midnight - Span::from_hours(4), "G-7");
        night.check_in(midnight - Span::from_hours(4), "G-8");
        // One is found at 02:15 of the first, the other at 02:15 of the second.
        night.walks(midnight - Span::from_hours(4), midnight + mins(15), "G-7");
        night.walks(midnight - Span::from_hours(4), midnight + mins(75), "G-8");
        night.lies_still(midnight + mins(15), midnight + mins(140), "G-7");
        night.lies_still(midnight + mins(75), midnight + mins(200), "G-8");
        night.until(midnight + mins(201));
        let inactivity = standing(&night, date).tally.total.inactivity;
        assert_eq!((inactivity.by_hour[2], inactivity.raised()), (2, 2));
    }
}

mod whole {
    use super::*;

    fn both_walk(night: &mut Night, from: Timestamp, to: Timestamp) {
        let mut now = from;
        while now < to {
            night.walks(now, now + mins(1), "G-7");
            night.walks(now, now + mins(1), "G-8");
            now = now + mins(1);
        }
    }

    /// Everything at once, on a small night that can be counted by hand.
    fn example() -> Night {
        let mut night = Night::on_plant_7(|s| {
            s.tours = vec![tour("a", &["21:00", "22:30"], mins(40)), tour("b", &["20:15"], mins(10))];
            s.tours[0].guard = Some(guard("G-7"));
            s.tours[1].guard = Some(guard("G-8"));
        });
        night.check_in(at("20:00"), "G-7");
        night.check_in(at("20:00"), "G-8");
        both_walk(&mut night, at("20:00"), at("20:30"));
        night.create_task(at("20:30"), "G-7", "T-1", Priority::High);
        night.task(at("20:45"), "G-7", "T-1", TaskState::Completed);
        night.create_task(at("20:46"), "G-7", "T-2", Priority::High);
        walks_tour(&mut night, at("21:00"), "G-7", 0..6);
        night.task(at("21:31"), "G-7", "T-2", TaskState::Completed);
        both_walk(&mut night, at("21:32"), at("22:00"));
        night.check_out(at("22:00"), "G-8");
        night.walks(at("22:00"), at("23:00"), "G-7");
        night.check_out(at("23:00"), "G-7");
        night.until(at("00:01"));
        night
    }

    #[test]
    fn a_night_counted_by_hand() {
        let night = example();
        let report = night.report_of(day(10));
        let g7 = &report.tally.guards[&guard("G-7")];
        assert_eq!(
            (g7.runs.closed, g7.runs.compliant, g7.runs.not_started, g7.runs.coverage),
            (2, 1, 1, 100)
        );
        let t = &g7.tasks;
        assert_eq!((t.due, t.completed, t.overdue, t.response.sum_permille), (2, 2, 1, 500 + 1_500));
        assert_eq!(
            t.response.percents.iter().map(|(p, n)| (*p, *n)).collect::<Vec<_>>(),
            [(50, 1), (150, 1)]
        );
        // Heard until 21:20 (the last scan was at 21:05), again from 21:31 on.
        let unheard_ms = minutes(11) - 1;
        assert_eq!((g7.duty.on_duty_ms, g7.duty.observed_ms), (minutes(180), minutes(180) - unheard_ms));
        let g8 = &report.tally.guards[&guard("G-8")];
        assert_eq!((g8.runs.closed, g8.runs.missed, g8.duty.on_duty_ms), (1, 1, minutes(120)));
        // Heard until 20:44 (the last heartbeat was at 20:29), again from 21:32 on.
        assert_eq!(g8.duty.observed_ms, minutes(44) + 1 + minutes(28));
        let outages: Vec<_> =
            report.tally.devices.iter().map(|(d, o)| (d.as_str(), o.outages, o.down_ms)).collect();
        assert_eq!(outages, [("hs-7", 1, minutes(11) - 1), ("hs-8", 1, minutes(48) - 1)]);
        let late = &g7.alerts[&Rule::TaskOverdue];
        assert_eq!((late.resolved, late.resolution.sum_ms), (1, minutes(15) - 1));
        let data = json_of(report);
        assert_eq!(data["guards"]["G-7"]["tasks"]["response"]["mean"], json!(1.0));
        assert_eq!(data["guards"]["G-7"]["tasks"]["response"]["p95"], json!(1.5));
        assert_eq!(data["guards"]["G-7"]["tasks"]["overdue_rate"], json!(0.5));
        assert_eq!(data["guards"]["G-7"]["duty"]["observed_share"], json!(0.939));
        assert_eq!(data["total"]["runs"]["compliance_rate"], json!(0.333));
        let places: Vec<_> = ranking(&report.tally)
            .into_iter()
            .map(|s| (s.who.to_string(), s.place, s.compliant, s.runs))
            .collect();
        assert_eq!(places, [("G-7".to_owned(), Some(1), 1, 2), ("G-8".to_owned(), Some(2), 0, 1)]);
    }

    /// The example of the contract is this night.
    #[test]
    fn the_contract_shows_what_is_sent() {
        let page = std::fs::read_to_string("../docs/noc-contract.md").unwrap();
        let section = page.split("### Report").nth(1).unwrap();
        let block = section.split("```json").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let shown: Value = serde_json::from_str(block).unwrap();
        let mut sent = json_of(example().report_of(day(10)));
        for figures in ["/total", "/guards/G-7", "/guards/G-8"] {
            let alerts =
                |of: &Value| of.pointer(figures).and_then(|f| f["alerts"].as_object()).cloned().unwrap();
            // The alerts of rules that were not there when the example was written are left out.
            let known: serde_json::Map<_, _> =
                alerts(&sent).into_iter().filter(|(rule, _)| alerts(&shown).contains_key(rule)).collect();
            sent.pointer_mut(figures).unwrap()["alerts"] = known.into();
        }
        assert_eq!(shown, sent, "{sent}");
    }

    #[test]
    fn what_leaves_the_agent_can_be_read_back_and_added_up() {
        let night = example();
        let report = night.report_of(day(10));
        let read: Tally = serde_json::from_value(json_of(report)).unwrap();
        assert_eq!(read, report.tally);
    }
}

mod always {
    use super::*;
    use std::sync::Arc;
    use vigil_core::engine::Engine;
    use vigil_core::observation::{Heartbeat, Kind, Observation};

    /// What happened, of which guard, how many minutes after 19:55, and how many minutes later it was heard of.
    type Event = (usize, usize, i64, i64);

    const HOURS: i64 = 60;

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let late = prop_oneof![4 => Just(0), 1 => 1_i64..600, 1 => 600_i64..3_000];
        prop::collection::vec((0_usize..12, 0_usize..2, 0..HOURS * 60, late), 0..60)
    }

    fn kind(what: usize, guard: &str, at: Timestamp) -> Kind {
        let task = |state| Night::task_update(guard, &format!("T-{}", at.millis() / 600_000 % 40), state);
        match what {
            0..3 => Night::tag_of(&format!("cp-{what}")),
            3 | 4 => Night::attends(guard, AttendanceAction::CheckIn),
            5 => Night::attends(guard, AttendanceAction::CheckOut),
            6 => task(TaskState::Created),
            7 => task(TaskState::Completed),
            8 => task(TaskState::Cancelled),
            9 => Kind::Sos(None),
            _ => Kind::Heartbeat(Heartbeat { interactions: 1, ..Heartbeat::default() }),
        }
    }

    /// In the order of their arrival; those of one minute in the order in which they were told.
    fn observations(events: &[Event]) -> Vec<Observation> {
        let observation = |(n, (what, guard, minute, late)): (usize, &Event)| {
            let (guard, at) = (["G-7", "G-8"][*guard], at("19:55") + mins(*minute));
            let received_at = at + mins(*late) + secs(1);
            let event = n.to_string();
            Observation::new(
                id(&Night::handset(guard)),
                at,
                received_at,
                Some(&event),
                kind(*what, guard, at),
            )
        };
        let mut all: Vec<Observation> = events.iter().enumerate().map(observation).collect();
        all.sort_by_key(|o| o.received_at);
        all
    }

    fn plant() -> Night {
        Night::on_plant_7(|s| {
            let mut a = tour("a", &["20:30", "23:40", "02:00"], mins(40));
            a.checkpoints.truncate(3);
            a.guard = Some(guard("G-7"));
            let mut b = tour("b", &["22:00", "01:00"], mins(40));
            b.checkpoints.truncate(2);
            s.tours = vec![a, b];
            let mute = Maintenance { starts_at: at("22:00"), ends_at: at("01:30"), rules: vec![] };
            with_policy(s, |p| p.maintenance = vec![mute]);
        })
    }

    fn told(observations: Vec<Observation>) -> Night {
        let mut night = plant();
        for observation in observations {
            night.take_in(observation);
        }
        night.until(at("19:55") + Span::from_hours(HOURS + 55));
        night
    }

    fn on_clock(n: i64, hours: i64) -> usize {
        usize::try_from(n % hours).unwrap()
    }

    /// Every share, rate and mean of shares in the data of a report.
    fn shares(value: &Value) -> Vec<f64> {
        let of_object = |(key, value): (&String, &Value)| match value.as_f64() {
            Some(share) if key.ends_with("_rate") || key.ends_with("_share") => vec![share],
            _ => shares(value),
        };
        value.as_object().into_iter().flatten().flat_map(of_object).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn merging_days_is_counting_them_together(events in events()) {
            let night = told(observations(&events));
            let now = night.engine.now();
            let days = night.engine.open_days(now);
            let reports: Vec<DailyReport> =
                days.iter().filter_map(|date| night.engine.report(*date, now)).collect();
            let mut merged = Tally::default();
            reports.iter().for_each(|report| merged.merge(&report.tally));
            let whole = night.engine.tally(reports[0].from, reports[reports.len() - 1].to, now);
            prop_assert_eq!(merged, whole);
        }

        #[test]
        fn every_rate_is_a_share_and_the_parts_make_the_whole(events in events()) {
            let night = told(observations(&events));
            for report in night.reports() {
                let all = shares(&json_of(report));
                prop_assert!(all.iter().all(|share| (0.0..=1.0).contains(share)), "{all:?}");
                for figures in report.tally.guards.values().chain([&report.tally.total]) {
                    let (t, r) = (&figures.tasks, &figures.runs);
                    prop_assert!(t.completed <= t.due && t.overdue <= t.due && t.due <= t.completed + t.overdue);
                    prop_assert_eq!(t.response.count, t.response.percents.values().sum::<u64>());
                    let by_compliance =
                        r.compliant + r.sla_breach + r.partial_completion + r.not_started + r.guard_absent;
                    prop_assert_eq!(by_compliance, r.closed);
                    prop_assert!(r.missed <= r.closed && r.observed <= r.closed && r.coverage <= 100 * r.closed);
                    prop_assert!(figures.duty.observed_ms <= figures.duty.on_duty_ms);
                    for sums in figures.alerts.values() {
                        prop_assert_eq!(sums.raised, sums.detected + sums.verifying + sums.closed());
                        prop_assert_eq!((sums.detection.count, sums.resolution.count), (sums.raised, sums.closed()));
                    }
                }
            }
        }

        #[test]
        fn a_restart_anywhere_changes_no_report(events in events(), cut in any::<prop::sample::Index>()) {
            let observations = observations(&events);
            let whole = told(observations.clone());
            let mut night = plant();
            let cut = cut.index(observations.len() + 1);
            for (n, observation) in observations.into_iter().enumerate() {
                if n == cut {
                    let now = night.engine.now();
                    night.power_cut(now, now);
                }
                night.take_in(observation);
            }
            night.until(at("19:55") + Span::from_hours(HOURS + 55));
            prop_assert_eq!(whole.reports(), night.reports());
        }

        #[test]
        fn what_comes_together_may_come_in_any_order(events in events(), turn in 0_usize..60) {
            let observations = observations(&events);
            let mut turned = observations.clone();
            for minute in turned.chunk_by_mut(|a, b| a.received_at == b.received_at) {
                let by = turn % minute.len();
                minute.rotate_left(by);
            }
            let (one, other) = (told(observations), told(turned));
            prop_assert_eq!(one.reports(), other.reports());
        }
    }

    #[test]
    fn ticking_at_every_deadline_sends_the_same_reports_as_one_long_jump() {
        let events: Vec<Event> =
            (0..60_i64).map(|n| (on_clock(n, 12), on_clock(n / 12, 2), 37 * n, 20 * (n % 7))).collect();
        let jumping = told(observations(&events));
        let mut ticking = plant();
        for observation in observations(&events) {
            while let Some(due) = ticking.engine.next_deadline().filter(|due| *due <= observation.received_at)
            {
                ticking.until(due);
            }
            ticking.take_in(observation);
        }
        let end = at("19:55") + Span::from_hours(HOURS + 55);
        while let Some(due) = ticking.engine.next_deadline().filter(|due| *due <= end) {
            ticking.until(due);
        }
        assert_eq!(jumping.reports(), ticking.reports());
        assert!(jumping.reports().len() > 5);
    }

    #[test]
    fn a_year_of_reports_leaves_no_more_behind_than_two_thirds_of_it() {
        let mut night = plant();
        let mut sizes = vec![];
        for day in 0..365 {
            let later = |clock: &str| at(clock) + Span::from_hours(24 * day);
            night.check_in(later("20:00"), "G-7");
            night.scan(later("20:31"), "G-7", "cp-0");
            night.create_task(later("21:00"), "G-7", &format!("T-{day}"), Priority::High);
            night.task(later("21:40"), "G-7", &format!("T-{day}"), TaskState::Completed);
            night.check_out(later("04:00"), "G-7");
            night.until(later("05:00"));
            sizes.push(night.engine.snapshot().unwrap().len());
            let restored =
                Engine::restore(Arc::clone(night.engine.site()), &night.engine.snapshot().unwrap());
            assert_eq!(restored.unwrap().next_deadline(), night.engine.next_deadline());
        }
        // By then a device has said as much as is remembered of it.
        let (two_thirds, year) = (sizes[230..240].iter().max(), sizes[355..].iter().max());
        let slack = 200; // Identities are 9 or 10 bytes long.
        assert!(
            year <= two_thirds.map(|n| n + slack).as_ref(),
            "{two_thirds:?} bytes, {year:?} after a year"
        );
        assert!(night.engine.open_days(night.engine.now()).len() <= 5);
        assert_eq!(night.report_of("2027-03-08".parse().unwrap()).tally.total.tasks.completed, 1);
    }
}
