//! One process at a time: whoever has a lock on a small file beside what is not to be shared.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A process that was killed a moment ago may still hold its lock.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum NoLock {
    /// Somebody has it.
    #[error("{} is in use by {}", path.display(), who(*.by))]
    InUse {
        /// What is not shared.
        path: PathBuf,
        /// The process, if it says so.
        by: Option<u32>,
    },
    /// Its file cannot be made or locked.
    #[error("cannot use {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn who(by: Option<u32>) -> String {
    by.map_or_else(|| "another process".to_owned(), |id| format!("another process ({id})"))
}

/// Takes the lock on `path`, for as long as the file is open.
pub fn take(path: &Path) -> io::Result<Option<File>> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let file = File::options().write(true).create(true).truncate(false).open(path)?;
    Ok(taken(TRIES, PAUSE, || file.try_lock())?.then_some(file))
}

/// The same beside `thing`, and whoever comes later is told which process has it.
pub fn take_for(thing: &Path) -> Result<File, NoLock> {
    let path = thing.with_extension("lock");
    let problem = |source| NoLock::File { path: path.clone(), source };
    let Some(mut file) = take(&path).map_err(problem)? else {
        let by = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
        return Err(NoLock::InUse { path: thing.to_owned(), by });
    };
    let said = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    said.map_err(problem)?;
    Ok(file)
}

/// Whether a lock could be taken: one that was let go a moment ago may still be held.
pub fn taken(
    tries: u32,
    pause: Duration,
    attempt: impl Fn() -> Result<(), TryLockError>,
) -> io::Result<bool> {
    for left in (0..tries).rev() {
        match attempt() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) if left > 0 => std::thread::sleep(pause),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(why)) => return Err(why),
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_has_it_and_gets_it_when_the_first_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let thing = dir.path().join("below/noc.db");
        let first = take_for(&thing).unwrap();
        let why = take_for(&thing).unwrap_err();
        let said = format!("{} is in use by another process ({})", thing.display(), std::process::id());
        assert_eq!(why.to_string(), said);
        drop(first);
        drop(take_for(&thing).unwrap());
    }
}
