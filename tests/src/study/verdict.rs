//! The alerts of a night beside what really happened. Nothing here knows how a rule decides.

use super::clock::{END, HOUR, MINUTE, instant, second, tour_hours};
use super::errands::Errand;
use super::handset::task_name;
use super::life::Life;
use super::plan::{Fault, Plan};
use super::receiver::Make;
use super::trial::Raised;
use std::collections::BTreeMap;
use vigil_core::alert::{Rule, Status, Subject};
use vigil_core::evidence::Evidence;
use vigil_core::observation::Priority;
use vigil_core::time::{Span, Timestamp};

/// How late an alert may be told: `settle` and a second.
pub const TOLD_WITHIN: Span = Span::from_secs(6);
/// How late a tour may start and how early, by the defaults of the rules, and how long it may take on this site.
const GRACE: f64 = 30.0 * MINUTE;
const EARLY: f64 = 15.0 * MINUTE;
const LASTS: f64 = 30.0 * MINUTE;

/// What one rule made of one night.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Verdict {
    /// Hours on duty.
    pub duty_hours: f64,
    /// If the guard slept without leave: whether and when that was found.
    pub sleeper: Option<Found>,
    /// Inactivity alerts raised while the guard did not sleep without leave.
    pub false_alerts: u32,
    /// Of these, those that the agent withdrew by itself.
    pub withdrawn: u32,
    /// Tours that were not begun in time, and what was told of them.
    pub missed: Promptness,
    /// Runs that were begun in time and told to be missed, still at the end of the night, though an instrument was
    /// observed; and those of which the alert itself says that it cannot be known.
    pub wronged: (u32, u32),
    /// The same for tasks that were not done in time, for each priority.
    pub overdue: [Promptness; 4],
    /// Every alert of the night, by rule.
    pub alerts: BTreeMap<Rule, u32>,
    /// Which kind of phone it was.
    pub make: Option<Make>,
}

/// Whether and when a sleeper was found.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Found {
    /// Minutes from falling asleep to the first inactivity alert, if one came while asleep.
    pub inactivity_mins: Option<f64>,
    /// Minutes to the first alert that names the guard: inactivity, or a tour that is not begun.
    pub first_word_mins: Option<f64>,
    /// Whether an alert raised before was still standing: no second one can tell of the sleep.
    pub already: bool,
}

/// How many of the things that were so were told, and how fast.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Promptness {
    /// How many were so.
    pub were: u32,
    /// How many of these were told.
    pub told: u32,
    /// How many of these were told within `settle` and a second.
    pub in_time: u32,
    /// The longest that one took, in milliseconds behind its instant.
    pub slowest_ms: i64,
}

impl Promptness {
    fn judge(&mut self, at: Timestamp, raised: Option<&Raised>) {
        self.were += 1;
        if let Some(raised) = raised {
            let late = raised.told_at.since(at);
            self.told += 1;
            self.in_time += u32::from(late <= TOLD_WITHIN);
            self.slowest_ms = self.slowest_ms.max(late.millis());
        }
    }

    /// Adds another night.
    pub fn add(&mut self, other: &Self) {
        self.were += other.were;
        self.told += other.told;
        self.in_time += other.in_time;
        self.slowest_ms = self.slowest_ms.max(other.slowest_ms);
    }
}

/// Holds the alerts against the truth.
pub fn judge(plan: &Plan, life: &Life, errands: &[Errand], make: Make, alerts: &[Raised]) -> Verdict {
    let mut verdict =
        Verdict { duty_hours: (life.duty.1 - life.duty.0) / HOUR, make: Some(make), ..Verdict::default() };
    for raised in alerts {
        *verdict.alerts.entry(raised.first.rule).or_default() += 1;
    }
    let inactivity = || alerts.iter().filter(|r| r.first.rule == Rule::Inactivity);
    for raised in inactivity().filter(|r| !life.sleeps_at(second(r.first.detected_at))) {
        verdict.false_alerts += 1;
        verdict.withdrawn += u32::from(raised.last.status == Status::FalsePositive);
    }
    verdict.sleeper = life.asleep.first().map(|(onset, _)| {
        let while_asleep = |r: &&Raised| life.sleeps_at(second(r.first.detected_at));
        let mins = |r: &Raised| (second(r.told_at) - onset) / MINUTE;
        let first_word = |r: &&Raised| matches!(r.first.rule, Rule::Inactivity | Rule::TourMissed);
        let standing = |r: &&Raised| {
            second(r.first.detected_at) <= *onset
                && r.last.cleared_at.is_none_or(|at| second(at) > onset + 5.0 * MINUTE)
        };
        Found {
            already: inactivity().any(|r| standing(&r)),
            inactivity_mins: inactivity().find(while_asleep).map(mins),
            first_word_mins: alerts.iter().filter(first_word).find(while_asleep).map(mins),
        }
    });
    tours(plan, life, alerts, &mut verdict);
    tasks(plan, errands, alerts, &mut verdict);
    verdict
}

/// The tours of a night that can be judged. What the gateway itself was too blind to see is left out: the rules say that
/// it raises nothing.
pub(super) fn judged_tours(plan: &Plan) -> impl Iterator<Item = f64> + '_ {
    let blind = |hour: f64| {
        plan.faults.iter().any(|f| matches!(f, Fault::Gateway(a, b) if *a < hour + HOUR && hour - HOUR < *b))
    };
    tour_hours().filter(move |hour| plan.ground.tours && !blind(*hour))
}

/// The alert that a tour of that hour was not begun.
pub(super) fn alert_of_tour(alerts: &[Raised], hour: f64) -> Option<&Raised> {
    let of_run = |subject: &Subject| matches!(subject, Subject::Run(_, at) if *at == instant(hour));
    alerts.iter().find(|r| r.first.rule == Rule::TourMissed && of_run(&r.first.subject))
}

/// A tour was missed if nothing was scanned in its time up to `start_by`.
fn tours(plan: &Plan, life: &Life, alerts: &[Raised], verdict: &mut Verdict) {
    for hour in judged_tours(plan) {
        let raised = alert_of_tour(alerts, hour);
        if begun_in_time(life, hour) {
            match raised.filter(|r| r.last.status != Status::FalsePositive).map(|r| &r.last.evidence) {
                Some(Evidence::Run(run)) if !run.observed => verdict.wronged.1 += 1,
                Some(_) => verdict.wronged.0 += 1,
                None => {}
            }
        } else {
            verdict.missed.judge(instant(hour + GRACE).just_after(), raised);
        }
    }
}

/// Whether a scan came in time that belongs to the tour of that hour.
pub(super) fn begun_in_time(life: &Life, hour: f64) -> bool {
    let begun = first_scans(life).into_iter().find(|(scheduled, _)| (scheduled - hour).abs() < 1.0);
    begun.is_some_and(|(_, first)| first.is_some_and(|at| at <= hour + GRACE))
}

/// Each tour with its first scan. Which tour a scan belongs to is said by the rules (section 6), and told here once
/// more, apart from the product: one in progress that lacks the checkpoint, else one that may still start, else a late
/// one, the earliest of each.
fn first_scans(life: &Life) -> Vec<(f64, Option<f64>)> {
    let mut tours: Vec<(f64, Vec<(f64, usize)>)> = tour_hours().map(|hour| (hour, vec![])).collect();
    for (at, place) in &life.taps {
        let rank = |(hour, scans): &(f64, Vec<(f64, usize)>)| match scans.is_empty() {
            false => 0,
            true if *at <= hour + GRACE => 1,
            true => 2,
        };
        let takes = |(hour, scans): &(f64, Vec<(f64, usize)>)| {
            let open = hour - EARLY <= *at && *at <= hour + GRACE + LASTS;
            open && !scans.iter().any(|(_, known)| known == place)
        };
        if let Some((_, scans)) = tours.iter_mut().filter(|t| takes(t)).min_by_key(|t| rank(t)) {
            scans.push((*at, *place));
        }
    }
    tours.into_iter().map(|(hour, scans)| (hour, scans.first().map(|(at, _)| *at))).collect()
}

fn tasks(plan: &Plan, errands: &[Errand], alerts: &[Raised], verdict: &mut Verdict) {
    let blind = |t: f64| {
        plan.faults.iter().any(|f| matches!(f, Fault::Gateway(a, b) if *a < t + HOUR && t - HOUR < *b))
    };
    for (n, errand) in errands.iter().enumerate() {
        if !errand.is_overdue(END - MINUTE) || blind(errand.created) || blind(errand.deadline) {
            continue;
        }
        let name = task_name(n);
        let of_task = |r: &&Raised| {
            r.first.rule == Rule::TaskOverdue
                && matches!(&r.first.subject, Subject::Task(task) if task.as_str() == name)
        };
        let place = match errand.priority {
            Priority::Critical => 0,
            Priority::High => 1,
            Priority::Medium => 2,
            Priority::Low => 3,
        };
        let raised = alerts.iter().find(of_task);
        verdict.overdue[place].judge(instant(errand.deadline).just_after(), raised);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::clock::clock;

    /// The scans of a round that starts then, three minutes apart.
    fn round(life: &mut Life, from: f64) {
        life.taps.extend((0..6_u8).map(|n| (from + 3.0 * MINUTE * f64::from(n), usize::from(n))));
    }

    #[test]
    fn a_scan_belongs_to_the_tour_that_the_rules_name() {
        let mut life = Life::default();
        round(&mut life, clock(21, 2));
        // So late that most of it lies in the time of the next, which it does not begin.
        round(&mut life, clock(22, 40));
        // Begun when the tour of 01:00 may begin, though it was meant for midnight.
        round(&mut life, clock(0, 46));
        let begun: Vec<bool> = tour_hours().map(|hour| begun_in_time(&life, hour)).collect();
        assert_eq!(begun, [true, false, false, false, true, false, false, false, false]);
    }

    #[test]
    fn a_second_round_belongs_to_the_next_tour_as_soon_as_that_is_open() {
        let mut life = Life::default();
        round(&mut life, clock(1, 11));
        round(&mut life, clock(1, 34));
        assert!(begun_in_time(&life, clock(1, 0)) && begun_in_time(&life, clock(2, 0)));
    }
}
