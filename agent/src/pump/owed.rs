//! What people on site were told while nothing could be stored is owed to the store. It is made good as soon as there is
//! one again, whether or not the devices say it again: one that asked for no acknowledgement never does, and one that was
//! smashed neither.
//!
//! The commit that failed is written after all, if the store stands where it stood before it; the calls for help that
//! came later are inputs like any other. A device that does repeat one is a duplicate by then.

use super::{Pump, PumpError, absorb};
use crate::store::{Draft, Input, Stand, Store, StoreError};
use std::collections::BTreeSet;
use vigil_core::alert::{Alert, AlertId};
use vigil_core::observation::Observation;

/// As many calls for help are kept as can wait to be announced: thirty handsets in a fire make no more.
const MOST_HEARD: usize = 100;

/// A commit that failed.
#[derive(Debug)]
pub(super) struct Failed {
    /// Where the store stood before it.
    before: Stand,
    draft: Draft,
}

impl Failed {
    pub(super) const fn new(before: Stand, draft: Draft) -> Self {
        Self { before, draft }
    }

    /// What it would have announced.
    pub(super) fn announcements(&self) -> impl Iterator<Item = &str> {
        self.draft.announcements.iter().map(|announcement| announcement.payload.as_str())
    }

    /// A snapshot that only saves time is made anew when there is room.
    pub(super) fn without_snapshot(&mut self) {
        self.draft.snapshot = None;
    }

    /// Whether it can be written by itself. One with a snapshot is part of a greater change, another site or another
    /// time, which is made anew from the store.
    const fn stands_alone(&self) -> bool {
        self.draft.snapshot.is_none()
    }
}

/// What is owed.
#[derive(Debug, Default)]
pub(super) struct Owed {
    failed: Option<Failed>,
    heard: Vec<Observation>,
    told: BTreeSet<AlertId>,
}

impl Owed {
    pub(super) fn of(failed: Option<Failed>) -> Self {
        let told = failed.iter().flat_map(|failed| failed.draft.alerts.iter().map(|alert| alert.id));
        Self { told: told.collect(), failed: failed.filter(Failed::stands_alone), heard: vec![] }
    }

    /// A call for help; one that comes again is known.
    pub(super) fn hear(&mut self, call: &Observation) {
        if self.heard.iter().any(|known| known.identity == call.identity) {
            return;
        }
        if self.heard.len() < MOST_HEARD {
            self.heard.push(call.clone());
        } else {
            tracing::error!("a call for help is not kept until it can be stored: too many are");
        }
    }

    /// An alert that was told and is not stored.
    pub(super) fn tell(&mut self, alert: &Alert) {
        self.told.insert(alert.id);
    }

    /// Which alerts were told and are not stored.
    pub(super) const fn told(&self) -> &BTreeSet<AlertId> {
        &self.told
    }

    /// Writes the commit that failed, before anything is made of what the store holds.
    pub(super) fn settle(&mut self, store: &mut Store) -> Result<(), StoreError> {
        let Some(failed) = &self.failed else { return Ok(()) };
        if store.marks().stand() == failed.before {
            store.write(&failed.draft)?;
            tracing::info!("what could not be stored when the store failed is stored now");
        } else if store.loss().is_some() {
            // It is another store: what it would have followed is not there.
            let calls: Vec<_> = failed.draft.inputs.iter().filter_map(call_for_help).cloned().collect();
            calls.iter().for_each(|call| self.hear(call));
        }
        // Or it was stored, and only nobody was told.
        self.failed = None;
        Ok(())
    }
}

const fn call_for_help(input: &Input) -> Option<&Observation> {
    match input {
        Input::Observation(observation, _) if observation.kind.is_call_for_help() => Some(observation),
        Input::Observation(..)
        | Input::Down { .. }
        | Input::Unset { .. }
        | Input::Clock { .. }
        | Input::Command(..) => None,
    }
}

impl Pump {
    /// Takes up the calls for help that were heard while nothing could be stored.
    pub(super) fn make_good(&mut self, owed: &Owed) -> Result<(), PumpError> {
        if owed.heard.is_empty() {
            return Ok(());
        }
        let mut draft = Draft::default();
        for call in &owed.heard {
            let received_at = self.clock.no_later_than_now(call.received_at).max(self.engine.now());
            absorb(&mut draft, self.engine.on_observation(Observation { received_at, ..call.clone() }))?;
        }
        draft.judged_until = self.engine.now();
        tracing::info!(
            calls = owed.heard.len(),
            "calls for help that were heard without a store are stored now"
        );
        self.finish(draft)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Announcement, Loss, StoredEvent};
    use std::path::Path;
    use vigil_core::engine::Outcome;
    use vigil_core::id::DeviceId;
    use vigil_core::observation::Kind;
    use vigil_core::time::Timestamp;

    fn call(secs: i64) -> Observation {
        let at = Timestamp::from_millis(1_700_000_000_000 + secs * 1_000);
        Observation::new(DeviceId::new("btn-1").unwrap(), at, at, None, Kind::Sos(None))
    }

    fn draft(secs: i64) -> Draft {
        let event = StoredEvent {
            id: secs.to_string(),
            kind: crate::store::Lane::Critical,
            subject: "device:btn-1".into(),
            time: call(secs).at,
            data: "{}".into(),
        };
        Draft {
            inputs: vec![Input::Observation(call(secs), Outcome::Applied)],
            events: vec![event],
            announcements: vec![Announcement { payload: "{}".into() }],
            ..Draft::default()
        }
    }

    fn open(folder: &Path) -> Store {
        Store::open(&folder.join("db")).unwrap()
    }

    /// What a store holds after what was owed to it, and which calls are still to be heard.
    fn settled(owed: &mut Owed, store: &mut Store) -> (usize, usize, usize) {
        owed.settle(store).unwrap();
        (store.inputs_from(0).unwrap().len(), store.next_events(9).unwrap().len(), owed.heard.len())
    }

    #[test]
    fn what_failed_is_written_once_and_calls_are_kept_whatever_the_store_is() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(dir.path());
        store.commit(draft(1)).unwrap();
        let before = store.marks().stand();
        let owed = || Owed::of(Some(Failed::new(before, draft(2))));
        // Nothing of it was written.
        assert_eq!(settled(&mut owed(), &mut store), (2, 2, 0));
        // It was, and only nobody was told.
        assert_eq!(settled(&mut owed(), &mut store), (2, 2, 0));
        // With a snapshot it is part of something greater.
        let mut with = draft(2);
        with.snapshot = Some((a_site(), vec![]));
        assert_eq!(
            settled(&mut Owed::of(Some(Failed::new(store.marks().stand(), with))), &mut store),
            (2, 2, 0)
        );
        drop(store);
        // The store is another one.
        std::fs::remove_dir_all(dir.path().join("db")).unwrap();
        let mut store = open(dir.path());
        assert!(matches!(store.loss(), Some(Loss::WentBack { .. })));
        assert_eq!(settled(&mut owed(), &mut store), (0, 0, 1));
    }

    #[test]
    fn a_call_that_comes_again_is_known() {
        let mut owed = Owed::default();
        [1, 1, 2, 1].iter().for_each(|secs| owed.hear(&call(*secs)));
        assert_eq!(owed.heard, [call(1), call(2)]);
        (0..200).for_each(|secs| owed.hear(&call(secs)));
        assert_eq!(owed.heard.len(), MOST_HEARD);
    }

    fn a_site() -> vigil_core::site::Site {
        let toml = "[site]\nid = \"s\"\nname = \"S\"\ntenant = \"t\"\nclient = \"c\"\ntimezone = \"UTC\"\n";
        vigil_config::parse_site(Path::new("site.toml"), toml.as_bytes()).unwrap()
    }
}
