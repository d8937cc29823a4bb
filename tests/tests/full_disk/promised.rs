//! What was promised, held against what is there: content by content.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use vigil_agent::sources::decode::message;
use vigil_agent::store::{Input, Store};
use vigil_core::engine::Outcome;
use vigil_core::observation::{Identity, Kind, Observation};
use vigil_core::site::Site;
use vigil_core::time::Timestamp;
use vigil_tests::house::{Agent, FaultyNoc, PATIENCE, Promised, Said, eventually, json, now};

/// What went for want of room, as the agent counts it.
pub struct Gone {
    /// The oldest observations that went before their time.
    pub dropped: u64,
    /// Positions that were not kept.
    pub thinned: u64,
}

impl Gone {
    pub fn of(agent: &Agent) -> Self {
        let status = agent.status();
        let refused = |reason: &str| status["refused"][reason].as_u64().unwrap_or(0);
        let thinned = refused("no_room") + refused("flood");
        Self { dropped: status["dropped_inputs"].as_u64().unwrap(), thinned }
    }
}

/// The observation that a message is, but for when it came.
fn decoded(site: &Site, said: &Said) -> Observation {
    let decoded = message(site, now(), &said.topic, said.payload.as_bytes());
    let [one] = decoded.observations.try_into().unwrap();
    timeless(one)
}

fn timeless(observation: Observation) -> Observation {
    Observation { received_at: Timestamp::default(), ..observation }
}

/// The journal of an agent that does not run: each observation, and how often it counted.
pub fn journal(agent: &Agent) -> BTreeMap<Identity, (Observation, usize)> {
    let mut found = BTreeMap::new();
    for input in Store::open(&agent.store()).unwrap().inputs_from(0).unwrap() {
        if let Input::Observation(observation, outcome) = input {
            let (_, counted) =
                found.entry(observation.identity).or_insert_with(|| (timeless(observation), 0));
            *counted += usize::from(outcome != Outcome::Duplicate);
        }
    }
    found
}

/// Every message that was acknowledged is in the journal with its content and counted once, but for what went for want of
/// room: the oldest of each device, and positions, no more of them than the agent says.
pub fn are_there(promised: &[(String, Promised)], agent: &Agent, gone: &Gone) {
    let site = vigil_config::load_site(&agent.folder().join("site.toml")).unwrap();
    let journal = journal(agent);
    let (mut dropped, mut thinned) = (0, 0);
    for (device, all) in promised {
        assert!(all.len() > 100, "{device} was promised next to nothing: {}", all.len());
        let mut oldest = true;
        for (id, said) in all {
            let expected = decoded(&site, said);
            match journal.get(&expected.identity) {
                Some((stored, counted)) => {
                    oldest = false;
                    assert_eq!((stored, *counted), (&expected, 1), "{id}");
                }
                None if oldest => dropped += 1,
                None => {
                    assert!(matches!(expected.kind, Kind::Location(_)), "{id} is not there: {said:?}");
                    thinned += 1;
                }
            }
        }
        assert!(!oldest, "nothing of {device} is there");
    }
    assert!(dropped <= gone.dropped, "{dropped} are not there, and {} were dropped", gone.dropped);
    assert!(thinned <= gone.thinned, "{thinned} positions are not there, and {} were thinned", gone.thinned);
}

/// Each alert of the agent reached the operations centre, in each revision once and with the same content; each of these
/// subjects called for help once; no number of the outbox is missing.
pub fn alerts_arrive(agent: &Agent, noc: &FaultyNoc, subjects: &[String]) {
    let here = json(agent.page(), "/api/alerts").as_array().cloned().unwrap();
    eventually("the last revision of every alert arrives", PATIENCE, || {
        let arrived = latest(&noc.events());
        let missing: Vec<_> = here.iter().filter(|alert| arrived.get(&name(alert)) != Some(alert)).collect();
        if missing.is_empty() && arrived.len() == here.len() { Ok(()) } else { Err(format!("{missing:?}")) }
    });
    let calls = here.iter().filter(|alert| alert["rule"] == "sos").map(|alert| &alert["subject"]);
    let mut calls: Vec<String> = calls.map(|s| s.as_str().unwrap().to_owned()).collect();
    calls.sort();
    assert_eq!(calls, subjects, "each calls for help once");
    let revisions: Vec<String> =
        alerts(&noc.events()).map(|a| format!("{}.{}", name(&a), a["revision"])).collect();
    let once: BTreeSet<&String> = revisions.iter().collect();
    assert_eq!(once.len(), revisions.len(), "no revision twice: {revisions:?}");
    let numbers: BTreeSet<u64> =
        noc.events().iter().map(|event| event["sequence"].as_u64().unwrap()).collect();
    let (first, last) = (*numbers.first().unwrap(), *numbers.last().unwrap());
    let missing: Vec<u64> = (first..=last).filter(|n| !numbers.contains(n)).collect();
    assert_eq!(missing, [0; 0], "numbers of the outbox between {first} and {last}");
}

fn name(alert: &Value) -> String {
    alert["id"].as_str().unwrap().to_owned()
}

fn alerts(events: &[Value]) -> impl Iterator<Item = Value> + use<'_> {
    events.iter().filter(|event| event["type"] == "vigil.alert").map(|event| event["data"].clone())
}

fn latest(events: &[Value]) -> BTreeMap<String, Value> {
    let mut latest: BTreeMap<String, Value> = BTreeMap::new();
    for alert in alerts(events) {
        let newer = latest
            .get(&name(&alert))
            .is_none_or(|known| known["revision"].as_u64().unwrap() < alert["revision"].as_u64().unwrap());
        if newer {
            latest.insert(name(&alert), alert);
        }
    }
    latest
}
