//! Commands of the operations centre, from an operator's request to the alert on site and back again.

// All of it is test code: a failed unwrap is a failed test.
#![cfg(test)]

use serde_json::{Value, json};
use std::process::Output;
use vigil_core::time::Span;
use vigil_tests::house::PATIENCE;
use vigil_tests::house::{
    Agent, FaultyNoc, Handset, Noc, Plant, Source, Uplink, ended, eventually, message, mosquitto_client, now,
    topic, until,
};

/// An agent with one open `sos`, and the alert's id.
fn emergency(uplink: &Uplink) -> (Agent, String) {
    let plant = Plant::default().guards(1).and("[policy]\nsettle = \"0s\"");
    let agent = Agent::start("gw-1", &plant, Source::Embedded, Some(uplink));
    let mut handset = Handset::connect(agent.mqtt(), "hs-1").unwrap();
    let help = message(now(), json!({"note": "help"})).to_string();
    handset.publish(&topic("hs-1", "sos"), help.as_bytes()).unwrap();
    let id = agent.alerts()[0]["id"].as_str().unwrap().to_owned();
    (agent, id)
}

fn step(alert: &str, status: &str) -> Value {
    json!({"alert": alert, "status": status, "method": "CALL", "response": "on the roof", "by": "Asha"})
}

fn alert(agent: &Agent, id: &str) -> Value {
    agent.alerts().into_iter().find(|alert| alert["id"] == id).unwrap()
}

/// Waits until the gateway has decided a command; its row at the operations centre.
fn decided(noc: &Noc, id: &str, state: &str) -> Value {
    eventually("a command is decided", PATIENCE, || {
        let row = noc.command("gw-1", id);
        if row["state"] == state && row["acknowledged_at"].is_string() {
            Ok(row)
        } else {
            Err(row.to_string())
        }
    })
}

#[test]
fn an_operator_closes_an_alert_and_an_illegal_step_comes_back_refused() {
    let noc = Noc::start(&["gw-1"]);
    let (agent, id) = emergency(&noc.uplink("gw-1"));
    let confirmed = noc.order("gw-1", "alert.status", &step(&id, "CONFIRMED"));
    until("the alert is confirmed on site", || alert(&agent, &id)["status"] == "CONFIRMED");
    let closed = alert(&agent, &id);
    assert_eq!(
        (&closed["verification"]["method"], &closed["history"][1]["by"]),
        (&json!("CALL"), &json!("Asha"))
    );
    until("its revision comes back", || noc.alerts("gw-1").contains(&closed));
    decided(&noc, &confirmed, "acknowledged");

    let illegal = noc.order("gw-1", "alert.status", &step(&id, "VERIFYING"));
    let why = "an alert that is CONFIRMED cannot become VERIFYING: that is final";
    assert_eq!(decided(&noc, &illegal, "refused")["refused"], why);
    assert_eq!(alert(&agent, &id), closed);
    let status = agent.status();
    assert_eq!(status["refused"]["command"], 1);
    assert_eq!((&status["commands"]["decided"], &status["commands"]["refused"]), (&json!(2), &json!(1)));
}

#[test]
fn what_cannot_be_carried_out_holds_up_nothing_and_a_task_goes_overdue() {
    let noc = Noc::start(&["gw-1"]);
    let (mut agent, id) = emergency(&noc.uplink("gw-1"));
    agent.kill();
    let orders = [
        ("alert.status", step(&id, "VERIFYING"), "acknowledged"),
        ("bundle.refresh", json!({}), "refused"),
        ("alert.sing", json!({"song": "any"}), "refused"),
        ("task.cancel", json!({"no": "task"}), "refused"),
        (
            "task.upsert",
            json!({"task": "T-1", "title": "valve", "created_at": now() - Span::from_hours(3), "due_at": now() + Span::from_secs(3)}),
            "acknowledged",
        ),
        ("alert.status", step(&id, "CONFIRMED"), "acknowledged"),
    ];
    let sent: Vec<_> = orders.iter().map(|(kind, data, _)| noc.order("gw-1", kind, data)).collect();
    agent.start_again();
    until("the last one is carried out", || alert(&agent, &id)["status"] == "CONFIRMED");
    for (id, (kind, _, state)) in sent.iter().zip(&orders) {
        let row = decided(&noc, id, state);
        assert!(
            *state != "refused" || row["refused"].as_str().is_some_and(|why| !why.is_empty()),
            "{kind}: {row}"
        );
    }
    let overdue = |a: &Value| a["rule"] == "task_overdue" && a["subject"] == "task:T-1";
    until("the task goes overdue, and the operations centre hears of it", || {
        noc.alerts("gw-1").iter().any(overdue)
    });
}

#[test]
fn a_command_that_comes_again_after_a_kill_counts_once_whatever_the_receiver_does() {
    let noc = FaultyNoc::start();
    let (mut agent, id) = emergency(&noc.uplink());
    let command = |seq: u64, status: &str| json!({"seq": seq, "id": format!("c-{seq}"), "type": "alert.status", "data": step(&id, status)});
    let both =
        json!({"commands": [command(1, "VERIFYING"), {"seq": 2}, command(3, "CONFIRMED")]}).to_string();
    let flood = "x".repeat(2 * 1024 * 1024);
    noc.give(&[(500, "{}"), (200, "<html>log in</html>"), (200, &flood), (200, &both)]);
    until("the command is carried out", || alert(&agent, &id)["status"] == "CONFIRMED");
    let closed = alert(&agent, &id);
    assert_eq!(closed["revision"], 3);
    agent.kill();
    let before = noc.polls().len();
    noc.give(&[(200, &both)]);
    agent.start_again();
    until("it has come again", || noc.polls().len() > before + 1);
    let polls = noc.polls();
    assert_eq!(polls[before], "after=3&wait=0", "what was decided is acknowledged, after a kill too");
    assert_eq!(alert(&agent, &id), closed, "and has no effect");
    let status = agent.status();
    assert_eq!((&status["commands"]["decided"], &status["refused"]["command"]), (&json!(0), &json!(1)));
}

/// Mosquitto's client as the ear of a handset: a session of its own, in which what is published while it is away waits.
fn ear(agent: &Agent, ends: &[&str]) -> Output {
    let mut command = mosquitto_client("mosquitto_sub", agent.mqtt(), "hs-1");
    command.args(["-i", "ear-1", "-c", "-q", "1", "-t", &topic("hs-1", "prompt"), "-v"]);
    ended(command.args(ends))
}

/// A welfare check that an operator orders, with so much time to answer; the row of the command when it is known what
/// came of it. `answer` is called when the handset has been asked.
fn checked(time: &str, answer: impl FnOnce(&mut Handset)) -> (Agent, Value) {
    let noc = Noc::start(&["gw-1"]);
    let policy = format!("[policy]\nsettle = \"0s\"\n[policy.inactivity]\nwelfare_check = \"{time}\"");
    let plant = Plant::default().guards(1).and(&policy);
    let agent = Agent::start("gw-1", &plant, Source::Embedded, Some(&noc.uplink("gw-1")));
    let listens = ear(&agent, &["-E"]);
    assert!(listens.status.success(), "{listens:?}");
    let mut handset = Handset::connect(agent.mqtt(), "hs-1").unwrap();
    handset.publish(&topic("hs-1", "heartbeat"), message(now(), json!({})).to_string().as_bytes()).unwrap();
    let order = noc.order("gw-1", "welfare.check", &json!({"guard": "G-1"}));
    let heard = ear(&agent, &["-C", "1", "-W", "60"]);
    assert!(heard.status.success(), "{heard:?}");
    let line = String::from_utf8(heard.stdout).unwrap();
    let (on, asked) = line.trim_end().split_once(' ').unwrap();
    let asked: Value = serde_json::from_str(asked).unwrap();
    assert_eq!((on, &asked["guard"]), (topic("hs-1", "prompt").as_str(), &json!("G-1")), "{line}");
    answer(&mut handset);
    let row = eventually("it is known what came of the check", PATIENCE, || {
        let row = noc.command("gw-1", &order);
        let done = row["result"].is_object() && row["state"] == "acknowledged";
        if done { Ok(row) } else { Err(row.to_string()) }
    });
    assert_eq!(row["result"]["asked_at"], asked["ts"]);
    let again = ear(&agent, &["-C", "1", "-W", "2"]);
    assert!(!again.status.success() && again.stdout.is_empty(), "a guard is asked once: {again:?}");
    (agent, row)
}

#[test]
fn a_guard_answers_a_welfare_check_on_the_handset() {
    let (_agent, row) = checked("2m", |handset| {
        let alive = message(now(), json!({"event": "answered"})).to_string();
        handset.publish(&topic("hs-1", "activity"), alive.as_bytes()).unwrap();
    });
    let (asked, answered) = (&row["result"]["asked_at"], &row["result"]["answered_at"]);
    assert!(answered.as_str() >= asked.as_str() && answered.is_string(), "{row}");
}

#[test]
fn a_welfare_check_that_nobody_answers_comes_back_unanswered() {
    let (agent, row) = checked("10s", |_| {});
    assert_eq!((&row["result"]["guard"], &row["result"]["answered_at"]), (&json!("G-1"), &Value::Null));
    assert!(agent.alerts().is_empty(), "that nobody answered is for whoever asked to judge");
}
