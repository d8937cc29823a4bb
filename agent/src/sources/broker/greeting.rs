//! From the first byte to CONNACK: version, names, password, last will, session.

use super::House;
use super::acl::{User, is_user_name, may_subscribe};
use super::exchange::{Arrival, Attached, Key, NoSession};
use super::limits::{DEFAULT_WINDOW, Limits, MAX_CLIENT_ID_BYTES, MAX_PACKET_BYTES};
use super::session::{Message, Peer};
use super::will::Will;
use super::wire::Version;
use bytes::Bytes;
use futures_util::SinkExt;
use ring::rand::{SecureRandom, SystemRandom};
use rmqtt_codec::types::QoS;
use rmqtt_codec::version::VersionCodec;
use rmqtt_codec::{MqttCodec, MqttPacket, v3, v5};
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};
use tokio::time::Instant;
use tokio_stream::StreamExt;
use tokio_util::codec::{FramedRead, FramedWrite};

/// How long a client waits before it asks again whether its last will is published.
const DEPARTING_PAUSE: Duration = Duration::from_millis(10);

/// A connection's bytes, plain or inside TLS.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub(super) type Frames = FramedRead<ReadHalf<Box<dyn Stream>>, MqttCodec>;
pub(super) type Sink = FramedWrite<WriteHalf<Box<dyn Stream>>, MqttCodec>;

/// A client that was greeted.
pub(super) struct Guest {
    pub(super) frames: Frames,
    pub(super) sink: Sink,
    pub(super) version: Version,
    pub(super) peer: Peer,
    /// How long it may be silent.
    pub(super) idle: Duration,
    pub(super) attached: Attached,
}

/// Why a connection ended before it began.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotGreeted {
    /// It sent something else than a CONNECT, or closed.
    #[error("no valid CONNECT came")]
    NoConnect,
    /// It was answered with a refusal.
    #[error("refused: {0}")]
    Refused(#[from] Refusal),
    /// The agent takes no more.
    #[error(transparent)]
    Stopped(#[from] crate::sources::Stopped),
    /// The will of its earlier connection could not be stored.
    #[error("the last will of the earlier connection could not be stored")]
    WillNotStored,
    /// CONNACK could not be written.
    #[error("it does not read")]
    Unwritable,
}

/// Why a CONNECT is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the client id is too long or has control characters")]
    ClientId,
    #[error("the user name or the password is wrong")]
    Credentials,
    #[error("a user name and a password are needed")]
    NotAuthorized,
    #[error("enhanced authentication is not offered")]
    AuthMethod,
    #[error("there is no room for another session")]
    Full,
    #[error("the broker is closing")]
    Closing,
}

/// A CONNECT without its version.
struct Hello {
    client: String,
    clean: bool,
    /// Whether the server chose the client id.
    assigned: bool,
    kept: Duration,
    keep_alive: u16,
    user: Option<String>,
    password: Bytes,
    will: Option<Will>,
    peer: Peer,
    auth_method: bool,
}

/// Greets a client; its session is attached and CONNACK written when this returns.
pub(super) async fn greet(
    house: &House,
    stream: Box<dyn Stream>,
    address: IpAddr,
) -> Result<Guest, NotGreeted> {
    let (read, write) = tokio::io::split(stream);
    let mut frames = FramedRead::new(read, MqttCodec::Version(VersionCodec));
    let version = version(&mut frames).await?;
    *frames.decoder_mut() = version.greeting_codec();
    let mut hello = hello(&mut frames, &house.exchange.limits).await?;
    *frames.decoder_mut() = version.session_codec();
    let mut sink = FramedWrite::new(write, version.session_codec());
    let attached = match admit(house, address, &mut hello).await {
        Ok(attached) => attached,
        Err(NotGreeted::Refused(refusal)) => {
            tokio::time::sleep(house.exchange.limits.refusal_pause).await;
            sink.send(refusal.packet(version)).await.ok();
            return Err(refusal.into());
        }
        Err(other) => return Err(other),
    };
    let idle = idle(hello.keep_alive, &house.exchange.limits);
    let welcome = welcome(version, &hello, attached.present, &house.exchange.limits);
    sink.send(welcome).await.map_err(|_| NotGreeted::Unwritable)?;
    Ok(Guest { frames, sink, version, peer: hello.peer, idle, attached })
}

async fn version(frames: &mut Frames) -> Result<Version, NotGreeted> {
    match frames.next().await {
        Some(Ok((MqttPacket::Version(version), _))) => Ok(version.into()),
        Some(Ok((MqttPacket::V3(_) | MqttPacket::V5(_), _)) | Err(_)) | None => Err(NotGreeted::NoConnect),
    }
}

async fn hello(frames: &mut Frames, limits: &Limits) -> Result<Hello, NotGreeted> {
    let Some(Ok((packet, _))) = frames.next().await else { return Err(NotGreeted::NoConnect) };
    match packet {
        MqttPacket::V3(v3::Packet::Connect(connect)) => Ok(Hello::from_v3(*connect, limits)),
        MqttPacket::V5(v5::Packet::Connect(connect)) => Ok(Hello::from_v5(*connect, limits)),
        MqttPacket::V3(_) | MqttPacket::V5(_) | MqttPacket::Version(_) => Err(NotGreeted::NoConnect),
    }
}

impl Hello {
    fn from_v3(connect: v3::Connect, limits: &Limits) -> Self {
        let will = connect.last_will.map(|w| {
            let message = Message::new(&w.topic, copy(&w.message), w.retain).with_qos(w.qos);
            Will { message, delay: Duration::ZERO }
        });
        Self {
            client: connect.client_id.to_string(),
            clean: connect.clean_session,
            assigned: false,
            kept: if connect.clean_session { Duration::ZERO } else { limits.session_expiry },
            keep_alive: connect.keep_alive,
            user: connect.username.map(|name| name.to_string()),
            password: connect.password.unwrap_or_default(),
            will,
            peer: Peer { window: DEFAULT_WINDOW.into(), max_packet: usize::MAX },
            auth_method: false,
        }
    }

    fn from_v5(connect: v5::Connect, limits: &Limits) -> Self {
        let window = connect.receive_max.map_or(limits.in_flight, |n| n.get().min(limits.in_flight));
        let max_packet = connect.max_packet_size.and_then(|n| usize::try_from(n.get()).ok());
        Self {
            client: connect.client_id.to_string(),
            clean: connect.clean_start,
            assigned: false,
            kept: secs(connect.session_expiry_interval_secs).min(limits.session_expiry),
            keep_alive: connect.keep_alive,
            user: connect.username.map(|name| name.to_string()),
            password: connect.password.unwrap_or_default(),
            will: connect.last_will.map(will_of_v5),
            peer: Peer { window: window.into(), max_packet: max_packet.unwrap_or(usize::MAX) },
            auth_method: connect.auth_method.is_some(),
        }
    }
}

fn will_of_v5(w: v5::LastWill) -> Will {
    let properties = v5::PublishProperties {
        correlation_data: w.correlation_data,
        content_type: w.content_type,
        user_properties: w.user_properties,
        is_utf8_payload: w.is_utf8_payload.unwrap_or(false),
        response_topic: w.response_topic,
        message_expiry_interval: w.message_expiry_interval,
        ..Default::default()
    };
    let message = Message::new(&w.topic, copy(&w.message), w.retain).with_qos(w.qos);
    let message = message.with_properties(Some(properties));
    Will { message, delay: w.will_delay_interval_sec.map_or(Duration::ZERO, secs) }
}

fn copy(payload: &Bytes) -> Bytes {
    Bytes::copy_from_slice(payload)
}

fn secs(secs: u32) -> Duration {
    Duration::from_secs(secs.into())
}

async fn admit(house: &House, address: IpAddr, hello: &mut Hello) -> Result<Attached, NotGreeted> {
    if hello.auth_method {
        return Err(Refusal::AuthMethod.into());
    }
    name_client(hello)?;
    let user = authenticate(house, address, hello).await?;
    let mut will = hello.will.take();
    if let Some(Will { message, .. }) = &will
        && !house.ingress.permits_will(&user, message).await?
    {
        will = None;
    }
    let key = Key::new(user, hello.client.clone());
    attach(house, Arrival { key, clean: hello.clean, kept: hello.kept, will }).await
}

fn name_client(hello: &mut Hello) -> Result<(), Refusal> {
    if hello.client.is_empty() {
        let mut bytes = [0; 8];
        SystemRandom::new().fill(&mut bytes).map_err(|_| Refusal::ClientId)?;
        hello.client = format!("auto-{:016x}", u64::from_be_bytes(bytes));
        hello.assigned = true;
    }
    let sound = hello.client.len() <= MAX_CLIENT_ID_BYTES && !hello.client.contains(char::is_control);
    if sound { Ok(()) } else { Err(Refusal::ClientId) }
}

async fn authenticate(house: &House, address: IpAddr, hello: &mut Hello) -> Result<User, Refusal> {
    let unverified = house.allow_anonymous && address.is_loopback();
    let passwords = house.passwords();
    let Some(name) = hello.user.take() else {
        if !unverified {
            return Err(Refusal::NotAuthorized);
        }
        tracing::info!(client = hello.client, "an anonymous client may speak for every device of the site");
        return Ok(User::Anonymous);
    };
    if !is_user_name(&name) {
        return Err(Refusal::Credentials);
    }
    match passwords {
        Some(passwords) => {
            let password = std::mem::take(&mut hello.password);
            let right = house.verify(passwords, name.clone(), password).await;
            if right { Ok(User::Named(name.into())) } else { Err(Refusal::Credentials) }
        }
        None if unverified => {
            tracing::info!(client = hello.client, user = name, "the user name is taken at its word");
            Ok(User::Named(name.into()))
        }
        None => Err(Refusal::NotAuthorized),
    }
}

async fn attach(house: &House, arrival: Arrival) -> Result<Attached, NotGreeted> {
    let site = house.ingress.site();
    let user = arrival.key.user().clone();
    let permitted = |filter: &str| may_subscribe(&site, &user, filter);
    loop {
        match house.exchange.attach(arrival.clone(), Instant::now(), &permitted) {
            Ok(mut attached) => {
                if let Some(message) = attached.earlier_will.take()
                    && !house.ingress.publish_will(&arrival.key, message).await
                {
                    return Err(NotGreeted::WillNotStored);
                }
                return Ok(attached);
            }
            // Ends: the whole greeting has a timeout.
            Err(NoSession::Departing) => tokio::time::sleep(DEPARTING_PAUSE).await,
            Err(NoSession::Full) => return Err(Refusal::Full.into()),
            Err(NoSession::Closing) => return Err(Refusal::Closing.into()),
        }
    }
}

/// One and a half times the keep-alive, as the specification has it, within the bound.
fn idle(keep_alive: u16, limits: &Limits) -> Duration {
    match keep_alive {
        0 => limits.idle,
        asked => (secs(asked.into()) * 3 / 2).min(limits.idle),
    }
}

/// The keep-alive that a v5 client is told to use, if its own is too long.
fn told_keep_alive(asked: u16, limits: &Limits) -> Option<u16> {
    let longest = u16::try_from(limits.idle.as_secs() * 2 / 3).unwrap_or(u16::MAX);
    (asked == 0 || asked > longest).then_some(longest)
}

fn welcome(version: Version, hello: &Hello, session_present: bool, limits: &Limits) -> MqttPacket {
    match version {
        Version::V3 => {
            let return_code = v3::ConnectAckReason::ConnectionAccepted;
            MqttPacket::V3(v3::Packet::ConnectAck(v3::ConnectAck { return_code, session_present }))
        }
        Version::V5 => {
            let kept = u32::try_from(hello.kept.as_secs()).unwrap_or(u32::MAX);
            MqttPacket::V5(v5::Packet::ConnectAck(Box::new(v5::ConnectAck {
                session_present,
                session_expiry_interval_secs: Some(kept),
                receive_max: NonZeroU16::new(limits.in_flight).unwrap_or(NonZeroU16::MIN),
                max_qos: QoS::ExactlyOnce,
                max_packet_size: Some(MAX_PACKET_BYTES),
                assigned_client_id: hello.assigned.then(|| hello.client.as_str().into()),
                shared_subscription_available: false,
                server_keepalive_sec: told_keep_alive(hello.keep_alive, limits),
                ..Default::default()
            })))
        }
    }
}

impl Refusal {
    fn packet(self, version: Version) -> MqttPacket {
        match version {
            Version::V3 => {
                let ack = v3::ConnectAck { return_code: self.v3(), session_present: false };
                MqttPacket::V3(v3::Packet::ConnectAck(ack))
            }
            Version::V5 => {
                let ack = v5::ConnectAck { reason_code: self.v5(), ..Default::default() };
                MqttPacket::V5(v5::Packet::ConnectAck(Box::new(ack)))
            }
        }
    }

    fn v3(self) -> v3::ConnectAckReason {
        use v3::ConnectAckReason as R;
        match self {
            Self::ClientId => R::IdentifierRejected,
            Self::Credentials => R::BadUserNameOrPassword,
            Self::NotAuthorized | Self::AuthMethod => R::NotAuthorized,
            Self::Full | Self::Closing => R::ServiceUnavailable,
        }
    }

    fn v5(self) -> v5::ConnectAckReason {
        use v5::ConnectAckReason as R;
        match self {
            Self::ClientId => R::ClientIdentifierNotValid,
            Self::Credentials => R::BadUserNameOrPassword,
            Self::NotAuthorized => R::NotAuthorized,
            Self::AuthMethod => R::BadAuthenticationMethod,
            Self::Full => R::QuotaExceeded,
            Self::Closing => R::ServerUnavailable,
        }
    }
}

impl House {
    /// Verifies a password away from the async threads, a bounded number at a time.
    async fn verify(&self, passwords: Arc<super::Passwords>, user: String, password: Bytes) -> bool {
        let Ok(_permit) = self.verifications.acquire().await else { return false };
        let check = move || passwords.verify(&user, &password);
        tokio::task::spawn_blocking(check).await.unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_bounded_with_and_without_a_keep_alive() {
        let limits = Limits { idle: Duration::from_secs(600), ..Limits::default() };
        assert_eq!(idle(10, &limits), Duration::from_secs(15));
        assert_eq!(idle(0, &limits), Duration::from_secs(600));
        assert_eq!(idle(u16::MAX, &limits), Duration::from_secs(600));
        assert_eq!(told_keep_alive(400, &limits), None);
        assert_eq!(told_keep_alive(401, &limits), Some(400));
        assert_eq!(told_keep_alive(0, &limits), Some(400));
    }
}
