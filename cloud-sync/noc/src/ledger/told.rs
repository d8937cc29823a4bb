//! What was told to whom, for people: in the list of all of it, and beside an alert.

use super::LedgerError;
use super::sql::{Arg, Database, Row, args};
use super::steps::Name;
use crate::access::Scope;
use crate::escalation::message::{Message, Named};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use vigil_core::time::Timestamp;

/// Where a notice stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NoticeState {
    /// It is tried, or tried again.
    Waiting,
    /// The contact has it.
    Told,
    /// The contact's server will never take it.
    Refused,
    /// It was tried for a day.
    GivenUp,
    /// Nobody needed to be told any more.
    Stopped,
}

impl NoticeState {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Waiting, Self::Told, Self::Refused, Self::GivenUp, Self::Stopped];

    /// As it is stored and asked for.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Told => "told",
            Self::Refused => "refused",
            Self::GivenUp => "given_up",
            Self::Stopped => "stopped",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// One try of a notice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TryRow {
    /// From 1.
    pub number: i64,
    /// When it ended.
    pub at: Timestamp,
    /// `taken`, `refused` or `failed`.
    pub result: String,
    /// The status of the answer, of HTTP or of SMTP, if one came.
    pub status: Option<i64>,
    /// What was said, or what happened.
    pub said: Option<String>,
}

/// A notice as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct NoticeRow {
    /// Its name, which the contact gets with it.
    pub id: String,
    /// Whose alerts it tells.
    pub tenant: String,
    /// At which site.
    pub site: String,
    /// Who is told.
    pub contact: String,
    /// When it was made.
    pub made_at: Timestamp,
    /// Where it stands.
    pub state: NoticeState,
    /// How often it was tried.
    pub tries: i64,
    /// When it is tried next.
    pub next_at: Option<Timestamp>,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
    /// Why it is not told, or not yet.
    pub why: Option<String>,
    /// The alerts that it tells.
    pub alerts: Vec<Named>,
    /// The latest tries, where one alert is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<Vec<TryRow>>,
}

/// The place of a notice in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behind {
    made_at: Timestamp,
    place: String,
    id: String,
}

impl fmt::Display for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}~{}~{}", self.made_at.millis(), self.place, self.id)
    }
}

impl FromStr for Behind {
    type Err = super::NoCursor;
    fn from_str(text: &str) -> Result<Self, super::NoCursor> {
        let mut parts = text.splitn(3, '~');
        let mut part = || parts.next().ok_or(super::NoCursor);
        let made_at = Timestamp::from_millis(part()?.parse().map_err(|_| super::NoCursor)?);
        Ok(Self { made_at, place: part()?.to_owned(), id: part()?.to_owned() })
    }
}

const COLUMNS: &str =
    "n.place, n.id, n.tenant, n.contact, n.made_ms, n.state, n.tries, n.next_ms, n.ended_ms, n.why, n.body";

fn notice_row(mut row: Row) -> Result<NoticeRow, LedgerError> {
    let (place, state) = (row.text(0)?, row.text(5)?);
    let message: Message = serde_json::from_str(&row.text(10)?)?;
    let site = place.split_once('/').map_or("", |(_, site)| site).to_owned();
    Ok(NoticeRow {
        id: row.text(1)?,
        tenant: row.text(2)?,
        site,
        contact: row.text(3)?,
        made_at: row.instant(4)?,
        state: NoticeState::named(&state).ok_or(LedgerError::Column(5))?,
        tries: row.int(6)?,
        next_at: row.maybe_instant(7)?,
        ended_at: row.maybe_instant(8)?,
        why: row.maybe_text(9)?,
        alerts: message.data.alerts,
        log: None,
    })
}

/// The statement of a page of the list, and what goes into it.
pub(super) fn page_of<'a>(
    scope: &'a Scope,
    state: Option<NoticeState>,
    behind: Option<&'a Behind>,
    limit: u32,
) -> (String, Vec<Arg<'a>>) {
    let mut args: Vec<Arg<'a>> = vec![];
    let mut conditions = scope.and_tenant("n.tenant", &mut args);
    if let Some(state) = state {
        args.push(Arg::Text(state.name()));
        conditions.push_str(&format!(" AND n.state = ${}", args.len()));
    }
    if let Some(Behind { made_at, place, id }) = behind {
        args.extend_from_slice(args![*made_at, place, id]);
        let last = args.len();
        conditions.push_str(&format!(
            " AND (n.made_ms, n.place, n.id) < (${}, ${}, ${last})",
            last - 2,
            last - 1
        ));
    }
    args.push(limit.into());
    let sql = format!(
        "SELECT {COLUMNS} FROM notices n WHERE 1 = 1{conditions} ORDER BY n.made_ms DESC, n.place DESC, n.id DESC LIMIT ${}",
        args.len()
    );
    (sql, args)
}

/// The newest notices that `scope` may see, behind `behind`; and where the next page goes on.
pub(super) fn list(
    database: &mut dyn Database,
    scope: &Scope,
    state: Option<NoticeState>,
    behind: Option<&Behind>,
    limit: u32,
) -> Result<(Vec<NoticeRow>, Option<Behind>), LedgerError> {
    let (sql, args) = page_of(scope, state, behind, limit);
    let rows = database.query(&sql, &args)?.into_iter().map(notice_row).collect::<Result<Vec<_>, _>>()?;
    let is_full = u32::try_from(rows.len()).is_ok_and(|many| many >= limit);
    let last = rows.last().filter(|_| is_full).map(|row| Behind {
        made_at: row.made_at,
        place: format!("{}/{}", row.tenant, row.site),
        id: row.id.clone(),
    });
    Ok((rows, last))
}

/// Who was told of an alert, in the order in which they were.
pub(super) fn of(
    database: &mut dyn Database,
    (place, gateway, alert): &Name,
) -> Result<Vec<NoticeRow>, LedgerError> {
    let rows = database.query(
        &format!(
            "SELECT {COLUMNS} FROM told t JOIN notices n ON n.place = t.place AND n.id = t.notice
             WHERE t.place = $1 AND t.gateway = $2 AND t.alert = $3 ORDER BY n.made_ms, n.contact"
        ),
        args![place, gateway, alert],
    )?;
    let mut notices = rows.into_iter().map(notice_row).collect::<Result<Vec<_>, _>>()?;
    for notice in &mut notices {
        notice.log = Some(tries(database, place, &notice.id)?);
    }
    Ok(notices)
}

fn tries(database: &mut dyn Database, place: &str, id: &str) -> Result<Vec<TryRow>, LedgerError> {
    let rows = database.query(
        "SELECT number, at_ms, result, status, said FROM notice_tries WHERE place = $1 AND notice = $2 ORDER BY number",
        args![place, id],
    )?;
    let read = |mut row: Row| {
        Ok(TryRow {
            number: row.int(0)?,
            at: row.instant(1)?,
            result: row.text(2)?,
            status: row.maybe_int(3)?,
            said: row.maybe_text(4)?,
        })
    };
    rows.into_iter().map(read).collect()
}
