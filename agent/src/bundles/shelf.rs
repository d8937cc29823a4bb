//! Where bundles lie: `bundles/` in the data folder, each in a file of its own that is never written again, and one small file
//! that says which of them counts. To switch is to put another small file in its place, whole: whatever stops the agent,
//! either the old one counts or the new one.

use super::record::Record;
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use vigil_cloud_sync::bundle::MAX_BUNDLE_BYTES;

/// The folder, in the data folder.
const FOLDER: &str = "bundles";
/// What says which bundle counts.
const RECORD: &str = "record.json";
/// Held by the agent that writes here.
const LOCK: &str = "lock";
/// What the name of a bundle's file ends with.
const SUFFIX: &str = "bundle";
/// The form of the record. A newer one is left alone.
const FORMAT: u32 = 1;
/// The largest record: a dozen numbers and a sentence.
const MAX_RECORD_BYTES: u64 = 64 * 1024;

/// What is wrong with the folder of the bundles.
#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    /// The system refused.
    #[error("{} cannot be {what} ({source}); it must belong to the user of the agent, on a disk with room", .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Another agent writes there.
    #[error("another agent runs on {}", .0.display())]
    InUse(PathBuf),
    /// It is of a newer agent, or damaged.
    #[error("{} cannot be read: {why}", .path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

#[derive(Serialize, Deserialize)]
struct Written {
    format: u32,
    #[serde(flatten)]
    record: Record,
}

/// The folder of the bundles; whoever has one that is [`Shelf::hold`] is the only one that writes there.
#[derive(Debug)]
pub struct Shelf {
    folder: PathBuf,
    /// Released with the process, however it ends.
    _lock: Option<File>,
}

impl Shelf {
    /// To look at only.
    pub fn beside(data_dir: &Path) -> Self {
        Self { folder: data_dir.join(FOLDER), _lock: None }
    }

    /// To write to; the folder is made if it is not there.
    pub fn hold(data_dir: &Path) -> Result<Self, ShelfError> {
        let folder = data_dir.join(FOLDER);
        let failed = |path: &Path, what| {
            let path = path.to_owned();
            move |source| ShelfError::Io { path, what, source }
        };
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(failed(&folder, "made"))?;
        let place = folder.join(LOCK);
        let lock = OpenOptions::new().create(true).write(true).truncate(false).mode(0o600).open(&place);
        let lock = lock.map_err(failed(&place, "opened"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { folder, _lock: Some(lock) }),
            Err(TryLockError::WouldBlock) => Err(ShelfError::InUse(folder)),
            Err(TryLockError::Error(source)) => Err(failed(&place, "locked")(source)),
        }
    }

    /// The file of a version.
    pub fn file_of(&self, version: u64) -> PathBuf {
        self.folder.join(format!("{version}.{SUFFIX}"))
    }

    /// What is written down. Nothing was if there is no such file.
    pub fn record(&self) -> Result<Record, ShelfError> {
        let path = self.folder.join(RECORD);
        let unreadable = |why: String| ShelfError::Unreadable { path: path.clone(), why };
        let Some(bytes) = read(&path, MAX_RECORD_BYTES)? else { return Ok(Record::default()) };
        let written: Written = serde_json::from_slice(&bytes).map_err(|why| unreadable(why.to_string()))?;
        match written.format {
            FORMAT => Ok(written.record),
            newer => Err(unreadable(format!("it is of format {newer}, and this agent knows {FORMAT}"))),
        }
    }

    /// What can be known without it: no version that lies here comes back.
    pub fn record_without(&self) -> Record {
        Record { highest: self.versions().into_iter().max().unwrap_or(0), ..Record::default() }
    }

    /// Writes it down. On return it is on stable storage, and what it no longer needs is gone.
    pub fn write(&self, record: &Record) -> Result<(), ShelfError> {
        let written = Written { format: FORMAT, record: record.clone() };
        let text = serde_json::to_vec(&written).map_err(io::Error::from);
        let path = self.folder.join(RECORD);
        text.and_then(|text| put(&path, &text)).map_err(|source| ShelfError::Io {
            path,
            what: "written",
            source,
        })?;
        self.sweep(record);
        Ok(())
    }

    /// Lays a bundle down, on stable storage. It does not count before the record says so.
    pub fn lay(&self, version: u64, document: &[u8]) -> Result<(), ShelfError> {
        let path = self.file_of(version);
        put(&path, document).map_err(|source| ShelfError::Io { path, what: "written", source })
    }

    /// The bundle of a version, as it came.
    pub fn bundle(&self, version: u64) -> Result<Vec<u8>, ShelfError> {
        let path = self.file_of(version);
        let most = u64::try_from(MAX_BUNDLE_BYTES).unwrap_or(u64::MAX);
        read(&path, most)?.ok_or_else(|| ShelfError::Unreadable { path, why: "it is gone".into() })
    }

    fn versions(&self) -> Vec<u64> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let version = |path: PathBuf| {
            let named = path.extension().is_some_and(|suffix| suffix == SUFFIX);
            path.file_stem().filter(|_| named)?.to_str()?.parse().ok()
        };
        entries.filter_map(|entry| version(entry.path())).collect()
    }

    /// What stays behind costs room and nothing else: the next sweep takes it.
    fn sweep(&self, record: &Record) {
        let needed: Vec<u64> = record.needed().collect();
        for version in self.versions().into_iter().filter(|version| !needed.contains(version)) {
            if let Err(why) = fs::remove_file(self.file_of(version)) {
                tracing::warn!(version, %why, "a bundle that is no longer needed stays on the disk");
            }
        }
    }
}

/// The whole file, of at most so many bytes; `None` if there is none.
fn read(path: &Path, most: u64) -> Result<Option<Vec<u8>>, ShelfError> {
    let mut bytes = Vec::new();
    let all = File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes));
    match all {
        Ok(count) if u64::try_from(count).is_ok_and(|count| count <= most) => Ok(Some(bytes)),
        Ok(_) => {
            Err(ShelfError::Unreadable { path: path.into(), why: format!("it is larger than {most} bytes") })
        }
        Err(gone) if gone.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ShelfError::Io { path: path.into(), what: "read", source }),
    }
}

/// Puts a file in its place, there whole or not at all; on return it is on stable storage.
fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(shelf: &Shelf) -> Vec<String> {
        let mut all: Vec<String> = fs::read_dir(&shelf.folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        all.sort();
        all
    }

    #[test]
    fn what_is_written_down_is_read_again_and_what_is_not_needed_goes() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::hold(&dir.path().join("data")).unwrap();
        let mut record = shelf.record().unwrap();
        assert_eq!(record, Record::default());
        for version in 1..=4 {
            shelf.lay(version, format!("bundle {version}").as_bytes()).unwrap();
            record.take(version);
            record.prove();
            shelf.write(&record).unwrap();
            assert_eq!(shelf.record().unwrap(), record);
        }
        assert_eq!(names(&shelf), ["3.bundle", "4.bundle", "lock", "record.json"]);
        assert_eq!(shelf.bundle(4).unwrap(), b"bundle 4");
        assert!(shelf.bundle(2).unwrap_err().to_string().contains("2.bundle cannot be read: it is gone"));
    }

    /// Whatever a kill left behind, the old one counts whole, or the new one.
    #[test]
    fn what_was_cut_short_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::hold(dir.path()).unwrap();
        let mut record = Record::default();
        record.take(1);
        shelf.lay(1, b"one").unwrap();
        shelf.write(&record).unwrap();
        // Cut while the bundle was written, when it was, and while the record was.
        fs::write(shelf.file_of(2).with_extension("new"), b"tw").unwrap();
        assert_eq!(shelf.record().unwrap(), record);
        shelf.lay(2, b"two").unwrap();
        assert_eq!(shelf.record().unwrap(), record);
        fs::write(shelf.folder.join("record.new"), b"{\"for").unwrap();
        assert_eq!((shelf.record().unwrap(), shelf.bundle(1).unwrap()), (record.clone(), b"one".to_vec()));
        record.prove();
        record.take(2);
        shelf.write(&record).unwrap();
        assert_eq!((shelf.record().unwrap(), shelf.bundle(2).unwrap()), (record, b"two".to_vec()));
    }

    #[test]
    fn one_agent_writes_and_anybody_looks() {
        let dir = tempfile::tempdir().unwrap();
        let held = Shelf::hold(dir.path()).unwrap();
        assert!(matches!(Shelf::hold(dir.path()), Err(ShelfError::InUse(_))));
        assert_eq!(Shelf::beside(dir.path()).record().unwrap(), Record::default());
        drop(held);
        assert!(Shelf::hold(dir.path()).is_ok());
    }

    #[test]
    fn a_record_that_cannot_be_read_is_no_reason_to_take_an_old_bundle() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::hold(dir.path()).unwrap();
        shelf.lay(7, b"seven").unwrap();
        for (text, part) in
            [("{", "EOF"), ("{\"format\":2,\"highest\":9}", "format 2, and this agent knows 1")]
        {
            fs::write(shelf.folder.join(RECORD), text).unwrap();
            let why = shelf.record().unwrap_err().to_string();
            assert!(why.contains(part), "{why}");
        }
        assert_eq!(shelf.record_without(), Record { highest: 7, ..Record::default() });
    }
}
