//! The reading half of a connection: every packet of the client, in order.

use super::House;
use super::acl::may_subscribe;
use super::connection::Ending;
use super::exchange::Attachment;
use super::greeting::Frames;
use super::ingress::Taken;
use super::topics::check_filter;
use super::wire::{Incoming, Outgoing, Request, Version};
use super::writer::Pending;
use crate::sources::Share;
use rmqtt_codec::error::DecodeError;
use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::v5::{DisconnectReasonCode as Reason, PublishAckReason, SubscribeAckReason, ToReasonCode};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::StreamExt;

/// What the reader works with.
pub(super) struct Reader<'h> {
    pub(super) house: &'h House,
    pub(super) attachment: &'h Attachment,
    pub(super) frames: Frames,
    pub(super) version: Version,
    pub(super) idle: Duration,
    pub(super) pending: mpsc::Sender<Pending>,
    pub(super) replies: mpsc::Sender<Outgoing>,
    pub(super) unacked: &'h AtomicUsize,
    pub(super) share: Share,
}

impl Reader<'_> {
    /// Reads until the connection ends, and says how.
    pub(super) async fn run(mut self) -> Ending {
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
                self.attachment.settle().await;
                return self.reply(Outgoing::SubAck(id, reasons)).await;
            }
            Incoming::Unsubscribe(id, filters) => {
                let found = filters.iter().map(|f| self.attachment.unsubscribe(f)).collect();
                self.attachment.settle().await;
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
            let taken = self.house.ingress.take(self.attachment.key().user(), &self.share, publish).await;
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
