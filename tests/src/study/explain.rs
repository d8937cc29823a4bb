//! The nights of a row in which our rule was wrong, one by one: for whoever wants to know why.

use super::clock::{instant, second};
use super::ground::Rule as Watching;
use super::run::Night;
use super::scenario::Scenario;
use super::trial::{Raised, alerts};
use super::verdict::{alert_of_tour, begun_in_time, judged_tours};
use std::fmt::Write;
use vigil_core::alert::{Rule, Status};
use vigil_core::evidence::Evidence;
use vigil_core::time::Timestamp;

/// What went wrong in the nights of a row: sleepers that were not found, false alerts with what they rest on, tours
/// that were begun in time and yet told to be missed by instruments that were observed, tours that were not and of
/// which nothing was told, and clocks that were called wrong: none is.
pub fn wrong(scenario: &Scenario, row: usize, nights: usize, seed: u64) -> String {
    let mut text = String::new();
    for n in 0..nights {
        let night = Night::of(scenario, seed, row, n);
        let all = alerts(night.plan.ground.site(Watching::Ours), &night.post);
        let inactivity: Vec<&Raised> = all.iter().filter(|r| r.first.rule == Rule::Inactivity).collect();
        let asleep = |at: Timestamp| night.life.sleeps_at(second(at));
        if !night.life.asleep.is_empty() && !inactivity.iter().any(|r| asleep(r.first.detected_at)) {
            missed(&mut text, n, &night);
        }
        for raised in inactivity.iter().filter(|r| !asleep(r.first.detected_at)) {
            accused(&mut text, n, &night, raised);
        }
        all.iter().for_each(|raised| wronged(&mut text, n, &night, raised));
        for hour in judged_tours(&night.plan).filter(|hour| !begun_in_time(&night.life, *hour)) {
            if alert_of_tour(&all, hour).is_none() {
                untold(&mut text, n, &night, hour);
            }
        }
        for raised in all.iter().filter(|r| r.first.rule == Rule::ClockSkew) {
            let (said, faults) = (&raised.first.summary, &night.plan.faults);
            let _ = writeln!(text, "night {n}: {said}; told {}; faults {faults:?}", raised.told_at);
        }
    }
    text
}

fn missed(text: &mut String, n: usize, night: &Night) {
    let spans: Vec<String> = night
        .life
        .asleep
        .iter()
        .map(|(a, b)| format!("{}-{}", clock(instant(*a)), clock(instant(*b))))
        .collect();
    let touched: u32 = night.life.asleep.iter().map(|(a, b)| night.life.touched(*a, *b)).sum();
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "night {n}: asleep {} and not found; {:?} phone, touched {touched} times in this sleep",
        spans.join(" and "),
        night.make
    );
}

fn accused(text: &mut String, n: usize, night: &Night, raised: &Raised) {
    let Evidence::Inactivity(e) = &raised.first.evidence else { return };
    let s = &e.signals;
    let signals = [("phone", &s.phone), ("movement", &s.movement), ("tasks", &s.tasks), ("tours", &s.tours)];
    let signals: Vec<String> =
        signals.iter().map(|(name, s)| format!("{name} {:?} ({})", s.state, s.count)).collect();
    let last = e.last_activity.as_deref().unwrap_or("nothing");
    let _ = writeln!(
        text,
        "night {n}: accused at {} (told {}), {:?}; score {}; {}; last {last} {:?} min before; {:?} phone; faults {:?}",
        clock(e.window_end),
        raised.told_at,
        raised.last.status,
        e.score,
        signals.join(", "),
        e.minutes_since,
        night.make,
        night.plan.faults
    );
}

fn wronged(text: &mut String, n: usize, night: &Night, raised: &Raised) {
    let Evidence::Run(run) = &raised.last.evidence else { return };
    let stands = raised.last.status != Status::FalsePositive && raised.first.rule == Rule::TourMissed;
    if stands && run.observed && begun_in_time(&night.life, second(run.scheduled_at)) {
        let begun = clock(run.scheduled_at);
        let _ = writeln!(
            text,
            "night {n}: the tour of {begun} was begun in time; faults {:?}",
            night.plan.faults
        );
    }
}

fn untold(text: &mut String, n: usize, night: &Night, hour: f64) {
    let around = night.life.taps.iter().filter(|(at, _)| (at - hour).abs() < 3_600.0);
    let taps: Vec<String> = around.map(|(at, place)| format!("{place} at {}", instant(*at))).collect();
    let hour = clock(instant(hour));
    let _ =
        writeln!(text, "night {n}: nothing told of the missed tour of {hour}; scanned {}", taps.join(", "));
}

fn clock(at: Timestamp) -> String {
    at.local_clock(chrono_tz::Asia::Kolkata)
}
