//! `POST /api/alerts/{tenant}/{site}/{gateway}/{id}/steps`: somebody takes an alert further.

use super::whole::{Case, case};
use super::{Desk, Late, MAX_STEP_BYTES, Name, Refused};
use crate::door::Caller;
use crate::ledger::{NewStep, Taken};
use crate::openapi::Told;
use crate::orders::made_up;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vigil_core::alert::{Method, Status};

/// The longest answer of a guard, and the longest note: what a gateway takes.
const LINE_CHARS: usize = 200;
const NOTE_CHARS: usize = 1_000;

#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "NewStep")]
struct Given {
    /// What it becomes.
    status: Status,
    /// How somebody made sure; `NONE` if it is left out.
    #[serde(default)]
    method: Option<Method>,
    /// What the guard answered.
    #[schemars(length(max = LINE_CHARS))]
    #[serde(default)]
    response: Option<String>,
    /// What else there is to say.
    #[schemars(length(max = NOTE_CHARS))]
    #[serde(default)]
    note: Option<String>,
    /// The `seen` of the alert that was looked at.
    seen: String,
}

/// What is known of an alert after a step.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
enum Stepped {
    /// Everything.
    Whole(Box<Case>),
    /// That the step is kept.
    Kept(KeptStep),
}

/// The step is kept, and the alert cannot be read at the moment. It is not to be taken again: ask for the alert.
#[derive(Serialize, JsonSchema)]
struct KeptStep {
    /// What the alert becomes by it.
    taken: Status,
}

/// Takes an alert a step further, and shows it as it is then.
pub async fn take(
    State(desk): State<Desk>,
    caller: Caller,
    Path(name): Path<Name>,
    body: Bytes,
) -> Result<impl IntoResponse, Refused> {
    let person = &caller.person;
    if !person.sees(&name.tenant) {
        return Err(Refused::Unknown);
    }
    let origin = name.origin().ok_or(Refused::Unknown)?;
    let given: Given = serde_json::from_slice(&body).map_err(Refused::Body)?;
    let (to, command) = (given.status, made_up().ok_or(Refused::Random)?);
    let step = NewStep {
        alert: name.id.clone(),
        status: to,
        method: given.method.unwrap_or(Method::None),
        response: line("response", given.response, LINE_CHARS)?,
        note: line("note", given.note, NOTE_CHARS)?,
        seen: given.seen,
        person: person.name.clone(),
        command,
    };
    let (actor, now) = (caller.actor(), (desk.now)());
    match desk.clerk.ask(move |ledger| ledger.take_step(&actor, &origin, &step, now)).await? {
        Taken::New => {
            tracing::info!(alert = %name.id, by = %person.name, status = %to, "an alert is taken a step further");
            // Whoever is told that it failed takes it once more, and is told that somebody was faster.
            let stepped = match case(&desk, person, name).await {
                Ok(case) => Stepped::Whole(Box::new(case)),
                Err(why) => {
                    tracing::error!(%why, "a step is kept, and its alert cannot be shown");
                    Stepped::Kept(KeptStep { taken: to })
                }
            };
            Ok((StatusCode::CREATED, Json(stepped)))
        }
        Taken::Unknown => Err(Refused::Unknown),
        Taken::Stale(stale) => Err(Refused::Stale(stale)),
        Taken::Illegal(from) => Err(Refused::Illegal(from, to.name())),
        Taken::Full => Err(Refused::Full),
    }
}

/// What the document says of it.
pub fn tells(told: &mut Told<'_>) {
    told.called("takeStep", "Take an alert further");
    told.more(
        "The step, the comparison with what was seen and the command for the gateway are one transaction.",
    );
    told.takes::<Given>(&format!("The step, at most {MAX_STEP_BYTES} bytes."));
    told.gives::<Stepped>(
        201,
        "The step is on stable storage. The alert as it is then, or, if it cannot be read at the moment, the step alone.",
    );
    told.refuses(400, "it is no step");
    told.refuses(404, "there is no such alert");
    told.refuses_with::<Late>(
        409,
        "something happened after `seen`, the status cannot follow, or too many commands wait",
    );
    told.refuses(413, &format!("the step has more than {MAX_STEP_BYTES} bytes"));
    told.refuses(503, &Refused::Random.to_string());
}

/// A text that may be left out; an empty one is as good as nothing.
fn line(name: &'static str, text: Option<String>, most: usize) -> Result<Option<String>, Refused> {
    let Some(text) = text.filter(|text| !text.trim().is_empty()) else { return Ok(None) };
    if text.chars().count() > most || text.chars().any(char::is_control) {
        return Err(Refused::Text(name, most));
    }
    Ok(Some(text))
}
