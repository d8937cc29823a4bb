//! Finding alerts: the urgent ones and then the others, each from the newest on, page by page. A page goes on behind the last row
//! of the one before, so it costs the same at the end of ten million alerts as at their beginning.

use super::sql::{Arg, Database, Row};
use super::{AlertRow, LedgerError, look};
use crate::access::Scope;
use serde::Serialize;
use std::fmt;
use std::str::FromStr;
use vigil_core::time::Timestamp;

/// How many alerts one request looks at beside the columns that have an index: a fraction of a second on either database. What
/// was not looked at yet is behind the page's cursor.
const WALKED: u32 = 20_000;

/// How many words are looked for: each looks at five texts of every alert.
const MAX_WORDS: usize = 8;

/// What is looked for; what is not given is not asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Whose.
    pub tenant: Option<String>,
    /// Where.
    pub site: Option<String>,
    /// Whom it concerns.
    pub guard: Option<String>,
    /// From which box.
    pub gateway: Option<String>,
    /// Where it stands.
    pub status: Option<String>,
    /// How bad.
    pub severity: Option<String>,
    /// Which rule.
    pub rule: Option<String>,
    /// With which others it is told as one.
    pub incident: Option<String>,
    /// Each stands somewhere in its texts; made by [`Filter::search`].
    pub patterns: Vec<String>,
    /// The place of one site; made by [`Filter::at`].
    pub place: Option<String>,
    /// Detected then or later.
    pub from: Option<Timestamp>,
    /// Detected before.
    pub to: Option<Timestamp>,
    /// Only what nobody has closed and what is not over.
    pub open: bool,
}

/// The place of a row in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    urgent: bool,
    detected_at: Timestamp,
    place: String,
    gateway: String,
    id: String,
}

/// What does not name a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("after is what a page gave as next")]
pub struct NoCursor;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { urgent, detected_at, place, gateway, id } = self;
        // Ids of places and gateways have no tilde in them; the alert's stands last, whatever it is.
        write!(f, "{}~{}~{place}~{gateway}~{id}", u8::from(*urgent), detected_at.millis())
    }
}

impl FromStr for Cursor {
    type Err = NoCursor;
    fn from_str(text: &str) -> Result<Self, NoCursor> {
        let mut parts = text.splitn(5, '~');
        let mut part = || parts.next().ok_or(NoCursor);
        let urgent = match part()? {
            "0" => false,
            "1" => true,
            _ => return Err(NoCursor),
        };
        let detected_at = Timestamp::from_millis(part()?.parse().map_err(|_| NoCursor)?);
        let (place, gateway, id) = (part()?.to_owned(), part()?.to_owned(), part()?.to_owned());
        Ok(Self { urgent, detected_at, place, gateway, id })
    }
}

impl Serialize for Cursor {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One page of the list.
#[derive(Debug)]
pub struct Found {
    /// In order.
    pub alerts: Vec<AlertRow>,
    /// Where the next page goes on; nothing if this was the last.
    pub next: Option<Cursor>,
    /// So far back everything has been looked at, where the next page has more to look at than to show.
    pub searched_to: Option<Timestamp>,
}

pub(super) fn find(
    database: &mut dyn Database,
    scope: &Scope,
    filter: &Filter,
    after: Option<&Cursor>,
    limit: u32,
) -> Result<Found, LedgerError> {
    let (mut rows, mut next, mut searched_to) = (vec![], None, None);
    for urgent in [true, false] {
        if after.is_some_and(|after| urgent && !after.urgent) {
            continue;
        }
        let behind = after.filter(|after| after.urgent == urgent);
        let walk = Walk { scope, filter, urgent, behind };
        let left = limit.saturating_sub(u32::try_from(rows.len()).unwrap_or(limit));
        let end = walk.end(database)?;
        rows.extend(walk.rows(database, end.as_ref(), left)?);
        if rows.len() >= usize::try_from(limit).unwrap_or(usize::MAX) {
            next = rows.last_mut().map(cursor).transpose()?;
            break;
        }
        if let Some(end) = end {
            (searched_to, next) = (Some(end.detected_at), Some(end));
            break;
        }
    }
    Ok(Found { alerts: look::alert_rows(database, rows)?, next, searched_to })
}

/// What a walk needs to go on behind a row.
const KEYS: &str = "urgent, detected_ms, place, gateway, id";
/// Where those stand behind what is shown of an alert.
const KEYS_FROM: usize = 9;

fn cursor(row: &mut Row) -> Result<Cursor, LedgerError> {
    cursor_at(row, KEYS_FROM)
}

fn cursor_at(row: &mut Row, from: usize) -> Result<Cursor, LedgerError> {
    Ok(Cursor {
        urgent: row.flag(from)?,
        detected_at: row.instant(from + 1)?,
        place: row.text(from + 2)?,
        gateway: row.text(from + 3)?,
        id: row.text(from + 4)?,
    })
}

/// Through one half of the list: along an index that ends as the list is ordered, and past what has none.
struct Walk<'a> {
    scope: &'a Scope,
    filter: &'a Filter,
    urgent: bool,
    behind: Option<&'a Cursor>,
}

/// A condition that grows.
#[derive(Default)]
struct Said<'a> {
    sql: String,
    args: Vec<Arg<'a>>,
}

impl<'a> Said<'a> {
    fn and(&mut self, column: &str, is: &str, value: impl Into<Arg<'a>>) {
        let value = self.value(value);
        self.sql.push_str(&format!(" AND {column} {is} {value}"));
    }

    fn value(&mut self, value: impl Into<Arg<'a>>) -> String {
        self.args.push(value.into());
        format!("${}", self.args.len())
    }
}

impl<'a> Walk<'a> {
    /// The order within one half: a place that is asked for is the same in every row.
    fn order(&self) -> &'static [&'static str] {
        let named = self.filter.place.is_some();
        if named { &["detected_ms", "gateway", "id"] } else { &["detected_ms", "place", "gateway", "id"] }
    }

    fn newest_first(&self) -> String {
        self.order().iter().map(|key| format!("{key} DESC")).collect::<Vec<_>>().join(", ")
    }

    /// Behind or before a row, itself not included or included.
    fn against(&self, said: &mut Said<'a>, is: &str, cursor: &'a Cursor) {
        let values: Vec<String> = self
            .order()
            .iter()
            .map(|key| match *key {
                "detected_ms" => said.value(cursor.detected_at),
                "place" => said.value(&cursor.place),
                "gateway" => said.value(&cursor.gateway),
                _ => said.value(&cursor.id),
            })
            .collect();
        said.sql.push_str(&format!(" AND ({}) {is} ({})", self.order().join(", "), values.join(", ")));
    }

    /// What an index leads along.
    fn led(&self) -> Said<'a> {
        let filter = self.filter;
        let mut said = Said { sql: "urgent = $1".to_owned(), args: vec![self.urgent.into()] };
        match (&filter.place, &filter.guard) {
            (Some(place), guard) => {
                said.and("place", "=", place);
                if let Some(guard) = guard {
                    said.and("guard", "=", guard);
                }
                let tenant = self.scope.and_tenant("tenant", &mut said.args);
                said.sql.push_str(&tenant);
            }
            // The open ones are few, and have an index of their own.
            (None, _) if filter.open => {}
            (None, _) => {
                let tenant = self.scope.and_tenant("tenant", &mut said.args);
                said.sql.push_str(&tenant);
                if let Some(tenant) = &filter.tenant {
                    said.and("tenant", "=", tenant);
                }
            }
        }
        if filter.open {
            said.sql.push_str(" AND cleared_ms IS NULL AND closed_ms IS NULL");
        }
        if let Some(from) = filter.from {
            said.and("detected_ms", ">=", from);
        }
        if let Some(to) = filter.to {
            said.and("detected_ms", "<", to);
        }
        if let Some(behind) = self.behind {
            self.against(&mut said, "<", behind);
        }
        said
    }

    /// What has no index of its own.
    fn looked_at(&self, said: &mut Said<'a>, words: &'a [String]) {
        let filter = self.filter;
        if filter.place.is_none() && filter.open {
            let tenant = self.scope.and_tenant("tenant", &mut said.args);
            said.sql.push_str(&tenant);
            if let Some(tenant) = &filter.tenant {
                said.and("tenant", "=", tenant);
            }
        }
        let guard = filter.guard.as_ref().filter(|_| filter.place.is_none());
        let named = [
            ("guard", guard),
            ("site", filter.site.as_ref()),
            ("gateway", filter.gateway.as_ref()),
            ("status", filter.status.as_ref()),
            ("severity", filter.severity.as_ref()),
            ("rule", filter.rule.as_ref()),
            ("incident", filter.incident.as_ref()),
        ];
        for (column, value) in named {
            if let Some(value) = value {
                said.and(column, "=", value);
            }
        }
        for word in words {
            let word = said.value(word);
            let columns = ["summary", "id", "subject", "rule", "place"];
            let any: Vec<String> =
                columns.iter().map(|column| format!("lower({column}) LIKE {word} ESCAPE '!'")).collect();
            said.sql.push_str(&format!(" AND ({})", any.join(" OR ")));
        }
    }

    /// The row up to which is looked, if there is more than is looked at in one go.
    fn end(&self, database: &mut dyn Database) -> Result<Option<Cursor>, LedgerError> {
        let (mut all, led) = (self.led(), self.led().sql.len());
        self.looked_at(&mut all, &self.filter.patterns);
        // All that is asked has an index: then only what is shown is read.
        if all.sql.len() == led {
            return Ok(None);
        }
        let led = self.led();
        let sql = format!(
            "SELECT {KEYS} FROM alerts WHERE {} ORDER BY {} LIMIT 1 OFFSET {}",
            led.sql,
            self.newest_first(),
            WALKED - 1
        );
        database.one(&sql, &led.args)?.map(|mut row| cursor_at(&mut row, 0)).transpose()
    }

    fn rows(
        &self,
        database: &mut dyn Database,
        end: Option<&'a Cursor>,
        limit: u32,
    ) -> Result<Vec<Row>, LedgerError> {
        let mut said = self.led();
        if let Some(end) = end {
            self.against(&mut said, ">=", end);
        }
        self.looked_at(&mut said, &self.filter.patterns);
        let limit = said.value(limit);
        let sql = format!(
            "SELECT {}, {KEYS} FROM alerts WHERE {} ORDER BY {} LIMIT {limit}",
            look::ALERT_COLUMNS,
            said.sql,
            self.newest_first(),
        );
        database.query(&sql, &said.args)
    }
}

/// `text` anywhere, as a pattern.
fn pattern(text: &str) -> String {
    let mut pattern = String::from("%");
    for letter in text.to_lowercase().chars() {
        if matches!(letter, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(letter);
    }
    pattern.push('%');
    pattern
}

impl Filter {
    /// Looks for every word of a text, in the summary, the id, the subject, the rule or the place.
    pub fn search(&mut self, text: &str) {
        self.patterns = text.split_whitespace().take(MAX_WORDS).map(pattern).collect();
    }

    /// Looks at one site: then its index leads.
    pub fn at(&mut self, tenant: &str, site: &str) {
        self.place = Some(format!("{tenant}/{site}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::houses::{self, House};
    use crate::ledger::sql::{Engine, insert};
    use crate::ledger::{AlertHead, Ledger};

    const NOW: i64 = 1_773_160_000_000;

    /// So many alerts of so many sites, every hundredth urgent, every tenth open; the highest number is the newest.
    fn filled(house: &House, many: i64, sites: i64) -> Ledger {
        let mut ledger = house.open();
        let texts: Vec<[String; 5]> = (0..many)
            .map(|n| {
                let (tenant, site) = match n % sites {
                    0 => ("acme".to_owned(), "plant-7".to_owned()),
                    1 => ("acme".to_owned(), "plant-8".to_owned()),
                    2 => ("zeta".to_owned(), "dock".to_owned()),
                    other => ("many".to_owned(), format!("site-{other}")),
                };
                let data = format!(
                    r#"{{"id":"a-{n:07}","revision":1,"severity":"LOW","status":"DETECTED","detected_at":"2026-03-10T22:00:00Z","summary":"number {n}"}}"#
                );
                [format!("{tenant}/{site}"), tenant, site, format!("a-{n:07}"), data]
            })
            .collect();
        let rows: Vec<Vec<Arg<'_>>> = texts
            .iter()
            .zip(0_i64..)
            .map(|([place, tenant, site, id, data], n)| {
                let closed = (n % 10 != 0).then_some(NOW);
                let guard = if n % 7 == 0 { "G-7" } else { "G-1" };
                vec![
                    Arg::from(place),
                    "gw-1".into(),
                    id.into(),
                    tenant.into(),
                    site.into(),
                    Arg::Int(1),
                    if n % 2 == 0 { "sos" } else { "inactivity" }.into(),
                    "LOW".into(),
                    "DETECTED".into(),
                    "guard:G-7".into(),
                    guard.into(),
                    "Number".into(),
                    (n % 100 == 0).into(),
                    Arg::Int(NOW + n * 1_000),
                    Arg::Int(NOW),
                    Arg::Null,
                    closed.into(),
                    Arg::Int(NOW),
                    data.into(),
                ]
            })
            .collect();
        let head = "INSERT INTO alerts (place, gateway, id, tenant, site, revision, rule, severity, status, subject, guard, summary,
             urgent, detected_ms, updated_ms, cleared_ms, closed_ms, received_ms, data)";
        ledger.within(|tx| insert(tx, head, "", &rows)).unwrap();
        ledger
    }

    fn numbers(found: &Found) -> Vec<i64> {
        let heads =
            found.alerts.iter().map(|row| serde_json::from_str::<AlertHead>(row.alert.get()).unwrap());
        heads.map(|head| head.id[2..].parse().unwrap()).collect()
    }

    #[test]
    fn pages_hold_every_alert_once_and_in_order() {
        for house in House::both() {
            let mut ledger = filled(&house, 350, 3);
            let (mut after, mut all) = (None, vec![]);
            loop {
                let found = ledger.find(&Scope::whole(), &Filter::default(), after.as_ref(), 60).unwrap();
                all.extend(numbers(&found));
                let Some(next) = found.next else { break };
                after = Some(next.to_string().parse::<Cursor>().unwrap());
            }
            let urgent = (0..350).rev().filter(|n| n % 100 == 0);
            let expected: Vec<i64> = urgent.chain((0..350).rev().filter(|n| n % 100 != 0)).collect();
            assert_eq!(all, expected);
        }
    }

    #[test]
    fn what_is_looked_for_is_found_and_nothing_else() {
        for house in House::both() {
            let mut ledger = filled(&house, 350, 3);
            let mut look = |filter: Filter, scope: &Scope| {
                let mut found = numbers(&ledger.find(scope, &filter, None, 1_000).unwrap());
                found.sort_unstable();
                found
            };
            let all = |is: &dyn Fn(i64) -> bool| (0..350).filter(|n| is(*n)).collect::<Vec<i64>>();
            let whole = Scope::whole();
            let filter = |set: &dyn Fn(&mut Filter)| {
                let mut filter = Filter::default();
                set(&mut filter);
                filter
            };
            assert_eq!(look(filter(&|f| f.open = true), &whole), all(&|n| n % 10 == 0));
            let rule = filter(&|f| f.rule = Some("sos".into()));
            assert_eq!(look(rule, &whole), all(&|n| n % 2 == 0));
            let site = filter(&|f| (f.at("acme", "plant-8"), f.guard = Some("G-7".into())).1);
            assert_eq!(look(site, &whole), all(&|n| n % 3 == 1 && n % 7 == 0));
            let range = filter(&|f| {
                f.from = Some(Timestamp::from_millis(NOW + 100_000));
                f.to = Some(Timestamp::from_millis(NOW + 200_000));
            });
            assert_eq!(look(range, &whole), (100..200).collect::<Vec<i64>>());
            let word = filter(&|f| f.search("a-00002 NUMB"));
            assert_eq!(look(word, &whole), (200..300).collect::<Vec<i64>>());
            assert!(look(filter(&|f| f.search("100%")), &whole).is_empty(), "a sign is a sign");
            let dock = filter(&|f| f.site = Some("dock".into()));
            assert_eq!(look(dock, &whole), all(&|n| n % 3 == 2));
            for open in [false, true] {
                let tenant = filter(&|f| (f.tenant = Some("zeta".into()), f.open = open).1);
                assert_eq!(look(tenant, &whole), all(&|n| n % 3 == 2 && (!open || n % 10 == 0)));
            }
        }
    }

    #[test]
    fn one_request_looks_at_so_many_and_the_next_goes_on() {
        let mut ledger = filled(&House::file(), 45_000, 3);
        let mut filter = Filter::default();
        filter.search("a-0000007");
        let (mut after, mut requests, mut all) = (None, 0, vec![]);
        loop {
            let found = ledger.find(&Scope::whole(), &filter, after.as_ref(), 10).unwrap();
            (requests, after) = (requests + 1, found.next.clone());
            all.extend(numbers(&found));
            if found.next.is_none() {
                break;
            }
            assert!(found.searched_to.is_some());
        }
        assert_eq!((all, requests), (vec![7], 3));
    }

    /// By which index a database finds what the list shows.
    fn plan(ledger: &mut Ledger, filter: &Filter) -> String {
        let cursor = "0~1773160100000~acme/plant-7~gw-1~a-100".parse::<Cursor>().unwrap();
        let whole = Scope::whole();
        let walk = Walk { scope: &whole, filter, urgent: false, behind: Some(&cursor) };
        let said = walk.led();
        let order = walk.newest_first();
        let sql = format!("SELECT id FROM alerts WHERE {} ORDER BY {order} LIMIT 200", said.sql);
        houses::plan(ledger, &sql, &said.args)
    }

    #[test]
    fn every_list_is_read_along_an_index_and_never_sorted() {
        for house in House::both() {
            let mut ledger = filled(&house, 20_000, 200);
            if ledger.database().engine() == Engine::Postgres {
                ledger.database().batch("ANALYZE alerts").unwrap();
            }
            let mut site = Filter::default();
            site.at("acme", "plant-7");
            let guard = Filter { guard: Some("G-7".into()), ..site.clone() };
            let tenant = Filter { tenant: Some("zeta".into()), ..Filter::default() };
            let open = Filter { open: true, ..Filter::default() };
            let table = [
                (Filter::default(), "alerts_by_urgency"),
                (open, "alerts_open"),
                (tenant, "alerts_by_tenant"),
                (site, "alerts_by_site"),
                (guard, "alerts_by_guard"),
            ];
            for (filter, index) in table {
                let plan = plan(&mut ledger, &filter);
                let sorted = ["Sort", "TEMP B-TREE"].iter().any(|word| plan.contains(word));
                assert!(plan.contains(index) && !sorted, "{filter:?}:\n{plan}");
            }
        }
    }

    #[test]
    fn what_no_page_gave_is_no_cursor() {
        for text in ["", "2~1~p~g~i", "1~x~p~g~i", "1~1~p~g"] {
            assert_eq!(text.parse::<Cursor>(), Err(NoCursor), "{text}");
        }
        let odd = "1~5~acme/plant-7~gw-1~a~b";
        assert_eq!(odd.parse::<Cursor>().unwrap().to_string(), odd);
    }
}
