//! The way to the NOC, with all that can go wrong on it; at its end are the receiver's own admission and ledger. And the
//! way to the ears on site.

use super::plan::{Plan, Point, Stream, Trouble, draw, one_trouble};
use super::world::{World, locked};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use vigil_agent::clock::Clock;
use vigil_agent::simulate::Chance;
use vigil_agent::sources::voice::{NotTaken, Speak};
use vigil_cloud_sync::verdict::Outcome;
use vigil_cloud_sync::wire::{Answer, Rejection};
use vigil_cloud_sync::{Origin, Way};
use vigil_core::id::{GatewayId, InvalidId};
use vigil_core::time::{Span, Timestamp};
use vigil_noc::incoming::{self, Items};
use vigil_noc::ledger::{Delivery, Entry, Ledger, LedgerError};

/// How long a gateway waits for a whole exchange.
const TIMEOUT: Duration = Duration::from_secs(120);
/// How often a mixed trouble lets something through.
const LET_THROUGH: f64 = 0.4;
/// How often the site hears something and the agent does not hear that it did.
const UNHEARD: f64 = 0.02;
/// An HTTP date is cut to the second,
const SECOND: Span = Span::from_secs(1);
/// and half of the way there and back is not known either.
const TOLD_WITHIN: Span = Span::from_secs(3);

/// The receiver.
pub struct Noc {
    /// Its record.
    pub ledger: Ledger,
    /// Whose.
    pub origin: Origin,
}

impl std::fmt::Debug for Noc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Noc({})", self.origin.source())
    }
}

/// The receiver cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum NoNoc {
    /// Its ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The gateway's name.
    #[error(transparent)]
    Name(#[from] InvalidId),
}

impl Noc {
    /// A receiver with its ledger in this file.
    pub fn open(plan: &Plan, file: &Path) -> Result<Self, NoNoc> {
        let (tenant, site) = (plan.site.tenant.clone(), plan.site.id.clone());
        let origin = Origin { tenant, site, gateway: GatewayId::new("gw-1")? };
        let mut ledger = Ledger::in_file(file, None)?;
        ledger.enrol(&origin)?;
        Ok(Self { ledger, origin })
    }
}

/// The way to it, as the agent of one life has it.
#[derive(Debug, Clone)]
pub struct Road {
    world: Arc<World>,
    origin: Origin,
    clock: Clock,
    chance: Arc<Mutex<Chance>>,
}

impl Road {
    /// The way of an agent with this clock.
    pub fn new(world: &Arc<World>, clock: &Clock, life: usize) -> Self {
        let chance = Chance::of(world.plan.seed.wrapping_add(life as u64), Stream::Road as usize);
        let origin = locked(&world.noc).origin.clone();
        Self { world: Arc::clone(world), origin, clock: clock.clone(), chance: Arc::new(Mutex::new(chance)) }
    }

    fn draw(&self, from: i64, to: i64) -> i64 {
        draw(&mut locked(&self.chance), from, to)
    }

    async fn takes(&self, from_ms: i64, to_ms: i64) {
        let ms = self.draw(from_ms, to_ms);
        tokio::time::sleep(Duration::from_millis(u64::try_from(ms).unwrap_or(0))).await;
    }

    fn trouble(&self) -> Option<Trouble> {
        let trouble = self.world.trouble()?;
        if trouble != Trouble::Any {
            return Some(trouble);
        }
        let mut chance = locked(&self.chance);
        let through = chance.happens(LET_THROUGH);
        // What buries events must not last, and a mixture may.
        let drawn = one_trouble(&mut chance);
        let buries = matches!(drawn, Trouble::Status(400 | 409 | 413 | 422));
        (!through && !buries).then_some(drawn)
    }

    /// What is wrong for good with an event.
    fn is_poisoned(&self, id: &str) -> bool {
        let hash =
            id.bytes().fold(self.world.plan.seed, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01B3));
        let poison = self.world.plan.poison.filter(|_| !self.world.is_calm());
        poison.is_some_and(|poison| (hash >> 20).is_multiple_of(poison.one_in))
    }

    fn store(&self, entries: Vec<Entry>) -> Result<Answer, LedgerError> {
        let ids: Vec<String> = entries.iter().map(|entry| entry.id.clone()).collect();
        let received_at = self.world.now();
        let delivery = Delivery { origin: self.origin.clone(), received_at, entries };
        let receipt = locked(&self.world.noc).ledger.record(&delivery)?;
        self.world.books().stored.extend(ids);
        Ok(Answer {
            accepted: receipt.accepted,
            duplicates: receipt.duplicates,
            rejected: vec![],
            reused: receipt.reused,
        })
    }

    /// A receiver that works, but for what it will not have.
    fn answered(&self, entries: Vec<Entry>) -> Result<Outcome, LedgerError> {
        let (poisoned, sound): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| self.is_poisoned(&entry.id));
        let whole = self.world.plan.poison.is_some_and(|poison| poison.whole);
        if whole && !poisoned.is_empty() {
            let alone = sound.is_empty() && poisoned.len() == 1;
            return Ok(self.refused(422, poisoned.first().filter(|_| alone)));
        }
        let mut answer = self.store(sound)?;
        for entry in poisoned {
            self.world.books().plants(&entry);
            answer.rejected.push(Rejection { id: entry.id, reason: "nobody wants it".to_owned() });
        }
        Ok(said(200, serde_json::to_vec(&answer).unwrap_or_default()))
    }

    /// A refusal of all; an event that is alone in it is buried.
    fn refused(&self, status: u16, alone: Option<&Entry>) -> Outcome {
        if let Some(entry) = alone.filter(|_| matches!(status, 400 | 409 | 413 | 422)) {
            self.world.books().plants(entry);
        }
        said(status, b"{\"error\":\"no\"}".to_vec())
    }

    async fn goes_wrong(&self, trouble: Trouble, entries: Vec<Entry>) -> Result<Outcome, LedgerError> {
        let broken = |why: &str| Outcome::Broken { why: why.to_owned() };
        let alone = if let [alone] = entries.as_slice() { Some(alone.clone()) } else { None };
        Ok(match trouble {
            Trouble::Unreachable => {
                self.takes(0, 10_000).await;
                broken("nobody is there")
            }
            Trouble::TimedOut(arrives) => {
                if arrives {
                    self.store(entries)?;
                }
                tokio::time::sleep(TIMEOUT).await;
                broken("nothing came back in time")
            }
            Trouble::AnswerLost => {
                self.store(entries)?;
                broken("the connection was cut")
            }
            Trouble::Status(status) => self.refused(status, alone.as_ref()),
            Trouble::Later(status, secs, readable) => {
                let after = if readable { secs.to_string() } else { "soon".to_owned() };
                Outcome::Answered { status, retry_after: Some(after), date: None, body: vec![] }
            }
            Trouble::Garbage(kind, arrives) => {
                if arrives {
                    self.store(entries)?;
                }
                said(200, garbage(kind))
            }
            Trouble::Narrow(most) if entries.len() > most => self.refused(413, None),
            Trouble::Narrow(_) | Trouble::Any => self.answered(entries)?,
        })
    }

    async fn arrives(&self, items: Items) -> Result<Outcome, LedgerError> {
        self.takes(20, 2_000).await;
        let trouble = self.trouble();
        let outcome = match trouble {
            Some(trouble) => {
                self.world.books().counts.failed += 1;
                self.goes_wrong(trouble, items.entries).await?
            }
            None => self.answered(items.entries)?,
        };
        if self.world.is_hit(Point::Delivered) {
            // Whoever waits for the answer is dead.
            std::future::pending::<()>().await;
        }
        self.takes(20, 2_000).await;
        if trouble.is_none() && matches!(outcome, Outcome::Answered { status: 200, .. }) {
            self.tells_the_time();
        }
        Ok(outcome)
    }

    fn tells_the_time(&self) {
        let date = Timestamp::from_millis(self.world.now().millis() / 1_000 * 1_000);
        self.clock.on_noc(date + Span::from_millis(SECOND.millis() / 2), TOLD_WITHIN);
    }
}

fn said(status: u16, body: Vec<u8>) -> Outcome {
    Outcome::Answered { status, retry_after: None, date: None, body }
}

fn garbage(kind: u8) -> Vec<u8> {
    let text = match kind {
        0 => "<html>log in to the guest network</html>",
        1 => "{\"accepted\":1,\"dupl",
        2 => "{\"accepted\":100000,\"duplicates\":0,\"rejected\":[]}",
        _ => "{\"accepted\":0,\"duplicates\":0,\"rejected\":[{\"id\":\"stranger\",\"reason\":\"no\"}]}",
    };
    text.as_bytes().to_vec()
}

impl Way for Road {
    fn origin(&self) -> &Origin {
        &self.origin
    }

    async fn post(&self, body: Vec<u8>) -> Outcome {
        let read = incoming::unpack(&body).and_then(|body| incoming::read(&body, &self.origin.source()));
        let items = match read {
            Ok(items) => items,
            Err(why) => {
                self.world.books().fault(format!("the receiver cannot read a batch: {why}"));
                return Outcome::Broken { why: why.to_string() };
            }
        };
        let now = self.world.now();
        {
            let mut books = self.world.books();
            books.sees(&items.entries, now);
            for Rejection { id, reason } in &items.rejected {
                books.fault(format!("the receiver will not have {id}: {reason}"));
            }
        }
        self.arrives(items).await.unwrap_or_else(|why| {
            self.world.books().fault(format!("the ledger failed: {why}"));
            Outcome::Broken { why: why.to_string() }
        })
    }
}

/// The ears on site.
#[derive(Debug, Clone)]
pub struct Siren {
    world: Arc<World>,
    chance: Arc<Mutex<Chance>>,
}

impl Siren {
    /// Those of one life.
    pub fn new(world: &Arc<World>, life: usize) -> Self {
        let chance = Chance::of(world.plan.seed.wrapping_add(life as u64), Stream::Disk as usize + 1);
        Self { world: Arc::clone(world), chance: Arc::new(Mutex::new(chance)) }
    }
}

impl Speak for Siren {
    async fn publish(&self, topic: &str, payload: Vec<u8>, _retain: bool) -> Result<(), NotTaken> {
        if self.world.site_is_down() {
            return Err(NotTaken("no broker".to_owned()));
        }
        if !topic.ends_with("/alerts") {
            return Ok(());
        }
        let now = self.world.now();
        self.world.books().hears(&payload, now);
        if self.world.is_hit(Point::Announced) {
            std::future::pending::<()>().await;
        }
        if !self.world.is_calm() && locked(&self.chance).happens(UNHEARD) {
            self.world.books().interruptions.push(now);
            return Err(NotTaken("no answer".to_owned()));
        }
        Ok(())
    }
}
