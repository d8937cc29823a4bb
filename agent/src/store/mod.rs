//! Stable storage. One thread owns it; one commit is one atomic batch, durable on return.
//!
//! What is in it: the journal of inputs in blocks, the engine's snapshot (the journal behind it rebuilds the engine
//! to where it stood), the latest revision of every alert, closed runs, the report of each day, the outbox to the NOC, announcements for
//! the site, refused inputs, dead letters, what the broker inside keeps for its clients, and the marks that tie them together.

mod chain;
mod closed;
mod disk;
mod entries;
mod expiry;
mod journal;
mod kept;
mod keyfile;
mod keyring;
pub mod keys;
mod losses;
mod master;
mod moving;
mod places;
mod reach;
mod reading;
pub mod records;
pub mod room;
mod runs;
mod seal;
mod staging;
mod survey;
mod turnover;
mod writes;

pub use chain::{Digest, Fault, Head, Lost, Proof, Prover, Standing};
pub use disk::{DiskError, Medium};
pub use entries::{
    Announcement, CommandMarks, DeadLetter, Draft, Input, Lane, Marks, Past, Stand, StoredEvent,
};
pub use journal::{Journal, NoJournal, Opening, Piece};
pub use kept::{
    Keeping, Kept, KeptByName, KeptDelivery, KeptFilter, KeptMessage, KeptProperties, KeptSession,
};
pub use keyring::KeyringError;
pub use losses::Loss;
pub use master::{BadMaster, Masters};
pub use runs::{RunQuery, RunsFound};

use crate::sources::decode::Reason;
use disk::Disk;
use entries::SnapshotHead;
use keyring::Keyring;
use keys::Kind;
use moving::Cause;
use reach::Reach;
use records::{Unwritable, decode, encode};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;
use survey::Survey;
use turnover::Turnover;
use vigil_cloud_sync::wire::Producer;
use vigil_core::report::DailyReport;
use vigil_core::site::Site;
use vigil_core::time::Timestamp;
use writes::Writes;

/// The largest piece of what can be cut: sled keeps a page beyond 128 KiB in a file of its own, which costs a sync of
/// its own. A page has up to 17 values before it is split.
const PIECE: usize = 6 * 1024;

/// After so many inputs at the latest it is written down beside the database how far it has reached: one more
/// barrier for ten thousand inputs costs nothing, and no more than those can be lost without being noticed.
const NOTE_EVERY: u64 = 10_000;

/// Why a commit failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk or the database.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The keys that its records are sealed with.
    #[error(transparent)]
    Keys(#[from] KeyringError),
    /// A defect.
    #[error(transparent)]
    Record(#[from] Unwritable),
    /// Written by a newer agent.
    #[error(
        "the store holds a record of version {found}, and this agent knows up to {}: it is left untouched; install a newer agent, or give this one a data_dir of its own",
        records::NEWEST
    )]
    Newer {
        /// The version that is not known.
        found: u8,
    },
}

/// The store.
#[derive(Debug)]
pub struct Store {
    disk: Disk,
    marks: Marks,
    commands: CommandMarks,
    /// Which lane each waiting event is in; the outbox in order of sequence.
    waiting: BTreeMap<u64, Lane>,
    /// What the journal weighs.
    journal_bytes: u64,
    /// Where the chain of the journal ends.
    head: Head,
    /// How many inputs went before their time, since the store was made.
    dropped: u64,
    /// Whose sequences they are: they mean something only together.
    producer: Producer,
    reach: Reach,
    /// What this start found to be gone.
    loss: Option<Loss>,
    turnover: Turnover,
    /// Held for as long as the store is open, so that nobody else moves its folders; a copy has none.
    lock: Option<File>,
}

impl Store {
    /// Opens the store in `folder`, or makes one. Its keys are not locked.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        Self::open_with(folder, &Masters::default())
    }

    /// Opens the store in `folder`, or makes one. Its keys are locked by a master key, if there is one.
    pub fn open_with(folder: &Path, masters: &Masters) -> Result<Self, StoreError> {
        // Nothing is touched under a wrong master key: it is looked at before the database is.
        drop(Keyring::read(folder, masters)?);
        let lock = places::lock(folder)?;
        moving::finish(folder)?;
        let mut disk = Disk::open(folder)?;
        // And read now that nobody else has the database: the agent before may have made a key until then.
        *disk.keyring() = Keyring::read(folder, masters)?;
        // A store of a newer agent is refused here, before its keys are touched.
        let mut survey = Survey::of(&disk)?;
        disk.keyring().take_up(folder)?;
        if !survey.locked.is_empty() && disk.keyring().is_empty() {
            disk = Self::without_keys(folder, disk, &survey.used)?;
            survey = Survey::of(&disk)?;
        }
        if survey.is_of_before() && moving::has_room(folder, &disk, Cause::Bare) {
            disk = moving::anew(folder, disk, Cause::Bare)?;
            survey = Survey::of(&disk)?;
        }
        let mut store = Self::begin(disk, survey, Reach::beside(folder)?)?;
        if matches!(store.loss, Some(Loss::WentBack { .. }))
            && moving::has_room(folder, &store.disk, Cause::WentBack)
        {
            store.disk = moving::anew(folder, store.disk, Cause::WentBack)?;
        }
        store.lock = Some(lock);
        Ok(store)
    }

    /// Somebody took all keys away, and may bring them back: the database is kept as it is, and a fresh one is begun.
    fn without_keys(folder: &Path, disk: Disk, used: &BTreeSet<u32>) -> Result<Disk, StoreError> {
        used.last().into_iter().for_each(|number| disk.keyring().note(*number));
        let keyring = std::mem::take(&mut *disk.keyring());
        drop(disk);
        let kept = places::put_aside(folder)?;
        tracing::error!(
            kept_as = %kept.display(),
            "the keys of the store are gone: it is kept, to be put back with them, and a fresh one is begun"
        );
        let disk = Disk::open(folder)?;
        *disk.keyring() = keyring;
        Ok(disk)
    }

    /// Opens a copy in `folder` of the store in `original`, which is not changed, nor are its keys.
    fn open_copy(folder: &Path, original: &Path, masters: &Masters) -> Result<Self, StoreError> {
        let keyring = Keyring::read(original, masters)?;
        let disk = Disk::open(folder)?;
        *disk.keyring() = keyring;
        let survey = Survey::of(&disk)?;
        Self::begin(disk, survey, Reach::of_copy())
    }

    fn begin(disk: Disk, survey: Survey, reach: Reach) -> Result<Self, StoreError> {
        survey.used.last().into_iter().for_each(|number| disk.keyring().note(*number));
        disk.keyring().settle_unreadable(&survey.used);
        let commands = commands(disk.get(&keys::meta("commands"))?);
        let mut store = Self {
            disk,
            marks: Marks::default(),
            commands,
            waiting: BTreeMap::new(),
            journal_bytes: 0,
            head: Head::default(),
            dropped: 0,
            producer: Producer::default(),
            reach,
            loss: None,
            turnover: Turnover::default(),
            lock: None,
        };
        let marks = store.disk.get(&keys::meta("marks"))?.map(|bytes| decode::<Marks>(&bytes));
        match marks {
            Some(Ok(marks)) => store.marks = marks,
            Some(Err(_)) => store.marks = store.marks_from_records()?,
            None => {}
        }
        store.disk.keyring().tell(store.marks.judged_until);
        store.take_up()?;
        store.lose(&survey.locked)?;
        store.index_outbox()?;
        store.take_up_the_chain()?;
        for record in store.disk.scan(&Kind::Journal.prefix()) {
            store.journal_bytes += record?.1.len() as u64;
        }
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
            next_announcement: after_last(Kind::Local)?.max(after_last(Kind::Prompt)?),
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

    /// From now on it lies on a disk that is simulated.
    pub fn lies_on(&mut self, medium: Box<dyn Medium + Send>) {
        self.disk.lies_on(medium);
    }

    /// The marks as of the last commit.
    pub const fn marks(&self) -> &Marks {
        &self.marks
    }

    /// How far commands are decided, as of the last commit.
    pub const fn commands(&self) -> &CommandMarks {
        &self.commands
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        self.disk.folder()
    }

    /// Lets go of a store that failed, be it in reading.
    pub fn let_go(self) {
        self.disk.condemn();
    }

    /// What its keys are locked with.
    pub fn masters(&self) -> Masters {
        self.disk.keyring().masters()
    }

    /// Bytes on disk.
    pub fn size(&self) -> u64 {
        self.disk.size()
    }

    /// Bytes of the journal.
    pub const fn journal_bytes(&self) -> u64 {
        self.journal_bytes
    }

    /// Where the chain of the journal ends.
    pub const fn head(&self) -> Head {
        self.head
    }

    /// How many inputs had been stored when that was last written down beside the database.
    pub const fn reached(&self) -> u64 {
        self.reach.last().next_input
    }

    /// How many inputs went before their time for want of room, since the store was made.
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Goes on where the chain ends. Without a head that can be read (a store of before the chain has none) that is the
    /// last block.
    fn take_up_the_chain(&mut self) -> Result<(), StoreError> {
        let stored = self.disk.get(&keys::meta("head"))?.and_then(|bytes| decode::<Head>(&bytes).ok());
        let digest = match stored {
            Some(head) => head.digest,
            None => self.last_block()?.unwrap_or_default(),
        };
        self.head = Head { next_input: self.marks.next_input, digest };
        let dropped = self.disk.get(&keys::meta("dropped"))?;
        self.dropped = dropped.and_then(|bytes| decode(&bytes).ok()).unwrap_or(0);
        Ok(())
    }

    fn last_block(&self) -> Result<Option<Digest>, StoreError> {
        let last = self.disk.scan(&Kind::Journal.prefix()).next_back().transpose()?;
        Ok(last.and_then(|(key, record)| Some(Digest::of(keys::number_of(&key)?, &record))))
    }

    /// Where a damaged predecessor was set aside, if this start found one.
    pub fn damaged(&self) -> Option<&Path> {
        match &self.loss {
            Some(Loss::SetAside { kept, .. }) => Some(kept),
            Some(Loss::WentBack { .. } | Loss::Unwitnessed | Loss::Vanished | Loss::Locked { .. }) | None => {
                self.disk.set_aside()
            }
        }
    }

    /// What this start found to be gone.
    pub const fn loss(&self) -> Option<&Loss> {
        self.loss.as_ref()
    }

    /// Whose sequences this store gives.
    pub const fn producer(&self) -> Producer {
        self.producer
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
        self.write(&draft)
    }

    /// The same of a draft that somebody keeps in case it fails.
    pub fn write(&mut self, draft: &Draft) -> Result<(), StoreError> {
        let mut writes = Writes::default();
        let mut marks = self.marks.clone();
        marks.judged_until = match draft.set_back {
            true => draft.judged_until,
            false => marks.judged_until.max(draft.judged_until),
        };
        if draft.clock.is_some() {
            marks.clock.clone_from(&draft.clock);
        }
        let added = staging::events(&mut writes, &mut marks, &draft.events)?;
        let (journal_bytes, head) = staging::journal(&mut writes, &mut marks, self.head, &draft.inputs)?;
        if head != self.head {
            writes.put(keys::meta("head"), encode(&head)?);
        }
        staging::facts(&mut writes, &draft.alerts, &draft.runs)?;
        self.stage_reports(&mut writes, &draft.reports)?;
        staging::announcements(&mut writes, &mut marks, &draft.announcements)?;
        staging::prompts(&mut writes, &mut marks, &draft.prompts)?;
        staging::refusals(&mut writes, &mut marks, &draft.refusals)?;
        for (reason, n) in [(Reason::NoRoom, draft.thinned), (Reason::Flood, draft.flooded)] {
            if n > 0 {
                *marks.refused.entry(reason).or_default() += n;
            }
        }
        self.stage_settled(&mut writes, &mut marks, &draft.delivered, &draft.dead, draft.judged_until)?;
        draft.announced.iter().for_each(|n| writes.remove(keys::numbered(Kind::Local, *n)));
        draft.prompted.iter().for_each(|n| writes.remove(keys::numbered(Kind::Prompt, *n)));
        let snapshot = draft.snapshot.is_some();
        if let Some((site, bytes)) = &draft.snapshot {
            self.stage_snapshot(&mut writes, &marks, site, bytes)?;
        }
        self.disk.keyring().tell(marks.judged_until);
        writes.put(keys::meta("marks"), encode(&marks)?);
        if let Some(commands) = &draft.commands {
            writes.put(keys::meta("commands"), encode(commands)?);
        }
        self.disk.commit(writes)?;
        self.marks = marks;
        self.head = head;
        if let Some(commands) = &draft.commands {
            self.commands.clone_from(commands);
        }
        self.journal_bytes += journal_bytes;
        self.waiting.extend(added);
        for sequence in draft.delivered.iter().chain(draft.dead.iter().map(|(s, _)| s)) {
            self.waiting.remove(sequence);
        }
        if snapshot || self.marks.next_input.saturating_sub(self.reach.last().next_input) >= NOTE_EVERY {
            self.note_reach()?;
        }
        Ok(())
    }

    /// Later revisions of a day take the place of earlier ones. A large site's report is cut, as a snapshot is.
    fn stage_reports(&self, writes: &mut Writes, reports: &[DailyReport]) -> Result<(), StoreError> {
        for report in reports {
            for record in self.disk.scan(&keys::report(report.date)) {
                writes.remove(record?.0);
            }
            let bytes = encode(report)?;
            for (n, piece) in (0_u32..).zip(bytes.chunks(PIECE)) {
                writes.put(keys::report_piece(report.date, n), piece.to_vec());
            }
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
}

/// Whether the keys of the store in `folder`, if there is one, are locked by one of these master keys or by none.
pub fn fits(folder: &Path, masters: &Masters) -> Result<(), KeyringError> {
    Keyring::read(folder, masters).map(drop)
}

/// The marks of commands. Without them everything is asked for anew, and what was decided before has no effect.
fn commands(record: Option<Vec<u8>>) -> CommandMarks {
    let Some(bytes) = record else { return CommandMarks::default() };
    decode(&bytes).unwrap_or_else(|why| {
        tracing::error!(%why, "the marks of commands are unreadable: what waits is asked for anew");
        CommandMarks::default()
    })
}

#[cfg(test)]
mod tests;
