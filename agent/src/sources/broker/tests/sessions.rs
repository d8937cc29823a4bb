//! Who may connect and subscribe, and what becomes of a session when its connection ends.

use super::*;
use rmqtt_codec::v5::DisconnectReasonCode;
use v3::ConnectAckReason as Answer;
use v3::SubscribeReturnCode::{Failure, Success};

fn will5(delay_secs: Option<u32>) -> v5::LastWill {
    v5::LastWill {
        qos: QoS::AtLeastOnce,
        retain: true,
        topic: STATUS.into(),
        message: "offline".into(),
        will_delay_interval_sec: delay_secs,
        correlation_data: None,
        message_expiry_interval: None,
        content_type: None,
        user_properties: vec![],
        is_utf8_payload: None,
        response_topic: None,
    }
}

async fn answer(night: &Night, connect: v3::Connect) -> Answer {
    let mut client = Client::v3(night).await;
    client.send(v3::Packet::Connect(Box::new(connect))).await;
    match client.next().await {
        v3::Packet::ConnectAck(ack) => ack.return_code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn only_a_known_user_with_the_right_password_connects() {
    let night = night().await;
    let with = |user: Option<&str>, password: &str| v3::Connect {
        username: user.map(Into::into),
        password: Some(Bytes::copy_from_slice(password.as_bytes())),
        ..connect("phone-1")
    };
    assert_eq!(answer(&night, with(Some("phone-1"), "phone-1")).await, Answer::ConnectionAccepted);
    assert_eq!(answer(&night, with(Some("phone-1"), "phone-2")).await, Answer::BadUserNameOrPassword);
    assert_eq!(answer(&night, with(Some("phone-9"), "phone-1")).await, Answer::BadUserNameOrPassword);
    assert_eq!(answer(&night, with(Some("phone-1/#"), "phone-1")).await, Answer::BadUserNameOrPassword);
    assert_eq!(answer(&night, with(None, "")).await, Answer::NotAuthorized);
    let long = v3::Connect { client_id: "x".repeat(129).into(), ..connect("phone-1") };
    assert_eq!(answer(&night, long).await, Answer::IdentifierRejected);
    assert_eq!(night.handle.counts().refused_connects, 5);
}

#[tokio::test]
async fn an_anonymous_client_speaks_for_every_device_where_that_is_allowed() {
    let mut night = night_with(limits(), true).await;
    night.store_everything();
    let anonymous = v3::Connect { username: None, password: None, ..connect("sim") };
    let (mut client, _) = Client::connected(&night, anonymous).await;
    assert_eq!(client.subscribe("vigil/v1/plant-7/#", QoS::AtLeastOnce).await, Success(QoS::AtLeastOnce));
    for (n, device) in (1..).zip(["phone-1", "phone-2"]) {
        let topic = format!("vigil/v1/plant-7/{device}/sos");
        client.publish(&topic, "help", QoS::AtMostOnce, 0).await;
        assert_eq!(client.message().await.0, topic, "{n}");
    }
    assert_eq!(answer(&night, connect("nobody")).await, Answer::BadUserNameOrPassword);
}

#[tokio::test]
async fn without_passwords_the_broker_does_not_start() {
    let (_sender, site) = watch::channel(Arc::new(site()));
    let intake = Intake::new(site.clone(), mpsc::channel(1).0, Clock::wall());
    let config = BrokerConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        tls: None,
        password_file: None,
        allow_anonymous: false,
        limits: limits(),
    };
    let outcome = Broker::bind(config, intake, site).await;
    assert!(matches!(outcome, Err(BrokerError::NoPasswords)));
}

#[tokio::test]
async fn subscriptions_follow_the_rules() {
    let night = night().await;
    let (mut phone, _) = Client::connected(&night, connect("phone-1")).await;
    let own = "vigil/v1/plant-7/phone-1/prompt";
    assert_eq!(phone.subscribe(own, QoS::ExactlyOnce).await, Success(QoS::ExactlyOnce));
    assert_eq!(phone.subscribe("vigil/v1/plant-7/phone-2/prompt", QoS::AtLeastOnce).await, Failure);
    assert_eq!(phone.subscribe("#", QoS::AtLeastOnce).await, Failure);
    let (mut mira, _) = Client::connected(&night, connect("mira")).await;
    assert_eq!(mira.subscribe("$share/g/vigil/v1/plant-7/#", QoS::AtLeastOnce).await, Failure);
    assert_eq!(mira.subscribe("vigil/v1/plant-7/a#", QoS::AtLeastOnce).await, Failure);
    night.handle.publish(own, "{}", false).unwrap();
    let heard = phone.message().await;
    assert_eq!(heard, (own.into(), "{}".into(), QoS::AtLeastOnce, false, false));
    assert_eq!(night.handle.counts().refused_subscriptions, 4);
}

#[tokio::test]
async fn a_v5_client_is_told_why_it_may_not_subscribe() {
    let night = night().await;
    let (mut phone, _) = Client::connected5(&night, connect5("phone-1")).await;
    phone
        .send5(v5::Packet::Subscribe(v5::Subscribe {
            packet_id: id(1),
            id: None,
            user_properties: vec![],
            topic_filters: vec![
                ("#".into(), v5::SubscriptionOptions::default()),
                ("$share/g/vigil/v1/plant-7/alerts".into(), v5::SubscriptionOptions::default()),
                ("vigil/v1/plant-7/alerts".into(), v5::SubscriptionOptions::default()),
            ],
        }))
        .await;
    let v5::Packet::SubscribeAck(ack) = phone.next5().await else { panic!() };
    use v5::SubscribeAckReason::{GrantedQos0, NotAuthorized, SharedSubscriptionNotSupported};
    assert_eq!(ack.status, [NotAuthorized, SharedSubscriptionNotSupported, GrantedQos0]);
}

#[tokio::test]
async fn an_anonymous_client_of_another_machine_is_not_let_in() {
    let night = night_with(limits(), true).await;
    for (address, answer) in [
        ("192.0.2.7", Answer::NotAuthorized),
        ("127.0.0.1", Answer::ConnectionAccepted),
        ("::1", Answer::ConnectionAccepted),
    ] {
        let (near, far) = tokio::io::duplex(4_096);
        let house = Arc::clone(&night.handle.house);
        let greeted = tokio::spawn(async move {
            greeting::greet(&house, Box::new(far), address.parse().unwrap()).await.is_ok()
        });
        let mut client = Framed::new(near, MqttCodec::V3(v3::Codec::new(0)));
        let anonymous = v3::Connect { username: None, password: None, ..connect("sim") };
        client.send(MqttPacket::V3(v3::Packet::Connect(Box::new(anonymous)))).await.unwrap();
        let Some(Ok((MqttPacket::V3(v3::Packet::ConnectAck(ack)), _))) = client.next().await else {
            panic!()
        };
        assert_eq!(ack.return_code, answer, "{address}");
        assert_eq!(greeted.await.unwrap(), answer == Answer::ConnectionAccepted);
    }
}

#[tokio::test]
async fn a_v5_client_that_wants_what_is_not_offered_is_told() {
    let night = night().await;
    let mut client = Client::v5(&night).await;
    let connect = v5::Connect { auth_method: Some("SCRAM-SHA-1".into()), ..connect5("phone-1") };
    client.send5(v5::Packet::Connect(Box::new(connect))).await;
    let v5::Packet::ConnectAck(ack) = client.next5().await else { panic!() };
    assert_eq!(ack.reason_code, v5::ConnectAckReason::BadAuthenticationMethod);
    let for_ever = v5::Connect { session_expiry_interval_secs: u32::MAX, ..connect5("phone-1") };
    let (_, welcome) = Client::connected5(&night, for_ever).await;
    let week = u32::try_from(limits().session_expiry.as_secs()).unwrap();
    assert_eq!(welcome.session_expiry_interval_secs, Some(week));
}

#[tokio::test]
async fn a_v5_client_ends_its_session_when_it_leaves() {
    let night = night().await;
    for (expiry, sessions) in [(None, 1), (Some(0), 0)] {
        let kept = v5::Connect { session_expiry_interval_secs: 3_600, ..connect5("mira") };
        let (mut mira, _) = Client::connected5(&night, kept).await;
        let word = v5::Disconnect::new(DisconnectReasonCode::NormalDisconnection);
        mira.send5(v5::Packet::Disconnect(v5::Disconnect { session_expiry_interval_secs: expiry, ..word }))
            .await;
        mira.is_closed().await;
        until(|| night.handle.counts().connected == 0).await;
        assert_eq!(night.handle.counts().sessions, sessions, "{expiry:?}");
    }
}

#[tokio::test]
async fn who_guesses_passwords_waits_for_each_answer() {
    let pause = Duration::from_millis(300);
    let night = night_with(Limits { refusal_pause: pause, ..limits() }, false).await;
    let began = std::time::Instant::now();
    let guess = v3::Connect { password: Some("guessed".into()), ..connect("phone-1") };
    assert_eq!(answer(&night, guess).await, Answer::BadUserNameOrPassword);
    assert!(began.elapsed() >= pause);
}

#[tokio::test]
async fn the_agent_s_health_is_retained_for_whoever_comes_later() {
    let night = night().await;
    let topic = "vigil/v1/plant-7/gateway";
    night.handle.publish(topic, "old", true).unwrap();
    night.handle.publish(topic, "new", true).unwrap();
    let (mut mira, _) = Client::connected(&night, connect("mira")).await;
    // The retained message may come before the SUBACK.
    mira.send(v3::Packet::Subscribe {
        packet_id: id(1),
        topic_filters: vec![(topic.into(), QoS::AtLeastOnce)],
    })
    .await;
    let (one, two) = (mira.next().await, mira.next().await);
    let publish = [one, two].into_iter().find_map(|packet| match packet {
        v3::Packet::Publish(p) => Some(p),
        _ => None,
    });
    let publish = publish.unwrap();
    assert_eq!((publish.payload.as_ref(), publish.retain), (b"new".as_slice(), true));
    night.handle.publish(topic, "", true).unwrap();
    assert_eq!(night.handle.counts().retained, 0);
    assert!(night.handle.publish("a/#", "", true).is_err());
}

#[tokio::test]
async fn a_kept_session_gets_what_it_missed_and_what_it_did_not_acknowledge() {
    let night = night().await;
    let kept = v3::Connect { clean_session: false, ..connect("mira") };
    let (mut mira, present) = Client::connected(&night, kept.clone()).await;
    assert!(!present);
    let alerts = "vigil/v1/plant-7/alerts";
    mira.subscribe(alerts, QoS::AtLeastOnce).await;
    night.handle.publish(alerts, "a1", false).unwrap();
    assert!(!mira.message().await.3);
    mira.vanish();
    until(|| night.handle.counts().connected == 0).await;
    night.handle.publish(alerts, "a2", false).unwrap();
    let (mut mira, present) = Client::connected(&night, kept).await;
    assert!(present);
    let (again, missed) = (mira.message().await, mira.message().await);
    assert_eq!((again.1.as_str(), again.3), ("a1", true));
    assert_eq!((missed.1.as_str(), missed.3), ("a2", false));
}

#[tokio::test]
async fn qos_2_to_a_subscriber_is_released_once() {
    let mut night = night().await;
    night.store_everything();
    let (mut mira, _) = Client::connected(&night, connect("mira")).await;
    mira.subscribe("vigil/v1/plant-7/#", QoS::ExactlyOnce).await;
    let (mut phone, _) = Client::connected(&night, connect("phone-1")).await;
    phone.publish(HEARTBEAT, "m", QoS::ExactlyOnce, 1).await;
    let v3::Packet::Publish(heard) = mira.next().await else { panic!() };
    assert_eq!(heard.qos, QoS::ExactlyOnce);
    let packet_id = heard.packet_id.unwrap();
    mira.send(v3::Packet::PublishReceived { packet_id }).await;
    assert_eq!(mira.next().await, v3::Packet::PublishRelease { packet_id });
    mira.send(v3::Packet::PublishComplete { packet_id }).await;
    mira.hears_nothing().await;
}

#[tokio::test]
async fn a_client_that_comes_again_takes_over_and_another_user_cannot() {
    let night = night().await;
    let (mut first, _) = Client::connected5(&night, connect5("phone-1")).await;
    let other = v3::Connect { client_id: "c-phone-1".into(), ..connect("phone-2") };
    let (mut other, _) = Client::connected(&night, other).await;
    first.send5(v5::Packet::PingRequest).await;
    assert_eq!(first.next5().await, v5::Packet::PingResponse);
    let (_second, _) = Client::connected5(&night, connect5("phone-1")).await;
    let v5::Packet::Disconnect(word) = first.next5().await else { panic!() };
    assert_eq!(word.reason_code, DisconnectReasonCode::SessionTakenOver);
    first.is_closed().await;
    other.send(v3::Packet::PingRequest).await;
    assert_eq!(other.next().await, v3::Packet::PingResponse);
    assert_eq!(night.handle.counts().takeovers, 1);
}

#[tokio::test]
async fn a_last_will_is_stored_and_retained_when_a_client_vanishes() {
    let mut night = night().await;
    let (mut mira, _) = Client::connected(&night, connect("mira")).await;
    mira.subscribe("vigil/v1/plant-7/+/status", QoS::AtLeastOnce).await;
    let with_will = v3::Connect { last_will: Some(will(STATUS)), ..connect("phone-1") };
    let (mut phone, _) = Client::connected(&night, with_will.clone()).await;
    phone.send(v3::Packet::Disconnect).await;
    phone.is_closed().await;
    mira.hears_nothing().await;
    let (phone, _) = Client::connected(&night, with_will).await;
    phone.vanish();
    let inbound = night.inbound().await;
    mira.hears_nothing().await;
    inbound.receipt.send(()).unwrap();
    let heard = mira.message().await;
    assert_eq!(heard, (STATUS.into(), "offline".into(), QoS::AtLeastOnce, false, false));
    let counts = night.handle.counts();
    assert_eq!((counts.wills, counts.retained), (1, 1));
}

#[tokio::test]
async fn the_will_of_a_connection_that_is_taken_over_comes_before_the_next_welcome() {
    let mut night = night().await;
    let with_will = v3::Connect { last_will: Some(will(STATUS)), ..connect("phone-1") };
    let (_first, _) = Client::connected(&night, with_will.clone()).await;
    let mut second = Client::v3(&night).await;
    second.send(v3::Packet::Connect(Box::new(with_will))).await;
    let inbound = night.inbound().await;
    second.hears_nothing().await;
    inbound.receipt.send(()).unwrap();
    assert!(matches!(second.next().await, v3::Packet::ConnectAck(_)));
}

#[tokio::test]
async fn a_will_to_a_foreign_topic_is_recorded_and_forgotten() {
    let mut night = night().await;
    let foreign = will("vigil/v1/plant-7/phone-2/status");
    let with_will = v3::Connect { last_will: Some(foreign), ..connect("phone-1") };
    let (phone, _) = Client::connected(&night, with_will).await;
    let refusal = night.inbound().await;
    assert_eq!(refusal.refused[0].reason, crate::sources::decode::Reason::NotAllowed);
    phone.vanish();
    until(|| night.handle.counts().connected == 0).await;
    tokio::time::sleep(A_WHILE).await;
    assert!(night.pump.try_recv().is_err());
    assert_eq!(night.handle.counts().refused_wills, 1);
}

#[tokio::test]
async fn a_client_that_leaves_in_order_may_want_its_will_published_all_the_same() {
    let mut night = night().await;
    let with_will = v5::Connect { last_will: Some(will5(None)), ..connect5("phone-1") };
    let (mut phone, _) = Client::connected5(&night, with_will).await;
    let word = v5::Disconnect::new(DisconnectReasonCode::DisconnectWithWillMessage);
    phone.send5(v5::Packet::Disconnect(word)).await;
    night.store().await;
    until(|| night.handle.counts().wills == 1).await;
}

#[tokio::test]
async fn a_will_waits_as_long_as_its_client_said_if_the_session_does() {
    let mut night = night().await;
    for (kept, at_once) in [(3_600, false), (0, true)] {
        let with_will = v5::Connect {
            last_will: Some(will5(Some(60))),
            session_expiry_interval_secs: kept,
            ..connect5("phone-1")
        };
        Client::connected5(&night, with_will).await.0.vanish();
        until(|| night.handle.counts().connected == 0).await;
        tokio::time::sleep(A_WHILE).await;
        assert_eq!(night.pump.try_recv().is_ok(), at_once, "{kept}");
    }
}

#[tokio::test]
async fn a_will_expires_as_its_client_said_from_when_it_is_published() {
    let mut night = night().await;
    night.store_everything();
    let (mut mira, _) = Client::connected5(&night, connect5("mira")).await;
    let options = v5::SubscriptionOptions::default();
    mira.send5(v5::Packet::Subscribe(v5::Subscribe {
        packet_id: id(1),
        id: None,
        user_properties: vec![],
        topic_filters: vec![(STATUS.into(), options)],
    }))
    .await;
    assert!(matches!(mira.next5().await, v5::Packet::SubscribeAck(_)));
    let expires = v5::LastWill { message_expiry_interval: std::num::NonZeroU32::new(3_600), ..will5(None) };
    let with_will = v5::Connect { last_will: Some(expires), ..connect5("phone-1") };
    Client::connected5(&night, with_will).await.0.vanish();
    let v5::Packet::Publish(heard) = mira.next5().await else { panic!() };
    let left = heard.properties.unwrap().message_expiry_interval.unwrap().get();
    assert!((3_590..=3_600).contains(&left), "{left}");
}

#[tokio::test]
async fn the_agent_s_own_trouble_publishes_no_will() {
    let mut night = night().await;
    let with_will = v3::Connect { last_will: Some(will(STATUS)), ..connect("phone-1") };
    let (mut phone, _) = Client::connected(&night, with_will).await;
    phone.publish(HEARTBEAT, "m", QoS::AtLeastOnce, 1).await;
    drop(night.inbound().await);
    phone.is_closed().await;
    until(|| night.handle.counts().connected == 0).await;
    tokio::time::sleep(A_WHILE).await;
    assert!(night.pump.try_recv().is_err(), "it was cut off, and is not gone");
}

#[tokio::test]
async fn a_will_is_retained_only_if_it_is_a_status() {
    let mut night = night().await;
    night.store_everything();
    let activity = will("vigil/v1/plant-7/phone-1/activity");
    let with_will = v3::Connect { last_will: Some(activity), ..connect("phone-1") };
    Client::connected(&night, with_will).await.0.vanish();
    until(|| night.handle.counts().wills == 1).await;
    assert_eq!(night.handle.counts().retained, 0);
}

#[tokio::test]
async fn silence_of_one_and_a_half_keep_alives_is_the_end_and_leaves_the_will() {
    let mut night = night().await;
    let quiet = v3::Connect { keep_alive: 1, last_will: Some(will(STATUS)), ..connect("phone-1") };
    let (mut phone, _) = Client::connected(&night, quiet).await;
    let began = std::time::Instant::now();
    phone.is_closed().await;
    assert!((1_400..4_000).contains(&began.elapsed().as_millis()));
    night.store().await;
    until(|| night.handle.counts().wills == 1).await;
}

#[tokio::test]
async fn who_says_nothing_or_nonsense_is_not_kept() {
    let night = night_with(Limits { connect_timeout: Duration::from_millis(300), ..limits() }, false).await;
    let mut silent = Client::v3(&night).await;
    let mut half = Client::v3(&night).await;
    tokio::io::AsyncWriteExt::write_all(half.0.get_mut(), &[0x10, 0x20, 0, 4, b'M']).await.unwrap();
    let mut http = Client::v3(&night).await;
    tokio::io::AsyncWriteExt::write_all(http.0.get_mut(), b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    silent.is_closed().await;
    half.is_closed().await;
    http.is_closed().await;
    assert_eq!(night.handle.counts().refused_connects, 3);
}

#[tokio::test]
async fn one_connection_too_many_is_turned_away() {
    let night = night_with(Limits { connections: 1, ..limits() }, false).await;
    let (mut phone, _) = Client::connected(&night, connect("phone-1")).await;
    Client::v3(&night).await.is_closed().await;
    assert_eq!(night.handle.counts().turned_away, 1);
    phone.send(v3::Packet::Disconnect).await;
    phone.is_closed().await;
    until(|| night.handle.counts().connected == 0).await;
    tokio::time::sleep(A_WHILE).await;
    Client::connected(&night, connect("phone-1")).await;
}

#[tokio::test]
async fn one_address_has_a_part_of_the_connections_and_this_machine_all() {
    let night = night_with(Limits { connections: 5, connections_per_address: 2, ..limits() }, false).await;
    let house = &night.handle.house;
    let place = |address: &str| listener::Place::take(house, address.parse().unwrap());
    let held = [place("192.0.2.7"), place("192.0.2.7")];
    assert!(held.iter().all(Option::is_some) && place("192.0.2.7").is_none());
    assert!(place("192.0.2.8").is_some(), "another address");
    drop(held);
    assert!(place("192.0.2.7").is_some(), "there is room again");
    let here: Vec<_> = std::iter::from_fn(|| place("127.0.0.1")).collect();
    assert_eq!(here.len(), 5);
}

#[tokio::test]
async fn a_client_without_an_id_is_given_one() {
    let night = night().await;
    let (_, welcome) =
        Client::connected5(&night, v5::Connect { client_id: "".into(), ..connect5("mira") }).await;
    assert!(welcome.assigned_client_id.unwrap().starts_with("auto-"));
}

#[tokio::test]
async fn at_shutdown_clients_are_told_and_no_will_is_published() {
    let mut night = night().await;
    let with_will = v3::Connect { last_will: Some(will(STATUS)), ..connect("phone-1") };
    let (mut phone, _) = Client::connected(&night, with_will).await;
    let (mut mira, _) = Client::connected5(&night, connect5("mira")).await;
    night.stop.send(()).unwrap();
    let v5::Packet::Disconnect(word) = mira.next5().await else { panic!() };
    assert_eq!(word.reason_code, DisconnectReasonCode::ServerShuttingDown);
    phone.is_closed().await;
    assert!(timeout(SOON, night.running).await.unwrap().unwrap().is_ok());
    assert!(night.pump.try_recv().is_err());
}

#[tokio::test]
async fn a_password_file_is_read_again_and_a_wrong_one_changes_nothing() {
    let night = night().await;
    let file = night._files.path().join("mqtt.passwd");
    std::fs::write(&file, "nonsense").unwrap();
    assert!(night.handle.reload_passwords().is_err());
    assert_eq!(answer(&night, connect("phone-1")).await, Answer::ConnectionAccepted);
    std::fs::write(&file, password_line("phone-1", "another").unwrap()).unwrap();
    night.handle.reload_passwords().unwrap();
    assert_eq!(answer(&night, connect("phone-1")).await, Answer::BadUserNameOrPassword);
}
