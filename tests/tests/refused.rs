//! Every kind of wrong input: acknowledged, counted by reason, kept to be looked at, and harmful to nothing.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use vigil_core::time::Span;
use vigil_tests::house::PATIENCE;
use vigil_tests::house::{
    Agent, Handset, Mosquitto, Plant, Source, eventually, message, now, topic, until, vigil,
};

/// Something wrong that hs-1 says.
struct Wrong {
    topic: String,
    payload: String,
    /// Why the agent refuses it as the broker, which knows who speaks.
    embedded: &'static str,
    /// Why it refuses it behind a broker; `None` if that broker keeps it, or it cannot be told from a good one there.
    external: Option<&'static str>,
}

fn wrong_inputs() -> Vec<Wrong> {
    let heartbeat = |fields: Value| message(now(), fields).to_string();
    let own = |kind: &str| topic("hs-1", kind);
    let content = |reason, topic, payload| Wrong { topic, payload, embedded: reason, external: Some(reason) };
    let another =
        |topic, external| Wrong { topic, payload: heartbeat(json!({})), embedded: "not_allowed", external };
    let in_a_day = message(now() + Span::from_hours(25), json!({})).to_string();
    let too_many = Value::Array(vec![message(now(), json!({"battery": 0.5})); 501]).to_string();
    vec![
        content("not_json", own("heartbeat"), "{\"ts\": \"2026-03-1".to_owned()),
        content("wrong_type", own("heartbeat"), heartbeat(json!({"battery": "full"}))),
        content("wrong_type", own("heartbeat"), json!({"battery": 0.5}).to_string()),
        content("out_of_range", own("heartbeat"), heartbeat(json!({"battery": 1.5}))),
        content("out_of_range", own("location"), heartbeat(json!({"lat": 91.0, "lon": 0.0}))),
        content("future", own("heartbeat"), in_a_day),
        content("too_large", own("activity"), heartbeat(json!({"event": "x".repeat(70_000)}))),
        content("too_large", own("heartbeat"), too_many),
        content("unknown_topic", own("heartbeats"), heartbeat(json!({}))),
        another(topic("hs-99", "heartbeat"), Some("unknown_device")),
        another(topic("hs-2", "heartbeat"), None),
        another("vigil/v1/plant-8/hs-1/heartbeat".to_owned(), None),
    ]
}

fn refusals(agent: &Agent) -> Vec<Value> {
    let ended = vigil(&["status", "--refused", "--json", "--url", &format!("http://{}", agent.page())]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    serde_json::from_str(&ended.out).unwrap()
}

/// Says everything that is wrong, with a good event after each, all of them acknowledged.
fn say_all(handset: &mut Handset, wrong: &[Wrong]) {
    for (n, Wrong { topic: place, payload, .. }) in wrong.iter().enumerate() {
        handset
            .publish(place, payload.as_bytes())
            .unwrap_or_else(|e| panic!("{place}: not acknowledged: {e}"));
        let good = message(now(), json!({"id": format!("good-{n}"), "battery": 0.9}));
        handset.publish(&topic("hs-1", "heartbeat"), good.to_string().as_bytes()).unwrap();
    }
}

/// The refusals that are kept are these, newest first, and counted so.
fn assert_refused(agent: &Agent, expected: &[(&Wrong, &str)]) -> Vec<Value> {
    let kept = refusals(agent);
    let told: Vec<&str> = kept.iter().rev().map(|r| r["reason"].as_str().unwrap()).collect();
    assert_eq!(told, expected.iter().map(|(_, reason)| *reason).collect::<Vec<_>>(), "{kept:#?}");
    let mut counted: BTreeMap<&str, u64> = BTreeMap::new();
    for ((wrong, reason), refusal) in expected.iter().zip(kept.iter().rev()) {
        *counted.entry(reason).or_default() += 1;
        assert_eq!(refusal["topic"], wrong.topic, "{refusal}");
        assert!(!refusal["detail"].as_str().unwrap().is_empty(), "{refusal}");
        let head = refusal["head"].as_str().unwrap();
        assert_eq!(head, wrong.payload.get(..200).unwrap_or(&wrong.payload), "the first 200 bytes");
    }
    assert_eq!(agent.status()["refused"], json!(counted));
    kept
}

#[test]
fn each_is_acknowledged_counted_and_kept_and_all_else_goes_on() {
    let mut agent = Agent::start("gw-1", &Plant::default().guards(2), Source::Embedded, None);
    let wrong = wrong_inputs();
    say_all(&mut Handset::connect(agent.mqtt(), "hs-1", None).unwrap(), &wrong);
    assert_eq!(agent.outcomes("applied"), wrong.len() as u64, "every good event is stored");
    let expected: Vec<_> = wrong.iter().map(|w| (w, w.embedded)).collect();
    let kept = assert_refused(&agent, &expected);
    agent.kill();
    agent.start_again();
    assert_eq!(assert_refused(&agent, &expected), kept, "what was acknowledged outlives a kill");
}

#[test]
fn behind_another_broker_it_is_no_different() {
    let broker = Mosquitto::start(&["gw-1", "hs-1"]);
    let agent = Agent::start("gw-1", &Plant::default().guards(2), Source::External(&broker), None);
    until("the agent is connected", || agent.status()["source"]["connected"] == true);
    let wrong = wrong_inputs();
    let mut handset = Handset::connect(broker.address(), "hs-1", None).unwrap();
    say_all(&mut handset, &wrong);
    // One of the twelve is, without an ACL at that broker, a good event of hs-2.
    let good = wrong.len() as u64 + 1;
    eventually("every good event is stored", PATIENCE, || match agent.outcomes("applied") {
        n if n >= good => Ok(()),
        n => Err(format!("{n} of {good}")),
    });
    assert_eq!(agent.outcomes("applied"), good);
    let expected: Vec<_> = wrong.iter().filter_map(|w| Some((w, w.external?))).collect();
    assert_refused(&agent, &expected);
}

#[test]
fn one_bad_item_of_a_backlog_does_not_take_the_others_along() {
    let agent = Agent::start("gw-1", &Plant::default().guards(1), Source::Embedded, None);
    let mut handset = Handset::connect(agent.mqtt(), "hs-1", None).unwrap();
    let backlog: Vec<Value> = (0..500)
        .map(|n| {
            message(now() - Span::from_secs(500 - n), json!({"battery": if n == 250 { 9.0 } else { 0.5 }}))
        })
        .collect();
    handset.publish(&topic("hs-1", "heartbeat"), Value::Array(backlog).to_string().as_bytes()).unwrap();
    let stored: u64 =
        agent.status()["outcomes"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!(stored, 499);
    let kept = refusals(&agent);
    assert_eq!((kept.len(), &kept[0]["reason"]), (1, &json!("out_of_range")), "{kept:?}");
    assert!(kept[0]["detail"].as_str().unwrap().starts_with("item 250: battery: "), "{}", kept[0]);
}

#[test]
fn a_stranger_is_not_let_in() {
    let agent = Agent::start("gw-1", &Plant::default().guards(1), Source::Embedded, None);
    let refused = Handset::connect(agent.mqtt(), "hs-2", None).expect_err("hs-2 is in no password file");
    assert!(refused.to_string().contains("not let in"), "{refused}");
    assert_eq!(agent.status()["outcomes"], json!({}));
}
