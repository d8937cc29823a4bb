//! The journal of a store that no agent has open. The database writes to its folder when it is opened, mends what it
//! finds, and leaves files of whoever opened it: so it is a copy that is opened, and the store stays as it is.

use super::journal::{Journal, NoJournal};
use super::{DiskError, Loss, Masters, Store, StoreError, keyring, reach};
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};
use vigil_listen::lock::taken;

/// A process that ends, and one that is just being made by whoever held the lock a moment ago, hold it a little longer.
/// Half a second: a person does not feel it, and an agent that runs holds it still.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(50);

impl Journal {
    /// The journal of the store in `folder`, which is not changed. Its keys are not locked.
    pub fn of_closed(folder: &Path) -> Result<Self, NoJournal> {
        Self::of_closed_with(folder, &Masters::default())
    }

    /// The same of a store whose keys may be locked by a master key.
    pub fn of_closed_with(folder: &Path, masters: &Masters) -> Result<Self, NoJournal> {
        let before = closed(folder)?;
        let aside = tempfile::tempdir().map_err(|e| not_copied(folder, &std::env::temp_dir(), e))?;
        // One level below, so that whatever the database sets aside goes with the rest.
        let copied = aside.path().join("db");
        let made = fs::create_dir(&copied).and_then(|()| copy(folder, &copied));
        made.map_err(|e| not_copied(folder, &copied, e))?;
        // The keys stay where they are: no copy of one is to lie in a folder for temporary files.
        let store = Store::open_copy(&copied, folder, masters);
        if closed(folder)? != before {
            return Err(NoJournal::InUse(folder.to_owned()));
        }
        let store = store.map_err(|why| match why {
            StoreError::Disk(DiskError::Engine(_)) => NoJournal::Damaged(folder.to_owned()),
            other @ (StoreError::Disk(_)
            | StoreError::Keys(_)
            | StoreError::Record(_)
            | StoreError::Newer { .. }) => NoJournal::Store(other),
        })?;
        if store.damaged().is_some() {
            return Err(NoJournal::Damaged(folder.to_owned()));
        }
        let locked = matches!(store.loss(), Some(Loss::Locked { .. }));
        let none = if locked { NoJournal::Locked } else { NoJournal::NoSite };
        let mut journal = whole(&store)?.ok_or_else(|| none(folder.to_owned()))?;
        let (reached, complete) = reach::read_beside(folder);
        journal.opening.reached = reached.map_or(0, |reached| reached.next_input);
        journal.opening.unwitnessed = !complete && store.has_witnesses()?;
        Ok(journal)
    }
}

fn whole(store: &Store) -> Result<Option<Journal>, StoreError> {
    let Some(opening) = store.opening()? else { return Ok(None) };
    let mut journal = Journal::new(opening);
    let mut next = Some(0);
    while let Some(from) = next {
        next = journal.add(store.journal_piece(from)?);
    }
    Ok(Some(journal))
}

/// The size of the database and when it was written last, if no agent has it open. The lock is held for that moment only:
/// an agent that starts then tries again.
fn closed(folder: &Path) -> Result<(u64, SystemTime), NoJournal> {
    let path = folder.join("db");
    let looked = File::open(&path).and_then(|file| {
        let free = taken(TRIES, PAUSE, || file.try_lock_shared())?;
        let meta = file.metadata()?;
        Ok((free, (meta.len(), meta.modified()?)))
    });
    match looked {
        Ok((true, stamp)) => Ok(stamp),
        Ok((false, _)) => Err(NoJournal::InUse(folder.to_owned())),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Err(no_store(folder)),
        Err(why) => Err(not_copied(&path, &std::env::temp_dir(), why)),
    }
}

/// There is no database: there never was one, or somebody took it away.
fn no_store(folder: &Path) -> NoJournal {
    match reach::read_beside(folder).0.map(|reached| reached.next_input) {
        None if keyring::has_any(folder) => NoJournal::Vanished(folder.to_owned()),
        None | Some(0) => NoJournal::NoStore(folder.to_owned()),
        Some(inputs) => NoJournal::Gone { folder: folder.to_owned(), inputs },
    }
}

/// Every file of the folder and of those in it.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let (source, target) = entry.map(|e| (e.path(), to.join(e.file_name())))?;
        if source.is_dir() {
            fs::create_dir(&target)?;
            copy(&source, &target)?;
        } else {
            fs::copy(&source, &target)?;
        }
    }
    Ok(())
}

fn not_copied(from: &Path, to: &Path, source: io::Error) -> NoJournal {
    NoJournal::Copy { from: from.to_owned(), to: to.to_owned(), source }
}
