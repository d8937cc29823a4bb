//! What people at the centre do with alerts. A step is decided by the gateway, in the order in which steps reach it; here it is
//! kept with who took it, told to the gateway, and shown until the gateway's own history has it or says why not.

use super::commands::{self, NewCommand, Queued};
use super::keep::{Key, held};
use super::sql::{Arg, Database, News, Row, args};
use super::{AlertHead, LedgerError, look, loss};
use crate::access::Scope;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use vigil_core::alert::{Method, Status};
use vigil_core::id::CommandId;
use vigil_core::time::Timestamp;

/// How many alerts one question names: the last is named again until there are so many, so that there are three texts for a
/// database to prepare and not a hundred.
const ASKED_AT_ONCE: [usize; 3] = [1, 10, 100];

/// A step that somebody wants to take.
#[derive(Debug, Clone)]
pub struct NewStep {
    /// Of which alert.
    pub alert: String,
    /// To which status.
    pub status: Status,
    /// How somebody made sure.
    pub method: Method,
    /// What the guard answered.
    pub response: Option<String>,
    /// What else there is to say.
    pub note: Option<String>,
    /// What was on the screen: `revision.steps`.
    pub seen: String,
    /// Who takes it.
    pub person: String,
    /// Under which name the gateway is told.
    pub command: CommandId,
}

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// The gateway has not decided it yet, or its word has not come.
    OnItsWay,
    /// It is in the gateway's history.
    AtGateway,
    /// The gateway refused it.
    Refused,
}

/// A step as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct StepRow {
    /// From 1, for each alert.
    pub number: i64,
    /// When it was taken.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
    /// The status that it gives.
    pub status: String,
    /// How somebody made sure.
    pub method: String,
    /// What the guard answered.
    pub response: Option<String>,
    /// What else there is to say.
    pub note: Option<String>,
    /// The command that tells the gateway.
    pub command: String,
    /// Why the gateway refused it.
    pub refused: Option<String>,
    /// Where it stands.
    pub state: StepState,
}

impl StepRow {
    /// Where it stands, by what the gateway says of the alert. A status is taken once in the life of an alert, so that name and
    /// status tell it from every other; a refusal says more than that.
    fn state_by(&self, alert: &AlertHead) -> StepState {
        let in_history = |step: &super::StepHead| step.status == self.status && step.by == self.by;
        match &self.refused {
            Some(_) => StepState::Refused,
            None if alert.history.iter().any(in_history) => StepState::AtGateway,
            None => StepState::OnItsWay,
        }
    }
}

/// Why a step is not taken: something happened that was not on the screen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Stale {
    /// Who did it; `agent` is the gateway itself.
    pub by: String,
    /// What the alert is since then.
    pub status: String,
    /// When.
    pub at: Timestamp,
}

/// What became of a step.
#[derive(Debug)]
pub enum Taken {
    /// It is kept, and waits for its gateway.
    New,
    /// There is no such alert.
    Unknown,
    /// It is not the alert that was on the screen.
    Stale(Stale),
    /// The status cannot follow on the one that is shown.
    Illegal(String),
    /// The gateway has not fetched what waits for it already.
    Full,
}

/// Says where each step stands, and gives the status that is shown: the gateway's, or that of a step on its way that can follow
/// on it.
pub(super) fn judge(alert: &AlertHead, steps: &mut [StepRow]) -> String {
    for step in steps.iter_mut() {
        step.state = step.state_by(alert);
    }
    let on_its_way = steps.iter().filter(|step| step.state == StepState::OnItsWay);
    on_its_way.fold(alert.status.clone(), |shown, step| {
        if may_become(&shown, &step.status) { step.status.clone() } else { shown }
    })
}

/// What may be done with an alert that is shown so.
pub fn legal(from: &str) -> Vec<&'static str> {
    const ALL: [Status; 4] = [Status::Verifying, Status::Confirmed, Status::Resolved, Status::FalsePositive];
    ALL.into_iter().map(Status::name).filter(|to| may_become(from, to)).collect()
}

/// The table of the rules. A status that a newer gateway has and this program does not know is followed by nothing.
fn may_become(from: &str, to: &str) -> bool {
    matches!((status(from), status(to)), (Some(from), Some(to)) if from.may_become(to))
}

fn status(name: &str) -> Option<Status> {
    Status::deserialize(serde::de::value::StrDeserializer::<serde::de::value::Error>::new(name)).ok()
}

pub(super) fn take(
    tx: &mut dyn Database,
    key: &Key<'_>,
    new: &NewStep,
    now: Timestamp,
) -> Result<Taken, LedgerError> {
    // Whoever delivers for this gateway, or tells it something, holds the same row: what is compared here stays true.
    let alone = held(tx.engine());
    tx.query(
        &format!("SELECT gateway FROM gateways WHERE place = $1 AND gateway = $2{alone}"),
        args![&key.place, key.gateway()],
    )?;
    let Some(row) = look::alert(tx, &Scope::whole(), &key.place, key.gateway(), &new.alert)? else {
        return Ok(Taken::Unknown);
    };
    let head: AlertHead = serde_json::from_str(row.alert.get())?;
    if new.seen != row.seen {
        let stale = newer(&head, &row.steps, &new.seen);
        return Ok(Taken::Stale(stale));
    }
    if !may_become(&row.status, new.status.name()) {
        return Ok(Taken::Illegal(row.status));
    }
    if head.rule == loss::RULE {
        loss::take(tx, key, new, now)?;
        return Ok(Taken::New);
    }
    let command = NewCommand {
        id: new.command.clone(),
        kind: "alert.status".to_owned(),
        data: serde_json::value::to_raw_value(&json!({
            "alert": new.alert, "status": new.status, "method": new.method, "response": new.response,
            "by": new.person, "note": new.note,
        }))?,
    };
    if !matches!(commands::queue(tx, key, &command, now)?, Queued::New(_)) {
        return Ok(Taken::Full);
    }
    let number = row.steps.last().map_or(1, |step| step.number + 1);
    insert(tx, key, new, number, now)?;
    tx.tell(&News {
        place: key.place.clone(),
        gateway: key.gateway().to_owned(),
        alerts: vec![new.alert.clone()],
        command: true,
        heard: false,
    })?;
    Ok(Taken::New)
}

fn insert(
    tx: &mut dyn Database,
    key: &Key<'_>,
    new: &NewStep,
    number: i64,
    now: Timestamp,
) -> Result<(), LedgerError> {
    tx.execute(
        "INSERT INTO steps (place, gateway, alert, number, at_ms, person, status, method, response, note, seen, command)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        args![
            &key.place,
            key.gateway(),
            &new.alert,
            number,
            now,
            &new.person,
            new.status.name(),
            &name(new.method),
            new.response.as_ref(),
            new.note.as_ref(),
            &new.seen,
            new.command.as_str()
        ],
    )?;
    Ok(())
}

fn name(method: Method) -> String {
    let written = serde_json::to_value(method).unwrap_or_default();
    written.as_str().unwrap_or("NONE").to_owned()
}

/// What happened since somebody saw `revision.steps`.
fn newer(head: &AlertHead, steps: &[StepRow], seen: &str) -> Stale {
    let (revision, known) = seen.split_once('.').unwrap_or(("0", "0"));
    let known: i64 = known.parse().unwrap_or(0);
    let here = steps.iter().rfind(|step| step.number > known).map(|step| Stale {
        by: step.by.clone(),
        status: step.status.clone(),
        at: step.at,
    });
    // A new revision need not be a step: then it is the gateway that found out more.
    let of_gateway = head
        .history
        .last()
        .filter(|_| revision != head.revision.to_string())
        .map(|step| Stale { by: step.by.clone(), status: step.status.clone(), at: step.at });
    let revised = Stale {
        by: "agent".to_owned(),
        status: head.status.clone(),
        at: head.updated_at.unwrap_or(head.detected_at),
    };
    let by_a_person = of_gateway.filter(|step| step.by != "agent");
    here.into_iter().chain(by_a_person).max_by_key(|step| step.at).unwrap_or(revised)
}

/// What an alert with these steps is named by a page that shows it: `revision.steps`.
pub(super) fn seen_now(head: &AlertHead, steps: &[StepRow]) -> String {
    format!("{}.{}", head.revision, steps.last().map_or(0, |step| step.number))
}

/// The gateway refused the command of a step. Gives the step's alert, if it was one.
pub(super) fn refuse(
    tx: &mut dyn Database,
    key: &Key<'_>,
    command: &str,
    reason: &str,
) -> Result<Option<String>, LedgerError> {
    let of = tx.one(
        "UPDATE steps SET refused = $4 WHERE place = $1 AND gateway = $2 AND command = $3 RETURNING alert",
        args![&key.place, key.gateway(), command, reason],
    )?;
    of.map(|mut row| row.text(0)).transpose()
}

/// An alert's full name: place, gateway, id.
pub(super) type Name = (String, String, String);

/// The steps of these alerts, in their order.
pub(super) fn of(
    database: &mut dyn Database,
    names: &[Name],
) -> Result<BTreeMap<Name, Vec<StepRow>>, LedgerError> {
    let mut found: BTreeMap<Name, Vec<StepRow>> = BTreeMap::new();
    let [_, _, most] = ASKED_AT_ONCE;
    for names in names.chunks(most) {
        let count = ASKED_AT_ONCE.into_iter().find(|count| *count >= names.len()).unwrap_or(most);
        let places: Vec<String> =
            (0..count).map(|n| format!("(${}, ${}, ${})", 3 * n + 1, 3 * n + 2, 3 * n + 3)).collect();
        let named = names.iter().chain(names.last().into_iter().cycle()).take(count);
        let args: Vec<Arg<'_>> =
            named.flat_map(|(place, gateway, alert)| [place, gateway, alert]).map(Arg::from).collect();
        let sql = format!(
            "SELECT place, gateway, alert, number, at_ms, person, status, method, response, note, command, refused
             FROM steps WHERE (place, gateway, alert) IN (VALUES {}) ORDER BY place, gateway, alert, number",
            places.join(", ")
        );
        for mut row in database.query(&sql, &args)? {
            let name = (row.text(0)?, row.text(1)?, row.text(2)?);
            found.entry(name).or_default().push(step_row(row)?);
        }
    }
    Ok(found)
}

fn step_row(mut row: Row) -> Result<StepRow, LedgerError> {
    Ok(StepRow {
        number: row.int(3)?,
        at: row.instant(4)?,
        by: row.text(5)?,
        status: row.text(6)?,
        method: row.text(7)?,
        response: row.maybe_text(8)?,
        note: row.maybe_text(9)?,
        command: row.text(10)?,
        refused: row.maybe_text(11)?,
        state: StepState::OnItsWay,
    })
}
