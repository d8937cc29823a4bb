//! What one receiver tells the others on the same database, and itself: who has to look again.

use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc;

/// How many news may wait to be looked at: a page that has missed some reads everything anew.
const WAITING: usize = 1_024;

/// Something changed at a gateway's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct News {
    /// The place of its site.
    pub place: String,
    /// The gateway; empty if it is the site as a whole.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub gateway: String,
    /// Alerts that show something new.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<String>,
    /// There is a command for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub command: bool,
    /// It was heard.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub heard: bool,
}

/// What a listener gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// That.
    News(News),
    /// Some may have been missed: look at everything again.
    Missed,
}

/// The way of news to whoever shows them. It never waits: who asks the database for what is new must not be waited for by it.
#[derive(Debug, Clone)]
pub struct Teller {
    sender: mpsc::Sender<Heard>,
    missed: Arc<AtomicBool>,
}

/// Where they come out.
#[derive(Debug)]
pub struct Listener {
    receiver: mpsc::Receiver<Heard>,
    missed: Arc<AtomicBool>,
}

/// A way for news.
pub fn way() -> (Teller, Listener) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let missed = Arc::new(AtomicBool::new(false));
    (Teller { sender, missed: Arc::clone(&missed) }, Listener { receiver, missed })
}

impl Teller {
    /// Passes it on. A listener that has fallen behind is told that it missed something.
    pub fn tell(&self, heard: Heard) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.sender.try_send(heard) {
            self.missed.store(true, Ordering::Release);
        }
    }

    /// Whether nobody listens any more.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

impl Listener {
    /// The next of them; `None` when nobody tells any more.
    pub async fn next(&mut self) -> Option<Heard> {
        let heard = self.receiver.recv().await?;
        if self.missed.swap(false, Ordering::AcqRel) {
            // All that waits is part of what will be looked at again.
            while self.receiver.try_recv().is_ok() {}
            return Some(Heard::Missed);
        }
        Some(heard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_listener_that_fell_behind_is_told_so_once() {
        let (teller, mut listener) = way();
        let news = |n: usize| Heard::News(News { place: n.to_string(), ..News::default() });
        (0..WAITING + 7).for_each(|n| teller.tell(news(n)));
        assert_eq!(listener.next().await, Some(Heard::Missed));
        teller.tell(news(1));
        assert_eq!(listener.next().await, Some(news(1)));
        drop(teller);
        assert_eq!(listener.next().await, None);
    }
}
