//! How long the pump has been at one piece of work, and what it has brought to an end: a disk that answers no more is noticed
//! from outside, and so is a pump that turns no more.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// A piece of work takes milliseconds, and telling a day again some seconds: after half a minute the disk is stuck, and
/// that is said.
pub const STUCK_AFTER: Duration = Duration::from_secs(30);
/// The kernel gives a request to a disk up half a minute after it was made, and tries it a few times: what is not back
/// after two minutes needs another process, or a person.
pub const HOPELESS_AFTER: Duration = Duration::from_secs(120);
/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long a piece of work may take until it is said, and until it is hopeless.
type Patience = [Duration; 2];

/// What was brought to an end since the start. Only what has really happened counts: whoever stands still, stands still here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Pieces of work.
    pub turns: u64,
    /// Answers of the disk: commits, and attempts to open the store, whatever came of them.
    pub answers: u64,
}

impl Progress {
    /// Whether the pump has turned and the disk has answered since it stood at `before`.
    pub const fn is_beyond(self, before: Self) -> bool {
        self.turns > before.turns && self.answers > before.answers
    }
}

/// When the piece of work in hand was begun, and how many were ended.
#[derive(Debug, Clone)]
pub struct Pulse {
    /// What the instants are counted from.
    since: Instant,
    patience: Patience,
    /// Milliseconds from there, and one; zero while the pump waits.
    begun: Arc<AtomicU64>,
    progress: Arc<watch::Sender<Progress>>,
}

/// A piece of work; it ends when this is dropped.
#[derive(Debug)]
pub struct Beat<'a>(&'a Pulse);

impl Drop for Beat<'_> {
    fn drop(&mut self) {
        self.0.begun.store(0, Ordering::Release);
        self.0.progress.send_modify(|progress| progress.turns += 1);
    }
}

impl Default for Pulse {
    fn default() -> Self {
        Self::with([STUCK_AFTER, HOPELESS_AFTER])
    }
}

impl Pulse {
    fn with(patience: Patience) -> Self {
        Self { since: Instant::now(), patience, begun: Arc::default(), progress: Arc::default() }
    }

    /// Begins a piece of work.
    pub fn begin(&self) -> Beat<'_> {
        let now = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.begun.store(now.saturating_add(1), Ordering::Release);
        Beat(self)
    }

    /// The disk has answered.
    pub fn answered(&self) {
        self.progress.send_modify(|progress| progress.answers += 1);
    }

    /// What was brought to an end, and how it goes on.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// For how long the piece of work in hand has been going on; nothing while the pump waits for some.
    pub fn busy_for(&self) -> Duration {
        match self.begun.load(Ordering::Acquire) {
            0 => Duration::ZERO,
            begun => self.since.elapsed().saturating_sub(Duration::from_millis(begun - 1)),
        }
    }

    /// For how long it has been stuck, if it is.
    pub fn stuck_for(&self) -> Option<Duration> {
        let [stuck, _] = self.patience;
        Some(self.busy_for()).filter(|busy| *busy >= stuck)
    }

    /// Resolves when a piece of work is hopeless.
    pub async fn stops(&self) {
        let [stuck, hopeless] = self.patience;
        let mut said = false;
        loop {
            let busy = self.busy_for();
            if busy >= hopeless {
                return;
            }
            if busy >= stuck && !said {
                tracing::error!(secs = busy.as_secs(), "the store does not answer: the disk may be stuck");
            }
            said = busy >= stuck;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_that_does_not_end_is_said_and_then_hopeless() {
        let patience = [Duration::from_millis(20), Duration::from_millis(60)];
        let pulse = Pulse::with(patience);
        tokio::time::sleep(patience[0]).await;
        assert_eq!((pulse.busy_for(), pulse.stuck_for()), (Duration::ZERO, None), "who waits is not stuck");
        let began = Instant::now();
        let beat = pulse.begin();
        pulse.stops().await;
        assert!(began.elapsed() >= patience[1] && pulse.stuck_for() >= Some(patience[1]));
        drop(beat);
        assert_eq!(pulse.stuck_for(), None);
    }

    #[test]
    fn work_without_an_answer_of_the_disk_is_no_progress_and_neither_is_an_answer_without_work() {
        let pulse = Pulse::default();
        let seen = pulse.progress();
        let start = *seen.borrow();
        let beat = pulse.begin();
        pulse.answered();
        assert!(!seen.borrow().is_beyond(start), "the piece of work goes on");
        drop(beat);
        let first = *seen.borrow();
        assert!(first.is_beyond(start));
        drop(pulse.begin());
        assert!(!seen.borrow().is_beyond(first), "it turns, and the disk has said nothing");
        pulse.answered();
        assert!(seen.borrow().is_beyond(first));
    }
}
