//! What the devices tell the gateway: a heartbeat and a fix every minute, scans, attendance and tasks, as the network
//! lets them through. All figures of the network are assumed.

use super::clock::{END, HOUR, MINUTE, instant};
use super::draws::{events, exponential};
use super::errands::Errand;
use super::ground::{CONSOLE, GUARD, HANDSET, READER};
use super::life::Life;
use super::plan::{Fault, Plan};
use super::receiver::{Reading, Receiver};
use crate::night::{Night, id, position};
use vigil_agent::simulate::Chance;
use vigil_core::id::Tag;
use vigil_core::observation::{
    Attendance, AttendanceAction, Fix, Heartbeat, Kind, Observation, Provider, Scan, TaskState, TaskUpdate,
};

/// How often a handset sends a heartbeat and a fix.
const EVERY: f64 = MINUTE;
/// How often a reader says that it lives.
const READER_EVERY: f64 = 5.0 * MINUTE;
/// The share of heartbeats and of fixes that the phone's own system leaves out.
const LEFT_OUT: (f64, f64) = (0.01, 0.02);
/// Dead corners of the site: three in ten hours, for two minutes on average.
const DEAD_CORNER: (f64, f64) = (HOUR / 0.3, 2.0 * MINUTE);
/// A broker takes a client for lost after one and a half keep-alives of 60 s.
const LAST_WILL_AFTER: f64 = 90.0;
/// The broker of a gateway that restarts sees its handsets again within so many seconds.
const RECONNECT: f64 = 45.0;

/// What is sent in a night, in order of arrival.
#[derive(Debug, Clone)]
pub struct Post {
    /// Every observation, by the instant at which it is received.
    pub observations: Vec<Observation>,
    /// When the gateway is off.
    pub gateway_off: Option<(f64, f64)>,
}

/// A message with its event time.
struct Message {
    at: f64,
    from: Sender,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sender {
    Handset,
    Reader,
    Console,
}

/// Writes down what the devices send of a life, and when it arrives.
pub fn post(
    plan: &Plan,
    life: &Life,
    errands: &[Errand],
    receiver: Receiver,
    chance: &mut Chance,
    noise: &mut Chance,
) -> Post {
    let mut sender = Devices { plan, life, messages: vec![] };
    sender.heartbeats(chance);
    sender.fixes(receiver, chance, noise);
    sender.scans();
    sender.attendance();
    sender.tasks(errands);
    let mut line = Line::of(plan, chance);
    let mut observations: Vec<Observation> = vec![];
    sender.messages.sort_by(|a, b| a.at.total_cmp(&b.at));
    for (serial, message) in sender.messages.into_iter().enumerate() {
        let Some(received) = line.arrives(message.from, message.at, chance) else { continue };
        let device = match message.from {
            Sender::Handset => HANDSET,
            Sender::Reader => READER,
            Sender::Console => CONSOLE,
        };
        let serial = serial.to_string();
        observations.push(Observation::new(
            id(device),
            instant(message.at),
            instant(received),
            Some(&serial),
            message.kind,
        ));
    }
    observations.extend(line.last_wills());
    observations.sort_by_key(|o| o.received_at);
    Post { observations, gateway_off: line.gateway_off }
}

/// Everything that is sent, whether or not it arrives.
struct Devices<'a> {
    plan: &'a Plan,
    life: &'a Life,
    messages: Vec<Message>,
}

impl Devices<'_> {
    fn say(&mut self, from: Sender, at: f64, kind: Kind) {
        let off = self.plan.faults.iter().any(|f| matches!(f, Fault::Off(a, b) if *a <= at && at < *b));
        if from != Sender::Handset || !off {
            self.messages.push(Message { at, from, kind });
        }
    }

    fn heartbeats(&mut self, chance: &mut Chance) {
        let charge = chance.between(700.0, 1_000.0);
        let drain = chance.between(20.0, 60.0);
        let mut before = self.life.duty.0;
        for at in beats(self.life.duty, EVERY, chance) {
            if chance.happens(LEFT_OUT.0) {
                continue;
            }
            let heartbeat = Heartbeat {
                battery_permille: permille(charge - drain * (at - self.life.duty.0) / HOUR),
                interactions: self.life.touched(before, at),
                steps: self.life.steps(before, at),
                ..Heartbeat::default()
            };
            before = at;
            self.say(Sender::Handset, at, Kind::Heartbeat(heartbeat));
        }
        if self.plan.ground.reader {
            for at in beats((0.0, END), READER_EVERY, chance) {
                self.say(Sender::Reader, at, Kind::Heartbeat(Heartbeat::default()));
            }
        }
    }

    fn fixes(&mut self, mut receiver: Receiver, chance: &mut Chance, noise: &mut Chance) {
        for at in beats(self.life.duty, EVERY, chance) {
            let reading = receiver.fix(at, self.life.path.at(at), noise);
            if let Some(reading) = reading.filter(|_| !chance.happens(LEFT_OUT.1)) {
                self.say(Sender::Handset, at, Kind::Location(fix(reading)));
            }
        }
    }

    /// At a checkpoint with a reader the guard holds the badge to it, everywhere else the handset to the tag.
    fn scans(&mut self) {
        for (at, place) in &self.life.taps {
            if self.plan.ground.reader && *place == 0 {
                let tag = Tag::new(&format!("AA0000F{}", &GUARD[2..])).expect("a tag");
                self.say(Sender::Reader, *at, Kind::Scan(Scan { tag, guard: None, sun: None }));
            } else {
                self.say(Sender::Handset, *at, Night::tag_of(&format!("cp-{place}")));
            }
        }
    }

    fn attendance(&mut self) {
        for (at, action) in &self.life.attendance {
            let attendance = Attendance { action: *action, guard: id(GUARD), biometric_permille: None };
            // Nobody leaves unseen: with a handset that is off, the control room signs the guard out.
            let from = if *action == AttendanceAction::CheckOut { Sender::Console } else { Sender::Handset };
            self.say(from, *at, Kind::Attendance(attendance));
        }
    }

    fn tasks(&mut self, errands: &[Errand]) {
        for (n, errand) in errands.iter().enumerate() {
            let update = |state| TaskUpdate {
                task: id(&task_name(n)),
                state,
                priority: Some(errand.priority),
                title: None,
                created_at: None,
                due_at: None,
                guard: Some(id(GUARD)),
            };
            self.say(Sender::Console, errand.created, Kind::Task(update(TaskState::Created)));
            if let Some(done) = errand.done {
                self.say(Sender::Handset, done, Kind::Task(update(TaskState::Completed)));
            }
        }
    }
}

/// The id of a task.
pub fn task_name(n: usize) -> String {
    format!("task-{n}")
}

/// Every `every` seconds from a phase of its own on, a few seconds early or late.
fn beats((from, to): (f64, f64), every: f64, chance: &mut Chance) -> Vec<f64> {
    let mut next = from + chance.between(0.0, every);
    let mut all = vec![];
    while next < to - 5.0 {
        all.push((next + (2.0 * chance.normal()).clamp(-5.0, 5.0)).max(from));
        next += every;
    }
    all
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to thousandths")]
fn permille(value: f64) -> Option<u16> {
    Some(value.clamp(0.0, 1_000.0) as u16)
}

#[expect(clippy::cast_possible_truncation, reason = "metres and m/s need no more than a short float")]
fn fix(reading: Reading) -> Fix {
    let place = position(reading.place.y, reading.place.x);
    Fix {
        lat: place.lat,
        lon: place.lon,
        accuracy_m: Some(reading.accuracy_m as f32),
        speed_mps: reading.speed_mps.map(|s| s as f32),
        heading_deg: None,
        provider: Some(Provider::Fused),
        mock: false,
        outdated: false,
    }
}

/// The way from a device to the engine.
struct Line {
    /// When the handset cannot be reached; it records meanwhile.
    cuts: Vec<(f64, f64)>,
    /// When it says nothing at all.
    silences: Vec<(f64, f64)>,
    gateway_off: Option<(f64, f64)>,
    reconnects: f64,
    backlog: f64,
}

impl Line {
    fn of(plan: &Plan, chance: &mut Chance) -> Self {
        let (every, mean) = DEAD_CORNER;
        let corners = events(chance, plan.duty.0 + MINUTE, plan.duty.1 - MINUTE, every);
        let mut cuts: Vec<(f64, f64)> =
            corners.into_iter().map(|t| (t, t + exponential(chance, mean))).collect();
        let mut line = Self {
            cuts: vec![],
            silences: vec![],
            gateway_off: None,
            reconnects: chance.between(2.0, RECONNECT),
            backlog: 0.0,
        };
        for fault in &plan.faults {
            match fault {
                Fault::OutOfReach(from, to) => cuts.push((*from, *to)),
                Fault::Off(from, to) => line.silences.push((*from, *to)),
                Fault::Gateway(from, to) => line.gateway_off = Some((*from, *to)),
                Fault::Jammed(..) => {}
            }
        }
        line.cuts = cuts;
        line
    }

    /// When a message of then reaches the engine; `None`: never.
    fn arrives(&mut self, from: Sender, at: f64, chance: &mut Chance) -> Option<f64> {
        let mut received = at + chance.between(0.2, 2.0);
        if from == Sender::Handset {
            while let Some((_, to)) = self.cuts.iter().find(|(a, b)| *a <= received && received < *b) {
                received = to + 2.0;
            }
        }
        if let Some((_, up)) = self.gateway_off.filter(|(a, b)| *a <= received && received < *b) {
            if from == Sender::Reader {
                return None;
            }
            received = up + self.reconnects;
        }
        // What waited comes in order, a few milliseconds apart.
        if received > at + 3.0 {
            self.backlog += 0.002;
            received += self.backlog;
        }
        Some(received).filter(|t| *t < END)
    }

    /// The broker says `offline` for a handset that is gone for longer than its keep-alive allows, and the handset says
    /// `online` when it is back.
    fn last_wills(&self) -> Vec<Observation> {
        let gone = self.cuts.iter().chain(&self.silences).filter(|(from, to)| to - from > LAST_WILL_AFTER);
        let said = gone.flat_map(|(from, to)| [(from + LAST_WILL_AFTER, false), (*to, true)]);
        let heard =
            said.filter(|(at, _)| *at < END && !self.gateway_off.is_some_and(|(a, b)| a <= *at && *at < b));
        let status = |(at, online): (f64, bool)| {
            let serial = format!("status-{at}");
            Observation::new(id(HANDSET), instant(at), instant(at), Some(&serial), Kind::Status { online })
        };
        heard.map(status).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::clock::{clock, second};
    use crate::study::draws::{Stream, chance};

    fn sent(fault: Option<Fault>) -> Post {
        let mut plan = Plan::ordinary(&mut chance(9, 0, 0, Stream::Plan));
        plan.ground.reader = true;
        plan.faults.extend(fault);
        let life = Life::of(&plan, &mut chance(9, 0, 0, Stream::Life));
        let mut noise = chance(9, 0, 0, Stream::Receiver);
        let receiver = Receiver::draw(&mut noise, (0.0, END));
        post(&plan, &life, &[], receiver, &mut chance(9, 0, 0, Stream::Network), &mut noise)
    }

    fn of<'a>(post: &'a Post, kind: &'a str) -> impl Iterator<Item = &'a Observation> {
        post.observations.iter().filter(move |o| o.kind.name() == kind)
    }

    #[test]
    fn a_night_has_a_heartbeat_and_a_fix_a_minute() {
        let post = sent(None);
        let beats = of(&post, "heartbeat").filter(|o| o.device.as_str() == HANDSET).count();
        assert!((580..=615).contains(&beats), "{beats}");
        assert!(of(&post, "location").count() > 300);
        assert!(of(&post, "scan").count() >= 36);
        assert!(post.observations.windows(2).all(|w| w[0].received_at <= w[1].received_at));
        assert!(post.observations.iter().all(|o| o.at <= o.received_at));
    }

    #[test]
    fn what_is_off_says_nothing_and_what_is_out_of_reach_says_it_later() {
        let (from, to) = (clock(1, 0), clock(3, 0));
        let then =
            |o: &&Observation| o.device.as_str() == HANDSET && (from + 300.0..to).contains(&second(o.at));
        let off = sent(Some(Fault::Off(from, to)));
        assert!(of(&off, "heartbeat").filter(then).count() == 0);
        let away = sent(Some(Fault::OutOfReach(from, to)));
        assert!(of(&away, "heartbeat").filter(then).count() > 100);
        assert!(of(&away, "heartbeat").filter(then).all(|o| second(o.received_at) >= to));
        let wills = of(&away, "status").filter(|o| o.kind == Kind::Status { online: false }).count();
        assert!(wills >= 1);
        let down = sent(Some(Fault::Gateway(from, to)));
        assert!(down.observations.iter().all(|o| !(from..to).contains(&second(o.received_at))));
    }
}
