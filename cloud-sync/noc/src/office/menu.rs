//! The ways to the other pages: one list, the same on every page, of which everybody sees what is open to them.

use super::html::{text, word};
use crate::console::Shared;
use crate::door::Caller;
use crate::routes::{self, Needs};
use axum::http::{Method, Uri};
use axum::response::Html;
use axum::routing::{MethodRouter, get};
use std::fmt::Write;

/// Every page that one goes to, in the order of use: the night first, then its sums, then what is set up.
const WAYS: [(&str, &str); 12] = [
    ("/", "Alerts"),
    ("/tasks", "Tasks"),
    ("/dashboard", "Dashboard"),
    ("/reports", "Reports"),
    ("/reports/daily", "Daily"),
    ("/rankings", "Rankings"),
    ("/sites", "Sites"),
    ("/policies", "Policies"),
    ("/escalations", "Escalations"),
    ("/people", "People"),
    ("/tokens", "Tokens"),
    ("/audit", "Log"),
];

/// Where it stands in a page that is a file.
const PLACE: &str = "<!-- menu -->";

/// The menu as this person sees it at that path. What a page needs is what the door asks for it, so no way leads to a refusal.
pub fn menu(caller: &Caller, here: &str) -> String {
    let mut menu = String::from(r#"<nav class="menu" aria-label="Pages"><ul>"#);
    let mut way = |class: &str, path: &str, name: &str| {
        let current = if path == here { r#" aria-current="page""# } else { "" };
        let _infallible = write!(menu, r#"<li{class}><a href="{path}"{current}>{name}</a></li>"#);
    };
    for (path, name) in WAYS {
        if is_open(caller, path) {
            way("", path, name);
        }
    }
    way(r#" class="own""#, "/account", &text(&caller.person.name));
    let word = word(caller);
    menu + &format!(
        r#"<li><form method="post" action="/logout">{word}<button>Log out</button></form></li></ul></nav>"#
    )
}

fn is_open(caller: &Caller, path: &str) -> bool {
    match routes::needs(&Method::GET, path) {
        Ok(Needs::Role(role)) => caller.person.may(role),
        Ok(Needs::Nobody | Needs::Oneself) => true,
        Err(_) => false,
    }
}

/// A page that is part of the program, with the menu in its place.
pub fn page(file: &'static str) -> MethodRouter<Shared> {
    get(
        move |caller: Caller, uri: Uri| async move { Html(file.replacen(PLACE, &menu(&caller, uri.path()), 1)) },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{Person, Role};
    use crate::door::Key;

    fn seen_by(role: Role) -> Vec<&'static str> {
        let person = Person { name: "ada".to_owned(), tenant: None, role };
        let key = Key::Token(String::new());
        let caller = Caller { person, key, address: [127, 0, 0, 1].into(), must_change: false };
        let menu = menu(&caller, "/reports");
        assert_eq!(menu.matches("aria-current").count(), 1);
        assert!(menu.contains(r#"<a href="/reports" aria-current="page">Reports</a>"#), "{menu}");
        assert!(menu.contains(r#"<a href="/account">ada</a>"#), "{menu}");
        WAYS.iter()
            .filter(|(path, _)| menu.contains(&format!(r#"href="{path}""#)))
            .map(|(_, name)| *name)
            .collect()
    }

    #[test]
    fn everybody_sees_what_is_open_to_them_and_every_way_leads_somewhere() {
        let viewer = ["Alerts", "Dashboard", "Reports", "Daily", "Rankings", "Sites"];
        assert_eq!(seen_by(Role::Viewer), viewer);
        assert_eq!(seen_by(Role::Operator).len(), viewer.len() + 1);
        let supervisor = seen_by(Role::Supervisor);
        assert_eq!(supervisor[supervisor.len() - 2..], ["Policies", "Escalations"]);
        assert_eq!(seen_by(Role::Admin), WAYS.map(|(_, name)| name));
    }
}
