//! What is past its time goes.

use super::entries::{ChainedBlock, SnapshotHead};
use super::keyring::LONG_RETENTION;
use super::keys::{self, Kind};
use super::records::{decode, encode};
use super::writes::Writes;
use super::{Digest, Head, Store, StoreError};
use chrono_tz::Tz;
use vigil_core::alert::Alert;
use vigil_core::time::{Span, Timestamp};

/// How many dead letters are kept: each is an event that the NOC rejected, so a thousand are a defect to be mended.
const DEAD_KEPT: usize = 1_000;
/// Journal blocks dropped in one go, so that housekeeping never holds up an acknowledgement for long.
const EXPIRE_AT_ONCE: usize = 500;

/// What goes from the beginning of the journal.
#[derive(Debug, Default)]
struct Gone {
    inputs: u64,
    /// Where the journal begins without it.
    anchor: Option<Head>,
}

impl Gone {
    fn note(&mut self, key: &[u8], record: &[u8]) {
        let number = keys::number_of(key).unwrap_or_default();
        let count = ChainedBlock::read(record).map_or(0, |block| block.inputs.len() as u64);
        self.inputs += count;
        self.anchor = Some(Head { next_input: number + count, digest: Digest::of(number, record) });
    }

    fn stage(&self, writes: &mut Writes) -> Result<(), StoreError> {
        if let Some(anchor) = &self.anchor {
            writes.put(keys::meta("anchor"), encode(anchor)?);
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
            let (mut freed, mut gone) = (0, Gone::default());
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
    pub fn anchor(&self) -> Result<Head, StoreError> {
        let stored = self.disk.get(&keys::meta("anchor"))?.map(|bytes| decode::<Head>(&bytes));
        if let Some(Ok(anchor)) = stored {
            return Ok(anchor);
        }
        // Nothing has gone yet: the chain begins with the first block that is there.
        let first = self.disk.scan(&Kind::Journal.prefix()).next().transpose()?;
        let next_input = first.and_then(|(key, _)| keys::number_of(&key)).unwrap_or(self.head.next_input);
        Ok(Head { next_input, digest: Digest::default() })
    }

    /// The first input that is not in the snapshot.
    fn snapshot_from(&self) -> Result<u64, StoreError> {
        let head = self.disk.get(&keys::meta("snapshot"))?.and_then(|b| decode::<SnapshotHead>(&b).ok());
        Ok(head.map_or(0, |h| h.next_input))
    }

    /// Whether there may be more, and how many bytes go.
    fn stage_old_blocks(&self, writes: &mut Writes, before: Timestamp) -> Result<(bool, u64), StoreError> {
        let snapshot_from = self.snapshot_from()?;
        let (mut dropped, mut freed, mut gone) = (0, 0, Gone::default());
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
            dropped += 1;
            if dropped == EXPIRE_AT_ONCE {
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
