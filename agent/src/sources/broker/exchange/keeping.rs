//! What outlives the agent: sessions with what waits for their clients, and what is retained. It is written behind, in what
//! order it comes and as fast as the store is; who must not go on before that waits for it.
//!
//! A record has a name: `s` and whose session it is, `m` and the number of one of its messages, `r` and a topic.

use super::{Attachment, Exchange, Key, Seat, State};
use crate::sources::broker::acl::User;
use crate::sources::broker::limits::Limits;
use crate::sources::broker::session::{Message, Moment, Session, Subscription, qos};
use crate::sources::broker::will::{PendingWill, Will};
use crate::store::{Keeping, Kept, KeptByName, KeptDelivery, KeptFilter, KeptSession};
use ring::digest::{SHA256, digest};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};
use vigil_core::time::Timestamp;

/// Records in one commit: what waits for one client, so that an event never waits for more.
const AT_ONCE: usize = 1_000;
/// Bytes in one commit.
const BYTES_AT_ONCE: usize = 256 * 1024;
/// How long an answer waits for what it promises: a store that is out of order is not to silence a screen on site, and what
/// was promised is in memory until it is written.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a client that was connected has to come back after a restart, before its last will is published: phones try
/// again within half a minute.
const RETURN: Duration = Duration::from_secs(60);

/// Bytes of the name of a session.
const WHOSE: usize = 16;

/// What is to be written.
#[derive(Debug)]
pub(super) struct Ledger {
    /// Whether anybody writes it.
    is_written: bool,
    sessions: BTreeSet<Key>,
    topics: BTreeSet<String>,
    /// Names of records that are no more; they go before anything of the same name is written.
    gone: VecDeque<Vec<u8>>,
    /// Nothing was read at the start, so that whatever is there is of an earlier life.
    anew: bool,
    /// How many changes there were.
    changes: u64,
    /// How many of them are on stable storage.
    kept: watch::Sender<u64>,
    news: Arc<Notify>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            is_written: false,
            sessions: BTreeSet::new(),
            topics: BTreeSet::new(),
            gone: VecDeque::new(),
            anew: false,
            changes: 0,
            kept: watch::Sender::new(0),
            news: Arc::default(),
        }
    }
}

impl Ledger {
    fn on_change(&mut self) {
        self.changes += 1;
        self.news.notify_one();
    }

    fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.topics.is_empty() && self.gone.is_empty()
    }
}

/// What one commit is to write.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    /// The changes.
    pub keeping: Keeping,
    /// Up to which change everything is written with it; `None` if more is to be written first.
    reaches: Option<u64>,
}

fn whose(key: &Key) -> [u8; WHOSE] {
    let name = match key.user() {
        User::Anonymous => vec![0],
        User::Named(name) => [&[1], name.as_bytes(), &[0]].concat(),
    };
    let digest = digest(&SHA256, &[&name, key.client().as_bytes()].concat());
    digest.as_ref().first_chunk().copied().unwrap_or_default()
}

fn session_name(key: &Key) -> Vec<u8> {
    [&b"s"[..], &whose(key)].concat()
}

fn message_name(key: &Key, number: u64) -> Vec<u8> {
    [&b"m"[..], &whose(key), &number.to_be_bytes()].concat()
}

fn topic_name(topic: &str) -> Vec<u8> {
    [&b"r"[..], topic.as_bytes()].concat()
}

impl Exchange {
    /// Resolves when there is something to write.
    pub(in super::super) async fn changed(&self) {
        let news = Arc::clone(&self.lock().ledger.news);
        news.notified().await;
    }

    /// What is to be written next.
    pub(in super::super) fn page(&self, at: Timestamp) -> Page {
        self.lock().page(Moment { now: Instant::now(), at })
    }

    /// A page is on stable storage; true if another is to be written at once.
    pub(in super::super) fn on_written(&self, page: &Page) -> bool {
        let state = self.lock();
        if let Some(reaches) = page.reaches {
            state.ledger.kept.send_replace(reaches);
        }
        !state.ledger.is_empty()
    }

    /// Waits until everything so far is on stable storage, or for too long.
    pub(in super::super) async fn settle(&self) {
        let (changes, mut kept) = {
            let ledger = &self.lock().ledger;
            if !ledger.is_written {
                return;
            }
            (ledger.changes, ledger.kept.subscribe())
        };
        let written = timeout(PATIENCE, kept.wait_for(|kept| *kept >= changes));
        if written.await.is_err() {
            tracing::warn!("the sessions of the broker are not on stable storage yet");
        }
    }

    /// Takes up what was kept, and notes from now on what changes; `None` if it cannot be read now.
    pub(in super::super) fn restore(&self, kept: Option<KeptByName>, at: Timestamp) {
        let mut state = self.lock();
        state.ledger.is_written = true;
        state.ledger.anew = kept.is_none();
        let moment = Moment { now: Instant::now(), at };
        state.restore(kept.unwrap_or_default(), moment, &self.limits);
    }
}

impl Attachment {
    /// Waits until the session is on stable storage as it is now, if it is one that is kept.
    pub(in super::super) async fn settle(&self) {
        if self.with(|seat| seat.recorded).unwrap_or(false) {
            self.exchange.settle().await;
        }
    }
}

impl Seat {
    /// Whether something of it is to outlive the agent.
    fn is_recorded(&self) -> bool {
        !self.kept.is_zero() || self.link.as_ref().is_some_and(|link| link.will.is_some())
    }
}

impl State {
    /// Something of a session has changed that is no message.
    pub(super) fn touch(&mut self, key: &Key) {
        if let Some(seat) = self.seats.get_mut(key) {
            seat.session.on_changed();
            self.note(key);
        }
    }

    /// Notes that a session, or what waits for its client, has changed.
    pub(super) fn note(&mut self, key: &Key) {
        let Some(seat) = self.seats.get_mut(key) else { return };
        let is_recorded = self.ledger.is_written && seat.is_recorded();
        if is_recorded && seat.session.has_changes() {
            seat.recorded = true;
            self.ledger.sessions.insert(key.clone());
            self.ledger.on_change();
        } else if !is_recorded && std::mem::take(&mut seat.recorded) {
            let numbers = seat.session.numbers();
            self.strike(key, &numbers);
        }
    }

    /// Notes that there is nothing any more of a session with these messages.
    pub(super) fn strike(&mut self, key: &Key, numbers: &BTreeSet<u64>) {
        self.ledger.sessions.remove(key);
        self.ledger.gone.push_back(session_name(key));
        self.ledger.gone.extend(numbers.iter().map(|number| message_name(key, *number)));
        self.ledger.on_change();
    }

    /// Notes that what is retained of a topic has changed.
    pub(super) fn note_topic(&mut self, topic: &str) {
        if self.ledger.is_written {
            self.ledger.topics.insert(topic.to_owned());
            self.ledger.on_change();
        }
    }

    fn page(&mut self, moment: Moment) -> Page {
        let mut writing = Writing { changes: vec![], bytes: 0 };
        while let Some(name) = self.ledger.gone.front().filter(|_| writing.has_room()) {
            writing.changes.push((name.clone(), None));
            self.ledger.gone.pop_front();
        }
        while let Some(key) = self.ledger.sessions.first().filter(|_| writing.has_room()).cloned() {
            if self.write_session(&key, &mut writing, moment) {
                self.ledger.sessions.remove(&key);
            }
        }
        while let Some(topic) = self.ledger.topics.first().filter(|_| writing.has_room()).cloned() {
            let kept = self.retained.get(&topic).map(|message| message.to_kept(moment));
            writing.put(topic_name(&topic), kept.map(Kept::Retained));
            self.ledger.topics.remove(&topic);
        }
        let reaches = self.ledger.is_empty().then_some(self.ledger.changes);
        let anew = std::mem::take(&mut self.ledger.anew);
        Page { keeping: Keeping { anew, changes: writing.changes }, reaches }
    }

    /// True if all of it found room.
    fn write_session(&mut self, key: &Key, writing: &mut Writing, moment: Moment) -> bool {
        let Some(seat) = self.seats.get_mut(key) else { return true };
        let is_changed = seat.session.take_changed();
        while writing.has_room()
            && let Some((number, delivery)) = seat.session.take_touched(moment)
        {
            writing.put(message_name(key, number), delivery.map(Kept::Delivery));
        }
        let all = !seat.session.has_changes();
        if is_changed && let Some(session) = self.session_record(key, moment) {
            writing.put(session_name(key), Some(session));
        }
        all
    }

    fn session_record(&self, key: &Key, moment: Moment) -> Option<Kept> {
        let seat = self.seats.get(key)?;
        let (received, last_id, next_number) = seat.session.ids();
        let filter = |filter: &String| {
            let subscription = self.subscribers.get(filter, key)?;
            Some(KeptFilter {
                filter: filter.clone(),
                qos: subscription.qos.into(),
                no_local: subscription.no_local,
                retain_as_published: subscription.retain_as_published,
                number: subscription.number.map(NonZeroU32::get),
            })
        };
        let will = seat.link.as_ref().and_then(|link| link.will.as_ref()).map(|will| &will.message);
        let will = will.or_else(|| self.wills.get(key).map(PendingWill::message));
        let session = KeptSession {
            user: match key.user() {
                User::Anonymous => None,
                User::Named(name) => Some(name.to_string()),
            },
            client: key.client().to_owned(),
            kept_secs: seat.kept.as_secs(),
            left_at: seat.left_at.map(|left| moment.timestamp(left)),
            filters: seat.session.filters.iter().filter_map(filter).collect(),
            received,
            last_id,
            next_number,
            will: will.map(|message| message.to_kept(moment)),
        };
        // It ages from its publication on, so that there is no instant yet to keep in the message.
        Some(match will.and_then(Message::expiry) {
            Some(secs) => Kept::Expiring(session, secs.get()),
            None => Kept::Session(session),
        })
    }

    fn restore(&mut self, kept: KeptByName, moment: Moment, limits: &Limits) {
        let (mut sessions, mut messages) = (BTreeMap::new(), Vec::new());
        for (name, kept) in kept {
            let mut take_up = |session, will_expiry| {
                let key = self.restore_session(session, will_expiry, moment, limits);
                sessions.extend(key.map(|key| (whose(&key), key)));
            };
            match kept {
                Kept::Session(session) => take_up(session, None),
                Kept::Expiring(session, secs) => take_up(session, NonZeroU32::new(secs)),
                Kept::Delivery(delivery) => messages.push((name, delivery)),
                Kept::Retained(message) => {
                    let message = Arc::new(Message::of_kept(message, moment));
                    if !self.retained.keep(&message, limits) {
                        self.ledger.gone.push_back(name);
                    }
                }
            }
        }
        for (name, delivery) in messages {
            if self.restore_message(&name, &sessions, delivery, moment).is_none() {
                self.ledger.gone.push_back(name);
            }
        }
        let (sessions, retained) = (self.seats.len(), self.retained.len());
        tracing::info!(sessions, retained, "took up the sessions of the broker");
    }

    /// The session, if its time is not over.
    fn restore_session(
        &mut self,
        kept: KeptSession,
        will_expiry: Option<NonZeroU32>,
        moment: Moment,
        limits: &Limits,
    ) -> Option<Key> {
        let user = kept.user.map_or(User::Anonymous, |name| User::Named(name.into()));
        let key = Key::new(user, kept.client);
        if let Some(message) = kept.will {
            let message = Message::of_kept(message, moment);
            let message = will_expiry.into_iter().fold(message, Message::with_expiry);
            let will = Will { message, delay: RETURN };
            self.wills.insert(key.clone(), PendingWill::new(will, moment.now, RETURN));
        }
        let away = kept.left_at.map_or(Duration::ZERO, |left| moment.since(left));
        let life = Duration::from_secs(kept.kept_secs).min(limits.session_expiry);
        let Some(left) = life.checked_sub(away).filter(|left| !left.is_zero()) else {
            self.ledger.gone.push_back(session_name(&key));
            return None;
        };
        let mut session = Session::of_kept(&kept.received, kept.last_id, kept.next_number);
        for filter in kept.filters.into_iter().take(limits.subscriptions) {
            let subscription = Subscription {
                qos: qos(filter.qos),
                no_local: filter.no_local,
                retain_as_published: filter.retain_as_published,
                number: filter.number.and_then(NonZeroU32::new),
            };
            self.subscribers.insert(&filter.filter, key.clone(), subscription);
            session.filters.insert(filter.filter);
        }
        // An instant before the machine was started cannot be told: what is left of its life can.
        let seat = Seat { session, link: None, kept: left, left_at: Some(moment.now), recorded: true };
        self.seats.insert(key.clone(), seat);
        Some(key)
    }

    fn restore_message(
        &mut self,
        name: &[u8],
        sessions: &BTreeMap<[u8; WHOSE], Key>,
        delivery: KeptDelivery,
        moment: Moment,
    ) -> Option<()> {
        let (whose, number) = name.strip_prefix(b"m")?.split_first_chunk()?;
        let seat = self.seats.get_mut(sessions.get(whose)?)?;
        seat.session.add_kept(u64::from_be_bytes(number.try_into().ok()?), delivery, moment);
        Some(())
    }
}

/// A page that is being written.
struct Writing {
    changes: Vec<(Vec<u8>, Option<Kept>)>,
    bytes: usize,
}

impl Writing {
    fn has_room(&self) -> bool {
        self.changes.len() < AT_ONCE && self.bytes < BYTES_AT_ONCE
    }

    fn put(&mut self, name: Vec<u8>, kept: Option<Kept>) {
        self.bytes += match &kept {
            Some(Kept::Delivery(delivery)) => delivery.message.payload.len(),
            Some(Kept::Retained(message)) => message.payload.len(),
            Some(Kept::Session(session) | Kept::Expiring(session, _)) => {
                session.filters.iter().map(|filter| filter.filter.len()).sum()
            }
            None => 0,
        };
        self.changes.push((name, kept));
    }
}

#[cfg(test)]
#[expect(clippy::wildcard_enum_match_arm, reason = "any other packet fails the test")]
mod tests {
    use super::*;
    use crate::sources::broker::exchange::{Arrival, Attached};
    use crate::sources::broker::session::Peer;
    use crate::sources::broker::wire::{Outgoing, Request};
    use rmqtt_codec::types::QoS;
    use rmqtt_codec::v5::RetainHandling;
    use std::num::NonZeroU16;

    const HOUR: Duration = Duration::from_secs(3_600);
    const PEER: Peer = Peer { window: 2, max_packet: 100_000 };

    /// What lies on disk, and what time it is.
    #[derive(Default)]
    struct World {
        disk: BTreeMap<Vec<u8>, Kept>,
        at: Timestamp,
    }

    impl World {
        fn begins(&self) -> Arc<Exchange> {
            let exchange = Arc::new(Exchange::new(Limits::default()));
            exchange.restore(Some(self.disk.clone().into_iter().collect()), self.at);
            exchange
        }

        fn write(&mut self, exchange: &Exchange) {
            loop {
                let page = exchange.page(self.at);
                assert!(page.keeping.changes.len() <= AT_ONCE);
                for (name, kept) in page.keeping.changes.clone() {
                    match kept {
                        Some(kept) => drop(self.disk.insert(name, kept)),
                        None => drop(self.disk.remove(&name)),
                    }
                }
                if !exchange.on_written(&page) {
                    return;
                }
            }
        }

        /// The agent is killed, and another one starts.
        fn killed(&mut self, exchange: &Exchange) -> Arc<Exchange> {
            self.write(exchange);
            self.begins()
        }
    }

    fn arrival(kept: Duration) -> Arrival {
        let key = Key::new(User::Named("screen".into()), "c".into());
        Arrival { key, clean: false, kept, will: None }
    }

    fn attach(exchange: &Arc<Exchange>, arrival: Arrival) -> Attached {
        exchange.attach(arrival, Instant::now(), &|_| true).unwrap()
    }

    fn subscribe(attachment: &Attachment, filter: &str) {
        let (qos, number) = (QoS::ExactlyOnce, NonZeroU32::new(7));
        let subscription = Subscription { qos, no_local: false, retain_as_published: true, number };
        let filter = filter.to_owned();
        attachment.subscribe(Request { filter, subscription, retained: RetainHandling::AtSubscribe });
    }

    fn message(text: &'static str, qos: QoS) -> Message {
        Message::new("t/a", text.as_bytes().into(), false).with_qos(qos)
    }

    /// What goes out: payload or "rel", packet id, DUP.
    fn sent(attachment: &Attachment) -> Vec<(String, u16, bool)> {
        let told = |packet| match packet {
            Outgoing::Publish(p) => {
                let text = String::from_utf8(p.delivery.message.payload.to_vec()).unwrap();
                (text, p.id.map_or(0, NonZeroU16::get), p.dup)
            }
            Outgoing::Release(id) => ("rel".into(), id.get(), false),
            other => panic!("{other:?}"),
        };
        attachment.outbound(PEER, Instant::now()).into_iter().map(told).collect()
    }

    fn id(id: u16) -> NonZeroU16 {
        NonZeroU16::new(id).unwrap()
    }

    #[test]
    fn a_session_is_as_it_was() {
        let (mut world, first) = (World::default(), World::default().begins());
        let one = attach(&first, arrival(HOUR)).attachment;
        subscribe(&one, "t/+");
        for (text, qos) in [
            ("a", QoS::ExactlyOnce),
            ("b", QoS::AtLeastOnce),
            ("c", QoS::AtLeastOnce),
            ("d", QoS::AtMostOnce),
        ] {
            first.publish(message(text, qos), None);
        }
        assert_eq!(sent(&one), [("a".into(), 1, false), ("b".into(), 2, false)]);
        world.write(&first);
        assert!(one.on_received(id(1)));
        one.on_stored(id(9));
        let second = world.killed(&first);
        let again = attach(&second, arrival(HOUR));
        assert!(
            again.present && again.attachment.has_received(id(9)) && !again.attachment.has_received(id(8))
        );
        assert_eq!(sent(&again.attachment), [("rel".into(), 1, false), ("b".into(), 2, true)]);
        again.attachment.on_done(id(1));
        again.attachment.on_done(id(2));
        assert_eq!(
            sent(&again.attachment),
            [("c".into(), 3, false)],
            "and what has no acknowledgement is gone"
        );
        again.attachment.on_done(id(3));
        second.publish(message("e", QoS::AtLeastOnce), None);
        let third = world.killed(&second);
        assert_eq!(sent(&attach(&third, arrival(HOUR)).attachment), [("e".into(), 4, false)]);
    }

    #[test]
    fn a_subscription_is_as_it_was() {
        let (mut world, first) = (World::default(), World::default().begins());
        let one = attach(&first, arrival(HOUR)).attachment;
        for (filter, no_local, retain_as_published) in [("t/a", true, true), ("t/b", false, false)] {
            let number = NonZeroU32::new(7).filter(|_| no_local);
            let subscription = Subscription { qos: QoS::AtLeastOnce, no_local, retain_as_published, number };
            let retained = RetainHandling::NoAtSubscribe;
            one.subscribe(Request { filter: filter.to_owned(), subscription, retained });
        }
        let later = world.killed(&first);
        let one = attach(&later, arrival(HOUR)).attachment;
        let publish = |topic, from| later.publish(Message::new(topic, "x".into(), true), from);
        publish("t/a", Some(one.key()));
        publish("t/b", Some(one.key()));
        publish("t/a", None);
        let told = |packet| match packet {
            Outgoing::Publish(p) => {
                (p.delivery.message.topic.clone(), p.delivery.retain, p.delivery.numbers.len())
            }
            other => panic!("{other:?}"),
        };
        let heard: Vec<_> = one.outbound(PEER, Instant::now()).into_iter().map(told).collect();
        assert_eq!(heard, [("t/b".into(), false, 0), ("t/a".into(), true, 1)]);
    }

    #[test]
    fn what_is_over_leaves_nothing_behind() {
        let (mut world, exchange) = (World::default(), World::default().begins());
        let one = attach(&exchange, arrival(HOUR)).attachment;
        subscribe(&one, "t/+");
        for _ in 0..2 * AT_ONCE / 3 {
            exchange.publish(message("a", QoS::AtLeastOnce), None);
        }
        world.write(&exchange);
        assert_eq!(world.disk.len(), 1 + 2 * AT_ONCE / 3);
        assert_eq!(sent(&one).len(), 2);
        one.on_done(id(1));
        world.write(&exchange);
        assert_eq!(world.disk.len(), 2 * AT_ONCE / 3);
        drop(one);
        drop(attach(&exchange, Arrival { clean: true, ..arrival(Duration::ZERO) }));
        world.write(&exchange);
        assert_eq!(world.disk, BTreeMap::new());
    }

    #[test]
    fn a_session_that_began_anew_has_nothing_of_the_one_before() {
        let (mut world, exchange) = (World::default(), World::default().begins());
        let one = attach(&exchange, arrival(HOUR)).attachment;
        subscribe(&one, "t/+");
        exchange.publish(message("a", QoS::AtLeastOnce), None);
        world.write(&exchange);
        drop(one);
        let anew = attach(&exchange, Arrival { clean: true, ..arrival(HOUR) }).attachment;
        subscribe(&anew, "t/b");
        let later = world.killed(&exchange);
        later.publish(message("b", QoS::AtLeastOnce), None);
        assert_eq!(sent(&attach(&later, arrival(HOUR)).attachment), []);
    }

    #[test]
    fn a_session_whose_time_was_over_meanwhile_ends() {
        let (mut world, exchange) = (World::default(), World::default().begins());
        let one = attach(&exchange, arrival(HOUR)).attachment;
        subscribe(&one, "t/+");
        exchange.publish(message("a", QoS::AtLeastOnce), None);
        drop(one);
        world.write(&exchange);
        world.at = world.at + vigil_core::time::Span::from_mins(59);
        assert_eq!(world.begins().counts().sessions, 1);
        world.at = world.at + vigil_core::time::Span::from_mins(1);
        let later = world.begins();
        assert_eq!(later.counts().sessions, 0);
        world.write(&later);
        assert_eq!(world.disk, BTreeMap::new());
    }

    #[test]
    fn what_devices_retain_is_kept_and_what_is_cleared_goes() {
        let (mut world, exchange) = (World::default(), World::default().begins());
        let device = Key::new(User::Named("hs-1".into()), "c".into());
        let retained = |text: &'static str| Message::new("t/status", text.as_bytes().into(), true);
        exchange.publish(retained("online"), Some(&device));
        exchange.publish(Message::new("t/gateway", "{}".into(), true), None);
        let later = world.killed(&exchange);
        assert_eq!(later.counts().retained, 1, "the agent says its own again");
        let one = attach(&later, arrival(HOUR)).attachment;
        subscribe(&one, "t/#");
        assert_eq!(sent(&one), [("online".into(), 1, false)]);
        later.publish(retained(""), Some(&device));
        drop(attach(&later, Arrival { clean: true, ..arrival(Duration::ZERO) }));
        world.write(&later);
        assert_eq!(world.disk, BTreeMap::new());
    }

    #[test]
    fn who_was_connected_and_does_not_come_back_leaves_its_last_will() {
        let (mut world, exchange) = (World::default(), World::default().begins());
        let will = Some(Will { message: message("offline", QoS::AtLeastOnce), delay: Duration::ZERO });
        let one = attach(&exchange, Arrival { will: will.clone(), ..arrival(Duration::ZERO) });
        world.write(&exchange);
        let later = world.begins();
        let (due, next) = later.tidy(Instant::now());
        assert!(due.is_empty() && next.is_some());
        let (due, _) = later.tidy(Instant::now() + RETURN);
        assert_eq!(due.len(), 1, "it did not come back");
        let later = world.begins();
        let back = attach(&later, Arrival { will, ..arrival(Duration::ZERO) });
        assert!(back.earlier_will.is_none() && later.tidy(Instant::now() + RETURN).0.is_empty());
        drop((one, back));
    }

    #[test]
    fn a_last_will_of_before_a_restart_expires_as_its_client_said() {
        let (mut world, exchange) = (World::default(), World::default().begins());
        for (kept, secs) in [(Duration::ZERO, 3_600), (HOUR, 60)] {
            let message = message("offline", QoS::AtLeastOnce).with_expiry(NonZeroU32::new(secs).unwrap());
            let will = Some(Will { message, delay: Duration::ZERO });
            let one = attach(&exchange, Arrival { will, ..arrival(kept) });
            let (due, _) = world.killed(&exchange).tidy(Instant::now() + RETURN);
            let published: Vec<_> = due.into_iter().map(|(_, will)| will.published(Instant::now())).collect();
            assert_eq!(published.len(), 1);
            assert!(published[0].expiry_left(Instant::now()).unwrap().get().abs_diff(secs) <= 1);
            drop(one);
        }
    }

    #[test]
    fn all_together_have_a_bound() {
        let exchange = Arc::new(Exchange::new(Limits { queued_bytes_of_all: 10, ..Limits::default() }));
        let one = attach(&exchange, arrival(HOUR)).attachment;
        subscribe(&one, "t/+");
        for _ in 0..9 {
            exchange.publish(message("a", QoS::AtLeastOnce), None);
        }
        // Each of them weighs four bytes.
        assert_eq!((sent(&one).len(), exchange.counts().dropped), (2, 6));
    }

    #[test]
    fn what_could_not_be_read_at_the_start_is_of_an_earlier_life() {
        let exchange = Arc::new(Exchange::new(Limits::default()));
        exchange.restore(None, Timestamp::default());
        let _one = attach(&exchange, arrival(HOUR));
        assert!(exchange.page(Timestamp::default()).keeping.anew);
        assert!(!exchange.page(Timestamp::default()).keeping.anew);
    }
}
