//! A disk that fills under a running agent, and one that is full when it starts.

use super::promised::{Gone, alerts_arrive, are_there, journal};
use super::{everything, health};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::JoinHandle;
use std::time::Duration;
use vigil_agent::store::room::ROOM_TO_OPEN;
use vigil_core::observation::Kind;
use vigil_tests::house::{
    Agent, Busy, FaultyNoc, Field, Handset, Plant, Promised, SmallDisk, Source, fetch, message, now, topic,
    until, vigil, with_small_disks,
};

/// Devices that publish all the time.
const DEVICES: usize = 4;
/// Enough to keep the store busy, and not so much that it fills a small disk by itself.
const PAUSE: Duration = Duration::from_millis(2);
/// A disk on which there is a floor, a ballast, and room for a night.
const DISK_MIB: u32 = 64;
/// What is left of it, in bytes, when it fills: nothing, or the store comes to its end in the midst of something.
const LEFT: [u64; 3] = [0, 150_000, 700_000];
/// Why nothing is stored.
const FULL: &str = "the disk under data_dir is full";
/// Longer than it takes until the next attempt.
const ATTEMPT: Duration = Duration::from_secs(6);

/// Who listens on site.
const SIREN: &str = "hs-5";

fn plant() -> Plant {
    Plant::default().guards(DEVICES + 1).checkpoints(3).buttons(LEFT.len() * 2)
}

fn load(agent: &Agent) -> (Field, Vec<JoinHandle<(String, Promised)>>) {
    let field = Field::around(agent.mqtt(), PAUSE);
    let start = |n| Busy::start(format!("hs-{n}"), field.clone(), everything);
    let devices = (1..=DEVICES).map(start).collect();
    (field, devices)
}

fn goes_on(field: &Field) {
    let before = field.acknowledged();
    until("load is acknowledged", || field.acknowledged() > before + 400);
}

fn end(field: &Field, devices: Vec<JoinHandle<(String, Promised)>>) -> Vec<(String, Promised)> {
    field.end();
    devices.into_iter().map(|device| device.join().unwrap()).collect()
}

fn ballast(agent: &Agent) -> PathBuf {
    agent.folder().join("data/ballast")
}

/// What the page, the metrics and the command say while nothing can be stored.
fn says_why(agent: &Agent, why: &str) {
    let status = agent.status();
    let outage = &status["outage"];
    assert!(outage["why"].as_str().is_some_and(|said| said.contains(why)), "{outage}");
    assert_eq!(outage["again_secs"], 5);
    let asked = |path| fetch(agent.page(), path).unwrap();
    assert_eq!(asked("/").0, 200);
    assert!(asked("/metrics").1.contains("vigil_store_up 0"));
    let (code, refused) = asked("/api/runs");
    assert!(code == 503 && refused.contains(why), "{code}: {refused}");
    let listed = vigil(&["alerts", "--url", &format!("http://{}", agent.page())]);
    assert!(listed.code == Some(0) && listed.out.starts_with("STALE: nothing is stored since"), "{listed:?}");
    let shown = vigil(&["status", "--url", &format!("http://{}", agent.page())]);
    assert!(shown.out.contains("OUT OF ORDER"), "{shown:?}");
}

/// A button that is pressed until it is acknowledged.
fn press(field: &Field, button: &str) -> JoinHandle<()> {
    let (field, button) = (field.clone(), button.to_owned());
    let event = message(now(), json!({"id": format!("call-{button}"), "note": "help"}));
    std::thread::spawn(move || field.insist(&button, "sos", &event))
}

/// Waits for the site to hear a call for help of this button.
fn heard(siren: &mut Handset, button: &str) -> Value {
    loop {
        let alert: Value = serde_json::from_slice(&siren.hears().expect("the site hears it")).unwrap();
        if alert["rule"] == "sos" && alert["subject"].as_str().unwrap().contains(button) {
            return alert;
        }
    }
}

#[test]
fn a_full_disk_loses_nothing_and_calls_for_help_are_heard_meanwhile() {
    with_small_disks("sat_out::a_full_disk_loses_nothing_and_calls_for_help_are_heard_meanwhile", || {
        let mut noc = FaultyNoc::start();
        let folder = Agent::files("gw-1", &plant(), Source::Embedded, Some(&noc.uplink()));
        let disk = SmallDisk::at(&folder.path().join("data"), DISK_MIB);
        let mut agent = Agent::of(folder, Some(disk));
        let (process, (field, devices)) = (agent.process().id(), load(&agent));
        let mut siren = field.connect(SIREN);
        siren.subscribe("vigil/v1/plant-7/alerts").unwrap();
        goes_on(&field);
        until("room is kept back", || ballast(&agent).exists());
        for (round, left) in (0..).zip(LEFT) {
            // What waits for the operations centre is settled while the disk fills.
            noc.fall();
            press(&field, &format!("btn-{}", 2 * round + 1)).join().unwrap();
            let filled = agent.disk().fill(left);
            noc.rise();
            // A snapshot is due in the same moment.
            agent.process().signal("HUP");
            let said = health(&mut agent, 503);
            assert!(said.contains(FULL) && said.contains("every 5 s"), "{said}");
            says_why(&agent, FULL);
            until("the ballast is given up", || !ballast(&agent).exists());
            let button = format!("btn-{}", 2 * round + 2);
            let pressed = press(&field, &button);
            assert_eq!(heard(&mut siren, &button)["stored"], false);
            assert!(!pressed.is_finished(), "nothing is acknowledged");
            drop(filled);
            health(&mut agent, 200);
            pressed.join().unwrap();
            goes_on(&field);
            until("room is kept back again", || ballast(&agent).exists());
        }
        assert_eq!(agent.process().id(), process, "the same process");
        let promised = end(&field, devices);
        let gone = Gone::of(&agent);
        assert!(agent.stop(OUTLASTS).success());
        are_there(&promised, &agent, &gone);
        agent.start_again();
        let buttons: Vec<String> = (1..=2 * LEFT.len()).map(|n| format!("device:btn-{n}")).collect();
        alerts_arrive(&agent, &noc, &buttons);
    });
}

/// The alerts of this rule, by their subjects.
fn of_rule(agent: &Agent, rule: &str) -> BTreeMap<String, Value> {
    let alerts = agent.alerts().into_iter().filter(|alert| alert["rule"] == rule);
    alerts.map(|alert| (alert["subject"].as_str().unwrap().to_owned(), alert)).collect()
}

#[test]
fn a_call_that_was_heard_without_a_store_is_kept_though_nobody_repeats_it() {
    with_small_disks(
        "sat_out::a_call_that_was_heard_without_a_store_is_kept_though_nobody_repeats_it",
        || {
            let mut noc = FaultyNoc::start();
            let folder = Agent::files("gw-1", &plant(), Source::Embedded, Some(&noc.uplink()));
            let disk = SmallDisk::at(&folder.path().join("data"), DISK_MIB);
            let mut agent = Agent::of(folder, Some(disk));
            let (field, devices) = load(&agent);
            let mut siren = field.connect(SIREN);
            siren.subscribe("vigil/v1/plant-7/alerts").unwrap();
            press(&field, "btn-1").join().unwrap();
            assert_eq!(heard(&mut siren, "btn-1")["stored"], Value::Null);
            goes_on(&field);
            until("room is kept back", || ballast(&agent).exists());
            noc.fall();
            let filled = agent.disk().fill(0);
            // A snapshot is due in the same moment.
            agent.process().signal("HUP");
            health(&mut agent, 503);
            let mut told = BTreeMap::new();
            let calls = ["btn-2", "btn-3"]
                .map(|button| (button, message(now(), json!({"id": button, "note": "help"}))));
            for (button, event) in &calls {
                field.connect(button).send(&topic(button, "sos"), event.to_string().as_bytes()).unwrap();
                let alert = heard(&mut siren, button);
                assert_eq!(alert["stored"], false);
                told.insert(format!("device:{button}"), alert["id"].clone());
            }
            let shown = of_rule(&agent, "sos");
            assert_eq!(shown.len(), 3, "{shown:?}");
            assert!(shown.values().all(|alert| alert["stale"] == true));
            let stored = |subject: &str| shown[subject]["stored"].clone();
            assert_eq!(
                ["device:btn-1", "device:btn-2", "device:btn-3"].map(stored),
                [json!(true), json!(false), json!(false)]
            );
            let listed = vigil(&["alerts", "--url", &format!("http://{}", agent.page())]);
            assert!(listed.code == Some(0) && listed.out.contains("STORED"), "{listed:?}");
            drop(filled);
            health(&mut agent, 200);
            for (subject, id) in &told {
                until("it is an alert like any other", || of_rule(&agent, "sos").contains_key(subject));
                let kept = of_rule(&agent, "sos");
                assert_eq!((&kept[subject]["id"], kept[subject].get("stale")), (id, None), "{subject}");
            }
            // One of the devices comes back after all.
            let [_, (button, event)] = &calls;
            field.insist(button, "sos", event);
            noc.rise();
            let subjects = ["device:btn-1", "device:btn-2", "device:btn-3"].map(str::to_owned);
            alerts_arrive(&agent, &noc, &subjects);
            end(&field, devices);
            assert!(agent.stop(OUTLASTS).success());
            let calls: Vec<usize> = journal(&agent)
                .into_values()
                .filter(|(o, _)| matches!(o.kind, Kind::Sos(_)))
                .map(|(_, counted)| counted)
                .collect();
            assert_eq!(calls, [1, 1, 1], "each is in the journal and counts once");
        },
    );
}

/// A stop takes five seconds on a quiet machine.
const OUTLASTS: Duration = Duration::from_secs(30);

#[test]
fn the_same_process_goes_on_when_the_disk_takes_more_again() {
    // The shell counts in blocks of 512 bytes or of 1 KiB: the store fails at one or two megabytes.
    let script = "trap '' XFSZ; ulimit -S -f 2000; exec \"$@\"";
    let folder = Agent::files("gw-1", &plant(), Source::Embedded, None);
    let mut agent = Agent::through(script, folder);
    let (process, (field, devices)) = (agent.process().id(), load(&agent));
    health(&mut agent, 503);
    says_why(&agent, "the store failed");
    let raised =
        Command::new("prlimit").args(["--pid", &process.to_string(), "--fsize=unlimited"]).status().unwrap();
    assert!(raised.success(), "prlimit of util-linux raises the limit");
    health(&mut agent, 200);
    goes_on(&field);
    assert_eq!(agent.process().id(), process, "the same process");
    let promised = end(&field, devices);
    let gone = Gone::of(&agent);
    assert_eq!((gone.dropped, gone.thinned), (0, 0), "there is room on this disk");
    assert!(agent.stop(OUTLASTS).success());
    are_there(&promised, &agent, &gone);
}

#[test]
fn a_quota_is_sat_out_like_a_full_disk_and_is_no_damage() {
    let mut agent = Agent::start("gw-1", &plant(), Source::Embedded, None);
    press(&Field::around(agent.mqtt(), PAUSE), "btn-1").join().unwrap();
    agent.kill();
    let settings = agent.store().join("conf");
    let damaged: Vec<u8> = std::fs::read(&settings).unwrap().iter().map(|byte| byte ^ 0x55).collect();
    std::fs::write(&settings, damaged).unwrap();
    // The first of each thread: those of the start, and of the first attempts after it.
    let quota = "inject=fallocate:error=EDQUOT:when=1..6";
    let script = format!("exec strace -D -f -qq -e trace=fallocate -e {quota} -o /dev/null -- \"$@\"");
    agent.start_through(&script);
    says_why(&agent, "the quota of this user");
    assert!(!is_damaged(&agent), "what cannot be written is not judged");
    health(&mut agent, 200);
    assert!(is_damaged(&agent), "now it is");
    assert_eq!(of_rule(&agent, "sos").len(), 1, "and everything is saved");
}

/// Every file of a database and what lies beside it, the ballast excepted.
fn files(data: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(data).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if !path.ends_with("filler") {
            found.insert(path.clone(), std::fs::read(path).unwrap());
        }
    }
    found
}

fn is_damaged(agent: &Agent) -> bool {
    agent.folder().join("data/db.damaged-1").exists()
}

/// An agent that was killed under load, with what it promised and without a ballast.
fn killed() -> (Agent, Vec<(String, Promised)>) {
    let folder = Agent::files("gw-1", &plant(), Source::Embedded, None);
    let disk = SmallDisk::at(&folder.path().join("data"), DISK_MIB);
    let mut agent = Agent::of(folder, Some(disk));
    let (field, devices) = load(&agent);
    goes_on(&field);
    goes_on(&field);
    let promised = end(&field, devices);
    agent.kill();
    std::fs::remove_file(ballast(&agent)).unwrap();
    (agent, promised)
}

#[test]
fn a_disk_that_is_full_from_the_start_is_waited_for() {
    with_small_disks("sat_out::a_disk_that_is_full_from_the_start_is_waited_for", || {
        let (mut agent, promised) = killed();
        let data = agent.folder().join("data");
        for left in [0, 60_000, ROOM_TO_OPEN - 64 * 1024] {
            let before = files(&data);
            let filled = agent.disk().fill_once(left);
            agent.start_again();
            says_why(&agent, FULL);
            std::thread::sleep(ATTEMPT);
            says_why(&agent, FULL);
            assert!(files(&data) == before, "{left} bytes free: it was opened");
            drop(filled);
            health(&mut agent, 200);
            assert!(!is_damaged(&agent));
            agent.kill();
            std::fs::remove_file(ballast(&agent)).unwrap();
        }
        let filled = agent.disk().fill_once(ROOM_TO_OPEN + 512 * 1024);
        agent.start_again();
        health(&mut agent, 200);
        let gone = Gone::of(&agent);
        agent.kill();
        drop(filled);
        are_there(&promised, &agent, &gone);
    });
}

#[test]
fn a_damaged_database_is_judged_only_when_there_is_room() {
    with_small_disks("sat_out::a_damaged_database_is_judged_only_when_there_is_room", || {
        let (mut agent, promised) = killed();
        let settings = agent.store().join("conf");
        let damaged: Vec<u8> = std::fs::read(&settings).unwrap().iter().map(|byte| byte ^ 0x55).collect();
        std::fs::write(&settings, damaged).unwrap();
        let filled = agent.disk().fill_once(ROOM_TO_OPEN - 64 * 1024);
        agent.start_again();
        std::thread::sleep(ATTEMPT);
        says_why(&agent, FULL);
        assert!(!is_damaged(&agent));
        drop(filled);
        health(&mut agent, 200);
        assert!(is_damaged(&agent), "now it is judged, and set aside");
        let gone = Gone::of(&agent);
        assert!(agent.stop(OUTLASTS).success());
        // What can be read of it is everything: only its settings were damaged.
        are_there(&promised, &agent, &gone);
    });
}
