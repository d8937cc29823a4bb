//! Site bundles, from the operations centre to the engine and back again: taken, proved, refused, rolled back, and killed in
//! between.

// All of it is test code: a failed unwrap is a failed test.
#![cfg(test)]

use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use vigil_cloud_sync::bundle::{Label, Signer, etag, seal};
use vigil_config::{Part, bundle_tree, parse_site};
use vigil_tests::house::{
    Agent, Busy, FaultyNoc, Field, Handset, PATIENCE, Plant, SmallDisk, Source, eventually, message, now,
    topic, until, vigil, with_small_disks,
};

/// So long a stop may take.
const STOP: Duration = Duration::from_secs(10);

/// An operations centre with a key, and the files of a gateway that trusts it.
struct House {
    noc: FaultyNoc,
    signer: Signer,
    files: TempDir,
    commands: u64,
}

impl House {
    fn build() -> Self {
        let (noc, signer) = (FaultyNoc::start(), signer());
        let files = Agent::files("gw-1", &plant("of the file"), Source::Embedded, Some(&noc.uplink()));
        let config = files.path().join("agent.toml");
        let written = fs::read_to_string(&config).unwrap();
        let keys = "bundle_keys = [\"noc.pub\"]\nbundle_probation = \"5s\"\nheartbeat = \"5s\"\n";
        fs::write(&config, written + keys).unwrap();
        fs::write(files.path().join("noc.pub"), signer.public().to_string()).unwrap();
        Self { noc, signer, files, commands: 0 }
    }

    fn open(self) -> (Agent, Self) {
        let Self { noc, signer, files, commands } = self;
        let agent = Agent::of(files, None);
        (agent, Self { noc, signer, files: tempfile::tempdir().unwrap(), commands })
    }

    /// Offers a version of a plant.
    fn publish(&self, version: u64, plant: &Plant) -> Vec<u8> {
        let sealed = sealed(&self.signer, version, plant);
        self.noc.offer(Some(&sealed));
        sealed
    }

    /// Tells the gateway to look, and waits until it has acknowledged that.
    fn refresh(&mut self) {
        self.commands += 1;
        let seq = self.commands;
        let command = json!({"seq": seq, "id": format!("c-{seq}"), "type": "bundle.refresh", "data": {}});
        self.noc.give(&[(200, &json!({"commands": [command]}).to_string())]);
        let acknowledged = format!("after={seq}&");
        until("the command is decided", || {
            self.noc.polls().iter().any(|poll| poll.starts_with(&acknowledged))
        });
    }

    /// The first record whose id begins so.
    fn record(&self, begins: &str) -> Value {
        eventually(&format!("a record {begins}"), PATIENCE, || {
            let all = self.noc.events();
            let found =
                all.iter().find(|event| event["id"].as_str().is_some_and(|id| id.starts_with(begins)));
            found.map(|event| event["data"].clone()).ok_or_else(|| format!("{} others", all.len()))
        })
    }
}

fn signer() -> Signer {
    Signer::read(Signer::generate().unwrap().as_bytes()).unwrap()
}

fn plant(name: &str) -> Plant {
    let renamed = format!("[[checkpoints]]\nid = \"cp-1\"\nname = \"{name}\"\ntag = \"04AA0001\"");
    Plant::default().guards(1).and(&renamed)
}

fn tree(plant: &Plant) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("site.toml");
    fs::write(&file, plant.text()).unwrap();
    bundle_tree(Part { site: &file, tenant: None, client: None }).unwrap()
}

fn label(version: u64) -> Label {
    let site = parse_site(Path::new("site.toml"), Plant::default().text().as_bytes()).unwrap();
    Label {
        site: site.id.clone(),
        tenant: site.tenant.clone(),
        version,
        made_at: now(),
        by: "Asha Rao".into(),
    }
}

fn sealed(signer: &Signer, version: u64, plant: &Plant) -> Vec<u8> {
    seal(signer, &label(version), &tree(plant)).unwrap()
}

fn numbered(version: u64) -> String {
    format!("Plant of version {version}")
}

/// A plant whose name says of which version it is.
fn named(version: u64, rest: &str) -> Plant {
    Plant::of(Plant::default().guards(1).and(rest).text().replace("Plant 7", &numbered(version)))
}

/// The version in use, and the name of the site that the engine has.
fn stands(agent: &Agent) -> (Option<u64>, String) {
    let status = agent.status();
    (status["bundle"]["in_use"]["version"].as_u64(), status["name"].as_str().unwrap().to_owned())
}

fn uses(agent: &Agent, version: u64) {
    let what = format!("version {version} is in use");
    eventually(&what, PATIENCE, || match stands(agent) {
        (Some(found), name) if found == version && name == numbered(version) => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

fn config(agent: &Agent) -> String {
    agent.folder().join("agent.toml").display().to_string()
}

#[test]
fn a_bundle_takes_the_place_of_the_site_file_and_nothing_is_forgotten() {
    let (mut agent, mut house) = House::build().open();
    let mut handset = Handset::connect(agent.mqtt(), "hs-1").unwrap();
    let mut says = |kind: &str, fields: Value| {
        handset.publish(&topic("hs-1", kind), message(now(), fields).to_string().as_bytes()).unwrap();
    };
    says("attendance", json!({"action": "check_in"}));
    says("heartbeat", json!({"battery": 0.4}));
    let low = |agent: &Agent| agent.alerts().iter().any(|alert| alert["rule"] == "device_battery_low");
    assert!(!low(&agent));
    let guard = |agent: &Agent| agent.status()["guards"][0].clone();
    let before = guard(&agent);
    assert_eq!(stands(&agent), (None, "Plant 7".to_owned()));
    until("it asked at its start", || house.noc.bundle_asks() == [(None, 404)]);

    let strict = "[policy.devices]\nbattery_low = 0.5\nbattery_ok = 0.6\n[policy]\nsettle = \"0s\"";
    let sealed = house.publish(7, &named(7, strict));
    house.refresh();
    uses(&agent, 7);
    let taken = house.record("bundle.taken.7.");
    assert_eq!((&taken["before"], &taken["by"]), (&Value::Null, &json!("Asha Rao")));
    let after = guard(&agent);
    for kept in ["presence", "last_activity_at", "last_activity"] {
        assert_eq!(after[kept], before[kept], "{kept}");
    }
    // The session of the handset has lived on, and the policy is the new one.
    says("heartbeat", json!({"battery": 0.4}));
    until("the new policy raises what the old one did not", || low(&agent));
    house.record("bundle.proved.7.");
    until("it is no longer on trial", || agent.status()["bundle"]["on_trial"] == false);
    until("health names it", || {
        house.noc.events().iter().any(|event| event["data"]["bundle"]["version"] == 7)
    });

    // The one that it has is not sent again.
    house.refresh();
    assert_eq!(house.noc.bundle_asks().last(), Some(&(Some(etag(&sealed)), 304)));
    let status = vigil(&["status", "--url", &format!("http://{}", agent.page())]);
    assert!(status.out.contains("version 7 of"), "{status:?}");

    // The site file does not count any more, read again or not, until the bundle is gone.
    agent.process().signal("HUP");
    agent.process().said("the site file is not read: a bundle takes its place");
    assert!(agent.stop(STOP).success());
    let explained = vigil(&["config", "explain", "--config", &config(&agent), "policy.devices.battery_low"]);
    assert!(explained.out.contains("= 0.5") && explained.out.contains("7.bundle"), "{explained:?}");
    let site = vigil(&["config", "explain", "--config", &config(&agent), "agent.site"]);
    assert!(site.out.contains("bundle 7 of") && site.out.contains("by Asha Rao"), "{site:?}");
    let checked = vigil(&["check", "--config", &config(&agent)]);
    assert!(checked.code == Some(0) && checked.out.contains("ok: bundle 7 of"), "{checked:?}");
    agent.start_again();
    assert_eq!(stands(&agent), (Some(7), numbered(7)));
    until("it asks with what it has", || {
        house.noc.bundle_asks().iter().filter(|ask| **ask == (Some(etag(&sealed)), 304)).count() > 1
    });
}

#[test]
fn what_may_not_be_used_is_refused_with_every_reason() {
    let (agent, mut house) = House::build().open();
    house.publish(7, &named(7, ""));
    house.refresh();
    uses(&agent, 7);
    let refused = |house: &mut House, agent: &Agent, document: &[u8], parts: &[&str]| {
        house.noc.offer(Some(document));
        let before = agent.status()["bundle"]["refused"].as_u64().unwrap();
        house.refresh();
        let status = agent.status();
        assert_eq!(status["bundle"]["refused"].as_u64(), Some(before + 1), "{parts:?}");
        assert_eq!(stands(agent), (Some(7), numbered(7)));
        let said = status["bundle"]["last_refused"].to_string();
        let command = house.record(&format!("refused.c-{}", house.commands))["reason"].to_string();
        for part in parts {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(command.contains("the bundle is refused"), "{command}");
    };
    let old = sealed(&house.signer, 6, &named(6, ""));
    refused(&mut house, &agent, &old, &["version 6 is not above 7"]);
    let again = sealed(&house.signer, 7, &named(7, "[policy.tours]\ngrace = \"9m\""));
    refused(&mut house, &agent, &again, &["version 7 is not above 7"]);
    let stranger = sealed(&signer(), 8, &named(8, ""));
    refused(&mut house, &agent, &stranger, &["is signed by key", "bundle_keys"]);
    let mut altered = sealed(&house.signer, 8, &named(8, ""));
    *altered.last_mut().unwrap() ^= 1;
    refused(&mut house, &agent, &altered, &["does not fit: it was altered"]);
    let elsewhere = tree(&named(8, "")).replace("\"acme\"", "\"other\"");
    let other = Label { tenant: "other".parse().unwrap(), ..label(8) };
    let elsewhere = seal(&house.signer, &other, &elsewhere).unwrap();
    refused(
        &mut house,
        &agent,
        &elsewhere,
        &["of site plant-7 of tenant other, and this agent guards plant-7 of acme"],
    );
    let mut broken: Value = serde_json::from_str(&tree(&named(8, ""))).unwrap();
    broken["guards"][0]["badge"] = json!("not hex");
    broken["policy"] = json!({"inactivity": {"window": "121m"}, "tours": {"grase": "9m"}});
    let broken = seal(&house.signer, &label(8), &broken.to_string()).unwrap();
    refused(
        &mut house,
        &agent,
        &broken,
        &["3 problems", "guards[0].badge", "whole multiple of cycle", "did you mean \\\"grace\\\""],
    );
    let told = house.record("bundle.refused.8.");
    assert_eq!(told["in_use"], 7);
    let all = house.noc.events();
    let listed = all.iter().filter_map(|event| event["data"]["problems"].as_array()).map(Vec::len).max();
    assert_eq!(listed, Some(3), "the operations centre hears of every problem");
    // And then one that is fine.
    house.publish(8, &named(8, ""));
    house.refresh();
    uses(&agent, 8);
}

#[test]
fn without_a_key_none_is_taken_and_the_refusal_says_so() {
    let house = House::build();
    let file = house.files.path().join("agent.toml");
    let keyless: Vec<String> = fs::read_to_string(&file)
        .unwrap()
        .lines()
        .filter(|l| !l.starts_with("bundle_keys"))
        .map(str::to_owned)
        .collect();
    fs::write(&file, keyless.join("\n")).unwrap();
    let (agent, mut house) = house.open();
    house.publish(7, &named(7, ""));
    house.refresh();
    let refused = house.record("refused.c-1");
    assert!(
        refused["reason"].as_str().unwrap().contains("bundle_keys of agent.toml names no public key"),
        "{refused}"
    );
    assert_eq!((&agent.status()["bundle"], house.noc.bundle_asks().len()), (&Value::Null, 0));
}

/// What a kill waits for: the marks that a switch leaves on the disk, one after the other.
#[derive(Debug, Clone, Copy)]
enum Point {
    Fetched,
    Laid,
    Decided,
    Counts,
    After(u64),
}

const POINTS: [Point; 9] = [
    Point::Fetched,
    Point::Laid,
    Point::Decided,
    Point::Counts,
    Point::After(1),
    Point::After(5),
    Point::After(20),
    Point::After(60),
    Point::After(200),
];

impl Point {
    fn is_reached(self, folder: &Path, version: u64) -> bool {
        let laid = folder.join(format!("{version}.bundle"));
        let counts = || {
            fs::read_to_string(folder.join("record.json"))
                .is_ok_and(|r| r.contains(&format!("\"in_use\":{version},")))
        };
        match self {
            Self::Fetched => folder.join(format!("{version}.new")).exists() || laid.exists(),
            Self::Laid => laid.exists(),
            Self::Decided => (laid.exists() && folder.join("record.new").exists()) || counts(),
            Self::Counts | Self::After(_) => counts(),
        }
    }

    fn wait(self, folder: &Path, version: u64) {
        let began = Instant::now();
        // The marks last for less than a millisecond: whoever sleeps between two looks misses them.
        while !self.is_reached(folder, version) {
            assert!(began.elapsed() < PATIENCE, "{self:?} is not reached");
            std::hint::spin_loop();
        }
        if let Self::After(millis) = self {
            std::thread::sleep(Duration::from_millis(millis));
        }
    }
}

#[test]
fn whenever_it_is_killed_the_old_one_is_in_use_or_the_new_one() {
    let (mut agent, house) = House::build().open();
    let bundles: PathBuf = agent.folder().join("data").join("bundles");
    let (mut old, mut new) = (0, 0);
    for (version, point) in (10..).zip(POINTS) {
        // A second kill on trial would be held against it.
        until("the one in use has proved itself", || agent.status()["bundle"]["on_trial"] == false);
        let (before, _) = stands(&agent);
        assert!(agent.stop(STOP).success());
        house.publish(version, &named(version, ""));
        agent.launch_again();
        point.wait(&bundles, version);
        agent.kill();
        house.noc.offer(None);
        agent.start_again();
        let (found, name) = stands(&agent);
        match found {
            Some(found) if found == version => new += 1,
            found => {
                assert_eq!(found, before, "{point:?}");
                old += 1;
            }
        }
        let expected = found.map_or_else(|| "Plant 7".to_owned(), numbered);
        assert_eq!(name, expected, "{point:?}: the engine has what is said to be in use");
    }
    assert!(new >= 5, "of {} kills {old} left the old one in use", POINTS.len());
}

#[test]
fn one_that_ends_the_agent_twice_goes_back_and_is_never_tried_again() {
    let (mut agent, mut house) = House::build().open();
    house.publish(1, &named(1, ""));
    house.refresh();
    house.record("bundle.proved.1.");
    house.publish(2, &named(2, ""));
    house.refresh();
    uses(&agent, 2);
    agent.kill();
    agent.start_again();
    assert_eq!(stands(&agent).0, Some(2), "one may be a power cut");
    agent.kill();
    agent.start_again();
    assert_eq!(stands(&agent), (Some(1), numbered(1)));
    let told = house.record("bundle.rolled_back.2.");
    assert!(told["in_use"] == 1 && told["reason"].as_str().unwrap().contains("ended 2 times"), "{told}");
    let again = house.record("bundle.refused.2.");
    assert!(again["reason"].as_str().unwrap().contains("is never tried again"), "{again}");
    let status = vigil(&["status", "--url", &format!("http://{}", agent.page())]);
    assert!(status.out.contains("ROLLED BACK"), "{}", status.out);
    let kept = fs::read(agent.folder().join("data").join("bundles").join("1.bundle")).unwrap();
    assert_eq!(
        house.noc.bundle_asks().last(),
        Some(&(Some(etag(&kept)), 200)),
        "it asks with what it has again"
    );
    house.publish(3, &named(3, ""));
    house.refresh();
    uses(&agent, 3);
    assert!(agent.stop(STOP).success());
    agent.start_again();
    assert_eq!(stands(&agent).0, Some(3), "a stop that was ordered is none of the bundle");
}

/// Whatever the bundle has to do with it: with a store that fails nothing proves itself.
#[test]
fn a_disk_that_fills_within_the_trial_puts_the_site_file_back() {
    with_small_disks("a_disk_that_fills_within_the_trial_puts_the_site_file_back", || {
        let mut house = House::build();
        let file = house.files.path().join("agent.toml");
        let patient = fs::read_to_string(&file)
            .unwrap()
            .replace("bundle_probation = \"5s\"", "bundle_probation = \"1h\"");
        fs::write(&file, patient).unwrap();
        let disk = SmallDisk::at(&house.files.path().join("data"), 64);
        let mut agent =
            Agent::of(std::mem::replace(&mut house.files, tempfile::tempdir().unwrap()), Some(disk));
        house.publish(1, &named(1, ""));
        house.refresh();
        uses(&agent, 1);
        let field = Field::around(agent.mqtt(), Duration::from_millis(2));
        let says = |_: &str, n: u32| ("heartbeat", json!({"interactions": n % 7}));
        let busy = Busy::start("hs-1".to_owned(), field.clone(), says);
        let filled = agent.disk().fill(0);
        // A snapshot is due in the same moment.
        agent.process().signal("HUP");
        until("nothing is stored", || !agent.status()["outage"].is_null());
        drop(filled);
        let told = house.record("bundle.rolled_back.1.");
        assert!(told["in_use"].is_null() && told["reason"].as_str().unwrap().contains("store"), "{told}");
        assert_eq!(stands(&agent), (None, "Plant 7".to_owned()));
        field.end();
        drop(busy.join().unwrap());
    });
}

#[test]
fn keys_are_made_and_bundles_signed_without_an_operations_centre() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let made = vigil(&["bundle", "keygen", &at("noc.key")]);
    let public = made.out.trim().to_owned();
    assert!(made.code == Some(0) && public.len() == 44, "{made:?}");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(at("noc.key")).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(vigil(&["bundle", "keygen", &at("noc.key")]).code, Some(1), "a key is never written over");
    fs::write(at("site.toml"), plant("gate").text()).unwrap();
    fs::write(at("tenant.toml"), "[policy.tours]\ngrace = \"11m\"\n").unwrap();
    let sign = |site: &str, version: &str| {
        vigil(&[
            "bundle",
            "sign",
            &at(site),
            "--key",
            &at("noc.key"),
            "--version",
            version,
            "--by",
            "Asha Rao",
            "--tenant-policy",
            &at("tenant.toml"),
            "--out",
            &at("site.bundle"),
        ])
    };
    let signed = sign("site.toml", "7");
    assert_eq!(signed.code, Some(0), "{signed:?}");
    let shown = vigil(&["bundle", "show", &at("site.bundle"), "--key", &public]);
    assert!(
        shown.code == Some(0) && shown.out.contains("Asha Rao") && shown.out.contains(": fits"),
        "{shown:?}"
    );
    let content = vigil(&["bundle", "show", &at("site.bundle"), "--key", &public, "--content"]).out;
    assert_eq!(serde_json::from_str::<Value>(&content).unwrap()["layers"]["tenant"]["tours"]["grace"], "11m");
    let unchecked = vigil(&["bundle", "show", &at("site.bundle")]);
    assert!(unchecked.out.contains("NOT CHECKED"), "{unchecked:?}");
    let stranger = signer().public().to_string();
    assert_eq!(vigil(&["bundle", "show", &at("site.bundle"), "--key", &stranger]).code, Some(1));
    assert_eq!(sign("site.toml", "0").code, Some(2));
    fs::write(at("broken.toml"), plant("gate").and("[policy.tours]\ngrace = 9").text()).unwrap();
    let broken = sign("broken.toml", "8");
    assert!(broken.code == Some(2) && broken.err.contains("policy.tours.grace"), "{broken:?}");
}
