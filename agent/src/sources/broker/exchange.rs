//! What all connections share: sessions, who subscribed to what, retained messages, wills of clients that are gone.
//!
//! One mutex, held for the time of a look-up and never across an await. A connection holds an [`Attachment`] to its
//! session; dropping it, however the connection ends, keeps the session or ends it, and makes the will due.

mod keeping;
mod room;

use super::acl::User;
use super::limits::{Counters, Counts, Limits, WRITE_BATCH};
use super::retained::Retained;
use super::session::{Delivery, Message, Offered, Peer, Session, Subscription};
use super::topics::Tree;
use super::will::{PendingWill, Will};
use super::wire::{Outgoing, Request, granted};
use keeping::Ledger;
pub use keeping::Page;
use rmqtt_codec::types::QoS;
use rmqtt_codec::v5::{DisconnectReasonCode, RetainHandling, SubscribeAckReason};
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

/// Whose session: client ids are each user's own, so that nobody can take or block another's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(Arc<(User, String)>);

impl Key {
    pub(super) fn new(user: User, client: String) -> Self {
        Self(Arc::new((user, client)))
    }

    pub(super) fn user(&self) -> &User {
        &self.0.0
    }

    pub(super) fn client(&self) -> &str {
        &self.0.1
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Exchange {
    state: Mutex<State>,
    pub(super) limits: Limits,
    pub(super) counters: Counters,
    /// A will became due.
    pub(super) due: Notify,
}

#[derive(Debug, Default)]
struct State {
    seats: BTreeMap<Key, Seat>,
    subscribers: Tree<Key, Subscription>,
    retained: Retained,
    wills: BTreeMap<Key, PendingWill>,
    /// Clients whose will is on its way to the store: they wait, so that "online" never overtakes "offline".
    departing: BTreeSet<Key>,
    epoch: u64,
    closing: bool,
    ledger: Ledger,
}

/// A session and the connection that has it, if one does.
#[derive(Debug, Default)]
struct Seat {
    session: Session,
    link: Option<Link>,
    /// How long it is kept without a connection; zero ends it with the connection.
    kept: Duration,
    left_at: Option<Instant>,
    /// Whether there may be something of it on disk.
    recorded: bool,
}

#[derive(Debug)]
struct Link {
    epoch: u64,
    wake: Arc<Notify>,
    kick: oneshot::Sender<DisconnectReasonCode>,
    will: Option<Will>,
}

/// A client that is authenticated.
#[derive(Debug, Clone)]
pub(super) struct Arrival {
    pub(super) key: Key,
    /// Whether it wants to begin anew.
    pub(super) clean: bool,
    pub(super) kept: Duration,
    pub(super) will: Option<Will>,
}

/// Why a client gets no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoSession {
    /// Its last will is still being published; try again shortly.
    #[error("the client's last will is being published")]
    Departing,
    /// There are as many as there may be, all connected.
    #[error("no room for another session")]
    Full,
    /// The broker is closing.
    #[error("the broker is closing")]
    Closing,
}

/// A session that a connection has.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) attachment: Attachment,
    /// Whether the session was there before.
    pub(super) present: bool,
    /// The will of the connection before this one, to be published before CONNACK.
    pub(super) earlier_will: Option<Message>,
    /// Resolves when the connection must end.
    pub(super) kicked: oneshot::Receiver<DisconnectReasonCode>,
}

/// A connection's hold on its session; calls of a connection that was taken over have no effect.
#[derive(Debug)]
pub(super) struct Attachment {
    exchange: Arc<Exchange>,
    key: Key,
    epoch: u64,
    wake: Arc<Notify>,
    wants_will: bool,
}

impl Exchange {
    pub(super) fn new(limits: Limits) -> Self {
        Self { state: Mutex::default(), limits, counters: Counters::default(), due: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic in one connection leaves whole values behind: every change is made by infallible steps.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a client its session, ends the connection that had it, and keeps of its subscriptions what is `permitted`.
    pub(super) fn attach(
        self: &Arc<Self>,
        arrival: Arrival,
        now: Instant,
        permitted: &dyn Fn(&str) -> bool,
    ) -> Result<Attached, NoSession> {
        let mut state = self.lock();
        let ended = state.admit(&arrival.key, &self.limits)?;
        self.counters.ended_for_room.add(usize::from(ended));
        let key = arrival.key.clone();
        let displaced = state.unlink(&key, arrival.clean, now);
        self.counters.takeovers.add(usize::from(displaced));
        let earlier_will = state.wills.remove(&key).and_then(|w| w.unless_revoked(now));
        if arrival.clean {
            state.end_session(&key);
        }
        let present = state.resume(&key, permitted);
        state.epoch += 1;
        let (epoch, wake) = (state.epoch, Arc::new(Notify::new()));
        let (kick, kicked) = oneshot::channel();
        let seat = state.seats.entry(key.clone()).or_default();
        seat.kept = arrival.kept;
        seat.left_at = None;
        seat.link = Some(Link { epoch, wake: Arc::clone(&wake), kick, will: arrival.will });
        seat.session.set_kept(!arrival.kept.is_zero());
        state.note(&key);
        // What waited for the client can go out at once.
        wake.notify_one();
        let attachment = Attachment { exchange: Arc::clone(self), key, epoch, wake, wants_will: true };
        Ok(Attached { attachment, present, earlier_will, kicked })
    }

    /// Keeps a message if it is to be retained, and queues it for every subscriber but, if so asked, its sender.
    pub(super) fn publish(&self, message: Message, from: Option<&Key>) {
        let message = Arc::new(message);
        let mut state = self.lock();
        if message.retain && !state.retained.keep(&message, &self.limits) {
            self.counters.refused_retained.add(1);
            tracing::warn!(topic = message.topic, "no room for another retained message");
        } else if message.retain && from.is_some() {
            // What the agent itself retains it says again when it starts.
            state.note_topic(&message.topic);
        }
        let deliveries = state.deliveries(&message, from);
        let waiting = || state.seats.values().map(|seat| seat.session.queued_bytes()).sum::<usize>();
        if !deliveries.is_empty() && waiting() > self.limits.queued_bytes_of_all {
            self.counters.dropped.add(deliveries.len());
            return;
        }
        for (key, delivery) in deliveries {
            if let Some(seat) = state.seats.get_mut(&key) {
                self.offer(seat, delivery);
                state.note(&key);
            }
        }
    }

    fn offer(&self, seat: &mut Seat, delivery: Delivery) {
        if seat.link.is_none() && delivery.qos == QoS::AtMostOnce {
            return;
        }
        let offered = seat.session.offer(delivery, &self.limits);
        self.counters.dropped.add(usize::from(offered != Offered::Queued));
        seat.wake();
    }

    /// The wills that are due, for publication, and when the next one will be; ends sessions whose time is over.
    pub(super) fn tidy(&self, now: Instant) -> (Vec<(Key, Message)>, Option<Instant>) {
        let mut state = self.lock();
        let over: Vec<Key> =
            state.seats.iter().filter(|(_, s)| s.is_over(now)).map(|(k, _)| k.clone()).collect();
        over.iter().for_each(|key| state.end_session(key));
        let due: Vec<Key> =
            state.wills.iter().filter(|(_, w)| w.due() <= now).map(|(k, _)| k.clone()).collect();
        let wills = due.into_iter().filter_map(|key| {
            let will = state.wills.remove(&key)?;
            state.departing.insert(key.clone());
            state.touch(&key);
            Some((key, will.into_message()))
        });
        let wills = wills.collect();
        (wills, state.wills.values().map(PendingWill::due).min())
    }

    /// The will of this client is stored, or never will be: it may come back.
    pub(super) fn departed(&self, key: &Key) {
        self.lock().departing.remove(key);
    }

    /// Ends every connection and takes no more.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closing = true;
        for link in state.seats.values_mut().filter_map(|seat| seat.link.take()) {
            // A connection that ended by itself has dropped the other end.
            link.kick.send(DisconnectReasonCode::ServerShuttingDown).ok();
        }
    }

    /// The counters, with what is looked up.
    pub(super) fn counts(&self) -> Counts {
        let state = self.lock();
        Counts {
            connected: state.seats.values().filter(|s| s.link.is_some()).count() as u64,
            sessions: state.seats.len() as u64,
            retained: state.retained.len() as u64,
            ..self.counters.snapshot()
        }
    }
}

impl State {
    /// Ends the connection that has the session; whether there was one.
    fn unlink(&mut self, key: &Key, clean: bool, now: Instant) -> bool {
        let Some(seat) = self.seats.get_mut(key) else { return false };
        let Some(link) = seat.link.take() else { return false };
        let kept = if clean { Duration::ZERO } else { seat.kept };
        if let Some(will) = link.will {
            self.wills.insert(key.clone(), PendingWill::new(will, now, kept));
        }
        if seat.kept.is_zero() {
            self.end_session(key);
        }
        link.kick.send(DisconnectReasonCode::SessionTakenOver).ok();
        true
    }

    fn resume(&mut self, key: &Key, permitted: &dyn Fn(&str) -> bool) -> bool {
        let Some(seat) = self.seats.get_mut(key) else { return false };
        seat.session.resume();
        let (kept, gone) = std::mem::take(&mut seat.session.filters).into_iter().partition(|f| permitted(f));
        seat.session.filters = kept;
        gone.iter().for_each(|filter: &String| {
            self.subscribers.remove(filter, key);
        });
        true
    }

    fn end_session(&mut self, key: &Key) {
        let Some(seat) = self.seats.remove(key) else { return };
        if seat.recorded {
            self.strike(key, &seat.session.numbers());
        }
        for filter in seat.session.filters {
            self.subscribers.remove(&filter, key);
        }
    }

    /// One delivery for each subscriber: overlapping filters count as one with the highest QoS.
    fn deliveries(&self, message: &Arc<Message>, from: Option<&Key>) -> BTreeMap<Key, Delivery> {
        let mut deliveries: BTreeMap<Key, Delivery> = BTreeMap::new();
        self.subscribers.visit(&message.topic, &mut |key, subscription| {
            if subscription.no_local && from == Some(key) {
                return;
            }
            let delivery = deliveries.entry(key.clone()).or_insert_with(|| Delivery {
                message: Arc::clone(message),
                qos: QoS::AtMostOnce,
                retain: false,
                numbers: vec![],
                number: 0,
            });
            delivery.qos = delivery.qos.max(subscription.qos.min(message.qos));
            delivery.retain |= subscription.retain_as_published && message.retain;
            delivery.numbers.extend(subscription.number);
        });
        deliveries
    }
}

impl Seat {
    fn wake(&self) {
        if let Some(link) = &self.link {
            link.wake.notify_one();
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        self.left_at.is_some_and(|left| left + self.kept <= now)
    }
}

impl Attachment {
    pub(super) fn key(&self) -> &Key {
        &self.key
    }

    /// Resolves when there may be something to send.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// There may be more to send.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// The client said good-bye: its will is not published.
    pub(super) fn forget_will(&mut self) {
        self.wants_will = false;
    }

    /// The client changed how long its session is kept.
    pub(super) fn keep_for(&self, kept: Duration) {
        let kept = kept.min(self.exchange.limits.session_expiry);
        self.with(|seat| {
            seat.kept = kept;
            seat.session.set_kept(!kept.is_zero());
        });
    }

    /// Works on the session, unless another connection has it by now.
    fn with<T>(&self, work: impl FnOnce(&mut Seat) -> T) -> Option<T> {
        let mut state = self.exchange.lock();
        let seat = state.seats.get_mut(&self.key)?;
        let done = (seat.link.as_ref()?.epoch == self.epoch).then(|| work(seat))?;
        state.note(&self.key);
        Some(done)
    }

    /// The next packets for the client, a bounded number.
    pub(super) fn outbound(&self, peer: Peer, now: Instant) -> Vec<Outgoing> {
        let mut dropped = 0;
        let next = |seat: &mut Seat| {
            std::iter::from_fn(|| seat.session.next(peer, now, &mut dropped)).take(WRITE_BATCH).collect()
        };
        let packets = self.with(next).unwrap_or_default();
        self.exchange.counters.dropped.add(dropped);
        packets
    }

    /// The client is done with a message.
    pub(super) fn on_done(&self, id: NonZeroU16) {
        self.with(|seat| seat.session.on_done(id));
        self.wake.notify_one();
    }

    /// The client has a QoS 2 message; false if it was never sent.
    pub(super) fn on_received(&self, id: NonZeroU16) -> bool {
        self.with(|seat| seat.session.on_received(id)).unwrap_or(false)
    }

    /// A QoS 2 message of the client is stored.
    pub(super) fn on_stored(&self, id: NonZeroU16) {
        self.with(|seat| seat.session.on_stored(id));
    }

    /// The client frees the id of a QoS 2 message; false if it was free.
    pub(super) fn on_release(&self, id: NonZeroU16) -> bool {
        self.with(|seat| seat.session.on_release(id)).unwrap_or(false)
    }

    /// Whether a QoS 2 message with this id is stored and not yet released.
    pub(super) fn has_received(&self, id: NonZeroU16) -> bool {
        self.with(|seat| seat.session.received().contains(&id)).unwrap_or(false)
    }

    /// How many QoS 2 messages of the client are stored and not yet released.
    pub(super) fn unreleased(&self) -> usize {
        self.with(|seat| seat.session.received().len()).unwrap_or(0)
    }

    /// Subscribes, if there is room, and queues the retained messages that the filter covers.
    pub(super) fn subscribe(&self, request: Request) -> SubscribeAckReason {
        let mut state = self.exchange.lock();
        let State { seats, subscribers, retained, .. } = &mut *state;
        let mine = |seat: &&mut Seat| seat.link.as_ref().is_some_and(|link| link.epoch == self.epoch);
        let Some(seat) = seats.get_mut(&self.key).filter(mine) else {
            return SubscribeAckReason::UnspecifiedError;
        };
        let limits = &self.exchange.limits;
        let Request { filter, subscription, retained: handling } = request;
        let known = seat.session.filters.contains(&filter);
        if !known && seat.session.filters.len() >= limits.subscriptions {
            return SubscribeAckReason::QuotaExceeded;
        }
        subscribers.insert(&filter, self.key.clone(), subscription);
        let wanted = match handling {
            RetainHandling::AtSubscribe => true,
            RetainHandling::AtSubscribeNew => !known,
            RetainHandling::NoAtSubscribe => false,
        };
        for message in retained.covered_by(&filter).filter(|_| wanted) {
            let offered = seat.session.offer_retained(first(message, subscription), limits);
            self.exchange.counters.dropped.add(usize::from(offered == Offered::Dropped));
        }
        seat.wake();
        seat.session.filters.insert(filter);
        seat.session.on_changed();
        state.note(&self.key);
        granted(subscription.qos)
    }

    /// Takes a subscription back; false if there was none.
    pub(super) fn unsubscribe(&self, filter: &str) -> bool {
        let had = self.with(|seat| {
            seat.session.on_changed();
            seat.session.filters.remove(filter)
        });
        let had = had.unwrap_or(false);
        had && self.exchange.lock().subscribers.remove(filter, &self.key).is_some()
    }
}

/// A retained message for a new subscription.
fn first(message: &Arc<Message>, subscription: Subscription) -> Delivery {
    let qos = subscription.qos.min(message.qos);
    Delivery {
        message: Arc::clone(message),
        qos,
        retain: true,
        numbers: subscription.number.into_iter().collect(),
        number: 0,
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        let mut state = self.exchange.lock();
        let Some(seat) = state.seats.get_mut(&self.key) else { return };
        let Some(link) = seat.link.take_if(|link| link.epoch == self.epoch) else { return };
        let (now, kept) = (Instant::now(), seat.kept);
        seat.left_at = Some(now);
        if let Some(will) = link.will.filter(|_| self.wants_will) {
            state.wills.insert(self.key.clone(), PendingWill::new(will, now, kept));
            self.exchange.due.notify_one();
        }
        if kept.is_zero() {
            state.end_session(&self.key);
        } else {
            state.touch(&self.key);
        }
    }
}

#[cfg(test)]
#[expect(clippy::wildcard_enum_match_arm, reason = "any other packet fails the test")]
mod tests {
    use super::*;

    pub(super) const HOUR: Duration = Duration::from_secs(3_600);
    const PEER: Peer = Peer { window: 10, max_packet: 100_000 };

    pub(super) fn exchange(limits: Limits) -> Arc<Exchange> {
        Arc::new(Exchange::new(limits))
    }

    pub(super) fn arrival(user: &str, kept: Duration) -> Arrival {
        let key = Key::new(User::Named(user.into()), "c".into());
        Arrival { key, clean: false, kept, will: None }
    }

    pub(super) fn attach(exchange: &Arc<Exchange>, arrival: Arrival) -> Result<Attached, NoSession> {
        exchange.attach(arrival, Instant::now(), &|_| true)
    }

    fn request(filter: &str, qos: QoS) -> Request {
        let subscription = Subscription { qos, no_local: false, retain_as_published: false, number: None };
        Request { filter: filter.into(), subscription, retained: RetainHandling::AtSubscribe }
    }

    fn message(topic: &str) -> Message {
        Message::new(topic, "x".into(), false)
    }

    fn received(attachment: &Attachment) -> Vec<(String, QoS, bool)> {
        let packets = attachment.outbound(PEER, Instant::now()).into_iter();
        packets
            .map(|packet| match packet {
                Outgoing::Publish(p) => (p.delivery.message.topic.clone(), p.delivery.qos, p.delivery.retain),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn overlapping_filters_deliver_once_with_the_highest_qos() {
        let exchange = exchange(Limits::default());
        let one = attach(&exchange, arrival("a", HOUR)).unwrap().attachment;
        one.subscribe(request("t/+", QoS::AtMostOnce));
        one.subscribe(request("t/#", QoS::ExactlyOnce));
        one.subscribe(request("t/a", QoS::AtMostOnce));
        exchange.publish(message("t/a"), None);
        assert_eq!(received(&one), [("t/a".into(), QoS::AtLeastOnce, false)]);
        assert!(one.unsubscribe("t/#"));
        assert!(!one.unsubscribe("t/#"));
        exchange.publish(message("t/a"), None);
        assert_eq!(received(&one), [("t/a".into(), QoS::AtMostOnce, false)]);
    }

    #[test]
    fn nobody_hears_himself_who_asked_not_to() {
        let exchange = exchange(Limits::default());
        let one = attach(&exchange, arrival("a", HOUR)).unwrap().attachment;
        let asked = request("t", QoS::AtLeastOnce);
        one.subscribe(Request {
            subscription: Subscription { no_local: true, ..asked.subscription },
            ..asked
        });
        exchange.publish(message("t"), Some(one.key()));
        assert_eq!(received(&one), []);
        exchange.publish(message("t"), Some(&Key::new(User::Anonymous, "c".into())));
        assert_eq!(received(&one).len(), 1);
    }

    #[test]
    fn what_is_retained_is_told_as_often_as_was_asked() {
        let exchange = exchange(Limits::default());
        let one = attach(&exchange, arrival("a", HOUR)).unwrap().attachment;
        exchange.publish(Message::new("t", "x".into(), true), None);
        for (retained, times) in [
            (RetainHandling::NoAtSubscribe, [0, 0]),
            (RetainHandling::AtSubscribeNew, [1, 0]),
            (RetainHandling::AtSubscribe, [1, 1]),
        ] {
            let told = times.map(|_| {
                one.subscribe(Request { retained, ..request("t", QoS::AtLeastOnce) });
                received(&one).len()
            });
            assert_eq!(told, times, "{retained:?}");
            one.unsubscribe("t");
        }
    }

    #[test]
    fn what_has_no_acknowledgement_does_not_wait_for_who_is_away() {
        let exchange = exchange(Limits::default());
        let one = attach(&exchange, arrival("a", HOUR)).unwrap().attachment;
        one.subscribe(request("t", QoS::AtMostOnce));
        drop(one);
        exchange.publish(message("t"), None);
        assert_eq!(received(&attach(&exchange, arrival("a", HOUR)).unwrap().attachment), []);
    }

    #[test]
    fn a_client_that_leaves_says_how_long_its_session_is_kept_within_the_bound() {
        for (asked, kept) in [(Duration::ZERO, Duration::ZERO), (2 * HOUR, HOUR)] {
            let exchange = exchange(Limits { session_expiry: HOUR, ..Limits::default() });
            let one = attach(&exchange, arrival("a", HOUR / 2)).unwrap().attachment;
            one.keep_for(asked);
            drop(one);
            let sessions = |after| {
                exchange.tidy(Instant::now() + after);
                exchange.counts().sessions
            };
            assert_eq!([kept * 9 / 10, kept].map(sessions), [u64::from(!kept.is_zero()), 0], "{asked:?}");
        }
    }

    #[test]
    fn a_kept_session_waits_and_a_clean_one_ends() {
        let exchange = exchange(Limits::default());
        for (kept, present) in [(HOUR, true), (Duration::ZERO, false)] {
            let one = attach(&exchange, arrival("a", kept)).unwrap().attachment;
            one.subscribe(request("t", QoS::AtLeastOnce));
            drop(one);
            exchange.publish(message("t"), None);
            let again = attach(&exchange, arrival("a", kept)).unwrap();
            assert_eq!(again.present, present);
            assert_eq!(received(&again.attachment).len(), usize::from(present));
        }
    }

    #[test]
    fn a_subscription_that_is_no_longer_permitted_does_not_come_back() {
        let exchange = exchange(Limits::default());
        let one = attach(&exchange, arrival("a", HOUR)).unwrap().attachment;
        one.subscribe(request("t/1", QoS::AtLeastOnce));
        one.subscribe(request("t/2", QoS::AtLeastOnce));
        drop(one);
        let again = exchange.attach(arrival("a", HOUR), Instant::now(), &|f| f == "t/2").unwrap().attachment;
        exchange.publish(message("t/1"), None);
        exchange.publish(message("t/2"), None);
        assert_eq!(received(&again), [("t/2".into(), QoS::AtLeastOnce, false)]);
    }

    #[test]
    fn the_second_connection_takes_the_session_and_the_first_loses_its_hold() {
        let exchange = exchange(Limits::default());
        let mut first = attach(&exchange, arrival("a", HOUR)).unwrap();
        first.attachment.subscribe(request("t", QoS::AtLeastOnce));
        let second = attach(&exchange, arrival("a", HOUR)).unwrap();
        assert_eq!(first.kicked.try_recv(), Ok(DisconnectReasonCode::SessionTakenOver));
        exchange.publish(message("t"), None);
        assert_eq!(received(&first.attachment), []);
        drop(first);
        assert_eq!(received(&second.attachment).len(), 1);
        assert_eq!((exchange.counts().connected, exchange.counts().takeovers), (1, 1));
    }

    #[test]
    fn another_user_with_the_same_client_id_has_another_session() {
        let exchange = exchange(Limits::default());
        let mut first = attach(&exchange, arrival("a", HOUR)).unwrap();
        let _second = attach(&exchange, arrival("b", HOUR)).unwrap();
        assert!(first.kicked.try_recv().is_err());
        assert_eq!(exchange.counts().connected, 2);
    }

    #[test]
    fn a_session_ends_when_its_time_is_over() {
        let exchange = exchange(Limits::default());
        drop(attach(&exchange, arrival("a", HOUR)).unwrap());
        exchange.tidy(Instant::now());
        assert_eq!(exchange.counts().sessions, 1);
        exchange.tidy(Instant::now() + HOUR);
        assert_eq!(exchange.counts().sessions, 0);
    }

    #[test]
    fn subscriptions_are_bounded() {
        let exchange = exchange(Limits { subscriptions: 1, ..Limits::default() });
        let one = attach(&exchange, arrival("a", HOUR)).unwrap().attachment;
        assert_eq!(one.subscribe(request("t/1", QoS::AtMostOnce)), SubscribeAckReason::GrantedQos0);
        assert_eq!(one.subscribe(request("t/1", QoS::AtLeastOnce)), SubscribeAckReason::GrantedQos1);
        assert_eq!(one.subscribe(request("t/2", QoS::AtMostOnce)), SubscribeAckReason::QuotaExceeded);
    }

    #[test]
    fn a_client_waits_while_its_will_is_on_its_way() {
        let exchange = exchange(Limits::default());
        let will = Will { message: message("t/status"), delay: Duration::ZERO };
        drop(attach(&exchange, Arrival { will: Some(will), ..arrival("a", HOUR) }).unwrap());
        let (wills, next) = exchange.tidy(Instant::now());
        assert_eq!((wills.len(), next), (1, None));
        assert_eq!(attach(&exchange, arrival("a", HOUR)).unwrap_err(), NoSession::Departing);
        exchange.departed(&wills[0].0);
        assert!(attach(&exchange, arrival("a", HOUR)).unwrap().earlier_will.is_none());
    }

    #[test]
    fn a_delayed_will_is_taken_back_by_a_client_that_returns() {
        let exchange = exchange(Limits::default());
        let will = Some(Will { message: message("t/status"), delay: Duration::from_secs(60) });
        drop(attach(&exchange, Arrival { will: will.clone(), ..arrival("a", HOUR) }).unwrap());
        assert!(exchange.tidy(Instant::now()).1.is_some());
        let again = attach(&exchange, Arrival { will, ..arrival("a", HOUR) }).unwrap();
        assert!(again.earlier_will.is_none());
        let clean = attach(&exchange, Arrival { clean: true, ..arrival("a", HOUR) }).unwrap();
        assert!(clean.earlier_will.is_some());
        assert!(!clean.present);
    }
}
