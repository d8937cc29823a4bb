//! The verdicts of many nights, added up.

use super::interval::{Figure, float, quantile, rate, share};
use super::receiver::Make;
use super::scenario::{Scenario, Target};
use super::verdict::{Promptness, Verdict};
use std::collections::BTreeMap;
use vigil_core::alert::Rule;

/// One row under one rule.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally {
    /// Nights.
    pub nights: u64,
    /// Hours on duty.
    pub duty_hours: f64,
    /// Nights with a sleeper, and of these, those in which an inactivity alert came while asleep.
    pub sleepers: u64,
    /// Of these, those that were found.
    pub found: u64,
    /// Of the sleepers, those of whom any alert told while they slept: inactivity, or a tour not begun.
    pub heard_of: u64,
    /// Minutes from falling asleep to the inactivity alert, sorted.
    pub minutes: Vec<f64>,
    /// Minutes to the first alert of any kind, sorted.
    pub first_word: Vec<f64>,
    /// False inactivity alerts, and of these, those that the agent withdrew.
    pub false_alerts: u64,
    /// Withdrawn.
    pub withdrawn: u64,
    /// Nights with a false inactivity alert.
    pub nights_with: u64,
    /// Tours that were missed, and how they were told.
    pub missed: Promptness,
    /// Sleepers of whom an alert was standing when they fell asleep.
    pub already: u64,
    /// Tours that were begun in time and told to be missed: observed, and not observed.
    pub wronged: (u64, u64),
    /// Tasks that were overdue, and how they were told, by priority.
    pub overdue: [Promptness; 4],
    /// Every alert, by rule.
    pub alerts: BTreeMap<Rule, u64>,
    /// Sleepers and found ones, by kind of phone: fused, satellite.
    pub by_make: [(u64, u64); 2],
}

impl Tally {
    /// Adds up the nights.
    pub fn of(verdicts: &[Verdict]) -> Self {
        let mut tally = Self::default();
        verdicts.iter().for_each(|v| tally.add(v));
        tally.minutes.sort_by(f64::total_cmp);
        tally.first_word.sort_by(f64::total_cmp);
        tally
    }

    fn add(&mut self, verdict: &Verdict) {
        self.nights += 1;
        self.duty_hours += verdict.duty_hours;
        if let Some(sleeper) = verdict.sleeper {
            let found = u64::from(sleeper.inactivity_mins.is_some());
            self.sleepers += 1;
            self.found += found;
            self.heard_of += u64::from(sleeper.first_word_mins.is_some());
            self.already += u64::from(sleeper.already);
            self.minutes.extend(sleeper.inactivity_mins);
            self.first_word.extend(sleeper.first_word_mins);
            let make = usize::from(verdict.make == Some(Make::Satellite));
            self.by_make[make].0 += 1;
            self.by_make[make].1 += found;
        }
        self.false_alerts += u64::from(verdict.false_alerts);
        self.withdrawn += u64::from(verdict.withdrawn);
        self.nights_with += u64::from(verdict.false_alerts > 0);
        self.wronged.0 += u64::from(verdict.wronged.0);
        self.wronged.1 += u64::from(verdict.wronged.1);
        for (rule, count) in &verdict.alerts {
            *self.alerts.entry(*rule).or_default() += u64::from(*count);
        }
        self.missed.add(&verdict.missed);
        for (sum, one) in self.overdue.iter_mut().zip(&verdict.overdue) {
            sum.add(one);
        }
    }

    /// Puts rows together.
    #[must_use]
    pub fn with(mut self, other: &Self) -> Self {
        self.nights += other.nights;
        self.duty_hours += other.duty_hours;
        self.false_alerts += other.false_alerts;
        self.withdrawn += other.withdrawn;
        self.nights_with += other.nights_with;
        self.wronged.0 += other.wronged.0;
        self.wronged.1 += other.wronged.1;
        for (rule, count) in &other.alerts {
            *self.alerts.entry(*rule).or_default() += count;
        }
        self.missed.add(&other.missed);
        for (sum, one) in self.overdue.iter_mut().zip(&other.overdue) {
            sum.add(one);
        }
        self
    }

    /// The share of sleepers found.
    pub fn detection(&self) -> Option<Figure> {
        share(self.found, self.sleepers)
    }

    /// The share of sleepers of whom any alert told.
    pub fn any_word(&self) -> Option<Figure> {
        share(self.heard_of, self.sleepers)
    }

    /// Minutes from falling asleep to the alert: of those found.
    pub fn delay(&self, q: f64) -> Option<Figure> {
        quantile(&self.minutes, q)
    }

    /// False alerts a guard-night.
    pub fn alerts_each_night(&self) -> Option<Figure> {
        rate(self.false_alerts, float(self.nights))
    }

    /// The share of nights with a false alert.
    pub fn nights_with_alert(&self) -> Option<Figure> {
        share(self.nights_with, self.nights)
    }

    /// What a target is about, and whether the estimate reaches it.
    pub fn reaches(&self, target: Target) -> Option<(Figure, bool)> {
        Some(match target {
            Target::Found(least) => self.detection().map(|f| (f, f.value >= least))?,
            Target::AlertsEachNight(below) => self.alerts_each_night().map(|f| (f, f.value < below))?,
            Target::NightsWith(below) => self.nights_with_alert().map(|f| (f, f.value < below))?,
        })
    }
}

/// One row of the study, under both rules.
#[derive(Debug, Clone)]
pub struct Row {
    /// Which nights.
    pub scenario: Scenario,
    /// Under ours.
    pub ours: Tally,
    /// Under the classic rule.
    pub classic: Tally,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::verdict::Found;

    #[test]
    fn nights_add_up() {
        let found = Found { inactivity_mins: Some(120.0), first_word_mins: Some(40.0), already: false };
        let asleep = |sleeper| Verdict { sleeper: Some(sleeper), duty_hours: 10.0, ..Verdict::default() };
        let noisy = Verdict { false_alerts: 2, withdrawn: 1, duty_hours: 10.0, ..Verdict::default() };
        let tally = Tally::of(&[asleep(found), asleep(Found::default()), noisy]);
        assert_eq!((tally.nights, tally.sleepers, tally.found, tally.heard_of), (3, 2, 1, 1));
        assert_eq!((tally.false_alerts, tally.withdrawn, tally.nights_with), (2, 1, 1));
        assert_eq!(tally.detection().map(|f| f.value), Some(0.5));
        assert!(tally.reaches(Target::Found(0.5)).unwrap().1);
        assert!(!tally.reaches(Target::Found(0.51)).unwrap().1);
        assert!(!tally.reaches(Target::NightsWith(1.0 / 3.0)).unwrap().1, "fewer than, not as many as");
    }
}
