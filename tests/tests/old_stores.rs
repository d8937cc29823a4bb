//! A store that an earlier agent wrote opens, holds what was written, and goes on.

// All of it is test code: a failed unwrap is a failed test.
#![cfg(test)]

use flate2::read::GzDecoder;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use vigil_agent::store::Store;
use vigil_tests::soak::work::{Held, draft};

/// How many commits the fixture holds.
const COMMITS: u64 = 20;

/// A copy of the fixture, unpacked: the folder of its database.
fn copied(into: &Path) -> PathBuf {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/store-v1");
    let db = into.join("db");
    fs::create_dir(&db).unwrap();
    fs::copy(fixture.join("db.reach"), into.join("db.reach")).unwrap();
    for entry in fs::read_dir(fixture.join("db")).unwrap() {
        let path = entry.unwrap().path();
        let place =
            db.join(path.file_stem().filter(|_| path.ends_with("db.gz")).or(path.file_name()).unwrap());
        let mut file = File::open(&path).unwrap();
        let mut copy = File::create(place).unwrap();
        if path.ends_with("db.gz") {
            std::io::copy(&mut GzDecoder::new(file), &mut copy).unwrap();
        } else {
            std::io::copy(&mut file, &mut copy).unwrap();
        }
    }
    db
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
    let db = copied(dir.path());
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
