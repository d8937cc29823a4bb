//! What has just changed, for every open page.

use crate::access::Scope;
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
    /// Whose it is: only who sees that tenant is told. `None` is told to all, and says nothing of anybody.
    pub tenant: Option<String>,
    /// The row as JSON.
    pub data: String,
}

impl Change {
    /// Whether `scope` may hear of it.
    pub fn is_for(&self, scope: &Scope) -> bool {
        self.tenant.as_ref().is_none_or(|tenant| scope.holds(tenant))
    }
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
        self.tell("alert", &row.tenant, row);
    }

    /// Tells of a gateway.
    pub fn gateway(&self, row: &GatewayRow) {
        self.tell("gateway", &row.tenant, row);
    }

    /// Something was missed: every page reads everything anew.
    pub fn resync(&self) {
        // An error means that no page is open.
        drop(self.changes.send(Change { event: "resync", tenant: None, data: "{}".to_owned() }));
    }

    /// Whether a page is open.
    pub fn is_heard(&self) -> bool {
        self.changes.receiver_count() > 0
    }

    /// From now on.
    pub fn listen(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    fn tell(&self, event: &'static str, tenant: &str, row: &impl Serialize) {
        match serde_json::to_string(row) {
            // An error means that no page is open.
            Ok(data) => {
                let tenant = Some(tenant.to_owned());
                drop(self.changes.send(Change { event, tenant, data }));
            }
            Err(error) => tracing::error!(%error, event, "cannot write a change"),
        }
    }
}
