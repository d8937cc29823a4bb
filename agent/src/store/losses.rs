//! What a start finds to be gone, and what it saves: a damaged database is read out as far as that goes, and no number
//! is given twice whatever happened to it.

use super::chain::{Digest, Head, INPUTS_LEFT_OUT};
use super::disk::{self, Part};
use super::entries::{Announcement, ChainedBlock, DeadLetter, Marks, StoredEvent};
use super::keys::{self, Kind};
use super::places::{self, last_set_aside};
use super::records::{decode, encode};
use super::writes::Writes;
use super::{Store, StoreError};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use vigil_cloud_sync::wire::Producer;
use vigil_core::alert::Alert;
use vigil_core::report::DailyReport;
use vigil_core::rules::compliance::RunRecord;
use vigil_core::time::Timestamp;

/// How often it is written outside of the database how far it has reached. A store that says so misses none of them.
const WITNESSES: u8 = 2;
/// How often a damaged database is read out before it is left alone: one that takes the agent with it would do so at
/// every start.
const ATTEMPTS: u32 = 2;
/// What is read out of the journal, its newest part: some 100,000 inputs, which are replayed within seconds.
const JOURNAL_BYTES: usize = 16 * 1024 * 1024;
/// What is read out of everything else: a year of alerts and runs of a large site.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// Records without a key that are set aside in one commit: a few hundred kilobytes.
const LOCKED_AT_ONCE: usize = 500;

/// In this order it is read out: what people need first, what is largest last.
const PARTS: [Part; 8] = [
    Part::all(Kind::Meta as u8, MOST_BYTES),
    Part::all(Kind::Alert as u8, MOST_BYTES),
    Part::all(Kind::Outbox as u8, MOST_BYTES),
    Part::all(Kind::Local as u8, MOST_BYTES),
    Part::all(Kind::Run as u8, MOST_BYTES),
    Part::all(Kind::Report as u8, MOST_BYTES),
    Part::all(Kind::Dead as u8, MOST_BYTES),
    Part::newest(Kind::Journal as u8, JOURNAL_BYTES),
];

/// Something is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// The database was damaged: it is kept, and what could be read is in the new one.
    SetAside {
        /// Where it is kept.
        kept: PathBuf,
        /// How many records were brought over, by what they are.
        saved: BTreeMap<&'static str, usize>,
        /// Whether reading it came to its end everywhere.
        to_the_end: bool,
    },
    /// The database is an earlier one: cut back, or brought back from a copy.
    WentBack {
        /// Sequences that were given out and that it does not know.
        sequences: u64,
        /// Inputs that were stored and that it does not know, as far as that was noted.
        inputs: u64,
    },
    /// What lies beside the database is not all there, so that nobody can say whether it is an earlier one.
    Unwitnessed,
    /// There is no database, and there was one: keys lie there that sealed its records.
    Vanished,
    /// Keys are gone: what they sealed is set aside and will never be read.
    Locked {
        /// How many records.
        records: usize,
    },
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetAside { kept, saved, to_the_end } => {
                write!(f, "the store was damaged; it is kept as {}, and saved from it are", kept.display())?;
                let none = if saved.is_empty() { " no records" } else { "" };
                f.write_str(none)?;
                saved.iter().try_for_each(|(what, count)| write!(f, " {count} {what}"))?;
                f.write_str(if *to_the_end { "" } else { "; the rest could not be read" })
            }
            Self::WentBack { sequences, inputs } => write!(
                f,
                "the store is an earlier one: {inputs} inputs and {sequences} events for the operations centre that it had held are not in it; its file was damaged in the midst (what lies behind such a place is overwritten by the opening itself, and no copy of it is kept), cut back, or replaced by an earlier one"
            ),
            Self::Unwitnessed => f.write_str(
                "how far the store had reached is not written twice any more: db.reach, or reached among its keys, is gone; it may be an earlier one, and its numbers are a new producer's from now on",
            ),
            Self::Vanished => f.write_str(
                "the store is gone, with what told how far it had reached: there are keys that sealed its records, and it is not there; a fresh one is begun",
            ),
            Self::Locked { records } => {
                write!(
                    f,
                    "keys of the store are gone, or not those that they were: {records} records that they sealed are lost"
                )
            }
        }
    }
}

impl Store {
    /// Takes up the store where it stands: whose numbers they are, and whether they go on where they ended.
    pub(super) fn take_up(&mut self) -> Result<(), StoreError> {
        let stored = self.disk.get(&keys::meta("producer"))?.map(|bytes| decode::<u64>(&bytes));
        let fresh = stored.is_none() && self.marks == Marks::default();
        let mut writes = Writes::default();
        let known = stored.and_then(Result::ok);
        self.producer = Producer(known.unwrap_or_else(rand::random));
        if self.reach.is_of_copy() {
            return Ok(());
        }
        let before = self.reach.last();
        let went_back =
            self.marks.next_sequence < before.next_sequence || self.marks.next_input < before.next_input;
        let twice = self.has_witnesses()?;
        // Whoever writes a producer has written beside the database before: that it is not there is no matter of age. Of
        // two, the one that is left may have been put back with the database; what it knows may not be all.
        let silenced = twice && !self.reach.is_complete();
        let unwitnessed = known.is_some() && (!self.reach.knows() || silenced);
        // No record is sealed before it was noted how far a store reached.
        let vanished = fresh && !self.reach.knows() && !self.disk.keyring().is_empty();
        // What was lost is on stable storage before anything beside the database could hide it from the next start.
        let telling = unwitnessed || vanished || went_back;
        if twice || unwitnessed {
            self.reach.blame();
        }
        if unwitnessed {
            self.producer = Producer(rand::random());
        } else if !telling && !self.reach.is_complete() {
            self.note_reach()?;
        }
        let folder = self.disk.folder().to_owned();
        if known.is_none() || unwitnessed {
            writes.put(keys::meta("producer"), encode(&self.producer.0)?);
        }
        if !twice && !telling {
            // They are there by now. A store that has something to tell first says so at its next start.
            writes.put(keys::meta("witnesses"), encode(&WITNESSES)?);
        }
        let damaged = if fresh { unread(&folder)? } else { None };
        if let Some(Attempt { kept, .. }) = &damaged {
            self.loss = Some(self.bring_over(kept.clone(), &mut writes)?);
        } else if went_back {
            self.keep_beginning(&mut writes)?;
            self.loss = Some(Loss::WentBack {
                sequences: before.next_sequence.saturating_sub(self.marks.next_sequence.max(1)),
                inputs: before.next_input.saturating_sub(self.marks.next_input),
            });
        }
        if unwitnessed && self.loss.is_none() {
            self.keep_beginning(&mut writes)?;
            self.loss = Some(Loss::Unwitnessed);
        } else if vanished && self.loss.is_none() {
            self.keep_beginning(&mut writes)?;
            self.loss = Some(Loss::Vanished);
        }
        if self.loss.is_some() {
            self.marks.next_sequence = self.marks.next_sequence.max(before.next_sequence);
            self.marks.next_input =
                self.marks.next_input.max(before.next_input).saturating_add(INPUTS_LEFT_OUT);
            self.marks.set_aside += 1;
            writes.put(keys::meta("marks"), encode(&self.marks)?);
        }
        if !writes.is_empty() {
            let written = self.disk.commit(writes);
            // The disk failed, perhaps for want of room, and not the reading: that was no attempt.
            damaged.filter(|_| written.is_err()).iter().for_each(Attempt::take_back);
            written?;
        }
        self.note_reach()
    }

    /// Whether it says that how far it has reached is written outside of it, twice.
    pub(super) fn has_witnesses(&self) -> Result<bool, StoreError> {
        Ok(self.disk.get(&keys::meta("witnesses"))?.is_some())
    }

    /// Numbers are left out now, and retention has no part in that: the journal goes on to begin where it did.
    fn keep_beginning(&self, writes: &mut Writes) -> Result<(), StoreError> {
        let blocks = self.disk.scan(&Kind::Journal.prefix()).next().transpose()?;
        if blocks.is_none() && self.disk.get(&keys::meta("anchor"))?.is_none() {
            let digest = self.disk.get(&keys::meta("head"))?.and_then(|bytes| decode::<Head>(&bytes).ok());
            let digest = digest.map(|head| head.digest).unwrap_or_default();
            writes.put(keys::meta("anchor"), encode(&Head { next_input: self.marks.next_input, digest })?);
        }
        Ok(())
    }

    /// Sets those aside whose keys are gone, so that they are told of once and stand in nobody's way.
    pub(super) fn lose(&mut self, locked: &[Vec<u8>]) -> Result<(), StoreError> {
        for places in locked.chunks(LOCKED_AT_ONCE) {
            let mut records = Vec::new();
            for place in places {
                let record = self.disk.get(place)?;
                records.extend(record.map(|record| (place.clone(), record)));
            }
            self.set_aside(records)?;
        }
        if !locked.is_empty() {
            let loss = Loss::Locked { records: locked.len() };
            // Only one is asked for. What can no longer be read makes a time that nobody knows of.
            let (greater, lesser) = match self.loss.take() {
                None => (loss, None),
                Some(Loss::Unwitnessed) => (loss, Some(Loss::Unwitnessed)),
                Some(other) => (other, Some(loss)),
            };
            if let Some(lesser) = lesser {
                tracing::error!("{lesser}");
            }
            self.loss = Some(greater);
        }
        Ok(())
    }

    /// The operations centre knows numbers of this store from other events: everything on this box was brought back from
    /// an earlier time together. From now on it is another producer, and no number is given twice.
    pub fn disown(&mut self) -> Result<(), StoreError> {
        let producer = Producer(rand::random());
        let mut marks = self.marks.clone();
        marks.next_input = marks.next_input.saturating_add(INPUTS_LEFT_OUT);
        marks.set_aside += 1;
        let mut writes = Writes::default();
        self.keep_beginning(&mut writes)?;
        writes.put(keys::meta("producer"), encode(&producer.0)?);
        writes.put(keys::meta("marks"), encode(&marks)?);
        self.disk.commit(writes)?;
        self.head.next_input = marks.next_input;
        (self.producer, self.marks) = (producer, marks);
        tracing::error!(
            "the operations centre knows numbers of this store from other events: an earlier one was put back with all that lay beside it; what it held since is lost, and its numbers are a new producer's from now on"
        );
        self.note_reach()
    }

    /// Writes down beside the database how far it has reached.
    pub(super) fn note_reach(&mut self) -> Result<(), StoreError> {
        let Marks { next_sequence, next_input, .. } = self.marks;
        Ok(self.reach.note(self.producer.0, next_sequence, next_input)?)
    }

    /// What can still be read of a damaged database becomes part of this one, in one commit.
    fn bring_over(&mut self, kept: PathBuf, writes: &mut Writes) -> Result<Loss, StoreError> {
        let found = disk::read_out(&kept, &PARTS, &self.disk.keys());
        let mut saved = Saved {
            marks: Marks::default(),
            last: Timestamp::default(),
            writes,
            counts: BTreeMap::new(),
            first: None,
            anchor: None,
        };
        let mut waiting = Vec::new();
        let mut pieces: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        for (key, bytes) in found.records {
            match key.first().copied() {
                Some(b'A') => saved.fact::<Alert>(key, bytes, "alerts", |alert| alert.updated_at),
                Some(b'T') => saved.fact::<RunRecord>(key, bytes, "runs", |_| Timestamp::default()),
                Some(b'D') => {
                    saved.numbered::<DeadLetter>(key, bytes, "dead letters", |m| &mut m.next_sequence)
                }
                Some(b'L') => {
                    saved.numbered::<Announcement>(key, bytes, "announcements", |m| &mut m.next_announcement)
                }
                Some(b'J') => saved.block(key, bytes),
                Some(b'R') => drop(pieces.insert(key, bytes)),
                Some(b'O') => waiting.push((key, bytes)),
                Some(b'M') if key == keys::meta("marks") => saved.marks_of_old(&bytes),
                Some(b'M') if key == keys::meta("anchor") => saved.anchor = decode(&bytes).ok(),
                Some(b'M') if key == keys::meta("lost") => saved.writes.put(key, bytes),
                Some(_) | None => {}
            }
        }
        saved.reports(&pieces);
        saved.outbox(waiting, self.reach.last().next_sequence);
        saved.marks.judged_until = saved.marks.judged_until.max(saved.last);
        let beginning = saved.beginning();
        saved.writes.put(keys::meta("anchor"), encode(&beginning)?);
        let (marks, counts) = (saved.marks, saved.counts);
        self.marks = marks;
        Ok(Loss::SetAside { kept, saved: counts, to_the_end: found.to_the_end })
    }
}

/// An attempt to read out a damaged database.
#[derive(Debug)]
struct Attempt {
    kept: PathBuf,
    /// Says that it was made: one that takes the agent with it is not made for ever.
    mark: PathBuf,
}

impl Attempt {
    fn take_back(&self) {
        if let Err(why) = std::fs::remove_file(&self.mark) {
            tracing::error!(%why, mark = %self.mark.display(), "an attempt to read out the damaged store stays counted");
        }
    }
}

/// A damaged database that was set aside and that no start has read out yet.
fn unread(folder: &Path) -> Result<Option<Attempt>, StoreError> {
    let Some(kept) = last_set_aside(folder) else { return Ok(None) };
    for attempt in 1..=ATTEMPTS {
        let mark = kept.join(format!("read-out-{attempt}"));
        if !mark.exists() {
            places::touch(&mark)?;
            return Ok(Some(Attempt { kept, mark }));
        }
    }
    tracing::error!(kept_as = %kept.display(), "reading the damaged store out failed {ATTEMPTS} times and is not tried again");
    Ok(None)
}

/// What is brought over.
struct Saved<'a> {
    marks: Marks,
    /// The latest instant of anything.
    last: Timestamp,
    writes: &'a mut Writes,
    counts: BTreeMap<&'static str, usize>,
    /// The first block that is saved, and the digest of the one before it, if it is a link of the chain.
    first: Option<(u64, Option<Digest>)>,
    /// Where the old journal began.
    anchor: Option<Head>,
}

impl Saved<'_> {
    fn take(&mut self, key: Vec<u8>, bytes: Vec<u8>, what: &'static str) {
        self.writes.put(key, bytes);
        *self.counts.entry(what).or_default() += 1;
    }

    fn fact<T: DeserializeOwned>(
        &mut self,
        key: Vec<u8>,
        bytes: Vec<u8>,
        what: &'static str,
        at: impl Fn(&T) -> Timestamp,
    ) {
        if let Ok(fact) = decode::<T>(&bytes) {
            self.last = self.last.max(at(&fact));
            self.take(key, bytes, what);
        }
    }

    fn numbered<T: DeserializeOwned>(
        &mut self,
        key: Vec<u8>,
        bytes: Vec<u8>,
        what: &'static str,
        next: impl Fn(&mut Marks) -> &mut u64,
    ) {
        if let (Some(number), Ok(_)) = (keys::number_of(&key), decode::<T>(&bytes)) {
            let next = next(&mut self.marks);
            *next = (*next).max(number.saturating_add(1));
            self.take(key, bytes, what);
        }
    }

    fn block(&mut self, key: Vec<u8>, bytes: Vec<u8>) {
        if let (Some(number), Ok(block)) = (keys::number_of(&key), ChainedBlock::read(&bytes)) {
            if self.first.is_none_or(|(first, _)| number < first) {
                self.first = Some((number, block.previous));
            }
            let count = block.inputs.len();
            self.marks.next_input = self.marks.next_input.max(number.saturating_add(count as u64));
            self.last = self.last.max(block.received_at);
            self.writes.put(key, bytes);
            *self.counts.entry("inputs").or_default() += count;
        }
    }

    /// Where the journal begins: what lies between there and the first block that is saved was lost.
    fn beginning(&self) -> Head {
        match (self.first, self.anchor) {
            // It went and was there for all that: what is there counts.
            (Some((first, previous)), Some(anchor)) if first < anchor.next_input => {
                Head { next_input: first, digest: previous.unwrap_or_default() }
            }
            (_, Some(anchor)) => anchor,
            (Some((first, None)), None) => Head { next_input: first, digest: Digest::default() },
            (Some((_, Some(_))) | None, None) => Head::default(),
        }
    }

    /// The old counters and the clock go on; the numbers are at least those of what was found.
    fn marks_of_old(&mut self, bytes: &[u8]) {
        if let Ok(old) = decode::<Marks>(bytes) {
            let Marks { next_input, next_sequence, next_announcement, .. } = self.marks;
            self.marks = Marks {
                next_input: old.next_input.max(next_input),
                next_sequence: old.next_sequence.max(next_sequence),
                next_announcement: old.next_announcement.max(next_announcement),
                ..old
            };
        }
    }

    /// Reports of which every piece is there.
    fn reports(&mut self, pieces: &BTreeMap<Vec<u8>, Vec<u8>>) {
        let pieces: Vec<_> = pieces.iter().collect();
        for day in pieces.chunk_by(|(a, _), (b, _)| keys::day_of(a) == keys::day_of(b)) {
            let whole: Vec<u8> = day.iter().flat_map(|(_, piece)| piece.iter()).copied().collect();
            if decode::<DailyReport>(&whole).is_ok() {
                day.iter().for_each(|(key, piece)| self.writes.put((*key).clone(), (*piece).clone()));
                *self.counts.entry("reports").or_default() += 1;
            }
        }
    }

    /// Events get new numbers, because a new producer numbers them: the receiver knows them by their ids if it had
    /// them before.
    fn outbox(&mut self, mut waiting: Vec<(Vec<u8>, Vec<u8>)>, reached: u64) {
        waiting.retain(|(_, bytes)| decode::<StoredEvent>(bytes).is_ok());
        waiting.sort_by_key(|(key, _)| keys::number_of(key));
        let after =
            waiting.last().and_then(|(key, _)| keys::number_of(key)).map_or(0, |n| n.saturating_add(1));
        self.marks.next_sequence = self.marks.next_sequence.max(after).max(reached).max(1);
        for (key, bytes) in waiting {
            let lane = key.get(1).copied().unwrap_or_default();
            self.take(keys::outbox(lane, self.marks.next_sequence), bytes, "events");
            self.marks.next_sequence += 1;
        }
    }
}
