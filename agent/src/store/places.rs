//! Beside the database: its lock, what was set aside of it, and names that are certain to be there.

use super::disk::DiskError;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Syncs the names in the folder that this one lies in.
pub(super) fn sync_parent(path: &Path) -> std::io::Result<()> {
    match path.parent().filter(|p| !p.as_os_str().is_empty()) {
        Some(parent) => File::open(parent)?.sync_all(),
        None => File::open(".")?.sync_all(),
    }
}

/// Moves the folder out of the way, under a name that nothing has.
pub(super) fn put_aside(folder: &Path) -> Result<PathBuf, DiskError> {
    let aside = free_name(folder);
    let moved = fs::rename(folder, &aside).and_then(|()| sync_parent(folder));
    moved.map_err(|source| DiskError::Folder { path: folder.to_owned(), source })?;
    Ok(aside)
}

/// Takes the lock beside the database: sled's own lies in the folder, which may be moved away under it.
pub(super) fn lock(folder: &Path) -> Result<File, DiskError> {
    let path = folder.with_extension("lock");
    match vigil_listen::lock::take(&path) {
        Ok(Some(file)) => Ok(file),
        Ok(None) => Err(DiskError::InUse(folder.to_owned())),
        Err(source) => Err(DiskError::Folder { path, source }),
    }
}

/// The damaged database that was set aside last, if there is one.
pub(super) fn last_set_aside(folder: &Path) -> Option<PathBuf> {
    (1..).map(|n| damaged_name(folder, n)).take_while(|path| path.exists()).last()
}

fn damaged_name(folder: &Path, n: u32) -> PathBuf {
    folder.with_extension(format!("damaged-{n}"))
}

/// Makes an empty file, on stable storage.
pub(super) fn touch(path: &Path) -> Result<(), DiskError> {
    let made = File::create(path).and_then(|file| file.sync_all()).and_then(|()| sync_parent(path));
    if made.is_err() {
        // What is not certain is not to count.
        let _not_there = fs::remove_file(path);
    }
    made.map_err(|source| DiskError::Folder { path: path.to_owned(), source })
}

fn free_name(folder: &Path) -> PathBuf {
    let mut n = 1;
    while damaged_name(folder, n).exists() {
        n += 1;
    }
    damaged_name(folder, n)
}
