//! Reading: an unreadable record is set aside, and blocks nothing.

use super::entries::{Announcement, ChainedBlock, DeadLetter, Input, Past, SnapshotHead, StoredEvent};
use super::keys::{self, Kind};
use super::records::{Unreadable, decode, encode};
use super::writes::Writes;
use super::{Lane, Store, StoreError};
use crate::sources::decode::Refusal;
use serde::de::DeserializeOwned;
use vigil_cloud_sync::wire::{Event, Producer};
use vigil_core::alert::{Alert, AlertId};
use vigil_core::report::DailyReport;
use vigil_core::rules::welfare::Prompt;
use vigil_core::site::Site;
use vigil_core::time::Date;

/// The first input that is not in a snapshot, with its site and its engine.
type Snapshot = (u64, (Site, Vec<u8>));

impl Store {
    /// What the engine is rebuilt from. Records that cannot be read are set aside and do not block the others.
    pub fn past(&mut self) -> Result<Past, StoreError> {
        let snapshot = self.snapshot()?;
        if snapshot.is_none() {
            self.set_snapshot_aside()?;
        }
        let (from, snapshot) = snapshot.map_or((0, None), |(from, whole)| (from, Some(whole)));
        Ok(Past { snapshot, inputs: self.inputs_from(from)? })
    }

    /// What is there of a snapshot that is not whole. The journal is not thinned below it any more.
    fn set_snapshot_aside(&mut self) -> Result<(), StoreError> {
        let head = keys::meta("snapshot");
        let Some(bytes) = self.disk.get(&head)? else { return Ok(()) };
        tracing::error!(
            "the snapshot of the engine cannot be read and is set aside; the engine is made anew of the journal, \
             as far back as that reaches"
        );
        let pieces = self.disk.scan(&Kind::Snapshot.prefix()).collect::<Result<Vec<_>, _>>()?;
        self.set_aside(std::iter::once((head, bytes)).chain(pieces).collect())
    }

    /// The snapshot, if it is whole: its site, its engine, and the first input that is not in it.
    pub(super) fn snapshot(&self) -> Result<Option<Snapshot>, StoreError> {
        let head = self.disk.get(&keys::meta("snapshot"))?.and_then(|b| decode::<SnapshotHead>(&b).ok());
        let Some(head) = head else { return Ok(None) };
        let mut bytes = Vec::with_capacity(usize::try_from(head.bytes).unwrap_or(0));
        for n in 0..u64::from(head.pieces) {
            bytes.extend(self.disk.get(&keys::numbered(Kind::Snapshot, n))?.unwrap_or_default());
        }
        let whole = bytes.len() as u64 == head.bytes;
        let snapshot = if whole { split_snapshot(&bytes, head.site_bytes) } else { None };
        Ok(snapshot.map(|snapshot| (head.next_input, snapshot)))
    }

    /// The journal from input number `from` on.
    pub fn inputs_from(&mut self, from: u64) -> Result<Vec<Input>, StoreError> {
        let mut inputs = Vec::new();
        for (key, block) in self.read_with(Kind::Journal, usize::MAX, ChainedBlock::read)? {
            let first = keys::number_of(&key).unwrap_or(0);
            let known = usize::try_from(from.saturating_sub(first)).unwrap_or(usize::MAX);
            inputs.extend(block.inputs.into_iter().skip(known));
        }
        Ok(inputs)
    }

    /// Every readable record of a kind, in order; the others are set aside, counted, and logged.
    pub(super) fn read_all<T: DeserializeOwned>(
        &mut self,
        kind: Kind,
    ) -> Result<Vec<(Vec<u8>, T)>, StoreError> {
        self.read_some(kind, usize::MAX)
    }

    /// The same for the first `limit` of them: an unreadable one never stands in the way of the next.
    fn read_some<T: DeserializeOwned>(
        &mut self,
        kind: Kind,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, T)>, StoreError> {
        self.read_with(kind, limit, decode)
    }

    fn read_with<T>(
        &mut self,
        kind: Kind,
        limit: usize,
        read: impl Fn(&[u8]) -> Result<T, Unreadable>,
    ) -> Result<Vec<(Vec<u8>, T)>, StoreError> {
        let mut found = Vec::new();
        let mut unreadable = Vec::new();
        for record in self.disk.scan(&kind.prefix()) {
            if found.len() == limit {
                break;
            }
            let (key, bytes) = record?;
            match read(&bytes) {
                Ok(value) => found.push((key, value)),
                Err(why) => {
                    tracing::error!(?kind, %why, "a record cannot be read and is set aside");
                    unreadable.push((key, bytes));
                }
            }
        }
        self.set_aside(unreadable)?;
        Ok(found)
    }

    pub(super) fn set_aside(&mut self, unreadable: Vec<(Vec<u8>, Vec<u8>)>) -> Result<(), StoreError> {
        if unreadable.is_empty() {
            return Ok(());
        }
        let mut writes = Writes::default();
        let mut marks = self.marks.clone();
        for (key, bytes) in unreadable {
            marks.set_aside += 1;
            if key.first() == Some(&(Kind::Outbox as u8)) {
                keys::number_of(&key).map(|sequence| self.waiting.remove(&sequence));
            }
            writes.put(keys::set_aside(&key), bytes);
            writes.remove(key);
        }
        writes.put(keys::meta("marks"), encode(&marks)?);
        self.disk.commit(writes)?;
        self.marks = marks;
        Ok(())
    }

    /// The most urgent events that wait, in the order in which they are to be sent.
    pub fn next_events(&mut self, limit: usize) -> Result<Vec<Event>, StoreError> {
        let mut waiting = self.read_some::<StoredEvent>(Kind::Outbox, limit)?;
        self.bring_forward(&mut waiting, limit)?;
        // Once a number has been given out, no accident to the database may give it to another event.
        let given = waiting.iter().filter_map(|(key, _)| keys::number_of(key)).max();
        if given.is_some_and(|sequence| sequence >= self.reach.last().next_sequence) {
            self.note_reach()?;
        }
        let numbered = |(key, event): (Vec<u8>, StoredEvent)| Some((keys::number_of(&key)?, event));
        Ok(waiting
            .into_iter()
            .filter_map(numbered)
            .map(|(n, event)| outgoing(self.producer, n, event))
            .collect())
    }

    /// If more waits than goes into one batch, how the gateway is now comes before what was: behind what is CRITICAL.
    fn bring_forward(
        &self,
        waiting: &mut Vec<(Vec<u8>, StoredEvent)>,
        limit: usize,
    ) -> Result<(), StoreError> {
        let behind = waiting.len() == limit && limit > 1 && self.waiting.len() > limit;
        let Some(key) = self.sign_of_life().filter(|_| behind) else { return Ok(()) };
        let Some(Ok(event)) = self.disk.get(&key)?.map(|bytes| decode(&bytes)) else { return Ok(()) };
        let at = waiting.partition_point(|(_, event)| event.kind == Lane::Critical);
        if at < limit {
            waiting.retain(|(known, _)| *known != key);
            waiting.insert(at, (key, event));
            waiting.truncate(limit);
        }
        Ok(())
    }

    /// The key of the health record that waits.
    fn sign_of_life(&self) -> Option<Vec<u8>> {
        let newest = self.waiting.iter().rev().find(|(_, lane)| **lane == Lane::Health)?;
        Some(keys::outbox(*newest.1 as u8, *newest.0))
    }

    /// Puts a health record in the place of one that still waits, under its number: nobody needs to know how the gateway was
    /// yesterday. False if none waits.
    pub fn renew(&mut self, event: &StoredEvent) -> Result<bool, StoreError> {
        let Some(key) = self.sign_of_life() else { return Ok(false) };
        let waiting = self.disk.get(&key)?.and_then(|bytes| decode::<StoredEvent>(&bytes).ok());
        if waiting.is_none_or(|known| known.subject != event.subject) {
            // It tells of a command: that stays.
            return Ok(false);
        }
        let mut writes = Writes::default();
        writes.put(key, encode(event)?);
        self.disk.commit(writes)?;
        Ok(true)
    }

    /// Announcements that the broker has not taken yet, in order.
    pub fn next_announcements(&mut self, limit: usize) -> Result<Vec<(u64, Announcement)>, StoreError> {
        let waiting = self.read_some::<Announcement>(Kind::Local, limit)?;
        Ok(waiting.into_iter().filter_map(|(key, a)| keys::number_of(&key).map(|n| (n, a))).collect())
    }

    /// Questions to guards that the broker has not taken yet, in order.
    pub fn next_prompts(&mut self, limit: usize) -> Result<Vec<(u64, Prompt)>, StoreError> {
        let waiting = self.read_some::<Prompt>(Kind::Prompt, limit)?;
        Ok(waiting.into_iter().filter_map(|(key, p)| keys::number_of(&key).map(|n| (n, p))).collect())
    }

    /// The latest revision of one alert.
    pub fn alert(&self, id: AlertId) -> Result<Option<Alert>, StoreError> {
        Ok(self.disk.get(&keys::alert(id))?.and_then(|bytes| decode(&bytes).ok()))
    }

    /// Every stored alert, latest revision, newest first.
    pub fn alerts(&mut self) -> Result<Vec<Alert>, StoreError> {
        let mut alerts: Vec<Alert> = self.read_all(Kind::Alert)?.into_iter().map(|(_, a)| a).collect();
        alerts.sort_by_key(|a: &Alert| std::cmp::Reverse((a.detected_at, a.id)));
        Ok(alerts)
    }

    /// The reports of the days from `from` to `to`, in order. One that cannot be read is set aside whole.
    pub fn reports(&mut self, from: Date, to: Date) -> Result<Vec<DailyReport>, StoreError> {
        let (first, after) = (keys::report(from), keys::report_piece(to, u32::MAX));
        let mut pieces = Vec::new();
        for record in self.disk.scan(&Kind::Report.prefix()) {
            let (key, piece) = record?;
            if (&first..&after).contains(&&key) {
                pieces.push((key, piece));
            }
        }
        let (mut found, mut unreadable) = (Vec::new(), Vec::new());
        for day in pieces.chunk_by(|(a, _), (b, _)| a.get(..first.len()) == b.get(..first.len())) {
            let whole: Vec<u8> = day.iter().flat_map(|(_, piece)| piece).copied().collect();
            match decode(&whole) {
                Ok(report) => found.push(report),
                Err(why) => {
                    tracing::error!(%why, "the report of a day cannot be read and is set aside");
                    unreadable.extend_from_slice(day);
                }
            }
        }
        self.set_aside(unreadable)?;
        Ok(found)
    }

    /// The refused inputs that are kept, newest first.
    pub fn refusals(&mut self) -> Result<Vec<Refusal>, StoreError> {
        Ok(self.read_all(Kind::Refusal)?.into_iter().rev().map(|(_, r)| r).collect())
    }

    /// Puts dead letters back into the lanes that they came from, under the numbers that they had; those that there were.
    /// The receiver knows an event by its id, and a number that is missing there is filled.
    pub fn resend(&mut self, sequences: &[u64]) -> Result<Vec<u64>, StoreError> {
        let (mut writes, mut resent) = (Writes::default(), Vec::new());
        for sequence in sequences {
            let key = keys::numbered(Kind::Dead, *sequence);
            let Some(Ok(letter)) = self.disk.get(&key)?.map(|bytes| decode::<DeadLetter>(&bytes)) else {
                continue;
            };
            let lane = letter.event.kind;
            writes.put(keys::outbox(lane as u8, *sequence), encode(&letter.event)?);
            writes.remove(key);
            resent.push((*sequence, lane));
        }
        if !writes.is_empty() {
            self.disk.commit(writes)?;
        }
        self.waiting.extend(resent.iter().copied());
        Ok(resent.into_iter().map(|(sequence, _)| sequence).collect())
    }

    /// The dead letters that are kept, newest first.
    pub fn dead_letters(&mut self) -> Result<Vec<(u64, DeadLetter)>, StoreError> {
        let letters = self.read_all(Kind::Dead)?.into_iter().rev();
        Ok(letters.filter_map(|(key, letter)| keys::number_of(&key).map(|n| (n, letter))).collect())
    }
}

/// The site and the engine of a snapshot that is whole.
fn split_snapshot(bytes: &[u8], site_bytes: u64) -> Option<(Site, Vec<u8>)> {
    let (site, engine) = bytes.split_at_checked(usize::try_from(site_bytes).ok()?)?;
    Some((decode(site).ok()?, engine.to_vec()))
}

fn outgoing(producer: Producer, sequence: u64, event: StoredEvent) -> Event {
    Event {
        producer,
        sequence,
        id: event.id,
        kind: event.kind.kind(),
        subject: event.subject,
        time: event.time,
        critical: event.kind == super::Lane::Critical,
        data: event.data,
    }
}
