//! Shifts and tours as they occur: the wall clock of the site turned into instants.

use crate::id::{GuardId, ShiftId, TourId};
use crate::site::{Shift, ShiftHours, Site};
use crate::time::{LocalTime, Span, Timestamp};
use chrono::{Days as DateStep, NaiveDate};
use serde::{Deserialize, Serialize};

/// One occurrence of a shift.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Occurrence {
    /// Of which shift.
    pub shift: ShiftId,
    /// Whose.
    pub guard: GuardId,
    /// Its start.
    pub starts_at: Timestamp,
    /// Its end.
    pub ends_at: Timestamp,
    /// Its rostered breaks.
    pub breaks: Vec<(Timestamp, Timestamp)>,
}

/// Every shift that starts in `(after, until]`, by start and id.
pub fn shifts(site: &Site, after: Timestamp, until: Timestamp) -> Vec<Occurrence> {
    let mut found: Vec<_> = site.shifts.iter().flat_map(|s| occurrences(site, s, after, until)).collect();
    found.sort_by(|a, b| (a.starts_at, &a.shift).cmp(&(b.starts_at, &b.shift)));
    found
}

fn occurrences(site: &Site, shift: &Shift, after: Timestamp, until: Timestamp) -> Vec<Occurrence> {
    let spans = match shift.hours {
        ShiftHours::Once { starts_at, ends_at } => vec![(starts_at, ends_at)],
        ShiftHours::Weekly { days, from, to } => dates(site, after, until)
            .filter(|date| days.on(*date))
            .map(|date| on_wall_clock(site, date, from, to))
            .collect(),
    };
    let inside = spans.into_iter().filter(|(start, _)| *start > after && *start <= until);
    inside.map(|(starts_at, ends_at)| occurrence(site, shift, starts_at, ends_at)).collect()
}

fn occurrence(site: &Site, shift: &Shift, starts_at: Timestamp, ends_at: Timestamp) -> Occurrence {
    let pauses = dates(site, starts_at, ends_at)
        .flat_map(|date| shift.breaks.iter().map(move |(from, to)| on_wall_clock(site, date, *from, *to)));
    let breaks = pauses
        .map(|(from, to)| (from.max(starts_at), to.min(ends_at)))
        .filter(|(from, to)| from < to)
        .collect();
    Occurrence { shift: shift.id.clone(), guard: shift.guard.clone(), starts_at, ends_at, breaks }
}

/// From `from` on `date` to the next `to` after it; equal times are a whole day.
fn on_wall_clock(site: &Site, date: NaiveDate, from: LocalTime, to: LocalTime) -> (Timestamp, Timestamp) {
    let end_date = if to > from { date } else { date.checked_add_days(DateStep::new(1)).unwrap_or(date) };
    (from.on(date, site.timezone), to.on(end_date, site.timezone))
}

/// Every start of a tour in `(after, until]`, by instant and id.
pub fn starts(site: &Site, after: Timestamp, until: Timestamp) -> Vec<(Timestamp, TourId)> {
    let mut found = Vec::new();
    for tour in &site.tours {
        for date in dates(site, after, until).filter(|date| tour.days.on(*date)) {
            found.extend(tour.start.iter().map(|time| (time.on(date, site.timezone), tour.id.clone())));
        }
    }
    found.retain(|(at, _)| *at > after && *at <= until);
    found.sort();
    found.dedup();
    found
}

/// The runs of one day, as the roster has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DueRuns {
    /// Of which day on the site's calendar.
    pub date: NaiveDate,
    /// Every run that is due on it, of mandatory and optional tours.
    pub scheduled: u64,
}

/// Counts the runs that are due on `date`. A run belongs to the day on which it is due, as it does in a daily report.
pub fn due_on(site: &Site, date: NaiveDate) -> DueRuns {
    // Further than any day reaches: which of them are of the day is asked of the calendar alone.
    let noon = LocalTime::hour(12).on(date, site.timezone);
    let around = starts(site, noon - Span::from_hours(36), noon + Span::from_hours(36));
    let of_the_day = around.iter().filter(|(at, _)| at.local_date(site.timezone) == date);
    DueRuns { date, scheduled: of_the_day.fold(0, |sum, _| sum + 1) }
}

/// The local dates that touch `[from, until]`, with one to spare on either side for DST and midnight.
fn dates(site: &Site, from: Timestamp, until: Timestamp) -> impl Iterator<Item = NaiveDate> + use<> {
    let day = DateStep::new(1);
    let first = from.local_date(site.timezone).checked_sub_days(day).unwrap_or(NaiveDate::MIN);
    let last = until.local_date(site.timezone).checked_add_days(day).unwrap_or(NaiveDate::MAX);
    first.iter_days().take_while(move |date| *date <= last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::CheckpointId;
    use crate::site::{Checkpoint, Guard, Site, Tour, TourType, tests::empty_site};
    use crate::time::Days;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn a_night_shift_crosses_midnight_and_its_break_lies_behind_it() {
        let mut parts = empty_site();
        let guard = GuardId::new("G-1").unwrap();
        parts.guards.push(Guard { id: guard.clone(), name: "One".into(), badge: None });
        let (from, to) = (LocalTime::hour(20), LocalTime::hour(6));
        parts.shifts.push(Shift {
            id: ShiftId::new("s").unwrap(),
            guard,
            hours: ShiftHours::Weekly { days: Days::ALL, from, to },
            breaks: vec![(LocalTime::hour(0), LocalTime::parse("00:30").unwrap())],
        });
        let site = Site::new(parts).unwrap();
        let found = shifts(&site, at("2026-03-10T00:00:00Z"), at("2026-03-11T00:00:00Z"));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].starts_at, at("2026-03-10T20:00:00+05:30"));
        assert_eq!(found[0].ends_at, at("2026-03-11T06:00:00+05:30"));
        let pause = (at("2026-03-11T00:00:00+05:30"), at("2026-03-11T00:30:00+05:30"));
        assert_eq!(found[0].breaks, [pause]);
    }

    fn tour(id: &str, start: &[&str], days: Days, mandatory: bool) -> Tour {
        Tour {
            id: TourId::new(id).unwrap(),
            name: id.into(),
            kind: TourType::Routine,
            mandatory,
            checkpoints: vec![CheckpointId::new("cp-1").unwrap()],
            ordered: false,
            start: start.iter().map(|time| LocalTime::parse(time).unwrap()).collect(),
            days,
            duration: Span::from_mins(30),
            guard: None,
            min_dwell: None,
        }
    }

    #[test]
    fn the_runs_of_a_day_are_those_that_are_due_on_its_calendar() {
        let mut parts = empty_site();
        parts.timezone = chrono_tz::Europe::Berlin;
        parts.checkpoints.push(Checkpoint {
            id: CheckpointId::new("cp-1").unwrap(),
            name: "gate".into(),
            tag: None,
            position: None,
            sun_key: None,
        });
        let mut monday = Days::NONE;
        assert!(monday.insert("mon"));
        parts.tours = vec![
            tour("night", &["00:00", "02:30", "23:59"], Days::ALL, true),
            tour("round", &["12:00", "14:00"], monday, false),
        ];
        let site = Site::new(parts).unwrap();
        let due = |date: &str| due_on(&site, date.parse().unwrap());
        assert_eq!(due("2026-03-09"), DueRuns { date: "2026-03-09".parse().unwrap(), scheduled: 5 });
        assert_eq!(due("2026-03-10").scheduled, 3, "no Monday");
        // Of these nights one has no half past two, and one has it twice.
        assert_eq!((due("2026-03-29").scheduled, due("2026-10-25").scheduled), (3, 3));
    }
}
