//! The pages of the gateway and of the NOC in a real browser: what is seen, without a reload, on a desk and on a phone.

use serde_json::{Value, json};
use std::net::SocketAddr;
use vigil_core::time::{Span, Timestamp};
use vigil_tests::browser::{Browser, Driver, Screen};
use vigil_tests::house::{
    Agent, Handset, Noc, Plant, SmallDisk, Source, message, now, topic, until, with_small_disks,
};

const GATEWAY: &str = "gw-1";
const ZONE: &str = "Asia/Kolkata";
/// Half an hour more than the window of the default policy.
const BACKLOG_MINS: i64 = 150;

fn plant() -> Plant {
    Plant::default().zone(ZONE).guards(3).checkpoints(2)
}

fn page(at: SocketAddr) -> String {
    format!("http://{at}/")
}

/// What a handset tells that has been offline: every five minutes it was handled and carried.
fn backlog() -> Value {
    let at = |mins: i64| now() - Span::from_mins(mins);
    let minutes = (1..BACKLOG_MINS).rev().step_by(5);
    minutes
        .map(|n| message(at(n), json!({"battery": 0.8, "interactions": 3, "steps": 40})))
        .collect::<Vec<_>>()
        .into()
}

fn say(handset: &mut Handset, device: &str, kind: &str, payload: &Value) {
    handset.publish(&topic(device, kind), payload.to_string().as_bytes()).expect("an acknowledgement");
}

fn call_for_help(agent: &Agent, device: &str, note: &str) -> Timestamp {
    let (mut handset, at) = (Handset::connect(agent.mqtt(), device).expect("a way in"), now());
    say(&mut handset, device, "sos", &message(at, json!({ "note": note })));
    at
}

/// Whoever reloads the page loses the mark.
fn mark(browser: &Browser) {
    browser.run("window.vigilMark = 'not reloaded';");
}

fn assert_not_reloaded(browser: &Browser) {
    assert_eq!(browser.run("return window.vigilMark;"), "not reloaded");
}

#[track_caller]
fn assert_fits(browser: &Browser) {
    for screen in [Screen::Phone, Screen::Desk] {
        browser.resize(screen);
        assert!(browser.overflow() <= 0, "{screen:?}: {} px too wide", browser.overflow());
    }
}

/// The operators' page, with a log-in on the way.
fn way_in(noc: &Noc) -> String {
    format!("{}{}", page(noc.page()).trim_end_matches('/'), noc.way_in())
}

/// The way that a screen reader and a person go: every section has a heading, every figure a name.
#[track_caller]
fn assert_named(browser: &Browser) {
    let nameless = "return [...document.querySelectorAll('section')]
        .filter((s) => !document.getElementById(s.getAttribute('aria-labelledby'))?.innerText)
        .concat([...document.querySelectorAll('progress:not([aria-label]), html:not([lang]), th:not([scope])')])
        .map((node) => node.outerHTML.slice(0, 80));";
    assert_eq!(browser.run(nameless), json!([]));
    assert_eq!(browser.run("return document.querySelectorAll('[aria-live=assertive]').length;"), 1);
}

#[test]
fn an_alert_appears_on_both_pages_without_a_reload() {
    let noc = Noc::start(&[GATEWAY]);
    let agent = Agent::start(GATEWAY, &plant(), Source::Embedded, Some(&noc.uplink(GATEWAY)));
    let driver = Driver::start();
    let pages = [page(agent.page()), way_in(&noc)].map(|url| driver.open(Screen::Desk, &url));
    for browser in &pages {
        browser.sees("#link", "live");
        browser.sees("#alerts-empty", "all quiet");
        mark(browser);
    }
    call_for_help(&agent, "hs-1", "the first");
    for browser in &pages {
        browser.sees("#alerts [data-rule=sos]", "G-1 calls for help");
        browser.sees("#count-critical", "1");
    }
    let at = call_for_help(&agent, "hs-2", "the second");
    for browser in &pages {
        browser.sees("#alerts > li:first-child .summary", "the second");
        browser.sees("#count-critical", "2");
        assert_eq!(browser.text("#alerts-empty"), None, "it is not quiet any more");
        let spoken = browser.run("return document.getElementById('spoken').textContent;");
        assert!(spoken.as_str().unwrap().contains("Critical: G-2"), "{spoken}");
        let when = browser.run(
            "const when = document.querySelector('#alerts .when'); return [when.innerText, when.title];",
        );
        assert_eq!(when, json!([at.local_clock(ZONE.parse().unwrap()), format!("{at} (UTC)")]));
        assert_not_reloaded(browser);
        assert_fits(browser);
        assert_named(browser);
        assert_eq!(browser.complaints(), [""; 0]);
    }
}

#[test]
fn the_gateway_s_page_shows_the_guards_with_their_signals() {
    let mut agent = Agent::start(GATEWAY, &plant(), Source::Embedded, None);
    let driver = Driver::start();
    let browser = driver.open(Screen::Phone, &page(agent.page()));
    browser.sees("[data-guard=G-1] .chip", "off duty");
    browser.sees("[data-guard=G-1]", "no recent sign of life");
    browser.sees("#runs-empty", "no tour is under way");
    browser.sees("#uplink", "not configured");
    mark(&browser);
    for (device, since) in [("hs-1", Span::from_hours(3)), ("hs-2", Span::from_mins(5))] {
        let mut handset = Handset::connect(agent.mqtt(), device).unwrap();
        say(&mut handset, device, "attendance", &message(now() - since, json!({"action": "check_in"})));
        if device == "hs-1" {
            say(&mut handset, device, "heartbeat", &backlog());
        }
    }
    browser.sees("[data-guard=G-1] [data-signal=phone]", "active");
    browser.sees("[data-guard=G-1] [data-signal=movement]", "active");
    browser.sees("[data-guard=G-1] [data-signal=tasks]", "unknown");
    browser.sees("[data-guard=G-1] [data-signal=tours]", "unknown");
    browser.sees("[data-guard=G-1] .score", "inactivity 0.00, limit 0.80");
    browser.sees("[data-guard=G-1]", "last sign of life");
    browser.sees("[data-guard=G-2] .chip", "on duty");
    browser.sees("[data-guard=G-2] .verdict", "no verdict yet");
    browser.sees("[data-guard=G-3] .chip", "off duty");
    browser.sees("[data-key=hs-1]", "80 %");
    browser.sees("#count-on-duty", "2");
    assert_not_reloaded(&browser);
    assert_fits(&browser);
    assert_named(&browser);
    assert_eq!(browser.complaints(), [""; 0]);

    agent.kill();
    browser.sees("#link", "disconnected");
    browser.sees("#cut", "what you see is as of");
    browser.sees("[data-guard=G-1] [data-signal=phone]", "active");
}

#[test]
fn the_gateway_s_page_shows_the_report_with_the_ranking() {
    let agent = Agent::start(GATEWAY, &plant(), Source::Embedded, None);
    let mut handset = Handset::connect(agent.mqtt(), "hs-1").unwrap();
    say(&mut handset, "hs-1", "attendance", &message(now(), json!({"action": "check_in"})));
    say(&mut handset, "hs-1", "task", &message(now(), json!({"task": "T-1", "state": "completed"})));
    let driver = Driver::start();
    let browser = driver.open(Screen::Desk, &page(agent.page()));
    // The agent has just begun: there is no yesterday, but for a test that runs around midnight.
    browser.sees("#report-title", "so far");
    browser.sees("#report-runs", "0 runs: 0 compliant, 0 missed");
    browser.sees("#report-tasks", "1 due, 0 overdue");
    browser.sees("#report-inactivity", "0 in the deep night");
    browser.sees("#report-duty", "0 devices fell silent");
    browser.sees("#standings [data-key=G-1]", "G-1");
    assert_fits(&browser);
    assert_named(&browser);
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn a_tour_that_is_over_shows_what_it_amounts_to() {
    let clock = now().to_string()[11..16].to_owned();
    let walked = Plant::default().guards(2).checkpoints(2).tour("walked", "G-1", &["cp-1"], &clock);
    let tours = walked.tour("under-way", "G-2", &["cp-1", "cp-2"], &clock);
    let agent = Agent::start(GATEWAY, &tours, Source::Embedded, None);
    let driver = Driver::start();
    let browser = driver.open(Screen::Phone, &page(agent.page()));
    for device in ["hs-1", "hs-2"] {
        let mut handset = Handset::connect(agent.mqtt(), device).unwrap();
        say(&mut handset, device, "attendance", &message(now(), json!({"action": "check_in"})));
        say(&mut handset, device, "scan", &message(now(), json!({"tag": "04AA0001"})));
    }
    browser.sees("#runs [data-compliance=COMPLIANT] .state", "compliant");
    browser.sees("#runs [data-status=IN_PROGRESS] .state", "in progress");
    assert_fits(&browser);
    assert_named(&browser);
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn a_stopped_noc_shows_on_both_pages() {
    let noc = Noc::start(&[GATEWAY]);
    let agent = Agent::start(GATEWAY, &plant(), Source::Embedded, Some(&noc.uplink(GATEWAY)));
    let driver = Driver::start();
    let gateway = driver.open(Screen::Desk, &page(agent.page()));
    let operators = driver.open(Screen::Phone, &way_in(&noc));
    call_for_help(&agent, "hs-1", "while the NOC is there");
    gateway.sees("#uplink", "reached");
    operators.sees("#alerts", "while the NOC is there");
    operators.sees("#gateways .verdict", "heard");
    gateway.sees("#outbox", "none rejected");
    mark(&gateway);

    drop(noc);
    operators.sees("#link", "disconnected");
    operators.sees("#cut", "what you see may be old");
    call_for_help(&agent, "hs-2", "while it is not");
    gateway.sees("#uplink", "not reached");
    gateway.sees("#outbox", "critical 1");
    gateway.sees("#alerts > li:first-child", "while it is not");
    gateway.sees("#link", "live");
    assert_not_reloaded(&gateway);
    assert_eq!(gateway.complaints(), [""; 0]);
}

#[test]
fn a_full_disk_is_said_on_the_gateway_s_page_until_there_is_room() {
    with_small_disks("a_full_disk_is_said_on_the_gateway_s_page_until_there_is_room", || {
        let folder = Agent::files(GATEWAY, &plant(), Source::Embedded, None);
        let disk = SmallDisk::at(&folder.path().join("data"), 64);
        let agent = Agent::of(folder, Some(disk));
        let driver = Driver::start();
        let browser = driver.open(Screen::Desk, &page(agent.page()));
        browser.sees("#store", "in order");
        assert_eq!(browser.text("#outage"), None);
        mark(&browser);
        let filled = agent.disk().fill(0);
        let mut round = 0;
        let lost = || {
            round += 1;
            let event =
                |n| message(now(), json!({"id": format!("{round}.{n}"), "event": "what a phone does"}));
            let many = Value::from((0..300).map(event).collect::<Vec<_>>()).to_string();
            let mut handset = Handset::connect(agent.mqtt(), "hs-1").expect("a way in");
            handset.publish(&topic("hs-1", "activity"), many.as_bytes()).is_err()
        };
        until("nothing is acknowledged any more", lost);
        let words = "nothing is being stored: the disk under data_dir is full; make room on it";
        browser.sees("#outage", words);
        browser.sees("#store", "out of order");
        let background = "return getComputedStyle(document.getElementById('outage')).backgroundColor;";
        assert_eq!(browser.run(background), "rgb(74, 29, 33)", "as loud as a page that is cut off");
        assert_fits(&browser);
        drop(filled);
        browser.sees("#store", "in order");
        assert_eq!(browser.text("#outage"), None);
        assert_not_reloaded(&browser);
        assert_named(&browser);
    });
}
