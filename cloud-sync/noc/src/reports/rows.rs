//! Sums as rows and tiles of a page: numbers in words, and how long the bar beside a rate is.

use super::chart::tenths;
use super::report::{Line, Report, Who};
use super::summary::Sums;
use super::words::{NOTHING, length, mean_length, number, percent};
use vigil_core::alert::Rule;
use vigil_core::report::edge::{mean, share};
use vigil_core::report::{Alerts, Standing};

/// Below this a rate is bad, from the other on it is good; between, it is neither. Only for the eye: nothing is decided by it.
const BAD: f64 = 0.8;
const GOOD: f64 = 0.95;

/// A rate with its bar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gauge {
    /// The rate.
    pub text: String,
    /// How long the bar is, of 100.
    pub width: u64,
    /// Which class of the style sheet it has.
    pub tone: &'static str,
}

impl Gauge {
    /// Of a rate that should be one.
    pub fn of(rate: Option<f64>) -> Self {
        let tone = tone(rate);
        Self { text: percent(rate), width: rate.map_or(0, |rate| tenths(rate, 1.0)), tone }
    }
}

/// The class of a rate that should be one.
pub fn tone(rate: Option<f64>) -> &'static str {
    match rate {
        Some(rate) if rate < BAD => "low",
        Some(rate) if rate < GOOD => "middle",
        Some(_) => "high",
        None => "none",
    }
}

/// A row of numbers: of a day, a site, a guard or of all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What it is of.
    pub name: String,
    /// What else tells it from others.
    pub note: String,
    /// Closed runs.
    pub runs: u64,
    /// Their compliance rate.
    pub compliance: Gauge,
    /// The share of which nothing was scanned.
    pub missed: String,
    /// Mandatory runs: missed of closed.
    pub mandatory: String,
    /// The mean share of checkpoints scanned.
    pub coverage: String,
    /// Tasks that were due.
    pub tasks: u64,
    /// The share that was completed.
    pub done: String,
    /// The share that was not done in time.
    pub late: String,
    /// The mean and the 95th percentile of response / time allowed.
    pub response: String,
    /// Inactivity alerts.
    pub inactive: u64,
    /// The share of time on duty that could be observed.
    pub observed: String,
    /// How long agents were down.
    pub blind: String,
    /// How long devices were silent.
    pub down: String,
}

impl Row {
    /// These sums as words.
    pub fn of(name: String, note: String, sums: &Sums) -> Self {
        let (runs, tasks, duty) = (&sums.figures.runs, &sums.figures.tasks, sums.figures.duty);
        let mandatory = sums.mandatory;
        let mandatory = if mandatory.closed == 0 {
            NOTHING.into()
        } else {
            format!("{} of {}", mandatory.missed, mandatory.closed)
        };
        let response = &tasks.response;
        let response = match response.count {
            0 => NOTHING.into(),
            _ => format!("{} / {}", number(response.mean(), 2), number(response.p95_ratio(), 2)),
        };
        Self {
            name,
            note,
            runs: runs.closed,
            compliance: Gauge::of(share(runs.compliant, runs.closed)),
            missed: percent(share(runs.missed, runs.closed)),
            mandatory,
            coverage: percent(mean(runs.coverage, runs.closed).map(|percent| percent / 100.0)),
            tasks: tasks.due,
            done: percent(share(tasks.completed, tasks.due)),
            late: percent(share(tasks.overdue, tasks.due)),
            response,
            inactive: sums.figures.inactivity.raised(),
            observed: percent(share(duty.observed_ms, duty.on_duty_ms)),
            blind: length(sums.blind.ms),
            down: length(sums.outages.down_ms),
        }
    }
}

/// A table of rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// What it is of.
    pub title: &'static str,
    /// What the first column has.
    pub first: &'static str,
    /// Whether it is of places and days: guards have no devices, and no gateway.
    pub places: bool,
    /// The rows.
    pub rows: Vec<Row>,
    /// How many there are beyond these.
    pub left_out: usize,
}

impl Table {
    /// A row for each day.
    pub fn days(report: &Report) -> Self {
        let note = |line: &Line<_>| if line.sums.documents == 0 { "no report" } else { "" };
        let row = |line: &Line<vigil_core::time::Date>| {
            Row::of(line.who.to_string(), note(line).into(), &line.sums)
        };
        Self::places("By day", "Day", report.days.iter().map(row).collect())
    }

    /// A row for each site, at most so many.
    pub fn sites(report: &Report, most: usize) -> Self {
        let rows = report.sites.iter().take(most).map(|line| {
            let place = line.who.place.to_string();
            let note = if line.sums.documents == 0 { format!("{place}, no report") } else { place };
            Row::of(line.who.name.clone(), note, &line.sums)
        });
        let left_out = report.sites.len().saturating_sub(most);
        Self { left_out, ..Self::places("By site", "Site", rows.collect()) }
    }

    /// A row for each guard, at most so many.
    pub fn guards(report: &Report, most: usize) -> Self {
        let rows = report.guards.iter().take(most).map(|line| {
            let (name, note) = named(Who::Guard(&line.who));
            Row::of(name, note, &line.sums)
        });
        let left_out = report.guards.len().saturating_sub(most);
        Self { title: "By guard", first: "Guard", places: false, rows: rows.collect(), left_out }
    }

    const fn places(title: &'static str, first: &'static str, rows: Vec<Row>) -> Self {
        Self { title, first, places: true, rows, left_out: 0 }
    }
}

/// A number that stands by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tile {
    /// What it is.
    pub name: &'static str,
    /// The number.
    pub value: String,
    /// What it rests on.
    pub note: String,
    /// Which class of the style sheet it has.
    pub tone: &'static str,
}

impl Tile {
    /// A number that is neither good nor bad.
    pub const fn plain(name: &'static str, value: String, note: String) -> Self {
        Self { name, value, note, tone: "none" }
    }

    /// A rate that should be one.
    pub fn rate(name: &'static str, rate: Option<f64>, note: String) -> Self {
        Self { name, value: percent(rate), note, tone: tone(rate) }
    }

    /// A count that should be zero.
    pub fn fault(name: &'static str, count: u64, note: String) -> Self {
        Self { name, value: count.to_string(), note, tone: if count == 0 { "high" } else { "low" } }
    }
}

/// The numbers at the head of a report.
pub fn tiles(sums: &Sums) -> Vec<Tile> {
    let (runs, tasks, duty) = (&sums.figures.runs, &sums.figures.tasks, sums.figures.duty);
    let inactive = sums.figures.alerts.get(&Rule::Inactivity).cloned().unwrap_or_default();
    let (detection, resolution) = sums.delays();
    let coverage = mean(runs.coverage, runs.closed).map(|percent| percent / 100.0);
    let (raised, deep) = (sums.figures.inactivity.raised(), sums.figures.inactivity.deep_night);
    vec![
        Tile::rate(
            "Tour compliance",
            share(runs.compliant, runs.closed),
            format!(
                "{} of {} runs; {} observed",
                runs.compliant,
                runs.closed,
                percent(share(runs.observed, runs.closed))
            ),
        ),
        Tile::fault(
            "Mandatory runs missed",
            sums.mandatory.missed,
            format!("of {} ({})", sums.mandatory.closed, percent(sums.mandatory.missed_rate())),
        ),
        Tile::rate("Mean coverage", coverage, "checkpoints scanned of each run".into()),
        Tile::rate(
            "Tasks completed",
            share(tasks.completed, tasks.due),
            format!(
                "{} of {} due; {} late ({})",
                tasks.completed,
                tasks.due,
                tasks.overdue,
                percent(share(tasks.overdue, tasks.due))
            ),
        ),
        Tile::plain(
            "Response / SLA",
            number(tasks.response.mean(), 2),
            format!("mean of {}; p95 {}", tasks.response.count, number(tasks.response.p95_ratio(), 2)),
        ),
        Tile::plain(
            "Inactivity alerts",
            raised.to_string(),
            format!("{deep} in deep night; false {}", percent(inactive.false_positive_rate())),
        ),
        Tile::rate(
            "Monitoring coverage",
            share(duty.observed_ms, duty.on_duty_ms),
            format!("{} of {} on duty", length(duty.observed_ms), length(duty.on_duty_ms)),
        ),
        Tile::plain("Agent blind", length(sums.blind.ms), format!("intervals: {}", sums.blind.intervals)),
        Tile::plain(
            "Device downtime",
            length(sums.outages.down_ms),
            format!("outages: {}", sums.outages.outages),
        ),
        Tile::plain(
            "Detection delay",
            mean_length(detection.sum_ms, detection.count),
            format!("mean; longest {}", length(detection.longest_ms)),
        ),
        Tile::plain(
            "Resolution time",
            mean_length(resolution.sum_ms, resolution.count),
            format!("mean of {}; longest {}", resolution.count, length(resolution.longest_ms)),
        ),
    ]
}

/// How runs ended, or what became of the alerts of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// Which.
    pub name: &'static str,
    /// How many.
    pub count: u64,
    /// Their share, with its bar.
    pub share: Gauge,
}

fn count(name: &'static str, count: u64, all: u64) -> Count {
    Count { name, count, share: Gauge { tone: "none", ..Gauge::of(share(count, all)) } }
}

/// Runs by compliance.
pub fn classes(sums: &Sums) -> Vec<Count> {
    let runs = &sums.figures.runs;
    vec![
        count("Compliant", runs.compliant, runs.closed),
        count("Begun late", runs.sla_breach, runs.closed),
        count("Incomplete", runs.partial_completion, runs.closed),
        count("Not started", runs.not_started, runs.closed),
        count("Guard absent", runs.guard_absent, runs.closed),
    ]
}

/// Inactivity alerts by what became of them.
pub fn fates(sums: &Sums) -> Vec<Count> {
    let inactive = sums.figures.alerts.get(&Rule::Inactivity).cloned().unwrap_or_default();
    vec![
        count("Confirmed", inactive.confirmed, inactive.raised),
        count("Resolved", inactive.resolved, inactive.raised),
        count("False positive", inactive.false_positive, inactive.raised),
        count("Not decided", undecided(&inactive), inactive.raised),
    ]
}

const fn undecided(alerts: &Alerts) -> u64 {
    alerts.raised.saturating_sub(alerts.closed())
}

/// What became of the alerts of one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleRow {
    /// Which rule.
    pub rule: &'static str,
    /// All of them, those that are not decided, and the three ends.
    pub counts: [u64; 5],
    /// The share of the decided that was not true.
    pub false_rate: String,
    /// Until they were raised, and until they were decided, on average.
    pub detection: String,
    /// Until they were decided.
    pub resolution: String,
}

/// The alerts, rule by rule.
pub fn rules(sums: &Sums) -> Vec<RuleRow> {
    let row = |(rule, alerts): (&Rule, &Alerts)| RuleRow {
        rule: rule.name(),
        counts: [alerts.raised, undecided(alerts), alerts.confirmed, alerts.resolved, alerts.false_positive],
        false_rate: percent(alerts.false_positive_rate()),
        detection: mean_length(alerts.detection.sum_ms, alerts.detection.count),
        resolution: mean_length(alerts.resolution.sum_ms, alerts.resolution.count),
    };
    sums.figures.alerts.iter().map(row).collect()
}

/// One place of a ranking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceRow {
    /// Which.
    pub place: String,
    /// Who.
    pub name: String,
    /// What else tells them from others.
    pub note: String,
    /// By what they are ranked.
    pub compliance: Gauge,
    /// What that rests on: closed runs, compliant ones, and those of which nothing was scanned.
    pub runs: [u64; 3],
    /// The share of runs that could be observed.
    pub runs_observed: String,
    /// The share of time on duty that could be observed.
    pub observed: String,
}

impl PlaceRow {
    /// A place as words.
    pub fn of(standing: &Standing<Who<'_>>) -> Self {
        let (name, note) = named(standing.who);
        Self {
            place: standing.place.map_or_else(|| NOTHING.into(), |place| place.to_string()),
            name,
            note,
            compliance: Gauge::of(share(standing.compliant, standing.runs)),
            runs: [standing.runs, standing.compliant, standing.missed],
            runs_observed: percent(share(standing.runs_observed, standing.runs)),
            observed: percent(share(standing.observed_ms, standing.on_duty_ms)),
        }
    }
}

fn named(who: Who<'_>) -> (String, String) {
    match who {
        Who::Site(site) => (site.name.clone(), site.place.to_string()),
        Who::Guard(guard) => {
            let sites: Vec<_> = guard.sites.iter().map(ToString::to_string).collect();
            (guard.guard.to_string(), format!("{}: {}", guard.tenant, sites.join(", ")))
        }
    }
}
