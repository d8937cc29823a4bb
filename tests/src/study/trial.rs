//! One night before the engine: every message when it arrives, every deadline when it falls due.

use super::clock::{END, began, instant};
use super::handset::Post;
use std::collections::BTreeMap;
use std::sync::Arc;
use vigil_core::alert::{Alert, AlertId};
use vigil_core::engine::{Commit, Engine};
use vigil_core::site::Site;
use vigil_core::time::Timestamp;

/// An alert of a night.
#[derive(Debug, Clone, PartialEq)]
pub struct Raised {
    /// Its first revision.
    pub first: Alert,
    /// Its last one.
    pub last: Alert,
    /// When the engine told of it.
    pub told_at: Timestamp,
}

/// Every alert of a night, by the instant at which it was told.
pub fn alerts(site: Arc<Site>, post: &Post) -> Vec<Raised> {
    let mut watch = Watching { engine: Engine::new(site, began()), raised: BTreeMap::new() };
    let off = post.gateway_off.map(|(from, to)| (instant(from), instant(to)));
    let mut down = off;
    for observation in &post.observations {
        if let Some((from, to)) = down.filter(|(from, _)| *from <= observation.received_at) {
            watch.restart(from, to);
            down = None;
        }
        watch.wait_until(observation.received_at);
        let commit = watch.engine.on_observation(observation.clone());
        watch.take(commit, observation.received_at);
    }
    if let Some((from, to)) = down {
        watch.restart(from, to);
    }
    watch.wait_until(instant(END));
    let mut all: Vec<Raised> = watch.raised.into_values().collect();
    all.sort_by_key(|r| (r.told_at, r.first.id));
    all
}

struct Watching {
    engine: Engine,
    raised: BTreeMap<AlertId, Raised>,
}

impl Watching {
    /// As the daemon does: it sleeps until the next deadline or message.
    fn wait_until(&mut self, now: Timestamp) {
        while let Some(due) = self.engine.next_deadline().filter(|due| *due <= now) {
            let commit = self.engine.on_deadline(due);
            self.take(commit, due);
        }
    }

    fn restart(&mut self, from: Timestamp, to: Timestamp) {
        self.wait_until(from);
        let snapshot = self.engine.snapshot().expect("a snapshot");
        self.engine = Engine::restore(Arc::clone(self.engine.site()), &snapshot).expect("restored");
        let commit = self.engine.on_restart(from, to);
        self.take(commit, to);
    }

    fn take(&mut self, commit: Commit, now: Timestamp) {
        for alert in commit.effects.alerts {
            let known = self.raised.entry(alert.id);
            let first = || Raised { first: alert.clone(), last: alert.clone(), told_at: now };
            known.or_insert_with(first).last = alert.clone();
        }
    }
}
