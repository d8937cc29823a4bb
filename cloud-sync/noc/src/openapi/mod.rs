//! What this receiver answers, as an OpenAPI 3.1 document. Nothing of it is written by hand twice: paths and roles are those of the
//! tables of routes, schemas are made of the types that are read and written, and their words are the comments there.
//!
//! ```text
//!  routes::ROUTES ──┐   Route::told(tells)          ┌─► /openapi.json, `vigil noc openapi`
//!  receive::WAYS ───┼─► Told: what a route takes ───┤
//!  door, comments ──┘   and gives                   └─► tests: every answer is held against it
//! ```

mod schemas;
mod told;

pub use schemas::{Passed, as_it_came};
pub use told::Told;

use crate::receive::{self, Way};
use crate::routes::{Needs, ROUTES, Route};
use crate::{access::Role, door};
use axum::http::Method;
use schemas::Schemas;
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

/// Says of one route what it takes and gives.
pub type Tells = fn(&mut Told<'_>);

/// What a reader has to know first.
const ABOUT: &str = "Two listeners: gateways have /v1, operators have everything else. On the operators' listener a program \
    sends a bearer token; a browser has the cookie of its log-in, and says the word of its session (`csrf` of /api/me) as \
    X-CSRF-Token with every change. What is of another tenant is answered as if it were not there. Every refusal is an \
    object with `error`, a sentence that says what is wrong and what would be right. A method that a path does not have is \
    answered with 405, HEAD is answered wherever GET is. Readers pass over fields that they do not know: a newer receiver \
    may have more.";

/// What a program gets of it.
static DOCUMENT: LazyLock<String> = LazyLock::new(|| format!("{:#}", document()));

/// The document as text; made once.
pub fn text() -> &'static str {
    &DOCUMENT
}

/// The document.
pub fn document() -> Value {
    let (mut schemas, mut paths) = (Schemas::default(), Map::new());
    for route in ROUTES {
        if let Some(tells) = route.tells {
            put(&mut paths, route.path, &route.method, of_operators(route, tells, &mut schemas));
        }
    }
    for way in receive::WAYS {
        put(&mut paths, way.path, &way.method, of_gateways(way, &mut schemas));
        paths[way.path]["servers"] = json!([{
            "url": "https://{receiver}", "description": "The gateways' listener: `listen` of noc.toml",
            "variables": {"receiver": {"default": "noc.example.org:8443"}},
        }]);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Vigil NOC receiver",
            "version": env!("CARGO_PKG_VERSION"),
            "description": format!("{ABOUT}\n\n{}", for_people()),
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "The operators' listener, which serves this document"}],
        "tags": [
            {"name": "gateways", "description": "On the gateways' listener."},
            {"name": "operators", "description": "On the operators' listener."},
        ],
        "paths": paths,
        "components": {"securitySchemes": keys(), "schemas": schemas.named()},
    })
}

fn put(paths: &mut Map<String, Value>, path: &str, method: &Method, operation: Value) {
    let methods = paths.entry(path).or_insert_with(|| json!({}));
    methods[method.as_str().to_lowercase()] = operation;
}

fn of_operators(route: &Route, tells: Tells, schemas: &mut Schemas) -> Value {
    let mut told = Told::of(route.path, schemas);
    tells(&mut told);
    door::tells(&mut told, route);
    let roles: Vec<_> = match route.needs {
        Needs::Nobody => return told.operation("operators", json!([])),
        Needs::Oneself => vec![],
        Needs::Role(role) => {
            if role > Role::Viewer {
                told.more(&format!("Needs the role {role}, or one above it."));
            }
            vec![role.name()]
        }
    };
    told.operation("operators", json!([{"operatorToken": roles}, {"session": roles}]))
}

fn of_gateways(way: &Way, schemas: &mut Schemas) -> Value {
    let mut told = Told::of(way.path, schemas);
    (way.tells)(&mut told);
    told.operation("gateways", json!([{"gatewayToken": []}, {"gatewayCertificate": []}]))
}

/// What is not described, by name: so that nobody takes it for forgotten.
fn for_people() -> String {
    let pages = ROUTES.iter().filter(|route| route.tells.is_none());
    let names: Vec<_> = pages.map(|route| format!("{} {}", route.method, route.path)).collect();
    format!("Pages, forms and files for people in a browser are not described here: {}.", names.join(", "))
}

fn keys() -> Value {
    json!({
        "gatewayToken": {
            "type": "http", "scheme": "bearer",
            "description": "The token of one gateway; it speaks for that gateway's source only.",
        },
        "gatewayCertificate": {
            "type": "mutualTLS",
            "description": "A certificate of the receiver's `client_ca` that `gateways` of noc.toml knows, instead of the token \
                or beside it: then both have to be of one gateway.",
        },
        "operatorToken": {
            "type": "http", "scheme": "bearer",
            "description": "Of `vigil noc token add`, or of the page /tokens. The roles are those of people: viewer, operator, \
                supervisor, admin; each may do what those before may.",
        },
        "session": {
            "type": "apiKey", "in": "cookie", "name": "vigil",
            "description": "Of the log-in at /login; __Host-vigil over TLS.",
        },
    })
}

/// `GET /openapi.json`
pub fn tells(told: &mut Told<'_>) {
    told.called("describe", "This document");
    told.gives::<Passed>(200, "The document.");
}

#[cfg(test)]
pub mod judge;
#[cfg(test)]
mod tests;
