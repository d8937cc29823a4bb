//! The published vectors, to the letter; and that a restart at any point changes nothing.

use proptest::prelude::*;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use vigil_core::alert::Alert;
use vigil_core::engine::{Commit, Engine};
use vigil_tests::recording::{Recording, vector};

/// The rules that the vectors fix.
const FIXED: [&str; 6] =
    ["inactivity", "task_overdue", "tour_missed", "tour_partial", "device_silent", "guard_absent"];
const FIELDS: [&str; 8] =
    ["id", "rule", "subject", "detected_at", "severity", "status", "cleared_at", "escalated"];

#[derive(Default)]
struct Seen(BTreeMap<String, Alert>, Vec<String>);

impl Seen {
    fn take(&mut self, commit: Commit) {
        for alert in commit.effects.alerts {
            self.1.push(serde_json::to_string(&alert).expect("an alert is JSON"));
            self.0.insert(alert.id.to_string(), alert);
        }
    }

    /// The last revisions, as the vectors write them.
    fn fixed(&self) -> Vec<Value> {
        let mut last: Vec<&Alert> = self.0.values().filter(|a| FIXED.contains(&a.rule.name())).collect();
        last.sort_by_key(|a| (a.detected_at, a.rule.name(), a.subject.to_string()));
        let cut = |alert: &Alert| {
            let whole = serde_json::to_value(alert).expect("an alert is JSON");
            FIELDS
                .iter()
                .map(|f| ((*f).to_owned(), whole[*f].clone()))
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        last.into_iter().map(cut).collect()
    }
}

fn replay(recording: &Recording) -> Seen {
    replay_with(recording, |_, engine| engine)
}

/// Replays, and lets `between` do something to the engine after each observation.
fn replay_with(recording: &Recording, mut between: impl FnMut(usize, Engine) -> Engine) -> Seen {
    let mut engine = Engine::new(Arc::clone(&recording.site), recording.began);
    let mut seen = Seen::default();
    for (n, observation) in recording.observations.iter().enumerate() {
        seen.take(engine.on_observation(observation.clone()));
        engine = between(n, engine);
    }
    seen.take(engine.on_deadline(recording.until));
    seen
}

fn assert_to_the_letter(name: &str) {
    let recording = vector(name);
    assert_eq!(replay(&recording).fixed(), recording.expected, "{name}");
}

#[test]
fn sleeper() {
    assert_to_the_letter("sleeper");
}

#[test]
fn dead_phone() {
    assert_to_the_letter("dead_phone");
}

#[test]
fn tours() {
    assert_to_the_letter("tours");
}

#[test]
fn tasks() {
    assert_to_the_letter("tasks");
}

#[test]
fn classic() {
    assert_to_the_letter("classic");
}

/// A live agent is woken by the clock, not only by messages: it must come to the same, revision for revision.
#[test]
fn a_live_run_comes_to_the_same_as_a_replay() {
    for name in ["sleeper", "dead_phone", "tours", "tasks", "classic"] {
        let recording = vector(name);
        let mut ticks = Seen::default();
        let mut engine = Engine::new(Arc::clone(&recording.site), recording.began);
        for observation in &recording.observations {
            while let Some(due) = engine.next_deadline().filter(|due| *due <= observation.received_at) {
                ticks.take(engine.on_deadline(due));
            }
            ticks.take(engine.on_observation(observation.clone()));
        }
        while let Some(due) = engine.next_deadline().filter(|due| *due <= recording.until) {
            ticks.take(engine.on_deadline(due));
        }
        assert_eq!(ticks.1, replay(&recording).1, "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_restart_at_any_points_changes_nothing(
        name in prop::sample::select(vec!["sleeper", "dead_phone", "tours", "tasks", "classic"]),
        cuts in prop::collection::btree_set(0_usize..1_100, 1..6),
    ) {
        let recording = vector(name);
        let restarted = replay_with(&recording, |n, engine| {
            if !cuts.contains(&n) {
                return engine;
            }
            let snapshot = engine.snapshot().unwrap();
            let mut again = Engine::restore(Arc::clone(&recording.site), &snapshot).unwrap();
            let now = again.now();
            assert_eq!(again.on_restart(now, now).effects, Default::default());
            again
        });
        prop_assert_eq!(restarted.1, replay(&recording).1);
    }
}
