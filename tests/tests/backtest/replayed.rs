//! Two policies over one journal, without any process around them.

use crate::{entries, lived};
use std::path::Path;
use std::sync::Arc;
use vigil_agent::backtest::{Backtest, Blind, NotTested, Pair, Verdict, backtest};
use vigil_agent::store::{Draft, Input, Journal, NoJournal, Opening, Store};
use vigil_core::alert::{Method, Rule, Status};
use vigil_core::command::{Answer, Command, Order, StatusStep};
use vigil_core::id::CommandId;
use vigil_core::site::Site;
use vigil_core::time::{Span, Timestamp};
use vigil_tests::recording::{Recording, vector, vector_folder};

/// The site of a vector with something added to, or cut out of, its file.
fn changed(vector: &str, change: impl FnOnce(String) -> String) -> Arc<Site> {
    let file = vector_folder(vector).join("site.toml");
    let text = change(std::fs::read_to_string(&file).unwrap());
    Arc::new(vigil_config::parse_site(&file, text.as_bytes()).unwrap())
}

fn with(vector: &str, policy: &str) -> Arc<Site> {
    changed(vector, |text| format!("{text}\n{policy}\n"))
}

fn tested(recording: &Recording, inputs: Vec<Input>, new: Arc<Site>) -> Backtest {
    let folder = tempfile::tempdir().unwrap();
    lived(folder.path(), &recording.site, inputs, recording.until);
    backtest(&Journal::of_closed(folder.path()).unwrap(), new).unwrap()
}

/// `changed tour_missed run:a@2026-03-10T18:00:00.000Z detected_at`, of these rules.
fn told(backtest: &Backtest, rules: &[Rule]) -> Vec<String> {
    let line = |pair: &Pair| {
        let differs: Vec<&str> = pair.differs.iter().map(|d| d.name()).collect();
        let line = format!("{} {} {} {}", pair.verdict.name(), pair.rule, pair.subject, differs.join(","));
        line.trim_end().to_owned()
    };
    backtest.pairs.iter().filter(|p| rules.contains(&p.rule)).map(line).collect()
}

#[test]
fn the_same_policy_makes_no_difference_and_gives_what_the_agent_raised() {
    for name in ["sleeper", "dead_phone", "tours", "tasks", "classic"] {
        let recording = vector(name);
        let folder = tempfile::tempdir().unwrap();
        let mut alerts =
            lived(folder.path(), &recording.site, entries(&recording.observations), recording.until);
        let journal = Journal::of_closed(folder.path()).unwrap();
        let backtest = backtest(&journal, Arc::clone(&recording.site)).unwrap();
        assert!(backtest.pairs.iter().all(|p| p.verdict == Verdict::Kept), "{name}");
        let mut in_force: Vec<_> = backtest.pairs.into_iter().filter_map(|p| p.in_force).collect();
        alerts.sort_by_key(|a| a.id);
        in_force.sort_by_key(|a| a.id);
        assert_eq!(in_force, alerts, "{name}");
        let range = backtest.range;
        assert_eq!((range.from, range.until), (recording.began, recording.until), "{name}");
        assert_eq!((range.inputs, range.gaps), (recording.observations.len(), 0), "{name}");
    }
}

#[test]
fn a_longer_grace_lets_late_tours_be() {
    let recording = vector("tours");
    let new = with("tours", "[policy.tours]\ngrace = \"45m\"");
    let backtest = tested(&recording, entries(&recording.observations), new);
    let expected = [
        "gone tour_missed run:a@2026-03-10T16:30:00.000Z",
        "changed tour_missed run:a@2026-03-10T19:30:00.000Z detected_at",
    ];
    assert_eq!(told(&backtest, &[Rule::TourMissed]), expected);
}

#[test]
fn a_threshold_that_nothing_reaches_and_one_that_more_do() {
    let recording = vector("dead_phone");
    let same = tested(&recording, entries(&recording.observations), Arc::clone(&recording.site));
    assert_eq!(told(&same, &[Rule::Inactivity]), [""; 0]);
    let strict = "[policy.inactivity]\nexpectation = \"always\"\nmin_evidence = 0.1\nthreshold = 0.3";
    let lower = tested(&recording, entries(&recording.observations), with("dead_phone", strict));
    assert!(told(&lower, &[Rule::Inactivity]).iter().any(|t| t.starts_with("raised inactivity guard:")));
    let recording = vector("sleeper");
    let late = with("sleeper", "[policy.inactivity]\nconsecutive = 3");
    let later = tested(&recording, entries(&recording.observations), late);
    let expected = ["changed inactivity guard:G-7 detected_at"];
    assert_eq!(told(&later, &[Rule::Inactivity]), expected);
    let never = with("sleeper", "[policy.inactivity]\nconsecutive = 100");
    let never = tested(&recording, entries(&recording.observations), never);
    assert_eq!(told(&never, &[Rule::Inactivity]), ["gone inactivity guard:G-7"]);
}

#[test]
fn a_site_without_the_guard_and_the_handset_raises_nothing_of_them() {
    let recording = vector("sleeper");
    let emptied = |text: String| {
        let tables =
            text.split("\n\n").filter(|t| !t.starts_with("[[guards]]") && !t.starts_with("[[devices]]"));
        tables.collect::<Vec<_>>().join("\n\n")
    };
    let backtest = tested(&recording, entries(&recording.observations), changed("sleeper", emptied));
    assert_eq!(told(&backtest, &[Rule::Inactivity]), ["gone inactivity guard:G-7"]);
    assert!(backtest.pairs.iter().all(|p| p.verdict != Verdict::Raised || p.rule != Rule::Inactivity));
}

#[test]
fn a_step_on_an_alert_that_the_new_policy_never_raised_disturbs_nothing() {
    let recording = vector("sleeper");
    let folder = tempfile::tempdir().unwrap();
    let mut inputs = entries(&recording.observations);
    let alerts = lived(folder.path(), &recording.site, inputs.clone(), recording.until);
    let alert = alerts.into_iter().find(|a| a.rule == Rule::Inactivity).unwrap();
    let step = StatusStep {
        alert: alert.id,
        status: Status::Confirmed,
        method: Method::Call,
        response: None,
        by: "Asha".into(),
        note: None,
    };
    let command = |id: &str, recalled| Command {
        id: CommandId::new(id).unwrap(),
        received_at: recording.until,
        order: Order::AlertStatus(step.clone()),
        recalled,
    };
    inputs.push(Input::Command(Box::new(command("c-1", None)), Answer::Done));
    // As if the engine had forgotten it, and the agent's store had brought it back.
    inputs.push(Input::Command(Box::new(command("c-2", Some(Box::new(alert)))), Answer::Done));
    let never = with("sleeper", "[policy.inactivity]\nconsecutive = 100");
    let backtest = tested(&recording, inputs.clone(), never);
    assert_eq!(told(&backtest, &[Rule::Inactivity]), ["gone inactivity guard:G-7"]);
    let gone = backtest.pairs.iter().find(|p| p.rule == Rule::Inactivity).unwrap();
    assert_eq!(gone.in_force.as_ref().map(|a| a.status), Some(Status::Confirmed));
    let others = [Rule::TourMissed];
    let without = tested(&recording, entries(&recording.observations), Arc::clone(&recording.site));
    assert_eq!(told(&backtest, &others), told(&without, &others));
    let same = tested(&recording, inputs, Arc::clone(&recording.site));
    assert!(same.pairs.iter().all(|p| p.verdict == Verdict::Kept));
}

#[test]
fn what_came_by_a_wrong_clock_counts_when_it_really_came() {
    let recording = vector("sleeper");
    let right = tested(&recording, entries(&recording.observations), Arc::clone(&recording.site));
    let mut inputs = entries(&recording.observations);
    let (first, by) = (500, Span::from_hours(1_000));
    for input in &mut inputs[first..] {
        let Input::Observation(observation, _) = input else { continue };
        observation.received_at = observation.received_at - by;
    }
    let (count, from) = ((inputs.len() - first) as u64, inputs[first].received_at());
    inputs.push(Input::Clock { inputs: count, from, by_ms: by.millis(), uncertainty_ms: 0 });
    let corrected = tested(&recording, inputs, Arc::clone(&recording.site));
    let alerts = |b: Backtest| b.pairs.into_iter().filter_map(|p| p.new).collect::<Vec<_>>();
    assert_eq!(alerts(corrected), alerts(right));
}

#[test]
fn the_time_that_the_agent_was_down_is_told_and_both_are_blind_there() {
    let recording = vector("tours");
    let mut inputs = entries(&recording.observations);
    let from = inputs[99].received_at();
    let until = from + Span::from_hours(2);
    inputs.retain(|input| input.received_at() <= from || input.received_at() > until);
    let at = inputs.iter().position(|input| input.received_at() > until).unwrap();
    inputs.insert(at, Input::Down { from, until });
    let backtest = tested(&recording, inputs, Arc::clone(&recording.site));
    assert_eq!(backtest.range.blind, [Blind { from, until }]);
    assert_eq!(backtest.range.blind_for(), Span::from_hours(2));
    assert!(backtest.pairs.iter().all(|p| p.verdict == Verdict::Kept));
}

#[test]
fn an_agent_whose_clock_stood_in_the_future_began_anew_and_so_do_both() {
    let recording = vector("sleeper");
    let mut inputs = entries(&recording.observations);
    let ahead = Span::from_hours(5_000);
    let mut early = inputs[0].clone();
    if let Input::Observation(observation, _) = &mut early {
        (observation.at, observation.received_at) = (observation.at + ahead, observation.received_at + ahead);
    }
    let down = Input::Down { from: early.received_at(), until: recording.began };
    inputs.splice(0..0, [early, down]);
    let backtest = tested(&recording, inputs, Arc::clone(&recording.site));
    assert!(told(&backtest, &[Rule::Inactivity]).contains(&"kept inactivity guard:G-7".to_owned()));
    assert_eq!((backtest.range.until, backtest.range.blind), (recording.until, vec![]));
}

fn opening(site: &Site, next_input: u64) -> Opening {
    Opening {
        site: site.clone(),
        judged_until: Timestamp::default(),
        next_input,
        anchor: Default::default(),
        head: Default::default(),
        reached: 0,
        unwitnessed: false,
        lost: vec![],
        locked: Default::default(),
    }
}

#[test]
fn inputs_that_are_missing_are_told() {
    let recording = vector("tours");
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(folder.path()).unwrap();
    let mut journal = Journal::new(opening(&recording.site, 40));
    for (n, some) in recording.observations.chunks(10).take(4).enumerate() {
        store.commit(Draft { inputs: entries(some), ..Draft::default() }).unwrap();
        if n != 1 {
            let from = if n == 0 { 0 } else { 10 * n as u64 };
            journal.add(store.journal_piece(from).unwrap());
        }
    }
    let backtest = backtest(&journal, Arc::clone(&recording.site)).unwrap();
    assert_eq!((backtest.range.inputs, backtest.range.gaps), (30, 1));
    assert_eq!(backtest.range.until, recording.observations[39].received_at);
}

#[test]
fn what_cannot_be_compared_is_said() {
    let recording = vector("tours");
    let empty = Journal::new(opening(&recording.site, 0));
    let here = recording.site.id.clone();
    assert_eq!(backtest(&empty, Arc::clone(&recording.site)), Err(NotTested::Empty(here.clone())));
    let other = changed("tours", |text| text.replace("\"plant-7\"", "\"plant-8\""));
    let found = other.id.clone();
    assert_eq!(backtest(&empty, other), Err(NotTested::OtherSite { here, found }));
    let none = Path::new("/nowhere/db");
    assert!(matches!(Journal::of_closed(none), Err(NoJournal::NoStore(path)) if path == none));
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    assert!(matches!(Journal::of_closed(folder.path()), Err(NoJournal::InUse(_))));
    drop(store);
    assert!(matches!(Journal::of_closed(folder.path()), Err(NoJournal::NoSite(_))));
}

#[test]
fn a_lock_that_is_held_a_moment_longer_is_waited_for() {
    let recording = vector("tours");
    let folder = tempfile::tempdir().unwrap();
    lived(folder.path(), &recording.site, entries(&recording.observations), recording.until);
    // As a process that is just being made holds it, until it becomes another program.
    let held = std::fs::File::open(folder.path().join("db")).unwrap();
    held.lock().unwrap();
    let freed = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(80));
        drop(held);
    });
    assert!(Journal::of_closed(folder.path()).is_ok());
    freed.join().unwrap();
}

#[test]
fn a_damaged_store_is_said_to_be_and_stays_as_it_is() {
    let recording = vector("tours");
    let folder = tempfile::tempdir().unwrap();
    lived(folder.path(), &recording.site, entries(&recording.observations), recording.until);
    let conf = folder.path().join("conf");
    let broken: Vec<u8> = std::fs::read(&conf).unwrap().iter().map(|byte| byte ^ 0x55).collect();
    std::fs::write(&conf, &broken).unwrap();
    assert!(matches!(Journal::of_closed(folder.path()), Err(NoJournal::Damaged(_))));
    assert_eq!(std::fs::read(&conf).unwrap(), broken);
}
