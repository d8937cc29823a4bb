//! A device that talks without end: its heartbeats become one, its positions thin out, and everything else is taken.
//!
//! Each device has a bucket of tokens. One that has used them up is thinned only where it says the same again and again: what a
//! handset held back for hours comes at once as well, but hours apart by its own clock, and is all evidence. It stands before
//! the engine: the journal holds what was taken, and a replay never meets it.

use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use vigil_core::id::DeviceId;
use vigil_core::observation::{Heartbeat, Identity, Kind, Observation};
use vigil_core::time::{Span, Timestamp};

/// Messages of one device that are taken at once whatever they say: an array of the contract, and as many again beside it.
const BURST: i64 = 1_024;
/// And for each second after that: three sensors that speak every second, and as much again.
const PER_SECOND: i64 = 6;
/// A token in thousandths, so that no part of a second is lost.
const TOKEN: i64 = 1_000;
/// Closer to the one before than this, a message of a device without tokens says nothing new: a verdict on movement needs
/// one position a minute, and silence is told after a minute at the earliest.
const APART: Span = Span::from_secs(10);
/// Devices that are watched: more than the largest site has; beyond them the one that was quiet for longest is forgotten.
const MAX_DEVICES: usize = 4_096;
/// Heartbeats that became part of another and are known if they are sent again: what a flood of a thousand a second
/// sends within `APART`, and half as much again, in half a MiB.
const REMEMBERED: usize = 16_384;

/// Every device that has spoken lately, and what of it was thinned.
#[derive(Debug, Default)]
pub(super) struct Flood {
    devices: BTreeMap<DeviceId, Meter>,
    /// Heartbeats of this batch that became one each.
    merged: BTreeMap<DeviceId, Observation>,
    absorbed: Absorbed,
    /// What of this batch was thinned.
    thinned: u64,
}

/// What was thinned of one device since the agent started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Thinned {
    /// Which device.
    pub device: DeviceId,
    /// Heartbeats that became part of another, or said nothing new.
    pub heartbeats: u64,
    /// Positions that were not kept.
    pub positions: u64,
    /// When the last of them came.
    pub last_at: Timestamp,
}

/// What a device may still say, and what it said last.
#[derive(Debug)]
struct Meter {
    tokens: i64,
    filled_at: Timestamp,
    heartbeat: Last,
    /// Charge and charger, as they were told last.
    charge: (Option<u16>, Option<bool>),
    /// Positions that can prove something, and those that cannot: neither hides the other.
    positions: [Last; 2],
    heartbeats: u64,
    thinned_positions: u64,
    thinned_at: Option<Timestamp>,
}

/// The last one that was taken of what may be thinned: when it was, by the device's clock, and when that came.
#[derive(Debug, Default)]
struct Last(Option<(Timestamp, Timestamp)>);

impl Last {
    /// Whether one is taken although it finds no token. A clock that stands still on the device must not silence it.
    fn is_apart(&mut self, at: Timestamp, came: Timestamp) -> bool {
        let far = |a: Timestamp, b: Timestamp| a.since(b).max(b.since(a)) >= APART;
        let apart = self.0.is_none_or(|(last, last_came)| far(at, last) || far(came, last_came));
        if apart {
            self.0 = Some((at, came));
        }
        apart
    }
}

impl Meter {
    fn new(now: Timestamp) -> Self {
        Self {
            tokens: BURST * TOKEN,
            filled_at: now,
            heartbeat: Last::default(),
            charge: (None, None),
            positions: Default::default(),
            heartbeats: 0,
            thinned_positions: 0,
            thinned_at: None,
        }
    }

    /// Takes a token, if there is one.
    fn has_room(&mut self, now: Timestamp) -> bool {
        let passed = now.since(self.filled_at).millis().max(0);
        self.filled_at = self.filled_at.max(now);
        self.tokens = passed.saturating_mul(PER_SECOND).saturating_add(self.tokens).min(BURST * TOKEN);
        let room = self.tokens >= TOKEN;
        if room {
            self.tokens -= TOKEN;
        }
        room
    }

    fn note(&mut self, observation: &Observation) {
        match &observation.kind {
            Kind::Heartbeat(said) => self.charge = (said.battery_permille, said.charging),
            // It was gone: what it says next is news, however soon it comes.
            Kind::Status { .. } => {
                self.heartbeat = Last::default();
                self.positions = Default::default();
            }
            Kind::Location(_)
            | Kind::Scan(_)
            | Kind::Task(_)
            | Kind::Attendance(_)
            | Kind::Activity(_)
            | Kind::Sos(_) => {}
        }
    }

    fn thin(&mut self, observation: &Observation) {
        if self.thinned_at.is_none_or(|last| observation.received_at.since(last) >= TOLD_EVERY) {
            tracing::warn!(device = %observation.device, "a device talks without end: it is thinned");
        }
        self.thinned_at = Some(observation.received_at);
    }
}

/// A device that floods is said in the log when it begins, and again after so much peace.
const TOLD_EVERY: Span = Span::from_mins(10);

impl Flood {
    /// What is taken of an observation now; `is_known` says whether the engine has it already.
    pub(super) fn lets_through(
        &mut self,
        observation: Observation,
        is_known: impl FnOnce(&Observation) -> bool,
    ) -> Option<Observation> {
        let (at, came) = (observation.at, observation.received_at);
        self.make_room_for(&observation.device);
        let meter = self.devices.entry(observation.device.clone()).or_insert_with(|| Meter::new(came));
        let room = meter.has_room(came);
        match &observation.kind {
            Kind::Location(fix) if !room => {
                let [sound, unsound] = &mut meter.positions;
                let last = if fix.mock || fix.outdated { unsound } else { sound };
                if !last.is_apart(at, came) {
                    meter.thinned_positions += 1;
                    meter.thin(&observation);
                    self.thinned += 1;
                    return None;
                }
            }
            // A fallen guard is never a part of anything.
            Kind::Heartbeat(said) if !room && !said.man_down && !meter.heartbeat.is_apart(at, came) => {
                self.merge(observation, is_known);
                return None;
            }
            Kind::Location(_)
            | Kind::Heartbeat(_)
            | Kind::Scan(_)
            | Kind::Task(_)
            | Kind::Attendance(_)
            | Kind::Activity(_)
            | Kind::Sos(_)
            | Kind::Status { .. } => {}
        }
        meter.note(&observation);
        Some(observation)
    }

    /// Makes a heartbeat part of the one of this batch, unless it says nothing new or was counted before.
    fn merge(&mut self, observation: Observation, is_known: impl FnOnce(&Observation) -> bool) {
        let Kind::Heartbeat(said) = &observation.kind else { return };
        let Some(meter) = self.devices.get_mut(&observation.device) else { return };
        let idle = said.interactions == 0 && said.steps == 0;
        let same = (said.battery_permille, said.charging) == meter.charge;
        let counted = is_known(&observation) || !self.absorbed.is_new(observation.identity);
        let base = self.merged.get_mut(&observation.device);
        if counted || (idle && same) || base.is_some() {
            meter.heartbeats += 1;
            meter.thin(&observation);
            self.thinned += 1;
        }
        if counted || (idle && same) {
            return;
        }
        meter.note(&observation);
        match base {
            Some(base) => add(base, &observation),
            None => drop(self.merged.insert(observation.device.clone(), observation)),
        }
    }

    /// The heartbeats that the batch came to, and how many messages of it were thinned: nothing is held back beyond the
    /// commit that acknowledges it.
    pub(super) fn end_of_batch(&mut self) -> (Vec<Observation>, u64) {
        let merged = std::mem::take(&mut self.merged).into_values().collect();
        (merged, std::mem::take(&mut self.thinned))
    }

    /// A commit failed: what it held comes again, and is no repetition of anything. What was thinned before stays told.
    pub(super) fn after_an_outage(self) -> Self {
        let devices = self.devices.into_iter().map(|(device, meter)| {
            let Meter { heartbeats, thinned_positions, thinned_at, .. } = meter;
            let fresh = Meter::new(meter.filled_at);
            (device, Meter { heartbeats, thinned_positions, thinned_at, ..fresh })
        });
        Self { devices: devices.collect(), ..Self::default() }
    }

    /// Devices of which something was thinned.
    pub(super) fn list(&self) -> Vec<Thinned> {
        let thinned = self.devices.iter().filter_map(|(device, meter)| {
            let (heartbeats, positions) = (meter.heartbeats, meter.thinned_positions);
            Some(Thinned { device: device.clone(), heartbeats, positions, last_at: meter.thinned_at? })
        });
        thinned.collect()
    }

    fn make_room_for(&mut self, device: &DeviceId) {
        if self.devices.len() < MAX_DEVICES || self.devices.contains_key(device) {
            return;
        }
        let quiet = self.devices.iter().min_by_key(|(_, meter)| meter.filled_at);
        if let Some(device) = quiet.map(|(device, _)| device.clone()) {
            self.devices.remove(&device);
        }
    }
}

/// The latest heartbeats that became part of another.
#[derive(Debug, Default)]
struct Absorbed {
    order: VecDeque<Identity>,
    known: BTreeSet<Identity>,
}

impl Absorbed {
    fn is_new(&mut self, identity: Identity) -> bool {
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

/// One heartbeat out of two: what was done since the last one adds up, and the later one knows how the device is.
fn add(base: &mut Observation, later: &Observation) {
    let Kind::Heartbeat(said) = &later.kind else { return };
    let Kind::Heartbeat(sum) = &mut base.kind else { return };
    let newer = later.at >= base.at;
    let (latest, before) = if newer { (said, &*sum) } else { (&*sum, said) };
    *sum = Heartbeat {
        battery_permille: latest.battery_permille.or(before.battery_permille),
        charging: latest.charging.or(before.charging),
        interactions: sum.interactions.saturating_add(said.interactions),
        steps: sum.steps.saturating_add(said.steps),
        man_down: sum.man_down || said.man_down,
    };
    if newer {
        (base.at, base.identity) = (later.at, later.identity);
    }
    base.received_at = base.received_at.max(later.received_at);
}

#[cfg(test)]
mod tests {
    use super::*;
    use vigil_core::observation::Fix;

    fn secs(secs: i64) -> Timestamp {
        Timestamp::from_millis(secs * 1_000)
    }

    fn said(n: i64, at: Timestamp, received_at: Timestamp, kind: Kind) -> Observation {
        let device = DeviceId::new("hs-1").unwrap();
        Observation::new(device, at, received_at, Some(&n.to_string()), kind)
    }

    fn heartbeat(interactions: u32) -> Kind {
        let battery_permille = Some(500);
        Kind::Heartbeat(Heartbeat { battery_permille, interactions, steps: 2, ..Heartbeat::default() })
    }

    fn fix(mock: bool) -> Kind {
        Kind::Location(Fix { mock, ..Fix::at(12.97, 77.59) })
    }

    /// What an engine that knows nothing lets through.
    fn takes(flood: &mut Flood, observation: Observation) -> bool {
        flood.lets_through(observation, |_| false).is_some()
    }

    /// A device that has used up what it may say at once, a moment ago.
    fn talker() -> Flood {
        let mut flood = Flood::default();
        assert!((0..BURST).all(|n| takes(&mut flood, said(n, secs(0), secs(0), fix(false)))), "no flood yet");
        // The first of each is apart from all that the device has said.
        assert!(takes(&mut flood, said(-1, secs(0), secs(0), heartbeat(1))));
        assert!(takes(&mut flood, said(-2, secs(0), secs(0), fix(false))));
        flood
    }

    #[test]
    fn who_goes_on_talking_is_thinned_to_what_its_tokens_buy() {
        let mut flood = talker();
        let at = Timestamp::from_millis;
        let taken = (1..=60_000).filter(|n| takes(&mut flood, said(*n, at(*n), at(*n), fix(false)))).count();
        let taken = i64::try_from(taken).unwrap();
        assert!((60 * PER_SECOND..=60 * PER_SECOND + 7).contains(&taken), "{taken}");
        let [told] = <[Thinned; 1]>::try_from(flood.list()).unwrap();
        let positions = u64::try_from(60_000 - taken).unwrap();
        assert_eq!((told.device.as_str(), told.heartbeats, told.positions), ("hs-1", 0, positions));
        assert!(told.last_at > at(59_000), "{told:?}");
    }

    #[test]
    fn heartbeats_become_one_that_says_all_that_they_said() {
        let mut flood = talker();
        let charging = |n, charging| {
            let Kind::Heartbeat(said) = heartbeat(n) else { unreachable!() };
            Kind::Heartbeat(Heartbeat { charging, battery_permille: None, ..said })
        };
        for (n, kind) in [(1, heartbeat(10)), (2, charging(20, Some(true))), (3, charging(30, None))] {
            assert!(!takes(&mut flood, said(n, secs(n), secs(0), kind)));
        }
        let (merged, thinned) = flood.end_of_batch();
        let [one] = merged.as_slice() else { panic!("{merged:?}") };
        let last = said(3, secs(3), secs(0), heartbeat(0));
        assert_eq!((one.at, one.received_at, one.identity), (secs(3), secs(0), last.identity));
        let sum = Heartbeat {
            battery_permille: Some(500),
            charging: Some(true),
            interactions: 60,
            steps: 6,
            man_down: false,
        };
        assert_eq!((&one.kind, thinned), (&Kind::Heartbeat(sum), 2));
        assert_eq!(flood.end_of_batch(), (vec![], 0), "once");
        assert_eq!(flood.list()[0].heartbeats, 2);
    }

    #[test]
    fn one_that_is_sent_again_is_not_counted_again() {
        let mut flood = talker();
        let again = || said(1, secs(1), secs(0), heartbeat(10));
        assert!(!takes(&mut flood, again()) && !takes(&mut flood, again()));
        assert_eq!(
            flood.lets_through(said(2, secs(1), secs(0), heartbeat(5)), |_| true),
            None,
            "it is known"
        );
        let (merged, thinned) = flood.end_of_batch();
        assert_eq!((&merged[0].kind, merged.len(), thinned), (&heartbeat(10), 1, 2));
        assert!(!takes(&mut flood, again()));
        assert_eq!(flood.end_of_batch(), (vec![], 1), "in a later batch as well");
        let mut flood = flood.after_an_outage();
        assert!(takes(&mut flood, again()), "it was not stored, and comes again");
        assert_eq!(flood.list()[0].heartbeats, 3, "what was thinned stays told");
    }

    #[test]
    fn one_that_says_nothing_new_is_let_go() {
        let mut flood = talker();
        let idle = |battery_permille| Kind::Heartbeat(Heartbeat { battery_permille, ..Heartbeat::default() });
        assert!((1..100).all(|n| !takes(&mut flood, said(n, secs(1), secs(0), idle(Some(500))))));
        assert_eq!(flood.end_of_batch(), (vec![], 99));
        assert!(!takes(&mut flood, said(100, secs(1), secs(0), idle(Some(490)))));
        assert_eq!(flood.end_of_batch().0.len(), 1, "its charge is news");
        assert!(takes(&mut flood, said(101, secs(11), secs(0), idle(Some(490)))), "and so is that it lives");
    }

    #[test]
    fn a_fallen_guard_is_told_at_once() {
        let mut flood = talker();
        let fallen = || Kind::Heartbeat(Heartbeat { man_down: true, ..Heartbeat::default() });
        assert!((1..100).all(|n| takes(&mut flood, said(n, secs(0), secs(0), fallen()))));
        assert_eq!(flood.end_of_batch(), (vec![], 0));
    }

    #[test]
    fn what_was_held_back_for_days_is_all_taken() {
        let mut flood = talker();
        let kind = |n| if n % 2 == 0 { fix(false) } else { heartbeat(0) };
        assert!((1..8_640).all(|n| takes(&mut flood, said(n, secs(n * 30), secs(0), kind(n)))));
    }

    #[test]
    fn a_clock_that_stands_still_silences_nobody_and_a_false_position_hides_no_true_one() {
        let mut flood = talker();
        assert!(takes(&mut flood, said(1, secs(0), secs(0), fix(true))), "the first of its sort");
        assert!(!takes(&mut flood, said(2, secs(0), secs(0), fix(true))));
        let stands_still = |flood: &mut Flood, came| {
            let meter = flood.devices.values_mut().next().unwrap();
            (meter.tokens, meter.filled_at) = (0, secs(came));
            takes(flood, said(came, secs(0), secs(came), fix(false)))
        };
        assert_eq!([9, 10, 19, 20].map(|came| stands_still(&mut flood, came)), [false, true, false, true]);
    }

    #[test]
    fn nothing_else_is_ever_thinned_and_a_device_that_was_gone_is_heard_at_once() {
        let mut flood = talker();
        let kinds = |n: i64| match n % 3 {
            0 => Kind::Activity("unlock".into()),
            1 => Kind::Sos(None),
            _ => Kind::Status { online: n % 2 == 0 },
        };
        assert!((0..5_000).all(|n| takes(&mut flood, said(n, secs(0), secs(0), kinds(n)))));
        let says = |flood: &mut Flood, kind| takes(flood, said(9_000, secs(0), secs(0), kind));
        assert!(says(&mut flood, heartbeat(0)));
        assert!(!says(&mut flood, heartbeat(0)));
        assert!(says(&mut flood, Kind::Status { online: false }));
        assert!(says(&mut flood, heartbeat(0)));
    }

    #[test]
    fn one_device_s_flood_is_not_another_s_and_ends_with_it() {
        let mut flood = talker();
        let other = DeviceId::new("hs-2").unwrap();
        let position = said(1, secs(0), secs(0), fix(false));
        assert!(takes(&mut flood, Observation { device: other, ..position.clone() }));
        assert!(!takes(&mut flood, position));
        let later = secs(BURST / PER_SECOND + 1);
        assert!((0..BURST).all(|n| takes(&mut flood, said(n, secs(0), later, fix(false)))));
        let much_later = secs(10 * BURST);
        let taken =
            (0..2 * BURST).filter(|n| takes(&mut flood, said(*n, secs(0), much_later, fix(false)))).count();
        assert_eq!(i64::try_from(taken).unwrap(), BURST + 1, "peace saves up no more than that");
    }

    #[test]
    fn the_list_of_devices_is_bounded() {
        let mut flood = talker();
        for n in 0..i64::try_from(2 * MAX_DEVICES).unwrap() {
            let device = DeviceId::new(&format!("d-{n}")).unwrap();
            assert!(takes(&mut flood, Observation { device, ..said(n, secs(n), secs(n), heartbeat(0)) }));
        }
        assert_eq!((flood.devices.len(), flood.list()), (MAX_DEVICES, vec![]));
        let quietest = DeviceId::new(&format!("d-{MAX_DEVICES}")).unwrap();
        let left = flood.devices.values().map(|meter| meter.filled_at).min();
        assert_eq!(
            left,
            Some(flood.devices[&quietest].filled_at),
            "those that were quiet for longest are forgotten"
        );
    }
}
