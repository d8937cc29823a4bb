//! sled, and what it takes to trust it: the only file that touches it.
//!
//! sled's own `flush` hands pages to the kernel and no further. A commit is durable only after our own `fdatasync`
//! on the same file, and on those of pages that are too large for it; the metadata files are synced once, when the database is made. A database that does not open
//! is not the end: a crash inside sled's `open` leaves a half-written snapshot, which is removed; a damaged one is
//! set aside whole, and a fresh one takes its place.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Enough for the pages that are read again, and small beside the box's 256 MiB; sled's default is 1 GiB.
const CACHE_BYTES: u64 = 8 * 1024 * 1024;
/// sled frees old segments only while its flusher runs.
const FLUSH_EVERY_MS: u64 = 500;
/// The lock of a database that was closed a moment ago may still be held: 2 of 30 immediate reopens saw it.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// Why the store cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The folder cannot be made, read or synced.
    #[error("cannot use {path}: {source}")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another agent has it open.
    #[error("{0} is in use by another process")]
    InUse(PathBuf),
    /// sled failed in a way that nothing here can mend.
    #[error("the database failed: {0}")]
    Engine(String),
}

/// The database on disk.
#[derive(Debug)]
pub struct Disk {
    db: sled::Db,
    file: File,
    blobs: Blobs,
    /// Where a damaged predecessor was set aside.
    set_aside: Option<PathBuf>,
}

/// The pages that are too large for sled's log lie in files of their own, which sled never syncs.
#[derive(Debug)]
struct Blobs {
    folder: PathBuf,
    synced: RefCell<BTreeSet<OsString>>,
}

impl Blobs {
    /// Syncs those that are new. There is hardly ever one.
    fn sync(&self) -> std::io::Result<()> {
        let present = fs::read_dir(&self.folder)?.map(|entry| entry.map(|e| e.file_name()));
        let present: BTreeSet<OsString> = present.collect::<Result<_, _>>()?;
        let mut synced = self.synced.borrow_mut();
        let mut new = false;
        for name in present.difference(&synced) {
            match File::open(self.folder.join(name)) {
                Ok(blob) => blob.sync_all()?,
                // Collected since the folder was read.
                Err(gone) if gone.kind() == std::io::ErrorKind::NotFound => {}
                Err(other) => return Err(other),
            }
            new = true;
        }
        *synced = present;
        if new { File::open(&self.folder)?.sync_all() } else { Ok(()) }
    }
}

/// One atomic change.
#[derive(Debug, Default)]
pub struct Writes(sled::Batch, usize);

impl Writes {
    /// Sets a key.
    pub fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.0.insert(key, value);
        self.1 += 1;
    }
    /// Removes a key.
    pub fn remove(&mut self, key: Vec<u8>) {
        self.0.remove(key);
        self.1 += 1;
    }
    /// Whether there is nothing to write.
    pub const fn is_empty(&self) -> bool {
        self.1 == 0
    }
}

impl Disk {
    /// Opens the database in `folder`, or makes one.
    pub fn open(folder: &Path) -> Result<Self, DiskError> {
        let problem = |source| DiskError::Folder { path: folder.to_owned(), source };
        fs::create_dir_all(folder).map_err(problem)?;
        remove_matching(folder, |name| name.ends_with(".generating")).map_err(problem)?;
        let (db, set_aside) = match try_open(folder)? {
            Opened::Whole(db) => (db, None),
            Opened::Damaged(why) => mend(folder, &why)?,
        };
        let file = File::open(folder.join("db")).map_err(problem)?;
        for part in ["conf", "db", "."] {
            File::open(folder.join(part)).and_then(|f| f.sync_all()).map_err(problem)?;
        }
        if let Some(parent) = folder.parent().filter(|p| !p.as_os_str().is_empty()) {
            File::open(parent).and_then(|f| f.sync_all()).map_err(problem)?;
        }
        let blobs = Blobs { folder: folder.join("blobs"), synced: RefCell::default() };
        Ok(Self { db, file, blobs, set_aside })
    }

    /// Applies `writes` as one; on return it is on stable storage.
    pub fn commit(&self, writes: Writes) -> Result<(), DiskError> {
        let written = self.write(writes);
        if written.is_err() {
            // sled's own drop waits for a flush that a full disk never ends: the agent has to be able to exit.
            std::mem::forget(self.db.clone());
        }
        written
    }

    fn write(&self, writes: Writes) -> Result<(), DiskError> {
        self.db.apply_batch(writes.0).map_err(engine)?;
        self.db.flush().map_err(engine)?;
        self.blobs.sync().and_then(|()| self.file.sync_data()).map_err(|e| DiskError::Engine(e.to_string()))
    }

    /// One value.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, DiskError> {
        self.db.get(key).map(|v| v.map(|v| v.to_vec())).map_err(engine)
    }

    /// Every record whose key starts with `prefix`, in order, owned: a page must not be kept alive by a reader.
    pub fn scan(
        &self,
        prefix: &[u8],
    ) -> impl DoubleEndedIterator<Item = Result<(Vec<u8>, Vec<u8>), DiskError>> + use<> {
        self.db.scan_prefix(prefix).map(|r| r.map(|(k, v)| (k.to_vec(), v.to_vec())).map_err(engine))
    }

    /// Every record from the key `from` on and below `below`, in order.
    pub fn scan_between(
        &self,
        from: &[u8],
        below: &[u8],
    ) -> impl DoubleEndedIterator<Item = Result<(Vec<u8>, Vec<u8>), DiskError>> + use<> {
        // An empty range is none at all for the database, and a defect for its iterator.
        let range = if from < below { self.db.range(from..below) } else { self.db.range(from..from) };
        range.map(|r| r.map(|(k, v)| (k.to_vec(), v.to_vec())).map_err(engine))
    }

    /// Bytes on disk.
    pub fn size(&self) -> u64 {
        self.db.size_on_disk().unwrap_or(0)
    }

    /// Where a damaged predecessor was set aside, if this start found one.
    pub fn set_aside(&self) -> Option<&Path> {
        self.set_aside.as_deref()
    }
}

fn engine(e: sled::Error) -> DiskError {
    DiskError::Engine(e.to_string())
}

enum Opened {
    Whole(sled::Db),
    Damaged(String),
}

/// Opens and reads through: damaged files make sled panic, at `open` or at the first scan.
fn try_open(folder: &Path) -> Result<Opened, DiskError> {
    for _ in 0..LOCK_TRIES {
        let config =
            sled::Config::new().path(folder).cache_capacity(CACHE_BYTES).flush_every_ms(Some(FLUSH_EVERY_MS));
        let attempt = catch_unwind(AssertUnwindSafe(|| {
            let db = config.open()?;
            db.iter().keys().try_for_each(|k| k.map(drop))?;
            Ok::<_, sled::Error>(db)
        }));
        match attempt {
            Ok(Ok(db)) => return Ok(Opened::Whole(db)),
            Ok(Err(sled::Error::Io(e))) if e.to_string().contains("could not acquire lock") => {
                std::thread::sleep(LOCK_PAUSE);
            }
            Ok(Err(sled::Error::Io(source))) => {
                return Err(DiskError::Folder { path: folder.to_owned(), source });
            }
            Ok(Err(other)) => return Ok(Opened::Damaged(other.to_string())),
            Err(_) => return Ok(Opened::Damaged("reading it panicked".into())),
        }
    }
    Err(DiskError::InUse(folder.to_owned()))
}

/// The ladder for a database that does not open: without its snapshot, then set aside.
fn mend(folder: &Path, why: &str) -> Result<(sled::Db, Option<PathBuf>), DiskError> {
    let problem = |source| DiskError::Folder { path: folder.to_owned(), source };
    tracing::error!(why, "the database does not open; trying without its snapshot");
    remove_matching(folder, |name| name.starts_with("snap.")).map_err(problem)?;
    if let Opened::Whole(db) = try_open(folder)? {
        return Ok((db, None));
    }
    let aside = free_name(folder);
    tracing::error!(kept_as = %aside.display(), "the database is damaged: it is set aside and a fresh one is made");
    fs::rename(folder, &aside).map_err(problem)?;
    fs::create_dir_all(folder).map_err(problem)?;
    match try_open(folder)? {
        Opened::Whole(db) => Ok((db, Some(aside))),
        Opened::Damaged(why) => Err(DiskError::Engine(why)),
    }
}

fn free_name(folder: &Path) -> PathBuf {
    let name = |n: u32| folder.with_extension(format!("damaged-{n}"));
    let taken = |path: &PathBuf| path.exists();
    let mut n = 1;
    while taken(&name(n)) {
        n += 1;
    }
    name(n)
}

fn remove_matching(folder: &Path, unwanted: impl Fn(&str) -> bool) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(&unwanted) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(disk: &Disk, key: &[u8]) {
        let mut writes = Writes::default();
        writes.put(key.to_vec(), b"value".to_vec());
        disk.commit(writes).unwrap();
    }

    #[test]
    fn what_was_committed_is_there_after_a_reopen() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("db");
        put(&Disk::open(&folder).unwrap(), b"k");
        let disk = Disk::open(&folder).unwrap();
        assert_eq!(disk.get(b"k").unwrap().as_deref(), Some(&b"value"[..]));
        assert!(disk.set_aside().is_none());
    }

    #[test]
    fn a_half_written_snapshot_of_sled_does_no_harm() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("db");
        put(&Disk::open(&folder).unwrap(), b"k");
        fs::write(folder.join("snap.0000000000000042.generating"), b"half").unwrap();
        let disk = Disk::open(&folder).unwrap();
        assert!(disk.get(b"k").unwrap().is_some());
    }

    #[test]
    fn a_damaged_database_is_set_aside_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("db");
        put(&Disk::open(&folder).unwrap(), b"k");
        let mut conf = fs::read(folder.join("conf")).unwrap();
        conf.iter_mut().for_each(|byte| *byte ^= 0x55);
        fs::write(folder.join("conf"), conf).unwrap();
        let disk = Disk::open(&folder).unwrap();
        let aside = disk.set_aside().expect("set aside").to_owned();
        assert!(aside.join("db").exists());
        put(&disk, b"new");
    }

    #[test]
    fn a_page_that_lies_in_a_file_of_its_own_is_synced_as_well() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("db");
        let disk = Disk::open(&folder).unwrap();
        let mut writes = Writes::default();
        writes.put(b"large".to_vec(), vec![7; 300_000]);
        disk.commit(writes).unwrap();
        let names = |dir: PathBuf| fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name()).collect();
        let present: BTreeSet<OsString> = names(folder.join("blobs"));
        assert!(!present.is_empty());
        assert_eq!(*disk.blobs.synced.borrow(), present);
    }

    #[test]
    fn two_agents_cannot_share_it() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("db");
        let _first = Disk::open(&folder).unwrap();
        assert!(matches!(Disk::open(&folder), Err(DiskError::InUse(_))));
    }
}
