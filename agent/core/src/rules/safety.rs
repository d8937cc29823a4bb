//! Section 7: calls for help. At once, never gated, muted, grouped or settled; open until an operator ends them.

use crate::alert::{Rule, Severity, Subject};
use crate::book::Finding;
use crate::engine::Engine;
use crate::evidence::{Evidence, SafetyEvidence};
use crate::site::Device;
use crate::time::Timestamp;

impl Engine {
    /// Somebody calls for help.
    pub(crate) fn on_sos(&mut self, device: &Device, at: Timestamp, note: Option<&str>) {
        self.call_for_help(Rule::Sos, device, at, note);
    }

    /// A handset believes that its guard has fallen.
    pub(crate) fn on_man_down(&mut self, device: &Device, at: Timestamp) {
        self.call_for_help(Rule::ManDown, device, at, None);
    }

    fn call_for_help(&mut self, rule: Rule, device: &Device, at: Timestamp, note: Option<&str>) {
        let guard = self.carrier(device, at);
        let subject = guard.clone().map_or_else(|| Subject::Device(device.id.clone()), Subject::Guard);
        let last_position =
            guard.as_ref().and_then(|g| self.state.guards.get(g)).and_then(|w| w.last_position.clone());
        let evidence = Evidence::Safety(SafetyEvidence {
            device: device.id.clone(),
            guard: guard.clone(),
            note: note.map(str::to_owned),
            last_position,
        });
        if let Some(open) = self.state.book.current(rule, &subject) {
            // Pressed again: one emergency, with its latest position.
            let (id, now) = (open.id, self.state.now);
            self.revise(id, now, |alert| {
                let new = alert.evidence != evidence && alert.updated_at < now;
                if new {
                    alert.evidence = evidence;
                }
                new
            });
            return;
        }
        let who =
            guard.as_ref().and_then(|g| self.site.guard(g)).map_or(device.id.as_str(), |g| g.name.as_str());
        let what = if rule == Rule::Sos { "calls for help" } else { "may have fallen" };
        let clock = at.local_clock(self.site.timezone);
        let summary = match note {
            Some(note) => format!("{who} {what} at {clock}: {note}"),
            None => format!("{who} {what} at {clock}"),
        };
        let finding = Finding {
            rule,
            severity: Severity::Critical,
            subject,
            guard,
            detected_at: at,
            summary,
            evidence,
        };
        self.raise(finding, self.state.now);
    }
}
