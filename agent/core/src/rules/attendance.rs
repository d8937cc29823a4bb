//! Section 2: who should be here and is not, and who is on a break without end.

use crate::alert::{Rule, Severity, Subject};
use crate::book::Finding;
use crate::deadline::Deadline;
use crate::duty::Shape;
use crate::engine::Engine;
use crate::evidence::{AbsenceEvidence, BreakEvidence, Evidence};
use crate::id::{DeviceId, GuardId, ShiftId};
use crate::observation::{Attendance, AttendanceAction};
use crate::policy::DutyMode;
use crate::roster::{self, Occurrence};
use crate::site::{Device, DeviceKind};
use crate::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Every occurrence of a shift that still matters, by start.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Roster {
    occurrences: Vec<Occurrence>,
    /// Those whose start has been judged: it is not judged again, not after a restart and not under another grace.
    judged: BTreeSet<(Timestamp, ShiftId)>,
}

impl Roster {
    /// Every occurrence, by start.
    pub fn occurrences(&self) -> &[Occurrence] {
        &self.occurrences
    }

    pub(crate) fn forget_before(&mut self, instant: Timestamp) {
        self.occurrences.retain(|o| o.ends_at >= instant);
        let earliest = self.occurrences.iter().map(|o| o.starts_at).min().unwrap_or(instant);
        self.judged.retain(|(starts_at, _)| *starts_at >= earliest);
    }

    pub(crate) fn forget_after(&mut self, instant: Timestamp) {
        self.occurrences.retain(|o| o.starts_at <= instant);
    }
}

impl Engine {
    /// Learns of the shifts that start in `(after, until]`.
    pub(crate) fn plan_shifts(&mut self, after: Timestamp, until: Timestamp) {
        let planned = roster::shifts(&self.site, after, until);
        let guards: Vec<GuardId> = planned.iter().map(|o| o.guard.clone()).collect();
        for occurrence in &planned {
            self.arm_shift(occurrence);
        }
        self.state.roster.occurrences.extend(planned);
        for guard in guards {
            // With the roster as duty, a guard is watched without ever having said a word.
            self.watch(&guard);
            self.reshape(&guard);
            self.arm_handsets(&guard);
        }
    }

    pub(crate) fn arm_roster(&mut self) {
        for occurrence in self.state.roster.occurrences.clone() {
            self.arm_shift(&occurrence);
        }
    }

    fn arm_shift(&mut self, o: &Occurrence) {
        let judged_at = self.absence_known_at(o) + self.settle();
        let checked_in = self.site.policy.attendance.mode == DutyMode::CheckIn;
        let judged = self.state.roster.judged.contains(&(o.starts_at, o.shift.clone()));
        let fresh = !judged && judged_at >= self.state.began;
        if checked_in && fresh {
            self.agenda.arm(judged_at, Deadline::ShiftStart(o.starts_at, o.shift.clone()));
        }
    }

    /// The end of the grace: the instant of the alert, whenever it is judged, so that a restart changes no id.
    fn absent_at(&self, o: &Occurrence) -> Timestamp {
        (o.starts_at + self.site.policy.attendance.check_in_grace).just_after()
    }

    /// When the absence is known: a check-in that the agent could not hear may have been one.
    fn absence_known_at(&self, o: &Occurrence) -> Timestamp {
        self.state.blind.prolong(o.starts_at, self.absent_at(o))
    }

    /// The grace of a shift is over.
    pub(crate) fn on_shift_start(&mut self, starts_at: Timestamp, shift: &ShiftId) {
        let found =
            self.state.roster.occurrences.iter().find(|o| o.starts_at == starts_at && o.shift == *shift);
        let Some(o) = found.cloned() else { return };
        let (absent_at, known_at) = (self.absent_at(&o), self.absence_known_at(&o));
        if known_at + self.settle() > self.state.now {
            return self.arm_shift(&o);
        }
        if !self.state.roster.judged.insert((starts_at, shift.clone())) {
            return;
        }
        // A shift that was over before the agent could hear again: its blindness explains it.
        let could_be_known = known_at < o.ends_at;
        if could_be_known && !self.was_on_duty(&o.guard, o.starts_at, known_at) {
            let name = self.site.guard(&o.guard).map_or(o.guard.as_str(), |g| g.name.as_str());
            let clock = o.starts_at.local_clock(self.site.timezone);
            let finding = Finding {
                rule: Rule::GuardAbsent,
                severity: Severity::High,
                subject: Subject::Guard(o.guard.clone()),
                guard: Some(o.guard.clone()),
                detected_at: absent_at,
                summary: format!("{name} has not checked in for the shift that started at {clock}"),
                evidence: Evidence::Absence(AbsenceEvidence {
                    shift: o.shift.clone(),
                    starts_at: o.starts_at,
                    ends_at: o.ends_at,
                }),
            };
            let raised = self.raise(finding, absent_at);
            if let (Some(alert), Some(came_at)) = (raised, self.came_at(&o.guard, absent_at)) {
                self.clear_and_resolve(alert, came_at, "checked in", self.state.now);
            }
        }
    }

    /// When a guard who was absent at `at` came, if that is known already: while the absence settled.
    fn came_at(&self, guard: &GuardId, at: Timestamp) -> Option<Timestamp> {
        self.shapes
            .get(guard)?
            .on_duty
            .iter()
            .map(|(from, _)| from)
            .find(|from| *from >= at && *from <= self.state.now)
    }

    fn was_on_duty(&self, guard: &GuardId, from: Timestamp, to: Timestamp) -> bool {
        self.shapes.get(guard).is_some_and(|s| s.on_duty.within(from, to) > Span::ZERO)
    }

    /// A guard came, went or took a break; false if nobody of that name is on the roster of this site.
    pub(crate) fn on_attendance(&mut self, at: Timestamp, attendance: &Attendance) -> bool {
        if self.site.guard(&attendance.guard).is_none() {
            return false;
        }
        let guard = attendance.guard.clone();
        let watch = self.watch(&guard);
        watch.trail.attended.insert_once(at, ());
        watch.duty.on_action(at, attendance.action);
        self.reshape(&guard);
        self.reopen_runs_of(&guard, at);
        self.arm_handsets(&guard);
        match attendance.action {
            AttendanceAction::CheckIn => self.on_check_in(&guard, at),
            AttendanceAction::CheckOut => self.on_check_out(&guard, at),
            AttendanceAction::BreakEnd => self.end_overrun(&guard, at),
            AttendanceAction::BreakStart => {}
        }
        true
    }

    /// A handset that nobody owns is carried by whoever checked in on it last.
    pub(crate) fn take_up(&mut self, device: &Device, at: Timestamp, attendance: &Attendance) {
        let taken = attendance.action == AttendanceAction::CheckIn && device.kind == DeviceKind::Handset;
        if taken && device.guard.is_none() && self.site.guard(&attendance.guard).is_some() {
            self.instrument(&device.id).carriers.insert_once(at, attendance.guard.clone());
        }
    }

    fn arm_handsets(&mut self, guard: &GuardId) {
        let site = std::sync::Arc::clone(&self.site);
        let handsets = site.devices.iter().filter(|d| d.kind == DeviceKind::Handset);
        let carried: Vec<DeviceId> = handsets
            .filter(|d| self.carrier(d, self.state.now).as_ref() == Some(guard))
            .map(|d| d.id.clone())
            .collect();
        carried.iter().for_each(|d| self.arm_silence(d));
    }

    fn on_check_in(&mut self, guard: &GuardId, at: Timestamp) {
        let subject = Subject::Guard(guard.clone());
        let absences = self.state.book.uncleared(Rule::GuardAbsent, &subject);
        let absences: Vec<_> = absences.map(|a| (a.id, a.detected_at, a.evidence.clone())).collect();
        for (id, detected_at, evidence) in absences {
            if at >= detected_at {
                self.clear_and_resolve(id, at, "checked in", self.state.now);
            } else if let Evidence::Absence(shift) = evidence
                && self.was_on_duty(guard, shift.starts_at, detected_at)
            {
                self.withdraw(id, self.state.now);
            }
        }
    }

    fn on_check_out(&mut self, guard: &GuardId, at: Timestamp) {
        self.end_overrun(guard, at);
        let episode = self.state.guards.get(guard).and_then(|w| w.episode);
        let since = episode.and_then(|id| self.state.book.get(id)).map(|a| a.detected_at);
        // One who had left before it began was never asleep: that is late evidence, and withdraws it.
        let left_at = self.left_duty_at(guard, at).filter(|_| !self.on_duty(guard, at));
        if let Some(left_at) = left_at.filter(|left| since.is_none_or(|since| *left >= since)) {
            self.end_episode(guard, left_at, self.state.now);
        }
    }

    /// Arms the end of every break that has not ended in time.
    pub(crate) fn arm_breaks(&mut self, guard: &GuardId, shape: &Shape) {
        let settle = self.settle();
        for pause in &shape.breaks {
            let over_at = self.break_over_at(guard, pause.from);
            if self.is_to_come(over_at + settle) {
                self.agenda.arm(over_at + settle, Deadline::BreakOver(guard.clone(), pause.from));
            }
        }
    }

    /// When a break has been too long: strictly after `max_break`, but not before the end of a rostered break that
    /// it has run into.
    fn break_over_at(&self, guard: &GuardId, from: Timestamp) -> Timestamp {
        let latest = from + self.site.policy.attendance.max_break;
        let rostered =
            self.state.roster.occurrences.iter().filter(|o| o.guard == *guard).flat_map(|o| &o.breaks);
        let inside = rostered.filter(|(start, end)| *start <= latest && latest < *end).map(|(_, end)| *end);
        inside.max().unwrap_or(latest).just_after()
    }

    /// A break has lasted as long as it may.
    pub(crate) fn on_break_over(&mut self, guard: &GuardId, from: Timestamp) {
        let max_break = self.site.policy.attendance.max_break;
        let over_at = self.break_over_at(guard, from);
        if over_at + self.settle() > self.state.now {
            // The roster has changed since.
            return self.agenda.arm(over_at + self.settle(), Deadline::BreakOver(guard.clone(), from));
        }
        let pauses = self.shapes.get(guard).map(|s| s.breaks.as_slice()).unwrap_or_default();
        let ended_at = match pauses.iter().find(|b| b.from == from) {
            Some(pause) if pause.to.is_none_or(|to| to >= over_at) => pause.to,
            Some(_) | None => return,
        };
        // An end that the agent could not hear may have been one.
        let known_at = self.state.blind.prolong(from, over_at);
        if ended_at.is_none() && known_at + self.settle() > self.state.now {
            return self.agenda.arm(known_at + self.settle(), Deadline::BreakOver(guard.clone(), from));
        }
        let name = self.site.guard(guard).map_or(guard.as_str(), |g| g.name.as_str());
        let (clock, minutes) = (from.local_clock(self.site.timezone), max_break.millis() / 60_000);
        let finding = Finding {
            rule: Rule::BreakOverrun,
            severity: Severity::Medium,
            subject: Subject::Guard(guard.clone()),
            guard: Some(guard.clone()),
            detected_at: over_at,
            summary: format!("{name} is still on the break of {clock}; {minutes} min are allowed"),
            evidence: Evidence::Break(BreakEvidence { break_start: from, max_break_mins: minutes }),
        };
        let raised = self.raise(finding, over_at);
        if let (Some(alert), Some(to)) = (raised, ended_at) {
            self.clear_and_resolve(alert, to, "break ended", self.state.now);
        }
    }

    fn end_overrun(&mut self, guard: &GuardId, at: Timestamp) {
        let subject = Subject::Guard(guard.clone());
        // Also one that somebody has closed meanwhile.
        let overruns = self.state.book.uncleared(Rule::BreakOverrun, &subject);
        let Some((id, detected_at)) = overruns.map(|a| (a.id, a.detected_at)).max_by_key(|(_, at)| *at)
        else {
            return;
        };
        if at < detected_at {
            self.withdraw(id, self.state.now);
        } else {
            self.clear_and_resolve(id, at, "break ended", self.state.now);
        }
    }
}
