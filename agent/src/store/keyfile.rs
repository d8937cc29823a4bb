//! The file of a key: there whole or not at all, for its owner only, and gone with what was in it.

use super::keyring::SLOT;
use super::places::sync_parent;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

pub(super) fn make_folder(place: &Path) -> io::Result<()> {
    if !place.is_dir() {
        DirBuilder::new().mode(0o700).create(place)?;
        sync_parent(place)?;
    }
    Ok(())
}

/// Writes a file that is there whole or not at all, readable for its owner only; on return it is on stable storage.
pub(super) fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    sync_parent(path)
}

/// Takes a file off the disk, and what is in it before. One that somebody took away is gone as well.
pub(super) fn erase(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).open(path) {
        Ok(mut file) => {
            // Blocks that cannot be written any more cannot be overwritten; the name goes all the same.
            if let Err(why) = overwrite(&mut file) {
                tracing::warn!(path = %path.display(), %why, "a key is removed and not overwritten");
            }
        }
        Err(gone) if gone.kind() == ErrorKind::NotFound => return Ok(()),
        Err(other) => return Err(other),
    }
    fs::remove_file(path)?;
    sync_parent(path)
}

pub(super) fn overwrite(file: &mut File) -> io::Result<()> {
    file.write_all(&[0; 2 * SLOT])?;
    file.sync_all()
}
