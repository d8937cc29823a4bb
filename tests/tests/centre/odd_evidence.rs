//! Alerts as no rule of this version writes them, and a centre with more pages open than it has seats: what can be shown is shown.

use crate::noc_pages::{assert_fits, click, fill, logged_in};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use vigil_cloud_sync::wire::Producer;
use vigil_cloud_sync::{Event, EventKind};
use vigil_core::time::Timestamp;
use vigil_tests::browser::{Driver, Screen};
use vigil_tests::house::Noc;

const GATEWAY: &str = "gw-1";

/// Each of so many programs follows with so many pages, which is every seat that a receiver has.
const PROGRAMS: usize = 6;
const PAGES: usize = 16;

/// An alert with that evidence, in JSON; `more` are other fields of it.
fn alert(n: u64, summary: &str, more: &str, evidence: &str) -> Event {
    let data = format!(
        r#"{{"id":"odd-{n}","revision":1,"rule":"inactivity","severity":"HIGH","status":"DETECTED","guard":"G-1","detected_at":"2026-03-10T22:05:0{n}.000Z","updated_at":"2026-03-10T22:05:00.000Z","summary":"{summary}"{more},"history":[],"evidence":{evidence}}}"#
    );
    Event {
        producer: Producer(7),
        sequence: n,
        id: format!("odd-{n}.1"),
        kind: EventKind::Alert,
        subject: "guard:G-1".to_owned(),
        time: Timestamp::from_millis(1_773_160_000_000),
        critical: false,
        data,
    }
}

#[test]
fn an_odd_alert_costs_no_other_and_its_page_shows_the_rest() {
    let noc = Noc::start(&[GATEWAY]);
    let deep = format!("{}{}", r#"{"in":"#.repeat(60), r#"{"lat":18.52,"lon":73.85}"#) + &"}".repeat(60);
    let odd = [
        r#"{"signals":{"phone":null},"score":910}"#.to_owned(),
        r#"{"signals":{"phone":{"state":"ACTIVE","count":1}},"window_start":"x","window_end":"y","score":910}"#.to_owned(),
        r#"{"scanned":5,"members":[null]}"#.to_owned(),
        r#"{"position":{"lat":18.52,"lon":73.85,"accuracy_m":1e308},"last":{"lat":91,"lon":73.85},"first":{"lat":-1e300,"lon":0}}"#.to_owned(),
        format!(r#"{{"position":{deep}}}"#),
    ];
    let numbered = (2..)
        .zip(&odd)
        .map(|(n, evidence)| alert(n, &format!("odd {n}"), r#","subject":"guard:G-1""#, evidence));
    let events: Vec<Event> = [alert(1, "without a subject", "", "{}")].into_iter().chain(numbered).collect();
    noc.takes("plant-7", GATEWAY, &events);
    let health = Event {
        sequence: 7,
        id: "health.1".to_owned(),
        kind: EventKind::Health,
        subject: "gateway".to_owned(),
        data: json!({ "site_name": "Plant ".repeat(500) }).to_string(),
        ..alert(7, "", "", "{}")
    };
    noc.takes("plant-7", GATEWAY, &[health]);

    let driver = Driver::start();
    let list = format!("http://{}/", noc.page());
    let browser = logged_in(&driver, &noc, "Ravi", Screen::Desk, &format!("{list}?single=true"));
    browser.sees("#alerts [data-id=odd-1] .summary", "without a subject");
    browser.sees("#alerts [data-id=odd-6] .summary", "odd 6");
    browser.sees("#link", "live");
    browser.sees("#alerts [data-id=odd-1]", "Plant Plant");
    let length = browser.run("return document.querySelector('#alerts [data-id=odd-1]').textContent.length;");
    assert!(length.as_u64() < Some(400), "a name of 3,000 characters is cut: {length}");
    assert_fits(&browser);
    let undrawn = "return [...document.querySelectorAll('#pictures p')].map((node) => node.dataset.picture);";
    let drawn =
        "return [...document.querySelectorAll('#pictures figure')].map((node) => node.dataset.picture);";
    let expected: [(Value, Value); 6] = [
        (json!([]), json!([])),
        (json!(["signals"]), json!(["score"])),
        (json!(["signals"]), json!(["score"])),
        (json!(["plan", "tour", "members"]), json!([])),
        (json!([]), json!(["plan"])),
        (json!([]), json!([])),
    ];
    for ((n, event), expected) in (1..).zip(&events).zip(expected) {
        browser.go(&format!("{list}alerts/acme/plant-7/{GATEWAY}/odd-{n}"));
        browser.sees("#alert .summary", if n == 1 { "without a subject" } else { "odd" });
        browser.sees("#link", "live");
        browser.sees("#choices", "confirm");
        assert_eq!((browser.run(undrawn), browser.run(drawn)), expected, "{}", event.data);
        assert_eq!(browser.text("#cut"), None, "{}", event.data);
    }
    // A fix that says nothing is drawn with a bound.
    browser.go(&format!("{list}alerts/acme/plant-7/{GATEWAY}/odd-5"));
    browser.sees("[data-picture=plan]", "±35000 m");
    assert_fits(&browser);

    // Enter in the note is no reason to refuse the step.
    browser.run("document.getElementById('note').value = 'he waved\\n\\nfrom the gate ';");
    click(&browser, "#choices [value=VERIFYING]");
    browser.sees("#history", "he waved from the gate");
    assert_eq!(browser.complaints(), [""; 0]);

    // What stands before the receiver may refuse in words of its own.
    browser.run("const real = window.fetch; window.fetch = (path, how) => how?.method === 'POST' ? Promise.resolve(new Response('<h1>no</h1>', {status: 502})) : real(path, how);");
    click(&browser, "#choices [value=RESOLVED]");
    browser.sees("#step-said", "with the status 502");
}

/// A page that follows the changes, until it is dropped.
fn seat(at: SocketAddr, token: &str) -> TcpStream {
    let mut stream = TcpStream::connect(at).unwrap();
    write!(stream, "GET /api/stream HTTP/1.1\r\nhost: {at}\r\nauthorization: Bearer {token}\r\n\r\n")
        .unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    stream
}

#[test]
fn without_a_seat_in_the_stream_a_page_reads_every_few_seconds_and_says_so() {
    let noc = Noc::start(&[GATEWAY]);
    noc.takes("plant-7", GATEWAY, &[alert(1, "before", "", "{}")]);
    let _seats: Vec<TcpStream> = (0..PROGRAMS)
        .flat_map(|n| {
            let token = noc.token_of(&format!("screen-{n}"), "viewer");
            (0..PAGES).map(move |_| token.clone())
        })
        .map(|token| seat(noc.page(), &token))
        .collect();
    let driver = Driver::start();
    let list = format!("http://{}/", noc.page());
    let browser = logged_in(&driver, &noc, "Ravi", Screen::Desk, &list);
    browser.sees("#alerts .summary", "before");
    browser.sees("#link", "without live news; read every 5 s");
    assert_eq!(browser.text("#cut"), None);
    noc.takes("plant-7", GATEWAY, &[alert(2, "after", "", "{}")]);
    browser.sees("#alerts [data-id=odd-2] .summary", "after");
    browser.sees("#link", "without live news");
    assert_fits(&browser);
    fill(&browser, "#filters [name=q]", "nobody");
    browser.sees("#alerts-empty", "no such alert");
    browser.go(&format!("{list}alerts/acme/plant-7/{GATEWAY}/odd-1"));
    browser.sees("#alert .summary", "before");
    browser.sees("#link", "without live news");
}
