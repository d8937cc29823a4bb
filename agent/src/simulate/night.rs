//! The messages of a night, minute by minute: memory grows with the guards and not with the hours.

use super::chance::Chance;
use super::patrol::{Patrol, Place};
use super::scenario::{Behaviour, Scenario};
use std::collections::VecDeque;
use vigil_core::site::Position;
use vigil_core::time::{Span, Timestamp};

/// Who puts a message on its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The device.
    Device,
    /// The broker, because the device vanished: its last will.
    Will,
}

/// One message of the night.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// When it is sent; the `ts` of its payload.
    pub at: Timestamp,
    /// Whose it is.
    pub device: String,
    /// Where it goes.
    pub topic: String,
    /// JSON, or `online` / `offline` on a status topic.
    pub payload: String,
    /// Whether the broker keeps it.
    pub retain: bool,
    /// Who sends it.
    pub origin: Origin,
}

/// How often a handset says that it lives, and where it is.
const BEAT: Span = Span::from_mins(1);
/// How much of its charge a handset loses in an hour: a full one lasts the longest shift.
const DRAIN_PER_HOUR: f64 = 0.04;
/// How much of a fix's error is still there a minute later: errors wander, they do not jump.
const WANDER_KEPT: f64 = 0.9;
/// How long a step is, in metres.
const STEP_M: f64 = 0.7;

/// The messages of one night in the order of their instants.
#[derive(Debug, Clone)]
pub struct Night {
    handsets: Vec<Handset>,
    ends_at: Timestamp,
    next_minute: Timestamp,
    ready: VecDeque<Message>,
}

impl Night {
    /// The night of this scenario; the same one gives the same messages.
    pub fn of(scenario: &Scenario) -> Self {
        let handsets = (0..scenario.guards.len()).filter_map(|guard| Handset::of(scenario, guard)).collect();
        Self { handsets, ends_at: scenario.ends_at, next_minute: scenario.starts_at, ready: VecDeque::new() }
    }

    fn play_a_minute(&mut self) {
        let (from, to) = (self.next_minute, self.next_minute + BEAT);
        self.next_minute = to;
        let mut messages: Vec<Message> = vec![];
        for handset in &mut self.handsets {
            handset.play(from, to, &mut messages);
        }
        // Stable: what one handset says at one instant stays in its order.
        messages.sort_by_key(|message| message.at);
        self.ready.extend(messages);
    }
}

impl Iterator for Night {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        while self.ready.is_empty() && self.next_minute <= self.ends_at {
            self.play_a_minute();
        }
        self.ready.pop_front()
    }
}

/// A guard with his handset.
#[derive(Debug, Clone)]
struct Handset {
    topics: String,
    device: String,
    guard: String,
    night: String,
    messages: u32,
    starts_at: Timestamp,
    ends_at: Timestamp,
    beat_after: Span,
    centre: Position,
    behaviours: Vec<Behaviour>,
    patrol: Patrol,
    wander: Wander,
    chance: Chance,
    tags: Vec<String>,
}

/// The error of a handset's fixes.
#[derive(Debug, Clone)]
struct Wander {
    deviation_m: f64,
    east: f64,
    north: f64,
}

impl Wander {
    /// On each axis; together 5 to 15 m, as phones do outdoors.
    fn of(chance: &mut Chance) -> Self {
        let deviation_m = chance.between(3.5, 8.0);
        Self { deviation_m, east: deviation_m * chance.normal(), north: deviation_m * chance.normal() }
    }

    fn step(&mut self, chance: &mut Chance) {
        let fresh = self.deviation_m * (1.0 - WANDER_KEPT * WANDER_KEPT).sqrt();
        self.east = WANDER_KEPT * self.east + fresh * chance.normal();
        self.north = WANDER_KEPT * self.north + fresh * chance.normal();
    }

    /// What the handset believes of its error: honest on the whole, at times far too careful.
    fn accuracy_m(&self, chance: &mut Chance) -> f64 {
        let careful = if chance.happens(0.03) { 25.0 } else { 0.0 };
        (1.5 * self.deviation_m + 3.0 * chance.normal().abs() + careful).clamp(5.0, 40.0)
    }
}

impl Handset {
    fn of(scenario: &Scenario, index: usize) -> Option<Self> {
        let guard = scenario.guards.get(index)?;
        let mut chance = Chance::of(scenario.seed, index);
        let device = guard.handset();
        Some(Self {
            topics: format!("vigil/v1/{}/{device}", scenario.site),
            device,
            guard: guard.id.clone(),
            night: format!("{:x}-{:x}", scenario.seed, scenario.starts_at.millis() / 1_000),
            messages: 0,
            starts_at: scenario.starts_at,
            ends_at: scenario.ends_at,
            // Seven seconds apart: thirty handsets never beat as one.
            beat_after: Span::from_millis(i64::try_from(index * 7_000 % 60_000).unwrap_or(0)),
            centre: scenario.centre,
            behaviours: guard.behaviours.clone(),
            patrol: Patrol::of(scenario, index, &mut chance),
            wander: Wander::of(&mut chance),
            chance,
            tags: (0..scenario.checkpoints).map(tag).collect(),
        })
    }

    /// Everything from `from` on and before `to`.
    fn play(&mut self, from: Timestamp, to: Timestamp, messages: &mut Vec<Message>) {
        if from == self.starts_at {
            self.status(from, Origin::Device, messages);
            self.attendance(from, "check_in", messages);
        }
        self.beat(from + self.beat_after, messages);
        let taps: Vec<_> = self.patrol.taps(from, to).collect();
        for tap in taps {
            let tag = self.tags.get(tap.checkpoint).cloned().unwrap_or_default();
            self.say(tap.at, "scan", &format!("\"tag\":\"{tag}\""), messages);
        }
        for behaviour in self.behaviours.clone() {
            self.act(behaviour, from, to, messages);
        }
        if (from..to).contains(&self.ends_at) {
            self.attendance(self.ends_at, "check_out", messages);
        }
    }

    fn act(&mut self, behaviour: Behaviour, from: Timestamp, to: Timestamp, messages: &mut Vec<Message>) {
        let due = |starts_at: Timestamp, at: Span| Some(starts_at + at).filter(|at| (from..to).contains(at));
        match behaviour {
            Behaviour::SendsSos { at } => {
                if let Some(at) = due(self.starts_at, at) {
                    self.say(at, "sos", "\"note\":\"help at once\"", messages);
                }
            }
            Behaviour::HandsetDies { at, back } => {
                if let Some(at) = due(self.starts_at, at) {
                    self.status(at, Origin::Will, messages);
                }
                if let Some(at) = back.and_then(|back| due(self.starts_at, back)) {
                    self.status(at, Origin::Device, messages);
                }
            }
            Behaviour::FallsStill { .. } | Behaviour::MissesTour { .. } => {}
        }
    }

    /// The heartbeat and the fix of a minute. The error wanders on while the handset is dead.
    fn beat(&mut self, at: Timestamp, messages: &mut Vec<Message>) {
        self.wander.step(&mut self.chance);
        let (heartbeat, location) = (self.heartbeat(at), self.location(at));
        if at < self.ends_at {
            self.say(at, "heartbeat", &heartbeat, messages);
            self.say(at, "location", &location, messages);
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a night has few hours")]
    fn heartbeat(&mut self, at: Timestamp) -> String {
        let hours = at.since(self.starts_at).millis() as f64 / 3_600_000.0;
        let battery = (0.95 - DRAIN_PER_HOUR * hours).max(0.3);
        let touched = self.chance.happens(0.3) && !self.is_still(at);
        let touches = if touched { self.chance.between(1.0, 5.0).floor() } else { 0.0 };
        let steps = (self.patrol.walked_m(at) / STEP_M).round();
        format!("\"battery\":{battery:.2},\"interactions\":{touches},\"steps\":{steps}")
    }

    fn location(&mut self, at: Timestamp) -> String {
        let Place { east, north } = self.patrol.place(at);
        let seen = Place { east: east + self.wander.east, north: north + self.wander.north };
        let Position { lat, lon } = seen.position(self.centre);
        let accuracy = self.wander.accuracy_m(&mut self.chance);
        let speed = self.patrol.walked_m(at) / 60.0;
        format!(
            "\"lat\":{lat:.7},\"lon\":{lon:.7},\"accuracy\":{accuracy:.1},\"speed\":{speed:.2},\"provider\":\"gps\""
        )
    }

    fn attendance(&mut self, at: Timestamp, action: &str, messages: &mut Vec<Message>) {
        let fields = format!("\"action\":\"{action}\",\"guard\":\"{}\"", self.guard);
        self.say(at, "attendance", &fields, messages);
    }

    fn say(&mut self, at: Timestamp, kind: &str, fields: &str, messages: &mut Vec<Message>) {
        if self.is_dead(at) {
            return;
        }
        self.messages += 1;
        let payload = format!("{{\"ts\":\"{at}\",\"id\":\"{}-{}\",{fields}}}", self.night, self.messages);
        let topic = format!("{}/{kind}", self.topics);
        let device = self.device.clone();
        messages.push(Message { at, device, topic, payload, retain: false, origin: Origin::Device });
    }

    fn status(&self, at: Timestamp, origin: Origin, messages: &mut Vec<Message>) {
        let payload = match origin {
            Origin::Device => "online",
            Origin::Will => "offline",
        };
        let (device, topic) = (self.device.clone(), format!("{}/status", self.topics));
        messages.push(Message { at, device, topic, payload: payload.into(), retain: true, origin });
    }

    fn is_still(&self, now: Timestamp) -> bool {
        let fallen = |b: &Behaviour| matches!(b, Behaviour::FallsStill { at } if now >= self.starts_at + *at);
        self.behaviours.iter().any(fallen)
    }

    fn is_dead(&self, now: Timestamp) -> bool {
        self.behaviours.iter().any(|behaviour| {
            let Behaviour::HandsetDies { at, back } = behaviour else { return false };
            let returned = back.is_some_and(|back| now >= self.starts_at + back);
            now >= self.starts_at + *at && !returned
        })
    }
}

/// The tag of a checkpoint.
pub(super) fn tag(checkpoint: usize) -> String {
    format!("04AA{checkpoint:04X}")
}

#[cfg(test)]
mod tests;
