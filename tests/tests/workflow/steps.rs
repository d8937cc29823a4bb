//! What people do with alerts: legal steps, refused ones, and each command once.

use proptest::prelude::*;
use vigil_core::alert::{Alert, AlertId, Method, Rule, Status, Verification};
use vigil_core::command::{Answer, Objection, Order, StatusStep, TaskOrder};
use vigil_core::observation::{AttendanceAction, Kind, Priority, TaskState};
use vigil_core::time::{Span, Timestamp};
use vigil_tests::night::{Night, at, guard, id, mins, secs};

use Status::{Confirmed, Detected, FalsePositive, Resolved, Verifying};

/// A night with a call for help at 20:30.
fn emergency() -> (Night, AlertId) {
    let mut night = Night::on_plant_7(|_| {});
    night.observe(at("20:30"), "hs-7", Kind::Sos(None));
    let alert = night.the_alert(Rule::Sos).id;
    (night, alert)
}

/// Every status of an alert with who set it.
fn story(alert: &Alert) -> Vec<(Status, &str)> {
    alert.history.iter().map(|s| (s.status, s.by.as_str())).collect()
}

#[test]
fn each_step_is_taken_or_refused_as_the_rules_have_it() {
    let all = [Detected, Verifying, Confirmed, Resolved, FalsePositive];
    for from in all {
        for to in all {
            let (mut night, alert) = emergency();
            if from != Detected {
                assert_eq!(night.step(at("20:31"), alert, from), Answer::Done);
            }
            let before = night.the_alert(Rule::Sos).clone();
            let answer = night.step(at("20:32"), alert, to);
            let after = night.the_alert(Rule::Sos);
            if from.may_become(to) {
                assert_eq!((answer, after.status, after.revision), (Answer::Done, to, before.revision + 1));
                assert_eq!(after.updated_at, at("20:32"));
                assert!(night.refused().is_empty());
            } else {
                assert_eq!(answer, Answer::Refused(Objection::IllegalStep { from, to }));
                assert_eq!(*after, before, "a refused step leaves the alert as it is");
                assert_eq!(night.refused().len(), 1, "and is on record");
            }
        }
    }
}

#[test]
fn what_was_found_out_is_part_of_the_alert() {
    let (mut night, alert) = emergency();
    let step = StatusStep {
        alert,
        status: Verifying,
        method: Method::Call,
        response: Some("no answer".into()),
        by: "Asha".into(),
        note: Some("called twice".into()),
    };
    assert_eq!(night.command(at("20:31"), Order::AlertStatus(step)), Answer::Done);
    let sos = night.the_alert(Rule::Sos);
    let expected = Verification {
        method: Method::Call,
        response: Some("no answer".into()),
        by: Some("Asha".into()),
        at: Some(at("20:31")),
        notes: Some("called twice".into()),
    };
    assert_eq!(sos.verification, expected);
    assert_eq!(sos.history.last().unwrap().note.as_deref(), Some("called twice"));
    night.step(at("20:40"), alert, Confirmed);
    let sos = night.the_alert(Rule::Sos);
    assert_eq!(sos.verification, expected, "a step without a word of how leaves it");
    assert_eq!(story(sos), [(Detected, "agent"), (Verifying, "Asha"), (Confirmed, "Asha")]);
}

#[test]
fn a_refused_step_says_what_would_be_right_and_who_tried() {
    let (mut night, alert) = emergency();
    night.step(at("20:31"), alert, Resolved);
    let answer = night.command(at("20:32"), Night::says("Ravi", alert, Confirmed));
    let Answer::Refused(why) = answer else { panic!("{answer:?}") };
    assert_eq!(why.to_string(), "an alert that is RESOLVED cannot become CONFIRMED: that is final");
    let refused = &night.refused()[0];
    assert_eq!((refused.kind.as_str(), refused.by.as_deref()), ("alert.status", Some("Ravi")));
    assert_eq!((refused.at, &refused.reason), (at("20:32"), &why.to_string()));
    assert_eq!(refused.subject, format!("alert:{alert}"));
    let stranger = AlertId::parse("00000000-0000-5000-8000-000000000000").unwrap();
    let answer = night.step(at("20:33"), stranger, Verifying);
    assert_eq!(answer, Answer::Refused(Objection::UnknownAlert(stranger)));
}

#[test]
fn a_flood_of_refusals_is_counted_and_not_passed_on() {
    let (mut night, alert) = emergency();
    for n in 0..200 {
        let answer = night.step(at("20:31") + secs(n), alert, Detected);
        assert!(matches!(answer, Answer::Refused(_)));
    }
    assert_eq!(night.refused().len(), 60);
    night.step(at("21:31"), alert, Detected);
    assert_eq!(night.refused().len(), 61, "the next hour is another");
}

#[test]
fn a_command_is_decided_once_however_often_it_comes() {
    let (mut night, alert) = emergency();
    let order = Night::says("Asha", alert, Verifying);
    assert_eq!(night.command_named("c-9", at("20:31"), order.clone(), None), Answer::Done);
    assert_eq!(night.command_named("c-9", at("20:32"), order.clone(), None), Answer::Repeated);
    night.power_cut(at("20:33"), at("20:34"));
    assert_eq!(night.command_named("c-9", at("20:35"), order.clone(), None), Answer::Repeated);
    assert!(night.refused().is_empty(), "a repetition is nothing to be told of");
    assert!(matches!(night.command_named("c-10", at("20:36"), order.clone(), None), Answer::Refused(_)));
    assert_eq!(
        night.command_named("c-10", at("20:37"), order, None),
        Answer::Repeated,
        "refused is decided too"
    );
    assert_eq!(night.the_alert(Rule::Sos).revision, 2);
    assert_eq!(night.refused().len(), 1);
}

#[test]
fn an_operator_ends_an_emergency_and_the_next_call_is_another() {
    for end in [Confirmed, Resolved, FalsePositive] {
        let (mut night, first) = emergency();
        night.step(at("20:31"), first, Verifying);
        night.observe(at("20:32"), "hs-7", Kind::Sos(Some("still here".into())));
        assert_eq!(night.alerts_of(Rule::Sos).len(), 1, "nobody has ended it");
        night.step(at("20:40"), first, end);
        assert_eq!(night.the_alert(Rule::Sos).cleared_at, Some(at("20:40")), "{end}");
        night.observe(at("21:00"), "hs-7", Kind::Sos(None));
        let found: Vec<_> = night.alerts_of(Rule::Sos).iter().map(|a| (a.detected_at, a.status)).collect();
        assert_eq!(found, [(at("20:30"), end), (at("21:00"), Detected)]);
    }
}

#[test]
fn what_is_cleared_can_still_be_verified_and_closed() {
    let mut night = Night::on_plant_7(|_| {});
    night.check_in(at("20:00"), "G-7");
    night.walks(at("20:01"), at("22:00"), "G-7");
    night.lies_still(at("22:00"), at("00:10"), "G-7");
    night.check_out(at("00:12"), "G-7");
    let sleeper = night.the_alert(Rule::Inactivity);
    let (alert, cleared_at) = (sleeper.id, sleeper.cleared_at);
    assert_eq!(cleared_at, Some(at("00:12")));
    assert_eq!(night.step(at("01:00"), alert, Verifying), Answer::Done);
    assert_eq!(night.step(at("02:00"), alert, Confirmed), Answer::Done);
    assert_eq!(night.the_alert(Rule::Inactivity).cleared_at, cleared_at);
}

#[test]
fn what_was_closed_is_cleared_all_the_same_when_it_is_over() {
    for end in [Confirmed, Resolved, FalsePositive] {
        let mut night = Night::on_plant_7(|_| {});
        night.check_in(at("20:00"), "G-7");
        night.attendance(at("20:10"), "G-7", AttendanceAction::BreakStart);
        night.until(at("21:00"));
        for rule in [Rule::DeviceSilent, Rule::BreakOverrun] {
            let alert = night.the_alert(rule).id;
            assert_eq!(night.step(at("21:00"), alert, end), Answer::Done);
        }
        night.attendance(at("21:30"), "G-7", AttendanceAction::BreakEnd);
        for (rule, over_at) in
            [(Rule::DeviceSilent, at("21:30") + secs(1)), (Rule::BreakOverrun, at("21:30"))]
        {
            let alert = night.the_alert(rule);
            assert_eq!((alert.cleared_at, alert.status), (Some(over_at), end), "{rule}");
        }
    }
}

#[test]
fn a_sleeper_whose_alert_was_rejected_is_still_seen_to_wake_up() {
    for end in [Confirmed, Resolved, FalsePositive] {
        let mut night = Night::on_plant_7(|_| {});
        night.check_in(at("20:00"), "G-7");
        night.walks(at("20:01"), at("22:00"), "G-7");
        night.lies_still(at("22:00"), at("00:10"), "G-7");
        let alert = night.the_alert(Rule::Inactivity).id;
        night.step(at("00:10"), alert, end);
        night.walks(at("00:11"), at("00:20"), "G-7");
        let alert = night.the_alert(Rule::Inactivity);
        assert_eq!((alert.cleared_at, alert.status), (Some(at("00:15")), end));
    }
}

#[test]
fn what_people_found_out_is_not_withdrawn() {
    let mut night = Night::on_plant_7(|_| {});
    night.create_task(at("20:00"), "G-7", "T-1", Priority::High);
    night.until(at("20:40"));
    let alert = night.the_alert(Rule::TaskOverdue).id;
    night.step(at("20:41"), alert, Confirmed);
    night.observe_late(at("20:29"), at("20:42"), "hs-7", Night::completes("T-1"));
    assert_eq!(night.the_alert(Rule::TaskOverdue).status, Confirmed);
}

#[test]
fn an_answer_in_time_keeps_an_alert_from_being_passed_up() {
    let ms = Span::from_millis(1);
    let due = at("20:30") + ms;
    for (answered_at, passed_up) in [(due - ms, false), (due, false), (due + ms, true)] {
        let mut night = Night::on_plant_7(|_| {});
        night.create_task(at("20:00"), "G-7", "T-1", Priority::Critical);
        night.until(at("20:16"));
        let alert = night.the_alert(Rule::TaskOverdue).id;
        night.step(answered_at, alert, Verifying);
        night.until(at("21:00"));
        assert_eq!(night.the_alert(Rule::TaskOverdue).escalated, passed_up, "{answered_at}");
    }
}

/// After three days an alert leaves the engine; the store keeps it for 400 days and hands it back.
#[test]
fn an_alert_of_last_week_can_still_be_closed() {
    let mut night = Night::on_plant_7(|_| {});
    night.check_in(at("20:00"), "G-7");
    night.walks(at("20:01"), at("22:00"), "G-7");
    night.lies_still(at("22:00"), at("00:10"), "G-7");
    night.check_out(at("00:12"), "G-7");
    let stored = night.the_alert(Rule::Inactivity).clone();
    let week = at("12:00") + Span::from_hours(7 * 24);
    night.until(week);
    assert!(night.engine.book().get(stored.id).is_none());
    let order = Night::says("Asha", stored.id, Confirmed);
    let unknown = night.command_named("c-1", week, order.clone(), None);
    assert_eq!(unknown, Answer::Refused(Objection::UnknownAlert(stored.id)));
    assert_eq!(night.command_named("c-2", week, order.clone(), Some(stored.clone())), Answer::Done);
    let closed = night.the_alert(Rule::Inactivity);
    assert_eq!((closed.revision, closed.status), (stored.revision + 1, Confirmed));
    let again = night.command_named("c-3", week + mins(1), order, Some(stored.clone()));
    assert!(matches!(again, Answer::Refused(Objection::IllegalStep { .. })), "the newer revision counts");
    night.until(week + Span::from_hours(80));
    assert!(night.engine.book().get(stored.id).is_none(), "and it is forgotten again");
}

#[test]
fn the_operations_centre_gives_tasks_and_takes_them_back() {
    let mut night = Night::on_plant_7(|_| {});
    let task = |guard: Option<&str>| TaskOrder {
        task: id("T-1"),
        title: Some("look at the pump".into()),
        priority: Priority::High,
        guard: guard.map(id),
        created_at: None,
        due_at: None,
    };
    let stranger = night.command(at("20:00"), Order::UpsertTask(task(Some("G-99"))));
    assert_eq!(stranger, Answer::Refused(Objection::UnknownGuard(guard("G-99"))));
    let cancelled = night.command(at("20:00"), Order::CancelTask(id("T-1")));
    assert_eq!(cancelled, Answer::Refused(Objection::UnknownTask(id("T-1"))));
    assert_eq!(night.command(at("20:00"), Order::UpsertTask(task(Some("G-7")))), Answer::Done);
    night.until(at("20:31"));
    let alert = night.the_alert(Rule::TaskOverdue);
    assert_eq!((alert.detected_at, alert.guard.clone()), (at("20:30").just_after(), Some(guard("G-7"))));
    assert_eq!(night.command(at("20:40"), Order::CancelTask(id("T-1"))), Answer::Done);
    let alert = night.the_alert(Rule::TaskOverdue);
    assert_eq!(alert.history.last().unwrap().note.as_deref(), Some("cancelled 10 min late"));
    night.task(at("20:41"), "G-7", "T-1", TaskState::Completed);
    assert_eq!(night.alerts_of(Rule::TaskOverdue).len(), 1);
}

/// What happens in a made-up night: a call, a task, or a step of some alert that there is.
#[derive(Debug, Clone)]
enum Event {
    Sos,
    Task(u8),
    Step(prop::sample::Index, Status),
    Wait(i64),
}

fn event() -> impl Strategy<Value = Event> {
    let status = prop::sample::select(vec![Detected, Verifying, Confirmed, Resolved, FalsePositive]);
    prop_oneof![
        Just(Event::Sos),
        (0_u8..3).prop_map(Event::Task),
        (any::<prop::sample::Index>(), status).prop_map(|(which, status)| Event::Step(which, status)),
        (1_i64..40).prop_map(Event::Wait),
    ]
}

/// Every revision of the night, if the power is cut before these events and each command comes twice.
fn told(events: &[Event], cuts: &[usize]) -> Vec<String> {
    let mut night = Night::on_plant_7(|_| {});
    let mut now: Timestamp = at("20:00");
    for (n, event) in events.iter().enumerate() {
        if cuts.contains(&n) {
            night.dies_and_lives_again();
        }
        now = now + secs(10);
        match event {
            Event::Sos => drop(night.observe(now, "hs-7", Kind::Sos(None))),
            Event::Task(task) => night.create_task(now, "G-7", &format!("T-{task}"), Priority::Critical),
            Event::Wait(minutes) => now = now + mins(*minutes),
            Event::Step(which, status) => {
                let alerts: Vec<AlertId> = night.alerts().iter().map(|a| a.id).collect();
                if !alerts.is_empty() {
                    let order = Night::says("Asha", *which.get(&alerts), *status);
                    let name = format!("step-{n}");
                    night.command_named(&name, now, order.clone(), None);
                    if cuts.contains(&n) {
                        assert_eq!(night.command_named(&name, now, order, None), Answer::Repeated);
                    }
                }
            }
        }
    }
    night.until(now + Span::from_hours(2));
    night.revisions().iter().map(|alert| serde_json::to_string(alert).expect("an alert is JSON")).collect()
}

proptest! {
    #[test]
    fn a_restart_and_a_second_delivery_change_nothing(
        events in prop::collection::vec(event(), 1..30),
        cuts in prop::collection::vec(0_usize..30, 1..6),
    ) {
        prop_assert_eq!(told(&events, &cuts), told(&events, &[]));
    }
}
