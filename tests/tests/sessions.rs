//! Sessions outlive the agent: `mosquitto_sub -c`, an agent that is killed, and what was promised to whom.

// All of it is test code: a failed unwrap is a failed test.
#![cfg(test)]

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::process::Output;
use vigil_tests::house::{
    Agent, Handset, Plant, SCREEN, ended, message, mosquitto_client, now, topic, until,
};

const ALERTS: &str = "vigil/v1/plant-7/alerts";
const STATUS: &str = "vigil/v1/plant-7/hs-1/status";

fn agent() -> Agent {
    Agent::with_screen("gw-1", &Plant::default().guards(3))
}

/// Debian's client with a session that is kept.
fn mosquitto_sub(agent: &Agent, options: &[&str]) -> Output {
    let mut command = mosquitto_client("mosquitto_sub", agent.mqtt(), SCREEN);
    ended(command.args(["-c", "-q", "1", "-i", "screen-1"]).args(options))
}

/// Subscribes, and leaves as soon as that is acknowledged.
fn subscribe(agent: &Agent) {
    let subscribed = mosquitto_sub(agent, &["-t", ALERTS, "-t", STATUS, "-E"]);
    assert!(subscribed.status.success(), "{subscribed:?}");
}

/// What comes within two seconds: topic and payload. It subscribes to nothing that it hears of.
fn hears(agent: &Agent) -> Vec<(String, String)> {
    let heard = mosquitto_sub(agent, &["-t", "vigil/v1/plant-7/nowhere", "-v", "-W", "2"]);
    let text = String::from_utf8(heard.stdout).unwrap();
    let pair = |line: &str| line.split_once(' ').map(|(topic, text)| (topic.to_owned(), text.to_owned()));
    text.lines().filter_map(pair).collect()
}

fn say(agent: &Agent, device: &str, kind: &str, payload: &[u8]) {
    Handset::connect(agent.mqtt(), device).unwrap().publish(&topic(device, kind), payload).unwrap();
}

fn call_for_help(agent: &Agent, device: &str) {
    say(agent, device, "sos", message(now(), json!({})).to_string().as_bytes());
}

#[test]
fn what_a_screen_missed_is_told_to_it_although_the_agent_was_killed_twice() {
    let mut agent = agent();
    subscribe(&agent);
    // The session is all that there is: it was promised a moment ago.
    agent.kill();
    agent.start_again();
    say(&agent, "hs-1", "status", b"online");
    call_for_help(&agent, "hs-1");
    until("it waits for the screen", || agent.status()["broker"]["sessions"] == 1);
    std::thread::sleep(std::time::Duration::from_secs(1));
    call_for_help(&agent, "hs-2");
    agent.kill();
    agent.start_again();
    call_for_help(&agent, "hs-3");
    let (mut guards, mut statuses) = (BTreeSet::new(), 0);
    until("the screen has heard all of it", || {
        for (topic, text) in hears(&agent) {
            if topic == ALERTS {
                let alert: Value = serde_json::from_str(&text).unwrap();
                guards.insert(alert["guard"].as_str().unwrap().to_owned());
            } else {
                statuses += u32::from((topic.as_str(), text.as_str()) == (STATUS, "online"));
            }
        }
        guards == ["G-1", "G-2", "G-3"].map(str::to_owned).into() && statuses == 1
    });
}

#[test]
fn what_is_retained_is_there_after_a_kill_and_a_session_that_ended_is_not() {
    let mut agent = agent();
    subscribe(&agent);
    let mut says = mosquitto_client("mosquitto_pub", agent.mqtt(), "hs-1");
    let published = ended(says.args(["-q", "2", "-r", "-t", STATUS, "-m", "online"]));
    assert!(published.status.success(), "{published:?}");
    // A clean session takes the place of the one that was kept.
    let mut clean = mosquitto_client("mosquitto_sub", agent.mqtt(), SCREEN);
    let over = ended(clean.args(["-i", "screen-1", "-t", ALERTS, "-E"]));
    assert!(over.status.success(), "{over:?}");
    until("nobody has a session", || agent.status()["broker"]["sessions"] == 0);
    std::thread::sleep(std::time::Duration::from_secs(1));
    agent.kill();
    agent.start_again();
    let broker = agent.status()["broker"].clone();
    assert_eq!((&broker["sessions"], broker["retained"].as_u64() >= Some(1)), (&json!(0), true), "{broker}");
    let heard = mosquitto_sub(&agent, &["-t", STATUS, "-C", "1", "-W", "30"]);
    assert_eq!(String::from_utf8(heard.stdout).unwrap(), "online\n");
}
