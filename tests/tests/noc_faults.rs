//! A night with a bad line: the receiver is down for the middle third, and then fails in every way that there is.

// All of it is test code: a failed unwrap is a failed test.
#![cfg(test)]

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use vigil_tests::house::{
    Agent, FaultyNoc, Handset, PATIENCE, Plant, Source, Turn, eventually, fetch, json, message, now, topic,
    until, vigil,
};

/// Alerts of each third of the night: so many CRITICAL ones, and as many others.
const EACH: usize = 4;
/// What retries may take: a few waits that double from a second.
const RETRIES: Duration = Duration::from_secs(60);
/// Its last will is the event that the receiver will not have.
const UNWANTED: &str = "device:hs-6";

/// The site: every button can call once, every handset can be lost once.
fn plant() -> Plant {
    // Device silence is judged at once, and the deep night, in which it is worse, is left out by a minute at noon.
    Plant::default().guards(4 * EACH).buttons(4 * EACH).and(
        "[policy]\nsettle = \"0s\"\n[policy.inactivity]\ndeep_night_hours = { from = \"12:00\", to = \"12:01\" }",
    )
}

struct Night {
    agent: Agent,
    handsets: Vec<Handset>,
    buttons: Vec<Handset>,
    sent: Vec<String>,
}

impl Night {
    fn on(noc: &FaultyNoc) -> Self {
        let agent = Agent::start("gw-1", &plant(), Source::Embedded, Some(&noc.uplink()));
        let connect = |kind: &str| {
            let each =
                (1..=4 * EACH).map(|n| Handset::connect(agent.mqtt(), &format!("{kind}-{n}")).unwrap());
            each.rev().collect::<Vec<_>>()
        };
        let (mut handsets, buttons) = (connect("hs"), connect("btn"));
        for (n, handset) in handsets.iter_mut().rev().enumerate() {
            let check_in = message(now(), json!({"action": "check_in"})).to_string();
            handset.publish(&topic(&format!("hs-{}", n + 1), "attendance"), check_in.as_bytes()).unwrap();
        }
        Self { agent, handsets, buttons, sent: vec![] }
    }

    /// A third of the night: handsets are lost and buttons are pressed, in turns.
    fn pass(&mut self) {
        for _ in 0..EACH {
            let n = 4 * EACH - self.buttons.len() + 1;
            let (mut lost, mut pressed) = (self.handsets.pop().unwrap(), self.buttons.pop().unwrap());
            lost.publish(&topic(&format!("hs-{n}"), "status"), b"offline").unwrap();
            let call = message(now(), json!({})).to_string();
            pressed.publish(&topic(&format!("btn-{n}"), "sos"), call.as_bytes()).unwrap();
            self.sent.extend([format!("device:hs-{n}"), format!("device:btn-{n}")]);
        }
        let raised = self.sent.len();
        until("every alert is raised", || self.agent.alerts().len() == raised);
    }

    fn waiting(&self) -> u64 {
        let outbox = self.agent.status()["outbox"].clone();
        ["critical", "alerts"].iter().map(|lane| outbox[lane].as_u64().unwrap()).sum()
    }

    fn until_delivered(&self) {
        eventually("the outbox empties", RETRIES, || match self.waiting() {
            0 => Ok(()),
            n => Err(format!("{n} alerts, and the uplink is {}", self.agent.status()["uplink"])),
        });
    }

    fn uplink(&self) -> Value {
        self.agent.status()["uplink"].clone()
    }
}

fn alerts(events: &[Value]) -> Vec<&Value> {
    events.iter().filter(|e| e["type"] == "vigil.alert").collect()
}

/// Every alert once, in the order of its number within its lane.
fn assert_complete(events: &[Value], sent: &[String]) {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for alert in alerts(events) {
        *seen.entry(alert["subject"].as_str().unwrap()).or_default() += 1;
    }
    let expected: BTreeMap<&str, usize> =
        sent.iter().filter(|s| *s != UNWANTED).map(|s| (s.as_str(), 1)).collect();
    assert_eq!(seen, expected, "every alert once, none lost");
    for critical in [true, false] {
        let lane = |e: &&&Value| (e["data"]["severity"] == "CRITICAL") == critical;
        let all = alerts(events);
        let numbers: Vec<u64> = all.iter().filter(lane).map(|e| e["sequence"].as_u64().unwrap()).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "critical {critical}: {numbers:?}");
        let subjects: Vec<&str> = all.iter().filter(lane).map(|e| e["subject"].as_str().unwrap()).collect();
        let mine = |s: &&String| s.starts_with("device:btn") == critical && *s != UNWANTED;
        assert_eq!(
            subjects,
            sent.iter().filter(mine).collect::<Vec<_>>(),
            "in the order in which they were raised"
        );
    }
}

#[test]
fn every_alert_arrives_once_and_in_order_however_the_receiver_fails() {
    let mut noc = FaultyNoc::start();
    noc.reject(UNWANTED);
    let mut night = Night::on(&noc);
    night.pass();
    night.until_delivered();
    assert_eq!(alerts(&noc.events()).len(), 2 * EACH, "the first third arrived as it was raised");

    noc.fall();
    night.pass();
    until("the agent has noticed", || night.uplink()["reachable"] == false);
    assert_eq!(night.waiting(), 2 * EACH as u64, "everything goes on and waits");
    assert_eq!(
        fetch(night.agent.page(), "/healthz").unwrap().0,
        200,
        "a receiver that is down is no illness of the agent"
    );

    noc.plan(&[Turn::Unavailable, Turn::TooMany, Turn::Slow]);
    noc.rise();
    night.until_delivered();
    assert_eq!(noc.planned(), 0, "503, 429 and a slow answer were overcome");
    assert_eq!(night.uplink()["reachable"], true);

    noc.plan(&[Turn::Cut, Turn::Slow]);
    night.pass();
    night.until_delivered();
    assert_eq!(noc.planned(), 0, "so was the cut line");
    assert!(noc.duplicates() > 0, "what was stored before the cut came again, and counted once");
    night.pass();
    night.until_delivered();
    assert_complete(&noc.events(), &night.sent);
    assert_dead_letter(&night.agent);
}

/// The one that was not wanted can be seen, with its reason.
fn assert_dead_letter(agent: &Agent) {
    let letters = json(agent.page(), "/api/dead-letters");
    let seen: Vec<_> = letters.as_array().unwrap().iter().map(|l| (&l["subject"], &l["reason"])).collect();
    assert_eq!(seen, [(&json!(UNWANTED), &json!("this one is not wanted"))], "{letters}");
    let ended = vigil(&["status", "--url", &format!("http://{}", agent.page())]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let line = |name: &str| ended.out.lines().find(|l| l.trim_start().starts_with(name)).unwrap_or_default();
    assert!(line("NOC ").contains("reached, last at "), "{}", ended.out);
    assert!(line("waiting ").ends_with("; 1 rejected by the NOC"), "{}", ended.out);
}

#[test]
fn a_dead_letter_whose_reason_is_mended_is_sent_again_under_its_number() {
    let noc = FaultyNoc::start();
    noc.reject("device:btn-1");
    let agent = Agent::start("gw-1", &Plant::default().buttons(1), Source::Embedded, Some(&noc.uplink()));
    let url = format!("http://{}", agent.page());
    let outbox = |arguments: &[&str]| vigil(&[&["outbox"], arguments, &["--url", &url]].concat());
    assert!(outbox(&[]).out.contains("rejected nothing"), "{}", outbox(&[]).err);
    let mut button = Handset::connect(agent.mqtt(), "btn-1").unwrap();
    button.publish(&topic("btn-1", "sos"), message(now(), json!({})).to_string().as_bytes()).unwrap();
    until("it is a dead letter", || json(agent.page(), "/api/dead-letters")[0].is_object());
    let letter = json(agent.page(), "/api/dead-letters")[0].clone();
    let number = letter["sequence"].to_string();
    let listed = outbox(&[]);
    assert!(listed.out.contains("this one is not wanted"), "{}", listed.out);
    let refused = outbox(&["resend", "4711"]);
    assert!(
        refused.code == Some(1) && refused.err.contains("no dead letter has the number 4711"),
        "{}",
        refused.err
    );

    noc.reject("nobody");
    let resent = outbox(&["resend", &number]);
    assert_eq!((resent.code, resent.out.as_str()), (Some(0), "1 on their way again\n"), "{}", resent.err);
    until("it arrives", || alerts(&noc.events()).len() == 1);
    assert_eq!(alerts(&noc.events())[0]["sequence"].to_string(), number);
    until("nothing is dead", || json(agent.page(), "/api/dead-letters") == json!([]));
    let nothing = outbox(&["resend", "--all"]);
    assert_eq!(nothing.out, "0 on their way again\n");
    let wrong = outbox(&["resend"]);
    assert_eq!(wrong.code, Some(2), "{}", wrong.err);
}

#[test]
fn a_wait_that_the_receiver_asks_for_is_kept() {
    let noc = FaultyNoc::start();
    noc.plan(&[Turn::TooMany]);
    let agent = Agent::start("gw-1", &Plant::default().buttons(1), Source::Embedded, Some(&noc.uplink()));
    let mut button = Handset::connect(agent.mqtt(), "btn-1").unwrap();
    button.publish(&topic("btn-1", "sos"), message(now(), json!({})).to_string().as_bytes()).unwrap();
    eventually("the alert arrives", PATIENCE, || match alerts(&noc.events()).len() {
        1 => Ok(()),
        n => Err(format!("{n} alerts")),
    });
    let requests = noc.requests();
    assert_eq!(requests[0].0, Some(Turn::TooMany));
    let waited = requests[1].1 - requests[0].1;
    assert!(waited >= Duration::from_secs(1), "even of a call for help: {waited:?}");
}
