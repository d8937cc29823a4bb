//! Tells contacts what is due. It sleeps until a bell rings or something is due, sends several at once, and waits for none of them
//! when the receiver stops: what was not settled is anybody's after its lease.

use super::outcome::{Outcome, Then};
use super::{Escalation, EscalationError, Ways};
use crate::access::secret::{NoRandom, made};
use crate::clock::Now;
use crate::ledger::{Claimed, Clerk, LedgerError};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::{Id, JoinError, JoinSet};
use vigil_core::time::{Span, Timestamp};

/// How many webhooks are sent at once, one for each contact: as a server that hangs has its place for 10 s of every wait, some thirty of
/// them are needed to hold up anybody else; each is a connection and a few kilobytes.
const HOOKS_AT_ONCE: usize = 32;

/// How many mails: they all go to one server, and many of these take no more from one client. Webhooks never wait for them.
const MAILS_AT_ONCE: usize = 4;

/// At least so long between two looks: news come by the hundred, and are looked at together.
const BREATH: Duration = Duration::from_millis(100);

/// The longest sleep: a clock that was set forward makes due what a timer does not know of.
const LONGEST: Duration = Duration::from_secs(60);

/// How long to wait before a ledger that failed is asked again.
const AFTER_A_FAILURE: Duration = Duration::from_secs(5);

/// How long a receiver that stops waits for answers: one that comes is kept, so that nobody is told twice.
const GRACE: Duration = Duration::from_secs(2);

/// Tells contacts.
pub struct Caller {
    clerk: Clerk,
    escalation: Arc<Escalation>,
    ways: Arc<Ways>,
    bell: Arc<Notify>,
    now: Now,
}

/// What is being sent, and to whom.
#[derive(Default)]
struct Flight {
    tries: JoinSet<()>,
    contacts: HashMap<Id, String>,
}

impl Flight {
    fn land(&mut self, landed: Result<(Id, ()), JoinError>) {
        let id = landed.map_or_else(|error| error.id(), |(id, ())| id);
        self.contacts.remove(&id);
    }
}

impl Caller {
    /// One for a receiver; `bell` is rung when an alert shows something new.
    pub(crate) fn new(
        clerk: Clerk,
        (escalation, ways): (Arc<Escalation>, Arc<Ways>),
        bell: Arc<Notify>,
        now: Now,
    ) -> Self {
        Self { clerk, escalation, ways, bell, now }
    }

    /// Until `stop`.
    pub async fn call(self, stop: impl Future<Output = ()>) {
        let mut flight = Flight::default();
        let mut is_new = true;
        tokio::pin!(stop);
        loop {
            let wait = match self.round(&mut flight, is_new).await {
                Ok(wait) => {
                    is_new = false;
                    wait
                }
                Err(error) => {
                    tracing::error!(%error, "it cannot be seen who is to be told; this is tried again");
                    AFTER_A_FAILURE
                }
            };
            tokio::select! {
                () = &mut stop => break,
                () = tokio::time::sleep(wait) => {}
                () = self.bell.notified() => {}
                Some(landed) = flight.tries.join_next_with_id() => flight.land(landed),
            }
            tokio::select! {
                () = &mut stop => break,
                () = tokio::time::sleep(BREATH) => {}
            }
        }
        let answers = async { while flight.tries.join_next().await.is_some() {} };
        if tokio::time::timeout(GRACE, answers).await.is_err() {
            tracing::info!(
                "the receiver stops while contacts are being told; they are told again when it is back"
            );
        }
    }

    /// Does what is to be done now, and says how long there is nothing more.
    async fn round(&self, flight: &mut Flight, is_new: bool) -> Result<Duration, LedgerError> {
        if is_new {
            let now = (self.now)();
            self.clerk.ask(move |ledger| ledger.look_anew(now)).await?;
        }
        loop {
            let (plan, now) = (Arc::clone(&self.escalation), (self.now)());
            let looked =
                self.clerk.ask(move |ledger| ledger.look_for_due(&plan.steps, &plan.contacts, now)).await?;
            if looked.full {
                tracing::warn!(
                    "too many contacts wait to be told; what came due is looked at again in a minute"
                );
            }
            if !looked.more {
                break;
            }
        }
        while let Some(landed) = flight.tries.try_join_next_with_id() {
            flight.land(landed);
        }
        let mut busy;
        loop {
            let room;
            (busy, room) = self.room(flight);
            let (ways, mut room, but_for, now) = (Arc::clone(&self.ways), room, busy.clone(), (self.now)());
            let until = now + span(self.escalation.patience.lease);
            let claimed = self.clerk.ask(move |ledger| {
                ledger.claim_notices((now, until), &but_for, |contact| {
                    let left = if ways.is_by_mail(contact) { &mut room.mails } else { &mut room.hooks };
                    let lets_in = *left > 0;
                    *left = left.saturating_sub(1);
                    lets_in
                })
            });
            let claimed = claimed.await?;
            if claimed.is_empty() {
                break;
            }
            for notice in claimed {
                let contact = notice.contact.clone();
                let id = flight.tries.spawn(self.try_out().once(notice)).id();
                flight.contacts.insert(id, contact);
            }
        }
        let next = self.clerk.ask(move |ledger| ledger.next_notice(&busy)).await?;
        let left = next.map(|at| at.since((self.now)()).max(Span::ZERO).to_std());
        Ok(left.map_or(LONGEST, |left| left.min(LONGEST)))
    }

    /// Whom nothing can be sent now, and for how many others there is room.
    fn room(&self, flight: &Flight) -> (Vec<String>, Room) {
        let mut busy: Vec<String> = flight.contacts.values().cloned().collect();
        let mails = busy.iter().filter(|contact| self.ways.is_by_mail(contact)).count();
        let room = Room {
            hooks: HOOKS_AT_ONCE.saturating_sub(busy.len() - mails),
            mails: MAILS_AT_ONCE.saturating_sub(mails),
        };
        // Else the first rows that are looked through would all be of those that have to wait.
        if room.mails == 0 {
            busy.extend(self.ways.by_mail().cloned());
        }
        if room.hooks == 0 {
            busy.extend(self.ways.by_hook().cloned());
        }
        busy.sort();
        busy.dedup();
        (busy, room)
    }

    fn try_out(&self) -> Try {
        Try {
            clerk: self.clerk.clone(),
            escalation: Arc::clone(&self.escalation),
            ways: Arc::clone(&self.ways),
            now: self.now,
        }
    }
}

/// For how many more there is room.
struct Room {
    hooks: usize,
    mails: usize,
}

/// One try of one notice.
struct Try {
    clerk: Clerk,
    escalation: Arc<Escalation>,
    ways: Arc<Ways>,
    now: Now,
}

impl Try {
    async fn once(self, notice: Claimed) {
        let told = (notice.id.as_str(), notice.made_at, notice.body.as_str());
        let outcome = self.ways.tell(&notice.contact, Some(&notice.tenant), told, (self.now)()).await;
        let now = (self.now)();
        let then = self.escalation.patience.after(&outcome, notice.number, notice.made_at, now);
        say(&notice, &outcome, then);
        let id = notice.id.clone();
        let settled = self.clerk.ask(move |ledger| ledger.settle_notice(&notice, &outcome, then, now)).await;
        if let Err(error) = settled {
            tracing::error!(%error, notice = %id, "what came of telling a contact cannot be kept; they are told again");
        }
    }
}

/// The log names contacts as the configuration does; what was answered may have an address in it, and stands in the ledger.
fn say(notice: &Claimed, outcome: &Outcome, then: Then) {
    let (id, contact, number, status) = (&notice.id, &notice.contact, notice.number, outcome.status());
    match then {
        Then::Told => {
            tracing::info!(notice = %id, %contact, tries = number, "a contact is told of alerts that nobody took on");
        }
        Then::Again(at) => {
            tracing::info!(notice = %id, %contact, tries = number, status, again = %at, "a contact could not be told");
        }
        Then::Refused | Then::GivenUp => {
            tracing::warn!(notice = %id, %contact, tries = number, status, ?then, "a contact was not told; see /escalations");
        }
    }
}

fn span(wait: Duration) -> Span {
    Span::from_millis(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX))
}

/// What keeps a contact from being tried out.
#[derive(Debug, thiserror::Error)]
pub enum TryOut {
    /// There is none of that name.
    #[error("there is no contact {0:?}")]
    Unknown(String),
    /// It cannot be set up.
    #[error(transparent)]
    SetUp(#[from] EscalationError),
    /// No name can be made for the message.
    #[error(transparent)]
    Random(#[from] NoRandom),
}

impl Escalation {
    /// Sends `contact` a test at once, and says what came of it.
    pub async fn try_out(&self, contact: &str, now: Timestamp) -> Result<Outcome, TryOut> {
        let (ways, id) = (Ways::open(self)?, format!("test_{}", made()?.get(..32).unwrap_or_default()));
        ways.test(contact, &id, now).await.ok_or_else(|| TryOut::Unknown(contact.to_owned()))
    }
}
