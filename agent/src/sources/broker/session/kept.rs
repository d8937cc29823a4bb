//! A session and its messages as they are kept across a restart of the agent, and back.

use super::{Delivery, Message, OnItsWay, Session};
use crate::store::{KeptDelivery, KeptMessage, KeptProperties};
use bytes::Bytes;
use rmqtt_codec::types::QoS;
use rmqtt_codec::v5::PublishProperties;
use std::collections::BTreeSet;
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use vigil_core::time::{Span, Timestamp};

/// One moment on the clock of this life of the agent, and on the one that outlives it.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Moment {
    pub(in super::super) now: Instant,
    pub(in super::super) at: Timestamp,
}

impl Moment {
    /// An instant of this life, for a later one.
    pub(in super::super) fn timestamp(self, instant: Instant) -> Timestamp {
        let span =
            |duration: Duration| Span::from_millis(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX));
        match instant.checked_duration_since(self.now) {
            Some(ahead) => self.at + span(ahead),
            None => self.at - span(self.now.duration_since(instant)),
        }
    }

    /// How long it is until `at`; nothing if that is over.
    pub(in super::super) fn until(self, at: Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(at.since(self.at).millis()).unwrap_or(0))
    }

    /// How long it is since `at`; nothing if the clock stood later then.
    pub(in super::super) fn since(self, at: Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(self.at.since(at).millis()).unwrap_or(0))
    }
}

impl Message {
    /// As it is kept.
    pub(in super::super) fn to_kept(&self, moment: Moment) -> KeptMessage {
        KeptMessage {
            topic: self.topic.clone(),
            payload: self.payload.to_vec(),
            qos: self.qos.into(),
            retain: self.retain,
            expires_at: self.expires_at.map(|at| moment.timestamp(at)),
            properties: self.properties.as_deref().map(properties),
        }
    }

    /// As it was.
    pub(in super::super) fn of_kept(kept: KeptMessage, moment: Moment) -> Self {
        Self {
            topic: kept.topic,
            payload: Bytes::from(kept.payload),
            qos: qos(kept.qos),
            retain: kept.retain,
            properties: kept.properties.map(|kept| Box::new(of_kept(kept))),
            expires_at: kept.expires_at.map(|at| moment.now + moment.until(at)),
        }
    }
}

/// One that no version of the agent has written is taken for the middle one.
pub(in super::super) fn qos(byte: u8) -> QoS {
    QoS::try_from(byte).unwrap_or(QoS::AtLeastOnce)
}

fn properties(p: &PublishProperties) -> KeptProperties {
    KeptProperties {
        content_type: p.content_type.as_ref().map(ToString::to_string),
        response_topic: p.response_topic.as_ref().map(ToString::to_string),
        correlation_data: p.correlation_data.as_ref().map(|data| data.to_vec()),
        is_utf8_payload: p.is_utf8_payload,
        user_properties: p.user_properties.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect(),
    }
}

fn of_kept(kept: KeptProperties) -> PublishProperties {
    PublishProperties {
        content_type: kept.content_type.map(Into::into),
        response_topic: kept.response_topic.map(Into::into),
        correlation_data: kept.correlation_data.map(Bytes::from),
        is_utf8_payload: kept.is_utf8_payload,
        user_properties: kept.user_properties.into_iter().map(|(k, v)| (k.into(), v.into())).collect(),
        ..PublishProperties::default()
    }
}

impl Delivery {
    fn to_kept(&self, sent: Option<NonZeroU16>, released: bool, moment: Moment) -> KeptDelivery {
        KeptDelivery {
            message: self.message.to_kept(moment),
            qos: self.qos.into(),
            retain: self.retain,
            numbers: self.numbers.iter().map(|number| number.get()).collect(),
            sent: sent.map(NonZeroU16::get),
            released,
        }
    }
}

impl Session {
    /// Whether what changes is to be noted from now on. One that is kept only now is new altogether.
    pub(in super::super) fn set_kept(&mut self, is_kept: bool) {
        if is_kept && !self.is_kept {
            self.is_kept = true;
            self.touched = self.numbers();
        }
        self.is_kept = is_kept;
        self.on_changed();
    }

    /// Something of it has changed that is not a message.
    pub(in super::super) fn on_changed(&mut self) {
        self.changed = true;
    }

    /// Whether something is to be written.
    pub(in super::super) fn has_changes(&self) -> bool {
        self.changed || !self.touched.is_empty()
    }

    /// The messages of which there may be something on disk.
    pub(in super::super) fn numbers(&self) -> BTreeSet<u64> {
        let on_their_way = self.in_flight.iter().map(|(_, on_its_way)| &on_its_way.delivery);
        let all = self.queue.iter().chain(on_their_way).filter(|d| d.qos != QoS::AtMostOnce);
        all.map(|delivery| delivery.number).chain(self.touched.iter().copied()).collect()
    }

    /// Whether its own record has changed; it is taken as written from here on.
    pub(in super::super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// The next message that has changed, and what it is now; it is taken as written from here on.
    pub(in super::super) fn take_touched(&mut self, moment: Moment) -> Option<(u64, Option<KeptDelivery>)> {
        let number = self.touched.pop_first()?;
        let waiting = self.queue.binary_search_by_key(&number, |delivery| delivery.number).ok();
        let waiting = waiting.and_then(|at| self.queue.get(at)).map(|d| d.to_kept(None, false, moment));
        let sent = || {
            let mut all = self.in_flight.iter();
            let (id, sent) = all.find(|(_, on_its_way)| on_its_way.delivery.number == number)?;
            Some(sent.delivery.to_kept(Some(*id), sent.released, moment))
        };
        Some((number, waiting.or_else(sent)))
    }

    /// The ids that are in use and the next that are free: of the client's messages, and of those for it.
    pub(in super::super) fn ids(&self) -> (Vec<u16>, u16, u64) {
        (self.received.iter().map(|id| id.get()).collect(), self.last_id, self.next_number)
    }

    /// As it was before a restart, but for its messages.
    pub(in super::super) fn of_kept(received: &[u16], last_id: u16, next_number: u64) -> Self {
        let received = received.iter().filter_map(|id| NonZeroU16::new(*id)).collect();
        Self { received, last_id, next_number, is_kept: true, ..Self::default() }
    }

    /// One of its messages, in the order of their numbers.
    pub(in super::super) fn add_kept(&mut self, number: u64, kept: KeptDelivery, moment: Moment) {
        let delivery = Delivery {
            qos: qos(kept.qos),
            retain: kept.retain,
            numbers: kept.numbers.iter().filter_map(|number| NonZeroU32::new(*number)).collect(),
            number,
            message: Arc::new(Message::of_kept(kept.message, moment)),
        };
        self.next_number = self.next_number.max(number + 1);
        match kept.sent.and_then(NonZeroU16::new) {
            Some(id) => self.in_flight.push_back((id, OnItsWay { delivery, released: kept.released })),
            None => {
                self.queued_bytes += delivery.message.bytes();
                self.queue.push_back(delivery);
            }
        }
    }
}
