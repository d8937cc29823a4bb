//! The last retained message of each topic.

use super::limits::Limits;
use super::session::Message;
use super::topics::matches;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::time::Instant;

/// Retained messages, bounded in number and bytes. One more topic than there is room for is refused; a topic that is
/// already there can always be replaced by a message that is no larger.
#[derive(Debug, Default)]
pub(super) struct Retained {
    by_topic: BTreeMap<String, Arc<Message>>,
    bytes: usize,
}

impl Retained {
    /// Keeps a message in place of the last one of its topic; an empty payload clears the topic. False if there is no room.
    pub(super) fn keep(&mut self, message: &Arc<Message>, limits: &Limits) -> bool {
        let old = self.by_topic.get(&message.topic).map_or(0, |m| m.bytes());
        if message.payload.is_empty() {
            self.by_topic.remove(&message.topic);
            self.bytes -= old;
            return true;
        }
        let bytes = self.bytes - old + message.bytes();
        let one_more = usize::from(old == 0);
        if bytes > limits.retained_bytes || self.by_topic.len() + one_more > limits.retained_messages {
            return false;
        }
        self.by_topic.insert(message.topic.clone(), Arc::clone(message));
        self.bytes = bytes;
        true
    }

    /// The messages that a new subscription to `filter` gets first.
    pub(super) fn covered_by<'a>(&'a self, filter: &'a str) -> impl Iterator<Item = &'a Arc<Message>> {
        let now = Instant::now();
        self.by_topic.values().filter(move |m| matches(filter, &m.topic) && !m.is_expired(now))
    }

    /// That of a topic.
    pub(super) fn get(&self, topic: &str) -> Option<&Arc<Message>> {
        self.by_topic.get(topic)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_topic.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rmqtt_codec::v5::PublishProperties;
    use std::num::NonZeroU32;
    use std::time::Duration;

    fn message(topic: &str, payload: &'static str) -> Arc<Message> {
        Arc::new(Message::new(topic, payload.as_bytes().into(), true))
    }

    fn payloads<'a>(retained: &'a Retained, filter: &'a str) -> Vec<&'a [u8]> {
        retained.covered_by(filter).map(|m| m.payload.as_ref()).collect()
    }

    #[test]
    fn the_last_one_stays_and_an_empty_one_clears() {
        let (mut retained, limits) = (Retained::default(), Limits::default());
        assert!(retained.keep(&message("a/b", "online"), &limits));
        assert!(retained.keep(&message("a/b", "offline"), &limits));
        assert!(retained.keep(&message("a/c", "online"), &limits));
        assert_eq!(payloads(&retained, "a/+"), [b"offline".as_slice(), b"online"]);
        assert!(retained.keep(&message("a/b", ""), &limits));
        assert!(retained.keep(&message("a/c", ""), &limits));
        assert_eq!((retained.len(), retained.bytes), (0, 0));
    }

    #[test]
    fn one_that_is_expired_is_told_to_nobody() {
        let (mut retained, limits, now) = (Retained::default(), Limits::default(), Instant::now());
        for (topic, secs) in [("a", 5), ("b", 3_600)] {
            let properties = PublishProperties {
                message_expiry_interval: NonZeroU32::new(secs),
                ..PublishProperties::default()
            };
            let message = Message::new(topic, topic.as_bytes().to_vec().into(), true);
            let message = message.with_properties(Some(properties)).published(now - Duration::from_secs(5));
            assert!(retained.keep(&Arc::new(message), &limits));
        }
        assert_eq!(payloads(&retained, "#"), [b"b".as_slice()]);
    }

    #[test]
    fn a_full_store_refuses_a_new_topic_but_not_a_known_one() {
        let mut retained = Retained::default();
        let limits = Limits { retained_messages: 1, ..Limits::default() };
        assert!(retained.keep(&message("a", "1"), &limits));
        assert!(!retained.keep(&message("b", "1"), &limits));
        assert!(retained.keep(&message("a", "2"), &limits));
        let limits = Limits { retained_bytes: 4, ..Limits::default() };
        assert!(!retained.keep(&message("a", "12345"), &limits));
        assert_eq!(payloads(&retained, "#"), [b"2".as_slice()]);
    }
}
