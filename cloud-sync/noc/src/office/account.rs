//! What is one's own: who one is, one's password, one's sessions.

use super::Broken;
use super::html::{Told, narrow, table, text, when, wide, word};
use crate::access::Role;
use crate::access::audit::{Deed, audit};
use crate::access::password::{self, PasswordError};
use crate::access::people::{self, Change};
use crate::access::{secret, sessions};
use crate::console::Shared;
use crate::door::{self, Caller, OverTls};
use crate::ledger::Database;
use crate::openapi::Told as Document;
use axum::Json;
use axum::extract::{Extension, Form, State};
use axum::http::StatusCode;
use axum::http::header::SET_COOKIE;
use axum::response::{IntoResponse, Redirect, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use vigil_core::id::TenantId;

/// Who asks.
#[derive(Serialize, JsonSchema)]
struct Me {
    /// The name; that of a program begins with `token:`.
    name: String,
    /// Whose they are; `null` sees all tenants.
    tenant: Option<TenantId>,
    role: Role,
    /// The word of the session; empty for a program, which needs none.
    csrf: String,
    /// Another password has to be chosen first.
    must_change: bool,
}

/// `GET /api/me`
pub async fn me(caller: Caller) -> impl IntoResponse {
    let (csrf, person) = (caller.word().to_owned(), caller.person);
    let (name, tenant, role) = (person.name, person.tenant, person.role);
    Json(Me { name, tenant, role, csrf, must_change: caller.must_change })
}

/// What the document says of it.
pub fn me_tells(told: &mut Document<'_>) {
    told.called("whoAmI", "Who asks");
    told.gives::<Me>(200, "The person or program.");
}

/// `GET /account`
pub async fn page(State(console): State<Shared>, caller: Caller) -> Result<Response, Broken> {
    let (name, now) = (caller.person.name.clone(), (console.room.now)());
    let rows = console.room.clerk.ask(move |ledger| sessions::list(ledger.database(), now, &name)).await?;
    let person = &caller.person;
    let whose = person.tenant.as_ref().map_or_else(|| "all tenants".to_owned(), text);
    let own = caller.session().unwrap_or_default();
    let cells = rows.iter().map(|row| {
        let here = if row.id == own { "this one".to_owned() } else { end_button(&caller, &row.id, "End") };
        vec![when(row.begun_at), when(row.seen_at), text(&row.address), text(&row.browser), here]
    });
    let sessions = table(&["Since", "Last used", "From", "Browser", ""], cells);
    let body = format!(
        "<section><p>{}: {} of {whose}. <a href=\"/password\">Change the password</a></p></section>\n\
         <section><h2>Sessions</h2>{sessions}{}</section>",
        text(&person.name),
        person.role,
        end_button(&caller, "all", "Log out everywhere")
    );
    Ok(wide(("/account", "Account"), &caller, &Told::Nothing, &body))
}

fn end_button(caller: &Caller, id: &str, label: &str) -> String {
    format!(
        r#"<form class="row" method="post" action="/sessions/end">{}<input type="hidden" name="session" value="{}"><button class="quiet">{label}</button></form>"#,
        word(caller),
        text(id)
    )
}

/// Which session is to end.
#[derive(Deserialize)]
pub struct Which {
    session: String,
}

/// `POST /sessions/end`
pub async fn end(
    State(console): State<Shared>,
    caller: Caller,
    Form(which): Form<Which>,
) -> Result<Redirect, Broken> {
    let (actor, person, now) = (caller.actor(), caller.person, (console.room.now)());
    let ended = move |tx: &mut dyn Database| {
        let everywhere = which.session == "all";
        if everywhere {
            sessions::end_all(tx, &person.name)?;
        } else if !sessions::end(tx, &person.name, &which.session)? {
            return Ok(());
        }
        let tenant = person.tenant.as_ref().map(|tenant| tenant.as_str());
        let detail = json!({"everywhere": everywhere});
        audit(tx, &actor, now, &Deed { tenant, action: "session.end", object: &person.name, detail })
    };
    console.room.clerk.ask(move |ledger| ledger.within(ended)).await?;
    Ok(Redirect::to("/account"))
}

/// `GET /password`
pub async fn password_form(caller: Caller) -> Response {
    shown(&caller, &Told::Nothing)
}

fn shown(caller: &Caller, told: &Told) -> Response {
    let (must, cancel) = if caller.must_change {
        ("<p>This password was given to you. Choose your own before you go on.</p>", "")
    } else {
        ("", r#"<p><a href="/account">Back</a></p>"#)
    };
    let (min, max) = (password::MIN_CHARS, password::MAX_CHARS);
    let form = format!(
        r#"{must}<form method="post" action="/password">{}
<label>Present password <input name="old" type="password" required maxlength="{max}" autocomplete="current-password"></label>
<label>New password, {min} to {max} characters <input name="new" type="password" required minlength="{min}" maxlength="{max}" autocomplete="new-password"></label>
<label>The new one again <input name="again" type="password" required maxlength="{max}" autocomplete="new-password"></label>
<button>Change the password</button></form>{cancel}"#,
        word(caller)
    );
    narrow("Password", told, &form)
}

/// What is typed.
#[derive(Deserialize)]
pub struct Typed {
    old: String,
    new: String,
    again: String,
}

/// `POST /password`: every session of the person ends, and a new one begins here.
pub async fn password(
    State(console): State<Shared>,
    Extension(OverTls(over_tls)): Extension<OverTls>,
    caller: Caller,
    Form(typed): Form<Typed>,
) -> Result<Response, Broken> {
    if typed.new != typed.again {
        return Ok(shown(&caller, &Told::wrong("The new password was typed in two ways.")));
    }
    if typed.new == typed.old {
        return Ok(shown(&caller, &Told::wrong("The new password is the present one.")));
    }
    let (name, now) = (caller.person.name.clone(), (console.room.now)());
    let subjects = crate::access::Subjects::of(&name, caller.address);
    let (of, counted) = (name.clone(), subjects.clone());
    // Whoever finds a screen open must not try passwords there either.
    let tried = console.room.clerk.ask(move |ledger| {
        ledger.within(|tx| Ok((crate::access::take_try(tx, now, &counted)?, people::hash_of(tx, &of)?)))
    });
    let (free, kept) = tried.await?;
    if free.is_err() {
        let told = "Too many wrong passwords; try again later.".to_owned();
        return Ok(shown(&caller, &Told::Refused(StatusCode::TOO_MANY_REQUESTS, told)));
    }
    if !console.hasher.fits(typed.old, kept.clone()).await? {
        return Ok(shown(&caller, &Told::wrong("The present password is wrong.")));
    }
    let hash = match console.hasher.hash(typed.new).await {
        Ok(hash) => hash,
        Err(why @ PasswordError::Length) => return Ok(shown(&caller, &Told::wrong(why))),
        Err(why) => return Err(why.into()),
    };
    let cookie = secret::made()?;
    let (digest, actor, scope) = (secret::digest(&cookie), caller.actor(), caller.person.scope());
    let changed = move |tx: &mut dyn Database| {
        if people::hash_of(tx, &name)? != kept {
            return Ok(false);
        }
        crate::access::succeeded(tx, &subjects)?;
        let change = Change::Password { hash, must_change: false };
        people::change(tx, &actor, now, &scope, (&name, &change))?;
        sessions::begin(tx, now, &name, &digest, (&actor.address, "after a change of the password"))?;
        Ok(true)
    };
    if !console.room.clerk.ask(move |ledger| ledger.within(changed)).await? {
        return Err(Broken::Unknown("person"));
    }
    let mut response = Redirect::to("/").into_response();
    if let Some(cookie) = door::set(&cookie, over_tls) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    Ok(response)
}
