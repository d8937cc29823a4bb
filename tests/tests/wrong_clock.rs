//! An agent on a box without a battery: it starts in 1970, and the operations centre tells it what time it is.

// All of it is test code: a failed unwrap is a failed test.
#![cfg(test)]

use serde_json::{Value, json};
use vigil_core::time::{Span, Timestamp};
use vigil_tests::house::{
    Agent, FaultyNoc, Handset, PATIENCE, Plant, eventually, fetch, json as get, message, now, topic, until,
};

fn instant(value: &Value) -> Timestamp {
    Timestamp::parse(value.as_str().unwrap()).unwrap()
}

fn is_about(at: Timestamp, expected: Timestamp) -> bool {
    at.since(expected).millis().abs() < Span::from_secs(5).millis()
}

#[test]
fn a_box_that_starts_in_1970_calls_for_help_at_once_and_corrects_it_when_it_knows_the_time() {
    let mut noc = FaultyNoc::start();
    noc.fall();
    let plant = Plant::default().guards(1);
    let mut agent =
        Agent::start_when_the_wall_clock_shows("1970-01-01 00:01:00", "gw-1", &plant, Some(&noc.uplink()));
    let status = get(agent.page(), "/api/status");
    assert_eq!((&status["clock"]["state"], &status["provisional"]), (&json!("unset"), &json!(true)));
    let (code, health) = fetch(agent.page(), "/healthz").unwrap();
    assert!(code == 200 && health.contains("the clock is not set"), "{health}");

    let called_at = now();
    let mut handset = Handset::connect(agent.mqtt(), "hs-1").unwrap();
    let check_in = message(called_at, json!({"action": "check_in"})).to_string();
    handset.publish(&topic("hs-1", "attendance"), check_in.as_bytes()).unwrap();
    let call = message(called_at, json!({"note": "at the gate"})).to_string();
    handset.publish(&topic("hs-1", "sos"), call.as_bytes()).unwrap();
    let [provisional] = agent.alerts().try_into().unwrap();
    assert!(provisional["detected_at"].as_str().unwrap().starts_with("2025-01-01"), "{provisional}");
    assert_eq!(get(agent.page(), "/api/status")["refused"], json!({}), "nothing lies in the future");

    noc.rise();
    until("the time is known", || get(agent.page(), "/api/status")["clock"]["state"] == "noc");
    assert!(is_about(instant(&agent.status()["now"]), now()));
    let [corrected] = agent.alerts().try_into().unwrap();
    assert_eq!((&corrected["id"], &corrected["revision"]), (&provisional["id"], &json!(2)));
    assert!(is_about(instant(&corrected["detected_at"]), called_at), "{corrected}");
    let note = corrected["history"][0]["note"].as_str().unwrap();
    assert!(note.starts_with("the gateway's clock was wrong then; corrected, good to"), "{note}");
    eventually("the operations centre has the right instant", PATIENCE, || {
        let events = noc.events();
        let alerts = events.iter().filter(|e| e["type"] == "vigil.alert").map(|e| &e["data"]);
        let last = alerts.max_by_key(|alert| alert["revision"].as_u64());
        last.filter(|alert| is_about(instant(&alert["detected_at"]), called_at))
            .map(|_| ())
            .ok_or(format!("{last:?}"))
    });

    // The wall clock is still wrong; the agent knows better, also when it is started again.
    noc.fall();
    agent.kill();
    agent.start_again();
    let status = agent.status();
    assert_eq!(status["clock"]["state"], "noc");
    assert!(is_about(instant(&status["now"]), now()));
    assert!(status["clock"]["wall_ahead_ms"].as_i64().unwrap() < -Span::from_hours(24 * 365 * 50).millis());
}
