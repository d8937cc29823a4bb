//! One night, told four times: through the broker inside and through mosquitto, by `mosquitto_pub` and by paho. The
//! same alerts arrive at the receiver.
//!
//! A live agent has the wall clock, so the night is cut to its last half minute: what took hours is sent as the backlog
//! of a handset that was offline, and the deadlines lie a few seconds ahead. All four are told at once.

// All of it is test code: a failed unwrap is a failed test.
#![cfg(test)]

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use vigil_core::time::{Span, Timestamp};
use vigil_tests::house::{
    Agent, Message, Mosquitto, Noc, Plant, Publisher, Source, eventually, message, now, until,
};

/// The deadlines lie this far behind the beginning of the script, which takes a few seconds.
const DEADLINES: Span = Span::from_secs(8);
/// The evaluation lies at least so far behind it.
const EVALUATION: Span = Span::from_secs(12);
/// What the script and everything that follows may take: the evaluation is at most 72 s away.
const WITHIN: Duration = Duration::from_secs(110);
/// Every way to tell the night: the gateway, whether the broker is mosquitto, and the client.
const WAYS: [(&str, bool, Publisher); 4] = [
    ("gw-inside-mosquitto-pub", false, Publisher::Mosquitto),
    ("gw-inside-paho", false, Publisher::Paho),
    ("gw-outside-mosquitto-pub", true, Publisher::Mosquitto),
    ("gw-outside-paho", true, Publisher::Paho),
];
const GUARDS: usize = 6;

/// The instants of the night.
#[derive(Clone, Copy)]
struct Script {
    begins: Timestamp,
    /// The whole minute before: the tours started then.
    minute: Timestamp,
    /// The cycle of evaluations, chosen so that one falls soon after the script.
    cycle_secs: i64,
}

impl Script {
    fn beginning(begins: Timestamp) -> Self {
        let next = |secs: i64| (begins + EVALUATION).floor_to(Span::from_secs(secs)) + Span::from_secs(secs);
        // A cycle divides the day.
        let cycles = (60..=240).filter(|secs| 86_400 % secs == 0);
        let cycle_secs = cycles.min_by_key(|secs| next(*secs)).unwrap();
        Self { begins, minute: begins.floor_to(Span::from_mins(1)), cycle_secs }
    }

    fn evaluation(self) -> Timestamp {
        let cycle = Span::from_secs(self.cycle_secs);
        (self.begins + EVALUATION).floor_to(cycle) + cycle
    }

    fn ago(self, secs: i64) -> Timestamp {
        self.begins - Span::from_secs(secs)
    }

    /// Tours that start by the deadline, shifts whose grace ends at it, and one evaluation within sight.
    fn plant(self) -> Plant {
        let clock = self.minute.to_string()[11..16].to_owned();
        let grace = (self.begins + DEADLINES).since(self.minute).millis() / 1_000;
        let cycle = self.cycle_secs;
        Plant::default()
            .guards(GUARDS)
            .checkpoints(3)
            .tour("north", "G-1", &["cp-1", "cp-2"], &clock)
            .tour("south", "G-2", &["cp-3"], &clock)
            .shift("G-3", self.begins)
            .shift("G-4", self.begins)
            .and(&format!(
                "[policy]\nsettle = \"1s\"\n[policy.tours]\ngrace = \"{grace}s\"\n\
                 [policy.attendance]\ncheck_in_grace = \"{}s\"\n\
                 [policy.inactivity]\nmonitor = \"always\"\ncycle = \"{cycle}s\"\nwindow = \"{}s\"\n\
                 proof_of_life = \"0s\"\ndeep_night_hours = {{ from = \"12:00\", to = \"12:01\" }}",
                DEADLINES.millis() / 1_000,
                10 * cycle
            ))
    }

    fn check_in(self, guard: usize, at: Timestamp) -> Message {
        Message::new(&format!("hs-{guard}"), "attendance", &message(at, json!({"action": "check_in"})))
    }

    /// What is said before the deadlines; and hs-6, which is then lost, has checked in.
    fn first_words(self) -> Vec<Message> {
        let duty = 12 * self.cycle_secs;
        let silent_night: Vec<Value> =
            (1..=duty / 60).rev().map(|m| message(self.ago(60 * m), json!({"interactions": 0}))).collect();
        let still = json!({"lat": 12.9716, "lon": 77.5946, "accuracy": 5.0, "provider": "gps"});
        let fixes: Vec<Value> =
            (1..=duty / 60).rev().map(|m| message(self.ago(60 * m), still.clone())).collect();
        let task = |state: &str| json!({"task": "T-1", "state": state, "priority": "LOW", "title": "Check the gauge"});
        vec![
            self.check_in(5, self.ago(duty)),
            Message::new("hs-5", "heartbeat", &Value::Array(silent_night)),
            Message::new("hs-5", "location", &Value::Array(fixes)),
            self.check_in(1, self.begins),
            self.check_in(2, self.begins),
            Message::new("hs-2", "task", &message(self.ago(90), task("created"))),
            Message::new("hs-2", "task", &message(self.ago(30), task("completed"))),
            Message::new(
                "hs-1",
                "sos",
                &message(self.begins, json!({"note": "at the gate", "id": "call-1"})),
            ),
            Message::new(
                "hs-1",
                "sos",
                &message(self.begins, json!({"note": "at the gate", "id": "call-1"})),
            ),
            Message::new(
                "hs-2",
                "heartbeat",
                &message(self.begins, json!({"battery": 0.8, "man_down": true})),
            ),
        ]
    }

    /// The scans of the northern tour, from a handset that had no network: in time, and heard too late.
    fn late_scans(self) -> Message {
        let scan = |ago, tag: &str| message(self.ago(ago), json!({"tag": tag}));
        Message::new("hs-1", "scan", &json!([scan(400, "04AA0001"), scan(340, "04-aa-00-02")]))
    }

    /// G-3 comes a moment after the grace.
    fn late_check_in(self) -> Message {
        self.check_in(3, self.begins + DEADLINES + Span::from_millis(500))
    }

    /// The alerts of the night.
    fn expected(self) -> Vec<[String; 5]> {
        let run = |tour: &str| format!("run:{tour}@{}", self.minute);
        let alert = |rule: &str, subject: &str, severity: &str, status: &str, guard: &str| {
            [rule, subject, severity, status, guard].map(str::to_owned)
        };
        let mut all = vec![
            alert("device_silent", "device:hs-6", "MEDIUM", "DETECTED", "G-6"),
            alert("guard_absent", "guard:G-3", "HIGH", "RESOLVED", "G-3"),
            alert("guard_absent", "guard:G-4", "HIGH", "DETECTED", "G-4"),
            alert("inactivity", "guard:G-5", "CRITICAL", "DETECTED", "G-5"),
            alert("man_down", "guard:G-2", "CRITICAL", "DETECTED", "G-2"),
            alert("sos", "guard:G-1", "CRITICAL", "DETECTED", "G-1"),
            alert("tour_missed", &run("north"), "HIGH", "FALSE_POSITIVE", "G-1"),
            alert("tour_missed", &run("south"), "HIGH", "DETECTED", "G-2"),
        ];
        all.sort();
        all
    }
}

fn fields(alert: &Value) -> [String; 5] {
    ["rule", "subject", "severity", "status", "guard"].map(|f| alert[f].as_str().unwrap_or("-").to_owned())
}

fn at_the_receiver(noc: &Noc, gateway: &str) -> Vec<[String; 5]> {
    let mut all: Vec<_> = noc.alerts(gateway).iter().map(fields).collect();
    all.sort();
    all
}

fn wait_for(noc: &Noc, gateway: &str, what: &str, rule: &str, subject: &str) {
    eventually(&format!("{gateway}: {what}"), WITHIN, || {
        let all = at_the_receiver(noc, gateway);
        if all.iter().any(|a| a[0] == rule && a[1].starts_with(subject)) {
            Ok(())
        } else {
            Err(format!("{all:?}"))
        }
    });
}

/// Tells the night one way, and returns what arrived.
fn tell(
    script: Script,
    noc: &Noc,
    agent: &Agent,
    at: std::net::SocketAddr,
    way: (&str, Publisher),
) -> Vec<Value> {
    let (gateway, client) = way;
    let doomed = client.hold(at, &script.check_in(6, script.begins));
    client.publish(at, &script.first_words());
    until("hs-6 is heard", || agent.device("hs-6")["last_received_at"].is_string());
    doomed.die();
    wait_for(noc, gateway, "the northern tour is missed", "tour_missed", "run:north@");
    client.publish(at, &[script.late_scans()]);
    wait_for(noc, gateway, "G-3 is absent", "guard_absent", "guard:G-3");
    client.publish(at, &[script.late_check_in()]);
    eventually(&format!("{gateway}: the alerts of the night"), WITHIN, || {
        let all = at_the_receiver(noc, gateway);
        if all == script.expected() { Ok(()) } else { Err(format!("{all:#?}")) }
    });
    noc.alerts(gateway)
}

/// Ids and instants by rule and subject, where the script fixes them: a last will is as old as the broker's notice of
/// it, and evidence is late from its arrival on.
fn fixed_ids(alerts: &[Value]) -> BTreeMap<String, [String; 3]> {
    let told = |a: &Value| {
        let cleared = if a["status"] == "FALSE_POSITIVE" { &Value::Null } else { &a["cleared_at"] };
        (
            format!("{} {}", a["rule"], a["subject"]),
            [&a["id"], &a["detected_at"], cleared].map(Value::to_string),
        )
    };
    alerts.iter().filter(|a| a["rule"] != "device_silent").map(told).collect()
}

#[test]
fn four_ways_to_tell_a_night_bring_the_same_alerts_to_the_receiver() {
    let gateways = WAYS.map(|(gateway, ..)| gateway);
    let users: Vec<String> =
        gateways.iter().map(|g| (*g).to_owned()).chain((1..=GUARDS).map(|n| format!("hs-{n}"))).collect();
    let noc = Noc::start(&gateways);
    let outside = WAYS.map(|(_, outside, _)| outside.then(|| Mosquitto::start(&users)));
    // The agents are up before the script begins: what fell due before they began is not judged.
    let script = Script::beginning(now() + Span::from_secs(2));
    let agents = [0, 1, 2, 3].map(|i| {
        let source = outside[i].as_ref().map_or(Source::Embedded, Source::External);
        Agent::start(gateways[i], &script.plant(), source, Some(&noc.uplink(gateways[i])))
    });
    assert!(now() < script.begins + DEADLINES, "the agents did not start in time");
    // Nothing can be heard before it happens.
    until("the night begins", || now() > script.begins);
    let told: Vec<Vec<Value>> = std::thread::scope(|scope| {
        let tellers: Vec<_> = (0..4)
            .map(|i| {
                let (agent, noc) = (&agents[i], &noc);
                let at = outside[i].as_ref().map_or_else(|| agent.mqtt(), Mosquitto::address);
                scope.spawn(move || tell(script, noc, agent, at, (gateways[i], WAYS[i].2)))
            })
            .collect();
        tellers.into_iter().map(|t| t.join().unwrap()).collect()
    });
    for (alerts, (gateway, ..)) in told.iter().zip(WAYS) {
        assert_eq!(fixed_ids(alerts), fixed_ids(&told[0]), "{gateway}: the same ids at the same instants");
        assert_eq!(noc.gateway(gateway)["missing"], 0, "{gateway}");
        let sleeper = alerts.iter().find(|a| a["rule"] == "inactivity").unwrap();
        assert_eq!(sleeper["detected_at"], json!(script.evaluation()), "{gateway}: at the first evaluation");
    }
    for agent in &agents {
        assert_eq!(agent.outcomes("duplicate"), 1, "the call that was sent twice counts once");
    }
}
