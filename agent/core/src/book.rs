//! The book of alerts: raised once for each episode, changed by revisions, never forgotten while they can change.

use crate::alert::{Alert, AlertId, Rule, Severity, Status, Step, Subject, Verification};
use crate::deadline::Deadline;
use crate::engine::Engine;
use crate::evidence::Evidence;
use crate::id::GuardId;
use crate::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How long late evidence can still correct what was judged (rules, section 6).
pub const LATE: Span = Span::from_hours(72);

/// Every alert that can still change, and which of them are the current episode of their subject.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AlertBook {
    alerts: BTreeMap<AlertId, Alert>,
    current: BTreeMap<(Rule, Subject), AlertId>,
    muted: BTreeMap<Rule, u64>,
    /// Under which id an alert was told whose detection was corrected later.
    told_as: BTreeMap<AlertId, AlertId>,
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
    /// Every alert, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Alert> {
        self.alerts.values()
    }

    /// The alert of the current episode of `subject`, if there is one.
    pub fn current(&self, rule: Rule, subject: &Subject) -> Option<&Alert> {
        self.current.get(&(rule, subject.clone())).and_then(|id| self.alerts.get(id))
    }

    /// Every alert of `subject` that is neither cleared nor closed, of this episode and of earlier ones.
    pub fn open(&self, rule: Rule, subject: &Subject) -> impl Iterator<Item = &Alert> {
        let open = |a: &&Alert| a.cleared_at.is_none() && !a.status.is_final();
        self.alerts.values().filter(move |a| a.rule == rule && a.subject == *subject).filter(open)
    }

    /// Every alert of `subject` that is not cleared, whatever people made of it.
    pub(crate) fn uncleared(&self, rule: Rule, subject: &Subject) -> impl Iterator<Item = &Alert> {
        self.alerts
            .values()
            .filter(move |a| a.rule == rule && a.subject == *subject && a.cleared_at.is_none())
    }

    /// Takes back an alert that was forgotten, as the store has it: somebody has more to say of it. It is no episode of
    /// now.
    pub(crate) fn take_back(&mut self, alert: &Alert) {
        self.alerts.entry(alert.id).or_insert_with(|| alert.clone());
    }

    /// One alert.
    pub fn get(&self, id: AlertId) -> Option<&Alert> {
        self.alerts.get(&id)
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
    }
}

impl Engine {
    /// Raises an alert, unless it was raised before or is muted; opens the episode of its subject.
    pub(crate) fn raise(&mut self, finding: Finding, now: Timestamp) -> Option<AlertId> {
        if self.waits(finding.rule) {
            return None;
        }
        let own = self.alert_id(finding.rule, &finding.subject, finding.detected_at);
        if self.is_muted(finding.rule, finding.detected_at) {
            *self.state.book.muted.entry(finding.rule).or_default() += 1;
            self.state.facts.on_muted(finding.rule, finding.detected_at);
            return None;
        }
        if self.state.book.alerts.contains_key(&own) {
            return None;
        }
        let id = self.take_told(finding.rule, &finding.subject).unwrap_or(own);
        if id != own {
            self.state.book.told_as.insert(own, id);
        }
        let (at, note) = (finding.detected_at, self.note_on_time());
        let doubt =
            if self.is_provisional() { " (the gateway's clock is not set: the time is a guess)" } else { "" };
        let raised = Step { at, by: "agent".into(), status: Status::Detected, note };
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
            verification: Verification::NONE,
            history: vec![raised],
        };
        self.state.book.current.insert((finding.rule, finding.subject), id);
        self.state.facts.on_alert(&alert, self.state.now);
        self.effects.alerts.push(alert.clone());
        self.state.book.alerts.insert(id, alert);
        self.arm_escalation(id);
        Some(id)
    }

    /// Changes an alert; the change is a revision of its own unless it says that there is none.
    pub(crate) fn revise(&mut self, id: AlertId, now: Timestamp, change: impl FnOnce(&mut Alert) -> bool) {
        let Some(alert) = self.state.book.alerts.get_mut(&id) else { return };
        if !change(alert) {
            return;
        }
        alert.revision += 1;
        alert.updated_at = alert.updated_at.max(now);
        let over = alert.cleared_at.is_some() || alert.status.is_final();
        let key = (alert.rule, alert.subject.clone());
        self.state.facts.on_alert(alert, self.state.now);
        self.effects.alerts.push(alert.clone());
        if over && self.state.book.current.get(&key) == Some(&id) {
            self.state.book.current.remove(&key);
        }
    }

    /// The episode is over; the status stays with the operator. What is told later may have cleared it earlier.
    pub(crate) fn clear(&mut self, id: AlertId, cleared_at: Timestamp, now: Timestamp) {
        self.revise(id, now, |alert| {
            let withdrawn = alert.status == Status::FalsePositive && alert.cleared_at.is_some();
            let earlier = !withdrawn && alert.cleared_at.is_none_or(|before| cleared_at < before);
            if earlier {
                alert.cleared_at = Some(cleared_at);
            }
            earlier
        });
    }

    /// The episode is over, and so is the alert.
    pub(crate) fn clear_and_resolve(
        &mut self,
        id: AlertId,
        cleared_at: Timestamp,
        note: &str,
        now: Timestamp,
    ) {
        self.revise(id, now, |alert| {
            let open = alert.cleared_at.is_none();
            alert.cleared_at = alert.cleared_at.or(Some(cleared_at));
            step(alert, cleared_at, Status::Resolved, note) || open
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

    fn is_muted(&self, rule: Rule, at: Timestamp) -> bool {
        let never = matches!(rule, Rule::Sos | Rule::ManDown);
        !never
            && self.site.policy.maintenance.iter().any(|m| {
                m.starts_at <= at && at < m.ends_at && (m.rules.is_empty() || m.rules.contains(&rule))
            })
    }

    /// Arms the deadline of an alert that must be answered: critical tasks and mandatory tours.
    pub(crate) fn arm_escalation(&mut self, id: AlertId) {
        let Some(alert) = self.state.book.alerts.get(&id) else { return };
        let answerable = match (&alert.rule, &alert.subject) {
            (Rule::TourMissed | Rule::TourPartial, Subject::Run(tour, _)) => {
                self.site.tour(tour).is_some_and(|t| t.mandatory)
            }
            (Rule::TaskOverdue, Subject::Task(task)) => self.state.tasks.is_critical(task),
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
        let Some(due) = self.state.book.get(id).map(|a| a.detected_at + delay) else { return };
        self.revise(id, due, |alert| {
            let waiting = alert.escalates_at(due);
            alert.escalated |= waiting;
            waiting
        });
    }
}

fn step(alert: &mut Alert, at: Timestamp, status: Status, note: &str) -> bool {
    let legal = alert.status.may_become(status);
    if legal {
        alert.status = status;
        alert.history.push(Step { at, by: "agent".into(), status, note: Some(note.to_owned()) });
    }
    legal
}
