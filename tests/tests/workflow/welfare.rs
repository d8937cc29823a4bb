//! `welfare_check`: before a guard is reported as inactive, the handset asks; and a check that somebody orders.

use vigil_core::alert::{Alert, Method, Rule, Status};
use vigil_core::command::{Answer, Objection, Order};
use vigil_core::observation::{AttendanceAction, Kind};
use vigil_core::time::Timestamp;
use vigil_tests::night::{Night, at, device, guard, id, mins, secs, with_policy};

/// A guard who lies still from 22:00 on, on a plant where the handset asks and waits two minutes.
fn sleeper(until: &str) -> Night {
    let mut night = Night::on_plant_7(|s| {
        with_policy(s, |p| p.inactivity.welfare_check = Some(mins(2)));
    });
    night.check_in(at("20:00"), "G-7");
    night.walks(at("20:01"), at("22:00"), "G-7");
    night.lies_still(at("22:00"), at(until), "G-7");
    night
}

fn no_response(alert: &Alert) -> bool {
    let v = &alert.verification;
    v.method == Method::Handset && v.response.as_deref() == Some("no response")
}

#[test]
fn the_handset_asks_first_and_no_answer_raises_the_alert() {
    let mut night = sleeper("00:00");
    night.until(at("00:00") + secs(5));
    let asked = &night.prompts()[0];
    assert_eq!((&asked.guard, &asked.device), (&guard("G-7"), &device("hs-7")));
    assert_eq!((asked.asked_at, asked.answer_by), (at("00:00") + secs(5), at("00:02") + secs(5)));
    night.until(at("00:02") + secs(9));
    assert!(night.alerts().is_empty(), "an answer may be on its way");
    night.until(at("00:02") + secs(10));
    let alert = night.the_alert(Rule::Inactivity);
    assert_eq!((alert.detected_at, alert.revision, alert.status), (at("00:00"), 1, Status::Detected));
    assert!(no_response(alert));
    assert_eq!(alert.verification.at, Some(at("00:02") + secs(5)));
    night.lies_still(at("00:03"), at("01:00"), "G-7");
    assert_eq!(night.prompts().len(), 1, "nobody is asked twice in an episode");
    night.the_alert(Rule::Inactivity);
}

#[test]
fn an_answer_in_time_is_proof_of_life() {
    for (answered, alerts) in [("00:00:06", 0), ("00:02:05", 0), ("00:02:30", 1)] {
        let mut night = sleeper("00:00");
        night.until(at("00:00:05"));
        night.touches(at(answered), "G-7");
        night.until(at("00:04"));
        assert_eq!(night.alerts_of(Rule::Inactivity).len(), alerts, "answered at {answered}");
    }
}

#[test]
fn an_answer_in_time_that_comes_late_withdraws_the_alert() {
    for (answered, status) in [("00:02:05", Status::FalsePositive), ("00:02:06", Status::Detected)] {
        let mut night = sleeper("00:00");
        night.until(at("00:02:30"));
        assert!(no_response(night.the_alert(Rule::Inactivity)));
        night.observe_late(at(answered), at("00:03"), "hs-7", Kind::Activity("confirmed".into()));
        assert_eq!(night.the_alert(Rule::Inactivity).status, status, "answered at {answered}");
        night.lies_still(at("00:03:30"), at("00:30"), "G-7");
        assert_eq!(night.alerts_of(Rule::Inactivity).len(), 1, "the answer is proof of life");
    }
}

#[test]
fn who_answered_is_not_asked_again_for_half_an_hour() {
    let mut night = sleeper("00:00");
    night.until(at("00:00:05"));
    night.touches(at("00:01"), "G-7");
    night.lies_still(at("00:01:30"), at("03:30"), "G-7");
    let asked: Vec<Timestamp> = night.prompts().iter().map(|p| p.asked_at).collect();
    // The answer is a phone event in the windows up to 02:00 as well.
    assert_eq!(asked, [at("00:00:05"), at("02:05:05")]);
}

#[test]
fn a_dead_handset_cannot_ask() {
    let mut night = sleeper("23:40");
    night.until(at("00:10"));
    assert!(night.prompts().is_empty());
    assert!(night.alerts_of(Rule::Inactivity).iter().all(|a| a.verification.method == Method::None));
}

#[test]
fn who_acts_or_leaves_meanwhile_is_not_reported() {
    for action in [AttendanceAction::BreakStart, AttendanceAction::CheckOut] {
        let mut night = sleeper("00:00");
        night.until(at("00:00:05"));
        night.attendance(at("00:01"), "G-7", action);
        night.until(at("00:10"));
        assert!(night.alerts_of(Rule::Inactivity).is_empty(), "{action:?}");
    }
    let mut night = sleeper("00:00");
    night.until(at("00:00:05"));
    night.scan(at("00:01"), "G-7", "cp-3");
    night.until(at("00:04"));
    assert!(night.alerts_of(Rule::Inactivity).is_empty());
}

#[test]
fn a_restart_asks_nobody_twice_and_forgets_nothing() {
    let mut night = sleeper("00:00");
    night.until(at("00:00:05"));
    night.dies_and_lives_again();
    night.until(at("00:03"));
    assert_eq!(night.prompts().len(), 1);
    assert!(no_response(night.the_alert(Rule::Inactivity)));
}

#[test]
fn what_the_agent_could_not_hear_is_no_silence() {
    let mut night = sleeper("00:00");
    night.until(at("00:00:05"));
    night.power_cut(at("00:00:30"), at("00:10:30"));
    night.touches(at("00:10:45"), "G-7");
    night.until(at("00:13"));
    assert!(
        night.alerts_of(Rule::Inactivity).is_empty(),
        "the agent was down while there was time to answer"
    );
}

#[test]
fn without_the_policy_nobody_is_asked() {
    let mut night = Night::on_plant_7(|_| {});
    night.check_in(at("20:00"), "G-7");
    night.lies_still(at("20:01"), at("23:00"), "G-7");
    assert!(night.prompts().is_empty());
    night.the_alert(Rule::Inactivity);
}

mod ordered {
    use super::*;

    fn check(night: &mut Night, now: &str, who: &str) -> Answer {
        night.command(at(now), Order::CheckWelfare(id(who)))
    }

    #[test]
    fn what_came_of_it_is_on_record() {
        let mut night = Night::on_plant_7(|_| {});
        night.check_in(at("20:00"), "G-7");
        assert_eq!(check(&mut night, "20:05", "G-7"), Answer::Done);
        night.touches(at("20:06"), "G-7");
        let heard = &night.welfare()[0];
        assert_eq!((&heard.guard, heard.answered_at), (&guard("G-7"), Some(at("20:06"))));
        assert_eq!(check(&mut night, "20:10", "G-7"), Answer::Done);
        night.until(at("20:12:05"));
        assert_eq!(night.welfare()[1].answered_at, None);
        assert!(night.alerts().is_empty(), "whoever asked is told, and decides");
    }

    #[test]
    fn it_is_entered_in_the_alert_that_it_is_about() {
        for (answer, response) in [(Some("00:31"), "answered"), (None, "no response")] {
            let mut night = Night::on_plant_7(|_| {});
            night.check_in(at("20:00"), "G-7");
            night.lies_still(at("20:01"), at("00:30"), "G-7");
            let raised = night.the_alert(Rule::Inactivity).revision;
            check(&mut night, "00:30", "G-7");
            answer.into_iter().for_each(|t| night.touches(at(t), "G-7"));
            night.until(at("00:32:10"));
            let alert = night.the_alert(Rule::Inactivity);
            assert_eq!(alert.revision, raised + 1);
            assert_eq!(alert.verification.response.as_deref(), Some(response));
        }
    }

    #[test]
    fn what_cannot_be_asked_is_refused_with_the_reason() {
        let mut night = Night::on_plant_7(|_| {});
        let refused = |why| Answer::Refused(why);
        assert_eq!(check(&mut night, "20:00", "G-7"), refused(Objection::NoLiveHandset(guard("G-7"))));
        assert_eq!(check(&mut night, "20:00", "G-9"), refused(Objection::UnknownGuard(guard("G-9"))));
        night.check_in(at("20:01"), "G-7");
        check(&mut night, "20:02", "G-7");
        assert_eq!(check(&mut night, "20:03", "G-7"), refused(Objection::AlreadyAsked(guard("G-7"))));
        assert_eq!(night.refused().len(), 3);
    }

    #[test]
    fn whoever_ordered_it_is_told_also_when_the_clock_is_set_back() {
        let mut night = Night::on_plant_7(|_| {});
        night.check_in(at("20:00"), "G-7");
        check(&mut night, "20:05", "G-7");
        night.engine.set_back(at("19:00"));
        night.until(at("19:03"));
        assert_eq!(night.welfare().len(), 1);
    }

    #[test]
    fn a_question_of_the_rules_serves_the_order_too() {
        let mut night = sleeper("00:00");
        night.until(at("00:00:05"));
        check(&mut night, "00:01", "G-7");
        night.until(at("00:03"));
        assert_eq!((night.prompts().len(), night.welfare().len()), (1, 1));
        assert!(no_response(night.the_alert(Rule::Inactivity)));
    }
}
