//! `GET /api/alerts/{tenant}/{site}/{gateway}/{id}`: everything that is known of one alert.

use super::{Desk, Name, Refused};
use crate::access::{Person, Scope};
use crate::ledger::{
    AlertHead, AlertRow, CommandRow, Filter, Ledger, LedgerError, NoticeRow, StepRow, StepState, legal,
};
use crate::openapi::{Passed, Told};
use crate::presence::Heard;
use crate::sites::ground::{Ground, Threshold, ground, threshold};
use axum::Json;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use vigil_cloud_sync::Origin;
use vigil_core::alert::Rule;
use vigil_core::time::Timestamp;

/// How many others of an incident are listed: more than a page shows at once, and a storm's members stand in it.
const OTHERS: u32 = 50;
/// How many of a gateway's latest commands are looked through for welfare checks.
const COMMANDS: u32 = 200;

/// Everything that is known of one alert.
#[derive(Serialize, JsonSchema)]
pub struct Case {
    #[serde(flatten)]
    row: AlertRow,
    /// What may be done next.
    legal: Vec<&'static str>,
    history: Vec<Line>,
    /// Where it came from, as it is now.
    heard: Option<Heard>,
    /// Of an alert about a run: its log entry.
    #[schemars(with = "Option<Passed>")]
    run: Option<Box<RawValue>>,
    /// The ground of its site, if a site file was given here.
    ground: Option<Ground>,
    /// Of an inactivity alert: the score from which on the guard counted as inactive, if it is known here.
    threshold: Option<Threshold>,
    /// The others of its incident, and what it explains.
    others: Vec<AlertRow>,
    /// Welfare checks of its guard, the newest first.
    welfare: Vec<CommandRow>,
    /// Who outside was told of it, in the order in which they were.
    told: Vec<NoticeRow>,
    now: Timestamp,
}

/// One line of what happened, wherever it was done.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
struct Line {
    at: Timestamp,
    by: String,
    status: String,
    method: Option<String>,
    response: Option<String>,
    note: Option<String>,
    /// `gateway`: it is in the gateway's history; `centre`: it is not, or not yet.
    #[schemars(extend("enum" = ["gateway", "centre"]))]
    kept: &'static str,
    /// Of a step of this centre: where it stands.
    state: Option<StepState>,
    refused: Option<String>,
}

#[derive(Deserialize)]
struct History {
    #[serde(default, deserialize_with = "as_far_as_it_reads")]
    history: Vec<Noted>,
}

/// A line that a newer gateway writes otherwise is passed over: the others are shown.
fn as_far_as_it_reads<'de, D: Deserializer<'de>>(lines: D) -> Result<Vec<Noted>, D::Error> {
    let lines = Vec::<Value>::deserialize(lines)?;
    Ok(lines.into_iter().filter_map(|line| serde_json::from_value(line).ok()).collect())
}

#[derive(Deserialize)]
struct Noted {
    at: Timestamp,
    #[serde(default)]
    by: String,
    status: String,
    /// Of a newer gateway it may be more than a text: then it is not shown, and the rest is.
    #[serde(default)]
    note: Value,
}

/// Everything of one alert.
pub async fn show(
    State(desk): State<Desk>,
    person: Person,
    Path(name): Path<Name>,
) -> Result<impl IntoResponse, Refused> {
    Ok(Json(case(&desk, &person, name).await?))
}

/// What the document says of it.
pub fn tells(told: &mut Told<'_>) {
    told.called("showAlert", "Everything that is known of one alert");
    told.gives::<Case>(200, "The alert.");
    told.refuses(404, "there is no such alert");
}

pub(super) async fn case(desk: &Desk, person: &Person, name: Name) -> Result<Case, Refused> {
    // Somebody else's is not there.
    let origin = name.origin().filter(|_| person.sees(&name.tenant)).ok_or(Refused::Unknown)?;
    let (scope, now) = (person.scope(), (desk.now)());
    let found = desk.clerk.ask(move |ledger| read(ledger, &scope, &origin, &name, now)).await?;
    found.ok_or(Refused::Unknown)
}

fn read(
    ledger: &mut Ledger,
    scope: &Scope,
    origin: &Origin,
    name: &Name,
    now: Timestamp,
) -> Result<Option<Case>, LedgerError> {
    let place = name.place();
    let Some(row) = ledger.alert(scope, &place, &name.gateway, &name.id)? else { return Ok(None) };
    let head: AlertHead = serde_json::from_str(row.alert.get())?;
    let noted: History = serde_json::from_str(row.alert.get())?;
    let run = match run_of(&head.subject) {
        Some(run) => ledger.run(&place, &name.gateway, &run)?,
        None => None,
    };
    let mut others = match &row.incident {
        Some(incident) => others(ledger, scope, name, incident)?,
        None => vec![],
    };
    others.extend(ledger.folded_under(&place, &name.gateway, &head.id, OTHERS)?);
    let welfare = match &head.guard {
        Some(guard) => welfare(ledger, scope, origin, guard)?,
        None => vec![],
    };
    let heard = ledger.gateway_at(scope, &place, &name.gateway)?.map(|gateway| Heard::at(now, gateway));
    let told = ledger.told(&place, &name.gateway, &name.id)?;
    let (legal, history) = (legal(&row.status), history(noted.history, &row.steps));
    let ground = ground(ledger.database(), &place)?;
    let threshold = match bundle_in_use(&head, heard.as_ref()) {
        Some(version) => threshold(ledger.database(), &place, head.detected_at, version)?,
        None => None,
    };
    Ok(Some(Case { row, legal, history, heard, run, ground, threshold, others, welfare, told, now }))
}

/// The gateway's history, and among it what it does not have: steps on their way, and those that it refused.
fn history(noted: Vec<Noted>, steps: &[StepRow]) -> Vec<Line> {
    let here = |step: &StepRow, at, kept| Line {
        at,
        by: step.by.clone(),
        status: step.status.clone(),
        method: Some(step.method.clone()).filter(|method| method != "NONE"),
        response: step.response.clone(),
        note: step.note.clone(),
        kept,
        state: Some(step.state),
        refused: step.refused.clone(),
    };
    let of_gateway = noted.into_iter().map(|noted| {
        let ours = steps.iter().find(|step| {
            step.state == StepState::AtGateway && step.status == noted.status && step.by == noted.by
        });
        match ours {
            Some(step) => here(step, noted.at, "gateway"),
            None => Line {
                at: noted.at,
                by: noted.by,
                status: noted.status,
                method: None,
                response: None,
                note: noted.note.as_str().map(str::to_owned),
                kept: "gateway",
                state: None,
                refused: None,
            },
        }
    });
    let only_here = steps.iter().filter(|step| step.state != StepState::AtGateway);
    let mut lines: Vec<Line> =
        of_gateway.chain(only_here.map(|step| here(step, step.at, "centre"))).collect();
    lines.sort_by_key(|line| line.at);
    lines
}

/// Of an inactivity alert: by which of the centre's site files its gateway judges. One that has none in use judges by a file of
/// its own, which is not known here.
fn bundle_in_use(head: &AlertHead, heard: Option<&Heard>) -> Option<i64> {
    #[derive(Deserialize)]
    struct Health {
        bundle: Option<InUse>,
    }
    #[derive(Deserialize)]
    struct InUse {
        version: i64,
    }
    let health = heard.filter(|_| head.rule == Rule::Inactivity.name())?.health()?;
    serde_json::from_str::<Health>(health).ok()?.bundle.map(|bundle| bundle.version)
}

/// The key of the run that an alert is about.
fn run_of(subject: &str) -> Option<String> {
    let (tour, at) = subject.strip_prefix("run:")?.split_once('@')?;
    Some(format!("{tour}@{}", Timestamp::parse(at).ok()?.millis()))
}

fn others(
    ledger: &mut Ledger,
    scope: &Scope,
    name: &Name,
    incident: &str,
) -> Result<Vec<AlertRow>, LedgerError> {
    let mut filter = Filter { incident: Some(incident.to_owned()), ..Filter::default() };
    filter.at(&name.tenant, &name.site);
    let mut found = ledger.find(scope, &filter, None, OTHERS)?.alerts;
    let itself = |row: &AlertRow| {
        let head: Option<AlertHead> = serde_json::from_str(row.alert.get()).ok();
        row.gateway == name.gateway && head.is_some_and(|head| head.id == name.id)
    };
    found.retain(|row| !itself(row));
    Ok(found)
}

fn welfare(
    ledger: &mut Ledger,
    scope: &Scope,
    origin: &Origin,
    guard: &str,
) -> Result<Vec<CommandRow>, LedgerError> {
    #[derive(Deserialize)]
    struct Of {
        guard: String,
    }
    let asked = |row: &CommandRow| {
        let of: Option<Of> = serde_json::from_str(row.command.data.get()).ok();
        row.command.kind == "welfare.check" && of.is_some_and(|of| of.guard == guard)
    };
    Ok(ledger.commands(scope, origin, COMMANDS)?.into_iter().filter(asked).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_of_which_some_lines_are_strange_is_shown() {
        let text = r#"{"history": [{"at": "2026-03-10T22:05:00Z", "by": "agent", "status": "DETECTED", "note": 5},
            {"at": "yesterday", "by": 7}, "VERIFYING",
            {"at": "2026-03-10T22:06:00Z", "status": "VERIFYING", "note": "on my way"}]}"#;
        let noted: History = serde_json::from_str(text).unwrap();
        let lines = history(noted.history, &[]);
        let told: Vec<_> = lines.iter().map(|line| (line.by.as_str(), line.note.as_deref())).collect();
        assert_eq!(told, [("agent", None), ("", Some("on my way"))]);
    }
}
