//! Reports, rankings and the dashboard as JSON. The figures have the names and the form that they have in a gateway's
//! daily report.

use super::facts::Site;
use super::glance::{Glance, HourShare, Today};
use super::report::{First, Guard, Of, Report, Who};
use super::summary::{Blindness, Mandatory, Outages, Sums};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeSet;
use vigil_core::id::{DeviceId, GuardId, SiteId, TenantId};
use vigil_core::report::edge::{FiguresEdge, mean, share};
use vigil_core::report::{Failures, Standing};
use vigil_core::time::{Date, Timestamp};

/// A report on the edge.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ReportEdge<'a> {
    from: Date,
    to: Date,
    sites: usize,
    /// How many daily reports there should be.
    expected: usize,
    unreadable: u64,
    total: SumsEdge<'a>,
    days: Vec<DayEdge<'a>>,
    by_site: Vec<SiteEdge<'a>>,
    by_guard: Vec<GuardEdge<'a>>,
    /// How many guards are not listed, for want of room.
    guards_left_out: usize,
    devices: Vec<DeviceEdge<'a>>,
}

/// Sums, and the rates that they make.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SumsEdge<'a> {
    /// How many daily reports they rest on.
    documents: u64,
    #[serde(flatten)]
    figures: FiguresEdge<'a>,
    mandatory: MandatoryEdge,
    blind: Blindness,
    outages: Outages,
}

#[derive(Debug, Serialize, JsonSchema)]
struct MandatoryEdge {
    #[serde(flatten)]
    sums: Mandatory,
    missed_rate: Option<f64>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct DayEdge<'a> {
    date: Date,
    #[serde(flatten)]
    sums: SumsEdge<'a>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct PlaceEdge<'a> {
    tenant: &'a TenantId,
    site: &'a SiteId,
    name: &'a str,
}

#[derive(Debug, Serialize, JsonSchema)]
struct SiteEdge<'a> {
    #[serde(flatten)]
    place: PlaceEdge<'a>,
    timezone: &'static str,
    #[serde(flatten)]
    sums: SumsEdge<'a>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct WhoseEdge<'a> {
    tenant: &'a TenantId,
    guard: &'a GuardId,
    sites: &'a BTreeSet<SiteId>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct GuardEdge<'a> {
    #[serde(flatten)]
    who: WhoseEdge<'a>,
    #[serde(flatten)]
    figures: FiguresEdge<'a>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct DeviceEdge<'a> {
    #[serde(flatten)]
    place: PlaceEdge<'a>,
    device: &'a DeviceId,
    #[serde(flatten)]
    failures: Failures,
}

/// A ranking on the edge.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PlacesEdge<'a> {
    from: Date,
    to: Date,
    of: String,
    first: String,
    /// How many are ranked; those behind `limit` are not listed.
    all: usize,
    ranking: Vec<StandingEdge<'a>>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct StandingEdge<'a> {
    place: Option<usize>,
    #[serde(flatten)]
    who: WhoEdge<'a>,
    compliance_rate: Option<f64>,
    runs: u64,
    compliant: u64,
    missed: u64,
    missed_rate: Option<f64>,
    runs_observed: u64,
    runs_observed_share: Option<f64>,
    on_duty_ms: u64,
    observed_ms: u64,
    observed_share: Option<f64>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
enum WhoEdge<'a> {
    Site(PlaceEdge<'a>),
    Guard(WhoseEdge<'a>),
}

/// The dashboard on the edge.
#[derive(Debug, Serialize, JsonSchema)]
pub struct GlanceEdge<'a> {
    now: Timestamp,
    from: Date,
    to: Date,
    sites: usize,
    expected: usize,
    documents: u64,
    unreadable: u64,
    overdue_critical_tasks: u64,
    mean_response: Option<f64>,
    p95_response: Option<f64>,
    breaches: Vec<CountEdge>,
    runs_today: TodayEdge,
    mean_coverage: Option<f64>,
    mandatory: MandatoryEdge,
    monitoring_coverage: Option<f64>,
    nights: Vec<CountEdge>,
    alerts_per_night: Option<f64>,
    deep_night: HourEdge,
    other_hours: HourEdge,
    top_sites: Vec<StandingEdge<'a>>,
    bottom_sites: Vec<StandingEdge<'a>>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct CountEdge {
    date: Date,
    alerts: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
struct TodayEdge {
    /// As far as it is known: of a silent gateway, those that are closed.
    due: u64,
    done_share: Option<f64>,
    closed: u64,
    completed: u64,
    /// Of those that are closed.
    completed_share: Option<f64>,
    gateways: u64,
    /// Have not said what is scheduled today.
    silent_gateways: u64,
}

impl From<Today> for TodayEdge {
    fn from(today: Today) -> Self {
        Self {
            due: today.due,
            done_share: share(today.completed, today.due),
            closed: today.closed,
            completed: today.completed,
            completed_share: share(today.completed, today.closed),
            gateways: today.gateways,
            silent_gateways: today.silent,
        }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
struct HourEdge {
    #[serde(flatten)]
    share: HourShare,
    an_hour: Option<f64>,
}

/// How many sites the dashboard shows at either end.
pub const ENDS: usize = 5;

impl Report {
    /// The report as it leaves the receiver, with at most so many guards.
    pub fn edge(&self, guards: usize) -> ReportEdge<'_> {
        ReportEdge {
            from: self.asked.from,
            to: self.asked.to,
            sites: self.sites.len(),
            expected: self.expected(),
            unreadable: self.unreadable,
            total: self.total.edge(),
            days: self.days.iter().map(|line| DayEdge { date: line.who, sums: line.sums.edge() }).collect(),
            by_site: self.sites.iter().map(|line| SiteEdge::of(&line.who, &line.sums)).collect(),
            by_guard: self
                .guards
                .iter()
                .take(guards)
                .map(|line| GuardEdge::of(&line.who, &line.sums))
                .collect(),
            guards_left_out: self.guards.len().saturating_sub(guards),
            devices: self.devices.iter().take(guards).map(device).collect(),
        }
    }

    /// A ranking as it leaves the receiver, with at most so many places.
    pub fn places_edge(&self, of: Of, first: First, limit: usize) -> PlacesEdge<'_> {
        let ranking = self.ranking(of, first);
        PlacesEdge {
            from: self.asked.from,
            to: self.asked.to,
            of: of.to_string(),
            first: first.to_string(),
            all: ranking.len(),
            ranking: ranking.iter().take(limit).map(standing).collect(),
        }
    }
}

impl Sums {
    /// The sums as they leave the receiver.
    pub fn edge(&self) -> SumsEdge<'_> {
        SumsEdge {
            documents: self.documents,
            figures: self.figures.edge(true),
            mandatory: self.mandatory.edge(),
            blind: self.blind,
            outages: self.outages,
        }
    }
}

impl Mandatory {
    /// The share of which nothing was scanned.
    pub fn missed_rate(self) -> Option<f64> {
        share(self.missed, self.closed)
    }

    fn edge(self) -> MandatoryEdge {
        MandatoryEdge { sums: self, missed_rate: self.missed_rate() }
    }
}

impl Glance {
    /// The dashboard as it leaves the receiver: these figures, and those of the week.
    pub fn edge<'a>(&self, week: &'a Report, now: Timestamp) -> GlanceEdge<'a> {
        let figures = &week.total.figures;
        let count = |(date, alerts): (&Date, &u64)| CountEdge { date: *date, alerts: *alerts };
        let end = |first| ends(week, first).iter().map(standing).collect();
        GlanceEdge {
            now,
            from: week.asked.from,
            to: week.asked.to,
            sites: week.sites.len(),
            expected: week.expected(),
            documents: week.total.documents,
            unreadable: week.unreadable.saturating_add(self.unreadable),
            overdue_critical_tasks: self.overdue_critical,
            mean_response: figures.tasks.response.mean(),
            p95_response: figures.tasks.response.p95_ratio(),
            breaches: self.breaches.iter().map(count).collect(),
            runs_today: self.today().into(),
            mean_coverage: mean(figures.runs.coverage, figures.runs.closed),
            mandatory: self.mandatory.edge(),
            monitoring_coverage: share(figures.duty.observed_ms, figures.duty.on_duty_ms),
            nights: self.nights.iter().map(count).collect(),
            alerts_per_night: self.alerts_a_night(week),
            deep_night: hours(self.deep_night),
            other_hours: hours(self.other_hours),
            top_sites: end(First::Best),
            bottom_sites: end(First::Worst),
        }
    }
}

/// The sites at one end of the ranking of the week. Whoever had no run stands at neither.
pub fn ends(week: &Report, first: First) -> Vec<Standing<Who<'_>>> {
    week.ranking(Of::Sites, first)
        .into_iter()
        .filter(|standing| standing.place.is_some())
        .take(ENDS)
        .collect()
}

fn hours(share: HourShare) -> HourEdge {
    HourEdge { share, an_hour: share.an_hour() }
}

impl<'a> PlaceEdge<'a> {
    fn of(site: &'a Site) -> Self {
        Self { tenant: &site.place.tenant, site: &site.place.site, name: &site.name }
    }
}

impl<'a> SiteEdge<'a> {
    fn of(site: &'a Site, sums: &'a Sums) -> Self {
        Self { place: PlaceEdge::of(site), timezone: site.timezone.name(), sums: sums.edge() }
    }
}

impl<'a> WhoseEdge<'a> {
    fn of(guard: &'a Guard) -> Self {
        Self { tenant: &guard.tenant, guard: &guard.guard, sites: &guard.sites }
    }
}

impl<'a> GuardEdge<'a> {
    fn of(guard: &'a Guard, sums: &'a Sums) -> Self {
        Self { who: WhoseEdge::of(guard), figures: sums.figures.edge(false) }
    }
}

fn device((site, device, failures): &(Site, DeviceId, Failures)) -> DeviceEdge<'_> {
    DeviceEdge { place: PlaceEdge::of(site), device, failures: *failures }
}

fn standing<'a>(standing: &Standing<Who<'a>>) -> StandingEdge<'a> {
    StandingEdge {
        place: standing.place,
        who: match standing.who {
            Who::Site(site) => WhoEdge::Site(PlaceEdge::of(site)),
            Who::Guard(guard) => WhoEdge::Guard(WhoseEdge::of(guard)),
        },
        compliance_rate: share(standing.compliant, standing.runs),
        runs: standing.runs,
        compliant: standing.compliant,
        missed: standing.missed,
        missed_rate: share(standing.missed, standing.runs),
        runs_observed: standing.runs_observed,
        runs_observed_share: share(standing.runs_observed, standing.runs),
        on_duty_ms: standing.on_duty_ms,
        observed_ms: standing.observed_ms,
        observed_share: share(standing.observed_ms, standing.on_duty_ms),
    }
}
