//! Fifty times `kill -9` under load, with the broker inside and with one outside: what was acknowledged is stored, no alert
//! comes twice, none is forgotten. `VIGIL_KILLS=450` makes it a long run (`tests/soak/README.md`).

// All of it is test code: a failed unwrap is a failed test.
#![cfg(test)]

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use vigil_agent::store::{Input, Store};
use vigil_core::observation::{Kind, Observation};
use vigil_core::time::{Span, Timestamp};
use vigil_tests::house::{
    Agent, Busy, Field, Mosquitto, Noc, PATIENCE, Plant, Source, eventually, message, now, until,
};

/// So many in the test command.
const KILLS: usize = 50;
/// What the instants of the kills are drawn from.
const SEED: u64 = 0x5EED_0F20_411E_D001;
/// A life lasts up to so long, so that kills hit a start, an idle store and a full queue alike.
const LONGEST_LIFE_MS: u64 = 300;
/// Devices that publish all the time.
const DEVICES: usize = 3;

/// SplitMix64: the instants of the kills are the same in every run.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// A phone event that is its own name.
fn one_phone_event(id: &str, _n: u32) -> (&'static str, Value) {
    ("activity", json!({ "event": id }))
}

/// A broker that promises nothing takes more than an agent that lives for a blink can store: each device is held back.
const BROKER_PAUSE: Duration = Duration::from_millis(10);
/// After so many kills the agent lives until it has heard what the broker holds. On a busy machine it falls behind with every life
/// otherwise, and when it is two minutes behind, the clocks of all devices look wrong to it, as they must.
const CATCHES_UP_EVERY: usize = 20;
/// How often an agent comes back for what the broker holds: a second each.
const RETURNS: usize = 60;
/// When the first task is due: when both agents are up.
const FIRST_DUE: Span = Span::from_secs(4);
/// Tasks that fall due while the kills go on, and a little beyond.
const TASKS: usize = 12;

fn kills() -> usize {
    std::env::var("VIGIL_KILLS").map_or(KILLS, |kills| kills.parse().expect("a number of kills"))
}

/// Guards with handsets, a button for every kill, and tasks that nobody does.
fn plant(began: Timestamp, kills: usize) -> Plant {
    let created_at = began - Span::from_mins(10);
    let open = |plant: Plant, n: i64| {
        let due_at = began + FIRST_DUE + Span::from_millis(400 * n);
        plant.and(&format!(
            "[[tasks]]\nid = \"T-{n}\"\npriority = \"LOW\"\ncreated_at = \"{created_at}\"\ndue_at = \"{due_at}\""
        ))
    };
    (0..)
        .take(TASKS)
        .fold(Plant::default().guards(DEVICES).buttons(kills), open)
        .and("[policy]\nsettle = \"0s\"")
}

/// What an alert is, but for what depends on when it was heard of.
fn essence(alert: &Value) -> String {
    ["id", "rule", "subject", "severity", "status", "guard", "detected_at"]
        .map(|f| alert[f].to_string())
        .join(" ")
}

fn arrived(noc: &Noc, gateway: &str, count: usize) -> Vec<Value> {
    eventually("every alert arrives", PATIENCE, || {
        let alerts = noc.alerts(gateway);
        let subjects = || alerts.iter().map(|a| a["subject"].to_string()).collect::<Vec<_>>().join(" ");
        if alerts.len() >= count {
            Ok(alerts.clone())
        } else {
            Err(format!("{}: {}", alerts.len(), subjects()))
        }
    })
}

/// The events of the journal, and how often it says that the agent was down.
fn journal(agent: &Agent) -> (BTreeSet<String>, usize) {
    let (mut events, mut downs) = (BTreeSet::new(), 0);
    for input in Store::open(&agent.store()).unwrap().inputs_from(0).unwrap() {
        match input {
            Input::Observation(Observation { kind: Kind::Activity(event), .. }, _) => events.extend([event]),
            Input::Observation(..) | Input::Command(..) => {}
            Input::Down { .. } => downs += 1,
            Input::Unset { .. } | Input::Clock { .. } => {}
        }
    }
    (events, downs)
}

/// Two agents on the same plant, of which one is killed again and again.
struct Ordeal {
    noc: Noc,
    steady: Agent,
    killed: Agent,
    field: Field,
    kills: usize,
}

impl Ordeal {
    fn begin(kills: usize, outside: Option<&Mosquitto>) -> Self {
        let noc = Noc::start(&["gw-killed", "gw-steady"]);
        let began = now();
        let plant = plant(began, kills);
        let steady = Agent::start("gw-steady", &plant, Source::Embedded, Some(&noc.uplink("gw-steady")));
        let source = outside.map_or(Source::Embedded, Source::External);
        let killed = Agent::start("gw-killed", &plant, source, Some(&noc.uplink("gw-killed")));
        assert!(now() < began + FIRST_DUE, "two agents did not start within {FIRST_DUE}");
        let field = match outside {
            Some(mosquitto) => Field::around(mosquitto.address(), BROKER_PAUSE),
            None => Field::around(killed.mqtt(), Duration::ZERO),
        };
        if outside.is_some() {
            // What a broker takes before anybody has subscribed is for nobody.
            until("the agent hears what the broker takes", || {
                field.insist("hs-1", "activity", &message(now(), json!({"event": "is anybody there"})));
                killed.outcomes("applied") > 0
            });
        }
        Self { noc, steady, killed, field, kills }
    }

    /// Kills, under load; what the devices got acknowledgements for.
    fn pass(&mut self, outside: bool) -> Vec<(String, BTreeSet<String>)> {
        let calm = Field::around(self.steady.mqtt(), Duration::ZERO);
        let devices: Vec<_> = (1..=DEVICES)
            .map(|n| Busy::start(format!("hs-{n}"), self.field.clone(), one_phone_event))
            .collect();
        let mut draw = Draw(SEED);
        for kill in 1..=self.kills {
            let (button, event) =
                (format!("btn-{kill}"), message(now(), json!({"id": format!("sos-{kill}")})));
            calm.insist(&button, "sos", &event);
            let pressed = std::thread::spawn({
                let field = self.field.clone();
                move || field.insist(&button, "sos", &event)
            });
            std::thread::sleep(Duration::from_millis(draw.below(LONGEST_LIFE_MS)));
            self.killed.kill();
            self.killed.start_again();
            if !outside {
                *self.field.address() = self.killed.mqtt();
            }
            pressed.join().unwrap();
            if outside && kill.is_multiple_of(CATCHES_UP_EVERY) {
                // The broker keeps the order, so that all that was said before this call has been heard with it.
                let subject = format!("device:btn-{kill}");
                until("the agent hears what the broker holds", || {
                    self.killed.alerts().iter().any(|alert| alert["subject"] == subject.as_str())
                });
            }
        }
        let before = self.field.acknowledged();
        until("load goes on after the last start", || self.field.acknowledged() > before + 100);
        self.killed.kill();
        self.field.end();
        if !outside {
            *self.field.address() = self.steady.mqtt();
        }
        let promised = devices.into_iter().map(|d| d.join().unwrap());
        promised.map(|(device, promised)| (device, promised.into_keys().collect())).collect()
    }

    /// Both agents told the operations centre the same, each alert once.
    fn compare(&self) {
        let expected = self.kills + TASKS;
        let (undisturbed, survived) =
            (arrived(&self.noc, "gw-steady", expected), arrived(&self.noc, "gw-killed", expected));
        let essences = |alerts: &[Value]| alerts.iter().map(essence).collect::<BTreeSet<_>>();
        assert_eq!(essences(&survived), essences(&undisturbed), "the same alerts with the same ids");
        assert_eq!((survived.len(), undisturbed.len()), (expected, expected), "none twice");
        let gateway = self.noc.gateway("gw-killed");
        assert_eq!(gateway["missing"], 0, "no number of the sequence is missing: {gateway}");
    }
}

/// Whatever was acknowledged and is not stored, device by device.
fn lost(acknowledged: &[(String, BTreeSet<String>)], stored: &BTreeSet<String>) -> Vec<String> {
    let of_device = |(device, ids): &(String, BTreeSet<String>)| {
        let lost: Vec<_> = ids.difference(stored).collect();
        let some: Vec<_> = lost.iter().take(5).collect();
        let all = ids.len();
        (!lost.is_empty()).then(|| format!("{device}: {} of {all}, like {some:?}", lost.len()))
    };
    acknowledged.iter().filter_map(of_device).collect()
}

#[test]
fn kills_lose_nothing_that_was_acknowledged_and_double_no_alert() {
    let kills = kills();
    let mut ordeal = Ordeal::begin(kills, None);
    let acknowledged = ordeal.pass(false);
    let (stored, downs) = journal(&ordeal.killed);
    assert_eq!(downs, kills, "every kill is a blind interval in the journal");
    assert_eq!(lost(&acknowledged, &stored), [""; 0], "acknowledged and not stored");
    ordeal.killed.start_again();
    ordeal.compare();
}

#[test]
fn kills_behind_a_broker_of_the_site_lose_nothing_that_it_took() {
    let kills = kills();
    let buttons = (1..=kills).map(|n| format!("btn-{n}"));
    let users: Vec<String> =
        (1..=DEVICES).map(|n| format!("hs-{n}")).chain(buttons).chain(["gw-killed".to_owned()]).collect();
    let mosquitto = Mosquitto::start(&users);
    let mut ordeal = Ordeal::begin(kills, Some(&mosquitto));
    let acknowledged = ordeal.pass(true);
    // What the broker still holds comes when the agent is there again.
    let mut missing = lost(&acknowledged, &journal(&ordeal.killed).0);
    for _ in 0..RETURNS {
        if missing.is_empty() {
            break;
        }
        ordeal.killed.start_again();
        std::thread::sleep(Duration::from_secs(1));
        ordeal.killed.kill();
        missing = lost(&acknowledged, &journal(&ordeal.killed).0);
    }
    assert_eq!(missing, [""; 0], "taken by the broker and not stored");
    ordeal.killed.start_again();
    ordeal.compare();
}
