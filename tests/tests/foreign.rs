//! Devices that nobody here made, over real MQTT: a payload of each becomes an observation in a running agent, through the
//! broker inside and through one outside.

// All of it is test code: a failed unwrap is a failed test.
#![cfg(test)]

use serde_json::{Value, json};
use std::fmt::Write;
use std::net::SocketAddr;
use vigil_tests::house::{
    Agent, Handset, Mosquitto, PATIENCE, Plant, Source, eventually, now, password, until, vigil,
};

const LORA: &str = "application/a1/device/0101010101010101/event/up";
/// The users who speak for devices that are not themselves on MQTT.
const SERVERS: [&str; 3] = ["traccar", "chirpstack", "homeassistant"];

fn plant() -> Plant {
    Plant::default().guards(1).and(
        "[[guards]]\nid = \"G-7\"\nbadge = \"14:00:8E:C7:93\"\n\
         [[checkpoints]]\nid = \"gate\"\ntag = \"04AA0001\"\n\
         [[devices]]\nid = \"phone\"\nkind = \"handset\"\nguard = \"G-7\"\nowntracks = \"asha/phone\"\n\
         [[devices]]\nid = \"reader\"\nkind = \"reader\"\ncheckpoint = \"gate\"\ntopic = \"tele/gate/SENSOR\"\n\
         [[devices]]\nid = \"tracker\"\nkind = \"gps\"\ntopic = \"positions/123456789012345\"\n\
         [[devices]]\nid = \"lora\"\nkind = \"button\"\ntopic = \"application/a1/device/0101010101010101\"\n\
         [[devices]]\nid = \"hall\"\nkind = \"reader\"\ncheckpoint = \"gate\"\n\
         [[mappings]]\ntopic = \"esphome/+/tag\"\ndevice_level = 2\nuser = \"homeassistant\"\nkind = \"scan\"\n\
         fields = { tag = \"\" }\n",
    )
}

/// What each says: who publishes, where, and what.
fn words() -> [(&'static str, &'static str, String); 5] {
    let secs = now().millis() / 1_000;
    let phone = json!({"_type": "location", "lat": 12.9716, "lon": 77.5946, "tst": secs, "acc": 12, "batt": 42, "m": 1});
    let reader = json!({"Time": "2024-05-20T14:29:55", "RDM6300": {"UID": "008EC793"}});
    let position = json!({"id": 7, "fixTime": secs * 1_000, "deviceTime": now(), "valid": true, "latitude": 12.97,
                          "longitude": 77.59, "speed": 2.0, "attributes": {"batteryLevel": 55}});
    let tracker = json!({"position": position, "device": {"uniqueId": "123456789012345"}});
    let lora = json!({"deduplicationId": "d-1", "time": now(), "deviceInfo": {"devEui": "0101010101010101"},
                      "object": {"button": 1}});
    [
        ("phone", "owntracks/asha/phone", phone.to_string()),
        ("reader", "tele/gate/SENSOR", reader.to_string()),
        ("traccar", "positions", tracker.to_string()),
        ("chirpstack", LORA, lora.to_string()),
        ("homeassistant", "esphome/hall/tag", "E0-E0-E0-E1".to_owned()),
    ]
}

fn say_all(at: SocketAddr, words: &[(&str, &str, String)]) {
    for (user, topic, payload) in words {
        let mut speaker = Handset::connect(at, user).unwrap();
        speaker.publish(topic, payload.as_bytes()).unwrap_or_else(|e| panic!("{topic}: {e}"));
    }
}

fn asked(agent: &Agent, option: &str) -> Vec<Value> {
    let ended = vigil(&["status", option, "--json", "--url", &format!("http://{}", agent.page())]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    serde_json::from_str(&ended.out).unwrap()
}

/// All that was said is there, and nothing was refused.
fn assert_understood(agent: &Agent) {
    eventually("everything is stored", PATIENCE, || {
        let outcomes = agent.status()["outcomes"].clone();
        // A position and a charge of phone and tracker, a badge, a call for help; and a tag that nobody knows.
        if outcomes == json!({"applied": 6, "unknown_tag": 1}) { Ok(()) } else { Err(outcomes.to_string()) }
    });
    let status = agent.status();
    assert_eq!(status["refused"], json!({}), "{:#?}", asked(agent, "--refused"));
    assert_eq!(agent.device("phone")["battery_permille"], 420);
    assert_eq!(agent.device("tracker")["battery_permille"], 550);
    let guard = status["guards"].as_array().unwrap().iter().find(|g| g["id"] == "G-7").unwrap().clone();
    assert_eq!(guard["last_activity"], "scan", "the badge without its version byte: {guard}");
    let rules: Vec<Value> = agent.alerts().into_iter().map(|alert| alert["rule"].clone()).collect();
    assert_eq!(rules, ["sos"]);
    let [advice] = status["advice"].as_array().unwrap().as_slice() else { panic!("{}", status["advice"]) };
    assert_eq!((&advice["device"], &advice["about"]), (&json!("phone"), &json!("mode")));
    let [stray] = <[Value; 1]>::try_from(asked(agent, "--unknown-tags")).unwrap();
    assert_eq!((&stray["tag"], &stray["device"]), (&json!("E0E0E0E1"), &json!("hall")));
    assert!(stray["what"].as_str().unwrap().contains("add badge = \"E0E0E0E1\""), "{stray}");
}

#[test]
fn each_is_understood_through_the_broker_inside_and_once_however_often_it_comes() {
    let folder = Agent::files("gw-1", &plant(), Source::Embedded, None);
    let file = folder.path().join("mqtt.passwd");
    let mut passwords = std::fs::read_to_string(&file).unwrap();
    for user in SERVERS {
        let line = vigil_agent::sources::broker::password_line(user, &password(user)).unwrap();
        write!(passwords, "\n{line}").unwrap();
    }
    std::fs::write(&file, passwords).unwrap();
    let mut agent = Agent::of(folder, None);
    let words = words();
    say_all(agent.mqtt(), &words);
    assert_understood(&agent);

    say_all(agent.mqtt(), &words[..4]);
    let again = agent.status()["outcomes"].clone();
    assert_eq!(again, json!({"applied": 6, "duplicate": 6, "unknown_tag": 1}));

    agent.kill();
    agent.start_again();
    assert_eq!(agent.status()["outcomes"], again, "what was acknowledged outlives a kill");
    assert_eq!(asked(&agent, "--unknown-tags").len(), 1, "and what is to be enrolled is still told");

    let mut reader = Handset::connect(agent.mqtt(), "reader").unwrap();
    reader.publish("owntracks/asha/phone", b"{}").unwrap();
    reader.publish("positions", b"{}").unwrap();
    assert_eq!(agent.status()["refused"], json!({"not_allowed": 2}), "it speaks for itself alone");
}

#[test]
fn each_is_understood_through_a_broker_outside() {
    let broker = Mosquitto::start(&["gw-1", "phone", "reader", "traccar", "chirpstack", "homeassistant"]);
    let agent = Agent::start("gw-1", &plant(), Source::External(&broker), None);
    until("the agent is connected", || agent.status()["source"]["connected"] == true);
    // Of what is published before it has subscribed nothing comes.
    let probe = json!({"Time": "T", "PN532": {"UID": "no tag"}}).to_string();
    let mut reader = Handset::connect(broker.address(), "reader").unwrap();
    until("the agent hears the reader", || {
        reader.publish("tele/gate/SENSOR", probe.as_bytes()).unwrap();
        agent.status()["refused"]["wrong_type"].as_u64().unwrap_or(0) > 0
    });
    let refused = agent.status()["refused"].clone();
    say_all(broker.address(), &words());
    eventually("everything is stored", PATIENCE, || {
        let status = agent.status();
        if status["outcomes"] == json!({"applied": 6, "unknown_tag": 1}) {
            Ok(())
        } else {
            Err(status["outcomes"].to_string())
        }
    });
    let left = agent.status()["refused"].clone();
    assert_eq!(
        left.as_object().unwrap().keys().collect::<Vec<_>>(),
        refused.as_object().unwrap().keys().collect::<Vec<_>>()
    );
    assert_eq!(agent.device("tracker")["battery_permille"], 550);
    assert_eq!(agent.alerts()[0]["rule"], "sos");
}

#[test]
fn another_site_file_brings_its_topics_along() {
    let broker = Mosquitto::start(&["gw-1", "hs-1"]);
    let mut agent = Agent::start("gw-1", &Plant::default().guards(1), Source::External(&broker), None);
    until("the agent is connected", || agent.status()["source"]["connected"] == true);
    let mapped = Plant::default().guards(1).and(
        "[[mappings]]\ntopic = \"shelly/#\"\ndevice = \"hs-1\"\nkind = \"activity\"\nset = { event = \"touched\" }\n",
    );
    std::fs::write(agent.folder().join("site.toml"), mapped.text()).unwrap();
    agent.process().signal("HUP");
    let mut handset = Handset::connect(broker.address(), "hs-1").unwrap();
    until("a message on a topic of the new file is stored", || {
        handset.publish("shelly/a/b", b"x").unwrap();
        agent.outcomes("applied") > 0
    });
}
