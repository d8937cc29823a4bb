//! `GET /v1/gateways/{gateway}/commands`: a gateway asks, and waits until there is something for it to do.

use crate::clock::Now;
use crate::ledger::{Clerk, LedgerError, WaitingCommand, place};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;
use vigil_cloud_sync::Origin;
use vigil_listen::serve::stopped;

/// How long an answer may be held: proxies cut what is silent for 60 s.
const MAX_WAIT: Duration = Duration::from_secs(55);

/// What a gateway asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct Poll {
    /// It has decided all up to this number.
    #[serde(default)]
    pub after: u64,
    /// How many seconds the answer may be held if nothing waits; more than 55 are 55.
    #[serde(default)]
    pub wait: u64,
}

/// The answer to a poll.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Orders {
    /// What waits, in order.
    commands: Vec<WaitingCommand>,
    /// Whether there was no seat: who asks again in a few seconds must not keep a connection until then.
    #[serde(skip)]
    pub turned_away: bool,
}

/// Rung when there is a command for a gateway, or when it asks again.
#[derive(Debug, Default)]
struct Bell {
    rung: Notify,
    /// The number of its latest poll: an older one waits on a line that is dead.
    turn: AtomicU64,
}

/// A bell for every gateway; their number never changes.
#[derive(Debug, Clone, Default)]
pub struct Bells(Arc<BTreeMap<String, Bell>>);

impl Bells {
    /// One for each of these gateways.
    pub fn hang<'a>(origins: impl Iterator<Item = &'a Origin>) -> Self {
        Self(Arc::new(
            origins.map(|origin| (door(&place(origin), origin.gateway.as_str()), Bell::default())).collect(),
        ))
    }

    /// There is a command for that gateway.
    pub fn ring(&self, place: &str, gateway: &str) {
        if let Some(bell) = self.0.get(&door(place, gateway)) {
            bell.rung.notify_waiters();
        }
    }

    /// There may be a command for any of them.
    pub fn ring_all(&self) {
        self.0.values().for_each(|bell| bell.rung.notify_waiters());
    }
}

fn door(place: &str, gateway: &str) -> String {
    format!("{place}/{gateway}")
}

/// Where gateways wait.
pub struct WaitingRoom {
    bells: Bells,
    seats: Semaphore,
    /// Turns true when the receiver stops: nobody is held any longer.
    stopping: watch::Receiver<bool>,
}

impl WaitingRoom {
    /// A room with these bells, where so many may wait at once. Those beyond are answered at once, and come back after a
    /// few seconds.
    pub fn open(bells: Bells, seats: usize, stopping: watch::Receiver<bool>) -> Self {
        Self { bells, seats: Semaphore::new(seats), stopping }
    }

    /// Acknowledges, and answers as soon as there is something, at the latest when `poll.wait` is over.
    pub async fn answer(
        &self,
        clerk: &Clerk,
        now: Now,
        origin: &Origin,
        poll: Poll,
    ) -> Result<Orders, LedgerError> {
        let Some(bell) = self.bells.0.get(&door(&place(origin), origin.gateway.as_str())) else {
            return fetch(clerk, now, origin, poll).await;
        };
        let until = Instant::now() + Duration::from_secs(poll.wait).min(MAX_WAIT);
        let turn = bell.turn.fetch_add(1, Ordering::Relaxed) + 1;
        bell.rung.notify_waiters();
        let seat = self.seats.try_acquire();
        loop {
            // Before the ledger is asked: what is queued in between rings.
            let rung = bell.rung.notified();
            let mut rung = std::pin::pin!(rung);
            rung.as_mut().enable();
            let orders = fetch(clerk, now, origin, poll).await?;
            let superseded = bell.turn.load(Ordering::Relaxed) != turn;
            if seat.is_err() {
                return Ok(Orders { turned_away: true, ..orders });
            }
            if !orders.commands.is_empty() || superseded || Instant::now() >= until {
                return Ok(orders);
            }
            tokio::select! {
                () = rung => {}
                () = tokio::time::sleep_until(until) => return Ok(orders),
                () = stopped(self.stopping.clone()) => return Ok(orders),
            }
        }
    }
}

async fn fetch(clerk: &Clerk, now: Now, origin: &Origin, poll: Poll) -> Result<Orders, LedgerError> {
    let (asker, at) = (origin.clone(), now());
    let commands = clerk.ask(move |ledger| ledger.fetch(&asker, poll.after, at)).await?;
    Ok(Orders { commands, turned_away: false })
}
