//! `device_battery_low`: below 15 %, and over at 20 %.

use proptest::prelude::*;
use vigil_core::alert::{Rule, Severity, Status};
use vigil_core::time::{Span, Timestamp};
use vigil_tests::night::{Night, at, mins, secs};

/// A night in which the handset reports these charges, one a minute from 20:00 on.
fn reports(charges: &[u16]) -> Night {
    let mut night = Night::on_plant_7(|_| {});
    for (n, permille) in (0..).zip(charges) {
        night.battery(at("20:00") + mins(n), "G-7", *permille);
    }
    night.until(at("21:00"));
    night
}

#[test]
fn the_edges_are_at_15_and_at_20_percent() {
    // The charges; minutes of the raising, and of the clearing.
    type Row = (&'static [u16], Option<i64>, Option<i64>);
    let table: [Row; 8] = [
        (&[150], None, None),
        (&[149], Some(0), None),
        (&[1_000, 150, 149], Some(2), None),
        (&[149, 150, 199], Some(0), None),
        (&[149, 199, 200], Some(0), Some(2)),
        (&[149, 1_000], Some(0), Some(1)),
        (&[200, 199, 150], None, None),
        (&[0], Some(0), None),
    ];
    for (charges, raised, cleared) in table {
        let night = reports(charges);
        let found = night.alerts_of(Rule::DeviceBatteryLow);
        let minute = |n: i64| at("20:00") + mins(n);
        assert_eq!(found.first().map(|a| a.detected_at), raised.map(minute), "{charges:?}");
        assert_eq!(found.first().and_then(|a| a.cleared_at), cleared.map(minute), "{charges:?}");
        let status = if cleared.is_some() { Status::Resolved } else { Status::Detected };
        assert!(found.iter().all(|a| a.severity == Severity::Low && a.status == status), "{charges:?}");
    }
}

#[test]
fn one_episode_is_one_alert_and_the_next_is_another() {
    let night = reports(&[149, 140, 160, 140, 120, 200, 199, 149, 100]);
    let found: Vec<_> = night.alerts_of(Rule::DeviceBatteryLow).iter().map(|a| a.detected_at).collect();
    assert_eq!(found, [at("20:00"), at("20:07")]);
}

#[test]
fn it_is_judged_when_it_settled_and_not_before() {
    let mut night = Night::on_plant_7(|_| {});
    night.battery(at("20:00"), "G-7", 149);
    night.until(at("20:00") + Span::from_millis(4_999));
    assert!(night.alerts().is_empty());
    night.until(at("20:00") + secs(5));
    assert_eq!(night.the_alert(Rule::DeviceBatteryLow).detected_at, at("20:00"));
}

#[test]
fn what_was_low_before_a_newer_reading_raises_nothing() {
    let mut night = Night::on_plant_7(|_| {});
    night.battery(at("21:00"), "G-7", 800);
    night.until(at("21:01"));
    night.observe_late(at("20:00"), at("21:02"), "hs-7", Night::charge(50));
    // A backlog, oldest first: the handset was charged in the end.
    for (n, permille) in (0..).zip([140, 100, 60, 400]) {
        night.observe_late(at("21:10") + mins(n), at("21:30"), "hs-7", Night::charge(permille));
    }
    night.until(at("22:00"));
    assert!(night.alerts().is_empty(), "{:?}", night.alerts());
}

#[test]
fn a_backlog_that_ends_low_raises_by_its_newest_reading() {
    let mut night = Night::on_plant_7(|_| {});
    for (n, permille) in (0..).zip([400, 140, 100]) {
        night.observe_late(at("20:10") + mins(n), at("20:30"), "hs-7", Night::charge(permille));
    }
    night.until(at("20:30") + secs(5));
    assert_eq!(night.the_alert(Rule::DeviceBatteryLow).detected_at, at("20:12"));
}

#[test]
fn a_reading_that_has_not_settled_outlives_a_power_cut() {
    let mut night = Night::on_plant_7(|_| {});
    night.battery(at("20:00"), "G-7", 149);
    night.power_cut(at("20:00:02"), at("20:00:04"));
    night.until(at("20:01"));
    assert_eq!(night.the_alert(Rule::DeviceBatteryLow).detected_at, at("20:00"));
    night.power_cut(at("20:02"), at("20:03"));
    night.battery(at("20:05"), "G-7", 200);
    night.until(at("20:06"));
    assert_eq!(night.the_alert(Rule::DeviceBatteryLow).cleared_at, Some(at("20:05")));
}

fn seen(readings: &[(i64, u16)], order: &[usize]) -> Vec<(Timestamp, Option<Timestamp>)> {
    let mut night = Night::on_plant_7(|_| {});
    let received = at("20:00") + secs(5);
    for n in order {
        let (ms, permille) = readings[*n];
        let happened = at("20:00") + Span::from_millis(ms);
        night.observe_late(happened, received, "hs-7", Night::charge(permille));
    }
    night.until(at("20:30"));
    night.alerts().iter().map(|a| (a.detected_at, a.cleared_at)).collect()
}

proptest! {
    #[test]
    fn the_order_of_arrival_within_settle_changes_nothing(
        readings in prop::collection::vec((0_i64..5_000, prop::sample::select(vec![100_u16, 149, 150, 199, 200, 900])), 1..8),
        shuffle in any::<u64>(),
    ) {
        let forwards: Vec<usize> = (0..readings.len()).collect();
        let mut order = forwards.clone();
        order.sort_by_key(|n| shuffle.rotate_left(u32::try_from(*n).unwrap() * 7) ^ 0x9E37_79B9_7F4A_7C15);
        prop_assert_eq!(seen(&readings, &forwards), seen(&readings, &order));
    }
}
