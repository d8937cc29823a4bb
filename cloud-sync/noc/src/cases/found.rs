//! `GET /api/alerts`: one page of what is looked for.

use super::{Desk, MAX_ROWS, ROWS, Refused};
use crate::access::Person;
use crate::ledger::{AlertRow, Cursor, Filter};
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use vigil_core::time::Timestamp;

/// What is looked for, as it stands in the address.
#[derive(Debug, Default, Deserialize)]
pub struct Wanted {
    tenant: Option<String>,
    site: Option<String>,
    guard: Option<String>,
    gateway: Option<String>,
    status: Option<String>,
    severity: Option<String>,
    rule: Option<String>,
    incident: Option<String>,
    q: Option<String>,
    from: Option<String>,
    to: Option<String>,
    open: Option<String>,
    after: Option<String>,
    limit: Option<u32>,
}

#[derive(Serialize)]
struct Page {
    alerts: Vec<AlertRow>,
    next: Option<Cursor>,
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
