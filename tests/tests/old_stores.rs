//! A store that an earlier agent wrote opens, holds what was written, and goes on.

// All of it is test code: a failed unwrap is a failed test.
#![cfg(test)]

use flate2::read::GzDecoder;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use vigil_agent::store::Store;
use vigil_tests::soak::work::{Held, draft};

/// How many commits a fixture holds.
const COMMITS: u64 = 20;

/// A copy of a fixture, unpacked: the folder of its database.
fn copied(fixture: &str, into: &Path) -> PathBuf {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(fixture);
    fs::copy(fixture.join("db.reach"), into.join("db.reach")).unwrap();
    for folder in ["db", "db.keys"].into_iter().filter(|folder| fixture.join(folder).exists()) {
        fs::create_dir(into.join(folder)).unwrap();
        for entry in fs::read_dir(fixture.join(folder)).unwrap() {
            unpacked(&entry.unwrap().path(), &into.join(folder));
        }
    }
    into.join("db")
}

fn unpacked(path: &Path, into: &Path) {
    if !path.is_file() {
        return;
    }
    let packed = path.ends_with("db.gz");
    let place = into.join(path.file_stem().filter(|_| packed).or(path.file_name()).unwrap());
    let (mut file, mut copy) = (File::open(path).unwrap(), File::create(place).unwrap());
    if packed {
        std::io::copy(&mut GzDecoder::new(file), &mut copy).unwrap();
    } else {
        std::io::copy(&mut file, &mut copy).unwrap();
    }
}

/// The files in which something that was committed can be read.
fn readable(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(readable(&path));
        } else if fs::read(&path).unwrap().windows(22).any(|part| part == b"as long as an alert is") {
            found.push(path);
        }
    }
    found
}

#[test]
fn a_store_of_format_1_opens_and_holds_what_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let db = copied("store-v1", dir.path());
    assert!(!readable(dir.path()).is_empty(), "it was written before records were sealed");
    let mut store = Store::open(&db).unwrap();
    assert_eq!(store.loss(), None);
    assert_eq!(store.marks().set_aside, 0);
    assert_eq!(Held::in_store(&mut store).unwrap(), Held::after(COMMITS).unwrap());
    let (site, engine) = store.past().unwrap().snapshot.unwrap();
    assert_eq!((site.id.as_str(), engine.len()), ("s", 40_000));
    assert_eq!(readable(dir.path()), Vec::<PathBuf>::new(), "nothing of it lies open any more");
    let producer = store.producer();
    store.commit(draft(COMMITS + 1).unwrap()).unwrap();
    drop(store);
    let mut store = Store::open(&db).unwrap();
    assert_eq!(Held::in_store(&mut store).unwrap(), Held::after(COMMITS + 1).unwrap());
    assert_eq!(store.producer(), producer);
}

#[test]
fn a_store_of_format_3_opens_with_its_keys_and_holds_what_was_written() {
    opens_and_goes_on("store-v3");
}

#[test]
fn a_store_of_format_4_opens_though_its_records_are_packed() {
    opens_and_goes_on("store-v4");
}

fn opens_and_goes_on(fixture: &str) {
    let dir = tempfile::tempdir().unwrap();
    let db = copied(fixture, dir.path());
    let mut store = Store::open(&db).unwrap();
    assert_eq!((store.loss(), store.marks().set_aside), (None, 0));
    assert_eq!(Held::in_store(&mut store).unwrap(), Held::after(COMMITS).unwrap());
    assert!(store.past().unwrap().snapshot.is_some());
    assert_eq!(readable(dir.path()), Vec::<PathBuf>::new());
    store.commit(draft(COMMITS + 1).unwrap()).unwrap();
    drop(store);
    let mut store = Store::open(&db).unwrap();
    assert_eq!(Held::in_store(&mut store).unwrap(), Held::after(COMMITS + 1).unwrap());
}
