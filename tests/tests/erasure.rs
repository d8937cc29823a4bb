//! Positions are personal data: nobody reads them off the disk, and when their time is over nobody reads them at all.

// All of it is test code: a failed unwrap is a failed test.
#![cfg(test)]

use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use vigil_agent::store::records::encode;
use vigil_agent::store::{Input, Masters, Store};
use vigil_core::observation::{Kind, Observation};
use vigil_core::time::Timestamp;
use vigil_tests::house::{Agent, Ended, Handset, Plant, Source, message, now, topic, until, vigil};

/// A place where nobody is by chance.
const LAT: f64 = 48.137_153_9;
const LON: f64 = 11.576_124_7;

/// What the coordinates look like in a record and in a text.
fn looks() -> Vec<Vec<u8>> {
    let of = |degrees: f64| {
        let text = degrees.to_string();
        // The last digit may have been rounded.
        [degrees.to_le_bytes().to_vec(), text.as_bytes()[..text.len() - 1].to_vec()]
    };
    [of(LAT), of(LON)].concat()
}

fn tells(bytes: &[u8]) -> bool {
    looks().iter().any(|look| bytes.windows(look.len()).any(|part| part == look.as_slice()))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The files of an agent's data that tell where somebody was. All are looked at, whatever they are.
fn telling(agent: &Agent) -> Vec<PathBuf> {
    let files = files(&agent.folder().join("data"));
    assert!(files.iter().any(|path| path.ends_with("db/db")), "{files:?}");
    files.into_iter().filter(|path| tells(&fs::read(path).unwrap())).collect()
}

fn keys(agent: &Agent) -> Vec<PathBuf> {
    let mut keys = files(&agent.folder().join("data/db.keys"));
    keys.retain(|path| path.extension().is_some_and(|kind| kind == "key"));
    keys.sort();
    keys
}

/// A guard walks, calls for help, and sends something that nobody can read.
fn walked(agent: &Agent, at: Timestamp) {
    let mut handset = Handset::connect(agent.mqtt(), "hs-1").unwrap();
    let mut says = |kind: &str, fields| {
        let said = message(at, fields).to_string();
        handset.publish(&topic("hs-1", kind), said.as_bytes()).unwrap();
    };
    says("location", json!({"lat": LAT, "lon": LON, "accuracy": 8.0, "provider": "gps"}));
    says("attendance", json!({"action": "check_in", "guard": "G-1"}));
    says("location", json!({"lat": LAT, "lon": LON, "accuracy": "near"}));
    says("sos", json!({"note": format!("at {LAT} {LON}")}));
    until("the call is an alert", || agent.alerts().iter().any(|alert| alert["rule"] == "sos"));
}

/// The observations of a place in a store.
fn positions(store: &Path, masters: &Masters) -> Vec<Input> {
    let mut store = Store::open_with(store, masters).unwrap();
    let mut inputs = store.inputs_from(0).unwrap();
    inputs.retain(|input| {
        matches!(input, Input::Observation(Observation { kind: Kind::Location(fix), .. }, _) if fix.lat.to_bits() == LAT.to_bits())
    });
    inputs
}

#[test]
fn nobody_reads_a_position_off_the_disk() {
    let mut agent = Agent::start("gw-1", &Plant::default().guards(1), Source::Embedded, None);
    walked(&agent, now());
    agent.kill();
    assert_eq!(telling(&agent), Vec::<PathBuf>::new());
    agent.start_again();
    agent.stop(Duration::from_secs(10));
    assert_eq!(telling(&agent), Vec::<PathBuf>::new());
    // It is there for the agent, and a search would have found it in the same records if they were not sealed.
    let positions = positions(&agent.store(), &Masters::default());
    assert!(!positions.is_empty() && tells(&encode(&positions).unwrap()));
}

#[test]
fn when_their_time_is_over_the_keys_go_and_earlier_copies_tell_nothing() {
    let began = "2026-03-02 10:00:00";
    let mut agent = Agent::start_when_the_wall_clock_shows(began, "gw-1", &Plant::default().guards(1), None);
    walked(&agent, Timestamp::parse("2026-03-02T10:00:01Z").unwrap());
    agent.stop(Duration::from_secs(10));
    let first = keys(&agent);
    let copies = tempfile::tempdir().unwrap();
    let copy = |name: &str, from: &Path| {
        let place = copies.path().join(name);
        for path in files(from) {
            let to = place.join(path.strip_prefix(from).unwrap());
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(path, to).unwrap();
        }
        place
    };
    let with_its_keys = copy("whole", &agent.store());
    copy("whole.keys", &agent.folder().join("data/db.keys"));
    let alone = copy("alone", &agent.store());
    // Four days and a bit later.
    fs::write(agent.folder().join("wall-clock"), "2026-03-06 12:00:00").unwrap();
    agent.start_again();
    let of_the_day = |left: &[PathBuf]| first.iter().filter(|key| left.contains(key)).count();
    until("the key of the day is destroyed, and that of the month is not", || of_the_day(&keys(&agent)) == 1);
    assert!(agent.alerts().iter().any(|alert| alert["rule"] == "sos"), "an alert is kept for 400 days");
    agent.stop(Duration::from_secs(10));
    assert_eq!(telling(&agent), Vec::<PathBuf>::new());
    assert!(positions(&agent.store(), &Masters::default()).is_empty());
    copy("alone.keys", &agent.folder().join("data/db.keys"));
    let none = Masters::default();
    assert!(!positions(&with_its_keys, &none).is_empty(), "the copy was one of it");
    assert!(positions(&alone, &none).is_empty());
}

fn credential(agent: &Agent, text: &str) {
    let folder = agent.folder().join("credentials");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("store-key"), text).unwrap();
    fs::set_permissions(folder.join("store-key"), fs::Permissions::from_mode(0o600)).unwrap();
}

fn asked(agent: &Agent, command: &str) -> Ended {
    vigil(&[command, "--config", agent.folder().join("agent.toml").to_str().unwrap()])
}

#[test]
fn a_master_key_is_asked_for_and_a_wrong_one_touches_nothing() {
    let mut agent = Agent::start("gw-1", &Plant::default().guards(1), Source::Embedded, None);
    walked(&agent, now());
    agent.stop(Duration::from_secs(10));
    let bare = asked(&agent, "check");
    assert!(bare.code == Some(0) && bare.err.contains("[store] credential is not set"), "{}", bare.err);
    let config = agent.folder().join("agent.toml");
    let before = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{before}[store]\ncredential = \"store-key\"\n")).unwrap();
    let missing = asked(&agent, "run");
    assert!(missing.code == Some(2) && missing.err.contains("store-key"), "{}", missing.err);
    credential(&agent, "secret");
    let short = asked(&agent, "check");
    assert!(short.code == Some(2) && short.err.contains("openssl rand -base64 32"), "{}", short.err);
    // The right one: what lay open before is locked from now on.
    let master = "m1".repeat(22);
    credential(&agent, &master);
    agent.start_again();
    agent.stop(Duration::from_secs(10));
    let good = asked(&agent, "check");
    assert!(good.code == Some(0) && !good.err.contains("[store]"), "{}", good.err);
    let proved = asked(&agent, "verify-journal");
    assert!(proved.code == Some(0) && proved.out.contains("whole"), "{}{}", proved.out, proved.err);
    let all = || {
        files(&agent.folder().join("data"))
            .into_iter()
            .map(|path| (fs::read(&path).unwrap(), path))
            .collect::<Vec<_>>()
    };
    let untouched = all();
    credential(&agent, &"x".repeat(44));
    for command in ["check", "run", "verify-journal"] {
        let wrong = asked(&agent, command);
        assert!(wrong.code.is_some_and(|code| code != 0), "{command}");
        assert!(
            wrong.err.contains("another master key") && wrong.err.contains("Put the earlier"),
            "{}",
            wrong.err
        );
    }
    fs::write(&config, &before).unwrap();
    let without = asked(&agent, "run");
    assert!(without.code == Some(2) && without.err.contains("names none"), "{}", without.err);
    assert!(all() == untouched, "nothing was touched");
    assert!(!positions(&agent.store(), &Masters::read(master.as_bytes()).unwrap()).is_empty());
}
