//! How it stands with the pump and its store, for those who ask and for the operations centre.

use super::{Draft, Pump, PumpError, Stock};
use crate::store::{Lane, StoredEvent};

impl Pump {
    /// Puts a word on how the gateway is into the outbox, in the place of one that still waits.
    pub(super) fn report_health(&mut self, data: String) -> Result<(), PumpError> {
        let now = self.clock.now();
        // A box that boots with an earlier clock may come to the same instant again; its start is an input.
        let id = format!("health.{now}.{}", self.store.marks().next_input);
        let event = StoredEvent { id, kind: Lane::Health, subject: "gateway".into(), time: now, data };
        if self.store.renew(&event)? {
            return Ok(());
        }
        self.commit(Draft { events: vec![event], judged_until: self.engine.now(), ..Draft::default() })
    }

    /// What there is, for whoever shows it.
    pub(super) fn stock(&self) -> Stock {
        Stock {
            marks: self.store.marks().clone(),
            outbox: Lane::ALL.map(|lane| self.store.depth(lane)),
            bytes: self.store.size(),
            dropped: self.store.dropped(),
            commits: self.commits,
            head: self.store.head(),
            strays: self.strays.list(),
            floods: self.flood.list(),
        }
    }
}
