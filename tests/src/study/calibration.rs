//! The model of phones held against the traces: the same figures of both, side by side.

use super::clock::{began, instant};
use super::draws::{Stream, chance};
use super::interval::{float, share};
use super::path::{Path, Place};
use super::receiver::{Make, Reading, Receiver};
use super::traces::{Labelled, Trace, sampled};
use crate::night::position;
use vigil_core::evidence::SignalState;
use vigil_core::geofence::distance_m;
use vigil_core::movement::{MAX_ACCURACY_M, displacement, summed_m, walked};
use vigil_core::site::Position;
use vigil_core::time::{Span, Timestamp};
use vigil_core::windows::TrailFix;

/// How phones behave that lie still, or whose carrier walks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Habit {
    /// How many phones.
    pub phones: usize,
    /// The share of fixes with at most 200 m stated.
    pub usable: f64,
    /// The share of usable fixes that repeat the position before.
    pub repeats: f64,
    /// What usable fixes state, at the 10th, 50th and 90th percentile, in metres.
    pub stated_m: [f64; 3],
    /// How far usable fixes are from their phone's median position, as a multiple of what they state: 50th and 90th.
    pub off: [f64; 2],
    /// What the summed rule adds up in an hour, sampled once a minute: the median phone, in metres.
    pub summed_m_an_hour: f64,
    /// The share of phones whose summed distance stays below 10 m over all of their time.
    pub summed_still: f64,
    /// The share of 20-minute windows that the estimator calls moving, still and unknown.
    pub states: [f64; 3],
}

/// The traces with one label.
pub fn of_traces(traces: &[Labelled], walks: bool) -> Option<Habit> {
    let with_label: Vec<&Trace> = traces.iter().filter(|t| t.walks == walks).map(|t| &t.trace).collect();
    habit(&with_label)
}

/// Phones of the model, as long and as often asked as the traces: every 30 s for 40 min.
pub fn of_model(make: Make, walks: bool, phones: usize, seed: u64) -> Option<Habit> {
    let traces: Vec<Trace> = (0..phones).map(|n| modelled(make, walks, seed, n, 30.0, 80)).collect();
    habit(&traces.iter().collect::<Vec<_>>())
}

fn modelled(make: Make, walks: bool, seed: u64, n: usize, every: f64, count: u32) -> Trace {
    let lasts = every * f64::from(count);
    let mut chance = chance(seed, 255, n, Stream::Receiver);
    let mut receiver = Receiver::of(make, &mut chance, (0.0, lasts));
    let mut path = Path::default();
    path.be(0.0, Place::MIDDLE);
    // Straight on, at a pace at which people walk.
    let pace = if walks { chance.between(1.0, 1.3) } else { 0.0 };
    path.be(lasts, Place { x: pace * lasts, y: 0.0 });
    let asked = (0..count).map(|k| every * f64::from(k));
    let told = asked.filter_map(|t| Some((t, receiver.fix(t, path.at(t), &mut chance)?)));
    told.map(|(t, reading)| (instant(t), trail_fix(reading))).collect()
}

#[expect(clippy::cast_possible_truncation, reason = "metres and m/s need no more than a short float")]
fn trail_fix(reading: Reading) -> TrailFix {
    let p = position(reading.place.y, reading.place.x);
    let speed_mps = reading.speed_mps.map(|s| s as f32);
    TrailFix { lat: p.lat, lon: p.lon, accuracy_m: reading.accuracy_m as f32, speed_mps }
}

fn usable(trace: &Trace) -> Trace {
    trace.iter().filter(|(_, f)| f.accuracy_m > 0.0 && f.accuracy_m <= MAX_ACCURACY_M).copied().collect()
}

fn habit(traces: &[&Trace]) -> Option<Habit> {
    let good: Vec<Trace> = traces.iter().map(|t| usable(t)).collect();
    let mut stated: Vec<f64> = good.iter().flatten().map(|(_, f)| f64::from(f.accuracy_m)).collect();
    let mut off: Vec<f64> = good.iter().flat_map(offs).collect();
    let pairs: Vec<bool> = good.iter().flat_map(|t| t.windows(2).map(|w| same(&w[0].1, &w[1].1))).collect();
    let mut sums: Vec<f64> = traces.iter().filter_map(|t| summed_an_hour(t)).collect();
    let still = traces.iter().filter(|t| summed_m(&minutely(t)) < 10.0).count();
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    let part = |n: usize, of: usize| share(count(n), count(of)).map(|f| f.value);
    Some(Habit {
        phones: traces.len(),
        usable: part(stated.len(), traces.iter().map(|t| t.len()).sum())?,
        repeats: part(pairs.iter().filter(|same| **same).count(), pairs.len())?,
        stated_m: [at(&mut stated, 0.1)?, at(&mut stated, 0.5)?, at(&mut stated, 0.9)?],
        off: [at(&mut off, 0.5)?, at(&mut off, 0.9)?],
        summed_m_an_hour: at(&mut sums, 0.5)?,
        summed_still: part(still, traces.len())?,
        states: states(traces),
    })
}

fn same(a: &TrailFix, b: &TrailFix) -> bool {
    // To a micro-degree, which is what the traces give.
    (a.lat - b.lat).abs() < 5e-7 && (a.lon - b.lon).abs() < 5e-7
}

fn offs(trace: &Trace) -> Vec<f64> {
    let middle =
        |of: fn(&TrailFix) -> f64| at(&mut trace.iter().map(|(_, f)| of(f)).collect::<Vec<_>>(), 0.5);
    let (Some(lat), Some(lon)) = (middle(|f| f.lat), middle(|f| f.lon)) else { return vec![] };
    let off = |f: &TrailFix| distance_m(Position { lat: f.lat, lon: f.lon }, Position { lat, lon });
    trace.iter().map(|(_, f)| off(f) / f64::from(f.accuracy_m)).collect()
}

fn ends(trace: &Trace) -> Option<(Timestamp, Timestamp)> {
    Some((trace.first()?.0, trace.last()?.0.just_after()))
}

fn minutely(trace: &Trace) -> Trace {
    ends(trace).map_or_else(Trace::new, |(from, to)| sampled(trace, from, to, Span::from_secs(60)))
}

#[expect(clippy::cast_precision_loss, reason = "a trace's milliseconds are exact in a float")]
fn summed_an_hour(trace: &Trace) -> Option<f64> {
    let (from, to) = ends(trace)?;
    Some(summed_m(&minutely(trace)) * 3_600_000.0 / to.since(from).millis() as f64)
}

fn states(traces: &[&Trace]) -> [f64; 3] {
    let labelled: Vec<Labelled> =
        traces.iter().map(|t| Labelled { file: String::new(), walks: false, trace: (*t).clone() }).collect();
    let found = super::traces::confusion(&labelled, Span::from_mins(20), Span::from_secs(60));
    let all: u64 = found.still.iter().sum();
    found.still.map(|n| float(n) / float(all.max(1)))
}

fn at(values: &mut [f64], q: f64) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    super::interval::quantile(values, q).map(|f| f.value)
}

/// How many of the model's phones at rest are called moving, still and unknown over a whole window of the rules.
pub fn two_hours_at_rest(make: Make, phones: usize, seed: u64, bound_m: f64) -> [u64; 3] {
    let (from, to) = (began(), instant(7_200.0));
    let state = |n: usize| {
        let fixes = usable(&modelled(make, false, seed, n, 60.0, 120));
        match displacement(&fixes, from, to, Some(bound_m)).state {
            _ if walked(&fixes) => 0,
            SignalState::Active => 0,
            SignalState::Inactive => 1,
            SignalState::Unobserved => 2,
        }
    };
    (0..phones).map(state).fold([0; 3], |mut sum, place: usize| {
        sum[place] += 1;
        sum
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_walks_and_rests_as_the_estimator_sees_it() {
        let rest = of_model(Make::Fused, false, 60, 1).unwrap();
        let walk = of_model(Make::Fused, true, 60, 1).unwrap();
        assert!(rest.states[1] > 0.8 && walk.states[0] > 0.95, "{rest:?} {walk:?}");
        assert!(rest.repeats > 0.4 && walk.repeats < 0.2);
        assert!(walk.summed_m_an_hour > 1_000.0);
        assert_eq!(two_hours_at_rest(Make::Fused, 20, 1, 142.5).iter().sum::<u64>(), 20);
    }
}
