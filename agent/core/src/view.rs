//! The engine as people see it: plain objects for the page, the local API and `vigil status`.

use crate::alert::{Alert, Rule, Severity};
use crate::book::LATE;
use crate::engine::Engine;
use crate::evidence::Signals;
use crate::id::{CheckpointId, DeviceId, GuardId, SiteId, TourId};
use crate::rules::compliance::Compliance;
use crate::rules::tours::{Run, RunStatus};
use crate::site::DeviceKind;
use crate::time::{Date, Span, Timestamp};
use chrono_tz::Tz;
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Runs that closed longer ago than this are found in the log, not on the page.
const RUNS_SHOWN: Span = Span::from_hours(12);

/// Alerts in a view, which goes to every open page every few seconds: more than anybody reads, and a week without the NOC
/// leaves thousands of them open. The others are in the list of alerts.
const ALERTS_SHOWN: usize = 200;

/// Everything that is going on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct View {
    /// Which site.
    pub site: SiteId,
    /// The name that people use.
    pub name: String,
    /// Its IANA zone.
    pub timezone: String,
    /// The instant of the view.
    pub now: Timestamp,
    /// Whether the gateway's clock is not set: `now` is only a guess, and what needs the time of day waits.
    pub provisional: bool,
    /// Every guard of the roster, those on duty first.
    pub guards: Vec<GuardView>,
    /// Runs under way and of the last hours, latest first.
    pub runs: Vec<RunView>,
    /// Every device of the site.
    pub devices: Vec<DeviceView>,
    /// Alerts that can still change, newest first: if they are too many, the open ones, the worst of them.
    pub alerts: Vec<Alert>,
    /// How many there are.
    pub alert_counts: AlertCounts,
    /// How long the agent was down in the last 72 h, in seconds.
    pub blind_secs: i64,
}

/// How many alerts can still change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AlertCounts {
    /// All of them.
    pub all: usize,
    /// Those that somebody has still to see to.
    pub open: usize,
    /// Those among the open ones that are CRITICAL.
    pub critical: usize,
    /// The open ones by rule and severity.
    #[serde(skip)]
    pub open_by: BTreeMap<(Rule, Severity), usize>,
}

/// Where a guard is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// At work.
    OnDuty,
    /// On a declared or rostered break.
    OnBreak,
    /// Not here.
    OffDuty,
}

/// One guard, now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GuardView {
    /// Who.
    pub id: GuardId,
    /// The name that people use.
    pub name: String,
    /// Where.
    pub presence: Presence,
    /// Since when on duty.
    pub on_duty_since: Option<Timestamp>,
    /// The window as it is now; none with too few duty buckets or too little evidence.
    pub window: Option<WindowView>,
    /// The last act that only a person does.
    pub last_activity_at: Option<Timestamp>,
    /// What it was.
    pub last_activity: Option<&'static str>,
    /// The id of the inactivity alert that is going on.
    pub alert: Option<String>,
}

/// One guard's window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WindowView {
    /// Its start.
    pub from: Timestamp,
    /// Its end.
    pub to: Timestamp,
    /// The four signals.
    pub signals: Signals,
    /// In thousandths.
    pub score: u16,
    /// The score from which on a guard is inactive.
    pub threshold: u16,
    /// Whether a recent act proves that the guard is awake.
    pub proof_of_life: bool,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunView {
    /// Of which tour.
    pub tour: TourId,
    /// The tour's name.
    pub name: String,
    /// When it is due.
    pub scheduled_at: Timestamp,
    /// Until when it must start.
    pub start_by: Timestamp,
    /// Until when it must be done.
    pub close_by: Timestamp,
    /// Whether it must be walked.
    pub mandatory: bool,
    /// Where it stands.
    pub status: RunStatus,
    /// What it amounts to, once it is over.
    pub compliance: Option<Compliance>,
    /// Whose it is.
    pub guard: Option<GuardId>,
    /// Percent of the checkpoints scanned.
    pub coverage: u8,
    /// Distinct checkpoints scanned.
    pub scanned: Vec<CheckpointId>,
}

/// One device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeviceView {
    /// Which.
    pub id: DeviceId,
    /// What it is.
    pub kind: DeviceKind,
    /// Who carries it.
    pub guard: Option<GuardId>,
    /// Its last message.
    pub last_received_at: Option<Timestamp>,
    /// Its last will is in force.
    pub offline: bool,
    /// It has been silent for too long.
    pub silent: bool,
    /// Its last charge in thousandths.
    pub battery_permille: Option<u16>,
    /// How many seconds its clock is behind, if it is wrong; negative if it is ahead.
    pub clock_behind_secs: Option<i64>,
}

impl View {
    /// The date on the site's calendar.
    pub fn today(&self) -> Date {
        self.now.local_date(self.timezone.parse().unwrap_or(Tz::UTC))
    }
}

impl Engine {
    /// Everything that is going on at `now`.
    pub fn view(&self, now: Timestamp) -> View {
        let mut guards: Vec<GuardView> =
            self.site.guards.iter().map(|g| self.guard_view(&g.id, &g.name, now)).collect();
        guards.sort_by_key(|g| g.presence == Presence::OffDuty);
        let (alerts, alert_counts) = self.alerts_shown();
        let blind = self.state.blind.within(now - LATE, now);
        View {
            site: self.site.id.clone(),
            name: self.site.name.clone(),
            timezone: self.site.timezone.name().to_owned(),
            now,
            provisional: self.is_provisional(),
            guards,
            runs: self.run_views(now),
            devices: self.site.devices.iter().map(|d| self.device_view(d, now)).collect(),
            alerts,
            alert_counts,
            blind_secs: blind.millis() / 1_000,
        }
    }

    fn alerts_shown(&self) -> (Vec<Alert>, AlertCounts) {
        let mut alerts: Vec<&Alert> = self.state.book.iter().collect();
        let mut counts = AlertCounts { all: alerts.len(), ..AlertCounts::default() };
        for alert in alerts.iter().filter(|a| a.is_open()) {
            counts.open += 1;
            counts.critical += usize::from(alert.severity == Severity::Critical);
            *counts.open_by.entry((alert.rule, alert.severity)).or_default() += 1;
        }
        if alerts.len() > ALERTS_SHOWN {
            alerts.sort_by_key(|a| Reverse((a.is_open(), a.severity, a.detected_at, a.id)));
            alerts.truncate(ALERTS_SHOWN);
        }
        alerts.sort_by_key(|a| Reverse((a.detected_at, a.id)));
        (alerts.into_iter().cloned().collect(), counts)
    }

    fn guard_view(&self, id: &GuardId, name: &str, now: Timestamp) -> GuardView {
        let shape = self.shapes.get(id);
        let since = shape.and_then(|s| s.on_duty.iter().find(|(from, to)| *from <= now && now < *to));
        let presence = match (since, shape) {
            (Some(_), Some(s)) if s.worked.contains(now) => Presence::OnDuty,
            (Some(_), _) => Presence::OnBreak,
            (None, _) => Presence::OffDuty,
        };
        let watch = self.state.guards.get(id);
        let last = watch.and_then(|w| w.trail.last_activity(Timestamp::default(), now.just_after()));
        let on_duty = presence != Presence::OffDuty;
        GuardView {
            id: id.clone(),
            name: name.to_owned(),
            presence,
            on_duty_since: since.map(|(from, _)| from),
            window: on_duty.then(|| self.window_view(id, now)).flatten(),
            last_activity_at: last.map(|(at, _)| at),
            last_activity: last.map(|(_, what)| what),
            alert: watch.and_then(|w| w.episode).map(|a| a.to_string()),
        }
    }

    /// The window of the cycle that is running, judged by what is known so far.
    fn window_view(&self, id: &GuardId, now: Timestamp) -> Option<WindowView> {
        let policy = &self.site.policy.inactivity;
        let evaluation = self.evaluate(id, now.floor_to(policy.cycle))?;
        let e = evaluation.evidence;
        Some(WindowView {
            from: e.window_start,
            to: e.window_end,
            signals: e.signals,
            score: e.score,
            threshold: policy.threshold.get(),
            proof_of_life: evaluation.proof_of_life,
        })
    }

    fn run_views(&self, now: Timestamp) -> Vec<RunView> {
        let shown = |(_, run): &(&TourId, &Run)| run.opens_at <= now && run.close_by + RUNS_SHOWN >= now;
        let view = |(tour, run): (&TourId, &Run)| RunView {
            tour: tour.clone(),
            name: self.site.tour(tour).map_or_else(|| tour.to_string(), |t| t.name.clone()),
            scheduled_at: run.scheduled_at,
            start_by: run.start_by,
            close_by: run.close_by,
            mandatory: self.site.tour(tour).is_some_and(|t| t.mandatory),
            status: run.status(&self.site),
            compliance: run.is_closed().then(|| self.compliance(run)),
            guard: run.guard.clone(),
            coverage: run.coverage(),
            scanned: run.scans.keys().cloned().collect(),
        };
        let mut views: Vec<RunView> = self.state.runs.iter().filter(shown).map(view).collect();
        views.reverse();
        views
    }

    fn device_view(&self, device: &crate::site::Device, now: Timestamp) -> DeviceView {
        let instrument = self.state.devices.get(&device.id);
        DeviceView {
            id: device.id.clone(),
            kind: device.kind,
            guard: self.carrier(device, now),
            last_received_at: instrument.and_then(|i| i.last_received_at),
            offline: instrument.is_some_and(|i| i.offline_since.is_some()),
            silent: instrument.is_some_and(|i| i.silent),
            battery_permille: instrument.and_then(|i| i.battery_permille),
            clock_behind_secs: instrument.and_then(|i| i.skew.correction()).map(|s| s.millis() / 1_000),
        }
    }
}
