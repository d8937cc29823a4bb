//! Signed site bundles of the operations centre, which take the place of the site file.
//!
//! ```text
//!  NOC ─► offer ─► judge (signature, whose, version, every problem) ─► shelf (durable) ─► switch (as SIGHUP does)
//!                     └─► refused: reported, the present one stays          │
//!                                              unhealthy, or ended twice ◄─ trial ─► proved
//!                                                  └─► what was before
//! ```
//!
//! `record` is the state machine and `judge` the test, both pure; `shelf` is the only one that touches the files; `chosen` is
//! what a start does with them, and the `porter` all that happens later.

mod chosen;
mod judge;
mod porter;
mod record;
mod report;
mod shelf;

pub use chosen::{Chosen, Kept, choose, kept};
pub use judge::{Fit, Measure, Unfit};
pub use porter::{Porter, Refresher, Refreshing};
pub use record::{Fallen, Record};
pub use report::{InUse, RefusedBundle, Standing};
pub use shelf::{Shelf, ShelfError};

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use vigil_core::site::Site;

/// Said where no bundle can be taken.
pub const NO_KEYS: &str =
    "this agent takes no bundles: [uplink] bundle_keys of agent.toml names no public key";

/// What a start hands over to the agent.
#[derive(Debug, Clone)]
pub struct Bundles {
    /// The folder, and what is written there.
    pub ledger: Ledger,
    /// What bundles are held against.
    pub measure: Measure,
    /// How long a new one has to prove itself.
    pub probation: Duration,
    /// The one in use, and its `ETag`; `None` if the site file is.
    pub in_use: Option<(InUse, String)>,
    /// What is put back if that one fails on its trial.
    pub before: Option<Arc<Site>>,
    /// Why one that lies there was not used.
    pub unused: Option<Unfit>,
}

/// The shelf with its record: who changes the one writes the other.
#[derive(Debug, Clone)]
pub struct Ledger(Arc<Mutex<(Shelf, Record)>>);

impl Ledger {
    /// What is held, with what is written there.
    pub fn new(shelf: Shelf, record: Record) -> Self {
        Self(Arc::new(Mutex::new((shelf, record))))
    }

    /// What is written down.
    pub fn record(&self) -> Record {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    /// Changes it: on stable storage first, and then for whoever looks.
    pub fn change(&self, change: impl FnOnce(&mut Record)) -> Result<(), ShelfError> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (shelf, record) = &mut *held;
        let mut changed = record.clone();
        change(&mut changed);
        if changed != *record {
            shelf.write(&changed)?;
            *record = changed;
        }
        Ok(())
    }

    /// The bundle of a version, as it came.
    pub fn bundle(&self, version: u64) -> Result<Vec<u8>, ShelfError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.bundle(version)
    }

    /// Lays a bundle down and lets it count, on stable storage.
    pub fn take(&self, version: u64, document: &[u8]) -> Result<(), ShelfError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.lay(version, document)?;
        self.change(|record| record.take(version))
    }

    /// The agent ends as it was told to: the next start does not hold that against the bundle.
    pub fn stopped(&self) {
        if let Err(why) = self.change(Record::on_stop) {
            tracing::warn!(%why, "that the agent was told to stop is not written down");
        }
    }
}
