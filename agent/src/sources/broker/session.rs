//! One client's session: its subscriptions, what waits for it, and what is on its way in both directions.

mod kept;

pub(super) use kept::{Moment, qos};

use super::limits::Limits;
use super::wire::Outgoing;
use bytes::Bytes;
use rmqtt_codec::types::QoS;
use rmqtt_codec::v5::PublishProperties;
use std::collections::{BTreeSet, VecDeque};
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A message as it was published.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) topic: String,
    pub(super) payload: Bytes,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    /// What a v5 publisher added and a v5 subscriber gets.
    pub(super) properties: Option<Box<PublishProperties>>,
    expires_at: Option<Instant>,
}

impl Message {
    /// A message of the agent itself, QoS 1.
    pub(super) fn new(topic: &str, payload: Bytes, retain: bool) -> Self {
        let topic = topic.to_owned();
        Self { topic, payload, qos: QoS::AtLeastOnce, retain, properties: None, expires_at: None }
    }

    /// The same with the QoS of its publisher.
    pub(super) fn with_qos(self, qos: QoS) -> Self {
        Self { qos, ..self }
    }

    /// The same with what a v5 publisher added.
    pub(super) fn with_properties(mut self, properties: Option<PublishProperties>) -> Self {
        self.properties = properties.filter(|p| *p != PublishProperties::default()).map(Box::new);
        self
    }

    /// The same, published now: from here on it ages.
    pub(super) fn published(mut self, now: Instant) -> Self {
        self.expires_at = self.expiry().map(|secs| now + Duration::from_secs(secs.get().into()));
        self
    }

    /// For how many seconds after its publication its publisher wants it delivered.
    pub(super) fn expiry(&self) -> Option<NonZeroU32> {
        self.properties.as_deref()?.message_expiry_interval
    }

    /// The same, to be delivered for so many seconds after its publication.
    pub(super) fn with_expiry(mut self, secs: NonZeroU32) -> Self {
        self.properties.get_or_insert_default().message_expiry_interval = Some(secs);
        self
    }

    /// What it weighs in a queue.
    pub(super) fn bytes(&self) -> usize {
        self.topic.len() + self.payload.len() + self.properties.as_deref().map_or(0, property_bytes)
    }

    /// Whether its publisher wants it no longer delivered.
    pub(super) fn is_expired(&self, now: Instant) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// The seconds that are left of its expiry, at least one.
    pub(super) fn expiry_left(&self, now: Instant) -> Option<NonZeroU32> {
        let left = self.expires_at?.saturating_duration_since(now).as_secs().max(1);
        u32::try_from(left).ok().and_then(NonZeroU32::new)
    }
}

/// What the properties of a message weigh.
pub(super) fn property_bytes(p: &PublishProperties) -> usize {
    let texts = [p.content_type.as_ref(), p.response_topic.as_ref()];
    texts.iter().flatten().map(|t| t.len()).sum::<usize>()
        + p.correlation_data.as_ref().map_or(0, Bytes::len)
        + p.user_properties.iter().map(|(k, v)| k.len() + v.len()).sum::<usize>()
}

/// What a subscriber asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Subscription {
    pub(super) qos: QoS,
    pub(super) no_local: bool,
    pub(super) retain_as_published: bool,
    pub(super) number: Option<NonZeroU32>,
}

/// A message on its way to one subscriber.
#[derive(Debug, Clone)]
pub(super) struct Delivery {
    pub(super) message: Arc<Message>,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    /// The subscription identifiers of all filters that covered it (v5).
    pub(super) numbers: Vec<NonZeroU32>,
    /// Under which it is kept, in the order of the session's messages.
    pub(super) number: u64,
}

/// What the client at the other end can take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    /// How many un-acknowledged messages.
    pub(super) window: usize,
    /// The largest packet.
    pub(super) max_packet: usize,
}

/// A message that was sent and not yet acknowledged.
#[derive(Debug)]
struct OnItsWay {
    delivery: Delivery,
    /// False while PUBACK or PUBREC is awaited; with PUBREL sent, PUBCOMP is.
    released: bool,
}

/// The part of a session that outlives its connections.
#[derive(Debug, Default)]
pub(super) struct Session {
    pub(super) filters: BTreeSet<String>,
    queue: VecDeque<Delivery>,
    queued_bytes: usize,
    in_flight: VecDeque<(NonZeroU16, OnItsWay)>,
    resend: VecDeque<NonZeroU16>,
    received: BTreeSet<NonZeroU16>,
    last_id: u16,
    next_number: u64,
    /// Whether it outlives the agent; only then is it noted what changes.
    is_kept: bool,
    /// The numbers of messages that came, went or were sent since that was last written.
    touched: BTreeSet<u64>,
    /// Whether anything else has changed.
    changed: bool,
}

/// What happened to a message that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offered {
    /// It waits for the client.
    Queued,
    /// It waits, and the oldest QoS 0 message went for it.
    Displaced,
    /// There was no room.
    Dropped,
}

impl Session {
    /// Queues a message. When the queue is full the oldest QoS 0 message goes first, then the new one.
    pub(super) fn offer(&mut self, delivery: Delivery, limits: &Limits) -> Offered {
        let room = limits.queued_messages;
        let fits = |s: &Self| {
            s.queue.len() < room && s.queued_bytes + delivery.message.bytes() <= limits.queued_bytes
        };
        let mut offered = Offered::Queued;
        if !fits(self) {
            self.drop_oldest_qos0();
            offered = Offered::Displaced;
        }
        if !fits(self) {
            return Offered::Dropped;
        }
        self.push(delivery);
        offered
    }

    /// Queues a retained message for a new subscription; these have the retained store's room beside the queue's.
    pub(super) fn offer_retained(&mut self, delivery: Delivery, limits: &Limits) -> Offered {
        if self.queue.len() >= limits.queued_messages + limits.retained_messages
            || self.queued_bytes > limits.queued_bytes + limits.retained_bytes
        {
            return Offered::Dropped;
        }
        self.push(delivery);
        Offered::Queued
    }

    fn push(&mut self, mut delivery: Delivery) {
        self.queued_bytes += delivery.message.bytes();
        delivery.number = self.next_number;
        self.next_number += 1;
        self.touch(&delivery);
        self.queue.push_back(delivery);
    }

    /// What has no acknowledgement is not kept.
    fn touch(&mut self, delivery: &Delivery) {
        if self.is_kept && delivery.qos != QoS::AtMostOnce {
            self.touched.insert(delivery.number);
        }
    }

    /// What waits for its client, in bytes.
    pub(super) fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    fn drop_oldest_qos0(&mut self) {
        let oldest = self.queue.iter().position(|d| d.qos == QoS::AtMostOnce);
        if let Some(dropped) = oldest.and_then(|i| self.queue.remove(i)) {
            self.queued_bytes -= dropped.message.bytes();
        }
    }

    /// A new connection: what was on its way is sent again, in order.
    pub(super) fn resume(&mut self) {
        self.resend = self.in_flight.iter().map(|(id, _)| *id).collect();
    }

    /// The next packet for the client, if it can take one; `dropped` counts what it will never get.
    pub(super) fn next(&mut self, peer: Peer, now: Instant, dropped: &mut usize) -> Option<Outgoing> {
        while let Some(id) = self.resend.pop_front() {
            if let Some((id, on_its_way)) = self.in_flight.iter().find(|(other, _)| *other == id) {
                return Some(match on_its_way.released {
                    false => Outgoing::publish(on_its_way.delivery.clone(), Some(*id), true),
                    true => Outgoing::Release(*id),
                });
            }
        }
        while let Some(next) = self.queue.front() {
            if next.qos != QoS::AtMostOnce && self.in_flight.len() >= peer.window {
                return None;
            }
            let delivery = self.queue.pop_front()?;
            self.queued_bytes -= delivery.message.bytes();
            self.touch(&delivery);
            if delivery.message.is_expired(now) || !fits_packet(&delivery, peer.max_packet) {
                *dropped += 1;
                continue;
            }
            let id = (delivery.qos != QoS::AtMostOnce).then(|| self.launch(&delivery));
            return Some(Outgoing::publish(delivery, id, false));
        }
        None
    }

    fn launch(&mut self, delivery: &Delivery) -> NonZeroU16 {
        let id = self.free_id();
        self.in_flight.push_back((id, OnItsWay { delivery: delivery.clone(), released: false }));
        id
    }

    fn free_id(&mut self) -> NonZeroU16 {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            // Ends: the window is far smaller than the 65,535 ids.
            if let Some(id) = NonZeroU16::new(self.last_id)
                && !self.in_flight.iter().any(|(used, _)| *used == id)
            {
                return id;
            }
        }
    }

    /// PUBACK, PUBCOMP, or a PUBREC that refuses: the message is done with.
    pub(super) fn on_done(&mut self, id: NonZeroU16) {
        let Some(done) = self.in_flight.iter().position(|(other, _)| *other == id) else { return };
        if let Some((_, on_its_way)) = self.in_flight.remove(done) {
            self.touch(&on_its_way.delivery);
        }
    }

    /// PUBREC: the client has it. False if it was never sent.
    pub(super) fn on_received(&mut self, id: NonZeroU16) -> bool {
        let Some((_, on_its_way)) = self.in_flight.iter_mut().find(|(other, _)| *other == id) else {
            return false;
        };
        on_its_way.released = true;
        if self.is_kept {
            self.touched.insert(on_its_way.delivery.number);
        }
        true
    }

    /// The client's QoS 2 messages that are stored and not yet released.
    pub(super) fn received(&self) -> &BTreeSet<NonZeroU16> {
        &self.received
    }

    /// A QoS 2 message of the client is stored.
    pub(super) fn on_stored(&mut self, id: NonZeroU16) {
        self.received.insert(id);
        self.on_changed();
    }

    /// PUBREL: the id is free again. False if it was not in use.
    pub(super) fn on_release(&mut self, id: NonZeroU16) -> bool {
        self.on_changed();
        self.received.remove(&id)
    }
}

fn fits_packet(delivery: &Delivery, max: usize) -> bool {
    // 5 bytes of fixed header, 2 of topic length, 2 of packet id, and at most 13 for each property that is not text.
    let overhead = 48 + delivery.numbers.len() * 5;
    delivery.message.bytes() + overhead <= max
}

#[cfg(test)]
#[expect(clippy::wildcard_enum_match_arm, reason = "any other packet fails the test")]
mod tests {
    use super::*;

    const PEER: Peer = Peer { window: 2, max_packet: 1_000 };

    fn delivery(text: &'static str, qos: QoS) -> Delivery {
        let message = Arc::new(Message::new("t", text.into(), false));
        Delivery { message, qos, retain: false, numbers: vec![], number: 0 }
    }

    fn id(n: u16) -> NonZeroU16 {
        NonZeroU16::new(n).unwrap()
    }

    /// What goes out: payload or "rel", packet id, DUP.
    fn sent(session: &mut Session) -> Vec<(String, u16, bool)> {
        let mut dropped = 0;
        std::iter::from_fn(|| session.next(PEER, Instant::now(), &mut dropped))
            .map(|packet| match packet {
                Outgoing::Publish(p) => {
                    let text = String::from_utf8(p.delivery.message.payload.to_vec()).unwrap();
                    (text, p.id.map_or(0, NonZeroU16::get), p.dup)
                }
                Outgoing::Release(id) => ("rel".into(), id.get(), false),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn no_more_than_the_window_is_on_its_way() {
        let (mut session, limits) = (Session::default(), Limits::default());
        for text in ["a", "b", "c"] {
            assert_eq!(session.offer(delivery(text, QoS::AtLeastOnce), &limits), Offered::Queued);
        }
        assert_eq!(sent(&mut session), [("a".into(), 1, false), ("b".into(), 2, false)]);
        session.on_done(id(1));
        assert_eq!(sent(&mut session), [("c".into(), 3, false)]);
    }

    #[test]
    fn a_new_connection_gets_again_what_was_not_acknowledged() {
        let (mut session, limits) = (Session::default(), Limits::default());
        session.offer(delivery("a", QoS::AtLeastOnce), &limits);
        session.offer(delivery("b", QoS::ExactlyOnce), &limits);
        assert_eq!(sent(&mut session).len(), 2);
        assert!(session.on_received(id(2)));
        assert!(!session.on_received(id(9)));
        session.resume();
        assert_eq!(sent(&mut session), [("a".into(), 1, true), ("rel".into(), 2, false)]);
        session.on_done(id(1));
        session.on_done(id(2));
        session.resume();
        assert_eq!(sent(&mut session), []);
    }

    #[test]
    fn a_full_queue_loses_the_oldest_qos_0_and_then_the_new_one() {
        let mut session = Session::default();
        let limits = Limits { queued_messages: 2, ..Limits::default() };
        session.offer(delivery("a", QoS::AtLeastOnce), &limits);
        session.offer(delivery("b", QoS::AtMostOnce), &limits);
        assert_eq!(session.offer(delivery("c", QoS::AtLeastOnce), &limits), Offered::Displaced);
        assert_eq!(session.offer(delivery("d", QoS::AtLeastOnce), &limits), Offered::Dropped);
        assert_eq!(sent(&mut session), [("a".into(), 1, false), ("c".into(), 2, false)]);
        assert_eq!(session.queued_bytes, 0);
    }

    #[test]
    fn what_waits_is_bounded_in_bytes_and_with_what_is_retained() {
        // Each of them weighs two bytes.
        let limits = Limits { queued_bytes: 5, ..Limits::default() };
        let mut session = Session::default();
        let offered = ["a", "b", "c"].map(|text| session.offer(delivery(text, QoS::AtLeastOnce), &limits));
        assert_eq!(offered, [Offered::Queued, Offered::Queued, Offered::Dropped]);
        for limits in [
            Limits { queued_messages: 1, retained_messages: 1, ..Limits::default() },
            Limits { queued_bytes: 2, retained_bytes: 1, ..Limits::default() },
        ] {
            let mut session = Session::default();
            let offered =
                ["a", "b", "c"].map(|text| session.offer_retained(delivery(text, QoS::AtLeastOnce), &limits));
            assert_eq!(offered, [Offered::Queued, Offered::Queued, Offered::Dropped], "{limits:?}");
        }
    }

    #[test]
    fn a_message_that_is_expired_or_too_large_for_the_client_is_counted() {
        let (mut session, limits, now) = (Session::default(), Limits::default(), Instant::now());
        let expiry = PublishProperties { message_expiry_interval: NonZeroU32::new(5), ..Default::default() };
        let message = Message::new("t", "old".into(), false).with_properties(Some(expiry));
        assert!(!message.is_expired(now + Duration::from_secs(6)), "one that is not published does not age");
        let message = message.published(now);
        assert_eq!(message.expiry_left(now + Duration::from_secs(3)), NonZeroU32::new(2));
        let old = Delivery { message: Arc::new(message), ..delivery("", QoS::AtLeastOnce) };
        let large = Message::new("t", vec![0; 2_000].into(), false);
        let large = Delivery { message: Arc::new(large), ..delivery("", QoS::AtLeastOnce) };
        session.offer(old, &limits);
        session.offer(large, &limits);
        let mut dropped = 0;
        assert!(session.next(PEER, now + Duration::from_secs(6), &mut dropped).is_none());
        assert_eq!((dropped, session.queued_bytes), (2, 0));
    }

    #[test]
    fn packet_ids_in_use_are_passed_over() {
        let (mut session, limits) = (Session::default(), Limits::default());
        session.last_id = u16::MAX;
        session.offer(delivery("a", QoS::AtLeastOnce), &limits);
        assert_eq!(sent(&mut session), [("a".into(), 1, false)]);
        session.last_id = u16::MAX;
        session.offer(delivery("b", QoS::AtLeastOnce), &limits);
        assert_eq!(sent(&mut session), [("b".into(), 2, false)]);
    }

    #[test]
    fn a_qos_2_id_is_remembered_until_it_is_released() {
        let mut session = Session::default();
        session.on_stored(id(7));
        assert!(session.received().contains(&id(7)));
        assert!(session.on_release(id(7)));
        assert!(!session.on_release(id(7)));
    }
}
