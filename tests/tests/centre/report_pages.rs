//! Reports and rankings in a real browser, of a day whose sums are known: that of the contract, which its page shows.

use crate::noc_pages::{assert_fits, keep, logged_in};
use serde_json::{Value, json};
use vigil_cloud_sync::wire::Producer;
use vigil_cloud_sync::{Event, EventKind};
use vigil_core::time::Timestamp;
use vigil_tests::browser::{Browser, Driver, Screen};
use vigil_tests::house::Noc;

const GATEWAY: &str = "gw-1";
const DAY: &str = "from=2026-03-10&to=2026-03-10";

/// The report of the contract: three runs, of which G-7 walked one of two and G-8 none; two tasks, one of them late.
fn report() -> Event {
    let page = include_str!("../../../docs/noc-contract.md");
    let block = page.split("### Report\n").nth(1).and_then(|rest| rest.split("```").nth(1)).unwrap();
    Event {
        producer: Producer(7),
        sequence: 1,
        id: "2026-03-10.1".to_owned(),
        kind: EventKind::Report,
        subject: "site:plant-7".to_owned(),
        time: Timestamp::from_millis(1_773_160_000_000),
        critical: false,
        data: block.trim_start_matches("json").trim().to_owned(),
    }
}

/// The words of a table's rows, cell by cell.
fn rows(browser: &Browser, table: &str) -> Value {
    browser.run(&format!(
        "return [...document.querySelectorAll('{table} tbody tr')].map((row) =>
             [...row.children].map((cell) => cell.innerText.replace(/\\s+/g, ' ').trim()));"
    ))
}

#[test]
fn a_day_whose_sums_are_known_is_shown_with_them() {
    let noc = Noc::start(&[GATEWAY]);
    noc.takes("plant-7", GATEWAY, &[report()]);

    let told = noc.asked(&format!("/api/reports?{DAY}"));
    let driver = Driver::start();
    let page = |path: &str| format!("http://{}{path}?{DAY}", noc.page());
    let browser = logged_in(&driver, &noc, "Ravi", Screen::Desk, &page("/reports"));
    for words in ["33.3 %", "1 of 3 runs", "2 of 2 due", "1 late", "80.3 %"] {
        browser.sees("main", words);
    }
    assert_eq!(told["total"]["runs"]["closed"], 3, "{told}");
    assert_eq!(told["total"]["runs"]["compliance_rate"], json!(0.333), "{told}");
    keep(&browser, "reports");
    assert_fits(&browser);

    browser.go(&format!("{}&of=guards", page("/rankings")));
    browser.sees("main", "G-7");
    let shown = rows(&browser, "table");
    let ranked = noc.asked(&format!("/api/rankings?{DAY}&of=guards"));
    let of = |row: usize| {
        shown[row].as_array().unwrap().iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" | ")
    };
    assert!(of(0).contains("G-7") && of(0).contains("50.0 %"), "{shown}");
    assert!(of(1).contains("G-8") && of(1).contains("0.0 %"), "{shown}");
    assert_eq!(ranked["ranking"].as_array().map(Vec::len), Some(2), "{ranked}");
    keep(&browser, "rankings");
    assert_fits(&browser);
    assert_eq!(browser.complaints(), [""; 0]);
}
