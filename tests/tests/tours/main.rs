//! Tours (rules, section 6): each edge of a run, told as nights.

// All of it is test code: a failed unwrap is a failed test.
#![cfg(test)]

mod compliance;
mod edges;
mod escalation;
mod order;
mod risk;
mod sequence;
mod wall;

use vigil_core::site::Tour;
use vigil_core::time::Timestamp;
use vigil_tests::night::{Night, at, guard, mins, tour};

/// A night with one mandatory tour, due at 21:00: it may start until 21:30 and lasts until 22:10.
fn night_with(change: impl FnOnce(&mut Tour)) -> Night {
    Night::on_plant_7(|s| {
        let mut tour = tour("a", &["21:00"], mins(40));
        change(&mut tour);
        s.tours = vec![tour];
    })
}

/// The same with its guard there from 20:00 on.
fn watched_night(change: impl FnOnce(&mut Tour)) -> Night {
    let mut night = night_with(change);
    night.check_in(at("20:00"), "G-7");
    night
}

/// The tour is G-7's.
fn of_guard_7(tour: &mut Tour) {
    tour.guard = Some(guard("G-7"));
}

/// Checkpoints of a range, a minute apart.
fn scans(night: &mut Night, from: Timestamp, places: std::ops::Range<i64>) {
    for (n, place) in (0..).zip(places) {
        night.scan(from + mins(n), "G-7", &format!("cp-{place}"));
    }
}
