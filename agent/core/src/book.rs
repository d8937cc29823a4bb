//! The book of alerts: raised once for each episode, changed by revisions, never forgotten while they can change.

use crate::alert::{Alert, AlertId, Rule, Severity, Status, Step, Subject, Verification};
use crate::deadline::Deadline;
use crate::engine::Engine;
use crate::evidence::Evidence;
use crate::id::GuardId;
use crate::rules::storm::Storms;
use crate::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How long late evidence can still correct what was judged (rules, section 6).
pub const LATE: Span = Span::from_hours(72);

/// How the agent signs what it did itself.
pub(crate) const AGENT: &str = "agent";

/// Every alert that can still change, and which of them are the current episode of their subject.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AlertBook {
    alerts: BTreeMap<AlertId, Alert>,
    current: BTreeMap<(Rule, Subject), AlertId>,
    muted: BTreeMap<Rule, u64>,
    /// Under which id an alert is told whose detection is another one than it was found with.
    told_as: BTreeMap<AlertId, AlertId>,
    /// What was found and is told to nobody by itself.
    held: BTreeMap<AlertId, Held>,
    pub(crate) storms: Storms,
}

/// Why an alert is not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Held {
    /// A maintenance interval mutes its rule until then.
    Muted(Timestamp),
    /// It is one of many: this storm tells of them all.
    InStorm(AlertId),
}

/// What a rule found.
#[derive(Debug)]
pub(crate) struct Finding {
    pub rule: Rule,
    pub severity: Severity,
    pub subject: Subject,
    pub guard: Option<GuardId>,
    pub detected_at: Timestamp,
    pub summary: String,
    pub evidence: Evidence,
}

impl AlertBook {
    /// Every alert that was told, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Alert> {
        self.alerts.values().filter(|a| !self.held.contains_key(&a.id))
    }

    /// Every alert, told or not.
    pub(crate) fn every(&self) -> impl Iterator<Item = &Alert> {
        self.alerts.values()
    }

    /// An alert that was told.
    pub(crate) fn told(&self, id: AlertId) -> Option<&Alert> {
        self.get(id).filter(|alert| !self.held.contains_key(&alert.id))
    }

    /// Every alert that is not told, with the reason.
    pub(crate) fn held(&self) -> impl Iterator<Item = (&Alert, Held)> {
        self.held.iter().filter_map(|(id, why)| Some((self.alerts.get(id)?, *why)))
    }

    /// Tells nobody of an alert by itself from now on.
    pub(crate) fn hold(&mut self, id: AlertId, why: Held) {
        self.held.insert(id, why);
    }

    /// Takes an alert out that was never told: its subject has no episode any more.
    pub(crate) fn take_held(&mut self, id: AlertId) -> Option<Alert> {
        self.held.remove(&id)?;
        let alert = self.alerts.remove(&id)?;
        self.current.retain(|_, current| *current != id);
        Some(alert)
    }

    /// What is known as `found` is told as `told` from now on.
    pub(crate) fn tell_as(&mut self, found: AlertId, told: AlertId) {
        self.told_as.insert(found, told);
    }

    /// The alert of the current episode of `subject`, if there is one.
    pub fn current(&self, rule: Rule, subject: &Subject) -> Option<&Alert> {
        self.current.get(&(rule, subject.clone())).and_then(|id| self.alerts.get(id))
    }

    /// Every alert of `subject` that is neither cleared nor closed, of this episode and of earlier ones.
    pub fn open(&self, rule: Rule, subject: &Subject) -> impl Iterator<Item = &Alert> {
        self.about(subject).filter(move |a| a.rule == rule && a.is_open())
    }

    /// Every alert of `subject` that is not cleared, whatever people made of it.
    pub(crate) fn uncleared(&self, rule: Rule, subject: &Subject) -> impl Iterator<Item = &Alert> {
        self.about(subject).filter(move |a| a.rule == rule && a.cleared_at.is_none())
    }

    /// Every alert of `subject`, of whichever rule and episode, told or not.
    pub(crate) fn about(&self, subject: &Subject) -> impl Iterator<Item = &Alert> {
        self.alerts.values().filter(move |a| a.subject == *subject)
    }

    /// Takes back an alert that was forgotten, as the store has it: somebody has more to say of it. It is no episode of
    /// now.
    pub(crate) fn take_back(&mut self, alert: &Alert) {
        self.alerts.entry(alert.id).or_insert_with(|| alert.clone());
    }

    /// One alert, under the id with which it was found or told.
    pub fn get(&self, id: AlertId) -> Option<&Alert> {
        self.alerts.get(&self.as_told(id))
    }

    /// The id under which an alert was first told.
    pub(crate) fn as_told(&self, id: AlertId) -> AlertId {
        self.told_as.get(&id).copied().unwrap_or(id)
    }

    /// Takes an alert as it is.
    pub(crate) fn put(&mut self, alert: Alert) {
        self.alerts.insert(alert.id, alert);
    }

    /// How many findings of each rule a maintenance interval muted.
    pub const fn muted(&self) -> &BTreeMap<Rule, u64> {
        &self.muted
    }

    /// Forgets alerts that nothing can change any more: over, or past late evidence. A run comes once, and no scan
    /// reaches it after that time; a guard and a device may still come back.
    pub(crate) fn forget_before(&mut self, instant: Timestamp) {
        let alerts = &self.alerts;
        let over = |id: &AlertId| alerts.get(id).is_none_or(|a| a.updated_at < instant);
        self.current.retain(|(_, subject), id| !(matches!(subject, Subject::Run(..)) && over(id)));
        let current: std::collections::BTreeSet<AlertId> = self.current.values().copied().collect();
        self.alerts.retain(|id, a| a.updated_at >= instant || current.contains(id));
        self.told_as.retain(|_, id| self.alerts.contains_key(id));
        self.held.retain(|id, _| self.alerts.contains_key(id));
        self.storms.forget(|id| self.alerts.contains_key(&id));
    }
}

impl Engine {
    /// Raises an alert, unless it was raised before or is muted; opens the episode of its subject.
    pub(crate) fn raise(&mut self, finding: Finding, now: Timestamp) -> Option<AlertId> {
        self.raise_verified(finding, Verification::NONE, now)
    }

    /// The same, with what was found out before it was told.
    pub(crate) fn raise_verified(
        &mut self,
        finding: Finding,
        verification: Verification,
        now: Timestamp,
    ) -> Option<AlertId> {
        if self.waits(finding.rule) {
            return None;
        }
        let own = self.alert_id(finding.rule, &finding.subject, finding.detected_at);
        if self.state.book.alerts.contains_key(&own) {
            return None;
        }
        let known_as = self.take_told(finding.rule, &finding.subject);
        // What people know of is not kept back, whatever a clock that was put right says of it.
        let told = known_as.is_some();
        let muted_until = self.muted_until(finding.rule, finding.detected_at).filter(|_| !told);
        if muted_until.is_some() {
            if !self.was_found_before(&finding.evidence) {
                *self.state.book.muted.entry(finding.rule).or_default() += 1;
                self.state.facts.on_muted(finding.rule, finding.detected_at);
            }
            if finding.rule == Rule::Inactivity {
                // It is evaluated again in every cycle: what goes on is found again when it may be told.
                return None;
            }
        }
        let id = known_as.unwrap_or(own);
        if id != own {
            self.state.book.told_as.insert(own, id);
        }
        let (at, note) = (finding.detected_at, self.note_on_time());
        let doubt =
            if self.is_provisional() { " (the gateway's clock is not set: the time is a guess)" } else { "" };
        let raised = Step { at, by: AGENT.into(), status: Status::Detected, note };
        let alert = Alert {
            id,
            revision: 1,
            site: self.site.id.clone(),
            rule: finding.rule,
            severity: finding.severity,
            status: Status::Detected,
            subject: finding.subject.clone(),
            guard: finding.guard,
            detected_at: finding.detected_at,
            updated_at: now,
            cleared_at: None,
            escalated: false,
            summary: finding.summary + doubt,
            evidence: finding.evidence,
            verification,
            history: vec![raised],
        };
        self.state.book.current.insert((finding.rule, finding.subject), id);
        self.state.book.alerts.insert(id, alert.clone());
        match muted_until {
            Some(until) => self.keep_back(id, until),
            None => self.tell_of_new(alert, told),
        }
        Some(id)
    }

    /// Whether a sleeper was found in an earlier cycle: one episode counts once, however long it is mute.
    fn was_found_before(&self, evidence: &Evidence) -> bool {
        let enough = u32::from(self.site.policy.inactivity.consecutive);
        matches!(evidence, Evidence::Inactivity(e) if e.consecutive > enough)
    }

    /// Tells of an alert, by itself or as one of many; `told` if that was done before, by a clock that was wrong.
    fn tell_of_new(&mut self, alert: Alert, told: bool) {
        self.state.facts.on_alert(&alert, self.state.now);
        self.arm_escalation(alert.id);
        if !self.joins_a_storm(&alert, told) {
            self.effects.alerts.push(alert);
        }
    }

    /// Changes an alert; the change is a revision of its own unless it says that there is none.
    pub(crate) fn revise(&mut self, id: AlertId, now: Timestamp, change: impl FnOnce(&mut Alert) -> bool) {
        let id = self.state.book.as_told(id);
        let Some(alert) = self.state.book.alerts.get_mut(&id) else { return };
        if !change(alert) {
            return;
        }
        alert.updated_at = alert.updated_at.max(now);
        let over = !alert.is_open();
        let key = (alert.rule, alert.subject.clone());
        if over && self.state.book.current.get(&key) == Some(&id) {
            self.state.book.current.remove(&key);
        }
        self.tell_of_change(id);
        self.look_at_storms(id, now);
    }

    /// Tells of an alert that has changed. One that is held has told no revision yet; a person's word brings it out.
    fn tell_of_change(&mut self, id: AlertId) {
        let held = self.state.book.held.get(&id).copied();
        let Some(alert) = self.state.book.alerts.get_mut(&id) else { return };
        let touched = alert.history.last().is_some_and(|step| step.by != AGENT);
        match held {
            None => alert.revision += 1,
            Some(Held::InStorm(_)) if touched => drop(self.state.book.held.remove(&id)),
            Some(Held::InStorm(_)) => return self.state.facts.on_alert(alert, self.state.now),
            Some(Held::Muted(_)) => return,
        }
        self.state.facts.on_alert(alert, self.state.now);
        self.effects.alerts.push(alert.clone());
    }

    /// The episode is over; the status stays with the operator. What is told later may have cleared it earlier.
    pub(crate) fn clear(&mut self, id: AlertId, cleared_at: Timestamp, now: Timestamp) {
        self.revise(id, now, |alert| clear_no_later(alert, cleared_at));
    }

    /// What cleared the alert of a run is known better now: it is over since another instant, or it is not. What late
    /// evidence has withdrawn stays so.
    pub(crate) fn clear_as(&mut self, id: AlertId, cleared_at: Option<Timestamp>, now: Timestamp) {
        self.revise(id, now, |alert| {
            let changed = !was_withdrawn(alert) && alert.cleared_at != cleared_at;
            if changed {
                alert.cleared_at = cleared_at;
            }
            changed
        });
        let book = &mut self.state.book;
        let open = book.get(id).filter(|alert| alert.is_open());
        if let Some((key, id)) = open.map(|alert| ((alert.rule, alert.subject.clone()), alert.id)) {
            book.current.entry(key).or_insert(id);
            self.tell_without_storm(id);
            // It was not waiting when it was due, and is now.
            self.arm_escalation(id);
        }
    }

    /// An alert stands again whose storm is over: nobody else tells of it any more.
    fn tell_without_storm(&mut self, id: AlertId) {
        let book = &mut self.state.book;
        if let Some(Held::InStorm(storm)) = book.held.get(&id)
            && !book.storms.is_going(*storm)
        {
            book.held.remove(&id);
            self.effects.alerts.extend(book.alerts.get(&id).cloned());
        }
    }

    /// The episode is over, and so is the alert. Here too, what is told later may have ended it earlier.
    pub(crate) fn clear_and_resolve(
        &mut self,
        id: AlertId,
        cleared_at: Timestamp,
        note: &str,
        now: Timestamp,
    ) {
        self.revise(id, now, |alert| {
            let cleared = clear_no_later(alert, cleared_at);
            step(alert, cleared_at, Status::Resolved, note) || cleared
        });
    }

    /// Late evidence shows that it never was so.
    pub(crate) fn withdraw(&mut self, id: AlertId, now: Timestamp) {
        self.revise(id, now, |alert| {
            let withdrawn = step(alert, now, Status::FalsePositive, "late evidence");
            if withdrawn {
                alert.cleared_at = Some(now);
            }
            withdrawn
        });
    }

    /// Arms the deadline of an alert that must be answered: critical tasks and mandatory tours.
    pub(crate) fn arm_escalation(&mut self, id: AlertId) {
        let Some(alert) = self.state.book.alerts.get(&id) else { return };
        let answerable = match (&alert.rule, &alert.subject) {
            (Rule::TourMissed | Rule::TourPartial, Subject::Run(tour, _)) => {
                self.site.tour(tour).is_some_and(|t| t.mandatory)
            }
            (Rule::TaskOverdue, Subject::Task(task)) => self.state.tasks.is_critical(task),
            (Rule::Storm, _) => self.storm_must_be_answered(id),
            _ => false,
        };
        let due = alert.detected_at + self.site.policy.tasks.escalation_delay;
        let judged_at = due + self.settle();
        // One that was answered or cleared after it was due is still to be judged, but not long afterwards.
        let open = self.is_to_come(judged_at) || alert.is_waiting_at(self.state.now);
        if self.site.policy.tasks.auto_escalate && answerable && open && alert.escalates_at(due) {
            self.agenda.arm(judged_at, Deadline::Escalate(id));
        }
    }

    /// Nobody answered in time.
    pub(crate) fn on_escalate(&mut self, id: AlertId) {
        let delay = self.site.policy.tasks.escalation_delay;
        if self.state.book.held.contains_key(&id) {
            // Nobody was asked: a storm is answered for all of its members, and what is muted for none.
            return;
        }
        let Some(due) = self.state.book.get(id).map(|a| a.detected_at + delay) else { return };
        self.revise(id, due, |alert| {
            let waiting = alert.escalates_at(due);
            alert.escalated |= waiting;
            waiting
        });
    }
}

/// Whether this is earlier than what was known of the end of an alert, which it then becomes.
fn clear_no_later(alert: &mut Alert, cleared_at: Timestamp) -> bool {
    let earlier = !was_withdrawn(alert) && alert.cleared_at.is_none_or(|before| cleared_at < before);
    if earlier {
        alert.cleared_at = Some(cleared_at);
    }
    earlier
}

fn was_withdrawn(alert: &Alert) -> bool {
    alert.status == Status::FalsePositive && alert.cleared_at.is_some()
}

fn step(alert: &mut Alert, at: Timestamp, status: Status, note: &str) -> bool {
    let legal = alert.status.may_become(status);
    if legal {
        alert.status = status;
        alert.history.push(Step { at, by: AGENT.into(), status, note: Some(note.to_owned()) });
    }
    legal
}
