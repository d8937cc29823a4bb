//! Short of room, long before the disk is full: what is thinned, what never is, and who hears of it.

use super::everything;
use super::promised::{Gone, journal};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use vigil_core::observation::Kind;
use vigil_core::time::{Span, Timestamp};
use vigil_tests::house::{
    Agent, Busy, FaultyNoc, Field, Handset, PATIENCE, Plant, SmallDisk, Source, eventually, fetch, message,
    now, topic, until, with_small_disks,
};

const DISK_MIB: u32 = 64;
/// Below the floor, which is a twentieth of the disk, and far above the end.
const LEFT: u64 = 2_500_000;
/// Events of each kind, ten seconds apart.
const EVENTS: i64 = 60;
const APART: Span = Span::from_secs(10);

/// The fields of the `n`-th event of a kind.
type Fields = fn(n: i64) -> Value;

/// Ten minutes of everything that a handset can say.
fn ten_minutes(began: Timestamp) -> Vec<(&'static str, Value)> {
    let kinds: [(&str, Fields); 6] = [
        ("location", |_| json!({"lat": 12.9716, "lon": 77.5946, "accuracy": 10.0})),
        ("scan", |n| json!({"tag": format!("04AA{:04}", 1 + n % 3)})),
        ("task", |n| json!({"task": format!("short-{n}"), "state": "completed"})),
        ("attendance", |n| json!({"action": if n % 2 == 0 { "break_start" } else { "break_end" }})),
        ("heartbeat", |n| json!({"battery": 0.5, "steps": n})),
        ("activity", |n| json!({"event": format!("short-{n}")})),
    ];
    let at = |n: i64| began + Span::from_millis(APART.millis() * n);
    let events = (0..EVENTS).flat_map(|n| kinds.iter().map(move |(kind, fields)| (*kind, fields(n), n)));
    events
        .map(|(kind, mut fields, n)| {
            fields["id"] = format!("short-{n}").into();
            (kind, message(at(n), fields))
        })
        .collect()
}

fn last_health(noc: &FaultyNoc) -> Value {
    let events = noc.events();
    let health = events.iter().rev().find(|event| event["subject"] == "gateway");
    health.map_or(Value::Null, |event| event["data"].clone())
}

#[test]
fn below_the_floor_only_positions_are_thinned_and_the_operations_centre_hears_how_many() {
    let name =
        "shortage::below_the_floor_only_positions_are_thinned_and_the_operations_centre_hears_how_many";
    with_small_disks(name, || {
        let noc = FaultyNoc::start();
        let plant = Plant::default().guards(2).checkpoints(3).buttons(1);
        let folder = Agent::files("gw-1", &plant, Source::Embedded, Some(&noc.uplink()));
        let disk = SmallDisk::at(&folder.path().join("data"), DISK_MIB);
        let mut agent = Agent::of(folder, Some(disk));
        // There is something old that can go.
        let field = Field::around(agent.mqtt(), Duration::ZERO);
        let busy = Busy::start("hs-2".to_owned(), field.clone(), everything);
        until("there is a journal", || field.acknowledged() > 1_000);
        field.end();
        busy.join().unwrap();
        let filled = agent.disk().fill_once(LEFT);
        let mut handset = Handset::connect(agent.mqtt(), "hs-1").unwrap();
        let mut say = |kind: &str, event: &Value| {
            handset.publish(&topic("hs-1", kind), event.to_string().as_bytes()).unwrap();
        };
        let began = now() - Span::from_mins(11);
        eventually("the oldest go", PATIENCE, || {
            say("heartbeat", &message(now(), json!({"battery": 0.5})));
            let dropped = Gone::of(&agent).dropped;
            if dropped > 0 { Ok(()) } else { Err("none".to_owned()) }
        });
        say("attendance", &message(began - APART, json!({"action": "check_in"})));
        let (before, events) = (agent.status(), ten_minutes(began));
        events.iter().for_each(|(kind, event)| say(kind, event));
        field.insist("btn-1", "sos", &message(now(), json!({"id": "short-call"})));

        // One position a minute: ten of sixty.
        let gone = Gone::of(&agent);
        let for_room = |status: &Value| status["refused"]["no_room"].as_u64();
        assert_eq!((for_room(&before), for_room(&agent.status())), (None, Some(50)));
        let metrics = fetch(agent.page(), "/metrics").unwrap().1;
        assert!(metrics.contains("vigil_refused_inputs_total{reason=\"no_room\"} 50"), "{metrics}");
        eventually("the operations centre hears of it", 2 * PATIENCE, || {
            let health = last_health(&noc);
            let told = (health["thinned_positions"].as_u64(), health["dropped_inputs"].as_u64());
            if told == (Some(50), Some(gone.dropped)) { Ok(()) } else { Err(health.to_string()) }
        });
        until("the call for help arrives", || {
            noc.events().iter().any(|event| event["data"]["rule"] == "sos")
        });
        assert_eq!(agent.status()["outage"], Value::Null, "the disk was never full");
        assert!(agent.stop(PATIENCE).success());
        drop(filled);
        let mut kept: BTreeMap<&str, i64> = BTreeMap::new();
        let stored = journal(&agent);
        let of_it = stored.values().filter(|(o, _)| {
            o.device.as_str() == "btn-1"
                || (o.device.as_str() == "hs-1" && o.at >= began && o.at < began + Span::from_mins(10))
        });
        of_it.for_each(|(o, _)| *kept.entry(o.kind.name()).or_default() += 1);
        let whole = ["activity", "attendance", "heartbeat", "scan", "task"].map(|kind| (kind, EVENTS));
        let expected: BTreeMap<&str, i64> = whole.into_iter().chain([("location", 10), ("sos", 1)]).collect();
        assert_eq!(kept, expected);
        assert!(stored.values().any(|(o, _)| matches!(o.kind, Kind::Sos(_))));
    });
}
