//! The writing half of a connection: acknowledgements when the store has what they are for, answers, and messages.

use super::House;
use super::connection::Ending;
use super::exchange::Attachment;
use super::greeting::Sink;
use super::limits::{LAST_WORD, WRITE_BATCH};
use super::session::{Message, Peer};
use super::wire::{Outgoing, Version};
use futures_util::SinkExt;
use rmqtt_codec::types::QoS;
use rmqtt_codec::v5::PublishAckReason;
use std::num::NonZeroU16;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio::time::timeout;

/// A publish whose receipt is awaited.
pub(super) struct Pending {
    /// `None` if it is stored already.
    pub(super) receipt: Option<oneshot::Receiver<()>>,
    pub(super) ack: Option<(QoS, NonZeroU16, PublishAckReason)>,
    pub(super) message: Option<Message>,
}

/// What the writer works with.
pub(super) struct Writer<'h> {
    pub(super) house: &'h House,
    pub(super) attachment: &'h Attachment,
    pub(super) sink: Sink,
    pub(super) version: Version,
    pub(super) peer: Peer,
    pub(super) settling: mpsc::Receiver<Pending>,
    /// The oldest publish that is not settled.
    pub(super) head: Option<Pending>,
    pub(super) replying: mpsc::Receiver<Outgoing>,
    pub(super) unacked: &'h AtomicUsize,
}

impl Writer<'_> {
    /// Writes until the reader is gone and all it took is settled, or writing fails.
    pub(super) async fn run(&mut self) -> Ending {
        loop {
            let mut batch = Vec::new();
            let attachment = self.attachment;
            tokio::select! {
                Some(reply) = self.replying.recv() => batch.push(reply),
                settled = settle(&mut self.head, &mut self.settling) => match settled {
                    Ok(Some(pending)) => batch.extend(self.on_stored(pending)),
                    Ok(None) => return self.finish().await,
                    Err(NotStored) => return Ending::NotStored,
                },
                () = attachment.woken() => {
                    // A subscription is acknowledged before what it brings, if that is ready.
                    batch.extend(std::iter::from_fn(|| self.replying.try_recv().ok()));
                    self.collect(&mut batch);
                }
            }
            if let Err(ending) = self.add_what_is_ready(&mut batch) {
                return ending;
            }
            if batch.iter().any(|packet| matches!(packet, Outgoing::Received(..))) {
                // The client takes it that its message is never taken in again.
                self.attachment.settle().await;
            }
            if self.write(batch).await.is_err() {
                return Ending::Unwritable;
            }
        }
    }

    /// The reader is gone and everything it took is settled: the last answers go out if they still can.
    async fn finish(&mut self) -> Ending {
        let mut batch = Vec::new();
        while let Ok(reply) = self.replying.try_recv() {
            batch.push(reply);
        }
        match self.write(batch).await {
            Ok(()) => Ending::Closed,
            Err(_) => Ending::Unwritable,
        }
    }

    fn add_what_is_ready(&mut self, batch: &mut Vec<Outgoing>) -> Result<(), Ending> {
        while batch.len() < WRITE_BATCH {
            if let Ok(reply) = self.replying.try_recv() {
                batch.push(reply);
                continue;
            }
            let Some(mut pending) = self.head.take().or_else(|| self.settling.try_recv().ok()) else { break };
            match pending.receipt.as_mut().map_or(Ok(()), oneshot::Receiver::try_recv) {
                Ok(()) => batch.extend(self.on_stored(pending)),
                Err(oneshot::error::TryRecvError::Closed) => return Err(Ending::NotStored),
                Err(oneshot::error::TryRecvError::Empty) => {
                    self.head = Some(pending);
                    break;
                }
            }
        }
        Ok(())
    }

    /// A publish is stored: subscribers get it, and its sender the acknowledgement.
    fn on_stored(&self, pending: Pending) -> Option<Outgoing> {
        let exchange = &self.house.exchange;
        if let Some(message) = pending.message {
            exchange.publish(message, Some(self.attachment.key()));
        }
        let (qos, id, reason) = pending.ack?;
        self.unacked.fetch_sub(1, Ordering::Relaxed);
        exchange.counters.acknowledged.add(1);
        if qos == QoS::AtLeastOnce {
            return Some(Outgoing::Ack(id, reason));
        }
        // A v5 client sends no PUBREL for what was refused; a 3.1.1 client cannot tell.
        if reason == PublishAckReason::Success || self.version == Version::V3 {
            self.attachment.on_stored(id);
        }
        Some(Outgoing::Received(id, reason))
    }

    fn collect(&self, batch: &mut Vec<Outgoing>) {
        let packets = self.attachment.outbound(self.peer, Instant::now());
        if packets.len() == WRITE_BATCH {
            self.attachment.wake();
        }
        batch.extend(packets);
    }

    async fn write(&mut self, batch: Vec<Outgoing>) -> Result<(), Unwritable> {
        let now = Instant::now();
        let limit = self.house.exchange.limits.write_timeout;
        let delivered = batch.iter().filter(|p| matches!(p, Outgoing::Publish(_))).count();
        let writing = async {
            for packet in batch.into_iter().filter_map(|p| p.encode(self.version, now)) {
                self.sink.feed(packet).await.map_err(|_| Unwritable)?;
            }
            self.sink.flush().await.map_err(|_| Unwritable)
        };
        timeout(limit, writing).await.map_err(|_| Unwritable)??;
        self.house.exchange.counters.delivered.add(delivered);
        Ok(())
    }

    /// Tells a v5 client why its connection ends.
    pub(super) async fn say_last_word(&mut self, ending: Ending) {
        let Some(reason) = ending.last_word().filter(|_| ending != Ending::Unwritable) else { return };
        let said = timeout(LAST_WORD, async {
            if self.write(vec![Outgoing::Disconnect(reason)]).await.is_ok() {
                self.sink.close().await.ok();
            }
        });
        // The peer may be gone already; there is nobody else to tell.
        said.await.ok();
    }
}

#[derive(Debug)]
struct Unwritable;

#[derive(Debug)]
struct NotStored;

/// The oldest publish once it is stored; `None` when the reader is gone and nothing is left. Safe to cancel: what was
/// taken from the queue waits in `head`.
async fn settle(
    head: &mut Option<Pending>,
    settling: &mut mpsc::Receiver<Pending>,
) -> Result<Option<Pending>, NotStored> {
    if head.is_none() {
        *head = settling.recv().await;
    }
    let Some(pending) = head.as_mut() else { return Ok(None) };
    if let Some(receipt) = pending.receipt.as_mut() {
        receipt.await.map_err(|_| NotStored)?;
        pending.receipt = None;
    }
    Ok(head.take())
}
