//! Section 7: before a guard is reported as inactive, the guard's live handset is asked for a sign of life. An answer in
//! time is proof of life; none raises the alert, and says that nobody answered.
//!
//! The same question is put when somebody orders it (`welfare.check`); what came of it is put on record.

use crate::alert::{AlertId, Method, NO_RESPONSE, Rule, Subject, Verification};
use crate::book::AGENT;
use crate::command::Objection;
use crate::deadline::Deadline;
use crate::engine::{Engine, Record};
use crate::id::{CommandId, DeviceId, GuardId};
use crate::site::DeviceKind;
use crate::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// How long a guard has to answer if the policy does not say: to take a glove off and the phone out of a pocket, twice.
const TO_ANSWER: Span = Span::from_mins(2);

/// A question to a guard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prompt {
    /// Who is asked.
    pub guard: GuardId,
    /// On which handset.
    pub device: DeviceId,
    /// When.
    pub asked_at: Timestamp,
    /// Until when an answer counts.
    pub answer_by: Timestamp,
}

/// What came of a welfare check that somebody ordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WelfareResult {
    /// By which command.
    pub command: CommandId,
    /// Who was asked.
    pub guard: GuardId,
    /// On which handset.
    pub device: DeviceId,
    /// When.
    pub asked_at: Timestamp,
    /// When the guard answered; `null` if nobody did in time.
    pub answered_at: Option<Timestamp>,
}

/// A question that is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Asked {
    pub device: DeviceId,
    pub asked_at: Timestamp,
    pub until: Timestamp,
    /// The evaluation that is to be told if nobody answers.
    pub pending: Option<Pending>,
    /// The command that ordered it.
    pub command: Option<CommandId>,
}

/// An evaluation that waits for the answer: its window, and how many there were in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pending {
    pub from: Timestamp,
    pub to: Timestamp,
    pub streak: u32,
}

impl Asked {
    /// The question as of `to`, an instant that lies before everything that is known; `was` is the latest of that. What
    /// was found by that clock is not told, but whoever ordered it waits.
    pub(crate) fn set_back(self, was: Timestamp, to: Timestamp) -> Option<Self> {
        let left = Span::from_millis(self.until.since(was).millis().max(0));
        self.command.is_some().then(|| Self {
            asked_at: self.asked_at.min(to),
            until: to + left,
            pending: None,
            ..self
        })
    }
}

impl Engine {
    /// Asks a guard before an evaluation is told, where the policy wants that and a handset can; false if not.
    pub(crate) fn asks_first(&mut self, guard: &GuardId, pending: Pending) -> bool {
        let Some(time) = self.site.policy.inactivity.welfare_check else { return false };
        if self.muted_until(Rule::Inactivity, pending.to).is_some() || !self.may_ask(guard) {
            return false;
        }
        if let Some(asked) = &mut self.watch(guard).asked {
            asked.pending.get_or_insert(pending);
            return true;
        }
        let Some(device) = self.live_handset(guard) else { return false };
        self.ask(guard, device, time).pending = Some(pending);
        true
    }

    /// Somebody orders a welfare check.
    pub(crate) fn on_welfare_order(&mut self, guard: &GuardId, command: &CommandId) -> Result<(), Objection> {
        if self.site.guard(guard).is_none() {
            return Err(Objection::UnknownGuard(guard.clone()));
        }
        if let Some(asked) = &mut self.watch(guard).asked {
            if asked.command.is_some() {
                return Err(Objection::AlreadyAsked(guard.clone()));
            }
            asked.command = Some(command.clone());
            return Ok(());
        }
        let device = self.live_handset(guard).ok_or_else(|| Objection::NoLiveHandset(guard.clone()))?;
        let time = self.site.policy.inactivity.welfare_check.unwrap_or(TO_ANSWER);
        self.ask(guard, device, time).command = Some(command.clone());
        Ok(())
    }

    fn ask(&mut self, guard: &GuardId, device: DeviceId, time: Span) -> &mut Asked {
        let (asked_at, until) = (self.state.now, self.state.now + time);
        self.agenda.arm(until + self.settle(), Deadline::WelfareOver(guard.clone(), until));
        let prompt = Prompt { guard: guard.clone(), device: device.clone(), asked_at, answer_by: until };
        self.effects.prompts.push(prompt);
        let asked = Asked { device, asked_at, until, pending: None, command: None };
        self.watch(guard).asked.insert(asked)
    }

    /// The handset of a guard that was heard last and can be heard now.
    fn live_handset(&self, guard: &GuardId) -> Option<DeviceId> {
        let now = self.state.now;
        let trail = &self.state.guards.get(guard)?.trail;
        let live = |d: &DeviceId| trail.handsets.get(d).is_some_and(|h| h.is_live(now));
        let last = |d: &DeviceId| self.state.devices.get(d).and_then(|i| i.last_received_at);
        let handsets = self.site.devices.iter().filter(|d| d.kind == DeviceKind::Handset);
        let carried = handsets.filter(|d| self.carrier(d, now).as_ref() == Some(guard));
        carried.map(|d| &d.id).filter(|d| live(d)).max_by_key(|d| last(d)).cloned()
    }

    /// Every question that is open.
    pub(crate) fn open_questions(&self) -> impl Iterator<Item = (&GuardId, &Asked)> {
        self.state.guards.iter().filter_map(|(guard, watch)| Some((guard, watch.asked.as_ref()?)))
    }

    /// Puts every open question that was put only while a time was told again, with all of the time to answer it.
    pub(crate) fn put_again(&mut self, but: &BTreeSet<GuardId>, now: Timestamp) -> Vec<Prompt> {
        let mut prompts = Vec::new();
        for (guard, watch) in &mut self.state.guards {
            let Some(asked) = watch.asked.as_mut().filter(|_| !but.contains(guard)) else { continue };
            let time = asked.until.since(asked.asked_at);
            (asked.asked_at, asked.until) = (now, now + time);
            prompts.push(Prompt {
                guard: guard.clone(),
                device: asked.device.clone(),
                asked_at: now,
                answer_by: asked.until,
            });
        }
        self.arm_welfare();
        prompts
    }

    /// Arms the end of every open question.
    pub(crate) fn arm_welfare(&mut self) {
        let settle = self.settle();
        for (guard, watch) in &self.state.guards {
            if let Some(asked) = &watch.asked {
                self.agenda.arm(asked.until + settle, Deadline::WelfareOver(guard.clone(), asked.until));
            }
        }
    }

    /// A phone event of a guard's handset: the answer, if there was a question. The handset's clock may be off by as much
    /// as is not yet corrected.
    pub(crate) fn on_answer(&mut self, guard: &GuardId, device: &DeviceId, at: Timestamp) {
        let skew = self.site.policy.devices.max_clock_skew;
        let watch = self.watch(guard);
        let answers = |asked: &&mut Asked| asked.device == *device && at + skew >= asked.asked_at;
        if watch.asked.as_mut().filter(answers).is_none() {
            return self.on_late_answer(guard, at);
        }
        let Some(asked) = watch.asked.take() else { return };
        watch.trail.attended.insert_once(at, ());
        watch.streak = 0;
        self.report_welfare(guard, asked, Some(at));
    }

    /// An answer that was given in time and came when nobody waited for it any more: the alert that says that there was
    /// none never should have been.
    fn on_late_answer(&mut self, guard: &GuardId, at: Timestamp) {
        let Some(watch) = self.state.guards.get(guard) else { return };
        let in_time = |id: AlertId| {
            let alert = self.state.book.get(id).filter(|alert| alert.was_unanswered());
            alert.is_some_and(|a| a.detected_at <= at && a.verification.at.is_some_and(|until| at <= until))
        };
        let Some(raised) = watch.raised.iter().find(|raised| in_time(raised.alert)).copied() else { return };
        self.withdraw(raised.alert, self.state.now);
        let watch = self.watch(guard);
        watch.trail.attended.insert_once(at, ());
        watch.take_back(raised);
    }

    /// The time to answer is over.
    pub(crate) fn on_welfare_over(&mut self, guard: &GuardId, until: Timestamp) {
        let open = self.state.guards.get(guard).and_then(|w| w.asked.clone());
        let Some(asked) = open.filter(|asked| asked.until == until) else { return };
        // An answer that the agent could not hear may have been one.
        let known_at = self.state.blind.prolong(asked.asked_at, until) + self.settle();
        if known_at > self.state.now {
            return self.agenda.arm(known_at, Deadline::WelfareOver(guard.clone(), until));
        }
        self.watch(guard).asked = None;
        if let Some(pending) = asked.pending {
            self.raise_unanswered(guard, pending, until);
        }
        self.report_welfare(guard, asked, None);
    }

    /// Nobody answered: what was found is told, if it still is so and the guard is still at work.
    fn raise_unanswered(&mut self, guard: &GuardId, pending: Pending, until: Timestamp) {
        let acted = |w: &crate::watch::Watch| w.trail.proved_alive(pending.to, until.just_after());
        let awake = self.state.guards.get(guard).is_some_and(acted);
        if awake || !self.on_duty(guard, until) {
            return;
        }
        let Some(evaluation) = self.evaluate_window(guard, pending.from, pending.to) else { return };
        if !evaluation.inactive {
            return;
        }
        let mut evidence = evaluation.evidence;
        evidence.consecutive = pending.streak;
        self.raise_inactivity(guard, evidence, unanswered(until), until);
    }

    /// What came of a check is put on record if somebody ordered it, and entered in the alert that it was about.
    fn report_welfare(&mut self, guard: &GuardId, asked: Asked, answered_at: Option<Timestamp>) {
        let Asked { device, asked_at, until, command, .. } = asked;
        let Some(command) = command else { return };
        let current = self.state.book.current(Rule::Inactivity, &Subject::Guard(guard.clone()));
        if let Some(alert) = current.map(|a| a.id) {
            let verification = match answered_at {
                Some(at) => Verification { response: Some("answered".into()), ..unanswered(at) },
                None => unanswered(until),
            };
            self.revise(alert, self.state.now, |alert| {
                let new = alert.verification != verification;
                alert.verification = verification;
                new
            });
        }
        if self.is_news(&command) {
            let result = WelfareResult { command, guard: guard.clone(), device, asked_at, answered_at };
            self.effects.records.push(Record::Welfare(result));
        }
    }
}

fn unanswered(at: Timestamp) -> Verification {
    Verification {
        method: Method::Handset,
        response: Some(NO_RESPONSE.into()),
        by: Some(AGENT.into()),
        at: Some(at),
        notes: None,
    }
}
