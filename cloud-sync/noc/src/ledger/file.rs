//! The file of a ledger, as it was when it was opened. SQLite goes on writing into one that somebody has deleted or replaced, and all of
//! it is gone with the process: an answer would promise what no restart finds.

use super::LedgerError;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Which file it is.
pub struct LedgerFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl LedgerFile {
    /// The one that lies there now.
    pub fn at(path: &Path) -> Result<Self, LedgerError> {
        let lies = std::fs::metadata(path)?;
        Ok(Self { path: path.to_owned(), device: lies.dev(), inode: lies.ino() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it still is there.
    pub fn stands(&self) -> Result<(), LedgerError> {
        let lies = std::fs::metadata(&self.path);
        if lies.is_ok_and(|lies| (lies.dev(), lies.ino()) == (self.device, self.inode)) {
            return Ok(());
        }
        let found = "its file was taken away or replaced while the receiver ran, and nothing more is taken: stop the receiver, and put it back";
        Err(LedgerError::Unsound { path: self.path.clone(), found: found.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use crate::ledger::houses::House;

    #[test]
    fn nothing_is_promised_on_a_file_that_is_not_there_any_more() {
        let house = House::file();
        let mut ledger = house.open();
        ledger.within(|_| Ok(())).unwrap();
        ledger.is_well().unwrap();
        let aside = house.path().with_extension("aside");
        std::fs::rename(house.path(), &aside).unwrap();
        let why = ledger.within(|_| Ok(())).unwrap_err().to_string();
        assert!(why.contains("was taken away or replaced while the receiver ran"), "{why}");
        assert!(ledger.is_well().is_err());
        std::fs::copy(&aside, house.path()).unwrap();
        assert!(ledger.within(|_| Ok(())).is_err(), "another one lies there");
        std::fs::rename(&aside, house.path()).unwrap();
        ledger.within(|_| Ok(())).unwrap();
    }
}
