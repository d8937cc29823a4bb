//! Section 8: a battery that will not last. Readings count in order of event time, whatever the order of arrival.

use crate::alert::{AlertId, Rule, Severity, Subject};
use crate::book::Finding;
use crate::deadline::Deadline;
use crate::engine::Engine;
use crate::evidence::{BatteryEvidence, Evidence};
use crate::id::DeviceId;
use crate::site::Device;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is known of a device's charge.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Charge {
    /// When the latest reading was made.
    read_at: Option<Timestamp>,
    /// Readings that have not settled. One for each second of `settle` at most, and one that came late.
    unsettled: BTreeMap<Timestamp, Reading>,
    /// The latest reading that was judged: what was read before it is history.
    judged: Option<Timestamp>,
    /// Whether the battery is low, and the alert that says so.
    low: bool,
    alert: Option<AlertId>,
}

/// One reading that has not settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Reading {
    permille: u16,
    judged_at: Timestamp,
    late: bool,
}

impl Charge {
    /// Our own clock was set back: whatever is read next is the latest.
    pub(crate) fn forget_readings(&mut self) {
        (self.read_at, self.judged) = (None, None);
        self.unsettled.clear();
    }

    /// Takes a reading; false if a newer one has made it history.
    fn take(&mut self, at: Timestamp, reading: Reading) -> bool {
        let newer = self.unsettled.range(at.just_after()..).next().is_some();
        if self.judged.is_some_and(|judged| at <= judged) || (reading.late && newer) {
            return false;
        }
        // A backlog is judged by its newest reading: the others say what was, not what is.
        self.unsettled.retain(|read_at, known| *read_at >= at || !known.late);
        let known = self.unsettled.entry(at).or_insert(reading);
        known.permille = known.permille.min(reading.permille);
        true
    }
}

impl Engine {
    /// A device says how much charge it has left.
    pub(crate) fn on_charge(&mut self, device: &Device, at: Timestamp, permille: u16) {
        let (now, settle) = (self.state.now, self.settle());
        let late = now > at + settle;
        let judged_at = if late { now } else { at } + settle;
        let instrument = self.instrument(&device.id);
        if instrument.charge.read_at.is_none_or(|read_at| at >= read_at) {
            instrument.charge.read_at = Some(at);
            instrument.battery_permille = Some(permille);
        }
        if instrument.charge.take(at, Reading { permille, judged_at, late }) {
            self.agenda.arm(judged_at, Deadline::Charge(device.id.clone(), at));
        }
    }

    /// Arms the judgement of every reading that has not settled.
    pub(crate) fn arm_charge(&mut self, device: &DeviceId) {
        let Some(instrument) = self.state.devices.get(device) else { return };
        for (at, reading) in &instrument.charge.unsettled {
            self.agenda.arm(reading.judged_at, Deadline::Charge(device.clone(), *at));
        }
    }

    /// A reading has settled.
    pub(crate) fn on_charge_settled(&mut self, device: &DeviceId, at: Timestamp) {
        let (low_below, ok_from) =
            (self.site.policy.devices.battery_low, self.site.policy.devices.battery_ok);
        let now = self.state.now;
        let Some(instrument) = self.state.devices.get_mut(device) else { return };
        let charge = &mut instrument.charge;
        let Some(reading) = charge.unsettled.remove(&at) else { return };
        charge.unsettled.retain(|read_at, _| *read_at > at);
        charge.judged = charge.judged.max(Some(at));
        if !charge.low && reading.permille < low_below.get() {
            self.raise_low(device, at, reading.permille);
        } else if charge.low && reading.permille >= ok_from.get() {
            charge.low = false;
            if let Some(alert) = charge.alert.take() {
                let note = format!("charged to {} %", reading.permille / 10);
                self.clear_and_resolve(alert, at, &note, now);
            }
        }
    }

    fn raise_low(&mut self, device: &DeviceId, at: Timestamp, permille: u16) {
        let Some(known) = self.site.device(device.as_str()) else { return };
        let guard = self.carrier(known, at);
        let whose = guard.as_ref().and_then(|g| self.site.guard(g)).map(|g| format!(" of {}", g.name));
        let finding = Finding {
            rule: Rule::DeviceBatteryLow,
            severity: Severity::Low,
            subject: Subject::Device(device.clone()),
            guard,
            detected_at: at,
            summary: format!(
                "device {device}{} has {} % of its charge left",
                whose.unwrap_or_default(),
                permille / 10
            ),
            evidence: Evidence::Battery(BatteryEvidence {
                device: device.clone(),
                battery_permille: permille,
                read_at: at,
            }),
        };
        let alert = self.raise(finding, at);
        let charge = &mut self.instrument(device).charge;
        (charge.low, charge.alert) = (true, alert);
    }
}
