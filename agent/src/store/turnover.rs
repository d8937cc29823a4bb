//! Keys whose time is over are destroyed, and what is still to be kept under them is sealed anew before.
//!
//! Which keys are in use is not counted but looked up, in passes over the database that go a piece at a time between two
//! commits. While one goes on, nothing is written under a key that is not the newest, so what a whole pass has not
//! met under a key is not there, whatever the clock says. A wrong clock makes a key go early or late, and never a record
//! without one.

use super::keyring::Class;
use super::keys::Kind;
use super::writes::Writes;
use super::{Store, StoreError, seal};
use std::collections::{BTreeMap, BTreeSet};
use vigil_core::time::{Span, Timestamp};

/// Records that are looked at before the pump goes back to its work: some milliseconds.
const AT_ONCE: usize = 2_000;
/// So often keys of what is kept for long are looked for that can go: they live for a year.
const LOOK_EVERY: Span = Span::from_hours(24);

/// Where the passes are.
#[derive(Debug, Default)]
pub(super) struct Turnover {
    pass: Option<Pass>,
    /// When the last one ended, since the start.
    ended: Option<Timestamp>,
    /// Keys under which it met nothing that goes by itself.
    idle: BTreeSet<u32>,
}

/// A pass over the database.
#[derive(Debug)]
struct Pass {
    /// Where it goes on.
    from: Vec<u8>,
    /// Keys that may go.
    aged: BTreeMap<u32, Class>,
    /// Those of them that only have what is sealed anew.
    leaving: BTreeSet<u32>,
    /// Those under which there is something.
    used: BTreeSet<u32>,
    /// Those under which there is something that goes by itself when it is past its time.
    keeping: BTreeSet<u32>,
}

/// What becomes of a record when its key goes.
enum End {
    /// It goes by itself, and its key waits for that.
    Waits,
    /// It is sealed anew.
    Moves,
    /// It goes with its key: what was refused or could not be read is kept no longer than what could.
    Goes,
}

fn end_of(place: &[u8]) -> End {
    match Kind::of(place) {
        Some(Kind::Journal | Kind::Alert | Kind::Run | Kind::Report) => End::Waits,
        Some(Kind::Refusal | Kind::SetAside) => End::Goes,
        Some(
            Kind::Broker
            | Kind::Dead
            | Kind::Local
            | Kind::Meta
            | Kind::Outbox
            | Kind::Prompt
            | Kind::Snapshot,
        )
        | None => End::Moves,
    }
}

impl Store {
    /// Goes on with a pass, or begins one if there is a key that may go; true if there is more to do.
    pub(super) fn turn_over(&mut self, now: Timestamp, retention: Span) -> Result<bool, StoreError> {
        self.disk.keyring().tell(now);
        self.disk.keyring().renew()?;
        let Some(mut pass) =
            self.turnover.pass.take().map_or_else(|| self.pass(now, retention), |p| Ok(Some(p)))?
        else {
            return Ok(false);
        };
        if self.step(&mut pass)? {
            self.turnover.pass = Some(pass);
            return Ok(true);
        }
        let Pass { aged, used, keeping, .. } = pass;
        for number in aged.keys().filter(|number| !used.contains(number)) {
            self.disk.keyring().destroy(*number);
        }
        let idle: BTreeSet<u32> = used.difference(&keeping).copied().collect();
        // What has not moved in this pass moves in the next one; it comes at once.
        let more = !idle.is_empty();
        self.turnover = Turnover { pass: None, ended: Some(now), idle };
        Ok(more)
    }

    /// A new pass, if there is something for it to do.
    fn pass(&self, now: Timestamp, retention: Span) -> Result<Option<Pass>, StoreError> {
        let aged = self.disk.keyring().aged(retention);
        // The blocks of the journal lie in the order of their keys.
        let first = self.disk.scan_sealed(&Kind::Journal.prefix()).next().transpose()?;
        let first = first.filter(|(place, _)| Kind::of(place) == Some(Kind::Journal));
        let first = first.and_then(|(_, block)| seal::number_of(&block)).unwrap_or(u32::MAX);
        let mut leaving = self.turnover.idle.clone();
        leaving.extend(
            aged.iter()
                .filter(|(number, class)| **class == Class::Short && **number < first)
                .map(|(number, _)| *number),
        );
        let looked = self.turnover.ended.is_some_and(|at| now.since(at).max(at.since(now)) < LOOK_EVERY);
        if aged.is_empty() || (leaving.is_empty() && looked) {
            return Ok(None);
        }
        let (used, keeping) = Default::default();
        Ok(Some(Pass { from: Vec::new(), aged, leaving, used, keeping }))
    }

    /// Looks at some records; false at the end.
    fn step(&mut self, pass: &mut Pass) -> Result<bool, StoreError> {
        let (keys, mut writes, mut broken) = (self.disk.keys(), Writes::default(), Vec::new());
        let mut looked = 0;
        for record in self.disk.scan_sealed(&pass.from).take(AT_ONCE) {
            let (place, bytes) = record?;
            looked += 1;
            pass.from.clone_from(&place);
            pass.from.push(0);
            let Some(number) = seal::number_of(&bytes).filter(|number| pass.aged.contains_key(number)) else {
                continue;
            };
            match end_of(&place) {
                End::Goes if pass.leaving.contains(&number) => writes.remove(place),
                End::Moves if pass.leaving.contains(&number) => {
                    let opened = keys.open(&place, &bytes);
                    match opened == bytes {
                        true => broken.push((place, bytes)),
                        false => writes.put(place, opened),
                    }
                }
                End::Goes | End::Moves => drop(pass.used.insert(number)),
                End::Waits => {
                    pass.used.insert(number);
                    pass.keeping.insert(number);
                }
            }
        }
        if !writes.is_empty() {
            self.disk.commit(writes)?;
        }
        self.set_aside(broken)?;
        Ok(looked == AT_ONCE)
    }
}
