//! The pump on a box whose clock is wrong: whatever it shows, the night that comes out of it is the true one.

use super::*;
use crate::clock::{Reading, Staged};
use crate::sources::Intake;
use vigil_core::alert::{Rule, Status, Subject};

const HOUR: Span = Span::from_hours(1);

/// A gateway that lives through a recorded night. The test knows what time it is, the box does not.
struct Gateway {
    folder: tempfile::TempDir,
    site: Arc<Site>,
    clock: Clock,
    clockwork: Staged,
    pump: Option<Pump>,
    boots: u32,
    booted_at: Timestamp,
    /// How far the wall clock is ahead of the truth.
    wall_ahead: Span,
    synchronised: Option<i64>,
}

impl Gateway {
    fn new(site: &Arc<Site>) -> Self {
        let reading = Reading { boot_ms: 0, awake_ms: 0, wall_ms: 0 };
        Self {
            folder: tempfile::tempdir().unwrap(),
            site: Arc::clone(site),
            clock: Clock::of(Arc::new(Staged::new("none", reading))),
            clockwork: Staged::new("none", reading),
            pump: None,
            boots: 0,
            booted_at: Timestamp::default(),
            wall_ahead: Span::ZERO,
            synchronised: None,
        }
    }

    fn reading(&self, now: Timestamp) -> Reading {
        let boot_ms = now.since(self.booted_at).millis();
        Reading { boot_ms, awake_ms: boot_ms, wall_ms: (now + self.wall_ahead).millis() }
    }

    /// Power comes back at `now`; the wall clock then shows `shown`.
    fn boots(&mut self, now: Timestamp, shown: Timestamp, synchronised: bool) {
        self.pump = None;
        self.boots += 1;
        self.booted_at = now - Span::from_secs(20);
        self.wall_ahead = shown.since(now);
        self.synchronised = synchronised.then_some(1);
        self.starts(now);
    }

    /// The agent alone is started.
    fn starts(&mut self, now: Timestamp) {
        self.pump = None;
        self.clockwork = Staged::new(&format!("boot-{}", self.boots), self.reading(now));
        self.clock = Clock::of(Arc::new(self.clockwork.clone()));
        self.clockwork.stage(self.reading(now), [self.synchronised, None]);
        self.pump = Some(revive_with(
            Store::open(&self.folder.path().join("db")).unwrap(),
            &self.site,
            self.clock.clone(),
        ));
    }

    fn pump(&mut self) -> &mut Pump {
        self.pump.as_mut().unwrap()
    }

    /// The true time is `now`, and the pump looks at the clocks.
    fn at(&mut self, now: Timestamp) {
        self.clockwork.stage(self.reading(now), [self.synchronised, None]);
        self.pump().look().unwrap();
    }

    /// The wall clock is set right, by NTP.
    fn is_synchronised(&mut self, now: Timestamp) {
        self.wall_ahead = Span::ZERO;
        self.synchronised = Some(now.millis());
        self.at(now);
    }

    /// What was truly received then, stamped by the clock of the box.
    fn takes(&mut self, observation: &Observation) {
        self.at(observation.received_at);
        let stamped = Observation { received_at: self.clock.now(), ..observation.clone() };
        let (inbound, mut stored) = delivery(&[stamped]);
        self.pump().take_in(vec![inbound]).unwrap();
        assert_eq!(stored.try_recv(), Ok(()));
    }

    fn ends(&mut self, now: Timestamp) -> (Vec<Told>, Vec<String>) {
        self.at(now);
        self.pump().judge(true).unwrap();
        let runs = self.pump().store.runs(&Default::default(), None).unwrap().runs;
        let told = self.pump().store.alerts().unwrap().into_iter().filter(|a| !is_taken_back(a)).map(told);
        let mut told: Vec<Told> = told.collect();
        told.sort();
        (told, runs.iter().map(|r| format!("{r:?}")).collect())
    }
}

type Told = (Timestamp, Rule, Subject, Option<Timestamp>, String);

/// All of an alert that must be as with a right clock: not its id, its revisions and its notes.
fn told(a: Alert) -> Told {
    let rest = format!("{} {} {} {} {:?}", a.severity, a.status, a.escalated, a.summary, a.evidence);
    (a.detected_at, a.rule, a.subject, a.cleared_at, rest)
}

fn is_taken_back(a: &Alert) -> bool {
    a.status == Status::FalsePositive
        && a.history.last().is_some_and(|s| s.note.as_deref() == Some("not so by the right clock"))
}

/// A third of the night, 40 minutes without power, and the rest; `wake` boots the box, and `then` is asked before each
/// message of the rest.
fn night_of(
    recording: &Recording,
    wake: impl Fn(&mut Gateway, Timestamp),
    then: impl Fn(&mut Gateway, usize, Timestamp),
) -> (Vec<Told>, Vec<String>) {
    let mut gateway = Gateway::new(&recording.site);
    let began = recording.observations[0].received_at;
    gateway.boots(began, began, true);
    let (evening, rest) = recording.observations.split_at(recording.observations.len() / 3);
    for observation in evening {
        gateway.takes(observation);
    }
    let back = evening.last().unwrap().received_at + Span::from_mins(40);
    wake(&mut gateway, back);
    for (n, observation) in rest.iter().filter(|o| o.received_at >= back).enumerate() {
        then(&mut gateway, n, observation.received_at);
        gateway.takes(observation);
    }
    gateway.ends(recording.until)
}

fn with_a_right_clock(recording: &Recording) -> (Vec<Told>, Vec<String>) {
    night_of(recording, |g, back| g.boots(back, back, true), |_, _, _| ())
}

const NIGHTS: [&str; 4] = ["sleeper", "dead_phone", "tours", "tasks"];

#[test]
fn a_clock_that_is_set_late_changes_nothing() {
    for name in NIGHTS {
        let recording = recording(name);
        let right = with_a_right_clock(&recording);
        assert!(!right.0.is_empty());
        let in_1970 = |g: &mut Gateway, back: Timestamp| g.boots(back, Timestamp::from_millis(20_000), false);
        for learnt in [1, 40, 200] {
            let late = night_of(&recording, in_1970, |g, n, now| {
                assert_eq!(g.pump().engine.is_provisional(), n <= learnt, "{n}");
                if n == learnt {
                    g.is_synchronised(now);
                }
            });
            assert_eq!(late, right, "{name}, learnt at message {learnt}");
        }
    }
}

#[test]
fn an_agent_that_is_killed_and_a_box_that_goes_down_meanwhile_change_nothing() {
    let recording = recording("tasks");
    let right = with_a_right_clock(&recording);
    let in_1970 = |g: &mut Gateway, back: Timestamp| g.boots(back, Timestamp::from_millis(20_000), false);
    let killed = night_of(&recording, in_1970, |g, n, now| match n {
        10 | 30 => g.starts(now),
        50 => g.is_synchronised(now),
        60 => g.starts(now),
        _ => {}
    });
    let the_same = night_of(
        &recording,
        |g, back| g.boots(back, back, true),
        |g, n, now| {
            if [10, 30, 60].contains(&n) {
                g.starts(now);
            }
        },
    );
    assert_eq!(killed, the_same);
    assert_eq!(killed.0.len(), right.0.len());
}

#[test]
fn a_step_of_a_clock_that_is_kept_neither_fires_nor_loses_anything() {
    for step in [HOUR, Span::from_millis(-HOUR.millis()), Span::from_hours(56 * 8_766)] {
        let recording = recording("tours");
        let stepped = night_of(
            &recording,
            |g, back| g.boots(back, back, true),
            |g, n, _| {
                if n == 30 {
                    g.wall_ahead = step;
                }
            },
        );
        assert_eq!(stepped, with_a_right_clock(&recording), "{step}");
    }
}

#[test]
fn a_wrong_clock_that_was_believed_is_followed_by_the_right_one() {
    let recording = recording("tours");
    let (right, _) = with_a_right_clock(&recording);
    for wrong in [HOUR, Span::from_mins(-20), Span::from_hours(5)] {
        let (corrected, _) = night_of(
            &recording,
            |g, back| g.boots(back, back + wrong, false),
            |g, n, now| {
                let expected = if n <= 20 { "unverified" } else { "ntp" };
                assert_eq!(g.clock.view().state, expected);
                if n == 20 {
                    g.is_synchronised(now);
                    assert_eq!(g.clock.view().last_correction_ms, Some(-wrong.millis()));
                }
            },
        );
        let short = |told: &[Told]| -> Vec<_> {
            told.iter()
                .map(|(at, rule, subject, cleared, _)| (*at, *rule, subject.clone(), *cleared))
                .collect()
        };
        assert_eq!(short(&corrected), short(&right), "{wrong}");
    }
}

#[test]
fn what_a_wrong_clock_told_of_runs_and_days_is_followed_by_their_next_revision() {
    let recording = recording("tours");
    let mut gateway = Gateway::new(&recording.site);
    let began = recording.observations[0].received_at;
    // Midnight comes too early, and so does the end of every run.
    gateway.boots(began, began + Span::from_hours(5), false);
    let (evening, night) = recording.observations.split_at(recording.observations.len() * 2 / 3);
    evening.iter().for_each(|observation| gateway.takes(observation));
    gateway.is_synchronised(night[0].received_at);
    night.iter().for_each(|observation| gateway.takes(observation));
    gateway.at(recording.until + Span::from_hours(24));
    gateway.pump().judge(true).unwrap();
    let sent = gateway.pump().store.next_events(10_000).unwrap();
    let mut last = std::collections::BTreeMap::new();
    for event in sent.iter().filter(|e| !matches!(e.kind, vigil_cloud_sync::EventKind::Health)) {
        let (name, revision) = event.id.rsplit_once('.').unwrap();
        let revision: u32 = revision.parse().unwrap();
        let before = last.insert(name, revision).unwrap_or(0);
        assert_eq!(revision, before + 1, "{name}");
    }
    assert!(last.iter().any(|(name, revision)| name.contains('@') && *revision > 1), "{last:?}");
    assert!(last.iter().any(|(name, revision)| name.starts_with("report.") && *revision > 1), "{last:?}");
    for run in gateway.pump().store.runs(&Default::default(), None).unwrap().runs {
        let name = format!("{}@{}", run.tour, run.scheduled_at);
        assert_eq!(last.get(name.as_str()), Some(&run.revision), "the store has what was told last");
    }
}

#[test]
fn a_store_from_the_future_is_set_back() {
    let recording = recording("sleeper");
    let mut gateway = Gateway::new(&recording.site);
    let began = recording.observations[0].received_at;
    let decade = Span::from_hours(87_660);
    gateway.boots(began, began + decade, false);
    for observation in &recording.observations[..30] {
        gateway.takes(observation);
    }
    let now = recording.observations[30].received_at;
    gateway.boots(now, now, false);
    assert_eq!(gateway.clock.view().state, "unset", "it shows less than the store has seen");
    gateway.is_synchronised(now);
    assert_eq!(gateway.pump().store.marks().judged_until, now);
    for observation in &recording.observations[30..] {
        gateway.takes(observation);
    }
    let (told, _) = gateway.ends(recording.until);
    assert!(told.iter().any(|(_, rule, ..)| *rule == Rule::TourMissed), "{told:#?}");
    assert!(told.iter().all(|(at, ..)| *at <= recording.until), "{told:#?}");
    // And the same if NTP was there before the agent.
    gateway.boots(recording.until + HOUR, recording.until + decade, false);
    gateway.is_synchronised(recording.until + HOUR + Span::from_mins(1));
    let later = recording.until + HOUR + HOUR;
    gateway.boots(later, later, true);
    assert_eq!(gateway.pump().engine.now(), later);
}

#[test]
fn a_box_that_slept_was_blind() {
    let recording = recording("sleeper");
    let mut gateway = Gateway::new(&recording.site);
    let began = recording.observations[0].received_at;
    gateway.boots(began, began, true);
    gateway.takes(&recording.observations[0]);
    let reading = gateway.reading(began + HOUR);
    gateway
        .clockwork
        .stage(Reading { awake_ms: reading.awake_ms - HOUR.millis() + 5_000, ..reading }, [Some(1), None]);
    gateway.pump().look().unwrap();
    let journal = gateway.pump().store.inputs_from(0).unwrap();
    let until = began + HOUR;
    let from = until - HOUR + Span::from_secs(5);
    assert_eq!(journal.last(), Some(&Input::Down { from, until }));
}

#[test]
fn what_lies_in_the_future_of_an_unset_clock_is_taken() {
    let recording = recording("sleeper");
    let mut gateway = Gateway::new(&recording.site);
    let began = recording.observations[0].received_at;
    gateway.boots(began, Timestamp::from_millis(20_000), false);
    let (queue, mut taken) = mpsc::channel(2);
    let (_site, seen) = watch::channel(Arc::clone(&recording.site));
    let intake = Intake::new(seen, queue, gateway.clock.clone());
    let device = &recording.observations[0].device;
    let topic = format!("vigil/v1/{}/{device}/heartbeat", recording.site.id);
    let payload = format!(r#"{{"ts":"{began}"}}"#);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut refused = || {
        drop(runtime.block_on(intake.submit(&topic, payload.as_bytes())).unwrap());
        taken.try_recv().unwrap().refused.len()
    };
    assert_eq!(refused(), 0);
    // Another agent, whose clock is set, and wrong.
    gateway.is_synchronised(began - Span::from_hours(25));
    assert_eq!(refused(), 1);
}

#[test]
fn the_journal_is_told_again_as_well() {
    let recording = recording("tasks");
    let mut gateway = Gateway::new(&recording.site);
    let began = recording.observations[0].received_at;
    gateway.boots(began, began, true);
    gateway.takes(&recording.observations[0]);
    let back = recording.observations[50].received_at;
    gateway.boots(back, Timestamp::from_millis(20_000), false);
    for observation in &recording.observations[50..80] {
        gateway.takes(observation);
    }
    let now = recording.observations[80].received_at;
    gateway.is_synchronised(now);
    let journal = retold(gateway.pump().store.inputs_from(0).unwrap());
    let came: Vec<Timestamp> = journal
        .iter()
        .filter_map(|input| match input {
            Input::Observation(o, _) => Some(o.received_at),
            Input::Down { .. } | Input::Unset { .. } | Input::Clock { .. } | Input::Command(..) => None,
        })
        .collect();
    let expected: Vec<Timestamp> =
        std::iter::once(0).chain(50..80).map(|n| recording.observations[n].received_at).collect();
    assert_eq!(came, expected);
    let down = Input::Down { from: began, until: back };
    assert!(journal.contains(&down), "{:?}", journal.iter().take(3).collect::<Vec<_>>());
}

#[test]
fn a_step_that_was_taken_by_a_wrong_clock_stays_taken() {
    let recording = recording("sleeper");
    let mut gateway = Gateway::new(&recording.site);
    let began = recording.observations[0].received_at;
    gateway.boots(began, began, true);
    gateway.takes(&recording.observations[0]);
    gateway.boots(began + HOUR, Timestamp::from_millis(20_000), false);
    let device = recording.observations[0].device.clone();
    let pressed_at = began + HOUR + Span::from_mins(5);
    let help = vigil_core::observation::Kind::Sos(None);
    gateway.takes(&Observation::new(device, pressed_at, pressed_at, None, help));
    let alert = gateway.pump().store.alerts().unwrap().remove(0);
    gateway.at(pressed_at + Span::from_mins(3));
    assert_eq!(gateway.pump().obey(None, says(alert.id, Status::Verifying)).unwrap().answer, Answer::Done);
    let refused = gateway.pump().obey(None, says(alert.id, Status::Detected)).unwrap();
    assert!(matches!(refused.answer, Answer::Refused(_)));
    gateway.is_synchronised(pressed_at + Span::from_mins(9));
    let known = gateway.pump().store.alert(alert.id).unwrap().unwrap();
    assert_eq!((known.status, known.detected_at), (Status::Verifying, pressed_at));
    let steps: Vec<_> = known.history.iter().map(|s| (s.at, s.by.as_str())).collect();
    assert_eq!(steps, [(pressed_at, "agent"), (pressed_at + Span::from_mins(3), "Asha")]);
    assert_eq!(gateway.pump().store.refusals().unwrap().len(), 1, "it is put on record once");
}
