//! The log-in, and the way out. What was wrong is never said: neither whether there is such a name, nor by how long it takes.

use super::Broken;
use super::html::{Told, narrow, text};
use crate::access::audit::{Actor, Deed, audit};
use crate::access::{Scope, Subjects, people, secret, sessions, succeeded, take_try};
use crate::console::Shared;
use crate::door::{self, Caller, OverTls, Whence};
use crate::ledger::{Database, LedgerError};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Form, Query, State};
use axum::http::header::{HeaderMap, RETRY_AFTER, SET_COOKIE, USER_AGENT};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use serde_json::json;
use std::net::IpAddr;
use vigil_core::id::OperatorId;
use vigil_core::time::{Span, Timestamp};

const WRONG: &str = "The name or the password is wrong.";

/// What the log-in is opened with.
#[derive(Debug, Default, Deserialize)]
pub struct Opened {
    #[serde(default)]
    next: String,
    #[serde(default)]
    ticket: String,
}

/// What is typed.
#[derive(Deserialize)]
pub struct Typed {
    name: String,
    password: String,
    #[serde(default)]
    next: String,
}

/// Where somebody goes after the log-in: a page of ours and no other.
fn next(asked: &str) -> &str {
    let ours = asked.starts_with('/')
        && !asked.starts_with("//")
        && !asked.contains('\\')
        && !asked.contains(char::is_control)
        && HeaderValue::from_str(asked).is_ok();
    if ours { asked } else { "/" }
}

/// `GET /login`
pub async fn form(
    State(console): State<Shared>,
    Extension(OverTls(over_tls)): Extension<OverTls>,
    Extension(Whence(address)): Extension<Whence>,
    method: Method,
    headers: HeaderMap,
    opened: Result<Query<Opened>, QueryRejection>,
) -> Result<Response, Broken> {
    let Query(opened) = opened.unwrap_or_default();
    // What only looks whether the page is there, as programs that show links do, spends no ticket.
    if !opened.ticket.is_empty() && method == Method::GET {
        let (digest, now) = (secret::digest(&opened.ticket), (console.room.now)());
        let guest = Guest { address, browser: browser(&headers), secret: secret::made()? };
        let cookie = guest.secret.clone();
        let entered = console
            .room
            .clerk
            .ask(move |ledger| ledger.within(|tx| with_ticket(tx, now, &digest, &guest)))
            .await?;
        return Ok(if entered { seated(&cookie, over_tls, "/") } else { shown("/", used_up()) });
    }
    if !console.room.clerk.ask(|ledger| people::any(ledger.database())).await? {
        return Ok(nobody_yet());
    }
    Ok(shown(next(&opened.next), Told::Nothing))
}

fn used_up() -> Told {
    Told::Refused(StatusCode::FORBIDDEN, "That link was used, or is older than 5 minutes.".to_owned())
}

fn nobody_yet() -> Response {
    let how = "<section><p>Nobody may log in yet. Make the first person on the machine of the receiver:</p>\
               <p><code>vigil noc user add NAME --role admin --config noc.toml</code></p></section>";
    narrow("Log in", &Told::Nothing, how)
}

fn shown(next: &str, told: Told) -> Response {
    let form = format!(
        r#"<form method="post" action="/login">
<input type="hidden" name="next" value="{}">
<label>Name <input name="name" required maxlength="64" autocomplete="username" autocapitalize="none" spellcheck="false" autofocus></label>
<label>Password <input name="password" type="password" required maxlength="128" autocomplete="current-password"></label>
<button>Log in</button>
</form>"#,
        text(next)
    );
    narrow("Log in", &told, &form)
}

/// Whoever comes in: from where, with what, and the cookie that they will have.
struct Guest {
    address: IpAddr,
    browser: String,
    secret: String,
}

fn browser(headers: &HeaderMap) -> String {
    headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

/// `POST /login`
pub async fn enter(
    State(console): State<Shared>,
    Extension(OverTls(over_tls)): Extension<OverTls>,
    Extension(Whence(address)): Extension<Whence>,
    headers: HeaderMap,
    Form(typed): Form<Typed>,
) -> Result<Response, Broken> {
    let Typed { name, password, next: asked } = typed;
    let (to, clerk) = (next(&asked).to_owned(), &console.room.clerk);
    // What is no name is nobody's; it is counted under one name, so that nobody fills the ledger with them.
    let name = OperatorId::new(&name).map_or_else(|_| "?".to_owned(), String::from);
    let (subjects, now) = (Subjects::of(&name, address), (console.room.now)());
    let (asked_for, counted) = (name.clone(), subjects.clone());
    let tried = clerk.ask(move |ledger| {
        ledger.within(|tx| {
            let free = take_try(tx, now, &counted)?;
            Ok((free, people::hash_of(tx, &asked_for)?))
        })
    });
    let (free, kept) = tried.await?;
    if let Err(wait) = free {
        return Ok(patience(&to, wait));
    }
    let fits = console.hasher.fits(password, kept.clone()).await?;
    let guest = Guest { address, browser: browser(&headers), secret: secret::made()? };
    let cookie = guest.secret.clone();
    let judged = move |tx: &mut dyn Database| {
        // Meanwhile the password may have been changed, or the person locked out.
        let still = fits && kept.is_some() && people::hash_of(tx, &name)? == kept;
        if still {
            succeeded(tx, &subjects)?;
            seat(tx, now, &name, &guest, "password")?;
        } else {
            refuse(tx, now, &name, &guest)?;
        }
        Ok(still)
    };
    if clerk.ask(move |ledger| ledger.within(judged)).await? {
        return Ok(seated(&cookie, over_tls, &to));
    }
    tracing::warn!(%address, "a log-in failed");
    Ok(shown(&to, Told::Refused(StatusCode::UNAUTHORIZED, WRONG.to_owned())))
}

fn patience(next: &str, wait: Span) -> Response {
    let secs = (wait.millis() + 999) / 1_000;
    let told = format!("Too many log-ins failed. Try again in {secs} s.");
    let mut response = shown(next, Told::Refused(StatusCode::TOO_MANY_REQUESTS, told));
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(secs));
    response
}

fn seat(
    tx: &mut dyn Database,
    now: Timestamp,
    name: &str,
    guest: &Guest,
    with: &str,
) -> Result<(), LedgerError> {
    let address = guest.address.to_string();
    sessions::begin(tx, now, name, &secret::digest(&guest.secret), (&address, &guest.browser))?;
    let tenant = people::find(tx, &Scope::whole(), name)?.and_then(|person| person.tenant);
    let actor = Actor { name: name.to_owned(), address };
    let detail = json!({"with": with});
    audit(tx, &actor, now, &Deed { tenant: tenant.as_deref(), action: "login.ok", object: name, detail })
}

fn refuse(tx: &mut dyn Database, now: Timestamp, name: &str, guest: &Guest) -> Result<(), LedgerError> {
    let tenant = people::find(tx, &Scope::whole(), name)?.and_then(|person| person.tenant);
    // Whoever it was has not shown to be that person.
    let actor = Actor { name: "?".to_owned(), address: guest.address.to_string() };
    let deed = Deed { tenant: tenant.as_deref(), action: "login.failed", object: name, detail: json!({}) };
    audit(tx, &actor, now, &deed)
}

fn with_ticket(
    tx: &mut dyn Database,
    now: Timestamp,
    digest: &str,
    guest: &Guest,
) -> Result<bool, LedgerError> {
    let Some(name) = sessions::redeem(tx, now, digest)? else { return Ok(false) };
    seat(tx, now, &name, guest, "ticket")?;
    Ok(true)
}

fn seated(cookie: &str, over_tls: bool, to: &str) -> Response {
    let mut response = Redirect::to(to).into_response();
    if let Some(cookie) = door::set(cookie, over_tls) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}

/// `POST /logout`
pub async fn leave(
    State(console): State<Shared>,
    Extension(OverTls(over_tls)): Extension<OverTls>,
    caller: Caller,
) -> Result<Response, Broken> {
    let now = (console.room.now)();
    if let Some(digest) = caller.session().map(str::to_owned) {
        let (actor, person) = (caller.actor(), caller.person);
        let ended = move |tx: &mut dyn Database| {
            sessions::end(tx, &person.name, &digest)?;
            let tenant = person.tenant.as_ref().map(|tenant| tenant.as_str());
            audit(
                tx,
                &actor,
                now,
                &Deed { tenant, action: "logout", object: &person.name, detail: json!({}) },
            )
        };
        console.room.clerk.ask(move |ledger| ledger.within(ended)).await?;
    }
    let mut response = Redirect::to("/login").into_response();
    if let Some(cookie) = door::cleared(over_tls) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_elsewhere_after_the_log_in() {
        for elsewhere in ["https://evil.example", "//evil.example", "/\\evil.example", "", "x", "/a\r\nb: c"]
        {
            assert_eq!(next(elsewhere), "/", "{elsewhere}");
        }
        assert_eq!(next("/audit?who=ada"), "/audit?who=ada");
    }
}
