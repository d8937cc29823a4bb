//! The operations centre's pages of alerts in a real browser: one is seen, made sure of and closed, and who comes second is told.

use crate::Centre;
use serde_json::{Value, json};
use std::rc::Rc;
use vigil_tests::browser::{Browser, Driver, Screen};
use vigil_tests::house::{Agent, Handset, Noc, Plant, Source, message, now, topic, until};

const GATEWAY: &str = "gw-1";

fn call_for_help(agent: &Agent, device: &str, note: &str) {
    let mut handset = Handset::connect(agent.mqtt(), device).unwrap();
    let help = message(now(), json!({ "note": note })).to_string();
    handset.publish(&topic(device, "sos"), help.as_bytes()).unwrap();
}

/// A browser in which that person has logged in, on `page`.
pub fn logged_in(driver: &Rc<Driver>, noc: &Noc, name: &str, screen: Screen, page: &str) -> Browser {
    let browser = driver.open(screen, &format!("http://{}{}", noc.page(), noc.way_in_of(name)));
    browser.sees("main, body", "");
    browser.go(page);
    browser
}

pub fn click(browser: &Browser, selector: &str) {
    browser.run(&format!("document.querySelector('{selector}').click();"));
}

pub fn fill(browser: &Browser, selector: &str, value: &str) {
    browser.run(&format!(
        "const field = document.querySelector('{selector}'); field.value = '{value}';
         field.dispatchEvent(new Event('input', {{bubbles: true}}));"
    ));
}

#[track_caller]
pub fn assert_fits(browser: &Browser) {
    for screen in [Screen::Phone, Screen::Desk] {
        browser.resize(screen);
        assert!(browser.overflow() <= 0, "{screen:?}: {} px too wide", browser.overflow());
    }
}

/// Every section has a heading, every field a label, and a finger finds every button.
#[track_caller]
fn assert_usable(browser: &Browser) {
    let nameless = "return [...document.querySelectorAll('section')]
        .filter((s) => !document.getElementById(s.getAttribute('aria-labelledby'))?.textContent)
        .concat([...document.querySelectorAll('input:not([type=hidden]), select, textarea')].filter((f) => f.labels.length === 0))
        .concat([...document.querySelectorAll('button')].filter((b) => b.checkVisibility() && b.offsetHeight < 40))
        .map((node) => node.outerHTML.slice(0, 80));";
    assert_eq!(browser.run(nameless), json!([]));
}

/// Keeps what is seen, if a folder for that is given.
pub fn keep(browser: &Browser, name: &str) {
    let Ok(folder) = std::env::var("VIGIL_SCREENSHOTS") else { return };
    for (screen, size) in [(Screen::Phone, "phone"), (Screen::Desk, "desk")] {
        browser.resize(screen);
        std::thread::sleep(std::time::Duration::from_millis(500));
        browser.picture(&std::path::Path::new(&folder).join(format!("{name}-{size}.png")));
    }
}

#[test]
fn an_alert_is_seen_made_sure_of_and_closed_and_who_comes_second_is_told_on_sqlite() {
    one_alert_and_two_people(&Centre::of_a_file(&[GATEWAY]));
}

#[test]
fn an_alert_is_seen_made_sure_of_and_closed_and_who_comes_second_is_told_on_postgres() {
    one_alert_and_two_people(&Centre::of_a_server(&[GATEWAY]));
}

fn one_alert_and_two_people(centre: &Centre) {
    let noc = centre.desk();
    let plant = Plant::default().zone("Asia/Kolkata").guards(2).and("[policy]\nsettle = \"0s\"");
    let agent = Agent::start(GATEWAY, &plant, Source::Embedded, Some(&centre.gate().uplink(GATEWAY)));
    let driver = Driver::start();
    let list = format!("http://{}/", noc.page());
    let [ravi, meena] = ["Ravi", "Meena"].map(|name| logged_in(&driver, noc, name, Screen::Desk, &list));
    ravi.sees("#alerts-empty", "all quiet");
    call_for_help(&agent, "hs-1", "at the boiler");
    ravi.sees("#alerts [data-rule=sos] .summary", "at the boiler");
    keep(&ravi, "list");
    for browser in [&ravi, &meena] {
        browser.sees("#alerts .summary", "at the boiler");
        click(browser, "#alerts .summary a");
        browser.sees("#alert .summary", "at the boiler");
        browser.sees("#history", "by the gateway");
        browser.sees("#choices", "confirm");
    }
    keep(&ravi, "case");
    // Meena's page does not hear of what Ravi does: her line is slow.
    meena.run("window.EventSource.prototype.addEventListener = () => {}; window.realFetch = window.fetch;
              window.fetch = (path, how) => how?.method === 'POST' || path === '/api/me' ? window.realFetch(path, how) : new Promise(() => {});");
    fill(&ravi, "#response", "on my way down");
    ravi.run("document.getElementById('method').value = 'CALL';");
    click(&ravi, "#choices [value=VERIFYING]");
    ravi.sees("#history [data-state=at_gateway]", "by call");
    ravi.sees("#history [data-state=at_gateway]", "on my way down");
    click(&meena, "#choices [value=FALSE_POSITIVE]");
    meena.sees("#step-said", "Ravi set it to VERIFYING at ");
    meena.sees("#step-said", "after you opened it; look again");
    keep(&meena, "second");
    ravi.run("document.getElementById('method').value = 'CALL';");
    click(&ravi, "#choices [value=CONFIRMED]");
    ravi.sees("#alert", "confirmed");
    ravi.sees("#step-none", "it is final");
    until("the gateway shows it", || agent.alerts()[0]["status"] == "CONFIRMED");
    let closed = &agent.alerts()[0];
    let by: Vec<&Value> = closed["history"].as_array().unwrap().iter().map(|step| &step["by"]).collect();
    assert_eq!(
        (by, &closed["verification"]["method"]),
        (vec![&json!("agent"), &json!("Ravi"), &json!("Ravi")], &json!("CALL"))
    );
    assert_fits(&ravi);
    assert_usable(&ravi);
    keep(&ravi, "closed");
    assert_eq!(ravi.complaints(), [""; 0]);

    ravi.go(&format!("{list}?open=true"));
    ravi.sees("#alerts-empty", "no such alert");
    ravi.go(&format!("{list}?q=boiler&severity=CRITICAL"));
    ravi.sees("#alerts .summary", "at the boiler");
    fill(&ravi, "#filters [name=q]", "kitchen");
    ravi.sees("#alerts-empty", "no such alert");
    assert_eq!(ravi.run("return location.search;"), "?q=kitchen&severity=CRITICAL");
    assert_fits(&ravi);
    assert_usable(&ravi);
    assert_eq!(ravi.complaints(), [""; 0]);
}

#[test]
fn a_task_is_sent_and_what_became_of_it_is_shown() {
    let noc = Noc::start(&[GATEWAY]);
    let agent =
        Agent::start(GATEWAY, &Plant::default().guards(1), Source::Embedded, Some(&noc.uplink(GATEWAY)));
    let driver = Driver::start();
    let tasks = format!("http://{}/tasks", noc.page());
    let browser = logged_in(&driver, &noc, "Ravi", Screen::Phone, &tasks);
    browser.sees("#sent-empty", "nothing was sent");
    fill(&browser, "#task", "T-9");
    fill(&browser, "#title", "close the valve");
    click(&browser, "#give [type=submit]");
    browser.sees("#sent [data-state=acknowledged]", "close the valve");
    until("the gateway has the task", || agent.status()["commands"]["decided"] == 1);
    fill(&browser, "#cancelled", "T-8");
    click(&browser, "#cancel [type=submit]");
    browser.sees("#sent [data-state=refused]", "there is no open task T-8");
    assert_fits(&browser);
    assert_usable(&browser);
    keep(&browser, "tasks");
    assert_eq!(browser.complaints(), [""; 0]);
}
