//! Nights that go wrong: hostile users, unlucky operators, messages in any order.

use proptest::prelude::*;
use vigil_core::alert::{Alert, Rule, Status};
use vigil_core::engine::Outcome;
use vigil_core::id::{DeviceId, Tag};
use vigil_core::observation::{Attendance, AttendanceAction, Heartbeat, Kind, Observation, Scan, TaskState};
use vigil_core::policy::DutyMode;
use vigil_core::site::{Shift, ShiftHours, Site};
use vigil_core::time::{Days, LocalTime, Span, Timestamp};
use vigil_tests::night::{Night, at, id, mins, plant_7, secs, tour, with_policy};

fn night_shift(guard: &str) -> Shift {
    let (from, to) = (LocalTime::hour(20), LocalTime::hour(6));
    Shift {
        id: id("night"),
        guard: id(guard),
        hours: ShiftHours::Weekly { days: Days::ALL, from, to },
        breaks: vec![],
    }
}

fn attends(guard: &str, action: AttendanceAction) -> Kind {
    Kind::Attendance(Attendance { action, guard: id(guard), biometric_permille: None })
}

fn lives() -> Kind {
    Kind::Heartbeat(Heartbeat { battery_permille: Some(500), ..Heartbeat::default() })
}

mod identity {
    use super::*;

    fn observe(night: &mut Night, at: Timestamp, event: &str, kind: Kind) -> Outcome {
        let seen = Observation::new(id("hs-7"), at, at + secs(1), Some(event), kind);
        night.take_in(seen)
    }

    #[test]
    fn a_call_for_help_is_no_duplicate_of_another_kind_of_event() {
        let mut night = Night::on_plant_7(|_| {});
        observe(&mut night, at("21:00"), "1", lives());
        assert_eq!(observe(&mut night, at("21:05"), "1", Kind::Sos(None)), Outcome::Applied);
        assert_eq!(night.alerts_of(Rule::Sos).len(), 1);
    }

    #[test]
    fn a_call_for_help_of_a_handset_that_counts_from_one_again_is_heard() {
        let mut night = Night::on_plant_7(|_| {});
        observe(&mut night, at("21:00"), "1", Kind::Sos(None));
        let again = Kind::Sos(Some("still here".into()));
        assert_eq!(observe(&mut night, at("21:05"), "1", again.clone()), Outcome::Applied);
        assert_eq!(observe(&mut night, at("21:05"), "1", again), Outcome::Duplicate);
    }

    #[test]
    fn a_call_for_help_from_a_handset_without_a_clock_is_heard() {
        let mut night = Night::on_plant_7(|_| {});
        let epoch = Timestamp::from_millis(86_400_000);
        night.observe_late(epoch, at("21:00"), "hs-7", Kind::Sos(None));
        assert_eq!(night.the_alert(Rule::Sos).detected_at, at("21:00"));
        let fallen = Heartbeat { man_down: true, ..Heartbeat::default() };
        night.observe_late(epoch, at("21:01"), "hs-8", Kind::Heartbeat(fallen));
        assert_eq!(night.the_alert(Rule::ManDown).detected_at, at("21:01"));
    }

    #[test]
    fn a_guard_of_no_site_file_leaves_nothing_behind() {
        let mut night = Night::on_plant_7(|_| {});
        let before = night.engine.snapshot().unwrap().len();
        for n in 0..1_000 {
            let tag = Tag::new("04AA0000").unwrap();
            let scan = Kind::Scan(Scan { tag, guard: Some(id(&format!("X-{n}"))), sun: None });
            assert_eq!(night.observe(at("21:00") + secs(n), "hs-7", scan), Outcome::UnknownTag);
        }
        let kept = night.engine.snapshot().unwrap().len() - before;
        assert!(kept < 30_000, "{kept} bytes for a thousand strangers");
    }
}

mod silence {
    use super::*;

    #[test]
    fn a_handset_that_never_spoke_is_still_expected_after_a_restart() {
        let mut night = Night::on_plant_7(|_| {});
        night.observe(at("20:00"), "reader-gate", attends("G-7", AttendanceAction::CheckIn));
        night.power_cut(at("20:01"), at("20:01"));
        night.until(at("20:30"));
        assert_eq!(night.alerts_of(Rule::DeviceSilent).len(), 1);
    }

    #[test]
    fn with_the_roster_as_duty_every_night_begins_the_watch_over_the_handset() {
        let mut night = Night::on_plant_7(|s| {
            s.shifts.push(night_shift("G-7"));
            with_policy(s, |p| p.attendance.mode = DutyMode::Roster);
        });
        night.heartbeat(at("19:58"), "G-7", 1, 0);
        night.until(at("20:20"));
        let first = night.the_alert(Rule::DeviceSilent).detected_at;
        assert_eq!(first, at("20:15").just_after());
        let day = Span::from_hours(24);
        night.heartbeat(at("05:00"), "G-7", 1, 0);
        night.lies_still(at("05:01"), at("06:30"), "G-7");
        night.until(at("20:20") + day);
        let all: Vec<_> = night.alerts_of(Rule::DeviceSilent).iter().map(|a| a.detected_at).collect();
        assert_eq!(all, [first, first + day]);
    }

    #[test]
    fn a_last_will_is_not_forgotten_by_a_restart_or_a_reload() {
        for reload in [false, true] {
            let mut night = Night::on_plant_7(|_| {});
            night.check_in(at("20:00"), "G-7");
            night.observe(at("20:10"), "hs-7", Kind::Status { online: false });
            if reload {
                night.reload(plant_7(), at("20:10:02"));
            } else {
                night.power_cut(at("20:10:02"), at("20:10:02"));
            }
            night.until(at("20:11"));
            assert_eq!(night.the_alert(Rule::DeviceSilent).detected_at, at("20:10:01"));
        }
    }
}

mod reload {
    use super::*;

    #[test]
    fn a_reload_between_the_cycle_and_its_judgement_loses_no_evaluation() {
        let mut night = Night::on_plant_7(|_| {});
        night.check_in(at("20:00"), "G-7");
        // A cron job that reloads two seconds after every cycle.
        let mut now = at("20:00") + secs(2);
        while now < at("23:00") {
            night.lies_still(now, now + mins(5), "G-7");
            now = now + mins(5);
            night.reload(plant_7(), now);
        }
        assert_eq!(night.alerts_of(Rule::Inactivity).len(), 1);
    }

    #[test]
    fn a_changed_grace_judges_no_shift_of_the_past_again() {
        let mut parts = plant_7();
        parts.shifts.push(night_shift("G-7"));
        let mut night = Night::on(Site::new(parts.clone()).unwrap(), at("19:55"));
        night.check_in(at("20:12"), "G-7");
        night.check_out(at("05:59"), "G-7");
        night.until(at("10:00"));
        assert!(night.alerts_of(Rule::GuardAbsent).is_empty());
        with_policy(&mut parts, |p| p.attendance.check_in_grace = mins(10));
        night.reload(parts, at("10:01"));
        night.until(at("11:00"));
        assert!(night.alerts_of(Rule::GuardAbsent).is_empty(), "{:#?}", night.alerts());
    }

    #[test]
    fn a_run_in_progress_keeps_the_checkpoints_it_began_with() {
        let mut parts = plant_7();
        parts.tours.push(tour("round", &["21:00"], mins(40)));
        let mut night = Night::on(Site::new(parts.clone()).unwrap(), at("19:55"));
        night.check_in(at("20:00"), "G-7");
        for n in 0..3_i64 {
            night.scan(at("21:00") + mins(n), "G-7", &format!("cp-{n}"));
        }
        parts.tours[0].checkpoints.truncate(3);
        night.reload(parts, at("21:10"));
        for n in 3..6_i64 {
            night.scan(at("21:10") + mins(n), "G-7", &format!("cp-{n}"));
        }
        night.until(at("23:00"));
        assert!(night.alerts_of(Rule::TourPartial).is_empty(), "{:#?}", night.alerts());
        assert_eq!(night.the_run().scanned.len(), 6);
    }

    #[test]
    fn a_tour_that_was_taken_away_raises_nothing() {
        let mut parts = plant_7();
        parts.tours.push(tour("round", &["21:00"], mins(40)));
        let mut night = Night::on(Site::new(parts).unwrap(), at("19:55"));
        night.check_in(at("20:00"), "G-7");
        night.scan(at("21:00"), "G-7", "cp-0");
        night.reload(plant_7(), at("21:10"));
        night.scan(at("21:11"), "G-7", "cp-1");
        night.until(at("23:00"));
        assert!(night.alerts_of(Rule::TourPartial).is_empty());
    }
}

mod duty {
    use super::*;

    fn sleeper_to(to: &str) -> Night {
        let mut night = Night::on_plant_7(|_| {});
        night.check_in(at("20:00"), "G-7");
        night.lies_still(at("20:01"), at(to), "G-7");
        night
    }

    #[test]
    fn a_check_out_that_arrives_behind_the_next_check_in_ends_the_episode_all_the_same() {
        let mut night = sleeper_to("22:31");
        assert_eq!(night.the_alert(Rule::Inactivity).cleared_at, None);
        let arrived = at("22:31:04");
        night.observe_late(at("22:31:03"), arrived, "hs-7", attends("G-7", AttendanceAction::CheckIn));
        night.observe_late(at("22:31:02"), arrived, "hs-7", attends("G-7", AttendanceAction::CheckOut));
        assert_eq!(night.the_alert(Rule::Inactivity).cleared_at, Some(at("22:31:02")));
    }

    #[test]
    fn a_check_out_that_was_held_back_withdraws_what_was_raised_about_the_absent() {
        let mut night = sleeper_to("22:06");
        let raised = night.the_alert(Rule::Inactivity).detected_at;
        assert_eq!(raised, at("22:00"));
        night.observe_late(at("21:00"), at("22:07"), "hs-7", attends("G-7", AttendanceAction::CheckOut));
        let alert = night.the_alert(Rule::Inactivity);
        assert_eq!((alert.status, alert.cleared_at), (Status::FalsePositive, Some(at("22:07"))));
    }

    #[test]
    fn evidence_that_comes_a_little_late_withdraws_like_evidence_that_comes_much_later() {
        let mut night = sleeper_to("22:00");
        night.until(at("22:00:06"));
        let touched = Heartbeat { interactions: 3, ..Heartbeat::default() };
        night.observe_late(at("21:59:50"), at("22:00:20"), "hs-7", Kind::Heartbeat(touched));
        assert_eq!(night.the_alert(Rule::Inactivity).status, Status::FalsePositive);
    }

    #[test]
    fn the_next_check_in_ends_every_absence() {
        let mut night = Night::on_plant_7(|s| s.shifts.push(night_shift("G-7")));
        let day = Span::from_hours(24);
        night.until(at("20:30") + day);
        assert_eq!(night.alerts_of(Rule::GuardAbsent).len(), 2);
        night.check_in(at("20:31") + day, "G-7");
        for alert in night.alerts_of(Rule::GuardAbsent) {
            assert_eq!(alert.status, Status::Resolved, "{}", alert.detected_at);
        }
    }
}

mod blindness {
    use super::*;

    #[test]
    fn a_guard_who_checked_in_while_the_agent_was_down_is_not_called_absent() {
        let mut night = Night::on_plant_7(|s| s.shifts.push(night_shift("G-7")));
        night.until(at("19:58"));
        night.power_cut(at("19:58"), at("20:20"));
        night.until(at("20:21"));
        assert!(night.alerts_of(Rule::GuardAbsent).is_empty());
        // The whole grace, less the two minutes that the agent could hear before the shift.
        night.until(at("20:36"));
        assert_eq!(night.the_alert(Rule::GuardAbsent).detected_at, at("20:15").just_after());
    }

    #[test]
    fn a_run_whose_end_the_agent_slept_through_is_not_called_partial() {
        let mut night = Night::on_plant_7(|s| s.tours.push(tour("round", &["21:00"], mins(40))));
        night.check_in(at("20:00"), "G-7");
        night.scan(at("21:00"), "G-7", "cp-0");
        night.until(at("21:31"));
        night.power_cut(at("21:31"), at("22:20"));
        night.until(at("22:21"));
        assert!(night.alerts_of(Rule::TourPartial).is_empty());
    }

    #[test]
    fn a_box_whose_clock_stood_at_1970_does_not_work_through_half_a_century() {
        let mut parts = plant_7();
        parts.tours.push(tour("round", &["21:00"], mins(40)));
        parts.shifts.push(night_shift("G-7"));
        let mut night = Night::on(Site::new(parts).unwrap(), Timestamp::from_millis(0));
        night.heartbeat(Timestamp::from_millis(1_000), "G-7", 0, 0);
        let started = std::time::Instant::now();
        night.power_cut(Timestamp::from_millis(60_000), at("19:00"));
        night.until(at("19:01"));
        assert!(started.elapsed().as_secs() < 4, "{:?}", started.elapsed());
        night.until(at("21:31"));
        assert_eq!(night.alerts_of(Rule::GuardAbsent).len(), 1);
        assert_eq!(night.alerts_of(Rule::TourMissed).len(), 1);
    }
}

mod shared_handset {
    use super::*;

    #[test]
    fn a_check_in_that_was_held_back_takes_the_handset_from_nobody() {
        let mut night = Night::on_plant_7(|_| {});
        night.observe(at("22:00"), "hs-shared", attends("G-8", AttendanceAction::CheckIn));
        night.observe_late(at("20:00"), at("22:05"), "hs-shared", attends("G-7", AttendanceAction::CheckIn));
        night.observe(at("22:10"), "hs-shared", Kind::Sos(None));
        assert_eq!(night.the_alert(Rule::Sos).guard, Some(id("G-8")));
    }

    #[test]
    fn a_backlog_belongs_to_whoever_carried_the_handset_then() {
        let mut night = Night::on_plant_7(|_| {});
        night.observe(at("20:00"), "hs-shared", attends("G-7", AttendanceAction::CheckIn));
        night.observe(at("22:00"), "hs-shared", attends("G-8", AttendanceAction::CheckIn));
        night.observe_late(at("21:00"), at("22:05"), "hs-shared", Kind::Sos(None));
        assert_eq!(night.the_alert(Rule::Sos).guard, Some(id("G-7")));
    }

    #[test]
    fn a_guard_whose_own_handset_died_is_watched_by_the_spare_one() {
        let mut night = Night::on_plant_7(|_| {});
        night.check_in(at("20:00"), "G-7");
        night.observe(at("20:10"), "hs-7", Kind::Status { online: false });
        night.observe(at("20:15"), "hs-shared", attends("G-7", AttendanceAction::CheckIn));
        for m in 0..180 {
            let now = at("20:16") + mins(m);
            night.observe(now, "hs-shared", lives());
            night.observe(now, "hs-shared", Night::fix(now, 1.0, 1.0));
        }
        night.until(at("23:10"));
        assert_eq!(night.alerts_of(Rule::Inactivity).len(), 1);
    }
}

mod growth {
    use super::*;

    /// Everything that can happen in a night happens in every night: one tour half done, one missed, one asleep, one
    /// handset that dies, a guard who does not come.
    fn a_bad_night(night: &mut Night, shift_by: Span) {
        let on = |clock: &str| at(clock) + shift_by;
        night.check_in(on("20:00"), "G-7");
        night.walks(on("20:01"), on("20:40"), "G-7");
        night.scan(on("20:10"), "G-7", "cp-0");
        night.task(on("20:20"), "G-7", &format!("T-{}", shift_by.millis()), TaskState::Completed);
        night.lies_still(on("20:40"), on("23:30"), "G-7");
        night.observe(on("23:40"), "hs-7", Kind::Status { online: false });
        night.observe(on("05:00"), "hs-7", Kind::Sos(None));
        night.attendance(on("05:10"), "G-7", AttendanceAction::BreakStart);
        night.check_out(on("06:00"), "G-7");
    }

    #[test]
    fn a_season_of_bad_nights_is_not_carried_along() {
        let mut night = Night::on_plant_7(|s| {
            s.shifts.push(night_shift("G-8"));
            s.tours.push(tour("half", &["20:00"], mins(40)));
            s.tours.push(tour("missed", &["02:00"], mins(40)));
        });
        let mut sizes = vec![];
        for day in 0..120 {
            a_bad_night(&mut night, Span::from_hours(24 * day));
            sizes.push(night.engine.snapshot().unwrap().len());
        }
        assert!(
            sizes[119] < sizes[9] * 11 / 10,
            "{} bytes after 10 nights, {} after 120",
            sizes[9],
            sizes[119]
        );
    }

    #[test]
    fn a_handset_that_chatters_all_night_costs_one_entry_a_second() {
        let mut night = Night::on_plant_7(|_| {});
        night.check_in(at("20:00"), "G-7");
        let before = night.engine.snapshot().unwrap().len();
        for n in 0..20_000 {
            let now = at("20:01") + Span::from_millis(n * 5);
            let touched = Heartbeat { interactions: 1, steps: 1, ..Heartbeat::default() };
            night.observe(now, "hs-7", Kind::Heartbeat(touched));
            night.observe(now, "hs-7", Night::fix(now, 1.0, 1.0));
        }
        let kept = night.engine.snapshot().unwrap().len() - before;
        assert!(kept < 40_000, "{kept} bytes for a hundred seconds");
    }

    #[test]
    fn a_guard_who_left_the_roster_is_evaluated_no_more_and_then_forgotten() {
        let mut night = Night::on_plant_7(|_| {});
        night.check_in(at("20:00"), "G-7");
        night.lies_still(at("20:01"), at("22:03"), "G-7");
        let mut parts = plant_7();
        parts.guards.remove(0);
        parts.devices.remove(0);
        night.reload(parts, at("22:03"));
        night.until(at("23:00"));
        assert_eq!(night.the_alert(Rule::Inactivity).cleared_at, Some(at("22:03")));
        let before = night.engine.snapshot().unwrap().len();
        night.until(at("23:00") + Span::from_hours(96));
        let after = night.engine.snapshot().unwrap().len();
        assert!(after * 4 < before, "{before} bytes, and {after} four days later");
    }
}

mod order {
    use super::*;

    /// Something happens `ms` after 21:59:55, beside the end of a cycle and of a run's grace.
    #[derive(Debug, Clone)]
    struct Happens {
        ms: i64,
        delay_ms: i64,
        device: usize,
        what: usize,
        nth: usize,
    }

    fn happens() -> impl Strategy<Value = Happens> {
        let part = (0_i64..10_000, 0_i64..5_000, 0_usize..3, 0_usize..9, 0_usize..6);
        part.prop_map(|(ms, delay_ms, device, what, nth)| Happens { ms, delay_ms, device, what, nth })
    }

    fn kind(h: &Happens) -> Kind {
        let guard = ["G-7", "G-8"][h.nth % 2];
        match h.what {
            0 => lives(),
            1 => Kind::Heartbeat(Heartbeat { interactions: 2, steps: 16, ..Heartbeat::default() }),
            2 => Night::fix(at("22:00"), [0.0, 40.0, 80.0, 120.0, 160.0, 200.0][h.nth], 0.0),
            3 => Night::tag_of(&format!("cp-{}", h.nth)),
            4 => attends(guard, AttendanceAction::CheckIn),
            5 => attends(guard, AttendanceAction::CheckOut),
            6 => attends(guard, AttendanceAction::BreakStart),
            7 => attends(guard, AttendanceAction::BreakEnd),
            _ => Kind::Activity("call".into()),
        }
    }

    /// What the night came to; when a message was received belongs to the message, not to the night.
    fn night(all: &[Happens], delayed: bool) -> Vec<String> {
        let mut night = Night::on_plant_7(|s| {
            s.tours.push(tour("a", &["21:30"], mins(40)));
            s.tours.push(tour("b", &["21:45"], mins(20)));
        });
        night.check_in(at("20:00"), "G-7");
        night.observe(at("20:00"), "hs-shared", attends("G-8", AttendanceAction::CheckIn));
        night.lies_still(at("20:01"), at("21:59"), "G-7");
        // Who carries the shared handset is what it said before: its own messages keep their order, as MQTT keeps it.
        let delay_ms = |h: &Happens| if h.device == 2 { 2_500 } else { h.delay_ms };
        let delay = |h: &Happens| Span::from_millis(if delayed { delay_ms(h) } else { 0 });
        let mut arrivals: Vec<_> = all
            .iter()
            .map(|h| (at("21:59:55") + Span::from_millis(h.ms), h))
            .map(|(happened, h)| (happened + delay(h), happened, h))
            .collect();
        arrivals.sort_by_key(|(received, happened, _)| (*received, *happened));
        for (received, happened, h) in arrivals {
            let device = ["hs-7", "hs-8", "hs-shared"][h.device];
            let id = format!("{h:?}");
            night.take_in(Observation::new(id_of(device), happened, received, Some(&id), kind(h)));
        }
        night.until(at("23:30"));
        let told = |a: &&Alert| {
            let (at, cleared_at) = (a.detected_at, a.cleared_at);
            format!("{} {} {at} {} {} {cleared_at:?} {}", a.rule, a.subject, a.severity, a.status, a.summary)
        };
        // Silence is about receipt, and moves with it.
        let timeless = |a: &&Alert| a.rule != Rule::DeviceSilent;
        night.alerts().iter().filter(|a| timeless(a)).map(told).collect()
    }

    fn id_of(device: &str) -> DeviceId {
        id(device)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn messages_that_overtake_each_other_within_the_settling_change_no_alert(
            mut all in prop::collection::vec(happens(), 1..12),
        ) {
            // What one handset says within one millisecond has no order of its own.
            all.sort_by_key(|h| h.ms);
            all.dedup_by_key(|h| h.ms);
            // And nobody goes twice in five seconds: the time of leaving would be that of the first to be told.
            let mut gone = [false; 2];
            all.retain(|h| h.what != 5 || !std::mem::replace(&mut gone[h.nth % 2], true));
            prop_assert_eq!(night(&all, true), night(&all, false));
        }
    }
}
