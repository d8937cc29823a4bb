//! What a person on the gateway says of an alert: over the local API, and by `vigil alerts`.

use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use vigil_tests::house::{Agent, Ended, Handset, Noc, Plant, Source, message, now, topic, until, vigil};

/// An agent with one open `sos`, and the alert's id.
fn emergency(noc: Option<&Noc>) -> (Agent, String) {
    let uplink = noc.map(|noc| noc.uplink("gw-1"));
    let agent = Agent::start("gw-1", &Plant::default().guards(1), Source::Embedded, uplink.as_ref());
    let mut handset = Handset::connect(agent.mqtt(), "hs-1").expect("a way in");
    let help = message(now(), json!({"note": "help"})).to_string();
    handset.publish(&topic("hs-1", "sos"), help.as_bytes()).expect("acknowledged");
    let id = agent.alerts()[0]["id"].as_str().expect("an id").to_owned();
    (agent, id)
}

/// Posts a step with these headers; the status and the body of the answer.
fn post(page: SocketAddr, id: &str, headers: &[(&str, &str)], body: &str) -> (u16, Value) {
    let mut head = format!("POST /api/v1/alerts/{id}/status HTTP/1.1\r\nconnection: close\r\n");
    let host = format!("127.0.0.1:{}", page.port());
    let usual = [("host", host.as_str()), ("content-type", "application/json")];
    let given = |name: &str| headers.iter().any(|(known, _)| *known == name);
    for (name, value) in usual.iter().filter(|(name, _)| !given(name)).chain(headers) {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut stream = TcpStream::connect(page).expect("the page listens");
    write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    (status, serde_json::from_str(body).unwrap_or(Value::String(body.to_owned())))
}

fn alerts(agent: &Agent, arguments: &[&str]) -> Ended {
    let url = format!("http://{}", agent.page());
    let all = [&["alerts"], arguments, &["--url", &url]].concat();
    vigil(&all)
}

#[test]
fn a_step_is_taken_told_on_site_and_sent_to_the_operations_centre() {
    let noc = Noc::start(&["gw-1"]);
    let (agent, id) = emergency(Some(&noc));
    let step =
        json!({"status": "VERIFYING", "method": "CALL", "response": "no answer", "by": "Asha"}).to_string();
    let (status, alert) = post(agent.page(), &id, &[], &step);
    assert_eq!(status, 200, "{alert}");
    assert_eq!((&alert["status"], &alert["revision"]), (&json!("VERIFYING"), &json!(2)));
    assert_eq!(alert["verification"]["response"], "no answer");
    assert_eq!(agent.alerts()[0], alert, "it is stored");
    until("the operations centre has it", || noc.alerts("gw-1").iter().any(|a| a["revision"] == 2));
    let (status, refused) = post(agent.page(), &id, &[], &step);
    let why = "an alert that is VERIFYING cannot become VERIFYING: CONFIRMED, RESOLVED or FALSE_POSITIVE may follow";
    assert_eq!((status, refused), (409, json!({"error": why})));
    assert_eq!(agent.status()["refused"]["command"], 1, "and it is on record");
    assert_eq!(agent.alerts()[0]["revision"], 2);
}

#[test]
fn what_is_wrong_is_said_and_changes_nothing() {
    let (agent, id) = emergency(None);
    let good = json!({"status": "CONFIRMED", "by": "Asha"}).to_string();
    let unknown = "00000000-0000-5000-8000-000000000000";
    let own = format!("http://127.0.0.1:{}", agent.page().port());
    type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str, u16, &'a str);
    let table: [Row<'_>; 9] = [
        (unknown, &[], &good, 404, "there is no alert"),
        ("sos", &[], &good, 400, "UUID"),
        (&id, &[], "{", 400, "EOF"),
        (&id, &[], r#"{"status":"CONFIRMED"}"#, 400, "missing field `by`"),
        (&id, &[], r#"{"status":"DONE","by":"Asha"}"#, 400, "unknown variant `DONE`"),
        (&id, &[("content-type", "text/plain")], &good, 415, "application/json"),
        (&id, &[("origin", "http://evil.example.org")], &good, 403, "another origin"),
        (&id, &[("host", "evil.example.org"), ("origin", "http://evil.example.org")], &good, 403, "Host"),
        (&id, &[("origin", &own), ("sec-fetch-site", "cross-site")], &good, 403, "another origin"),
    ];
    for (id, headers, body, expected, part) in table {
        let (status, answer) = post(agent.page(), id, headers, body);
        let why = answer["error"].as_str().unwrap_or_default();
        assert!(status == expected && why.contains(part), "{headers:?} {body}: {status} {answer}");
    }
    let (status, _) = post(agent.page(), &id, &[], &"x".repeat(20_000));
    assert_eq!(status, 413);
    assert_eq!(agent.alerts()[0]["revision"], 1);
    let (status, _) = post(agent.page(), &id, &[("origin", &own)], &good);
    assert_eq!(status, 200, "the gateway's own page may");
}

#[test]
fn a_person_at_the_terminal_closes_an_alert_and_it_outlives_a_kill() {
    let (mut agent, id) = emergency(None);
    let short = &id[..8];
    let listed = alerts(&agent, &["--open"]);
    assert!(listed.out.contains(short), "{}", listed.out);
    let verified = alerts(
        &agent,
        &[
            "verify",
            short,
            "--by",
            "Asha",
            "--method",
            "call",
            "--response",
            "on the roof",
            "--note",
            "ladder",
        ],
    );
    assert_eq!(verified.code, Some(0), "{}", verified.err);
    assert!(verified.out.starts_with("VERIFYING by Asha: "), "{}", verified.out);
    let resolved = alerts(&agent, &["resolve", &id, "--by", "Asha", "--json"]);
    let alert: Value = serde_json::from_str(&resolved.out).expect("JSON");
    assert_eq!((&alert["status"], &alert["verification"]["method"]), (&json!("RESOLVED"), &json!("CALL")));
    assert_eq!(alert["history"][1]["note"], "ladder");
    agent.kill();
    agent.start_again();
    assert_eq!(agent.alerts()[0], alert);
    let refused = alerts(&agent, &["reject", short, "--by", "Ravi"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("RESOLVED cannot become FALSE_POSITIVE: that is final"), "{}", refused.err);
    assert!(alerts(&agent, &["--open"]).out.contains("no alerts"));
    let listed = vigil(&["status", "--refused", "--url", &format!("http://{}", agent.page())]);
    assert!(listed.out.contains("command"), "{}", listed.out);
}

#[test]
fn a_wrong_word_is_told_before_anybody_is_asked() {
    let table: [(&[&str], &str); 4] = [
        (&["alerts", "confirm", "afd1abb5"], "--by"),
        (&["alerts", "confirm", "afd1", "--by", "Asha"], "8 hex digits"),
        (&["alerts", "verify", "afd1abb5", "--by", "Asha", "--method", "pigeon"], "SUPERVISOR"),
        (&["alerts", "forget", "afd1abb5"], "unrecognized subcommand"),
    ];
    for (arguments, part) in table {
        let ended = vigil(arguments);
        assert!(ended.code == Some(2) && ended.err.contains(part), "{arguments:?}: {}", ended.err);
    }
}
