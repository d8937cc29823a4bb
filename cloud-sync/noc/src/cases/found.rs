//! `GET /api/alerts`: one page of what is looked for.

use super::{Desk, MAX_ROWS, ROWS, Refused};
use crate::access::Person;
use crate::ledger::{AlertRow, Cursor, Filter};
use crate::openapi::Told;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vigil_core::time::Timestamp;

/// What is looked for, as it stands in the address.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub struct Wanted {
    /// Whose.
    tenant: Option<String>,
    /// Where.
    site: Option<String>,
    /// Whom it concerns.
    guard: Option<String>,
    /// From which gateway.
    gateway: Option<String>,
    /// Where it stands, as the gateway says: DETECTED, VERIFYING, CONFIRMED, RESOLVED or FALSE_POSITIVE.
    status: Option<String>,
    /// How bad: LOW, MEDIUM, HIGH or CRITICAL.
    severity: Option<String>,
    /// Which rule.
    rule: Option<String>,
    /// With which others it is told as one.
    incident: Option<String>,
    /// Up to eight words, each somewhere in summary, id, subject, rule, tenant or site.
    q: Option<String>,
    /// Detected then or later.
    #[schemars(with = "Option<Timestamp>")]
    from: Option<String>,
    /// Detected before.
    #[schemars(with = "Option<Timestamp>")]
    to: Option<String>,
    /// Only what is not over and closed by nobody.
    #[schemars(with = "Option<bool>")]
    open: Option<String>,
    /// The `next` of the page before.
    after: Option<String>,
    /// How many rows.
    #[schemars(range(min = 1, max = MAX_ROWS), extend("default" = ROWS))]
    limit: Option<u32>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AlertsPage")]
struct Page {
    alerts: Vec<AlertRow>,
    /// What to ask for as `after`; `null` on the last page.
    #[schemars(with = "Option<String>")]
    next: Option<Cursor>,
    /// How far back was looked, where the next page goes on behind what was only looked at.
    searched_to: Option<Timestamp>,
}

/// `GET /api/alerts`
pub async fn list(
    State(desk): State<Desk>,
    person: Person,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<impl IntoResponse, Refused> {
    let wanted = wanted.map_err(|_| Refused::Query)?.0;
    let limit = wanted.limit.unwrap_or(ROWS);
    if !(1..=MAX_ROWS).contains(&limit) {
        return Err(Refused::Query);
    }
    let after: Option<Cursor> = said(&wanted.after).map(|text| text.parse()).transpose()?;
    let (filter, scope) = (filter(wanted)?, person.scope());
    let found = desk.clerk.ask(move |ledger| ledger.find(&scope, &filter, after.as_ref(), limit)).await?;
    Ok(Json(Page { alerts: found.alerts, next: found.next, searched_to: found.searched_to }))
}

/// What the document says of it.
pub fn tells(told: &mut Told<'_>) {
    told.called("listAlerts", "Alerts that are looked for, page by page");
    told.more(
        "Open CRITICAL alerts first, the newest on top; then all others, the newest on top. A request looks at no more than \
         20,000 alerts for what has no index; then `next` goes on behind them and `searched_to` says how far back was looked. \
         A parameter that is empty is not asked for.",
    );
    told.asks::<Wanted>();
    told.may_be_empty(&["from", "to", "open"]);
    told.gives::<Page>(200, "The alerts.");
    told.refuses(400, "limit, from, to, open or after makes no sense");
}

/// A field of a form that is left empty is not asked for.
fn said(text: &Option<String>) -> Option<&str> {
    text.as_deref().map(str::trim).filter(|text| !text.is_empty())
}

fn filter(wanted: Wanted) -> Result<Filter, Refused> {
    let text = |text: &Option<String>| said(text).map(str::to_owned);
    let instant =
        |text: &Option<String>| said(text).map(Timestamp::parse).transpose().map_err(|_| Refused::Query);
    let open = match said(&wanted.open) {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(Refused::Query),
    };
    let mut filter = Filter {
        tenant: text(&wanted.tenant),
        guard: text(&wanted.guard),
        gateway: text(&wanted.gateway),
        status: text(&wanted.status),
        severity: text(&wanted.severity),
        rule: text(&wanted.rule),
        incident: text(&wanted.incident),
        from: instant(&wanted.from)?,
        to: instant(&wanted.to)?,
        open,
        ..Filter::default()
    };
    match (said(&wanted.tenant), said(&wanted.site)) {
        (Some(tenant), Some(site)) => filter.at(tenant, site),
        (None, site) => filter.site = site.map(str::to_owned),
        (Some(_), None) => {}
    }
    if let Some(words) = said(&wanted.q) {
        filter.search(words);
    }
    Ok(filter)
}
