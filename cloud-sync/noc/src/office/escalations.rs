//! Who was told of alerts that nobody took on: a page with a filter, and the same for programs.

use super::Broken;
use super::html::{Told, table, text, when, wide};
use crate::console::Shared;
use crate::door::Caller;
use crate::ledger::{Behind, NoticeRow, NoticeState};
use crate::openapi::Told as Document;
use crate::refusal::Refusal;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How many rows a page has, and how many a program gets at most: each holds the names of up to a hundred alerts.
const ROWS: u32 = 100;
const MAX_ROWS: u32 = 200;

/// How many alerts of a row the page names: of a longer incident its own page shows all.
const SHOWN: usize = 5;

/// What is asked for, as typed: empty is anything.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Asked {
    /// Only those that stand so.
    #[schemars(with = "NoticeState")]
    state: String,
    /// The `next` of the page before.
    after: String,
    /// How many rows: 100 unless asked.
    #[schemars(range(min = 1, max = 200))]
    limit: Option<u32>,
}

/// What is wrong with a question.
const QUERY: &str = "state is waiting, told, refused, given_up or stopped, after is what a page gave as next, limit is a whole \
    number from 1 to 200";

/// State, cursor and number of rows.
type Sought = (Option<NoticeState>, Option<Behind>, u32);

impl Asked {
    fn sought(&self) -> Option<Sought> {
        let state = match self.state.trim() {
            "" => None,
            name => Some(NoticeState::named(name)?),
        };
        let after = match self.after.trim() {
            "" => None,
            text => Some(text.parse().ok()?),
        };
        let limit = self.limit.unwrap_or(ROWS);
        (1..=MAX_ROWS).contains(&limit).then_some((state, after, limit))
    }
}

/// The answer to programs.
#[derive(Serialize, JsonSchema)]
pub struct Escalations {
    /// The newest first.
    escalations: Vec<NoticeRow>,
    /// Where the next page goes on; nothing if this was the last.
    next: Option<String>,
}

async fn read(
    console: &Shared,
    caller: &Caller,
    (state, after, limit): Sought,
) -> Result<Escalations, Broken> {
    let scope = caller.person.scope();
    let found = console.room.clerk.ask(move |ledger| ledger.notices(&scope, state, after.as_ref(), limit));
    let (escalations, next) = found.await?;
    Ok(Escalations { escalations, next: next.map(|next| next.to_string()) })
}

/// `GET /api/escalations`
pub async fn list(
    State(console): State<Shared>,
    caller: Caller,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, Broken> {
    match asked.ok().and_then(|Query(asked)| asked.sought()) {
        Some(sought) => Ok(Json(read(&console, &caller, sought).await?).into_response()),
        None => Ok((StatusCode::BAD_REQUEST, Refusal::of(&QUERY)).into_response()),
    }
}

/// What the document says of it.
pub fn tells(told: &mut Document<'_>) {
    told.called("listEscalations", "Who outside was told of alerts that nobody took on, the newest first");
    told.asks::<Asked>();
    told.may_be_empty(&["state", "after"]);
    told.gives::<Escalations>(200, "The notices.");
    told.refuses(400, QUERY);
}

/// `GET /escalations`
pub async fn page(
    State(console): State<Shared>,
    caller: Caller,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, Broken> {
    let Query(asked) = asked.unwrap_or_default();
    let (sought, told) = match asked.sought() {
        Some(sought) => (sought, Told::Nothing),
        None => ((None, None, ROWS), Told::wrong(QUERY)),
    };
    let state = sought.0;
    let found = read(&console, &caller, sought).await?;
    let heads = ["Made", "Contact", "State", "Tries", "Next", "Why not", "Site", "Alerts"];
    let list = table(&heads, found.escalations.iter().map(cells));
    let empty = if found.escalations.is_empty() { "<p>Nobody was told of anything.</p>" } else { "" };
    let named = state.map_or("", NoticeState::name);
    let earlier = found.next.map_or_else(String::new, |next| {
        format!(
            r#"<p><a href="/escalations?state={named}&amp;after={}">Earlier</a></p>"#,
            text(in_a_query(&next))
        )
    });
    let body = format!("{}<section>{list}{empty}{earlier}</section>", filter(state));
    Ok(wide(("/escalations", "Escalations"), &caller, &told, &body))
}

fn filter(chosen: Option<NoticeState>) -> String {
    let options = NoticeState::ALL.map(|state| {
        let mark = if chosen == Some(state) { " selected" } else { "" };
        format!(r#"<option value="{}"{mark}>{}</option>"#, state.name(), words(state))
    });
    format!(
        r#"<section><form class="row" method="get" action="/escalations"><label>State <select name="state">
<option value="">any</option>{}</select></label><button>Show</button></form></section>"#,
        options.concat()
    )
}

const fn words(state: NoticeState) -> &'static str {
    match state {
        NoticeState::Waiting => "being tried",
        NoticeState::Told => "told",
        NoticeState::Refused => "refused",
        NoticeState::GivenUp => "given up after a day",
        NoticeState::Stopped => "no longer needed",
    }
}

fn cells(row: &NoticeRow) -> Vec<String> {
    let mut alerts: Vec<String> = row
        .alerts
        .iter()
        .take(SHOWN)
        .map(|alert| {
            let (link, severity, rule) = (text(&alert.link), text(&alert.severity), text(&alert.rule));
            format!(r#"<a href="{link}">{severity} {rule}</a> {}"#, text(&alert.summary))
        })
        .collect();
    if let Some(more) = row.alerts.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        alerts.push(format!("and {more} more"));
    }
    let state = match (row.state, row.ended_at) {
        (NoticeState::Waiting, _) | (_, None) => words(row.state).to_owned(),
        (state, Some(at)) => format!("{}, {}", words(state), when(at)),
    };
    vec![
        when(row.made_at),
        text(&row.contact),
        state,
        row.tries.to_string(),
        row.next_at.map_or_else(String::new, when),
        text(row.why.as_deref().unwrap_or_default()),
        text(format_args!("{}/{}", row.tenant, row.site)),
        alerts.join("<br>"),
    ]
}

fn in_a_query(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'~');
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::escalation::message::Named;
    use vigil_core::time::Timestamp;

    #[test]
    fn what_a_contact_answered_is_no_markup() {
        let at = Timestamp::from_millis(1_773_160_000_000);
        let evil = "<script>alert(1)</script>".to_owned();
        let named = Named {
            tenant: "acme".into(),
            site: "plant-7".into(),
            gateway: "gw-1".into(),
            id: "a".into(),
            rule: evil.clone(),
            severity: evil.clone(),
            subject: evil.clone(),
            summary: evil.clone(),
            detected_at: at,
            received_at: at,
            incident: None,
            link: Named::path("acme", "plant-7", "gw-1", "a\"><b>"),
        };
        let row = NoticeRow {
            id: "esc_1".into(),
            tenant: "acme".into(),
            site: "plant-7".into(),
            contact: "duty".into(),
            made_at: at,
            state: NoticeState::Refused,
            tries: 3,
            next_at: None,
            ended_at: Some(at),
            why: Some(evil),
            alerts: vec![named; SHOWN + 2],
            log: None,
        };
        let cells = cells(&row);
        assert!(!cells.concat().contains("<script") && !cells.concat().contains("<b>"), "{cells:?}");
        assert!(cells[7].ends_with("and 2 more") && cells[2].starts_with("refused, 2026-03-10"), "{cells:?}");
    }

    #[test]
    fn a_question_is_read_or_refused() {
        let asked =
            |state: &str, after: &str, limit| Asked { state: state.into(), after: after.into(), limit };
        assert_eq!(asked("", "", None).sought(), Some((None, None, ROWS)));
        let behind = "5~acme/plant-7~esc_1";
        let sought = asked("given_up", behind, Some(200)).sought().unwrap();
        assert_eq!(
            (sought.0, sought.1.unwrap().to_string()),
            (Some(NoticeState::GivenUp), behind.to_owned())
        );
        for wrong in
            [asked("sung", "", None), asked("", "x", None), asked("", "", Some(0)), asked("", "", Some(201))]
        {
            assert_eq!(wrong.sought(), None, "{wrong:?}");
        }
        assert_eq!(in_a_query(behind), "5~acme%2Fplant-7~esc_1");
    }
}
