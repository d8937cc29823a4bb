//! Reports and rankings for a spreadsheet: whole numbers as they are, rates as shares of one, nothing for what is divided
//! by nothing.

use super::facts::Site;
use super::question::By;
use super::report::{First, Guard, Of, Report, Who};
use super::summary::Sums;
use vigil_core::alert::Rule;
use vigil_core::report::edge::{mean, share};
use vigil_core::time::Date;

/// A sheet cannot be written; in memory, it can.
#[derive(Debug, thiserror::Error)]
#[error("the table cannot be written: {0}")]
pub struct Unwritten(String);

/// The columns of numbers, as `numbers` fills them.
const NUMBERS: [&str; 39] = [
    "documents",
    "runs_closed",
    "runs_compliant",
    "runs_sla_breach",
    "runs_partial_completion",
    "runs_not_started",
    "runs_guard_absent",
    "compliance_rate",
    "runs_missed",
    "missed_rate",
    "runs_observed",
    "mean_coverage",
    "mandatory_closed",
    "mandatory_missed",
    "tasks_due",
    "tasks_completed",
    "completion_rate",
    "tasks_overdue",
    "overdue_rate",
    "tasks_cancelled",
    "response_mean",
    "response_p95",
    "inactivity_raised",
    "inactivity_deep_night",
    "inactivity_open",
    "inactivity_confirmed",
    "inactivity_resolved",
    "inactivity_false_positive",
    "inactivity_false_positive_rate",
    "detection_mean_ms",
    "detection_longest_ms",
    "resolution_mean_ms",
    "on_duty_ms",
    "observed_ms",
    "observed_share",
    "blind_intervals",
    "blind_ms",
    "device_outages",
    "device_down_ms",
];

const PLACES: [&str; 10] = [
    "compliance_rate",
    "runs",
    "compliant",
    "missed",
    "missed_rate",
    "runs_observed",
    "runs_observed_share",
    "on_duty_ms",
    "observed_ms",
    "observed_share",
];

/// A report, with a row for each day, site or guard.
pub fn report(report: &Report, by: By) -> Result<String, Unwritten> {
    let mut sheet = Sheet::default();
    match by {
        By::Day => {
            sheet.head(&["date"], &NUMBERS)?;
            report.days.iter().try_for_each(|line| sheet.row(of_day(line.who), numbers(&line.sums)))?;
        }
        By::Site => {
            sheet.head(&["tenant", "site", "name"], &NUMBERS)?;
            report.sites.iter().try_for_each(|line| sheet.row(of_site(&line.who), numbers(&line.sums)))?;
        }
        By::Guard => {
            sheet.head(&["tenant", "guard", "sites"], &NUMBERS)?;
            report.guards.iter().try_for_each(|line| sheet.row(of_guard(&line.who), numbers(&line.sums)))?;
        }
    }
    sheet.text()
}

/// A ranking, with at most so many places.
pub fn ranking(report: &Report, of: Of, first: First, limit: usize) -> Result<String, Unwritten> {
    let mut sheet = Sheet::default();
    match of {
        Of::Sites => sheet.head(&["place", "tenant", "site", "name"], &PLACES)?,
        Of::Guards => sheet.head(&["place", "tenant", "guard", "sites"], &PLACES)?,
    }
    for standing in report.ranking(of, first).iter().take(limit) {
        let mut cells = vec![standing.place.map_or_else(String::new, |place| place.to_string())];
        cells.extend(match standing.who {
            Who::Site(site) => of_site(site),
            Who::Guard(guard) => of_guard(guard),
        });
        let numbers = vec![
            rate(share(standing.compliant, standing.runs)),
            standing.runs.to_string(),
            standing.compliant.to_string(),
            standing.missed.to_string(),
            rate(share(standing.missed, standing.runs)),
            standing.runs_observed.to_string(),
            rate(share(standing.runs_observed, standing.runs)),
            standing.on_duty_ms.to_string(),
            standing.observed_ms.to_string(),
            rate(share(standing.observed_ms, standing.on_duty_ms)),
        ];
        sheet.row(cells, numbers)?;
    }
    sheet.text()
}

fn of_day(date: Date) -> Vec<String> {
    vec![date.to_string()]
}

fn of_site(site: &Site) -> Vec<String> {
    vec![site.place.tenant.to_string(), site.place.site.to_string(), site.name.clone()]
}

fn of_guard(guard: &Guard) -> Vec<String> {
    let sites: Vec<_> = guard.sites.iter().map(ToString::to_string).collect();
    vec![guard.tenant.to_string(), guard.guard.to_string(), sites.join(" ")]
}

fn rate(share: Option<f64>) -> String {
    share.map_or_else(String::new, |share| share.to_string())
}

fn numbers(sums: &Sums) -> Vec<String> {
    let (figures, runs, tasks) = (&sums.figures, &sums.figures.runs, &sums.figures.tasks);
    let inactive = figures.alerts.get(&Rule::Inactivity).cloned().unwrap_or_default();
    let (detection, resolution) = sums.delays();
    let count = |n: u64| n.to_string();
    vec![
        count(sums.documents),
        count(runs.closed),
        count(runs.compliant),
        count(runs.sla_breach),
        count(runs.partial_completion),
        count(runs.not_started),
        count(runs.guard_absent),
        rate(share(runs.compliant, runs.closed)),
        count(runs.missed),
        rate(share(runs.missed, runs.closed)),
        count(runs.observed),
        rate(mean(runs.coverage, runs.closed)),
        count(sums.mandatory.closed),
        count(sums.mandatory.missed),
        count(tasks.due),
        count(tasks.completed),
        rate(share(tasks.completed, tasks.due)),
        count(tasks.overdue),
        rate(share(tasks.overdue, tasks.due)),
        count(tasks.cancelled),
        rate(tasks.response.mean()),
        rate(tasks.response.p95_ratio()),
        count(figures.inactivity.raised()),
        count(figures.inactivity.deep_night),
        count(inactive.raised.saturating_sub(inactive.closed())),
        count(inactive.confirmed),
        count(inactive.resolved),
        count(inactive.false_positive),
        rate(inactive.false_positive_rate()),
        rate(mean(detection.sum_ms, detection.count)),
        count(detection.longest_ms),
        rate(mean(resolution.sum_ms, resolution.count)),
        count(figures.duty.on_duty_ms),
        count(figures.duty.observed_ms),
        rate(share(figures.duty.observed_ms, figures.duty.on_duty_ms)),
        count(sums.blind.intervals),
        count(sums.blind.ms),
        count(sums.outages.outages),
        count(sums.outages.down_ms),
    ]
}

/// A table that is being written.
struct Sheet(csv::Writer<Vec<u8>>);

impl Default for Sheet {
    fn default() -> Self {
        Self(csv::Writer::from_writer(vec![]))
    }
}

impl Sheet {
    fn head(&mut self, names: &[&str], numbers: &[&str]) -> Result<(), Unwritten> {
        self.0.write_record(names.iter().chain(numbers)).map_err(|error| Unwritten(error.to_string()))
    }

    /// One row: words first, which may come from anybody, then numbers of ours.
    fn row(&mut self, words: Vec<String>, numbers: Vec<String>) -> Result<(), Unwritten> {
        let cells = words.into_iter().map(harmless).chain(numbers);
        self.0.write_record(cells).map_err(|error| Unwritten(error.to_string()))
    }

    fn text(self) -> Result<String, Unwritten> {
        let bytes = self.0.into_inner().map_err(|error| Unwritten(error.to_string()))?;
        String::from_utf8(bytes).map_err(|error| Unwritten(error.to_string()))
    }
}

/// A cell that no spreadsheet takes for a formula: they run what begins like one, and the name of a site or the id of a
/// guard comes from a gateway.
fn harmless(cell: String) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) { format!("'{cell}") } else { cell }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula() {
        for (cell, written) in [
            ("=HYPERLINK(\"http://evil\")", "'=HYPERLINK(\"http://evil\")"),
            ("+1", "'+1"),
            ("-1+2", "'-1+2"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t=1"),
            ("Plant 7 = north", "Plant 7 = north"),
            ("", ""),
        ] {
            assert_eq!(harmless(cell.into()), written);
        }
    }

    #[test]
    fn what_separates_cells_stays_inside_of_one() {
        let mut sheet = Sheet::default();
        sheet.head(&["name"], &["runs"]).unwrap();
        sheet.row(vec!["Gate, \"north\"\nand south".into()], vec!["3".into()]).unwrap();
        assert_eq!(sheet.text().unwrap(), "name,runs\n\"Gate, \"\"north\"\"\nand south\",3\n");
    }

    #[test]
    fn each_number_has_its_column() {
        assert_eq!(numbers(&Sums::default()).len(), NUMBERS.len());
    }
}
