//! Recorded nights: the published vectors, and what the engine makes of them.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vigil_agent::sources::decode;
use vigil_core::observation::Observation;
use vigil_core::site::Site;
use vigil_core::time::Timestamp;

/// One recorded night.
#[derive(Debug)]
pub struct Recording {
    /// The site whose rules apply.
    pub site: Arc<Site>,
    /// Every observation, in order of receipt.
    pub observations: Vec<Observation>,
    /// When the first line was received.
    pub began: Timestamp,
    /// How far to go on after the last line.
    pub until: Timestamp,
    /// The alerts that are expected, with the fields that are fixed.
    pub expected: Vec<Value>,
}

/// The folder of a published vector.
pub fn vector_folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/vectors").join(name)
}

/// Reads a published vector.
pub fn vector(name: &str) -> Recording {
    let folder = vector_folder(name);
    let text = |file: &str| std::fs::read_to_string(folder.join(file)).expect("a file of the vector");
    let site = Arc::new(vigil_config::load_site(&folder.join("site.toml")).expect("a valid site"));
    let lines = text("events.ndjson");
    let observations: Vec<Observation> = lines.lines().flat_map(|line| decoded(&site, line)).collect();
    let about = text("about.txt");
    let until = about.lines().find_map(|l| l.strip_prefix("until ")).expect("an until line");
    Recording {
        began: observations.first().expect("a line").received_at,
        until: Timestamp::parse(until.trim()).expect("an instant"),
        expected: text("expected.ndjson")
            .lines()
            .map(|l| serde_json::from_str(l).expect("an alert"))
            .collect(),
        observations,
        site,
    }
}

fn decoded(site: &Site, line: &str) -> Vec<Observation> {
    let value: Value = serde_json::from_str(line).expect("a recorded message");
    let received_at =
        Timestamp::parse(value["received_at"].as_str().expect("received_at")).expect("an instant");
    let payload = value["payload"].to_string();
    let found =
        decode::message(site, received_at, value["topic"].as_str().expect("topic"), payload.as_bytes());
    assert_eq!(found.refused, [], "a vector holds nothing to refuse");
    found.observations
}
