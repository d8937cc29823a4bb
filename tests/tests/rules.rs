//! The rules of the night, told as nights.

use vigil_core::alert::{Alert, Rule, Severity, Status};
use vigil_core::engine::Outcome;
use vigil_core::evidence::{Evidence, SignalState};
use vigil_core::observation::{Attendance, AttendanceAction, Kind, TaskState};
use vigil_core::policy::{DutyMode, Monitor, Settle};
use vigil_core::rules::tours::RunStatus;
use vigil_core::site::{DeviceKind, Shift, ShiftHours};
use vigil_core::time::{Days, LocalTime, Timestamp};
use vigil_tests::night::{Night, at, guard, id, mins, secs, tour, with_policy};

fn sleeper(from: &str, to: &str) -> Night {
    let mut night = Night::on_plant_7(|_| {});
    night.check_in(at("20:00"), "G-7");
    night.walks(at("20:01"), at(from), "G-7");
    night.lies_still(at(from), at(to), "G-7");
    night
}

mod inactivity {
    use super::*;

    #[test]
    fn a_guard_who_lies_still_is_found_once() {
        let mut night = sleeper("22:00", "03:00");
        night.until(at("03:00"));
        let alert = night.the_alert(Rule::Inactivity);
        assert_eq!(alert.detected_at, at("00:00"));
        assert_eq!(alert.severity, Severity::Critical);
        assert_eq!(alert.cleared_at, None);
        let Evidence::Inactivity(evidence) = &alert.evidence else { panic!("wrong evidence") };
        assert_eq!(evidence.window_start, at("22:00"));
        assert_eq!(evidence.signals.phone.state, SignalState::Inactive);
        assert_eq!(evidence.signals.movement.state, SignalState::Inactive);
        assert_eq!(evidence.signals.tours.state, SignalState::Unobserved, "no tour was due");
        assert!(evidence.summed_distance_m > 300, "the classic sum would have called this moving");
        assert_eq!(evidence.minutes_since, Some(121));
    }

    #[test]
    fn it_is_judged_after_it_settled_and_not_before() {
        let mut night = sleeper("22:00", "00:00");
        night.until(at("00:00") + secs(4));
        assert!(night.alerts().is_empty());
        night.until(at("00:00") + secs(5));
        assert_eq!(night.the_alert(Rule::Inactivity).detected_at, at("00:00"));
    }

    #[test]
    fn one_sign_of_life_clears_it_and_the_status_stays() {
        let mut night = sleeper("22:00", "00:30");
        night.heartbeat(at("00:31"), "G-7", 3, 0);
        night.until(at("00:36"));
        let alert = night.the_alert(Rule::Inactivity);
        assert_eq!(alert.cleared_at, Some(at("00:35")));
        assert_eq!(alert.status, Status::Detected);
    }

    #[test]
    fn a_second_episode_is_a_second_alert() {
        let mut night = sleeper("22:00", "00:30");
        night.walks(at("00:30"), at("01:00"), "G-7");
        night.lies_still(at("01:00"), at("04:00"), "G-7");
        night.until(at("04:00"));
        let found: Vec<_> = night.alerts_of(Rule::Inactivity).iter().map(|a| a.detected_at).collect();
        assert_eq!(found, [at("00:00"), at("03:00")]);
    }

    #[test]
    fn a_dead_phone_is_no_sleeping_guard() {
        let mut night = sleeper("21:00", "21:30");
        night.until(at("03:00"));
        assert!(night.alerts_of(Rule::Inactivity).is_empty());
        assert_eq!(night.the_alert(Rule::DeviceSilent).severity, Severity::Medium);
    }

    #[test]
    fn a_backlog_that_shows_a_walk_withdraws_it() {
        let mut night = sleeper("22:00", "00:10");
        assert_eq!(night.the_alert(Rule::Inactivity).status, Status::Detected);
        let received = at("00:12");
        for m in 0..20_i64 {
            let turn = f64::from(i32::try_from(m).unwrap());
            let fix = Night::fix(at("23:00"), 30.0 + 30.0 * turn, 100.0);
            night.observe_late(at("23:00") + mins(m) + secs(30), received, "hs-7", fix);
        }
        night.observe_late(at("23:30"), received, "hs-7", Night::tag_of("cp-1"));
        let alert = night.the_alert(Rule::Inactivity);
        assert_eq!(alert.status, Status::FalsePositive);
        assert_eq!(alert.cleared_at, Some(received));
        assert_eq!(alert.history.last().unwrap().note.as_deref(), Some("late evidence"));
    }

    #[test]
    fn late_evidence_never_raises() {
        // The handset kept its silence to itself: its backlog says that nothing happened for hours.
        let mut night = Night::on_plant_7(|_| {});
        night.check_in(at("20:00"), "G-7");
        night.walks(at("20:01"), at("20:20"), "G-7");
        night.until(at("01:00"));
        let before = night.alerts().len();
        for m in 0..200 {
            let happened = at("20:20") + mins(m);
            night.observe_late(happened, at("01:00") + secs(1), "hs-7", Night::fix(happened, 1.0, 1.0));
        }
        assert_eq!(night.alerts().len(), before);
    }

    #[test]
    fn an_act_of_the_last_half_hour_proves_that_the_guard_is_awake() {
        let mut night = sleeper("20:02", "22:20");
        assert_eq!(
            night.the_alert(Rule::Inactivity).detected_at,
            at("22:05"),
            "the walk of 20:01 is out of the window"
        );
        let mut awake = sleeper("20:02", "21:50");
        awake.task(at("21:50"), "G-7", "T-1", TaskState::Completed);
        awake.lies_still(at("21:51"), at("22:20"), "G-7");
        awake.until(at("22:20"));
        assert!(awake.alerts().is_empty());
        night.until(at("22:21"));
    }

    #[test]
    fn nobody_is_watched_by_day_unless_the_policy_says_so() {
        let mut day = Night::on_plant_7(|_| {});
        day.check_in(at("06:00"), "G-7");
        day.lies_still(at("06:01"), at("10:00"), "G-7");
        assert!(day.alerts_of(Rule::Inactivity).is_empty());
        let mut always = Night::on_plant_7(|s| with_policy(s, |p| p.inactivity.monitor = Monitor::Always));
        always.check_in(at("06:00"), "G-7");
        always.lies_still(at("06:01"), at("10:00"), "G-7");
        assert_eq!(always.alerts_of(Rule::Inactivity).len(), 1);
    }

    #[test]
    fn a_break_is_no_sleep() {
        let mut night = sleeper("22:30", "23:00");
        night.attendance(at("23:00"), "G-7", AttendanceAction::BreakStart);
        night.lies_still(at("23:01"), at("23:40"), "G-7");
        night.attendance(at("23:40"), "G-7", AttendanceAction::BreakEnd);
        night.walks(at("23:41"), at("00:30"), "G-7");
        night.until(at("00:30"));
        assert!(night.alerts().is_empty(), "{:?}", night.alerts());
    }

    #[test]
    fn leaving_duty_ends_the_episode() {
        let mut night = sleeper("22:00", "00:10");
        night.check_out(at("00:12"), "G-7");
        let alert = night.the_alert(Rule::Inactivity);
        assert_eq!(alert.cleared_at, Some(at("00:12")));
        assert_eq!(alert.status, Status::Detected);
    }

    #[test]
    fn the_severity_follows_the_score_up() {
        // One of three signals is active until the deep night begins to weigh.
        let mut night = Night::on_plant_7(|s| {
            s.tours = vec![tour("t", &["22:00"], mins(40))];
            with_policy(s, |p| p.inactivity.threshold = vigil_core::policy::Permille::new(700).unwrap());
        });
        night.check_in(at("20:00"), "G-7");
        night.walks(at("20:01"), at("22:30"), "G-7");
        night.lies_still(at("22:30"), at("02:00"), "G-7");
        night.until(at("02:00"));
        let alert = night.the_alert(Rule::Inactivity);
        assert!(alert.severity >= Severity::High);
    }
}

mod tours {
    use super::*;

    fn plant_with_tour(starts: &'static [&'static str]) -> Night {
        let mut night = Night::on_plant_7(|s| s.tours = vec![tour("a", starts, mins(40))]);
        night.check_in(at("20:00"), "G-7");
        night
    }

    fn scans(night: &mut Night, from: Timestamp, places: std::ops::Range<i64>) {
        for n in places {
            night.scan(from + mins(n), "G-7", &format!("cp-{n}"));
        }
    }

    #[test]
    fn a_run_that_nobody_starts_is_missed_strictly_after_start_by() {
        let mut night = plant_with_tour(&["21:00"]);
        night.walks(at("20:01"), at("22:30"), "G-7");
        night.until(at("22:30"));
        let alert = night.the_alert(Rule::TourMissed);
        assert_eq!(alert.detected_at, at("21:30").just_after());
        assert_eq!(alert.severity, Severity::High);
        assert!(alert.escalated, "nobody answered in 15 min");
        let Evidence::Run(evidence) = &alert.evidence else { panic!("wrong evidence") };
        assert!(evidence.observed);
        assert_eq!(night.runs().last().unwrap().status, RunStatus::Missed);
    }

    #[test]
    fn a_scan_at_start_by_exactly_is_in_time() {
        let mut night = plant_with_tour(&["21:00"]);
        scans(&mut night, at("21:30"), 0..6);
        night.until(at("23:00"));
        assert!(night.alerts_of(Rule::TourMissed).is_empty());
        assert_eq!(night.runs().last().unwrap().status, RunStatus::Completed);
    }

    #[test]
    fn a_late_start_clears_the_alert_and_leaves_the_status() {
        let mut night = plant_with_tour(&["21:00"]);
        night.until(at("21:40"));
        scans(&mut night, at("21:41"), 0..6);
        night.until(at("23:00"));
        let alert = night.the_alert(Rule::TourMissed);
        assert_eq!(alert.cleared_at, Some(at("21:41")));
        assert_eq!(alert.status, Status::Detected);
        assert!(!alert.escalated);
        let run = night.runs().last().unwrap();
        assert_eq!((run.status, run.overdue_by), (RunStatus::Completed, 11));
    }

    #[test]
    fn some_but_not_all_is_partial() {
        let mut night = plant_with_tour(&["21:00"]);
        scans(&mut night, at("21:00"), 0..5);
        night.until(at("22:20"));
        let alert = night.the_alert(Rule::TourPartial);
        assert_eq!(alert.detected_at, at("22:10").just_after());
        assert_eq!(alert.severity, Severity::Medium);
        assert!(alert.summary.contains("cp-5"), "{}", alert.summary);
    }

    #[test]
    fn eighty_percent_exactly_is_enough_where_the_policy_says_so() {
        for (needed, partial) in [(83, false), (84, true)] {
            let mut night = Night::on_plant_7(|s| {
                s.tours = vec![tour("a", &["21:00"], mins(40))];
                with_policy(s, |p| {
                    p.tours.require_all_checkpoints = false;
                    p.tours.min_checkpoint_percentage = needed;
                });
            });
            night.check_in(at("20:00"), "G-7");
            scans(&mut night, at("21:00"), 0..5);
            night.until(at("22:20"));
            assert_eq!(!night.alerts_of(Rule::TourPartial).is_empty(), partial, "5 of 6 with {needed} %");
        }
    }

    #[test]
    fn a_scan_that_comes_late_but_happened_in_time_withdraws_the_alert() {
        let mut night = plant_with_tour(&["21:00"]);
        night.until(at("22:30"));
        assert_eq!(night.the_alert(Rule::TourMissed).status, Status::Detected);
        for n in 0..6 {
            night.observe_late(at("21:10") + mins(n), at("22:31"), "hs-7", Night::tag_of(&format!("cp-{n}")));
        }
        let alert = night.the_alert(Rule::TourMissed);
        assert_eq!(alert.status, Status::FalsePositive);
        night.until(at("22:31") + secs(5));
        let run = night.the_run();
        assert_eq!((run.revision, run.status, run.coverage), (2, RunStatus::Completed, 100));
    }

    #[test]
    fn a_scan_goes_to_the_run_in_progress_before_the_next() {
        let mut night = plant_with_tour(&["21:00", "21:30"]);
        scans(&mut night, at("21:00"), 0..3);
        // From 21:15 on the next run is open too.
        scans(&mut night, at("21:20"), 3..6);
        night.until(at("21:40"));
        assert_eq!(night.runs().len(), 1);
        assert_eq!(night.runs()[0].scheduled_at, at("21:00"));
    }

    #[test]
    fn a_fixed_reader_proves_the_visit_of_the_badge_owner() {
        let mut night = plant_with_tour(&["21:00"]);
        let badge = Kind::Scan(vigil_core::observation::Scan {
            tag: vigil_core::id::Tag::new("AA:00:00:F7").unwrap(),
            guard: None,
            sun: None,
        });
        assert_eq!(night.observe(at("21:05"), "reader-gate", badge), Outcome::Applied);
        night.until(at("21:31"));
        assert!(night.alerts_of(Rule::TourMissed).is_empty());
        let stranger = Kind::Scan(vigil_core::observation::Scan {
            tag: vigil_core::id::Tag::new("DEADBEEF").unwrap(),
            guard: None,
            sun: None,
        });
        assert_eq!(night.observe(at("21:32"), "reader-gate", stranger), Outcome::UnknownTag);
    }

    #[test]
    fn an_alert_says_when_it_cannot_be_known() {
        let mut night = Night::on_plant_7(|s| s.tours = vec![tour("a", &["21:00"], mins(40))]);
        night.until(at("21:31"));
        let Evidence::Run(evidence) = &night.the_alert(Rule::TourMissed).evidence else {
            panic!("wrong evidence")
        };
        assert!(!evidence.observed);
    }
}

mod tasks {
    use super::*;
    use vigil_core::observation::{Priority, TaskUpdate};

    fn overdue(night: &Night) -> Vec<(Timestamp, Severity, bool)> {
        let revisions = night.revisions().into_iter().filter(|a| a.rule == Rule::TaskOverdue);
        revisions.map(|a| (a.updated_at, a.severity, a.escalated)).collect()
    }

    /// A word on a task that says nothing but when it was made.
    fn task_of(task: &str, created_at: Option<Timestamp>) -> TaskUpdate {
        TaskUpdate {
            task: id(task),
            state: TaskState::Started,
            priority: None,
            title: None,
            created_at,
            due_at: None,
            guard: None,
        }
    }

    /// The agent notes that it is up again before it judges anything, and may die between the two.
    #[test]
    fn what_fell_due_in_a_power_cut_waits_to_be_judged_even_without_settling() {
        let mut night = Night::on_plant_7(|s| with_policy(s, |p| p.settle = Settle(secs(0))));
        night.create_task(at("20:00"), "G-7", "T-1", Priority::Low);
        night.until(at("21:59"));
        night.power_cut(at("21:59:59"), at("22:00:02"));
        assert_eq!(night.engine.on_deadline(at("22:00:02")).effects, Default::default());
        night.until(at("22:00:03"));
        assert_eq!(overdue(&night), [(at("22:00").just_after(), Severity::Low, false)]);
    }

    #[test]
    fn dying_again_before_it_is_judged_loses_nothing() {
        let mut night = Night::on_plant_7(|_| {});
        night.create_task(at("20:00"), "G-7", "T-1", Priority::Low);
        night.power_cut(at("21:59:59"), at("22:00:10"));
        night.power_cut(at("22:00:12"), at("22:00:12").just_after());
        night.until(at("22:00:20"));
        assert_eq!(overdue(&night), [(at("22:00").just_after(), Severity::Low, false)]);
    }

    #[test]
    fn each_step_comes_strictly_after_its_share_of_the_time() {
        use Severity::{Critical, High, Low, Medium};
        type Steps = Vec<(&'static str, Severity, bool)>;
        let table: [(Priority, Steps); 4] = [
            (
                Priority::Critical,
                vec![("20:15", High, false), ("20:22:30", Critical, false), ("20:30", Critical, true)],
            ),
            (Priority::High, vec![("20:30", Medium, false), ("21:00", High, false)]),
            (Priority::Medium, vec![("21:00", Low, false), ("23:00", Medium, false)]),
            (Priority::Low, vec![("22:00", Low, false)]),
        ];
        for (priority, steps) in table {
            let mut night = Night::on_plant_7(|_| {});
            night.create_task(at("20:00"), "G-7", "T-1", priority);
            night.until(at("04:00"));
            let expected: Vec<_> = steps.iter().map(|(t, s, e)| (at(t).just_after(), *s, *e)).collect();
            assert_eq!(overdue(&night), expected, "{priority:?}");
        }
    }

    #[test]
    fn a_task_is_judged_when_it_settled_and_not_before() {
        let mut night = Night::on_plant_7(|_| {});
        night.create_task(at("20:00"), "G-7", "T-1", Priority::High);
        night.until(at("20:30") + secs(5));
        assert_eq!(overdue(&night), []);
        night.until(at("20:30") + secs(6));
        assert_eq!(overdue(&night).len(), 1);
    }

    #[test]
    fn a_completion_at_the_deadline_exactly_is_in_time() {
        let mut night = Night::on_plant_7(|_| {});
        night.create_task(at("20:00"), "G-7", "T-1", Priority::High);
        night.task(at("20:30"), "G-7", "T-1", TaskState::Completed);
        night.until(at("22:00"));
        assert_eq!(overdue(&night), []);
    }

    #[test]
    fn a_late_completion_clears_and_resolves_and_says_how_late() {
        let mut night = Night::on_plant_7(|_| {});
        night.create_task(at("20:00"), "G-7", "T-1", Priority::Low);
        night.until(at("22:10"));
        night.task(at("22:11"), "G-7", "T-1", TaskState::Completed);
        let alert = night.the_alert(Rule::TaskOverdue);
        assert_eq!((alert.status, alert.cleared_at), (Status::Resolved, Some(at("22:11"))));
        assert_eq!(alert.history.last().unwrap().note.as_deref(), Some("completed 11 min late"));
    }

    #[test]
    fn a_completion_that_was_held_back_withdraws() {
        let mut night = Night::on_plant_7(|_| {});
        night.create_task(at("20:00"), "G-7", "T-1", Priority::High);
        night.until(at("20:40"));
        let update = TaskUpdate { state: TaskState::Completed, ..task_of("T-1", None) };
        night.observe_late(at("20:29"), at("20:41"), "hs-7", Kind::Task(update));
        let alert = night.the_alert(Rule::TaskOverdue);
        assert_eq!((alert.status, alert.cleared_at), (Status::FalsePositive, Some(at("20:41"))));
    }

    #[test]
    fn a_whole_task_in_one_backlog_raises_nothing() {
        let mut night = Night::on_plant_7(|_| {});
        let received = at("23:00");
        let update = |state, created_at| TaskUpdate {
            task: id("T-1"),
            state,
            priority: Some(Priority::High),
            title: None,
            created_at,
            due_at: None,
            guard: Some(guard("G-7")),
        };
        night.observe_late(
            at("20:00"),
            received,
            "hs-7",
            Kind::Task(update(TaskState::Created, Some(at("20:00")))),
        );
        night.observe_late(at("20:10"), received, "hs-7", Kind::Task(update(TaskState::Completed, None)));
        night.until(at("23:30"));
        assert!(night.alerts().is_empty(), "{:?}", night.alerts());
    }

    #[test]
    fn a_critical_task_warns_at_eighty_percent_and_the_breach_supersedes_it() {
        let mut night = Night::on_plant_7(|_| {});
        night.create_task(at("20:00"), "G-7", "T-1", Priority::Critical);
        night.until(at("20:12") + secs(5));
        assert_eq!(night.the_alert(Rule::TaskAtRisk).detected_at, at("20:12"));
        night.until(at("20:16"));
        let warning = night.the_alert(Rule::TaskAtRisk);
        assert_eq!(warning.status, Status::Resolved);
        assert_eq!(warning.history.last().unwrap().note.as_deref(), Some("superseded by the breach"));
    }

    #[test]
    fn another_deadline_ends_what_was_raised_for_the_old_one() {
        let mut night = Night::on_plant_7(|_| {});
        night.create_task(at("20:00"), "G-7", "T-1", Priority::High);
        night.until(at("20:40"));
        night.create_task(at("20:41"), "G-7", "T-1", Priority::Low);
        assert_eq!(night.the_alert(Rule::TaskOverdue).status, Status::Resolved);
        night.until(at("22:42"));
        assert_eq!(night.alerts_of(Rule::TaskOverdue).len(), 2);
    }

    /// Two people set it down as done, or one sets it down as done and another gives it another time: what was first is what
    /// ended it, whichever is heard first.
    #[test]
    fn what_ended_an_overdue_task_first_ended_it_in_whatever_order_it_is_heard() {
        let word = |state| TaskUpdate { state, priority: Some(Priority::Low), ..task_of("T-1", None) };
        for (first, second) in [
            (TaskState::Completed, TaskState::Cancelled),
            (TaskState::Created, TaskState::Completed),
            (TaskState::Completed, TaskState::Created),
            (TaskState::Created, TaskState::Created),
        ] {
            for turned in [false, true] {
                let mut night = Night::on_plant_7(|_| {});
                night.create_task(at("20:00"), "G-7", "T-1", Priority::High);
                night.until(at("20:40"));
                let mut words = [(at("20:41") + secs(1), word(first)), (at("20:41") + secs(2), word(second))];
                if turned {
                    words.reverse();
                }
                for (said_at, update) in words {
                    night.observe_late(said_at, at("20:41") + secs(3), "hs-7", Kind::Task(update));
                }
                let alert = night.the_alert(Rule::TaskOverdue);
                let expected = (Status::Resolved, Some(at("20:41") + secs(1)));
                assert_eq!((alert.status, alert.cleared_at), expected, "{first:?} {second:?} {turned}");
            }
        }
    }

    /// Somebody gave it more time before it was due, on a handset that was out of reach.
    #[test]
    fn more_time_that_was_given_in_time_withdraws_what_was_raised_meanwhile() {
        let mut night = Night::on_plant_7(|_| {});
        night.create_task(at("20:00"), "G-7", "T-1", Priority::High);
        night.until(at("20:40"));
        let update = TaskUpdate {
            state: TaskState::Created,
            priority: Some(Priority::High),
            due_at: Some(at("23:00")),
            ..task_of("T-1", Some(at("20:00")))
        };
        night.observe_late(at("20:20"), at("20:41"), "hs-7", Kind::Task(update));
        let alert = night.the_alert(Rule::TaskOverdue);
        assert_eq!((alert.status, alert.cleared_at), (Status::FalsePositive, Some(at("20:41"))));
    }

    /// It was completed before the time that it had first, and the word of that came last.
    #[test]
    fn a_completion_ends_what_was_raised_by_an_earlier_deadline_too() {
        let mut night = Night::on_plant_7(|_| {});
        night.create_task(at("20:00"), "G-7", "T-1", Priority::Critical);
        night.until(at("20:13"));
        let another = TaskUpdate {
            state: TaskState::Created,
            priority: Some(Priority::Critical),
            due_at: Some(at("20:15")),
            ..task_of("T-1", Some(at("20:05")))
        };
        // The same deadline, so that the warning stands, and counted from another instant.
        night.observe(at("20:13"), "hs-7", Kind::Task(another));
        night.task(at("20:14"), "G-7", "T-1", TaskState::Completed);
        let open: Vec<_> = night.alerts().into_iter().filter(|a| a.is_open()).collect();
        assert!(open.is_empty(), "{open:?}");
    }

    /// A word that was held back does not undo the one that was said after it.
    #[test]
    fn of_two_words_on_a_task_the_later_said_counts_whichever_comes_first() {
        let mut night = Night::on_plant_7(|_| {});
        let created = |priority| TaskUpdate {
            state: TaskState::Created,
            priority: Some(priority),
            ..task_of("T-1", Some(at("20:00")))
        };
        night.observe_late(at("20:05"), at("20:06"), "hs-7", Kind::Task(created(Priority::Low)));
        night.observe_late(at("20:00"), at("20:07"), "hs-8", Kind::Task(created(Priority::High)));
        night.until(at("21:59"));
        assert!(overdue(&night).is_empty(), "by the earlier word it was due at 20:30: {:?}", overdue(&night));
        night.until(at("22:01"));
        assert_eq!(night.the_alert(Rule::TaskOverdue).severity, Severity::Low);
    }

    /// Nobody can say which was meant: the one that asks for more cannot be the wrong one to watch.
    #[test]
    fn of_two_words_of_one_instant_the_more_urgent_counts_also_after_a_restart() {
        for order in [[Priority::Low, Priority::High], [Priority::High, Priority::Low]] {
            let mut night = Night::on_plant_7(|_| {});
            for (device, priority) in ["hs-7", "hs-8"].into_iter().zip(order) {
                let created = TaskUpdate {
                    state: TaskState::Created,
                    priority: Some(priority),
                    ..task_of("T-1", Some(at("20:00")))
                };
                night.observe_late(at("20:00"), at("20:00"), device, Kind::Task(created));
                night.dies_and_lives_again();
            }
            night.until(at("20:31"));
            assert_eq!(night.the_alert(Rule::TaskOverdue).severity, Severity::Medium, "{order:?}");
        }
    }

    /// A view goes to every open page every few seconds.
    #[test]
    fn of_too_many_alerts_a_view_shows_the_worst_and_counts_all() {
        let mut night = Night::on_plant_7(|_| {});
        night.create_task(at("20:00"), "G-7", "T-urgent", Priority::Critical);
        night.create_task(at("20:00"), "G-7", "T-done", Priority::High);
        night.until(at("20:40"));
        night.task(at("20:41"), "G-7", "T-done", TaskState::Completed);
        // One a minute: all at once would be a storm.
        for n in 0..250 {
            night.create_task(at("20:42") + mins(n), "G-7", &format!("T-{n}"), Priority::Low);
        }
        night.until(at("03:00"));
        let view = night.engine.view(at("03:00"));
        let counts = &view.alert_counts;
        assert_eq!(
            (counts.all, counts.open, counts.critical),
            (253, 251, 1),
            "the warning of the critical one, too"
        );
        assert_eq!(view.alerts.len(), 200);
        assert_eq!(view.alerts.last().unwrap().severity, Severity::Critical, "the oldest, and the worst");
        assert!(view.alerts.iter().all(Alert::is_open));
        assert!(view.alerts.is_sorted_by_key(|a| std::cmp::Reverse((a.detected_at, a.id))));
    }

    #[test]
    fn an_open_overdue_task_speaks_against_a_still_guard() {
        let mut night = Night::on_plant_7(|_| {});
        night.check_in(at("20:00"), "G-7");
        night.create_task(at("20:01"), "G-7", "T-1", Priority::High);
        night.lies_still(at("20:02"), at("22:06"), "G-7");
        night.until(at("22:06"));
        let Evidence::Inactivity(evidence) = &night.the_alert(Rule::Inactivity).evidence else {
            panic!("wrong")
        };
        assert_eq!(evidence.signals.tasks.state, SignalState::Inactive);
    }
}

mod instruments {
    use super::*;

    #[test]
    fn silence_counts_strictly_and_only_on_duty() {
        let mut night = Night::on_plant_7(|_| {});
        night.heartbeat(at("19:56"), "G-7", 0, 0);
        night.until(at("20:30"));
        assert!(night.alerts().is_empty(), "nobody is on duty");
        night.check_in(at("20:30"), "G-7");
        night.until(at("20:45") + secs(6));
        assert!(night.alerts().is_empty(), "received at 20:30:01, silent 1 ms after 20:45:01");
        night.until(at("20:45") + secs(7));
        assert_eq!(night.the_alert(Rule::DeviceSilent).detected_at, (at("20:45") + secs(1)).just_after());
    }

    #[test]
    fn the_next_message_clears_and_resolves() {
        let mut night = Night::on_plant_7(|_| {});
        night.check_in(at("20:00"), "G-7");
        night.until(at("20:30"));
        night.heartbeat(at("20:31"), "G-7", 0, 0);
        let alert = night.the_alert(Rule::DeviceSilent);
        assert_eq!((alert.status, alert.cleared_at), (Status::Resolved, Some(at("20:31") + secs(1))));
        night.until(at("21:00"));
        assert_eq!(night.alerts_of(Rule::DeviceSilent).len(), 2, "a second silence is a second alert");
    }

    /// Nobody listened before the agent began.
    #[test]
    fn a_shift_that_began_before_the_agent_has_no_silence_from_then() {
        let mut night = Night::on_plant_7(|s| {
            let hours =
                ShiftHours::Weekly { days: Days::ALL, from: LocalTime::hour(17), to: LocalTime::hour(5) };
            s.shifts = vec![Shift { id: id("night"), guard: guard("G-7"), hours, breaks: vec![] }];
            with_policy(s, |p| p.attendance.mode = DutyMode::Roster);
        });
        night.until(at("20:10") + secs(5));
        assert!(night.alerts().is_empty(), "{:?}", night.alerts());
        night.until(at("20:11"));
        assert_eq!(night.the_alert(Rule::DeviceSilent).detected_at, at("20:10").just_after());
    }

    #[test]
    fn a_last_will_raises_at_once_unless_the_handset_is_back_in_a_moment() {
        let mut night = Night::on_plant_7(|_| {});
        night.check_in(at("20:00"), "G-7");
        night.observe(at("20:05"), "hs-7", Kind::Status { online: false });
        night.observe(at("20:05") + secs(3), "hs-7", Kind::Status { online: true });
        night.until(at("20:06"));
        assert!(night.alerts().is_empty());
        night.observe(at("20:07"), "hs-7", Kind::Status { online: false });
        night.until(at("20:07") + secs(6));
        assert_eq!(night.the_alert(Rule::DeviceSilent).detected_at, at("20:07") + secs(1));
    }

    /// One on LoRaWAN tells its charge once or twice a day.
    #[test]
    fn a_button_is_not_watched_for_silence_and_its_last_will_is_told() {
        let mut night = Night::on_plant_7(|s| {
            let mut button = s.devices[0].clone();
            (button.id, button.kind, button.guard) = (id("button-1"), DeviceKind::Button, None);
            s.devices.push(button);
        });
        night.observe(at("20:00"), "button-1", Night::charge(100));
        night.until(at("20:01"));
        assert_eq!(night.the_alert(Rule::DeviceBatteryLow).status, Status::Detected);
        night.until(at("23:00"));
        assert!(night.alerts_of(Rule::DeviceSilent).is_empty(), "{:?}", night.alerts());
        night.observe(at("23:00"), "button-1", Night::charge(1_000));
        night.until(at("23:01"));
        assert_eq!(night.the_alert(Rule::DeviceBatteryLow).status, Status::Resolved, "it was replaced");
        night.observe(at("23:10"), "button-1", Kind::Status { online: false });
        night.until(at("23:11"));
        assert_eq!(night.the_alert(Rule::DeviceSilent).status, Status::Detected);
        night.observe(at("23:30"), "button-1", Kind::Status { online: true });
        assert_eq!(night.the_alert(Rule::DeviceSilent).status, Status::Resolved);
        night.until(at("02:00"));
        assert_eq!(night.alerts_of(Rule::DeviceSilent).len(), 1);
    }

    #[test]
    fn a_reader_without_heartbeats_is_never_silent() {
        let mut night = Night::on_plant_7(|_| {});
        night.observe(at("20:00"), "reader-gate", Night::tag_of("cp-1"));
        night.until(at("22:00"));
        assert!(night.alerts().is_empty());
        night.observe(at("22:00"), "reader-gate", Kind::Heartbeat(Default::default()));
        night.until(at("22:20"));
        assert_eq!(night.the_alert(Rule::DeviceSilent).severity, Severity::Medium);
    }

    #[test]
    fn deep_in_the_night_it_weighs_more() {
        let mut night = Night::on_plant_7(|_| {});
        night.check_in(at("01:00"), "G-7");
        night.until(at("01:30"));
        assert_eq!(night.the_alert(Rule::DeviceSilent).severity, Severity::High);
    }

    #[test]
    fn what_the_agent_could_not_hear_is_no_silence() {
        let mut night = Night::on_plant_7(|_| {});
        night.check_in(at("20:00"), "G-7");
        night.power_cut(at("20:05"), at("21:05"));
        night.until(at("21:06"));
        assert!(night.alerts().is_empty());
        night.until(at("21:16"));
        assert_eq!(night.the_alert(Rule::DeviceSilent).detected_at, (at("21:15") + secs(1)).just_after());
    }

    #[test]
    fn a_last_will_outlives_a_power_cut() {
        let mut night = Night::on_plant_7(|_| {});
        night.check_in(at("20:00"), "G-7");
        night.observe(at("20:10"), "hs-7", Kind::Status { online: false });
        night.power_cut(at("20:10:02"), at("20:10:04"));
        night.power_cut(at("20:10:05"), at("20:10:06"));
        night.until(at("20:10:10"));
        assert!(night.alerts().is_empty(), "the handset has a moment to connect again");
        night.until(at("20:10:12"));
        assert_eq!(night.the_alert(Rule::DeviceSilent).detected_at, at("20:10:01"));
    }

    #[test]
    fn a_last_will_that_was_judged_is_not_judged_again() {
        let mut night = Night::on_plant_7(|_| {});
        night.observe(at("20:10"), "hs-7", Kind::Status { online: false });
        night.until(at("20:10:30"));
        let check_in =
            Attendance { action: AttendanceAction::CheckIn, guard: guard("G-7"), biometric_permille: None };
        night.observe_late(at("20:09"), at("20:20"), "reader-gate", Kind::Attendance(check_in));
        night.power_cut(at("20:20:10"), at("20:20:20"));
        night.until(at("20:22"));
        assert!(night.alerts().is_empty(), "nobody carried it when it was judged");
    }

    #[test]
    fn one_event_sent_twice_counts_once() {
        let mut night = Night::on_plant_7(|_| {});
        let observation = vigil_core::observation::Observation::new(
            id("hs-7"),
            at("20:00"),
            at("20:00"),
            Some("event-1"),
            Kind::Activity("unlock".into()),
        );
        let first = night.engine.on_observation(observation.clone());
        let second = night.engine.on_observation(observation);
        assert_eq!(first.observation.unwrap().1, Outcome::Applied);
        assert_eq!(second.observation.unwrap().1, Outcome::Duplicate);
    }
}

mod attendance {
    use super::*;

    fn with_shift() -> Night {
        Night::on_plant_7(|s| {
            let hours =
                ShiftHours::Weekly { days: Days::ALL, from: LocalTime::hour(21), to: LocalTime::hour(5) };
            s.shifts = vec![Shift { id: id("night"), guard: guard("G-7"), hours, breaks: vec![] }];
        })
    }

    #[test]
    fn a_guard_who_does_not_come_is_absent_until_he_does() {
        let mut night = with_shift();
        night.until(at("21:15") + secs(5));
        assert!(night.alerts().is_empty(), "strictly after the grace");
        night.until(at("21:15") + secs(6));
        assert_eq!(night.the_alert(Rule::GuardAbsent).detected_at, at("21:15").just_after());
        night.check_in(at("21:20"), "G-7");
        let alert = night.the_alert(Rule::GuardAbsent);
        assert_eq!((alert.status, alert.cleared_at), (Status::Resolved, Some(at("21:20"))));
    }

    #[test]
    fn a_check_in_that_was_held_back_withdraws_it() {
        let mut night = with_shift();
        night.until(at("21:30"));
        let attendance = vigil_core::observation::Attendance {
            action: AttendanceAction::CheckIn,
            guard: guard("G-7"),
            biometric_permille: None,
        };
        night.observe_late(at("20:58"), at("21:31"), "hs-7", Kind::Attendance(attendance));
        assert_eq!(night.the_alert(Rule::GuardAbsent).status, Status::FalsePositive);
    }

    #[test]
    fn with_the_roster_as_duty_nobody_has_to_check_in() {
        let mut night = Night::on_plant_7(|s| {
            let hours =
                ShiftHours::Weekly { days: Days::ALL, from: LocalTime::hour(21), to: LocalTime::hour(5) };
            s.shifts = vec![Shift { id: id("night"), guard: guard("G-7"), hours, breaks: vec![] }];
            with_policy(s, |p| p.attendance.mode = DutyMode::Roster);
        });
        night.lies_still(at("21:00"), at("23:30"), "G-7");
        assert!(night.alerts_of(Rule::GuardAbsent).is_empty());
        assert_eq!(night.the_alert(Rule::Inactivity).detected_at, at("23:00"));
    }

    #[test]
    fn a_break_without_end_stops_being_one() {
        let mut night = Night::on_plant_7(|_| {});
        night.check_in(at("20:00"), "G-7");
        night.attendance(at("21:00"), "G-7", AttendanceAction::BreakStart);
        night.lies_still(at("21:01"), at("22:00"), "G-7");
        let alert = night.the_alert(Rule::BreakOverrun);
        assert_eq!((alert.detected_at, alert.severity), (at("21:45").just_after(), Severity::Medium));
        night.attendance(at("22:00"), "G-7", AttendanceAction::BreakEnd);
        assert_eq!(night.the_alert(Rule::BreakOverrun).status, Status::Resolved);
    }
}

mod safety {
    use super::*;

    #[test]
    fn a_call_for_help_is_critical_at_once_and_stays_open() {
        let mut night = Night::on_plant_7(|_| {});
        night.observe(at("20:30"), "hs-7", Kind::Sos(Some("gate 3".into())));
        let alert = night.the_alert(Rule::Sos);
        assert_eq!((alert.severity, alert.detected_at), (Severity::Critical, at("20:30")));
        night.observe(at("20:31"), "hs-7", Kind::Sos(None));
        assert_eq!(night.the_alert(Rule::Sos).revision, 2, "pressed again is the same emergency");
        night.until(at("05:00"));
        assert_eq!(night.the_alert(Rule::Sos).cleared_at, None);
    }

    #[test]
    fn a_fallen_guard_is_never_gated_by_duty() {
        let mut night = Night::on_plant_7(|_| {});
        let fallen = vigil_core::observation::Heartbeat { man_down: true, ..Default::default() };
        night.observe(at("13:00"), "hs-8", Kind::Heartbeat(fallen));
        assert_eq!(night.the_alert(Rule::ManDown).severity, Severity::Critical);
    }
}
