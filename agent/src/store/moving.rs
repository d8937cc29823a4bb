//! A database is written anew if its own files cannot be trusted to keep what is to be kept, or to forget what is to be
//! forgotten. The new one is made beside it, whole and on stable storage, before it takes its place; a crash at any point
//! leaves one of the two.

use super::StoreError;
use super::disk::{Disk, DiskError};
use super::entries::Marks;
use super::keys;
use super::places::sync_parent;
use super::records::decode;
use super::room::Room;
use super::seal;
use super::writes::Writes;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Records in one commit: some hundred kilobytes.
const AT_ONCE: usize = 500;

/// Why a database is written anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// It was written before records were sealed: its files would keep what anybody can read for as long as it lives.
    Bare,
    /// It opened at an earlier state. sled leaves what comes after that in its file, and one that did so was seen to
    /// open at the earlier state again, without the commit that had come meanwhile.
    WentBack,
}

impl Cause {
    const fn what_happened(self) -> &'static str {
        match self {
            Self::Bare => "the store was written before records were sealed",
            Self::WentBack => "the store went back to an earlier state",
        }
    }

    const fn without_room(self) -> &'static str {
        match self {
            Self::Bare => "what is in it stays readable until it is past its time",
            Self::WentBack => "what comes now may be lost when it is opened again",
        }
    }
}

/// Where it is made, where it is when it is whole, and where the old one goes.
struct Places {
    making: PathBuf,
    made: PathBuf,
    old: PathBuf,
}

impl Places {
    fn beside(folder: &Path) -> Self {
        let [making, made, old] = ["sealing", "sealed", "bare"].map(|part| folder.with_extension(part));
        Self { making, made, old }
    }
}

/// Whether there is room for both for a while. Without it the old one goes on.
pub(super) fn has_room(folder: &Path, old: &Disk, cause: Cause) -> bool {
    let needed = |room: Room| old.size().saturating_add(room.floor());
    let wanting = Room::under(folder).filter(|room| room.free < needed(*room));
    if let Some(room) = wanting {
        tracing::warn!(
            free = room.free,
            needed = needed(room),
            "{}, and there is no room to write it anew: {}",
            cause.what_happened(),
            cause.without_room()
        );
    }
    wanting.is_none()
}

/// The same records, sealed with the same keys, in the place of the database that has them.
pub(super) fn anew(folder: &Path, disk: Disk, cause: Cause) -> Result<Disk, StoreError> {
    tracing::info!("{}: it is written anew", cause.what_happened());
    let done = written_anew(folder, disk);
    if done.is_err()
        && let Err(why) = gone(&Places::beside(folder).making)
    {
        tracing::warn!(%why, "half a store that was to be written anew is in the way");
    }
    done
}

fn written_anew(folder: &Path, before: Disk) -> Result<Disk, StoreError> {
    let Places { making, made, old } = Places::beside(folder);
    let problem = |source| DiskError::Folder { path: folder.to_owned(), source };
    gone(&making).map_err(problem)?;
    let anew = Disk::open(&making)?;
    *anew.keyring() = std::mem::take(&mut *before.keyring());
    if let Some(Ok(marks)) = before.get(&keys::meta("marks"))?.map(|bytes| decode::<Marks>(&bytes)) {
        anew.keyring().tell(marks.judged_until);
    }
    let (mut writes, mut waiting) = (Writes::default(), 0);
    for record in before.scan_sealed(&[]) {
        let (place, bytes) = record?;
        match seal::number_of(&bytes) {
            Some(_) => writes.put_sealed(place, bytes),
            None => writes.put(place, bytes),
        }
        waiting += 1;
        if waiting == AT_ONCE {
            anew.commit(std::mem::take(&mut writes))?;
            waiting = 0;
        }
    }
    anew.commit(writes)?;
    let keyring = std::mem::take(&mut *anew.keyring());
    drop((anew, before));
    let moved = |from: &Path, to: &Path| fs::rename(from, to).and_then(|()| sync_parent(to));
    moved(&making, &made)
        .and_then(|()| moved(folder, &old))
        .and_then(|()| moved(&made, folder))
        .and_then(|()| gone(&old))
        .map_err(problem)?;
    let disk = Disk::open(folder)?;
    *disk.keyring() = keyring;
    Ok(disk)
}

/// Ends what a crash broke off.
pub(super) fn finish(folder: &Path) -> Result<(), StoreError> {
    let Places { making, made, old } = Places::beside(folder);
    let problem = |source| DiskError::Folder { path: folder.to_owned(), source };
    gone(&making).map_err(problem)?;
    let finished = match (made.exists(), folder.exists()) {
        (true, false) => fs::rename(&made, folder).and_then(|()| sync_parent(folder)),
        // The old one is still in its place, and goes on until it is written anew.
        (true, true) => gone(&made),
        (false, _) => Ok(()),
    };
    let removed = if folder.exists() { gone(&old) } else { Ok(()) };
    Ok(finished.and(removed).map_err(problem)?)
}

/// Removes a folder, if it is there.
fn gone(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Ok(()) => sync_parent(folder),
        Err(none) if none.kind() == ErrorKind::NotFound => Ok(()),
        Err(other) => Err(other),
    }
}
