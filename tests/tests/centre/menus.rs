//! Every page that one goes to: the same menu, no wider than its window, and nothing in it that the door refuses.

use crate::noc_pages::{assert_fits, keep, logged_in};
use serde_json::{Value, json};
use vigil_tests::browser::{Browser, Driver, Screen};
use vigil_tests::house::Noc;

/// What the menu says, and where it leads; the page that is shown stands first.
fn menu(browser: &Browser) -> (Value, Value) {
    let ways = "return [...document.querySelectorAll('nav.menu a')].map((a) => [a.getAttribute('href'), a.textContent]);";
    let here = "return [...document.querySelectorAll('nav.menu [aria-current=page]')].map((a) => a.getAttribute('href'));";
    (browser.run(here), browser.run(ways))
}

/// Goes through every page of the menu.
fn every_page(browser: &Browser, noc: &Noc, ways: &Value) {
    for (n, way) in ways.as_array().unwrap().iter().enumerate() {
        let path = way[0].as_str().unwrap();
        browser.resize(Screen::Desk);
        browser.go(&format!("http://{}{path}", noc.page()));
        browser.sees("nav.menu", "log out");
        assert_eq!(menu(browser), (json!([path]), ways.clone()), "{path}");
        assert_fits(browser);
        keep(browser, &format!("page-{n}"));
        assert_eq!(browser.complaints(), [""; 0], "{path}");
    }
}

#[test]
fn every_page_has_the_same_menu_and_no_way_leads_to_a_refusal() {
    let noc = Noc::start(&["gw-1"]);
    let driver = Driver::start();
    let list = format!("http://{}/", noc.page());
    let admin = driver.open(Screen::Desk, &format!("http://{}{}", noc.page(), noc.way_in()));
    admin.sees("main, body", "");
    admin.go(&list);
    let (_, of_the_admin) = menu(&admin);
    assert_eq!(of_the_admin.as_array().map(Vec::len), Some(13), "{of_the_admin}");
    every_page(&admin, &noc, &of_the_admin);

    let operator = logged_in(&driver, &noc, "Ravi", Screen::Desk, &list);
    let (_, of_the_operator) = menu(&operator);
    let names: Vec<&Value> = of_the_operator.as_array().unwrap().iter().map(|way| &way[1]).collect();
    assert_eq!(
        json!(names),
        json!(["Alerts", "Tasks", "Dashboard", "Reports", "Daily", "Rankings", "Sites", "Ravi"])
    );
    every_page(&operator, &noc, &of_the_operator);
}
