//! Every route of the operators' side, once: who may ask it, and what answers. The router is made of this table, and the door
//! serves nothing that is not in it; so a route without a rule cannot be.

use crate::access::Role::{self, Admin, Operator, Supervisor, Viewer};
use crate::archive::Archive;
use crate::cases::{self, found, step, whole};
use crate::console::Shared;
use crate::office::{account, books, escalations, login, people, tokens};
use crate::reports::pages;
use crate::sites::routes as sites;
use crate::{door, operator, orders};
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
    /// What answers.
    to: fn() -> MethodRouter<Shared>,
}

const fn open(path: &'static str, to: fn() -> MethodRouter<Shared>) -> Route {
    Route { method: Method::GET, path, needs: Needs::Nobody, to }
}

const fn look(path: &'static str, role: Role, to: fn() -> MethodRouter<Shared>) -> Route {
    Route { method: Method::GET, path, needs: Needs::Role(role), to }
}

const fn act(path: &'static str, role: Role, to: fn() -> MethodRouter<Shared>) -> Route {
    Route { method: Method::POST, path, needs: Needs::Role(role), to }
}

const fn own(method: Method, path: &'static str, to: fn() -> MethodRouter<Shared>) -> Route {
    Route { method, path, needs: Needs::Oneself, to }
}

/// All of them.
pub const ROUTES: &[Route] = &[
    open("/noc.css", || operator::file("text/css; charset=utf-8", include_str!("../pages/noc.css"))),
    open("/noc.js", || operator::file("text/javascript; charset=utf-8", include_str!("../pages/noc.js"))),
    open("/desk.css", || operator::file("text/css; charset=utf-8", include_str!("../pages/desk.css"))),
    open("/vigil.css", || operator::file("text/css; charset=utf-8", vigil_listen::dress::STYLE)),
    open("/vigil.js", || operator::file("text/javascript; charset=utf-8", vigil_listen::dress::SCRIPT)),
    open("/icon.svg", || operator::file("image/svg+xml", vigil_listen::dress::ICON)),
    open("/openapi.json", || operator::file("application/json", include_str!("../pages/openapi.json"))),
    open("/healthz", || get(operator::healthz)),
    open("/login", || get(login::form)),
    Route { method: Method::POST, path: "/login", needs: Needs::Nobody, to: || post(login::enter) },
    own(Method::GET, "/api/me", || get(account::me)),
    own(Method::GET, "/account", || get(account::page)),
    own(Method::GET, "/password", || get(account::password_form)),
    own(Method::POST, "/password", || post(account::password)),
    own(Method::POST, "/logout", || post(login::leave)),
    own(Method::POST, "/sessions/end", || post(account::end)),
    look("/", Viewer, || operator::file("text/html; charset=utf-8", include_str!("../pages/index.html"))),
    look("/api/gateways", Viewer, || get(operator::gateways)),
    look("/api/alerts", Viewer, || get(found::list)),
    look("/api/alerts/{tenant}/{site}/{gateway}/{id}", Viewer, || get(whole::show)),
    act("/api/alerts/{tenant}/{site}/{gateway}/{id}/steps", Operator, || cases::small(post(step::take))),
    look("/alerts/{tenant}/{site}/{gateway}/{id}", Viewer, || {
        operator::file("text/html; charset=utf-8", include_str!("../pages/alert.html"))
    }),
    open("/me.js", || operator::file("text/javascript; charset=utf-8", include_str!("../pages/me.js"))),
    open("/alert.js", || operator::file("text/javascript; charset=utf-8", include_str!("../pages/alert.js"))),
    open("/pictures.js", || {
        operator::file("text/javascript; charset=utf-8", include_str!("../pages/pictures.js"))
    }),
    open("/filters.js", || {
        operator::file("text/javascript; charset=utf-8", include_str!("../pages/filters.js"))
    }),
    look("/tasks", Operator, || {
        operator::file("text/html; charset=utf-8", include_str!("../pages/tasks.html"))
    }),
    open("/tasks.js", || operator::file("text/javascript; charset=utf-8", include_str!("../pages/tasks.js"))),
    look("/api/tours", Viewer, || get(operator::tours)),
    look("/api/days", Viewer, || get(operator::reports)),
    look("/api/stream", Viewer, || get(operator::stream_changes)),
    look("/api/gateways/{gateway}/commands", Viewer, || get(orders::list)),
    act("/api/gateways/{gateway}/commands", Operator, || orders::small(post(orders::queue))),
    open("/reports.css", || operator::file("text/css; charset=utf-8", include_str!("../pages/reports.css"))),
    look("/dashboard", Viewer, || get(pages::dashboard::<Archive>)),
    look("/reports", Viewer, || get(pages::reports::<Archive>)),
    look("/reports/daily", Viewer, || get(pages::daily::<Archive>)),
    look("/rankings", Viewer, || get(pages::rankings::<Archive>)),
    look("/api/dashboard", Viewer, || get(pages::api_dashboard::<Archive>)),
    look("/api/reports", Viewer, || get(pages::api_reports::<Archive>)),
    look("/api/reports.csv", Viewer, || get(pages::csv_reports::<Archive>)),
    look("/api/rankings", Viewer, || get(pages::api_rankings::<Archive>)),
    look("/api/rankings.csv", Viewer, || get(pages::csv_rankings::<Archive>)),
    open("/sites.js", || operator::file("text/javascript; charset=utf-8", include_str!("../pages/sites.js"))),
    look("/sites", Viewer, || {
        operator::file("text/html; charset=utf-8", include_str!("../pages/sites.html"))
    }),
    look("/api/sites", Viewer, || get(sites::sites)),
    look("/api/sites/{tenant}/{site}/files", Viewer, || get(sites::versions)),
    act("/api/sites/{tenant}/{site}/files", Admin, || sites::large(post(sites::give))),
    look("/api/sites/{tenant}/{site}/files/{version}", Supervisor, || get(sites::text)),
    act("/api/sites/{tenant}/{site}/check", Supervisor, || sites::large(post(sites::check))),
    open("/desk.js", || operator::file("text/javascript; charset=utf-8", include_str!("../pages/desk.js"))),
    open("/policies.js", || {
        operator::file("text/javascript; charset=utf-8", include_str!("../pages/policies.js"))
    }),
    look("/policies", Supervisor, || {
        operator::file("text/html; charset=utf-8", include_str!("../pages/policies.html"))
    }),
    look("/api/policies", Supervisor, || get(sites::policies)),
    look("/api/policies/{tenant}", Supervisor, || get(sites::tenant_policy)),
    act("/api/policies/{tenant}", Admin, || sites::large(post(sites::give_tenant_policy))),
    look("/api/policies/{tenant}/{client}", Supervisor, || get(sites::client_policy)),
    act("/api/policies/{tenant}/{client}", Admin, || sites::large(post(sites::give_client_policy))),
    look("/escalations", Supervisor, || get(escalations::page)),
    look("/api/escalations", Supervisor, || get(escalations::list)),
    look("/people", Admin, || get(people::page)),
    act("/people", Admin, || post(people::add)),
    act("/people/{name}/role", Admin, || post(people::role)),
    act("/people/{name}/state", Admin, || post(people::state)),
    act("/people/{name}/password", Admin, || post(people::reset)),
    look("/tokens", Admin, || get(tokens::page)),
    act("/tokens", Admin, || post(tokens::add)),
    act("/tokens/{name}/revoke", Admin, || post(tokens::revoke)),
    look("/audit", Admin, || get(books::page)),
    look("/audit.csv", Admin, || get(books::csv)),
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
        .layer(middleware::from_fn_with_state(console.clone(), door::pass))
        .layer(middleware::from_fn(operator::guarded))
        .with_state(console.clone())
}

#[cfg(test)]
mod tests;
