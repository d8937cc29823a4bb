//! Runs when the clock on the wall jumps, and around midnight: time to start and to walk is time that passes.

use chrono_tz::Tz;
use vigil_core::alert::Rule;
use vigil_core::site::Site;
use vigil_core::time::{Days, Span, Timestamp};
use vigil_tests::night::{Night, mins, plant_7, secs, tour};

fn utc(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn night_in(zone: Tz, starts: &[&str], days: Days, began: &str) -> Night {
    let mut parts = plant_7();
    parts.timezone = zone;
    parts.tours = vec![vigil_core::site::Tour { days, ..tour("a", starts, mins(40)) }];
    Night::on(Site::new(parts).unwrap(), utc(began))
}

#[test]
fn a_run_of_the_skipped_or_the_doubled_hour_has_its_whole_time() {
    use chrono_tz::{Australia::Lord_Howe, Europe::Berlin};
    let table = [
        (Berlin, "02:30", "2026-03-28T20:00:00Z", "2026-03-29T01:00:00Z"),
        // The first 02:30; grace and duration reach over the second.
        (Berlin, "02:30", "2026-10-24T20:00:00Z", "2026-10-25T00:30:00Z"),
        (Lord_Howe, "02:15", "2026-10-03T10:00:00Z", "2026-10-03T15:30:00Z"),
        (Lord_Howe, "01:45", "2026-04-04T10:00:00Z", "2026-04-04T14:45:00Z"),
        (chrono_tz::Asia::Kathmandu, "00:15", "2026-03-10T12:00:00Z", "2026-03-10T18:30:00Z"),
    ];
    for (zone, start, began, scheduled_at) in table {
        let mut night = night_in(zone, &[start], Days::ALL, began);
        let due = utc(scheduled_at);
        night.until(due + mins(71));
        let run = night.the_run();
        let expected = (due, due + mins(30), due + mins(70));
        assert_eq!((run.scheduled_at, run.start_by, run.close_by), expected, "{start} in {zone}");
        let alert = night.the_alert(Rule::TourMissed);
        assert_eq!(alert.subject.to_string(), format!("run:a@{due}"));
        assert_eq!(alert.detected_at, (due + mins(30)).just_after());
    }
}

#[test]
fn two_starts_that_the_clock_brings_together_are_one_run() {
    let mut night = night_in(
        chrono_tz::Europe::Berlin,
        &["02:00", "02:30", "03:00", "03:30"],
        Days::ALL,
        "2026-03-28T20:00:00Z",
    );
    night.until(utc("2026-03-29T06:00:00Z"));
    let runs: Vec<String> = night.runs().iter().map(|r| r.scheduled_at.to_string()).collect();
    assert_eq!(runs, ["2026-03-29T01:00:00.000Z", "2026-03-29T01:30:00.000Z"]);
}

/// 13 March 2026 is a Friday.
#[test]
fn a_start_after_midnight_belongs_to_the_day_that_has_begun() {
    let mut friday = Days::NONE;
    assert!(friday.insert("fri"));
    let starts = ["00:00", "00:30", "22:00", "23:59"];
    let mut night = night_in(chrono_tz::Asia::Kolkata, &starts, friday, "2026-03-11T00:00:00Z");
    let mut now = utc("2026-03-11T00:00:00Z");
    while now < utc("2026-03-16T00:00:00Z") {
        now = now + Span::from_hours(1) + secs(1);
        night.until(now);
    }
    let runs: Vec<String> = night.runs().iter().map(|r| r.scheduled_at.to_string()).collect();
    // By the clock in Kolkata 00:00, 00:30, 22:00 and 23:59 of Friday.
    let expected = [
        "2026-03-12T18:30:00.000Z",
        "2026-03-12T19:00:00.000Z",
        "2026-03-13T16:30:00.000Z",
        "2026-03-13T18:29:00.000Z",
    ];
    assert_eq!(runs, expected);
}
