//! The way to an Alertmanager (API v2), which knows what stands and nothing else: no history, no tours, no reports, no
//! commands, and what it does not hear again it takes for over.
//!
//! So an event of the outbox only tells that an alert has changed: posted is the alert as the book has it *now*, once,
//! however many of its revisions wait, and an old revision that comes late says nothing old. What stands is said again
//! (`memory`) until it is over. Whatever was said twice did no harm, so a cut at any point loses nothing.

mod memory;
mod words;

use crate::courier::Closed;
use crate::door::Door;
use crate::line::Line;
use crate::timepiece::{self, CUT};
use crate::uplink::{Heard, UplinkConfig, UplinkError, Way};
use crate::verdict::{self, MAX_ANSWER_BYTES, Outcome, Verdict};
use crate::wire::{Answer, Event, EventKind, Origin, Rejection};
use memory::{AT_ONCE, Beat, Memory};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, Url};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use vigil_core::alert::{Alert, AlertId};
use vigil_core::time::{Span, Timestamp};
use words::{Posted, Reading};

/// The most bytes of a status that are read: it holds the whole configuration of the Alertmanager.
const MAX_STATUS_BYTES: usize = 4 * 1024 * 1024;

/// The alerts as they are now.
pub trait Book: Send + Sync {
    /// Every alert that is neither cleared nor closed.
    fn standing(&self) -> impl Future<Output = Result<Vec<Alert>, Closed>> + Send;

    /// These alerts, as far as they are known, whether they stand or not.
    fn alerts(&self, ids: Vec<AlertId>) -> impl Future<Output = Result<Vec<Alert>, Closed>> + Send;
}

/// The way to one Alertmanager.
pub struct Alertmanager<B> {
    line: Line,
    alerts: Url,
    door: Door,
    origin: Origin,
    book: Arc<B>,
    beat: Beat,
    now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    state: Mutex<State>,
}

/// What has been said and heard.
#[derive(Debug)]
struct State {
    memory: Memory,
    /// What the receiver's clock showed, and when.
    clock: Option<(Timestamp, Instant)>,
    /// Whether it has ever answered.
    met: bool,
    reminds_at: Instant,
}

impl<B: Book> Alertmanager<B> {
    /// Checks the configuration; connects to nothing yet. What stands is looked at every `heartbeat`. The agent's clock,
    /// `now`, counts for a receiver that does not say what its own shows.
    pub fn new(
        config: UplinkConfig,
        heartbeat: Duration,
        book: Arc<B>,
        now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    ) -> Result<Self, UplinkError> {
        let line = Line::new(&config)?;
        let alerts = line.at(&["api", "v2", "alerts"])?;
        let door = Door::of(&alerts).ok_or(UplinkError::Url { url: config.url })?;
        let reminds_at = Instant::now();
        let state = Mutex::new(State { memory: Memory::default(), clock: None, met: false, reminds_at });
        let beat = Beat::new(heartbeat);
        Ok(Self { line, alerts, door, origin: config.origin, book, beat, now, state })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks once what time it is over there before anything is said that has an end: an empty post says nothing.
    async fn meet(&self) -> Result<(), Verdict> {
        if self.state().met {
            return Ok(());
        }
        match self.say(&[]).await {
            Verdict::Stored(_) => Ok(()),
            other @ (Verdict::Retry { .. }
            | Verdict::Unauthorized { .. }
            | Verdict::TooLarge
            | Verdict::RejectedWhole { .. }) => Err(other),
        }
    }

    /// Posts these alerts as they are.
    async fn tell(&self, alerts: &[Alert]) -> Verdict {
        if let Err(verdict) = self.meet().await {
            return verdict;
        }
        let posts = {
            let state = self.state();
            let now = state.clock.map_or_else(|| (self.now)(), |(shown, at)| shown + span(at.elapsed()));
            let reading = Reading { now, until: now + span(self.beat.life()) };
            alerts.iter().flat_map(|alert| state.posts(&self.origin, alert, reading)).collect::<Vec<_>>()
        };
        let verdict = self.say(&posts).await;
        if matches!(verdict, Verdict::Stored(_)) {
            let mut state = self.state();
            for alert in alerts {
                state.memory.on_taken(alert, words::labels(&self.origin, alert), Instant::now());
            }
        }
        verdict
    }

    async fn say(&self, posts: &[Posted]) -> Verdict {
        let body = match serde_json::to_vec(posts) {
            Ok(body) => body,
            Err(why) => return retry(format!("cannot write the alerts: {why}")),
        };
        let outcome = self.post(body).await;
        let verdict = verdict::judged(&outcome, taken);
        if let (Verdict::Stored(_), Outcome::Answered { date, .. }) = (&verdict, &outcome) {
            self.state().hear(date.as_deref(), self.beat);
        }
        verdict
    }

    /// What stands and is due to be said again, and whether there is more of it.
    async fn due(&self) -> Result<(Vec<Alert>, bool), Closed> {
        let standing = self.book.standing().await?;
        let now = Instant::now();
        let mut state = self.state();
        state.memory.forget(&standing, now, self.beat);
        let due = state.memory.due(standing, now, self.beat);
        let more = due.len() == AT_ONCE;
        Ok((due, more))
    }

    /// Says all of it; what the receiver will not have is found by halves, and said again when it has changed.
    async fn tell_by_halves(&self, due: Vec<Alert>) -> Verdict {
        let mut pieces = vec![due];
        while let Some(mut piece) = pieces.pop() {
            match (self.tell(&piece).await, piece.as_slice()) {
                (Verdict::Stored(_), _) => {}
                (Verdict::TooLarge | Verdict::RejectedWhole { .. }, [alert]) => {
                    tracing::error!(id = %alert.id, "the Alertmanager does not take an alert that stands");
                    self.state().memory.on_refused(alert);
                }
                (Verdict::TooLarge | Verdict::RejectedWhole { .. }, [_, ..]) => {
                    pieces.push(piece.split_off(piece.len() / 2));
                    pieces.push(piece);
                }
                (other, _) => return other,
            }
        }
        Verdict::Stored(Answer::default())
    }
}

impl State {
    /// An alert as it is now, after its end under labels that it has no more.
    fn posts(&self, origin: &Origin, alert: &Alert, reading: Reading) -> Vec<Posted> {
        let labels = words::labels(origin, alert);
        let others = self.memory.others(alert.id, &labels).into_iter();
        let ends = others.map(|labels| words::given_up(labels, alert, reading));
        ends.chain([words::posted(labels.clone(), alert, reading)]).collect()
    }

    /// The receiver took something, and says what time it is. If that is not what we thought by a heartbeat (the box slept,
    /// or somebody set a clock), ends that were told are wrong.
    fn hear(&mut self, date: Option<&str>, beat: Beat) {
        self.met = true;
        // A date is cut to the second: it is never ahead of what the receiver's clock shows.
        let Some(shown) = date.and_then(timepiece::date) else { return };
        let now = Instant::now();
        let expected = self.clock.replace((shown, now)).map(|(shown, at)| shown + span(at.elapsed()));
        let off =
            expected.map_or(Span::default(), |expected| expected.since(shown).max(shown.since(expected)));
        if off.millis() > span(beat.length()).millis() + CUT.millis() {
            tracing::warn!(
                off_ms = off.millis(),
                "the Alertmanager's clock has changed: all that stands is told anew"
            );
            self.memory.doubt();
            self.reminds_at = now;
        }
    }
}

impl<B: Book> Way for Alertmanager<B> {
    fn origin(&self) -> &Origin {
        &self.origin
    }

    async fn returns(&self) {
        self.door.opens().await;
    }

    fn takes(&self, kind: EventKind) -> bool {
        kind == EventKind::Alert
    }

    async fn post(&self, body: Vec<u8>) -> Outcome {
        let request = self.line.request(Method::POST, &self.alerts).header(CONTENT_TYPE, "application/json");
        self.line.exchange(request.body(body), MAX_ANSWER_BYTES).await
    }

    async fn deliver(&self, events: &[Event]) -> Verdict {
        let mut ids: Vec<AlertId> = events.iter().filter_map(about).collect();
        let mut seen = BTreeSet::new();
        ids.retain(|id| seen.insert(*id));
        let Ok(alerts) = self.book.alerts(ids).await else { return retry(Closed.to_string()) };
        let known: BTreeSet<AlertId> = alerts.iter().map(|alert| alert.id).collect();
        let unknown = events.iter().filter(|event| about(event).is_none_or(|id| !known.contains(&id)));
        let reason = "the agent does not know the alert any more";
        let rejected: Vec<_> =
            unknown.map(|event| Rejection { id: event.id.clone(), reason: reason.to_owned() }).collect();
        let verdict =
            if alerts.is_empty() { Verdict::Stored(Answer::default()) } else { self.tell(&alerts).await };
        if let (Verdict::RejectedWhole { .. }, [alert]) = (&verdict, alerts.as_slice()) {
            self.state().memory.on_refused(alert);
        }
        match verdict {
            Verdict::Stored(_) => {
                let accepted = alerts.len();
                // Revisions that went with a later one of the same alert.
                let duplicates = events.len().saturating_sub(accepted + rejected.len());
                Verdict::Stored(Answer { accepted, duplicates, rejected, reused: vec![] })
            }
            other @ (Verdict::Retry { .. }
            | Verdict::Unauthorized { .. }
            | Verdict::TooLarge
            | Verdict::RejectedWhole { .. }) => other,
        }
    }

    fn reminds_at(&self) -> Option<Instant> {
        Some(self.state().reminds_at)
    }

    async fn remind(&self) -> Verdict {
        let Ok((due, more)) = self.due().await else { return retry(Closed.to_string()) };
        let told = tokio::time::timeout(self.beat.patience(), self.tell_by_halves(due)).await;
        let verdict = told.unwrap_or_else(|_| retry("no answer in time".to_owned()));
        if matches!(verdict, Verdict::Stored(_)) {
            let wait = if more { Duration::ZERO } else { self.beat.length() };
            self.state().reminds_at = Instant::now() + wait;
        }
        verdict
    }
}

/// Asks an Alertmanager what it is, to hear whether it is there and knows us. Nothing is said to it.
pub async fn knock(config: &UplinkConfig) -> Result<Heard, UplinkError> {
    let line = Line::new(config)?;
    let status = line.at(&["api", "v2", "status"])?;
    let outcome = line.exchange(line.request(Method::GET, &status), MAX_STATUS_BYTES).await;
    Ok(match outcome {
        Outcome::Answered { status: 200..=299, body, .. } if is_status(&body) => Heard::Welcome,
        Outcome::Answered { status: status @ (401 | 403), .. } => Heard::Stranger(format!("HTTP {status}")),
        Outcome::Answered { status, .. } => Heard::Odd(format!("HTTP {status}")),
        Outcome::Broken { why } => Heard::Nothing(why),
    })
}

fn is_status(body: &[u8]) -> bool {
    let status: Option<Value> = serde_json::from_slice(body).ok();
    status.is_some_and(|status| status.pointer("/versionInfo/version").is_some_and(Value::is_string))
}

/// A success without a word: that is how an Alertmanager has it. A page is that of a portal on the way.
fn taken(body: &[u8]) -> Verdict {
    if body.trim_ascii().is_empty() || serde_json::from_slice::<Value>(body).is_ok() {
        return Verdict::Stored(Answer::default());
    }
    retry("the answer is not that of an Alertmanager".to_owned())
}

fn retry(why: String) -> Verdict {
    Verdict::Retry { after: None, why }
}

/// The alert that an event is about: its id is that of the alert, a dot and a revision.
fn about(event: &Event) -> Option<AlertId> {
    AlertId::parse(event.id.rsplit_once('.')?.0)
}

fn span(length: Duration) -> Span {
    Span::from_millis(i64::try_from(length.as_millis()).unwrap_or(i64::MAX))
}
