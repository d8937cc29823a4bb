//! A scripted night, told by what its messages say.

use super::*;
use crate::sources::decode::{self, Decoded};
use std::collections::BTreeMap;
use std::sync::Arc;
use vigil_core::alert::{Rule, Status};
use vigil_core::engine::Engine;
use vigil_core::observation::{Kind, Observation};

fn demo() -> Vec<Message> {
    Night::of(&Scenario::demo()).collect()
}

fn mins(n: i64) -> Timestamp {
    Scenario::demo().starts_at + Span::from_mins(n)
}

fn observations(scenario: &Scenario) -> Vec<Observation> {
    let site = scenario.site().unwrap();
    let decoded = Night::of(scenario).flat_map(|m| {
        let received_at = m.at + Span::from_secs(1);
        let Decoded { observations, refused, .. } =
            decode::message(&site, received_at, &m.topic, m.payload.as_bytes());
        assert_eq!(refused, []);
        observations
    });
    decoded.collect()
}

#[test]
fn the_same_seed_is_the_same_night() {
    assert_eq!(demo(), demo());
    let other = Scenario { seed: 8, ..Scenario::demo() };
    assert!(Night::of(&other).zip(demo()).any(|(a, b)| a.payload != b.payload));
}

#[test]
fn messages_are_in_the_order_of_their_instants_and_have_ids_of_their_own() {
    let night = demo();
    assert!(night.is_sorted_by_key(|m| m.at));
    let mut ids: Vec<_> = night.iter().map(|m| (&m.device, &m.payload)).collect();
    ids.retain(|(_, payload)| payload.starts_with('{'));
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), all);
}

#[test]
fn every_message_is_of_the_contract() {
    let scenario = Scenario::demo();
    assert_eq!(observations(&scenario).len(), demo().len());
    assert!(observations(&Scenario::sized(40, 90, 3)).len() > 40 * 90 * 2);
}

#[test]
fn who_fell_still_is_alive_and_does_nothing() {
    let scenario = Scenario::demo();
    let after =
        observations(&scenario).into_iter().filter(|o| o.device.as_str() == "hs-G-3" && o.at > mins(21));
    let mut kinds = BTreeMap::new();
    for said in after {
        *kinds.entry(said.kind.name()).or_insert(0) += 1;
        if let Kind::Heartbeat(beat) = said.kind {
            assert_eq!((beat.interactions, beat.steps), (0, 0));
        }
    }
    assert_eq!(kinds, BTreeMap::from([("attendance", 1), ("heartbeat", 519), ("location", 519)]));
}

#[test]
fn a_dead_handset_says_nothing_and_one_that_is_back_says_so() {
    let mut scenario = Scenario::demo();
    let back = Some(Span::from_mins(60));
    scenario.guards[3].behaviours = vec![Behaviour::HandsetDies { at: Span::from_mins(25), back }];
    let dead: Vec<_> = Night::of(&scenario).filter(|m| m.device == "hs-G-4" && m.at >= mins(25)).collect();
    assert_eq!((dead[0].at, dead[0].payload.as_str(), dead[0].origin), (mins(25), "offline", Origin::Will));
    assert_eq!((dead[1].at, dead[1].payload.as_str(), dead[1].retain), (mins(60), "online", true));
    assert_eq!(demo().iter().filter(|m| m.device == "hs-G-4" && m.at > mins(25)).count(), 0);
}

#[test]
fn a_call_for_help_is_sent_once() {
    let mut scenario = Scenario::quiet_night();
    scenario.guards[0].behaviours.push(Behaviour::SendsSos { at: Span::from_mins(7) });
    let calls: Vec<_> = Night::of(&scenario).filter(|m| m.topic.ends_with("/sos")).map(|m| m.at).collect();
    assert_eq!(calls, [mins(7)]);
}

#[test]
fn fixes_wander_as_those_of_phones_do() {
    let scenario = Scenario::demo();
    let fixes: Vec<_> = observations(&scenario)
        .into_iter()
        .filter(|o| o.device.as_str() == "hs-G-3" && o.at > mins(21))
        .filter_map(|o| if let Kind::Location(fix) = o.kind { Some(fix) } else { None })
        .collect();
    let mean = |of: fn(&vigil_core::observation::Fix) -> f64| fixes.iter().map(of).sum::<f64>() / 519.0;
    let (lat, lon) = (mean(|f| f.lat), mean(|f| f.lon));
    let off = |f: &vigil_core::observation::Fix| (f.lat - lat).hypot((f.lon - lon) * 0.974) * 111_320.0;
    let spread = (fixes.iter().map(|f| off(f).powi(2)).sum::<f64>() / 519.0).sqrt();
    assert!((4.0..16.0).contains(&spread), "{spread}");
    assert!(fixes.iter().all(|f| (5.0..=40.0).contains(&f.accuracy_m.unwrap())));
}

/// The final alerts of a night, as rule, subject, detected at.
fn alerts(scenario: &Scenario) -> Vec<(Rule, String, Timestamp)> {
    let mut engine = Engine::new(Arc::new(scenario.site().unwrap()), scenario.starts_at);
    let mut latest = BTreeMap::new();
    for observation in observations(scenario) {
        let effects = engine.on_observation(observation).effects;
        latest.extend(effects.alerts.into_iter().map(|alert| (alert.id, alert)));
    }
    let shown =
        latest.into_values().filter(|a| a.rule != Rule::TourAtRisk && a.status != Status::FalsePositive);
    let mut shown: Vec<_> = shown.map(|a| (a.rule, a.subject.to_string(), a.detected_at)).collect();
    shown.sort_by_key(|(_, _, at)| *at);
    shown
}

#[test]
fn nobody_is_alarmed_in_a_quiet_night() {
    assert_eq!(alerts(&Scenario::quiet_night()), []);
    assert_eq!(alerts(&Scenario::sized(12, 300, 4)), []);
}

#[test]
fn the_demo_raises_what_its_script_says() {
    let raised = alerts(&Scenario::demo());
    let run = format!("run:perimeter@{}", mins(15));
    let (silent, missed) = (&raised[0], &raised[1]);
    // A status has no instant of its own: it counts when it arrives.
    let vanished = mins(25) + Span::from_secs(1);
    assert_eq!((silent.0, silent.1.as_str(), silent.2), (Rule::DeviceSilent, "device:hs-G-4", vanished));
    assert_eq!((missed.0, &missed.1, missed.2), (Rule::TourMissed, &run, mins(45).just_after()));
    let (rule, subject, at) = &raised[2];
    assert_eq!((*rule, subject.as_str()), (Rule::Inactivity, "guard:G-3"));
    assert!((mins(121)..mins(160)).contains(at), "{at}");
    assert_eq!(raised.len(), 3, "{raised:?}");
}
