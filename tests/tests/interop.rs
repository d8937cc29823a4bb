//! Clients that others wrote, and clients that behave badly, at the broker inside.

// All of it is test code: a failed unwrap is a failed test.
#![cfg(test)]

use serde_json::json;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output};
use vigil_tests::house::{
    Agent, Handset, Plant, SCREEN, Source, ended, message, mosquitto_client, node_modules, now, password,
    python, topic, until,
};

/// Clients at once: a large site with all its readers.
const CLIENTS: usize = 500;
/// Connections that say nothing, and as many that say half of something.
const HALF_OPEN: usize = 100;

fn agent(guards: usize) -> Agent {
    Agent::start("gw-1", &Plant::default().guards(guards), Source::Embedded, None)
}

/// As hs-1, with options that come after the usual ones and count instead of them.
fn mosquitto_pub(agent: &Agent, options: &[&str]) -> Output {
    ended(mosquitto_client("mosquitto_pub", agent.mqtt(), "hs-1").args(options))
}

#[test]
fn every_quality_of_service_in_both_versions_is_stored() {
    let agent = agent(1);
    let mut sent = 0;
    for version in ["mqttv311", "mqttv5"] {
        for qos in ["0", "1", "2"] {
            let text = message(now(), json!({"event": format!("{version} {qos}")})).to_string();
            let options = ["-V", version, "-q", qos, "-t", &topic("hs-1", "activity"), "-m", &text];
            let said = mosquitto_pub(&agent, &options);
            assert!(said.status.success(), "{version} {qos}: {said:?}");
            sent += 1;
        }
    }
    until("all of them are stored", || agent.outcomes("applied") == sent);
    assert_eq!(agent.status()["refused"], json!({}));
}

/// What the scripts in `tests/clients` tell of, in this order.
const HELD: [&str; 8] = [
    "every_quality_of_service",
    "wrong_password",
    "retained_status",
    "last_will",
    "session_resumes",
    "second_connection_takes_over",
    "foreign_topics",
    "packet_over_the_limit",
];

/// Runs a script of `tests/clients` in both versions of MQTT.
fn holds(mut interpreter: impl FnMut() -> Command, script: &str) {
    let agent = Agent::with_screen("gw-1", &Plant::default().guards(1));
    let (host, port) = (agent.mqtt().ip().to_string(), agent.mqtt().port().to_string());
    for version in ["3", "5"] {
        let ended = interpreter()
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(script))
            .args([&host, &port, version, "plant-7", "hs-1", &password("hs-1"), SCREEN, &password(SCREEN)])
            .output()
            .expect("`tests/run` has installed it");
        let (said, errors) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
        assert_eq!(said.lines().collect::<Vec<_>>(), HELD, "MQTT {version}: {errors}");
        assert!(ended.status.success(), "MQTT {version}: {errors}");
    }
    assert_eq!(agent.status()["refused"], json!({}));
}

#[test]
fn paho_does_all_that_a_client_does() {
    holds(|| Command::new(python()), "interop.py");
}

#[test]
fn mqtt_js_does_all_that_a_client_does() {
    let modules = std::env::var_os("NODE_PATH").unwrap_or_else(|| node_modules().into());
    holds(
        || {
            let mut node = Command::new("node");
            node.env("NODE_PATH", &modules);
            node
        },
        "interop.cjs",
    );
}

#[test]
fn a_wrong_password_a_foreign_topic_and_too_much_are_refused_and_stop_nothing() {
    let agent = agent(2);
    let heartbeat = message(now(), json!({"battery": 0.5})).to_string();
    let own = topic("hs-1", "heartbeat");
    let wrong = mosquitto_pub(&agent, &["-P", "guessed", "-q", "1", "-t", &own, "-m", &heartbeat]);
    assert!(!wrong.status.success(), "{wrong:?}");
    let foreign = topic("hs-2", "heartbeat");
    let told = mosquitto_pub(&agent, &["-V", "mqttv5", "-q", "1", "-t", &foreign, "-m", &heartbeat]);
    let words = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(words.contains("Not authorized"), "{told:?}");
    let large = "x".repeat(100 * 1024);
    let said = mosquitto_pub(&agent, &["-q", "1", "-t", &own, "-m", &large]);
    assert!(said.status.success(), "it is acknowledged and refused: {said:?}");
    let said = mosquitto_pub(&agent, &["-q", "1", "-t", &own, "-m", &heartbeat]);
    assert!(said.status.success(), "{said:?}");
    assert_eq!(agent.outcomes("applied"), 1);
    assert_eq!(agent.status()["refused"], json!({"not_allowed": 1, "too_large": 1}));
}

#[test]
fn five_hundred_clients_speak_at_once_beside_connections_that_say_nothing() {
    let agent = agent(CLIENTS);
    let half_open: Vec<TcpStream> = (0..HALF_OPEN)
        .map(|n| {
            let mut stream = TcpStream::connect(agent.mqtt()).unwrap();
            // Half of a CONNECT, or nothing at all.
            stream.write_all(if n % 2 == 0 { b"\x10\x40\x00\x04MQ" } else { b"" }).unwrap();
            stream
        })
        .collect();
    let mut handsets: Vec<_> = (1..=CLIENTS)
        .map(|n| {
            let device = format!("hs-{n}");
            (Handset::connect(agent.mqtt(), &device).unwrap(), topic(&device, "heartbeat"))
        })
        .collect();
    let heartbeat = message(now(), json!({"battery": 0.5})).to_string();
    for (handset, topic) in &mut handsets {
        handset.send(topic, heartbeat.as_bytes()).unwrap();
    }
    for (handset, _) in &mut handsets {
        handset.acknowledged().unwrap();
    }
    assert_eq!(agent.outcomes("applied"), CLIENTS as u64);
    assert!(agent.status()["broker"]["connected"].as_u64() >= Some(CLIENTS as u64));
    until("who says nothing is not kept", || {
        half_open.iter().all(|stream| {
            stream.set_nonblocking(true).unwrap();
            matches!(stream.peek(&mut [0]), Ok(0))
        })
    });
}

#[test]
fn a_client_that_does_not_read_holds_up_nobody() {
    let agent = agent(3);
    // It asks for all alerts and reads none of them.
    let mut deaf = Handset::connect(agent.mqtt(), "hs-3").unwrap();
    deaf.subscribe("vigil/v1/plant-7/alerts").unwrap();
    let mut listens = Handset::connect(agent.mqtt(), "hs-2").unwrap();
    listens.subscribe("vigil/v1/plant-7/alerts").unwrap();
    let mut calls = Handset::connect(agent.mqtt(), "hs-1").unwrap();
    for n in 0..200 {
        let sos = message(now(), json!({"note": format!("{n} {}", "x".repeat(400))})).to_string();
        calls.publish(&topic("hs-1", "sos"), sos.as_bytes()).unwrap();
    }
    assert!(!listens.hears().unwrap().is_empty());
}
