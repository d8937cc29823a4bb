//! What comes in from outside: brokers and lines. Every source decodes what it gets, hands it to the
//! pump through one bounded queue, and acknowledges to its sender when the receipt says that the event
//! and everything that follows from it are on stable storage.

pub mod broker;
pub mod decode;
pub mod mqtt;
pub mod recall;
pub mod serial;
pub mod voice;

use crate::clock::Clock;
use decode::{Arrival, Decoded, Reason, Refusal};
use recall::Recall;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};
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
        let arrival = Arrival { at: self.clock.now(), known: self.clock.is_set() };
        let site = Arc::clone(&self.site.borrow());
        let mut decoded = decode::message(&site, arrival, topic, payload);
        self.recall.settle(&mut decoded);
        let Decoded { observations, refused, asides: _ } = decoded;
        self.queue(observations, refused).await
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
        self.queue(vec![], vec![refusal]).await
    }

    async fn queue(
        &self,
        observations: Vec<Observation>,
        refused: Vec<Refusal>,
    ) -> Result<oneshot::Receiver<()>, Stopped> {
        let (receipt, stored) = oneshot::channel();
        self.queue.send(Inbound { observations, refused, receipt }).await.map_err(|_| Stopped)?;
        Ok(stored)
    }
}
