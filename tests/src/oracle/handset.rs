//! A handset with the manners of QoS 1: what is not acknowledged is sent again, in order, after every connection.

use super::plan::{Point, Stream, span};
use super::world::{Door, World};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use vigil_agent::simulate::Chance;
use vigil_core::time::Span;

/// Messages that may wait for their acknowledgement.
const WINDOW: usize = 10;
/// How long a handset waits for one before it tries another connection.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it looks whether there is anything to do.
const LOOK: Span = Span::from_secs(30);
/// How often a backlog is sent as one array.
const PACKED: f64 = 0.4;
/// The most that goes into one: 64 KiB hold it.
const PACK: usize = 200;

/// One handset.
pub struct Handset {
    world: Arc<World>,
    number: usize,
    /// Indexes of what waits to be acknowledged, or to be sent.
    waiting: VecDeque<usize>,
    next: usize,
    was_cut: bool,
    chance: Chance,
}

/// Messages on their way: which words, and where the acknowledgement comes.
type OnTheWay = (Vec<usize>, oneshot::Receiver<()>);

impl Handset {
    /// The handset with this number.
    pub fn new(world: &Arc<World>, number: usize) -> Self {
        let chance = Chance::of(world.plan.seed, Stream::Handsets as usize + number);
        Self { world: Arc::clone(world), number, waiting: VecDeque::new(), next: 0, was_cut: false, chance }
    }

    /// Until all is acknowledged that it has to say.
    pub async fn lives(mut self) {
        loop {
            self.fill();
            let Some(script) = self.world.plan.scripts.get(self.number) else { return };
            let next = script.words.get(self.next).map(|said| said.due);
            if self.waiting.is_empty() {
                let Some(due) = next else { return };
                self.world.until(due).await;
                continue;
            }
            if let Some(until) = self.world.cut_until(self.number) {
                self.is_cut().await;
                let look = self.world.now() + LOOK;
                self.world.until(until.min(look)).await;
                continue;
            }
            match self.world.door() {
                Some(door) => self.talks(&door).await,
                None => self.pauses(1, 20).await,
            }
        }
    }

    /// What it has to say by now.
    fn fill(&mut self) {
        let now = self.world.now();
        let words = self.world.plan.scripts.get(self.number).map(|script| script.words.as_slice());
        while words.unwrap_or_default().get(self.next).is_some_and(|said| said.due <= now) {
            self.waiting.push_back(self.next);
            self.next += 1;
        }
    }

    async fn pauses(&mut self, from_secs: i64, to_secs: i64) {
        let pause = span(&mut self.chance, from_secs, to_secs);
        tokio::time::sleep(pause.to_std()).await;
    }

    /// The connection is gone; some time later the broker says so.
    async fn is_cut(&mut self) {
        if std::mem::replace(&mut self.was_cut, true) {
            return;
        }
        self.pauses(5, 60).await;
        if self.chance.happens(0.5) {
            self.status("offline").await;
        }
    }

    async fn status(&self, word: &'static str) {
        let (Some(door), Some(topic)) = (self.world.door(), self.topic("status")) else { return };
        if let Ok(stored) = door.intake.submit(&topic, word.as_bytes()).await {
            // A box that dies meanwhile is told again when it lives.
            let _stored_or_not = tokio::time::timeout(PATIENCE, stored).await;
        }
    }

    fn topic(&self, kind: &str) -> Option<String> {
        let script = self.world.plan.scripts.get(self.number)?;
        Some(format!("vigil/v1/{}/{}/{kind}", self.world.plan.site.id, script.device))
    }

    /// One connection: a window of messages, and their acknowledgements in order.
    async fn talks(&mut self, door: &Door) {
        if std::mem::replace(&mut self.was_cut, false) {
            self.status("online").await;
        }
        let mut on_the_way: Vec<OnTheWay> = vec![];
        for words in self.window() {
            let Some((topic, payload)) = self.message(&words) else { return };
            match door.intake.submit(&topic, payload.as_bytes()).await {
                Ok(receipt) => on_the_way.push((words, receipt)),
                Err(_stopped) => break,
            }
        }
        if on_the_way.is_empty() {
            return self.pauses(1, 20).await;
        }
        for (words, receipt) in on_the_way {
            let stored = matches!(tokio::time::timeout(PATIENCE, receipt).await, Ok(Ok(())));
            if !stored || self.world.is_hit(Point::Stored) {
                return self.pauses(1, 20).await;
            }
            if !self.world.is_calm() && self.chance.happens(self.world.plan.ack_lost) {
                self.was_cut = true;
                return self.pauses(5, 300).await;
            }
            self.is_acknowledged(&words);
        }
    }

    /// What is sent next, message by message.
    fn window(&mut self) -> Vec<Vec<usize>> {
        let packed = self.waiting.len() > 3 && self.chance.happens(PACKED);
        if !packed {
            return self.waiting.iter().take(WINDOW).map(|word| vec![*word]).collect();
        }
        let kind = |word: &usize| {
            let script = self.world.plan.scripts.get(self.number)?;
            Some(script.words.get(*word)?.kind.name())
        };
        let backlog: Vec<usize> = self.waiting.iter().take(PACK).copied().collect();
        backlog.chunk_by(|a, b| kind(a) == kind(b)).take(WINDOW).map(<[usize]>::to_vec).collect()
    }

    fn message(&self, words: &[usize]) -> Option<(String, String)> {
        let script = self.world.plan.scripts.get(self.number)?;
        let said: Vec<_> = words.iter().filter_map(|word| script.words.get(*word)).collect();
        let now = self.world.now();
        let mut books = self.world.books();
        said.iter().for_each(|said| books.sends(&script.device, said.at, now));
        let topic = self.topic(said.first()?.kind.name())?;
        let texts: Vec<&str> = said.iter().map(|said| said.payload.as_str()).collect();
        let payload =
            if let [alone] = texts[..] { alone.to_owned() } else { format!("[{}]", texts.join(",")) };
        Some((topic, payload))
    }

    fn is_acknowledged(&mut self, words: &[usize]) {
        let Some(script) = self.world.plan.scripts.get(self.number) else { return };
        let now = self.world.now();
        let mut books = self.world.books();
        for word in words {
            if let Some(said) = script.words.get(*word) {
                books.acknowledges(&script.device, said.at, now);
            }
        }
        drop(books);
        self.waiting.drain(..words.len().min(self.waiting.len()));
    }
}
