//! Clocks that are wrong: those of devices, and that of the gateway.

// All of it is test code: a failed unwrap is a failed test.
#![cfg(test)]

use proptest::prelude::*;
use vigil_core::alert::{Rule, Severity, Status};
use vigil_core::engine::Outcome;
use vigil_core::evidence::Evidence;
use vigil_core::observation::{AttendanceAction, Heartbeat, Kind, Priority, TaskState};
use vigil_core::policy::{Maintenance, Monitor};
use vigil_core::site::{Shift, ShiftHours, SiteParts};
use vigil_core::time::{Days, LocalTime, Span, Timestamp};
use vigil_tests::night::{Night, at, id, mins, secs, tour, with_policy};

/// A device of the plant whose clock is behind by so much (ahead, if that is negative).
mod device {
    use super::*;

    /// The handset says `kind` at the true instant `now`; its clock is behind.
    fn says(night: &mut Night, now: Timestamp, behind: Span, kind: Kind) -> Outcome {
        night.observe_late(now - behind, now, "hs-7", kind)
    }

    /// A heartbeat a minute in `[from, to)`.
    fn beats(night: &mut Night, from: Timestamp, to: Timestamp, behind: Span) {
        let mut now = from;
        while now < to {
            says(night, now, behind, Kind::Heartbeat(Heartbeat::default()));
            now = now + mins(1);
        }
    }

    #[test]
    fn the_fifth_live_message_tells_and_the_alert_resolves_when_the_median_is_back() {
        let mut night = Night::on_plant_7(|_| {});
        beats(&mut night, at("20:00"), at("20:04"), mins(-10));
        assert!(night.alerts().is_empty());
        beats(&mut night, at("20:04"), at("20:10"), mins(-10));
        let alert = night.the_alert(Rule::ClockSkew);
        assert_eq!((alert.severity, alert.detected_at), (Severity::Low, at("20:04")));
        assert!(alert.summary.contains("10 min ahead"), "{}", alert.summary);
        let Evidence::Skew(evidence) = &alert.evidence else { panic!("wrong evidence") };
        assert_eq!((evidence.behind_ms, evidence.max_ms), (-600_000, 120_000));
        // The clock is set right: the first message afterwards is of another pace and does not count.
        beats(&mut night, at("20:10"), at("20:20"), secs(1));
        let alert = night.the_alert(Rule::ClockSkew);
        assert_eq!((alert.cleared_at, alert.status), (Some(at("20:12")), Status::Resolved));
    }

    #[test]
    fn two_minutes_are_right_and_a_millisecond_more_is_wrong() {
        for way in [1, -1] {
            let edge = Span::from_millis(way * 120_000);
            let beyond = Span::from_millis(way * 120_001);
            for (behind, alerts) in [(edge, 0), (beyond, 1)] {
                let mut night = Night::on_plant_7(|_| {});
                beats(&mut night, at("20:00"), at("21:00"), behind);
                assert_eq!(night.alerts_of(Rule::ClockSkew).len(), alerts, "{behind}");
            }
        }
    }

    #[test]
    fn a_clock_that_is_behind_by_decades_misses_no_tour() {
        let mut night = Night::on_plant_7(|parts| parts.tours = vec![tour("round", &["22:00"], mins(40))]);
        let behind = Span::from_hours(24 * 365 * 56);
        beats(&mut night, at("21:00"), at("22:10"), behind);
        assert_eq!(night.outcomes()[3..6], [Outcome::TooOld, Outcome::Applied, Outcome::Applied]);
        for n in 0..6 {
            let place = Night::tag_of(&format!("cp-{n}"));
            assert_eq!(says(&mut night, at("22:10") + mins(n), behind, place), Outcome::Applied);
        }
        night.until(at("23:59"));
        assert!(night.alerts_of(Rule::TourMissed).is_empty());
        assert_eq!(night.runs()[0].started_at, Some(at("22:10")));
    }

    #[test]
    fn a_backlog_of_a_clock_that_is_ahead_lies_where_it_happened() {
        let mut night = Night::on_plant_7(|parts| parts.tours = vec![tour("round", &["22:00"], mins(40))]);
        let ahead = mins(-45);
        beats(&mut night, at("21:00"), at("21:30"), ahead);
        // Six scans without a connection, sent when it is back: the last may start at 22:30.
        for n in 0..6 {
            let made = at("22:25") + mins(n);
            night.observe_late(made - ahead, at("23:00"), "hs-7", Night::tag_of(&format!("cp-{n}")));
        }
        night.until(at("23:30"));
        assert_eq!(night.the_alert(Rule::TourMissed).status, Status::FalsePositive);
        assert_eq!(night.runs().last().unwrap().started_at, Some(at("22:25")));
    }

    #[test]
    fn what_was_held_back_is_late_and_no_skew() {
        let mut night = Night::on_plant_7(|_| {});
        beats(&mut night, at("20:00"), at("20:10"), secs(1));
        for n in 0..40 {
            let kind = Kind::Heartbeat(Heartbeat { steps: n, ..Heartbeat::default() });
            let outcome = night.observe_late(at("20:10") + mins(i64::from(n)), at("21:00"), "hs-7", kind);
            assert_eq!(outcome, Outcome::Late);
        }
        beats(&mut night, at("21:01"), at("22:00"), secs(1));
        assert!(night.alerts_of(Rule::ClockSkew).is_empty());
    }

    #[test]
    fn a_restart_does_not_tell_it_twice_and_maintenance_mutes_it() {
        let mut night = Night::on_plant_7(|_| {});
        beats(&mut night, at("20:00"), at("20:10"), mins(5));
        night.power_cut(at("20:10"), at("20:20"));
        beats(&mut night, at("20:21"), at("20:40"), mins(5));
        assert_eq!(night.the_alert(Rule::ClockSkew).revision, 1);
        let mut night = Night::on_plant_7(|parts| {
            with_policy(parts, |p| {
                let (starts_at, ends_at) = (at("20:00"), at("20:30"));
                p.maintenance = vec![Maintenance { starts_at, ends_at, rules: vec![Rule::ClockSkew] }];
            });
        });
        beats(&mut night, at("20:00"), at("21:00"), mins(5));
        assert_eq!(night.the_alert(Rule::ClockSkew).detected_at, at("20:30"), "it outlasts the maintenance");
        assert_eq!(
            night.engine.view(at("21:00")).devices[0].clock_behind_secs,
            Some(300),
            "but it is corrected"
        );
    }
}

/// The gateway's own clock.
mod gateway {
    use super::*;

    /// Two tours, a shift that nobody comes to, and everything else as it is.
    fn plant(parts: &mut SiteParts) {
        parts.tours =
            vec![tour("late", &["22:00", "00:30"], mins(40)), tour("round", &["23:00", "02:00"], mins(40))];
        parts.shifts = vec![Shift {
            id: id("early"),
            guard: id("G-8"),
            hours: ShiftHours::Weekly {
                days: Days::ALL,
                from: LocalTime::parse("22:30").unwrap(),
                to: LocalTime::parse("05:00").unwrap(),
            },
            breaks: vec![],
        }];
    }

    /// Until 21:30, when power fails.
    fn evening(change: impl FnOnce(&mut SiteParts)) -> Night {
        let mut night = Night::on_plant_7(|parts| {
            plant(parts);
            change(parts);
        });
        night.check_in(at("20:00"), "G-7");
        night.walks(at("20:01"), at("21:20"), "G-7");
        night.create_task(at("21:20"), "G-7", "T-old", Priority::Low);
        night
    }

    /// From 22:10, when power is back, to 03:00: a walk, a break that is too long, tasks done and not done, a call for
    /// help, and a guard who lies still from midnight on.
    fn rest(night: &mut Night, pause: impl Fn(&mut Night, Timestamp)) {
        night.walks(at("22:10"), at("22:20"), "G-7");
        night.create_task(at("22:12"), "G-7", "T-1", Priority::Critical);
        night.create_task(at("22:13"), "G-7", "T-2", Priority::High);
        pause(night, at("22:20"));
        night.attendance(at("22:20"), "G-7", AttendanceAction::BreakStart);
        night.walks(at("22:21"), at("22:50"), "G-7");
        night.task(at("22:50"), "G-7", "T-1", TaskState::Completed);
        pause(night, at("22:55"));
        for n in 0..6 {
            night.scan(at("22:56") + mins(n), "G-7", &format!("cp-{n}"));
        }
        night.observe(at("23:05"), "hs-7", Kind::Sos(Some("at the gate".into())));
        night.walks(at("23:06"), at("23:20"), "G-7");
        night.attendance(at("23:20"), "G-7", AttendanceAction::BreakEnd);
        pause(night, at("23:30"));
        night.walks(at("23:31"), at("00:00"), "G-7");
        night.lies_still(at("00:00"), at("02:20"), "G-7");
        pause(night, at("02:20"));
        night.lies_still(at("02:21"), at("02:40"), "G-7");
        night.until(at("03:00"));
    }

    /// Everything that must be the same as with a right clock: all but ids, revisions and notes.
    fn told(night: &Night) -> Vec<impl PartialEq + std::fmt::Debug> {
        let alerts = night.alerts().into_iter().map(|a| {
            let instants = (a.detected_at, a.cleared_at);
            let words = (a.summary.clone(), a.evidence.clone(), a.guard.clone());
            (a.rule, a.subject.clone(), instants, a.severity, a.status, a.escalated, words)
        });
        alerts.collect()
    }

    fn with_a_right_clock(change: impl Fn(&mut SiteParts)) -> Night {
        let mut night = evening(change);
        night.power_cut(at("21:30"), at("22:10"));
        rest(&mut night, |_, _| {});
        night
    }

    #[test]
    fn a_night_whose_time_is_learnt_late_is_the_night_of_a_right_clock() {
        let right = with_a_right_clock(|_| {});
        assert!(right.alerts().len() > 7, "{:#?}", right.alerts());
        for learnt in ["22:20", "22:55", "23:30", "02:20"] {
            let mut night = evening(|_| {});
            night.wakes_without_time(at("21:30"), at("22:10"));
            rest(&mut night, |night, now| {
                if now == at(learnt) {
                    night.learns_the_time(now);
                }
            });
            assert_eq!(told(&night), told(&right), "learnt at {learnt}");
            assert_eq!(night.runs(), right.runs(), "learnt at {learnt}");
        }
    }

    #[test]
    fn a_wrong_clock_that_was_believed_is_corrected_as_well() {
        let right = with_a_right_clock(|_| {});
        for (shown, learnt) in
            [("21:30", "22:55"), ("21:10", "22:55"), ("23:10", "22:20"), ("00:40", "23:30")]
        {
            let mut night = evening(|_| {});
            night.wakes_with_a_wrong_clock(at("21:30"), at(shown), at("22:10"));
            rest(&mut night, |night, now| {
                if now == at(learnt) {
                    night.learns_the_time(now);
                }
            });
            // What was raised in the wrong hour is taken back, and nothing else is left of it.
            let wrong = |a: &&vigil_core::alert::Alert| {
                a.history.last().is_some_and(|s| s.note.as_deref() == Some("not so by the right clock"))
            };
            let taken_back: Vec<_> = night.alerts().into_iter().filter(wrong).map(|a| a.id).collect();
            let all = night.alerts();
            let kept = all.iter().filter(|a| !taken_back.contains(&a.id));
            let mut rules: Vec<_> =
                kept.map(|a| (a.rule, a.subject.clone(), a.detected_at, a.cleared_at)).collect();
            let mut expected: Vec<_> = right
                .alerts()
                .iter()
                .map(|a| (a.rule, a.subject.clone(), a.detected_at, a.cleared_at))
                .collect();
            rules.sort();
            expected.sort();
            assert_eq!(rules, expected, "{shown}, learnt at {learnt}");
        }
    }

    /// A handset on the plant that is heard a minute after the box woke up at 22:10, and never again.
    fn falls_silent_without_time(change: impl Fn(&mut SiteParts)) -> Night {
        let mut night = Night::on_plant_7(change);
        night.check_in(at("20:00"), "G-7");
        night.lies_still(at("20:01"), at("21:00"), "G-7");
        night.wakes_without_time(at("21:00"), at("22:10"));
        night.heartbeat(at("22:11"), "G-7", 1, 0);
        night.until(at("22:30"));
        night
    }

    #[test]
    fn what_was_told_is_not_kept_back_by_the_right_clock() {
        let mut night = falls_silent_without_time(|s| {
            let rules = vec![Rule::DeviceSilent];
            let muted = Maintenance { starts_at: at("22:00"), ends_at: at("23:00"), rules };
            with_policy(s, |p| p.maintenance = vec![muted]);
        });
        night.the_alert(Rule::DeviceSilent);
        night.learns_the_time(at("22:40"));
        night.until(at("23:10"));
        night.heartbeat(at("23:11"), "G-7", 1, 0);
        assert_eq!(night.the_alert(Rule::DeviceSilent).status, Status::Resolved);
    }

    #[test]
    fn a_maintenance_ends_also_while_the_time_is_not_known() {
        let mut night = falls_silent_without_time(|s| {
            let muted = Maintenance { starts_at: at("21:00"), ends_at: at("21:30"), rules: vec![] };
            with_policy(s, |p| p.maintenance = vec![muted]);
        });
        assert!(night.alerts().is_empty());
        // By the clock of the box, it is 21:31.
        night.until(at("22:41"));
        assert_eq!(night.the_alert(Rule::DeviceSilent).status, Status::Detected);
        night.learns_the_time(at("22:50"));
        night.heartbeat(at("22:51"), "G-7", 1, 0);
        assert_eq!(night.the_alert(Rule::DeviceSilent).status, Status::Resolved);
    }

    #[test]
    fn nobody_failed_to_answer_who_was_never_asked() {
        let mut night = Night::on_plant_7(|s| {
            with_policy(s, |p| p.inactivity.welfare_check = Some(mins(2)));
        });
        night.check_in(at("20:00"), "G-7");
        night.lies_still(at("20:01"), at("21:50"), "G-7");
        night.wakes_without_time(at("21:50"), at("22:00"));
        night.lies_still(at("22:00"), at("23:30"), "G-7");
        assert!(night.prompts().is_empty(), "it is not known to be night");
        night.learns_the_time(at("23:30"));
        let alert = night.the_alert(Rule::Inactivity);
        assert_eq!(alert.verification.response, None, "{alert:?}");
    }

    #[test]
    fn what_needs_no_wall_clock_goes_on_and_the_rest_waits() {
        let mut night = evening(|_| {});
        night.wakes_without_time(at("21:30"), at("22:10"));
        rest(&mut night, |_, _| {});
        let mut rules: Vec<Rule> = night.alerts().iter().map(|a| a.rule).collect();
        rules.sort();
        rules.dedup();
        let going_on =
            [Rule::TaskOverdue, Rule::TaskAtRisk, Rule::Sos, Rule::DeviceSilent, Rule::BreakOverrun];
        assert_eq!(rules, going_on);
        assert!(night.runs().is_empty());
        let help = night.the_alert(Rule::Sos);
        assert_eq!(help.detected_at, at("23:05") + secs(1) - mins(40), "provisional time");
        assert!(help.summary.ends_with("(the gateway's clock is not set: the time is a guess)"));
        assert!(night.engine.view(at("22:20")).provisional);
    }

    #[test]
    fn an_alert_keeps_its_id_and_says_how_good_its_time_is() {
        let mut night = evening(|_| {});
        night.wakes_without_time(at("21:30"), at("22:10"));
        rest(&mut night, |night, now| {
            if now == at("23:30") {
                let before = night.the_alert(Rule::Sos).clone();
                night.learns_the_time(now);
                let after = night.the_alert(Rule::Sos);
                assert_eq!((after.id, after.revision), (before.id, before.revision + 1));
                assert_eq!(after.detected_at, at("23:05"), "as the handset told it");
                assert!(after.summary.ends_with("at 23:05: at the gate"), "{}", after.summary);
                let note = after.history[0].note.as_deref();
                assert_eq!(note, Some("the gateway's clock was wrong then; corrected, good to 2 s"));
            }
        });
        // T-2 was overdue in provisional time; its completion finds the alert under its first id.
        let overdue = |night: &Night| {
            let found =
                night.alerts_of(Rule::TaskOverdue).into_iter().find(|a| a.summary.contains("T-2")).cloned();
            found.unwrap()
        };
        let open = overdue(&night);
        assert_eq!(open.cleared_at, None);
        night.task(at("03:10"), "G-7", "T-2", TaskState::Completed);
        let done = overdue(&night);
        assert_eq!((done.id, done.status, done.cleared_at), (open.id, Status::Resolved, Some(at("03:10"))));
    }

    #[test]
    fn where_guards_are_watched_round_the_clock_stillness_is_found_without_one() {
        let always = |parts: &mut SiteParts| with_policy(parts, |p| p.inactivity.monitor = Monitor::Always);
        let mut night = evening(always);
        night.wakes_without_time(at("21:30"), at("22:10"));
        rest(&mut night, |_, _| {});
        let alert = night.the_alert(Rule::Inactivity);
        assert!((at("01:00")..at("02:30")).contains(&(alert.detected_at + mins(40))), "{alert:?}");
        let id = alert.id;
        night.learns_the_time(at("03:00"));
        let alert = night.the_alert(Rule::Inactivity);
        let right = with_a_right_clock(always);
        assert_eq!((alert.id, alert.detected_at), (id, right.the_alert(Rule::Inactivity).detected_at));
    }

    #[test]
    fn a_clock_that_once_stood_in_the_future_is_set_back() {
        let mut night = evening(|_| {});
        // The box believes that it is 2036. The devices know better, and are corrected; a guard comes.
        let decade = Span::from_hours(24 * 3_652);
        night.wakes_with_a_wrong_clock(at("21:30"), at("21:40") + decade, at("21:40"));
        for n in 0..8 {
            night.heartbeat(at("21:40") + mins(n), "G-7", 1, 0);
        }
        night.check_in(at("21:50"), "G-7");
        night.wakes_with_a_wrong_clock(at("22:01"), at("22:02") + decade, at("22:10"));
        night.learns_the_time(at("22:11"));
        assert_eq!(night.engine.now(), at("22:11"));
        rest(&mut night, |_, _| {});
        let on_duty = night.engine.view(at("03:00")).guards[0].on_duty_since;
        assert_eq!(on_duty, Some(at("22:10")), "who was here is still here");
        assert_eq!(night.the_alert(Rule::Sos).detected_at, at("23:05"));
        assert_eq!(night.the_alert(Rule::BreakOverrun).detected_at, (at("22:20") + mins(45)).just_after());
        assert_eq!(night.alerts_of(Rule::Inactivity).len(), 1);
        assert!(night.alerts().iter().all(|a| a.detected_at < at("03:00")), "{:#?}", night.alerts());
        let skew = night.the_alert(Rule::ClockSkew);
        assert_eq!((skew.detected_at, skew.status), (at("22:10"), Status::Resolved));
        assert_eq!(
            skew.history[0].note.as_deref(),
            Some("the clock stood in the future: no later than this")
        );
    }

    #[test]
    fn an_agent_that_never_knew_the_time_begins_when_it_learns_it() {
        let mut parts = vigil_tests::night::plant_7();
        plant(&mut parts);
        let site = vigil_core::site::Site::new(parts).unwrap();
        let mut night = Night::on(site, Timestamp::parse("2025-01-01T00:00:00Z").unwrap());
        let began = night.engine.now();
        night.wakes_without_time(began, at("22:10"));
        rest(&mut night, |night, now| {
            if now == at("22:20") {
                night.learns_the_time(now);
            }
        });
        assert_eq!(night.engine.view(at("03:00")).blind_secs, 0);
        assert!(night.runs().iter().all(|r| r.scheduled_at >= at("22:00")), "{:#?}", night.runs());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Whenever it is learnt, and however wrong it was.
        #[test]
        fn it_does_not_matter_when_and_by_how_much(learnt in 0_i64..280, down in 1_i64..40) {
            let up_at = at("22:10");
            let night_of = |wake: &dyn Fn(&mut Night), learn: bool| {
                let mut night = evening(|_| {});
                night.walks(at("21:21"), up_at - mins(down), "G-7");
                wake(&mut night);
                let mut now = up_at;
                for n in 0..280 {
                    if learn && n == learnt {
                        night.learns_the_time(now);
                    }
                    night.heartbeat(now, "G-7", u32::from(n < 60), 0);
                    if n % 40 == 7 {
                        night.create_task(now, "G-7", &format!("T-{n}"), Priority::Critical);
                        night.scan(now, "G-7", &format!("cp-{}", n % 6));
                    }
                    now = now + mins(1);
                }
                night.until(now);
                night
            };
            let right = night_of(&|night| night.power_cut(up_at - mins(down), up_at), false);
            let late = night_of(&|night| night.wakes_without_time(up_at - mins(down), up_at), true);
            prop_assert_eq!(told(&late), told(&right));
            prop_assert_eq!(late.runs(), right.runs());
        }
    }
}
