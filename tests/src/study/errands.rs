//! Tasks of a night: which come, and when they are done. All figures are assumed.

use super::clock::{MINUTE, clock};
use super::draws::{events, exponential, pick};
use super::life::Life;
use super::plan::{Fault, Plan};
use vigil_agent::simulate::Chance;
use vigil_core::observation::Priority;

/// The four priorities, and how many minutes the defaults of the rules give each.
pub const PRIORITIES: [(Priority, f64); 4] =
    [(Priority::Critical, 15.0), (Priority::High, 30.0), (Priority::Medium, 60.0), (Priority::Low, 120.0)];

/// One task of a night.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Errand {
    /// When the control room made it.
    pub created: f64,
    /// How soon it must be done.
    pub priority: Priority,
    /// Its deadline.
    pub deadline: f64,
    /// When the guard did it; never, if the night was over before.
    pub done: Option<f64>,
}

impl Errand {
    /// Whether it was open past its deadline while the night lasted.
    pub fn is_overdue(&self, until: f64) -> bool {
        self.deadline < until && self.done.is_none_or(|done| done > self.deadline)
    }
}

/// The tasks of a night, of each priority alike, from 20:30 to 04:30. Nine in ten are done within a third of their time on
/// average, the others take half as long again as they may. Who sleeps, has a break or a handset that is off does them
/// afterwards.
pub fn errands(plan: &Plan, life: &Life, chance: &mut Chance) -> Vec<Errand> {
    if plan.tasks <= 0.0 {
        return vec![];
    }
    let (from, to) = (clock(20, 30), clock(4, 30));
    let times = events(chance, from, to, (to - from) / plan.tasks);
    let errand = |created: f64| {
        let (priority, minutes) = pick(chance, &PRIORITIES);
        let share = if chance.happens(0.9) { 1.0 / 3.0 } else { 1.5 };
        let wanted = created + exponential(chance, share * minutes * MINUTE) + MINUTE;
        let free = life.awake_from(plan, wanted);
        let off = plan.faults.iter().find_map(|f| match f {
            Fault::Off(from, to) if *from <= free && free < *to => Some(to + 5.0 * MINUTE),
            Fault::Off(..) | Fault::OutOfReach(..) | Fault::Gateway(..) | Fault::Jammed(..) => None,
        });
        let done = Some(off.unwrap_or(free)).filter(|t| *t < life.duty.1 - MINUTE);
        Errand { created, priority, deadline: created + minutes * MINUTE, done }
    };
    times.into_iter().map(errand).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::draws::{Stream, chance};
    use crate::study::plan::Sleep;

    #[test]
    fn who_sleeps_does_nothing_before_waking() {
        let sleep = Sleep::Through { from: clock(22, 0), to: clock(2, 0), glances: f64::INFINITY };
        let mut open = 0;
        for n in 0..100 {
            let plan = Plan::ordinary(&mut chance(5, 0, n, Stream::Plan)).sleeping(sleep);
            let life = Life::of(&plan, &mut chance(5, 0, n, Stream::Life));
            for errand in errands(&plan, &life, &mut chance(5, 0, n, Stream::Errands)) {
                assert!(!errand.done.is_some_and(|t| life.sleeps_at(t)));
                open += u32::from(errand.is_overdue(clock(6, 0)));
            }
        }
        assert!((40..160).contains(&open), "of some two hundred tasks, half come in these hours: {open}");
    }
}
