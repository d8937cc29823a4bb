//! Movement that is real: a stay-point residual that GPS wander does not fool (rules, section 4).
//!
//! The result depends on the set of fixes in the window, not on the order in which they came.

use crate::evidence::SignalState;
use crate::geofence::distance_m;
use crate::site::Position;
use crate::time::{Span, Timestamp};
use crate::windows::TrailFix;
use serde::{Deserialize, Serialize};

/// A fix no better than this is no fix.
pub const MAX_ACCURACY_M: f32 = 200.0;
/// Assumed for a phone that gives no accuracy.
pub const PHONE_ACCURACY_M: f32 = 50.0;
/// Assumed for a GPS receiver that gives no accuracy.
pub const RECEIVER_ACCURACY_M: f32 = 15.0;

const SLOT_MS: i64 = 60_000;
const MIN_SIGMA_M: f64 = 5.0;
const AWAY_M: f64 = 15.0;
const WITNESS_MS: i64 = 600_000;
const WALK_MPS: f64 = 2.5;
const SPARSE_MS: f64 = 240_000.0;
const LONE_ACCURACY_M: f64 = 50.0;
const GOOD_EITHER_WAY: Span = Span::from_secs(300);
const WEISZFELD_STEPS: usize = 40;
/// Metres in one degree of latitude on the sphere that `geo` uses (radius 6,371,008.8 m).
const DEGREE_M: f64 = 111_195.080;

/// What the estimator says of one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Movement {
    /// Moving, not moving, or it cannot tell.
    pub state: SignalState,
    /// Seconds that the counting fixes stand for.
    pub moving_secs: i64,
    /// Usable fixes in the window.
    pub fixes: u32,
}

/// A fix that is used: the best of its slot, in local metres.
#[derive(Debug, Clone, Copy)]
struct Used {
    at_ms: i64,
    x: f64,
    y: f64,
    accuracy_m: f64,
    sigma: f64,
    /// 1/sigma^2.
    weight: f64,
}

impl Used {
    /// A plain root: unlike `hypot` it is one instruction, and the same to the last bit on every machine.
    fn distance_to(&self, (x, y): (f64, f64)) -> f64 {
        let (dx, dy) = (self.x - x, self.y - y);
        (dx * dx + dy * dy).sqrt()
    }
}

/// Judges the fixes of `[from, to)`. `accuracy_bound_m` is the largest error with which a fix can still prove
/// stillness on this site; `None` leaves every usable fix good enough.
pub fn displacement(
    fixes: &[(Timestamp, TrailFix)],
    from: Timestamp,
    to: Timestamp,
    accuracy_bound_m: Option<f64>,
) -> Movement {
    let used = one_for_each_slot(fixes, from);
    let counting = counting(&used);
    let moving_ms = standing_for_ms(&used, &counting, from, to);
    let window_ms = to.since(from).millis();
    let bound_ms = (window_ms * 6 / 100).max(60_000);
    let state = if moving_ms >= bound_ms {
        SignalState::Active
    } else if 2 * moving_ms <= bound_ms && proves_stillness(&used, from, to, accuracy_bound_m) {
        SignalState::Inactive
    } else {
        SignalState::Unobserved
    };
    Movement { state, moving_secs: moving_ms / 1_000, fixes: u32::try_from(fixes.len()).unwrap_or(u32::MAX) }
}

/// The classic sum of point-to-point distances in metres: kept as evidence, and as the rule of `movement = "summed"`.
pub fn summed_m(fixes: &[(Timestamp, TrailFix)]) -> f64 {
    let position = |f: &TrailFix| Position { lat: f.lat, lon: f.lon };
    fixes.windows(2).map(|w| distance_m(position(&w[0].1), position(&w[1].1))).sum()
}

/// Two usable fixes at walking speed, accurate to 30 m, at most 5 min apart.
pub fn walked(fixes: &[(Timestamp, TrailFix)]) -> bool {
    let walking =
        |f: &TrailFix| f.accuracy_m <= 30.0 && f.speed_mps.is_some_and(|s| (0.5..=3.0).contains(&s));
    let mut before: Option<Timestamp> = None;
    for (at, _) in fixes.iter().filter(|(_, f)| walking(f)) {
        if before.is_some_and(|b| at.since(b) <= Span::from_mins(5)) {
            return true;
        }
        before = Some(*at);
    }
    false
}

/// Step 1: the smallest accuracy of each slot, the latest on ties, in metres around the median position.
fn one_for_each_slot(fixes: &[(Timestamp, TrailFix)], from: Timestamp) -> Vec<Used> {
    let mut best: Vec<(i64, i64, TrailFix)> = Vec::new();
    for (at, fix) in fixes {
        let ms = at.since(from).millis();
        let slot = ms.div_euclid(SLOT_MS);
        match best.last_mut() {
            Some(last) if last.0 == slot => {
                if fix.accuracy_m <= last.2.accuracy_m {
                    *last = (slot, ms, *fix);
                }
            }
            Some(_) | None => best.push((slot, ms, *fix)),
        }
    }
    let lat0 = median(best.iter().map(|(_, _, f)| f.lat).collect());
    let lon0 = median(best.iter().map(|(_, _, f)| f.lon).collect());
    let east = DEGREE_M * lat0.to_radians().cos();
    let used = |(_, at_ms, f): &(i64, i64, TrailFix)| {
        let accuracy_m = f64::from(f.accuracy_m);
        let sigma = accuracy_m.max(MIN_SIGMA_M);
        let (x, y) = ((f.lon - lon0) * east, (f.lat - lat0) * DEGREE_M);
        Used { at_ms: *at_ms, x, y, accuracy_m, sigma, weight: 1.0 / (sigma * sigma) }
    };
    best.iter().map(used).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.get(middle), values.len() % 2) {
        (Some(high), 0) => values.get(middle.wrapping_sub(1)).map_or(*high, |low| f64::midpoint(*low, *high)),
        (Some(high), _) => *high,
        (None, _) => 0.0,
    }
}

/// Step 2: the geometric median with weights 1/sigma^2.
fn centre(used: &[Used]) -> (f64, f64) {
    let mut at = mean(used, |u| u.weight);
    for _ in 0..WEISZFELD_STEPS {
        let next = mean(used, |u| u.weight / u.distance_to(at).max(1.0));
        if next == at {
            // Every further step would give the same.
            break;
        }
        at = next;
    }
    at
}

fn mean(used: &[Used], weight: impl Fn(&Used) -> f64) -> (f64, f64) {
    let sum = used.iter().fold((0.0, 0.0, 0.0), |(sx, sy, sw), u| {
        let w = weight(u);
        (sx + w * u.x, sy + w * u.y, sw + w)
    });
    if sum.2 > 0.0 { (sum.0 / sum.2, sum.1 / sum.2) } else { (0.0, 0.0) }
}

/// Steps 3 and 4: which fixes are away from the centre, with a witness.
fn counting(used: &[Used]) -> Vec<bool> {
    let centre = centre(used);
    let away: Vec<bool> = used.iter().map(|u| u.distance_to(centre) > AWAY_M + 2.0 * u.sigma).collect();
    let sparse = median_spacing_ms(used).is_some_and(|s| s >= SPARSE_MS);
    let witnessed = |i: usize, j: Option<usize>| {
        let Some((j, other)) = j.and_then(|j| used.get(j).map(|u| (j, u))) else { return false };
        away.get(j) == Some(&true) && used.get(i).is_some_and(|u| is_witness(u, other))
    };
    let counts = |i: usize, u: &Used| {
        away.get(i) == Some(&true)
            && (witnessed(i, i.checked_sub(1))
                || witnessed(i, i.checked_add(1))
                || (sparse && u.accuracy_m <= LONE_ACCURACY_M))
    };
    used.iter().enumerate().map(|(i, u)| counts(i, u)).collect()
}

#[expect(clippy::cast_precision_loss, reason = "ten minutes of milliseconds are exact in a double")]
fn is_witness(a: &Used, b: &Used) -> bool {
    let apart_ms = (a.at_ms - b.at_ms).abs();
    let distance = a.distance_to((b.x, b.y));
    let reach = WALK_MPS * apart_ms as f64 / 1_000.0 + 2.0 * a.sigma.max(b.sigma);
    apart_ms <= WITNESS_MS && distance >= 1.0 && distance <= reach
}

#[expect(clippy::cast_precision_loss, reason = "a window's milliseconds are exact in a double")]
fn median_spacing_ms(used: &[Used]) -> Option<f64> {
    let gaps: Vec<f64> = used.windows(2).map(|w| (w[1].at_ms - w[0].at_ms) as f64).collect();
    (!gaps.is_empty()).then(|| median(gaps))
}

/// Step 5: half the gap to each neighbour, bounded.
#[expect(clippy::cast_possible_truncation, reason = "at most 600,000 ms")]
fn standing_for_ms(used: &[Used], counting: &[bool], from: Timestamp, to: Timestamp) -> i64 {
    let most = median_spacing_ms(used).map_or(90_000, |s| (1.2 * s).clamp(90_000.0, 600_000.0) as i64);
    let window_ms = to.since(from).millis();
    let stands_for = |(i, u): (usize, &Used)| {
        let before = match i.checked_sub(1).and_then(|j| used.get(j)) {
            Some(b) => (u.at_ms - b.at_ms) / 2,
            None => u.at_ms,
        };
        let behind = match used.get(i + 1) {
            Some(b) => (b.at_ms - u.at_ms) / 2,
            None => window_ms - u.at_ms,
        };
        (before + behind).min(most)
    };
    let counted = used.iter().enumerate().filter(|(i, _)| counting.get(*i) == Some(&true));
    counted.map(stands_for).sum()
}

/// Step 6: three fixes that are good enough, and cover half of the window.
fn proves_stillness(used: &[Used], from: Timestamp, to: Timestamp, bound_m: Option<f64>) -> bool {
    let good = |u: &&Used| bound_m.is_none_or(|bound| u.accuracy_m <= bound);
    let mut covered = crate::windows::Intervals::default();
    let mut count = 0;
    for u in used.iter().filter(good) {
        let at = from + Span::from_millis(u.at_ms);
        covered.add(at - GOOD_EITHER_WAY, at + GOOD_EITHER_WAY);
        count += 1;
    }
    count >= 3 && 2 * covered.within(from, to).millis() >= to.since(from).millis()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR_MS: i64 = 3_600_000;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + secs * 1_000)
    }

    fn fix(north_m: f64, east_m: f64, accuracy_m: f32) -> TrailFix {
        let (lat, lon) =
            (12.97 + north_m / DEGREE_M, 77.59 + east_m / (DEGREE_M * 12.97_f64.to_radians().cos()));
        TrailFix { lat, lon, accuracy_m, speed_mps: None }
    }

    fn judge(fixes: &[(Timestamp, TrailFix)]) -> Movement {
        displacement(fixes, at(0), at(HOUR_MS / 1_000), Some(45.0))
    }

    #[test]
    fn wander_on_a_desk_is_stillness_though_it_sums_to_hundreds_of_metres() {
        let wander = [(0.0, 0.0), (9.0, 4.0), (-6.0, 8.0), (3.0, -9.0)];
        let fixes: Vec<_> = (0..60)
            .map(|i| {
                let (n, e) = wander[i % 4];
                (at(60 * i64::try_from(i).unwrap()), fix(n, e, 12.0))
            })
            .collect();
        assert_eq!(judge(&fixes).state, SignalState::Inactive);
        assert!(summed_m(&fixes) > 500.0);
    }

    #[test]
    fn a_walk_is_movement() {
        let fixes: Vec<_> = (0..60)
            .map(|i| (at(60 * i), fix(60.0 * f64::from(i32::try_from(i % 8).unwrap()), 0.0, 8.0)))
            .collect();
        assert_eq!(judge(&fixes).state, SignalState::Active);
    }

    #[test]
    fn one_wild_fix_is_no_walk() {
        // Three minutes apart: if it counted, it would stand for most of what makes a walk.
        let mut fixes: Vec<_> = (0..20).map(|i| (at(180 * i), fix(0.0, 0.0, 8.0))).collect();
        fixes[10].1 = fix(400.0, 0.0, 8.0);
        assert_eq!(judge(&fixes).state, SignalState::Inactive);
    }

    #[test]
    fn a_cached_position_repeated_is_no_witness() {
        let mut fixes: Vec<_> = (0..60).map(|i| (at(60 * i), fix(0.0, 0.0, 8.0))).collect();
        for (_, f) in &mut fixes[30..35] {
            *f = fix(100.0, 0.0, 8.0);
        }
        assert_eq!(judge(&fixes).state, SignalState::Inactive);
    }

    #[test]
    fn coarse_fixes_prove_nothing_on_a_small_site() {
        let fixes: Vec<_> = (0..60).map(|i| (at(60 * i), fix(0.0, 0.0, 60.0))).collect();
        assert_eq!(judge(&fixes).state, SignalState::Unobserved);
        assert_eq!(displacement(&fixes, at(0), at(3_600), None).state, SignalState::Inactive);
    }

    #[test]
    fn nothing_is_no_evidence() {
        assert_eq!(judge(&[]), Movement { state: SignalState::Unobserved, moving_secs: 0, fixes: 0 });
    }

    #[test]
    fn two_fixes_at_walking_speed_are_a_walk() {
        let walking = |s, speed| (at(s), TrailFix { speed_mps: Some(speed), ..fix(0.0, 0.0, 20.0) });
        assert!(walked(&[walking(0, 1.2), walking(300, 0.5)]));
        assert!(!walked(&[walking(0, 1.2), walking(301, 1.2)]));
        assert!(!walked(&[walking(0, 1.2), walking(60, 9.0)]));
    }

    proptest! {
        #[test]
        fn any_fixes_give_a_verdict(raw in prop::collection::vec((0_i64..3_600, -500.0..500.0_f64, -500.0..500.0_f64, 0.1_f32..200.0), 0..80)) {
            let mut fixes: Vec<_> = raw.iter().map(|(s, n, e, a)| (at(*s), fix(*n, *e, *a))).collect();
            fixes.sort_by_key(|(t, _)| *t);
            let verdict = judge(&fixes);
            prop_assert!((0..=3_600).contains(&verdict.moving_secs));
        }
    }
}
