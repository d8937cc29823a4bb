//! Tokens for programs, for admins.

use super::html::{Told, roles, table, tenant, text, when, wide, word};
use super::{Broken, Typed};
use crate::access::tokens::{self, NewToken, TokenRow};
use crate::access::{Role, secret};
use crate::console::Shared;
use crate::door::Caller;
use axum::extract::{Form, Path, State};
use axum::http::StatusCode;
use axum::response::Response;

/// `GET /tokens`
pub async fn page(State(console): State<Shared>, caller: Caller) -> Result<Response, Broken> {
    shown(&console, &caller, Told::Nothing).await
}

async fn shown(console: &Shared, caller: &Caller, told: Told) -> Result<Response, Broken> {
    let scope = caller.person.scope();
    let rows = console.room.clerk.ask(move |ledger| tokens::list(ledger.database(), &scope)).await?;
    let heads = ["Name", "Tenant", "Role", "Made", "Last used", ""];
    let list = table(&heads, rows.iter().map(|row| cells(caller, row)));
    let add = format!(
        r#"<section><h2>Let a program in</h2><form class="row" method="post" action="/tokens">{}
<label>Name <input name="name" required maxlength="64" autocapitalize="none" spellcheck="false"></label>
<label>Role {}</label>{}<button>Make a token</button></form>
<p class="quiet">It sends <code>Authorization: Bearer TOKEN</code>. The token is shown once.</p></section>"#,
        word(caller),
        roles(Role::Viewer),
        tenant(&caller.person)
    );
    Ok(wide(("/tokens", "Tokens"), caller, &told, &format!("<section>{list}</section>\n{add}")))
}

fn cells(caller: &Caller, row: &TokenRow) -> Vec<String> {
    let revoke = match row.revoked_at {
        Some(at) => format!("revoked {}", when(at)),
        None => format!(
            r#"<form class="row" method="post" action="/tokens/{}/revoke">{}<button class="quiet">Revoke</button></form>"#,
            text(&row.name),
            word(caller)
        ),
    };
    vec![
        text(&row.name),
        row.tenant.as_ref().map_or_else(|| "all".to_owned(), text),
        row.role.to_string(),
        format!("{} by {}", when(row.created_at), text(&row.created_by)),
        row.used_at.map_or_else(|| "never".to_owned(), when),
        revoke,
    ]
}

/// `POST /tokens`
pub async fn add(
    State(console): State<Shared>,
    caller: Caller,
    Form(typed): Form<Typed>,
) -> Result<Response, Broken> {
    let token = secret::made()?;
    let new = match typed.read(caller.person.tenant.as_ref()) {
        Ok((name, role, tenant)) => NewToken { name, tenant, role, digest: secret::digest(&token) },
        Err(why) => return shown(&console, &caller, Told::wrong(why)).await,
    };
    let (actor, now, of) = (caller.actor(), (console.room.now)(), new.name.clone());
    let added =
        console.room.clerk.ask(move |ledger| ledger.within(|tx| tokens::add(tx, &actor, now, &new))).await?;
    let told = if added {
        Told::Secret(format!("The token {of}:"), token)
    } else {
        let why = format!("The name {of} is taken, or there are {} tokens already.", tokens::MAX_TOKENS);
        Told::Refused(StatusCode::CONFLICT, why)
    };
    shown(&console, &caller, told).await
}

/// `POST /tokens/{name}/revoke`
pub async fn revoke(
    State(console): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Response, Broken> {
    let (actor, now, scope, of) = (caller.actor(), (console.room.now)(), caller.person.scope(), name.clone());
    let revoked = console
        .room
        .clerk
        .ask(move |ledger| ledger.within(|tx| tokens::revoke(tx, &actor, now, &scope, &name)))
        .await?;
    if revoked {
        shown(&console, &caller, Told::Done(format!("The token {of} is good no more."))).await
    } else {
        Err(Broken::Unknown("token"))
    }
}
