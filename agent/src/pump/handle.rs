//! The way to ask the pump: questions go in by a bounded queue, and are answered between two batches.

use super::commands::Asked;
use super::flood::Thinned;
use super::outage::Outage;
use super::pulse::Pulse;
use super::strays::Stray;
use crate::sources::decode::Refusal;
use crate::store::{
    Announcement, DeadLetter, Head, Keeping, Marks, Opening, Piece, RunQuery, RunsFound, StoredEvent,
};
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use vigil_cloud_sync::Decided;
use vigil_cloud_sync::wire::Event;
use vigil_core::alert::{Alert, AlertId};
use vigil_core::command::{Answer, Order};
use vigil_core::id::CommandId;
use vigil_core::report::DailyReport;
use vigil_core::rules::welfare::Prompt;
use vigil_core::site::Site;
use vigil_core::time::Date;
use vigil_core::view::View;

/// The agent is stopping: the pump answers no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the agent is stopping")]
pub struct Stopping;

/// A question, with where its answer goes.
#[derive(Debug)]
pub(super) enum Request {
    NextEvents(usize, oneshot::Sender<Vec<Event>>),
    Settle(Vec<u64>, Vec<(u64, String)>, oneshot::Sender<()>),
    Disown(oneshot::Sender<()>),
    NextAnnouncements(usize, oneshot::Sender<Vec<(u64, Announcement)>>),
    NextPrompts(usize, oneshot::Sender<Vec<(u64, Prompt)>>),
    Announced(Spoken, oneshot::Sender<()>),
    View(oneshot::Sender<View>),
    Alerts(oneshot::Sender<Known>),
    AlertsOf(Vec<AlertId>, oneshot::Sender<Vec<Alert>>),
    Standing(oneshot::Sender<Vec<Alert>>),
    Runs(RunQuery, Option<Vec<u8>>, oneshot::Sender<RunsFound>),
    Reports(Date, Date, oneshot::Sender<Vec<DailyReport>>),
    Refused(oneshot::Sender<Vec<Refusal>>),
    Resend(Vec<u64>, oneshot::Sender<Vec<u64>>),
    DeadLetters(oneshot::Sender<Vec<(u64, DeadLetter)>>),
    Stock(oneshot::Sender<Stock>),
    Opening(oneshot::Sender<Opening>),
    Journal(u64, oneshot::Sender<Piece>),
    Command(Option<CommandId>, Order, oneshot::Sender<Obeyed>),
    Commands(Vec<Asked>, oneshot::Sender<Decided>),
    Acknowledged(oneshot::Sender<u64>),
    Site(Arc<Site>, oneshot::Sender<()>),
    Health(String, oneshot::Sender<()>),
    Note(StoredEvent, oneshot::Sender<()>),
    Keep(Keeping, oneshot::Sender<()>),
}

/// The alerts as far as they are known, newest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Known {
    /// They.
    pub alerts: Vec<Alert>,
    /// Which of them are not stored, if the store is out of order: then the others are as they stood.
    pub unstored: Option<BTreeSet<AlertId>>,
}

/// What need not be said any more, by number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spoken {
    /// Alert revisions.
    pub alerts: Vec<u64>,
    /// Questions to guards.
    pub prompts: Vec<u64>,
}

/// What became of a command, and the alert that it is about as it stands now.
#[derive(Debug, Clone, PartialEq)]
pub struct Obeyed {
    /// What became of it.
    pub answer: Answer,
    /// The alert, if it is about one that is known.
    pub alert: Option<Alert>,
}

/// What the store holds, in numbers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stock {
    /// The marks as of the last commit.
    pub marks: Marks,
    /// Events that wait for the NOC, by lane in order of urgency.
    pub outbox: [usize; 5],
    /// Bytes on disk.
    pub bytes: u64,
    /// Inputs that went before their time for want of room.
    pub dropped: u64,
    /// Commits since the start.
    pub commits: u64,
    /// Where the chain of the journal ends.
    pub head: Head,
    /// Tags that were read and say nothing, the latest first.
    pub strays: Vec<Stray>,
    /// Devices that talk without end, and what of theirs was thinned.
    pub floods: Vec<Thinned>,
}

/// What others wait for: work for the uplink, announcements for the site, anything new for the pages.
#[derive(Debug, Clone, Default)]
pub struct Wakes {
    /// The outbox has grown.
    pub uplink: Arc<Notify>,
    /// There is something to announce.
    pub announcer: Arc<Notify>,
    /// There is something to announce that is not stored.
    pub unstored: Unstored,
}

/// How many alerts wait to be announced that are not stored: each is a call for help, and thirty handsets in a fire make
/// no more. Beyond that the oldest are said, whose senders have waited longest.
const UNSTORED: usize = 100;

/// Alerts that could not be stored, on their way to the site. They are lost with the process, and their senders, who got
/// no acknowledgement, send again.
#[derive(Debug, Clone, Default)]
pub struct Unstored {
    waiting: Arc<Mutex<VecDeque<String>>>,
    rung: Arc<Notify>,
}

impl Unstored {
    /// Takes an alert, as JSON, and marks it as one that is not stored.
    pub(super) fn say(&self, alert: &str) {
        let Some(rest) = alert.strip_prefix('{') else { return };
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < UNSTORED {
            waiting.push_back(format!("{{\"stored\":false,{rest}"));
        } else {
            tracing::error!("an alert that is not stored is not announced either: too many wait");
        }
        self.rung.notify_one();
    }

    /// The oldest; it stays until it was said.
    pub async fn first(&self) -> String {
        loop {
            let first = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).front().cloned();
            match first {
                Some(alert) => return alert,
                None => self.rung.notified().await,
            }
        }
    }

    /// The oldest was said.
    pub fn said(&self) {
        drop(self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front());
    }
}

/// The way to ask the pump.
#[derive(Debug, Clone)]
pub struct PumpHandle {
    requests: mpsc::Sender<Request>,
    changes: watch::Receiver<u64>,
    outage: watch::Receiver<Option<Arc<Outage>>>,
    pulse: Pulse,
}

impl PumpHandle {
    pub(super) fn new(
        requests: mpsc::Sender<Request>,
        changes: watch::Receiver<u64>,
        outage: watch::Receiver<Option<Arc<Outage>>>,
        pulse: Pulse,
    ) -> Self {
        Self { requests, changes, outage, pulse }
    }

    /// Why nothing is stored now, if that is so.
    pub fn outage(&self) -> Option<Arc<Outage>> {
        self.outage.borrow().clone()
    }

    /// The same, and how it goes on.
    pub fn outages(&self) -> watch::Receiver<Option<Arc<Outage>>> {
        self.outage.clone()
    }

    /// How long the pump has been at one piece of work, and what it has brought to an end.
    pub const fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// Asks until there is an answer: an outage of the store is waited out. What is asked for twice must do no harm.
    async fn insist<T>(&self, request: impl Fn(oneshot::Sender<T>) -> Request) -> Result<T, Stopping> {
        loop {
            if let Ok(answer) = self.ask(&request).await {
                return Ok(answer);
            }
            if self.requests.is_closed() {
                return Err(Stopping);
            }
            self.outage.clone().wait_for(Option::is_none).await.map_err(|_| Stopping)?;
        }
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, Stopping> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| Stopping)?;
        answer.await.map_err(|_| Stopping)
    }

    /// The most urgent events that wait for the NOC.
    pub async fn next_events(&self, limit: usize) -> Result<Vec<Event>, Stopping> {
        self.insist(|reply| Request::NextEvents(limit, reply)).await
    }
    /// Deletes what the NOC has, and lays aside what it rejected.
    pub async fn settle(&self, stored: Vec<u64>, dead: Vec<(u64, String)>) -> Result<(), Stopping> {
        self.insist(|reply| Request::Settle(stored.clone(), dead.clone(), reply)).await
    }
    /// The NOC knows numbers of the outbox from other events: they are another producer's from now on.
    pub async fn disown(&self) -> Result<(), Stopping> {
        self.insist(Request::Disown).await
    }
    /// Questions to guards that the broker has not taken yet.
    pub async fn next_prompts(&self, limit: usize) -> Result<Vec<(u64, Prompt)>, Stopping> {
        self.insist(|reply| Request::NextPrompts(limit, reply)).await
    }
    /// Announcements that the broker has not taken yet.
    pub async fn next_announcements(&self, limit: usize) -> Result<Vec<(u64, Announcement)>, Stopping> {
        self.insist(|reply| Request::NextAnnouncements(limit, reply)).await
    }
    /// The broker has them.
    pub async fn announced(&self, spoken: Spoken) -> Result<(), Stopping> {
        self.insist(|reply| Request::Announced(spoken.clone(), reply)).await
    }
    /// Everything that is going on.
    pub async fn view(&self) -> Result<View, Stopping> {
        self.insist(Request::View).await
    }
    /// Every stored alert, newest first; those that are known while the store is out of order.
    pub async fn alerts(&self) -> Result<Known, Stopping> {
        self.ask(Request::Alerts).await
    }
    /// These alerts as they are now, as far as they are known.
    pub async fn alerts_of(&self, ids: Vec<AlertId>) -> Result<Vec<Alert>, Stopping> {
        self.insist(|reply| Request::AlertsOf(ids.clone(), reply)).await
    }
    /// Every alert that is neither cleared nor closed and can still change; `None` while the store is out of order.
    pub async fn standing(&self) -> Result<Option<Vec<Alert>>, Stopping> {
        match self.ask(Request::Standing).await {
            Err(Stopping) if self.requests.is_closed() => Err(Stopping),
            answer => Ok(answer.ok()),
        }
    }
    /// A piece of the log of runs, newest first, from its end or from where the last piece ended.
    pub async fn runs(&self, query: RunQuery, next: Option<Vec<u8>>) -> Result<RunsFound, Stopping> {
        self.ask(|reply| Request::Runs(query, next, reply)).await
    }
    /// The reports of the days from `from` to `to`, in order.
    pub async fn reports(&self, from: Date, to: Date) -> Result<Vec<DailyReport>, Stopping> {
        self.ask(|reply| Request::Reports(from, to, reply)).await
    }
    /// The refused inputs that are kept, newest first.
    pub async fn refused(&self) -> Result<Vec<Refusal>, Stopping> {
        self.ask(Request::Refused).await
    }
    /// The dead letters that are kept, newest first.
    pub async fn dead_letters(&self) -> Result<Vec<(u64, DeadLetter)>, Stopping> {
        self.ask(Request::DeadLetters).await
    }
    /// Puts dead letters back on their way, under the numbers that they had; those that there were.
    pub async fn resend(&self, sequences: Vec<u64>) -> Result<Vec<u64>, Stopping> {
        self.ask(|reply| Request::Resend(sequences, reply)).await
    }
    /// What the store holds, in numbers.
    pub async fn stock(&self) -> Result<Stock, Stopping> {
        self.insist(Request::Stock).await
    }
    /// How far the journal goes, and under which site.
    pub async fn opening(&self) -> Result<Opening, Stopping> {
        self.ask(Request::Opening).await
    }
    /// A piece of the journal, from the block on whose first input has this number or a later one.
    pub async fn journal(&self, from: u64) -> Result<Piece, Stopping> {
        self.ask(|reply| Request::Journal(from, reply)).await
    }
    /// Carries out a command, once for each `id`; one that was given on site needs none.
    pub async fn command(&self, id: Option<CommandId>, order: Order) -> Result<Obeyed, Stopping> {
        self.ask(|reply| Request::Command(id, order, reply)).await
    }
    /// Decides the commands of one answer of the operations centre, in order; its last number is acknowledged then.
    pub async fn commands(&self, asked: Vec<Asked>) -> Result<Decided, Stopping> {
        self.insist(|reply| Request::Commands(asked.clone(), reply)).await
    }
    /// The number up to which commands of the operations centre are decided.
    pub async fn acknowledged(&self) -> Result<u64, Stopping> {
        self.insist(Request::Acknowledged).await
    }
    /// From now on, this site file counts.
    pub async fn site(&self, site: Arc<Site>) -> Result<(), Stopping> {
        self.insist(|reply| Request::Site(Arc::clone(&site), reply)).await
    }
    /// A health report for the NOC, unless one still waits.
    pub async fn health(&self, data: String) -> Result<(), Stopping> {
        self.insist(|reply| Request::Health(data.clone(), reply)).await
    }
    /// A record for the NOC that no observation led to. One that is asked for twice is a duplicate there.
    pub async fn note(&self, event: &StoredEvent) -> Result<(), Stopping> {
        self.insist(|reply| Request::Note(event.clone(), reply)).await
    }
    /// Writes what has changed of what the broker inside keeps for its clients.
    pub async fn keep(&self, keeping: &Keeping) -> Result<(), Stopping> {
        self.insist(|reply| Request::Keep(keeping.clone(), reply)).await
    }
    /// A number that rises with every commit.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }
}
