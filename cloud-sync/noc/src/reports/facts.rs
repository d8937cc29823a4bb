//! What reports are made of, as a ledger hands it over: days, runs and alerts, each as of its latest revision.

use chrono_tz::Tz;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::fmt;
use vigil_core::alert::{Rule, Severity, Status};
use vigil_core::id::{GatewayId, GuardId, SiteId, TenantId, TourId};
use vigil_core::report::Tally;
use vigil_core::roster::DueRuns;
use vigil_core::rules::compliance::Compliance;
use vigil_core::rules::tours::RunStatus;
use vigil_core::time::{Date, LocalHours, LocalTime, Timestamp};

/// The hours in which people sleep; section 3 of the rules.
const DEEP_NIGHT: LocalHours = LocalHours { from: LocalTime::hour(1), to: LocalTime::hour(5) };

/// Which site of whose: two tenants may give one name to two sites. `tenant/site` as text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The customer of the operations centre.
    pub tenant: TenantId,
    /// The guarded site.
    pub site: SiteId,
}

impl Place {
    /// Reads `tenant/site`; no id has a slash.
    pub fn parse(text: &str) -> Option<Self> {
        let (tenant, site) = text.split_once('/')?;
        Some(Self { tenant: TenantId::new(tenant).ok()?, site: SiteId::new(site).ok()? })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant, self.site)
    }
}

/// A site, as far as reports have to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Which.
    pub place: Place,
    /// What people call it; its id until its gateway has said.
    pub name: String,
    /// Whose calendar its days are of.
    pub timezone: Tz,
}

/// What a gateway cannot have meant.
#[derive(Debug, thiserror::Error)]
#[error("{what} of {place} cannot be read: {source}")]
pub struct Unreadable {
    what: &'static str,
    place: Place,
    source: serde_json::Error,
}

impl Unreadable {
    fn of(what: &'static str, place: &Place) -> impl FnOnce(serde_json::Error) -> Self {
        let place = place.clone();
        move |source| Self { what, place, source }
    }
}

/// The data of a `vigil.report`, the latest revision of its gateway and date, as it was stored.
#[derive(Debug, Clone)]
pub struct DayDocument {
    /// Of which site.
    pub place: Place,
    /// Who made it.
    pub gateway: GatewayId,
    /// Of which day on the site's calendar.
    pub date: Date,
    /// The report as JSON.
    pub data: String,
}

/// What a day's report counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Day {
    /// Of which site.
    pub place: Place,
    /// Of which day on the site's calendar.
    pub date: Date,
    /// The sums.
    pub tally: Tally,
}

impl Day {
    /// Reads a report. The alerts of a rule that is not known here, because the gateway is newer, are passed over: the
    /// rest of the day counts.
    pub fn read(document: &DayDocument) -> Result<Self, Unreadable> {
        let tally = serde_json::from_str(&document.data)
            .or_else(|_| serde_json::from_str(&document.data).and_then(known_rules))
            .map_err(Unreadable::of("a daily report", &document.place))?;
        Ok(Self { place: document.place.clone(), date: document.date, tally })
    }
}

/// The tally without the alerts of rules that are not known here.
fn known_rules(mut report: Value) -> Result<Tally, serde_json::Error> {
    let known =
        |map: &mut Map<String, Value>| map.retain(|name, _| Rule::ALL.iter().any(|rule| rule.name() == name));
    if let Some(Value::Object(muted)) = report.get_mut("muted") {
        known(muted);
    }
    if let Some(Value::Object(alerts)) = report.pointer_mut("/total/alerts") {
        known(alerts);
    }
    if let Some(Value::Object(guards)) = report.get_mut("guards") {
        for figures in guards.values_mut() {
            if let Some(Value::Object(alerts)) = figures.get_mut("alerts") {
                known(alerts);
            }
        }
    }
    serde_json::from_value(report)
}

/// What a gateway has said last of the runs that its roster has for a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Of which site.
    pub place: Place,
    /// Whose roster.
    pub gateway: GatewayId,
    /// The day and its runs; `None` of a gateway that says nothing of it: it is older, or was not heard yet.
    pub runs: Option<DueRuns>,
}

impl Plan {
    /// Reads it from the latest health record of a gateway.
    pub fn read(place: Place, gateway: GatewayId, health: Option<&str>) -> Self {
        #[derive(Deserialize)]
        struct Health {
            runs_today: Option<DueRuns>,
        }
        let said = health.and_then(|health| serde_json::from_str::<Health>(health).ok());
        Self { place, gateway, runs: said.and_then(|health| health.runs_today) }
    }
}

/// The data of a `vigil.tour`, the latest revision of its run, as it was stored.
#[derive(Debug, Clone)]
pub struct RunDocument {
    /// Of which site.
    pub place: Place,
    /// Who keeps the log.
    pub gateway: GatewayId,
    /// The log entry as JSON.
    pub data: String,
}

/// A closed run, as far as the sums of its day do not say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Of which site.
    pub place: Place,
    /// Who keeps the log.
    pub gateway: GatewayId,
    /// What its log entry says.
    pub entry: RunEntry,
}

/// What is read of a log entry.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RunEntry {
    /// Of which tour.
    pub tour: TourId,
    /// Whether it had to be walked.
    pub mandatory: bool,
    /// When it was due: which day it belongs to.
    pub scheduled_at: Timestamp,
    /// How it ended.
    pub status: RunStatus,
    /// What it amounts to.
    pub compliance: Compliance,
    /// Percent of the checkpoints scanned.
    pub coverage: u8,
}

impl Run {
    /// Reads a log entry.
    pub fn read(document: &RunDocument) -> Result<Self, Unreadable> {
        let entry = serde_json::from_str(&document.data)
            .map_err(Unreadable::of("the log entry of a run", &document.place))?;
        Ok(Self { place: document.place.clone(), gateway: document.gateway.clone(), entry })
    }
}

/// What reports need of an alert, as of its latest revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertHead {
    /// At which site.
    pub place: Place,
    /// By which rule, as its gateway names it: a newer gateway may have rules that are not known here.
    pub rule: String,
    /// How bad.
    pub severity: Severity,
    /// Where it stands.
    pub status: Status,
    /// When the rule held.
    pub detected_at: Timestamp,
    /// When it ceased to hold.
    pub cleared_at: Option<Timestamp>,
    /// When its status became final.
    pub closed_at: Option<Timestamp>,
    /// Whom it is about.
    pub guard: Option<GuardId>,
    /// What its evidence says of the deep night; most rules say nothing.
    pub deep_night: Option<bool>,
}

impl AlertHead {
    /// Whether it is of this rule.
    pub fn is(&self, rule: Rule) -> bool {
        self.rule == rule.name()
    }

    /// Whether what it says is so until now, whoever has looked at it: a task that an operator has confirmed to be
    /// overdue is overdue still.
    pub fn holds(&self) -> bool {
        self.cleared_at.is_none()
            && matches!(self.status, Status::Detected | Status::Verifying | Status::Confirmed)
    }

    /// Whether it was detected in the deep night: as its evidence says, else by the wall clock of its site.
    pub fn in_deep_night(&self, zone: Tz) -> bool {
        self.deep_night.unwrap_or_else(|| DEEP_NIGHT.contains(self.detected_at, zone))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(data: &str) -> Result<Day, Unreadable> {
        let place = Place::parse("acme/plant-7").unwrap();
        let gateway = GatewayId::new("gw-1").unwrap();
        Day::read(&DayDocument { place, gateway, date: "2026-03-10".parse().unwrap(), data: data.into() })
    }

    #[test]
    fn a_rule_of_a_newer_gateway_costs_nothing_but_its_own_alerts() {
        let of_two = r#"{"alerts":{"sos":{"raised":1,"detected":1},"levitation":{"raised":9}}}"#;
        let report =
            format!(r#"{{"total":{of_two},"guards":{{"G-7":{of_two}}},"muted":{{"levitation":3,"sos":1}}}}"#);
        let tally = day(&report).unwrap().tally;
        assert_eq!(tally.total.alerts.keys().collect::<Vec<_>>(), [&Rule::Sos]);
        assert_eq!(tally.guards.values().next().unwrap().alerts.len(), 1);
        assert_eq!(tally.muted.len(), 1);
    }

    #[test]
    fn what_is_no_report_is_named() {
        let why = day(r#"{"total":7}"#).unwrap_err().to_string();
        assert!(why.starts_with("a daily report of acme/plant-7 cannot be read: "), "{why}");
    }

    #[test]
    fn a_place_is_a_tenant_and_a_site() {
        assert_eq!(Place::parse("acme/plant-7").unwrap().to_string(), "acme/plant-7");
        for wrong in ["acme", "acme/", "/plant-7", "acme/plant 7", "a/b/c"] {
            assert_eq!(Place::parse(wrong), None, "{wrong}");
        }
    }
}
