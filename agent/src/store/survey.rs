//! What a start finds in the database, record by record, before it does anything with it.

use super::disk::Disk;
use super::keyring::Class;
use super::{StoreError, records, seal};
use std::collections::BTreeSet;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// The keys that records name.
    pub(super) used: BTreeSet<u32>,
    /// Where records lie whose key is not there.
    pub(super) locked: Vec<Vec<u8>>,
    /// Whether there is a record that should be sealed and is not.
    bare: bool,
}

impl Survey {
    /// Of the whole database. A record of tomorrow is not one that cannot be read: to set it aside would be to lose it.
    pub(super) fn of(disk: &Disk) -> Result<Self, StoreError> {
        let (keys, mut survey) = (disk.keys(), Self::default());
        for record in disk.scan_sealed(&[]) {
            let (place, bytes) = record?;
            refuse_newer(&place, &bytes)?;
            let Some(number) = seal::number_of(&bytes) else {
                survey.bare |= Class::of(&place).is_some();
                continue;
            };
            survey.used.insert(number);
            let opened = keys.open(&place, &bytes);
            if opened == bytes {
                survey.locked.push(place);
            } else {
                refuse_newer(&place, &opened)?;
            }
        }
        Ok(survey)
    }

    /// Whether it was written before records were sealed.
    pub(super) fn is_of_before(&self) -> bool {
        self.bare && self.used.is_empty()
    }
}

fn refuse_newer(place: &[u8], bytes: &[u8]) -> Result<(), StoreError> {
    let whole = !matches!(place.first(), Some(b'Q' | b'S'));
    match records::newer_version(bytes).filter(|_| whole) {
        Some(found) => Err(StoreError::Newer { found }),
        None => Ok(()),
    }
}
