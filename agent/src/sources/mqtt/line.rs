//! One connection to a broker that is kept up: reconnects with full jitter, publishes with a receipt, and
//! never lets a packet id of one connection be acknowledged on the next.
//!
//! The [`MqttHandle`] and the driver share one desk. Nothing on it waits: the driver is the only one that
//! polls the event loop, and the event loop's own request channel is so wide that it is never full.

use rumqttc::{
    AsyncClient, ConnAck, ConnectReturnCode, ConnectionError, Event, EventLoop, MqttOptions, MqttState,
    Outgoing, Packet, Publish, QoS, StateError, SubAck, SubscribeReasonCode,
};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::time::Instant;

/// How many publishes wait for their PUBACK at a time: mosquitto takes 20 to 200 at once, more only ties up memory.
const WINDOW: usize = 64;
/// Packet ids that the library cycles through: many more than the window, so that one that the broker is slow
/// to acknowledge is not met again.
const PACKET_IDS: u16 = 1_000;
/// Room for one acknowledgement of every packet id there is, a full window, and a few subscriptions.
const REQUESTS: usize = 65_535 + WINDOW + 8;
/// The largest packet that is read at first: 64 KiB of payload are legal, and what is a little more is better
/// read and refused with a reason than answered with a broken connection.
const PACKET_BYTES: usize = 1024 * 1024;
/// The largest packet that is read at all, once a larger one broke the connection: the broker would send it
/// again and again, and the only way past it is to take it. More than this does not fit into a small gateway.
const LARGEST_PACKET_BYTES: usize = 64 * 1024 * 1024;
/// The largest payload that is published: as large as what is taken (contract 4), with room for an array's frame.
const MAX_OUTGOING_BYTES: usize = 256 * 1024;
/// How often the line is proved when it is quiet. A dead broker is noticed after two of them.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// The first upper bound of the wait before a new attempt; it doubles with each.
const RETRY_FROM: Duration = Duration::from_secs(1);
/// The last: alerts wait behind it (30 s is what a thousand gateways need to come back one by one).
const RETRY_TO: Duration = Duration::from_secs(30);
/// A connection that held this long was a good one: the next attempt starts at the shortest wait again.
const HELD: Duration = Duration::from_secs(30);

/// How the line stands, for the status page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LineState {
    /// Whether the broker is there now.
    pub connected: bool,
    /// How many connections there have been; the number of the present one.
    pub connections: u64,
    /// Why the last connection or attempt ended.
    pub last_error: Option<String>,
}

/// Why a message was not published; the sender keeps it and tries again, or mends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotPublished {
    /// There is no connection, or it broke before the broker acknowledged.
    #[error("the broker is not there: try again when it is connected")]
    Disconnected,
    /// The topic has a wildcard, or the payload is larger than 256 KiB.
    #[error("no broker takes this message: the topic has a wildcard or the payload is above 256 KiB")]
    Unfit,
}

/// Publishes to the broker. Cheap to clone.
#[derive(Debug, Clone)]
pub struct MqttHandle {
    desk: Arc<Desk>,
    window: Arc<Semaphore>,
    state: watch::Receiver<LineState>,
}

impl MqttHandle {
    /// Publishes with QoS 1 and resolves when the broker acknowledged. Waits while 64 others are on their way;
    /// fails at once without a connection, and when the connection breaks: the message may then have arrived.
    ///
    /// The pump must not wait for this: what the broker sends meanwhile would wait for the pump.
    pub async fn publish(&self, topic: &str, payload: Vec<u8>, retain: bool) -> Result<(), NotPublished> {
        if payload.len() > MAX_OUTGOING_BYTES {
            return Err(NotPublished::Unfit);
        }
        let permit = Arc::clone(&self.window).acquire_owned().await;
        let permit = permit.map_err(|_| NotPublished::Disconnected)?;
        let acknowledged = self.desk.publish(topic, payload, retain, permit)?;
        acknowledged.await.map_err(|_| NotPublished::Disconnected)
    }

    /// How the line stands, now and from now on.
    pub fn state(&self) -> watch::Receiver<LineState> {
        self.state.clone()
    }

    /// Acknowledges a delivery, unless its connection is gone: then it comes again by itself.
    pub(crate) fn acknowledge(&self, delivery: &Delivery) {
        self.desk.acknowledge(delivery);
    }

    /// Ends the connection of a delivery that cannot be stored: the session stays, and on the next connection the broker
    /// sends everything again that was not acknowledged.
    pub(crate) fn give_back(&self, delivery: &Delivery) {
        let mut papers = self.desk.papers();
        if papers.up && papers.connection == delivery.connection && !papers.parting {
            papers.parting = true;
            hand_over(self.desk.client.try_disconnect());
        }
    }

    /// Ends the connection in good order: the broker does not publish the last will.
    pub(crate) fn say_goodbye(&self) {
        let mut papers = self.desk.papers();
        if papers.up {
            papers.parting = true;
            hand_over(self.desk.client.try_disconnect());
        }
    }

    /// Asks for every message that `filter` matches.
    pub(crate) fn subscribe(&self, filter: &str) {
        self.desk.subscribe(filter);
    }
}

/// One message from the broker, with the number of the connection on which it came.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) publish: Publish,
    connection: u64,
}

/// What the driver has to tell.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A connection is up.
    Connected {
        /// Whether the broker remembers this client and its subscriptions.
        session_present: bool,
    },
    /// The broker took the subscription.
    Subscribed,
    /// A message.
    Delivery(Delivery),
}

/// A publish on its way: the receipt of its sender and its place in the window.
#[derive(Debug)]
struct Slip {
    receipt: oneshot::Sender<()>,
    _place: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct Desk {
    client: AsyncClient,
    papers: Mutex<Papers>,
}

#[derive(Debug, Default)]
struct Papers {
    up: bool,
    /// This side has said goodbye: that the broker then closes the connection is no fault.
    parting: bool,
    connection: u64,
    /// Handed to the event loop, in its order; the packet id is not known yet.
    unsent: VecDeque<Slip>,
    /// Sent, by packet id.
    unacknowledged: BTreeMap<u16, Slip>,
}

impl Desk {
    fn papers(&self) -> MutexGuard<'_, Papers> {
        self.papers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(
        &self,
        topic: &str,
        payload: Vec<u8>,
        retain: bool,
        place: OwnedSemaphorePermit,
    ) -> Result<oneshot::Receiver<()>, NotPublished> {
        let (receipt, acknowledged) = oneshot::channel();
        let mut papers = self.papers();
        if !papers.up {
            return Err(NotPublished::Disconnected);
        }
        // Under the lock, so that the slips lie in the order in which the event loop gets the messages.
        let handed = self.client.try_publish(topic, QoS::AtLeastOnce, retain, payload);
        handed.map_err(|_| NotPublished::Unfit)?;
        papers.unsent.push_back(Slip { receipt, _place: place });
        Ok(acknowledged)
    }

    fn acknowledge(&self, delivery: &Delivery) {
        let papers = self.papers();
        if papers.up && papers.connection == delivery.connection && !papers.parting {
            hand_over(self.client.try_ack(&delivery.publish));
        }
    }

    fn subscribe(&self, filter: &str) {
        if self.papers().up {
            hand_over(self.client.try_subscribe(filter, QoS::AtLeastOnce));
        }
    }

    fn connected(&self) -> u64 {
        let mut papers = self.papers();
        papers.up = true;
        papers.connection += 1;
        papers.connection
    }

    fn sent(&self, packet_id: u16) {
        let mut papers = self.papers();
        if let Some(slip) = papers.unsent.pop_front() {
            papers.unacknowledged.insert(packet_id, slip);
        }
    }

    fn acknowledged(&self, packet_id: u16) {
        let slip = self.papers().unacknowledged.remove(&packet_id);
        // A sender that no longer waits for its receipt has nothing to be told.
        slip.map(|slip| slip.receipt.send(()));
    }

    /// Forgets the connection with all that hangs on it; senders whose slips are dropped try again.
    /// Says whether this side had asked for the end.
    fn disconnected(&self, eventloop: &mut EventLoop) -> bool {
        let mut papers = self.papers();
        papers.up = false;
        papers.unsent.clear();
        papers.unacknowledged.clear();
        eventloop.clean();
        eventloop.pending.clear();
        eventloop.state = MqttState::new(PACKET_IDS, eventloop.mqtt_options.manual_acks());
        std::mem::take(&mut papers.parting)
    }
}

/// The request channel has room for every packet id; a refusal would be a fault of this file, and is said.
fn hand_over(handed: Result<(), rumqttc::ClientError>) {
    if let Err(error) = handed {
        tracing::error!(%error, "the event loop refused a request; it is made again on the next connection");
    }
}

/// Polls the event loop. Never drop its future in mid-poll but to close the line for good.
pub(crate) struct Driver {
    eventloop: EventLoop,
    desk: Arc<Desk>,
    state: watch::Sender<LineState>,
    up_since: Option<Instant>,
    failures: u32,
}

/// A line with these options; those that make it reliable are set here.
pub(crate) fn open(mut options: MqttOptions) -> (MqttHandle, Driver) {
    options
        .set_keep_alive(KEEP_ALIVE)
        .set_inflight(PACKET_IDS)
        .set_max_packet_size(PACKET_BYTES, 2 * MAX_OUTGOING_BYTES);
    let (client, eventloop) = AsyncClient::new(options, REQUESTS);
    let desk = Arc::new(Desk { client, papers: Mutex::default() });
    let (state, states) = watch::channel(LineState::default());
    let handle =
        MqttHandle { desk: Arc::clone(&desk), window: Arc::new(Semaphore::new(WINDOW)), state: states };
    (handle, Driver { eventloop, desk, state, up_since: None, failures: 0 })
}

/// Why a connection is given up by this side.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("{0}")]
    Connection(Box<ConnectionError>),
    #[error("the broker refused the login: {0:?}")]
    Login(ConnectReturnCode),
    #[error("the broker refuses the subscription; allow it in its access list")]
    Subscription,
    #[error("the broker leaves a message unacknowledged while it acknowledges later ones")]
    Unanswered,
    #[error("the broker closed the connection")]
    Closed,
}

impl Fault {
    fn is_large_packet(&self) -> bool {
        use rumqttc::Error::PayloadSizeLimitExceeded;
        let Self::Connection(error) = self else { return false };
        let deserialization =
            |state: &StateError| matches!(state, StateError::Deserialization(PayloadSizeLimitExceeded(_)));
        matches!(error.as_ref(), ConnectionError::MqttState(state) if deserialization(state))
    }
}

impl Driver {
    /// What happens next on the line. Reconnects by itself; ends only when it is dropped.
    pub(crate) async fn next(&mut self) -> Heard {
        loop {
            let heard = match self.eventloop.poll().await {
                Ok(Event::Incoming(packet)) => self.on_packet(packet),
                Ok(Event::Outgoing(sign)) => self.on_sent(sign).map(|()| None),
                Err(error) => Err(Fault::Connection(Box::new(error))),
            };
            match heard {
                Ok(Some(heard)) => return heard,
                Ok(None) => {}
                Err(fault) => self.on_fault(&fault).await,
            }
        }
    }

    fn on_packet(&mut self, packet: Packet) -> Result<Option<Heard>, Fault> {
        match packet {
            Packet::ConnAck(answer) => self.on_connected(answer).map(Some),
            Packet::Publish(publish) => {
                let connection = self.desk.papers().connection;
                Ok(Some(Heard::Delivery(Delivery { publish, connection })))
            }
            Packet::PubAck(ack) => {
                self.desk.acknowledged(ack.pkid);
                Ok(None)
            }
            Packet::SubAck(ack) => on_subscribed(&ack).map(Some),
            Packet::Disconnect => Err(Fault::Closed),
            Packet::Connect(_)
            | Packet::PubRec(_)
            | Packet::PubRel(_)
            | Packet::PubComp(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::UnsubAck(_)
            | Packet::PingReq
            | Packet::PingResp => Ok(None),
        }
    }

    fn on_connected(&mut self, answer: ConnAck) -> Result<Heard, Fault> {
        if answer.code != ConnectReturnCode::Success {
            return Err(Fault::Login(answer.code));
        }
        let connections = self.desk.connected();
        self.up_since = Some(Instant::now());
        self.state.send_modify(|state| {
            state.connected = true;
            state.connections = connections;
        });
        Ok(Heard::Connected { session_present: answer.session_present })
    }

    fn on_sent(&self, sign: Outgoing) -> Result<(), Fault> {
        match sign {
            Outgoing::Publish(packet_id) => self.desk.sent(packet_id),
            Outgoing::AwaitAck(_) => return Err(Fault::Unanswered),
            Outgoing::Subscribe(_)
            | Outgoing::Unsubscribe(_)
            | Outgoing::PubAck(_)
            | Outgoing::PubRec(_)
            | Outgoing::PubRel(_)
            | Outgoing::PubComp(_)
            | Outgoing::PingReq
            | Outgoing::PingResp
            | Outgoing::Disconnect => {}
        }
        Ok(())
    }

    async fn on_fault(&mut self, fault: &Fault) {
        let parted = self.desk.disconnected(&mut self.eventloop);
        self.fit_the_next_packet(fault);
        let text = fault.to_string();
        let news = self.state.borrow().last_error.as_deref() != Some(&text) || self.up_since.is_some();
        if news && !parted {
            tracing::warn!(error = text, "the broker is not there; trying again");
        }
        self.state.send_modify(|state| {
            state.connected = false;
            state.last_error = Some(text);
        });
        let held = self.up_since.take().is_some_and(|since| since.elapsed() >= HELD);
        self.failures = if held { 0 } else { self.failures.saturating_add(1) };
        tokio::time::sleep(jittered(wait_bound(self.failures))).await;
    }

    /// A packet above the limit would come again for ever: it is let through once, to be refused with a reason.
    fn fit_the_next_packet(&mut self, fault: &Fault) {
        let limit = if fault.is_large_packet() { LARGEST_PACKET_BYTES } else { PACKET_BYTES };
        self.eventloop.mqtt_options.set_max_packet_size(limit, 2 * MAX_OUTGOING_BYTES);
    }
}

fn on_subscribed(ack: &SubAck) -> Result<Heard, Fault> {
    if ack.return_codes.contains(&SubscribeReasonCode::Failure) {
        return Err(Fault::Subscription);
    }
    Ok(Heard::Subscribed)
}

/// The upper bound of the wait after that many failures in a row.
fn wait_bound(failures: u32) -> Duration {
    RETRY_FROM.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(RETRY_TO)
}

/// Full jitter: anything up to the bound, so that gateways that lost one broker do not come back as one.
fn jittered(bound: Duration) -> Duration {
    bound.mul_f64(rand::random::<f64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_their_bound() {
        let bounds: Vec<_> = (0..8).map(|n| wait_bound(n).as_secs()).collect();
        assert_eq!(bounds, [1, 1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(wait_bound(u32::MAX), RETRY_TO);
        assert!((0..100).all(|_| jittered(RETRY_TO) <= RETRY_TO));
    }

    #[test]
    fn a_refused_subscription_is_a_fault() {
        let refused = SubAck::new(1, vec![SubscribeReasonCode::Failure]);
        assert!(matches!(on_subscribed(&refused), Err(Fault::Subscription)));
        let taken = SubAck::new(1, vec![SubscribeReasonCode::Success(QoS::AtLeastOnce)]);
        assert!(matches!(on_subscribed(&taken), Ok(Heard::Subscribed)));
    }

    #[tokio::test]
    async fn without_a_connection_nothing_is_published() {
        let (handle, _driver) = open(MqttOptions::new("gw-1", "127.0.0.1", 1));
        assert_eq!(handle.publish("a", vec![], false).await, Err(NotPublished::Disconnected));
        let large = vec![0; MAX_OUTGOING_BYTES + 1];
        assert_eq!(handle.publish("a", large, false).await, Err(NotPublished::Unfit));
    }
}
