//! What the handsets of a site say over some days, each word of it twice: as it is sent, and as it must be found in the
//! journal. The second is made here and not decoded from the first.

use super::plan::{draw, span};
use crate::night::Night;
use vigil_agent::simulate::{Chance, Scenario};
use vigil_core::id::{DeviceId, GuardId, InvalidId, TaskId};
use vigil_core::observation::{
    Attendance, AttendanceAction, Fix, Heartbeat, Kind, Priority, Provider, Scan, TaskState, TaskUpdate,
};
use vigil_core::site::{Position, Site};
use vigil_core::time::{Span, Timestamp};

/// How often a handset says at night that it lives, and where it is.
const NIGHT_BEAT: Span = Span::from_mins(4);
/// And by day, in a drawer.
const DAY_BEAT: Span = Span::from_mins(12);
const DAY: Span = Span::from_hours(24);
const NIGHT: Span = Span::from_hours(9);

/// One word of a handset.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// When it is made, in truth.
    pub due: Timestamp,
    /// The same by the handset's clock: no two of one handset are equal.
    pub at: Timestamp,
    /// What it says.
    pub kind: Kind,
    /// The JSON object.
    pub payload: String,
}

/// A handset and all that it will say.
#[derive(Debug, Clone)]
pub struct Script {
    /// Its id.
    pub device: DeviceId,
    /// Who carries it.
    pub guard: GuardId,
    /// In order.
    pub words: Vec<Said>,
    /// Whether it names its events.
    named: bool,
    /// How far its clock is ahead.
    skew: Span,
}

/// The site that it happens on, and when that begins.
#[derive(Debug, Clone, Copy)]
pub struct Ground<'a> {
    /// The site file.
    pub site: &'a Site,
    /// The same as a script: where the middle is.
    pub scenario: &'a Scenario,
    /// When the first guard may come.
    pub began: Timestamp,
    /// How long.
    pub length: Span,
}

impl Script {
    /// That of the handset with this number.
    pub fn of(ground: Ground<'_>, number: usize, chance: &mut Chance) -> Result<Option<Self>, InvalidId> {
        let Some(device) = ground.site.devices.get(number) else { return Ok(None) };
        let Some(guard) = device.guard.clone() else { return Ok(None) };
        let skew = skew(chance);
        let named = chance.happens(0.5);
        let mut script = Self { device: device.id.clone(), guard, words: vec![], named, skew };
        let nights = ground.length.millis() / DAY.millis() + 1;
        for night in 0..nights {
            let evening = ground.scenario.starts_at + Span::from_millis(night * DAY.millis());
            script.night(ground, number, evening, chance)?;
        }
        script.calls_for_help(ground, chance);
        script.put_in_order(ground.began + ground.length);
        Ok(Some(script))
    }

    fn night(
        &mut self,
        ground: Ground<'_>,
        number: usize,
        evening: Timestamp,
        chance: &mut Chance,
    ) -> Result<(), InvalidId> {
        let asleep = Asleep::tonight(evening, chance);
        if chance.happens(0.95) {
            self.attendance(evening + span(chance, -300, 1_200), AttendanceAction::CheckIn);
        }
        self.beats(ground, evening, &asleep, chance);
        self.rounds(ground, number, evening, &asleep, chance);
        self.tasks(evening, chance)?;
        self.attendance(evening + NIGHT + span(chance, -300, 1_800), AttendanceAction::CheckOut);
        let mut noon = evening + NIGHT + Span::from_mins(40);
        while noon < evening + DAY - Span::from_mins(10) {
            self.say(
                noon,
                Kind::Heartbeat(Heartbeat { battery_permille: Some(900), ..Heartbeat::default() }),
            );
            noon = noon + DAY_BEAT + span(chance, 0, 60);
        }
        Ok(())
    }

    fn beats(&mut self, ground: Ground<'_>, evening: Timestamp, asleep: &Asleep, chance: &mut Chance) {
        let mut at = evening + span(chance, 0, 240);
        let mut battery = 990;
        while at < evening + NIGHT {
            let still = asleep.covers(at);
            let touched = !still && chance.happens(0.3);
            let heartbeat = Heartbeat {
                battery_permille: Some(battery),
                interactions: if touched { small(draw(chance, 1, 5)) } else { 0 },
                steps: if still { 0 } else { small(draw(chance, 0, 200)) },
                ..Heartbeat::default()
            };
            battery -= 5;
            self.say(at, Kind::Heartbeat(heartbeat));
            self.say(at + Span::from_secs(60), Kind::Location(fix(ground.scenario.centre, still, chance)));
            if touched && chance.happens(0.2) {
                self.say(at + Span::from_secs(20), Kind::Activity("unlocked".to_owned()));
            }
            at = at + NIGHT_BEAT;
        }
    }

    fn rounds(
        &mut self,
        ground: Ground<'_>,
        number: usize,
        evening: Timestamp,
        asleep: &Asleep,
        chance: &mut Chance,
    ) {
        let Some(tour) = ground.scenario.tours.get(number) else { return };
        for start in &tour.starts {
            let mut at = evening + *start + span(chance, 0, 1_500);
            if !chance.happens(0.8) {
                continue;
            }
            for place in &tour.checkpoints {
                let tag = ground.site.checkpoints.get(*place).and_then(|checkpoint| checkpoint.tag.clone());
                if let Some(tag) = tag.filter(|_| !asleep.covers(at)) {
                    self.say(at, Kind::Scan(Scan { tag, guard: None, sun: None }));
                }
                at = at + span(chance, 60, 150);
            }
        }
    }

    fn tasks(&mut self, evening: Timestamp, chance: &mut Chance) -> Result<(), InvalidId> {
        let priorities = [Priority::Critical, Priority::High, Priority::Medium, Priority::Low];
        for _ in 0..draw(chance, 0, 3) {
            let at = evening + span(chance, 600, 7 * 3_600);
            let task = TaskId::new(&format!("T-{}-{}", self.device, at.millis() / 1_000))?;
            let priority = usize::try_from(draw(chance, 0, 4)).ok().and_then(|n| priorities.get(n)).copied();
            let made = TaskUpdate {
                task: task.clone(),
                state: TaskState::Created,
                priority,
                title: Some("Look at the boiler".to_owned()),
                created_at: None,
                due_at: None,
                guard: Some(self.guard.clone()),
            };
            self.say(at, Kind::Task(made));
            if chance.happens(0.7) {
                self.say(at + span(chance, 300, 5_400), Night::completes(task.as_str()));
            }
        }
        Ok(())
    }

    fn calls_for_help(&mut self, ground: Ground<'_>, chance: &mut Chance) {
        let some_time =
            |chance: &mut Chance| ground.began + span(chance, 600, ground.length.millis() / 1_000);
        if chance.happens(0.4) {
            let note = chance.happens(0.5).then(|| "help at once".to_owned());
            self.say(some_time(chance), Kind::Sos(note));
        }
        if chance.happens(0.2) {
            let fallen = Heartbeat { man_down: true, ..Heartbeat::default() };
            self.say(some_time(chance), Kind::Heartbeat(fallen));
        }
    }

    fn attendance(&mut self, due: Timestamp, action: AttendanceAction) {
        let guard = self.guard.clone();
        self.say(due, Kind::Attendance(Attendance { action, guard, biometric_permille: None }));
    }

    fn say(&mut self, due: Timestamp, kind: Kind) {
        self.words.push(Said { due, at: due, kind, payload: String::new() });
    }

    /// In the order of their instants, none like another, up to the end; and then as text.
    fn put_in_order(&mut self, until: Timestamp) {
        self.words.retain(|said| said.due < until);
        self.words.sort_by_key(|said| said.due);
        let mut latest = Timestamp::default();
        for (n, said) in self.words.iter_mut().enumerate() {
            said.due = said.due.max(latest.just_after());
            latest = said.due;
            said.at = said.due + self.skew;
            let id = if self.named { format!("\"id\":\"{}-{n}\",", self.device) } else { String::new() };
            said.payload = format!("{{\"ts\":\"{}\",{id}{}}}", said.at, fields(&said.kind));
        }
    }
}

/// While a guard sleeps.
#[derive(Debug)]
struct Asleep(Option<(Timestamp, Timestamp)>);

impl Asleep {
    fn tonight(evening: Timestamp, chance: &mut Chance) -> Self {
        let from = evening + span(chance, 3_600, 5 * 3_600);
        let until = from + span(chance, 9_000, 14_400);
        Self(chance.happens(0.3).then_some((from, until)))
    }

    fn covers(&self, at: Timestamp) -> bool {
        self.0.is_some_and(|(from, until)| from <= at && at < until)
    }
}

/// Most clocks are right; some are minutes off, few are hours late, and one in fifty was never set.
fn skew(chance: &mut Chance) -> Span {
    match draw(chance, 0, 50) {
        0 => Span::from_hours(-20_000),
        1..=3 => Span::from_secs(draw(chance, -18_000, 3_600)),
        4..=14 => Span::from_secs(draw(chance, -600, 600)),
        _ => Span::ZERO,
    }
}

fn fix(centre: Position, still: bool, chance: &mut Chance) -> Fix {
    let reach = if still { 0.000_05 } else { 0.001_5 };
    let mut off = || chance.between(-reach, reach);
    let (lat, lon) = (centre.lat + off(), centre.lon + off());
    Fix {
        lat,
        lon,
        accuracy_m: Some(12.5),
        speed_mps: Some(if still { 0.0 } else { 1.25 }),
        heading_deg: None,
        provider: Some(Provider::Gps),
        mock: false,
        outdated: false,
    }
}

fn small(number: i64) -> u32 {
    u32::try_from(number).unwrap_or_default()
}

/// What follows `ts` and `id`.
fn fields(kind: &Kind) -> String {
    match kind {
        Kind::Heartbeat(Heartbeat { battery_permille, interactions, steps, man_down, .. }) => {
            let battery = battery_permille.map(|p| format!("\"battery\":{}.{:03},", p / 1_000, p % 1_000));
            let battery = battery.unwrap_or_default();
            format!("{battery}\"interactions\":{interactions},\"steps\":{steps},\"man_down\":{man_down}")
        }
        Kind::Location(Fix { lat, lon, accuracy_m, speed_mps, .. }) => {
            let of = |number: &Option<f32>| number.unwrap_or_default();
            let (accuracy, speed) = (of(accuracy_m), of(speed_mps));
            format!(
                "\"lat\":{lat:?},\"lon\":{lon:?},\"accuracy\":{accuracy:?},\"speed\":{speed:?},\"provider\":\"gps\""
            )
        }
        Kind::Scan(Scan { tag, .. }) => format!("\"tag\":\"{}\"", tag.as_str()),
        Kind::Task(TaskUpdate { task, state: TaskState::Created, priority, title, guard, .. }) => format!(
            "\"task\":\"{task}\",\"state\":\"created\",\"priority\":\"{}\",\"title\":{:?},\"guard\":\"{}\"",
            match priority {
                Some(Priority::Critical) => "CRITICAL",
                Some(Priority::High) => "HIGH",
                Some(Priority::Medium) => "MEDIUM",
                Some(Priority::Low) | None => "LOW",
            },
            title.as_deref().unwrap_or_default(),
            guard.as_ref().map_or("", |guard| guard.as_str()),
        ),
        Kind::Task(TaskUpdate { task, .. }) => format!("\"task\":\"{task}\",\"state\":\"completed\""),
        Kind::Attendance(Attendance { action, guard, .. }) => {
            let word = if *action == AttendanceAction::CheckIn { "check_in" } else { "check_out" };
            format!("\"action\":\"{word}\",\"guard\":\"{guard}\"")
        }
        Kind::Activity(event) => format!("\"event\":{event:?}"),
        Kind::Sos(Some(note)) => format!("\"note\":{note:?}"),
        Kind::Sos(None) => "\"note\":null".to_owned(),
        Kind::Status { .. } => String::new(),
    }
}
