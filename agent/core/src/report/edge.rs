//! Reports as they leave the agent: the sums, and beside them the rates that they make. What is divided by nothing is
//! `null`; in the figures of a guard, a block with nothing in it is left out.

use super::DailyReport;
use super::figures::{Alerts, Duty, Figures, Inactivity, Lengths, Ratios, Runs, Tasks};
use super::ranking::Standing;
use super::tally::{Failures, Tally};
use crate::alert::Rule;
use crate::id::{DeviceId, GuardId, SiteId};
use crate::time::{Date, Timestamp};
use crate::windows::Intervals;
use serde::Serialize;
use std::collections::BTreeMap;

/// A share, rounded half up to a thousandth; `None` of nothing. More than the whole is the whole.
pub fn share(part: u64, whole: u64) -> Option<f64> {
    let (part, whole) = (u128::from(part.min(whole)), u128::from(whole));
    let permille = (part * 1_000 + whole / 2).checked_div(whole)?;
    u32::try_from(permille).ok().map(|n| f64::from(n) / 1_000.0)
}

/// A sum shared out, to a thousandth.
pub fn mean(sum: u64, count: u64) -> Option<f64> {
    let (sum, count) = (u128::from(sum), u128::from(count));
    let permille = (sum * 1_000 + count / 2).checked_div(count)?;
    let (whole, rest) = (permille / 1_000, permille % 1_000);
    let whole = u32::try_from(whole).unwrap_or(u32::MAX);
    Some(f64::from(whole) + f64::from(u16::try_from(rest).unwrap_or(0)) / 1_000.0)
}

/// A daily report on the edge: the data of a `vigil.report`.
#[derive(Debug, Serialize)]
pub struct ReportEdge<'a> {
    site: &'a SiteId,
    date: Date,
    revision: u32,
    timezone: &'a str,
    from: Timestamp,
    to: Timestamp,
    made_at: Timestamp,
    complete: bool,
    #[serde(flatten)]
    tally: TallyEdge<'a>,
}

/// What is counted of some time, on the edge.
#[derive(Debug, Serialize)]
pub struct TallyEdge<'a> {
    total: FiguresEdge<'a>,
    guards: BTreeMap<&'a GuardId, FiguresEdge<'a>>,
    devices: &'a BTreeMap<DeviceId, Failures>,
    blind: &'a Intervals,
    blind_ms: i64,
    muted: &'a BTreeMap<Rule, u64>,
}

/// The figures of a site, a guard or a whole range, on the edge.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FiguresEdge<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    tasks: Option<TasksEdge<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    runs: Option<RunsEdge<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inactivity: Option<InactivityEdge<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alerts: Option<BTreeMap<Rule, AlertsEdge<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duty: Option<DutyEdge<'a>>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct TasksEdge<'a> {
    due: u64,
    completed: u64,
    overdue: u64,
    cancelled: u64,
    completion_rate: Option<f64>,
    overdue_rate: Option<f64>,
    response: RatiosEdge<'a>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct RatiosEdge<'a> {
    #[serde(flatten)]
    sums: &'a Ratios,
    mean: Option<f64>,
    p95: Option<f64>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct RunsEdge<'a> {
    #[serde(flatten)]
    sums: &'a Runs,
    compliance_rate: Option<f64>,
    missed_rate: Option<f64>,
    observed_share: Option<f64>,
    mean_coverage: Option<f64>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct InactivityEdge<'a> {
    raised: u64,
    #[serde(flatten)]
    sums: &'a Inactivity,
    false_positive_rate: Option<f64>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct AlertsEdge<'a> {
    raised: u64,
    #[serde(skip_serializing_if = "is_nothing")]
    detected: u64,
    #[serde(skip_serializing_if = "is_nothing")]
    verifying: u64,
    #[serde(skip_serializing_if = "is_nothing")]
    confirmed: u64,
    #[serde(skip_serializing_if = "is_nothing")]
    resolved: u64,
    #[serde(skip_serializing_if = "is_nothing")]
    false_positive: u64,
    #[serde(skip_serializing_if = "is_nothing")]
    escalated: u64,
    false_positive_rate: Option<f64>,
    detection: LengthsEdge<'a>,
    resolution: LengthsEdge<'a>,
}

/// A site has hundreds of guards and alerts of a dozen rules: what is zero is left out.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
const fn is_nothing(count: &u64) -> bool {
    *count == 0
}

#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct LengthsEdge<'a> {
    #[serde(flatten)]
    sums: &'a Lengths,
    mean_ms: Option<f64>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct DutyEdge<'a> {
    #[serde(flatten)]
    sums: &'a Duty,
    observed_share: Option<f64>,
}

/// One place of a ranking, on the edge.
#[derive(Debug, Serialize)]
pub struct StandingEdge<'a> {
    place: Option<usize>,
    guard: &'a GuardId,
    compliance_rate: Option<f64>,
    runs: u64,
    compliant: u64,
    missed: u64,
    missed_rate: Option<f64>,
    runs_observed: u64,
    on_duty_ms: u64,
    observed_ms: u64,
    observed_share: Option<f64>,
}

impl DailyReport {
    /// The report as it leaves the agent.
    pub fn edge(&self) -> ReportEdge<'_> {
        ReportEdge {
            site: &self.site,
            date: self.date,
            revision: self.revision,
            timezone: &self.timezone,
            from: self.from,
            to: self.to,
            made_at: self.made_at,
            complete: self.complete,
            tally: self.tally.edge(),
        }
    }
}

impl Tally {
    /// The tally as it leaves the agent.
    pub fn edge(&self) -> TallyEdge<'_> {
        let blind_ms = self.blind.iter().map(|(from, to)| to.since(from).millis()).sum();
        TallyEdge {
            total: self.total.edge(true),
            guards: self.guards.iter().map(|(guard, figures)| (guard, figures.edge(false))).collect(),
            devices: &self.devices,
            blind: &self.blind,
            blind_ms,
            muted: &self.muted,
        }
    }
}

impl Figures {
    /// The figures as they leave the agent and the operations centre; unless they are `whole`, a block with nothing in
    /// it is left out.
    pub fn edge(&self, whole: bool) -> FiguresEdge<'_> {
        let alerts: BTreeMap<Rule, AlertsEdge<'_>> =
            self.alerts.iter().map(|(rule, alerts)| (*rule, alerts.edge())).collect();
        let inactive = self.alerts.get(&Rule::Inactivity);
        FiguresEdge {
            tasks: (whole || self.tasks != Tasks::default()).then(|| self.tasks.edge()),
            runs: (whole || self.runs != Runs::default()).then(|| self.runs.edge()),
            inactivity: (whole || self.inactivity != Inactivity::default()).then(|| InactivityEdge {
                raised: self.inactivity.raised(),
                sums: &self.inactivity,
                false_positive_rate: inactive.and_then(Alerts::false_positive_rate),
            }),
            alerts: (whole || !alerts.is_empty()).then_some(alerts),
            duty: (whole || self.duty != Duty::default()).then(|| DutyEdge {
                sums: &self.duty,
                observed_share: share(self.duty.observed_ms, self.duty.on_duty_ms),
            }),
        }
    }
}

impl Tasks {
    fn edge(&self) -> TasksEdge<'_> {
        let response = &self.response;
        TasksEdge {
            due: self.due,
            completed: self.completed,
            overdue: self.overdue,
            cancelled: self.cancelled,
            completion_rate: share(self.completed, self.due),
            overdue_rate: share(self.overdue, self.due),
            response: RatiosEdge { sums: response, mean: response.mean(), p95: response.p95_ratio() },
        }
    }
}

impl Ratios {
    /// The mean share of the time allowed, to a thousandth.
    pub fn mean(&self) -> Option<f64> {
        mean(self.sum_permille, self.count).map(|permille| permille.round() / 1_000.0)
    }

    /// The 95th percentile as a share of the time allowed.
    pub fn p95_ratio(&self) -> Option<f64> {
        self.p95().map(|percent| f64::from(percent) / 100.0)
    }
}

impl Runs {
    fn edge(&self) -> RunsEdge<'_> {
        RunsEdge {
            sums: self,
            compliance_rate: share(self.compliant, self.closed),
            missed_rate: share(self.missed, self.closed),
            observed_share: share(self.observed, self.closed),
            mean_coverage: mean(self.coverage, self.closed),
        }
    }
}

impl Alerts {
    /// How many of those that were decided were not true.
    pub fn false_positive_rate(&self) -> Option<f64> {
        share(self.false_positive, self.closed())
    }

    fn edge(&self) -> AlertsEdge<'_> {
        AlertsEdge {
            raised: self.raised,
            detected: self.detected,
            verifying: self.verifying,
            confirmed: self.confirmed,
            resolved: self.resolved,
            false_positive: self.false_positive,
            escalated: self.escalated,
            false_positive_rate: self.false_positive_rate(),
            detection: self.detection.edge(),
            resolution: self.resolution.edge(),
        }
    }
}

impl Lengths {
    fn edge(&self) -> LengthsEdge<'_> {
        LengthsEdge { sums: self, mean_ms: mean(self.sum_ms, self.count) }
    }
}

impl Standing {
    /// The place as it leaves the agent.
    pub fn edge(&self) -> StandingEdge<'_> {
        StandingEdge {
            place: self.place,
            guard: &self.who,
            compliance_rate: share(self.compliant, self.runs),
            runs: self.runs,
            compliant: self.compliant,
            missed: self.missed,
            missed_rate: share(self.missed, self.runs),
            runs_observed: self.runs_observed,
            on_duty_ms: self.on_duty_ms,
            observed_ms: self.observed_ms,
            observed_share: share(self.observed_ms, self.on_duty_ms),
        }
    }
}
