//! Whether the receiver can be reached at all: neither an event nor a question for commands was answered for so long.

use crate::commands::ListenerState;
use crate::courier::UplinkState;
use serde::Serialize;
use std::time::Duration;
use tokio::sync::watch;
use vigil_core::time::{Span, Timestamp};

/// After that silence the link is lost. A question for commands is answered every 25 to 30 s, so two in a row have failed;
/// whoever looks every five seconds says so within a minute.
const LOST_AFTER: Span = Span::from_secs(50);
/// How much longer than its heartbeat a link may be silent that has no commands.
const SPARE: Span = Span::from_secs(20);

/// The silence that a link with a heartbeat every so often is allowed.
pub fn patience(heartbeat: Duration) -> Span {
    let heartbeat = i64::try_from(heartbeat.as_millis()).unwrap_or(i64::MAX);
    LOST_AFTER.max(Span::from_millis(heartbeat.saturating_add(SPARE.millis())))
}

/// The link to the receiver, as both ways over it see it.
#[derive(Debug, Clone)]
pub struct Link {
    events: watch::Receiver<UplinkState>,
    commands: watch::Receiver<ListenerState>,
    patience: Span,
    since: Timestamp,
}

/// How the link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LinkView {
    /// Whether nothing has been answered for too long.
    pub lost: bool,
    /// When something was last answered.
    pub heard_at: Option<Timestamp>,
}

impl Link {
    /// A link that is used from `since` on, and is lost after a silence of more than `patience`.
    pub const fn new(
        events: watch::Receiver<UplinkState>,
        commands: watch::Receiver<ListenerState>,
        patience: Span,
        since: Timestamp,
    ) -> Self {
        Self { events, commands, patience, since }
    }

    /// How it is at `now`.
    pub fn view(&self, now: Timestamp) -> LinkView {
        let heard_at = self.events.borrow().last_success_at.max(self.commands.borrow().last_success_at);
        let silence = now.since(heard_at.unwrap_or(self.since).max(self.since));
        LinkView { lost: silence > self.patience, heard_at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_millis(1_773_160_000_000 + secs * 1_000)
    }

    fn link(heartbeat: u64, event: Option<i64>, poll: Option<i64>) -> Link {
        let events = UplinkState { last_success_at: event.map(at), ..UplinkState::default() };
        let commands = ListenerState { last_success_at: poll.map(at), ..ListenerState::default() };
        let (events, commands) = (watch::channel(events).1, watch::channel(commands).1);
        Link::new(events, commands, patience(Duration::from_secs(heartbeat)), at(0))
    }

    #[test]
    fn either_way_keeps_it_and_fifty_seconds_of_silence_lose_it() {
        let table = [
            (30, None, None, 50, false),
            (30, None, None, 51, true),
            (30, Some(40), None, 90, false),
            (30, Some(40), None, 91, true),
            (30, Some(10), Some(60), 110, false),
            (30, Some(10), Some(60), 111, true),
            (600, Some(10), None, 630, false),
            (600, Some(10), None, 631, true),
            (30, Some(-500), None, 40, false),
        ];
        for (heartbeat, event, poll, now, lost) in table {
            let view = link(heartbeat, event, poll).view(at(now));
            assert_eq!(view.lost, lost, "{event:?} {poll:?} at {now}");
            assert_eq!(view.heard_at, event.max(poll).map(at));
        }
    }
}
