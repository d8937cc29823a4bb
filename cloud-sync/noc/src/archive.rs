//! What reports are made of, from the ledger. One place after the other: so the same index serves one site and five thousand, and
//! nobody's deliveries wait for a large question.

use crate::access::{Person, Scope};
use crate::ledger::{Clerk, Database, GatewayRow, LedgerError, Row, args};
use crate::reports::{AlertHead, Asked, DayDocument, NoSource, Place, Plan, ReportSource, RunDocument, Site};
use chrono_tz::Tz;
use serde::Deserialize;
use std::collections::BTreeMap;
use vigil_core::alert::{Severity, Status};
use vigil_core::id::{GatewayId, GuardId};
use vigil_core::time::Timestamp;

/// How many places are read before others have their turn: some milliseconds.
const AT_ONCE: usize = 50;

/// The longest name of a site that is shown: it stands in every row of a report.
const NAME_CHARS: usize = 128;

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
            let sql = "SELECT gateway, data FROM runs WHERE place = $1 AND scheduled_ms >= $2 AND scheduled_ms < $3";
            let rows = database.query(sql, args![&place.to_string(), from, to])?;
            rows.into_iter().filter_map(|row| run(place, row).transpose()).collect()
        };
        self.each(asked, read).await
    }

    async fn plans(&self, asked: &Asked) -> Result<Vec<Plan>, NoSource> {
        let read = |database: &mut dyn Database, place: &Place| {
            let sql = "SELECT gateway, health FROM gateways WHERE place = $1";
            let rows = database.query(sql, args![&place.to_string()])?;
            rows.into_iter().filter_map(|row| plan(place, row).transpose()).collect()
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
        let name = site_name.map(|name| name.chars().take(NAME_CHARS).collect());
        let name = name.unwrap_or_else(|| place.site.to_string());
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

/// A run; that of a gateway whose name is none is passed over, as a day is.
fn run(place: &Place, mut row: Row) -> Result<Option<RunDocument>, LedgerError> {
    let (gateway, data) = (row.text(0)?, row.text(1)?);
    let gateway = GatewayId::new(&gateway).ok();
    Ok(gateway.map(|gateway| RunDocument { place: place.clone(), gateway, data }))
}

/// What a gateway says of its day.
fn plan(place: &Place, mut row: Row) -> Result<Option<Plan>, LedgerError> {
    let (gateway, health) = (row.text(0)?, row.maybe_text(1)?);
    let gateway = GatewayId::new(&gateway).ok();
    Ok(gateway.map(|gateway| Plan::read(place.clone(), gateway, health.as_deref())))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::houses::House;
    use crate::ledger::{Delivery, Entry};
    use serde_json::value::RawValue;
    use vigil_cloud_sync::{EventKind, Origin};
    use vigil_core::id::{SiteId, TenantId};

    const NOW: Timestamp = Timestamp::from_millis(1_773_160_000_000);

    fn delivery(gateway: &str, sequence: u64, kind: EventKind, data: &str) -> Delivery {
        let (tenant, site) = (TenantId::new("acme").unwrap(), SiteId::new("plant-7").unwrap());
        let origin = Origin { tenant, site, gateway: GatewayId::new(gateway).unwrap() };
        let (id, subject) = (format!("e-{sequence}"), "run:r-1".to_owned());
        let data = RawValue::from_string(data.to_owned()).unwrap();
        let entry = Entry { producer: None, sequence, id, kind, subject, time: NOW, data, alert: None };
        Delivery { origin, received_at: NOW, entries: vec![entry] }
    }

    fn everybody() -> Person {
        Person { name: "Asha".into(), tenant: None, role: crate::Role::Viewer }
    }

    #[test]
    fn what_a_gateway_says_of_its_day_and_whose_a_run_is_are_read_on_both_databases() {
        for house in House::both() {
            let (runtime, place) = (tokio::runtime::Runtime::new().unwrap(), house.place.clone());
            let clerk = runtime.block_on(Clerk::hire(place.hands(), move || place.open(None))).unwrap();
            let said = format!(
                r#"{{"site_name":"Plant 7{}","runs_today":{{"date":"2026-03-10","scheduled":12}}}}"#,
                "é".repeat(70_000)
            );
            let run = r#"{"tour":"t","scheduled_at":"2026-03-10T10:00:00Z","revision":1}"#;
            let sent = clerk.ask(move |ledger| {
                ledger.record(&delivery("gw-1", 1, EventKind::Health, &said))?;
                ledger.record(&delivery("gw-2", 1, EventKind::Tour, run))
            });
            runtime.block_on(sent).unwrap();
            let archive = Archive(clerk);
            let mut sites = runtime.block_on(archive.sites(&everybody())).unwrap();
            sites.retain(|site| site.name.starts_with("Plant 7é"));
            assert_eq!(sites.iter().map(|site| site.name.chars().count()).collect::<Vec<_>>(), [128]);
            let asked = Asked::of(sites, "2026-03-09".parse().unwrap(), "2026-03-11".parse().unwrap());
            let mut plans = runtime.block_on(archive.plans(&asked)).unwrap();
            plans.sort_by(|a, b| a.gateway.cmp(&b.gateway));
            let of = |plan: &Plan| {
                (plan.gateway.to_string(), plan.runs.map(|runs| (runs.date.to_string(), runs.scheduled)))
            };
            let told: Vec<_> = plans.iter().map(of).collect();
            assert_eq!(told, [("gw-1".into(), Some(("2026-03-10".into(), 12))), ("gw-2".into(), None)]);
            let runs = runtime.block_on(archive.runs(&asked)).unwrap();
            assert_eq!(runs.iter().map(|run| run.gateway.as_str()).collect::<Vec<_>>(), ["gw-2"]);
        }
    }
}
