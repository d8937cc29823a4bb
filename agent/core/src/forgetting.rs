//! What is too old to matter is forgotten, once an hour: the state does not grow with history.

use crate::book::LATE;
use crate::engine::Engine;
use crate::id::{DeviceId, GuardId};
use crate::time::Span;

impl Engine {
    /// Forgets what nothing can change any more.
    pub(crate) fn on_forget(&mut self) {
        let horizon = self.state.now - LATE;
        self.remember_facts(horizon);
        // Now, while the instruments still know what was told of them in the last hour.
        if let Some(from) = self.state.told_late.take() {
            self.reopen_unheard_runs(from);
        }
        self.state.book.forget_before(horizon);
        self.state.runs.forget_before(horizon);
        // Late evidence may still correct a run: who was there then, and what the agent saw, outlives it.
        let attended_from = self.state.runs.opens_from().map_or(horizon, |opens| opens.min(horizon));
        self.state.blind.forget_before(attended_from);
        self.state.roster.forget_before(attended_from);
        self.state.tasks.forget_before(horizon);
        let attendance = self.site.policy.attendance.clone();
        let guards: Vec<GuardId> = self.state.guards.keys().cloned().collect();
        for guard in guards {
            let keep_from = self.keep_from(&guard, horizon);
            if let Some(watch) = self.state.guards.get_mut(&guard) {
                watch.duty.forget_before(attended_from, &attendance);
                watch.forget_before(keep_from, horizon);
            }
        }
        let site = &self.site;
        self.state.guards.retain(|guard, watch| site.guard(guard).is_some() || !watch.is_over());
        self.shapes.retain(|guard, _| self.state.guards.contains_key(guard));
        let known = |device: &DeviceId| site.device(device.as_str()).is_some();
        self.state.devices.retain(|d, i| known(d) || i.last_received_at.is_some_and(|t| t >= horizon));
        let heard_from = self.state.now - Span::from_hours(26);
        self.state.devices.values_mut().for_each(|d| d.forget_before(heard_from, horizon));
    }
}
