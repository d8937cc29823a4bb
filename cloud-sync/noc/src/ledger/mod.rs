//! What the NOC has received, once each, and what it has to tell its gateways. In a SQLite file, or in a PostgreSQL that several
//! receivers share: the statements are the same (`sql`), and so are the tables (`schema`).

mod clerk;
mod commands;
mod delivered;
mod failure;
mod file;
mod find;
mod incidents;
mod keep;
mod last;
mod look;
pub(crate) mod loss;
mod notices;
mod open;
mod raise;
mod schema;
mod sql;
mod steps;
mod told;

#[cfg(test)]
pub(crate) mod houses;
#[cfg(test)]
mod tests;

pub use clerk::Clerk;
pub use commands::{CommandRow, CommandState, MAX_WAITING, NewCommand, Queued, WaitingCommand, queue_at};
pub use failure::LedgerError;
pub use find::{Cursor, Filter, Found, NoCursor};
pub use keep::{place, place_of};
pub use notices::{Claimed, Looked};
pub use open::Place;
pub use sql::{
    Address, Arg, Cell, Database, Engine, Heard, Listener, News, PostgresError, Row, Teller, args, insert,
    way, within,
};
pub use steps::{NewStep, Stale, StepRow, StepState, Taken, legal};
pub use told::{Behind, NoticeRow, NoticeState, TryRow};

use crate::access::Scope;
use crate::access::audit::{Actor, Deed, audit};
use crate::openapi::{Passed, as_it_came};
use crate::sequence::Hole;
use file::LedgerFile;
use keep::Key;
use last::LastWrite;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use vigil_cloud_sync::wire::Rejection;
use vigil_cloud_sync::{EventKind, Origin};
use vigil_core::time::Timestamp;

/// How much of what a gateway is told stands in the log of who did what.
const MAX_TOLD_BYTES: usize = 2_048;

/// What the NOC needs to know of an alert; all else is shown as it came, so that a newer agent's words pass.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct AlertHead {
    /// The alert's name.
    pub id: String,
    /// From 1; the highest is the truth.
    pub revision: u32,
    /// How bad.
    pub severity: String,
    /// Where it stands.
    pub status: String,
    /// The instant at which the rule held.
    pub detected_at: Timestamp,
    /// When it stopped being so.
    #[serde(default)]
    pub cleared_at: Option<Timestamp>,
    /// Which rule raised it.
    #[serde(default)]
    pub rule: String,
    /// What it is about.
    #[serde(default)]
    pub subject: String,
    /// Whom it concerns.
    #[serde(default)]
    pub guard: Option<String>,
    /// One sentence for a person.
    #[serde(default)]
    pub summary: String,
    /// The instant of this revision.
    #[serde(default)]
    pub updated_at: Option<Timestamp>,
    /// Every status that it had.
    #[serde(default)]
    pub history: Vec<StepHead>,
}

/// What the NOC needs to know of a status that an alert had.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct StepHead {
    /// Since when.
    pub at: Timestamp,
    /// Which.
    pub status: String,
    /// By whom.
    #[serde(default)]
    pub by: String,
}

impl AlertHead {
    /// Whether it comes before all others: CRITICAL, not cleared, and nobody said that it is over.
    pub fn is_urgent(&self) -> bool {
        self.severity == "CRITICAL" && self.cleared_at.is_none() && !is_final(&self.status)
    }

    /// Whether nobody has taken it on, as far as its gateway knows, and it is not over.
    pub fn waits_for_somebody(&self) -> bool {
        self.status == "DETECTED" && self.cleared_at.is_none() && self.closed_at().is_none()
    }

    /// When somebody said that it is over.
    pub fn closed_at(&self) -> Option<Timestamp> {
        let ends = self.history.iter().filter(|step| is_final(&step.status));
        ends.map(|step| step.at).next_back()
    }
}

/// Whether nothing follows on that status.
pub fn is_final(status: &str) -> bool {
    matches!(status, "CONFIRMED" | "RESOLVED" | "FALSE_POSITIVE")
}

/// One event that passed every check.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Whose number it has, if it says so.
    pub producer: Option<String>,
    /// The producer's number for it.
    pub sequence: u64,
    /// Its name within the gateway.
    pub id: String,
    /// What it is about.
    pub kind: EventKind,
    /// Whom it concerns.
    pub subject: String,
    /// When it happened.
    pub time: Timestamp,
    /// The object as it came.
    pub data: Box<RawValue>,
    /// For an alert: what of it the NOC needs to know.
    pub alert: Option<AlertHead>,
}

/// One batch from one gateway.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Who sent it.
    pub origin: Origin,
    /// When it came.
    pub received_at: Timestamp,
    /// What is in it.
    pub entries: Vec<Entry>,
}

/// What became of a delivery.
#[derive(Debug)]
pub struct Receipt {
    /// How many entries were new.
    pub accepted: usize,
    /// How many were there before.
    pub duplicates: usize,
    /// Which were not taken, because the database cannot keep them.
    pub refused: Vec<Rejection>,
    /// Numbers of new entries that its producer had given to others before.
    pub reused: Vec<u64>,
    /// Names of entries that came before with other words: the first ones stand.
    pub altered: Vec<String>,
    /// The alerts that show something new.
    pub alerts: Vec<String>,
    /// The gateway after it.
    pub gateway: GatewayRow,
}

/// The latest revision of an alert.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct AlertRow {
    /// Whose site.
    pub tenant: String,
    /// Where.
    pub site: String,
    /// From which box.
    pub gateway: String,
    /// When this revision came.
    pub received_at: Timestamp,
    /// By when lists have it: its `detected_at`, or ten minutes after it came, if that is earlier.
    pub listed_at: Timestamp,
    /// The alert, as it came.
    #[schemars(schema_with = "as_it_came::<AlertHead>")]
    pub alert: Box<RawValue>,
    /// With which others it is told as one.
    pub incident: Option<String>,
    /// Which alert explains it.
    pub folded: Option<String>,
    /// The status that is shown: the gateway's, or that of a step on its way.
    pub status: String,
    /// By what a page says which alert it shows: `revision.steps`.
    pub seen: String,
    /// What people at the centre did with it, in their order.
    pub steps: Vec<StepRow>,
}

/// A gateway and how complete its record is.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct GatewayRow {
    /// Whose.
    pub tenant: String,
    /// Where.
    pub site: String,
    /// Which.
    pub gateway: String,
    /// When it last sent anything.
    pub last_heard_at: Option<Timestamp>,
    /// The highest number that has come of the store that it has now.
    pub highest_sequence: Option<u64>,
    /// How many numbers are missing, those of stores that it had before included.
    pub missing: u64,
    /// Which.
    pub holes: Vec<Hole>,
    /// How many numbers it has given twice: each time its store had been put back to an earlier time.
    pub reused: u64,
    /// Its latest health record.
    #[schemars(with = "Option<Passed>")]
    pub health: Option<Box<RawValue>>,
}

/// A tour, a report or a health record.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RecordRow {
    /// The CloudEvents `source`.
    pub source: String,
    /// Its name within the gateway.
    pub id: String,
    /// Whom it concerns.
    pub subject: String,
    /// When it happened.
    pub time: Timestamp,
    /// The record, as it came.
    #[schemars(with = "Passed")]
    pub data: Box<RawValue>,
}

/// What has been received, and what is to be told. Its calls block; the [`Clerk`] makes them on a thread of its own.
pub struct Ledger {
    database: Box<dyn Database>,
    /// The file, if it is in one.
    file: Option<LedgerFile>,
    last: LastWrite,
}

impl Ledger {
    /// Lists a gateway that has not been heard yet.
    pub fn enrol(&mut self, origin: &Origin) -> Result<(), LedgerError> {
        keep::list(&mut *self.database, &Key::of(origin))
    }

    /// Every gateway that `scope` may see, by name.
    pub fn gateways(&mut self, scope: &Scope) -> Result<Vec<GatewayRow>, LedgerError> {
        look::gateways(&mut *self.database, scope)
    }

    /// The gateways with that name that `scope` may see, whichever receiver lists them.
    pub fn gateways_named(&mut self, scope: &Scope, gateway: &str) -> Result<Vec<Origin>, LedgerError> {
        look::called(&mut *self.database, scope, gateway)
    }

    /// The gateway with that name at that place, if `scope` may see it.
    pub fn gateway_at(
        &mut self,
        scope: &Scope,
        place: &str,
        gateway: &str,
    ) -> Result<Option<GatewayRow>, LedgerError> {
        look::gateway_at(&mut *self.database, scope, place, gateway)
    }

    /// Open CRITICAL alerts first, the newest on top; then all others, the newest on top.
    pub fn alerts(&mut self, scope: &Scope, limit: u32) -> Result<Vec<AlertRow>, LedgerError> {
        look::alerts(&mut *self.database, scope, limit)
    }

    /// One page of what is looked for, behind `after`.
    pub fn find(
        &mut self,
        scope: &Scope,
        filter: &Filter,
        after: Option<&Cursor>,
        limit: u32,
    ) -> Result<Found, LedgerError> {
        find::find(&mut *self.database, scope, filter, after, limit)
    }

    /// One alert, if `scope` may see it.
    pub fn alert(
        &mut self,
        scope: &Scope,
        place: &str,
        gateway: &str,
        id: &str,
    ) -> Result<Option<AlertRow>, LedgerError> {
        look::alert(&mut *self.database, scope, place, gateway, id)
    }

    /// These alerts of one gateway, for whoever sees everything.
    pub fn alerts_named(
        &mut self,
        place: &str,
        gateway: &str,
        ids: &[String],
    ) -> Result<Vec<AlertRow>, LedgerError> {
        look::named(&mut *self.database, place, gateway, ids)
    }

    /// What that alert explains.
    pub fn folded_under(
        &mut self,
        place: &str,
        gateway: &str,
        id: &str,
        limit: u32,
    ) -> Result<Vec<AlertRow>, LedgerError> {
        look::folded_under(&mut *self.database, place, gateway, id, limit)
    }

    /// The latest log entry of one run.
    pub fn run(
        &mut self,
        place: &str,
        gateway: &str,
        run: &str,
    ) -> Result<Option<Box<RawValue>>, LedgerError> {
        look::run(&mut *self.database, place, gateway, run)
    }

    /// The newest events of that kind that `scope` may see.
    pub fn records(
        &mut self,
        scope: &Scope,
        kind: EventKind,
        limit: u32,
    ) -> Result<Vec<RecordRow>, LedgerError> {
        look::records(&mut *self.database, scope, kind, limit)
    }

    /// Puts a command in line for its gateway, durable on return, with who gave it.
    pub fn queue(
        &mut self,
        actor: &Actor,
        origin: &Origin,
        new: &NewCommand,
        now: Timestamp,
    ) -> Result<Queued, LedgerError> {
        let key = Key::of(origin);
        self.within(|tx| {
            let queued = commands::queue(tx, &key, new, now)?;
            if matches!(queued, Queued::New(_)) {
                let object = format!("{}/{}", key.place, key.gateway());
                // A long note stands with the command itself.
                let data = Some(&new.data).filter(|data| data.get().len() <= MAX_TOLD_BYTES);
                let detail = json!({"id": new.id, "type": new.kind, "data": data});
                let tenant = Some(origin.tenant.as_str());
                audit(tx, actor, now, &Deed { tenant, action: "command.queue", object: &object, detail })?;
                let (place, gateway) = (key.place.clone(), key.gateway().to_owned());
                tx.tell(&News { place, gateway, command: true, ..News::default() })?;
            }
            Ok(queued)
        })
    }

    /// Takes an alert a step further and queues it for its gateway, in one transaction, durable on return.
    pub fn take_step(
        &mut self,
        actor: &Actor,
        origin: &Origin,
        new: &NewStep,
        now: Timestamp,
    ) -> Result<Taken, LedgerError> {
        self.within(|tx| {
            let taken = steps::take(tx, &Key::of(origin), new, now)?;
            if matches!(taken, Taken::New) {
                let detail = serde_json::json!({"status": new.status, "method": new.method});
                let tenant = Some(origin.tenant.as_str());
                audit(tx, actor, now, &Deed { tenant, action: "alert.step", object: &new.alert, detail })?;
            }
            Ok(taken)
        })
    }

    /// The gateway has decided all up to `after`: gives what waits behind it, in order, as much as one answer holds.
    pub fn fetch(
        &mut self,
        origin: &Origin,
        after: u64,
        now: Timestamp,
    ) -> Result<Vec<WaitingCommand>, LedgerError> {
        self.within(|tx| commands::fetch(tx, &Key::of(origin), after, now))
    }

    /// The latest commands of a gateway that `scope` may see, the newest first.
    pub fn commands(
        &mut self,
        scope: &Scope,
        origin: &Origin,
        limit: u32,
    ) -> Result<Vec<CommandRow>, LedgerError> {
        if !scope.holds(origin.tenant.as_str()) {
            return Ok(vec![]);
        }
        commands::latest(&mut *self.database, &Key::of(origin), limit)
    }

    /// For statements that change nothing.
    pub fn database(&mut self) -> &mut dyn Database {
        &mut *self.database
    }

    /// Runs `work` in one transaction, durable on return.
    pub fn within<T>(
        &mut self,
        work: impl FnOnce(&mut dyn Database) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        let done = match &self.file {
            Some(file) => file
                .stands()
                .and_then(|()| within(&mut *self.database, work).map_err(|why| why.of_file(file.path()))),
            None => within(&mut *self.database, work),
        };
        if let Err(why) = &done
            && why.is_of_the_database()
        {
            self.last.note_failure(why);
        }
        done
    }
}
