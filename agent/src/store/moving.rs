//! A database that was written before records were sealed is written anew: its own files would keep what anybody can
//! read for as long as it lives. The sealed one is made beside it, whole and on stable storage, before it takes its
//! place; a crash at any point leaves one of the two.

use super::StoreError;
use super::disk::{Disk, DiskError};
use super::entries::Marks;
use super::keys;
use super::places::sync_parent;
use super::records::decode;
use super::room::Room;
use super::writes::Writes;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Records in one commit: some hundred kilobytes.
const AT_ONCE: usize = 500;

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

/// Whether there is room for both for a while. Without it the old one goes on: what is in it already stays readable until
/// it is past its time and its place is used again.
pub(super) fn has_room(folder: &Path, bare: &Disk) -> bool {
    let needed = |room: Room| bare.size().saturating_add(room.floor());
    let wanting = Room::under(folder).filter(|room| room.free < needed(*room));
    if let Some(room) = wanting {
        tracing::warn!(
            free = room.free,
            needed = needed(room),
            "the store was written before records were sealed, and there is no room to write it anew: what is in it stays \
             readable until it is past its time"
        );
    }
    wanting.is_none()
}

/// The same records, sealed with the same keys, in the place of the database that has them.
pub(super) fn sealed_anew(folder: &Path, bare: Disk) -> Result<Disk, StoreError> {
    let done = written_anew(folder, bare);
    if done.is_err()
        && let Err(why) = gone(&Places::beside(folder).making)
    {
        tracing::warn!(%why, "half a store that was to be written anew is in the way");
    }
    done
}

fn written_anew(folder: &Path, bare: Disk) -> Result<Disk, StoreError> {
    tracing::info!("the store was written before records were sealed: it is written anew");
    let Places { making, made, old } = Places::beside(folder);
    let problem = |source| DiskError::Folder { path: folder.to_owned(), source };
    gone(&making).map_err(problem)?;
    let sealed = Disk::open(&making)?;
    *sealed.keyring() = std::mem::take(&mut *bare.keyring());
    if let Some(Ok(marks)) = bare.get(&keys::meta("marks"))?.map(|bytes| decode::<Marks>(&bytes)) {
        sealed.keyring().tell(marks.judged_until);
    }
    let (mut writes, mut waiting) = (Writes::default(), 0);
    for record in bare.scan_sealed(&[]) {
        let (place, bytes) = record?;
        writes.put(place, bytes);
        waiting += 1;
        if waiting == AT_ONCE {
            sealed.commit(std::mem::take(&mut writes))?;
            waiting = 0;
        }
    }
    sealed.commit(writes)?;
    let keyring = std::mem::take(&mut *sealed.keyring());
    drop((sealed, bare));
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
