//! Section 11: maintenance intervals mute chosen rules. What they mute is counted, kept back, and told when the interval
//! is over and it still stands: a handset that died under maintenance is dead afterwards too.

use crate::alert::AlertId;
use crate::alert::{Alert, Rule, Subject};
use crate::book::{Finding, Held};
use crate::deadline::Deadline;
use crate::engine::Engine;
use crate::evidence::Evidence;
use crate::time::Timestamp;

impl Engine {
    /// Until when a rule is mute at an instant; `None` if it is not. A call for help is never muted.
    pub(crate) fn muted_until(&self, rule: Rule, at: Timestamp) -> Option<Timestamp> {
        // A storm is mute as its members are.
        if matches!(rule, Rule::Sos | Rule::ManDown | Rule::Storm) {
            return None;
        }
        let mutes = |m: &&crate::policy::Maintenance| {
            m.starts_at <= at && at < m.ends_at && (m.rules.is_empty() || m.rules.contains(&rule))
        };
        self.site.policy.maintenance.iter().filter(mutes).map(|m| m.ends_at).max()
    }

    /// Keeps a finding back until its rule is not mute any more.
    pub(crate) fn keep_back(&mut self, id: AlertId, until: Timestamp) {
        self.state.book.hold(id, Held::Muted(until));
        self.agenda.arm(until + self.settle(), Deadline::Unmuted(until));
    }

    /// Arms the end of every interval that keeps something back.
    pub(crate) fn arm_muted(&mut self) {
        let settle = self.settle();
        for (_, why) in self.state.book.held() {
            if let Held::Muted(until) = why {
                self.agenda.arm(until + settle, Deadline::Unmuted(until));
            }
        }
    }

    /// An interval is over, or the policy has changed: what is kept back and is not mute any more is told if it stands.
    pub(crate) fn on_unmuted(&mut self, at: Timestamp) {
        let muted = |(alert, why): (&Alert, Held)| matches!(why, Held::Muted(_)).then(|| alert.clone());
        let kept: Vec<Alert> = self.state.book.held().filter_map(muted).collect();
        for alert in kept {
            match self.muted_until(alert.rule, at) {
                Some(until) => self.keep_back(alert.id, until),
                // It is looked at again when the time is known.
                None if self.waits(alert.rule) => {}
                None => self.bring_up(alert.id, at),
            }
        }
    }

    /// From `at` on a finding may be told: it is an alert of that instant, if it is still so.
    fn bring_up(&mut self, id: AlertId, at: Timestamp) {
        let Some(alert) = self.state.book.take_held(id) else { return };
        if !self.stands(&alert, at) {
            return;
        }
        let Alert { rule, severity, subject, guard, summary, evidence, .. } = alert;
        let finding = Finding { rule, severity, subject, guard, detected_at: at, summary, evidence };
        if let Some(told) = self.raise(finding, at) {
            self.state.book.tell_as(id, told);
        }
    }

    /// Whether what was found is still so. Of a run that is over nothing can be mended any more.
    fn stands(&self, alert: &Alert, at: Timestamp) -> bool {
        let passed = match (&alert.subject, &alert.evidence) {
            (Subject::Run(tour, scheduled_at), _) => {
                let run = self.state.runs.get(&(*scheduled_at, tour.clone()));
                run.is_none_or(|run| run.close_by <= at)
            }
            (_, Evidence::Absence(shift)) => shift.ends_at <= at,
            _ => false,
        };
        !passed && alert.is_open()
    }
}
