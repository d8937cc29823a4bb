//! What became of what was last to be stored: by that a receiver says whether it is well. One that can still be read looks well, and
//! with a full disk, or without its database, it keeps nothing.

use super::sql::Database;
use super::{Ledger, LedgerError, loss};
use crate::access::Scope;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use vigil_core::time::Timestamp;

/// Whether the last write failed. All hands of a clerk share one.
#[derive(Debug, Clone, Default)]
pub struct LastWrite(Arc<AtomicBool>);

impl LastWrite {
    /// Whether it failed.
    pub fn failed(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Something could not be stored, for a reason that lies with the database.
    pub fn note_failure(&self, why: &LedgerError) {
        if !self.0.swap(true, Ordering::Relaxed) {
            tracing::error!(%why, "nothing can be stored: gateways are asked to send later");
        }
    }

    /// Something was stored.
    pub fn note_success(&self) {
        if self.0.swap(false, Ordering::Relaxed) {
            tracing::info!("what comes is stored again");
        }
    }
}

impl Ledger {
    /// From now on what becomes of its writes is noted there too.
    pub(super) fn note_in(&mut self, last: &LastWrite) {
        self.last = last.clone();
    }

    /// Whether it can be read, its file is the one that was opened, and what was last to be stored is stored.
    pub fn is_well(&mut self) -> Result<(), LedgerError> {
        if let Some(file) = &self.file {
            file.stands()?;
        }
        if self.last.failed() {
            return Err(LedgerError::NothingStored);
        }
        self.alerts(&Scope::whole(), 1).map(drop)
    }

    /// Raises an alert of the centre for every gateway that is lost. After a failure it also finds out whether something can be
    /// stored again: with nobody who sends, nothing else would.
    pub fn look_for_lost(&mut self, now: Timestamp) -> Result<(), LedgerError> {
        let failed = self.last.failed();
        self.within(|tx| {
            if failed {
                write_something(tx)?;
            }
            loss::look_for(tx, now)
        })?;
        if failed {
            self.last.note_success();
        }
        Ok(())
    }
}

/// A row that is there, as it is: a write like any other for the database.
fn write_something(tx: &mut dyn Database) -> Result<(), LedgerError> {
    tx.execute(
        "UPDATE gateways SET sequences = sequences
         WHERE (place, gateway) = (SELECT place, gateway FROM gateways ORDER BY place, gateway LIMIT 1)",
        &[],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{alert, delivery};
    use super::*;
    use crate::ledger::Engine;
    use crate::ledger::houses::House;

    /// Neither database stores anything, and both can be read.
    fn full(ledger: &mut Ledger, full: bool) {
        let (sqlite, postgres) = ("PRAGMA query_only", "SET default_transaction_read_only");
        let which = if ledger.database().engine() == Engine::Sqlite { sqlite } else { postgres };
        ledger.database().batch(&format!("{which} = {}", if full { "on" } else { "off" })).unwrap();
    }

    #[test]
    fn a_ledger_that_stores_nothing_is_not_well_until_it_stores_again() {
        for house in House::both() {
            let mut ledger = house.open();
            let batch = |n| delivery(vec![alert(n, &format!("a{n}"), 1, "HIGH", "")]);
            let now = batch(1).received_at;
            ledger.record(&batch(1)).unwrap();
            ledger.is_well().unwrap();
            full(&mut ledger, true);
            ledger.record(&batch(2)).unwrap_err();
            assert_eq!(ledger.is_well().unwrap_err().to_string(), "nothing can be stored");
            ledger.look_for_lost(now).unwrap_err();
            ledger.alerts(&Scope::whole(), 1).unwrap();
            assert!(ledger.is_well().is_err(), "that it can be read says nothing");
            full(&mut ledger, false);
            ledger.look_for_lost(now).unwrap();
            ledger.is_well().unwrap();
            full(&mut ledger, true);
            ledger.record(&batch(2)).unwrap_err();
            full(&mut ledger, false);
            ledger.record(&batch(2)).unwrap();
            ledger.is_well().unwrap();
        }
    }

    #[test]
    fn a_refusal_of_what_is_wrong_says_nothing_of_the_ledger() {
        for house in House::both() {
            let mut ledger = house.open();
            ledger.record(&delivery(vec![])).unwrap();
            let twice =
                ledger.within(|tx| tx.execute("INSERT INTO gateways SELECT * FROM gateways", &[]).map(drop));
            assert!(twice.unwrap_err().is_of_the_data());
            ledger.within(|_| Err::<(), _>(LedgerError::TakenBack)).unwrap_err();
            ledger.is_well().unwrap();
        }
    }
}
