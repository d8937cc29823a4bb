//! What is past its time goes.

use super::entries::{ChainedBlock, SnapshotHead};
use super::keyring::LONG_RETENTION;
use super::keys::{self, Kind};
use super::records::{decode, encode};
use super::writes::Writes;
use super::{Digest, Head, Lost, Store, StoreError};
use chrono_tz::Tz;
use vigil_core::alert::Alert;
use vigil_core::time::{Span, Timestamp};

/// How many dead letters are kept: each is an event that the NOC rejected, so a thousand are a defect to be mended.
const DEAD_KEPT: usize = 1_000;
/// Journal blocks dropped in one go, so that housekeeping never holds up an acknowledgement for long.
const EXPIRE_AT_ONCE: usize = 500;

/// More holes than that are told as fewer and larger ones: each is a loss, and one a year is many.
const MOST_LOST: usize = 64;

/// What goes from the beginning of the journal.
#[derive(Debug)]
struct Gone {
    inputs: u64,
    blocks: usize,
    /// Where the journal begins without it.
    anchor: Head,
    /// What was not there between the blocks that go: what passes its time is one thing, and what was lost another.
    lost: Vec<Lost>,
}

impl Gone {
    /// Nothing yet.
    const fn from(anchor: Head, lost: Vec<Lost>) -> Self {
        Self { inputs: 0, blocks: 0, anchor, lost }
    }

    fn note(&mut self, key: &[u8], record: &[u8]) {
        let number = keys::number_of(key).unwrap_or_default();
        let count = ChainedBlock::read(record).map_or(0, |block| block.inputs.len() as u64);
        if number > self.anchor.next_input {
            self.lose(Lost { from: self.anchor.next_input, to: number });
        }
        self.blocks += 1;
        self.inputs += count;
        self.anchor = Head { next_input: number + count, digest: Digest::of(number, record) };
    }

    fn lose(&mut self, lost: Lost) {
        self.lost.push(lost);
        if self.lost.len() > MOST_LOST
            && let [first, second, ..] = self.lost.as_mut_slice()
        {
            // Too much said to be lost is better than too little.
            second.from = first.from;
            self.lost.remove(0);
        }
    }

    fn stage(&self, writes: &mut Writes) -> Result<(), StoreError> {
        if self.blocks > 0 {
            writes.put(keys::meta("anchor"), encode(&self.anchor)?);
            if !self.lost.is_empty() {
                writes.put(keys::meta("lost"), encode(&self.lost)?);
            }
        }
        Ok(())
    }
}

impl Store {
    /// Drops what is past its time; true if there may be more.
    pub fn expire(&mut self, now: Timestamp, retention: Span) -> Result<bool, StoreError> {
        self.disk.keyring().keep_for(retention);
        self.set_aside_first_if_unreadable()?;
        let mut writes = Writes::default();
        let (more, freed) = self.stage_old_blocks(&mut writes, now - retention)?;
        self.stage_old_facts(&mut writes, now - LONG_RETENTION)?;
        let letters = self.disk.scan(&Kind::Dead.prefix()).count();
        for record in self.disk.scan(&Kind::Dead.prefix()).take(letters.saturating_sub(DEAD_KEPT)) {
            writes.remove(record?.0);
        }
        if !writes.is_empty() {
            self.disk.commit(writes)?;
        }
        self.journal_bytes -= freed;
        Ok(self.turn_over(now, retention)? || more)
    }

    /// A first block that nobody can read says nothing of its age: it stands in the way of those behind it, whose time comes.
    fn set_aside_first_if_unreadable(&mut self) -> Result<(), StoreError> {
        let first = self.disk.scan(&Kind::Journal.prefix()).next().transpose()?;
        let Some((key, block)) = first.filter(|(_, block)| ChainedBlock::read(block).is_err()) else {
            return Ok(());
        };
        let bytes = block.len() as u64;
        self.set_aside(vec![(key, block)])?;
        self.journal_bytes = self.journal_bytes.saturating_sub(bytes);
        Ok(())
    }

    /// Drops the oldest blocks of the journal, whatever their age, until no more than `keep` bytes are left or the rest
    /// is not in the snapshot; how many went.
    pub fn make_room(&mut self, keep: u64) -> Result<usize, StoreError> {
        let snapshot_from = self.snapshot_from()?;
        let mut dropped = 0;
        loop {
            let mut writes = Writes::default();
            let (mut freed, mut gone) = (0, self.nothing_gone()?);
            for record in self.disk.scan(&Kind::Journal.prefix()).take(EXPIRE_AT_ONCE) {
                let (key, bytes) = record?;
                let needed = keys::number_of(&key).is_none_or(|n| n >= snapshot_from);
                if needed || self.journal_bytes - freed <= keep {
                    break;
                }
                freed += bytes.len() as u64;
                gone.note(&key, &bytes);
                writes.remove(key);
                dropped += 1;
            }
            if writes.is_empty() {
                return Ok(dropped);
            }
            let before_their_time = self.dropped + gone.inputs;
            writes.put(keys::meta("dropped"), encode(&before_their_time)?);
            gone.stage(&mut writes)?;
            self.disk.commit(writes)?;
            self.dropped = before_their_time;
            self.journal_bytes -= freed;
        }
    }

    /// Where the journal begins: what was before has passed its time, or had to make room.
    pub(super) fn anchor(&self) -> Result<Head, StoreError> {
        let stored = self.disk.get(&keys::meta("anchor"))?.map(|bytes| decode::<Head>(&bytes));
        if let Some(Ok(anchor)) = stored {
            return Ok(anchor);
        }
        let first = self.disk.scan(&Kind::Journal.prefix()).next().transpose()?;
        let digest = Digest::default();
        let Some((key, block)) = first else {
            let none_was_written = self.head.digest == digest;
            return Ok(if none_was_written { self.head } else { Head::default() });
        };
        // What passed its time before the journal was a chain left no anchor; since then everything does. So nothing has
        // gone yet, and a first block that is not the first that was written says that those before it were lost.
        let unchained = ChainedBlock::read(&block).is_ok_and(|block| block.previous.is_none());
        let next_input = keys::number_of(&key).filter(|_| unchained).unwrap_or(0);
        Ok(Head { next_input, digest })
    }

    /// What was lost before the chain of the journal begins, and not because its time had come.
    pub(super) fn lost(&self) -> Result<Vec<Lost>, StoreError> {
        let stored = self.disk.get(&keys::meta("lost"))?;
        Ok(stored.and_then(|bytes| decode(&bytes).ok()).unwrap_or_default())
    }

    fn nothing_gone(&self) -> Result<Gone, StoreError> {
        Ok(Gone::from(self.anchor()?, self.lost()?))
    }

    /// The first input that is not in the snapshot.
    fn snapshot_from(&self) -> Result<u64, StoreError> {
        let head = self.disk.get(&keys::meta("snapshot"))?.and_then(|b| decode::<SnapshotHead>(&b).ok());
        Ok(head.map_or(0, |h| h.next_input))
    }

    /// Whether there may be more, and how many bytes go.
    fn stage_old_blocks(&self, writes: &mut Writes, before: Timestamp) -> Result<(bool, u64), StoreError> {
        let snapshot_from = self.snapshot_from()?;
        let (mut freed, mut gone) = (0, self.nothing_gone()?);
        let mut more = false;
        for record in self.disk.scan(&Kind::Journal.prefix()) {
            let (key, bytes) = record?;
            let old = ChainedBlock::read(&bytes).is_ok_and(|b| b.received_at < before);
            if !old || keys::number_of(&key).is_none_or(|n| n >= snapshot_from) {
                break;
            }
            freed += bytes.len() as u64;
            gone.note(&key, &bytes);
            writes.remove(key);
            if gone.blocks == EXPIRE_AT_ONCE {
                more = true;
                break;
            }
        }
        gone.stage(writes)?;
        Ok((more, freed))
    }

    fn stage_old_facts(&self, writes: &mut Writes, before: Timestamp) -> Result<(), StoreError> {
        for record in self.disk.scan(&Kind::Run.prefix()) {
            let (key, _) = record?;
            if key >= keys::run(before, "") {
                break;
            }
            writes.remove(key);
        }
        let last_day = keys::report(before.local_date(Tz::UTC));
        for record in self.disk.scan(&Kind::Report.prefix()) {
            let (key, _) = record?;
            if key >= last_day {
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
