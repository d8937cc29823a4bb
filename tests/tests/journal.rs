//! `vigil verify-journal`: a night is proved, beside a running agent and without one.

use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use vigil_tests::house::{Agent, Ended, Handset, Noc, Plant, Source, message, now, topic, until, vigil};

/// A stop takes five seconds on a quiet machine.
const OUTLASTS: Duration = Duration::from_secs(30);

fn agent(noc: Option<&Noc>) -> Agent {
    let uplink = noc.map(|noc| noc.uplink("gw-1"));
    let agent = Agent::start("gw-1", &Plant::default().guards(1), Source::Embedded, uplink.as_ref());
    let mut handset = Handset::connect(agent.mqtt(), "hs-1").expect("a way in");
    for n in 0..20 {
        let event = message(now(), json!({ "battery": 0.8, "interactions": n })).to_string();
        handset.publish(&topic("hs-1", "heartbeat"), event.as_bytes()).expect("acknowledged");
    }
    agent
}

/// Asks the running agent.
fn verify(agent: &Agent, more: &[&str]) -> Ended {
    let url = format!("http://{}", agent.page());
    vigil(&[&["verify-journal", "--url", &url], more].concat())
}

/// Reads the store.
fn verify_stopped(agent: &Agent, more: &[&str]) -> Ended {
    let config = agent.folder().join("agent.toml");
    vigil(&[&["verify-journal", "--config", config.to_str().expect("a path")], more].concat())
}

fn proved(ended: &Ended) -> Value {
    serde_json::from_str(&ended.out).expect("JSON")
}

#[test]
fn a_night_is_proved_beside_a_running_agent_and_without_one() {
    let mut agent = agent(None);
    let running = verify(&agent, &[]);
    assert_eq!(running.code, Some(0), "{}", running.err);
    assert!(running.out.contains("whole: nothing was altered"), "{}", running.out);
    let before = proved(&verify(&agent, &["--json"]));
    assert_eq!((&before["whole"], &before["proof"]["inputs"]), (&json!(true), &json!(20)));
    agent.kill();
    let dead = verify_stopped(&agent, &["--json"]);
    assert_eq!(dead.code, Some(0), "{}", dead.err);
    assert_eq!(proved(&dead)["head"], before["head"]);
    agent.start_again();
    let kept = format!("{}:{}", before["head"]["inputs"], before["head"]["head"].as_str().expect("a head"));
    let after = verify(&agent, &["--head", &kept]);
    assert!(after.code == Some(0) && after.out.contains("proved: the journal comes to it"), "{}", after.out);
    let forged = format!("{}:{}", before["head"]["inputs"], "0".repeat(64));
    let wrong = verify(&agent, &["--head", &forged]);
    assert_eq!(wrong.code, Some(1));
    assert!(wrong.out.contains("WRONG: the journal is another one"), "{}", wrong.out);
    assert!(
        wrong.err.contains("not the one that was written") && wrong.err.contains("evidence"),
        "{}",
        wrong.err
    );
}

#[test]
fn the_operations_centre_gets_a_head_that_proves_the_journal() {
    let noc = Noc::start(&["gw-1"]);
    let agent = agent(Some(&noc));
    let kept = || noc.gateway("gw-1")["health"]["journal"].clone();
    until("a sign of life with a head", || kept()["inputs"].as_u64().is_some());
    let head = format!("{}:{}", kept()["inputs"], kept()["head"].as_str().expect("a head"));
    let ended = verify(&agent, &["--head", &head]);
    assert!(ended.code == Some(0) && ended.out.contains("proved"), "{}{}", ended.out, ended.err);
}

#[test]
fn a_database_that_was_deleted_is_told_before_and_after_the_next_start() {
    let mut agent = agent(None);
    let before = proved(&verify(&agent, &["--json"]));
    let kept = format!("{}:{}", before["head"]["inputs"], before["head"]["head"].as_str().expect("a head"));
    assert!(agent.stop(OUTLASTS).success());
    std::fs::remove_dir_all(agent.store()).expect("a store");
    let gone = verify_stopped(&agent, &[]);
    assert!(
        gone.code == Some(1) && gone.err.contains("is gone: 20 inputs had been stored in it"),
        "{}",
        gone.err
    );
    agent.start_again();
    let running = verify(&agent, &["--head", &kept]);
    assert_eq!(running.code, Some(1), "{}", running.out);
    assert!(running.out.contains("FAULT   inputs 0 to") && !running.out.contains("whole"), "{}", running.out);
    assert!(running.out.contains("MISSING: what it sums up is gone"), "{}", running.out);
    assert!(running.err.contains("a part of the journal is gone before its time"), "{}", running.err);
    assert_eq!(proved(&verify(&agent, &["--json"]))["whole"], false);
    assert!(agent.stop(OUTLASTS).success());
    let stopped = verify_stopped(&agent, &["--head", &kept]);
    assert_eq!((stopped.code, &stopped.out), (Some(1), &running.out));
}

/// Every file of a folder, and of those in it.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let place = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &place);
        } else {
            std::fs::copy(path, place).expect("a copy");
        }
    }
}

#[test]
fn a_gateway_that_was_put_back_whole_is_told_by_the_operations_centre() {
    let noc = Noc::start(&["gw-1"]);
    let plant = Plant::default().guards(1).buttons(4);
    let mut agent = Agent::start("gw-1", &plant, Source::Embedded, Some(&noc.uplink("gw-1")));
    let press = |agent: &Agent, button: &str| {
        let mut handset = Handset::connect(agent.mqtt(), button).expect("a way in");
        let event = message(now(), json!({ "note": button })).to_string();
        handset.publish(&topic(button, "sos"), event.as_bytes()).expect("acknowledged");
        until("it arrives", || noc.alerts("gw-1").iter().any(|a| a["subject"] == format!("device:{button}")));
    };
    assert!(agent.stop(OUTLASTS).success());
    let (data, earlier) = (agent.folder().join("data"), tempfile::tempdir().expect("a folder"));
    copy(&data, earlier.path());
    agent.start_again();
    // Alerts overtake the rest, so one alone may leave the number that the other life gives its first alert unheard.
    ["btn-1", "btn-2", "btn-3"].iter().for_each(|button| press(&agent, button));
    until("all numbers of this life have arrived", || {
        let outbox = agent.status()["outbox"].clone();
        ["critical", "alerts", "tours", "reports", "health"].iter().all(|lane| outbox[lane] == 0)
    });
    assert!(agent.stop(OUTLASTS).success());
    assert_eq!(noc.gateway("gw-1")["reused"], 0);
    std::fs::remove_dir_all(&data).expect("gone");
    copy(earlier.path(), &data);
    agent.start_again();
    assert_eq!(agent.status()["set_aside"], 0, "nothing on the box knows it");
    press(&agent, "btn-4");
    until("the gateway hears of it", || agent.status()["set_aside"] == 1);
    let said = agent.process().log().join("\n");
    assert!(said.contains("knows numbers of this store from other events"), "{said}");
    assert!(noc.gateway("gw-1")["reused"].as_u64() > Some(0));
    assert_eq!(noc.alerts("gw-1").len(), 4, "and nothing is lost by it");
}

#[test]
fn what_is_wrong_is_said() {
    let table: [(&[&str], &str); 3] = [
        (&["--head", "4711"], "a colon and 64 hex digits"),
        (&["--head", "x:00"], "a colon and 64 hex digits"),
        (&["--config", "/nowhere/agent.toml"], "/nowhere/agent.toml"),
    ];
    for (arguments, part) in table {
        let ended = vigil(&[&["verify-journal"], arguments].concat());
        assert!(ended.code == Some(2) && ended.err.contains(part), "{arguments:?}: {}", ended.err);
    }
}
