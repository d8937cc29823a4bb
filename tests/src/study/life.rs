//! One night as it was lived: where the handset was, when it was touched, what was scanned, and when the guard slept.

use super::clock::{END, HOUR, MINUTE, tour_hours};
use super::draws::{events, exponential};
use super::ground::CHECKPOINTS;
use super::path::{Path, Place};
use super::plan::{GLANCE_EVERY, Pause, Plan, Sleep};
use vigil_agent::simulate::Chance;
use vigil_core::observation::AttendanceAction;

/// Steps a second on foot.
const STEPS_EACH_SECOND: f64 = 1.8;
/// Four sleepers in ten have the handset in a pocket (assumed); turning over three times in two hours counts for
/// three steps each, because step counters wait for a rhythm (assumed).
const IN_POCKET: f64 = 0.4;
const TURNS_EVERY: f64 = 40.0 * MINUTE;

/// What was lived.
#[derive(Debug, Clone, Default)]
pub struct Life {
    /// Where the handset was.
    pub path: Path,
    /// When its carrier walked with it.
    pub walks: Vec<(f64, f64)>,
    /// Steps counted without a walk.
    pub stray_steps: Vec<(f64, u32)>,
    /// When it was touched, and how often.
    pub touches: Vec<(f64, u32)>,
    /// When a checkpoint was scanned, and which.
    pub taps: Vec<(f64, usize)>,
    /// When the guard slept without leave.
    pub asleep: Vec<(f64, f64)>,
    /// Attendance actions.
    pub attendance: Vec<(f64, AttendanceAction)>,
    /// When the guard was on duty.
    pub duty: (f64, f64),
}

/// A way out and back.
#[derive(Debug, Clone)]
struct Outing {
    from: f64,
    to: f64,
    stops: Vec<Stop>,
    takes_it_along: bool,
}

/// A stay on the way.
#[derive(Debug, Clone, Copy)]
struct Stop {
    place: Place,
    arrives: f64,
    leaves: f64,
    checkpoint: Option<usize>,
}

impl Life {
    /// Lives a plan.
    pub fn of(plan: &Plan, chance: &mut Chance) -> Self {
        let mut writer = Writer { plan, asleep: planned_sleep(plan), outings: vec![] };
        writer.walk_tours(chance);
        writer.fall_asleep_between_tours();
        writer.walk_a_little(chance);
        writer.life(chance)
    }

    /// Steps in `[from, to)`.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a minute has few steps")]
    pub fn steps(&self, from: f64, to: f64) -> u32 {
        let on_foot = self.walks.iter().filter(|w| w.0 < to && w.1 > from);
        let secs: f64 = on_foot.map(|w| self.path.walking_secs(from.max(w.0), to.min(w.1))).sum();
        let stray: u32 = within(&self.stray_steps, from, to).map(|(_, n)| n).sum();
        (secs * STEPS_EACH_SECOND).round() as u32 + stray
    }

    /// Touches in `[from, to)`.
    pub fn touched(&self, from: f64, to: f64) -> u32 {
        within(&self.touches, from, to).map(|(_, n)| n).sum()
    }

    /// Whether the guard sleeps without leave at that second.
    pub fn sleeps_at(&self, second: f64) -> bool {
        inside(&self.asleep, second)
    }

    /// The first second from `second` on at which the guard is free to act.
    pub fn awake_from(&self, plan: &Plan, second: f64) -> f64 {
        let mut now = second;
        loop {
            let pauses = plan.breaks.iter().map(|b| (b.from, b.to));
            let until =
                self.asleep.iter().copied().chain(pauses).find(|(from, to)| *from <= now && now < *to);
            match until {
                Some((_, to)) => now = to + MINUTE,
                None => return now,
            }
        }
    }
}

fn within<T: Copy>(all: &[(f64, T)], from: f64, to: f64) -> impl Iterator<Item = (f64, T)> {
    let first = all.partition_point(|(t, _)| *t < from);
    all.iter().skip(first).take_while(move |(t, _)| *t < to).copied()
}

fn inside(spans: &[(f64, f64)], second: f64) -> bool {
    spans.iter().any(|(from, to)| *from <= second && second < *to)
}

fn planned_sleep(plan: &Plan) -> Vec<(f64, f64)> {
    match plan.sleep {
        Sleep::Never | Sleep::BetweenTours { .. } => vec![],
        Sleep::Through { from, to, .. } | Sleep::WithOneTour { from, to } => vec![(from, to)],
    }
}

/// Writes a life down, piece by piece.
struct Writer<'a> {
    plan: &'a Plan,
    asleep: Vec<(f64, f64)>,
    outings: Vec<Outing>,
}

impl Writer<'_> {
    /// Tours on the hour: nine in ten start within minutes of it, one in twelve nearly half an hour late, one in fifty
    /// later than it may (assumed).
    fn walk_tours(&mut self, chance: &mut Chance) {
        let hours: Vec<f64> = if self.plan.ground.tours { tour_hours().collect() } else { vec![] };
        let woken = self.tour_that_wakes();
        for scheduled in hours {
            let late = match chance.share() {
                s if s < 0.90 => exponential(chance, 4.0).min(25.0),
                s if s < 0.98 => chance.between(10.0, 28.0),
                _ => chance.between(31.0, 50.0),
            };
            let skipped = chance.happens(self.plan.habits.skips);
            let tour = self.tour(scheduled + late * MINUTE, chance);
            let wakes = woken == Some(scheduled);
            let kept = self.plan.busy.is_some_and(|busy| inside(&[busy], tour.from));
            if !wakes && (skipped || kept || inside(&self.asleep, tour.from)) {
                continue;
            }
            if wakes {
                self.wake_for(&tour);
            }
            self.push_sleep_back(&tour, chance);
            self.outings.push(tour);
        }
    }

    /// The first tour that starts an hour or more after falling asleep.
    fn tour_that_wakes(&self) -> Option<f64> {
        let Sleep::WithOneTour { from, to } = self.plan.sleep else { return None };
        tour_hours().find(|hour| *hour >= from + HOUR && *hour + HOUR < to)
    }

    fn wake_for(&mut self, tour: &Outing) {
        if let Some((from, to)) = self.asleep.pop() {
            self.asleep.push((from, tour.from - 2.0 * MINUTE));
            self.asleep.push((tour.to + 3.0 * MINUTE, to));
        }
    }

    /// Nobody falls asleep on the way: it comes some minutes after the tour, and lasts as long.
    fn push_sleep_back(&mut self, tour: &Outing, chance: &mut Chance) {
        for (from, to) in &mut self.asleep {
            if tour.from < *from && *from < tour.to {
                let later = tour.to + chance.between(2.0, 10.0) * MINUTE - *from;
                (*from, *to) = (*from + later, *to + later);
            }
        }
    }

    fn tour(&self, from: f64, chance: &mut Chance) -> Outing {
        let mut start = self.outings.last().map_or(from, |last| from.max(last.to + MINUTE));
        for pause in &self.plan.breaks {
            if pause.from - 20.0 * MINUTE < start && start < pause.to {
                start = pause.to + chance.between(1.0, 4.0) * MINUTE;
            }
        }
        let ground = &self.plan.ground;
        let stops: Vec<_> =
            (0..CHECKPOINTS).map(|n| (ground.checkpoint(n), chance.between(20.0, 60.0), Some(n))).collect();
        self.outing(start, &stops, chance.between(1.0, 1.3), true)
    }

    fn outing(
        &self,
        from: f64,
        places: &[(Place, f64, Option<usize>)],
        pace_mps: f64,
        takes_it_along: bool,
    ) -> Outing {
        let home = self.plan.ground.post();
        let (mut here, mut leaves) = (home, from);
        let mut stops = vec![];
        for (place, stay, checkpoint) in places {
            let arrives = leaves + here.distance_m(*place) / pace_mps;
            (here, leaves) = (*place, arrives + stay);
            stops.push(Stop { place: *place, arrives, leaves, checkpoint: *checkpoint });
        }
        Outing { from, to: leaves + here.distance_m(home) / pace_mps, stops, takes_it_along }
    }

    fn fall_asleep_between_tours(&mut self) {
        let Sleep::BetweenTours { from, to } = self.plan.sleep else { return };
        let ends: Vec<f64> =
            self.outings.iter().map(|o| o.to).filter(|end| from <= *end && *end < to).collect();
        for end in ends {
            let next = self.outings.iter().map(|o| o.from).find(|start| *start > end);
            self.asleep.push((end + 3.0 * MINUTE, next.unwrap_or(to).min(to) - 2.0 * MINUTE));
        }
    }

    /// Small walks of 10 to 60 m that last 2 to 8 min; six an hour at a busy gate.
    fn walk_a_little(&mut self, chance: &mut Chance) {
        let (from, to) = self.plan.duty;
        let mut starts: Vec<f64> =
            events(chance, from + MINUTE, to - 10.0 * MINUTE, self.plan.habits.walks_every);
        if let Some((from, to)) = self.plan.busy {
            starts.extend(events(chance, from, to.min(self.plan.duty.1), 10.0 * MINUTE));
            starts.sort_by(f64::total_cmp);
        }
        for start in starts {
            let reach = chance.between(10.0, 60.0_f64).min(self.plan.ground.radius_m);
            let off = Place::polar(reach, chance.between(0.0, std::f64::consts::TAU));
            let stay = chance.between(2.0, 8.0) * MINUTE;
            let along = chance.happens(self.plan.habits.takes_it_along);
            let place = self.plan.ground.post().plus(off);
            let walk = self.outing(start, &[(place, stay, None)], 1.1, along);
            if self.is_free(walk.from - MINUTE, walk.to + MINUTE) {
                self.outings.push(walk);
            }
        }
        self.outings.sort_by(|a, b| a.from.total_cmp(&b.from));
    }

    fn is_free(&self, from: f64, to: f64) -> bool {
        let pauses = self.plan.breaks.iter().map(|b| (b.from, b.to));
        let outings = self.outings.iter().map(|o| (o.from, o.to));
        let taken = self.asleep.iter().copied().chain(pauses).chain(outings);
        !taken.into_iter().any(|(a, b)| a < to && from < b)
    }

    fn life(mut self, chance: &mut Chance) -> Life {
        let mut life = Life { duty: self.plan.duty, ..Life::default() };
        let home = self.plan.ground.post();
        life.path.be(0.0, home);
        self.outings.retain(|o| o.to < END);
        for outing in &self.outings {
            write_outing(&mut life, outing, home);
        }
        life.path.be(END + HOUR, home);
        self.asleep.sort_by(|a, b| a.0.total_cmp(&b.0));
        life.asleep = std::mem::take(&mut self.asleep);
        life.attendance = attendance(self.plan);
        self.touch(&mut life, chance);
        life
    }

    /// Uses of the handset: one to thirty touches within three minutes.
    fn touch(&self, life: &mut Life, chance: &mut Chance) {
        let (from, to) = self.plan.duty;
        let busy_with_it =
            |t: &f64| !life.sleeps_at(*t) && !self.plan.breaks.iter().any(|b| b.from <= *t && *t < b.to);
        let mut uses = events(chance, from, to, self.plan.habits.uses_every);
        uses.retain(busy_with_it);
        for pause in self.plan.breaks.iter().filter(|b| !b.naps) {
            uses.extend(events(chance, pause.from, pause.to, 15.0 * MINUTE));
        }
        for start in uses {
            for minute in 0..3 {
                let count = 1.0 + exponential(chance, 8.0);
                let at = start + f64::from(minute) * chance.between(20.0, 60.0);
                // Who falls asleep over it has stopped.
                if !life.sleeps_at(at) {
                    life.touches.push((at, whole(count)));
                }
                if chance.happens(0.5) {
                    break;
                }
            }
        }
        // A glance is one touch or two. Who naps between tours is woken by them, not by the handset.
        let glances =
            if let Sleep::Through { glances, .. } = self.plan.sleep { glances } else { GLANCE_EVERY };
        let in_pocket = chance.happens(IN_POCKET);
        for (from, to) in life.asleep.clone() {
            let looks = events(chance, from, to, glances);
            life.touches.extend(looks.into_iter().map(|t| (t, 1 + u32::from(chance.happens(0.5)))));
            if in_pocket {
                let turns = events(chance, from, to, TURNS_EVERY);
                life.stray_steps.extend(turns.into_iter().map(|t| (t, whole(exponential(chance, 3.0)))));
            }
        }
        life.touches.sort_by(|a, b| a.0.total_cmp(&b.0));
        life.stray_steps.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a handful")]
fn whole(count: f64) -> u32 {
    count as u32
}

fn write_outing(life: &mut Life, outing: &Outing, home: Place) {
    let (mut here, mut leaves) = (home, outing.from);
    for stop in &outing.stops {
        if outing.takes_it_along {
            life.path.be(leaves, here);
            life.path.be(stop.arrives, stop.place);
        }
        // The tag is read soon after the guard is there.
        let scanned = stop.arrives + 0.3 * (stop.leaves - stop.arrives);
        life.taps.extend(stop.checkpoint.map(|n| (scanned, n)));
        (here, leaves) = (stop.place, stop.leaves);
    }
    if outing.takes_it_along {
        life.path.be(leaves, here);
        life.path.be(outing.to, home);
        life.walks.push((outing.from, outing.to));
    }
}

fn attendance(plan: &Plan) -> Vec<(f64, AttendanceAction)> {
    let declared = plan.breaks.iter().filter(|b| b.declared);
    let breaks = declared
        .flat_map(|b: &Pause| [(b.from, AttendanceAction::BreakStart), (b.to, AttendanceAction::BreakEnd)]);
    let mut all = vec![(plan.duty.0, AttendanceAction::CheckIn)];
    all.extend(breaks);
    all.push((plan.duty.1, AttendanceAction::CheckOut));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::clock::{clock, instant};
    use crate::study::draws::{Stream, chance};

    fn live(n: usize, change: impl FnOnce(&mut Plan)) -> (Plan, Life) {
        let mut plan = Plan::ordinary(&mut chance(5, 0, n, Stream::Plan));
        change(&mut plan);
        let life = Life::of(&plan, &mut chance(5, 0, n, Stream::Life));
        (plan, life)
    }

    #[test]
    fn an_honest_guard_walks_the_hours_and_never_sleeps() {
        let mut tours = 0;
        for n in 0..50 {
            let (_, life) = live(n, |plan| plan.busy = None);
            assert!(life.asleep.is_empty());
            assert!(life.taps.windows(2).all(|w| w[0].0 < w[1].0));
            for tap in &life.taps {
                assert!(
                    life.path.at(tap.0).place.distance_m(Place::MIDDLE) > 140.0,
                    "scans at the checkpoint"
                );
            }
            tours += life.taps.iter().filter(|(_, n)| *n == 0).count();
        }
        assert!(
            (410..=450).contains(&tours),
            "nine tours in fifty nights, but for three in a hundred: {tours}"
        );
    }

    #[test]
    fn who_sleeps_neither_walks_nor_scans() {
        let sleep = Sleep::Through { from: clock(1, 20), to: clock(4, 40), glances: f64::INFINITY };
        for n in 0..50 {
            let (_, life) = live(n, |plan| *plan = plan.clone().sleeping(sleep));
            let (from, to) = life.asleep[0];
            assert!(from >= clock(1, 20) && to - from > 3.3 * HOUR - 1.0);
            assert!(!life.taps.iter().any(|t| inside(&life.asleep, t.0)), "asleep at {}", instant(from));
            assert_eq!(life.touched(from, to), 0);
            assert!(life.path.walking_secs(from, to) < 1.0);
            assert!(life.steps(from, to) < 60);
        }
    }

    #[test]
    fn one_tour_may_wake_a_sleeper() {
        let sleep = Sleep::WithOneTour { from: clock(0, 30), to: clock(5, 0) };
        let (_, life) = live(1, |plan| *plan = plan.clone().sleeping(sleep));
        assert_eq!(life.asleep.len(), 2);
        let between = (life.asleep[0].1, life.asleep[1].0);
        assert_eq!(life.taps.iter().filter(|t| inside(&[between], t.0)).count(), CHECKPOINTS);
    }

    #[test]
    fn naps_lie_between_tours_that_are_all_walked() {
        let sleep = Sleep::BetweenTours { from: clock(0, 30), to: clock(5, 0) };
        let (_, life) = live(2, |plan| *plan = plan.clone().sleeping(sleep));
        assert!(life.asleep.len() >= 3, "{:?}", life.asleep);
        assert!(life.asleep.iter().all(|(a, b)| b - a < HOUR));
        assert!(!life.taps.iter().any(|t| inside(&life.asleep, t.0)));
    }

    #[test]
    fn a_break_is_kept_free() {
        let pause = Pause { from: clock(1, 5), to: clock(1, 40), declared: true, naps: true };
        let (plan, life) = live(3, |plan| plan.breaks.push(pause));
        assert!(!life.taps.iter().any(|t| pause.from <= t.0 && t.0 < pause.to));
        assert_eq!(life.touched(pause.from, pause.to), 0);
        assert_eq!(life.attendance.len(), 4);
        assert_eq!(life.awake_from(&plan, clock(1, 10)), pause.to + MINUTE);
    }
}
