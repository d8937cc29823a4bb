//! Where a guard is at any instant: rounds from checkpoint to checkpoint, and his post between them.

use super::chance::Chance;
use super::scenario::{Behaviour, DAY, Scenario};
use vigil_core::site::Position;
use vigil_core::time::{Span, Timestamp};

/// How far the checkpoints lie from the middle, in metres: two minutes before a scan its guard is never
/// further from the checkpoint than the fraud rule allows (150 m).
const CIRCLE_M: f64 = 120.0;
/// How long a guard stays at a checkpoint.
const STAY: Span = Span::from_secs(40);
/// How long after his arrival he scans.
const SCAN_AFTER: Span = Span::from_secs(20);
/// Metres to a degree of latitude.
const DEGREE_M: f64 = 111_320.0;

/// Metres east and north of the middle of the site.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Place {
    pub(super) east: f64,
    pub(super) north: f64,
}

impl Place {
    /// The checkpoint of that number.
    #[expect(clippy::cast_precision_loss, reason = "a site has few checkpoints")]
    pub(super) fn of_checkpoint(scenario: &Scenario, index: usize) -> Self {
        let turn = std::f64::consts::TAU * index as f64 / scenario.checkpoints.max(1) as f64;
        Self { east: CIRCLE_M * turn.sin(), north: CIRCLE_M * turn.cos() }
    }

    pub(super) fn position(self, centre: Position) -> Position {
        let lat = centre.lat + self.north / DEGREE_M;
        Position { lat, lon: centre.lon + self.east / (DEGREE_M * centre.lat.to_radians().cos()) }
    }

    pub(super) fn distance_m(self, other: Self) -> f64 {
        (self.east - other.east).hypot(self.north - other.north)
    }

    fn towards(self, other: Self, share: f64) -> Self {
        let step = |from: f64, to: f64| from + (to - from) * share;
        Self { east: step(self.east, other.east), north: step(self.north, other.north) }
    }
}

/// One stay at a checkpoint.
#[derive(Debug, Clone, Copy)]
struct Stop {
    place: Place,
    arrives_at: Timestamp,
    leaves_at: Timestamp,
}

/// A tag held to the handset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tap {
    pub(super) at: Timestamp,
    pub(super) checkpoint: usize,
}

/// The whole night of one guard on his feet.
#[derive(Debug, Clone)]
pub(super) struct Patrol {
    post: Place,
    stops: Vec<Stop>,
    taps: Vec<Tap>,
    still_from: Option<Timestamp>,
}

/// One round that is to be walked.
struct Round {
    starts_at: Timestamp,
    path: Vec<usize>,
    scans: bool,
}

impl Patrol {
    pub(super) fn of(scenario: &Scenario, guard: usize, chance: &mut Chance) -> Self {
        let rounds = rounds(scenario, guard);
        let home = rounds.first().and_then(|round| round.path.first()).copied();
        let post = Place::of_checkpoint(scenario, home.unwrap_or(guard));
        let still_from = still_from(scenario, guard);
        let mut patrol = Self { post, stops: vec![], taps: vec![], still_from };
        for round in rounds {
            patrol.walk(scenario, &round, chance);
        }
        patrol.taps.retain(|tap| tap.at < still_from.unwrap_or(scenario.ends_at));
        patrol
    }

    fn walk(&mut self, scenario: &Scenario, round: &Round, chance: &mut Chance) {
        let pace_mps = chance.between(1.0, 1.3);
        // A guard sets off some time after the hour, never before, and not before he is home from the last round.
        let mut now = round.starts_at + secs(chance.between(0.0, 120.0));
        now = self.stops.last().map_or(now, |last| now.max(last.leaves_at));
        self.stand(self.post, now, Span::ZERO);
        let mut here = self.post;
        for checkpoint in &round.path {
            let place = Place::of_checkpoint(scenario, *checkpoint);
            now = now + secs(here.distance_m(place) / pace_mps);
            if round.scans {
                self.taps.push(Tap { at: now + SCAN_AFTER, checkpoint: *checkpoint });
            }
            self.stand(place, now, STAY);
            (now, here) = (now + STAY, place);
        }
        self.stand(self.post, now + secs(here.distance_m(self.post) / pace_mps), Span::ZERO);
    }

    fn stand(&mut self, place: Place, arrives_at: Timestamp, stay: Span) {
        self.stops.push(Stop { place, arrives_at, leaves_at: arrives_at + stay });
    }

    /// Where the guard is.
    pub(super) fn place(&self, at: Timestamp) -> Place {
        let at = self.still_from.map_or(at, |still| at.min(still));
        let next = self.stops.partition_point(|stop| stop.arrives_at <= at);
        let Some(last) = next.checked_sub(1).and_then(|n| self.stops.get(n)) else { return self.post };
        match self.stops.get(next) {
            Some(ahead) if at > last.leaves_at => {
                let (gone, whole) = (at.since(last.leaves_at), ahead.arrives_at.since(last.leaves_at));
                last.place.towards(ahead.place, share_of(gone, whole))
            }
            Some(_) | None => last.place,
        }
    }

    /// How far he walked in the minute before.
    pub(super) fn walked_m(&self, at: Timestamp) -> f64 {
        let place = |tens: i64| self.place(at - Span::from_secs(10 * tens));
        (0..6).map(|n| place(n).distance_m(place(n + 1))).sum()
    }

    /// The scans from `from` on and before `to`.
    pub(super) fn taps(&self, from: Timestamp, to: Timestamp) -> impl Iterator<Item = Tap> + '_ {
        self.taps.iter().copied().filter(move |tap| tap.at >= from && tap.at < to)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a walk lasts minutes, not centuries")]
fn share_of(part: Span, whole: Span) -> f64 {
    part.millis() as f64 / whole.millis().max(1) as f64
}

#[expect(clippy::cast_possible_truncation, reason = "whole seconds of a walk; tenths do not matter")]
fn secs(seconds: f64) -> Span {
    Span::from_secs(seconds.ceil() as i64)
}

fn still_from(scenario: &Scenario, guard: usize) -> Option<Timestamp> {
    let script = &scenario.guards.get(guard)?.behaviours;
    let still = script.iter().filter_map(|behaviour| match behaviour {
        Behaviour::FallsStill { at } => Some(scenario.starts_at + *at),
        Behaviour::HandsetDies { .. } | Behaviour::MissesTour { .. } | Behaviour::SendsSos { .. } => None,
    });
    still.min()
}

/// The rounds of a guard in order: his tours but those that he misses, else an hourly stroll without scans.
fn rounds(scenario: &Scenario, guard: usize) -> Vec<Round> {
    let mut rounds: Vec<Round> = tours(scenario, guard).collect();
    rounds.sort_by_key(|round| round.starts_at);
    if rounds.is_empty() {
        return strolls(scenario, guard).collect();
    }
    let script = scenario.guards.get(guard).map(|g| g.behaviours.as_slice()).unwrap_or_default();
    let mut run = 0..;
    rounds.retain(|_| !run.next().is_some_and(|run| script.contains(&Behaviour::MissesTour { run })));
    rounds
}

fn tours(scenario: &Scenario, guard: usize) -> impl Iterator<Item = Round> + '_ {
    let days = 0..=scenario.ends_at.since(scenario.starts_at).millis() / DAY.millis();
    let own = scenario.tours.iter().filter(move |tour| tour.guard == guard);
    own.flat_map(move |tour| {
        let starts = days.clone().flat_map(|day| tour.starts.iter().map(move |start| (day, *start)));
        let round = |(day, start): (i64, Span)| Round {
            starts_at: scenario.starts_at + start + Span::from_millis(day * DAY.millis()),
            path: tour.checkpoints.clone(),
            scans: true,
        };
        starts.map(round).filter(|round| round.starts_at < scenario.ends_at)
    })
}

fn strolls(scenario: &Scenario, guard: usize) -> impl Iterator<Item = Round> + '_ {
    let first = scenario.starts_at + Span::from_mins(2 + i64::try_from(guard * 11 % 45).unwrap_or(0));
    let starts = (0..).map(move |n| first + Span::from_hours(n));
    let places = scenario.checkpoints.max(1);
    starts.take_while(|at| *at < scenario.ends_at).map(move |starts_at| Round {
        starts_at,
        path: (0..places).map(|n| (n + guard) % places).collect(),
        scans: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patrol(scenario: &Scenario, guard: usize) -> Patrol {
        Patrol::of(scenario, guard, &mut Chance::of(1, guard))
    }

    #[test]
    fn every_run_but_the_missed_one_is_scanned_in_order_and_in_time() {
        let scenario = Scenario::demo();
        let walked = patrol(&scenario, 0);
        let tour = &scenario.tours[0];
        for (run, start) in tour.starts.iter().enumerate() {
            let from = scenario.starts_at + *start;
            let seen: Vec<_> = walked.taps(from, from + Span::from_mins(40)).map(|t| t.checkpoint).collect();
            assert_eq!(seen, if run == 0 { vec![] } else { tour.checkpoints.clone() }, "run {run}");
        }
    }

    #[test]
    fn a_guard_walks_and_does_not_fly() {
        let scenario = Scenario::quiet_night();
        for guard in 0..scenario.guards.len() {
            let walked = patrol(&scenario, guard);
            let mut before = walked.place(scenario.starts_at);
            for second in 1..9 * 3_600 {
                let here = walked.place(scenario.starts_at + Span::from_secs(second));
                assert!(here.distance_m(before) <= 1.35, "guard {guard} at {second} s");
                before = here;
            }
        }
    }

    #[test]
    fn who_scans_stands_at_the_checkpoint() {
        let scenario = Scenario::sized(3, 180, 5);
        for guard in 0..3 {
            let walked = patrol(&scenario, guard);
            let taps: Vec<_> = walked.taps(scenario.starts_at, scenario.ends_at).collect();
            assert!(taps.len() >= 12);
            for tap in taps {
                let place = Place::of_checkpoint(&scenario, tap.checkpoint);
                assert!(walked.place(tap.at).distance_m(place) < 0.01);
            }
        }
    }

    #[test]
    fn who_falls_still_stays() {
        let scenario = Scenario::demo();
        let still = patrol(&scenario, 2);
        let at = scenario.starts_at + Span::from_mins(20);
        let place = still.place(at);
        assert!((1..500).all(|m| still.place(at + Span::from_mins(m)) == place));
        assert!(still.walked_m(at + Span::from_mins(10)) < f64::EPSILON);
    }
}
