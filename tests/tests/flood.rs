//! A device that talks without end, over real MQTT: it is thinned where it says the same again and again, everything of it is
//! acknowledged, and who calls for help beside it is heard.

// All of it is test code: a failed unwrap is a failed test.
#![cfg(test)]

use serde_json::{Value, json};
use vigil_agent::store::{Input, Store};
use vigil_core::observation::Kind;
use vigil_tests::house::{Agent, Handset, PATIENCE, Plant, Source, fetch, message, now, topic, until, vigil};

/// Of each of two kinds: with them it has said what it may say at once, and as much again.
const ROUNDS: u32 = 1_200;
/// What it has on its way; the broker takes no more of one connection.
const WINDOW: usize = 100;

/// Says it and waits for every acknowledgement.
fn say(handset: &mut Handset, said: &[(&str, Value)]) {
    for some in said.chunks(WINDOW) {
        for (kind, payload) in some {
            handset.send(&topic("hs-1", kind), payload.to_string().as_bytes()).unwrap();
        }
        for _ in some {
            handset.acknowledged().unwrap();
        }
    }
}

/// What is stored of it: heartbeats, touches in them, positions and phone events.
fn stored(agent: &Agent) -> (u32, u32, u32, u32) {
    let (mut heartbeats, mut touches, mut positions, mut events) = (0, 0, 0, 0);
    for input in Store::open(&agent.store()).unwrap().inputs_from(0).unwrap() {
        let Input::Observation(observation, _) = input else { continue };
        if observation.device.as_str() != "hs-1" {
            continue;
        }
        match observation.kind {
            Kind::Heartbeat(heartbeat) => {
                (heartbeats, touches) = (heartbeats + 1, touches + heartbeat.interactions)
            }
            Kind::Location(_) => positions += 1,
            Kind::Activity(_) => events += 1,
            Kind::Scan(_) | Kind::Task(_) | Kind::Attendance(_) | Kind::Sos(_) | Kind::Status { .. } => {}
        }
    }
    (heartbeats, touches, positions, events)
}

#[test]
fn who_talks_without_end_is_thinned_and_told_of_and_holds_up_nobody() {
    let mut agent = Agent::start("gw-1", &Plant::default().guards(2), Source::Embedded, None);
    let mut handset = Handset::connect(agent.mqtt(), "hs-1").unwrap();
    let said: Vec<(&str, Value)> = (0..ROUNDS)
        .flat_map(|n| {
            let touch = json!({"id": format!("h-{n}"), "interactions": 1});
            let here = json!({"id": format!("l-{n}"), "lat": 12.9716, "lon": 77.5946, "accuracy": 10.0});
            let unlocked = json!({"event": format!("unlock {n}")});
            [("heartbeat", touch), ("location", here), ("activity", unlocked)]
        })
        .map(|(kind, fields)| (kind, message(now(), fields)))
        .collect();
    say(&mut handset, &said);
    let mut other = Handset::connect(agent.mqtt(), "hs-2").unwrap();
    other.publish(&topic("hs-2", "sos"), message(now(), json!({})).to_string().as_bytes()).unwrap();
    until("the call is an alert", || agent.alerts().iter().any(|alert| alert["guard"] == "G-2"));

    let status = agent.status();
    let [flood] = status["floods"].as_array().unwrap().as_slice() else { panic!("{}", status["floods"]) };
    let count = |key: &str| flood[key].as_u64().unwrap();
    let (merged, thinned) = (count("heartbeats"), count("positions"));
    assert_eq!(
        (&flood["device"], status["refused"]["flood"].as_u64()),
        (&json!("hs-1"), Some(merged + thinned))
    );
    assert!(merged > 0 && thinned > 0, "{flood}");
    let metrics = fetch(agent.page(), "/metrics").unwrap().1;
    let sample = format!("vigil_thinned_total{{device=\"hs-1\",kind=\"location\"}} {thinned}\n");
    assert!(metrics.contains(&sample), "{sample}{metrics}");
    let shown = vigil(&["status", "--url", &format!("http://{}", agent.page())]).out;
    assert!(shown.contains("talks without end"), "{shown}");

    assert_eq!(agent.stop(PATIENCE).code(), Some(0));
    let (heartbeats, touches, positions, events) = stored(&agent);
    assert_eq!((touches, events), (ROUNDS, ROUNDS), "no touch and no phone event is lost");
    assert_eq!(u64::from(positions) + thinned, u64::from(ROUNDS));
    assert_eq!(u64::from(heartbeats) + merged, u64::from(ROUNDS));
}
