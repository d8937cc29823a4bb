//! Who is on duty, on break, off: derived from the set of attendance actions, whatever the order of their arrival.

use crate::id::GuardId;
use crate::observation::AttendanceAction;
use crate::policy::{AttendancePolicy, DutyMode};
use crate::roster::Occurrence;
use crate::time::{Span, Timestamp};
use crate::windows::{Intervals, Series};
use serde::{Deserialize, Serialize};

/// The attendance actions of one guard.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Duty {
    actions: Series<AttendanceAction>,
}

/// One declared break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Break {
    /// Its start.
    pub from: Timestamp,
    /// Its end, if it has one yet: by `break_end`, by check-out or by the end of the duty.
    pub to: Option<Timestamp>,
}

/// What a guard's actions and roster make of time. Open duties reach to their latest possible end.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Shape {
    /// On duty, breaks included.
    pub on_duty: Intervals,
    /// On duty and on no break.
    pub worked: Intervals,
    /// Every declared break.
    pub breaks: Vec<Break>,
}

impl Duty {
    /// Takes an action; false if it is known.
    pub fn on_action(&mut self, at: Timestamp, action: AttendanceAction) -> bool {
        self.actions.insert_once(at, action)
    }

    /// Forgets actions before `instant`, but for those of a duty that is not over by then.
    pub fn forget_before(&mut self, instant: Timestamp, policy: &AttendancePolicy) {
        self.actions.forget_before(instant - policy.max_duty);
    }

    /// Whether there is an action of that instant.
    pub(crate) fn acted_at(&self, at: Timestamp) -> bool {
        !self.actions.range(at, at.just_after()).is_empty()
    }

    /// Whether no action is known.
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty()
    }

    /// The shape of the guard's time.
    pub fn shape(&self, policy: &AttendancePolicy, roster: &[Occurrence], guard: &GuardId) -> Shape {
        let mut shape = match policy.mode {
            DutyMode::CheckIn => self.checked_in(policy),
            DutyMode::Roster => rostered(roster, guard),
        };
        if policy.mode == DutyMode::Roster {
            shape.breaks = self.breaks_within(&shape.on_duty, policy.max_break);
        }
        shape.worked = shape.on_duty.clone();
        for pause in &shape.breaks {
            let latest = pause.from + policy.max_break;
            shape.worked.remove(pause.from, pause.to.map_or(latest, |to| to.min(latest)));
        }
        for (from, to) in roster.iter().filter(|o| o.guard == *guard).flat_map(|o| &o.breaks) {
            shape.worked.remove(*from, *to);
        }
        shape
    }

    /// The breaks that were declared in shifts that are duty by themselves: nobody has to check in for one.
    fn breaks_within(&self, shifts: &Intervals, max_break: Span) -> Vec<Break> {
        let mut breaks = Vec::new();
        for (from, over) in shifts.iter() {
            let mut pause: Option<Timestamp> = None;
            for (at, action) in self.actions.range(from, over) {
                match action {
                    AttendanceAction::BreakStart => pause = pause.or(Some(*at)),
                    AttendanceAction::BreakEnd | AttendanceAction::CheckOut => {
                        breaks.extend(pause.take().map(|from| Break { from, to: Some(*at) }));
                    }
                    AttendanceAction::CheckIn => {}
                }
            }
            // The end of the shift ends a break, unless it was too long before.
            breaks.extend(pause.map(|from| Break { from, to: (from + max_break >= over).then_some(over) }));
        }
        breaks
    }

    fn checked_in(&self, policy: &AttendancePolicy) -> Shape {
        let mut shape = Shape::default();
        let mut since: Option<Timestamp> = None;
        let mut pause: Option<Timestamp> = None;
        for (at, action) in self.actions.iter() {
            if let Some(from) = since.filter(|from| *at >= *from + policy.max_duty) {
                end_duty(&mut shape, from, from + policy.max_duty, pause.take());
                since = None;
            }
            match (action, since) {
                (AttendanceAction::CheckIn, None) => since = Some(*at),
                (AttendanceAction::BreakStart, Some(_)) if pause.is_none() => pause = Some(*at),
                (AttendanceAction::BreakEnd, Some(_)) => end_break(&mut shape, pause.take(), Some(*at)),
                (AttendanceAction::CheckOut, Some(from)) => {
                    end_duty(&mut shape, from, *at, pause.take());
                    since = None;
                }
                // A second check-in, or an end without a beginning, changes nothing.
                (AttendanceAction::CheckIn, Some(_))
                | (AttendanceAction::BreakStart, _)
                | (AttendanceAction::BreakEnd | AttendanceAction::CheckOut, None) => {}
            }
        }
        if let Some(from) = since {
            shape.on_duty.add(from, from + policy.max_duty);
            end_break(&mut shape, pause, None);
        }
        shape
    }
}

fn end_break(shape: &mut Shape, from: Option<Timestamp>, to: Option<Timestamp>) {
    shape.breaks.extend(from.map(|from| Break { from, to }));
}

fn end_duty(shape: &mut Shape, from: Timestamp, to: Timestamp, pause: Option<Timestamp>) {
    shape.on_duty.add(from, to);
    end_break(shape, pause, Some(to));
}

fn rostered(roster: &[Occurrence], guard: &GuardId) -> Shape {
    let mut shape = Shape::default();
    for o in roster.iter().filter(|o| o.guard == *guard) {
        shape.on_duty.add(o.starts_at, o.ends_at);
    }
    shape
}

#[cfg(test)]
mod tests {
    use super::*;
    use AttendanceAction::{BreakEnd, BreakStart, CheckIn, CheckOut};
    use proptest::prelude::*;

    fn min(m: i64) -> Timestamp {
        Timestamp::from_millis(m * 60_000)
    }

    fn shape(actions: &[(i64, AttendanceAction)]) -> Shape {
        let mut duty = Duty::default();
        for (m, action) in actions {
            duty.on_action(min(*m), *action);
        }
        duty.shape(&AttendancePolicy::default(), &[], &GuardId::new("G").unwrap())
    }

    fn minutes(intervals: &Intervals) -> Vec<(i64, i64)> {
        intervals.iter().map(|(a, b)| (a.millis() / 60_000, b.millis() / 60_000)).collect()
    }

    #[test]
    fn a_break_is_cut_out() {
        let s = shape(&[(0, CheckIn), (100, BreakStart), (130, BreakEnd), (400, CheckOut)]);
        assert_eq!(minutes(&s.on_duty), [(0, 400)]);
        assert_eq!(minutes(&s.worked), [(0, 100), (130, 400)]);
    }

    #[test]
    fn a_break_that_is_too_long_stops_being_one() {
        let s = shape(&[(0, CheckIn), (100, BreakStart), (200, BreakEnd), (400, CheckOut)]);
        assert_eq!(minutes(&s.worked), [(0, 100), (145, 400)]);
    }

    #[test]
    fn a_duty_without_check_out_ends_by_itself() {
        let s = shape(&[(0, CheckIn)]);
        assert_eq!(minutes(&s.on_duty), [(0, 16 * 60)]);
        let again = shape(&[(0, CheckIn), (1_000, CheckIn)]);
        assert_eq!(minutes(&again.on_duty), [(0, 960), (1_000, 1_960)]);
    }

    #[test]
    fn ends_without_a_beginning_change_nothing() {
        assert_eq!(shape(&[(0, CheckOut), (5, BreakEnd), (6, BreakStart)]), Shape::default());
    }

    proptest! {
        #[test]
        fn the_order_of_arrival_does_not_matter(mut actions in prop::collection::vec((0_i64..500, 0_usize..4), 0..20)) {
            let all = [CheckIn, BreakStart, BreakEnd, CheckOut];
            let pick = |a: &[(i64, usize)]| a.iter().map(|(m, i)| (*m, all[*i])).collect::<Vec<_>>();
            let forwards = shape(&pick(&actions));
            actions.reverse();
            prop_assert_eq!(&forwards, &shape(&pick(&actions)));
            for (from, to) in forwards.worked.iter() {
                prop_assert!(forwards.on_duty.covers(from, to));
                prop_assert!(to.since(from) <= Span::from_hours(40));
            }
        }
    }
}
