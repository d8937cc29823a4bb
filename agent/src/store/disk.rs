//! sled, and what it takes to trust it: the only file that touches it.
//!
//! sled's own `flush` hands pages to the kernel and no further. A commit is durable only after our own `fdatasync`
//! on the same file, and on those of pages that are too large for it; the metadata files are synced once, when the
//! database is made, which happens beside its place. A database that does not open is not the end: a crash inside
//! sled's `open` leaves a half-written snapshot, which is removed; a damaged one is set aside whole, a fresh one takes
//! its place, and what can still be read is handed over.

use super::keyring::{Keyring, Keys};
use super::places::{put_aside, sync_parent};
use super::room;
use super::writes::{Change, Writes};
use rustix::fs::{Advice, fadvise};
use std::cell::{Cell, RefCell, RefMut};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;
use tokio::time::Instant;

/// Enough for the pages that are read again, and small beside the box's 256 MiB; sled's default is 1 GiB.
const CACHE_BYTES: u64 = 8 * 1024 * 1024;
/// sled frees old segments only while its flusher runs.
const FLUSH_EVERY_MS: u64 = 500;
/// The lock of a database that was closed a moment ago may still be held: 2 of 30 immediate reopens saw it.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(100);
/// A damaged database holds up a start no longer than this; a whole one of a million records is read in a second.
const READ_OUT_PATIENCE: Duration = Duration::from_secs(20);
/// Records on their way from the thread that reads them.
const RECORDS_WAITING: usize = 1_024;

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
    /// There is too little room to tell a damaged database from one that only lacks room.
    #[error("the database does not open for want of room: {0}")]
    NoRoom(String),
    /// sled failed in a way that nothing here can mend.
    #[error("the database failed: {0}")]
    Engine(String),
}

/// What a disk that is simulated does to a commit. A real one does it by itself.
pub trait Medium: std::fmt::Debug {
    /// Asked before anything is written: nothing is if it refuses.
    fn before(&self) -> std::io::Result<()>;
    /// Asked when all is written: it is not known to be if it refuses.
    fn after(&self) -> std::io::Result<()>;
}

/// The database on disk.
#[derive(Debug)]
pub struct Disk {
    /// There until it is let go.
    db: Option<sled::Db>,
    folder: PathBuf,
    /// Whether it failed: from then on sled fails with everything, until it is opened anew.
    failed: Cell<bool>,
    file: File,
    blobs: Blobs,
    keyring: RefCell<Keyring>,
    /// Where a damaged predecessor was set aside.
    set_aside: Option<PathBuf>,
    /// Only where the disk is simulated.
    medium: Option<Box<dyn Medium + Send>>,
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

impl Disk {
    /// Opens the database in `folder`, or makes one. Until it is given keys, those that it makes are in memory only.
    pub fn open(folder: &Path) -> Result<Self, DiskError> {
        let problem = |source| DiskError::Folder { path: folder.to_owned(), source };
        if is_absent(folder).map_err(problem)? {
            make(folder)?;
        }
        remove_matching(folder, |name| name.ends_with(".generating")).map_err(problem)?;
        believe_the_disk(&folder.join("db")).map_err(problem)?;
        let (db, set_aside) = match try_open(folder)? {
            Opened::Whole(db) => (db, None),
            // sled writes when it opens, and calls what it could not write damage.
            Opened::Damaged(why) if room::is_wanting(folder) => return Err(DiskError::NoRoom(why)),
            Opened::Damaged(why) => mend(folder, &why)?,
        };
        sync_whole(folder).map_err(problem)?;
        let file = File::open(folder.join("db")).map_err(problem)?;
        let blobs = Blobs { folder: folder.join("blobs"), synced: RefCell::default() };
        Ok(Self {
            db: Some(db),
            folder: folder.to_owned(),
            failed: Cell::new(false),
            file,
            blobs,
            keyring: RefCell::default(),
            set_aside,
            medium: None,
        })
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn db(&self) -> Result<&sled::Db, DiskError> {
        self.db.as_ref().ok_or_else(|| DiskError::Engine("it was let go".into()))
    }

    /// Writes records as they were written before they were sealed.
    #[cfg(test)]
    pub(super) fn write_bare(&self, records: Vec<(Vec<u8>, Vec<u8>)>) {
        for (key, record) in records {
            self.db().unwrap().insert(key, record).unwrap();
        }
        self.db().unwrap().flush().unwrap();
    }

    /// Applies `writes` as one; on return it is on stable storage.
    pub fn commit(&self, writes: Writes) -> Result<(), DiskError> {
        self.ask(|medium| medium.before())?;
        let written = self.write(writes);
        self.failed.set(self.failed.get() || written.is_err());
        written.and_then(|()| self.ask(|medium| medium.after()))
    }

    /// From now on this medium decides.
    pub fn lies_on(&mut self, medium: Box<dyn Medium + Send>) {
        self.medium = Some(medium);
    }

    fn ask(&self, of: impl Fn(&dyn Medium) -> std::io::Result<()>) -> Result<(), DiskError> {
        let Some(medium) = &self.medium else { return Ok(()) };
        of(medium.as_ref()).map_err(|e| DiskError::Engine(e.to_string()))
    }

    fn write(&self, writes: Writes) -> Result<(), DiskError> {
        let db = self.db()?;
        let mut batch = sled::Batch::default();
        for (key, change) in writes.all() {
            match change {
                Change::Put(record) => {
                    let sealed = self.keyring.borrow_mut().seal(&key, record)?;
                    batch.insert(key, sealed);
                }
                Change::Sealed(record) => batch.insert(key, record),
                Change::Remove => batch.remove(key),
            }
        }
        db.apply_batch(batch).map_err(engine)?;
        db.flush().map_err(engine)?;
        self.blobs.sync().and_then(|()| self.file.sync_data()).map_err(|e| DiskError::Engine(e.to_string()))
    }

    /// One value.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, DiskError> {
        let keys = self.keys();
        self.db()?.get(key).map(|v| v.map(|v| keys.open(key, &v))).map_err(engine)
    }

    /// Every record whose key starts with `prefix`, in order, owned: a page must not be kept alive by a reader.
    pub fn scan(
        &self,
        prefix: &[u8],
    ) -> impl DoubleEndedIterator<Item = Result<(Vec<u8>, Vec<u8>), DiskError>> + use<> {
        let records = self.db.as_ref().map(|db| db.scan_prefix(prefix));
        records.into_iter().flatten().map(opened_by(self.keys()))
    }

    /// The same from the key `from` on and as they lie on disk.
    pub fn scan_sealed(&self, from: &[u8]) -> impl Iterator<Item = Result<Record, DiskError>> + use<> {
        let records = self.db.as_ref().map(|db| db.range(from..));
        records.into_iter().flatten().map(opened_by(Arc::default()))
    }

    /// Every record from the key `from` on and below `below`, in order.
    pub fn scan_between(
        &self,
        from: &[u8],
        below: &[u8],
    ) -> impl DoubleEndedIterator<Item = Result<(Vec<u8>, Vec<u8>), DiskError>> + use<> {
        // An empty range is none at all for the database, and a defect for its iterator.
        let below = if from < below { below } else { from };
        let records = self.db.as_ref().map(|db| db.range(from..below));
        records.into_iter().flatten().map(opened_by(self.keys()))
    }

    /// Bytes on disk.
    pub fn size(&self) -> u64 {
        self.db.as_ref().and_then(|db| db.size_on_disk().ok()).unwrap_or(0)
    }

    /// It failed, whoever noticed: it is let go as one that did.
    pub fn condemn(&self) {
        self.failed.set(true);
    }

    /// The keys that its records are sealed with.
    pub fn keyring(&self) -> RefMut<'_, Keyring> {
        self.keyring.borrow_mut()
    }

    /// The keys as they are now.
    pub fn keys(&self) -> Arc<Keys> {
        self.keyring.borrow().keys()
    }

    /// Where a damaged predecessor was set aside, if this start found one.
    pub fn set_aside(&self) -> Option<&Path> {
        self.set_aside.as_deref()
    }
}

impl Drop for Disk {
    /// sled writes what it still holds before it lets go of the file's lock. One that failed does that on a thread of
    /// its own: it takes milliseconds, but nothing vouches for it, and the agent has to be able to end.
    fn drop(&mut self) {
        let Some(db) = self.db.take().filter(|_| self.failed.get()) else { return };
        if let Err(why) = std::thread::Builder::new().name("let-go".into()).spawn(move || drop(db)) {
            tracing::error!(%why, "the database that failed is let go without a thread");
        }
    }
}

/// A record with its key.
type Record = (Vec<u8>, Vec<u8>);

/// A record out of the database, opened if its key is there.
fn opened_by(
    keys: Arc<Keys>,
) -> impl Fn(sled::Result<(sled::IVec, sled::IVec)>) -> Result<Record, DiskError> {
    move |record| record.map(|(key, value)| (key.to_vec(), keys.open(&key, &value))).map_err(engine)
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
        let attempt = catch_unwind(AssertUnwindSafe(|| {
            let db = config(folder).open()?;
            db.iter().keys().try_for_each(|k| k.map(drop))?;
            Ok::<_, sled::Error>(db)
        }));
        match attempt {
            Ok(Ok(db)) => return Ok(Opened::Whole(db)),
            Ok(Err(sled::Error::Io(e))) if e.to_string().contains("could not acquire lock") => {
                std::thread::sleep(LOCK_PAUSE);
            }
            // A file that is shorter than it should be is a damaged one, and no disk that fails.
            Ok(Err(sled::Error::Io(source))) if !is_damage(&source) => {
                return Err(DiskError::Folder { path: folder.to_owned(), source });
            }
            Ok(Err(other)) => return Ok(Opened::Damaged(other.to_string())),
            Err(_) => return Ok(Opened::Damaged("reading it panicked".into())),
        }
    }
    Err(DiskError::InUse(folder.to_owned()))
}

/// A page that could not be written counts as clean for the kernel, and is read back as if it were on the disk. What is
/// judged of a store that failed is what the disk holds.
fn believe_the_disk(file: &Path) -> std::io::Result<()> {
    match File::open(file) {
        Ok(file) => Ok(fadvise(&file, 0, None, Advice::DontNeed)?),
        // Whether something is missing is for sled to say.
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}

fn is_damage(e: &std::io::Error) -> bool {
    matches!(e.kind(), ErrorKind::UnexpectedEof | ErrorKind::InvalidData)
}

/// Whether there is no database yet.
fn is_absent(folder: &Path) -> std::io::Result<bool> {
    match fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(true),
        Err(e) => Err(e),
    }
}

/// Makes a database beside its place and moves it there when it is on stable storage: the power may fail between
/// sled's making a file and its filling it, and half a database would be taken for a damaged one.
fn make(folder: &Path) -> Result<(), DiskError> {
    let problem = |source| DiskError::Folder { path: folder.to_owned(), source };
    let making = folder.with_extension("making");
    match fs::remove_dir_all(&making) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(problem(e)),
        Ok(()) | Err(_) => {}
    }
    fs::create_dir_all(&making).map_err(problem)?;
    match try_open(&making)? {
        Opened::Whole(db) => drop(db),
        Opened::Damaged(why) => return Err(DiskError::Engine(why)),
    }
    sync_whole(&making).and_then(|()| fs::rename(&making, folder)).map_err(problem)?;
    sync_parent(folder).map_err(problem)
}

/// Syncs what sled made when it made the database, and the folder's own name.
fn sync_whole(folder: &Path) -> std::io::Result<()> {
    for part in ["conf", "db", "."] {
        File::open(folder.join(part))?.sync_all()?;
    }
    sync_parent(folder)
}

/// The ladder for a database that does not open: without its snapshot, then set aside.
fn mend(folder: &Path, why: &str) -> Result<(sled::Db, Option<PathBuf>), DiskError> {
    let problem = |source| DiskError::Folder { path: folder.to_owned(), source };
    tracing::error!(why, "the database does not open; trying without its snapshot");
    remove_matching(folder, |name| name.starts_with("snap.")).map_err(problem)?;
    match try_open(folder) {
        Ok(Opened::Whole(db)) => return Ok((db, None)),
        // The first attempt had the lock, and a panic in it may still hold it: nobody else does.
        Ok(Opened::Damaged(_)) | Err(DiskError::InUse(_)) => {}
        Err(other) => return Err(other),
    }
    // Room that was there a moment ago may be gone: sled calls what it could not write damage.
    if room::is_wanting(folder) {
        return Err(DiskError::NoRoom(why.to_owned()));
    }
    let aside = put_aside(folder)?;
    tracing::error!(kept_as = %aside.display(), "the database is damaged: it is set aside and a fresh one is made");
    make(folder)?;
    match try_open(folder)? {
        Opened::Whole(db) => Ok((db, Some(aside))),
        Opened::Damaged(why) => Err(DiskError::Engine(why)),
    }
}

/// Records of one kind that are read out of a damaged database.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    prefix: u8,
    most_bytes: usize,
    newest_first: bool,
}

impl Part {
    /// From the first on, and behind a place that cannot be read from the last back to it.
    pub(super) const fn all(prefix: u8, most_bytes: usize) -> Self {
        Self { prefix, most_bytes, newest_first: false }
    }

    /// From the last back.
    pub(super) const fn newest(prefix: u8, most_bytes: usize) -> Self {
        Self { prefix, most_bytes, newest_first: true }
    }
}

/// What was read out of a damaged database.
#[derive(Debug)]
pub(super) struct ReadOut {
    /// The records, each once.
    pub(super) records: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Whether no place was found that could not be read.
    pub(super) to_the_end: bool,
}

/// Reads what can be read of a damaged database. sled may panic or never come back on it, so that it is opened on a
/// thread that is left to itself when its time is over.
pub(super) fn read_out(folder: &Path, parts: &[Part], keys: &Keys) -> ReadOut {
    let (found, records) = std::sync::mpsc::sync_channel(RECORDS_WAITING);
    let (folder, parts) = (folder.to_owned(), parts.to_vec());
    let reader = std::thread::Builder::new().name("read-out".into()).spawn(move || {
        let opened = open_damaged(&folder);
        let mut whole = opened.is_some();
        for (db, part) in opened.iter().flat_map(|db| parts.iter().map(move |part| (db, part))) {
            whole &= read_part(db, *part, &found);
        }
        if whole {
            // Nobody waits for it any more if its time is over.
            let _late = found.send(None);
        }
        drop(found);
    });
    if let Err(why) = reader {
        tracing::error!(%why, "the damaged database cannot be read out");
    }
    let until = Instant::now() + READ_OUT_PATIENCE;
    let mut read = ReadOut { records: BTreeMap::new(), to_the_end: false };
    while let Ok(found) = records.recv_timeout(until.saturating_duration_since(Instant::now())) {
        match found {
            Some((key, value)) => {
                let record = keys.open(&key, &value);
                read.records.insert(key, record);
            }
            None => read.to_the_end = true,
        }
    }
    read
}

/// A damaged database as far as it opens: as it is, then without its settings, which are always the same.
fn open_damaged(folder: &Path) -> Option<sled::Db> {
    let attempt = || catch_unwind(AssertUnwindSafe(|| config(folder).open().ok())).ok().flatten();
    attempt().or_else(|| {
        let settings = folder.join("conf");
        fs::rename(&settings, folder.join("conf.damaged")).ok()?;
        attempt()
    })
}

type Found = SyncSender<Option<(Vec<u8>, Vec<u8>)>>;

/// Whether it came to the end.
fn read_part(db: &sled::Db, part: Part, found: &Found) -> bool {
    let mut left = part.most_bytes;
    let mut read = |backwards: bool| {
        let reading = catch_unwind(AssertUnwindSafe(|| {
            let mut records = db.scan_prefix([part.prefix]);
            while let Some(record) = if backwards { records.next_back() } else { records.next() } {
                let Ok((key, value)) = record else { return false };
                let size = key.len() + value.len();
                if size > left || found.send(Some((key.to_vec(), value.to_vec()))).is_err() {
                    return true;
                }
                left -= size;
            }
            true
        }));
        reading.unwrap_or(false)
    };
    let to_the_end = read(part.newest_first);
    if !to_the_end {
        // What lies behind the damaged place is reached from the other side; that it is damaged is known.
        let _damaged = read(!part.newest_first);
    }
    to_the_end
}

fn config(folder: &Path) -> sled::Config {
    sled::Config::new().path(folder).cache_capacity(CACHE_BYTES).flush_every_ms(Some(FLUSH_EVERY_MS))
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
        put(&Disk::open(&folder).unwrap(), b"Mk");
        let disk = Disk::open(&folder).unwrap();
        assert_eq!(disk.get(b"Mk").unwrap().as_deref(), Some(&b"value"[..]));
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
        // Bytes in which nothing comes twice, so that they stay as many.
        let large = (0..75_000_u32).flat_map(|n| crc32fast::hash(&n.to_le_bytes()).to_le_bytes());
        writes.put(b"large".to_vec(), large.collect());
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
