//! What holds for every night, whatever happens in it: nights are made up, played, and played again otherwise.

// All of it is test code: a failed unwrap is a failed test.
#![cfg(test)]

use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use vigil_core::alert::{Alert, AlertId, Rule, Subject};
use vigil_core::engine::{Engine, Record};
use vigil_core::evidence::Evidence;
use vigil_core::id::TourId;
use vigil_core::observation::{
    Attendance, AttendanceAction, Heartbeat, Kind, Observation, Priority, TaskState, TaskUpdate,
};
use vigil_core::policy::{Maintenance, Permille};
use vigil_core::report::DailyReport;
use vigil_core::rules::compliance::RunRecord;
use vigil_core::rules::welfare::Prompt;
use vigil_core::site::{Device, DeviceKind, FixMode, Site, SiteParts};
use vigil_core::time::{Date, Span, Timestamp};
use vigil_tests::night::{Night, at, id, mins, plant_7, secs, tour, with_policy};

/// A night is told in pieces of so many minutes.
const PIECE: i64 = 30;
/// From 20:00 to 04:00.
const PIECES: usize = 16;
const GUARDS: [&str; 2] = ["G-7", "G-8"];
/// Every round costs two or three whole nights of two guards: some ten seconds for a property without optimisation.
const CASES: u32 = 24;

/// `PROPTEST_CASES` asks for more.
fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(CASES);
    ProptestConfig { cases, max_shrink_iters: 200, ..ProptestConfig::default() }
}

/// What a guard does in one piece of the night.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Walks,
    LiesStill,
    Silent,
}

/// Something that happens besides.
#[derive(Debug, Clone)]
struct Act {
    minute: i64,
    guard: usize,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    Scan(u8),
    Touch,
    Battery(u16),
    Attend(AttendanceAction),
    Task(u8, Priority, TaskState),
}

/// A made-up night: the moods of the two guards, and what happens besides.
#[derive(Debug, Clone)]
struct Script {
    moods: Vec<[Mood; 2]>,
    acts: Vec<Act>,
}

fn mood() -> impl Strategy<Value = Mood> {
    prop_oneof![2 => Just(Mood::Walks), 3 => Just(Mood::LiesStill), 1 => Just(Mood::Silent)]
}

fn what() -> impl Strategy<Value = What> {
    use AttendanceAction::{BreakEnd, BreakStart, CheckIn, CheckOut};
    let action = prop::sample::select(vec![CheckIn, CheckOut, BreakStart, BreakEnd]);
    let priority =
        prop::sample::select(vec![Priority::Critical, Priority::High, Priority::Medium, Priority::Low]);
    let state = prop::sample::select(vec![TaskState::Created, TaskState::Completed, TaskState::Cancelled]);
    prop_oneof![
        8 => (0_u8..6).prop_map(What::Scan),
        2 => Just(What::Touch),
        2 => (0_u16..=1_000).prop_map(What::Battery),
        1 => action.prop_map(What::Attend),
        3 => (0_u8..4, priority, state).prop_map(|(task, priority, state)| What::Task(task, priority, state)),
    ]
}

fn scripts() -> impl Strategy<Value = Script> {
    let moods = prop::collection::vec(prop::array::uniform2(mood()), PIECES);
    let length = PIECE * i64::try_from(PIECES).unwrap();
    let act = (1..length, 0_usize..2, what()).prop_map(|(minute, guard, what)| Act { minute, guard, what });
    (moods, prop::collection::vec(act, 0..40)).prop_map(|(moods, acts)| Script { moods, acts })
}

fn began() -> Timestamp {
    at("19:55")
}

fn ended() -> Timestamp {
    at("20:00") + mins(PIECE * i64::try_from(PIECES).unwrap()) + mins(10)
}

/// Two tours an hour over two checkpoints each, one of them of one guard.
fn site(change: impl FnOnce(&mut SiteParts)) -> Arc<Site> {
    let mut parts = plant_7();
    let starts = ["20:30", "21:30", "22:30", "23:30", "00:30", "01:30", "02:30"];
    let mut own = tour("own", &starts, mins(15));
    (own.guard, own.checkpoints) = (Some(id("G-7")), vec![id("cp-0"), id("cp-1")]);
    let mut shared = tour("shared", &starts, mins(20));
    (shared.ordered, shared.checkpoints) = (true, vec![id("cp-1"), id("cp-2"), id("cp-3")]);
    parts.tours.extend([own, shared]);
    change(&mut parts);
    Arc::new(Site::new(parts).unwrap())
}

impl Script {
    /// Everything that is said, in order of its instant; received within seconds.
    fn observations(&self) -> Vec<Observation> {
        let mut said = Vec::new();
        for (n, guard) in GUARDS.iter().enumerate() {
            said.push((at("20:00"), n, attendance(guard, AttendanceAction::CheckIn)));
            for (piece, moods) in (0_i64..).zip(&self.moods) {
                for minute in PIECE * piece..PIECE * (piece + 1) {
                    let when = at("20:00") + mins(minute) + secs(1);
                    said.extend(minute_of(moods[n], minute, when).into_iter().map(|kind| (when, n, kind)));
                }
            }
        }
        for (n, act) in (0..).zip(&self.acts) {
            // Of one moment, but not of one instant.
            let when = at("20:00") + mins(act.minute) + secs(5 + n % 5);
            said.push((when, act.guard, act.what.kind(GUARDS[act.guard])));
        }
        said.sort_by_key(|(when, n, _)| (*when, *n));
        let observation = |(serial, (when, n, kind)): (usize, (Timestamp, usize, Kind))| {
            let handset = Night::handset(GUARDS[n]);
            Observation::new(id(&handset), when, received(when), Some(&serial.to_string()), kind)
        };
        said.into_iter().enumerate().map(observation).collect()
    }
}

/// Everything of five seconds is received at their end.
fn received(when: Timestamp) -> Timestamp {
    when.floor_to(secs(5)) + secs(5)
}

fn minute_of(mood: Mood, minute: i64, when: Timestamp) -> Vec<Kind> {
    let (north, east, interactions, steps) = match mood {
        Mood::Silent => return vec![],
        Mood::LiesStill => {
            let wander = [(0.0, 0.0), (7.0, 3.0), (-5.0, 6.0), (2.0, -8.0)];
            let (north, east) = wander[usize::try_from(minute % 4).unwrap()];
            (north, east, 0, 0)
        }
        Mood::Walks => {
            let angle = f64::from(i32::try_from(minute % 20).unwrap()) * std::f64::consts::TAU / 20.0;
            (150.0 * angle.cos(), 150.0 * angle.sin(), u32::from(minute % 7 == 0), 60)
        }
    };
    let heartbeat = Heartbeat { battery_permille: None, interactions, steps, ..Heartbeat::default() };
    vec![Kind::Heartbeat(heartbeat), Night::fix(when, north, east)]
}

fn attendance(guard: &str, action: AttendanceAction) -> Kind {
    Kind::Attendance(Attendance { action, guard: id(guard), biometric_permille: None })
}

impl What {
    fn kind(&self, guard: &str) -> Kind {
        match self {
            Self::Scan(place) => Night::tag_of(&format!("cp-{place}")),
            Self::Touch => Kind::Activity("unlock".into()),
            Self::Battery(permille) => {
                Kind::Heartbeat(Heartbeat { battery_permille: Some(*permille), ..Heartbeat::default() })
            }
            Self::Attend(action) => attendance(guard, *action),
            Self::Task(task, priority, state) => Kind::Task(TaskUpdate {
                task: id(&format!("T-{task}")),
                state: *state,
                priority: Some(*priority),
                title: None,
                created_at: None,
                due_at: None,
                guard: Some(id(guard)),
            }),
        }
    }
}

/// Readers beside the handsets: more than a storm needs.
const READERS: usize = 26;

/// What makes that alerts are found and not told by themselves.
#[derive(Debug, Clone)]
struct Hush {
    /// Rows of heartbeats of all readers, one a minute: from which minute of the night, and for how many.
    lives: Vec<(i64, i64)>,
    /// Intervals in which rules are mute, in minutes of the night.
    mute: Vec<(i64, i64, Vec<Rule>)>,
}

fn hushes() -> impl Strategy<Value = Hush> {
    let length = PIECE * i64::try_from(PIECES).unwrap();
    let some =
        vec![Rule::DeviceSilent, Rule::Inactivity, Rule::TaskOverdue, Rule::TourMissed, Rule::BreakOverrun];
    let mute = (0..length, 1_i64..120, prop::sample::subsequence(some, 0..4));
    let lives = prop::collection::vec((0..length - 60, 1_i64..30), 1..6);
    (lives, prop::collection::vec(mute, 0..4)).prop_map(|(lives, mute)| Hush { lives, mute })
}

impl Hush {
    fn site(&self) -> Arc<Site> {
        let minute = |m: i64| at("20:00") + mins(m);
        let interval = |(from, long, rules): &(i64, i64, Vec<Rule>)| Maintenance {
            starts_at: minute(*from),
            ends_at: minute(from + long),
            rules: rules.clone(),
        };
        site(|parts| {
            parts.devices.extend((0..READERS).map(|n| Device {
                id: id(&format!("rd-{n}")),
                kind: DeviceKind::Reader,
                guard: None,
                checkpoint: Some(id("cp-1")),
                owntracks: None,
                topic: None,
                fixes: FixMode::Periodic,
            }));
            with_policy(parts, |p| {
                p.inactivity.welfare_check = Some(mins(2));
                p.maintenance = self.mute.iter().map(interval).collect();
            });
        })
    }

    /// The observations of a script, and the heartbeats of the readers between them; each reader a little later.
    fn observations(&self, script: &Script) -> Vec<Observation> {
        let mut all = script.observations();
        for (from, long) in &self.lives {
            for (minute, n) in (*from..from + long).flat_map(|m| (0..READERS).map(move |n| (m, n))) {
                let when = at("20:00") + mins(minute) + secs(i64::try_from(n).unwrap() * 2);
                let kind = Kind::Heartbeat(Heartbeat::default());
                all.push(Observation::new(id(&format!("rd-{n}")), when, received(when), None, kind));
            }
        }
        all.sort_by_key(|o| o.received_at);
        all
    }
}

/// What a night came to.
#[derive(Debug, Clone, Default, PartialEq)]
struct Outcome {
    revisions: Vec<Alert>,
    runs: BTreeMap<(Timestamp, TourId), RunRecord>,
    reports: BTreeMap<Date, DailyReport>,
    prompts: Vec<Prompt>,
}

impl Outcome {
    fn take(&mut self, commit: vigil_core::engine::Commit) {
        self.prompts.extend(commit.effects.prompts);
        self.revisions.extend(commit.effects.alerts);
        for record in commit.effects.records {
            match record {
                Record::Run(run) => drop(self.runs.insert((run.scheduled_at, run.tour.clone()), *run)),
                Record::Report(report) => drop(self.reports.insert(report.date, *report)),
                Record::Refused(refused) => assert_eq!(refused.reason, "", "nobody asks anything here"),
                Record::Welfare(result) => assert_eq!(result.answered_at, None, "nobody orders a check here"),
            }
        }
    }

    fn last(&self) -> BTreeMap<AlertId, &Alert> {
        self.revisions.iter().map(|alert| (alert.id, alert)).collect()
    }

    fn of_rule(&self, rule: Rule) -> Vec<&Alert> {
        self.last().into_values().filter(|a| a.rule == rule).collect()
    }
}

fn play(site: &Arc<Site>, observations: &[Observation]) -> Outcome {
    play_with(site, observations, |_, engine| engine).0
}

fn play_with(
    site: &Arc<Site>,
    observations: &[Observation],
    mut before: impl FnMut(usize, Engine) -> Engine,
) -> (Outcome, Engine) {
    let mut engine = Engine::new(Arc::clone(site), began());
    let mut outcome = Outcome::default();
    for (n, observation) in observations.iter().enumerate() {
        engine = before(n, engine);
        outcome.take(engine.on_observation(observation.clone()));
    }
    outcome.take(engine.on_deadline(ended()));
    (outcome, engine)
}

/// What must not depend on the order in which messages of the same moment arrive: everything but the number of
/// revisions that it took.
fn verdicts(outcome: &Outcome) -> Vec<(Rule, Subject, Timestamp, Option<Timestamp>, String, String)> {
    let of = |a: &Alert| {
        let (severity, status) = (a.severity.to_string(), a.status.to_string());
        (a.rule, a.subject.clone(), a.detected_at, a.cleared_at, severity, status)
    };
    let mut all: Vec<_> = outcome.last().into_values().map(of).collect();
    all.sort();
    all
}

fn runs(outcome: &Outcome) -> Vec<RunRecord> {
    outcome.runs.values().map(|run| RunRecord { revision: 0, ..run.clone() }).collect()
}

/// From when to when an alert held; one without end holds for ever.
fn held(alert: &Alert) -> (Timestamp, Timestamp) {
    (alert.detected_at, alert.cleared_at.unwrap_or(Timestamp::from_millis(i64::MAX)))
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_order_of_arrival_inside_settle_changes_nothing(mut script in scripts(), seed in any::<u64>()) {
        // So that several things happen in the same moment.
        script.acts.iter_mut().for_each(|act| act.minute = act.minute / 10 * 10 + 1);
        let (site, in_order) = (site(|_| {}), script.observations());
        let mut shuffled = in_order.clone();
        // Any order within the same moment: the identity's bits, mixed with the seed, are as good as dice.
        shuffled.sort_by_cached_key(|o| {
            let dice = o.at.millis().unsigned_abs().wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ seed;
            let name = format!("{:?}{}{dice}", o.kind, o.device);
            (o.received_at, name.bytes().fold(dice, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)))
        });
        let (a, b) = (play(&site, &in_order), play(&site, &shuffled));
        prop_assert_eq!(verdicts(&a), verdicts(&b));
        prop_assert_eq!(runs(&a), runs(&b));
    }

    #[test]
    fn late_evidence_never_raises(script in scripts(), late in scripts()) {
        let site = site(|_| {});
        let (_, mut engine) = play_with(&site, &script.observations(), |_, engine| engine);
        let acts = late.acts.iter().filter(|act| {
            !matches!(act.what, What::Task(_, _, TaskState::Created | TaskState::Started))
        });
        for (n, act) in acts.enumerate() {
            let guard = GUARDS[act.guard];
            // Within duty, and long judged.
            let when = at("20:00") + mins(act.minute.min(PIECE * 15)) + secs(11);
            let kind = act.what.kind(guard);
            let late = Observation::new(id(&Night::handset(guard)), when, ended(), Some(&format!("late-{n}")), kind);
            let raised: Vec<Alert> =
                engine.on_observation(late.clone()).effects.alerts.into_iter().filter(|a| a.revision == 1).collect();
            prop_assert!(raised.is_empty(), "{late:?} raised {raised:#?}");
        }
    }

    #[test]
    fn no_episode_has_two_alerts(script in scripts()) {
        let outcome = play(&site(|_| {}), &script.observations());
        let mut by_subject: BTreeMap<(Rule, Subject), Vec<(Timestamp, Timestamp)>> = BTreeMap::new();
        for alert in outcome.last().into_values() {
            by_subject.entry((alert.rule, alert.subject.clone())).or_default().push(held(alert));
        }
        for (of, mut spans) in by_subject {
            spans.sort();
            for pair in spans.windows(2) {
                prop_assert!(pair[0].1 <= pair[1].0, "{of:?} holds twice at once: {pair:?}");
            }
        }
        let first: Vec<AlertId> = outcome.revisions.iter().filter(|a| a.revision == 1).map(|a| a.id).collect();
        prop_assert_eq!(first.len(), first.iter().collect::<BTreeSet<_>>().len());
    }

    /// Two episodes may become one under a stricter policy, so that alerts are not counted: whenever the laxer policy
    /// has one standing, the stricter has one too.
    #[test]
    fn a_stricter_policy_never_misses_what_a_laxer_one_finds(
        script in scripts(), lax in 500_u16..1_000, less in 0_u16..400, row in 1_u16..4,
    ) {
        let observations = script.observations();
        let with = |threshold: u16, consecutive: u16| {
            let site = site(|parts| with_policy(parts, |p| {
                p.inactivity.threshold = Permille::new(threshold).unwrap();
                p.inactivity.consecutive = consecutive;
            }));
            play(&site, &observations)
        };
        let (laxer, stricter) = (with(lax, row), with(lax - less, 1));
        let strict: Vec<(Subject, _)> =
            stricter.of_rule(Rule::Inactivity).into_iter().map(|a| (a.subject.clone(), held(a))).collect();
        for alert in laxer.of_rule(Rule::Inactivity) {
            let (from, _) = held(alert);
            let found = strict.iter().any(|(of, (f, t))| *of == alert.subject && *f <= from && from < *t);
            prop_assert!(found, "{alert:?} is not in {strict:?}");
        }
    }

    #[test]
    fn a_shorter_grace_never_misses_a_missed_run(script in scripts(), grace in 6_i64..25, less in 0_i64..6) {
        let observations = script.observations();
        // No scan has a choice: no two runs of a tour are open at once, and no two tours have a place in common.
        let with = |grace: i64| {
            let site = site(|parts| {
                parts.tours[0].checkpoints = vec![id("cp-0")];
                with_policy(parts, |p| p.tours.grace = mins(grace));
            });
            play(&site, &observations)
        };
        let missed = |o: &Outcome| -> BTreeSet<Subject> {
            let standing = o.of_rule(Rule::TourMissed);
            standing.into_iter().filter(|a| a.cleared_at.is_none()).map(|a| a.subject.clone()).collect()
        };
        let (laxer, stricter) = (missed(&with(grace)), missed(&with(grace - less)));
        prop_assert!(laxer.is_subset(&stricter), "{laxer:?} are not all in {stricter:?}");
    }

    #[test]
    fn live_replayed_and_restarted_come_to_the_same(
        script in scripts(), hush in prop::option::of(hushes()), cuts in prop::collection::btree_set(0_usize..1_500, 1..6),
    ) {
        let (site, observations) = match &hush {
            Some(hush) => (hush.site(), hush.observations(&script)),
            None => (site(|_| {}), script.observations()),
        };
        let replayed = play(&site, &observations);
        let (restarted, _) = play_with(&site, &observations, |n, engine| {
            if !cuts.contains(&n) {
                return engine;
            }
            Engine::restore(Arc::clone(&site), &engine.snapshot().unwrap()).unwrap()
        });
        prop_assert_eq!(&restarted, &replayed);
        let mut live = Outcome::default();
        let mut engine = Engine::new(Arc::clone(&site), began());
        for observation in &observations {
            while let Some(due) = engine.next_deadline().filter(|due| *due <= observation.received_at) {
                live.take(engine.on_deadline(due));
            }
            live.take(engine.on_observation(observation.clone()));
        }
        while let Some(due) = engine.next_deadline().filter(|due| *due <= ended()) {
            live.take(engine.on_deadline(due));
        }
        prop_assert_eq!(&live, &replayed);
    }
}

proptest! {
    #![proptest_config(config())]

    /// Storms, maintenance and questions hold alerts back: whatever stands in the end has been told, by itself or by a
    /// storm, or is mute now; and what was told is what the agent believes.
    #[test]
    fn what_is_held_back_is_not_lost(script in scripts(), hush in hushes()) {
        let site = hush.site();
        let (outcome, engine) = play_with(&site, &hush.observations(&script), |_, engine| engine);
        let last = outcome.last();
        let mut revisions: BTreeMap<AlertId, u32> = BTreeMap::new();
        for alert in &outcome.revisions {
            let next = revisions.entry(alert.id).or_default();
            *next += 1;
            prop_assert_eq!(alert.revision, *next, "{:#?}", alert);
        }
        for alert in engine.book().iter() {
            prop_assert_eq!(Some(&alert), last.get(&alert.id));
        }
        let told = |subject: &Subject| last.values().any(|a| a.subject == *subject && a.cleared_at.is_none());
        let storms: Vec<_> = last.values().filter(|a| a.rule == Rule::Storm && a.cleared_at.is_none()).collect();
        let in_storm = |subject: &Subject| storms.iter().any(|a| {
            matches!(&a.evidence, Evidence::Storm(storm) if storm.members.iter().any(|m| m.subject == *subject))
        });
        let mute = site.policy.maintenance.iter().any(|m| m.ends_at + secs(5) > ended());
        let view = engine.view(ended());
        for device in view.devices.iter().filter(|d| d.silent) {
            let subject = Subject::Device(device.id.clone());
            prop_assert!(mute || told(&subject) || in_storm(&subject), "{subject:?} is silent, and nobody knows");
        }
        for alert in &storms {
            let Evidence::Storm(storm) = &alert.evidence else { panic!("no storm") };
            prop_assert!(storm.members.iter().any(|m| engine.book().get(m.alert).is_some_and(|a| a.cleared_at.is_none())));
        }
        for prompt in &outcome.prompts {
            prop_assert!(prompt.answer_by > prompt.asked_at);
        }
    }
}

/// A guard who works eight hours each day for a year, and a site that never closes an alert by itself.
#[test]
fn the_state_is_bounded_when_a_year_passes_through() {
    let site = site(|_| {});
    let mut engine = Engine::new(Arc::clone(&site), began());
    let mut sizes = Vec::new();
    for day in 0..365 {
        let from = at("20:00") + Span::from_hours(24 * day);
        let mut say = |when: Timestamp, kind: Kind| {
            let serial = when.millis().to_string();
            let name = format!("{serial}-{}", kind.name());
            drop(engine.on_observation(Observation::new(
                id("hs-7"),
                when,
                when + secs(1),
                Some(&name),
                kind,
            )));
        };
        say(from, attendance("G-7", AttendanceAction::CheckIn));
        for minute in (1..480).step_by(5) {
            let when = from + mins(minute);
            let mood = if (minute / 60 + day) % 4 == 0 { Mood::LiesStill } else { Mood::Walks };
            minute_of(mood, minute, when).into_iter().for_each(|kind| say(when, kind));
            if minute % 50 == 1 {
                say(when, Night::tag_of(&format!("cp-{}", minute % 6)));
                let task = What::Task(u8::try_from(minute % 4).unwrap(), Priority::High, TaskState::Created);
                say(when + secs(1), task.kind("G-7"));
            }
        }
        say(from + mins(480), attendance("G-7", AttendanceAction::CheckOut));
        sizes.push(engine.snapshot().unwrap().len());
    }
    let (first, rest) = sizes.split_at(14);
    let (early, late) = (first.iter().max().unwrap(), rest.iter().max().unwrap());
    assert!(late * 10 <= early * 11, "two weeks need {early} bytes, and some later day {late}");
}
