//! What happens to a message: the promise of a PUBACK, refusals, sizes.

use super::*;
use crate::sources::decode::Reason;
use rmqtt_codec::v5::{DisconnectReasonCode, PublishAckReason};
use std::num::NonZeroU32;

fn ack(n: u16) -> v3::Packet {
    v3::Packet::PublishAck { packet_id: id(n) }
}

#[tokio::test]
async fn puback_comes_after_the_receipt_and_not_before() {
    let mut night = night().await;
    let (mut phone, _) = Client::connected(&night, connect("phone-1")).await;
    phone.publish(HEARTBEAT, "m1", QoS::AtLeastOnce, 1).await;
    let inbound = night.inbound().await;
    phone.hears_nothing().await;
    assert_eq!(inbound.refused[0].head, "m1");
    inbound.receipt.send(()).unwrap();
    assert_eq!(phone.next().await, ack(1));
    assert_eq!(night.handle.counts().acknowledged, 1);
}

#[tokio::test]
async fn many_are_on_their_way_at_once_and_are_acknowledged_in_order() {
    let mut night = night().await;
    let (mut phone, _) = Client::connected(&night, connect("phone-1")).await;
    for n in 1..=50 {
        phone.publish(HEARTBEAT, "m", QoS::AtLeastOnce, n).await;
    }
    let mut receipts = Vec::new();
    for _ in 1..=50 {
        receipts.push(night.inbound().await.receipt);
    }
    let first = receipts.remove(0);
    for receipt in receipts.into_iter().rev() {
        receipt.send(()).unwrap();
    }
    phone.hears_nothing().await;
    first.send(()).unwrap();
    for n in 1..=50 {
        assert_eq!(phone.next().await, ack(n));
    }
}

#[tokio::test]
async fn a_ping_is_answered_while_the_store_is_behind() {
    let mut night = night().await;
    let (mut phone, _) = Client::connected(&night, connect("phone-1")).await;
    phone.publish(HEARTBEAT, "m1", QoS::AtLeastOnce, 1).await;
    let _waiting = night.inbound().await;
    phone.send(v3::Packet::PingRequest).await;
    assert_eq!(phone.next().await, v3::Packet::PingResponse);
}

#[tokio::test]
async fn what_cannot_be_stored_closes_the_connection_without_an_ack() {
    let mut night = night().await;
    let (mut phone, _) = Client::connected(&night, connect("phone-1")).await;
    for n in 1..=2 {
        phone.publish(HEARTBEAT, "m", QoS::AtLeastOnce, n).await;
    }
    let (first, second) = (night.inbound().await, night.inbound().await);
    drop(first);
    second.receipt.send(()).unwrap();
    phone.is_closed().await;
    assert_eq!(night.handle.counts().acknowledged, 0);
}

#[tokio::test]
async fn a_broker_whose_agent_takes_no_more_stops() {
    let mut night = night().await;
    let (mut phone, _) = Client::connected(&night, connect("phone-1")).await;
    night.pump.close();
    phone.publish(HEARTBEAT, "m", QoS::AtLeastOnce, 1).await;
    phone.is_closed().await;
    let outcome = timeout(SOON, night.running).await.unwrap().unwrap();
    assert!(matches!(outcome, Err(BrokerError::Stopped)));
}

#[tokio::test]
async fn qos_2_is_stored_once_however_often_it_comes() {
    let mut night = night().await;
    let kept = v3::Connect { clean_session: false, ..connect("phone-1") };
    let (mut phone, _) = Client::connected(&night, kept.clone()).await;
    phone.publish(HEARTBEAT, "m1", QoS::ExactlyOnce, 7).await;
    night.store().await;
    assert_eq!(phone.next().await, v3::Packet::PublishReceived { packet_id: id(7) });
    phone.vanish();
    let (mut phone, present) = Client::connected(&night, kept).await;
    assert!(present);
    phone.publish(HEARTBEAT, "m1", QoS::ExactlyOnce, 7).await;
    assert_eq!(phone.next().await, v3::Packet::PublishReceived { packet_id: id(7) });
    phone.send(v3::Packet::PublishRelease { packet_id: id(7) }).await;
    assert_eq!(phone.next().await, v3::Packet::PublishComplete { packet_id: id(7) });
    assert!(night.pump.try_recv().is_err());
    phone.publish(HEARTBEAT, "m2", QoS::ExactlyOnce, 7).await;
    assert_eq!(night.inbound().await.refused[0].head, "m2");
}

#[tokio::test]
async fn a_qos_0_message_followed_by_the_end_is_stored_and_routed() {
    let mut night = night().await;
    let (mut mira, _) = Client::connected(&night, connect("mira")).await;
    mira.subscribe("vigil/v1/plant-7/#", QoS::AtLeastOnce).await;
    let (mut phone, _) = Client::connected(&night, connect("phone-1")).await;
    phone.publish(HEARTBEAT, "m1", QoS::AtMostOnce, 0).await;
    phone.send(v3::Packet::Disconnect).await;
    phone.vanish();
    let inbound = night.inbound().await;
    mira.hears_nothing().await;
    inbound.receipt.send(()).unwrap();
    let heard = mira.message().await;
    assert_eq!(heard, (HEARTBEAT.into(), "m1".into(), QoS::AtMostOnce, false, false));
}

#[tokio::test]
async fn a_forbidden_publish_is_acknowledged_recorded_and_goes_no_further() {
    let mut night = night().await;
    let (mut mira, _) = Client::connected(&night, connect("mira")).await;
    mira.subscribe("vigil/v1/plant-7/#", QoS::AtLeastOnce).await;
    let (mut phone, _) = Client::connected(&night, connect("phone-1")).await;
    phone.publish("vigil/v1/plant-7/phone-2/sos", "help", QoS::AtLeastOnce, 1).await;
    let inbound = night.inbound().await;
    assert!(inbound.observations.is_empty());
    assert_eq!(inbound.refused[0].reason, Reason::NotAllowed);
    inbound.receipt.send(()).unwrap();
    assert_eq!(phone.next().await, ack(1));
    mira.hears_nothing().await;
    mira.publish("vigil/v1/plant-7/mira/sos", "help", QoS::AtLeastOnce, 1).await;
    assert_eq!(night.inbound().await.refused[0].reason, Reason::NotAllowed);
    phone.publish(HEARTBEAT, "m2", QoS::AtLeastOnce, 2).await;
    night.store().await;
    assert_eq!(phone.next().await, ack(2));
    assert_eq!(night.handle.counts().refused_publishes, 2);
}

#[tokio::test]
async fn a_v5_client_is_told_why() {
    let mut night = night().await;
    night.store_everything();
    let (mut phone, welcome) = Client::connected5(&night, connect5("phone-1")).await;
    assert_eq!((welcome.receive_max.get(), welcome.topic_alias_max), (128, 0));
    assert_eq!(welcome.max_packet_size, Some(256 * 1024));
    let large = "x".repeat(64 * 1024 + 1);
    let cases = [
        ("vigil/v1/plant-7/phone-2/sos", "help", PublishAckReason::NotAuthorized),
        (HEARTBEAT, large.as_str(), PublishAckReason::QuotaExceeded),
        (HEARTBEAT, "m", PublishAckReason::Success),
    ];
    let words = "x".repeat(40 * 1024);
    let properties = v5::PublishProperties {
        user_properties: vec![("k".into(), words.as_str().into()), ("l".into(), words.as_str().into())],
        ..Default::default()
    };
    let wordy = Publish { properties: Some(properties), ..message(HEARTBEAT, "m", QoS::AtLeastOnce, 9) };
    phone.send5(v5::Packet::Publish(Box::new(wordy))).await;
    let v5::Packet::PublishAck(ack) = phone.next5().await else { panic!() };
    assert_eq!(ack.reason_code, PublishAckReason::QuotaExceeded, "its properties are of its size");
    for (n, (topic, payload, expected)) in (1..).zip(cases) {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let publish = message(topic, payload, qos, n);
            phone.send5(v5::Packet::Publish(Box::new(publish))).await;
            match phone.next5().await {
                v5::Packet::PublishAck(ack) | v5::Packet::PublishReceived(ack) => {
                    assert_eq!(ack.reason_code, expected);
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn the_id_of_a_refused_qos_2_message_is_free_again_without_a_pubrel() {
    let mut night = night().await;
    let (mut phone, _) = Client::connected5(&night, connect5("phone-1")).await;
    for (topic, expected) in [
        ("vigil/v1/plant-7/phone-2/sos", PublishAckReason::NotAuthorized),
        (HEARTBEAT, PublishAckReason::Success),
    ] {
        let publish = message(topic, "m", QoS::ExactlyOnce, 1);
        phone.send5(v5::Packet::Publish(Box::new(publish))).await;
        night.store().await;
        let v5::Packet::PublishReceived(ack) = phone.next5().await else { panic!() };
        assert_eq!(ack.reason_code, expected);
    }
}

#[tokio::test]
async fn only_the_status_of_a_device_is_retained_for_it() {
    let mut night = night().await;
    night.store_everything();
    let (mut phone, _) = Client::connected(&night, connect("phone-1")).await;
    for (n, (topic, retained)) in (1..).zip([(HEARTBEAT, 0), (STATUS, 1)]) {
        let publish = Publish { retain: true, ..message(topic, "online", QoS::AtLeastOnce, n) };
        phone.send(v3::Packet::Publish(Box::new(publish))).await;
        assert_eq!(phone.next().await, ack(n));
        assert_eq!(night.handle.counts().retained, retained, "{topic}");
    }
}

#[tokio::test]
async fn a_v5_client_gets_no_more_than_it_can_take() {
    let night = night().await;
    let small = v5::Connect {
        receive_max: NonZeroU16::new(1),
        max_packet_size: NonZeroU32::new(500),
        ..connect5("mira")
    };
    let (mut mira, _) = Client::connected5(&night, small).await;
    let options = v5::SubscriptionOptions { qos: QoS::AtLeastOnce, ..Default::default() };
    let alerts = "vigil/v1/plant-7/alerts";
    mira.send5(v5::Packet::Subscribe(v5::Subscribe {
        packet_id: id(1),
        id: None,
        user_properties: vec![],
        topic_filters: vec![(alerts.into(), options)],
    }))
    .await;
    assert!(matches!(mira.next5().await, v5::Packet::SubscribeAck(_)));
    for payload in ["x".repeat(600), "a".to_owned(), "b".to_owned()] {
        night.handle.publish(alerts, payload, false).unwrap();
    }
    for payload in ["a", "b"] {
        let v5::Packet::Publish(heard) = mira.next5().await else { panic!() };
        assert_eq!(heard.payload, payload.as_bytes());
        mira.hears_nothing().await;
        let packet_id = heard.packet_id.unwrap();
        mira.send5(v5::Packet::PublishAck(v5::PublishAck { packet_id, ..Default::default() })).await;
    }
    assert_eq!(night.handle.counts().dropped, 1);
}

#[tokio::test]
async fn too_large_is_acknowledged_and_recorded_and_far_too_large_is_the_end() {
    let mut night = night().await;
    let (mut phone, _) = Client::connected(&night, connect("phone-1")).await;
    phone.publish(HEARTBEAT, &"x".repeat(100_000), QoS::AtLeastOnce, 1).await;
    let inbound = night.inbound().await;
    assert_eq!(inbound.refused[0].reason, Reason::TooLarge);
    inbound.receipt.send(()).unwrap();
    assert_eq!(phone.next().await, ack(1));
    let (mut other, _) = Client::connected5(&night, connect5("phone-2")).await;
    let huge = message(HEARTBEAT, &"x".repeat(300_000), QoS::AtLeastOnce, 1);
    // The broker may close before all of it is written.
    other.0.send(MqttPacket::V5(v5::Packet::Publish(Box::new(huge)))).await.ok();
    let ended = timeout(SOON, other.0.next()).await.unwrap();
    if let Some(Ok((MqttPacket::V5(packet), _))) = ended {
        let expected = v5::Disconnect::new(DisconnectReasonCode::PacketTooLarge);
        assert_eq!(packet, v5::Packet::Disconnect(expected));
        other.is_closed().await;
    }
    assert!(night.pump.try_recv().is_err());
}

#[tokio::test]
async fn more_than_the_receive_maximum_ends_a_v5_connection() {
    let mut night = night_with(Limits { in_flight: 2, ..limits() }, false).await;
    let (mut phone, welcome) = Client::connected5(&night, connect5("phone-1")).await;
    assert_eq!(welcome.receive_max.get(), 2);
    for n in 1..=3 {
        let publish = message(HEARTBEAT, "m", QoS::AtLeastOnce, n);
        phone.send5(v5::Packet::Publish(Box::new(publish))).await;
    }
    phone.hears_nothing().await;
    night.store().await;
    night.store().await;
    assert!(matches!(phone.next5().await, v5::Packet::PublishAck(_)));
    assert!(matches!(phone.next5().await, v5::Packet::PublishAck(_)));
    let expected = v5::Disconnect::new(DisconnectReasonCode::ReceiveMaximumExceeded);
    assert_eq!(phone.next5().await, v5::Packet::Disconnect(expected));
}

#[tokio::test]
async fn a_topic_with_a_wildcard_or_an_alias_ends_the_connection() {
    let night = night().await;
    for (topic, alias, expected) in [
        ("vigil/v1/plant-7/+/sos", None, DisconnectReasonCode::TopicNameInvalid),
        ("", NonZeroU16::new(1), DisconnectReasonCode::TopicAliasInvalid),
    ] {
        let (mut phone, _) = Client::connected5(&night, connect5("phone-1")).await;
        let properties = v5::PublishProperties { topic_alias: alias, ..Default::default() };
        let publish = Publish { properties: Some(properties), ..message(topic, "m", QoS::AtMostOnce, 0) };
        phone.send5(v5::Packet::Publish(Box::new(publish))).await;
        match phone.next5().await {
            v5::Packet::Disconnect(d) => assert_eq!(d.reason_code, expected),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn properties_reach_v5_subscribers_and_their_subscription_ids_come_along() {
    let mut night = night().await;
    night.store_everything();
    let (mut mira, _) = Client::connected5(&night, connect5("mira")).await;
    let options = v5::SubscriptionOptions { qos: QoS::AtLeastOnce, ..Default::default() };
    for (n, filter) in [(1, "vigil/v1/plant-7/#"), (2, "vigil/v1/plant-7/+/heartbeat")] {
        mira.send5(v5::Packet::Subscribe(v5::Subscribe {
            packet_id: id(n),
            id: NonZeroU32::new(n.into()),
            user_properties: vec![],
            topic_filters: vec![(filter.into(), options)],
        }))
        .await;
        assert!(matches!(mira.next5().await, v5::Packet::SubscribeAck(_)));
    }
    let (mut phone, _) = Client::connected5(&night, connect5("phone-1")).await;
    let properties = v5::PublishProperties {
        content_type: Some("application/json".into()),
        user_properties: vec![("k".into(), "v".into())],
        ..Default::default()
    };
    let publish = Publish { properties: Some(properties), ..message(HEARTBEAT, "m", QoS::AtLeastOnce, 1) };
    phone.send5(v5::Packet::Publish(Box::new(publish))).await;
    let v5::Packet::Publish(heard) = mira.next5().await else { panic!() };
    let properties = heard.properties.unwrap();
    assert_eq!(properties.content_type.as_deref(), Some("application/json"));
    assert_eq!(properties.user_properties.len(), 1);
    let mut numbers: Vec<u32> = properties.subscription_ids.iter().map(|n| n.get()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2]);
    // One message for two filters.
    mira.send5(v5::Packet::PingRequest).await;
    assert_eq!(mira.next5().await, v5::Packet::PingResponse);
}
