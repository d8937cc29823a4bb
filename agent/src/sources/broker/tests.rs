//! The broker through real sockets: precise clients made of the codec, and rumqttc as a client that others wrote.

mod publish;
mod rumqtt;
mod sessions;

use super::*;
use crate::clock::Clock;
use crate::sources::Inbound;
use futures_util::SinkExt;
use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::{MqttCodec, MqttPacket, v3, v5};
use std::num::NonZeroU16;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tokio_util::codec::Framed;
use vigil_core::id::*;
use vigil_core::policy::{Policy, PolicyParts};
use vigil_core::site::*;

/// Longer than anything here takes on a busy machine; only a failing test waits so long.
const SOON: Duration = Duration::from_secs(5);

/// Long enough to see that nothing comes.
const A_WHILE: Duration = Duration::from_millis(150);

pub(super) const HEARTBEAT: &str = "vigil/v1/plant-7/phone-1/heartbeat";
pub(super) const STATUS: &str = "vigil/v1/plant-7/phone-1/status";

/// A site with two phones (the second with OwnTracks) and a Tasmota reader.
pub(super) fn site() -> Site {
    let device = |id: &str, owntracks: Option<&str>, topic: Option<&str>| Device {
        id: DeviceId::new(id).unwrap(),
        kind: DeviceKind::Handset,
        guard: None,
        checkpoint: None,
        owntracks: owntracks.map(Into::into),
        topic: topic.map(Into::into),
        fixes: FixMode::Periodic,
    };
    Site::new(SiteParts {
        id: SiteId::new("plant-7").unwrap(),
        name: "Plant 7".into(),
        tenant: TenantId::new("acme").unwrap(),
        client: ClientId::new("north").unwrap(),
        timezone: "UTC".parse().unwrap(),
        geofence: None,
        guards: vec![],
        devices: vec![
            device("phone-1", None, None),
            device("phone-2", Some("mira/pixel"), None),
            device("tasmota-1", None, Some("tele/gate/SENSOR")),
        ],
        checkpoints: vec![],
        tours: vec![],
        shifts: vec![],
        tasks: vec![],
        policy: Policy::new(PolicyParts::default()).unwrap(),
    })
    .unwrap()
}

/// A running broker; the test plays the pump.
struct Night {
    handle: BrokerHandle,
    address: SocketAddr,
    pump: mpsc::Receiver<Inbound>,
    stop: oneshot::Sender<()>,
    running: tokio::task::JoinHandle<Result<(), BrokerError>>,
    _site: watch::Sender<Arc<Site>>,
    _files: tempfile::TempDir,
}

fn limits() -> Limits {
    Limits { refusal_pause: Duration::from_millis(1), ..Limits::default() }
}

async fn night() -> Night {
    night_with(limits(), false).await
}

/// `phone-1`, `phone-2` and `mira` (a supervisor) may connect; each one's password is its name.
async fn night_with(limits: Limits, allow_anonymous: bool) -> Night {
    let files = tempfile::tempdir().unwrap();
    let password_file = files.path().join("mqtt.passwd");
    let lines = ["phone-1", "phone-2", "mira"].map(|user| password_line(user, user).unwrap());
    std::fs::write(&password_file, lines.join("\n")).unwrap();
    let config = BrokerConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        tls: None,
        password_file: Some(password_file),
        allow_anonymous,
        limits,
    };
    let (queue, pump) = mpsc::channel(256);
    let (site_sender, site) = watch::channel(Arc::new(site()));
    let intake = Intake::new(site.clone(), queue, Clock::wall());
    let broker = Broker::bind(config, intake, site).await.unwrap();
    let (handle, address) = (broker.handle(), broker.local_addr());
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(broker.run(async {
        stopped.await.ok();
    }));
    Night { handle, address, pump, stop, running, _site: site_sender, _files: files }
}

impl Night {
    /// The next message that wants to be stored.
    async fn inbound(&mut self) -> Inbound {
        timeout(SOON, self.pump.recv()).await.expect("nothing came to the pump").unwrap()
    }

    /// Stores the next message.
    async fn store(&mut self) {
        self.inbound().await.receipt.send(()).unwrap();
    }

    /// From now on stores everything at once.
    fn store_everything(&mut self) {
        let (_, empty) = mpsc::channel(1);
        let mut pump = std::mem::replace(&mut self.pump, empty);
        tokio::spawn(async move {
            while let Some(inbound) = pump.recv().await {
                inbound.receipt.send(()).ok();
            }
        });
    }
}

/// Waits until something is so.
async fn until(what: impl Fn() -> bool) {
    let poll = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, poll).await.expect("it did not become so");
}

fn id(n: u16) -> NonZeroU16 {
    NonZeroU16::new(n).unwrap()
}

fn message(topic: &str, payload: &str, qos: QoS, packet_id: u16) -> Publish {
    Publish {
        dup: false,
        retain: false,
        qos,
        topic: topic.into(),
        packet_id: NonZeroU16::new(packet_id),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        properties: None,
    }
}

/// A client that does what the test says and nothing by itself.
struct Client(Framed<TcpStream, MqttCodec>);

impl Client {
    async fn v3(night: &Night) -> Self {
        let stream = TcpStream::connect(night.address).await.unwrap();
        Self(Framed::new(stream, MqttCodec::V3(v3::Codec::new(0))))
    }

    async fn v5(night: &Night) -> Self {
        let stream = TcpStream::connect(night.address).await.unwrap();
        Self(Framed::new(stream, MqttCodec::V5(v5::Codec::new(0, 0))))
    }

    /// A 3.1.1 client that is connected; whether its session was there.
    async fn connected(night: &Night, connect: v3::Connect) -> (Self, bool) {
        let mut client = Self::v3(night).await;
        client.send(v3::Packet::Connect(Box::new(connect))).await;
        match client.next().await {
            v3::Packet::ConnectAck(ack) => {
                assert_eq!(ack.return_code, v3::ConnectAckReason::ConnectionAccepted);
                (client, ack.session_present)
            }
            other => panic!("{other:?}"),
        }
    }

    /// A v5 client that is connected.
    async fn connected5(night: &Night, connect: v5::Connect) -> (Self, v5::ConnectAck) {
        let mut client = Self::v5(night).await;
        client.send5(v5::Packet::Connect(Box::new(connect))).await;
        match client.next5().await {
            v5::Packet::ConnectAck(ack) => {
                assert_eq!(ack.reason_code, v5::ConnectAckReason::Success);
                (client, *ack)
            }
            other => panic!("{other:?}"),
        }
    }

    async fn send(&mut self, packet: v3::Packet) {
        self.0.send(MqttPacket::V3(packet)).await.unwrap();
    }

    async fn send5(&mut self, packet: v5::Packet) {
        self.0.send(MqttPacket::V5(packet)).await.unwrap();
    }

    async fn publish(&mut self, topic: &str, payload: &str, qos: QoS, id: u16) {
        self.send(v3::Packet::Publish(Box::new(message(topic, payload, qos, id)))).await;
    }

    async fn subscribe(&mut self, filter: &str, qos: QoS) -> v3::SubscribeReturnCode {
        self.send(v3::Packet::Subscribe { packet_id: id(999), topic_filters: vec![(filter.into(), qos)] })
            .await;
        match self.next().await {
            v3::Packet::SubscribeAck { packet_id, status } => {
                assert_eq!(packet_id, id(999));
                status[0]
            }
            other => panic!("{other:?}"),
        }
    }

    async fn next(&mut self) -> v3::Packet {
        match timeout(SOON, self.0.next()).await.expect("no packet came") {
            Some(Ok((MqttPacket::V3(packet), _))) => packet,
            other => panic!("{other:?}"),
        }
    }

    async fn next5(&mut self) -> v5::Packet {
        match timeout(SOON, self.0.next()).await.expect("no packet came") {
            Some(Ok((MqttPacket::V5(packet), _))) => packet,
            other => panic!("{other:?}"),
        }
    }

    /// The next message: topic, payload, QoS, DUP, RETAIN.
    async fn message(&mut self) -> (String, String, QoS, bool, bool) {
        match self.next().await {
            v3::Packet::Publish(p) => {
                let payload = String::from_utf8(p.payload.to_vec()).unwrap();
                (p.topic.to_string(), payload, p.qos, p.dup, p.retain)
            }
            other => panic!("{other:?}"),
        }
    }

    async fn hears_nothing(&mut self) {
        if let Ok(heard) = timeout(A_WHILE, self.0.next()).await {
            panic!("{heard:?}");
        }
    }

    async fn is_closed(&mut self) {
        match timeout(SOON, self.0.next()).await.expect("it is still open") {
            None | Some(Err(_)) => {}
            other => panic!("{other:?}"),
        }
    }

    /// Closes without a word.
    fn vanish(self) {
        drop(self);
    }
}

fn connect(user: &str) -> v3::Connect {
    v3::Connect {
        clean_session: true,
        keep_alive: 60,
        client_id: format!("c-{user}").into(),
        username: Some(user.into()),
        password: Some(Bytes::copy_from_slice(user.as_bytes())),
        ..Default::default()
    }
}

fn connect5(user: &str) -> v5::Connect {
    v5::Connect {
        clean_start: true,
        keep_alive: 60,
        client_id: format!("c-{user}").into(),
        username: Some(user.into()),
        password: Some(Bytes::copy_from_slice(user.as_bytes())),
        ..Default::default()
    }
}

fn will(topic: &str) -> v3::LastWill {
    v3::LastWill { qos: QoS::AtLeastOnce, retain: true, topic: topic.into(), message: "offline".into() }
}
