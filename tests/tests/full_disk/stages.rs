//! The store comes to the end of its disk at each stage of its work, with nothing and with a little left; when there is
//! room again it opens whole, nothing of it is set aside, and the same work is done.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use vigil_agent::store::room::ROOM_TO_OPEN;
use vigil_agent::store::{Announcement, Draft, Store, StoreError};
use vigil_core::time::Span;
use vigil_tests::house::{SmallDisk, with_small_disks};
use vigil_tests::soak::work::{Held, draft};

/// Several times what the store needs; filling more takes longer.
const DISK_MIB: u32 = 32;
/// Beside a damaged database there is the one into which it is saved, again and again.
const LARGE_DISK_MIB: u32 = 96;
/// What the store holds before: ten snapshots, and everything else that it can hold.
const COMMITS: u64 = 205;
/// Bytes that are left of the disk: sled writes pages of some KiB, segments of 512 KiB, and blobs of any size.
const LEFT: [u64; 7] = [0, 4_096, 20_000, 100_000, 300_000, 600_000, 1_100_000];
/// Commits of so many bytes come before, none of them or up to so many: work of some KiB meets the end of a segment, for which
/// there is no room.
const PADDING: usize = 6_000;
const MOST_PADDED: usize = 90;
/// As large as the snapshot of 200 guards.
const LARGE_SNAPSHOT: usize = 3_000_000;

/// A disk with a store that is made anew for each case.
struct Bench {
    disk: SmallDisk,
    data: PathBuf,
    original: tempfile::TempDir,
    _place: tempfile::TempDir,
}

impl Bench {
    fn new(mib: u32, more: Draft) -> Self {
        let (original, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut store = Store::open(&original.path().join("db")).unwrap();
        (1..=COMMITS).for_each(|n| store.commit(draft(n).unwrap()).unwrap());
        let judged_until = store.marks().judged_until;
        store.commit(Draft { judged_until, ..more }).unwrap();
        drop(store);
        let disk = SmallDisk::at(&place.path().join("disk"), mib);
        let data = place.path().join("disk/data");
        Self { disk, data, original, _place: place }
    }

    fn db(&self) -> PathBuf {
        self.data.join("db")
    }

    fn make_anew(&self) {
        if self.data.exists() {
            std::fs::remove_dir_all(&self.data).unwrap();
        }
        copy(self.original.path(), &self.data);
    }

    /// Works on a full disk, and again when there is room; whether there was too little, and the store as it is in
    /// between and at the end.
    fn padded(
        &self,
        padding: usize,
        work: &dyn Fn(&mut Store) -> Result<(), StoreError>,
    ) -> (bool, Held, Store) {
        self.case(padding, 0, work)
    }

    /// The same with so much left of the disk.
    fn left(&self, left: u64, work: &dyn Fn(&mut Store) -> Result<(), StoreError>) -> (bool, Held, Store) {
        self.case(0, left, work)
    }

    fn case(
        &self,
        padding: usize,
        left: u64,
        work: &dyn Fn(&mut Store) -> Result<(), StoreError>,
    ) -> (bool, Held, Store) {
        self.make_anew();
        let mut store = Store::open(&self.db()).unwrap();
        let judged_until = store.marks().judged_until;
        for _ in 0..padding {
            let announcements = vec![Announcement { payload: format!("padding {}", noise(PADDING)) }];
            store.commit(Draft { announcements, judged_until, ..Draft::default() }).unwrap();
        }
        let filled = self.disk.fill_once(left);
        let failed = work(&mut store).is_err();
        drop(store);
        drop(filled);
        let mut store = Store::open(&self.db()).unwrap();
        assert_eq!((store.damaged(), store.loss()), (None, None), "{left} bytes left");
        let between = held(&mut store);
        work(&mut store).unwrap();
        drop(store);
        (failed, between, Store::open(&self.db()).unwrap())
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let place = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &place);
        } else {
            std::fs::copy(path, place).unwrap();
        }
    }
}

/// Text of which nothing comes twice, so that it takes as much room packed as not; always the same.
fn noise(bytes: usize) -> String {
    let mut state = 1_u64;
    let next = |_| {
        // The constants of Knuth's MMIX, and its better bits.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'0' + u8::try_from((state >> 33) % 75).unwrap())
    };
    (0..bytes).map(next).collect()
}

fn held(store: &mut Store) -> Held {
    let mut held = Held::in_store(store).unwrap();
    held.things.retain(|thing| !thing.starts_with("padding"));
    held
}

fn before() -> Held {
    Held::after(COMMITS).unwrap()
}

/// What is not there of what was there before, by what it is.
fn gone(held: &Held) -> BTreeMap<String, usize> {
    assert_eq!(held.things.difference(&before().things).next(), None, "nothing is there that was not");
    held.missing(&before())
}

/// Some of the cases have to have come to the end of the disk, or nothing was tested.
#[track_caller]
fn assert_hit(failed: &[bool]) {
    let count = failed.iter().filter(|failed| **failed).count();
    assert!(count > 0, "none of {} came to the end of the disk", failed.len());
}

#[test]
fn a_disk_that_fills_while_the_store_commits_loses_no_commit() {
    with_small_disks("stages::a_disk_that_fills_while_the_store_commits_loses_no_commit", || {
        let bench = Bench::new(DISK_MIB, Draft::default());
        for left in LEFT {
            bench.make_anew();
            let mut store = Store::open(&bench.db()).unwrap();
            let filled = bench.disk.fill_once(left);
            let failed = (COMMITS + 1..).find(|n| store.commit(draft(*n).unwrap()).is_err()).unwrap();
            assert!(store.commit(draft(failed).unwrap()).is_err(), "it stays failed until it is opened anew");
            drop(store);
            drop(filled);
            let mut store = Store::open(&bench.db()).unwrap();
            assert_eq!((store.damaged(), store.loss()), (None, None), "{left} bytes left");
            let held = Held::in_store(&mut store).unwrap();
            // The one that failed may be there: nobody was told that it is.
            assert!([failed - 1, failed].contains(&held.commits), "{} instead of {failed}", held.commits);
            assert_eq!(held, Held::after(held.commits).unwrap(), "{left} bytes left");
            store.commit(draft(held.commits + 1).unwrap()).unwrap();
        }
    });
}

#[test]
fn a_disk_that_fills_during_a_snapshot_leaves_the_one_before_or_the_new_one() {
    with_small_disks(
        "stages::a_disk_that_fills_during_a_snapshot_leaves_the_one_before_or_the_new_one",
        || {
            let bench = Bench::new(DISK_MIB, Draft::default());
            let bytes = noise(LARGE_SNAPSHOT).into_bytes();
            let snapshot = |store: &mut Store| {
                let judged_until = store.marks().judged_until;
                let (site, _) = draft(20).unwrap().snapshot.unwrap();
                store.commit(Draft {
                    judged_until,
                    snapshot: Some((site, bytes.clone())),
                    ..Draft::default()
                })
            };
            let failed = LEFT.map(|left| {
                let (failed, between, mut store) = bench.left(left, &snapshot);
                assert_eq!(between, before(), "{left} bytes left");
                let (_, engine) = store.past().unwrap().snapshot.unwrap();
                assert!(engine == bytes, "{left} bytes left: another snapshot");
                failed
            });
            assert_hit(&failed);
        },
    );
}

#[test]
fn a_disk_that_fills_while_the_outbox_is_settled_settles_all_or_nothing() {
    with_small_disks("stages::a_disk_that_fills_while_the_outbox_is_settled_settles_all_or_nothing", || {
        let bench = Bench::new(DISK_MIB, Draft::default());
        let settle = |store: &mut Store| {
            let events = store.next_events(usize::MAX)?;
            let delivered = events.iter().map(|event| event.sequence).collect();
            let judged_until = store.marks().judged_until;
            store.commit(Draft { delivered, judged_until, ..Draft::default() })
        };
        let all = before().things.iter().filter(|thing| thing.starts_with("event")).count();
        let settled = BTreeMap::from([("event".to_owned(), all)]);
        let failed: Vec<_> = (0..MOST_PADDED)
            .map(|padding| {
                let (failed, between, mut store) = bench.padded(padding, &settle);
                let gone_between = gone(&between);
                assert!(
                    gone_between.is_empty() || gone_between == settled,
                    "{padding} times padded: {gone_between:?}"
                );
                assert_eq!(gone(&held(&mut store)), settled);
                failed
            })
            .collect();
        assert_hit(&failed);
    });
}

/// Only inputs went, and the counters of the store say how many.
fn assert_only_inputs_went(held: &Held) -> usize {
    let mut gone = gone(held);
    let inputs = gone.remove("input").unwrap_or(0);
    assert_eq!(gone, BTreeMap::new());
    inputs
}

#[test]
fn a_disk_that_fills_during_expiry_loses_only_what_was_to_go() {
    with_small_disks("stages::a_disk_that_fills_during_expiry_loses_only_what_was_to_go", || {
        let bench = Bench::new(DISK_MIB, Draft::default());
        let expire = |store: &mut Store| {
            let now = store.marks().judged_until + Span::from_hours(24);
            store.expire(now, Span::from_hours(1)).map(drop)
        };
        let failed: Vec<_> = (0..MOST_PADDED)
            .map(|padding| {
                let (failed, between, mut store) = bench.padded(padding, &expire);
                assert_only_inputs_went(&between);
                let went = assert_only_inputs_went(&held(&mut store));
                assert!(went > 300, "{went} inputs went");
                assert_eq!(store.dropped(), 0, "all in their time");
                failed
            })
            .collect();
        assert_hit(&failed);
    });
}

#[test]
fn a_disk_that_fills_while_the_oldest_make_room_counts_each_that_went() {
    with_small_disks("stages::a_disk_that_fills_while_the_oldest_make_room_counts_each_that_went", || {
        let bench = Bench::new(DISK_MIB, Draft::default());
        let failed: Vec<_> = (0..MOST_PADDED)
            .map(|padding| {
                let (failed, _, mut store) = bench.padded(padding, &|store| store.make_room(0).map(drop));
                let went = assert_only_inputs_went(&held(&mut store));
                assert!(
                    went > 300 && store.dropped() == went as u64,
                    "{went} went, {} counted",
                    store.dropped()
                );
                failed
            })
            .collect();
        assert_hit(&failed);
    });
}

#[test]
fn a_disk_without_room_at_an_opening_is_no_damage() {
    with_small_disks("stages::a_disk_without_room_at_an_opening_is_no_damage", || {
        let bench = Bench::new(DISK_MIB, Draft::default());
        let mut refused = 0;
        for left in LEFT {
            bench.make_anew();
            let filled = bench.disk.fill_once(left);
            let opened = Store::open(&bench.db());
            refused += usize::from(opened.is_err());
            drop(opened);
            drop(filled);
            let mut store = Store::open(&bench.db()).unwrap();
            assert_eq!((store.damaged(), store.loss()), (None, None), "{left} bytes left");
            assert_eq!(Held::in_store(&mut store).unwrap(), before(), "{left} bytes left");
        }
        assert!(refused > 0, "there was always enough room");
    });
}

/// More than fits into the room with which a database is opened.
fn a_lot() -> Draft {
    let text = noise(2_000);
    let announcement = |n| Announcement { payload: format!("{n:05} {text}") };
    Draft { announcements: (0..4_000).map(announcement).collect(), ..Draft::default() }
}

#[test]
fn a_disk_that_fills_while_a_damaged_database_is_set_aside_is_waited_for_and_everything_saved() {
    let name =
        "stages::a_disk_that_fills_while_a_damaged_database_is_set_aside_is_waited_for_and_everything_saved";
    with_small_disks(name, || {
        let bench = Bench::new(LARGE_DISK_MIB, a_lot());
        bench.make_anew();
        let settings = bench.db().join("conf");
        let damaged: Vec<u8> = std::fs::read(&settings).unwrap().iter().map(|byte| byte ^ 0x55).collect();
        std::fs::write(&settings, damaged).unwrap();
        // More attempts than a database gets that takes the agent with it.
        for left in [ROOM_TO_OPEN, 0, 100_000, 300_000, 600_000] {
            let filled = bench.disk.fill_once(left);
            let opened = Store::open(&bench.db()).map(drop);
            assert!(matches!(opened, Err(StoreError::Disk(_))), "{left} bytes left: {opened:?}");
            drop(filled);
        }
        assert!(bench.data.join("db.damaged-1").exists() && !bench.data.join("db.damaged-2").exists());
        let mut store = Store::open(&bench.db()).unwrap();
        let saved = store.next_announcements(usize::MAX).unwrap();
        let payloads: Vec<_> = saved.into_iter().map(|(_, announcement)| announcement).collect();
        for announcement in a_lot().announcements {
            assert!(payloads.contains(&announcement), "{:.5} is not there", announcement.payload);
        }
        let held = Held::in_store(&mut store).unwrap();
        assert_eq!(held.missing(&before()), BTreeMap::new());
    });
}
