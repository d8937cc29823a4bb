//! Steps of alerts at the operations centre and on site, while each does not hear of the other, with a real agent.

use crate::Centre;
use serde_json::{Value, json};
use std::sync::Barrier;
use vigil_tests::house::{
    Agent, Handset, Noc, PATIENCE, Plant, Source, eventually, message, now, post, topic, until,
};

/// An agent with one open `sos`, and the alert's path at the operations centre.
fn emergency(centre: &Centre) -> (Agent, String, String) {
    let plant = Plant::default().guards(1).and("[policy]\nsettle = \"0s\"");
    let agent = Agent::start("gw-1", &plant, Source::Embedded, Some(&centre.gate().uplink("gw-1")));
    let mut handset = Handset::connect(agent.mqtt(), "hs-1").unwrap();
    let help = message(now(), json!({"note": "help"})).to_string();
    handset.publish(&topic("hs-1", "sos"), help.as_bytes()).unwrap();
    let id = agent.alerts()[0]["id"].as_str().unwrap().to_owned();
    until("the alert is at the operations centre", || !centre.desk().alerts("gw-1").is_empty());
    (agent, format!("/api/alerts/acme/plant-7/gw-1/{id}"), id)
}

/// Somebody at the operations centre takes it further, as it is now.
fn step(noc: &Noc, path: &str, status: &str) -> Value {
    let seen = noc.asked(path)["seen"].clone();
    let body = json!({"status": status, "method": "CALL", "response": "on the roof", "seen": seen});
    let (code, case) = noc.told(&format!("{path}/steps"), &body);
    assert_eq!(code, 201, "{case}");
    serde_json::from_str(&case).unwrap()
}

/// Somebody on site takes it further.
fn step_on_site(agent: &Agent, id: &str, status: &str) {
    let body = json!({"status": status, "by": "Meena", "method": "SUPERVISOR", "response": "seen"});
    let (code, said) = post(agent.page(), &format!("/api/v1/alerts/{id}/status"), &body).unwrap();
    assert_eq!(code, 200, "{said}");
}

/// Who took which step, and where it stands, once `done`.
fn history(noc: &Noc, path: &str, done: impl Fn(&Value) -> bool) -> Vec<(String, String, String)> {
    let case = eventually("both sides know of each other", PATIENCE, || {
        let case = noc.asked(path);
        if done(&case) { Ok(case) } else { Err(case["history"].to_string()) }
    });
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let lines = case["history"].as_array().unwrap().iter();
    lines.map(|line| (text(&line["by"]), text(&line["status"]), text(&line["state"]))).collect()
}

fn lines<const N: usize>(expected: [(&str, &str, &str); N]) -> Vec<(String, String, String)> {
    expected.map(|(by, status, state)| (by.to_owned(), status.to_owned(), state.to_owned())).to_vec()
}

fn last(case: &Value, state: &str) -> bool {
    case["history"].as_array().is_some_and(|lines| lines.iter().any(|line| line["state"] == state))
}

#[test]
fn what_is_decided_on_site_first_stands_and_both_are_shown_on_sqlite() {
    on_site_first(&Centre::of_a_file(&["gw-1"]));
}

#[test]
fn what_is_decided_on_site_first_stands_and_both_are_shown_on_postgres() {
    on_site_first(&Centre::of_a_server(&["gw-1"]));
}

fn on_site_first(centre: &Centre) {
    let noc = centre.desk();
    let (mut agent, path, id) = emergency(centre);
    agent.kill();
    let case = step(noc, &path, "FALSE_POSITIVE");
    assert_eq!(case["status"], "FALSE_POSITIVE", "the centre shows its own step at once");
    // On site it is decided before the line is back: nobody listens where the agent looks for its operations centre.
    let file = agent.folder().join("agent.toml");
    let told = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, told.replace(&centre.gate().uplink("gw-1").url, "https://127.0.0.1:1/v1")).unwrap();
    agent.start_again();
    step_on_site(&agent, &id, "CONFIRMED");
    agent.kill();
    assert!(last(&noc.asked(&path), "on_its_way"), "the centre has not heard of it");
    std::fs::write(&file, told).unwrap();
    agent.start_again();

    let shown = history(noc, &path, |case| last(case, "refused") && case["alert"]["status"] == "CONFIRMED");
    let mut shown = shown;
    shown.sort();
    let mut expected = lines([
        ("agent", "DETECTED", "-"),
        ("Meena", "CONFIRMED", "-"),
        ("token:tests", "FALSE_POSITIVE", "refused"),
    ]);
    expected.sort();
    assert_eq!(shown, expected);
    let case = noc.asked(&path);
    let refused = case["steps"][0]["refused"].as_str().unwrap();
    assert_eq!(refused, "an alert that is CONFIRMED cannot become FALSE_POSITIVE: that is final");
    assert_eq!(case["status"], "CONFIRMED");
    let on_site = agent.alerts().into_iter().find(|alert| alert["id"] == id.as_str()).unwrap();
    assert_eq!(case["alert"], on_site, "both sides show the same");
}

#[test]
fn steps_that_can_follow_each_other_are_all_carried_out_on_sqlite() {
    one_after_the_other(&Centre::of_a_file(&["gw-1"]));
}

#[test]
fn steps_that_can_follow_each_other_are_all_carried_out_on_postgres() {
    one_after_the_other(&Centre::of_a_server(&["gw-1"]));
}

fn one_after_the_other(centre: &Centre) {
    let noc = centre.desk();
    let (mut agent, path, id) = emergency(centre);
    agent.kill();
    step(noc, &path, "VERIFYING");
    let case = step(noc, &path, "RESOLVED");
    assert_eq!((&case["status"], &case["legal"]), (&json!("RESOLVED"), &json!([])));
    agent.start_again();
    let done = |case: &Value| case["alert"]["status"] == "RESOLVED" && !last(case, "on_its_way");
    let shown = history(noc, &path, done);
    let expected = lines([
        ("agent", "DETECTED", "-"),
        ("token:tests", "VERIFYING", "at_gateway"),
        ("token:tests", "RESOLVED", "at_gateway"),
    ]);
    assert_eq!(shown, expected);
    until("the gateway shows it too", || {
        agent.alerts().iter().any(|alert| alert["id"] == id.as_str() && alert["status"] == "RESOLVED")
    });
}

#[test]
fn of_several_people_who_decide_at_once_one_does_on_sqlite() {
    all_at_once(&Centre::of_a_file(&["gw-1"]));
}

#[test]
fn of_several_people_who_decide_at_once_one_does_on_postgres() {
    all_at_once(&Centre::of_a_server(&["gw-1"]));
}

/// Eight people look at one alert, at either receiver, and press a button in the same moment; as long as there is something to decide.
fn all_at_once(centre: &Centre) {
    let (agent, path, id) = emergency(centre);
    let steps = format!("{path}/steps");
    for (status, others) in [("VERIFYING", "FALSE_POSITIVE"), ("CONFIRMED", "RESOLVED")] {
        let seen = centre.desk().asked(&path)["seen"].clone();
        let ready = Barrier::new(8);
        let told: Vec<(u16, String)> = std::thread::scope(|scope| {
            let people = (0..8).map(|person| {
                let (seen, ready, steps) = (&seen, &ready, &steps);
                let (way, status) = (
                    if person % 2 == 0 { centre.desk().ask() } else { centre.gate().ask() },
                    if person < 4 { status } else { others },
                );
                let body = json!({"status": status, "method": "CALL", "response": "-", "seen": seen});
                scope.spawn(move || {
                    ready.wait();
                    way.told(steps, &body)
                })
            });
            people.collect::<Vec<_>>().into_iter().map(|person| person.join().unwrap()).collect()
        });
        let of = |code| told.iter().filter(|(told, _)| *told == code).count();
        assert_eq!((of(201), of(409)), (1, 7), "{told:?}");
        let case = centre.desk().asked(&path);
        if case["status"] != "VERIFYING" {
            break;
        }
    }
    let case = centre.desk().asked(&path);
    let decided = case["steps"].as_array().unwrap();
    assert!((1..=2).contains(&decided.len()), "{case}");
    until("the gateway knows the last of them", || {
        agent.alerts().iter().any(|alert| alert["id"] == id.as_str() && alert["status"] == case["status"])
    });
}
