//! One greeted client: a reader that takes packets in and a writer that answers when the store has them.
//!
//! ```text
//!  reader ── publish ──► ingress ──► pending (bounded) ──► writer: receipt, subscribers, ack
//!         └─ all else ─► replies (bounded) ─────────────► writer
//!                        session queue (bounded) ───────► writer
//! ```
//!
//! A full `pending` stops the reader, so a client feels the store's pace; a full `replies` stops it too, so a client
//! that does not read is not read from. Acknowledgements leave in the order in which the messages came.

use super::House;
use super::acl::may_subscribe;
use super::exchange::Attachment;
use super::greeting::{Frames, Guest, Sink};
use super::ingress::Taken;
use super::limits::{DRAIN, LAST_WORD, WRITE_BATCH};
use super::session::{Message, Peer};
use super::topics::check_filter;
use super::wire::{Incoming, Outgoing, Request, Version};
use futures_util::SinkExt;
use rmqtt_codec::error::DecodeError;
use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::v5::{DisconnectReasonCode as Reason, PublishAckReason, SubscribeAckReason, ToReasonCode};
use std::num::NonZeroU16;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_stream::StreamExt;

/// Answers that may wait for the writer: one batch; more would only hide a client that does not read.
const REPLIES: usize = WRITE_BATCH;

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Ending {
    #[error("the client disconnected")]
    Disconnected,
    #[error("the client disconnected and wants its will published")]
    DisconnectedWithWill,
    #[error("the connection closed")]
    Closed,
    #[error("nothing came within one and a half keep-alives")]
    Silent,
    #[error("the client broke the protocol: {0:?}")]
    Protocol(Reason),
    #[error("the client does not read")]
    Unwritable,
    #[error("the broker ended it: {0:?}")]
    Kicked(Reason),
    #[error("a message could not be stored")]
    NotStored,
    #[error("the agent takes no more input")]
    Stopped,
}

impl Ending {
    /// What a v5 client is told.
    fn last_word(self) -> Option<Reason> {
        match self {
            Self::Disconnected | Self::DisconnectedWithWill | Self::Closed | Self::Unwritable => None,
            Self::Silent => Some(Reason::KeepAliveTimeout),
            Self::Protocol(reason) | Self::Kicked(reason) => Some(reason),
            Self::NotStored => Some(Reason::UnspecifiedError),
            Self::Stopped => Some(Reason::ServerShuttingDown),
        }
    }

    /// Whether the client left in order, or was cut off by the agent's own trouble: neither says anything about it.
    fn revokes_will(self) -> bool {
        match self {
            Self::Disconnected | Self::NotStored | Self::Stopped => true,
            Self::Kicked(reason) => reason == Reason::ServerShuttingDown,
            Self::DisconnectedWithWill
            | Self::Closed
            | Self::Silent
            | Self::Protocol(_)
            | Self::Unwritable => false,
        }
    }
}

/// A publish whose receipt is awaited.
struct Pending {
    /// `None` if it is stored already.
    receipt: Option<oneshot::Receiver<()>>,
    ack: Option<(QoS, NonZeroU16, PublishAckReason)>,
    message: Option<Message>,
}

/// Serves a client until its connection ends, and says how.
pub(super) async fn serve(house: &House, guest: Guest) -> Ending {
    let Guest { frames, sink, version, peer, idle, attached } = guest;
    let (mut attachment, mut kicked) = (attached.attachment, attached.kicked);
    let (pending, settling) = mpsc::channel(usize::from(house.exchange.limits.in_flight));
    let (replies, replying) = mpsc::channel(REPLIES);
    let unacked = AtomicUsize::new(0);
    let mut writer = Writer {
        house,
        attachment: &attachment,
        sink,
        version,
        peer,
        settling,
        head: None,
        replying,
        unacked: &unacked,
    };
    let reader =
        Reader { house, attachment: &attachment, frames, version, idle, pending, replies, unacked: &unacked };
    let ending = {
        let mut reading = std::pin::pin!(reader.run());
        let mut writing = std::pin::pin!(writer.run());
        tokio::select! {
            ending = &mut reading => drain(ending, writing).await,
            ending = &mut writing => ending,
            reason = &mut kicked => Ending::Kicked(reason.unwrap_or(Reason::SessionTakenOver)),
        }
    };
    writer.say_last_word(ending).await;
    if ending.revokes_will() {
        attachment.forget_will();
    }
    ending
}

/// What was taken before the end is stored and routed all the same; then the connection ends as it did.
async fn drain(ending: Ending, writing: impl Future<Output = Ending>) -> Ending {
    match timeout(DRAIN, writing).await {
        Ok(Ending::NotStored) => Ending::NotStored,
        Ok(_) => ending,
        Err(_) => {
            tracing::warn!("a connection ended while its messages were still on their way to the store");
            ending
        }
    }
}

struct Reader<'h> {
    house: &'h House,
    attachment: &'h Attachment,
    frames: Frames,
    version: Version,
    idle: Duration,
    pending: mpsc::Sender<Pending>,
    replies: mpsc::Sender<Outgoing>,
    unacked: &'h AtomicUsize,
}

impl Reader<'_> {
    async fn run(mut self) -> Ending {
        loop {
            let packet = match timeout(self.idle, self.frames.next()).await {
                Err(_) => return Ending::Silent,
                Ok(None) => return Ending::Closed,
                Ok(Some(Err(error))) => return undecodable(&error),
                Ok(Some(Ok((packet, _)))) => packet,
            };
            if let Err(ending) = self.on_packet(packet.into()).await {
                return ending;
            }
        }
    }

    async fn on_packet(&mut self, packet: Incoming) -> Result<(), Ending> {
        match packet {
            Incoming::Publish(publish) => return self.on_publish(*publish).await,
            Incoming::Done(id) => self.attachment.on_done(id),
            Incoming::Received(id) => {
                self.attachment.on_received(id);
                return self.reply(Outgoing::Release(id)).await;
            }
            Incoming::Release(id) => {
                let known = self.attachment.on_release(id);
                return self.reply(Outgoing::Complete(id, known)).await;
            }
            Incoming::Subscribe(id, requests) => {
                let reasons = requests.into_iter().map(|r| self.subscribe(r)).collect();
                return self.reply(Outgoing::SubAck(id, reasons)).await;
            }
            Incoming::Unsubscribe(id, filters) => {
                let found = filters.iter().map(|f| self.attachment.unsubscribe(f)).collect();
                return self.reply(Outgoing::UnsubAck(id, found)).await;
            }
            Incoming::Ping => return self.reply(Outgoing::Pong).await,
            Incoming::Disconnect { with_will, expiry } => {
                expiry.into_iter().for_each(|kept| self.attachment.keep_for(kept));
                return Err(if with_will { Ending::DisconnectedWithWill } else { Ending::Disconnected });
            }
            Incoming::Unexpected => return Err(Ending::Protocol(Reason::ProtocolError)),
        }
        Ok(())
    }

    async fn reply(&mut self, packet: Outgoing) -> Result<(), Ending> {
        self.replies.send(packet).await.map_err(|_| Ending::Closed)
    }

    fn subscribe(&self, request: Request) -> SubscribeAckReason {
        let refusal = if request.filter.starts_with("$share/") {
            Some(SubscribeAckReason::SharedSubscriptionNotSupported)
        } else if check_filter(&request.filter).is_err() {
            Some(SubscribeAckReason::TopicFilterInvalid)
        } else if !may_subscribe(&self.house.ingress.site(), self.attachment.key().user(), &request.filter) {
            Some(SubscribeAckReason::NotAuthorized)
        } else {
            None
        };
        let reason = refusal.unwrap_or_else(|| self.attachment.subscribe(request));
        let refused = u8::from(reason) >= 0x80;
        self.house.exchange.counters.refused_subscriptions.add(usize::from(refused));
        reason
    }

    async fn on_publish(&mut self, publish: Publish) -> Result<(), Ending> {
        let alias = publish.properties.as_ref().is_some_and(|p| p.topic_alias.is_some());
        if alias {
            return Err(Ending::Protocol(Reason::TopicAliasInvalid));
        }
        if publish.topic.contains(['+', '#', '\0']) || publish.topic.is_empty() {
            return Err(Ending::Protocol(Reason::TopicNameInvalid));
        }
        self.check_receive_maximum(publish.qos)?;
        // The place in the queue comes first: what is submitted can always be acknowledged.
        let place = self.pending.reserve().await.map_err(|_| Ending::Closed)?;
        let (qos, id) = (publish.qos, publish.packet_id);
        let again = id.filter(|id| qos == QoS::ExactlyOnce && self.attachment.has_received(*id));
        let (receipt, reason, message) = if again.is_some() {
            (None, PublishAckReason::Success, None)
        } else {
            let taken = self.house.ingress.take(self.attachment.key().user(), publish).await;
            let Taken { receipt, reason, message } = taken.map_err(|_| Ending::Stopped)?;
            (Some(receipt), reason, message)
        };
        self.unacked.fetch_add(usize::from(id.is_some()), Ordering::Relaxed);
        place.send(Pending { receipt, ack: id.map(|id| (qos, id, reason)), message });
        Ok(())
    }

    /// A v5 client was told how many un-acknowledged messages it may have; a 3.1.1 client only waits.
    fn check_receive_maximum(&self, qos: QoS) -> Result<(), Ending> {
        if self.version == Version::V3 || qos == QoS::AtMostOnce {
            return Ok(());
        }
        let open = self.unacked.load(Ordering::Relaxed) + self.attachment.unreleased();
        if open < usize::from(self.house.exchange.limits.in_flight) {
            Ok(())
        } else {
            Err(Ending::Protocol(Reason::ReceiveMaximumExceeded))
        }
    }
}

fn undecodable(error: &DecodeError) -> Ending {
    match error {
        DecodeError::Io(_) => Ending::Closed,
        DecodeError::InvalidProtocol
        | DecodeError::InvalidLength
        | DecodeError::MalformedPacket
        | DecodeError::UnsupportedProtocolLevel
        | DecodeError::ConnectReservedFlagSet
        | DecodeError::InvalidConnectFlags
        | DecodeError::ConnAckReservedFlagSet
        | DecodeError::InvalidClientId
        | DecodeError::UnsupportedPacketType
        | DecodeError::PacketIdRequired
        | DecodeError::MaxSizeExceeded { .. }
        | DecodeError::InvalidTopicFilter
        | DecodeError::InvalidTopicName
        | DecodeError::Utf8Error => Ending::Protocol(error.to_reason_code()),
    }
}

struct Writer<'h> {
    house: &'h House,
    attachment: &'h Attachment,
    sink: Sink,
    version: Version,
    peer: Peer,
    settling: mpsc::Receiver<Pending>,
    /// The oldest publish that is not settled.
    head: Option<Pending>,
    replying: mpsc::Receiver<Outgoing>,
    unacked: &'h AtomicUsize,
}

impl Writer<'_> {
    async fn run(&mut self) -> Ending {
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
                () = attachment.woken() => self.collect(&mut batch),
            }
            if let Err(ending) = self.add_what_is_ready(&mut batch) {
                return ending;
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

    async fn say_last_word(&mut self, ending: Ending) {
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
