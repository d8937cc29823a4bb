//! How far the numbers of the store have reached, kept beside the database in small files of their own.
//!
//! A database file that was cut back, or brought back from a copy, opens without complaint and would give numbers to
//! new events that the operations centre knows from others. So what was reached is written down elsewhere as well:
//! the sequences before an event is given out, the inputs now and then. Two slots take turns, so that a power cut in
//! the middle of one leaves the other. What is written here is on stable storage in the database before.
//!
//! It is written twice: beside the database, and among its keys, without which nobody brings a database back. Whoever
//! takes one of the two away, or brings one back with the database, is given away by the other.

use super::disk::DiskError;
use super::keyfile::make_folder;
use super::keyring;
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
    /// Rises by one with each writing; the highest counts.
    turn: u64,
    /// Whose numbers they are.
    pub(super) producer: u64,
    /// Below this, sequences may have been given out.
    pub(super) next_sequence: u64,
    /// Below this, inputs were stored.
    pub(super) next_input: u64,
}

/// The files.
#[derive(Debug)]
pub(super) struct Reach {
    /// None for a copy of a database, of which nothing is written down.
    files: Vec<(PathBuf, File)>,
    last: Reached,
    /// Those of the files that said nothing when they were opened.
    gone: Vec<PathBuf>,
}

impl Reach {
    /// Opens the files beside the database in `folder`, or makes them.
    pub(super) fn beside(folder: &Path) -> Result<Self, DiskError> {
        let [first, second] = places(folder);
        let files = vec![opened(first)?, opened(second)?];
        let told: Vec<_> = files.iter().map(|(_, file)| read(file)).collect();
        let silent = files.iter().zip(&told).filter(|(_, told)| told.is_none());
        let gone = silent.map(|((path, _), _)| path.clone()).collect();
        Ok(Self { last: latest(told).unwrap_or_default(), files, gone })
    }

    /// Says which of the files are not what they were.
    pub(super) fn blame(&self) {
        for path in &self.gone {
            tracing::error!(
                path = %path.display(),
                "how far the store had reached is not there, or cannot be read: somebody took it away"
            );
        }
    }

    /// That of a copy, which nobody goes on with: it is judged by nothing.
    pub(super) fn of_copy() -> Self {
        Self { files: vec![], last: Reached::default(), gone: vec![] }
    }

    /// Whether the database is a copy.
    pub(super) const fn is_of_copy(&self) -> bool {
        self.files.is_empty()
    }

    /// Whether anything was ever written down that can still be read.
    pub(super) const fn knows(&self) -> bool {
        self.last.turn > 0
    }

    /// Whether both files could be read when they were opened. One of them alone may be as old as the database beside it.
    pub(super) const fn is_complete(&self) -> bool {
        self.gone.is_empty()
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
        let mut record = encode(&reached).map_err(|e| DiskError::Engine(e.to_string()))?;
        // The length goes in front, because a slot is longer than what is in it.
        record.insert(0, u8::try_from(record.len()).unwrap_or(u8::MAX));
        record.resize(RECORD, 0);
        for (path, file) in &self.files {
            let written = file.write_all_at(&record, reached.turn % 2 * SLOT);
            let problem = |source| DiskError::Folder { path: path.clone(), source };
            written.and_then(|()| file.sync_data()).map_err(problem)?;
        }
        self.last = reached;
        Ok(())
    }
}

/// Beside the database, and among its keys.
fn places(folder: &Path) -> [PathBuf; 2] {
    [folder.with_extension("reach"), keyring::place_of(folder).join("reached")]
}

fn opened(path: PathBuf) -> Result<(PathBuf, File), DiskError> {
    let open = || {
        path.parent().filter(|folder| !folder.as_os_str().is_empty()).map_or(Ok(()), make_folder)?;
        let made = !path.exists();
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        if made {
            file.sync_all().and_then(|()| sync_parent(&path))?;
        }
        Ok(file)
    };
    match open() {
        Ok(file) => Ok((path, file)),
        Err(source) => Err(DiskError::Folder { path, source }),
    }
}

/// How far the database in `folder` had reached, if anything beside it says so, and whether both files say something.
/// Nothing is changed.
pub(super) fn read_beside(folder: &Path) -> (Option<Reached>, bool) {
    let told = places(folder).map(|path| File::open(path).ok().and_then(|file| read(&file)));
    let complete = told.iter().all(Option::is_some);
    (latest(told), complete)
}

fn read(file: &File) -> Option<Reached> {
    latest([0, 1].map(|slot| read_slot(file, slot)))
}

/// What was written last of all that can be read.
fn latest(told: impl IntoIterator<Item = Option<Reached>>) -> Option<Reached> {
    told.into_iter().flatten().max_by_key(|reached| reached.turn)
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
        for (_, written) in &file.files {
            written.write_all_at(&[0xFF; 3], torn).unwrap();
        }
        assert_eq!(reached(&dir), (1, 10));
    }

    #[test]
    fn one_of_the_two_is_enough_and_the_later_one_counts() {
        let dir = tempfile::tempdir().unwrap();
        let places = places(&dir.path().join("db"));
        reach(&dir).note(7, 1, 10).unwrap();
        let earlier = std::fs::read(&places[0]).unwrap();
        reach(&dir).note(7, 2, 20).unwrap();
        for place in &places {
            let later = std::fs::read(place).unwrap();
            std::fs::remove_file(place).unwrap();
            assert_eq!(reached(&dir), (2, 20), "{} is gone", place.display());
            std::fs::write(place, &earlier).unwrap();
            assert_eq!(reached(&dir), (2, 20), "{} is an earlier one", place.display());
            std::fs::write(place, later).unwrap();
        }
        places.iter().for_each(|place| std::fs::remove_file(place).unwrap());
        assert!(!reach(&dir).knows());
    }
}
