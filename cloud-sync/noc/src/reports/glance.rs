//! How it stands now: the figures of the dashboard.
//!
//! What an operator can still do something about comes from the alerts and the tour log, which are minutes old; rates come
//! from the daily reports of the last seven days that are over.

use super::asked::{Asked, before, last_night};
use super::facts::{AlertHead, Place, Plan, Run};
use super::report::Report;
use super::summary::{Mandatory, due_on};
use chrono_tz::Tz;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use vigil_core::alert::{Rule, Severity, Status};
use vigil_core::id::GatewayId;
use vigil_core::rules::tours::RunStatus;
use vigil_core::time::{Date, LocalHours, LocalTime, Timestamp};

/// How far back the dashboard looks: a week has each weekday once.
pub const DAYS: usize = 7;

/// A night, as section 3 of the rules has it.
const NIGHT: LocalHours = LocalHours { from: LocalTime::hour(20), to: LocalTime::hour(6) };

/// Hours of the deep night in a day, and the others.
const DEEP_HOURS: u64 = 4;
const OTHER_HOURS: u64 = 20;

/// The figures of now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Glance {
    /// Alerts `task_overdue` that are CRITICAL and hold.
    pub overdue_critical: u64,
    /// Alerts that say that something was not done in time, by date: seven with today.
    pub breaches: BTreeMap<Date, u64>,
    /// The runs of today, by the gateway that has them: several on one site have each their own.
    today: BTreeMap<(Place, GatewayId), Today>,
    /// Mandatory runs that were due today or on one of the six days before, and are closed.
    pub mandatory: Mandatory,
    /// Alerts detected from 20:00 to 06:00, by the evening: the last seven nights that are over.
    pub nights: BTreeMap<Date, u64>,
    /// Alerts of the last seven days that are over: in the deep night, and in the other hours.
    pub deep_night: HourShare,
    /// In the other hours.
    pub other_hours: HourShare,
    /// How many documents could not be read.
    pub unreadable: u64,
}

/// The runs that are due today.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Today {
    /// As far as it is known: of a gateway that has not said what it has scheduled, those that are closed.
    pub due: u64,
    /// Closed.
    pub closed: u64,
    /// Of these: completed.
    pub completed: u64,
    /// How many gateways there are.
    pub gateways: u64,
    /// Of these: have not said what they have scheduled today.
    pub silent: u64,
}

/// Alerts of some hours of each day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct HourShare {
    /// All of them.
    pub alerts: u64,
    /// How many hours these are, over all days.
    pub hours: u64,
}

/// What the dashboard looks back on: seven days that are over.
pub fn week(sites: &Asked, now: Timestamp) -> Asked {
    let today = sites.today(now);
    sites.within(before(today, DAYS), before(today, 1))
}

/// What the dashboard reads of alerts and runs: the week, the night before it, and today.
pub fn lately(sites: &Asked, now: Timestamp) -> Asked {
    let today = sites.today(now);
    sites.within(before(today, DAYS + 2), today)
}

/// Whether an alert says that something was not done in time. One that was not true says nothing.
fn is_breach(alert: &AlertHead) -> bool {
    let breach =
        [Rule::TourMissed, Rule::TourPartial, Rule::TaskOverdue].into_iter().any(|rule| alert.is(rule));
    breach && alert.status != Status::FalsePositive
}

impl Glance {
    /// With a zero for each date of which there is nothing to tell, so that a trend has no holes.
    pub fn begin(lately: &Asked, now: Timestamp) -> Self {
        let mut glance = Self::default();
        let today = lately.today(now);
        for date in before(today, DAYS - 1).iter_days().take(DAYS) {
            glance.breaches.insert(date, 0);
        }
        for site in lately.sites.values() {
            let last = last_night(now, site.timezone);
            for evening in before(last, DAYS - 1).iter_days().take(DAYS) {
                glance.nights.entry(evening).or_default();
            }
            let days = u64::try_from(DAYS).unwrap_or(0);
            glance.deep_night.hours += days * DEEP_HOURS;
            glance.other_hours.hours += days * OTHER_HOURS;
        }
        glance
    }

    /// Counts an alert, if its site was asked for.
    pub fn on_alert(&mut self, lately: &Asked, now: Timestamp, alert: &AlertHead) {
        let Some(zone) = lately.zone(&alert.place) else { return };
        if alert.is(Rule::TaskOverdue) && alert.severity == Severity::Critical && alert.holds() {
            self.overdue_critical += 1;
        }
        let (date, today) = (alert.detected_at.local_date(zone), now.local_date(zone));
        if is_breach(alert)
            && let Some(sum) = self.breaches.get_mut(&date)
        {
            *sum += 1;
        }
        if (before(today, DAYS)..today).contains(&date) {
            let hours = if alert.in_deep_night(zone) { &mut self.deep_night } else { &mut self.other_hours };
            hours.alerts += 1;
        }
        let last = last_night(now, zone);
        if let Some(evening) = evening_of(alert.detected_at, zone)
            && (before(last, DAYS - 1)..=last).contains(&evening)
        {
            *self.nights.entry(evening).or_default() += 1;
        }
    }

    /// Counts a run, if its site was asked for.
    pub fn on_run(&mut self, lately: &Asked, now: Timestamp, run: &Run) {
        let at = run.entry.scheduled_at;
        let (Some(zone), Some(date)) = (lately.zone(&run.place), due_on(lately, &run.place, at)) else {
            return;
        };
        let today = now.local_date(zone);
        if date == today {
            let runs = self.today.entry((run.place.clone(), run.gateway.clone())).or_default();
            runs.closed += 1;
            runs.completed += u64::from(run.entry.status == RunStatus::Completed);
        }
        if run.entry.mandatory && (before(today, DAYS - 1)..=today).contains(&date) {
            let missed = u64::from(run.entry.status == RunStatus::Missed);
            self.mandatory.merge(Mandatory { closed: 1, missed });
        }
    }

    /// Takes what a gateway says of its day. What it said of another day is not of today.
    pub fn on_plan(&mut self, lately: &Asked, now: Timestamp, plan: &Plan) {
        let Some(zone) = lately.zone(&plan.place) else { return };
        let of_today = plan.runs.filter(|runs| runs.date == now.local_date(zone));
        let runs = self.today.entry((plan.place.clone(), plan.gateway.clone())).or_default();
        runs.gateways = 1;
        runs.silent = u64::from(of_today.is_none());
        runs.due = of_today.map_or(0, |runs| runs.scheduled);
    }

    /// The runs of today, of all gateways together.
    pub fn today(&self) -> Today {
        self.today.values().fold(Today::default(), |mut all, one| {
            // A site file that was changed in the course of the day may have fewer runs than were walked before.
            all.due = all.due.saturating_add(one.due.max(one.closed));
            all.closed += one.closed;
            all.completed += one.completed;
            all.gateways += one.gateways;
            all.silent += one.silent;
            all
        })
    }

    /// Alerts of a night of one site, on average.
    pub fn alerts_a_night(&self, week: &Report) -> Option<f64> {
        let nights = u64::try_from(DAYS * week.sites.len()).unwrap_or(u64::MAX);
        vigil_core::report::edge::mean(self.nights.values().sum(), nights)
    }
}

impl HourShare {
    /// Alerts of an hour of one site, on average.
    pub fn an_hour(self) -> Option<f64> {
        vigil_core::report::edge::mean(self.alerts, self.hours)
    }
}

/// On which evening the night began in which an instant lies; `None` by day.
fn evening_of(at: Timestamp, zone: Tz) -> Option<Date> {
    let morning = NIGHT.to.minute_of_day();
    let in_the_morning = at.local_minute(zone) < morning;
    let date = if in_the_morning { before(at.local_date(zone), 1) } else { at.local_date(zone) };
    NIGHT.contains(at, zone).then_some(date)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reports::{RunDocument, Site};

    #[test]
    fn a_night_has_the_date_of_its_evening() {
        let evening = |text: &str| {
            let at = Timestamp::parse(text).unwrap();
            evening_of(at, Tz::Asia__Kolkata).map(|date| date.to_string())
        };
        assert_eq!(evening("2026-03-10T20:00:00+05:30").as_deref(), Some("2026-03-10"));
        assert_eq!(evening("2026-03-11T05:59:59+05:30").as_deref(), Some("2026-03-10"));
        assert_eq!(evening("2026-03-11T06:00:00+05:30"), None);
        assert_eq!(evening("2026-03-10T19:59:59+05:30"), None);
    }

    fn at_noon() -> (Asked, Timestamp) {
        let place = Place::parse("acme/plant-7").unwrap();
        let site = Site { place, name: "Plant 7".into(), timezone: Tz::Asia__Kolkata };
        let now = Timestamp::parse("2026-03-10T12:00:00+05:30").unwrap();
        (Asked::of([site], "2026-03-01".parse().unwrap(), "2026-03-10".parse().unwrap()), now)
    }

    fn run(gateway: &str, at: &str) -> Run {
        let entry = format!(
            r#"{{"tour":"t","mandatory":true,"scheduled_at":"{at}","status":"COMPLETED","compliance":"COMPLIANT","coverage":100}}"#
        );
        let (place, gateway) = (Place::parse("acme/plant-7").unwrap(), GatewayId::new(gateway).unwrap());
        Run::read(&RunDocument { place, gateway, data: entry }).unwrap()
    }

    #[test]
    fn each_gateway_of_a_site_has_runs_of_its_own_and_never_fewer_than_it_closed() {
        let (asked, now) = at_noon();
        let mut glance = Glance::begin(&asked, now);
        for at in ["2026-03-10T01:00:00+05:30", "2026-03-10T02:00:00+05:30"] {
            glance.on_run(&asked, now, &run("gw-1", at));
        }
        glance.on_run(&asked, now, &run("gw-2", "2026-03-10T03:00:00+05:30"));
        glance.on_run(&asked, now, &run("gw-2", "2026-03-09T23:59:59+05:30"));
        let plan = |id, health: Option<&str>| {
            Plan::read(Place::parse("acme/plant-7").unwrap(), GatewayId::new(id).unwrap(), health)
        };
        // Its site file was changed, and has one run only.
        glance.on_plan(
            &asked,
            now,
            &plan("gw-1", Some(r#"{"runs_today":{"date":"2026-03-10","scheduled":1}}"#)),
        );
        glance.on_plan(
            &asked,
            now,
            &plan("gw-2", Some(r#"{"runs_today":{"date":"2026-03-10","scheduled":4}}"#)),
        );
        let all = Today { due: 6, closed: 3, completed: 3, gateways: 2, silent: 0 };
        assert_eq!(glance.today(), all);
        for silent in [None, Some(r#"{"site_name":"Plant 7"}"#), Some(r#"{"runs_today":"many"}"#)] {
            glance.on_plan(&asked, now, &plan("gw-2", silent));
            assert_eq!(glance.today(), Today { due: 3, silent: 1, ..all }, "{silent:?}");
        }
    }
}
