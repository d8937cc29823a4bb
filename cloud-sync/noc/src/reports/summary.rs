//! The sums of any range of days and any set of sites. Two ranges merge to what counting both at once gives.

use super::asked::Asked;
use super::facts::{Day, Place, Run};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use vigil_core::report::{Figures, Lengths, Tally};
use vigil_core::rules::tours::RunStatus;
use vigil_core::time::{Date, Timestamp};

/// What is counted of some days of some sites.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// All sites together, by date.
    pub days: BTreeMap<Date, Sums>,
    /// All days together, by site.
    pub sites: BTreeMap<Place, SiteSums>,
}

/// What is counted of one site.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SiteSums {
    /// How many daily reports came; of several gateways on one site, each sends its own.
    pub documents: u64,
    /// What they count, guard by guard and device by device.
    pub tally: Tally,
    /// Runs that had to be walked.
    pub mandatory: Mandatory,
}

/// Sums that can be compared, whatever they are of: a day, a site, a guard or all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sums {
    /// How many daily reports they rest on.
    pub documents: u64,
    /// The figures of a daily report.
    pub figures: Figures,
    /// Runs that had to be walked.
    pub mandatory: Mandatory,
    /// When agents were down.
    pub blind: Blindness,
    /// When devices were.
    pub outages: Outages,
}

/// Closed runs of mandatory tours, from the tour log: the figures of a day count those of optional tours as well.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Mandatory {
    /// All of them.
    pub closed: u64,
    /// Of these: nothing was scanned.
    pub missed: u64,
}

/// Time in which agents were down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Blindness {
    /// How many intervals; one that goes on past midnight is one of the site, and one of each day.
    pub intervals: u64,
    /// How long together.
    pub ms: u64,
}

/// How devices failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Outages {
    /// How many devices did, of each day or site.
    pub devices: u64,
    /// How often they fell silent.
    pub outages: u64,
    /// How long they were silent.
    pub down_ms: u64,
    /// How often a clock turned out to be wrong.
    pub clock_wrong: u64,
}

const fn add(sum: &mut u64, more: u64) {
    // What gateways send may hold any number, and must not stop whoever adds it up.
    *sum = sum.saturating_add(more);
}

impl Summary {
    /// Counts a day, if it was asked for.
    pub fn on_day(&mut self, asked: &Asked, day: &Day) {
        if !asked.includes(&day.place, day.date) {
            return;
        }
        let one = SiteSums { documents: 1, tally: day.tally.clone(), mandatory: Mandatory::default() };
        self.days.entry(day.date).or_default().merge(&one.sums());
        self.sites.entry(day.place.clone()).or_default().merge(&one);
    }

    /// Counts a run, if it was due in the range.
    pub fn on_run(&mut self, asked: &Asked, run: &Run) {
        let Some(date) = due_on(asked, &run.place, run.entry.scheduled_at) else { return };
        if !run.entry.mandatory {
            return;
        }
        let one = Mandatory { closed: 1, missed: u64::from(run.entry.status == RunStatus::Missed) };
        self.days.entry(date).or_default().mandatory.merge(one);
        self.sites.entry(run.place.clone()).or_default().mandatory.merge(one);
    }

    /// Adds that of other days or other sites.
    pub fn merge(&mut self, other: &Self) {
        other.days.iter().for_each(|(date, sums)| self.days.entry(*date).or_default().merge(sums));
        other.sites.iter().for_each(|(place, sums)| self.sites.entry(place.clone()).or_default().merge(sums));
    }
}

/// On which day of its site's calendar something happened; `None` if that was not asked for.
pub(super) fn due_on(asked: &Asked, place: &Place, at: Timestamp) -> Option<Date> {
    let date = at.local_date(asked.zone(place)?);
    asked.includes(place, date).then_some(date)
}

impl SiteSums {
    /// Without what only one site can tell.
    pub fn sums(&self) -> Sums {
        let mut sums = Sums {
            documents: self.documents,
            figures: self.tally.total.clone(),
            mandatory: self.mandatory,
            ..Sums::default()
        };
        for (from, to) in self.tally.blind.iter() {
            add(&mut sums.blind.intervals, 1);
            add(&mut sums.blind.ms, u64::try_from(to.since(from).millis()).unwrap_or(0));
        }
        for failures in self.tally.devices.values() {
            add(&mut sums.outages.devices, 1);
            add(&mut sums.outages.outages, failures.outages);
            add(&mut sums.outages.down_ms, failures.down_ms);
            add(&mut sums.outages.clock_wrong, failures.clock_wrong);
        }
        sums
    }

    fn merge(&mut self, other: &Self) {
        add(&mut self.documents, other.documents);
        self.tally.merge(&other.tally);
        self.mandatory.merge(other.mandatory);
    }
}

impl Sums {
    /// From the instant at which rules held until their alerts were raised, and until their status was final: all rules
    /// together, because a control room answers for all of them.
    pub fn delays(&self) -> (Lengths, Lengths) {
        let (mut detection, mut resolution) = (Lengths::default(), Lengths::default());
        for alerts in self.figures.alerts.values() {
            detection.merge(alerts.detection);
            resolution.merge(alerts.resolution);
        }
        (detection, resolution)
    }

    /// Adds those of another day, site or guard.
    pub fn merge(&mut self, other: &Self) {
        add(&mut self.documents, other.documents);
        self.figures.merge(&other.figures);
        self.mandatory.merge(other.mandatory);
        add(&mut self.blind.intervals, other.blind.intervals);
        add(&mut self.blind.ms, other.blind.ms);
        add(&mut self.outages.devices, other.outages.devices);
        add(&mut self.outages.outages, other.outages.outages);
        add(&mut self.outages.down_ms, other.outages.down_ms);
        add(&mut self.outages.clock_wrong, other.outages.clock_wrong);
    }
}

impl Mandatory {
    /// Adds those of another day or site.
    pub const fn merge(&mut self, other: Self) {
        add(&mut self.closed, other.closed);
        add(&mut self.missed, other.missed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reports::Site;
    use chrono_tz::Tz;
    use proptest::prelude::*;
    use vigil_core::alert::Rule;
    use vigil_core::id::{DeviceId, GuardId};

    fn sites() -> Vec<Site> {
        let place = |name: &&str| Place::parse(name).unwrap();
        let site = |name| Site { place: place(name), name: "a site".into(), timezone: Tz::Asia__Kolkata };
        ["acme/a", "acme/b", "bolt/a"].iter().map(site).collect()
    }

    fn date(day: u32) -> Date {
        format!("2026-03-{day:02}").parse().unwrap()
    }

    /// A day with something in every corner that merges in a way of its own.
    fn day(site: usize, day: u32, n: u64) -> Day {
        let mut tally = Tally::default();
        let from = Timestamp::parse(&format!("2026-03-{day:02}T00:00:00Z")).unwrap();
        let hours = vigil_core::time::Span::from_hours;
        // Some of these go on until the next day begins.
        tally.blind.add(from + hours(20), from + hours(20 + i64::try_from(n % 5).unwrap()));
        tally.total.runs.closed = n;
        tally.total.alerts.entry(Rule::Inactivity).or_default().detection.longest_ms = n * 7 % 50;
        tally.total.tasks.response.percents.insert(u32::try_from(n % 9).unwrap(), n);
        let guard = GuardId::new(&format!("G-{}", n % 3)).unwrap();
        tally.guards.entry(guard).or_default().runs.compliant = n;
        let failures = tally.devices.entry(DeviceId::new("hs-1").unwrap()).or_default();
        (failures.down_ms, failures.clock_off_ms) = (n, n * 13 % 40);
        Day { place: sites()[site].place.clone(), date: date(day), tally }
    }

    fn count(asked: &Asked, days: &[Day]) -> Summary {
        let mut summary = Summary::default();
        days.iter().for_each(|day| summary.on_day(asked, day));
        summary
    }

    proptest! {
        #[test]
        fn the_sums_of_two_ranges_are_those_of_both(
            days in prop::collection::vec((0_usize..3, 1_u32..20, 0_u64..100), 0..40),
            cut in 1_u32..19,
        ) {
            let days: Vec<Day> = days.into_iter().map(|(site, date, n)| day(site, date, n)).collect();
            let (early, late) = (Asked::of(sites(), date(1), date(cut)), Asked::of(sites(), date(cut + 1), date(19)));
            let mut merged = count(&early, &days);
            merged.merge(&count(&late, &days));
            let whole = Asked::of(sites(), date(1), date(19));
            let at_once = count(&whole, &days);
            prop_assert_eq!(&merged, &at_once);

            let (first, others) = (sites()[..1].to_vec(), sites()[1..].to_vec());
            let mut merged = count(&Asked::of(others, date(1), date(19)), &days);
            merged.merge(&count(&Asked::of(first, date(1), date(19)), &days));
            prop_assert_eq!(&merged, &at_once);
        }
    }

    #[test]
    fn what_was_not_asked_for_is_not_counted() {
        let asked = Asked::of(sites()[..1].to_vec(), date(2), date(3));
        let days = [day(0, 1, 5), day(0, 2, 7), day(0, 4, 11), day(1, 2, 13), day(2, 2, 17)];
        let summary = count(&asked, &days);
        assert_eq!(summary.days.values().map(|sums| sums.figures.runs.closed).sum::<u64>(), 7);
        assert_eq!(summary.sites.len(), 1);
    }
}
