//! What has just changed, for every open page.

use crate::ledger::{AlertRow, GatewayRow};
use serde::Serialize;
use tokio::sync::broadcast;

/// How many changes a slow page may fall behind before it is told to read everything anew: a full batch.
const BACKLOG: usize = 512;

/// One thing that is new.
#[derive(Debug, Clone)]
pub struct Change {
    /// The name of the server-sent event.
    pub event: &'static str,
    /// The row as JSON.
    pub data: String,
}

/// The way to every open page. Nobody listening is no error.
#[derive(Debug, Clone)]
pub struct Feed {
    changes: broadcast::Sender<Change>,
}

impl Default for Feed {
    fn default() -> Self {
        Self { changes: broadcast::Sender::new(BACKLOG) }
    }
}

impl Feed {
    /// Tells of an alert.
    pub fn alert(&self, row: &AlertRow) {
        self.tell("alert", row);
    }

    /// Tells of a gateway.
    pub fn gateway(&self, row: &GatewayRow) {
        self.tell("gateway", row);
    }

    /// Something was missed: every page reads everything anew.
    pub fn resync(&self) {
        // An error means that no page is open.
        drop(self.changes.send(Change { event: "resync", data: "{}".to_owned() }));
    }

    /// From now on.
    pub fn listen(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    fn tell(&self, event: &'static str, row: &impl Serialize) {
        match serde_json::to_string(row) {
            // An error means that no page is open.
            Ok(data) => drop(self.changes.send(Change { event, data })),
            Err(error) => tracing::error!(%error, event, "cannot write a change"),
        }
    }
}
