//! Stable storage. One thread owns it; one commit is one atomic batch, durable on return.
//!
//! What is in it: the journal of inputs in blocks, the engine's snapshot (the journal behind it rebuilds the engine
//! to where it stood), the latest revision of every alert, closed runs, the outbox to the NOC, announcements for
//! the site, refused inputs, dead letters, and the marks that tie them together.

mod disk;
pub mod keys;
pub mod records;

use crate::sources::decode::{Reason, Refusal};
use disk::{Disk, Writes};
use keys::Kind;
use records::{Unwritable, decode, encode};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;
use std::path::Path;
use vigil_cloud_sync::wire::{Event, EventKind};
use vigil_core::alert::Alert;
use vigil_core::engine::Outcome;
use vigil_core::observation::Observation;
use vigil_core::rules::tours::RunRecord;
use vigil_core::site::Site;
use vigil_core::time::{Span, Timestamp};

pub use disk::DiskError;

/// How many refused inputs are kept (contract 4).
pub const REFUSED_KEPT: u64 = 1_000;
/// How many dead letters are kept: each is an event that the NOC rejected, so a thousand are a defect to be mended.
pub const DEAD_KEPT: usize = 1_000;
/// The largest piece of what can be cut: sled keeps a page beyond 128 KiB in a file of its own, which costs a sync of
/// its own. A page has up to 17 values before it is split.
const PIECE: usize = 6 * 1024;
/// Alerts, runs and reports (contract 2).
const LONG_RETENTION: Span = Span::from_hours(400 * 24);
/// Journal blocks dropped in one go, so that housekeeping never holds up an acknowledgement for long.
const EXPIRE_AT_ONCE: usize = 500;

/// Why a commit failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk or the database.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A defect.
    #[error(transparent)]
    Record(#[from] Unwritable),
}

/// One entry of the journal. Variants are appended, never reordered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Input {
    /// An observation, with what became of it.
    Observation(Observation, Outcome),
    /// The agent was down.
    Down {
        /// From here.
        from: Timestamp,
        /// Until here.
        until: Timestamp,
    },
}

/// A block of the journal: what one commit took in.
#[derive(Debug, Serialize, Deserialize)]
struct Block {
    received_at: Timestamp,
    inputs: Vec<Input>,
}

/// An announcement for the site: one alert revision on MQTT.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// The object of contract 6, as JSON.
    pub payload: String,
}

/// An event that the NOC rejected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// When it was rejected.
    pub at: Timestamp,
    /// Why, in the NOC's words.
    pub reason: String,
    /// The event, as it would be sent again.
    pub event: StoredEvent,
}

/// An event as it waits in the outbox; its sequence is in the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredEvent {
    /// The id of the event.
    pub id: String,
    /// Its type.
    pub kind: Lane,
    /// What it is about.
    pub subject: String,
    /// When it happened.
    pub time: Timestamp,
    /// The object, as JSON, kept to the letter.
    pub data: String,
}

/// The lanes to the NOC; the order is that of urgency, and of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Lane {
    /// Alerts whose severity is CRITICAL.
    Critical,
    /// Every other alert.
    Alert,
    /// Closed runs.
    Tour,
    /// Daily reports.
    Report,
    /// The gateway's own health.
    Health,
}

impl Lane {
    /// Every lane, by urgency.
    pub const ALL: [Self; 5] = [Self::Critical, Self::Alert, Self::Tour, Self::Report, Self::Health];

    const fn kind(self) -> EventKind {
        match self {
            Self::Critical | Self::Alert => EventKind::Alert,
            Self::Tour => EventKind::Tour,
            Self::Report => EventKind::Report,
            Self::Health => EventKind::Health,
        }
    }
}

/// The marks that tie the records together; one record, written with every commit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Marks {
    /// Everything due at or before this instant has been judged, and what followed is stored.
    pub judged_until: Timestamp,
    /// The number of the next input.
    pub next_input: u64,
    /// The sequence of the next event to the NOC: rises by one for each, and is never used twice.
    pub next_sequence: u64,
    next_announcement: u64,
    next_refusal: u64,
    /// Inputs refused since the store was made, by reason.
    pub refused: BTreeMap<Reason, u64>,
    /// Observations since the store was made, by what became of them.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// Events that the NOC rejected.
    pub dead: u64,
    /// Records that could not be read and were set aside.
    pub set_aside: u64,
}

/// What the snapshot is worth: the inputs before `next_input` are in it. The pieces are its site, then the engine.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct SnapshotHead {
    next_input: u64,
    pieces: u32,
    site_bytes: u64,
    bytes: u64,
}

/// A restored past: the engine's snapshot with its site, and the inputs behind it.
#[derive(Debug)]
pub struct Past {
    /// The snapshot and the site that it was made under.
    pub snapshot: Option<(Site, Vec<u8>)>,
    /// The inputs after it, in order.
    pub inputs: Vec<Input>,
}

/// Everything that one commit writes.
#[derive(Debug, Default)]
pub struct Draft {
    /// Inputs, in order.
    pub inputs: Vec<Input>,
    /// Alert revisions, in order.
    pub alerts: Vec<Alert>,
    /// Runs that closed.
    pub runs: Vec<RunRecord>,
    /// Events for the NOC.
    pub events: Vec<StoredEvent>,
    /// Announcements for the site.
    pub announcements: Vec<Announcement>,
    /// Inputs that were refused.
    pub refusals: Vec<Refusal>,
    /// Keys of outbox events that the NOC has.
    pub delivered: Vec<u64>,
    /// Outbox events that the NOC rejected.
    pub dead: Vec<(u64, String)>,
    /// Announcements that the broker has.
    pub announced: Vec<u64>,
    /// A snapshot of the engine with its site.
    pub snapshot: Option<(Site, Vec<u8>)>,
    /// How far everything due has been judged.
    pub judged_until: Timestamp,
}

impl Draft {
    /// Whether there is nothing that must be on stable storage.
    pub const fn is_empty(&self) -> bool {
        self.inputs.is_empty()
            && self.alerts.is_empty()
            && self.runs.is_empty()
            && self.events.is_empty()
            && self.announcements.is_empty()
            && self.refusals.is_empty()
            && self.delivered.is_empty()
            && self.dead.is_empty()
            && self.announced.is_empty()
            && self.snapshot.is_none()
    }
}

/// The store.
#[derive(Debug)]
pub struct Store {
    disk: Disk,
    marks: Marks,
    /// Which lane each waiting event is in; the outbox in order of sequence.
    waiting: BTreeMap<u64, Lane>,
}

impl Store {
    /// Opens the store in `folder`, or makes one.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let disk = Disk::open(folder)?;
        let marks = disk.get(&keys::meta("marks"))?.map(|bytes| decode::<Marks>(&bytes));
        let mut store = Self { disk, marks: Marks::default(), waiting: BTreeMap::new() };
        match marks {
            Some(Ok(marks)) => store.marks = marks,
            Some(Err(_)) => store.marks = store.marks_from_records()?,
            None => {}
        }
        store.index_outbox()?;
        Ok(store)
    }

    /// The marks as the other records know them: no number is ever given twice.
    fn marks_from_records(&mut self) -> Result<Marks, StoreError> {
        let after_last = |kind: Kind| -> Result<u64, StoreError> {
            let last = self.disk.scan(&kind.prefix()).next_back().transpose()?;
            Ok(last.and_then(|(key, _)| keys::number_of(&key)).map_or(0, |n| n + 1))
        };
        let sequences = self.disk.scan(&Kind::Outbox.prefix()).chain(self.disk.scan(&Kind::Dead.prefix()));
        let mut next_sequence = 0;
        for record in sequences {
            next_sequence = next_sequence.max(keys::number_of(&record?.0).map_or(0, |n| n + 1));
        }
        tracing::error!("the marks of the store were unreadable; they are rebuilt from its records");
        Ok(Marks {
            next_input: after_last(Kind::Journal)?.saturating_add(1 << 20),
            // What was sent and deleted cannot be known: leave room that a year of alerts does not fill.
            next_sequence: next_sequence.saturating_add(1 << 32),
            next_announcement: after_last(Kind::Local)?,
            next_refusal: after_last(Kind::Refusal)?,
            set_aside: 1,
            ..Marks::default()
        })
    }

    fn index_outbox(&mut self) -> Result<(), StoreError> {
        for record in self.disk.scan(&Kind::Outbox.prefix()) {
            let (key, _) = record?;
            let lane = key.get(1).and_then(|lane| Lane::ALL.into_iter().find(|l| *l as u8 == *lane));
            if let (Some(lane), Some(sequence)) = (lane, keys::number_of(&key)) {
                self.waiting.insert(sequence, lane);
            }
        }
        Ok(())
    }

    /// The marks as of the last commit.
    pub const fn marks(&self) -> &Marks {
        &self.marks
    }

    /// Bytes on disk.
    pub fn size(&self) -> u64 {
        self.disk.size()
    }

    /// Where a damaged predecessor was set aside, if this start found one.
    pub fn damaged(&self) -> Option<&Path> {
        self.disk.set_aside()
    }

    /// How many events wait in a lane.
    pub fn depth(&self, lane: Lane) -> usize {
        self.waiting.values().filter(|l| **l == lane).count()
    }

    /// How many events wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Writes a draft as one; on return it is on stable storage.
    pub fn commit(&mut self, draft: Draft) -> Result<(), StoreError> {
        let mut writes = Writes::default();
        let mut marks = self.marks.clone();
        marks.judged_until = marks.judged_until.max(draft.judged_until);
        let added = stage_events(&mut writes, &mut marks, &draft.events)?;
        stage_journal(&mut writes, &mut marks, draft.inputs)?;
        stage_facts(&mut writes, &draft.alerts, &draft.runs)?;
        stage_announcements(&mut writes, &mut marks, &draft.announcements)?;
        stage_refusals(&mut writes, &mut marks, &draft.refusals)?;
        self.stage_settled(&mut writes, &mut marks, &draft.delivered, &draft.dead, draft.judged_until)?;
        draft.announced.iter().for_each(|n| writes.remove(keys::numbered(Kind::Local, *n)));
        if let Some((site, bytes)) = draft.snapshot {
            self.stage_snapshot(&mut writes, &marks, &site, &bytes)?;
        }
        writes.put(keys::meta("marks"), encode(&marks)?);
        self.disk.commit(writes)?;
        self.marks = marks;
        self.waiting.extend(added);
        for sequence in draft.delivered.iter().chain(draft.dead.iter().map(|(s, _)| s)) {
            self.waiting.remove(sequence);
        }
        Ok(())
    }

    fn stage_settled(
        &self,
        writes: &mut Writes,
        marks: &mut Marks,
        delivered: &[u64],
        dead: &[(u64, String)],
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let key =
            |sequence: &u64| self.waiting.get(sequence).map(|lane| keys::outbox(*lane as u8, *sequence));
        for (sequence, reason) in dead {
            let Some(key) = key(sequence) else { continue };
            if let Some(Ok(event)) = self.disk.get(&key)?.map(|bytes| decode::<StoredEvent>(&bytes)) {
                let letter = DeadLetter { at, reason: reason.clone(), event };
                writes.put(keys::numbered(Kind::Dead, *sequence), encode(&letter)?);
                marks.dead += 1;
            }
            writes.remove(key);
        }
        delivered.iter().filter_map(key).for_each(|key| writes.remove(key));
        Ok(())
    }

    fn stage_snapshot(
        &self,
        writes: &mut Writes,
        marks: &Marks,
        site: &Site,
        engine: &[u8],
    ) -> Result<(), StoreError> {
        let before = self.disk.get(&keys::meta("snapshot"))?.map(|b| decode::<SnapshotHead>(&b));
        let mut bytes = encode(site)?;
        let site_bytes = bytes.len() as u64;
        bytes.extend_from_slice(engine);
        let pieces = u32::try_from(bytes.chunks(PIECE).len()).unwrap_or(u32::MAX);
        for (n, piece) in (0_u64..).zip(bytes.chunks(PIECE)) {
            writes.put(keys::numbered(Kind::Snapshot, n), piece.to_vec());
        }
        if let Some(Ok(old)) = before {
            (pieces..old.pieces).for_each(|n| writes.remove(keys::numbered(Kind::Snapshot, u64::from(n))));
        }
        let bytes = bytes.len() as u64;
        let head = SnapshotHead { next_input: marks.next_input, pieces, site_bytes, bytes };
        writes.put(keys::meta("snapshot"), encode(&head)?);
        Ok(())
    }

    /// What the engine is rebuilt from. Records that cannot be read are set aside and do not block the others.
    pub fn past(&mut self) -> Result<Past, StoreError> {
        let head = self.disk.get(&keys::meta("snapshot"))?.and_then(|b| decode::<SnapshotHead>(&b).ok());
        let mut from = 0;
        let mut snapshot = None;
        if let Some(head) = head {
            let mut bytes = Vec::with_capacity(usize::try_from(head.bytes).unwrap_or(0));
            for n in 0..u64::from(head.pieces) {
                bytes.extend(self.disk.get(&keys::numbered(Kind::Snapshot, n))?.unwrap_or_default());
            }
            if bytes.len() as u64 == head.bytes
                && let Some((site, engine)) = split_snapshot(&bytes, head.site_bytes)
            {
                from = head.next_input;
                snapshot = Some((site, engine));
            }
        }
        Ok(Past { snapshot, inputs: self.inputs_from(from)? })
    }

    /// The journal from input number `from` on.
    pub fn inputs_from(&mut self, from: u64) -> Result<Vec<Input>, StoreError> {
        let mut inputs = Vec::new();
        for (key, block) in self.read_all::<Block>(Kind::Journal)? {
            let first = keys::number_of(&key).unwrap_or(0);
            let known = usize::try_from(from.saturating_sub(first)).unwrap_or(usize::MAX);
            inputs.extend(block.inputs.into_iter().skip(known));
        }
        Ok(inputs)
    }

    /// Every readable record of a kind, in order; the others are set aside, counted, and logged.
    fn read_all<T: DeserializeOwned>(&mut self, kind: Kind) -> Result<Vec<(Vec<u8>, T)>, StoreError> {
        self.read_some(kind, usize::MAX)
    }

    /// The same for the first `limit` of them: an unreadable one never stands in the way of the next.
    fn read_some<T: DeserializeOwned>(
        &mut self,
        kind: Kind,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, T)>, StoreError> {
        let mut found = Vec::new();
        let mut unreadable = Vec::new();
        for record in self.disk.scan(&kind.prefix()) {
            if found.len() == limit {
                break;
            }
            let (key, bytes) = record?;
            match decode(&bytes) {
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

    fn set_aside(&mut self, unreadable: Vec<(Vec<u8>, Vec<u8>)>) -> Result<(), StoreError> {
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
        let waiting = self.read_some::<StoredEvent>(Kind::Outbox, limit)?;
        Ok(waiting.into_iter().filter_map(|(key, e)| keys::number_of(&key).map(|n| outgoing(n, e))).collect())
    }

    /// Announcements that the broker has not taken yet, in order.
    pub fn next_announcements(&mut self, limit: usize) -> Result<Vec<(u64, Announcement)>, StoreError> {
        let waiting = self.read_some::<Announcement>(Kind::Local, limit)?;
        Ok(waiting.into_iter().filter_map(|(key, a)| keys::number_of(&key).map(|n| (n, a))).collect())
    }

    /// Every stored alert, latest revision, newest first.
    pub fn alerts(&mut self) -> Result<Vec<Alert>, StoreError> {
        let mut alerts: Vec<Alert> = self.read_all(Kind::Alert)?.into_iter().map(|(_, a)| a).collect();
        alerts.sort_by_key(|a: &Alert| std::cmp::Reverse((a.detected_at, a.id)));
        Ok(alerts)
    }

    /// Closed runs, newest first.
    pub fn runs(&mut self) -> Result<Vec<RunRecord>, StoreError> {
        let mut runs: Vec<RunRecord> = self.read_all(Kind::Run)?.into_iter().map(|(_, r)| r).collect();
        runs.reverse();
        Ok(runs)
    }

    /// The refused inputs that are kept, newest first.
    pub fn refusals(&mut self) -> Result<Vec<Refusal>, StoreError> {
        Ok(self.read_all(Kind::Refusal)?.into_iter().rev().map(|(_, r)| r).collect())
    }

    /// The dead letters that are kept, newest first.
    pub fn dead_letters(&mut self) -> Result<Vec<(u64, DeadLetter)>, StoreError> {
        let letters = self.read_all(Kind::Dead)?.into_iter().rev();
        Ok(letters.filter_map(|(key, letter)| keys::number_of(&key).map(|n| (n, letter))).collect())
    }

    /// Drops what is past its time; true if there may be more.
    pub fn expire(&mut self, now: Timestamp, retention: Span) -> Result<bool, StoreError> {
        let mut writes = Writes::default();
        let more = self.stage_old_blocks(&mut writes, now - retention)?;
        self.stage_old_facts(&mut writes, now - LONG_RETENTION)?;
        let letters = self.disk.scan(&Kind::Dead.prefix()).count();
        for record in self.disk.scan(&Kind::Dead.prefix()).take(letters.saturating_sub(DEAD_KEPT)) {
            writes.remove(record?.0);
        }
        if !writes.is_empty() {
            self.disk.commit(writes)?;
        }
        Ok(more)
    }

    fn stage_old_blocks(&self, writes: &mut Writes, before: Timestamp) -> Result<bool, StoreError> {
        let head = self.disk.get(&keys::meta("snapshot"))?.and_then(|b| decode::<SnapshotHead>(&b).ok());
        let snapshot_from = head.map_or(0, |h| h.next_input);
        let mut dropped = 0;
        for record in self.disk.scan(&Kind::Journal.prefix()) {
            let (key, bytes) = record?;
            let old = decode::<Block>(&bytes).is_ok_and(|b| b.received_at < before);
            if !old || keys::number_of(&key).is_none_or(|n| n >= snapshot_from) {
                return Ok(false);
            }
            writes.remove(key);
            dropped += 1;
            if dropped == EXPIRE_AT_ONCE {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn stage_old_facts(&self, writes: &mut Writes, before: Timestamp) -> Result<(), StoreError> {
        for record in self.disk.scan(&Kind::Run.prefix()) {
            let (key, _) = record?;
            if key >= keys::run(before, "") {
                break;
            }
            writes.remove(key);
        }
        for record in self.disk.scan(&Kind::Alert.prefix()) {
            let (key, bytes) = record?;
            if decode::<Alert>(&bytes).is_ok_and(|a| a.updated_at < before) {
                writes.remove(key);
            }
        }
        Ok(())
    }
}

/// The site and the engine of a snapshot that is whole.
fn split_snapshot(bytes: &[u8], site_bytes: u64) -> Option<(Site, Vec<u8>)> {
    let (site, engine) = bytes.split_at_checked(usize::try_from(site_bytes).ok()?)?;
    Some((decode(site).ok()?, engine.to_vec()))
}

fn outgoing(sequence: u64, event: StoredEvent) -> Event {
    Event {
        sequence,
        id: event.id,
        kind: event.kind.kind(),
        subject: event.subject,
        time: event.time,
        critical: event.kind == Lane::Critical,
        data: event.data,
    }
}

fn stage_events(
    writes: &mut Writes,
    marks: &mut Marks,
    events: &[StoredEvent],
) -> Result<Vec<(u64, Lane)>, StoreError> {
    let mut added = Vec::with_capacity(events.len());
    for event in events {
        // The first sequence is 1, so that a receiver's "highest seen" can start at 0.
        marks.next_sequence = marks.next_sequence.max(1);
        writes.put(keys::outbox(event.kind as u8, marks.next_sequence), encode(event)?);
        added.push((marks.next_sequence, event.kind));
        marks.next_sequence += 1;
    }
    Ok(added)
}

fn stage_journal(writes: &mut Writes, marks: &mut Marks, inputs: Vec<Input>) -> Result<(), StoreError> {
    for input in &inputs {
        if let Input::Observation(_, outcome) = input {
            *marks.outcomes.entry(*outcome).or_default() += 1;
        }
    }
    if inputs.is_empty() { Ok(()) } else { stage_block(writes, marks, inputs) }
}

/// One block, or two halves if it is too large.
fn stage_block(writes: &mut Writes, marks: &mut Marks, inputs: Vec<Input>) -> Result<(), StoreError> {
    let received_at = inputs.iter().map(|i| match i {
        Input::Observation(o, _) => o.received_at,
        Input::Down { until, .. } => *until,
    });
    let mut block = Block { received_at: received_at.max().unwrap_or_default(), inputs };
    let bytes = encode(&block)?;
    let count = block.inputs.len();
    if bytes.len() > PIECE && count > 1 {
        let rest = block.inputs.split_off(count / 2);
        stage_block(writes, marks, block.inputs)?;
        return stage_block(writes, marks, rest);
    }
    writes.put(keys::numbered(Kind::Journal, marks.next_input), bytes);
    marks.next_input += count as u64;
    Ok(())
}

fn stage_facts(writes: &mut Writes, alerts: &[Alert], runs: &[RunRecord]) -> Result<(), StoreError> {
    // Later revisions of the same batch overwrite earlier ones: the store keeps the latest.
    for alert in alerts {
        writes.put(keys::alert(alert.id), encode(alert)?);
    }
    for run in runs {
        writes.put(keys::run(run.scheduled_at, run.tour.as_str()), encode(run)?);
    }
    Ok(())
}

fn stage_announcements(
    writes: &mut Writes,
    marks: &mut Marks,
    all: &[Announcement],
) -> Result<(), StoreError> {
    for announcement in all {
        writes.put(keys::numbered(Kind::Local, marks.next_announcement), encode(announcement)?);
        marks.next_announcement += 1;
    }
    Ok(())
}

fn stage_refusals(writes: &mut Writes, marks: &mut Marks, refusals: &[Refusal]) -> Result<(), StoreError> {
    for refusal in refusals {
        *marks.refused.entry(refusal.reason).or_default() += 1;
        writes.put(keys::numbered(Kind::Refusal, marks.next_refusal), encode(refusal)?);
        if let Some(oldest) = marks.next_refusal.checked_sub(REFUSED_KEPT) {
            writes.remove(keys::numbered(Kind::Refusal, oldest));
        }
        marks.next_refusal += 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
