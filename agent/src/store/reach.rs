//! How far the numbers of the store have reached, kept beside the database in a small file of its own.
//!
//! A database file that was cut back, or brought back from a copy, opens without complaint and would give numbers to
//! new events that the operations centre knows from others. So what was reached is written down elsewhere as well:
//! the sequences before an event is given out, the inputs now and then. Two slots take turns, so that a power cut in
//! the middle of one leaves the other. What is written here is on stable storage in the database before.

use super::disk::DiskError;
use super::places::sync_parent;
use super::records::{decode, encode};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A slot has pages of the disk to itself, so that none is torn by a write to the other.
const SLOT: u64 = 4_096;
/// A record of four numbers takes less: 46 bytes at most.
const RECORD: usize = 64;

/// What was reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reached {
    /// Rises by one with each writing; the higher one counts.
    turn: u64,
    /// Whose numbers they are.
    pub(super) producer: u64,
    /// Below this, sequences may have been given out.
    pub(super) next_sequence: u64,
    /// Below this, inputs were stored.
    pub(super) next_input: u64,
}

/// The file.
#[derive(Debug)]
pub(super) struct Reach {
    path: PathBuf,
    /// `None` for a copy of a database, of which nothing is written down.
    file: Option<File>,
    last: Reached,
}

impl Reach {
    /// Opens the file beside the database in `folder`, or makes one.
    pub(super) fn beside(folder: &Path) -> Result<Self, DiskError> {
        let path = folder.with_extension("reach");
        let problem = |source| DiskError::Folder { path: path.clone(), source };
        let made = !path.exists();
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = options.map_err(problem)?;
        if made {
            file.sync_all().and_then(|()| sync_parent(&path)).map_err(problem)?;
        }
        let slots = [0, 1].map(|slot| read_slot(&file, slot));
        if !made && slots.iter().all(Option::is_none) {
            tracing::error!(path = %path.display(), "how far the store had reached cannot be read: a loss would not be noticed");
        }
        let last = slots.into_iter().flatten().max_by_key(|reached| reached.turn).unwrap_or_default();
        Ok(Self { path, file: Some(file), last })
    }

    /// That of a copy, which nobody goes on with: it is judged by nothing.
    pub(super) fn of_copy() -> Self {
        Self { path: PathBuf::new(), file: None, last: Reached::default() }
    }

    /// Whether the database is a copy.
    pub(super) const fn is_of_copy(&self) -> bool {
        self.file.is_none()
    }

    /// What was written last; nothing is all zero.
    pub(super) const fn last(&self) -> Reached {
        self.last
    }

    /// Writes how far it has reached now; on return it is on stable storage.
    pub(super) fn note(
        &mut self,
        producer: u64,
        next_sequence: u64,
        next_input: u64,
    ) -> Result<(), DiskError> {
        let reached = Reached { turn: self.last.turn + 1, producer, next_sequence, next_input };
        let problem = |source| DiskError::Folder { path: self.path.clone(), source };
        let mut record = encode(&reached).map_err(|e| DiskError::Engine(e.to_string()))?;
        // The length goes in front, because a slot is longer than what is in it.
        record.insert(0, u8::try_from(record.len()).unwrap_or(u8::MAX));
        record.resize(RECORD, 0);
        if let Some(file) = &self.file {
            let written = file.write_all_at(&record, reached.turn % 2 * SLOT);
            written.and_then(|()| file.sync_data()).map_err(problem)?;
        }
        self.last = reached;
        Ok(())
    }
}

/// How far the database in `folder` had reached, if anything beside it says so. Nothing is changed.
pub(super) fn read_beside(folder: &Path) -> Reached {
    let file = File::open(folder.with_extension("reach"));
    let slots = file.map(|file| [0, 1].map(|slot| read_slot(&file, slot)));
    slots.into_iter().flatten().flatten().max_by_key(|reached| reached.turn).unwrap_or_default()
}

fn read_slot(file: &File, slot: u64) -> Option<Reached> {
    let mut bytes = [0; RECORD];
    file.read_exact_at(&mut bytes, slot * SLOT).ok()?;
    let (length, record) = bytes.split_first()?;
    decode(record.get(..usize::from(*length))?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(dir: &tempfile::TempDir) -> Reach {
        Reach::beside(&dir.path().join("db")).unwrap()
    }

    fn reached(dir: &tempfile::TempDir) -> (u64, u64) {
        let last = reach(dir).last();
        (last.next_sequence, last.next_input)
    }

    #[test]
    fn what_was_reached_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(reached(&dir), (0, 0));
        for n in 1..=5 {
            reach(&dir).note(u64::MAX, n, u64::MAX).unwrap();
            assert_eq!(reached(&dir), (n, u64::MAX));
        }
    }

    #[test]
    fn a_torn_writing_leaves_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = reach(&dir);
        file.note(7, 1, 10).unwrap();
        file.note(7, 2, 20).unwrap();
        let torn = file.last().turn % 2 * SLOT + 9;
        file.file.as_ref().unwrap().write_all_at(&[0xFF; 3], torn).unwrap();
        assert_eq!(reached(&dir), (1, 10));
    }
}
