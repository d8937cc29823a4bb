//! Last wills: what is published for a client that went without a word.

use super::session::Message;
use std::time::Duration;
use tokio::time::Instant;

/// A last will that may be published.
#[derive(Debug, Clone)]
pub(super) struct Will {
    pub(super) message: Message,
    /// How long its client has to come back first (v5).
    pub(super) delay: Duration,
}

/// A will whose client is gone.
#[derive(Debug)]
pub(super) struct PendingWill {
    due: Instant,
    will: Will,
}

impl PendingWill {
    /// The will of a client that went at `now` and whose session is kept for `kept`: the end of the session makes it due too.
    pub(super) fn new(will: Will, now: Instant, kept: Duration) -> Self {
        Self { due: now + will.delay.min(kept), will }
    }

    /// When it is to be published.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// The message, for when it is due.
    pub(super) fn message(&self) -> &Message {
        &self.will.message
    }

    /// The message, to be published now.
    pub(super) fn into_message(self) -> Message {
        self.will.message
    }

    /// The message if it is due; a client that came back in time takes its will with it.
    pub(super) fn unless_revoked(self, now: Instant) -> Option<Message> {
        (self.due <= now).then_some(self.will.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(delay: u64, kept: u64, now: Instant) -> PendingWill {
        let message = Message::new("a/status", "offline".into(), true);
        let will = Will { message, delay: Duration::from_secs(delay) };
        PendingWill::new(will, now, Duration::from_secs(kept))
    }

    #[test]
    fn the_end_of_the_session_cuts_the_delay() {
        let now = Instant::now();
        assert_eq!(pending(30, 0, now).due(), now);
        assert_eq!(pending(30, 10, now).due(), now + Duration::from_secs(10));
        assert_eq!(pending(30, 60, now).due(), now + Duration::from_secs(30));
    }

    #[test]
    fn a_client_that_comes_back_in_time_revokes_it() {
        let now = Instant::now();
        assert!(pending(30, 60, now).unless_revoked(now + Duration::from_secs(29)).is_none());
        assert!(pending(0, 60, now).unless_revoked(now).is_some());
    }
}
