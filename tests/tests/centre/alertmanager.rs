//! A real Alertmanager as the receiver: it hears of every alert once, believes in it for as long as it stands, whatever
//! happens to either of them, and no longer.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use vigil_core::time::{Span, Timestamp};
use vigil_tests::house::{
    Agent, Alertmanager, Handset, PATIENCE, Plant, eventually, message, missing, now, post, topic, until,
    vigil,
};

/// Longer than an alert is believed without another word: ten heartbeats of five seconds.
const BEYOND_BELIEF: Duration = Duration::from_secs(120);

fn plant() -> Plant {
    Plant::default().guards(2).and("[policy]\nsettle = \"0s\"")
}

fn say(agent: &Agent, device: &str, kind: &str, fields: Value) {
    let mut handset = Handset::connect(agent.mqtt(), device).expect("a way in");
    let text = message(now(), fields).to_string();
    handset.publish(&topic(device, kind), text.as_bytes()).expect("acknowledged");
}

/// The agent's id of its alert of this rule about this subject.
fn id_of(agent: &Agent, rule: &str, subject: &str) -> String {
    let found = |alerts: &[Value]| {
        let alert = alerts.iter().find(|a| a["rule"] == rule && a["subject"] == subject);
        alert.map(|alert| alert["id"].as_str().expect("an id").to_owned())
    };
    eventually("the agent raises it", PATIENCE, || {
        let alerts = agent.alerts();
        found(&alerts).ok_or_else(|| format!("{alerts:?}"))
    })
}

/// What stands at the Alertmanager, by the agent's ids: until when, and since which word.
fn standing(alertmanager: &Alertmanager) -> BTreeMap<String, (Timestamp, Timestamp)> {
    let instant = |alert: &Value, name: &str| Timestamp::parse(alert[name].as_str().unwrap()).unwrap();
    let all = alertmanager.alerts();
    let by_id: BTreeMap<_, _> = all
        .iter()
        .map(|a| {
            (
                a["labels"]["alert_id"].as_str().unwrap().to_owned(),
                (instant(a, "endsAt"), instant(a, "updatedAt")),
            )
        })
        .collect();
    assert_eq!(by_id.len(), all.len(), "one alert is there twice: {all:?}");
    by_id
}

fn stands(alertmanager: &Alertmanager, id: &str) {
    until("it stands there", || standing(alertmanager).contains_key(id));
}

fn is_over(alertmanager: &Alertmanager, id: &str) {
    until("it is over there", || !standing(alertmanager).contains_key(id));
    until("somebody is told that it is over", || alertmanager.pages().times("resolved").contains_key(id));
}

fn close(agent: &Agent, id: &str) {
    let step = json!({"status": "RESOLVED", "by": "Asha"});
    let (status, answer) = post(agent.page(), &format!("/api/v1/alerts/{id}/status"), &step).unwrap();
    assert_eq!(status, 200, "{answer}");
}

#[test]
fn an_alert_stands_there_for_as_long_as_it_stands_here() {
    let mut alertmanager = Alertmanager::start();
    let mut agent = alertmanager.agent(&plant());
    say(&agent, "hs-1", "sos", json!({}));
    let sos = id_of(&agent, "sos", "guard:G-1");
    // Due while the agent runs, however long its start took: what fell due before, it could not see.
    let (created_at, due_at) = (now() - Span::from_mins(10), now() + Span::from_secs(2));
    let task = json!({"task": "T-1", "state": "created", "priority": "LOW", "created_at": created_at, "due_at": due_at});
    say(&agent, "hs-1", "task", task);
    let task = id_of(&agent, "task_overdue", "task:T-1");
    stands(&alertmanager, &sos);
    stands(&alertmanager, &task);
    let seen = alertmanager.alerts();
    let labels = &seen.iter().find(|a| a["labels"]["alert_id"] == sos.as_str()).unwrap()["labels"];
    let expected = json!({"alertname": "sos", "rule": "sos", "severity": "critical", "tenant": "acme", "site": "plant-7",
                          "gateway": "gw-1", "guard": "G-1", "subject": "guard:G-1", "alert_id": sos});
    assert_eq!(*labels, expected);

    // The agent has nothing new to say, and is believed longer than its first word would last.
    let (first_end, _) = standing(&alertmanager)[&sos];
    eventually("its first word is used up", BEYOND_BELIEF, || {
        let there = standing(&alertmanager);
        assert!(there.contains_key(&sos) && there.contains_key(&task), "{there:?}");
        if now() > first_end { Ok(()) } else { Err("it is not".to_owned()) }
    });

    // Neither loses it: not the agent that dies, nor the Alertmanager that forgets.
    agent.kill();
    let died_at = now();
    agent.start_again();
    eventually("the next life says it again", PATIENCE, || {
        let there = standing(&alertmanager);
        if there.values().all(|(_, updated_at)| *updated_at > died_at) {
            Ok(())
        } else {
            Err(format!("{there:?}"))
        }
    });
    alertmanager.stop();
    say(&agent, "hs-2", "sos", json!({}));
    let missed = id_of(&agent, "sos", "guard:G-2");
    until("the agent knows that it is alone", || agent.status()["uplink"]["reachable"] == false);
    alertmanager.start_again();
    for id in [&sos, &task, &missed] {
        stands(&alertmanager, id);
    }

    // Over here is over there.
    close(&agent, &sos);
    is_over(&alertmanager, &sos);
    say(&agent, "hs-1", "task", json!({"task": "T-1", "state": "completed"}));
    is_over(&alertmanager, &task);
    close(&agent, &missed);
    is_over(&alertmanager, &missed);
    let once: BTreeMap<_, _> = [sos, task, missed].into_iter().map(|id| (id, 1)).collect();
    assert_eq!(alertmanager.pages().times("firing"), once);
    assert_eq!(alertmanager.pages().times("resolved"), once);
    let status = agent.status();
    assert_eq!((&status["receiver"], &status["commands"]), (&json!("alertmanager"), &Value::Null));
    assert_eq!((&status["outbox"]["dead"], &status["link"]["lost"]), (&json!(0), &json!(false)));
}

#[test]
fn the_file_of_the_operator_guide_is_one_that_an_alertmanager_takes() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operator-guide.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let (_, rest) = guide.split_once("```yaml\nroute:").unwrap();
    let (route, _) = rest.split_once("```").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("alertmanager.yml");
    std::fs::write(&file, format!("route:{route}")).unwrap();
    let asked = |arguments: &[&str]| {
        let asked = Command::new("amtool").args(arguments).output();
        let asked = asked.unwrap_or_else(|why| missing("amtool", "prometheus-alertmanager", &why));
        assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
        String::from_utf8(asked.stdout).unwrap().trim().to_owned()
    };
    let file = file.to_str().unwrap();
    asked(&["check-config", file]);
    let paged =
        |labels: &[&str]| asked(&[&["config", "routes", "test", "--config.file", file], labels].concat());
    assert_eq!(paged(&["rule=sos", "severity=critical"]), "on-call");
    assert_eq!(paged(&["rule=device_silent", "severity=medium"]), "technicians");
    assert_eq!(paged(&["rule=tour_missed", "severity=high"]), "duty-desk");
}

#[test]
fn check_tells_an_alertmanager_from_whoever_else_answers() {
    let alertmanager = Alertmanager::start();
    let agent = alertmanager.agent(&plant());
    let file = agent.folder().join("agent.toml");
    let check = |online: &[&str]| vigil(&[&["check", "--config", file.to_str().unwrap()], online].concat());
    let plain = check(&[]);
    assert_eq!(plain.code, Some(0), "{}", plain.err);
    assert!(plain.err.contains("tours, daily reports and the gateway's health go nowhere"), "{}", plain.err);
    let online = check(&["--online"]);
    let known = format!("the Alertmanager {} knows this gateway", alertmanager.url());
    assert!(online.out.contains(&known), "{}{}", online.out, online.err);
    let config = std::fs::read_to_string(&file).unwrap();
    let elsewhere = format!("http://{}/", agent.page());
    std::fs::write(&file, config.replace(&alertmanager.url(), &elsewhere)).unwrap();
    let wrong = check(&["--online"]);
    assert_eq!(wrong.code, Some(1), "{}", wrong.out);
    assert!(wrong.err.contains("answers, and not as an Alertmanager (HTTP 404)"), "{}", wrong.err);
}
