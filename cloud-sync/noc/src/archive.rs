//! What reports are made of, from the ledger. One place after the other: so the same index serves one site and five thousand, and
//! nobody's deliveries wait for a large question.

use crate::access::{Person, Scope};
use crate::ledger::{Clerk, Database, GatewayRow, LedgerError, Row, args};
use crate::reports::{AlertHead, Asked, DayDocument, NoSource, Place, ReportSource, RunDocument, Site};
use chrono_tz::Tz;
use serde::Deserialize;
use std::collections::BTreeMap;
use vigil_core::alert::{Severity, Status};
use vigil_core::id::{GatewayId, GuardId};
use vigil_core::time::Timestamp;

/// How many places are read before others have their turn: some milliseconds.
const AT_ONCE: usize = 50;

/// The ledger as the source of reports.
#[derive(Clone)]
pub struct Archive(pub Clerk);

impl Archive {
    /// What `read` gives for each place of the question.
    async fn each<T: Send + 'static>(
        &self,
        asked: &Asked,
        read: impl Fn(&mut dyn Database, &Place) -> Result<Vec<T>, LedgerError> + Clone + Send + 'static,
    ) -> Result<Vec<T>, NoSource> {
        let places: Vec<Place> = asked.sites.keys().cloned().collect();
        let mut found = vec![];
        for some in places.chunks(AT_ONCE) {
            let (some, read) = (some.to_vec(), read.clone());
            let rows = self.0.ask(move |ledger| {
                let mut rows = vec![];
                for place in &some {
                    rows.extend(read(ledger.database(), place)?);
                }
                Ok(rows)
            });
            found.extend(rows.await.map_err(no_source)?);
        }
        Ok(found)
    }
}

fn no_source(error: LedgerError) -> NoSource {
    NoSource(Box::new(error))
}

impl ReportSource for Archive {
    type Reader = Person;

    async fn sites(&self, reader: &Person) -> Result<Vec<Site>, NoSource> {
        let scope: Scope = reader.scope();
        let rows = self.0.ask(move |ledger| ledger.gateways(&scope)).await.map_err(no_source)?;
        Ok(named(&rows))
    }

    async fn days(&self, asked: &Asked) -> Result<Vec<DayDocument>, NoSource> {
        let (from, to) = (asked.from.to_string(), asked.to.to_string());
        let read = move |database: &mut dyn Database, place: &Place| {
            let sql = "SELECT gateway, date, data FROM days WHERE place = $1 AND date >= $2 AND date <= $3";
            let rows = database.query(sql, args![&place.to_string(), &from, &to])?;
            rows.into_iter().filter_map(|row| day(place, row).transpose()).collect()
        };
        self.each(asked, read).await
    }

    async fn runs(&self, asked: &Asked) -> Result<Vec<RunDocument>, NoSource> {
        let (from, to) = asked.instants();
        let read = move |database: &mut dyn Database, place: &Place| {
            let sql = "SELECT data FROM runs WHERE place = $1 AND scheduled_ms >= $2 AND scheduled_ms < $3";
            let rows = database.query(sql, args![&place.to_string(), from, to])?;
            let run = |mut row: Row| Ok(RunDocument { place: place.clone(), data: row.text(0)? });
            rows.into_iter().map(run).collect()
        };
        self.each(asked, read).await
    }

    async fn alerts(&self, asked: &Asked) -> Result<Vec<AlertHead>, NoSource> {
        let (from, to) = asked.instants();
        let read = move |database: &mut dyn Database, place: &Place| {
            let columns = "SELECT rule, severity, status, detected_ms, cleared_ms, closed_ms, guard, data FROM alerts WHERE place = $1";
            let place_name = place.to_string();
            let within = format!("{columns} AND detected_ms >= $2 AND detected_ms < $3");
            let mut rows = database.query(&within, args![&place_name, from, to])?;
            let older = format!(
                "{columns} AND detected_ms < $2 AND rule = 'task_overdue' AND cleared_ms IS NULL
                 AND status IN ('DETECTED', 'VERIFYING', 'CONFIRMED')"
            );
            rows.extend(database.query(&older, args![&place_name, from])?);
            rows.into_iter().filter_map(|row| head(place, row).transpose()).collect()
        };
        self.each(asked, read).await
    }
}

/// Each site once; of several gateways the one that was heard last says what it is called.
fn named(rows: &[GatewayRow]) -> Vec<Site> {
    #[derive(Default, Deserialize)]
    struct Said {
        site_name: Option<String>,
        timezone: Option<String>,
    }
    let mut sites: BTreeMap<Place, (Option<Timestamp>, Site)> = BTreeMap::new();
    for row in rows {
        let Some(place) = Place::parse(&format!("{}/{}", row.tenant, row.site)) else { continue };
        if sites.get(&place).is_some_and(|(heard, _)| *heard >= row.last_heard_at) {
            continue;
        }
        let said: Option<Said> =
            row.health.as_ref().and_then(|health| serde_json::from_str(health.get()).ok());
        let Said { site_name, timezone } = said.unwrap_or_default();
        let timezone = timezone.and_then(|name| name.parse().ok()).unwrap_or(Tz::UTC);
        let name = site_name.unwrap_or_else(|| place.site.to_string());
        sites.insert(place.clone(), (row.last_heard_at, Site { place, name, timezone }));
    }
    sites.into_values().map(|(_, site)| site).collect()
}

/// A day; one whose date is none is passed over, as it is with the gateway's own reports.
fn day(place: &Place, mut row: Row) -> Result<Option<DayDocument>, LedgerError> {
    let (gateway, date, data) = (row.text(0)?, row.text(1)?, row.text(2)?);
    let known = GatewayId::new(&gateway).ok().zip(date.parse().ok());
    Ok(known.map(|(gateway, date)| DayDocument { place: place.clone(), gateway, date, data }))
}

/// An alert. One of a severity or status that is not known here comes from a newer gateway, and cannot be counted.
fn head(place: &Place, mut row: Row) -> Result<Option<AlertHead>, LedgerError> {
    #[derive(Deserialize)]
    struct Whole {
        #[serde(default)]
        evidence: Night,
    }
    #[derive(Default, Deserialize)]
    struct Night {
        deep_night: Option<bool>,
    }
    let rule = row.text(0)?;
    let (severity, status) = (word::<Severity>(&row.text(1)?), word::<Status>(&row.text(2)?));
    let (detected_at, cleared_at, closed_at) =
        (row.instant(3)?, row.maybe_instant(4)?, row.maybe_instant(5)?);
    let guard = row.maybe_text(6)?.and_then(|guard| GuardId::new(&guard).ok());
    let deep_night =
        serde_json::from_str::<Whole>(&row.text(7)?).ok().and_then(|whole| whole.evidence.deep_night);
    let Some((severity, status)) = severity.zip(status) else { return Ok(None) };
    let place = place.clone();
    Ok(Some(AlertHead {
        place,
        rule,
        severity,
        status,
        detected_at,
        cleared_at,
        closed_at,
        guard,
        deep_night,
    }))
}

fn word<T: for<'de> Deserialize<'de>>(word: &str) -> Option<T> {
    serde_json::from_value(serde_json::Value::from(word)).ok()
}
