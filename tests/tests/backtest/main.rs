//! The stored journal under another policy: what would have been raised, cleared or kept.

// All of it is test code: a failed unwrap is a failed test.
#![cfg(test)]

mod binary;
mod replayed;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use vigil_agent::pump;
use vigil_agent::store::{Draft, Input, Store};
use vigil_core::alert::{Alert, AlertId};
use vigil_core::engine::{Engine, Outcome};
use vigil_core::observation::Observation;
use vigil_core::site::Site;
use vigil_core::time::Timestamp;

/// The observations as entries of a journal.
fn entries(observations: &[Observation]) -> Vec<Input> {
    observations.iter().map(|o| Input::Observation(o.clone(), Outcome::Applied)).collect()
}

/// Writes the store of an agent that lived through these inputs and stood at `until`; the alerts that it raised.
fn lived(folder: &Path, site: &Arc<Site>, inputs: Vec<Input>, until: Timestamp) -> Vec<Alert> {
    let mut engine = Engine::new(Arc::clone(site), inputs.first().map_or(until, Input::received_at));
    let mut alerts: BTreeMap<AlertId, Alert> = BTreeMap::new();
    for input in pump::retold(inputs.clone()) {
        let commit = pump::give(&mut engine, input);
        alerts.extend(commit.effects.alerts.into_iter().map(|a| (a.id, a)));
    }
    alerts.extend(engine.on_deadline(until).effects.alerts.into_iter().map(|a| (a.id, a)));
    let alerts: Vec<Alert> = alerts.into_values().collect();
    let snapshot = Some(((**site).clone(), engine.snapshot().unwrap()));
    let draft = Draft { inputs, alerts: alerts.clone(), snapshot, judged_until: until, ..Draft::default() };
    Store::open(folder).unwrap().commit(draft).unwrap();
    alerts
}
