//! What was read off a line and is not stored yet. A cable gives nothing back: what the store cannot take now waits here.
//!
//! It is in memory, and bounded; what has to go first is what says least: how the port was, then where somebody was long ago.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio::time::Instant;
use vigil_core::id::Tag;

use super::nmea::Sighting;

/// Scans that wait: a reader in the rounds of a large site sees one a minute, so this is a night. The first ones stay, in
/// their order; those that come when the tray is full are lost, and counted.
const SCANS: usize = 1_000;
/// Fixes that wait: a quarter of an hour. Of more, the oldest goes: the newest says where somebody is.
const FIXES: usize = 100;

/// Something to be stored.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reading {
    /// When it was read.
    pub(super) at: Instant,
    /// Its name as an event, so that it counts once however often it is handed over.
    pub(super) id: String,
    /// What it is.
    pub(super) what: What,
}

/// What was read.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum What {
    Scan(Tag),
    Fix(Sighting),
    /// The port is open and its device there.
    Alive,
    /// It is not.
    Gone,
}

impl What {
    /// Whether it says how the port is; only the last word on that counts.
    pub(super) const fn is_of_port(&self) -> bool {
        matches!(self, Self::Alive | Self::Gone)
    }
}

/// What waits on one line.
#[derive(Debug, Default)]
pub(super) struct Tray {
    waiting: Mutex<VecDeque<Reading>>,
    more: Notify,
}

impl Tray {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<Reading>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a reading. Says whether one was lost for it, this or another.
    pub(super) fn put(&self, reading: Reading) -> bool {
        let mut waiting = self.waiting();
        let lost = make_room(&mut waiting, &reading.what);
        if lost != Some(Lost::This) {
            waiting.push_back(reading);
        }
        drop(waiting);
        self.more.notify_one();
        lost.is_some()
    }

    /// The oldest; it stays until it is stored.
    pub(super) async fn first(&self) -> Reading {
        loop {
            let first = self.waiting().front().cloned();
            match first {
                Some(reading) => return reading,
                None => self.more.notified().await,
            }
        }
    }

    /// It is stored.
    pub(super) fn stored(&self, reading: &Reading) {
        self.waiting().retain(|waiting| waiting.id != reading.id);
    }

    /// Everything that waits, taken off.
    pub(super) fn clear(&self) -> Vec<Reading> {
        self.waiting().drain(..).collect()
    }

    /// How much waits.
    pub(super) fn len(&self) -> usize {
        self.waiting().len()
    }
}

/// What there was no room for.
#[derive(Debug, PartialEq, Eq)]
enum Lost {
    This,
    Another,
}

fn make_room(waiting: &mut VecDeque<Reading>, what: &What) -> Option<Lost> {
    match what {
        What::Alive | What::Gone => {
            waiting.retain(|reading| !reading.what.is_of_port());
            None
        }
        What::Scan(_) => {
            let scans = waiting.iter().filter(|reading| matches!(reading.what, What::Scan(_))).count();
            (scans >= SCANS).then_some(Lost::This)
        }
        What::Fix(_) => {
            let is_fix = |reading: &Reading| matches!(reading.what, What::Fix(_));
            if waiting.iter().filter(|reading| is_fix(reading)).count() < FIXES {
                return None;
            }
            let oldest = waiting.iter().position(is_fix)?;
            waiting.remove(oldest).map(|_| Lost::Another)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::nmea::time::FixTime;
    use super::*;
    use std::time::Duration;
    use vigil_core::observation::Fix;

    fn reading(n: usize, what: What) -> Reading {
        Reading { at: Instant::now(), id: n.to_string(), what }
    }

    fn scan() -> What {
        What::Scan(Tag::new("04A1B2C3").unwrap())
    }

    fn fix() -> What {
        let fix = Fix::at(1.0, 2.0);
        What::Fix(Sighting { fix, time: FixTime { date: None, ms_of_day: 0 }, came: Duration::ZERO })
    }

    fn ids(tray: &Tray) -> Vec<String> {
        tray.waiting().iter().map(|reading| reading.id.clone()).collect()
    }

    #[test]
    fn scans_that_came_first_stay_and_fixes_that_came_last() {
        let tray = Tray::default();
        let lost = |what: fn() -> What, from: usize| {
            (from..from + 1_100).filter(|n| tray.put(reading(*n, what()))).count()
        };
        assert_eq!((lost(scan, 0), lost(fix, 5_000)), (100, 1_000));
        let kept = ids(&tray);
        assert_eq!((kept.len(), kept[0].as_str(), kept[999].as_str()), (1_100, "0", "999"));
        assert_eq!((kept[1_000].as_str(), kept[1_099].as_str()), ("6000", "6099"));
    }

    #[test]
    fn only_the_last_word_on_the_port_waits() {
        let tray = Tray::default();
        for (n, what) in [What::Alive, scan(), What::Alive, What::Gone, What::Alive].into_iter().enumerate() {
            assert!(!tray.put(reading(n, what)));
        }
        assert_eq!(ids(&tray), ["1", "4"]);
    }

    #[tokio::test]
    async fn the_oldest_stays_until_it_is_stored() {
        let tray = Tray::default();
        tray.put(reading(1, scan()));
        tray.put(reading(2, scan()));
        assert_eq!((tray.first().await.id, tray.first().await.id), ("1".to_owned(), "1".to_owned()));
        tray.stored(&tray.first().await);
        assert_eq!((tray.first().await.id.as_str(), tray.len()), ("2", 1));
        assert_eq!((tray.clear().len(), tray.len()), (1, 0));
    }
}
