//! What is said of bundles: to the operations centre, as records of their own, and on site, as the standing of now.

use super::judge::{Fit, Unfit};
use super::record::{Fallen, Record};
use crate::store::{Lane, StoredEvent};
use serde::Serialize;
use serde_json::json;
use vigil_cloud_sync::wire::BUNDLE;
use vigil_core::time::Timestamp;

/// The bundle in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InUse {
    /// Its version.
    pub version: u64,
    /// When it was made.
    pub made_at: Timestamp,
    /// Who made it.
    pub by: String,
    /// Who signed it.
    pub key: String,
}

impl InUse {
    /// What is said of one that is fit.
    pub fn of(fit: &Fit) -> Self {
        let header = &fit.header;
        Self {
            version: header.version,
            made_at: header.made_at,
            by: header.by.clone(),
            key: fit.key.to_string(),
        }
    }
}

/// A bundle that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefusedBundle {
    /// The version that it says it has, if that can be read.
    pub version: Option<u64>,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
    /// Every problem of its tree.
    pub problems: Vec<String>,
}

/// How it stands with bundles, for the status and the health of the gateway.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// The one in use; `null` if the site file is.
    pub in_use: Option<InUse>,
    /// Whether it still has to prove itself.
    pub on_trial: bool,
    /// The highest version that was ever taken here.
    pub highest: u64,
    /// The last one that was rolled back.
    pub rolled_back: Option<Fallen>,
    /// How many were taken since the start.
    pub taken: u64,
    /// How many were refused since the start.
    pub refused: u64,
    /// The last of these.
    pub last_refused: Option<RefusedBundle>,
    /// When the operations centre last said whether it has one.
    pub asked_at: Option<Timestamp>,
    /// Why it could not be asked, if that is so.
    pub last_error: Option<String>,
}

impl Standing {
    /// Takes over what is written down.
    pub fn follow(&mut self, record: &Record) {
        self.on_trial = record.trial.is_some();
        self.highest = record.highest;
        self.rolled_back = record.fallen.clone();
    }
}

/// One is in use from now on.
pub fn taken(in_use: &InUse, before: Option<u64>, at: Timestamp) -> StoredEvent {
    let InUse { version, made_at, by, key } = in_use;
    let data = json!({
        "bundle": "taken", "version": version, "before": before, "at": at, "made_at": made_at, "by": by, "key": key,
    });
    event("taken", Some(*version), at, &data)
}

/// One has proved itself.
pub fn proved(version: u64, at: Timestamp) -> StoredEvent {
    event("proved", Some(version), at, &json!({"bundle": "proved", "version": version, "at": at}))
}

/// One was rolled back.
pub fn rolled_back(fallen: &Fallen, in_use: Option<u64>) -> StoredEvent {
    let Fallen { version, at, why, .. } = fallen;
    let data =
        json!({"bundle": "rolled_back", "version": version, "in_use": in_use, "at": at, "reason": why});
    event("rolled_back", Some(*version), *at, &data)
}

/// One was not taken.
pub fn refused(unfit: &Unfit, in_use: Option<u64>, at: Timestamp) -> StoredEvent {
    let Unfit { version, why, problems } = unfit;
    let data = json!({
        "bundle": "refused", "version": version, "in_use": in_use, "at": at, "reason": why, "problems": problems,
    });
    event("refused", *version, at, &data)
}

fn event(what: &str, version: Option<u64>, at: Timestamp, data: &serde_json::Value) -> StoredEvent {
    let version = version.unwrap_or(0);
    StoredEvent {
        id: format!("{BUNDLE}{what}.{version}.{at}"),
        kind: Lane::Health,
        subject: format!("bundle:{version}"),
        time: at,
        data: data.to_string(),
    }
}
