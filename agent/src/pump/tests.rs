//! The pump, killed at random points: it takes up where it stood, and no sender was told too early.

mod clocks;
mod commands;

use super::*;
use crate::sources::decode;
use crate::sources::decode::Reason;
use crate::store::Input;
use proptest::prelude::*;
use std::path::{Path, PathBuf};
use vigil_cloud_sync::wire::REFUSED;
use vigil_core::alert::{Alert, Status};
use vigil_core::command::{Answer, StatusStep};
use vigil_core::engine::Outcome;
use vigil_core::observation::{Heartbeat, Kind, Observation};

struct Recording {
    site: Arc<Site>,
    observations: Vec<Observation>,
    until: Timestamp,
}

fn recording(name: &str) -> Recording {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/vectors").join(name);
    let site = Arc::new(vigil_config::load_site(&folder.join("site.toml")).unwrap());
    let lines = std::fs::read_to_string(folder.join("events.ndjson")).unwrap();
    let about = std::fs::read_to_string(folder.join("about.txt")).unwrap();
    let until = about.lines().find_map(|l| l.strip_prefix("until ")).unwrap();
    Recording {
        observations: lines.lines().flat_map(|line| observations(&site, line)).collect(),
        until: Timestamp::parse(until).unwrap(),
        site,
    }
}

fn observations(site: &Site, line: &str) -> Vec<Observation> {
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    let received_at = Timestamp::parse(line["received_at"].as_str().unwrap()).unwrap();
    let payload = line["payload"].to_string();
    decode::message(site, received_at, line["topic"].as_str().unwrap(), payload.as_bytes()).observations
}

/// What the journal says of the time in which nothing was known.
fn blind(pump: &mut Pump) -> Vec<(Timestamp, Timestamp)> {
    let inputs = pump.store.inputs_from(0).unwrap().into_iter();
    inputs
        .filter_map(|input| if let Input::Down { from, until } = input { Some((from, until)) } else { None })
        .collect()
}

#[test]
fn a_store_that_lost_its_keys_was_blind_since_the_last_that_it_knows() {
    let night = recording("sleeper");
    let dir = tempfile::tempdir().unwrap();
    let first = night.observations[0].received_at;
    let mut pump = revive(dir.path(), &night.site, first);
    pump.take_in(vec![delivery(&night.observations[..5]).0]).unwrap();
    let known = pump.store.marks().judged_until;
    drop(pump);
    for key in std::fs::read_dir(dir.path().join("db.keys")).unwrap().map(|entry| entry.unwrap().path()) {
        // Length, version, number, and then whether it is one of a day: of the journal and of the engine's state.
        let of_a_day = std::fs::read(&key).unwrap()[4] == 0;
        if of_a_day && key.extension().is_some_and(|kind| kind == "key") {
            std::fs::remove_file(key).unwrap();
        }
    }
    let later = known + Span::from_mins(7);
    let mut pump = revive(dir.path(), &night.site, later);
    let [(from, until)] = blind(&mut pump)[..] else { panic!("{:?}", blind(&mut pump)) };
    assert!(from <= known && until >= later, "{from} to {until}, known until {known}");
}

/// A pump on the store in `folder`, whose clock stands at `now`.
fn revive(folder: &Path, site: &Arc<Site>, now: Timestamp) -> Pump {
    let store = Store::open(&folder.join("db")).unwrap();
    revive_with(store, site, Clock::scaled(now, 1))
}

fn revive_with(store: Store, site: &Arc<Site>, clock: Clock) -> Pump {
    let (_queue, inbound) = mpsc::channel(1);
    let terms = Terms { retention: Span::from_hours(72), max_bytes: 1 << 30, has_uplink: true };
    let (pump, _, _) =
        Pump::revive(store, Arc::clone(site), clock, terms, inbound, Wakes::default()).unwrap();
    pump
}

fn delivery(observations: &[Observation]) -> (Inbound, oneshot::Receiver<()>) {
    let (receipt, stored) = oneshot::channel();
    (Inbound { observations: observations.to_vec(), refused: vec![], receipt, place: None }, stored)
}

/// Feeds a night in deliveries of `width`, killed without a word after each delivery in `kills`.
fn night(recording: &Recording, width: usize, kills: &[usize]) -> (Vec<Alert>, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    let stopped = |at| {
        let store = Store::open(&dir.path().join("db")).unwrap();
        revive_with(store, &recording.site, Clock::stopped(at))
    };
    let mut pump = stopped(recording.observations[0].received_at);
    for (n, chunk) in recording.observations.chunks(width).enumerate() {
        let (inbound, mut stored) = delivery(chunk);
        pump.take_in(vec![inbound]).unwrap();
        assert_eq!(stored.try_recv(), Ok(()), "the receipt comes with the commit");
        if kills.contains(&n) {
            let now = pump.engine.now();
            drop(pump);
            pump = stopped(now);
        }
    }
    pump.clock = Clock::stopped(recording.until);
    pump.judge(true).unwrap();
    let events = pump.store.next_events(10_000).unwrap();
    let mut sent: Vec<String> = events.into_iter().map(|e| format!("{} {}", e.id, told(&e.data))).collect();
    sent.sort();
    (pump.store.alerts().unwrap(), sent)
}

#[test]
fn every_input_is_in_the_journal_with_what_became_of_it() {
    let recording = recording("dead_phone");
    let dir = tempfile::tempdir().unwrap();
    let mut pump = revive(dir.path(), &recording.site, recording.observations[0].received_at);
    let (inbound, _stored) = delivery(&recording.observations[..100]);
    let (again, _stored_again) = delivery(&recording.observations[..1]);
    pump.take_in(vec![inbound, again]).unwrap();
    let journal = pump.store.inputs_from(0).unwrap();
    assert_eq!(journal.len(), 101);
    assert!(matches!(&journal[100], Input::Observation(_, vigil_core::engine::Outcome::Duplicate)));
}

#[test]
fn an_alert_is_stored_sent_and_announced_in_one_commit() {
    let recording = recording("tours");
    let dir = tempfile::tempdir().unwrap();
    let mut pump = revive(dir.path(), &recording.site, recording.observations[0].received_at);
    let (inbound, _stored) = delivery(&recording.observations);
    pump.take_in(vec![inbound]).unwrap();
    let stored: u32 = pump.store.alerts().unwrap().iter().map(|a| a.revision).sum();
    let events = pump.store.next_events(10_000).unwrap();
    let alerts = events.iter().filter(|e| e.kind == vigil_cloud_sync::EventKind::Alert).count();
    let announced = pump.store.next_announcements(10_000).unwrap().len();
    let reports = events.iter().filter(|e| e.kind == vigil_cloud_sync::EventKind::Report);
    let sent: Vec<&str> = reports.map(|e| e.id.as_str()).collect();
    let days = ("2026-03-01".parse().unwrap(), "2026-03-31".parse().unwrap());
    let kept = pump.store.reports(days.0, days.1).unwrap();
    assert_eq!(sent.last(), Some(&format!("report.{}.{}", kept[0].date, kept[0].revision).as_str()));
    assert!(stored > 0);
    assert_eq!((alerts, announced), (stored as usize, stored as usize));
}

#[test]
fn a_flood_becomes_little_that_says_all_of_it_and_every_message_of_it_is_acknowledged() {
    let recording = recording("dead_phone");
    let dir = tempfile::tempdir().unwrap();
    let now = recording.observations[0].received_at;
    let mut pump = revive(dir.path(), &recording.site, now);
    let said = |n: i64, man_down| {
        let heartbeat = Heartbeat { interactions: 1, man_down, ..Heartbeat::default() };
        let (device, id) = (recording.observations[0].device.clone(), n.to_string());
        Observation::new(device, now, now, Some(&id), Kind::Heartbeat(heartbeat))
    };
    let flood: Vec<_> = (0..3_000).map(|n| said(n, false)).collect();
    for some in flood.chunks(500) {
        // Each of them twice, as after a lost connection.
        let (inbound, mut stored) = delivery(some);
        let (again, mut stored_again) = delivery(some);
        pump.take_in(vec![inbound, again]).unwrap();
        assert_eq!((stored.try_recv(), stored_again.try_recv()), (Ok(()), Ok(())));
    }
    let journal = pump.store.inputs_from(0).unwrap();
    let touches = |input: &Input| {
        let Input::Observation(Observation { kind: Kind::Heartbeat(said), .. }, Outcome::Applied) = input
        else {
            return 0;
        };
        said.interactions
    };
    assert_eq!(journal.iter().map(touches).sum::<u32>(), 3_000, "each touch counts once");
    assert!(journal.len() < 2_000, "{}", journal.len());
    let marks = pump.store.marks();
    assert_eq!(marks.refused[&Reason::Flood] + journal.len() as u64, 6_000, "and each message has a name");
    let (inbound, _stored) = delivery(&[said(9_000, true)]);
    pump.take_in(vec![inbound]).unwrap();
    let rules: Vec<_> = pump.store.alerts().unwrap().into_iter().map(|alert| alert.rule).collect();
    assert!(rules.contains(&vigil_core::alert::Rule::ManDown), "a fallen guard is heard at once: {rules:?}");
}

#[test]
fn without_a_noc_nothing_waits_for_it() {
    let recording = recording("tours");
    let dir = tempfile::tempdir().unwrap();
    let mut pump = revive(dir.path(), &recording.site, recording.observations[0].received_at);
    pump.terms.has_uplink = false;
    let (inbound, _stored) = delivery(&recording.observations);
    pump.take_in(vec![inbound]).unwrap();
    assert_eq!(pump.store.waiting(), 0);
    assert!(!pump.store.alerts().unwrap().is_empty());
}

#[test]
fn being_asked_does_not_put_off_the_sign_of_life() {
    let recording = recording("tours");
    let dir = tempfile::tempdir().unwrap();
    let mut pump = revive(dir.path(), &recording.site, recording.observations[0].received_at);
    let due = pump.alive_at;
    let (reply, _answer) = oneshot::channel();
    pump.answer(Request::Stock(reply)).unwrap();
    pump.judge(false).unwrap();
    assert_eq!(pump.alive_at, due, "questions and empty wake-ups tell the store nothing");
    let before = pump.store.marks().judged_until;
    std::thread::sleep(Duration::from_millis(5));
    pump.judge(true).unwrap();
    assert!(pump.alive_at > due && pump.store.marks().judged_until > before);
}

#[test]
fn a_full_store_drops_the_oldest_observations_and_grows_no_more() {
    let recording = recording("dead_phone");
    let dir = tempfile::tempdir().unwrap();
    let mut pump = revive(dir.path(), &recording.site, recording.observations[0].received_at);
    pump.terms.max_bytes = 4 << 20;
    let mut sizes = vec![];
    for round in 0..900_i64 {
        let chatter = (0..100_i64).map(|n| {
            let at = recording.until + Span::from_millis(round * 1_000 + n);
            let text = vigil_core::observation::Kind::Activity("x".repeat(64));
            Observation::new(recording.observations[0].device.clone(), at, at, None, text)
        });
        let (inbound, _stored) = delivery(&chatter.collect::<Vec<_>>());
        pump.take_in(vec![inbound]).unwrap();
        sizes.push(pump.store.size());
    }
    // sled gives segments back when it gets round to it: what counts is the height of the waves. Without the limit
    // the file would be beyond 20 MiB at the end.
    let height = |part: &[u64]| part.iter().copied().max().unwrap_or(0);
    let (middle, end) = (height(&sizes[300..600]), height(&sizes[600..]));
    assert!(end < 10 << 20 && end < middle * 3 / 2, "{middle} bytes in the middle, {end} at the end");
    let journal = pump.store.inputs_from(0).unwrap();
    assert!(journal.len() < 20_000, "{}", journal.len());
    drop(pump);
    let pump = revive(dir.path(), &recording.site, recording.until + Span::from_hours(1));
    assert_eq!(pump.engine.view(recording.until).blind_secs, 0, "the engine is whole");
}

#[test]
fn a_long_absence_is_a_blind_interval_and_raises_nothing_by_itself() {
    let recording = recording("dead_phone");
    let dir = tempfile::tempdir().unwrap();
    let mut pump = revive(dir.path(), &recording.site, recording.observations[0].received_at);
    let (inbound, _stored) = delivery(&recording.observations[..50]);
    pump.take_in(vec![inbound]).unwrap();
    let last = pump.engine.now();
    drop(pump);
    let back = last + Span::from_hours(3);
    let mut pump = revive(dir.path(), &recording.site, back);
    pump.clock = Clock::scaled(back + Span::from_mins(1), 1);
    pump.judge(true).unwrap();
    assert_eq!(pump.store.alerts().unwrap(), []);
    assert_eq!(pump.engine.view(back).blind_secs, 3 * 3_600);
    let journal = pump.store.inputs_from(0).unwrap();
    assert!(journal.contains(&Input::Down { from: last, until: back }));
}

#[test]
fn the_journal_tells_the_night_again_with_every_death_in_it() {
    for name in ["sleeper", "dead_phone", "tours", "tasks"] {
        let recording = recording(name);
        let began = recording.observations[0].received_at;
        for part in 2..12 {
            let dir = tempfile::tempdir().unwrap();
            let mut pump = revive(dir.path(), &recording.site, began);
            // A busy machine takes some milliseconds for that.
            let opened = pump.engine.now();
            let evening = recording.observations.len() * part / 12;
            let (inbound, _stored) = delivery(&recording.observations[..evening]);
            pump.take_in(vec![inbound]).unwrap();
            // What falls due meanwhile is judged before it dies, and no input says so.
            let dies = pump.engine.now() + Span::from_mins(7);
            pump.clock = Clock::scaled(dies, 1);
            pump.judge(true).unwrap();
            drop(pump);
            let mut pump = revive(dir.path(), &recording.site, dies + Span::from_mins(5));
            let rest = recording.observations[evening..].iter().filter(|o| o.received_at > pump.engine.now());
            let (inbound, _stored) = delivery(&rest.cloned().collect::<Vec<_>>());
            pump.take_in(vec![inbound]).unwrap();
            let mut again = Engine::new(Arc::clone(&recording.site), opened);
            for input in pump.store.inputs_from(0).unwrap() {
                drop(give(&mut again, input));
            }
            drop(again.on_deadline(pump.engine.now()));
            assert!(again.book().iter().eq(pump.engine.book().iter()), "{name}, part {part}");
            assert_eq!(again.snapshot().unwrap(), pump.engine.snapshot().unwrap(), "{name}, part {part}");
        }
    }
}

/// What an operator says of an alert.
fn says(alert: vigil_core::alert::AlertId, status: Status) -> Order {
    let (method, by) = (vigil_core::alert::Method::None, "Asha".into());
    Order::AlertStatus(StatusStep { alert, status, method, response: None, by, note: None })
}

#[test]
fn a_command_is_stored_with_what_follows_and_outlives_a_kill() {
    let recording = recording("sleeper");
    let dir = tempfile::tempdir().unwrap();
    let mut pump = revive(dir.path(), &recording.site, recording.observations[0].received_at);
    let (inbound, _stored) = delivery(&recording.observations);
    pump.take_in(vec![inbound]).unwrap();
    let alert = pump.store.alerts().unwrap().into_iter().find(|a| !a.status.is_final()).unwrap();
    let id = || CommandId::new("c-1").ok();
    let done = pump.obey(id(), says(alert.id, Status::Verifying)).unwrap();
    assert_eq!((done.answer, done.alert.map(|a| a.revision)), (Answer::Done, Some(alert.revision + 1)));
    let refused = pump.obey(None, says(alert.id, Status::Detected)).unwrap();
    assert!(matches!(refused.answer, Answer::Refused(_)));
    let stood = pump.engine.snapshot().unwrap();
    let (now, journal) = (pump.engine.now(), pump.store.inputs_from(0).unwrap());
    let refusal = pump.store.refusals().unwrap().remove(0);
    assert_eq!((refusal.reason, refusal.topic.as_str()), (Reason::Command, "command/alert.status"));
    let sent = pump.store.next_events(10_000).unwrap();
    assert!(sent.iter().any(|e| e.id.starts_with(REFUSED) && e.kind == vigil_cloud_sync::EventKind::Health));
    drop(pump);
    let mut pump = revive(dir.path(), &recording.site, now);
    assert_eq!(pump.engine.snapshot().unwrap(), stood, "the journal brings it back");
    assert_eq!(pump.store.inputs_from(0).unwrap()[..journal.len()], journal);
    let again = pump.obey(id(), says(alert.id, Status::Confirmed)).unwrap();
    assert_eq!(again.answer, Answer::Repeated);
}

#[test]
fn an_alert_that_only_the_store_still_knows_can_be_closed() {
    let recording = recording("sleeper");
    let dir = tempfile::tempdir().unwrap();
    let mut pump = revive(dir.path(), &recording.site, recording.observations[0].received_at);
    let (inbound, _stored) = delivery(&recording.observations);
    pump.take_in(vec![inbound]).unwrap();
    let alert = pump.store.alerts().unwrap().into_iter().find(|a| !a.status.is_final()).unwrap();
    let later = recording.until + Span::from_hours(30 * 24);
    pump.clock = Clock::scaled(later, 1);
    pump.judge(true).unwrap();
    assert!(pump.engine.book().get(alert.id).is_none());
    let done = pump.obey(None, says(alert.id, Status::Confirmed)).unwrap();
    assert_eq!(done.answer, Answer::Done);
    let stored = pump.store.alert(alert.id).unwrap().unwrap();
    assert_eq!((stored.status, stored.revision), (Status::Confirmed, alert.revision + 1));
    let stood = pump.engine.snapshot().unwrap();
    drop(pump);
    let pump = revive(dir.path(), &recording.site, later);
    assert_eq!(pump.engine.book().get(alert.id).map(|a| a.revision), Some(stored.revision));
    assert_eq!(pump.engine.snapshot().unwrap(), stood);
}

/// What an event says of the night. How the journal is cut into blocks depends on how the inputs came, and on every start.
fn told(data: &str) -> &str {
    data.split_once(r#","journal":"#).map_or(data, |(night, _)| night)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn killed_at_any_points_it_comes_to_the_same(
        name in prop::sample::select(vec!["sleeper", "dead_phone", "tours", "tasks"]),
        width in 1_usize..60,
        kills in prop::collection::vec(0_usize..60, 1..6),
    ) {
        let recording = recording(name);
        let disturbed = night(&recording, width, &kills);
        prop_assert_eq!(disturbed, night(&recording, 200, &[]));
    }
}
