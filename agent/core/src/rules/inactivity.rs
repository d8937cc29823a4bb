//! Section 3: is this guard asleep? Four signals, and no verdict without evidence.

use crate::alert::{AlertId, Rule, Subject, Verification};
use crate::book::Finding;
use crate::deadline::Deadline;
use crate::engine::Engine;
use crate::evidence::{Evidence, InactivityEvidence, Signal, SignalState, Signals};
use crate::geofence::half_extent_m;
use crate::id::GuardId;
use crate::movement::{self, Movement};
use crate::observation::Kind;
use crate::policy::{Monitor, MovementRule};
use crate::rules::score::{score, severity};
use crate::rules::welfare::Pending;
use crate::time::Timestamp;
use crate::watch::{Raised, Watch};
use crate::windows::trail::observed;

/// More steps than this in a window are a walk.
const STEPS_OF_A_WALK: u64 = 30;

/// One evaluation of one guard.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// Whether the guard counts as inactive.
    pub inactive: bool,
    /// Whether a recent act proves that the guard is awake, whatever the score.
    pub proof_of_life: bool,
    /// What it rests on.
    pub evidence: InactivityEvidence,
}

/// What one signal says, and how many things it counted.
type Reading = (SignalState, usize);

impl Engine {
    /// A cycle is over.
    pub(crate) fn on_evaluate(&mut self, at: Timestamp) {
        let policy = &self.site.policy.inactivity;
        let next = at + policy.cycle;
        let night = !self.is_provisional() && policy.hours.contains(at, self.site.timezone);
        let monitored = policy.monitor == Monitor::Always || night;
        self.state.next_evaluation = next;
        self.agenda.arm(next + self.settle(), Deadline::Evaluate(next));
        let guards: Vec<GuardId> = self.state.guards.keys().cloned().collect();
        for guard in &guards {
            self.end_episode_off_duty(guard, at);
            if monitored && self.works(guard, at) && self.site.guard(guard).is_some() {
                self.judge(guard, at);
            }
        }
    }

    /// Whether the deep night weighs; in provisional time nobody knows.
    pub(crate) fn in_deep_night(&self, at: Timestamp) -> bool {
        let hours = self.site.policy.inactivity.deep_night_hours;
        !self.is_provisional() && hours.contains(at, self.site.timezone)
    }

    fn works(&self, guard: &GuardId, at: Timestamp) -> bool {
        self.shapes.get(guard).is_some_and(|s| s.worked.contains(at))
    }

    fn judge(&mut self, guard: &GuardId, at: Timestamp) {
        // An evaluation that cannot be made neither ends nor continues an episode.
        let Some(evaluation) = self.evaluate(guard, at) else { return };
        if !evaluation.inactive {
            let watch = self.watch(guard);
            watch.streak = 0;
            watch.drop_pending();
            if let Some(alert) = watch.episode.take() {
                self.clear(alert, at, at);
            }
            return;
        }
        let watch = self.watch(guard);
        watch.streak = watch.streak.saturating_add(1);
        let (streak, episode) = (watch.streak, watch.episode);
        let mut evidence = evaluation.evidence;
        evidence.consecutive = streak;
        match episode {
            Some(alert) => self.follow_up(alert, evidence, at),
            None if streak >= u32::from(self.site.policy.inactivity.consecutive) => {
                let (from, to) = (evidence.window_start, evidence.window_end);
                if !self.asks_first(guard, Pending { from, to, streak }) {
                    self.raise_inactivity(guard, evidence, Verification::NONE, at);
                }
            }
            None => {}
        }
    }

    pub(crate) fn raise_inactivity(
        &mut self,
        guard: &GuardId,
        evidence: InactivityEvidence,
        verification: Verification,
        now: Timestamp,
    ) {
        let (from, to) = (evidence.window_start, evidence.window_end);
        let finding = Finding {
            rule: Rule::Inactivity,
            severity: severity(evidence.score),
            subject: Subject::Guard(guard.clone()),
            guard: Some(guard.clone()),
            detected_at: to,
            summary: self.summary(guard, &evidence),
            evidence: Evidence::Inactivity(Box::new(evidence)),
        };
        let Some(alert) = self.raise_verified(finding, verification, now) else { return };
        let watch = self.watch(guard);
        watch.episode = Some(alert);
        watch.raised.push(Raised { alert, from, to });
    }

    /// Within an episode the severity follows the score up, never down.
    fn follow_up(&mut self, alert: AlertId, evidence: InactivityEvidence, at: Timestamp) {
        let now_severity = severity(evidence.score);
        self.revise(alert, at, |a| {
            let worse = now_severity > a.severity && !a.status.is_final();
            if worse {
                a.severity = now_severity;
                a.evidence = Evidence::Inactivity(Box::new(evidence));
            }
            worse
        });
    }

    fn summary(&self, guard: &GuardId, e: &InactivityEvidence) -> String {
        let name = self.site.guard(guard).map_or(guard.as_str(), |g| g.name.as_str());
        let minutes = e.window_end.since(e.window_start).millis() / 60_000;
        let clock = e.window_end.local_clock(self.site.timezone);
        let last = match (&e.last_activity, e.minutes_since) {
            (Some(what), Some(since)) => format!("last sign of life {since} min ago ({what})"),
            _ => "no sign of life on record".to_owned(),
        };
        format!(
            "{name}: the handset has not moved and nothing was done in {minutes} min up to {clock}; {last}"
        )
    }

    /// Leaving duty ends the episode, also for a moment since the last evaluation, and in whatever order it was told.
    fn end_episode_off_duty(&mut self, guard: &GuardId, at: Timestamp) {
        let since = at - self.site.policy.inactivity.cycle;
        if self.shapes.get(guard).is_some_and(|s| s.on_duty.covers(since, at.just_after())) {
            return;
        }
        self.end_episode(guard, self.left_duty_at(guard, at).unwrap_or(at), at);
    }

    /// Leaving duty ends the episode.
    pub(crate) fn end_episode(&mut self, guard: &GuardId, ended_at: Timestamp, now: Timestamp) {
        let watch = self.watch(guard);
        watch.streak = 0;
        watch.drop_pending();
        if let Some(alert) = watch.episode.take() {
            self.clear(alert, ended_at, now);
        }
    }

    /// Data of a time that has been judged: whatever alert they bring below the threshold never should have been,
    /// and neither should one about a guard who was not there.
    pub(crate) fn on_late_evidence(&mut self, at: Timestamp, kind: &Kind) {
        let proof = self.site.policy.inactivity.proof_of_life;
        let attends = |g: &GuardId| matches!(kind, Kind::Attendance(a) if a.guard == *g);
        let touches = |g: &GuardId, r: &Raised| at < r.to && (attends(g) || r.from.min(r.to - proof) <= at);
        let of_guard = |(g, w): (&GuardId, &Watch)| -> Vec<(GuardId, Raised)> {
            w.raised.iter().filter(|r| touches(g, r)).map(|r| (g.clone(), *r)).collect()
        };
        let reopened: Vec<(GuardId, Raised)> = self.state.guards.iter().flat_map(of_guard).collect();
        for (guard, raised) in reopened {
            let awake = self.evaluate_window(&guard, raised.from, raised.to).is_some_and(|e| !e.inactive);
            if awake || (attends(&guard) && !self.works(&guard, raised.to)) {
                self.withdraw(raised.alert, self.state.now);
                self.watch(&guard).take_back(raised);
            }
        }
    }

    /// Evaluates a guard at `at`; `None` if there is no window yet, or too little evidence.
    pub(crate) fn evaluate(&self, guard: &GuardId, at: Timestamp) -> Option<Evaluation> {
        self.evaluate_window(guard, self.window_of(guard, at)?, at)
    }

    pub(crate) fn evaluate_window(
        &self,
        guard: &GuardId,
        from: Timestamp,
        to: Timestamp,
    ) -> Option<Evaluation> {
        let policy = &self.site.policy.inactivity;
        let watch = self.state.guards.get(guard)?;
        let deep_night = self.in_deep_night(to);
        let (readings, movement, summed_m) = self.readings(guard, watch, from, to);
        let scored = score(policy, readings.map(|(state, _)| state), deep_night)?;
        let proof_of_life = watch.trail.proved_alive(to - policy.proof_of_life, to);
        let inactive = !proof_of_life && scored.score >= policy.threshold.get();
        let evidence = InactivityEvidence {
            window_start: from,
            window_end: to,
            signals: signals(readings, scored.weights),
            score: scored.score,
            deep_night,
            consecutive: u32::from(inactive),
            moving_secs: movement.moving_secs,
            summed_distance_m: summed_m,
            ..last_seen(watch, to)
        };
        Some(Evaluation { inactive, proof_of_life, evidence })
    }

    fn readings(
        &self,
        guard: &GuardId,
        watch: &Watch,
        from: Timestamp,
        to: Timestamp,
    ) -> ([Reading; 4], Movement, i64) {
        let handset = watch.trail.handset_observed(from, to);
        let (moved, movement, summed_m) = self.movement_signal(watch, handset, from, to);
        let readings = [
            phone_signal(watch, handset, from, to),
            moved,
            self.tasks_signal(guard, watch, from, to),
            self.tours_signal(guard, watch, handset, from, to),
        ];
        (readings, movement, summed_m)
    }

    #[expect(clippy::cast_possible_truncation, reason = "metres of one window fit")]
    fn movement_signal(
        &self,
        watch: &Watch,
        handset: bool,
        from: Timestamp,
        to: Timestamp,
    ) -> (Reading, Movement, i64) {
        let policy = &self.site.policy.inactivity;
        let fixes = watch.trail.fixes.range(from, to);
        let summed_m = movement::summed_m(fixes);
        let bound = half_extent_m(&self.site).map(|r| (r - 15.0) / 2.0);
        let judged = movement::displacement(fixes, from, to, bound);
        let still = if handset { SignalState::Inactive } else { SignalState::Unobserved };
        let state = match policy.movement {
            MovementRule::Summed if summed_m >= policy.min_movement_m => SignalState::Active,
            MovementRule::Summed => still,
            MovementRule::Robust if judged.state == SignalState::Active || walked(watch, from, to) => {
                SignalState::Active
            }
            MovementRule::Robust if judged.state == SignalState::Inactive => still,
            MovementRule::Robust => SignalState::Unobserved,
        };
        ((state, fixes.len()), judged, summed_m.round() as i64)
    }

    fn tasks_signal(&self, guard: &GuardId, watch: &Watch, from: Timestamp, to: Timestamp) -> Reading {
        let done = watch.trail.completed.range(from, to).len();
        let state = match done {
            0 if self.state.tasks.overdue_for(guard, to) => SignalState::Inactive,
            0 => SignalState::Unobserved,
            _ => SignalState::Active,
        };
        (state, done)
    }

    fn tours_signal(
        &self,
        guard: &GuardId,
        watch: &Watch,
        handset: bool,
        from: Timestamp,
        to: Timestamp,
    ) -> Reading {
        let scans = watch.trail.scans.range(from, to).len();
        if scans > 0 {
            return (SignalState::Active, scans);
        }
        let alone = self.guards_on_duty(to).take(2).count() == 1;
        let seen = handset || self.any_reader_observed(from, to);
        let due = seen && !self.is_provisional() && self.unscanned_due(guard, alone, from, to);
        (if due { SignalState::Inactive } else { SignalState::Unobserved }, 0)
    }

    fn any_reader_observed(&self, from: Timestamp, to: Timestamp) -> bool {
        let readers = self.site.devices.iter().filter(|d| d.kind == crate::site::DeviceKind::Reader);
        let instruments = readers.filter_map(|d| self.state.devices.get(&d.id));
        instruments.filter(|i| i.offline_since.is_none_or(|t| t > to)).any(|i| observed(&i.heard, from, to))
    }
}

fn phone_signal(watch: &Watch, handset: bool, from: Timestamp, to: Timestamp) -> Reading {
    let events: u64 = watch.trail.phone.range(from, to).iter().map(|(_, n)| u64::from(*n)).sum();
    let state = match (events, handset) {
        (1.., _) => SignalState::Active,
        (0, true) => SignalState::Inactive,
        (0, false) => SignalState::Unobserved,
    };
    (state, usize::try_from(events).unwrap_or(usize::MAX))
}

/// Step 7 of the estimator: other proofs of a walk.
fn walked(watch: &Watch, from: Timestamp, to: Timestamp) -> bool {
    let trail = &watch.trail;
    let steps: u64 = trail.steps.range(from, to).iter().map(|(_, n)| u64::from(*n)).sum();
    let scans = trail.scans.range(from, to);
    let places_differ = scans.windows(2).any(|w| w[0].1 != w[1].1);
    steps > STEPS_OF_A_WALK || places_differ || movement::walked(trail.fixes.range(from, to))
}

fn signals(readings: [Reading; 4], weights: [u16; 4]) -> Signals {
    let signal = |i: usize| {
        let (state, count) = readings[i];
        Signal { state, count: u32::try_from(count).unwrap_or(u32::MAX), weight: weights[i] }
    };
    Signals { phone: signal(0), movement: signal(1), tasks: signal(2), tours: signal(3) }
}

/// The part of the evidence that says when the guard was last seen.
fn last_seen(watch: &Watch, to: Timestamp) -> InactivityEvidence {
    let last = watch.trail.last_activity(Timestamp::default(), to);
    InactivityEvidence {
        window_start: to,
        window_end: to,
        signals: signals([(SignalState::Unobserved, 0); 4], [0; 4]),
        score: 0,
        deep_night: false,
        consecutive: 0,
        last_activity_at: last.map(|(t, _)| t),
        last_activity: last.map(|(_, what)| what.to_owned()),
        minutes_since: last.map(|(t, _)| to.since(t).millis() / 60_000),
        last_position: watch.last_position.clone().filter(|p| p.at < to),
        moving_secs: 0,
        summed_distance_m: 0,
    }
}
