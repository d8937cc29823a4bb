//! How much room the disk has, and what is kept back of it.
//!
//! A database that is full can neither be opened nor deleted from without some room. So a file lies beside it that is
//! nothing but room: the ballast. It is given up when the store failed for want of room, and made anew when there is
//! enough again.

use super::disk::DiskError;
use super::places::sync_parent;
use rustix::fs::{FallocateFlags, fallocate};
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// What a store needs that takes up where it stood: a snapshot of 200 guards (3 MB) beside the one that it replaces, and
/// sled's own, which is 3 bytes for each record, with its last segments of 512 KiB.
pub const BALLAST_BYTES: u64 = 8 * 1024 * 1024;
/// With less the store is not opened: half the ballast, so that an opening that fails leaves the next one some room.
pub const ROOM_TO_OPEN: u64 = BALLAST_BYTES / 2;
/// What is to stay free on the disk: long before its end the store takes no more of it. Logs and updates of the box
/// need room as well, and 64 MiB are a day of the busiest site's observations;
const FLOOR_BYTES: u64 = 64 * 1024 * 1024;
/// but no more than a twentieth of a small disk, which would otherwise be full when it is empty.
const FLOOR_PART: u64 = 20;
/// The ballast is written in pieces of this size: what is not written takes no room.
const WRITE_BYTES: usize = 64 * 1024;

/// What a disk has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes that this user may still write.
    pub free: u64,
    /// Bytes of the whole filesystem.
    pub total: u64,
}

impl Room {
    /// That of the filesystem on which `path` is, or will be.
    pub fn under(path: &Path) -> Option<Self> {
        let there = path.ancestors().find(|path| path.exists()).filter(|path| *path != Path::new(""));
        let stat = rustix::fs::statvfs(there.unwrap_or(Path::new("."))).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        Some(Self { free: bytes(stat.f_bavail), total: bytes(stat.f_blocks) })
    }

    /// What is to stay free.
    pub const fn floor(self) -> u64 {
        let part = self.total / FLOOR_PART;
        if part < FLOOR_BYTES { part } else { FLOOR_BYTES }
    }

    /// Whether there is less.
    pub const fn is_short(self) -> bool {
        self.free < self.floor()
    }
}

/// Whether there is too little room to open a store, on the disk or for this user. A disk that does not say counts as one
/// with room.
pub fn is_wanting(path: &Path) -> bool {
    Room::under(path).is_some_and(|room| room.free < ROOM_TO_OPEN) || is_refused(path)
}

/// Whether this user may take no more of a disk that has room: a quota is in nothing that the disk says. So much is taken and
/// given back; nothing is written.
fn is_refused(path: &Path) -> bool {
    let probe = path.with_file_name("room");
    let taken = File::create(&probe)
        .and_then(|file| Ok(fallocate(&file, FallocateFlags::empty(), 0, ROOM_TO_OPEN)?))
        .map_err(|why| why.kind());
    // It holds nothing, and the next attempt makes it anew.
    let _gone = fs::remove_file(&probe);
    taken.is_err_and(is_want_of_room)
}

/// Whether an error says that there is no room, and nothing else: of a database it would be taken for damage.
pub(super) const fn is_want_of_room(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

fn ballast(store: &Path) -> PathBuf {
    store.with_file_name("ballast")
}

/// Keeps room back beside the store, unless that is done or would leave the disk without any.
pub fn keep_back(store: &Path) -> Result<(), DiskError> {
    let path = ballast(store);
    let there = fs::metadata(&path).is_ok_and(|file| file.len() == BALLAST_BYTES);
    let enough = Room::under(store).is_some_and(|room| room.free >= 2 * BALLAST_BYTES + room.floor());
    if there || !enough {
        return Ok(());
    }
    let made = write_ballast(&path);
    if made.is_err() {
        // Half a ballast is in the way of the next attempt; that it could not be made is what is told.
        let _half = fs::remove_file(&path);
    }
    made.map_err(|source| DiskError::Folder { path, source })
}

fn write_ballast(path: &Path) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    // Not zeros: a filesystem may keep those without taking room for them.
    let piece = vec![0x5A; WRITE_BYTES];
    for _ in 0..BALLAST_BYTES / WRITE_BYTES as u64 {
        file.write_all(&piece)?;
    }
    file.sync_all().and_then(|()| sync_parent(path))
}

/// Gives the ballast up; whether there was one.
pub fn give_up(store: &Path) -> bool {
    match fs::remove_file(ballast(store)) {
        Ok(()) => true,
        Err(why) => {
            if why.kind() != ErrorKind::NotFound {
                tracing::error!(%why, "the ballast beside the store cannot be given up");
            }
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_is_a_twentieth_of_a_small_disk() {
        let room = |free, total| Room { free, total };
        let mib = 1024 * 1024;
        assert_eq!(room(0, 100 * mib).floor(), 5 * mib);
        assert_eq!(room(0, 1 << 40).floor(), FLOOR_BYTES);
        assert!(room(5 * mib - 1, 100 * mib).is_short() && !room(5 * mib, 100 * mib).is_short());
    }

    #[test]
    fn the_ballast_takes_room_and_is_given_up_once() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("db");
        keep_back(&store).unwrap();
        keep_back(&store).unwrap();
        let file = fs::metadata(dir.path().join("ballast")).unwrap();
        assert!(file.blocks() * 512 >= BALLAST_BYTES, "{} blocks", file.blocks());
        assert!(give_up(&store) && !give_up(&store));
    }

    #[test]
    fn a_quota_is_want_of_room_and_nothing_is_left_of_the_question() {
        let errno = |raw: i32| is_want_of_room(std::io::Error::from_raw_os_error(raw).kind());
        // ENOSPC and EDQUOT; EIO, EFBIG and EROFS are something else.
        assert_eq!([28, 122, 5, 27, 30].map(errno), [true, true, false, false, false]);
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_refused(&dir.path().join("db")) && !is_refused(&dir.path().join("a/b/db")));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_is_not_there_yet_is_on_a_disk() {
        let dir = tempfile::tempdir().unwrap();
        let here = Room::under(dir.path()).unwrap();
        assert_eq!(Room::under(&dir.path().join("a/b/db")).unwrap().total, here.total);
    }
}
