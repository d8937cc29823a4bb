//! More than twenty alerts of one rule within a minute are told as one.

use proptest::prelude::*;
use vigil_core::alert::{Alert, Rule, Severity, Status};
use vigil_core::evidence::{Evidence, StormEvidence};
use vigil_core::observation::{Heartbeat, Kind};
use vigil_core::policy::Maintenance;
use vigil_core::site::{Device, DeviceKind, FixMode, SiteParts};
use vigil_core::time::Timestamp;
use vigil_tests::night::{Night, at, id, secs, with_policy};

/// Readers that send heartbeats, beside what is on the plant anyway.
fn readers(parts: &mut SiteParts, count: usize) {
    parts.devices.extend((0..count).map(|n| Device {
        id: id(&format!("rd-{n:03}")),
        kind: DeviceKind::Reader,
        guard: None,
        checkpoint: Some(id("cp-1")),
        owntracks: None,
        topic: None,
        fixes: FixMode::Periodic,
    }));
}

fn lives(night: &mut Night, n: usize, at: Timestamp) {
    night.observe(at, &format!("rd-{n:03}"), Kind::Heartbeat(Heartbeat::default()));
}

/// A night in which these readers are heard at these seconds after 21:00 for the last time.
fn falls_silent(last_heard: &[i64]) -> Night {
    let mut night = Night::on_plant_7(|s| readers(s, last_heard.len()));
    let mut order: Vec<(i64, usize)> = last_heard.iter().enumerate().map(|(n, s)| (*s, n)).collect();
    order.sort_unstable();
    let last = order.last().map_or(0, |(second, _)| *second);
    for (second, n) in order {
        lives(&mut night, n, at("21:00") + secs(second));
    }
    night.until(at("21:00") + secs(last + 15 * 60 + 90));
    night
}

fn storm_of(alert: &Alert) -> &StormEvidence {
    let storm = if let Evidence::Storm(storm) = &alert.evidence { Some(storm) } else { None };
    storm.expect("the evidence of a storm")
}

#[test]
fn twenty_are_twenty_and_twenty_one_are_a_storm() {
    let night = falls_silent(&[0; 20]);
    assert_eq!((night.alerts_of(Rule::DeviceSilent).len(), night.alerts_of(Rule::Storm).len()), (20, 0));
    let night = falls_silent(&[0; 21]);
    assert_eq!(night.alerts_of(Rule::DeviceSilent).len(), 20, "those that were told before it was known");
    let alert = night.the_alert(Rule::Storm);
    let storm = storm_of(alert);
    assert_eq!((storm.rule, storm.count, storm.standing), (Rule::DeviceSilent, 21, 21));
    assert_eq!(storm.members.iter().filter(|m| m.told).count(), 20);
    assert_eq!(alert.subject.to_string(), "rule:device_silent");
    assert_eq!(alert.severity, Severity::Medium, "that of its worst member");
    assert_eq!(alert.detected_at, (at("21:15") + secs(1)).just_after());
}

#[test]
fn a_minute_is_sixty_seconds_exactly() {
    let spread = |gap: i64| {
        let mut last: Vec<i64> = vec![0; 20];
        last.push(gap);
        falls_silent(&last).alerts_of(Rule::Storm).len()
    };
    assert_eq!((spread(60), spread(61)), (1, 0));
}

#[test]
fn thirty_handsets_are_twenty_lines_and_one_storm_and_a_few_revisions() {
    let night = falls_silent(&[0; 120]);
    assert_eq!(night.alerts_of(Rule::DeviceSilent).len(), 20);
    let storm = night.the_alert(Rule::Storm);
    assert_eq!(storm_of(storm).count, 120);
    assert_eq!(storm.revision, 4, "begun with 21, then 42, 84, and all");
}

#[test]
fn it_gathers_as_long_as_the_next_comes_within_a_minute() {
    let mut last = vec![0; 21];
    last.extend([60, 120, 181]);
    let night = falls_silent(&last);
    assert_eq!(storm_of(night.the_alert(Rule::Storm)).count, 23);
    assert_eq!(night.alerts_of(Rule::DeviceSilent).len(), 21, "the last is by itself again");
}

#[test]
fn it_is_over_when_all_of_them_are() {
    let mut night = falls_silent(&[0; 25]);
    for n in 0..24 {
        lives(&mut night, n, at("22:00") + secs(10 * i64::try_from(n).unwrap()));
    }
    assert_eq!(night.the_alert(Rule::Storm).cleared_at, None);
    lives(&mut night, 24, at("22:10"));
    let storm = night.the_alert(Rule::Storm);
    assert_eq!((storm.cleared_at, storm.status), (Some(at("22:10") + secs(1)), Status::Resolved));
    assert_eq!(storm_of(storm).standing, 0);
    assert_eq!(night.alerts_of(Rule::DeviceSilent).len(), 20, "no held one was ever told");
}

#[test]
fn a_held_one_is_told_when_a_person_touches_it() {
    let mut night = falls_silent(&[0; 25]);
    let held = storm_of(night.the_alert(Rule::Storm)).members.iter().find(|m| !m.told).unwrap().alert;
    night.step(at("21:30"), held, Status::Verifying);
    let alert = *night.alerts().iter().find(|a| a.id == held).unwrap();
    assert_eq!((alert.revision, alert.status), (1, Status::Verifying));
}

#[test]
fn a_storm_that_somebody_has_closed_takes_no_more_in() {
    let mut night = Night::on_plant_7(|s| readers(s, 25));
    (0..21).for_each(|n| lives(&mut night, n, at("21:00")));
    (21..25).for_each(|n| lives(&mut night, n, at("21:00:40")));
    night.until(at("21:15:10"));
    let storm = night.the_alert(Rule::Storm).id;
    night.step(at("21:15:20"), storm, Status::Resolved);
    night.until(at("21:17"));
    assert_eq!(
        night.alerts_of(Rule::DeviceSilent).len(),
        24,
        "20 before it was known, and 4 after it was closed"
    );
    assert_eq!(storm_of(night.the_alert(Rule::Storm)).count, 21);
}

#[test]
fn a_clock_that_is_set_back_does_not_end_all_storms() {
    let mut night = Night::on_plant_7(|s| readers(s, 40));
    (0..15).for_each(|n| lives(&mut night, n, at("21:00")));
    (15..40).for_each(|n| lives(&mut night, n, at("21:10")));
    night.until(at("21:15:10"));
    assert_eq!(night.alerts_of(Rule::DeviceSilent).len(), 15);
    night.engine.set_back(at("20:30"));
    (15..40).for_each(|n| lives(&mut night, n, at("20:31")));
    night.until(at("20:50"));
    assert_eq!(night.alerts_of(Rule::Storm).len(), 1);
}

#[test]
fn a_restart_at_any_point_changes_nothing() {
    let whole = falls_silent(&[0; 40]);
    let mut night = Night::on_plant_7(|s| readers(s, 40));
    (0..40).for_each(|n| lives(&mut night, n, at("21:00")));
    for second in 0..90 {
        night.until(at("21:15") + secs(second));
        night.dies_and_lives_again();
    }
    assert_eq!(night.revisions(), whole.revisions());
}

#[test]
fn calls_for_help_are_never_a_storm() {
    let mut night = Night::on_plant_7(|s| readers(s, 30));
    for n in 0..30 {
        night.observe(at("21:00"), &format!("rd-{n:03}"), Kind::Sos(None));
    }
    assert_eq!((night.alerts_of(Rule::Sos).len(), night.alerts_of(Rule::Storm).len()), (30, 0));
}

#[test]
fn what_is_muted_makes_no_storm_until_it_is_told() {
    let mut night = Night::on_plant_7(|s| {
        readers(s, 30);
        let muted = Maintenance { starts_at: at("21:10"), ends_at: at("22:00"), rules: vec![] };
        with_policy(s, |p| p.maintenance = vec![muted]);
    });
    (0..30).for_each(|n| lives(&mut night, n, at("21:00")));
    night.until(at("21:59"));
    assert!(night.alerts().is_empty());
    night.until(at("22:05"));
    assert_eq!((night.alerts_of(Rule::DeviceSilent).len(), night.alerts_of(Rule::Storm).len()), (20, 1));
    assert_eq!(storm_of(night.the_alert(Rule::Storm)).count, 30);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Whatever falls silent when: each is told by itself or named by a storm, and never both unless it was first.
    #[test]
    fn nobody_is_lost_in_a_storm(last in prop::collection::vec(0_i64..400, 1..90)) {
        let night = falls_silent(&last);
        let told: Vec<_> = night.alerts_of(Rule::DeviceSilent).iter().map(|a| a.id).collect();
        let storms = night.alerts_of(Rule::Storm);
        let members: Vec<_> = storms.iter().flat_map(|s| &storm_of(s).members).collect();
        let held = members.iter().filter(|m| !m.told).count();
        prop_assert_eq!(told.len() + held, last.len());
        prop_assert!(members.iter().all(|m| m.told == told.contains(&m.alert)));
        prop_assert!(storms.iter().all(|s| storm_of(s).count > 20));
    }
}
