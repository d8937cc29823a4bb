//! The wall clock of the site: zones with odd offsets, hours that do not exist, and hours that come twice.

// All of it is test code: a failed unwrap is a failed test.
#![cfg(test)]

use chrono_tz::Tz;
use vigil_core::alert::{Evidence, Rule};
use vigil_core::observation::{Attendance, AttendanceAction, Heartbeat, Kind};
use vigil_core::roster;
use vigil_core::site::{Shift, ShiftHours, Site, SiteParts};
use vigil_core::time::{Days, LocalTime, Span, Timestamp};
use vigil_tests::night::{Night, id, mins, plant_7, tour, with_policy};

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn clock(text: &str) -> LocalTime {
    LocalTime::parse(text).unwrap()
}

fn plant_in(zone: Tz, change: impl FnOnce(&mut SiteParts)) -> Site {
    let mut parts = plant_7();
    parts.timezone = zone;
    change(&mut parts);
    Site::new(parts).unwrap()
}

/// The instant of the only start of a tour at this wall-clock time within a day from `noon` on.
fn start_of(zone: Tz, noon: &str, time: &str) -> Vec<String> {
    let site = plant_in(zone, |parts| parts.tours.push(tour("round", &[time], mins(30))));
    let starts = roster::starts(&site, at(noon), at(noon) + Span::from_hours(24));
    starts.into_iter().map(|(at, _)| at.to_string()).collect()
}

#[test]
fn a_tour_starts_once_whatever_the_clocks_do() {
    use chrono_tz::{Africa, America, Asia, Australia, Europe, Pacific};
    let table: [(Tz, &str, &str, &str); 12] = [
        // Skipped: the first instant that exists.
        (Europe::Berlin, "2026-03-28T11:00:00Z", "02:30", "2026-03-29T01:00:00.000Z"),
        (Europe::Berlin, "2026-03-28T11:00:00Z", "02:00", "2026-03-29T01:00:00.000Z"),
        (Europe::Berlin, "2026-03-28T11:00:00Z", "01:59", "2026-03-29T00:59:00.000Z"),
        // Doubled: the first of the two.
        (Europe::Berlin, "2026-10-24T10:00:00Z", "02:30", "2026-10-25T00:30:00.000Z"),
        (Europe::Berlin, "2026-10-24T10:00:00Z", "02:00", "2026-10-25T00:00:00.000Z"),
        (Europe::Berlin, "2026-10-24T10:00:00Z", "03:00", "2026-10-25T02:00:00.000Z"),
        // Half an hour of daylight saving: 02:00 to 02:30 is skipped, 01:30 to 02:00 comes twice.
        (Australia::Lord_Howe, "2026-10-03T02:00:00Z", "02:15", "2026-10-03T15:30:00.000Z"),
        (Australia::Lord_Howe, "2026-04-04T02:00:00Z", "01:45", "2026-04-04T14:45:00.000Z"),
        // Midnight itself is skipped.
        (Africa::Cairo, "2026-04-23T10:00:00Z", "00:00", "2026-04-23T22:00:00.000Z"),
        // Three quarters of an hour.
        (Asia::Kathmandu, "2026-03-10T06:00:00Z", "22:00", "2026-03-10T16:15:00.000Z"),
        (Pacific::Chatham, "2026-06-10T00:00:00Z", "22:00", "2026-06-10T09:15:00.000Z"),
        (America::St_Johns, "2026-06-10T12:00:00Z", "22:00", "2026-06-11T00:30:00.000Z"),
    ];
    for (zone, noon, time, expected) in table {
        assert_eq!(start_of(zone, noon, time), [expected], "{time} in {zone}");
    }
}

fn shift_in(zone: Tz, after: &str, from: &str, to: &str, pause: (&str, &str)) -> roster::Occurrence {
    let site = plant_in(zone, |parts| {
        let hours = ShiftHours::Weekly { days: Days::ALL, from: clock(from), to: clock(to) };
        let breaks = vec![(clock(pause.0), clock(pause.1))];
        parts.shifts.push(Shift { id: id("s"), guard: id("G-7"), hours, breaks });
    });
    let mut found = roster::shifts(&site, at(after), at(after) + Span::from_hours(24));
    assert_eq!(found.len(), 1);
    found.remove(0)
}

#[test]
fn a_night_shift_is_as_long_as_its_night() {
    let berlin = chrono_tz::Europe::Berlin;
    let hours = |after: &str| {
        let o = shift_in(berlin, after, "22:00", "06:00", ("00:15", "00:45"));
        o.ends_at.since(o.starts_at).millis() / 3_600_000
    };
    assert_eq!(hours("2026-03-27T12:00:00Z"), 8);
    assert_eq!(hours("2026-03-28T12:00:00Z"), 7, "the clocks go forward");
    assert_eq!(hours("2026-10-24T12:00:00Z"), 9, "the clocks go back");
}

#[test]
fn a_break_in_the_skipped_hour_does_not_exist_and_one_in_the_doubled_hour_is_the_first() {
    let berlin = chrono_tz::Europe::Berlin;
    let pause = ("02:15", "02:45");
    assert_eq!(shift_in(berlin, "2026-03-28T12:00:00Z", "22:00", "06:00", pause).breaks, []);
    let doubled = shift_in(berlin, "2026-10-24T12:00:00Z", "22:00", "06:00", pause).breaks;
    assert_eq!(doubled, [(at("2026-10-25T00:15:00Z"), at("2026-10-25T00:45:00Z"))]);
}

/// A guard who checked in long before, and whose living handset has not been touched for hours.
fn still_night(zone: Tz, from: &str, hours: i64) -> Night {
    let site = plant_in(zone, |parts| {
        with_policy(parts, |p| {
            // One signal is enough to see which evaluations there are.
            p.inactivity.min_evidence = vigil_core::policy::Permille::new(200).unwrap();
        });
    });
    let begin = at(from);
    let mut night = Night::on(site, begin);
    let kind = Attendance { action: AttendanceAction::CheckIn, guard: id("G-7"), biometric_permille: None };
    night.observe(begin, "hs-7", Kind::Attendance(kind));
    for minute in 0..60 * hours {
        night.observe(begin + mins(minute), "hs-7", Kind::Heartbeat(Heartbeat::default()));
    }
    night
}

/// When the alert of a still night comes, on the clock of the site, and whether in deep night.
fn found(night: &Night) -> Option<(String, bool)> {
    let alert = night.alerts_of(Rule::Inactivity).first().copied()?;
    let Evidence::Inactivity(evidence) = &alert.evidence else { return None };
    Some((alert.detected_at.to_string(), evidence.deep_night))
}

#[test]
fn monitored_hours_begin_and_end_by_the_clock_on_the_wall() {
    let kathmandu = chrono_tz::Asia::Kathmandu;
    // From 17:00 on the window is full at 19:00; the night begins at 20:00, which is 14:15 UTC.
    let night = still_night(kathmandu, "2026-03-10T11:15:00Z", 5);
    assert_eq!(found(&night), Some(("2026-03-10T14:15:00.000Z".into(), false)));
    // From 04:01 on it would be full after 06:00.
    assert_eq!(found(&still_night(kathmandu, "2026-03-09T22:16:00Z", 5)), None);
}

#[test]
fn both_passages_of_the_doubled_hour_are_deep_night() {
    // The windows are full at 02:20 summer time, and at 02:20 winter time an hour later.
    let berlin = chrono_tz::Europe::Berlin;
    for from in ["2026-10-24T22:20:00Z", "2026-10-24T23:20:00Z"] {
        let night = still_night(berlin, from, 3);
        let (detected_at, deep) = found(&night).unwrap();
        assert!(deep, "{detected_at}");
    }
    // Deep night ends at 05:00 winter time, 04:00 UTC, and not an hour earlier.
    let night = still_night(berlin, "2026-10-25T01:30:00Z", 3);
    assert_eq!(found(&night), Some(("2026-10-25T03:30:00.000Z".into(), true)));
    let night = still_night(berlin, "2026-10-25T02:00:00Z", 3);
    assert_eq!(found(&night), Some(("2026-10-25T04:00:00.000Z".into(), false)));
}

#[test]
fn a_window_over_the_change_is_two_hours_of_duty_and_not_of_the_clock() {
    for (zone, from) in [
        (chrono_tz::Europe::Berlin, "2026-03-29T00:00:00Z"),
        (chrono_tz::Europe::Berlin, "2026-10-25T00:00:00Z"),
        (chrono_tz::Australia::Lord_Howe, "2026-10-03T14:30:00Z"),
    ] {
        let night = still_night(zone, from, 3);
        let expected = (at(from) + mins(120)).to_string();
        assert_eq!(found(&night).map(|(at, _)| at), Some(expected), "{zone}");
    }
}
