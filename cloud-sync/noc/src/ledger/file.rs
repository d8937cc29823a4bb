//! The file of a ledger and its log, as they were when it was opened. SQLite goes on writing into one that somebody has deleted or replaced,
//! and all of it is gone with the process: an answer would promise what no restart finds.

use super::LedgerError;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Which file it is.
pub struct LedgerFile {
    path: PathBuf,
    lies: Inode,
    /// What is committed and not yet in the file. It lies there for as long as somebody has the ledger open.
    log: PathBuf,
    log_lies: Inode,
}

/// A file, whatever its name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Inode {
    device: u64,
    number: u64,
}

impl Inode {
    fn at(path: &Path) -> std::io::Result<Self> {
        let lies = std::fs::metadata(path)?;
        Ok(Self { device: lies.dev(), number: lies.ino() })
    }
}

impl LedgerFile {
    /// The one that lies there now, and is open.
    pub fn at(path: &Path) -> Result<Self, LedgerError> {
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        let log = PathBuf::from(log);
        Ok(Self { path: path.to_owned(), lies: Inode::at(path)?, log_lies: Inode::at(&log)?, log })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it still is there.
    pub fn stands(&self) -> Result<(), LedgerError> {
        for (path, lay) in [(&self.path, self.lies), (&self.log, self.log_lies)] {
            if !Inode::at(path).is_ok_and(|lies| lies == lay) {
                let found = "its file was taken away or replaced while the receiver ran, and nothing more is taken: stop the receiver, and put it back";
                return Err(LedgerError::Unsound { path: path.clone(), found: found.to_owned() });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::ledger::houses::House;

    #[test]
    fn nothing_is_promised_on_a_file_or_a_log_that_is_not_there_any_more() {
        let house = House::file();
        let mut ledger = house.open();
        ledger.within(|_| Ok(())).unwrap();
        ledger.is_well().unwrap();
        let log = house.path().with_extension("db-wal");
        for path in [house.path(), log] {
            let aside = house.path().with_extension("aside");
            std::fs::rename(&path, &aside).unwrap();
            let why = ledger.within(|_| Ok(())).unwrap_err().to_string();
            assert!(why.contains("was taken away or replaced while the receiver ran"), "{why}");
            assert!(why.contains(&*path.to_string_lossy()), "{why}");
            assert!(ledger.is_well().is_err());
            std::fs::copy(&aside, &path).unwrap();
            assert!(ledger.within(|_| Ok(())).is_err(), "another one lies there");
            std::fs::rename(&aside, &path).unwrap();
            ledger.within(|_| Ok(())).unwrap();
        }
    }

    #[test]
    fn a_log_that_others_look_at_and_that_is_emptied_is_the_same() {
        let house = House::file();
        let mut ledger = house.open();
        {
            let mut second = house.open();
            second.within(|_| Ok(())).unwrap();
        }
        ledger.database().batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        ledger.within(|_| Ok(())).unwrap();
        ledger.is_well().unwrap();
    }
}
