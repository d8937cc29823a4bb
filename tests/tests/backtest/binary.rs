//! `vigil backtest`, as a person runs it: beside an agent that runs, and on the store of one that does not.

use crate::{entries, lived};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vigil_core::alert::Alert;
use vigil_core::time::Span;
use vigil_tests::house::{
    Agent, Ended, Handset, PATIENCE, Plant, Source, eventually, message, now, topic, vigil,
};
use vigil_tests::recording::{vector, vector_folder};

/// The site of the sleeper's night, with further tables.
fn plant(more: &str) -> Plant {
    let text = std::fs::read_to_string(vector_folder("sleeper").join("site.toml")).unwrap();
    let (_, tables) = text.split_once("\n\n").unwrap();
    Plant::default().zone("Asia/Kolkata").and(&format!("{tables}\n{more}"))
}

/// An agent that has ended, and lived through the sleeper's night within the last day; with what it raised.
fn after_a_night() -> (Agent, Vec<Alert>) {
    let mut agent = Agent::start("gw-1", &plant(""), Source::Embedded, None);
    assert!(agent.stop(PATIENCE).success());
    std::fs::remove_dir_all(agent.store()).unwrap();
    let recording = vector("sleeper");
    let day = Span::from_hours(24);
    let by = Span::from_millis(now().since(recording.until).millis() / day.millis() * day.millis());
    let mut observations = recording.observations;
    for observation in &mut observations {
        (observation.at, observation.received_at) = (observation.at + by, observation.received_at + by);
    }
    let site = Arc::new(vigil_config::load_site(&agent.folder().join("site.toml")).unwrap());
    let alerts = lived(&agent.store(), &site, entries(&observations), recording.until + by);
    (agent, alerts)
}

/// A site file beside that of the agent, with another policy.
fn other(agent: &Agent, policy: &str) -> PathBuf {
    let file = agent.folder().join("new.toml");
    std::fs::write(&file, plant(policy).text()).unwrap();
    file
}

fn backtest(site: &Path, whom: [&str; 2], more: &[&str]) -> Ended {
    vigil(&[&["backtest", "--site", site.to_str().unwrap()], whom.as_slice(), more].concat())
}

fn object(ended: &Ended) -> Value {
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    serde_json::from_str(&ended.out).unwrap()
}

/// `gone inactivity`, one for each alert that is shown.
fn verdicts(answer: &Value) -> Vec<String> {
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    let shown = answer["alerts"].as_array().unwrap().iter();
    shown.map(|a| format!("{} {}", word(&a["verdict"]), word(&a["rule"]))).collect()
}

/// Every file below a folder with what is in it.
fn bytes(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(bytes(&path));
        } else {
            all.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    all
}

const NEVER: &str = "[policy.inactivity]\nconsecutive = 100\n[policy.tours]\ngrace = \"45m\"";

#[test]
fn beside_a_stopped_agent_it_leaves_the_store_as_it_is() {
    let (mut agent, alerts) = after_a_night();
    let config = agent.folder().join("agent.toml");
    let whom = ["--config", config.to_str().unwrap()];
    let before = bytes(&agent.folder().join("data"));
    let told = backtest(&other(&agent, NEVER), whom, &[]);
    assert_eq!(told.code, Some(0), "{}", told.err);
    for part in [
        "Plant 7: ",
        "both policies begin with an engine that knows nothing of the time before",
        "inactivity",
        "changed: detected",
        "perimeter 01:30",
        "5 alerts in force, 4 under the new policy: 0 raised, 1 gone, 4 changed, 0 kept",
    ] {
        assert!(told.out.contains(part), "{part}:\n{}", told.out);
    }
    let answer = object(&backtest(&other(&agent, NEVER), whom, &["--json"]));
    let [risk, missed, inactivity] = ["changed tour_at_risk", "changed tour_missed", "gone inactivity"];
    assert_eq!(verdicts(&answer), [risk, missed, inactivity, risk, missed]);
    assert_eq!(answer["alerts"][0]["differs"], json!(["detected_at", "cleared_at"]));
    assert_eq!((&answer["alerts"][2]["new"], &answer["site"]), (&Value::Null, &json!("plant-7")));
    let counted = json!({"rule": "inactivity", "in_force": 1, "new": 0, "raised": 0, "gone": 1, "changed": 0, "kept": 0});
    assert_eq!(answer["rules"][0], counted);
    let one = object(&backtest(&other(&agent, NEVER), whom, &["--json", "--rule", "inactivity"]));
    assert_eq!(verdicts(&one), ["gone inactivity"]);
    let same = backtest(&other(&agent, ""), whom, &[]);
    assert!(same.out.contains("no difference: 5 alerts under both policies"), "{}", same.out);
    let same = object(&backtest(&other(&agent, ""), whom, &["--json", "--all"]));
    let [risk, missed, inactivity] = ["kept tour_at_risk", "kept tour_missed", "kept inactivity"];
    assert_eq!(verdicts(&same), [risk, missed, inactivity, risk, missed]);
    assert!(bytes(&agent.folder().join("data")) == before, "the store is not what it was");
    agent.start_again();
    let known = agent.alerts();
    for alert in alerts {
        assert!(known.iter().any(|k| k["id"] == json!(alert.id)), "{} is forgotten", alert.id);
    }
}

#[test]
fn a_running_agent_goes_on_acknowledging_meanwhile() {
    let (mut agent, alerts) = after_a_night();
    agent.start_again();
    let url = format!("http://{}", agent.page());
    let new = other(&agent, NEVER);
    let asking = std::thread::spawn({
        let url = url.clone();
        move || backtest(&new, ["--url", &url], &["--json"])
    });
    let mut handset = Handset::connect(agent.mqtt(), "hs-G-7").unwrap();
    let mut acknowledged = 0;
    while acknowledged == 0 || !asking.is_finished() {
        let event = message(now(), json!({"event": format!("unlock {acknowledged}")})).to_string();
        handset.publish(&topic("hs-G-7", "activity"), event.as_bytes()).unwrap();
        acknowledged += 1;
    }
    let answer = object(&asking.join().unwrap());
    assert!(verdicts(&answer).contains(&"gone inactivity".to_owned()), "{answer}");
    assert_eq!(answer["blind"].as_array().map(Vec::len), Some(1), "the time since the night: {answer}");
    let whole = object(&backtest(&other(&agent, ""), ["--url", &url], &["--json", "--all"]));
    let shown = whole["alerts"].as_array().unwrap();
    assert!(shown.iter().all(|pair| pair["verdict"] == "kept"), "{whole}");
    for alert in alerts {
        assert!(shown.iter().any(|pair| pair["in_force"]["id"] == json!(alert.id)), "{whole}");
    }
    let of_the_night = vector("sleeper").observations.len() as u64;
    assert_eq!(agent.outcomes("applied"), of_the_night + acknowledged);
}

#[test]
fn the_configuration_of_a_running_agent_leads_to_it() {
    let mut agent = Agent::start("gw-1", &plant(""), Source::Embedded, None);
    let mut handset = Handset::connect(agent.mqtt(), "hs-G-7").unwrap();
    let help = message(now(), json!({"note": "help"})).to_string();
    handset.publish(&topic("hs-G-7", "sos"), help.as_bytes()).unwrap();
    let config = agent.folder().join("where.toml");
    let text = std::fs::read_to_string(agent.folder().join("agent.toml")).unwrap();
    let text = text.replacen("listen = \"127.0.0.1:0\"", &format!("listen = \"{}\"", agent.page()), 1);
    std::fs::write(&config, text).unwrap();
    let whom = ["--config", config.to_str().unwrap()];
    let new = other(&agent, NEVER);
    let asked = object(&backtest(&new, whom, &["--json", "--all"]));
    assert_eq!(verdicts(&asked), ["kept sos"]);
    agent.kill();
    let read = eventually("a killed agent lets go of its store", PATIENCE, || {
        let ended = backtest(&new, whom, &["--json", "--all"]);
        if ended.code == Some(0) { Ok(object(&ended)) } else { Err(ended.err) }
    });
    assert_eq!((verdicts(&read), &read["alerts"]), (vec!["kept sos".to_owned()], &asked["alerts"]));
}

#[test]
fn what_is_wrong_is_said_with_what_to_do() {
    let agent = Agent::start("gw-1", &plant(""), Source::Embedded, None);
    let url = format!("http://{}", agent.page());
    let running = ["--url", url.as_str()];
    let folder = tempfile::tempdir().unwrap();
    let beside = folder.path().join("agent.toml");
    std::fs::copy(agent.folder().join("agent.toml"), &beside).unwrap();
    let never_ran = ["--config", beside.to_str().unwrap()];
    let invalid = other(&agent, "[policy.inactivity]\nthreshold = 7\nwindw = \"2h\"");
    let line = |key: &str| {
        let text = std::fs::read_to_string(&invalid).unwrap();
        text.lines().position(|l| l.starts_with(key)).unwrap() + 1
    };
    let (threshold, windw) =
        (format!("new.toml:{}", line("threshold")), format!("new.toml:{}", line("windw")));
    let ended = backtest(&invalid, running, &[]);
    assert_eq!(ended.code, Some(2), "{}", ended.err);
    assert!(ended.err.contains(&threshold) && ended.err.contains(&windw), "{}", ended.err);
    let good = other(&agent, "");
    let foreign = folder.path().join("foreign.toml");
    let text = std::fs::read_to_string(&good).unwrap().replace("\"plant-7\"", "\"plant-8\"");
    std::fs::write(&foreign, text).unwrap();
    let nowhere = ["--url", "http://127.0.0.1:1"];
    type Row<'a> = (&'a Path, [&'a str; 2], &'a [&'a str], i32, &'a str);
    let table: [Row<'_>; 5] = [
        (&foreign, running, &[], 2, "it is of site plant-8, and the journal is of plant-7"),
        (&good, running, &[], 1, "the journal of plant-7 is empty"),
        (&good, never_ran, &[], 1, "There is no journal yet"),
        (&good, nowhere, &[], 1, "does not answer"),
        (&good, running, &["--rule", "sleepy"], 2, "inactivity, task_overdue"),
    ];
    for (site, whom, more, code, part) in table {
        let ended = backtest(site, whom, more);
        assert!(
            ended.code == Some(code) && ended.err.contains(part),
            "{part}: {:?} {}",
            ended.code,
            ended.err
        );
    }
    assert!(!folder.path().join("data").exists(), "who only looks makes no store");
}

/// The status of the answer to a question for the journal with this header.
fn asked(page: SocketAddr, header: &str) -> String {
    let mut stream = TcpStream::connect(page).unwrap();
    write!(stream, "GET /api/v1/journal HTTP/1.1\r\nconnection: close\r\n{header}\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap().to_owned()
}

#[test]
fn the_journal_is_for_programs_on_the_gateway_alone() {
    let agent = Agent::start("gw-1", &plant(""), Source::Embedded, None);
    let host = format!("host: {}", agent.page());
    assert_eq!(asked(agent.page(), &host), "200");
    assert_eq!(asked(agent.page(), "host: evil.example.org"), "403");
    assert_eq!(asked(agent.page(), &format!("{host}\r\norigin: http://evil.example.org")), "403");
    assert_eq!(asked(agent.page(), &format!("{host}\r\nsec-fetch-site: cross-site")), "403");
}
