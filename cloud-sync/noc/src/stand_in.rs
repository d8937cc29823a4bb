//! Stands in for the log-in until there is one: whoever asks says who they are. It goes when `access` has sessions.

use crate::access::{Person, Role};
use axum::extract::Request;
use axum::http::header::COOKIE;
use axum::middleware::Next;
use axum::response::Response;
use vigil_core::id::TenantId;

/// What says so: a header of a program, or a cookie of a browser, with `name`, `name;role` or `name;role;tenant`.
const HEADER: &str = "x-vigil-person";
const COOKIE_NAME: &str = "vigil_person=";
/// Who does not say so.
const NOBODY: &str = "operator";

/// Puts a [`Person`] into every request.
pub async fn introduce(mut request: Request, next: Next) -> Response {
    let headers = request.headers();
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let cookies = text(COOKIE.as_str()).unwrap_or_default().split("; ");
    let said = text(HEADER).or_else(|| cookies.filter_map(|c| c.strip_prefix(COOKIE_NAME)).last());
    let mut parts = said.unwrap_or(NOBODY).split([';', '|']);
    let name = parts.next().unwrap_or(NOBODY).to_owned();
    let role = parts.next().and_then(|role| role.parse().ok()).unwrap_or(Role::Admin);
    let tenant = parts.next().and_then(|tenant| TenantId::new(tenant).ok());
    request.extensions_mut().insert(Person { name, tenant, role });
    next.run(request).await
}
