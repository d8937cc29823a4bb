//! The log of who did what, for admins: a page with a filter, and the same as a table for other programs.

use super::Broken;
use super::html::{Told, table, text, when, wide};
use crate::access::audit::{self, AuditRow, Sought};
use crate::console::Shared;
use crate::door::Caller;
use crate::openapi::Told as Document;
use crate::refusal::Refusal;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Deserialize;
use vigil_core::time::{Span, Timestamp};

/// How many rows a page has.
const ROWS: u32 = 200;
/// How many rows a file has: some megabytes. The rest is asked for with an earlier `to`.
const MAX_ROWS: u32 = 20_000;

/// What is asked for, as typed: empty is anything.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Asked {
    /// Only what they did.
    who: String,
    /// Only such; `person.` is all of people.
    action: String,
    /// Only what was done to it.
    object: String,
    /// Only then or later: a day like 2026-03-10, in UTC, or an instant like 2026-03-10T20:00:00Z.
    from: String,
    /// Only before it; a day is part of it.
    to: String,
    /// Only what has a smaller number.
    #[schemars(with = "i64")]
    before: String,
}

impl Asked {
    fn sought(&self) -> Result<Sought, String> {
        let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let before = given(&self.before).map(|n| n.parse().map_err(|_| "before: a number is expected"));
        Ok(Sought {
            who: given(&self.who),
            action: given(&self.action),
            object: given(&self.object),
            from: instant(&self.from, Span::ZERO)?,
            to: instant(&self.to, Span::from_hours(24))?,
            before: before.transpose()?,
        })
    }
}

/// An instant, or a day in UTC; a day that ends something ends it `later`.
fn instant(text: &str, later: Span) -> Result<Option<Timestamp>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let day = || Timestamp::parse(&format!("{text}T00:00:00Z")).map(|day| day + later);
    let wrong =
        || format!("{text}: a day like 2026-03-10 or an instant like 2026-03-10T20:00:00Z is expected");
    Timestamp::parse(text).or_else(|_| day()).map(Some).map_err(|_| wrong())
}

/// A query that a page cannot read asks for everything.
type Filter = Result<Query<Asked>, QueryRejection>;

/// `GET /audit`
pub async fn page(State(console): State<Shared>, caller: Caller, asked: Filter) -> Result<Response, Broken> {
    let Query(asked) = asked.unwrap_or_default();
    let (sought, told) = match asked.sought() {
        Ok(sought) => (sought, Told::Nothing),
        Err(why) => (Sought::default(), Told::wrong(why)),
    };
    let rows = read(&console, &caller, sought, ROWS).await?;
    let heads = ["When", "Who", "From", "What", "To what", "Tenant", "More"];
    let cells = rows.iter().map(|row| {
        let more = if row.detail.get() == "{}" { String::new() } else { text(row.detail.get()) };
        let tenant = row.tenant.as_ref().map_or_else(String::new, text);
        let (who, object) = (text(&row.who), text(&row.object));
        vec![
            when(row.at),
            who,
            text(&row.address),
            text(&row.action),
            object,
            tenant,
            format!("<code>{more}</code>"),
        ]
    });
    let list = table(&heads, cells);
    let full = u32::try_from(rows.len()).is_ok_and(|many| many >= ROWS);
    let older = rows.last().filter(|_| full).map_or_else(String::new, |last| {
        format!(r#"<p><a href="/audit?{}&amp;before={}">Earlier</a></p>"#, text(query(&asked)), last.seq)
    });
    let body = format!("{}<section>{list}{older}</section>", filter(&asked));
    Ok(wide(("/audit", "Log"), &caller, &told, &body))
}

fn filter(asked: &Asked) -> String {
    let field = |name: &str, label: &str, value: &str| {
        format!(r#"<label>{label} <input name="{name}" value="{}" maxlength="300"></label>"#, text(value))
    };
    format!(
        r#"<section><form class="row" method="get" action="/audit">{}{}{}{}{}<button>Show</button>
<button class="quiet" formaction="/audit.csv">CSV</button></form></section>"#,
        field("who", "Who", &asked.who),
        field("action", "What (person. is all of people)", &asked.action),
        field("object", "To what", &asked.object),
        field("from", "From (UTC)", &asked.from),
        field("to", "Up to", &asked.to)
    )
}

/// The filter as a query, for the next page.
fn query(asked: &Asked) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let escaped = |text: &str| -> String {
        text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
    };
    let pairs = [
        ("who", &asked.who),
        ("action", &asked.action),
        ("object", &asked.object),
        ("from", &asked.from),
        ("to", &asked.to),
    ];
    pairs.map(|(name, value)| format!("{name}={}", escaped(value))).join("&")
}

async fn read(
    console: &Shared,
    caller: &Caller,
    sought: Sought,
    limit: u32,
) -> Result<Vec<AuditRow>, Broken> {
    let scope = caller.person.scope();
    Ok(console.room.clerk.ask(move |ledger| audit::list(ledger.database(), &scope, &sought, limit)).await?)
}

/// `GET /audit.csv`
pub async fn csv(State(console): State<Shared>, caller: Caller, asked: Filter) -> Result<Response, Broken> {
    // A program that asks in a way that cannot be read must not take the whole log for what it asked for.
    let sought = match asked.map_err(|why| why.body_text()).and_then(|Query(asked)| asked.sought()) {
        Ok(sought) => sought,
        Err(why) => return Ok((StatusCode::BAD_REQUEST, Refusal::of(&why)).into_response()),
    };
    let rows = read(&console, &caller, sought, MAX_ROWS).await?;
    let mut file = String::from("seq,at,who,address,action,object,tenant,detail\r\n");
    for row in rows {
        let tenant = row.tenant.unwrap_or_default();
        let cells = [
            row.seq.to_string(),
            row.at.to_string(),
            cell(&row.who),
            cell(&row.address),
            cell(&row.action),
            cell(&row.object),
            cell(&tenant),
            cell(row.detail.get()),
        ];
        file += &cells.join(",");
        file += "\r\n";
    }
    let heads = [
        (CONTENT_TYPE, "text/csv; charset=utf-8"),
        (CONTENT_DISPOSITION, "attachment; filename=\"vigil-audit.csv\""),
    ];
    Ok((heads, file).into_response())
}

/// What the document says of it.
pub fn csv_tells(told: &mut Document<'_>) {
    told.called("auditAsCsv", "Who did what, the newest first");
    told.more(&format!("At most {MAX_ROWS} rows; what is older is asked for with `before`."));
    told.asks::<Asked>();
    told.may_be_empty(&["before"]);
    told.gives_text(200, "text/csv", "seq, at, who, address, action, object, tenant, detail.");
    told.refuses(400, "from or to is no day and no instant, or before no number");
}

/// A cell as RFC 4180 has it. What a spreadsheet would take for a formula stands behind an apostrophe.
fn cell(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_one_cell_and_no_formula() {
        assert_eq!(cell("ada"), "ada");
        assert_eq!(cell(r#"{"a":1,"b":2}"#), r#""{""a"":1,""b"":2}""#);
        assert_eq!(cell("=HYPERLINK(1)"), "'=HYPERLINK(1)");
    }

    #[test]
    fn a_day_that_ends_something_is_part_of_it() {
        let asked = Asked { from: "2026-03-10".into(), to: "2026-03-10".into(), ..Asked::default() };
        let sought = asked.sought().unwrap();
        assert_eq!(sought.to.unwrap().since(sought.from.unwrap()), Span::from_hours(24));
        let wrong = Asked { from: "yesterday".into(), ..Asked::default() };
        assert!(wrong.sought().unwrap_err().starts_with("yesterday: a day like"));
    }
}
