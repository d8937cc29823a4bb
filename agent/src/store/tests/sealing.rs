//! Nothing that can be read lies on the disk, no record is ever without its key, and no key outlives what it is for.

use super::*;
use crate::store::survey::Survey;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use vigil_core::observation::{Fix, Provider};

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;
const RETENTION: Span = Span::from_hours(72);

/// A position that is nowhere else in a store.
const LAT: f64 = 48.137_153_9;
const LON: f64 = 11.576_124_7;

fn position(secs: i64) -> Input {
    let fix = Fix { accuracy_m: Some(9.0), provider: Some(Provider::Gps), ..Fix::at(LAT, LON) };
    let device = DeviceId::new("hs-1").unwrap();
    let observation = Observation::new(device, at(secs), at(secs), None, Said::Location(fix));
    Input::Observation(observation, Outcome::Applied)
}

/// One commit with that position in whatever can hold one.
fn told(secs: i64) -> Draft {
    let text = format!("{{\"lat\":{LAT},\"lon\":{LON}}}");
    let refusal = Refusal {
        received_at: at(secs),
        reason: Reason::OutOfRange,
        topic: "vigil/v1/s/hs-1/location".into(),
        detail: text.clone(),
        head: text.clone(),
    };
    Draft {
        inputs: vec![position(secs)],
        events: vec![StoredEvent { data: text.clone(), ..event(Lane::Alert, "a") }],
        announcements: vec![Announcement { payload: text }],
        refusals: vec![refusal],
        snapshot: Some((a_site(), [LAT.to_le_bytes(), LON.to_le_bytes()].concat().repeat(2_000))),
        judged_until: at(secs),
        ..Draft::default()
    }
}

/// One commit with that position, and nothing else that is sealed.
fn walked(secs: i64) -> Draft {
    Draft { inputs: vec![position(secs)], judged_until: at(secs), ..Draft::default() }
}

/// Whatever a coordinate may look like in a file.
fn looks() -> Vec<Vec<u8>> {
    let mut looks = vec![];
    for degrees in [LAT, LON] {
        looks.extend([degrees.to_le_bytes().to_vec(), degrees.to_be_bytes().to_vec()]);
        // The last digit may be another one where it was rounded.
        let text = degrees.to_string();
        looks.push(text.as_bytes()[..text.len() - 1].to_vec());
        for scale in [1e6, 1e7] {
            let scaled = format!("{:.0}", degrees * scale).parse::<i64>().unwrap();
            looks.push(postcard::to_extend(&scaled, vec![]).unwrap());
            looks.extend(
                [i32::try_from(scaled).unwrap().to_le_bytes(), i32::try_from(scaled).unwrap().to_be_bytes()]
                    .map(Vec::from),
            );
        }
    }
    looks
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Which of these looks are found in which files below a folder.
fn seen(folder: &Path) -> Vec<(PathBuf, usize)> {
    let finders: Vec<_> = looks();
    let mut seen = vec![];
    for path in files(folder) {
        let bytes = fs::read(&path).unwrap();
        let found = finders
            .iter()
            .enumerate()
            .filter(|(_, look)| bytes.windows(look.len()).any(|part| part == look.as_slice()));
        seen.extend(found.map(|(n, _)| (path.clone(), n)));
    }
    seen
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for path in files(from) {
        let place = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::copy(path, place).unwrap();
    }
}

fn keys_of(dir: &tempfile::TempDir) -> Vec<PathBuf> {
    let place = dir.path().join("db.keys");
    let mut keys = if place.exists() { files(&place) } else { vec![] };
    keys.retain(|path| path.extension() == Some(std::ffi::OsStr::new("key")));
    keys.sort();
    keys
}

fn expired(store: &mut Store, secs: i64) {
    while store.expire(at(secs), RETENTION).unwrap() {}
}

#[test]
fn no_coordinate_can_be_read_in_any_file() {
    let dir = folder();
    let mut store = Store::open(&db(&dir)).unwrap();
    store.commit(told(0)).unwrap();
    store.commit(Draft { dead: vec![(1, "no".into())], judged_until: at(1), ..Draft::default() }).unwrap();
    assert_eq!(seen(dir.path()), []);
    // The same records in a database as it was before they were sealed: the search knows them.
    let bare = folder();
    let unsealed = Disk::open(&db(&bare)).unwrap();
    let mut writes = Writes::default();
    for record in store.disk.scan(&[]) {
        let (place, record) = record.unwrap();
        writes.put([&b"M"[..], &place].concat(), record);
    }
    unsealed.commit(writes).unwrap();
    drop(unsealed);
    let found: std::collections::BTreeSet<usize> =
        seen(bare.path()).into_iter().map(|(_, look)| look).collect();
    assert!([0, 2, 9, 11].iter().all(|look| found.contains(look)), "{found:?}");
    expired(&mut store, 5 * DAY);
    drop(store);
    let mut store = Store::open(&db(&dir)).unwrap();
    expired(&mut store, 6 * DAY);
    assert_eq!(seen(dir.path()), []);
}

#[test]
fn what_has_passed_its_time_cannot_be_read_from_an_earlier_copy_either() {
    let (dir, earlier) = (folder(), folder());
    let mut store = Store::open(&db(&dir)).unwrap();
    store.commit(told(0)).unwrap();
    let first = keys_of(&dir);
    assert_eq!(first.len(), 2, "one for the month and one for the day");
    copy(&db(&dir), &db(&earlier));
    copy(&dir.path().join("db.keys"), &earlier.path().join("with-its-keys.keys"));
    copy(&db(&dir), &earlier.path().join("with-its-keys"));
    fs::copy(dir.path().join("db.reach"), earlier.path().join("with-its-keys.reach")).unwrap();
    for day in 1..=5 {
        store.commit(told(day * DAY)).unwrap();
        expired(&mut store, day * DAY + HOUR);
    }
    let left = keys_of(&dir);
    assert!(left.contains(&first[0]) && !left.contains(&first[1]), "{left:?}");
    let read = |name: &str| {
        let mut store = Store::open(&earlier.path().join(name)).unwrap();
        (
            store.inputs_from(0).unwrap().len(),
            store.past().unwrap().snapshot.is_some(),
            store.marks().set_aside > 0,
        )
    };
    copy(&dir.path().join("db.keys"), &earlier.path().join("db.keys"));
    assert_eq!(read("with-its-keys"), (1, true, false));
    assert_eq!(read("db"), (0, false, true));
}

#[test]
fn a_key_waits_for_the_last_block_of_its_day() {
    let dir = folder();
    let mut store = Store::open(&db(&dir)).unwrap();
    for hour in [0, 20, 48] {
        store.commit(walked(hour * HOUR)).unwrap();
    }
    // What is in the snapshot may go.
    store.commit(told(49 * HOUR)).unwrap();
    let first = keys_of(&dir)[0].clone();
    for (hour, left) in [(73, 3), (91, 3)] {
        expired(&mut store, hour * HOUR);
        assert!(first.exists(), "{hour} h");
        assert_eq!(store.inputs_from(0).unwrap().len(), left, "{hour} h");
    }
    expired(&mut store, 93 * HOUR);
    assert!(!first.exists());
    assert_eq!((store.inputs_from(0).unwrap().len(), store.marks().set_aside), (2, 0));
}

#[test]
fn a_block_that_cannot_be_read_does_not_keep_those_behind_it() {
    let dir = folder();
    let mut store = Store::open(&db(&dir)).unwrap();
    for hour in 0..3 {
        store.commit(told(hour * HOUR)).unwrap();
    }
    let mut writes = Writes::default();
    writes.put(keys::numbered(Kind::Journal, 1), b"not a record".to_vec());
    store.disk.commit(writes).unwrap();
    // What was first goes, then the broken one is, and is put aside; then those behind it go.
    for hour in [80, 81] {
        expired(&mut store, hour * HOUR);
    }
    assert_eq!((store.inputs_from(0).unwrap().len(), store.marks().set_aside), (0, 1));
}

#[test]
fn a_quiet_site_keeps_its_snapshot_and_loses_no_key_that_it_needs() {
    let dir = folder();
    let mut store = Store::open(&db(&dir)).unwrap();
    store.commit(told(0)).unwrap();
    for day in 1..30 {
        // It lives, and nothing comes in.
        store.commit(Draft { judged_until: at(day * DAY), ..Draft::default() }).unwrap();
        expired(&mut store, day * DAY);
    }
    assert!(store.past().unwrap().snapshot.is_some());
    assert!(store.inputs_from(0).unwrap().is_empty());
    assert!(store.refusals().unwrap().is_empty(), "what was refused is kept no longer than what was taken");
    assert_eq!(store.next_events(10).unwrap().len(), 1);
    assert_eq!(store.marks().set_aside, 0);
    // One of the month, and those of the last days.
    assert!(keys_of(&dir).len() <= 5, "{:?}", keys_of(&dir));
}

#[test]
fn an_event_that_waits_longer_than_its_key_lives_is_sealed_anew() {
    let dir = folder();
    let mut store = Store::open(&db(&dir)).unwrap();
    store
        .commit(Draft { events: vec![event(Lane::Alert, "a")], judged_until: at(0), ..Draft::default() })
        .unwrap();
    let first = keys_of(&dir);
    for month in 1..=15 {
        let now = month * 30 * DAY;
        let more = Draft {
            events: vec![event(Lane::Tour, &format!("t{month}"))],
            judged_until: at(now),
            ..Draft::default()
        };
        store.commit(more).unwrap();
        expired(&mut store, now);
    }
    assert!(!keys_of(&dir).contains(&first[0]));
    assert_eq!(store.next_events(99).unwrap().len(), 16);
    drop(store);
    assert_eq!(Store::open(&db(&dir)).unwrap().marks().set_aside, 0);
}

fn masters(letter: &str) -> Masters {
    Masters::read(letter.repeat(40).as_bytes()).unwrap()
}

#[test]
fn only_its_owner_reads_a_key_and_a_master_key_locks_it() {
    let dir = folder();
    let mut store = Store::open(&db(&dir)).unwrap();
    store.commit(told(0)).unwrap();
    drop(store);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert!(
        keys_of(&dir).iter().all(|path| mode(path) == 0o600) && mode(&dir.path().join("db.keys")) == 0o700
    );
    let bare: Vec<Vec<u8>> = keys_of(&dir).iter().map(|path| fs::read(path).unwrap()).collect();
    // A store whose keys lay open takes up a master key.
    drop(Store::open_with(&db(&dir), &masters("a")).unwrap());
    let locked: Vec<Vec<u8>> = keys_of(&dir).iter().map(|path| fs::read(path).unwrap()).collect();
    for (bare, locked) in bare.iter().zip(&locked) {
        // The last 32 bytes of what is written are the secret, before its checksum.
        let length = usize::from(u16::from_be_bytes([bare[0], bare[1]]));
        let secret = &bare[length + 2 - 36..length + 2 - 4];
        assert!(bare.windows(32).filter(|part| *part == secret).count() == 2);
        assert!(!locked.windows(32).any(|part| part == secret));
    }
    assert_eq!(Store::open_with(&db(&dir), &masters("a")).unwrap().inputs_from(0).unwrap().len(), 1);
}

#[test]
fn without_the_right_master_key_nothing_is_touched() {
    let dir = folder();
    let mut store = Store::open_with(&db(&dir), &masters("a")).unwrap();
    store.commit(told(0)).unwrap();
    drop(store);
    let all = || {
        files(dir.path())
            .into_iter()
            .map(|path| (path.clone(), fs::read(path).unwrap()))
            .collect::<BTreeMap<_, _>>()
    };
    let before = all();
    let without = Store::open(&db(&dir)).unwrap_err();
    assert!(matches!(without, StoreError::Keys(KeyringError::NoMaster(_))), "{without}");
    let other = Store::open_with(&db(&dir), &masters("b")).unwrap_err();
    assert!(matches!(other, StoreError::Keys(KeyringError::OtherMaster(_))), "{other}");
    assert_eq!(all(), before);
    // The new one in front of the old one: from then on it opens alone.
    let both = Masters::read([b"b".repeat(40), b"a".repeat(40)].join(&b'\n').as_slice()).unwrap();
    drop(Store::open_with(&db(&dir), &both).unwrap());
    assert_eq!(Store::open_with(&db(&dir), &masters("b")).unwrap().inputs_from(0).unwrap().len(), 1);
    assert!(Store::open_with(&db(&dir), &masters("a")).is_err());
}

/// A store of two days, and the key of the first.
fn two_days() -> (tempfile::TempDir, PathBuf) {
    let dir = folder();
    let mut store = Store::open(&db(&dir)).unwrap();
    store.commit(told(0)).unwrap();
    let first = keys_of(&dir).pop().unwrap();
    store.commit(told(DAY)).unwrap();
    (dir, first)
}

/// What happens to the file of a key.
type Spoil = fn(&Path);

#[test]
fn a_key_that_is_gone_is_said_once_and_the_rest_goes_on() {
    let spoil: [(&str, Spoil); 3] = [
        ("missing", |path| fs::remove_file(path).unwrap()),
        ("cut short", |path| fs::write(path, &fs::read(path).unwrap()[..20]).unwrap()),
        ("scrambled", |path| fs::write(path, vec![0x5A; 8_192]).unwrap()),
    ];
    for (how, spoil) in spoil {
        let (dir, first) = two_days();
        spoil(&first);
        let mut store = Store::open(&db(&dir)).unwrap();
        // The block and the refused input of the first day; the snapshot has been written since.
        assert_eq!(store.loss(), Some(&Loss::Locked { records: 2 }), "{how}");
        assert_eq!(store.marks().set_aside, 2, "{how}");
        assert_eq!(store.inputs_from(0).unwrap().len(), 1, "{how}");
        assert_eq!(store.next_events(9).unwrap().len(), 2, "{how}");
        store.commit(told(DAY + 1)).unwrap();
        drop(store);
        let mut store = Store::open(&db(&dir)).unwrap();
        assert_eq!((store.loss(), store.marks().set_aside), (None, 2), "{how}: once");
        assert_eq!(store.inputs_from(0).unwrap().len(), 2, "{how}");
    }
}

#[test]
fn a_journal_whose_key_is_gone_is_said_to_be_locked_and_not_altered() {
    let (dir, first) = two_days();
    let kept = {
        let mut store = Store::open(&db(&dir)).unwrap();
        store.commit(told(DAY + 1)).unwrap();
        store.head()
    };
    fs::remove_file(first).unwrap();
    let verdict = || Journal::of_closed(&db(&dir)).unwrap().prove(&[kept]);
    let (proof, standings) = verdict();
    assert_eq!(proof.faults, [Fault::Locked { from: 0, to: 1 }]);
    assert_eq!(standings, [(kept, Standing::Proved)], "what came later is proved");
    assert!(proof.faults[0].to_string().contains("the key that they were sealed with is gone"));
    // The agent sets it aside, and it stays what it was.
    drop(Store::open(&db(&dir)).unwrap());
    assert_eq!(verdict().0.faults, proof.faults);
}

#[test]
fn a_store_without_any_key_is_kept_until_they_are_put_back() {
    let (dir, _) = two_days();
    let (keys, elsewhere) = (dir.path().join("db.keys"), dir.path().join("elsewhere"));
    fs::rename(&keys, &elsewhere).unwrap();
    let why = Journal::of_closed(&db(&dir)).unwrap_err().to_string();
    assert!(why.contains("keys of the store"), "{why}");
    let kept = dir.path().join("db.damaged-1");
    let mut store = Store::open(&db(&dir)).unwrap();
    assert!(matches!(store.loss(), Some(Loss::SetAside { kept: aside, .. }) if *aside == kept));
    store.commit(told(2 * DAY)).unwrap();
    assert_eq!(store.inputs_from(0).unwrap().len(), 1);
    // No number is given again.
    assert!(
        keys_of(&dir).iter().all(|path| path.file_name().unwrap() > std::ffi::OsStr::new("00000003.key"))
    );
    drop(store);
    for begun in [db(&dir), keys.clone()] {
        fs::remove_dir_all(begun).unwrap();
    }
    fs::rename(kept, db(&dir)).unwrap();
    fs::rename(elsewhere, keys).unwrap();
    let mut store = Store::open(&db(&dir)).unwrap();
    assert_eq!(store.inputs_from(0).unwrap().len(), 2);
    assert!(matches!(store.loss(), Some(Loss::WentBack { .. })), "what the fresh one took meanwhile");
}

#[test]
fn a_key_that_cannot_be_read_at_the_moment_costs_nothing() {
    let (dir, first) = two_days();
    let elsewhere = dir.path().join("elsewhere");
    fs::rename(&first, &elsewhere).unwrap();
    // Opening works and reading fails, as on a disk with a bad sector.
    fs::create_dir(&first).unwrap();
    let why = Store::open(&db(&dir)).unwrap_err();
    assert!(matches!(why, StoreError::Keys(KeyringError::Folder { .. })), "{why}");
    fs::remove_dir(&first).unwrap();
    fs::rename(&elsewhere, &first).unwrap();
    let mut store = Store::open(&db(&dir)).unwrap();
    assert_eq!((store.loss(), store.marks().set_aside), (None, 0));
    assert_eq!(store.inputs_from(0).unwrap().len(), 2);
}

#[test]
fn two_never_move_the_folders_of_one_store() {
    let dir = folder();
    let store = Store::open(&db(&dir)).unwrap();
    fs::rename(db(&dir), dir.path().join("db.bare")).unwrap();
    // The folder is not where it was: without a lock of its own a second one would make a fresh store in its place.
    let why = Store::open(&db(&dir)).unwrap_err();
    assert!(matches!(why, StoreError::Disk(DiskError::InUse(_))), "{why}");
    assert!(!db(&dir).exists());
    drop(store);
}

#[test]
fn half_a_store_that_was_to_be_written_anew_is_taken_off_the_disk() {
    let dir = folder();
    let half = dir.path().join("db.sealing");
    fs::create_dir(&half).unwrap();
    fs::write(half.join("db"), vec![7; 4_096]).unwrap();
    drop(Store::open(&db(&dir)).unwrap());
    assert!(!half.exists());
}

#[test]
fn one_bad_sector_of_a_key_costs_nothing_and_swapped_names_do_not_either() {
    let (dir, first) = two_days();
    let mut bytes = fs::read(&first).unwrap();
    bytes[..512].fill(0);
    fs::write(&first, bytes).unwrap();
    let last = keys_of(&dir).pop().unwrap();
    let aside = dir.path().join("aside");
    for (from, to) in [(&first, &aside), (&last, &first), (&aside, &last)] {
        fs::rename(from, to).unwrap();
    }
    let mut store = Store::open(&db(&dir)).unwrap();
    assert_eq!(store.loss(), None);
    assert_eq!(store.inputs_from(0).unwrap().len(), 2);
}

#[test]
fn what_one_key_sealed_another_does_not_open_under_its_number() {
    let (dir, first) = two_days();
    // The file of the last key, altered to be that of the first.
    let other = dir.path().join("other");
    let mut store = Store::open(&other).unwrap();
    store.commit(told(0)).unwrap();
    drop(store);
    fs::copy(dir.path().join("other.keys").join(first.file_name().unwrap()), &first).unwrap();
    let mut store = Store::open(&db(&dir)).unwrap();
    assert_eq!(store.loss(), Some(&Loss::Locked { records: 2 }));
    assert_eq!(store.inputs_from(0).unwrap().len(), 1);
}

#[test]
fn a_key_of_a_newer_agent_is_left_untouched() {
    let (dir, first) = two_days();
    let mut bytes = fs::read(&first).unwrap();
    for slot in bytes.chunks_mut(4_096) {
        let length = usize::from(u16::from_be_bytes([slot[0], slot[1]]));
        let record = &mut slot[2..2 + length];
        record[0] = 2;
        let checksum = crc32fast::hash(&record[..length - 4]).to_le_bytes();
        record[length - 4..].copy_from_slice(&checksum);
    }
    fs::write(&first, &bytes).unwrap();
    let refused = Store::open(&db(&dir)).unwrap_err();
    assert!(matches!(refused, StoreError::Keys(KeyringError::Newer(_))), "{refused}");
    assert_eq!(fs::read(&first).unwrap(), bytes);
}

#[test]
fn keys_that_nobody_finished_go() {
    let (dir, first) = two_days();
    let half = first.with_extension("new");
    fs::write(&half, b"half a key").unwrap();
    let unused = first.with_file_name("00000099.key");
    fs::write(&unused, b"overwritten, and then the power failed").unwrap();
    let store = Store::open(&db(&dir)).unwrap();
    assert!(!half.exists() && !unused.exists() && store.loss().is_none());
}

#[test]
fn a_damaged_store_is_read_out_with_its_keys_and_they_outlive_it() {
    let (dir, first) = two_days();
    let mut conf = fs::read(db(&dir).join("conf")).unwrap();
    conf.iter_mut().for_each(|byte| *byte ^= 0x55);
    fs::write(db(&dir).join("conf"), conf).unwrap();
    let mut store = Store::open(&db(&dir)).unwrap();
    assert!(matches!(store.loss(), Some(Loss::SetAside { .. })), "{:?}", store.loss());
    assert_eq!(store.inputs_from(0).unwrap().len(), 2);
    expired(&mut store, DAY + 2);
    assert!(first.exists(), "what was set aside can be read as long as it may be kept");
    assert_eq!(seen(dir.path()), []);
    expired(&mut store, 6 * DAY);
    assert!(!first.exists());
}

#[test]
fn a_store_of_before_is_written_anew_wherever_a_crash_breaks_that_off() {
    let bare = |dir: &tempfile::TempDir, name: &str| {
        let (sealed, unsealed) =
            (Store::open(&dir.path().join("made")).unwrap(), Disk::open(&dir.path().join(name)).unwrap());
        let mut sealed = sealed;
        sealed.commit(told(0)).unwrap();
        // It was written down beside it once how far it had reached, and not among keys that there were not.
        let of_today = keys::meta("witnesses");
        let records = sealed.disk.scan(&[]).map(Result::unwrap);
        let records: Vec<_> = records.filter(|(place, _)| *place != of_today).collect();
        unsealed.write_bare(records);
        drop((sealed, unsealed));
        for made in ["made", "made.keys"] {
            fs::remove_dir_all(dir.path().join(made)).unwrap();
        }
        fs::rename(dir.path().join("made.reach"), dir.path().join("db.reach")).unwrap();
        fs::remove_file(dir.path().join("made.lock")).unwrap();
    };
    let whole = |dir: &tempfile::TempDir| {
        let mut store = Store::open(&db(dir)).unwrap();
        assert_eq!((store.loss(), store.marks().set_aside), (None, 0));
        assert_eq!((store.inputs_from(0).unwrap().len(), store.next_events(9).unwrap().len()), (1, 1));
        assert!(store.past().unwrap().snapshot.is_some());
        drop(store);
        assert_eq!(seen(dir.path()), []);
        let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names.len(), 4, "{names:?}");
    };
    // Not broken off.
    let dir = folder();
    bare(&dir, "db");
    assert!(!seen(dir.path()).is_empty());
    whole(&dir);
    // While it was made.
    let dir = folder();
    bare(&dir, "db");
    fs::create_dir(dir.path().join("db.sealing")).unwrap();
    fs::write(dir.path().join("db.sealing/db"), b"half").unwrap();
    whole(&dir);
    // When it was whole, and the old one in its place.
    let dir = folder();
    bare(&dir, "db");
    fs::create_dir(dir.path().join("db.sealed")).unwrap();
    whole(&dir);
    // When the old one was out of the way.
    let dir = folder();
    bare(&dir, "db");
    drop(Store::open(&db(&dir)).unwrap());
    fs::rename(db(&dir), dir.path().join("db.sealed")).unwrap();
    bare(&dir, "db.bare");
    whole(&dir);
    // When the new one was in its place.
    let dir = folder();
    bare(&dir, "db");
    drop(Store::open(&db(&dir)).unwrap());
    bare(&dir, "db.bare");
    whole(&dir);
}

/// What happens to a store.
#[derive(Debug, Clone)]
enum Step {
    Told,
    Walked,
    Later(i64),
    ClockIs(i64),
    Expire(usize),
    MakeRoom,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Told),
        4 => Just(Step::Walked),
        4 => (1..40_i64).prop_map(|hours| Step::Later(hours * HOUR)),
        // 1970, a year on, and anything between.
        1 => prop_oneof![Just(-1_700_000_000), Just(365 * DAY), -100 * DAY..100 * DAY].prop_map(Step::ClockIs),
        3 => (1..4_usize).prop_map(Step::Expire),
        1 => Just(Step::MakeRoom),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn no_record_that_is_to_be_kept_is_ever_without_its_key(steps in prop::collection::vec(step(), 1..60)) {
        let dir = folder();
        let (mut now, mut latest, mut waiting) = (0_i64, 0_i64, 0_usize);
        let mut store = Store::open(&db(&dir)).unwrap();
        for step in steps {
            match step {
                Step::Told => {
                    store.commit(Draft { set_back: true, ..told(now) }).unwrap();
                    waiting += 1;
                }
                Step::Walked => store.commit(Draft { set_back: true, ..walked(now) }).unwrap(),
                Step::Later(secs) => now += secs,
                Step::ClockIs(secs) => now = secs,
                Step::Expire(times) => {
                    for _ in 0..times {
                        store.expire(at(now), RETENTION).unwrap();
                    }
                }
                Step::MakeRoom => drop(store.make_room(100).unwrap()),
                Step::Reopen => {
                    drop(store);
                    store = Store::open(&db(&dir)).unwrap();
                }
            }
            latest = latest.max(now);
            let survey = Survey::of(&store.disk).unwrap();
            prop_assert!(survey.locked.is_empty() && store.loss().is_none(), "{:?}", survey.locked);
            prop_assert_eq!(store.next_events(usize::MAX).unwrap().len(), waiting);
            prop_assert_eq!(store.past().unwrap().snapshot.is_some(), waiting > 0);
            prop_assert_eq!(store.marks().set_aside, 0);
        }
        // And when all of it is past its time, none of these keys is left, whatever the clock said.
        // What came after the last snapshot is kept until the next one.
        store.commit(Draft { set_back: true, ..told(latest) }).unwrap();
        waiting += 1;
        let before = keys_of(&dir);
        for day in 500..504 {
            expired(&mut store, latest + day * DAY);
        }
        prop_assert!(store.past().unwrap().snapshot.is_some());
        prop_assert_eq!(store.next_events(usize::MAX).unwrap().len(), waiting);
        let left = keys_of(&dir);
        prop_assert!(before.iter().all(|key| !left.contains(key)), "{before:?} {left:?}");
    }
}
