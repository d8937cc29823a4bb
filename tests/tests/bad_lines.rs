//! The agent as it is shipped between lines on which everything goes wrong, and killed meanwhile: what was acknowledged is
//! stored once, and each alert is at the operations centre once. `VIGIL_BAD_LINES=200` makes it a long run
//! (`tests/soak/README.md`).

// All of it is test code: a failed unwrap is a failed test.
#![cfg(test)]

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;
use vigil_agent::simulate::Chance;
use vigil_agent::store::{Input, Store};
use vigil_core::engine::Outcome;
use vigil_core::observation::{Kind, Observation};
use vigil_tests::house::{
    Agent, BadLine, Busy, Field, Noc, Plant, Source, Uplink, eventually, message, now, until,
};

/// So many in the test command: each is an alert, a life, and some dozen connections.
const ROUNDS: usize = 12;
/// What everything is drawn from.
const SEED: u64 = 0x5EED_0BAD_11E5_0001;
/// A life lasts up to so long.
const LONGEST_LIFE_MS: usize = 2_000;
/// Devices that publish all the time, each at a pace that a narrow line bears.
const DEVICES: usize = 3;
const PAUSE: Duration = Duration::from_millis(5);
/// How long everything may take to arrive when the lines are good again: the longest wait of the uplink with a CRITICAL
/// alert is 30 s, and a request that was on its way is given up after 120 s.
const BOUND: Duration = Duration::from_secs(180);

fn rounds() -> usize {
    std::env::var("VIGIL_BAD_LINES").map_or(ROUNDS, |rounds| rounds.parse().expect("a number of rounds"))
}

/// The same receiver, at the other end of a line.
fn over(line: &BadLine, uplink: &Uplink) -> Uplink {
    Uplink { url: format!("https://{}/v1", line.address()), ..uplink.clone() }
}

fn address(uplink: &Uplink) -> SocketAddr {
    uplink.url.trim_start_matches("https://").trim_end_matches("/v1").parse().unwrap()
}

/// The events of the journal, and how often each counts.
fn journal(agent: &Agent) -> BTreeMap<String, usize> {
    let mut events = BTreeMap::new();
    for input in Store::open(&agent.store()).unwrap().inputs_from(0).unwrap() {
        match input {
            Input::Observation(_, Outcome::Duplicate) => {}
            Input::Observation(Observation { kind: Kind::Activity(event), .. }, _) => {
                *events.entry(event).or_default() += 1;
            }
            Input::Observation(..) | Input::Command(..) => {}
            Input::Down { .. } | Input::Unset { .. } | Input::Clock { .. } => {}
        }
    }
    events
}

/// A phone event that is its own name.
fn one_phone_event(id: &str, _n: u32) -> (&'static str, Value) {
    ("activity", json!({ "event": id }))
}

#[test]
fn bad_lines_on_both_sides_lose_nothing_and_double_nothing() {
    let rounds = rounds();
    let noc = Noc::start(&["gw-1"]);
    let uplink = noc.uplink("gw-1");
    let out = BadLine::to(address(&uplink), SEED);
    let plant = Plant::default().guards(DEVICES).buttons(rounds).and("[policy]\nsettle = \"0s\"");
    let mut agent = Agent::start("gw-1", &plant, Source::Embedded, Some(&over(&out, &uplink)));
    let line_in = BadLine::to(agent.mqtt(), SEED + 1);
    let field = Field::around(line_in.address(), PAUSE);
    let devices: Vec<_> =
        (1..=DEVICES).map(|n| Busy::start(format!("hs-{n}"), field.clone(), one_phone_event)).collect();
    let mut chance = Chance::of(SEED, 2);
    for round in 1..=rounds {
        let (button, event) = (format!("btn-{round}"), message(now(), json!({"id": format!("sos-{round}")})));
        let pressed = std::thread::spawn({
            let field = field.clone();
            move || field.insist(&button, "sos", &event)
        });
        let life = vigil_tests::soak::below(&mut chance, LONGEST_LIFE_MS);
        std::thread::sleep(Duration::from_millis(u64::try_from(life).unwrap()));
        agent.kill();
        agent.start_again();
        line_in.leads_to(agent.mqtt());
        pressed.join().unwrap();
    }
    let acknowledged = || field.acknowledged();
    let before = acknowledged();
    until("something is acknowledged over a bad line", || acknowledged() > before + 20);
    let broken = (line_in.broken(), out.broken());
    line_in.is_mended();
    out.is_mended();
    until("load goes on over a good line", || acknowledged() > before + 100);
    field.end();
    let promised: Vec<_> = devices.into_iter().map(|device| device.join().unwrap()).collect();
    let alerts = eventually("every alert arrives", BOUND, || {
        let alerts = noc.alerts("gw-1");
        let missing = noc.gateway("gw-1")["missing"].clone();
        let called: BTreeSet<String> =
            alerts.iter().filter(|a| a["rule"] == "sos").map(|a| a["subject"].to_string()).collect();
        if called.len() == rounds && missing == 0 {
            return Ok(alerts);
        }
        Err(format!("{} of {rounds} calls for help, {missing} numbers are missing", called.len()))
    });
    let calls = alerts.iter().filter(|a| a["rule"] == "sos").count();
    assert_eq!(calls, rounds, "none twice");
    agent.kill();
    let journal = journal(&agent);
    for (device, promised) in promised {
        let lost: Vec<_> = promised.keys().filter(|id| !journal.contains_key(*id)).collect();
        assert!(lost.is_empty(), "{device}: acknowledged and not stored: {lost:?}");
    }
    let doubled: Vec<_> = journal.iter().filter(|(_, times)| **times > 1).collect();
    assert!(doubled.is_empty(), "counted more than once: {doubled:?}");
    assert!(broken.0 > 0 && broken.1 > 0, "the lines were too good: {broken:?}");
}
