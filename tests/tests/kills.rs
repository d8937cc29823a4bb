//! Twenty times `kill -9` under load: what was acknowledged is stored, no alert comes twice, none is forgotten.

// All of it is test code: a failed unwrap is a failed test.
#![cfg(test)]

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;
use vigil_agent::store::{Input, Store};
use vigil_core::observation::{Kind, Observation};
use vigil_core::time::{Span, Timestamp};
use vigil_tests::house::{
    Agent, Handset, Noc, PATIENCE, Plant, Source, eventually, message, now, topic, until,
};

const KILLS: usize = 20;
/// What the instants of the kills are drawn from.
const SEED: u64 = 0x5EED_0F20_411E_D001;
/// A life lasts up to so long, so that kills hit a start, an idle store and a full queue alike.
const LONGEST_LIFE_MS: u64 = 300;
/// Devices that publish all the time.
const DEVICES: usize = 3;
/// Messages of one device that wait for their acknowledgement.
const IN_FLIGHT: usize = 20;
/// After so many failed connections in a row the agent is not coming back.
const TRIES: usize = 600;

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

/// Where the agent listens at the moment, and whether the night is over.
#[derive(Clone)]
struct Field {
    address: Arc<Mutex<SocketAddr>>,
    over: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
}

impl Field {
    fn around(agent: &Agent) -> Self {
        let address = Arc::new(Mutex::new(agent.mqtt()));
        Self { address, over: Arc::default(), acknowledged: Arc::default() }
    }

    fn address(&self) -> MutexGuard<'_, SocketAddr> {
        self.address.lock().unwrap()
    }

    /// Connects, however often the agent dies meanwhile.
    fn connect(&self, device: &str) -> Handset {
        for _ in 0..TRIES {
            let at = *self.address();
            match Handset::connect(at, device) {
                Ok(handset) => return handset,
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
        panic!("{device} finds no agent any more");
    }

    /// Publishes one event until it is acknowledged.
    fn insist(&self, device: &str, kind: &str, event: &Value) {
        while self.connect(device).publish(&topic(device, kind), event.to_string().as_bytes()).is_err() {}
    }
}

/// A device under load: it sends what is not acknowledged again after every loss of its connection, as devices do.
struct Busy {
    name: String,
    field: Field,
    waiting: BTreeMap<String, Value>,
    acknowledged: BTreeSet<String>,
    serial: u32,
}

impl Busy {
    fn start(name: String, field: Field) -> JoinHandle<(String, BTreeSet<String>)> {
        let mut device =
            Self { name, field, waiting: BTreeMap::new(), acknowledged: BTreeSet::new(), serial: 0 };
        std::thread::spawn(move || {
            while !device.field.over.load(Ordering::Acquire) {
                // A lost connection is what this test is about; the next one goes on where it broke.
                let _lost = device.live();
            }
            (device.name, device.acknowledged)
        })
    }

    fn live(&mut self) -> std::io::Result<()> {
        let mut handset = self.field.connect(&self.name);
        let mut sent: BTreeMap<u16, String> = BTreeMap::new();
        let place = topic(&self.name, "activity");
        for (id, event) in &self.waiting {
            sent.insert(handset.send(&place, event.to_string().as_bytes())?, id.clone());
        }
        while !self.field.over.load(Ordering::Acquire) {
            while sent.len() < IN_FLIGHT {
                let (id, event) = self.next_event();
                let packet = handset.send(&place, event.to_string().as_bytes())?;
                sent.insert(packet, id);
            }
            let packet = handset.acknowledged()?;
            let id = sent.remove(&packet).expect("an acknowledgement of what was sent");
            self.waiting.remove(&id);
            self.acknowledged.insert(id);
            self.field.acknowledged.fetch_add(1, Ordering::AcqRel);
        }
        Ok(())
    }

    fn next_event(&mut self) -> (String, Value) {
        let id = format!("{}-{:06}", self.name, self.serial);
        self.serial += 1;
        let event = message(now(), json!({"id": id, "event": id}));
        self.waiting.insert(id.clone(), event.clone());
        (id, event)
    }
}

/// When the first task is due: when both agents are up.
const FIRST_DUE: Span = Span::from_secs(4);
/// Tasks that fall due while the kills go on, and a little beyond.
const TASKS: usize = 12;

/// Guards with handsets, a button for every kill, and tasks that nobody does.
fn plant(began: Timestamp) -> Plant {
    let created_at = began - Span::from_mins(10);
    let open = |plant: Plant, n: i64| {
        let due_at = began + FIRST_DUE + Span::from_millis(400 * n);
        plant.and(&format!(
            "[[tasks]]\nid = \"T-{n}\"\npriority = \"LOW\"\ncreated_at = \"{created_at}\"\ndue_at = \"{due_at}\""
        ))
    };
    (0..)
        .take(TASKS)
        .fold(Plant::default().guards(DEVICES).buttons(KILLS), open)
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

#[test]
fn twenty_kills_lose_nothing_that_was_acknowledged_and_double_no_alert() {
    let noc = Noc::start(&["gw-killed", "gw-steady"]);
    let began = now();
    let plant = plant(began);
    let steady = Agent::start("gw-steady", &plant, Source::Embedded, Some(&noc.uplink("gw-steady")));
    let mut killed = Agent::start("gw-killed", &plant, Source::Embedded, Some(&noc.uplink("gw-killed")));
    assert!(now() < began + FIRST_DUE, "two agents did not start within {FIRST_DUE}");
    let (field, calm) = (Field::around(&killed), Field::around(&steady));
    let devices: Vec<_> = (1..=DEVICES).map(|n| Busy::start(format!("hs-{n}"), field.clone())).collect();
    let mut draw = Draw(SEED);
    for kill in 1..=KILLS {
        let (button, event) = (format!("btn-{kill}"), message(now(), json!({"id": format!("sos-{kill}")})));
        calm.insist(&button, "sos", &event);
        let pressed = std::thread::spawn({
            let field = field.clone();
            move || field.insist(&button, "sos", &event)
        });
        std::thread::sleep(Duration::from_millis(draw.below(LONGEST_LIFE_MS)));
        killed.kill();
        killed.start_again();
        *field.address() = killed.mqtt();
        pressed.join().unwrap();
    }
    let before = field.acknowledged.load(Ordering::Acquire);
    until("load goes on after the last start", || field.acknowledged.load(Ordering::Acquire) > before + 100);
    killed.kill();
    field.over.store(true, Ordering::Release);
    *field.address() = steady.mqtt();
    let acknowledged: Vec<_> = devices.into_iter().map(|d| d.join().unwrap()).collect();

    let (stored, downs) = journal(&killed);
    assert_eq!(downs, KILLS, "every kill is a blind interval in the journal");
    for (device, ids) in &acknowledged {
        let lost: Vec<_> = ids.difference(&stored).collect();
        let (all, some) = (ids.len(), lost.iter().take(5).collect::<Vec<_>>());
        assert!(
            lost.is_empty(),
            "{device}: {} of {all} acknowledged are not stored, like {some:?}",
            lost.len()
        );
    }

    killed.start_again();
    let expected = KILLS + TASKS;
    let (undisturbed, survived) =
        (arrived(&noc, "gw-steady", expected), arrived(&noc, "gw-killed", expected));
    let essences = |alerts: &[Value]| alerts.iter().map(essence).collect::<BTreeSet<_>>();
    assert_eq!(essences(&survived), essences(&undisturbed), "the same alerts with the same ids");
    assert_eq!((survived.len(), undisturbed.len()), (expected, expected), "none twice");
    assert_eq!(
        noc.gateway("gw-killed")["missing"],
        0,
        "no number of the sequence is missing: {}",
        noc.gateway("gw-killed")
    );
}
