//! What was committed is there; what was not, is not; and no number is given twice.

use super::*;
use crate::sources::decode::{Reason, Refusal};
use proptest::prelude::*;
use vigil_core::engine::Outcome;
use vigil_core::id::DeviceId;
use vigil_core::observation::Kind as Said;
use vigil_core::observation::Observation;
use vigil_core::time::Span;

mod sealing;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// The store's folder, in one that goes with what lies beside it.
fn db(dir: &tempfile::TempDir) -> std::path::PathBuf {
    dir.path().join("db")
}

fn at(secs: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + secs * 1_000)
}

fn input(secs: i64) -> Input {
    let device = DeviceId::new("hs-1").unwrap();
    let observation = Observation::new(device, at(secs), at(secs), None, Said::Activity("unlock".into()));
    Input::Observation(observation, Outcome::Applied)
}

fn event(kind: Lane, id: &str) -> StoredEvent {
    StoredEvent { id: id.into(), kind, subject: "guard:G-1".into(), time: at(0), data: "{}".into() }
}

fn inputs(secs: impl IntoIterator<Item = i64>) -> Draft {
    Draft { inputs: secs.into_iter().map(input).collect(), ..Draft::default() }
}

fn a_site() -> Site {
    vigil_config::parse_site(
        Path::new("site.toml"),
        b"[site]\nid = \"s\"\nname = \"S\"\ntenant = \"t\"\nclient = \"c\"\ntimezone = \"UTC\"\n",
    )
    .unwrap()
}

/// The report of a day on which so many guards were on duty.
fn report(date: &str, revision: u32, guards: usize) -> DailyReport {
    let mut tally = vigil_core::report::Tally::default();
    for n in 0..guards {
        let id = vigil_core::id::GuardId::new(&format!("G-{n}")).unwrap();
        tally.guards.entry(id).or_default().duty.on_duty_ms = 1;
    }
    DailyReport {
        site: vigil_core::id::SiteId::new("s").unwrap(),
        date: date.parse().unwrap(),
        revision,
        timezone: "UTC".into(),
        from: at(0),
        to: at(86_400),
        made_at: at(86_405),
        complete: true,
        tally,
    }
}

fn reported(store: &mut Store, from: &str, to: &str) -> Vec<DailyReport> {
    store.reports(from.parse().unwrap(), to.parse().unwrap()).unwrap()
}

fn ids(store: &mut Store) -> Vec<(u64, String)> {
    store.next_events(100).unwrap().into_iter().map(|e| (e.sequence, e.id)).collect()
}

#[test]
fn unreadable_marks_of_commands_ask_for_everything_anew() {
    let dir = folder();
    let mut store = Store::open(dir.path()).unwrap();
    let mut marks = CommandMarks::default();
    marks.after = 7;
    assert!(marks.is_new(&vigil_core::id::CommandId::new("c-7").unwrap()));
    store.commit(Draft { commands: Some(marks.clone()), ..Draft::default() }).unwrap();
    store.commit(inputs([1])).unwrap();
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.commands(), &marks, "a commit without them leaves them");
    let mut writes = Writes::default();
    writes.put(keys::meta("commands"), vec![1, 2, 3]);
    store.disk.commit(writes).unwrap();
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.commands(), &CommandMarks::default());
    assert_eq!(store.marks().next_input, 1, "and nothing else is lost");
}

#[test]
fn what_can_be_cut_never_lies_in_files_of_its_own() {
    let dir = folder();
    let mut store = Store::open(&db(&dir)).unwrap();
    let mut site = vigil_core::site::SiteParts::from(a_site());
    site.guards = (0..10_000)
        .map(|n| vigil_core::site::Guard {
            id: vigil_core::id::GuardId::new(&format!("G-{n}")).unwrap(),
            name: "a name of some length, as people have them".repeat(2),
            badge: None,
        })
        .collect();
    let site = Site::new(site).unwrap();
    // The backlog of a whole site after an outage: 512 deliveries of 100 events in one commit.
    let backlog = Draft { snapshot: Some((site.clone(), vec![7; 3_000_000])), ..inputs(0..51_200) };
    store.commit(backlog).unwrap();
    store.commit(inputs(51_200..51_210)).unwrap();
    drop(store);
    assert_eq!(std::fs::read_dir(db(&dir).join("blobs")).unwrap().count(), 0);
    let mut store = Store::open(&db(&dir)).unwrap();
    let past = store.past().unwrap();
    assert_eq!(past.snapshot, Some((site, vec![7; 3_000_000])));
    assert_eq!(past.inputs, (51_200..51_210).map(input).collect::<Vec<_>>());
    assert_eq!(store.inputs_from(700).unwrap(), (700..51_210).map(input).collect::<Vec<_>>());
}

#[test]
fn the_most_urgent_event_goes_first_and_each_lane_keeps_its_order() {
    let dir = folder();
    let mut store = Store::open(&db(&dir)).unwrap();
    let lanes = [Lane::Tour, Lane::Alert, Lane::Critical, Lane::Alert, Lane::Critical];
    for (n, lane) in lanes.into_iter().enumerate() {
        store.commit(Draft { events: vec![event(lane, &n.to_string())], ..Draft::default() }).unwrap();
    }
    drop(store);
    let mut store = Store::open(&db(&dir)).unwrap();
    let order: Vec<String> = ids(&mut store).into_iter().map(|(_, id)| id).collect();
    assert_eq!(order, ["2", "4", "1", "3", "0"]);
    assert_eq!((store.waiting(), store.depth(Lane::Critical)), (5, 2));
}

#[test]
fn how_the_gateway_is_now_is_renewed_and_comes_before_a_long_history() {
    let dir = folder();
    let mut store = Store::open(&db(&dir)).unwrap();
    let health = |id: &str| StoredEvent { subject: "gateway".into(), ..event(Lane::Health, id) };
    assert!(!store.renew(&health("none waits")).unwrap());
    let mut events: Vec<_> = (0..6).map(|n| event(Lane::Alert, &n.to_string())).collect();
    events.extend([event(Lane::Critical, "help"), health("old")]);
    store.commit(Draft { events, ..Draft::default() }).unwrap();
    assert!(store.renew(&health("new")).unwrap());
    let order = |store: &mut Store, limit| -> Vec<(u64, String)> {
        store.next_events(limit).unwrap().into_iter().map(|e| (e.sequence, e.id)).collect()
    };
    let named = |n: u64, id: &str| (n, id.to_owned());
    assert_eq!(
        order(&mut store, 3),
        [named(7, "help"), named(8, "new"), named(1, "0")],
        "under the old number"
    );
    assert_eq!(order(&mut store, 1), [named(7, "help")]);
    assert_eq!(
        order(&mut store, 100).last(),
        Some(&named(8, "new")),
        "all at once: in the order of the lanes"
    );
    store.commit(Draft { events: vec![event(Lane::Health, "refused.c-1")], ..Draft::default() }).unwrap();
    assert!(!store.renew(&health("newer")).unwrap(), "what tells of a command stays");
}

#[test]
fn a_sequence_is_never_used_twice() {
    let dir = folder();
    let mut store = Store::open(&db(&dir)).unwrap();
    store.commit(Draft { events: vec![event(Lane::Alert, "a")], ..Draft::default() }).unwrap();
    store.commit(Draft { delivered: vec![1], ..Draft::default() }).unwrap();
    drop(store);
    let mut store = Store::open(&db(&dir)).unwrap();
    store.commit(Draft { events: vec![event(Lane::Alert, "b")], ..Draft::default() }).unwrap();
    assert_eq!(ids(&mut store), [(2, "b".to_owned())]);
}

#[test]
fn a_rejected_event_is_laid_aside_with_its_reason() {
    let dir = folder();
    let mut store = Store::open(&db(&dir)).unwrap();
    let events = vec![event(Lane::Alert, "good"), event(Lane::Alert, "poison")];
    store.commit(Draft { events, ..Draft::default() }).unwrap();
    store
        .commit(Draft { dead: vec![(2, "no such site".into())], judged_until: at(9), ..Draft::default() })
        .unwrap();
    assert_eq!(ids(&mut store), [(1, "good".to_owned())]);
    let letters = store.dead_letters().unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].0, letters[0].1.reason.as_str(), letters[0].1.at), (2, "no such site", at(9)));
    assert_eq!(letters[0].1.event, event(Lane::Alert, "poison"));
    assert_eq!(store.marks().dead, 1);
}

#[test]
fn settling_what_is_not_there_changes_nothing() {
    let dir = folder();
    let mut store = Store::open(&db(&dir)).unwrap();
    store.commit(Draft { events: vec![event(Lane::Alert, "a")], ..Draft::default() }).unwrap();
    store.commit(Draft { delivered: vec![7], dead: vec![(8, "?".into())], ..Draft::default() }).unwrap();
    assert_eq!(ids(&mut store), [(1, "a".to_owned())]);
}

#[test]
fn the_last_thousand_refusals_are_kept_and_all_are_counted() {
    let dir = folder();
    let mut store = Store::open(&db(&dir)).unwrap();
    for n in 0..11_i64 {
        let one =
            |m: i64| Refusal::new(at(n * 100 + m), Reason::NotJson, "t", format!("{}", n * 100 + m), b"x");
        store.commit(Draft { refusals: (0..100).map(one).collect(), ..Draft::default() }).unwrap();
    }
    let kept = store.refusals().unwrap();
    assert_eq!(kept.len(), 1_000);
    assert_eq!((kept[0].detail.as_str(), kept[999].detail.as_str()), ("1099", "100"));
    assert_eq!(store.marks().refused[&Reason::NotJson], 1_100);
}

#[test]
fn the_past_is_the_snapshot_and_what_came_behind_it() {
    let dir = folder();
    let mut store = Store::open(&db(&dir)).unwrap();
    store.commit(inputs(0..10)).unwrap();
    let snapshot = (a_site(), vec![7; 100_000]);
    store.commit(Draft { snapshot: Some(snapshot.clone()), ..inputs(10..12) }).unwrap();
    store.commit(inputs(12..15)).unwrap();
    drop(store);
    let mut store = Store::open(&db(&dir)).unwrap();
    let past = store.past().unwrap();
    assert_eq!(past.snapshot.as_ref(), Some(&snapshot));
    assert_eq!(past.inputs, (12..15).map(input).collect::<Vec<_>>());
    // A smaller snapshot leaves nothing of the larger one behind.
    store.commit(Draft { snapshot: Some((a_site(), vec![8; 10])), ..Draft::default() }).unwrap();
    let past = store.past().unwrap();
    assert_eq!((past.snapshot.unwrap().1, past.inputs), (vec![8; 10], vec![]));
    assert_eq!(store.disk.scan(&Kind::Snapshot.prefix()).count(), 1);
}

#[test]
fn a_snapshot_that_is_not_whole_is_set_aside_and_said() {
    for spoil in [
        |writes: &mut Writes| writes.remove(keys::numbered(Kind::Snapshot, 1)),
        |writes: &mut Writes| writes.put(keys::numbered(Kind::Snapshot, 1), b"another".to_vec()),
        |writes: &mut Writes| writes.put(keys::meta("snapshot"), b"no head".to_vec()),
    ] {
        let dir = folder();
        let mut store = Store::open(&db(&dir)).unwrap();
        store.commit(Draft { snapshot: Some((a_site(), vec![7; 3_000_000])), ..inputs(0..10) }).unwrap();
        store.commit(inputs(10..12)).unwrap();
        let mut writes = Writes::default();
        spoil(&mut writes);
        store.disk.commit(writes).unwrap();
        let past = store.past().unwrap();
        assert!(past.snapshot.is_none());
        assert_eq!(
            past.inputs,
            (0..12).map(input).collect::<Vec<_>>(),
            "what the snapshot stood for is replayed"
        );
        let told = store.marks().set_aside;
        assert!(told > 0);
        store.past().unwrap();
        assert_eq!(store.marks().set_aside, told, "it is said once");
        // The next one is as good as any.
        store.commit(Draft { snapshot: Some((a_site(), vec![8; 10])), ..Draft::default() }).unwrap();
        assert_eq!(store.past().unwrap().snapshot.unwrap().1, vec![8; 10]);
    }
}

#[test]
fn old_inputs_go_but_never_those_that_the_snapshot_needs() {
    let dir = folder();
    let mut store = Store::open(&db(&dir)).unwrap();
    store.commit(inputs([0])).unwrap();
    store.commit(Draft { snapshot: Some((a_site(), vec![])), ..inputs([1]) }).unwrap();
    store.commit(inputs([2])).unwrap();
    assert!(!store.expire(at(1_000_000), Span::from_hours(1)).unwrap());
    assert_eq!(store.inputs_from(0).unwrap(), [input(2)]);
    store.expire(at(0), Span::from_hours(1)).unwrap();
    assert_eq!(store.inputs_from(0).unwrap(), [input(2)]);
}

#[test]
fn the_last_revision_of_a_day_s_report_is_kept_whatever_its_size() {
    let dir = folder();
    let mut store = Store::open(&db(&dir)).unwrap();
    let large = report("2026-03-10", 1, 1_000);
    let other = report("2026-03-11", 1, 2);
    store.commit(Draft { reports: vec![large.clone(), other.clone()], ..Draft::default() }).unwrap();
    assert!(store.disk.scan(&Kind::Report.prefix()).count() > 3, "it is cut");
    assert_eq!(reported(&mut store, "2026-03-10", "2026-03-11"), [large, other.clone()]);
    let corrected = report("2026-03-10", 2, 1);
    store.commit(Draft { reports: vec![corrected.clone()], ..Draft::default() }).unwrap();
    assert_eq!(
        store.disk.scan(&Kind::Report.prefix()).count(),
        2,
        "nothing of the larger one is left behind"
    );
    assert_eq!(reported(&mut store, "2026-03-01", "2026-03-10"), [corrected]);
    assert_eq!(reported(&mut store, "2026-03-11", "2026-03-11"), [other]);
    assert_eq!(reported(&mut store, "2026-03-12", "2026-03-31"), []);
}

#[test]
fn reports_are_kept_for_400_days() {
    let dir = folder();
    let mut store = Store::open(&db(&dir)).unwrap();
    let reports = vec![report("2026-03-10", 1, 1_000), report("2026-03-11", 1, 1)];
    store.commit(Draft { reports, ..Draft::default() }).unwrap();
    let now = Timestamp::parse("2026-03-11T12:00:00Z").unwrap() + Span::from_hours(400 * 24);
    store.expire(now, Span::from_hours(72)).unwrap();
    let left: Vec<String> =
        reported(&mut store, "2026-01-01", "2027-12-31").iter().map(|r| r.date.to_string()).collect();
    assert_eq!(left, ["2026-03-11"]);
}

#[test]
fn a_report_with_one_unreadable_piece_is_set_aside_whole() {
    let dir = folder();
    let mut store = Store::open(&db(&dir)).unwrap();
    let good = report("2026-03-11", 1, 1);
    let reports = vec![report("2026-03-10", 1, 1_000), good.clone()];
    store.commit(Draft { reports, ..Draft::default() }).unwrap();
    let mut writes = Writes::default();
    writes.put(keys::report_piece("2026-03-10".parse().unwrap(), 1), b"garbage".to_vec());
    store.disk.commit(writes).unwrap();
    assert_eq!(reported(&mut store, "2026-03-10", "2026-03-11"), std::slice::from_ref(&good));
    assert!(store.marks().set_aside > 1);
    assert_eq!(reported(&mut store, "2026-03-10", "2026-03-11"), [good]);
}

#[test]
fn one_unreadable_record_is_set_aside_and_blocks_nothing() {
    let dir = folder();
    let mut store = Store::open(&db(&dir)).unwrap();
    store.commit(inputs(0..3)).unwrap();
    store.commit(inputs(3..6)).unwrap();
    let mut writes = Writes::default();
    writes.put(keys::numbered(Kind::Journal, 0), b"garbage".to_vec());
    store.disk.commit(writes).unwrap();
    assert_eq!(store.inputs_from(0).unwrap(), (3..6).map(input).collect::<Vec<_>>());
    assert_eq!(store.marks().set_aside, 1);
    assert_eq!(store.disk.scan(&Kind::SetAside.prefix()).count(), 1);
    assert!(Store::open(&db(&dir)).map(|_| ()).unwrap_err().to_string().contains("in use"));
}

#[test]
fn an_unreadable_event_does_not_hold_up_the_others() {
    let dir = folder();
    let mut store = Store::open(&db(&dir)).unwrap();
    let events = vec![event(Lane::Critical, "a"), event(Lane::Critical, "b")];
    store.commit(Draft { events, ..Draft::default() }).unwrap();
    let mut writes = Writes::default();
    writes.put(keys::outbox(Lane::Critical as u8, 1), b"garbage".to_vec());
    store.disk.commit(writes).unwrap();
    assert_eq!(store.next_events(1).unwrap()[0].id, "b");
    assert_eq!((store.waiting(), store.marks().set_aside), (1, 1));
}

#[test]
fn unreadable_marks_are_rebuilt_and_no_number_is_given_again() {
    let dir = folder();
    let mut store = Store::open(&db(&dir)).unwrap();
    let events = vec![event(Lane::Alert, "a"), event(Lane::Alert, "b")];
    store.commit(Draft { events, ..inputs(0..3) }).unwrap();
    let mut writes = Writes::default();
    writes.put(keys::meta("marks"), b"garbage".to_vec());
    store.disk.commit(writes).unwrap();
    drop(store);
    let mut store = Store::open(&db(&dir)).unwrap();
    store.commit(Draft { events: vec![event(Lane::Alert, "c")], ..inputs([9]) }).unwrap();
    let sequences: Vec<u64> = ids(&mut store).into_iter().map(|(s, _)| s).collect();
    assert_eq!(sequences[..2], [1, 2]);
    assert!(sequences[2] > 2);
    assert_eq!(store.inputs_from(0).unwrap().len(), 4);
}

#[derive(Debug, Clone)]
enum Step {
    Inputs(u8),
    Event(u8),
    DeliverFirst,
    KillFirst,
    Snapshot,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1_u8..5).prop_map(Step::Inputs),
        4 => (0_u8..5).prop_map(Step::Event),
        2 => Just(Step::DeliverFirst),
        1 => Just(Step::KillFirst),
        1 => Just(Step::Snapshot),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Against a model that is a few vectors.
    #[test]
    fn any_steps_leave_what_they_should(steps in prop::collection::vec(step(), 1..30)) {
        let dir = folder();
        let mut store = Store::open(&db(&dir)).unwrap();
        let (mut waiting, mut dead, mut behind) = (Vec::<(u8, u64)>::new(), 0, 0_i64);
        let (mut next, mut clock) = (1, 0_i64);
        for step in steps {
            let mut draft = Draft::default();
            match step {
                Step::Inputs(n) => {
                    draft.inputs = (0..i64::from(n)).map(|i| input(clock + i)).collect();
                    clock += i64::from(n);
                    behind += i64::from(n);
                }
                Step::Event(lane) => {
                    draft.events = vec![event(Lane::ALL[usize::from(lane)], &next.to_string())];
                    waiting.push((lane, next));
                    waiting.sort_unstable();
                    next += 1;
                }
                Step::DeliverFirst if !waiting.is_empty() => draft.delivered = vec![waiting.remove(0).1],
                Step::KillFirst if !waiting.is_empty() => {
                    draft.dead = vec![(waiting.remove(0).1, "no".into())];
                    dead += 1;
                }
                Step::Snapshot => {
                    draft.snapshot = Some((a_site(), vec![1; 40_000]));
                    behind = 0;
                }
                Step::Reopen => {
                    drop(store);
                    store = Store::open(&db(&dir)).unwrap();
                }
                Step::DeliverFirst | Step::KillFirst => {}
            }
            store.commit(draft).unwrap();
        }
        let sequences: Vec<u64> = store.next_events(1_000).unwrap().iter().map(|e| e.sequence).collect();
        prop_assert_eq!(sequences, waiting.iter().map(|(_, s)| *s).collect::<Vec<_>>());
        prop_assert_eq!(store.dead_letters().unwrap().len(), dead);
        let expected: Vec<Input> = (clock - behind..clock).map(input).collect();
        prop_assert_eq!(store.past().unwrap().inputs, expected);
    }
}

/// The files of a store as they are now, and back again.
fn copied(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let place = to.join(entry.file_name());
        if entry.path().is_dir() {
            copied(&entry.path(), &place)
        } else {
            drop(std::fs::copy(entry.path(), place))
        }
    }
}

#[test]
fn a_store_that_went_back_says_so_and_gives_no_number_again() {
    let dir = folder();
    let mut store = Store::open(&db(&dir)).unwrap();
    store.commit(Draft { events: vec![event(Lane::Alert, "a")], ..inputs([1]) }).unwrap();
    let block = |store: &Store| store.disk.scan_sealed(b"J").next().unwrap().unwrap();
    let sealed = block(&store);
    drop(store);
    copied(&db(&dir), &dir.path().join("copy"));
    let mut store = Store::open(&db(&dir)).unwrap();
    let producer = store.producer();
    let events = vec![event(Lane::Alert, "b"), event(Lane::Alert, "c")];
    store.commit(Draft { events, snapshot: Some((a_site(), vec![])), ..inputs([2, 3]) }).unwrap();
    assert_eq!(store.next_events(3).unwrap().len(), 3);
    drop(store);
    std::fs::remove_dir_all(db(&dir)).unwrap();
    std::fs::rename(dir.path().join("copy"), db(&dir)).unwrap();
    let of_before = db(&dir).join("of-before");
    std::fs::write(&of_before, "").unwrap();
    let mut store = Store::open(&db(&dir)).unwrap();
    assert!(!of_before.exists(), "what sled has in its file beyond that state must not come up again");
    assert_eq!(block(&store), sealed, "under another key it would live longer than it may");
    assert_eq!(store.loss(), Some(&Loss::WentBack { sequences: 2, inputs: 2 }));
    assert_eq!((store.marks().set_aside, store.producer()), (1, producer));
    store.commit(Draft { events: vec![event(Lane::Alert, "d")], ..inputs([4]) }).unwrap();
    assert_eq!(ids(&mut store), [(1, "a".to_owned()), (4, "d".to_owned())]);
    drop(store);
    let store = Store::open(&db(&dir)).unwrap();
    assert_eq!((store.loss(), store.marks().set_aside), (None, 1), "it is said once and counted for good");
}

#[test]
fn ten_thousand_inputs_are_never_lost_without_notice() {
    let dir = folder();
    drop(Store::open(&db(&dir)).unwrap());
    copied(&db(&dir), &dir.path().join("copy"));
    let mut store = Store::open(&db(&dir)).unwrap();
    store.commit(inputs(0..10_000)).unwrap();
    drop(store);
    std::fs::remove_dir_all(db(&dir)).unwrap();
    std::fs::rename(dir.path().join("copy"), db(&dir)).unwrap();
    let store = Store::open(&db(&dir)).unwrap();
    assert_eq!(store.loss(), Some(&Loss::WentBack { sequences: 0, inputs: 10_000 }));
}

#[test]
fn what_can_be_read_of_a_damaged_store_is_saved_under_another_producer() {
    let dir = folder();
    let mut store = Store::open(&db(&dir)).unwrap();
    let producer = store.producer();
    let events = vec![event(Lane::Tour, "t"), event(Lane::Critical, "c"), event(Lane::Alert, "gone")];
    let reports = vec![report("2026-03-10", 1, 1_000)];
    store.commit(Draft { events, reports: reports.clone(), judged_until: at(9), ..inputs(0..7) }).unwrap();
    assert_eq!(store.next_events(9).unwrap().len(), 3);
    store.commit(Draft { delivered: vec![3], ..Draft::default() }).unwrap();
    drop(store);
    let mut conf = std::fs::read(db(&dir).join("conf")).unwrap();
    conf.iter_mut().for_each(|byte| *byte ^= 0x55);
    std::fs::write(db(&dir).join("conf"), conf).unwrap();
    let mut store = Store::open(&db(&dir)).unwrap();
    let loss = store.loss().cloned();
    let Some(Loss::SetAside { kept, saved, to_the_end }) = loss.clone() else { panic!("{loss:?}") };
    assert_eq!((store.damaged(), kept.join("db").exists(), to_the_end), (Some(kept.as_path()), true, true));
    assert_eq!(saved, BTreeMap::from([("events", 2), ("inputs", 7), ("reports", 1)]));
    assert_eq!(ids(&mut store), [(5, "c".to_owned()), (4, "t".to_owned())]);
    assert_eq!(reported(&mut store, "2026-03-10", "2026-03-10"), reports);
    assert_eq!(store.past().unwrap().inputs, (0..7).map(input).collect::<Vec<_>>());
    assert_eq!((store.marks().judged_until, store.marks().set_aside), (at(9), 1));
    assert_ne!(store.producer(), producer);
    drop(store);
    let mut store = Store::open(&db(&dir)).unwrap();
    assert_eq!((store.loss(), store.waiting()), (None, 2));
    store.commit(inputs([8])).unwrap();
}

#[test]
fn a_store_of_a_newer_agent_is_refused_and_left_untouched() {
    let dir = folder();
    let mut store = Store::open(&db(&dir)).unwrap();
    store.commit(inputs(0..3)).unwrap();
    let mut newer = encode(&7_u64).unwrap();
    newer[0] = records::NEWEST + 1;
    let content = newer.len() - 4;
    let checksum = crc32fast::hash(&newer[..content]).to_le_bytes();
    newer[content..].copy_from_slice(&checksum);
    let mut writes = Writes::default();
    writes.put(keys::alert(vigil_core::alert::AlertId::parse(&"0".repeat(32)).unwrap()), newer);
    store.disk.commit(writes).unwrap();
    let all = |disk: &Disk| disk.scan_sealed(&[]).map(Result::unwrap).collect::<Vec<_>>();
    let before = all(&store.disk);
    drop(store);
    let refused = Store::open(&db(&dir)).unwrap_err();
    assert!(matches!(refused, StoreError::Newer { found: 5 }), "{refused}");
    assert!(refused.to_string().contains("install a newer agent"), "{refused}");
    assert_eq!(all(&Disk::open(&db(&dir)).unwrap()), before);
}

#[test]
fn a_store_from_before_there_were_producers_gets_one_and_has_lost_nothing() {
    let dir = folder();
    let mut store = Store::open(&db(&dir)).unwrap();
    store.commit(Draft { events: vec![event(Lane::Alert, "a")], ..inputs(0..3) }).unwrap();
    let mut writes = Writes::default();
    writes.remove(keys::meta("producer"));
    store.disk.commit(writes).unwrap();
    drop(store);
    std::fs::remove_file(dir.path().join("db.reach")).unwrap();
    let mut store = Store::open(&db(&dir)).unwrap();
    assert_eq!(store.loss(), None);
    assert_eq!(ids(&mut store), [(1, "a".to_owned())]);
    let producer = store.producer();
    drop(store);
    let mut store = Store::open(&db(&dir)).unwrap();
    assert_eq!(store.producer(), producer);
    assert_eq!(store.next_events(1).unwrap()[0].producer, producer);
}

/// A store that was brought back from a copy of its database alone, with what lies beside it as it is now.
fn brought_back(dir: &tempfile::TempDir) -> Producer {
    let mut store = Store::open(&db(dir)).unwrap();
    store.commit(Draft { events: vec![event(Lane::Alert, "a")], ..inputs([1]) }).unwrap();
    let producer = store.producer();
    drop(store);
    copied(&db(dir), &dir.path().join("copy"));
    let mut store = Store::open(&db(dir)).unwrap();
    store.commit(Draft { events: vec![event(Lane::Alert, "b")], ..inputs([2, 3]) }).unwrap();
    store.next_events(3).unwrap();
    drop(store);
    std::fs::remove_dir_all(db(dir)).unwrap();
    std::fs::rename(dir.path().join("copy"), db(dir)).unwrap();
    producer
}

fn beside(dir: &tempfile::TempDir) -> [std::path::PathBuf; 2] {
    ["db.reach", "db.keys/reached"].map(|name| dir.path().join(name))
}

#[test]
fn an_earlier_store_is_noticed_though_what_lies_beside_it_is_gone() {
    for gone in 0..2 {
        let dir = folder();
        let producer = brought_back(&dir);
        std::fs::remove_file(&beside(&dir)[gone]).unwrap();
        let store = Store::open(&db(&dir)).unwrap();
        assert_eq!(store.loss(), Some(&Loss::WentBack { sequences: 1, inputs: 2 }));
        assert_ne!(store.producer(), producer, "what the other one says may not be all");
    }
}

#[test]
fn a_store_without_any_witness_says_so_once_and_numbers_for_another_producer() {
    let dir = folder();
    let producer = brought_back(&dir);
    beside(&dir).iter().for_each(|path| std::fs::remove_file(path).unwrap());
    let mut store = Store::open(&db(&dir)).unwrap();
    assert_eq!((store.loss(), store.marks().set_aside), (Some(&Loss::Unwitnessed), 1));
    let renamed = store.producer();
    assert_ne!(renamed, producer);
    assert_eq!(store.next_events(9).unwrap()[0].producer, renamed);
    drop(store);
    let store = Store::open(&db(&dir)).unwrap();
    assert_eq!((store.loss(), store.marks().set_aside, store.producer()), (None, 1, renamed));
}

#[test]
fn one_witness_taken_away_and_the_other_put_back_with_the_store_are_noticed() {
    for (gone, old) in [(0, 1), (1, 0)] {
        let dir = folder();
        let mut store = Store::open(&db(&dir)).unwrap();
        store.commit(with_snapshot(inputs([1]))).unwrap();
        let producer = store.producer();
        drop(store);
        let beside = beside(&dir);
        let witness = std::fs::read(&beside[old]).unwrap();
        copied(&db(&dir), &dir.path().join("copy"));
        let mut store = Store::open(&db(&dir)).unwrap();
        store.commit(with_snapshot(inputs([2, 3]))).unwrap();
        drop(store);
        assert!(Journal::of_closed(&db(&dir)).unwrap().prove(&[]).0.is_whole());
        std::fs::remove_dir_all(db(&dir)).unwrap();
        std::fs::rename(dir.path().join("copy"), db(&dir)).unwrap();
        std::fs::write(&beside[old], witness).unwrap();
        std::fs::remove_file(&beside[gone]).unwrap();
        assert_eq!(Journal::of_closed(&db(&dir)).unwrap().prove(&[]).0.faults, [Fault::Unwitnessed]);
        let store = Store::open(&db(&dir)).unwrap();
        assert_eq!((store.loss(), store.marks().set_aside), (Some(&Loss::Unwitnessed), 1));
        assert_ne!(store.producer(), producer);
        drop(store);
        assert_eq!(Store::open(&db(&dir)).unwrap().loss(), None, "it is told once");
    }
}

/// What is left of a store of which somebody took away all but the keys.
fn keys_alone() -> tempfile::TempDir {
    let dir = folder();
    let mut store = Store::open(&db(&dir)).unwrap();
    store.commit(with_snapshot(inputs([1]))).unwrap();
    drop(store);
    std::fs::remove_dir_all(db(&dir)).unwrap();
    beside(&dir).iter().for_each(|path| std::fs::remove_file(path).unwrap());
    dir
}

#[test]
fn keys_without_a_store_tell_that_there_was_one() {
    let dir = keys_alone();
    let none = Journal::of_closed(&db(&dir)).unwrap_err();
    assert!(matches!(none, NoJournal::Vanished(_)), "{none}");
    let mut store = Store::open(&db(&dir)).unwrap();
    assert_eq!((store.loss(), store.marks().set_aside), (Some(&Loss::Vanished), 1));
    store.commit(with_snapshot(inputs([2]))).unwrap();
    drop(store);
    assert!(!Journal::of_closed(&db(&dir)).unwrap().prove(&[]).0.is_whole(), "something was there before");
    assert_eq!(Store::open(&db(&dir)).unwrap().loss(), None, "it is told once");
}

#[test]
fn a_start_that_breaks_off_before_it_told_of_a_vanished_store_hides_nothing() {
    let dir = keys_alone();
    // What such a start leaves behind: a database with nothing in it, and files that say nothing yet.
    drop(Disk::open(&db(&dir)).unwrap());
    beside(&dir).iter().for_each(|path| std::fs::write(path, []).unwrap());
    assert_eq!(Store::open(&db(&dir)).unwrap().loss(), Some(&Loss::Vanished));
}

#[test]
fn a_key_that_is_gone_with_a_witness_is_the_greater_loss() {
    for key in ["00000001.key", "00000002.key"] {
        let dir = folder();
        let mut store = Store::open(&db(&dir)).unwrap();
        let events = vec![event(Lane::Alert, "a")];
        store.commit(Draft { events, ..with_snapshot(inputs([1])) }).unwrap();
        drop(store);
        for gone in [key, "reached"] {
            std::fs::remove_file(dir.path().join("db.keys").join(gone)).unwrap();
        }
        let store = Store::open(&db(&dir)).unwrap();
        assert!(matches!(store.loss(), Some(Loss::Locked { .. })), "{key}: {:?}", store.loss());
    }
}

#[test]
fn a_store_that_is_told_that_its_numbers_are_taken_is_another_producer() {
    let dir = folder();
    let mut store = Store::open(&db(&dir)).unwrap();
    store.commit(Draft { events: vec![event(Lane::Alert, "a")], ..inputs([1]) }).unwrap();
    let producer = store.producer();
    store.disown().unwrap();
    let renamed = store.producer();
    assert_ne!(renamed, producer);
    store.commit(Draft { events: vec![event(Lane::Alert, "b")], ..inputs([2]) }).unwrap();
    assert!(store.next_events(9).unwrap().iter().all(|event| event.producer == renamed));
    assert!(matches!(proof(&store).faults[..], [Fault::Missing { from: 1, .. }]));
    drop(store);
    let store = Store::open(&db(&dir)).unwrap();
    assert_eq!((store.producer(), store.loss(), store.marks().set_aside), (renamed, None, 1));
}

/// What the chain of a store is worth.
fn proof(store: &Store) -> Proof {
    let mut prover = Prover::from(store.anchor().unwrap());
    for record in store.disk.scan(&Kind::Journal.prefix()) {
        let (key, bytes) = record.unwrap();
        prover.block(keys::number_of(&key).unwrap(), &bytes);
    }
    prover.end(store.head())
}

#[test]
fn the_chain_goes_on_over_starts_and_over_what_passes_its_time() {
    let dir = folder();
    let mut store = Store::open(&db(&dir)).unwrap();
    for n in 0..20 {
        store.commit(inputs(n..n + 3)).unwrap();
    }
    assert!(proof(&store).is_whole(), "{:?}", proof(&store));
    let head = store.head();
    drop(store);
    let mut store = Store::open(&db(&dir)).unwrap();
    assert_eq!(store.head(), head);
    store.commit(inputs(30..33)).unwrap();
    let snapshot = Some((a_site(), vec![0; 10]));
    store.commit(Draft { snapshot, ..inputs(40..41) }).unwrap();
    assert!(!store.expire(at(40), Span::from_secs(30)).unwrap());
    let after = proof(&store);
    assert!(after.is_whole() && after.from > 0, "{after:?}");
    assert_eq!(store.dropped(), 0, "what passed its time was not dropped before it");
    store.make_room(0).unwrap();
    assert!(proof(&store).is_whole(), "{:?}", proof(&store));
    assert!(store.dropped() > 0);
    let dropped = store.dropped();
    drop(store);
    assert_eq!(Store::open(&db(&dir)).unwrap().dropped(), dropped);
}

#[test]
fn what_somebody_does_to_the_journal_is_named() {
    let dir = folder();
    let mut store = Store::open(&db(&dir)).unwrap();
    for n in 0..6 {
        store.commit(inputs(n..n + 2)).unwrap();
    }
    let key = |n: u64| keys::numbered(Kind::Journal, n);
    let with = |change: &dyn Fn(&mut Writes)| {
        let mut writes = Writes::default();
        change(&mut writes);
        store.disk.commit(writes).unwrap();
        proof(&store).faults
    };
    let original = store.disk.get(&key(4)).unwrap().unwrap();
    let mut other = entries::ChainedBlock::read(&original).unwrap();
    other.inputs[0] = input(99);
    let forged =
        entries::ChainedBlock::write(other.previous.unwrap(), other.received_at, &other.inputs).unwrap();
    assert_eq!(with(&|w| w.put(key(4), forged.clone())), [Fault::Altered { block: 4 }]);
    assert_eq!(with(&|w| w.remove(key(4))), [Fault::Missing { from: 4, to: 6 }]);
    assert_eq!(with(&|w| w.put(key(4), original.clone())), []);
    assert_eq!(with(&|w| w.remove(key(10))), [Fault::Missing { from: 10, to: 12 }]);
    assert_eq!(
        with(&|w| w.remove(key(0))),
        [Fault::Missing { from: 0, to: 2 }, Fault::Missing { from: 10, to: 12 }]
    );
}

/// What the journal of a store is worth that nobody has open, held against a head.
fn proved(dir: &tempfile::TempDir, known: Head) -> (Proof, Standing) {
    let (proof, standings) = Journal::of_closed(&db(dir)).unwrap().prove(&[known]);
    (proof, standings[0].1)
}

fn with_snapshot(draft: Draft) -> Draft {
    Draft { snapshot: Some((a_site(), vec![])), ..draft }
}

#[test]
fn a_journal_whose_beginning_was_taken_away_is_never_called_whole() {
    let dir = folder();
    let mut store = Store::open(&db(&dir)).unwrap();
    store.commit(with_snapshot(inputs(0..5))).unwrap();
    let kept = store.head();
    drop(store);
    std::fs::remove_dir_all(db(&dir)).unwrap();
    let gone = Journal::of_closed(&db(&dir)).unwrap_err();
    assert!(matches!(gone, NoJournal::Gone { inputs: 5, .. }), "{gone}");
    let mut store = Store::open(&db(&dir)).unwrap();
    store.commit(with_snapshot(inputs(10..13))).unwrap();
    drop(store);
    let (proof, standing) = proved(&dir, kept);
    let [Fault::Missing { from: 0, to }] = proof.faults[..] else { panic!("{proof:?}") };
    assert!(to > 5 && standing == Standing::Lost, "{standing:?}");
    // When the rest has had its time, what was lost is still no matter of time.
    let mut store = Store::open(&db(&dir)).unwrap();
    store.commit(with_snapshot(inputs(4_000..4_001))).unwrap();
    store.expire(at(4_000), Span::from_hours(1)).unwrap();
    let passed = Head { next_input: to + 2, ..kept };
    drop(store);
    let (proof, standing) = proved(&dir, kept);
    assert_eq!(
        (proof.is_whole(), &proof.lost[..], standing),
        (true, &[Lost { from: 0, to }][..], Standing::Lost)
    );
    assert_eq!(proved(&dir, passed).1, Standing::Passed);
}

#[test]
fn a_journal_that_was_brought_back_from_a_copy_is_not_whole() {
    let dir = folder();
    let mut store = Store::open(&db(&dir)).unwrap();
    store.commit(with_snapshot(inputs(0..2))).unwrap();
    drop(store);
    copied(&db(&dir), &dir.path().join("copy"));
    let mut store = Store::open(&db(&dir)).unwrap();
    store.commit(with_snapshot(inputs(2..7))).unwrap();
    let kept = store.head();
    drop(store);
    std::fs::remove_dir_all(db(&dir)).unwrap();
    std::fs::rename(dir.path().join("copy"), db(&dir)).unwrap();
    let (proof, standing) = proved(&dir, kept);
    assert_eq!(proof.faults, [Fault::Missing { from: 2, to: 7 }]);
    assert_eq!(standing, Standing::NotReached);
    assert!(standing.is_bad());
}

#[test]
fn what_of_a_journal_could_not_be_saved_is_no_matter_of_time() {
    let dir = folder();
    let mut store = Store::open(&db(&dir)).unwrap();
    for n in 0..4 {
        store.commit(with_snapshot(inputs(n..n + 1))).unwrap();
    }
    let mut writes = Writes::default();
    [0, 1].iter().for_each(|n| writes.remove(keys::numbered(Kind::Journal, *n)));
    store.disk.commit(writes).unwrap();
    drop(store);
    let settings = db(&dir).join("conf");
    let damaged: Vec<u8> = std::fs::read(&settings).unwrap().iter().map(|byte| byte ^ 0x55).collect();
    std::fs::write(settings, damaged).unwrap();
    let mut store = Store::open(&db(&dir)).unwrap();
    assert!(store.damaged().is_some());
    store.commit(with_snapshot(inputs(9..10))).unwrap();
    let faults = proof(&store).faults;
    assert_eq!(faults[0], Fault::Missing { from: 0, to: 2 });
}
