//! A call for help that nobody takes on, from a real agent to a contact outside: once, also when a receiver dies over it.

use crate::noc_pages::{assert_fits, click, keep, logged_in};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use vigil_tests::browser::{Browser, Driver, Screen};
use vigil_tests::house::{
    Agent, Handset, Noc, Plant, Source, eventually, message, new_database, now, topic, until,
};

const GATEWAY: &str = "gw-1";
const SECRET: (&str, &str) = ("hook", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=");

/// What came in: the name of the message, its signature and the body.
type Heard = Arc<Mutex<Vec<(String, String, Value)>>>;

/// A contact's server that cannot take the first message, and takes every other.
fn contact() -> (SocketAddr, Heard) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (at, heard) = (listener.local_addr().unwrap(), Heard::default());
    let kept = Arc::clone(&heard);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut length, mut id, mut signature) = (0, String::new(), String::new());
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                let (name, value) = line.split_once(':').unwrap_or(("", ""));
                match name.to_ascii_lowercase().as_str() {
                    "content-length" => length = value.trim().parse().unwrap(),
                    "webhook-id" => id = value.trim().to_owned(),
                    "webhook-signature" => signature = value.trim().to_owned(),
                    _ => {}
                }
                line.clear();
            }
            let mut body = vec![0; length];
            if reader.read_exact(&mut body).is_err() {
                continue;
            }
            let mut kept = kept.lock().unwrap();
            kept.push((id, signature, serde_json::from_slice(&body).unwrap()));
            let status = if kept.len() == 1 { "503 Not Now" } else { "204 No Content" };
            let _gone = write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    });
    (at, heard)
}

fn tables(contact: SocketAddr, after: &str) -> String {
    format!(
        "[[contacts]]\nname = \"duty\"\nwebhook = \"http://{contact}/vigil\"\ncredential = \"hook\"\n\
         [[escalation]]\nafter = \"{after}\"\nto = [\"duty\"]\n"
    )
}

fn call_for_help(agent: &Agent, device: &str) -> String {
    let mut handset = Handset::connect(agent.mqtt(), device).unwrap();
    let help = message(now(), json!({"note": "help"})).to_string();
    handset.publish(&topic(device, "sos"), help.as_bytes()).unwrap();
    let alerts = agent.alerts();
    alerts.iter().find(|alert| alert["evidence"]["device"] == device).unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn agent(noc: &Noc) -> Agent {
    let plant = Plant::default().guards(2).and("[policy]\nsettle = \"0s\"");
    Agent::start(GATEWAY, &plant, Source::Embedded, Some(&noc.uplink(GATEWAY)))
}

fn told(noc: &Noc, id: &str) -> Value {
    noc.asked(&format!("/api/alerts/acme/plant-7/{GATEWAY}/{id}"))["told"].clone()
}

#[test]
fn a_contact_hears_of_a_call_that_nobody_takes_on_and_not_of_one_that_somebody_does() {
    let (contact, heard) = contact();
    let noc = Noc::telling("tests", &[GATEWAY], None, &tables(contact, "3s"), SECRET);
    let agent = agent(&noc);
    let taken_on = call_for_help(&agent, "hs-2");
    until("it is at the centre", || !noc.alerts(GATEWAY).is_empty());
    let path = format!("/api/alerts/acme/plant-7/{GATEWAY}/{taken_on}");
    let step = json!({"status": "VERIFYING", "method": "CALL", "seen": noc.asked(&path)["seen"]});
    assert_eq!(noc.told(&format!("{path}/steps"), &step).0, 201);

    let id = call_for_help(&agent, "hs-1");
    until("both are at the centre", || noc.alerts(GATEWAY).len() == 2);
    until("the contact has it", || told(&noc, &id)[0]["state"] == "told");
    let heard = heard.lock().unwrap().clone();
    let [first, second] = heard.as_slice() else { panic!("{heard:?}") };
    assert_eq!((&first.0, &first.2), (&second.0, &second.2), "a second try is the same message");
    assert!(first.1.starts_with("v1,"), "{}", first.1);
    let alerts: Vec<&Value> =
        first.2["data"]["alerts"].as_array().unwrap().iter().map(|a| &a["id"]).collect();
    assert_eq!((&first.2["type"], alerts), (&json!("alert.escalated"), vec![&json!(id)]));
    let row = &told(&noc, &id)[0];
    assert_eq!((&row["contact"], &row["tries"]), (&json!("duty"), &json!(2)), "{row}");
    assert_eq!(told(&noc, &taken_on), json!([]), "somebody took that one on");
    assert_people_see(&noc, &id);
}

/// On the page of the alert and on that of all escalations.
fn assert_people_see(noc: &Noc, id: &str) {
    let (driver, page) = (Driver::start(), format!("http://{}", noc.page()));
    let browser =
        logged_in(&driver, noc, "Ravi", Screen::Desk, &format!("{page}/alerts/acme/plant-7/{GATEWAY}/{id}"));
    browser.sees("#told-part h2", "Who was told");
    browser.sees("#told [data-state=told] .head", "duty");
    browser.sees("#told [data-state=told] li:first-child", "503");
    browser.sees("#told [data-state=told] li:last-child", "204");
    assert_fits(&browser);
    keep(&browser, "alert-told");

    let supervisor = driver.open(Screen::Desk, &format!("{page}{}", noc.way_in_as("Mira", "supervisor")));
    supervisor.sees("main, body", "");
    supervisor.go(&format!("{page}/escalations"));
    supervisor.sees("tbody tr", "duty");
    supervisor.sees("tbody td:nth-child(3)", "told, ");
    supervisor.sees("tbody td:nth-child(4)", "2");
    supervisor.sees("tbody td:nth-child(8)", "G-1 calls for help");
    assert_fits(&supervisor);
    keep(&supervisor, "escalations-told");
    click(&supervisor, "tbody a");
    supervisor.sees("#told [data-state=told] .head", "duty");
    supervisor.go(&format!("{page}/escalations?state=waiting"));
    supervisor.sees("section p", "Nobody was told");
    let severe: Vec<String> = [&browser, &supervisor].into_iter().flat_map(Browser::complaints).collect();
    assert_eq!(severe, [""; 0]);
    supervisor.go(&format!("{page}/escalations?state=often"));
    supervisor.sees("main, body", "state is waiting, told, refused");
}

#[test]
fn of_two_receivers_one_tells_and_the_other_goes_on_when_it_dies() {
    let (contact, heard) = contact();
    let database = new_database();
    let tables = tables(contact, "0s");
    let mut gate = Noc::telling("gate", &[GATEWAY], Some(&database), &tables, SECRET);
    let desk = Noc::telling("tests", &[GATEWAY], Some(&database), &tables, SECRET);
    let agent = agent(&gate);
    let id = call_for_help(&agent, "hs-1");
    until("it was tried once, in vain", || !heard.lock().unwrap().is_empty());
    gate.kill();
    // If it died in the midst of a try, nobody touches the message before its claim has run out.
    eventually("the other one tells it", Duration::from_secs(180), || {
        let row = told(&desk, &id)[0].clone();
        if row["state"] == "told" { Ok(()) } else { Err(row.to_string()) }
    });
    // Whoever is told twice within this time would be told by somebody who does not look what another did.
    std::thread::sleep(Duration::from_secs(2));
    let heard = heard.lock().unwrap().clone();
    let [first, second] = heard.as_slice() else { panic!("{heard:?}") };
    assert_eq!(first.0, second.0, "the contact can tell that it is the same");
}
