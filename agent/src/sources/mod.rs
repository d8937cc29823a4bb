//! What comes in from outside: brokers and lines. Every source decodes what it gets, hands it to the
//! pump through one bounded queue, and acknowledges to its sender when the receipt says that the event
//! and everything that follows from it are on stable storage.

pub mod broker;
pub mod decode;
pub mod mqtt;
pub mod recall;
pub mod serial;
mod share;
pub mod voice;

pub use share::Share;

use crate::clock::Clock;
use decode::{Arrival, Decoded, Reason, Refusal};
use recall::Recall;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use vigil_core::observation::Observation;
use vigil_core::site::Site;

/// One delivery on its way to the pump.
#[derive(Debug)]
pub struct Inbound {
    /// What was understood, in the sender's order.
    pub observations: Vec<Observation>,
    /// What was not.
    pub refused: Vec<Refusal>,
    /// Answered once all of it is on stable storage; dropped unanswered if it could not be stored.
    pub receipt: oneshot::Sender<()>,
    /// Its part of its sender's share of the queue, free again when the pump takes it; `None` of a source that has no
    /// senders.
    pub place: Option<OwnedSemaphorePermit>,
}

/// The agent is stopping, or its store failed: nothing more is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the agent takes no more input")]
pub struct Stopped;

/// The way in for every source.
#[derive(Debug, Clone)]
pub struct Intake {
    site: watch::Receiver<Arc<Site>>,
    queue: mpsc::Sender<Inbound>,
    clock: Clock,
    recall: Recall,
}

impl Intake {
    /// A way in that ends in `queue`.
    pub fn new(site: watch::Receiver<Arc<Site>>, queue: mpsc::Sender<Inbound>, clock: Clock) -> Self {
        Self { site, queue, clock, recall: Recall::default() }
    }

    /// What the sources know of how foreign devices are set up.
    pub fn recall(&self) -> Recall {
        self.recall.clone()
    }

    /// Decodes one message and queues it; waits while the queue is full, so that senders feel the store's pace.
    /// The receiver resolves to `Ok` when it is stored, to `Err` when it never will be.
    pub async fn submit(&self, topic: &str, payload: &[u8]) -> Result<oneshot::Receiver<()>, Stopped> {
        self.submit_within(None, topic, payload).await
    }

    /// The same for one of many senders, who first waits while too much of its own is on its way.
    pub async fn submit_within(
        &self,
        share: Option<&Share>,
        topic: &str,
        payload: &[u8],
    ) -> Result<oneshot::Receiver<()>, Stopped> {
        let arrival = Arrival { at: self.clock.now(), known: self.clock.is_set() };
        let site = Arc::clone(&self.site.borrow());
        let mut decoded = decode::message(&site, arrival, topic, payload);
        self.recall.settle(&mut decoded);
        let Decoded { observations, refused, asides: _ } = decoded;
        let place = match share {
            Some(share) => share.room(observations.len()).await,
            None => None,
        };
        self.queue(observations, refused, place).await
    }

    /// Records that a message was refused before it was looked at, like one to somebody else's topic.
    pub async fn refuse(
        &self,
        reason: Reason,
        topic: &str,
        detail: String,
        payload: &[u8],
    ) -> Result<oneshot::Receiver<()>, Stopped> {
        let refusal = Refusal::new(self.clock.now(), reason, topic, detail, payload);
        self.queue(vec![], vec![refusal], None).await
    }

    async fn queue(
        &self,
        observations: Vec<Observation>,
        refused: Vec<Refusal>,
        place: Option<OwnedSemaphorePermit>,
    ) -> Result<oneshot::Receiver<()>, Stopped> {
        let (receipt, stored) = oneshot::channel();
        self.queue.send(Inbound { observations, refused, receipt, place }).await.map_err(|_| Stopped)?;
        Ok(stored)
    }
}
