//! A delivery, and what becomes of it when the database does not take it.

use super::{Delivery, Ledger, LedgerError, Receipt, keep};

impl Ledger {
    /// Stores a delivery in one transaction, durable on return. Equal origin and id is a duplicate; an older
    /// revision of an alert never replaces a newer one.
    pub fn record(&mut self, delivery: &Delivery) -> Result<Receipt, LedgerError> {
        self.within(|tx| keep::record(tx, delivery))
    }
}
