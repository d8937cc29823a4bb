//! How positions err: a model of what phones say of where they are.
//!
//! Two kinds of phones. **Fused** ones (Wi-Fi, cells, satellites mixed by the platform) are drawn as the eight still and
//! six walking traces of `evaluate --traces` behaved; the trace behind each figure stands beside it, and
//! [`super::calibration`] prints both side by side. **Satellite** ones give what the receiver gives; no trace shows
//! one, so theirs come from publications: errors of a receiver at rest are an Ornstein-Uhlenbeck process and no white
//! noise (Sensors 2020, 20, 6050), whose memory is about a minute for one receiver and many minutes for another
//! (D. L. Wilson, 24-hour logs of Garmin and Eagle); phones among houses are off by 7 to 13 m on average (PLOS ONE 2019,
//! 14, e0219890). Android's accuracy is the radius of 68 % confidence. That one phone in four is of the second kind is
//! assumed.

use super::draws::{events, exponential, log_between, lognormal, pick};
use super::path::{Place, Whereabouts};
use std::collections::VecDeque;
use vigil_agent::simulate::Chance;

/// One phone in so many is of the satellite kind (assumed).
const SATELLITE_SHARE: f64 = 0.25;
/// The radius of 68 % confidence as a multiple of the deviation of one axis, if both axes err alike.
const RADIUS_OF_68: f64 = 1.51;
/// Phones tell a position of their own up to so far off for as long as they lie there (assumed; it changes no movement).
const BIAS_M: f64 = 10.0;

/// What a phone says of where it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// Where it believes to be.
    pub place: Place,
    /// Its radius of 68 % confidence in metres.
    pub accuracy_m: f64,
    /// Its speed in m/s, if it gives one.
    pub speed_mps: Option<f64>,
}

/// How a receiver is disturbed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Jam {
    /// It gives no fix at all.
    Silent,
    /// It believes itself anywhere within kilometres, every time anew, and is sure of it.
    Scattered,
    /// It believes itself on a journey.
    Adrift,
    /// It believes itself at one far place, as near airports and borders.
    Elsewhere,
}

/// One phone's receiver over a night.
#[derive(Debug, Clone)]
pub struct Receiver {
    kind: Kind,
    jam: Option<(f64, f64, Jam)>,
    bias: Place,
    last: Option<Reading>,
}

/// Which kind of phone it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Make {
    /// The platform mixes what it has.
    Fused,
    /// The satellites alone.
    Satellite,
}

#[derive(Debug, Clone)]
enum Kind {
    Fused(Fused),
    Satellite(Satellite),
}

impl Receiver {
    /// Any phone.
    pub fn draw(chance: &mut Chance, night: (f64, f64)) -> Self {
        let satellite = chance.happens(SATELLITE_SHARE);
        Self::of(if satellite { Make::Satellite } else { Make::Fused }, chance, night)
    }

    /// A phone of that kind.
    pub fn of(make: Make, chance: &mut Chance, night: (f64, f64)) -> Self {
        let kind = match make {
            Make::Fused => Kind::Fused(Fused::draw(chance, night)),
            Make::Satellite => Kind::Satellite(Satellite::draw(chance, night)),
        };
        let bias = Place { x: BIAS_M * chance.normal(), y: BIAS_M * chance.normal() };
        Self { kind, jam: None, bias, last: None }
    }

    /// The same, disturbed for a time.
    #[must_use]
    pub fn jammed(mut self, from: f64, to: f64, jam: Jam) -> Self {
        self.jam = Some((from, to, jam));
        self
    }

    /// Its kind.
    pub const fn make(&self) -> Make {
        match self.kind {
            Kind::Fused(_) => Make::Fused,
            Kind::Satellite(_) => Make::Satellite,
        }
    }

    /// What it says at that second; `None`: it has no fix. Asked in order of time.
    pub fn fix(&mut self, second: f64, truth: Whereabouts, chance: &mut Chance) -> Option<Reading> {
        if let Some((from, to, jam)) = self.jam
            && from <= second
            && second < to
        {
            return jammed(jam, second - from, chance);
        }
        let reading = match &mut self.kind {
            Kind::Fused(fused) => fused.fix(second, truth, self.last, chance),
            Kind::Satellite(satellite) => satellite.fix(second, truth, chance),
        }?;
        self.last = Some(reading);
        Some(Reading { place: reading.place.plus(self.bias), ..reading })
    }
}

/// All figures assumed; what matters is that they are wrong by much more than they admit.
fn jammed(jam: Jam, since: f64, chance: &mut Chance) -> Option<Reading> {
    let accuracy_m = chance.between(5.0, 50.0);
    let (place, speed_mps) = match jam {
        Jam::Silent => return None,
        Jam::Scattered => {
            let far = 3_000.0 * chance.share().sqrt();
            (Place::polar(far, chance.between(0.0, std::f64::consts::TAU)), chance.between(0.0, 40.0))
        }
        Jam::Adrift => (Place { x: 15.0 * since, y: 4.0 * since }, 15.5),
        Jam::Elsewhere => {
            let wander = Place { x: 3.0 * chance.normal(), y: 3.0 * chance.normal() };
            (Place { x: 21_000.0, y: -8_000.0 }.plus(wander), 0.0)
        }
    };
    Some(Reading { place, accuracy_m, speed_mps: Some(speed_mps) })
}

/// A fused phone at rest: its spots, and the times in which it only knows the cell tower.
#[derive(Debug, Clone)]
struct Fused {
    rest: Rest,
    towers: VecDeque<(f64, f64, Reading)>,
    gives_speed: bool,
}

/// How a fused phone at rest behaves: one of the eight still traces, each as likely as the other.
#[derive(Debug, Clone, Copy)]
enum Rest {
    /// The same position again and again, another 9 m away now and then (01, 02, and 05 to 07 between towers; 03: 14 %).
    Repeats { elsewhere: f64 },
    /// A new position for every fix, within 8 m, with 30 to 36 m stated (04).
    Near,
    /// Two places 25 m apart, the further one with 50 to 97 m stated, for three fixes in ten (08).
    TwoPlaces,
}

/// For how much of the time a phone knows only the tower, and for how many seconds on end (05, 06, 07).
const TOWERS: [(f64, f64); 3] = [(0.24, 210.0), (0.80, 350.0), (0.14, 96.0)];

impl Fused {
    fn draw(chance: &mut Chance, night: (f64, f64)) -> Self {
        let trace = pick(chance, &[1, 2, 3, 4, 5, 6, 7, 8]);
        let rest = match trace {
            3 => Rest::Repeats { elsewhere: 0.14 },
            4 => Rest::Near,
            8 => Rest::TwoPlaces,
            _ => Rest::Repeats { elsewhere: 0.0 },
        };
        let towers = match trace {
            5..=7 => tower_spells(chance, night, TOWERS[trace - 5]),
            _ => VecDeque::new(),
        };
        // One of the six walking traces has speeds.
        Self { rest, towers, gives_speed: chance.happens(1.0 / 6.0) }
    }

    fn fix(
        &mut self,
        second: f64,
        truth: Whereabouts,
        last: Option<Reading>,
        chance: &mut Chance,
    ) -> Option<Reading> {
        if truth.speed_mps > 0.0 {
            return Some(self.walking(truth, last, chance));
        }
        while self.towers.front().is_some_and(|(_, to, _)| *to <= second) {
            self.towers.pop_front();
        }
        if let Some((from, _, tower)) = self.towers.front()
            && *from <= second
        {
            return Some(*tower);
        }
        let (off, accuracy_m) = match self.rest {
            Rest::Repeats { elsewhere } if chance.happens(elsewhere) => (Place { x: 9.0, y: 0.0 }, 20.0),
            Rest::Repeats { .. } => (Place::MIDDLE, chance.between(19.0, 21.0).round()),
            Rest::Near => (around(chance, 2.2), chance.between(30.0, 36.0).round()),
            Rest::TwoPlaces if chance.happens(0.3) => {
                (Place { x: -17.0, y: 19.0 }.plus(around(chance, 5.0)), chance.between(50.0, 97.0).round())
            }
            Rest::TwoPlaces => (around(chance, 2.0), chance.between(30.0, 39.0).round()),
        };
        Some(Reading { place: truth.place.plus(off), accuracy_m, speed_mps: Some(0.0) })
    }

    /// The six walking traces together: 9 % state more than 200 m, the others 10, 20, 21, 40 and 66 m at the 10th, 25th,
    /// 50th, 75th and 90th percentile, and every tenth repeats the position before. The error within is assumed normal.
    fn walking(&self, truth: Whereabouts, last: Option<Reading>, chance: &mut Chance) -> Reading {
        if let Some(last) = last.filter(|l| l.accuracy_m <= 200.0 && chance.happens(0.10)) {
            return last;
        }
        let accuracy_m = if chance.happens(0.09) {
            chance.between(208.0, 1_356.0)
        } else {
            lognormal(chance, 24.0, 0.7).clamp(5.0, 200.0)
        };
        let place = truth.place.plus(around(chance, accuracy_m / RADIUS_OF_68));
        let speed = if self.gives_speed { (truth.speed_mps + 0.3 * chance.normal()).max(0.0) } else { 0.0 };
        Reading { place, accuracy_m, speed_mps: Some(speed) }
    }
}

/// Spells of knowing only a tower 240 to 440 m away, with 390 to 965 m stated (05, 06, 07).
fn tower_spells(
    chance: &mut Chance,
    night: (f64, f64),
    (share, mean_secs): (f64, f64),
) -> VecDeque<(f64, f64, Reading)> {
    let between = mean_secs * (1.0 - share) / share;
    let mut spells = VecDeque::new();
    let mut now = night.0 + exponential(chance, between);
    while now < night.1 {
        let to = now + exponential(chance, mean_secs);
        let place = Place::polar(chance.between(240.0, 440.0), pick(chance, &[0.4, 2.2]));
        let accuracy_m = pick(chance, &[391.0, 700.0, 965.0]);
        spells.push_back((now, to, Reading { place, accuracy_m, speed_mps: Some(0.0) }));
        now = to + exponential(chance, between);
    }
    spells
}

fn around(chance: &mut Chance, deviation_m: f64) -> Place {
    Place { x: deviation_m * chance.normal(), y: deviation_m * chance.normal() }
}

/// A receiver that has only the satellites.
#[derive(Debug, Clone)]
struct Satellite {
    /// What it states indoors: 7 to 13 m among houses, more behind walls.
    indoors_m: f64,
    /// Its true error is so many times what it states: some are modest, some boast (assumed).
    honesty: f64,
    /// For how long an error lasts: a minute for one receiver, a quarter of an hour for another.
    memory_secs: f64,
    /// The share of fixes that it does not get indoors (assumed).
    lost: f64,
    wander: Place,
    wandered_at: f64,
    reflections: VecDeque<Reflection>,
}

/// A signal that comes by way of a wall: twice an hour for two minutes, 20 to 80 m off, hardly admitted (assumed).
#[derive(Debug, Clone, Copy)]
struct Reflection {
    from: f64,
    to: f64,
    off: Place,
}

impl Satellite {
    fn draw(chance: &mut Chance, night: (f64, f64)) -> Self {
        let times = events(chance, night.0, night.1, 1_800.0);
        let reflections = times.into_iter().map(|from| {
            let off = Place::polar(chance.between(20.0, 80.0), chance.between(0.0, std::f64::consts::TAU));
            Reflection { from, to: from + exponential(chance, 120.0), off }
        });
        let reflections = reflections.collect();
        Self {
            indoors_m: lognormal(chance, 13.0, 0.5).clamp(5.0, 60.0),
            honesty: chance.between(0.6, 1.4),
            memory_secs: log_between(chance, 60.0, 900.0),
            lost: chance.between(0.0, 0.4),
            wander: around(chance, 1.0),
            wandered_at: night.0,
            reflections,
        }
    }

    fn fix(&mut self, second: f64, truth: Whereabouts, chance: &mut Chance) -> Option<Reading> {
        let walks = truth.speed_mps > 0.0;
        // The wander of one metre's deviation, carried on by its own memory.
        let kept = (-(second - self.wandered_at).max(0.0) / self.memory_secs).exp();
        let fresh = around(chance, (1.0 - kept * kept).sqrt());
        self.wander = Place { x: kept * self.wander.x + fresh.x, y: kept * self.wander.y + fresh.y };
        self.wandered_at = second;
        if !walks && chance.happens(self.lost) {
            return None;
        }
        // Outdoors, on a tour: 4.9 m under an open sky, more beside walls.
        let stated =
            if walks { lognormal(chance, 7.0, 0.4) } else { self.indoors_m * lognormal(chance, 1.0, 0.15) };
        let scale = if walks { 7.0 } else { self.indoors_m } * self.honesty / RADIUS_OF_68;
        let mut place = truth.place.plus(Place { x: scale * self.wander.x, y: scale * self.wander.y });
        let mut speed = truth.speed_mps + 0.1 * chance.normal();
        let mut accuracy_m = stated.clamp(3.0, 200.0);
        while self.reflections.front().is_some_and(|r| r.to <= second) {
            self.reflections.pop_front();
        }
        if let Some(reflection) = self.reflections.front().filter(|r| r.from <= second) {
            place = place.plus(reflection.off);
            accuracy_m *= chance.between(1.0, 2.0);
            speed += chance.between(0.0, 1.0);
        }
        Some(Reading { place, accuracy_m, speed_mps: Some(speed.abs()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::draws::{Stream, chance};

    const STILL: Whereabouts = Whereabouts { place: Place::MIDDLE, speed_mps: 0.0 };

    fn night(make: Make, n: usize, jam: Option<Jam>) -> Vec<Option<Reading>> {
        let mut chance = chance(3, 0, n, Stream::Receiver);
        let mut receiver = Receiver::of(make, &mut chance, (0.0, 36_000.0));
        if let Some(jam) = jam {
            receiver = receiver.jammed(0.0, 36_000.0, jam);
        }
        (0..600).map(|m| receiver.fix(f64::from(m) * 60.0, STILL, &mut chance)).collect()
    }

    #[test]
    fn a_satellite_phone_at_rest_wanders_with_memory() {
        for n in 0..20 {
            let fixes: Vec<Reading> = night(Make::Satellite, n, None).into_iter().flatten().collect();
            let step: f64 = fixes.windows(2).map(|w| w[0].place.distance_m(w[1].place)).sum::<f64>() / 599.0;
            assert!(fixes.len() > 300 && step > 0.5, "it never stands still: {step}");
            assert!(fixes.iter().all(|r| r.place.distance_m(Place::MIDDLE) < 400.0));
        }
    }

    #[test]
    fn most_fused_phones_at_rest_repeat_themselves_or_hop_nearby() {
        let mut usable = 0;
        for n in 0..80 {
            for reading in night(Make::Fused, n, None).into_iter().flatten() {
                if reading.accuracy_m <= 200.0 {
                    usable += 1;
                    assert!(reading.place.distance_m(Place::MIDDLE) < 120.0, "{reading:?}");
                } else {
                    assert!(reading.accuracy_m > 390.0);
                }
            }
        }
        assert!((0.7..1.0).contains(&(f64::from(usable) / 48_000.0)), "{usable}");
    }

    #[test]
    fn a_jammed_phone_knows_nothing_or_worse() {
        assert!(night(Make::Fused, 0, Some(Jam::Silent)).iter().all(Option::is_none));
        let far = |jam| {
            night(Make::Satellite, 0, Some(jam))
                .into_iter()
                .flatten()
                .filter(|r| r.place.distance_m(Place::MIDDLE) > 300.0)
                .count()
        };
        assert!([Jam::Scattered, Jam::Adrift, Jam::Elsewhere].into_iter().all(|jam| far(jam) > 500));
    }
}
