//! How much of one sender may wait for the store. A device that sends faster than can be stored waits for itself, and what
//! others send is never behind more of it than that.

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Events of one sender that may wait: one array of the contract.
const WAITING: u32 = 512;
/// What a message counts at least, so that no more than 128 of one sender wait: an eighth of the pump's queue.
const LEAST: u32 = 4;

/// The share of one sender, whatever number of connections it has.
#[derive(Debug, Clone)]
pub struct Share(Arc<Semaphore>);

impl Default for Share {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(WAITING as usize)))
    }
}

impl Share {
    /// Waits until there is room for a message of so many events; it is held until the pump takes them.
    pub(super) async fn room(&self, events: usize) -> Option<OwnedSemaphorePermit> {
        let weight = u32::try_from(events).unwrap_or(WAITING).clamp(LEAST, WAITING);
        // It is never closed.
        Arc::clone(&self.0).acquire_many_owned(weight).await.ok()
    }

    #[cfg(test)]
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether anybody else has it.
    pub(super) fn is_in_use(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn a_sender_waits_for_itself_and_for_nobody_else() {
        let (one, other) = (Share::default(), Share::default());
        let held: Vec<_> = std::iter::from_fn(|| one.room(1).now_or_never()).collect();
        assert_eq!(held.len(), 128);
        assert!(other.room(500).now_or_never().flatten().is_some());
        drop(held);
        let whole = one.room(100_000).now_or_never().flatten();
        assert!(whole.is_some() && one.room(1).now_or_never().is_none());
        drop(whole);
        assert!(one.room(1).now_or_never().is_some() && !one.is_in_use());
    }
}
