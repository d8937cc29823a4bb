//! Commands of the operations centre, from an operator's request to the alert on site and back again.

// All of it is test code: a failed unwrap is a failed test.
#![cfg(test)]

use serde_json::{Value, json};
use vigil_core::time::Span;
use vigil_tests::house::PATIENCE;
use vigil_tests::house::{
    Agent, FaultyNoc, Handset, Noc, Plant, Source, Uplink, eventually, message, now, topic, until,
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
