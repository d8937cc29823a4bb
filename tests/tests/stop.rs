//! How an agent stops and how it changes its mind: SIGTERM under load, and SIGHUP.

// All of it is test code: a failed unwrap is a failed test.
#![cfg(test)]

use serde_json::json;
use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use vigil_agent::store::Input;
use vigil_core::observation::{Kind, Observation};
use vigil_tests::house::{Agent, Handset, Plant, Source, message, now, topic, until};

/// Contract 1.
const STOPS_WITHIN: Duration = Duration::from_secs(5);
/// Messages of one device that wait for their acknowledgement.
const IN_FLIGHT: usize = 50;

/// Publishes until the agent is gone; the ids that were acknowledged.
fn publish_until_gone(mut handset: Handset, device: &str, told: &AtomicBool) -> BTreeSet<String> {
    let (mut waiting, mut acknowledged) = (Vec::new(), BTreeSet::new());
    for n in 0_u32.. {
        let id = format!("{device}-{n}");
        let event = message(now(), json!({"id": id, "event": id}));
        let Ok(sent) = handset.send(&topic(device, "activity"), event.to_string().as_bytes()) else { break };
        waiting.push((sent, id));
        if waiting.len() < IN_FLIGHT {
            continue;
        }
        let Ok(packet) = handset.acknowledged() else { break };
        let place =
            waiting.iter().position(|(p, _)| *p == packet).expect("an acknowledgement of what was sent");
        acknowledged.insert(waiting.remove(place).1);
        told.store(true, Ordering::Release);
    }
    // What was acknowledged on the way out counts as well.
    while let Ok(packet) = handset.acknowledged() {
        acknowledged.extend(waiting.iter().find(|(p, _)| *p == packet).map(|(_, id)| id.clone()));
    }
    acknowledged
}

#[test]
fn sigterm_drains_and_ends_within_five_seconds_under_load() {
    let mut agent = Agent::start("gw-1", &Plant::default().guards(3), Source::Embedded, None);
    let all = Arc::new(Mutex::new(Vec::new()));
    let flowing: Vec<Arc<AtomicBool>> = (0..3).map(|_| Arc::default()).collect();
    let devices: Vec<_> = (1..=3)
        .zip(&flowing)
        .map(|(n, told)| {
            let (device, all, told) = (format!("hs-{n}"), Arc::clone(&all), Arc::clone(told));
            let handset = Handset::connect(agent.mqtt(), &device).unwrap();
            std::thread::spawn(move || {
                let acknowledged = publish_until_gone(handset, &device, &told);
                all.lock().unwrap().push(acknowledged);
            })
        })
        .collect();
    until("every device is acknowledged", || flowing.iter().all(|f| f.load(Ordering::Acquire)));
    let status = agent.stop(STOPS_WITHIN);
    assert_eq!(status.code(), Some(0), "{status}");
    devices.into_iter().for_each(|d| d.join().unwrap());
    let mut store = vigil_agent::store::Store::open(&agent.store()).unwrap();
    let inputs = store.inputs_from(0).unwrap();
    let event = |input: &Input| match input {
        Input::Observation(Observation { kind: Kind::Activity(event), .. }, _) => Some(event.clone()),
        Input::Observation(..)
        | Input::Down { .. }
        | Input::Unset { .. }
        | Input::Clock { .. }
        | Input::Command(..) => None,
    };
    let stored: BTreeSet<String> = inputs.iter().filter_map(event).collect();
    for acknowledged in all.lock().unwrap().iter() {
        assert!(!acknowledged.is_empty());
        let lost: Vec<_> = acknowledged.difference(&stored).collect();
        assert!(lost.is_empty(), "acknowledged and not stored: {lost:?}");
    }
}

#[test]
fn sigterm_ends_an_idle_agent_with_open_connections_and_streams() {
    let mut agent = Agent::start("gw-1", &Plant::default().guards(1), Source::Embedded, None);
    let _handset = Handset::connect(agent.mqtt(), "hs-1").unwrap();
    let mut stream = std::net::TcpStream::connect(agent.page()).unwrap();
    std::io::Write::write_all(&mut stream, b"GET /api/stream HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    std::io::Read::read_exact(&mut stream, &mut [0; 12]).unwrap();
    let status = agent.stop(STOPS_WITHIN);
    assert_eq!(status.code(), Some(0), "{status}");
}

#[test]
fn sighup_reads_the_site_file_again_and_an_invalid_one_changes_nothing() {
    let mut agent = Agent::start("gw-1", &Plant::default().guards(1), Source::Embedded, None);
    let file = agent.folder().join("site.toml");
    let names = |agent: &Agent| {
        let guards = agent.status()["guards"].as_array().unwrap().clone();
        guards.iter().map(|g| g["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&agent), ["G-1"]);
    std::fs::write(&file, Plant::default().guards(2).text()).unwrap();
    agent.process().signal("HUP");
    agent.process().said("the site file was read again");
    assert_eq!(names(&agent), ["G-1", "G-2"]);

    std::fs::write(&file, Plant::default().guards(3).and("[policy]\nsettle = \"an hour\"").text()).unwrap();
    agent.process().signal("HUP");
    let said = agent.process().said("the site file is invalid; the old one stays in force");
    assert!(said["problems"].as_str().unwrap().contains("policy.settle: found \"an hour\""), "{said}");
    assert_eq!(names(&agent), ["G-1", "G-2"]);
    let mut handset = Handset::connect(agent.mqtt(), "hs-1").unwrap();
    handset.publish(&topic("hs-1", "heartbeat"), message(now(), json!({})).to_string().as_bytes()).unwrap();
    assert_eq!(agent.outcomes("applied"), 1, "and it goes on");

    std::fs::write(&file, Plant::default().guards(3).text()).unwrap();
    agent.process().signal("HUP");
    agent.process().said_times("the site file was read again", 2);
    assert_eq!(names(&agent), ["G-1", "G-2", "G-3"]);
}

/// An agent that has acknowledged one event and was stopped, ready to be started again.
fn agent_with_one_event() -> Agent {
    let mut agent = Agent::start("gw-1", &Plant::default().guards(1), Source::Embedded, None);
    let mut handset = Handset::connect(agent.mqtt(), "hs-1").unwrap();
    handset.publish(&topic("hs-1", "heartbeat"), message(now(), json!({})).to_string().as_bytes()).unwrap();
    assert_eq!(agent.stop(STOPS_WITHIN).code(), Some(0));
    agent
}

fn nothing_is_damaged(agent: &mut Agent) {
    agent.start_again();
    assert_eq!(agent.outcomes("applied"), 1);
    assert_eq!(agent.status()["set_aside"], 0);
    assert!(agent.process().log().iter().all(|line| !line.contains("damaged")));
}

#[test]
fn a_stop_at_the_moment_of_running_is_a_clean_end() {
    let mut agent = agent_with_one_event();
    for _ in 0..10 {
        agent.launch_again();
        let stop = agent.process().aim("TERM");
        let began = std::time::Instant::now();
        while !agent.process().log().iter().any(|line| line.contains("\"running\"")) {
            assert!(began.elapsed() < Duration::from_secs(30), "it starts");
            std::thread::yield_now();
        }
        stop.pull();
        let status = agent.process().end(STOPS_WITHIN);
        assert_eq!(status.code(), Some(0), "{status}");
        assert!(agent.process().log().last().is_some_and(|line| line.contains("\"stopped\"")));
    }
    nothing_is_damaged(&mut agent);
}

/// Before its handlers stand, the system ends it: then it has opened nothing. From then on every end is clean.
#[test]
fn a_stop_at_any_moment_of_the_start_does_no_harm() {
    let mut agent = agent_with_one_event();
    let mut clean = 0;
    for n in 0..30_u64 {
        agent.launch_again();
        let signal = ["TERM", "INT"][usize::from(n % 2 == 1)];
        let stop = agent.process().aim(signal);
        std::thread::sleep(Duration::from_micros(n * n * 150));
        stop.pull();
        let status = agent.process().end(STOPS_WITHIN);
        if status.code() == Some(0) {
            clean += 1;
        } else {
            let log = agent.process().log();
            assert!(status.signal().is_some() && log.is_empty(), "{status}: {log:?}");
        }
    }
    assert!(clean > 0, "some signals come after the first moment");
    nothing_is_damaged(&mut agent);
}

#[test]
fn a_hangup_during_the_start_reads_the_site_file_again_and_kills_nothing() {
    let mut agent = agent_with_one_event();
    for n in 0..5 {
        agent.launch_again();
        let reload = agent.process().aim("HUP");
        let began = std::time::Instant::now();
        while !agent.process().log().iter().any(|line| line.contains("\"running\"")) {
            assert!(began.elapsed() < Duration::from_secs(30), "it starts");
            std::thread::yield_now();
        }
        reload.pull();
        agent.process().said("the site file was read again");
        assert_eq!(agent.stop(STOPS_WITHIN).code(), Some(0), "{n}");
    }
}
