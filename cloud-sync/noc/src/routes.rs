//! Every route of the operators' side, once: who may ask it, and what answers. The router is made of this table, and the door
//! serves nothing that is not in it; so a route without a rule cannot be.

use crate::access::Role::{self, Admin, Operator, Supervisor, Viewer};
use crate::archive::Archive;
use crate::cases::{self, found, step, whole};
use crate::console::Shared;
use crate::office::{account, books, escalations, login, menu, people, tokens};
use crate::openapi::{self, Tells};
use crate::reports::pages;
use crate::sites::routes as sites;
use crate::sites::told;
use crate::{door, hearing, operator, orders, refusal};
use axum::Router;
use axum::http::Method;
use axum::middleware;
use axum::routing::{MethodRouter, get, post};

/// Who may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Anybody: nothing of anybody is told there.
    Nobody,
    /// Whoever is logged in, for what is their own; also before they have chosen a password.
    Oneself,
    /// At least that role.
    Role(Role),
}

/// One route.
pub struct Route {
    /// GET or POST.
    pub method: Method,
    /// As axum writes it.
    pub path: &'static str,
    /// Who may.
    pub needs: Needs,
    /// What the document says of it; nothing of what is for people in a browser.
    pub tells: Option<Tells>,
    /// What answers.
    to: fn() -> MethodRouter<Shared>,
}

const fn open(path: &'static str, to: fn() -> MethodRouter<Shared>) -> Route {
    Route { method: Method::GET, path, needs: Needs::Nobody, tells: None, to }
}

const fn look(path: &'static str, role: Role, to: fn() -> MethodRouter<Shared>) -> Route {
    Route { method: Method::GET, path, needs: Needs::Role(role), tells: None, to }
}

const fn act(path: &'static str, role: Role, to: fn() -> MethodRouter<Shared>) -> Route {
    Route { method: Method::POST, path, needs: Needs::Role(role), tells: None, to }
}

const fn own(method: Method, path: &'static str, to: fn() -> MethodRouter<Shared>) -> Route {
    Route { method, path, needs: Needs::Oneself, tells: None, to }
}

impl Route {
    /// With what the document says of it.
    const fn told(mut self, tells: Tells) -> Self {
        self.tells = Some(tells);
        self
    }
}

/// All of them.
///
/// A new route is a line here, an example in `tests.rs` (who may not ask it, and what a stranger gets), and, if programs ask it, a
/// function beside its handler that says what it takes and gives, named with `told`:
///
/// 1. Types of the query, the body and the answers get `#[derive(JsonSchema)]`; comments on their fields become descriptions. What is
///    passed on as it came gets `#[schemars(with = "Passed")]`.
/// 2. `pub fn tells(told: &mut Told<'_>)`: `called` first, then `asks`, `takes`, `gives` and one `refuses` for every status of the
///    handler's `Refused`. What the door says to everybody, the role and the parameters of the path are there already.
/// 3. The tests hold every answer to the example, and to those who may not ask it, against that.
pub const ROUTES: &[Route] = &[
    open("/noc.css", || operator::file("text/css; charset=utf-8", include_str!("../pages/noc.css"))),
    open("/noc.js", || operator::file("text/javascript; charset=utf-8", include_str!("../pages/noc.js"))),
    open("/desk.css", || operator::file("text/css; charset=utf-8", include_str!("../pages/desk.css"))),
    open("/vigil.css", || operator::file("text/css; charset=utf-8", vigil_listen::dress::STYLE)),
    open("/vigil.js", || operator::file("text/javascript; charset=utf-8", vigil_listen::dress::SCRIPT)),
    open("/icon.svg", || operator::file("image/svg+xml", vigil_listen::dress::ICON)),
    open("/openapi.json", || operator::file("application/json", openapi::text())).told(openapi::tells),
    open("/healthz", || get(operator::healthz)).told(operator::health_tells),
    open("/login", || get(login::form)),
    Route {
        method: Method::POST,
        path: "/login",
        needs: Needs::Nobody,
        tells: None,
        to: || post(login::enter),
    },
    own(Method::GET, "/api/me", || get(account::me)).told(account::me_tells),
    own(Method::GET, "/account", || get(account::page)),
    own(Method::GET, "/password", || get(account::password_form)),
    own(Method::POST, "/password", || post(account::password)),
    own(Method::POST, "/logout", || post(login::leave)),
    own(Method::POST, "/sessions/end", || post(account::end)),
    look("/", Viewer, || menu::page(include_str!("../pages/index.html"))),
    look("/api/gateways", Viewer, || get(operator::gateways)).told(operator::gateways_tell),
    look("/api/alerts", Viewer, || get(found::list)).told(found::tells),
    look("/api/alerts/{tenant}/{site}/{gateway}/{id}", Viewer, || get(whole::show)).told(whole::tells),
    act("/api/alerts/{tenant}/{site}/{gateway}/{id}/steps", Operator, || cases::small(post(step::take)))
        .told(step::tells),
    look("/alerts/{tenant}/{site}/{gateway}/{id}", Viewer, || {
        menu::page(include_str!("../pages/alert.html"))
    }),
    open("/me.js", || operator::file("text/javascript; charset=utf-8", include_str!("../pages/me.js"))),
    open("/alert.js", || operator::file("text/javascript; charset=utf-8", include_str!("../pages/alert.js"))),
    open("/pictures.js", || {
        operator::file("text/javascript; charset=utf-8", include_str!("../pages/pictures.js"))
    }),
    open("/filters.js", || {
        operator::file("text/javascript; charset=utf-8", include_str!("../pages/filters.js"))
    }),
    look("/tasks", Operator, || menu::page(include_str!("../pages/tasks.html"))),
    open("/tasks.js", || operator::file("text/javascript; charset=utf-8", include_str!("../pages/tasks.js"))),
    look("/api/tours", Viewer, || get(operator::tours)).told(operator::tours_tell),
    look("/api/days", Viewer, || get(operator::reports)).told(operator::reports_tell),
    look("/api/stream", Viewer, || get(operator::stream_changes)).told(operator::stream_tells),
    look("/api/gateways/{gateway}/commands", Viewer, || get(orders::list)).told(orders::list_tells),
    act("/api/gateways/{gateway}/commands", Operator, || orders::small(post(orders::queue)))
        .told(orders::queue_tells),
    open("/reports.css", || operator::file("text/css; charset=utf-8", include_str!("../pages/reports.css"))),
    look("/dashboard", Viewer, || get(pages::dashboard::<Archive>)),
    look("/reports", Viewer, || get(pages::reports::<Archive>)),
    look("/reports/daily", Viewer, || get(pages::daily::<Archive>)),
    look("/rankings", Viewer, || get(pages::rankings::<Archive>)),
    look("/api/dashboard", Viewer, || get(pages::api_dashboard::<Archive>)).told(pages::dashboard_tells),
    look("/api/reports", Viewer, || get(pages::api_reports::<Archive>)).told(pages::reports_tell),
    look("/api/reports.csv", Viewer, || get(pages::csv_reports::<Archive>)).told(pages::csv_reports_tell),
    look("/api/rankings", Viewer, || get(pages::api_rankings::<Archive>)).told(pages::rankings_tell),
    look("/api/rankings.csv", Viewer, || get(pages::csv_rankings::<Archive>)).told(pages::csv_rankings_tell),
    open("/sites.js", || operator::file("text/javascript; charset=utf-8", include_str!("../pages/sites.js"))),
    look("/sites", Viewer, || menu::page(include_str!("../pages/sites.html"))),
    look("/api/sites", Viewer, || get(sites::sites)).told(told::sites),
    look("/api/sites/{tenant}/{site}/files", Viewer, || get(sites::versions)).told(told::versions),
    act("/api/sites/{tenant}/{site}/files", Admin, || sites::large(post(sites::give))).told(told::give),
    look("/api/sites/{tenant}/{site}/files/{version}", Supervisor, || get(sites::text)).told(told::text),
    act("/api/sites/{tenant}/{site}/check", Supervisor, || sites::large(post(sites::check)))
        .told(told::check),
    open("/desk.js", || operator::file("text/javascript; charset=utf-8", include_str!("../pages/desk.js"))),
    open("/policies.js", || {
        operator::file("text/javascript; charset=utf-8", include_str!("../pages/policies.js"))
    }),
    look("/policies", Supervisor, || menu::page(include_str!("../pages/policies.html"))),
    look("/api/policies", Supervisor, || get(sites::policies)).told(told::policies),
    look("/api/policies/{tenant}", Supervisor, || get(sites::tenant_policy)).told(told::tenant_policy),
    act("/api/policies/{tenant}", Admin, || sites::large(post(sites::give_tenant_policy)))
        .told(told::give_tenant_policy),
    look("/api/policies/{tenant}/{client}", Supervisor, || get(sites::client_policy))
        .told(told::client_policy),
    act("/api/policies/{tenant}/{client}", Admin, || sites::large(post(sites::give_client_policy)))
        .told(told::give_client_policy),
    look("/escalations", Supervisor, || get(escalations::page)),
    look("/api/escalations", Supervisor, || get(escalations::list)).told(escalations::tells),
    look("/people", Admin, || get(people::page)),
    act("/people", Admin, || post(people::add)),
    act("/people/{name}/role", Admin, || post(people::role)),
    act("/people/{name}/state", Admin, || post(people::state)),
    act("/people/{name}/password", Admin, || post(people::reset)),
    look("/tokens", Admin, || get(tokens::page)),
    act("/tokens", Admin, || post(tokens::add)),
    act("/tokens/{name}/revoke", Admin, || post(tokens::revoke)),
    look("/audit", Admin, || get(books::page)),
    look("/audit.csv", Admin, || get(books::csv)).told(books::csv_tells),
];

/// Why no rule can be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// There is no such path in the table.
    Path,
    /// There is, but not for that method.
    Method,
}

/// Who may ask that.
pub fn needs(method: &Method, path: &str) -> Result<Needs, Unknown> {
    let asked = if method == Method::HEAD { &Method::GET } else { method };
    let of_the_path: Vec<_> = ROUTES.iter().filter(|route| route.path == path).collect();
    let found = of_the_path.iter().find(|route| route.method == *asked).map(|route| route.needs);
    found.ok_or(if of_the_path.is_empty() { Unknown::Path } else { Unknown::Method })
}

/// The operators' side.
pub fn router(console: &Shared) -> Router {
    let all = ROUTES.iter().fold(Router::new(), |router, route| router.route(route.path, (route.to)()));
    behind_the_door(all, console)
}

fn behind_the_door(routes: Router<Shared>, console: &Shared) -> Router {
    routes
        .fallback(operator::nothing)
        .layer(middleware::map_response(refusal::in_json))
        .layer(middleware::from_fn_with_state(console.clone(), door::pass))
        .layer(middleware::from_fn(operator::guarded))
        .layer(middleware::from_fn(hearing::out))
        .with_state(console.clone())
}

#[cfg(test)]
mod tests;
