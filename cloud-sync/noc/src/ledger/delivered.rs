//! A delivery, and what becomes of it when the database does not take it.

use super::{Delivery, Entry, Ledger, LedgerError, Receipt, keep};
use vigil_cloud_sync::wire::Rejection;

/// What a gateway is told of an event that the database does not take. It will not take it tomorrow either.
const NOT_KEPT: &str = "the database of the receiver cannot keep it; see the log of the receiver";

impl Ledger {
    /// Stores a delivery in one transaction, durable on return. Equal origin and id is a duplicate; an older
    /// revision of an alert never replaces a newer one. What the door let through and the database does not take is refused by
    /// itself: a gateway would send the whole of it again for ever.
    pub fn record(&mut self, delivery: &Delivery) -> Result<Receipt, LedgerError> {
        let done = match self.within(|tx| keep::record(tx, delivery)) {
            Err(why) if why.is_of_the_data() => self.record_in_parts(delivery),
            done => done,
        };
        if done.is_ok() {
            self.last.note_success();
        }
        done
    }

    /// By halves, so that one bad event among five hundred costs some twenty transactions and not five hundred.
    fn record_in_parts(&mut self, delivery: &Delivery) -> Result<Receipt, LedgerError> {
        let mut record = |entries: &[Entry]| {
            let Delivery { origin, received_at, .. } = delivery;
            let part =
                Delivery { origin: origin.clone(), received_at: *received_at, entries: entries.to_vec() };
            self.within(|tx| keep::record(tx, &part))
        };
        let (mut whole, mut refused) = (None::<Receipt>, vec![]);
        let mut left = vec![delivery.entries.as_slice()];
        while let Some(part) = left.pop() {
            match (record(part), part) {
                (Ok(receipt), _) => {
                    whole = Some(match whole {
                        Some(before) => before.and(receipt),
                        None => receipt,
                    });
                }
                (Err(why), [bad]) if why.is_of_the_data() => {
                    let gateway = &delivery.origin.gateway;
                    tracing::error!(%gateway, id = %bad.id, %why, "the database does not take an event; the others are kept");
                    refused.push(Rejection { id: bad.id.clone(), reason: NOT_KEPT.to_owned() });
                }
                (Err(why), [_, _, ..]) if why.is_of_the_data() => {
                    let (first, second) = part.split_at(part.len() / 2);
                    left.extend([second, first]);
                }
                (Err(why), _) => return Err(why),
            }
        }
        let whole = match whole {
            Some(whole) => whole,
            // Nothing of it is kept; that its gateway was heard is.
            None => record(&[])?,
        };
        Ok(Receipt { refused, ..whole })
    }
}

impl Receipt {
    /// What became of both parts of a delivery.
    fn and(self, mut later: Self) -> Self {
        let Self { accepted, duplicates, mut reused, mut altered, mut alerts, .. } = self;
        reused.append(&mut later.reused);
        altered.append(&mut later.altered);
        alerts.append(&mut later.alerts);
        Self {
            accepted: accepted + later.accepted,
            duplicates: duplicates + later.duplicates,
            reused,
            altered,
            alerts,
            ..later
        }
    }
}
