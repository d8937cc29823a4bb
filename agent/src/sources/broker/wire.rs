//! Packets without their version: what a connection reads and writes, translated to and from MQTT 3.1.1 and 5.

use super::limits::{MAX_CONNECT_BYTES, MAX_PACKET_BYTES};
use super::session::{Delivery, Subscription};
use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::v5::{
    DisconnectReasonCode, PublishAck2Reason, PublishAckReason, PublishProperties, RetainHandling,
    SubscribeAckReason, UnsubscribeAckReason,
};
use rmqtt_codec::version::ProtocolVersion;
use rmqtt_codec::{MqttCodec, MqttPacket, v3, v5};
use std::num::NonZeroU16;
use std::time::Duration;
use tokio::time::Instant;

/// The version that a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// 3.1 or 3.1.1.
    V3,
    /// 5.
    V5,
}

impl From<ProtocolVersion> for Version {
    fn from(version: ProtocolVersion) -> Self {
        match version {
            ProtocolVersion::MQTT3 => Self::V3,
            ProtocolVersion::MQTT5 => Self::V5,
        }
    }
}

impl Version {
    /// The codec for a stranger, who may send one small CONNECT.
    pub(super) fn greeting_codec(self) -> MqttCodec {
        self.codec(MAX_CONNECT_BYTES)
    }

    /// The codec for a client that is known.
    pub(super) fn session_codec(self) -> MqttCodec {
        self.codec(MAX_PACKET_BYTES)
    }

    fn codec(self, max_in: u32) -> MqttCodec {
        match self {
            Self::V3 => MqttCodec::V3(v3::Codec::new(max_in)),
            // Outgoing packets are measured by the session, so that one too many for the client costs no connection.
            Self::V5 => MqttCodec::V5(v5::Codec::new(max_in, 0)),
        }
    }
}

/// One filter of a SUBSCRIBE.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) filter: String,
    pub(super) subscription: Subscription,
    pub(super) retained: RetainHandling,
}

/// What a client sends after its CONNECT.
#[derive(Debug)]
pub(super) enum Incoming {
    Publish(Box<Publish>),
    /// PUBACK or PUBCOMP, or a PUBREC that refuses: the message is done with.
    Done(NonZeroU16),
    /// PUBREC.
    Received(NonZeroU16),
    /// PUBREL.
    Release(NonZeroU16),
    Subscribe(NonZeroU16, Vec<Request>),
    Unsubscribe(NonZeroU16, Vec<String>),
    Ping,
    Disconnect {
        /// The client wants its will published all the same (v5).
        with_will: bool,
        /// The client changes how long its session is kept (v5).
        expiry: Option<Duration>,
    },
    /// A packet that only a server sends, or that has no place here.
    Unexpected,
}

impl From<MqttPacket> for Incoming {
    fn from(packet: MqttPacket) -> Self {
        match packet {
            MqttPacket::V3(packet) => from_v3(packet),
            MqttPacket::V5(packet) => from_v5(packet),
            MqttPacket::Version(_) => Self::Unexpected,
        }
    }
}

fn from_v3(packet: v3::Packet) -> Incoming {
    use v3::Packet as P;
    match packet {
        P::Publish(publish) => Incoming::Publish(publish),
        P::PublishAck { packet_id } | P::PublishComplete { packet_id } => Incoming::Done(packet_id),
        P::PublishReceived { packet_id } => Incoming::Received(packet_id),
        P::PublishRelease { packet_id } => Incoming::Release(packet_id),
        P::Subscribe { packet_id, topic_filters } => {
            let request = |(filter, qos): (_, QoS)| {
                let subscription =
                    Subscription { qos, no_local: false, retain_as_published: false, number: None };
                Request { filter: text(filter), subscription, retained: RetainHandling::AtSubscribe }
            };
            Incoming::Subscribe(packet_id, topic_filters.into_iter().map(request).collect())
        }
        P::Unsubscribe { packet_id, topic_filters } => {
            Incoming::Unsubscribe(packet_id, topic_filters.into_iter().map(text).collect())
        }
        P::PingRequest => Incoming::Ping,
        P::Disconnect => Incoming::Disconnect { with_will: false, expiry: None },
        P::Connect(_)
        | P::ConnectAck(_)
        | P::SubscribeAck { .. }
        | P::UnsubscribeAck { .. }
        | P::PingResponse => Incoming::Unexpected,
    }
}

fn from_v5(packet: v5::Packet) -> Incoming {
    use v5::Packet as P;
    match packet {
        P::Publish(publish) => Incoming::Publish(publish),
        P::PublishAck(ack) => Incoming::Done(ack.packet_id),
        P::PublishReceived(ack) if u8::from(ack.reason_code) >= 0x80 => Incoming::Done(ack.packet_id),
        P::PublishReceived(ack) => Incoming::Received(ack.packet_id),
        P::PublishRelease(ack) => Incoming::Release(ack.packet_id),
        P::PublishComplete(ack) => Incoming::Done(ack.packet_id),
        P::Subscribe(subscribe) => from_v5_subscribe(subscribe),
        P::Unsubscribe(u) => {
            Incoming::Unsubscribe(u.packet_id, u.topic_filters.into_iter().map(text).collect())
        }
        P::PingRequest => Incoming::Ping,
        P::Disconnect(d) => Incoming::Disconnect {
            with_will: d.reason_code == DisconnectReasonCode::DisconnectWithWillMessage,
            expiry: d.session_expiry_interval_secs.map(|secs| Duration::from_secs(secs.into())),
        },
        P::Connect(_)
        | P::ConnectAck(_)
        | P::SubscribeAck(_)
        | P::UnsubscribeAck(_)
        | P::PingResponse
        | P::Auth(_) => Incoming::Unexpected,
    }
}

fn from_v5_subscribe(subscribe: v5::Subscribe) -> Incoming {
    let number = subscribe.id;
    let request = |(filter, options): (_, v5::SubscriptionOptions)| {
        let v5::SubscriptionOptions { qos, no_local, retain_as_published, retain_handling } = options;
        let subscription = Subscription { qos, no_local, retain_as_published, number };
        Request { filter: text(filter), subscription, retained: retain_handling }
    };
    Incoming::Subscribe(subscribe.packet_id, subscribe.topic_filters.into_iter().map(request).collect())
}

fn text(text: impl std::ops::Deref<Target = str>) -> String {
    text.to_owned()
}

/// A PUBLISH to a client.
#[derive(Debug)]
pub(super) struct OutgoingPublish {
    pub(super) delivery: Delivery,
    pub(super) id: Option<NonZeroU16>,
    pub(super) dup: bool,
}

/// What is written to a client after CONNACK.
#[derive(Debug)]
pub(super) enum Outgoing {
    Publish(Box<OutgoingPublish>),
    /// PUBACK.
    Ack(NonZeroU16, PublishAckReason),
    /// PUBREC.
    Received(NonZeroU16, PublishAckReason),
    /// PUBREL.
    Release(NonZeroU16),
    /// PUBCOMP, and whether the id was in use.
    Complete(NonZeroU16, bool),
    SubAck(NonZeroU16, Vec<SubscribeAckReason>),
    /// UNSUBACK, and which filters there were.
    UnsubAck(NonZeroU16, Vec<bool>),
    Pong,
    /// Only v5 has words for it.
    Disconnect(DisconnectReasonCode),
}

impl Outgoing {
    pub(super) fn publish(delivery: Delivery, id: Option<NonZeroU16>, dup: bool) -> Self {
        Self::Publish(Box::new(OutgoingPublish { delivery, id, dup }))
    }

    /// The packet in the client's version; `None` if it has none for this.
    pub(super) fn encode(self, version: Version, now: Instant) -> Option<MqttPacket> {
        match version {
            Version::V3 => self.into_v3(now).map(MqttPacket::V3),
            Version::V5 => Some(MqttPacket::V5(self.into_v5(now))),
        }
    }

    fn into_v3(self, now: Instant) -> Option<v3::Packet> {
        use v3::Packet as P;
        Some(match self {
            Self::Publish(p) => P::Publish(Box::new(Publish { properties: None, ..p.into_packet(now) })),
            Self::Ack(packet_id, _) => P::PublishAck { packet_id },
            Self::Received(packet_id, _) => P::PublishReceived { packet_id },
            Self::Release(packet_id) => P::PublishRelease { packet_id },
            Self::Complete(packet_id, _) => P::PublishComplete { packet_id },
            Self::SubAck(packet_id, reasons) => {
                P::SubscribeAck { packet_id, status: reasons.into_iter().map(v3_grant).collect() }
            }
            Self::UnsubAck(packet_id, _) => P::UnsubscribeAck { packet_id },
            Self::Pong => P::PingResponse,
            Self::Disconnect(_) => return None,
        })
    }

    fn into_v5(self, now: Instant) -> v5::Packet {
        use v5::Packet as P;
        match self {
            Self::Publish(p) => P::Publish(Box::new(p.into_packet(now))),
            Self::Ack(packet_id, reason_code) => {
                P::PublishAck(v5::PublishAck { packet_id, reason_code, ..Default::default() })
            }
            Self::Received(packet_id, reason_code) => {
                P::PublishReceived(v5::PublishAck { packet_id, reason_code, ..Default::default() })
            }
            Self::Release(packet_id) => {
                P::PublishRelease(v5::PublishAck2 { packet_id, ..Default::default() })
            }
            Self::Complete(packet_id, known) => {
                let reason_code =
                    if known { PublishAck2Reason::Success } else { PublishAck2Reason::PacketIdNotFound };
                P::PublishComplete(v5::PublishAck2 { packet_id, reason_code, ..Default::default() })
            }
            Self::SubAck(packet_id, status) => P::SubscribeAck(v5::SubscribeAck {
                packet_id,
                status,
                properties: vec![],
                reason_string: None,
            }),
            Self::UnsubAck(packet_id, found) => P::UnsubscribeAck(v5::UnsubscribeAck {
                packet_id,
                status: found.into_iter().map(v5_unsubscribed).collect(),
                properties: vec![],
                reason_string: None,
            }),
            Self::Pong => P::PingResponse,
            Self::Disconnect(reason) => P::Disconnect(v5::Disconnect::new(reason)),
        }
    }
}

impl OutgoingPublish {
    fn into_packet(self, now: Instant) -> Publish {
        let Self { delivery: Delivery { message, qos, retain, numbers, number: _ }, id, dup } = self;
        let mut properties: PublishProperties = message.properties.as_deref().cloned().unwrap_or_default();
        properties.message_expiry_interval = message.expiry_left(now);
        properties.subscription_ids = numbers;
        Publish {
            dup,
            retain,
            qos,
            topic: message.topic.as_str().into(),
            packet_id: id,
            payload: message.payload.clone(),
            properties: Some(properties),
        }
    }
}

fn v3_grant(reason: SubscribeAckReason) -> v3::SubscribeReturnCode {
    QoS::try_from(u8::from(reason)).map_or(v3::SubscribeReturnCode::Failure, v3::SubscribeReturnCode::Success)
}

fn v5_unsubscribed(found: bool) -> UnsubscribeAckReason {
    if found { UnsubscribeAckReason::Success } else { UnsubscribeAckReason::NoSubscriptionExisted }
}

/// The reason that grants a QoS.
pub(super) fn granted(qos: QoS) -> SubscribeAckReason {
    match qos {
        QoS::AtMostOnce => SubscribeAckReason::GrantedQos0,
        QoS::AtLeastOnce => SubscribeAckReason::GrantedQos1,
        QoS::ExactlyOnce => SubscribeAckReason::GrantedQos2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;
    use proptest::prelude::*;
    use tokio_util::codec::Decoder;

    #[test]
    fn a_refusal_is_0x80_to_a_3_1_1_client() {
        let failure = v3::SubscribeReturnCode::Failure;
        assert_eq!(v3_grant(SubscribeAckReason::NotAuthorized), failure);
        let granted = v3::SubscribeReturnCode::Success(QoS::ExactlyOnce);
        assert_eq!(v3_grant(SubscribeAckReason::GrantedQos2), granted);
    }

    #[test]
    fn a_pubrec_that_refuses_is_the_end_of_its_message() {
        let id = NonZeroU16::MIN;
        let incoming = |reason_code| {
            let ack = v5::PublishAck { packet_id: id, reason_code, ..Default::default() };
            from_v5(v5::Packet::PublishReceived(ack))
        };
        assert!(matches!(incoming(PublishAckReason::NotAuthorized), Incoming::Done(done) if done == id));
        assert!(matches!(incoming(PublishAckReason::Success), Incoming::Received(has) if has == id));
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let first = prop_oneof![any::<u8>(), prop::sample::select(vec![0x10, 0x32, 0x82, 0xA2, 0xE0, 0x40])];
        let body = prop::collection::vec(prop_oneof![any::<u8>(), 0..40u8], 0..60);
        (first, body).prop_map(|(first, body)| {
            let length = u8::try_from(body.len()).unwrap();
            [&[first, length], body.as_slice()].concat()
        })
    }

    proptest! {
        #[test]
        fn no_bytes_of_a_stranger_panic_the_codec(bytes in bytes()) {
            for version in [Version::V3, Version::V5] {
                let mut buffer = BytesMut::from(bytes.as_slice());
                let decoded = version.greeting_codec().decode(&mut buffer);
                if let Ok(Some((packet, _))) = decoded { let _ = Incoming::from(packet); }
            }
        }
    }
}
