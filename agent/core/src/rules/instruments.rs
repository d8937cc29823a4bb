//! Section 8: handsets, readers and receivers that fall silent; and what their messages prove.

use crate::alert::{AlertId, Rule, Severity, Subject};
use crate::book::{Finding, LATE};
use crate::deadline::Deadline;
use crate::engine::Engine;
use crate::evidence::{Evidence, LastPosition, SilenceEvidence};
use crate::id::{DeviceId, GuardId};
use crate::movement::{MAX_ACCURACY_M, PHONE_ACCURACY_M, RECEIVER_ACCURACY_M};
use crate::observation::{Fix, Heartbeat, Identity};
use crate::rules::battery::Charge;
use crate::rules::skew::Skew;
use crate::site::{Device, DeviceKind};
use crate::time::Timestamp;
use crate::windows::{Intervals, Series, TrailFix, trail::hear};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, VecDeque};

/// How many identities of one device are remembered: two full backlog arrays, or eight hours of heartbeats and fixes.
const REMEMBERED: usize = 1_000;

/// The end of time, for a last will that is still in force.
const EVER: Timestamp = Timestamp::from_millis(i64::MAX);

/// What is known of one device.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Instrument {
    /// When its last message was received.
    pub last_received_at: Option<Timestamp>,
    /// Since when its last will has been in force.
    pub offline_since: Option<Timestamp>,
    /// Whether that will has been judged: until then a restart has to remember that it is due.
    pub(crate) offline_judged: bool,
    /// Its last charge in thousandths.
    pub battery_permille: Option<u16>,
    pub(crate) charge: Charge,
    /// Whether it ever sent a heartbeat: only then can a reader fall silent.
    pub has_heartbeat: bool,
    /// Who took up a handset that nobody owns, and when: a backlog belongs to whoever carried it then.
    pub carriers: Series<GuardId>,
    /// When it could be heard.
    pub heard: Intervals,
    /// Whether it is silent now, and the alert that says so, if none muted it.
    pub(crate) silent: bool,
    pub(crate) silence: Option<AlertId>,
    /// What its messages say of its clock.
    pub(crate) skew: Skew,
    pub(crate) recent: Recent,
}

/// The latest identities of one device: in order for forgetting, sorted for finding. Only the order is stored.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "VecDeque<Identity>", into = "VecDeque<Identity>")]
pub(crate) struct Recent {
    order: VecDeque<Identity>,
    known: BTreeSet<Identity>,
}

impl From<VecDeque<Identity>> for Recent {
    fn from(order: VecDeque<Identity>) -> Self {
        Self { known: order.iter().copied().collect(), order }
    }
}

impl From<Recent> for VecDeque<Identity> {
    fn from(recent: Recent) -> Self {
        recent.order
    }
}

impl Recent {
    /// Whether an event is among them.
    pub(crate) fn knows(&self, identity: Identity) -> bool {
        self.known.contains(&identity)
    }

    /// Whether an event is new; remembers it.
    pub(crate) fn is_new(&mut self, identity: Identity) -> bool {
        if !self.known.insert(identity) {
            return false;
        }
        self.order.push_back(identity);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

impl Instrument {
    /// Forgets what was heard before `heard_from`, and who carried it before the one who did at `horizon`.
    pub(crate) fn forget_before(&mut self, heard_from: Timestamp, horizon: Timestamp) {
        self.heard.forget_before(heard_from);
        if let Some((since, _)) = self.carriers.last_before(horizon) {
            let since = *since;
            self.carriers.forget_before(since);
        }
    }
}

impl Engine {
    /// What is known of a device, from its first word on.
    pub(crate) fn instrument(&mut self, device: &DeviceId) -> &mut Instrument {
        self.state.devices.entry(device.clone()).or_default()
    }

    /// Who carries a device at an instant: its owner, else the guard who last checked in on it.
    pub(crate) fn carrier(&self, device: &Device, at: Timestamp) -> Option<GuardId> {
        let carriers = || self.state.devices.get(&device.id).map(|i| &i.carriers);
        let carried = || carriers()?.last_before(at.just_after()).map(|(_, guard)| guard.clone());
        device.guard.clone().or_else(carried)
    }

    /// Any message but a last will: the device lives.
    pub(crate) fn on_heard(&mut self, device: &Device, at: Timestamp, received_at: Timestamp) {
        let silent_after = self.site.policy.devices.silent_after;
        let instrument = self.instrument(&device.id);
        let first = instrument.last_received_at.is_none();
        instrument.last_received_at = instrument.last_received_at.max(Some(received_at));
        let offline_since = instrument.offline_since.take();
        hear(&mut instrument.heard, at, silent_after);
        let silent = std::mem::take(&mut instrument.silent);
        if let Some(alert) = instrument.silence.take() {
            self.clear_and_resolve(alert, received_at, "heard again", received_at);
        }
        if silent {
            self.state.facts.on_back(&device.id, received_at);
        }
        if first || silent || offline_since.is_some() {
            self.arm_silence(&device.id);
        }
        if device.kind == DeviceKind::Handset
            && let Some(guard) = self.carrier(device, at)
        {
            if received_at.since(at) <= LATE {
                self.state.facts.on_heard(&guard, at, silent_after);
            }
            let hearing = self.watch(&guard).trail.handset(&device.id);
            hear(&mut hearing.heard, at, silent_after);
            hearing.offline.remove(received_at, EVER);
        }
    }

    /// The broker speaks for a device that went without saying goodbye.
    pub(crate) fn on_last_will(&mut self, device: &Device, received_at: Timestamp) {
        let instrument = self.instrument(&device.id);
        instrument.skew.on_lost();
        if instrument.offline_since.is_some() {
            return;
        }
        (instrument.offline_since, instrument.offline_judged) = (Some(received_at), false);
        if device.kind == DeviceKind::Handset
            && let Some(guard) = self.carrier(device, received_at)
        {
            self.watch(&guard).trail.handset(&device.id).offline.add(received_at, EVER);
        }
        self.arm_last_will(&device.id);
    }

    /// Arms the judgement of a last will that is still to be judged.
    pub(crate) fn arm_last_will(&mut self, device: &DeviceId) {
        let Some(instrument) = self.state.devices.get(device).filter(|i| !i.offline_judged) else { return };
        if let Some(since) = instrument.offline_since {
            self.agenda.arm(since + self.settle(), Deadline::DeviceOffline(device.clone(), since));
        }
    }

    /// A last will was in force for as long as it takes to reconnect.
    pub(crate) fn on_offline_settled(&mut self, device: &DeviceId, since: Timestamp) {
        let Some(instrument) = self.state.devices.get_mut(device) else { return };
        if instrument.offline_since != Some(since) {
            return;
        }
        instrument.offline_judged = true;
        // A button that went without a goodbye had promised to stay, whenever it would have spoken next.
        let of_button = self.site.device(device.as_str()).is_some_and(|d| d.kind == DeviceKind::Button);
        if !self.is_silent(device) && (of_button || self.watched_since(device, since).is_some()) {
            self.raise_silence(device, since);
        }
    }

    /// Looks whether a device has been silent for too long by now, and if not, when it would be.
    pub(crate) fn on_silence(&mut self, device: &DeviceId) {
        self.arm_silence_or(device, true);
    }

    /// Arms every deadline of every device, also of one that has never said a word.
    pub(crate) fn arm_instruments(&mut self) {
        let site = std::sync::Arc::clone(&self.site);
        for device in &site.devices {
            self.arm_silence(&device.id);
            self.arm_last_will(&device.id);
            self.arm_charge(&device.id);
        }
    }

    /// Arms the deadline at which a device would have been silent for too long.
    pub(crate) fn arm_silence(&mut self, device: &DeviceId) {
        self.arm_silence_or(device, false);
    }

    fn arm_silence_or(&mut self, device: &DeviceId, fired: bool) {
        let Some(silent_at) = self.silent_at(device) else { return };
        let judged_at = silent_at + self.settle();
        if fired && judged_at <= self.state.now {
            self.raise_silence(device, silent_at);
        } else {
            self.agenda.arm(judged_at, Deadline::DeviceSilent(device.clone()));
        }
    }

    /// The instant at which a watched device that stays quiet becomes silent. Only time in which the agent could
    /// hear counts: its own blindness is no silence of the device.
    fn silent_at(&self, device: &DeviceId) -> Option<Timestamp> {
        let instrument = self.state.devices.get(device);
        if self.is_silent(device) {
            return None;
        }
        let since = self.watched_since(device, self.state.now).or_else(|| self.watched_from(device))?;
        let last = instrument.and_then(|i| i.last_received_at).map_or(since, |t| t.max(since));
        // Nobody listened before the agent began.
        let last = last.max(self.state.began);
        Some(self.state.blind.prolong(last, (last + self.site.policy.devices.silent_after).just_after()))
    }

    fn is_silent(&self, device: &DeviceId) -> bool {
        self.state.devices.get(device).is_some_and(|instrument| instrument.silent)
    }

    /// Since when a device has been watched: a handset while its guard is on duty, a reader or a receiver that sends
    /// heartbeats always; a button never, which tells its charge once or twice a day. `None` while it is not watched.
    fn watched_since(&self, device: &DeviceId, at: Timestamp) -> Option<Timestamp> {
        let known = self.site.device(device.as_str())?;
        match known.kind {
            DeviceKind::Handset => {
                let shape = self.shapes.get(&self.carrier(known, at)?)?;
                shape.on_duty.iter().find(|(from, to)| *from <= at && at < *to).map(|(from, _)| from)
            }
            DeviceKind::Reader | DeviceKind::Gps => {
                let instrument = self.state.devices.get(device)?;
                if instrument.has_heartbeat { instrument.last_received_at } else { None }
            }
            DeviceKind::Button => None,
        }
    }

    /// From when on a handset will be watched, if its guard's next duty is known: with the roster as duty nobody
    /// says when it begins.
    fn watched_from(&self, device: &DeviceId) -> Option<Timestamp> {
        let known = self.site.device(device.as_str()).filter(|d| d.kind == DeviceKind::Handset)?;
        let now = self.state.now;
        let shape = self.shapes.get(&self.carrier(known, now)?)?;
        shape.on_duty.iter().map(|(from, _)| from).find(|from| *from > now)
    }

    fn raise_silence(&mut self, device: &DeviceId, detected_at: Timestamp) {
        let Some(known) = self.site.device(device.as_str()) else { return };
        let guard = self.carrier(known, detected_at);
        let whose = guard.clone().filter(|_| known.kind == DeviceKind::Handset);
        self.state.facts.on_silent(device, whose, detected_at);
        let instrument = self.instrument(device);
        let evidence = SilenceEvidence {
            device: device.clone(),
            last_message_at: instrument.last_received_at,
            last_will: instrument.offline_since.is_some(),
            battery_permille: instrument.battery_permille,
        };
        let deep_night = self.in_deep_night(detected_at);
        let finding = Finding {
            rule: Rule::DeviceSilent,
            severity: if deep_night { Severity::High } else { Severity::Medium },
            subject: Subject::Device(device.clone()),
            guard,
            detected_at,
            summary: self.silence_summary(&evidence),
            evidence: Evidence::Silence(evidence),
        };
        let silence = self.raise(finding, detected_at);
        let instrument = self.instrument(device);
        (instrument.silent, instrument.silence) = (true, silence);
    }

    fn silence_summary(&self, e: &SilenceEvidence) -> String {
        let zone = self.site.timezone;
        let last = match e.last_message_at {
            Some(at) => format!("last heard at {}", at.local_clock(zone)),
            None => "never heard on this duty".to_owned(),
        };
        let why = if e.last_will { "lost its connection" } else { "is silent" };
        let battery = e.battery_permille.map_or_else(String::new, |b| format!(", battery {} %", b / 10));
        format!("device {} {why}: {last}{battery}", e.device)
    }

    /// A heartbeat: charge, steps, touches, and whether the guard has fallen.
    pub(crate) fn on_heartbeat(&mut self, device: &Device, at: Timestamp, heartbeat: &Heartbeat) {
        if let Some(permille) = heartbeat.battery_permille {
            self.on_charge(device, at, permille);
        }
        let instrument = self.instrument(&device.id);
        if !instrument.has_heartbeat {
            instrument.has_heartbeat = true;
            self.arm_silence(&device.id);
        }
        if let Some(guard) = self.carrier(device, at) {
            let trail = &mut self.watch(&guard).trail;
            trail.add_phone(at, heartbeat.interactions);
            trail.add_steps(at, heartbeat.steps);
        }
        if heartbeat.man_down {
            self.on_man_down(device, at);
        }
    }

    /// One phone event.
    pub(crate) fn on_activity(&mut self, device: &Device, at: Timestamp) {
        if let Some(guard) = self.carrier(device, at) {
            self.watch(&guard).trail.add_phone(at, 1);
            self.on_answer(&guard, &device.id, at);
        }
    }

    /// A position; one that is unusable is kept in the journal and proves nothing.
    pub(crate) fn on_fix(&mut self, device: &Device, at: Timestamp, fix: &Fix) {
        let assumed = if device.kind == DeviceKind::Gps { RECEIVER_ACCURACY_M } else { PHONE_ACCURACY_M };
        let accuracy_m = fix.accuracy_m.unwrap_or(assumed);
        let usable = accuracy_m > 0.0 && accuracy_m <= MAX_ACCURACY_M && !fix.mock && !fix.outdated;
        let Some(guard) = self.carrier(device, at).filter(|_| usable) else { return };
        let watch = self.watch(&guard);
        if watch.last_position.as_ref().is_none_or(|p| p.at <= at) {
            let accuracy_m = f64::from(accuracy_m);
            watch.last_position = Some(LastPosition { lat: fix.lat, lon: fix.lon, accuracy_m, at });
        }
        let (lat, lon, speed_mps) = (fix.lat, fix.lon, fix.speed_mps);
        watch.trail.add_fix(at, TrailFix { lat, lon, accuracy_m, speed_mps });
    }
}
