//! A small test language in the words of the trade: a night on a small site, told event by event.
//!
//! ```
//! use vigil_tests::night::{Night, at};
//! let mut night = Night::on_plant_7(|_| {});
//! night.check_in(at("20:00"), "G-7");
//! night.until(at("20:05"));
//! assert!(night.alerts().is_empty());
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use vigil_core::alert::{Alert, AlertId, Method, Rule, Status};
use vigil_core::command::{Answer, Command, Order, RefusedCommand, StatusStep};
use vigil_core::engine::{Commit, Engine, Outcome, Record};
use vigil_core::id::{CheckpointId, ClientId, DeviceId, GuardId, SiteId, Tag, TenantId, TourId};
use vigil_core::observation::{
    Attendance, AttendanceAction, Fix, Heartbeat, Kind, Observation, Priority, Provider, Scan, TaskState,
    TaskUpdate,
};
use vigil_core::policy::{Policy, PolicyParts};
use vigil_core::report::DailyReport;
use vigil_core::retelling::{Correction, Retelling};
use vigil_core::rules::compliance::RunRecord;
use vigil_core::rules::welfare::{Prompt, WelfareResult};
use vigil_core::site::{
    Checkpoint, Device, DeviceKind, FixMode, Geofence, Guard, Position, Site, SiteParts, SiteTask, Tour,
    TourType,
};
use vigil_core::time::{Date, Days, LocalTime, Span, Timestamp};

/// An instant of the night of 10 March 2026 on the site's clock (UTC+05:30); hours before noon are the 11th.
pub fn at(clock: &str) -> Timestamp {
    let day = if clock < "12:00" { 11 } else { 10 };
    let seconds = if clock.len() == 5 { ":00" } else { "" };
    Timestamp::parse(&format!("2026-03-{day}T{clock}{seconds}+05:30")).expect("a time of day")
}

/// An instant on the site's clock, of any day.
pub fn on(date: &str, clock: &str) -> Timestamp {
    Timestamp::parse(&format!("{date}T{clock}:00+05:30")).expect("a date and a time of day")
}

/// Minutes.
pub const fn mins(n: i64) -> Span {
    Span::from_mins(n)
}

/// Seconds.
pub const fn secs(n: i64) -> Span {
    Span::from_secs(n)
}

/// An id of any kind.
pub fn id<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().expect("an id")
}

/// A tour over all six checkpoints of the plant.
pub fn tour(name: &str, starts: &[&str], duration: Span) -> Tour {
    Tour {
        id: TourId::new(name).expect("an id"),
        name: format!("Tour {name}"),
        kind: TourType::Routine,
        mandatory: true,
        checkpoints: (0..6).map(|n| id(&format!("cp-{n}"))).collect(),
        ordered: false,
        start: starts.iter().map(|s| LocalTime::parse(s).expect("a time of day")).collect(),
        days: Days::ALL,
        duration,
        guard: None,
        min_dwell: None,
    }
}

/// Changes the policy of a site in the making.
pub fn with_policy(parts: &mut SiteParts, change: impl FnOnce(&mut PolicyParts)) {
    let mut policy: PolicyParts = (*parts.policy).clone();
    change(&mut policy);
    parts.policy = Policy::new(policy).expect("a valid policy");
}

/// The parts of the plant: two guards with handsets, six checkpoints on a circle, one reader at the gate.
pub fn plant_7() -> SiteParts {
    let guard = |name: &str| Guard {
        id: id(name),
        name: format!("Guard {name}"),
        badge: Tag::new(&format!("AA0000F{}", &name[2..])).ok(),
    };
    let device = |name: &str, kind, guard: Option<&str>, place: Option<&str>| Device {
        id: id(name),
        kind,
        guard: guard.map(id),
        checkpoint: place.map(id),
        owntracks: None,
        topic: None,
        fixes: FixMode::Periodic,
    };
    let place = |n: i32| {
        let angle = f64::from(n) * std::f64::consts::TAU / 6.0;
        let (north, east) = (150.0 * angle.cos(), 150.0 * angle.sin());
        Checkpoint {
            id: id(&format!("cp-{n}")),
            name: format!("Checkpoint {n}"),
            tag: Tag::new(&format!("04AA000{n}")).ok(),
            position: Some(position(north, east)),
            sun_key: None,
        }
    };
    SiteParts {
        id: SiteId::new("plant-7").expect("an id"),
        name: "Plant 7".into(),
        tenant: TenantId::new("acme").expect("an id"),
        client: ClientId::new("north").expect("an id"),
        timezone: chrono_tz::Asia::Kolkata,
        geofence: Some(Geofence::Circle { centre: position(0.0, 0.0), radius_m: 300.0 }),
        guards: vec![guard("G-7"), guard("G-8")],
        devices: vec![
            device("hs-7", DeviceKind::Handset, Some("G-7"), None),
            device("hs-8", DeviceKind::Handset, Some("G-8"), None),
            device("hs-shared", DeviceKind::Handset, None, None),
            device("reader-gate", DeviceKind::Reader, None, Some("cp-0")),
        ],
        checkpoints: (0..6).map(place).collect(),
        tours: vec![],
        shifts: vec![],
        tasks: vec![],
        policy: Policy::default(),
    }
}

/// So many metres north and east of the plant's middle.
pub fn position(north_m: f64, east_m: f64) -> Position {
    let lat = 12.9716 + north_m / 111_195.0;
    let lon = 77.5946 + east_m / (111_195.0 * 12.9716_f64.to_radians().cos());
    Position { lat, lon }
}

/// A night that is going on.
#[derive(Debug)]
pub struct Night {
    /// The engine, to be looked into.
    pub engine: Engine,
    alerts: BTreeMap<AlertId, Vec<Alert>>,
    runs: Vec<RunRecord>,
    reports: Vec<DailyReport>,
    outcomes: Vec<Outcome>,
    refused: Vec<RefusedCommand>,
    prompts: Vec<Prompt>,
    welfare: Vec<WelfareResult>,
    serial: u64,
    wrong: Option<WrongClock>,
}

/// A time in which the gateway's clock is wrong. The night goes on in true instants all the same.
#[derive(Debug)]
struct WrongClock {
    /// The engine as it stood before.
    before: Vec<u8>,
    from: Timestamp,
    behind: Span,
    taken: Vec<Observation>,
}

impl Night {
    /// A night on the plant, changed to taste; it begins at 19:55.
    pub fn on_plant_7(change: impl FnOnce(&mut SiteParts)) -> Self {
        let mut parts = plant_7();
        change(&mut parts);
        Self::on(Site::new(parts).expect("a whole site"), at("19:55"))
    }

    /// A night on any site.
    pub fn on(site: Site, began: Timestamp) -> Self {
        let engine = Engine::new(Arc::new(site), began);
        Self {
            engine,
            alerts: BTreeMap::new(),
            runs: vec![],
            reports: vec![],
            outcomes: vec![],
            refused: vec![],
            prompts: vec![],
            welfare: vec![],
            serial: 0,
            wrong: None,
        }
    }

    fn take(&mut self, commit: Commit) {
        self.prompts.extend(commit.effects.prompts);
        for alert in commit.effects.alerts {
            let revisions = self.alerts.entry(alert.id).or_default();
            assert_eq!(
                usize::try_from(alert.revision),
                Ok(revisions.len() + 1),
                "revisions rise by one: {alert:?}"
            );
            revisions.push(alert);
        }
        for record in commit.effects.records {
            match record {
                Record::Run(run) => self.runs.push(*run),
                Record::Report(report) => self.reports.push(*report),
                Record::Refused(refused) => self.refused.push(refused),
                Record::Welfare(result) => self.welfare.push(result),
            }
        }
        self.outcomes.extend(commit.observation.map(|(_, outcome)| outcome));
    }

    /// An observation that is received one second after it happened.
    pub fn observe(&mut self, at: Timestamp, device: &str, kind: Kind) -> Outcome {
        self.observe_late(at, at + secs(1), device, kind)
    }

    /// An observation that is received when it is received.
    pub fn observe_late(
        &mut self,
        at: Timestamp,
        received_at: Timestamp,
        device: &str,
        kind: Kind,
    ) -> Outcome {
        self.serial += 1;
        let event = self.serial.to_string();
        self.take_in(Observation::new(id(device), at, received_at, Some(&event), kind))
    }

    /// Any observation.
    pub fn take_in(&mut self, mut observation: Observation) -> Outcome {
        observation.received_at = self.by_the_gateway(observation.received_at);
        if let Some(wrong) = &mut self.wrong {
            wrong.taken.push(observation.clone());
        }
        let commit = self.engine.on_observation(observation);
        self.take(commit);
        self.outcomes.last().copied().expect("an outcome")
    }

    /// The operator changes the site file.
    pub fn reload(&mut self, parts: SiteParts, now: Timestamp) {
        let commit = self.engine.on_site(Arc::new(Site::new(parts).expect("a whole site")), now);
        self.take(commit);
    }

    /// Time passes.
    pub fn until(&mut self, now: Timestamp) {
        let commit = self.engine.on_deadline(self.by_the_gateway(now));
        self.take(commit);
    }

    /// The agent is killed and started again in no time.
    pub fn dies_and_lives_again(&mut self) {
        let snapshot = self.engine.snapshot().expect("a snapshot");
        self.engine = Engine::restore(Arc::clone(self.engine.site()), &snapshot).expect("restored");
    }

    /// Power fails and comes back: the engine is rebuilt from its snapshot.
    pub fn power_cut(&mut self, down_from: Timestamp, up_at: Timestamp) {
        let snapshot = self.engine.snapshot().expect("a snapshot");
        self.engine = Engine::restore(Arc::clone(self.engine.site()), &snapshot).expect("restored");
        let commit = self.engine.on_restart(down_from, up_at);
        self.take(commit);
    }

    /// What the gateway's clock shows at a true instant.
    fn by_the_gateway(&self, now: Timestamp) -> Timestamp {
        self.wrong.as_ref().map_or(now, |wrong| now - wrong.behind)
    }

    /// Power fails and comes back, and the box does not know the time: its clock goes on where it stood.
    pub fn wakes_without_time(&mut self, down_from: Timestamp, up_at: Timestamp) {
        self.wakes_with(down_from, down_from, up_at, Engine::on_unset);
    }

    /// Power fails and comes back, and the box believes that it is `shown`.
    pub fn wakes_with_a_wrong_clock(&mut self, down_from: Timestamp, shown: Timestamp, up_at: Timestamp) {
        self.wakes_with(down_from, shown, up_at, |engine, shown| engine.on_restart(engine.now(), shown));
    }

    fn wakes_with(
        &mut self,
        down_from: Timestamp,
        shown: Timestamp,
        up_at: Timestamp,
        wake: impl FnOnce(&mut Engine, Timestamp) -> Commit,
    ) {
        self.until(down_from);
        let before = self.engine.snapshot().expect("a snapshot");
        self.engine = Engine::restore(Arc::clone(self.engine.site()), &before).expect("restored");
        let commit = wake(&mut self.engine, shown);
        self.take(commit);
        self.wrong = Some(WrongClock { before, from: shown, behind: up_at.since(shown), taken: vec![] });
    }

    /// The gateway learns what time it is.
    pub fn learns_the_time(&mut self, now: Timestamp) {
        self.until(now);
        let Some(WrongClock { before, from, behind, taken }) = self.wrong.take() else { return };
        let before = Engine::restore(Arc::clone(self.engine.site()), &before).expect("restored");
        let correction = Correction { from, by: behind, uncertainty: secs(2) };
        let mut retelling = Retelling::new(before, &self.engine, correction);
        for observation in taken {
            retelling.give(|engine, correction| {
                let received_at = correction.of(observation.received_at).max(engine.now());
                engine.on_observation(Observation { received_at, ..observation })
            });
        }
        let (engine, effects) = retelling.end(now);
        self.engine = engine;
        self.take(Commit { observation: None, command: None, effects });
    }

    /// A guard's own handset.
    pub fn handset(guard: &str) -> String {
        guard.replace("G-", "hs-")
    }

    /// A guard comes.
    pub fn check_in(&mut self, at: Timestamp, guard: &str) {
        self.attendance(at, guard, AttendanceAction::CheckIn);
    }

    /// A guard goes.
    pub fn check_out(&mut self, at: Timestamp, guard: &str) {
        self.attendance(at, guard, AttendanceAction::CheckOut);
    }

    /// Any attendance action, on the guard's own handset.
    pub fn attendance(&mut self, at: Timestamp, guard: &str, action: AttendanceAction) {
        self.observe(at, &Self::handset(guard), Self::attends(guard, action));
    }

    /// What an attendance action says.
    pub fn attends(guard: &str, action: AttendanceAction) -> Kind {
        Kind::Attendance(Attendance { action, guard: id(guard), biometric_permille: None })
    }

    /// A heartbeat that says how much charge is left, in thousandths.
    pub fn battery(&mut self, at: Timestamp, guard: &str, permille: u16) {
        self.observe(at, &Self::handset(guard), Self::charge(permille));
    }

    /// The heartbeat of a phone with so much charge.
    pub fn charge(permille: u16) -> Kind {
        Kind::Heartbeat(Heartbeat { battery_permille: Some(permille), ..Heartbeat::default() })
    }

    /// A heartbeat of the guard's handset, with what the phone saw.
    pub fn heartbeat(&mut self, at: Timestamp, guard: &str, interactions: u32, steps: u32) {
        let heartbeat =
            Heartbeat { battery_permille: Some(800), interactions, steps, ..Heartbeat::default() };
        self.observe(at, &Self::handset(guard), Kind::Heartbeat(heartbeat));
    }

    /// A fix so many metres from the middle of the plant.
    pub fn fix(at: Timestamp, north_m: f64, east_m: f64) -> Kind {
        let p = position(north_m, east_m);
        let _same_for_every_instant = at;
        Kind::Location(Fix {
            lat: p.lat,
            lon: p.lon,
            accuracy_m: Some(12.0),
            speed_mps: None,
            heading_deg: None,
            provider: Some(Provider::Gps),
            mock: false,
            outdated: false,
        })
    }

    /// The guard scans a checkpoint with the handset.
    pub fn scan(&mut self, at: Timestamp, guard: &str, place: &str) -> Outcome {
        let handset = Self::handset(guard);
        self.observe(at, &handset, Self::tag_of(place))
    }

    /// A scan that the handset held back.
    pub fn scan_late(&mut self, at: Timestamp, received_at: Timestamp, guard: &str, place: &str) -> Outcome {
        self.observe_late(at, received_at, &Self::handset(guard), Self::tag_of(place))
    }

    /// The scan of a checkpoint.
    pub fn tag_of(place: &str) -> Kind {
        let tag = Tag::new(&place.replace("cp-", "04AA000")).expect("a tag");
        Kind::Scan(Scan { tag, guard: None, sun: None })
    }

    /// A task of a priority is created.
    pub fn create_task(&mut self, at: Timestamp, guard: &str, task: &str, priority: Priority) {
        let update = TaskUpdate {
            task: id(task),
            state: TaskState::Created,
            priority: Some(priority),
            title: Some(format!("check {task}")),
            created_at: Some(at),
            due_at: None,
            guard: Some(id(guard)),
        };
        self.observe(at, &Self::handset(guard), Kind::Task(update));
    }

    /// What the completion of a task says.
    pub fn completes(task: &str) -> Kind {
        Kind::Task(TaskUpdate {
            task: id(task),
            state: TaskState::Completed,
            priority: None,
            title: None,
            created_at: None,
            due_at: None,
            guard: None,
        })
    }

    /// A task changes.
    pub fn task(&mut self, at: Timestamp, guard: &str, task: &str, state: TaskState) {
        self.observe(at, &Self::handset(guard), Self::task_update(guard, task, state));
    }

    /// What a change of a task looks like.
    pub fn task_update(guard: &str, task: &str, state: TaskState) -> Kind {
        Kind::Task(TaskUpdate {
            task: id(task),
            state,
            priority: None,
            title: None,
            created_at: None,
            due_at: None,
            guard: Some(id(guard)),
        })
    }

    /// A task of the site file that is nobody's, with an hour to do it.
    pub fn site_task(name: &str, created_at: Timestamp) -> SiteTask {
        SiteTask {
            id: id(name),
            title: format!("check {name}"),
            priority: Priority::Medium,
            guard: None,
            created_at,
            due_at: None,
        }
    }

    /// The handset lies still and lives: a heartbeat and a wandering fix every minute of `[from, to)`.
    pub fn lies_still(&mut self, from: Timestamp, to: Timestamp, guard: &str) {
        let mut now = from;
        while now < to {
            let n = now.millis() / 60_000;
            let wander = [(0.0, 0.0), (7.0, 3.0), (-5.0, 6.0), (2.0, -8.0)];
            let (north, east) = wander[usize::try_from(n.rem_euclid(4)).expect("0 to 3")];
            self.heartbeat(now, guard, 0, 0);
            self.observe(now, &Self::handset(guard), Self::fix(now, north, east));
            now = now + mins(1);
        }
    }

    /// The guard walks a circle, and the phone knows it.
    pub fn walks(&mut self, from: Timestamp, to: Timestamp, guard: &str) {
        let mut now = from;
        while now < to {
            let turn = f64::from(i32::try_from((now.millis() / 60_000).rem_euclid(20)).expect("small"));
            let angle = turn * std::f64::consts::TAU / 20.0;
            self.heartbeat(now, guard, 1, 60);
            self.observe(
                now,
                &Self::handset(guard),
                Self::fix(now, 150.0 * angle.cos(), 150.0 * angle.sin()),
            );
            now = now + mins(1);
        }
    }

    /// Every alert, latest revision, by detection.
    pub fn alerts(&self) -> Vec<&Alert> {
        let mut last: Vec<&Alert> = self.alerts.values().filter_map(|r| r.last()).collect();
        last.sort_by_key(|a| (a.detected_at, a.rule, a.subject.clone()));
        last
    }

    /// The alerts of one rule.
    pub fn alerts_of(&self, rule: Rule) -> Vec<&Alert> {
        self.alerts().into_iter().filter(|a| a.rule == rule).collect()
    }

    /// The only alert of a rule.
    pub fn the_alert(&self, rule: Rule) -> &Alert {
        let found = self.alerts_of(rule);
        assert_eq!(found.len(), 1, "one {rule} alert, found {found:#?}");
        found[0]
    }

    /// Every revision of every alert, in order of id.
    pub fn revisions(&self) -> Vec<&Alert> {
        self.alerts.values().flatten().collect()
    }

    /// Every run record, in order.
    pub fn runs(&self) -> &[RunRecord] {
        &self.runs
    }

    /// What the log says of the only run of a night: its latest revision.
    pub fn the_run(&self) -> &RunRecord {
        let last = self.runs.last().expect("a run");
        let same = |r: &&RunRecord| r.tour == last.tour && r.scheduled_at == last.scheduled_at;
        let revisions: Vec<u32> = self.runs.iter().filter(same).map(|r| r.revision).collect();
        assert_eq!(revisions.len(), self.runs.len(), "one run: {:#?}", self.runs);
        assert!((1..).zip(&revisions).all(|(n, r)| n == *r), "revisions rise by one: {revisions:?}");
        last
    }

    /// Every daily report that was sent, in order.
    pub fn reports(&self) -> &[DailyReport] {
        &self.reports
    }

    /// The last report of a day that was sent.
    pub fn report_of(&self, date: Date) -> &DailyReport {
        self.reports.iter().rfind(|r| r.date == date).expect("a report of that day")
    }

    /// A command comes, under a name of its own.
    pub fn command(&mut self, now: Timestamp, order: Order) -> Answer {
        self.serial += 1;
        self.command_named(&format!("c-{}", self.serial), now, order, None)
    }

    /// A command with its name, and with the alert that only the store still knows.
    pub fn command_named(
        &mut self,
        name: &str,
        now: Timestamp,
        order: Order,
        recalled: Option<Alert>,
    ) -> Answer {
        let recalled = recalled.map(Box::new);
        let commit = self.engine.on_command(Command { id: id(name), received_at: now, order, recalled });
        let answer = commit.command.as_ref().map(|(_, answer)| answer.clone()).expect("an answer");
        self.take(commit);
        answer
    }

    /// An operator takes an alert a step further.
    pub fn step(&mut self, now: Timestamp, alert: AlertId, status: Status) -> Answer {
        self.command(now, Self::says("Asha", alert, status))
    }

    /// What an operator says of an alert, and nothing more.
    pub fn says(by: &str, alert: AlertId, status: Status) -> Order {
        let method = Method::None;
        Order::AlertStatus(StatusStep { alert, status, method, response: None, by: by.into(), note: None })
    }

    /// The commands that were refused, for the record.
    pub fn refused(&self) -> &[RefusedCommand] {
        &self.refused
    }

    /// The questions that were put to guards, in order.
    pub fn prompts(&self) -> &[Prompt] {
        &self.prompts
    }

    /// What came of the welfare checks that were ordered.
    pub fn welfare(&self) -> &[WelfareResult] {
        &self.welfare
    }

    /// The guard touches the handset: one phone event.
    pub fn touches(&mut self, at: Timestamp, guard: &str) {
        self.observe(at, &Self::handset(guard), Kind::Activity("confirmed".into()));
    }

    /// What became of each observation.
    pub fn outcomes(&self) -> &[Outcome] {
        &self.outcomes
    }
}

/// The ids that tests use most.
pub fn guard(name: &str) -> GuardId {
    id(name)
}

/// A checkpoint's id.
pub fn checkpoint(name: &str) -> CheckpointId {
    id(name)
}

/// A device's id.
pub fn device(name: &str) -> DeviceId {
    id(name)
}
